//! Inbound: find the SA, look at the window, open; then commit, unwrap and check what was inside.
use super::cache::Origin;
use super::classify::to_host;
use super::forward::{Forward, judge_packet};
use super::seen::{Seen, flow_of};
use super::{Context, Out, Verdict, Work, outbound};
use crate::crypto::{Job, Operation, SaRef};
use crate::tables::sad::{Charge, State};
use crate::tables::{Sa, Tables, spd};
use ipc::contract::Event;
use sa::{Authentic, Candidate, DropReason, ReplayWindow, SaSlot, SeqNo, Stale};
use std::net::{IpAddr, SocketAddr};
use std::sync::MutexGuard;
use wire::eth::ethertype;
use wire::ip::{self, protocol};
use wire::{PacketBuf, esp, udp};

/// An ESP packet for us, starting at its outer IP header.
#[derive(Debug)]
pub(crate) struct Incoming<B> {
    pub buf: B,
    pub esp_at: u16,
    /// Source and destination port of UDP encapsulation.
    pub ports: Option<(u16, u16)>,
    pub interface: u16,
}

/// Addresses of the outer header of a packet that was parsed before.
fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    if packet.first()? >> 4 == 4 {
        let (src, dst) = packet.get(12..20)?.split_first_chunk::<4>()?;
        return Some((IpAddr::from(*src), IpAddr::from(*dst.first_chunk::<4>()?)));
    }
    let (src, dst) = packet.get(8..40)?.split_first_chunk::<16>()?;
    Some((IpAddr::from(*src), IpAddr::from(*dst.first_chunk::<16>()?)))
}

pub(crate) fn open<B: PacketBuf, K>(tables: &Tables<K>, stage: &mut Work<B>, out: &mut Out<B>) {
    let mut incoming = std::mem::take(&mut stage.incoming);
    let mut held = Held(None);
    for item in incoming.drain(..) {
        match admit(tables, &item, &mut held) {
            Ok((at, seq_high, candidate)) => stage.jobs.push(job(item, at, seq_high, candidate)),
            Err(Refused { reason, at }) => {
                out.drop(reason);
                match at {
                    Some(at) => stage.counts.dropped(at),
                    None if reason == DropReason::NoSuchSa => unknown(stage, &item, out),
                    None => {}
                }
            }
        }
    }
    drop(held);
    stage.incoming = incoming;
}

/// The window of the SA of the packet before: packets of one SA come in runs.
struct Held<'a>(Option<(u32, MutexGuard<'a, ReplayWindow>)>);
impl<'a> Held<'a> {
    #[inline(always)]
    fn of<K>(&mut self, slot: u32, sa: &'a Sa<K>) -> &ReplayWindow {
        if self.0.as_ref().is_none_or(|(held, _)| *held != slot) {
            // Never two at a time: two workers that wait for each other would wait for ever.
            self.0 = None;
        }
        &self.0.get_or_insert_with(|| (slot, sa.shared.window())).1
    }
}

const CBC_BLOCK: usize = 16;

struct Refused {
    reason: DropReason,
    at: Option<SaRef>,
}

