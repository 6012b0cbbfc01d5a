//! Outbound: number and frame each packet of a run under its SA, and send what came back sealed.
use super::cache::To;
use super::forward::{Forward, fit, report};
use super::{Context, Out, Work};
use crate::crypto::{Job, Operation, SaRef};
use crate::tables::sad::{Charge, State};
use crate::tables::{Sa, Tables};
use ipc::contract::{Event, Expiry};
use sa::{Direction, DropReason, SaSlot, SeqNo};
use wire::{PacketBuf, checksum, esp, ip, udp};

/// Bytes of a packet's ESP form.
#[derive(Clone, Copy)]
struct Shape {
    /// Outer headers, ESP header, IV.
    front: usize,
    /// Padding and trailer.
    trailer: usize,
    icv: usize,
}
impl Shape {
    fn of<K>(sa: &Sa<K>, inner: usize) -> Self {
        let front = usize::from(sa.header.esp_at) + esp::HEADER + usize::from(sa.iv_len);
        let trailer = esp::padding(inner, sa.pad_to.into()) + esp::TRAILER;
        Self { front, trailer, icv: sa.icv_len.into() }
    }
    fn total(self, inner: usize) -> usize {
        self.front + inner + self.trailer + self.icv
    }
}
/// The largest inner packet whose ESP form fits `mtu`.
fn inner_mtu<K>(sa: &Sa<K>, mtu: usize) -> usize {
    let front = usize::from(sa.header.esp_at) + esp::HEADER + usize::from(sa.iv_len);
    let room = mtu.saturating_sub(front + usize::from(sa.icv_len));
    (room - room % usize::from(sa.pad_to)).saturating_sub(esp::TRAILER)
}

/// Frames `stage.ready`, a run of packets of one SA, into jobs.
pub(crate) fn frame<B: PacketBuf, K>(
    tables: &Tables<K>,
    sa_ref: SaRef,
    stage: &mut Work<B>,
    out: &mut Out<B>,
) {
    let mut ready = std::mem::take(&mut stage.ready);
    match tables.sad.by_ref(sa_ref).filter(|sa| sa.direction == Direction::Outbound) {
        Some(sa) => run(tables, sa_ref, sa, stage, &mut ready, out),
        // The cache never outlives a generation, so this is a table that contradicts itself.
        None => ready.drain(..).for_each(|_| out.drop(DropReason::NoSa)),
    }
    stage.ready = ready;
}

fn run<B: PacketBuf, K>(
    tables: &Tables<K>,
    sa_ref: SaRef,
    sa: &Sa<K>,
    stage: &mut Work<B>,
    ready: &mut Vec<Forward<B>>,
    out: &mut Out<B>,
) {
    let Some(mtu) = stage.ways.find(tables, sa.ends.remote.into()).map(|way| way.mtu) else {
        for item in ready.drain(..) {
            stage.counts.dropped(sa_ref);
            report(item, DropReason::NoRoute, 0, out);
        }
        return;
    };
    split_large(sa_ref, sa, mtu.into(), stage, ready, out);
    let reserved = sa.shared.reserve(ready.len() as u64);
    if reserved.soft && sa.shared.mark_dying() {
        out.events.push(soft(sa_ref, sa, Expiry::Sequence));
    }
    let mut numbers = reserved.first..reserved.first.saturating_add(reserved.count);
    // `saturating_add` hides the very last 64-bit number from the range; it is then simply not used.
    for item in ready.drain(..) {
        let number = numbers.next();
        match check(sa_ref, sa, &item, number, out) {
            Err(reason) => {
                stage.counts.dropped(sa_ref);
                out.drop(reason);
            }
            Ok(seq) => {
                let iv = if sa.counter_iv { Iv::Counter(seq) } else { Iv::Random(stage.ivs.next()) };
                match encapsulate(sa, item, seq, iv) {
                    Some((packet, esp_len)) => {
                        stage.jobs.push(Job {
                            packet,
                            sa: sa_ref,
                            operation: Operation::Seal,
                            esp_at: sa.header.esp_at.into(),
                            esp_len,
                            seq_high: sa.esn.then(|| SeqNo(seq).high()),
                            ok: false,
                            context: Context::Seal,
                        });
                    }
                    None => {
                        stage.counts.dropped(sa_ref);
                        out.drop(DropReason::NoHeadroom);
                    }
                }
            }
        }
    }
}

