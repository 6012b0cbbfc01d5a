//! The short way of the commonest packets: a burst of nothing but plain IPv4 packets that the flow cache knows, from an
//! untagged interface, under AES-GCM keys whose engine works at once, in or out of tunnels over IPv4.
//!
//! It does what the stages do, in their order, but the packets stay where they are, and what is known of each is a
//! [`Part`] of 24 bytes. Whatever is not as it should be is left to the stages, before anything was changed: before the
//! first number is taken outbound; inbound before the first packet is opened, and after that packet by packet.
use super::cache::{Origin, PlainKey, To, Word, scope_of};
use super::classify::Untagged;
use super::forward::Forward;
use super::inbound::{self, plain_inner};
use super::outbound::{self, BACK, FRONT, Plan, Short, inner_mtu, peer};
use super::{Context, Out, Progress, Stage, Work};
use crate::crypto::{Engine, Job, Operation, Part, SaRef};
use crate::prefetch::near;
use crate::tables::Tables;
use crate::tables::sad::{Form, State};
use sa::{Authentic, Candidate, Direction, DropReason, SeqNo};
use wire::ip::{self, protocol};
use wire::{PacketBuf, eth};

/// Longer bursts take the long way.
pub(crate) const MOST: usize = super::BURST;

/// What became of a burst.
pub(crate) enum Way {
    /// Nothing yet.
    Untouched,
    /// All of it is in `Out`.
    Done,
    /// It stands in `Work::forward`, planned.
    Planned,
    /// What is left stands in `Work::done`: opened, its numbers recorded.
    Opened,
}

/// Kept from burst to burst for their memory.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    parts: Vec<Part>,
    shorts: Vec<Short>,
    /// Inbound.
    marks: Vec<Mark>,
    inside: Vec<Inside>,
    ports: Vec<u16>,
}
/// What is to be known of an inner packet that is plain and may go on as it is.
#[derive(Clone, Copy, Debug)]
struct Inside {
    key: PlainKey,
    place: u32,
    start: u16,
    total_len: u16,
    /// Otherwise the rest says nothing.
    fine: bool,
}
impl Inside {
    const OTHER: Self =
        Self { key: PlainKey::new(0, 0, None, Origin::Clear), place: 0, start: 0, total_len: 0, fine: false };
}
/// An inbound packet's number, and how far it has come.
#[derive(Clone, Copy, Debug)]
struct Mark {
    candidate: Candidate,
    progress: Progress,
}
impl Lane {
    pub fn new() -> Self {
        Self {
            parts: Vec::with_capacity(MOST),
            shorts: Vec::with_capacity(MOST),
            marks: Vec::with_capacity(MOST),
            inside: Vec::with_capacity(MOST),
            ports: Vec::with_capacity(MOST),
        }
    }
}

/// A burst whose heads have been read.
pub(crate) fn pass<B: PacketBuf, E: Engine<B>>(
    tables: &Tables<E::Key>,
    work: &mut Work<B>,
    engine: &mut E,
    link: Untagged<'_>,
    packets: &mut Vec<B>,
    out: &mut Out<B>,
    ended: impl FnMut(Stage, &Work<B>),
) -> Way {
    let (mut plain, mut esp) = (true, 0);
    for head in &work.heads {
        plain &= head.plain;
        esp += usize::from(head.packet.protocol == protocol::ESP);
    }
    let whole = plain && (1..=MOST).contains(&packets.len()) && work.heads.len() == packets.len();
    let mut lane = std::mem::take(&mut work.lane);
    let way = match esp {
        _ if !whole => Way::Untouched,
        0 => out_of_the_clear(tables, work, &mut lane, engine, link, packets, out, ended),
        esp if esp == packets.len() => {
            into_the_clear(tables, work, &mut lane, engine, link, packets, out, ended)
        }
        _ => Way::Untouched,
    };
    work.lane = lane;
    way
}

