//! The last failures of each peer, for status, console and REST. What repeats is one row with a count; memory is
//! bounded, and strangers cannot push out what peers left.
use ike::api::Report;
use ike::diagnosis::{Cause, Diagnosis};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Of one peer, and of all strangers together.
const OF_PEER: usize = 8;
const OF_STRANGERS: usize = 32;
/// Of all peers.
const ALL: usize = 4096;

struct Row {
    id: u64,
    key: Key,
    /// Since 1970.
    first: Duration,
    last: Duration,
    count: u64,
    report: Report,
    diagnosis: Diagnosis,
}
/// What makes two failures one row. From where matters only if somebody is known to be there: otherwise a flood with
/// forged addresses would fill the table.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    cause: Cause,
    exchange: &'static str,
    remote: Option<IpAddr>,
}

#[derive(Default)]
pub struct Diagnoses {
    /// By peer; strangers under no name.
    rows: BTreeMap<String, Vec<Row>>,
    total: usize,
    last_id: u64,
    /// How often anything of it has changed.
    pub changes: u64,
    /// When a peer last came up.
    up: BTreeMap<String, Duration>,
}

impl Diagnoses {
    pub fn note(&mut self, report: Report, wall: Duration) {
        if report.up {
            return self.came_up(report.peer.as_deref().unwrap_or_default(), wall);
        }
        let Some(diagnosis) = report.diagnosis.as_deref().cloned() else { return };
        self.changes += 1;
        let name = report.peer.clone().unwrap_or_default();
        let from = report
            .remote
            .map(|remote| remote.ip())
            .filter(|_| !diagnosis.cause.by_anyone() || name.is_empty());
        let key = Key { cause: diagnosis.cause, exchange: diagnosis.exchange, remote: from };
        let most = if name.is_empty() { OF_STRANGERS } else { OF_PEER };
        let rows = self.rows.entry(name).or_default();
        let known = rows.iter().position(|row| row.key == key).map(|at| rows.remove(at));
        self.total -= usize::from(known.is_some());
        let (id, first, count) = known.map_or_else(
            || {
                self.last_id += 1;
                (self.last_id, wall, 0)
            },
            |row| (row.id, row.first, row.count),
        );
        if rows.len() >= most {
            rows.remove(0);
            self.total -= 1;
        }
        let count = count + u64::from(report.times);
        rows.push(Row { id, key, first, last: wall, count, report, diagnosis });
        self.total += 1;
        if self.total > ALL {
            self.drop_oldest();
        }
    }
    /// A peer's tunnel is up: what is older is solved.
    fn came_up(&mut self, peer: &str, wall: Duration) {
        if self.rows.contains_key(peer) {
            self.changes += 1;
            self.up.insert(peer.to_owned(), wall);
        }
    }
    fn drop_oldest(&mut self) {
        let oldest = self.rows.iter().filter(|(name, _)| !name.is_empty());
        let oldest =
            oldest.min_by_key(|(_, rows)| rows.first().map(|row| row.last)).map(|(name, _)| name.clone());
        let Some(name) = oldest else { return };
        if let Some(rows) = self.rows.get_mut(&name) {
            rows.remove(0);
            self.total -= 1;
            if rows.is_empty() {
                self.rows.remove(&name);
                self.up.remove(&name);
            }
        }
    }
    pub fn clear(&mut self) {
        self.changes += 1;
        (self.rows, self.up, self.total) = (BTreeMap::new(), BTreeMap::new(), 0);
    }
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    /// Oldest first; of all or of one peer.
    pub fn rows(&self, peer: Option<&str>) -> Vec<ipc::diagnosis::Diagnosis> {
        let fitting = self.rows.iter().filter(|(name, _)| peer.is_none_or(|peer| *name == peer));
        let mut rows: Vec<&Row> = fitting.flat_map(|(_, rows)| rows).collect();
        rows.sort_by_key(|row| (row.last, row.id));
        rows.into_iter().map(|row| self.shown(row)).collect()
    }
    fn shown(&self, row: &Row) -> ipc::diagnosis::Diagnosis {
        let end = |end: Option<std::net::SocketAddr>| end.map_or_else(String::new, |end| end.to_string());
        let (report, d) = (&row.report, &row.diagnosis);
        let peer = report.peer.clone().unwrap_or_default();
        ipc::diagnosis::Diagnosis {
            id: row.id,
            when: config::date::show(row.last.as_secs()),
            first: config::date::show(row.first.as_secs()),
            count: row.count,
            solved: self.up.get(&peer).is_some_and(|up| *up > row.last),
            peer,
            remote: end(report.remote),
            local: end(report.local),
            exchange: d.exchange.into(),
            cause: d.cause.name().into(),
            said: d.said(),
            theirs: d.theirs.clone(),
            ours: d.ours.clone(),
            difference: d.difference.clone(),
            fix_here: d.fix_here.clone(),
            tell_them: d.tell_them.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ike::api::ReportLevel;

    fn failed(peer: Option<&str>, cause: Cause, remote: u32) -> Report {
        let remote = std::net::SocketAddr::new(IpAddr::from(remote.to_be_bytes()), 500);
        Report {
            level: ReportLevel::Error,
            peer: peer.map(str::to_owned),
            remote: Some(remote),
            local: None,
            text: String::new(),
            diagnosis: Some(Box::new(Diagnosis::new(cause, "IKE_AUTH").detail("x".repeat(5000)))),
            times: 1,
            up: false,
        }
    }
    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_repeats_is_one_row_with_first_last_and_count() {
        let mut kept = Diagnoses::default();
        for n in 1..=5 {
            kept.note(failed(Some("b"), Cause::Secret, 9), at(100 * n));
        }
        kept.note(failed(Some("b"), Cause::Ts, 9), at(150));
        let rows = kept.rows(Some("b"));
        assert_eq!(
            rows.iter().map(|r| (r.cause.as_str(), r.count)).collect::<Vec<_>>(),
            [("ts", 1), ("secret", 5)]
        );
        assert_eq!(
            (rows[1].first.as_str(), rows[1].when.as_str()),
            ("1970-01-01 00:01:40", "1970-01-01 00:08:20")
        );
        assert!(kept.rows(Some("c")).is_empty());
        kept.came_up("b", at(501));
        assert!(kept.rows(None).iter().all(|row| row.solved));
        kept.note(failed(Some("b"), Cause::Secret, 9), at(600));
        assert_eq!(kept.rows(None).iter().filter(|row| row.solved).count(), 1);
    }
    #[test]
    fn memory_is_bounded_and_strangers_push_out_nobody() {
        let mut kept = Diagnoses::default();
        kept.note(failed(Some("b"), Cause::Secret, 9), at(1));
        for n in 0..100_000 {
            kept.note(failed(None, Cause::NoPeer, n), at(2));
            // Forged senders of what an attacker knows to be the peer's network.
            kept.note(failed(Some("b"), Cause::IkeProposal, n), at(2));
        }
        assert_eq!(kept.rows(Some("")).len(), OF_STRANGERS);
        let of_b: Vec<_> = kept.rows(Some("b")).into_iter().map(|row| (row.cause, row.count)).collect();
        assert_eq!(of_b, [("secret".to_owned(), 1), ("ike-proposal".to_owned(), 100_000)]);
        for n in 0..2 * ALL as u32 {
            kept.note(failed(Some(&format!("peer-{n}")), Cause::NoAnswer, 9), at(3 + u64::from(n)));
        }
        assert_eq!((kept.rows(None).len(), kept.total), (ALL, ALL));
        assert!(kept.rows(None).iter().all(|row| row.said.len() < 1024));
        kept.clear();
        assert!(kept.is_empty() && kept.rows(None).is_empty());
    }
}
