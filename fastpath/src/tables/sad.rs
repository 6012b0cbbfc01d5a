//! The SA table: a power-of-two array of slots, and what workers share of one SA.
//!
//! A [`Sa`] is what a packet reads: one cache line with the finished outer IPv4 header in it, two for IPv6. A
//! [`Shared`] exists once per SA and holds the key and everything that changes with packets: the line with the key has
//! what goes out, a second one the replay window.
use super::hash::Map;
use crate::crypto::SaRef;
use crate::pages;
use crate::prefetch::near;
use ipc::contract::Expiry;
use sa::{
    Direction, Encap, Framing, Held, Lifetime, Limit, Mode, PolicyId, Protocol, ReplayWindow, Spi, Stale,
    Suite, TrafficSelector, TunnelEnds,
};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering};
use wire::{ip, udp};

/// What an SA may do (RFC 4301 4.4.2.1; the names are RouterOS's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    Mature = 0,
    /// Past a soft limit: works, and a successor has been asked for.
    Dying = 1,
    /// Past a hard limit: passes nothing.
    Dead = 2,
}

/// The part of an SA that exists once, however many workers use it.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Shared<K> {
    pub key: K,
    last_allowed: u64,
    /// Outbound: last number handed out. Who takes one needs the key next.
    last: AtomicU64,
    state: AtomicU8,
    limited: bool,
    /// Outbound: what was learnt of the path to the peer; the largest number when nothing was.
    path_mtu: AtomicU16,
    /// Inbound. On a line of its own: every packet writes it, and other workers read the key meanwhile.
    window: Padded<ReplayWindow>,
    used: Padded<Used>,
    lifetime: Lifetime,
}
#[derive(Debug, Default)]
#[repr(align(64))]
struct Padded<T>(T);
#[derive(Debug, Default)]
struct Used {
    bytes: AtomicU64,
    packets: AtomicU64,
}

/// What became of a lifetime when a packet was charged to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    Fine,
    /// The packet passes; said once.
    Soft(Expiry),
    /// The packet does not pass. `first` once.
    Hard {
        why: Expiry,
        first: bool,
    },
}

/// Numbers for a run of packets: `first`, `first + 1`, … `count` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    pub first: u64,
    pub count: u64,
    /// This run passed the soft limit of the sequence space.
    pub soft: bool,
}

impl<K> Shared<K> {
    pub fn new(key: K, esn: bool, last_seq: u64, lifetime: Lifetime, window: ReplayWindow) -> Self {
        let limits = [lifetime.bytes, lifetime.packets];
        Self {
            key,
            last_allowed: if esn { u64::MAX } else { u64::from(u32::MAX) },
            state: AtomicU8::new(State::Mature as u8),
            path_mtu: AtomicU16::new(u16::MAX),
            limited: limits.iter().any(|l| *l != Limit::default()),
            last: AtomicU64::new(last_seq),
            window: Padded(window),
            used: Padded::default(),
            lifetime,
        }
    }