#[allow(clippy::too_many_arguments, reason = "as many as the stages have together")]
#[inline(always)]
fn out_of_the_clear<B: PacketBuf, E: Engine<B>>(
    tables: &Tables<E::Key>,
    work: &mut Work<B>,
    lane: &mut Lane,
    engine: &mut E,
    link: Untagged<'_>,
    packets: &mut Vec<B>,
    out: &mut Out<B>,
    mut ended: impl FnMut(Stage, &Work<B>),
) -> Way {
    let mut fine = true;
    lane.parts.clear();
    lane.parts.extend(work.heads.iter().zip(packets.iter()).map(|(head, packet)| {
        let verdict = work.cache.peek(head.place, head.packet.key, link.scope);
        let sa = verdict.and_then(Word::sa).unwrap_or(SaRef { slot: 0, install: 0 });
        fine &= sa.install != 0 && head.packet.ttl > 1;
        tables.sad.prefetch(sa.slot);
        packet.prefetch_ends(FRONT - eth::HEADER, BACK);
        Part { sa, at: 0, len: head.packet.total_len, seq_high: None, ok: false }
    }));
    if !fine {
        return Way::Untouched;
    }
    ended(Stage::Classify, work);
    if !plan_runs(tables, work, lane, engine) {
        return Way::Untouched;
    }
    // From here on numbers are taken.
    let mut odd = false;
    for plan in &mut work.plans {
        plan.reserved = tables.sad.by_ref(plan.sa).map(|sa| sa.shared.reserve(plan.count as u64));
        // Without numbers nothing is framed here.
        odd |= plan.reserved.is_none_or(|taken| taken.soft || taken.count != plan.count as u64);
    }
    ended(Stage::Forward, work);
    if odd {
        back_to_the_stages(work, lane, link, packets, out);
        return Way::Planned;
    }
    frame(tables, work, lane, packets);
    ended(Stage::Frame, work);
    engine.at_once(Operation::Seal, packets, &mut lane.parts, tables);
    ended(Stage::Seal, work);
    send_sealed(tables, work, lane, packets, out);
    ended(Stage::Send, work);
    Way::Done
}

/// What is to be known of each run before its numbers are taken. False if one of them is not for here.
#[inline(always)]
fn plan_runs<B: PacketBuf, E: Engine<B>>(
    tables: &Tables<E::Key>,
    work: &mut Work<B>,
    lane: &mut Lane,
    engine: &E,
) -> bool {
    let runs = || lane.parts.chunk_by(|a, b| a.sa == b.sa);
    for first in runs().filter_map(<[Part]>::first) {
        work.counts.prefetch(first.sa.slot);
        if let Some(sa) = tables.sad.slot(first.sa.slot) {
            sa.shared.prefetch(Direction::Outbound);
        }
    }
    work.plans.clear();
    lane.shorts.clear();
    for run in runs() {
        let Some(Part { sa: at, .. }) = run.first() else { return false };
        let Some(sa) = outbound::outbound(tables, *at) else { return false };
        let shared = &sa.shared;
        let open = sa.form == Form::Counter && !shared.is_limited() && shared.state() != State::Dead;
        if !open || !engine.is_at_once(&shared.key, Operation::Seal) {
            return false;
        }
        let Some(way) = work.ways.find(tables, peer(sa)) else { return false };
        let Some(short) = Short::of(sa, way) else { return false };
        let inner = inner_mtu(sa, way);
        if run.iter().any(|part| usize::from(part.len) > inner) {
            return false;
        }
        work.plans.push(Plan { sa: *at, count: run.len(), way: Some(*way), reserved: None });
        lane.shorts.push(short);
    }
    true
}

#[inline(always)]
fn frame<B: PacketBuf, K>(tables: &Tables<K>, work: &mut Work<B>, lane: &mut Lane, packets: &mut [B]) {
    let mut left = packets.iter_mut().zip(&mut lane.parts);
    for (plan, short) in work.plans.iter().zip(&lane.shorts) {
        let mut seq = plan.reserved.map_or(0, |reserved| reserved.first);
        let esn = tables.sad.by_ref(plan.sa).is_some_and(|sa| sa.esn);
        for (packet, part) in left.by_ref().take(plan.count) {
            let total = usize::from(part.len);
            let mut framed = || {
                ip::decrement_ttl(packet.cut(eth::HEADER, total)?)?;
                short.encapsulate(packet, seq)
            };
            // What has no room for the headers is no ESP, and so will not be sealed.
            (part.at, part.len) = (Short::ESP_AT, framed().unwrap_or(0));
            part.seq_high = esn.then(|| SeqNo(seq).high());
            seq = seq.wrapping_add(1);
        }
    }
}