//= rfc4301#8.2.2/fragment-first: what may be fragmented is, before encryption, so that the peer need not
// reassemble ESP.
/// Replaces each packet of the run that does not fit the tunnel by its pieces.
fn split_large<B: PacketBuf, K>(
    sa_ref: SaRef,
    sa: &Sa<K>,
    mtu: usize,
    stage: &mut Work<B>,
    ready: &mut Vec<Forward<B>>,
    out: &mut Out<B>,
) {
    let inner = inner_mtu(sa, mtu);
    if ready.iter().all(|item| item.buf.len() <= inner) {
        return;
    }
    let mut at = 0;
    while at < ready.len() {
        if ready[at].buf.len() <= inner {
            at += 1;
            continue;
        }
        let item = ready.remove(at);
        let mut pieces = fit(item, inner, stage, out);
        if pieces.is_empty() {
            stage.counts.dropped(sa_ref);
        }
        let count = pieces.len();
        ready.splice(at..at, pieces.drain(..));
        stage.pieces = pieces;
        at += count;
    }
}

#[inline]
fn check<B: PacketBuf, K>(
    sa_ref: SaRef,
    sa: &Sa<K>,
    item: &Forward<B>,
    number: Option<u64>,
    out: &mut Out<B>,
) -> Result<u64, DropReason> {
    if sa.shared.state() == State::Dead {
        let exhausted = number.is_none();
        return Err(if exhausted { DropReason::SeqExhausted } else { DropReason::SaExpiredOut });
    }
    let inner = item.buf.len();
    let Some(seq) = number else {
        //= rfc4303#3.3.3/no-cycle: the counter is at its end; the SA is dead, nothing is sent.
        if sa.shared.mark_dead() {
            out.events.push(hard(sa_ref, sa, Expiry::Sequence));
        }
        return Err(DropReason::SeqExhausted);
    };
    match sa.shared.charge(inner as u64) {
        Charge::Fine => Ok(seq),
        Charge::Soft(why) => {
            out.events.push(soft(sa_ref, sa, why));
            Ok(seq)
        }
        Charge::Hard { why, first } => {
            if first {
                out.events.push(hard(sa_ref, sa, why));
            }
            Err(DropReason::SaExpiredOut)
        }
    }
}

pub(crate) fn soft<K>(at: SaRef, sa: &Sa<K>, why: Expiry) -> Event {
    Event::SoftExpire { slot: SaSlot(at.slot), spi: sa.name, why }
}
pub(crate) fn hard<K>(at: SaRef, sa: &Sa<K>, why: Expiry) -> Event {
    Event::HardExpire { slot: SaSlot(at.slot), spi: sa.name, why }
}

enum Iv {
    //= rfc4106#3.1/counter-iv: the sequence number is unique under a key, so is the IV.
    Counter(u64),
    Random([u8; 16]),
}

/// Outer headers from the template, IV, padding, trailer; room for the ICV.
#[inline]
fn encapsulate<B: PacketBuf, K>(sa: &Sa<K>, item: Forward<B>, seq: u64, iv: Iv) -> Option<(B, u16)> {
    let mut buf = item.buf;
    let inner = buf.len();
    let shape = Shape::of(sa, inner);
    let (esp_at, total) = (usize::from(sa.header.esp_at), shape.total(inner));
    let about = Inner::of(buf.data())?;
    if buf.headroom() < shape.front || buf.tailroom() < shape.trailer + shape.icv {
        return None;
    }
    let tail = buf.append(shape.trailer + shape.icv)?.get_mut(inner..inner + shape.trailer)?;
    esp::write_trailer(tail, about.next_header)?;
    let bytes = buf.prepend(shape.front)?;
    let (header, rest) = bytes.split_at_mut_checked(esp_at)?;
    outer(sa, header, total, about, seq)?;
    let (esp, rest) = rest.split_first_chunk_mut::<{ esp::HEADER }>()?;
    *esp.first_chunk_mut()? = sa.spi.to_be_bytes();
    *esp.last_chunk_mut()? = SeqNo(seq).low().to_be_bytes();
    match iv {
        Iv::Counter(n) => *rest.first_chunk_mut()? = n.to_be_bytes(),
        Iv::Random(block) => {
            let len = usize::from(sa.iv_len);
            rest.get_mut(..len)?.copy_from_slice(block.get(..len)?);
        }
    }
    Some((buf, u16::try_from(total - esp_at).ok()?))
}

