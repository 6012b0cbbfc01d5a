//! The lab against a real `espway-fastpath` over memif, each way. Needs that program beside `espway-lab`:
//! `cargo build -p espway-fastpath`.
use espway_lab::report::Report;
use std::path::{Path, PathBuf};
use std::process::Command;

fn lab(words: &[&str], dir: &Path) -> (Report, String) {
    let json = dir.join("result.json");
    let program = PathBuf::from(env!("CARGO_BIN_EXE_espway-lab"));
    let fastpath = program.with_file_name("espway-fastpath");
    assert!(fastpath.is_file(), "{} is missing: cargo build -p espway-fastpath", fastpath.display());
    // Small and slow: what is tested is that every packet comes back right, on whatever machine.
    let output = Command::new(&program)
        .args(words)
        .args([
            "--duration",
            "200ms",
            "--warm-up",
            "20ms",
            "--trials",
            "1",
            "--retries",
            "1",
            "--resolution",
            "0.4",
        ])
        .args(["--hugepages", "no", "--packet-memory", "32", "--log-level", "debug"])
        .arg("--json")
        .arg(&json)
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    (espway_lab::compare::load(&json).unwrap_or_else(|error| panic!("{error:#}\n{said}")), said)
}

/// Tunnels, sizes and a chained suite, a second each way: nothing lost at a rate anybody can do, nothing wrong.
#[test]
fn every_packet_comes_back_right_each_way() {
    let dir = tempfile::tempdir().expect("a folder");
    let html = dir.path().join("report.html");
    for (suite, direction) in [("aes-128-gcm", "out,in"), ("aes-256-cbc/sha256", "both")] {
        let words = [
            "loss",
            "--loads",
            "100",
            "--suite",
            suite,
            "--direction",
            direction,
            "--sizes",
            "64,1400",
            "--tunnels",
            "5",
            "--flows",
            "50",
            "--max-rate",
            "1000",
            "--html",
            html.to_str().expect("UTF-8"),
        ];
        let (report, said) = lab(&words, dir.path());
        let rows: Vec<_> = report.rows.iter().filter(|r| r.test == "loss").collect();
        assert_eq!(rows.len(), 2 * direction.split(',').count(), "{said}");
        let trials: Vec<_> = report.trials.iter().filter(|t| t.test == "loss").collect();
        assert!(trials.iter().any(|t| t.attempted >= 100 && t.received == t.attempted), "{said}");
        assert!(report.trials.iter().all(|t| t.faults.is_empty()), "{said}");
        assert!(report.configuration.contains("sa-slots: 64"));
        let page = std::fs::read_to_string(&html).expect("a page");
        assert!(page.contains("<td>out</td>") || page.contains("<td>both</td>"));
    }
}

#[test]
fn latency_is_measured_and_its_files_are_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let files = dir.path().join("histograms");
    let words = ["latency", "--rate", "2000", "--loads", "50", "--sizes", "128", "--histograms"];
    let words: Vec<&str> = words.into_iter().chain([files.to_str().expect("UTF-8")]).collect();
    let (report, said) = lab(&words, dir.path());
    let row = report.rows.iter().find(|r| r.test == "latency").expect("a row");
    let (half, most) = (row.get("p50").expect("p50"), row.get("max").expect("max"));
    assert!(half > 0.0 && half <= most, "{said}");
    assert!(row.percentiles.is_sorted_by(|a, b| a[0] < b[0] && a[1] <= b[1]));
    assert_eq!(row.files.len(), 2);
    assert!(std::fs::read_to_string(&row.files[0]).expect("hgrm").contains("#[Max"));
    assert!(std::fs::read_to_string(&row.files[1]).expect("hlog").contains("Tag=latency_"));
}