#[inline(always)]
fn send_sealed<B: PacketBuf, K>(
    tables: &Tables<K>,
    work: &mut Work<B>,
    lane: &mut Lane,
    packets: &mut Vec<B>,
    out: &mut Out<B>,
) {
    let mut runs = lane.parts.chunk_by(|a, b| a.sa == b.sa);
    lane.ports.clear();
    for plan in &work.plans {
        let Some(run) = runs.next() else { break };
        let port = plan.way.and_then(|way| way.port()).unwrap_or(Context::UNRESOLVED);
        let (mut passed, mut bytes) = (0, 0);
        for part in run {
            passed += u64::from(part.ok);
            bytes += u64::from(part.len);
            lane.ports.push(if part.ok { port } else { Context::UNRESOLVED });
            if !part.ok {
                failed(work, part, out);
                bytes -= u64::from(part.len);
            }
        }
        if passed > 0
            && let Some(sa) = tables.sad.by_ref(plan.sa)
        {
            let last = sa.shared.last_seq(Direction::Outbound);
            work.counts.passed(plan.sa, passed, bytes, last, work.now);
        }
    }
    send(&lane.ports, packets, packets.len(), out);
}
#[cold]
#[inline(never)]
fn failed<B>(work: &Work<B>, part: &Part, out: &mut Out<B>) {
    work.counts.dropped(part.sa);
    out.drop(if part.len == 0 { DropReason::NoHeadroom } else { DropReason::EngineError });
}

/// The first `count` packets, to one port mostly. Those without one have been counted.
#[inline(always)]
fn send<B>(ports: &[u16], packets: &mut Vec<B>, count: usize, out: &mut Out<B>) {
    let Some(first) = ports.first() else { return };
    if let Some(queue) = out.tx.get_mut(usize::from(*first))
        && ports.iter().all(|port| port == first)
    {
        queue.extend(packets.drain(..count));
        return;
    }
    for (packet, port) in packets.drain(..count).zip(ports) {
        if *port != Context::UNRESOLVED {
            out.send(*port, packet);
        }
    }
}

/// A run near the end of its numbers, which are taken: the stages know what to do.
#[cold]
#[inline(never)]
fn back_to_the_stages<B: PacketBuf>(
    work: &mut Work<B>,
    lane: &Lane,
    link: Untagged<'_>,
    packets: &mut Vec<B>,
    out: &mut Out<B>,
) {
    for (mut buf, part) in packets.drain(..).zip(&lane.parts) {
        let cut = buf.cut(eth::HEADER, part.len.into()).and_then(ip::decrement_ttl);
        if cut.is_none() {
            out.drop(DropReason::MalformedIp);
            continue;
        }
        let verdict = Word::from(super::Verdict::Encrypt(part.sa));
        work.forward.push(Forward { buf, verdict, origin: Origin::Clear, interface: Some(link.index) });
    }
}

#[allow(clippy::too_many_arguments, reason = "as many as the stages have together")]
#[inline(always)]
fn into_the_clear<B: PacketBuf, E: Engine<B>>(
    tables: &Tables<E::Key>,
    work: &mut Work<B>,
    lane: &mut Lane,
    engine: &mut E,
    link: Untagged<'_>,
    packets: &mut Vec<B>,
    out: &mut Out<B>,
    mut ended: impl FnMut(Stage, &Work<B>),
) -> Way {
    // Most are from one peer.
    let (mut ours, mut before) = (true, None);
    for head in &work.heads {
        if before != Some(head.packet.key) {
            before = Some(head.packet.key);
            ours &= work.cache.peek(head.place, head.packet.key, link.scope) == Some(Word::OURS);
        }
    }
    if !ours {
        return Way::Untouched;
    }
    ended(Stage::Classify, work);
    if !admit(tables, work, lane, engine, packets) {
        return Way::Untouched;
    }
    for (packet, part) in packets.iter_mut().zip(&lane.parts) {
        // It was as long as that when it was looked at.
        packet.cut(eth::HEADER, usize::from(part.at) + usize::from(part.len));
    }
    ended(Stage::Admit, work);
    engine.at_once(Operation::Open, packets, &mut lane.parts, tables);
    ended(Stage::Open, work);
    commit(tables, lane);
    let sent = unwrap(tables, work, lane, packets);
    send(&lane.ports, packets, sent, out);
    ended(Stage::Unwrap, work);
    if packets.is_empty() {
        return Way::Done;
    }
    rest(work, lane, sent, link, packets);
    Way::Opened
}

