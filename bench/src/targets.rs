//! What each row is to reach, and whether it did. Every bound is told in cycles of the same run: of the floor, or of
//! another row.
use crate::case::{Direction, Label};
use crate::report::Row;
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// As in `1.5 × floor`.
    pub target: String,
    pub target_cycles: f64,
    pub verdict: &'static str,
}

/// The floor by so much, for AES-128-GCM at 64, 512 and 1400 bytes outbound; inbound a tenth more.
const RATIOS: [(usize, [f64; 3]); 3] = [
    (1, [1.5, 1.55, 1.5]),
    // Between the other two as the cycles of the target table are.
    (1000, [1.6, 1.7, 1.6]),
    (10_000, [1.8, 1.85, 1.7]),
];
const STANDARD: usize = 4096;
const COLD: usize = 16_384;

/// What a row may cost at most.
enum Bound {
    Floor(f64),
    Times(f64, Box<Label>),
    Plus(f64, Box<Label>),
}

fn bound(label: &Label) -> Option<Bound> {
    let l = label.clone();
    if label.mode != "tunnel-ipv4" || label.workers != 1 {
        return None;
    }
    if label.lookup == "miss" {
        return Some(Bound::Plus(250.0, Box::new(Label { policies: l.sas, lookup: "hit", ..l })));
    }
    if label.policies > label.sas {
        return Some(Bound::Plus(60.0, Box::new(Label { policies: l.sas, ..l })));
    }
    if label.buffers == COLD {
        return Some(Bound::Times(1.2, Box::new(Label { buffers: STANDARD, ..l })));
    }
    match label.suite.as_str() {
        "aes-128-gcm" if label.sas == 100_000 => {
            Some(Bound::Times(1.15, Box::new(Label { sas: 10_000, policies: 10_000, ..l })))
        }
        "aes-128-gcm" if label.buffers == STANDARD => {
            let size = [64, 512, 1400].iter().position(|bytes| *bytes == label.bytes)?;
            let (_, out) = RATIOS.iter().find(|(sas, _)| *sas == label.sas)?;
            let more = if label.direction == Direction::In { 0.1 } else { 0.0 };
            Some(Bound::Floor(out.get(size)? + more))
        }
        "aes-256-gcm" => Some(Bound::Times(1.15, Box::new(Label { suite: "aes-128-gcm".into(), ..l }))),
        "chacha20-poly1305" => Some(Bound::Floor(1.2)),
        suite if suite.ends_with("-cbc/sha256") => Some(Bound::Floor(1.3)),
        _ => None,
    }
}

/// Writes targets and verdicts into the rows.
pub fn judge(rows: &mut [Row]) {
    for at in 0..rows.len() {
        let target = rows.get(at).and_then(|row| target(row, rows).or_else(|| engine_choice(row, rows)));
        if let Some(row) = rows.get_mut(at) {
            row.target = target;
        }
    }
}

fn target(row: &Row, rows: &[Row]) -> Option<Target> {
    let cycles = |label: &Label| rows.iter().find(|r| r.label == *label).map(|r| r.cycles_per_packet);
    let (text, limit) = match bound(&row.label)? {
        Bound::Floor(ratio) => (format!("{ratio:.2} × floor"), ratio * row.floor_cycles?),
        Bound::Times(factor, other) => {
            (format!("{factor:.2} × {}", difference(&row.label, &other)), factor * cycles(&other)?)
        }
        Bound::Plus(more, other) => {
            (format!("{} + {more:.0}", difference(&row.label, &other)), more + cycles(&other)?)
        }
    };
    Some(decide(text, limit, row.cycles_per_packet))
}
fn decide(target: String, limit: f64, cycles: f64) -> Target {
    let verdict = if cycles <= limit { "met" } else { "short" };
    Target { target, target_cycles: (limit * 10.0).round() / 10.0, verdict }
}