/// Everything that can be known before the ICV has been checked. Changes nothing.
#[inline]
fn admit<'a, B: PacketBuf, K>(
    tables: &'a Tables<K>,
    item: &Incoming<B>,
    held: &mut Held<'a>,
) -> Result<(SaRef, Option<u32>, Candidate), Refused> {
    let refuse = |reason, at| Refused { reason, at };
    let packet = item.buf.data();
    let bytes = packet.get(item.esp_at.into()..).unwrap_or_default();
    let header = esp::Header::parse(bytes).map_err(|_| refuse(DropReason::EspTooShort, None))?;
    let (slot, sa) = tables.sad.inbound(header.spi).ok_or_else(|| refuse(DropReason::NoSuchSa, None))?;
    let at = SaRef { slot, install: sa.install };
    let refuse = |reason| Refused { reason, at: Some(at) };
    let (from_peer, to_us) = sa.header.answered_by(packet);
    match (item.ports, sa.encap) {
        //= rfc4301#4.1/outer-addresses: an SPI of one peer is not another's.
        (None, None) if !(from_peer && to_us) => return Err(refuse(DropReason::NoSuchSa)),
        (None, None) => {}
        // Behind a NAT the source may change; the ICV decides, not the address.
        (Some(_), Some(_)) if !to_us => return Err(refuse(DropReason::NoSuchSa)),
        (Some((_, to)), Some(encap)) if to == encap.local_port => {}
        _ => return Err(refuse(DropReason::EncapMismatch)),
    }
    let fixed = esp::HEADER + usize::from(sa.iv_len) + usize::from(sa.icv_len);
    let cipher = bytes.len().checked_sub(fixed).filter(|n| *n >= esp::TRAILER);
    let cipher = cipher.ok_or_else(|| refuse(DropReason::EspTooShort))?;
    // Counter modes and NULL take any length; a block cipher does not.
    if usize::from(sa.iv_len) == CBC_BLOCK && cipher % CBC_BLOCK != 0 {
        return Err(refuse(DropReason::EngineErrorIn));
    }
    if sa.shared.state() == State::Dead {
        return Err(refuse(DropReason::SaExpiredIn));
    }
    let candidate = held.of(slot, sa).check(header.seq_low).map_err(|why| refuse(stale(why)))?;
    Ok((at, sa.esn.then(|| candidate.seq().high()), candidate))
}

fn stale(why: Stale) -> DropReason {
    match why {
        Stale::Seen => DropReason::ReplaySeen,
        Stale::Old => DropReason::ReplayOld,
    }
}

#[inline(always)]
fn job<B: PacketBuf>(item: Incoming<B>, at: SaRef, seq_high: Option<u32>, candidate: Candidate) -> Job<B> {
    Job {
        sa: at,
        operation: Operation::Open,
        esp_at: item.esp_at,
        // It fits: an IP packet is at most 65535 bytes long.
        esp_len: (item.buf.len() - usize::from(item.esp_at)) as u16,
        seq_high,
        ok: false,
        context: Context::Open { candidate, interface: item.interface },
        packet: item.buf,
    }
}

#[cold]
fn unknown<B: PacketBuf>(stage: &mut Work<B>, item: &Incoming<B>, out: &mut Out<B>) {
    let packet = item.buf.data();
    let header = esp::Header::parse(packet.get(item.esp_at.into()..).unwrap_or_default());
    if let (Ok(header), Some((remote, local)), true) =
        (header, addresses(packet), stage.unknown_spi.take(stage.now))
    {
        out.events.push(Event::UnknownSpi { spi: header.spi, local, remote });
    }
}

/// A run of packets of one SA, back from the engine: each authentic number is recorded, under one lock.
pub(crate) fn commit<B, K>(sa: &Sa<K>, run: &mut [Job<B>]) {
    let mut window = sa.shared.window();
    for job in run {
        job.context = match job.context {
            Context::Open { candidate, interface } if job.ok => {
                let seq = candidate.seq();
                match window.commit(candidate, Authentic::after_icv_verified()) {
                    Ok(newest) => Context::Accepted { seq, interface, newest },
                    Err(why) => Context::Refused(stale(why)),
                }
            }
            //= rfc4303#3.4.4/icv-first: a packet whose ICV is wrong is dropped; nothing of it is looked at.
            Context::Open { .. } => Context::Refused(DropReason::IcvMismatch),
            _ => Context::Refused(DropReason::EngineErrorIn),
        };
    }
}

/// The same run: charge it, unwrap what was inside, check it, pass it on.
pub(crate) fn settle<B: PacketBuf, K>(
    tables: &Tables<K>,
    sa: &Sa<K>,
    stage: &mut Work<B>,
    at: SaRef,
    run: impl Iterator<Item = Job<B>>,
    out: &mut Out<B>,
) {
    let (mut packets, mut bytes, mut last) = (0, 0, 0);
    for job in run {
        let len = u64::from(job.esp_len);
        match unwrap(tables, sa, stage, job, out) {
            Ok((inner, seq)) => {
                packets += 1;
                bytes += len;
                last = last.max(seq.0);
                deliver(tables, stage, inner, out);
            }
            Err(reason) => {
                stage.counts.dropped(at);
                out.drop(reason);
            }
        }
    }
    if packets > 0 {
        stage.counts.passed(at, packets, bytes, last, stage.now);
    }
}

