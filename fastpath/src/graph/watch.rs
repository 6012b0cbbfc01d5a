//! Looking on: copies of some packets, before and after, and what the graph did with each.
//!
//! Whether anything is watched stands in the tables, so all workers begin and end between two bursts, and while nothing
//! is, that is one branch for each burst. While something is, the packets that may be concerned walk the graph one by
//! one, and those between them in bursts as ever: so whatever comes of one is known to be of that one, drops among it.
//! They keep their order. Copies go to a bounded queue; what finds it full is counted and goes its way all the same.
use super::cache::{Verdict, Word};
use super::forward::packet_info;
use super::seen::flow_of;
use super::{Job, Out, Stage, Work, Worker};
use crate::crypto::{Engine, SaRef};
use crate::tables::Tables;
use crate::tables::sad::Install;
use crossbeam::queue::ArrayQueue;
use ipc::watch::{
    self as said, Fate, FlowFilter, MAX_SNAP, Place, RuledWord, Sighting, Step, Subject, Trail,
};
use sa::{DropReason, Prefix};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use wire::esp::{self, NatT};
use wire::ip::{Packet, protocol};
use wire::{Flow, PacketBuf, ah, eth, udp};

/// Copies that wait for the control thread.
const QUEUE: usize = 512;
/// How often an engine is asked for a packet that it did not give back at once.
const ASKED: usize = 4096;
const NAT_T_PORT: u16 = 4500;

/// A copy on its way. `time` of the sighting is the worker's clock.
#[derive(Clone)]
pub struct Look {
    pub sighting: Sighting,
    len: u16,
    bytes: [u8; MAX_SNAP],
}
impl Look {
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or_default()
    }
    fn blank() -> Self {
        let (watch, packet, time, wire_len) = (0, 0, 0, 0);
        let (leaves, protected, fate, trail) = (false, false, None, Trail::default());
        let sighting = Sighting {
            watch,
            packet,
            time,
            place: Place::Own,
            leaves,
            protected,
            wire_len,
            flow: None,
            fate,
            trail,
        };
        Self { sighting, len: 0, bytes: [0; MAX_SNAP] }
    }
    fn copy(&mut self, packet: &[u8], snap: u16) {
        let len = packet.len().min(snap.into()).min(MAX_SNAP);
        if let (Some(to), Some(from)) = (self.bytes.get_mut(..len), packet.get(..len)) {
            to.copy_from_slice(from);
        }
        self.len = len as u16;
        self.sighting.wire_len = packet.len() as u32;
    }
}
impl std::fmt::Debug for Look {
    /// Without what the packet holds.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Look({:?})", self.sighting)
    }
}

/// What is watched, as all workers and the control thread share it.
#[derive(Debug)]
pub struct Watch {
    spec: said::Watch,
    taken: AtomicU64,
    lost: AtomicU64,
    queue: ArrayQueue<Look>,
}