/// Names the other row by what it has of its own.
fn difference(label: &Label, other: &Label) -> String {
    if label.suite != other.suite {
        other.suite.clone()
    } else if label.buffers != other.buffers {
        format!("{} buffers", other.buffers)
    } else if label.sas != other.sas {
        format!("{} SAs", other.sas)
    } else {
        format!("{} {} policy", other.lookup, other.policies)
    }
}

/// The automatic choice among engines, at most 5 % slower than the best of them.
fn engine_choice(row: &Row, rows: &[Row]) -> Option<Target> {
    let same = |other: &&Row| Label { engine: row.label.engine.clone(), ..other.label.clone() } == row.label;
    if row.label.mode != "engine" {
        return None;
    }
    let mut candidates = rows.iter().filter(same);
    // Rows stand in the order in which engines are preferred.
    let chosen = candidates.next()?;
    if chosen.label != row.label {
        return None;
    }
    let fastest = |a: &&Row, b: &&Row| a.cycles_per_packet.total_cmp(&b.cycles_per_packet);
    let best = rows.iter().filter(same).min_by(fastest)?;
    let text = format!("chosen; 1.05 × {}", best.label.engine);
    Some(decide(text, 1.05 * best.cycles_per_packet, row.cycles_per_packet))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Cycles;

    fn row(change: impl Fn(&mut Label), cycles: f64, floor: Option<f64>) -> Row {
        let mut label = Label {
            direction: Direction::Out,
            suite: "aes-128-gcm".into(),
            engine: "native".into(),
            mode: "tunnel-ipv4",
            sas: 1,
            policies: 1,
            workers: 1,
            buffers: STANDARD,
            lookup: "hit",
            bytes: 64,
        };
        change(&mut label);
        Row::new(label, Cycles { p10: cycles, median: cycles, p90: cycles, p99: cycles }, floor, 1e9)
    }
    fn verdicts(mut rows: Vec<Row>) -> Vec<Option<(f64, &'static str)>> {
        judge(&mut rows);
        rows.iter().map(|r| r.target.as_ref().map(|t| (t.target_cycles, t.verdict))).collect()
    }

    #[test]
    fn rows_are_held_against_the_floor_or_each_other() {
        let v = verdicts(vec![
            row(|_| (), 150.0, Some(100.0)),
            row(|l| l.direction = Direction::In, 161.0, Some(100.0)),
            row(|l| l.buffers = COLD, 180.0, Some(100.0)),
            row(|l| (l.policies, l.lookup) = (100_000, "hit"), 211.0, Some(100.0)),
            row(|l| (l.policies, l.lookup) = (1, "miss"), 400.0, Some(100.0)),
            row(|l| l.suite = "aes-256-gcm".into(), 172.6, Some(100.0)),
            row(|l| l.suite = "aes-128-cbc/sha256".into(), 130.0, Some(100.0)),
            row(|l| (l.sas, l.policies) = (100_000, 100_000), 130.0, Some(100.0)),
            row(|l| l.bytes = 900, 150.0, Some(100.0)),
        ]);
        let wanted = [
            Some((150.0, "met")),
            Some((160.0, "short")),
            Some((180.0, "met")),
            Some((210.0, "short")),
            Some((400.0, "met")),
            Some((172.5, "short")),
            Some((130.0, "met")),
            None, // the row it is measured by is missing
            None,
        ];
        assert_eq!(v, wanted);
    }
    #[test]
    fn the_engine_in_front_is_held_against_the_fastest() {
        let engine = |name: &'static str, cycles| {
            row(move |l| (l.mode, l.engine, l.lookup) = ("engine", name.into(), "none"), cycles, None)
        };
        let v = verdicts(vec![engine("native", 106.0), engine("ipsec-mb", 100.0), engine("ring", 300.0)]);
        assert_eq!(v, [Some((105.0, "short")), None, None]);
        assert_eq!(verdicts(vec![engine("native", 80.0), engine("ring", 300.0)])[0], Some((84.0, "met")));
    }
}
