//! Public-key operations that others do for the engine meanwhile: a responder's key exchange in IKE_SA_INIT, the signatures
//! of IKE_AUTH. A message whose operation is under way waits here; all else goes on.
//!
//! Its repetitions are not looked at until it is answered. An IKE SA that ends meanwhile takes nothing with it: what comes
//! back for it is dropped.
use super::counters::Refused;
use super::ike_sa::{IkeSa, State};
use super::peers::{identity_for, my_id_for};
use super::proof::{self, Signed};
use super::{Cx, Engine};
use crate::api::{Action, Datagram, DhGroup, Peer};
use crate::job::{Done, Job, Outcome, Work};
use crate::message::{ChosenIke, ExchangeType, Header, Message};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use zeroize::Zeroizing;

/// What is under way.
#[derive(Default)]
pub(super) struct Beside {
    /// So many at most; 0: everything is computed at once, here.
    limit: usize,
    next: u64,
    pending: HashMap<u64, Pending>,
    /// The callers among them, by address and SPI.
    callers: HashMap<(SocketAddr, u64), u64>,
}
enum Pending {
    Init(Box<Caller>),
    /// The IKE SA that has it in `waiting`.
    Auth(u64),
}
/// An IKE_SA_INIT request that lacks nothing but the key exchange.
pub(super) struct Caller {
    pub d: Datagram,
    pub message: Message,
    pub peer: Arc<Peer>,
    pub chosen: ChosenIke,
    pub nonce_i: Vec<u8>,
}
/// An IKE_AUTH request whose signatures are being looked at.
pub(super) struct Waiting {
    id: u64,
    d: Datagram,
    header: Header,
    message: Message,
    peer: Arc<Peer>,
}

impl Beside {
    pub fn callers(&self) -> usize {
        self.callers.len()
    }
    pub fn has_caller(&self, remote: SocketAddr, spi_i: u64) -> bool {
        self.callers.contains_key(&(remote, spi_i))
    }
    pub fn is_on(&self) -> bool {
        self.limit > 0
    }
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.callers.is_empty()
    }
    fn is_full(&self) -> bool {
        self.pending.len() >= self.limit
    }
    fn add(&mut self, pending: Pending, from: IpAddr, work: Work, cx: &mut Cx) -> u64 {
        self.next += 1;
        self.pending.insert(self.next, pending);
        cx.out.push(Action::Compute { id: self.next, from, job: Job(work) });
        self.next
    }
}

impl Engine {
    /// From now on up to so many public-key operations are asked for (`Action::Compute`) instead of being done in `handle`.
    pub fn compute_beside(&mut self, limit: usize) {
        self.beside.limit = limit;
    }

    /// Has the key exchange made.
    pub(super) fn put_off_init(&mut self, caller: Caller, theirs: &[u8], group: DhGroup, cx: &mut Cx) {
        if self.beside.is_full() {
            // It comes again.
            return self.counters.refuse(Refused::NoResources);
        }
        let mut seed = Zeroizing::new([0; 32]);
        self.rng.fill(&mut seed[..]);
        let (key, from) = ((caller.d.remote, caller.message.header.spi_i), caller.d.remote.ip());
        let work = Work::Exchange { group, theirs: theirs.to_vec(), seed };
        let id = self.beside.add(Pending::Init(Box::new(caller)), from, work, cx);
        self.beside.callers.insert(key, id);
    }
    /// `true`: their request is an IKE_AUTH with signatures, and waits.
    pub(super) fn put_off_auth(
        &mut self,
        sa: &mut IkeSa,
        d: &Datagram,
        header: &Header,
        message: &Message,
        cx: &mut Cx,
    ) -> bool {
        let State::InitAnswered(half) = &sa.state else { return false };
        let ready = half.rounds.left.is_empty() && message.header.exchange == ExchangeType::IKE_AUTH;
        let (true, true, Ok(id_i)) = (ready, self.beside.is_on(), message.id_i()) else { return false };
        proof::learn(&mut sa.known, message);
        let id_r = message.id_r().ok();
        let Some(identity) = identity_for(sa, id_i, id_r, message) else { return false };
        let id = my_id_for(identity, d.local.ip(), id_r);
        let theirs = Signed { first_message: &half.request, their_nonce: &half.nonce_r, id: id_i };
        let ours = Signed { first_message: &half.response, their_nonce: &half.nonce_i, id: &id };
        let wall = self.wall(cx.now);
        let Some(task) = proof::task(sa, identity, &theirs, &ours, message, wall) else { return false };
        if self.beside.is_full() {
            self.counters.refuse(Refused::NoResources);
            return true;
        }
        let work = Work::Proof(Box::new(task));
        let id = self.beside.add(Pending::Auth(sa.local_spi), d.remote.ip(), work, cx);
        let (d, header, message, peer) = (d.clone(), *header, message.clone(), Arc::clone(&sa.peer));
        sa.waiting = Some(Box::new(Waiting { id, d, header, message, peer }));
        true
    }

    pub(super) fn on_computed(&mut self, id: u64, done: Done, cx: &mut Cx) {
        match (self.beside.pending.remove(&id), done.0) {
            (Some(Pending::Init(caller)), outcome) => {
                let spi_i = caller.message.header.spi_i;
                self.beside.callers.remove(&(caller.d.remote, spi_i));
                match outcome {
                    Outcome::Exchange(made) => self.go_on_with(*caller, made, cx),
                    _ => self.counters.refuse(Refused::NoResources),
                }
            }
            (Some(Pending::Auth(local_spi)), outcome) => {
                self.with_sa(local_spi, cx, |engine, sa, cx| engine.judged(sa, id, outcome, cx));
            }
            // Of a predecessor.
            (None, _) => {}
        }
    }
    fn go_on_with(
        &mut self,
        caller: Caller,
        made: Result<(Vec<u8>, crate::crypto::Secret), crate::crypto::DhError>,
        cx: &mut Cx,
    ) {
        let (d, header) = (caller.d.clone(), caller.message.header);
        let current = self.by_address.find(d.remote.ip(), d.local.ip());
        if !current.is_some_and(|peer| Arc::ptr_eq(&peer, &caller.peer)) {
            // Settings have changed: judged once more, by the new ones.
            return self.on_init_request(&d, &header, cx);
        }
        if let Err((refused, _)) = self.half_open_with(caller, made, cx) {
            self.counters.refuse(refused);
        }
    }
    fn judged(&mut self, sa: &mut IkeSa, id: u64, outcome: Outcome, cx: &mut Cx) {
        let Some(waiting) = sa.waiting.take_if(|waiting| waiting.id == id) else { return };
        let Waiting { d, header, message, peer, .. } = *waiting;
        match outcome {
            // Settings have changed: judged here, by the new ones.
            _ if !sa.is_half_open() => return,
            Outcome::Proof(proven) if Arc::ptr_eq(&peer, &sa.peer) => sa.proven = Some(proven),
            Outcome::Proof(_) => {}
            _ => return self.counters.refuse(Refused::NoResources),
        }
        let response = self.dispatch_request(sa, &d, &message, cx);
        sa.proven = None;
        self.answer(sa, &d, &header, response, cx);
    }
}
