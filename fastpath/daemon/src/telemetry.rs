//! What `dpdk-telemetry.py` is told: `/espway/...`, from the shared statistics. Workers are not asked.
use dpdk::telemetry::{Answer, Value, serve};
use ipc::StatsReader;
use sa::{Direction, SaSlot};
use std::ffi::CStr;

const COMMANDS: &[(&CStr, &CStr)] = &[
    (c"/espway/stats", c"Clock, policies' generation, SAs, and every drop by its reason"),
    (c"/espway/sa", c"Slots in use. Parameter: a slot, for what it holds and has counted"),
    (c"/espway/policy", c"Policies that have SAs. Parameter: a policy's id, for the sums of its SAs"),
    (c"/espway/worker", c"Workers. Parameter: a worker, for how busy it is"),
    (c"/espway/ports", c"Packets of all ports"),
];

/// Telemetry is a convenience: without it the gateway runs.
pub fn start(statistics: StatsReader, workers: u32) {
    let source = move |command: &str, words: &str| answer(&statistics, workers, command, words);
    if let Err(error) = serve(COMMANDS, Box::new(source)) {
        tracing::warn!(%error, "DPDK's telemetry does not take our commands");
    }
}

fn answer(statistics: &StatsReader, workers: u32, command: &str, words: &str) -> Answer {
    let asked: Option<u64> = words.parse().ok();
    match (command, words.is_empty()) {
        ("/espway/stats", _) => stats(statistics),
        ("/espway/sa", true) => {
            Answer::Numbers(statistics.installed().map(|(slot, _)| slot.0.into()).collect())
        }
        ("/espway/sa", false) => asked.map_or(Answer::Unknown, |slot| sa(statistics, slot)),
        ("/espway/policy", true) => {
            let mut ids: Vec<u64> = statistics.installed().map(|(_, sa)| sa.policy.0.into()).collect();
            ids.sort_unstable();
            ids.dedup();
            Answer::Numbers(ids)
        }
        ("/espway/policy", false) => asked.map_or(Answer::Unknown, |id| policy(statistics, id)),
        ("/espway/worker", true) => Answer::Numbers((0..u64::from(workers)).collect()),
        ("/espway/worker", false) => {
            asked.filter(|n| *n < workers.into()).map_or(Answer::Unknown, |n| worker(statistics, n))
        }
        ("/espway/ports", _) => ports(statistics),
        _ => Answer::Unknown,
    }
}

/// Names as DPDK takes them.
fn object<'a>(members: impl IntoIterator<Item = (&'a str, u64)>) -> Vec<(String, Value)> {
    members.into_iter().map(|(name, n)| (plain(name), Value::Number(n))).collect()
}
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn stats(statistics: &StatsReader) -> Answer {
    let installed = statistics.installed().count() as u64;
    let mut members = object([
        ("clock", statistics.clock()),
        ("policy-generation", statistics.policy_generation()),
        ("sa-slots", statistics.slots().into()),
        ("sa-slots-used", installed),
    ]);
    members.extend(object(statistics.drops().iter().map(|(reason, n)| (reason.name(), *n))));
    Answer::Object(members)
}

fn sa(statistics: &StatsReader, slot: u64) -> Answer {
    let slot = u32::try_from(slot).map(SaSlot).ok();
    let Some((slot, held)) = slot.and_then(|slot| Some((slot, statistics.identity(slot)?))) else {
        return Answer::Unknown;
    };
    let c = statistics.sa(slot);
    let direction = if held.direction == Direction::Inbound { "in" } else { "out" };
    let mut members: Vec<(String, Value)> = [
        ("spi", held.spi.to_string()),
        ("direction", direction.to_owned()),
        ("state", held.state.name().to_owned()),
        ("engine", held.engine.map_or("", |engine| engine.name()).to_owned()),
    ]
    .map(|(name, text)| (name.to_owned(), Value::Text(text)))
    .into();
    members.extend(object([
        ("policy", held.policy.0.into()),
        ("packets", c.packets),
        ("bytes", c.bytes),
        ("dropped", c.dropped),
        ("last-seq", c.last_seq),
        ("age", statistics.clock().saturating_sub(held.installed_at)),
    ]));
    Answer::Object(members)
}

fn policy(statistics: &StatsReader, id: u64) -> Answer {
    // SAs, packets, bytes, dropped: in, then out.
    let mut sums = [[0u64; 4]; 2];
    for (slot, _) in statistics.installed().filter(|(_, sa)| u64::from(sa.policy.0) == id) {
        let (Some(held), c) = (statistics.identity(slot), statistics.sa(slot)) else { continue };
        let sum = &mut sums[usize::from(held.direction == Direction::Outbound)];
        for (sum, n) in sum.iter_mut().zip([1, c.packets, c.bytes, c.dropped]) {
            *sum += n;
        }
    }
    if sums == [[0; 4]; 2] {
        return Answer::Unknown;
    }
    let names = [
        ["in_sas", "in_packets", "in_bytes", "in_dropped"],
        ["out_sas", "out_packets", "out_bytes", "out_dropped"],
    ];
    Answer::Object(object(names.into_iter().flatten().zip(sums.into_iter().flatten())))
}

fn worker(statistics: &StatsReader, n: u64) -> Answer {
    let Some(load) = statistics.worker_counters().into_iter().nth(n as usize) else { return Answer::Unknown };
    Answer::Object(object([
        ("turns", load.turns),
        ("busy-turns", load.busy_turns),
        ("bursts", load.bursts),
        ("packets", load.packets),
        ("busy-ns", load.busy_ns),
        ("idle-ns", load.idle_ns),
    ]))
}

fn ports(statistics: &StatsReader) -> Answer {
    let mut members = Vec::new();
    for port in statistics.ports() {
        for (what, n) in [
            ("rx_packets", port.rx_packets),
            ("rx_bytes", port.rx_bytes),
            ("tx_packets", port.tx_packets),
            ("tx_bytes", port.tx_bytes),
            ("rx_missed", port.rx_missed),
            ("tx_errors", port.tx_errors),
        ] {
            members.push((format!("{}_{what}", plain(&port.name)), Value::Number(n)));
        }
    }
    Answer::Object(members)
}