impl Watch {
    pub fn new(spec: said::Watch) -> Self {
        Self { spec, taken: AtomicU64::new(0), lost: AtomicU64::new(0), queue: ArrayQueue::new(QUEUE) }
    }
    pub fn spec(&self) -> &said::Watch {
        &self.spec
    }
    pub fn next(&self) -> Option<Look> {
        self.queue.pop()
    }
    /// As many packets as were asked for have been seen.
    pub fn is_full(&self) -> bool {
        self.taken.load(Relaxed) >= self.spec.packets
    }
    /// Packets seen, and copies that found no room.
    pub fn counts(&self) -> (u64, u64) {
        (self.taken.load(Relaxed).min(self.spec.packets), self.lost.load(Relaxed))
    }
    /// The number of a packet; `None` when there are enough.
    fn take(&self) -> Option<u64> {
        let number = self.taken.fetch_add(1, Relaxed);
        (number < self.spec.packets).then_some(number + 1)
    }
    fn put(&self, look: Look) {
        if self.queue.push(look).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Whether a packet, from its IP header on, may turn out to be one that is watched.
    fn may_concern<K>(&self, tables: &Tables<K>, packet: &[u8]) -> bool {
        if self.is_full() {
            return false;
        }
        let Ok((parsed, flow)) = flow_of(packet) else { return false };
        let inbound = protected(tables, &parsed, packet);
        match (&self.spec.of, inbound) {
            // What is inside shows later.
            (Subject::Flow(filter), inbound) => inbound.is_some() || fits(filter, &flow),
            (Subject::Sas(sas), Some(spi)) => sas.iter().any(|(_, of)| of.get() == spi),
            (Subject::Policies(ids), Some(spi)) => {
                let of = |about: &Install<K>| {
                    ids.contains(&about.policy) || about.also.iter().any(|id| ids.contains(id))
                };
                tables.sad.inbound(spi).is_some_and(|(_, sa)| of(&sa.about))
            }
            (Subject::Sas(sas), None) => {
                let bound = tables.spd.find(&flow).and_then(|entry| entry.sa_for(&flow));
                bound.is_some_and(|bound| sas.iter().any(|(slot, _)| slot.0 == bound.slot))
            }
            (Subject::Policies(ids), None) => [flow, flow.reversed()]
                .iter()
                .filter_map(|flow| tables.spd.find(flow))
                .any(|entry| ids.contains(&entry.placed.spec.id)),
        }
    }
    /// The same once it is known what became of it.
    fn concerns(&self, log: &Log) -> bool {
        match &self.spec.of {
            Subject::Policies(_) => true,
            Subject::Sas(sas) => log.trail.steps().any(|step| match step {
                Step::Esp { spi } | Step::Ah { spi } | Step::Framed { spi, .. } => {
                    sas.iter().any(|(_, of)| of.get() == spi)
                }
                _ => false,
            }),
            Subject::Flow(filter) => log.outer.iter().chain(&log.inner).any(|flow| fits(filter, flow)),
        }
    }
}

fn fits(filter: &FlowFilter, flow: &Flow) -> bool {
    let address = |prefix: Option<Prefix>, of: IpAddr| prefix.is_none_or(|prefix| prefix.contains(of));
    let same = |wanted: Option<u16>, port| wanted.is_none() || wanted == port;
    address(filter.src, flow.src)
        && address(filter.dst, flow.dst)
        && filter.protocol.is_none_or(|protocol| protocol == flow.protocol)
        && same(filter.src_port, flow.src_port)
        && same(filter.dst_port, flow.dst_port)
}
/// The SPI of ESP or AH for the gateway; 0 if it is too short to have one.
fn protected<K>(tables: &Tables<K>, packet: &Packet, bytes: &[u8]) -> Option<u32> {
    if !tables.ports.is_own(packet.dst) {
        return None;
    }
    let upper = packet.upper(bytes);
    let esp = |bytes| Some(esp::Header::parse(bytes).map_or(0, |header| header.spi));
    match packet.protocol {
        protocol::ESP => esp(upper),
        protocol::AH => Some(ah::Header::parse(upper).map_or(0, |header| header.spi)),
        protocol::UDP => {
            let (header, payload) = udp::parse(upper).ok()?;
            let is_esp = header.dst_port.get() == NAT_T_PORT && esp::nat_t(payload) == NatT::Esp;
            if is_esp { esp(payload) } else { None }
        }
        _ => None,
    }
}

/// How packets come to a worker.
#[derive(Clone, Copy)]
pub(super) enum Arrival {
    Port(u16),
    Own {
        exempt: bool,
    },
    /// Whole datagrams of what an interface received in pieces.
    Whole {
        interface: u16,
    },
}
impl Arrival {
    fn place(self) -> Place {
        match self {
            Self::Port(port) => Place::Port(port),
            Self::Own { .. } | Self::Whole { .. } => Place::Own,
        }
    }
    /// Where the IP header is.
    fn ip(self, packet: &[u8]) -> &[u8] {
        match self {
            Self::Port(_) => eth::Frame::parse(packet).ok().and_then(|frame| packet.get(frame.payload_at..)),
            Self::Own { .. } | Self::Whole { .. } => Some(packet),
        }
        .unwrap_or_default()
    }
}

/// What one packet went through.
#[derive(Default)]
pub(crate) struct Log {
    trail: Trail,
    outer: Option<Flow>,
    inner: Option<Flow>,
    is_protected: bool,
}

/// A worker's notebook. Empty, and made of nothing, until something is watched.
pub(super) struct Notes<B> {
    /// A packet is on its way alone.
    pub within: bool,
    log: Log,
    others: Vec<B>,
    one: Vec<B>,
    before: Option<Box<Look>>,
    sent: Vec<usize>,
}
impl<B> Default for Notes<B> {
    fn default() -> Self {
        Self {
            within: false,
            log: Log::default(),
            others: Vec::new(),
            one: Vec::new(),
            before: None,
            sent: Vec::new(),
        }
    }
}

impl<B: PacketBuf> Notes<B> {
    /// The end of a stage: what it left says what it did.
    pub fn look<K>(&mut self, tables: &Tables<K>, work: &Work<B>, stage: Stage) {
        let log = &mut self.log;
        let spi = |at: SaRef| tables.sad.by_ref(at).map_or(0, |sa| sa.spi);
        match stage {
            Stage::Classify | Stage::Unwrap => {
                if let Some(item) = work.incoming.first() {
                    log.is_protected = true;
                    let (spi, ah) = (item.spi, item.ah);
                    log.trail.push(if ah { Step::Ah { spi } } else { Step::Esp { spi } });
                }
                if let Some(item) = work.forward.first() {
                    let Ok((_, flow)) = flow_of(item.buf.data()) else { return };
                    if stage == Stage::Unwrap {
                        log.inner = Some(flow);
                    }
                    let policy = tables.spd.find(&flow).map_or(0, |entry| entry.placed.spec.id.0);
                    let word = ruled(item.verdict, spi);
                    log.trail.push(Step::Ruled { policy, word });
                }
            }
            Stage::Admit => {
                if let Some(job) = work.jobs.first() {
                    let number = job.context.candidate.seq().0;
                    log.trail.push(Step::Admitted { spi: spi(job.sa), number });
                }
            }
            Stage::Frame => {
                if let Some(job) = work.jobs.first() {
                    let (pieces, number) = (work.jobs.len() as u16, number(tables, job));
                    log.trail.push(Step::Framed { spi: spi(job.sa), number, pieces });
                }
            }
            Stage::Open | Stage::Seal => {
                if let Some(job) = work.done.first() {
                    let ok = job.ok;
                    log.trail.push(if stage == Stage::Open {
                        Step::Opened { ok }
                    } else {
                        Step::Sealed { ok }
                    });
                }
            }
            Stage::Forward | Stage::Send => {}
        }
    }
    /// A packet for the gateway leaves no work behind that could be looked at.
    fn inner_for_host(&mut self, frame: &[u8]) {
        let inner = eth::Frame::parse(frame).ok().and_then(|at| flow_of(frame.get(at.payload_at..)?).ok());
        self.log.inner = self.log.inner.or(inner.map(|(_, flow)| flow));
    }
}
/// As the ESP header has it. That of AH stands where the headers in front decide, and is not told.
fn number<B: PacketBuf, K>(tables: &Tables<K>, job: &Job<B>) -> u64 {
    let esp = job.packet.data().get(job.esp_at.into()..).unwrap_or_default();
    match (tables.sad.by_ref(job.sa), esp::Header::parse(esp)) {
        (Some(sa), Ok(header)) if !sa.form.is_ah() => {
            u64::from(job.seq_high.unwrap_or(0)) << 32 | u64::from(header.seq_low)
        }
        _ => 0,
    }
}
fn ruled(word: Word, spi: impl Fn(SaRef) -> u32) -> RuledWord {
    match word.verdict() {
        Verdict::Pass => RuledWord::Pass,
        Verdict::Encrypt(at) => RuledWord::Protect(spi(at)),
        Verdict::Acquire => RuledWord::Acquire,
        Verdict::Ours => RuledWord::Ours,
        Verdict::Link => RuledWord::Link,
        Verdict::Mismatch => RuledWord::Mismatch,
        Verdict::Drop(reason) => RuledWord::Drop(reason),
    }
}

/// How much of everything there was before a packet was taken in.
struct Marks {
    drops: [u64; DropReason::COUNT],
    host: usize,
    pieces: usize,
    unresolved: usize,
    hints: usize,
    ike: usize,
}
impl Marks {
    fn of<B>(out: &Out<B>, sent: &mut Vec<usize>) -> Self {
        sent.clear();
        sent.extend(out.tx.iter().map(Vec::len));
        Self {
            drops: out.drops,
            host: out.host.len(),
            pieces: out.pieces.len(),
            unresolved: out.unresolved.len(),
            hints: out.hints.len(),
            ike: out.ike.len(),
        }
    }
    /// What came of it. Of several fragments, what came of most that can be told.
    fn fate<B>(&self, out: &Out<B>, sent: &[usize]) -> Fate {
        let before = |port: usize| sent.get(port).copied().unwrap_or(0);
        let port = out.tx.iter().enumerate().find(|(port, queue)| queue.len() > before(*port));
        let dropped = DropReason::ALL.iter().find(|r| out.drops[**r as usize] > self.drops[**r as usize]);
        match (dropped, port) {
            (Some(reason), _) => Fate::Dropped(*reason),
            (None, Some((port, _))) => Fate::Sent { port: port as u16 },
            _ if out.host.len() > self.host => Fate::Host,
            _ if out.ike.len() > self.ike => Fate::Ike,
            _ if out.unresolved.len() > self.unresolved => Fate::Waiting,
            _ if out.pieces.len() > self.pieces => Fate::Held,
            _ if out.hints.len() > self.hints => Fate::Hint,
            _ => Fate::InEngine,
        }
    }
}

impl<B: PacketBuf, E: Engine<B>> Worker<B, E> {
    /// The burst, with those that may be concerned one by one.
    #[cold]
    #[inline(never)]
    pub(super) fn look_on(&mut self, how: Arrival, burst: &mut Vec<B>, now: Duration, out: &mut Out<B>) {
        let Some(watch) = self.reader.table().watch.clone() else { return };
        self.notes.within = true;
        let mut others = std::mem::take(&mut self.notes.others);
        for packet in burst.drain(..) {
            if watch.may_concern(self.reader.table(), how.ip(packet.data())) {
                self.walk(how, &mut others, now, out);
                self.follow(&watch, how, packet, now, out);
            } else {
                others.push(packet);
            }
        }
        self.walk(how, &mut others, now, out);
        self.notes.others = others;
        self.notes.within = false;
    }
    fn walk(&mut self, how: Arrival, packets: &mut Vec<B>, now: Duration, out: &mut Out<B>) {
        match how {
            _ if packets.is_empty() => {}
            Arrival::Port(port) => self.process(port, packets, now, out),
            Arrival::Own { exempt } => self.originate(packets, exempt, now, out),
            Arrival::Whole { interface } => self.reassembled(interface, packets, now, out),
        }
    }
    /// Waits until the engine has given everything back, or for as long as is bearable.
    fn settle_engine(&mut self, now: Duration, out: &mut Out<B>) {
        for _ in 0..ASKED {
            if self.engine.in_flight() == 0 {
                break;
            }
            self.idle(now, out);
        }
    }
    /// One packet, alone in the graph.
    fn follow(&mut self, watch: &Arc<Watch>, how: Arrival, packet: B, now: Duration, out: &mut Out<B>) {
        // What is in the engine already would be taken for this one's.
        self.settle_engine(now, out);
        let snap = watch.spec.snap;
        let mut look = self.notes.before.take().unwrap_or_else(|| Box::new(Look::blank()));
        look.copy(packet.data(), snap);
        let outer = flow_of(how.ip(packet.data())).ok().map(|(_, flow)| flow);
        self.notes.log = Log { outer, ..Log::default() };
        let mut sent = std::mem::take(&mut self.notes.sent);
        let marks = Marks::of(out, &mut sent);

        let mut one = std::mem::take(&mut self.notes.one);
        one.push(packet);
        self.meter.follow(true);
        self.walk(how, &mut one, now, out);
        self.settle_engine(now, out);
        self.meter.follow(false);
        self.notes.one = one;

        if let Some(to_us) = out.host.get(marks.host) {
            self.notes.inner_for_host(to_us.frame.data());
        }
        let log = &self.notes.log;
        if watch.concerns(log)
            && let Some(number) = watch.take()
        {
            let (came_protected, trail) = (log.is_protected, log.trail);
            look.sighting = Sighting {
                watch: watch.spec.number,
                packet: number,
                time: now.as_nanos() as u64,
                place: how.place(),
                leaves: false,
                protected: came_protected,
                wire_len: look.sighting.wire_len,
                flow: log.outer.as_ref().map(packet_info),
                fate: Some(marks.fate(out, &sent)),
                trail,
            };
            watch.put((*look).clone());
            let goes_protected = trail.steps().any(|step| matches!(step, Step::Sealed { ok: true }));
            let mut after = |place: Place, bytes: &[u8], protected: bool| {
                look.copy(bytes, snap);
                let ip = if place.has_frames() { Arrival::Port(0).ip(bytes) } else { bytes };
                let flow = flow_of(ip).ok().map(|(_, flow)| packet_info(&flow));
                let sighting = Sighting {
                    place,
                    flow,
                    leaves: true,
                    protected,
                    fate: None,
                    trail: Trail::default(),
                    ..look.sighting
                };
                look.sighting = sighting;
                watch.put((*look).clone());
            };
            for (port, queue) in out.tx.iter().enumerate() {
                let before = sent.get(port).copied().unwrap_or(0);
                for frame in queue.get(before..).unwrap_or_default() {
                    after(Place::Port(port as u16), frame.data(), goes_protected);
                }
            }
            let host = out.host.get(marks.host..).unwrap_or_default();
            host.iter().for_each(|item| after(Place::Host, item.frame.data(), false));
            let waiting = out.unresolved.get(marks.unresolved..).unwrap_or_default();
            waiting.iter().for_each(|item| after(Place::Waiting, item.packet.data(), goes_protected));
        }
        self.notes.sent = sent;
        self.notes.before = Some(look);
    }
}