    //= rfc4303#3.3.3/no-cycle: past the last number an SA sends nothing more.
    /// Takes up to `wanted` numbers; no two callers get the same one, and none is beyond the last.
    #[inline]
    pub fn reserve(&self, wanted: u64) -> Reserved {
        let mut last = self.last.load(Ordering::Relaxed);
        loop {
            let count = wanted.min(self.last_allowed.saturating_sub(last));
            let next = last + count;
            // Relaxed: the numbers alone matter, nothing else is published through them.
            match self.last.compare_exchange_weak(last, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    let soft = self.last_allowed - self.last_allowed / 8;
                    return Reserved {
                        first: last.saturating_add(1),
                        count,
                        soft: last < soft && next >= soft,
                    };
                }
                Err(seen) => last = seen,
            }
        }
    }
    /// Outbound: the last number used. Inbound: the highest accepted.
    pub fn last_seq(&self, direction: Direction) -> u64 {
        match direction {
            Direction::Outbound => self.last.load(Ordering::Relaxed),
            Direction::Inbound => self.window().newest().0,
        }
    }

    #[inline]
    pub fn path_mtu(&self) -> u16 {
        self.path_mtu.load(Ordering::Relaxed)
    }
    pub(crate) fn set_path_mtu(&self, mtu: Option<u16>) {
        self.path_mtu.store(mtu.unwrap_or(u16::MAX), Ordering::Relaxed);
    }

    /// The replay window, to look at.
    #[inline]
    pub fn window(&self) -> &ReplayWindow {
        &self.window.0
    }
    /// The replay window, to be moved by nobody else until dropped.
    #[inline]
    pub fn hold_window(&self) -> Held<'_> {
        self.window().hold()
    }
    /// Whether packets have to be charged at all.
    #[inline]
    pub fn is_limited(&self) -> bool {
        self.limited
    }
    /// Has what packets of this direction use brought near.
    #[inline(always)]
    pub fn prefetch(&self, direction: Direction) {
        near(self);
        if direction == Direction::Inbound {
            near(&self.window);
        }
    }

    #[inline]
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            0 => State::Mature,
            1 => State::Dying,
            _ => State::Dead,
        }
    }
    /// True the first time.
    pub fn mark_dying(&self) -> bool {
        let (from, to) = (State::Mature as u8, State::Dying as u8);
        self.state.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
    /// True the first time.
    pub fn mark_dead(&self) -> bool {
        self.state.swap(State::Dead as u8, Ordering::Relaxed) != State::Dead as u8
    }

    /// Charges one packet of `bytes` to the limits that count packets or bytes.
    #[inline]
    pub fn charge(&self, bytes: u64) -> Charge {
        if self.limited { self.charge_limited(bytes) } else { Charge::Fine }
    }
    fn charge_limited(&self, bytes: u64) -> Charge {
        let bytes_used = self.used.0.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let packets_used = self.used.0.packets.fetch_add(1, Ordering::Relaxed) + 1;
        let mut verdict = Charge::Fine;
        for (limit, used, why) in [
            (self.lifetime.bytes, bytes_used, Expiry::Bytes),
            (self.lifetime.packets, packets_used, Expiry::Packets),
        ] {
            if limit.hard != 0 && used > limit.hard {
                return Charge::Hard { why, first: self.mark_dead() };
            }
            if limit.soft != 0 && used >= limit.soft && self.mark_dying() {
                verdict = Charge::Soft(why);
            }
        }
        verdict
    }
}

/// What an SA makes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// ESP in tunnel mode whose IV counts up with the sequence number (AEADs).
    Counter,
    /// The same with an IV that is drawn at random (CBC), or none.
    Random,
    /// ESP in tunnel mode whose policy asks for more than RFC 4301 does; outbound alone ([`sa::Framing`]).
    Framed,
    /// The rest is [`crate::graph`]'s module of modes.
    EspTransport,
    AhTunnel,
    AhTransport,
}
impl Form {
    pub fn new(protocol: Protocol, mode: Mode, counts: bool) -> Self {
        match (protocol, mode) {
            (Protocol::Esp, Mode::Tunnel) if counts => Self::Counter,
            (Protocol::Esp, Mode::Tunnel) => Self::Random,
            (Protocol::Esp, Mode::Transport) => Self::EspTransport,
            (Protocol::Ah, Mode::Tunnel) => Self::AhTunnel,
            (Protocol::Ah, Mode::Transport) => Self::AhTransport,
        }
    }
    #[inline(always)]
    pub fn is_esp_tunnel(self) -> bool {
        matches!(self, Self::Counter | Self::Random | Self::Framed)
    }
    #[inline(always)]
    pub fn is_ah(self) -> bool {
        matches!(self, Self::AhTunnel | Self::AhTransport)
    }
    pub fn is_transport(self) -> bool {
        matches!(self, Self::EspTransport | Self::AhTransport)
    }
}

