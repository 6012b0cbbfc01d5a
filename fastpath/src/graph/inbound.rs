//! Inbound: find the SA, look at the window, open; then commit, unwrap and check what was inside.
use super::cache::Origin;
use super::classify::to_host;
use super::forward::Forward;
use super::{Context, Out, Stage, outbound};
use crate::crypto::{Job, Operation, SaRef};
use crate::tables::sad::{Charge, State};
use crate::tables::{Sa, Tables, spd};
use ipc::contract::Event;
use sa::{Authentic, Candidate, DropReason, SaSlot, Stale};
use std::net::{IpAddr, SocketAddr};
use wire::eth::ethertype;
use wire::ip::{self, Packet, protocol};
use wire::{Flow, PacketBuf, esp};

/// An ESP packet for us, starting at its outer IP header.
#[derive(Debug)]
pub(crate) struct Incoming<B> {
    buf: B,
    src: IpAddr,
    dst: IpAddr,
    tos: u8,
    esp_at: usize,
    /// Source and destination port of UDP encapsulation.
    ports: Option<(u16, u16)>,
    interface: u16,
}
impl<B> Incoming<B> {
    pub fn new(buf: B, outer: &Packet, esp_at: usize, ports: Option<(u16, u16)>, interface: u16) -> Self {
        Self { buf, src: outer.src, dst: outer.dst, tos: outer.tos, esp_at, ports, interface }
    }
}

