//! Who has which MAC address (RFC 826, RFC 4861 7.3): learns, ages, asks again, keeps a few packets waiting.
use super::frame::Mac;
use std::collections::HashMap;
use std::net::IpAddr;

/// Entries at most; the oldest unresolved one makes room.
const MAX_ENTRIES: usize = 65_536;
/// Packets kept for one unanswered question.
const MAX_WAITING: usize = 16;
const RETRY_MS: u64 = 1_000;
const MAX_QUESTIONS: u8 = 3;
/// An answer is fresh for this long; then the neighbour is asked again, directly.
const REACHABLE_MS: u64 = 60_000;

#[derive(Debug)]
struct Entry {
    mac: Option<Mac>,
    /// When something is due: a repeated question or a refresh.
    due: u64,
    questions: u8,
    waiting: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
pub struct Neighbours {
    entries: HashMap<(u16, IpAddr), Entry>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Ignored,
    Same,
    Changed { waiting: Vec<Vec<u8>> },
}
#[derive(Debug, PartialEq, Eq)]
pub enum Waiting {
    Known(Mac, Vec<u8>),
    Ask,
    Asked,
    Shed(Vec<u8>),
}
#[derive(Debug, PartialEq, Eq)]
pub struct Due {
    pub interface: u16,
    pub address: IpAddr,
    pub what: DueWhat,
}
#[derive(Debug, PartialEq, Eq)]
pub enum DueWhat {
    Ask(Option<Mac>),
    Dead { waiting: Vec<Vec<u8>> },
}

impl Neighbours {
    /// Takes an address pair seen on the wire; `create` allows a new entry.
    pub fn learn(&mut self, interface: u16, address: IpAddr, mac: Mac, create: bool, now_ms: u64) -> Verdict {
        let unusable = address.is_unspecified() || address.is_multicast() || mac[0] & 1 == 1;
        if unusable || mac == [0; 6] {
            return Verdict::Ignored;
        }
        let full = self.entries.len() >= MAX_ENTRIES;
        let entry = match self.entries.get_mut(&(interface, address)) {
            Some(entry) => entry,
            None if create && !full => self.entries.entry((interface, address)).or_insert(Entry {
                mac: None,
                due: 0,
                questions: 0,
                waiting: Vec::new(),
            }),
            None => return Verdict::Ignored,
        };
        entry.due = now_ms + REACHABLE_MS;
        entry.questions = 0;
        if entry.mac == Some(mac) {
            return Verdict::Same;
        }
        entry.mac = Some(mac);
        Verdict::Changed { waiting: std::mem::take(&mut entry.waiting) }
    }

    /// Keeps `packet` until the address is known, or says what is known.
    pub fn wait(&mut self, interface: u16, address: IpAddr, packet: Vec<u8>, now_ms: u64) -> Waiting {
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&(interface, address)) {
            return Waiting::Shed(packet);
        }
        let mut new = false;
        let entry = self.entries.entry((interface, address)).or_insert_with(|| {
            new = true;
            Entry { mac: None, due: now_ms + RETRY_MS, questions: 1, waiting: Vec::new() }
        });
        if let Some(mac) = entry.mac {
            return Waiting::Known(mac, packet);
        }
        if entry.waiting.len() >= MAX_WAITING {
            return Waiting::Shed(packet);
        }
        entry.waiting.push(packet);
        if new { Waiting::Ask } else { Waiting::Asked }
    }

    /// Everything whose time has come.
    pub fn due(&mut self, now_ms: u64) -> Vec<Due> {
        let mut due = Vec::new();
        self.entries.retain(|(interface, address), entry| {
            if entry.due > now_ms {
                return true;
            }
            let (interface, address) = (*interface, *address);
            if entry.questions >= MAX_QUESTIONS {
                let waiting = std::mem::take(&mut entry.waiting);
                due.push(Due { interface, address, what: DueWhat::Dead { waiting } });
                return false;
            }
            entry.questions += 1;
            entry.due = now_ms + RETRY_MS;
            due.push(Due { interface, address, what: DueWhat::Ask(entry.mac) });
            true
        });
        due
    }
    pub fn next_due(&self) -> Option<u64> {
        self.entries.values().map(|e| e.due).min()
    }
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