/// Everything that can be known before the ICV has been checked. False if one of them is not for here, or not at all.
#[inline(always)]
fn admit<B: PacketBuf, E: Engine<B>>(
    tables: &Tables<E::Key>,
    work: &Work<B>,
    lane: &mut Lane,
    engine: &E,
    packets: &[B],
) -> bool {
    let spis = || work.heads.chunk_by(|a, b| a.packet.upper == b.packet.upper).filter_map(|run| run.first());
    for (slot, sa) in spis().filter_map(|head| tables.sad.inbound(head.packet.upper.swap_bytes())) {
        sa.shared.prefetch(Direction::Inbound);
        work.counts.prefetch(slot);
    }
    for (_, sa) in spis().filter_map(|head| tables.sad.inbound(head.packet.upper.swap_bytes())) {
        sa.shared.window().word_ahead().into_iter().for_each(near);
    }
    let mut heads = work.heads.as_slice();
    lane.parts.clear();
    lane.marks.clear();
    while let Some(first) = heads.first() {
        let spi = first.packet.upper;
        let count = heads.iter().take_while(|head| head.packet.upper == spi).count();
        let Some((slot, sa)) = tables.sad.inbound(spi.swap_bytes()) else { return false };
        let at = SaRef { slot, install: sa.install };
        let for_here = sa.form.is_esp_tunnel() && sa.encap.is_none() && !sa.shared.is_limited();
        if !for_here || !engine.is_at_once(&sa.shared.key, Operation::Open) {
            return false;
        }
        let (now, behind) = heads.split_at(count);
        let from = work.heads.len() - heads.len();
        for (head, packet) in now.iter().zip(packets.iter().skip(from)) {
            let (total, esp_at) = (usize::from(head.packet.total_len), ip::V4_HEADER);
            let bytes = packet.data().get(eth::HEADER..eth::HEADER + total).unwrap_or_default();
            let Ok(candidate) = inbound::check_of(sa, bytes, esp_at, None) else { return false };
            let seq_high = sa.esn.then(|| candidate.seq().high());
            let len = (total - esp_at) as u16;
            lane.parts.push(Part { sa: at, at: esp_at as u16, len, seq_high, ok: false });
            lane.marks.push(Mark { candidate, progress: Progress::Open });
        }
        heads = behind;
    }
    true
}

/// As [`inbound::commit`].
#[inline(always)]
fn commit<K>(tables: &Tables<K>, lane: &mut Lane) {
    let mut marks = lane.marks.iter_mut();
    for run in lane.parts.chunk_by(|a, b| a.sa == b.sa) {
        // It cannot have gone: these are the tables of a moment ago.
        let Some(sa) = run.first().and_then(|part| tables.sad.by_ref(part.sa)) else { return };
        let mut window = sa.shared.hold_window();
        for (part, mark) in run.iter().zip(marks.by_ref()) {
            mark.progress = match part.ok {
                true => match window.commit(mark.candidate, Authentic::after_icv_verified()) {
                    Ok(true) => Progress::Newest,
                    Ok(false) => Progress::Accepted,
                    Err(why) => Progress::Refused(inbound::stale(why)),
                },
                //= rfc4303#3.4.4/icv-first: a packet whose ICV is wrong is dropped; nothing of it is looked at.
                false => Progress::Refused(DropReason::IcvMismatch),
            };
        }
    }
}