pub(crate) fn open<B: PacketBuf, K>(tables: &Tables<K>, stage: &mut Stage<B>, out: &mut Out<B>) {
    let mut incoming = std::mem::take(&mut stage.incoming);
    for item in incoming.drain(..) {
        match admit(tables, &item) {
            Ok((at, candidate)) => stage.jobs.push(job(item, at, candidate, tables)),
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
    stage.incoming = incoming;
}

const CBC_BLOCK: usize = 16;

struct Refused {
    reason: DropReason,
    at: Option<SaRef>,
}

/// Everything that can be known before the ICV has been checked. Changes nothing.
fn admit<B: PacketBuf, K>(tables: &Tables<K>, item: &Incoming<B>) -> Result<(SaRef, Candidate), Refused> {
    let refuse = |reason, at| Refused { reason, at };
    let bytes = item.buf.data().get(item.esp_at..).unwrap_or_default();
    let header = esp::Header::parse(bytes).map_err(|_| refuse(DropReason::EspTooShort, None))?;
    let (slot, sa) = tables.sad.inbound(header.spi).ok_or_else(|| refuse(DropReason::NoSuchSa, None))?;
    let at = SaRef { slot, install: sa.install };
    let refuse = |reason| Refused { reason, at: Some(at) };
    match (item.ports, sa.encap) {
        //= rfc4301#4.1/outer-addresses: an SPI of one peer is not another's.
        (None, None) if (item.src, item.dst) != (sa.ends.remote, sa.ends.local) => {
            return Err(refuse(DropReason::NoSuchSa));
        }
        (None, None) => {}
        // Behind a NAT the source may change; the ICV decides, not the address.
        (Some(_), Some(_)) if item.dst != sa.ends.local => return Err(refuse(DropReason::NoSuchSa)),
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
    let candidate = sa.shared.window().check(header.seq_low).map_err(|why| refuse(stale(why)))?;
    Ok((at, candidate))
}

fn stale(why: Stale) -> DropReason {
    match why {
        Stale::Seen => DropReason::ReplaySeen,
        Stale::Old => DropReason::ReplayOld,
    }
}

fn job<B: PacketBuf, K>(item: Incoming<B>, at: SaRef, candidate: Candidate, tables: &Tables<K>) -> Job<B> {
    let esn = tables.sad.by_ref(at).is_some_and(|sa| sa.esn);
    Job {
        sa: at,
        operation: Operation::Open,
        // Both fit: an IP packet is at most 65535 bytes long.
        esp_at: item.esp_at as u16,
        esp_len: (item.buf.len() - item.esp_at) as u16,
        seq_high: esn.then(|| candidate.seq().high()),
        ok: false,
        context: Context::Open {
            candidate,
            from: (item.src, item.ports.map_or(0, |(from, _)| from)),
            tos: item.tos,
            interface: item.interface,
        },
        packet: item.buf,
    }
}

fn unknown<B: PacketBuf>(stage: &mut Stage<B>, item: &Incoming<B>, out: &mut Out<B>) {
    let header = esp::Header::parse(item.buf.data().get(item.esp_at..).unwrap_or_default());
    if let (Ok(header), true) = (header, stage.unknown_spi.take(stage.now)) {
        out.events.push(Event::UnknownSpi { spi: header.spi, local: item.dst, remote: item.src });
    }
}

/// Back from the engine.
pub(crate) fn settle<B: PacketBuf, K>(
    tables: &Tables<K>,
    sa: &Sa<K>,
    stage: &mut Stage<B>,
    job: Job<B>,
    out: &mut Out<B>,
) {
    let at = job.sa;
    let bytes = u64::from(job.esp_len);
    match unwrap(tables, sa, stage, job, out) {
        Ok((inner, seq)) => {
            stage.counts.passed(at, bytes, seq, stage.now);
            deliver(tables, stage, inner, out);
        }
        Err(reason) => {
            stage.counts.dropped(at);
            out.drop(reason);
        }
    }
}

fn unwrap<B: PacketBuf, K>(
    tables: &Tables<K>,
    sa: &Sa<K>,
    stage: &mut Stage<B>,
    job: Job<B>,
    out: &mut Out<B>,
) -> Result<(Forward<B>, u64), DropReason> {
    let Context::Open { candidate, from, tos, interface } = job.context else {
        return Err(DropReason::EngineErrorIn);
    };
    //= rfc4303#3.4.4/icv-first: a packet whose ICV is wrong is dropped; nothing of it is looked at.
    if !job.ok {
        return Err(DropReason::IcvMismatch);
    }
    let committed = sa.shared.window().commit(candidate, Authentic::after_icv_verified());
    let newest = committed.map_err(stale)?;
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
    if newest {
        moved(sa, job.sa, from, stage, out);
    }
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
    let packet = Packet::parse(buf.data()).map_err(|_| DropReason::BadTrailer)?;
    if packet.is_ipv4() != ipv4 || packet.src.is_multicast() {
        return Err(DropReason::BadTrailer);
    }
    //= rfc4303#2.7/tfc-padding: what follows the inner packet is padding.
    buf.truncate(packet.total_len.into()).ok_or(DropReason::BadTrailer)?;
    let flow = Flow::of(&packet, buf.data());
    //= rfc4301#5.2/selector-check: the inner packet must be what the SA is for; our own address never is.
    if !spd::within(&sa.selectors, &flow.reversed()) || tables.ports.is_own(packet.src) {
        return Err(DropReason::SelectorMismatch);
    }
    let ecn = decapsulated_ecn(tos & 3, packet.tos & 3).ok_or(DropReason::BadTrailer)?;
    if ecn != packet.tos & 3 {
        ip::set_ecn(buf.data_mut(), ecn).ok_or(DropReason::BadTrailer)?;
    }
    let packet = Packet { tos: (packet.tos & !3) | ecn, ..packet };
    let forward =
        Forward { buf, packet, flow, origin: Origin::Protected, exempt: false, interface: Some(interface) };
    Ok((forward, candidate.seq().0))
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
fn moved<B, K>(sa: &Sa<K>, at: SaRef, from: (IpAddr, u16), stage: &mut Stage<B>, out: &mut Out<B>) {
    let Some(encap) = sa.encap else { return };
    let said = Some((at, from.0, from.1));
    if from != (sa.ends.remote, encap.remote_port) && stage.moved != said {
        stage.moved = said;
        let from = SocketAddr::new(from.0, from.1);
        out.events.push(Event::PeerMoved { slot: SaSlot(at.slot), spi: sa.name, from });
    }
}

/// A checked inner packet: to the gateway itself, or onwards through the policies.
fn deliver<B: PacketBuf, K>(tables: &Tables<K>, stage: &mut Stage<B>, inner: Forward<B>, out: &mut Out<B>) {
    if !tables.ports.is_own(inner.packet.dst) {
        if inner.packet.dst.is_multicast() {
            return out.drop(DropReason::UnsupportedProtocol);
        }
        return stage.forward.push(inner);
    }
    // A tunnel in a tunnel that both end here is not taken apart twice.
    if inner.packet.protocol == protocol::ESP {
        return out.drop(DropReason::UnsupportedProtocol);
    }
    let index = inner.interface.unwrap_or(0);
    let Some(interface) = tables.ports.get(index) else { return out.drop(DropReason::NotForUs) };
    let kind = if inner.packet.is_ipv4() { ethertype::IPV4 } else { ethertype::IPV6 };
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