#[inline]
fn unwrap<B: PacketBuf, K>(
    tables: &Tables<K>,
    sa: &Sa<K>,
    stage: &mut Work<B>,
    job: Job<B>,
    out: &mut Out<B>,
) -> Result<(Forward<B>, SeqNo), DropReason> {
    let (seq, interface, newest) = match job.context {
        Context::Accepted { seq, interface, newest } => (seq, interface, newest),
        Context::Refused(reason) => return Err(reason),
        Context::Seal | Context::Open { .. } => return Err(DropReason::EngineErrorIn),
    };
    match sa.shared.charge(job.esp_len.into()) {
        Charge::Fine => {}
        Charge::Soft(why) => out.events.push(outbound::soft(job.sa, sa, why)),
        Charge::Hard { why, first } => {
            if first {
                out.events.push(outbound::hard(job.sa, sa, why));
            }
            return Err(DropReason::SaExpiredIn);
        }
    }
    if newest && sa.encap.is_some() {
        moved(sa, &job, stage, out);
    }
    let outer = tos(job.packet.data()).ok_or(DropReason::BadTrailer)?;
    let mut buf = job.packet;
    let start = usize::from(job.esp_at) + esp::HEADER + usize::from(sa.iv_len);
    let end = usize::from(job.esp_at) + usize::from(job.esp_len) - usize::from(sa.icv_len);
    let plain = buf.data().get(start..end).ok_or(DropReason::BadTrailer)?;
    let trailer = esp::parse_trailer(plain).map_err(|_| DropReason::BadTrailer)?;
    let ipv4 = match trailer.next_header {
        protocol::IPV4 => true,
        protocol::IPV6 => false,
        //= rfc4303#2.6/dummy: next header 59 is dropped without being an error.
        protocol::NONE => return Err(DropReason::DummyPacket),
        _ => return Err(DropReason::BadTrailer),
    };
    buf.truncate(start + trailer.payload_len).ok_or(DropReason::BadTrailer)?;
    buf.advance(start).ok_or(DropReason::BadTrailer)?;
    let seen = Seen::parse(buf.data(), Origin::Protected).map_err(|_| DropReason::BadTrailer)?;
    if seen.ipv4 != ipv4 || seen.from_group {
        return Err(DropReason::BadTrailer);
    }
    //= rfc4303#2.7/tfc-padding: what follows the inner packet is padding.
    buf.truncate(seen.total_len.into()).ok_or(DropReason::BadTrailer)?;
    let key = seen.key.within(sa.install, tables.generation);
    let verdict = stage.cache.look_up(&key, || first_look(tables, sa, buf.data()));
    if verdict == Verdict::Mismatch {
        return Err(DropReason::SelectorMismatch);
    }
    let ecn = decapsulated_ecn(outer & 3, seen.tos & 3).ok_or(DropReason::BadTrailer)?;
    if ecn != seen.tos & 3 {
        ip::set_ecn(buf.data_mut(), ecn).ok_or(DropReason::BadTrailer)?;
    }
    Ok((Forward { buf, verdict, origin: Origin::Protected, interface: Some(interface) }, seq))
}

/// What an inner packet of this SA may do.
#[cold]
fn first_look<K>(tables: &Tables<K>, sa: &Sa<K>, bytes: &[u8]) -> Verdict {
    let Ok((packet, flow)) = flow_of(bytes) else { return Verdict::Mismatch };
    //= rfc4301#5.2/selector-check: the inner packet must be what the SA is for; our own address never is.
    if !spd::within(&sa.selectors, &flow.reversed()) || tables.ports.is_own(packet.src) {
        return Verdict::Mismatch;
    }
    if tables.ports.is_own(packet.dst) {
        return Verdict::Ours;
    }
    if packet.dst.is_multicast() {
        return Verdict::Drop(DropReason::UnsupportedProtocol);
    }
    judge_packet(tables, Origin::Protected, bytes)
}