/// One SA as a worker reads it. What most packets need stands in the first cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Sa<K> {
    pub shared: Arc<Shared<K>>,
    pub spi: u32,
    /// Number of the installation that filled the slot.
    pub install: u32,
    pub direction: Direction,
    pub esn: bool,
    pub form: Form,
    pub iv_len: u8,
    /// With the IV that AES-GMAC has in AH's field for it.
    pub icv_len: u8,
    pub pad_to: u8,
    pub encap: Option<Encap>,
    pub header: Template,
    pub ends: TunnelEnds,
    /// What only first packets and events ask for.
    pub about: Arc<Install<K>>,
}
impl<K> Sa<K> {
    pub fn name(&self) -> Spi {
        self.about.spi
    }
}

/// Outer IP header and UDP header if any: all that is the same in each packet, checksum included.
/// Lengths, TOS, DF and the sequence number are filled in per packet.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Template {
    /// Of the IPv4 header's words, not folded.
    pub sum: u32,
    /// Bytes of outer IP and UDP header, and so where the SPI is.
    pub esp_at: u8,
    /// Where the UDP header is; 0 without one.
    pub udp_at: u8,
    pub is_ipv4: bool,
    pub bytes: [u8; TEMPLATE],
}
const TEMPLATE: usize = ip::V6_HEADER + udp::HEADER;

impl Template {
    fn new(protocol: Protocol, ends: TunnelEnds, encap: Option<Encap>) -> Self {
        let fields = ip::Fields {
            src: ends.local,
            dst: ends.remote,
            protocol: match (protocol, encap) {
                (Protocol::Ah, _) => ip::protocol::AH,
                (Protocol::Esp, Some(_)) => ip::protocol::UDP,
                (Protocol::Esp, None) => ip::protocol::ESP,
            },
            tos: 0,
            ttl: 64,
            dont_fragment: false,
            id: 0,
        };
        let mut bytes = [0; TEMPLATE];
        let mut at = fields.header_len();
        // Payload length 0: the packet's own is added to the checksum when it is known. Control refuses mixed
        // families, so everything fits.
        let _ = fields.write(&mut bytes, 0);
        let udp_at = if encap.is_some() { at as u8 } else { 0 };
        if let Some(encap) = encap {
            let _ = udp::write(&mut bytes[at..], encap.local_port, encap.remote_port, 0);
            at += udp::HEADER;
        }
        let mut fixed = bytes;
        for changing in [1..8, 10..12] {
            fixed[changing].fill(0);
        }
        // Ten words of 16 bits.
        let sum = wire::checksum::partial(&fixed[..ip::V4_HEADER]);
        let sum = ((sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32)) as u32;
        Self { bytes, sum, esp_at: at as u8, udp_at, is_ipv4: ends.local.is_ipv4() }
    }
    /// Whether a packet's source is our peer and its destination our end. The packet was parsed before.
    #[inline(always)]
    pub fn answered_by(&self, packet: &[u8]) -> (bool, bool) {
        match packet.first().map(|b| b >> 4) {
            Some(4) if self.is_ipv4 => {
                let pair =
                    |bytes: &[u8]| bytes.get(12..20)?.first_chunk().map(|pair| u64::from_le_bytes(*pair));
                match (pair(&self.bytes), pair(packet)) {
                    // Crosswise, in one compare.
                    (Some(ours), Some(theirs)) => {
                        let differing = ours.rotate_left(32) ^ theirs;
                        (differing as u32 == 0, differing >> 32 == 0)
                    }
                    _ => (false, false),
                }
            }
            Some(6) if !self.is_ipv4 => answers::<16>(&self.bytes, packet, 8),
            _ => (false, false),
        }
    }
}
/// Compares the addresses of `N` bytes, which begin at `at`, crosswise.
fn answers<const N: usize>(ours: &[u8], theirs: &[u8], at: usize) -> (bool, bool) {
    let pair = |bytes: &[u8]| -> Option<([u8; N], [u8; N])> {
        let (src, rest) = bytes.get(at..)?.split_first_chunk()?;
        Some((*src, *rest.first_chunk()?))
    };
    match (pair(ours), pair(theirs)) {
        (Some((local, remote)), Some((src, dst))) => (src == remote, dst == local),
        _ => (false, false),
    }
}

