//! What is known of the ways to peers: sizes that routers reported, and which outbound SAs they hold for.
use super::sad::Shared;
use super::shards::Shards;
use crate::host::pmtu::{HOLDS, Hint};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Peers whose path is known to be narrower than the link.
const PATHS: usize = 4096;

#[derive(Debug)]
pub struct Paths<K> {
    /// Outbound SAs by the hash of peer and SPI.
    sas: Shards<Known<K>>,
    hash: RandomState,
    narrow: HashMap<IpAddr, Narrow<K>>,
}
#[derive(Debug)]
struct Known<K> {
    remote: IpAddr,
    spi: u32,
    shared: Arc<Shared<K>>,
}
#[derive(Debug)]
struct Narrow<K> {
    mtu: u16,
    until: Duration,
    sas: Vec<Weak<Shared<K>>>,
}
impl<K> Default for Paths<K> {
    fn default() -> Self {
        Self { sas: Shards::default(), hash: RandomState::new(), narrow: HashMap::new() }
    }
}

impl<K> Paths<K> {
    /// A new outbound SA, or one whose peer has moved.
    pub fn add(&mut self, remote: IpAddr, spi: u32, shared: &Arc<Shared<K>>) {
        let narrow = self.narrow.get_mut(&remote);
        shared.set_path_mtu(narrow.as_ref().map(|narrow| narrow.mtu));
        if let Some(narrow) = narrow {
            narrow.sas.retain(|sa| sa.strong_count() > 0);
            narrow.sas.push(Arc::downgrade(shared));
        }
        self.sas.insert(self.key(remote, spi), Known { remote, spi, shared: shared.clone() });
    }
    pub fn remove(&mut self, remote: IpAddr, spi: u32) {
        self.sas.remove(self.key(remote, spi));
    }
    fn key(&self, remote: IpAddr, spi: u32) -> u64 {
        self.hash.hash_one((remote, spi))
    }

    /// Believes what has proved to come from somebody who sees our packets. The new size, if it is one.
    pub fn learn(&mut self, hint: &Hint, now: Duration) -> Option<u16> {
        let known = self.sas.get(self.key(hint.remote, hint.spi))?;
        let Known { shared, .. } = Some(known).filter(|k| (k.remote, k.spi) == (hint.remote, hint.spi))?;
        let mtu = hint.believed().filter(|mtu| *mtu < shared.path_mtu())?;
        if !hint.was_sent(shared.last_seq(sa::Direction::Outbound)) {
            return None;
        }
        if self.narrow.len() >= PATHS && !self.narrow.contains_key(&hint.remote) {
            return None;
        }
        let narrow =
            self.narrow.entry(hint.remote).or_insert_with(|| Narrow { mtu, until: now, sas: Vec::new() });
        (narrow.mtu, narrow.until) = (mtu, now + HOLDS);
        if !narrow.sas.iter().any(|sa| std::ptr::eq(sa.as_ptr(), Arc::as_ptr(shared))) {
            narrow.sas.push(Arc::downgrade(shared));
        }
        narrow.sas.iter().filter_map(Weak::upgrade).for_each(|sa| sa.set_path_mtu(Some(mtu)));
        Some(mtu)
    }

    /// Forgets what is old: larger packets are tried again.
    pub fn on_time(&mut self, now: Duration) {
        if self.narrow.is_empty() {
            return;
        }
        self.narrow.retain(|_, narrow| {
            let holds = now < narrow.until;
            if !holds {
                narrow.sas.iter().filter_map(Weak::upgrade).for_each(|sa| sa.set_path_mtu(None));
            }
            holds
        });
    }
}
