//! What workers look things up in, and how the control thread changes it while they run.
//!
//! [`Tables`] is plain data. There are two instances of it, and both get every change ([`Op`]) in the
//! same order: workers read one while the control thread writes the other, then they change places
//! (`control`, `shared`). A change costs its own size twice, not a copy of the tables; workers take no
//! lock and see all changes of one publication at once, between two bursts.
//!
//! What is one per SA and changes with its packets (sequence counter, replay window, lifetime) sits in a
//! [`sad::Shared`] that both instances point to.
pub mod clients;
pub mod control;
pub mod fib;
pub mod hash;
mod order;
mod paths;
pub mod ports;
mod recent;
pub mod sad;
mod shards;
pub mod shared;
pub mod spd;

pub use clients::Clients;
pub use control::{Completion, Control};
pub use fib::{Fib, NextHop};
pub use ports::{Interface, Ports};
pub use recent::Recent;
pub use sad::{Sa, Sad};
pub use shared::{Publisher, Reader};
pub use spd::Spd;

use crate::crypto::{Keys, SaRef};
use crate::graph::watch::Watch;
use recent::About;
use sa::{Direction, Encap, PolicyId, Prefix, TunnelEnds};
use std::net::IpAddr;
use std::sync::Arc;
use wire::Mac;

#[derive(Debug)]
pub struct Tables<K> {
    pub sad: Sad<K>,
    pub spd: Spd,
    pub fib: Fib,
    pub ports: Ports,
    /// Grows when a cached verdict of the policy look-up may have become wrong.
    pub generation: u32,
    /// What its last steps were about.
    pub recent: Recent,
    /// Grows when the way to a next hop may have become another. Never 0, like `generation`.
    pub links: u32,
    /// Whether a policy transaction was ever committed. Nothing is forwarded before.
    pub policies_loaded: bool,
    /// Both instances have the same one.
    pub clients: Arc<Clients>,
    /// Packets that somebody looks at.
    pub watch: Option<Arc<Watch>>,
}

/// One change. Applied to both instances, so it holds by reference what must not exist twice.
#[derive(Debug)]
pub enum Op<K> {
    InstallSa(Arc<sad::Install<K>>),
    RemoveSa {
        slot: u32,
    },
    MoveSa {
        slot: u32,
        ends: TunnelEnds,
        encap: Option<Encap>,
    },
    /// Policies to take out and policies to put in with their ranks.
    Policies {
        remove: Arc<[PolicyId]>,
        insert: Arc<[spd::Placed]>,
    },
    SetInterface {
        index: u16,
        interface: Interface,
    },
    SetRoute {
        prefix: Prefix,
        via: NextHop,
    },
    RemoveRoute {
        prefix: Prefix,
    },
    SetNeighbour {
        interface: u16,
        address: IpAddr,
        mac: Option<Mac>,
    },
    Watch(Option<Arc<Watch>>),
}

impl<K> Tables<K> {
    /// `sa_slots` is rounded up to a power of two.
    pub fn new(sa_slots: u32) -> Self {
        Self {
            sad: Sad::new(sa_slots),
            spd: Spd::default(),
            fib: Fib::default(),
            ports: Ports::default(),
            generation: 1,
            recent: Recent::default(),
            links: 1,
            policies_loaded: false,
            clients: Arc::default(),
            watch: None,
        }
    }

    pub(crate) fn apply(&mut self, op: &Op<K>) {
        let verdicts = self.verdicts_changed_by(op);
        match op {
            Op::InstallSa(install) => {
                self.sad.install(install);
                self.spd.bind(install);
            }
            Op::RemoveSa { slot } => {
                self.sad.remove(*slot);
                self.spd.unbind(*slot);
            }
            Op::MoveSa { slot, ends, encap } => self.sad.relocate(*slot, *ends, *encap),
            Op::Policies { remove, insert } => {
                self.spd.replace(remove, insert);
                self.policies_loaded = true;
            }
            Op::SetInterface { index, interface } => self.ports.set(*index, interface.clone()),
            Op::SetRoute { prefix, via } => self.fib.set_route(*prefix, *via),
            Op::RemoveRoute { prefix } => self.fib.remove_route(*prefix),
            Op::SetNeighbour { interface, address, mac } => {
                self.fib.set_neighbour(*interface, *address, *mac);
            }
            Op::Watch(watch) => self.watch = watch.clone(),
        }
        if let Some(about) = verdicts {
            self.generation = next(self.generation);
            self.recent.note(self.generation, about);
        }
        match op {
            Op::SetInterface { .. }
            | Op::SetRoute { .. }
            | Op::RemoveRoute { .. }
            | Op::SetNeighbour { .. } => self.links = next(self.links),
            Op::InstallSa(_)
            | Op::RemoveSa { .. }
            | Op::MoveSa { .. }
            | Op::Policies { .. }
            | Op::Watch(_) => {}
        }
    }

    /// Whose verdicts a change makes others, in the state before it. An inbound SA gives none: what comes out of a new one
    /// is judged under its own number.
    fn verdicts_changed_by(&self, op: &Op<K>) -> Option<About> {
        let of = |id: PolicyId| self.spd.by_id(id).map(|entry| entry.placed.spec.selector);
        match op {
            Op::InstallSa(install) if install.direction == Direction::Outbound => {
                let policies = std::iter::once(install.policy).chain(install.also.iter().copied());
                Some(About::policies(policies.filter_map(of)))
            }
            Op::RemoveSa { slot } => {
                let policies = self.spd.bound_to(*slot);
                (!policies.is_empty()).then(|| About::policies(policies.iter().copied().filter_map(of)))
            }
            Op::Policies { .. } if !self.policies_loaded => Some(About::Everything),
            Op::Policies { remove, insert } => {
                let inserted = insert.iter().map(|placed| placed.spec.selector);
                Some(About::policies(remove.iter().copied().filter_map(of).chain(inserted)))
            }
            // What is ours decides what a packet is.
            Op::SetInterface { .. } => Some(About::Everything),
            Op::InstallSa(_)
            | Op::MoveSa { .. }
            | Op::SetRoute { .. }
            | Op::RemoveRoute { .. }
            | Op::SetNeighbour { .. }
            | Op::Watch(_) => None,
        }
    }
}

fn next(number: u32) -> u32 {
    number.wrapping_add(1).max(1)
}

impl<K> Keys<K> for Tables<K> {
    fn key(&self, sa: SaRef) -> Option<&K> {
        self.sad.by_ref(sa).map(|sa| &sa.shared.key)
    }
}