/// What both instances of the table build their [`Sa`] from.
#[derive(Debug)]
pub struct Install<K> {
    pub slot: u32,
    pub install: u32,
    pub spi: Spi,
    pub direction: Direction,
    pub protocol: Protocol,
    pub mode: Mode,
    pub suite: Suite,
    pub esn: bool,
    pub ends: TunnelEnds,
    pub encap: Option<Encap>,
    pub original: Option<TunnelEnds>,
    /// Outbound: as its policy had it.
    pub framing: Framing,
    pub policy: PolicyId,
    /// Further ones that it serves.
    pub also: Vec<PolicyId>,
    pub selectors: Arc<[TrafficSelector]>,
    pub shared: Arc<Shared<K>>,
}

#[derive(Debug)]
pub struct Sad<K> {
    slots: Vec<Option<Sa<K>>>,
    /// Inbound SPIs that do not carry their slot.
    foreign: Map<u32, u32>,
}

impl<K> Sad<K> {
    pub fn new(slots: u32) -> Self {
        let slots = slots.max(1).next_power_of_two();
        Self { slots: pages::filled(slots as usize, || None), foreign: Map::default() }
    }
    pub fn capacity(&self) -> u32 {
        self.slots.len() as u32
    }
    pub(crate) fn install(&mut self, new: &Arc<Install<K>>) {
        let (mask, spi) = (self.capacity() - 1, new.spi.get());
        if new.direction == Direction::Inbound && spi & mask != new.slot {
            self.foreign.insert(spi, new.slot);
        }
        let encryption = new.suite.encryption();
        if let Some(slot) = self.slots.get_mut(new.slot as usize) {
            *slot = Some(Sa {
                shared: new.shared.clone(),
                spi,
                install: new.install,
                direction: new.direction,
                esn: new.esn,
                form: match Form::new(new.protocol, new.mode, encryption.counts_iv()) {
                    form if form.is_esp_tunnel() && !new.framing.is_plain() => Form::Framed,
                    form => form,
                },
                iv_len: encryption.iv_len() as u8,
                icv_len: (new.suite.integrity().iv_len() + new.suite.icv_len()) as u8,
                pad_to: encryption.pad_to() as u8,
                encap: new.encap,
                header: Template::new(new.protocol, new.ends, new.encap),
                ends: new.ends,
                about: new.clone(),
            });
        }
    }
    pub(crate) fn remove(&mut self, slot: u32) {
        let taken = self.slots.get_mut(slot as usize).and_then(Option::take);
        if let Some(sa) = taken.filter(|sa| self.foreign.get(&sa.spi) == Some(&slot)) {
            self.foreign.remove(&sa.spi);
        }
    }
    pub(crate) fn relocate(&mut self, slot: u32, ends: TunnelEnds, encap: Option<Encap>) {
        if let Some(Some(sa)) = self.slots.get_mut(slot as usize) {
            (sa.ends, sa.encap) = (ends, encap);
            sa.header = Template::new(sa.about.protocol, ends, encap);
        }
    }
    /// Has the record that a slot holds brought near.
    #[inline(always)]
    pub fn prefetch(&self, slot: u32) {
        if let Some(place) = self.slots.get(slot as usize) {
            near(place);
        }
    }
    /// The same for an SPI as it came from the wire, if it carries its slot.
    #[inline(always)]
    pub fn prefetch_inbound(&self, spi: u32) {
        self.prefetch(spi & (self.capacity() - 1));
    }
    #[inline]
    pub fn slot(&self, slot: u32) -> Option<&Sa<K>> {
        self.slots.get(slot as usize)?.as_ref()
    }
    #[inline]
    pub fn by_ref(&self, sa: SaRef) -> Option<&Sa<K>> {
        self.slot(sa.slot).filter(|found| found.install == sa.install)
    }
    /// The inbound SA of an SPI as it came from the wire: slot and record.
    //= rfc4301#4.1/spi-lookup: the SPI alone names a unicast SA; the outer addresses are compared after.
    #[inline]
    pub fn inbound(&self, spi: u32) -> Option<(u32, &Sa<K>)> {
        let slot = spi & (self.capacity() - 1);
        let fits = |sa: &&Sa<K>| sa.spi == spi && sa.direction == Direction::Inbound;
        if let Some(sa) = self.slot(slot).filter(fits) {
            return Some((slot, sa));
        }
        self.foreign(spi)
    }
    #[cold]
    fn foreign(&self, spi: u32) -> Option<(u32, &Sa<K>)> {
        let fits = |sa: &&Sa<K>| sa.spi == spi && sa.direction == Direction::Inbound;
        //= rfc4303#2.1/reserved-spi: 0 to 255 are never looked up further.
        if spi < Spi::FIRST || self.foreign.is_empty() {
            return None;
        }
        let slot = *self.foreign.get(&spi)?;
        self.slot(slot).filter(fits).map(|sa| (slot, sa))
    }
}

