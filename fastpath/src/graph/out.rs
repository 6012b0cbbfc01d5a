//! Where packets end up.
use super::lost::{self, lost};
use crate::host::pmtu::Hint;
use ipc::LostPacket;
use ipc::contract::{Event, FrameMeta};
use sa::DropReason;
use std::net::IpAddr;

/// For the gateway's own stack: an Ethernet frame, VLAN tag removed.
#[derive(Debug)]
pub struct ToHost<B> {
    pub interface: u16,
    pub frame: B,
}
/// A finished IP packet whose next hop has no known MAC address.
#[derive(Debug)]
pub struct Unresolved<B> {
    pub interface: u16,
    pub next_hop: IpAddr,
    pub packet: B,
}
/// An IKE message; the buffer holds the payload alone, without non-ESP marker.
#[derive(Debug)]
pub struct IkeFrame<B> {
    pub meta: FrameMeta,
    pub payload: B,
}
/// A packet that was dropped (and counted) but whose sender should hear of it by ICMP.
#[derive(Debug)]
pub struct ErrorReport<B> {
    /// Where it came in; `None` for packets of our own.
    pub interface: Option<u16>,
    /// It came out of a tunnel: what is said about it quotes it, so that must go back through one.
    pub protected: bool,
    pub reason: DropReason,
    /// With [`DropReason::TooBig`]: the largest packet that would pass.
    pub mtu: u16,
    /// From its IP header on.
    pub packet: B,
}

/// What a call produced. Whoever calls takes the packets out and keeps the rest for the next call.
#[derive(Debug)]
pub struct Out<B> {
    /// By port: complete frames.
    pub tx: Vec<Vec<B>>,
    pub host: Vec<ToHost<B>>,
    /// Fragments of datagrams for the gateway, from their IP header on; what they make comes back to
    /// [`super::Worker::reassembled`].
    pub pieces: Vec<ToHost<B>>,
    pub unresolved: Vec<Unresolved<B>>,
    /// What routers said about ESP packets of ours, for [`crate::tables::Control::take_hint`].
    pub hints: Vec<Hint>,
    pub ike: Vec<IkeFrame<B>>,
    /// Also counted in `drops`.
    pub errors: Vec<ErrorReport<B>>,
    pub events: Vec<Event>,
    /// Packets that came into being by fragmentation, beyond the ones that were split.
    pub fragments: u64,
    /// By `DropReason as usize`; only ever grows.
    pub drops: [u64; DropReason::COUNT],
    /// What some of the dropped packets looked like, until there are [`lost::KEPT`]. Taking them out makes room.
    pub lost: Vec<LostPacket>,
}
impl<B> Default for Out<B> {
    fn default() -> Self {
        Self {
            tx: Vec::new(),
            host: Vec::new(),
            pieces: Vec::new(),
            unresolved: Vec::new(),
            ike: Vec::new(),
            hints: Vec::new(),
            errors: Vec::new(),
            events: Vec::new(),
            fragments: 0,
            drops: [0; DropReason::COUNT],
            lost: Vec::new(),
        }
    }
}
impl<B> Out<B> {
    /// A complete frame.
    #[inline(always)]
    pub(crate) fn send(&mut self, port: u16, frame: B) {
        match self.tx.get_mut(usize::from(port)) {
            Some(queue) => queue.push(frame),
            None => self.drop(DropReason::NoRoute),
        }
    }
    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
    }
    /// The same for a packet that can be shown: `bytes` begins at its IP header, `spi` is that of the SA it was for.
    #[cold]
    #[inline(never)]
    pub(crate) fn drop_packet(&mut self, reason: DropReason, bytes: &[u8], spi: u32) {
        self.drop(reason);
        if self.lost.len() < lost::KEPT {
            self.lost.extend(lost(reason, bytes, spi));
        }
    }
    /// Moves everything behind what `other` holds already.
    pub(crate) fn move_to(&mut self, other: &mut Self) {
        if other.tx.len() < self.tx.len() {
            other.tx.resize_with(self.tx.len(), Vec::new);
        }
        self.tx.iter_mut().zip(&mut other.tx).for_each(|(from, to)| to.append(from));
        other.host.append(&mut self.host);
        other.pieces.append(&mut self.pieces);
        other.unresolved.append(&mut self.unresolved);
        other.ike.append(&mut self.ike);
        other.hints.append(&mut self.hints);
        other.errors.append(&mut self.errors);
        other.events.append(&mut self.events);
        let room = lost::KEPT.saturating_sub(other.lost.len());
        other.lost.extend(self.lost.drain(..).take(room));
        other.fragments += std::mem::take(&mut self.fragments);
        for (from, to) in self.drops.iter_mut().zip(&mut other.drops) {
            *to += std::mem::take(from);
        }
    }
    /// Packets in the output queues and all drops so far: what must equal the packets put in.
    /// Pieces of one packet count as one.
    pub fn accounted(&self) -> u64 {
        let sent: usize = self.tx.iter().map(Vec::len).sum();
        let handed = sent
            + self.host.len()
            + self.pieces.len()
            + self.unresolved.len()
            + self.ike.len()
            + self.hints.len();
        handed as u64 + self.drops.iter().sum::<u64>() - self.fragments
    }
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }
}