/// TOS or traffic class of a packet that was parsed before.
#[inline(always)]
fn tos(packet: &[u8]) -> Option<u8> {
    let [a, b] = *packet.first_chunk()?;
    Some(if a >> 4 == 4 { b } else { a << 4 | b >> 4 })
}

//= rfc6040#4.2/decapsulation: figure 4; `None` where congestion was marked on a packet that cannot say so.
fn decapsulated_ecn(outer: u8, inner: u8) -> Option<u8> {
    const NOT_ECT: u8 = 0b00;
    const ECT_1: u8 = 0b01;
    const ECT_0: u8 = 0b10;
    const CE: u8 = 0b11;
    match (outer, inner) {
        (CE, NOT_ECT) => None,
        (_, NOT_ECT) => Some(NOT_ECT),
        (_, CE) | (CE, _) => Some(CE),
        (ECT_1, ECT_0) => Some(ECT_1),
        _ => Some(inner),
    }
}

//= rfc7296#2.23/address-update: the peer's address follows an authenticated packet with a new highest
// number, and only behind a NAT.
#[cold]
fn moved<B: PacketBuf, K>(sa: &Sa<K>, job: &Job<B>, stage: &mut Work<B>, out: &mut Out<B>) {
    let packet = job.packet.data();
    let udp = usize::from(job.esp_at).checked_sub(udp::HEADER).and_then(|at| packet.get(at..));
    let port = udp.and_then(<[u8]>::first_chunk).map(|port| u16::from_be_bytes(*port));
    let (Some(encap), Some((from, _)), Some(port)) = (sa.encap, addresses(packet), port) else { return };
    let said = Some((job.sa, from, port));
    if (from, port) != (sa.ends.remote, encap.remote_port) && stage.moved != said {
        stage.moved = said;
        let from = SocketAddr::new(from, port);
        out.events.push(Event::PeerMoved { slot: SaSlot(job.sa.slot), spi: sa.name, from });
    }
}

/// A checked inner packet: to the gateway itself, or onwards.
#[inline(always)]
fn deliver<B: PacketBuf, K>(tables: &Tables<K>, stage: &mut Work<B>, inner: Forward<B>, out: &mut Out<B>) {
    match inner.verdict {
        Verdict::Ours => to_us(tables, inner, out),
        _ => stage.forward.push(inner),
    }
}

#[cold]
fn to_us<B: PacketBuf, K>(tables: &Tables<K>, inner: Forward<B>, out: &mut Out<B>) {
    let Ok((packet, _)) = flow_of(inner.buf.data()) else { return out.drop(DropReason::MalformedIp) };
    // A tunnel in a tunnel that both end here is not taken apart twice.
    if packet.protocol == protocol::ESP {
        return out.drop(DropReason::UnsupportedProtocol);
    }
    let index = inner.interface.unwrap_or(0);
    let Some(interface) = tables.ports.get(index) else { return out.drop(DropReason::NotForUs) };
    let kind = if packet.is_ipv4() { ethertype::IPV4 } else { ethertype::IPV6 };
    to_host(inner.buf, index, interface.mac, interface.mac, kind, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test rfc6040#4.2/decapsulation
    #[test]
    fn ecn_is_figure_4_of_rfc_6040() {
        // Rows: inner Not-ECT, ECT(0), ECT(1), CE. Columns: outer Not-ECT, ECT(0), ECT(1), CE.
        let (not, ect0, ect1, ce) = (0, 2, 1, 3);
        let figure = [
            (not, [Some(not), Some(not), Some(not), None]),
            (ect0, [Some(ect0), Some(ect0), Some(ect1), Some(ce)]),
            (ect1, [Some(ect1), Some(ect1), Some(ect1), Some(ce)]),
            (ce, [Some(ce); 4]),
        ];
        for (inner, row) in figure {
            for (outer, expected) in [not, ect0, ect1, ce].into_iter().zip(row) {
                assert_eq!(decapsulated_ecn(outer, inner), expected, "outer {outer:02b} inner {inner:02b}");
            }
        }
    }
}