/// What the outer header takes over from the inner packet.
#[derive(Clone, Copy)]
struct Inner {
    next_header: u8,
    tos: u8,
    dont_fragment: bool,
}
impl Inner {
    /// Of a packet that was parsed before.
    #[inline(always)]
    fn of(packet: &[u8]) -> Option<Self> {
        let [a, b, _, _, _, _, c, ..] = *packet.first_chunk::<{ ip::V4_HEADER }>()?;
        Some(match a >> 4 {
            4 => Self { next_header: ip::protocol::IPV4, tos: b, dont_fragment: c & 0x40 != 0 },
            _ => Self { next_header: ip::protocol::IPV6, tos: a << 4 | b >> 4, dont_fragment: true },
        })
    }
}

/// IP and UDP header: the template and what differs from packet to packet. `header` is as long as the two are.
#[inline(always)]
fn outer<K>(sa: &Sa<K>, header: &mut [u8], total: usize, inner: Inner, seq: u64) -> Option<()> {
    let template = &sa.header;
    let total = u16::try_from(total).ok()?;
    //= rfc4301#5.1.2.1/dscp-copy: the outer DSCP is the inner one.
    //= rfc6040#4.1/normal-mode: the outer ECN field is the inner one.
    let tos = inner.tos;
    let udp = if template.is_ipv4 {
        //= rfc4301#8.1/df-copy: the outer DF bit is the inner one; IPv6 counts as set.
        let flags = if inner.dont_fragment { ip::DF } else { 0 };
        let id = seq as u16;
        let sum = template.sum + u64::from(tos) + u64::from(total) + u64::from(id) + u64::from(flags);
        let sum = !checksum::fold(sum);
        let (header, udp) = header.split_first_chunk_mut::<{ ip::V4_HEADER }>()?;
        *header = *template.bytes.first_chunk()?;
        let [_, tos_at, t0, t1, i0, i1, f0, f1, _, _, s0, s1, ..] = header;
        *tos_at = tos;
        [*t0, *t1] = total.to_be_bytes();
        [*i0, *i1] = id.to_be_bytes();
        [*f0, *f1] = flags.to_be_bytes();
        [*s0, *s1] = sum.to_be_bytes();
        udp
    } else {
        let (header, udp) = header.split_first_chunk_mut::<{ ip::V6_HEADER }>()?;
        *header = *template.bytes.first_chunk()?;
        let [class, flow, _, _, l0, l1, ..] = header;
        *class = 0x60 | tos >> 4;
        *flow = tos << 4;
        [*l0, *l1] = (total - ip::V6_HEADER as u16).to_be_bytes();
        udp
    };
    if template.udp_at != 0 {
        let at = usize::from(template.udp_at);
        let len = total - u16::from(template.udp_at);
        let udp = udp.first_chunk_mut::<{ udp::HEADER }>()?;
        *udp = *template.bytes.get(at..)?.first_chunk()?;
        //= rfc3948#2.1/zero-checksum: the UDP checksum of encapsulated ESP is sent as zero, as the template has it.
        let [_, _, _, _, l0, l1, ..] = udp;
        [*l0, *l1] = len.to_be_bytes();
    }
    Some(())
}

/// A run of packets of one SA, back from the engine.
pub(crate) fn settle<B: PacketBuf, K>(
    tables: &Tables<K>,
    sa: &Sa<K>,
    stage: &mut Work<B>,
    at: SaRef,
    run: impl Iterator<Item = Job<B>>,
    out: &mut Out<B>,
) {
    let to = To::from(sa.ends.remote);
    let Some(way) = stage.ways.find(tables, to) else {
        return run.for_each(|_| {
            stage.counts.dropped(at);
            out.drop(DropReason::NoRoute);
        });
    };
    let (mut packets, mut bytes) = (0, 0);
    for job in run {
        if job.ok {
            packets += 1;
            bytes += u64::from(job.esp_len);
            way.send(tables, to, job.packet, out);
        } else {
            stage.counts.dropped(at);
            out.drop(DropReason::EngineError);
        }
    }
    if packets > 0 {
        stage.counts.passed(at, packets, bytes, sa.shared.last_seq(Direction::Outbound), stage.now);
    }
}