/// Opened packets, from the first on, until one is not for here. Tells how many left, and their ports.
#[inline(always)]
fn unwrap<B: PacketBuf, K>(
    tables: &Tables<K>,
    work: &mut Work<B>,
    lane: &mut Lane,
    packets: &mut [B],
) -> usize {
    lane.ports.clear();
    lane.inside.resize(packets.len(), Inside::OTHER);
    let mut each = packets.iter().zip(lane.inside.iter_mut()).zip(&lane.marks);
    for run in lane.parts.chunk_by(|a, b| a.sa == b.sa) {
        let Some(sa) = run.first().and_then(|part| tables.sad.by_ref(part.sa)) else { break };
        let scope = scope_of(sa.install, tables.generation);
        for (part, ((packet, inside), mark)) in run.iter().zip(each.by_ref()) {
            let good = matches!(mark.progress, Progress::Accepted | Progress::Newest);
            let opened = plain_inner(sa, packet.data(), part.at, part.len).filter(|_| good);
            let Some((opened, plain)) = opened.and_then(|opened| Some((opened, *opened.plain()?))) else {
                inside.fine = false;
                continue;
            };
            work.ways.approach(To::v4(plain.key.destination()));
            *inside = Inside {
                key: plain.key,
                place: work.cache.approach(plain.key, scope),
                start: opened.start,
                total_len: plain.total_len,
                //= rfc6040#4.2/decapsulation: nothing to do where both say the same; everything else at leisure.
                fine: plain.ttl > 1 && (opened.tos ^ plain.tos) & 3 == 0,
            };
        }
    }
    let mut done = 0;
    for run in lane.parts.chunk_by(|a, b| a.sa == b.sa) {
        let Some(first) = run.first() else { break };
        let Some(sa) = tables.sad.by_ref(first.sa) else { break };
        let scope = scope_of(sa.install, tables.generation);
        let (mut passed, mut bytes, mut last) = (0, 0, 0);
        for part in run {
            let (Some(packet), Some(inside)) = (packets.get_mut(done), lane.inside.get(done)) else { break };
            let Some(port) = onwards(tables, work, packet, inside, scope) else { break };
            lane.ports.push(port);
            last = lane.marks.get(done).map_or(last, |mark| mark.candidate.seq().0.max(last));
            (passed, bytes, done) = (passed + 1, bytes + u64::from(part.len), done + 1);
        }
        if passed > 0 {
            work.counts.passed(first.sa, passed, bytes, last, work.now);
        }
        if (passed as usize) < run.len() {
            break;
        }
    }
    done
}

/// One inner packet that may pass, to its next hop. `None` changes nothing.
#[inline(always)]
fn onwards<B: PacketBuf, K>(
    tables: &Tables<K>,
    work: &mut Work<B>,
    packet: &mut B,
    inside: &Inside,
    scope: u64,
) -> Option<u16> {
    let verdict = work.cache.peek(inside.place, inside.key, scope)?;
    let way = work.ways.find(tables, To::v4(inside.key.destination()))?;
    let (link, port) = (*way.untagged()?, way.port()?);
    if !inside.fine || verdict != Word::PASS || inside.total_len > way.mtu {
        return None;
    }
    // The link header goes where the ESP header ended.
    let start = usize::from(inside.start).checked_sub(eth::HEADER)?;
    let bytes = packet.cut(start, eth::HEADER + usize::from(inside.total_len))?;
    let (header, rest) = bytes.split_first_chunk_mut()?;
    *header = link;
    ip::decrement_ttl(rest)?;
    Some(port)
}

/// Hands what is left to the stages.
#[cold]
#[inline(never)]
fn rest<B: PacketBuf>(
    work: &mut Work<B>,
    lane: &Lane,
    sent: usize,
    link: Untagged<'_>,
    packets: &mut Vec<B>,
) {
    let left = lane.parts.iter().zip(&lane.marks).skip(sent);
    for (packet, (part, mark)) in packets.drain(..).zip(left) {
        let Mark { candidate, progress } = *mark;
        work.done.push(Job {
            packet,
            sa: part.sa,
            operation: Operation::Open,
            esp_at: part.at,
            esp_len: part.len,
            seq_high: part.seq_high,
            ok: part.ok,
            context: Context { candidate, link: link.index, progress },
        });
    }
}
