//! A thousand tunnels through the real processes. Needs the programs beside `bench`:
//! `cargo build -p espway -p espway-fastpath -p espway-slowpath`.
use bench::scale::{Options, run};
use std::path::Path;

/// Negotiated, given to a fast path that starts empty, answered for, taken over after a kill: none is lost on the way.
#[test]
fn a_thousand_tunnels_survive_both_processes() {
    let programs = Path::new(env!("CARGO_BIN_EXE_bench")).parent().map(Into::into);
    let figures =
        run(&Options { tunnels: 1000, programs, json: false }).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(figures.sas_per_second > 0.0 && figures.successor > 0.0);
    assert!(figures.status_json_bytes > 2000 * 100, "{figures:?}");
    let (shared, lines) = (figures.successor_memory.shared, figures.lines());
    assert!(shared < 1000 * 16 * 1024 + (64 << 20), "{lines}");
    assert!(lines.contains("2000 SAs"), "{lines}");
}