/// Whether a new SA's window would take the number: for tests and diagnosis.
pub fn would_accept<K>(shared: &Shared<K>, low: u32) -> Result<(), Stale> {
    shared.window().check(low).map(|_| ())
}

/// Whether an address is one an SA's outer header may have.
pub fn same_family(ends: TunnelEnds) -> bool {
    matches!((ends.local, ends.remote), (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)))
}

/// The outer IPv4 header with UDP is in the first of two lines.
const _: () = {
    type Any = Sa<()>;
    let end = std::mem::offset_of!(Any, header) + std::mem::offset_of!(Template, bytes);
    assert!(end + ip::V4_HEADER + udp::HEADER <= 64 && size_of::<Option<Any>>() == 128);
};
/// Key, number and state of the CPU engines are in one line.
const _: () = assert!(std::mem::offset_of!(Shared<crate::crypto::KeyRecord>, limited) < 64);

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(esn: bool, last_seq: u64, lifetime: Lifetime) -> Shared<()> {
        let window = ReplayWindow::new(sa::ReplayWidth::new(64).expect("a width"), esn, 0);
        Shared::new((), esn, last_seq, lifetime, window)
    }
    #[test]
    fn a8_the_counter_stops_at_its_end_and_never_wraps() {
        for (esn, end) in [(false, u64::from(u32::MAX)), (true, u64::MAX)] {
            let sa = shared(esn, end - 3, Lifetime::default());
            assert_eq!(sa.reserve(2), Reserved { first: end - 2, count: 2, soft: false });
            assert_eq!(sa.reserve(5).count, 1);
            for _ in 0..100 {
                assert_eq!(sa.reserve(64).count, 0);
            }
            assert_eq!(sa.last_seq(Direction::Outbound), end);
            let soft = end - end / 8;
            let sa = shared(esn, soft - 2, Lifetime::default());
            assert_eq!([1, 1, 1].map(|n| sa.reserve(n).soft), [false, true, false]);
        }
    }
    #[test]
    fn a9_no_number_is_handed_out_twice() {
        let sa = shared(false, 0, Lifetime::default());
        let mut all: Vec<u64> = std::thread::scope(|s| {
            let workers: Vec<_> = (1..=4)
                .map(|step| {
                    let sa = &sa;
                    s.spawn(move || {
                        let runs = (0..2000).map(|n| sa.reserve(1 + (n * step) % 7));
                        runs.flat_map(|r| r.first..r.first + r.count).collect::<Vec<_>>()
                    })
                })
                .collect();
            workers.into_iter().flat_map(|w| w.join().expect("a worker")).collect()
        });
        all.sort_unstable();
        assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
    }
    #[test]
    fn limits_speak_once() {
        let lifetime = Lifetime {
            bytes: Limit { soft: 0, hard: 1000 },
            packets: Limit { soft: 2, hard: 0 },
            ..Lifetime::default()
        };
        let sa = shared(false, 0, lifetime);
        let got: Vec<_> = (0..6).map(|_| sa.charge(300)).collect();
        let expected = [
            Charge::Fine,
            Charge::Soft(Expiry::Packets),
            Charge::Fine,
            Charge::Hard { why: Expiry::Bytes, first: true },
            Charge::Hard { why: Expiry::Bytes, first: false },
            Charge::Hard { why: Expiry::Bytes, first: false },
        ];
        assert_eq!(got, expected);
        assert_eq!(sa.state(), State::Dead);
    }
}
