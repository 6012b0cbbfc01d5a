//! Inbound: find the SA, look at the window, open; then commit, unwrap and check what was inside.
use super::cache::{Before, FlowCache, Origin, Word, scope_of};
use super::classify::to_host;
use super::forward::{Forward, enqueue, judge_flow, packet_info};
use super::seen::{Plain, Seen, flow_of};
use super::{Context, Out, Progress, Verdict, Work, modes, outbound};
use crate::crypto::{Job, Operation, SaRef};
use crate::prefetch::near;
use crate::tables::sad::{Charge, Form, State};
use crate::tables::{Sa, Tables, spd};
use ipc::contract::Event;
use sa::{Authentic, Candidate, Direction, DropReason, SaSlot, Stale};
use std::net::{IpAddr, SocketAddr};
use std::vec::Drain;
use wire::eth::ethertype;
use wire::ip::{self, protocol};
use wire::{Flow, PacketBuf, ah, esp, udp};

/// An ESP or AH packet for us, starting at its outer IP header.
#[derive(Debug)]
pub(crate) struct Incoming<B> {
    pub buf: B,
    /// 0 if the packet is too short to have one.
    pub spi: u32,
    /// Where the ESP or AH header is.
    pub esp_at: u16,
    pub ah: bool,
    /// Source and destination port of UDP encapsulation.
    pub ports: Option<(u16, u16)>,
    pub interface: u16,
}
impl<B: PacketBuf> Incoming<B> {
    pub fn new(buf: B, esp_at: u16, ports: Option<(u16, u16)>, interface: u16) -> Self {
        let header = esp::Header::parse(buf.data().get(esp_at.into()..).unwrap_or_default());
        Self { spi: header.map_or(0, |header| header.spi), buf, esp_at, ah: false, ports, interface }
    }
    pub fn ah(buf: B, esp_at: u16, interface: u16) -> Self {
        let header = ah::Header::parse(buf.data().get(esp_at.into()..).unwrap_or_default());
        Self { spi: header.map_or(0, |header| header.spi), buf, esp_at, ah: true, ports: None, interface }
    }
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

pub(crate) fn admit<B: PacketBuf, K>(tables: &Tables<K>, work: &mut Work<B>, out: &mut Out<B>) {
    let mut incoming = std::mem::take(&mut work.incoming);
    approach(tables, work, &incoming);
    for item in incoming.drain(..) {
        if item.ah {
            match modes::open(tables, item) {
                Ok(job) => work.jobs.push(job),
                Err((why, item)) => refused(work, why, &item, out),
            }
            continue;
        }
        match check(tables, &item) {
            Ok((at, seq_high, candidate)) => work.jobs.push(job(item, at, seq_high, candidate)),
            Err(why) => refused(work, why, &item, out),
        }
    }
    work.incoming = incoming;
}
#[cold]
fn refused<B: PacketBuf>(work: &mut Work<B>, why: Refused, item: &Incoming<B>, out: &mut Out<B>) {
    out.drop_packet(why.reason, item.buf.data(), item.spi);
    match why.at {
        Some(at) => work.counts.dropped(at),
        None if why.reason == DropReason::NoSuchSa => unknown(work, item, out),
        None => {}
    }
}

/// Has what is to be known of each SA brought near: first what its record points to, then what that points to.
#[inline(always)]
fn approach<B, K>(tables: &Tables<K>, work: &Work<B>, incoming: &[Incoming<B>]) {
    let changes = incoming.windows(2).filter(|pair| pair[0].spi != pair[1].spi).map(|pair| pair[1].spi);
    let first = incoming.first().map(|item| item.spi);
    let named = first.into_iter().chain(changes);
    for (slot, sa) in named.clone().filter_map(|spi| tables.sad.inbound(spi)) {
        sa.shared.prefetch(Direction::Inbound);
        work.counts.prefetch(slot);
    }
    for (_, sa) in named.filter_map(|spi| tables.sad.inbound(spi)) {
        sa.shared.window().word_ahead().into_iter().for_each(near);
    }
}

/// What even stream modes align to (RFC 4303 2.4).
const ALIGNMENT: usize = 4;

pub(crate) struct Refused {
    pub reason: DropReason,
    pub at: Option<SaRef>,
}

/// Everything that can be known before the ICV has been checked. Changes nothing.
#[inline(always)]
fn check<B: PacketBuf, K>(
    tables: &Tables<K>,
    item: &Incoming<B>,
) -> Result<(SaRef, Option<u32>, Candidate), Refused> {
    let refuse = |reason, at| Refused { reason, at };
    let packet = item.buf.data();
    let bytes = packet.get(item.esp_at.into()..).unwrap_or_default();
    let header = esp::Header::parse(bytes).map_err(|_| refuse(DropReason::EspTooShort, None))?;
    let (slot, sa) = tables.sad.inbound(header.spi).ok_or_else(|| refuse(DropReason::NoSuchSa, None))?;
    let at = SaRef { slot, install: sa.install };
    let refuse = |reason| Refused { reason, at: Some(at) };
    //= rfc4303#3.4.2/sa-lookup: an SPI of AH is none of ESP.
    if sa.form.is_ah() {
        return Err(refuse(DropReason::NoSuchSa));
    }
    match check_of(sa, packet, item.esp_at.into(), item.ports) {
        Ok(candidate) => Ok((at, sa.esn.then(|| candidate.seq().high()), candidate)),
        Err(reason) => Err(refuse(reason)),
    }
}

/// The same for an ESP packet whose SA is known.
#[inline(always)]
pub(crate) fn check_of<K>(
    sa: &Sa<K>,
    packet: &[u8],
    esp_at: usize,
    ports: Option<(u16, u16)>,
) -> Result<Candidate, DropReason> {
    let bytes = packet.get(esp_at..).unwrap_or_default();
    let header = esp::Header::parse(bytes).map_err(|_| DropReason::EspTooShort)?;
    let (from_peer, to_us) = sa.header.answered_by(packet);
    match (ports, sa.encap) {
        //= rfc4301#4.1/outer-addresses: an SPI of one peer is not another's.
        (None, None) if !(from_peer && to_us) => return Err(DropReason::NoSuchSa),
        (None, None) => {}
        // Behind a NAT the source may change; the ICV decides, not the address.
        (Some(_), Some(_)) if !to_us => return Err(DropReason::NoSuchSa),
        (Some((_, to)), Some(encap)) if to == encap.local_port => {}
        _ => return Err(DropReason::EncapMismatch),
    }
    let fixed = esp::HEADER + usize::from(sa.iv_len) + usize::from(sa.icv_len);
    let cipher = bytes.len().checked_sub(fixed).filter(|n| *n >= esp::TRAILER);
    let cipher = cipher.ok_or(DropReason::EspTooShort)?;
    // Counter modes and NULL take any length; CBC takes whole blocks.
    if usize::from(sa.pad_to) > ALIGNMENT && cipher % usize::from(sa.pad_to) != 0 {
        return Err(DropReason::EngineErrorIn);
    }
    if sa.shared.state() == State::Dead {
        return Err(DropReason::SaExpiredIn);
    }
    sa.shared.window().check(header.seq_low).map_err(stale)
}

pub(crate) fn stale(why: Stale) -> DropReason {
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
        context: Context { candidate, link: item.interface, progress: Progress::Open },
        packet: item.buf,
    }
}

#[cold]
fn unknown<B: PacketBuf>(work: &mut Work<B>, item: &Incoming<B>, out: &mut Out<B>) {
    if let (Some((remote, local)), true) = (addresses(item.buf.data()), work.unknown_spi.take(work.now)) {
        out.events.push(Event::UnknownSpi { spi: item.spi, local, remote });
    }
}

/// A run of packets of one SA, back from the engine: each authentic number is recorded, the window held once.
pub(crate) fn commit<B: PacketBuf, K>(sa: &Sa<K>, run: &mut [Job<B>]) {
    if sa.form.is_ah() {
        modes::restore(sa.icv_len, run);
    }
    let mut window = sa.shared.hold_window();
    for job in run {
        job.context.progress = match job.context.progress {
            Progress::Open if job.ok => {
                match window.commit(job.context.candidate, Authentic::after_icv_verified()) {
                    Ok(true) => Progress::Newest,
                    Ok(false) => Progress::Accepted,
                    Err(why) => Progress::Refused(stale(why)),
                }
            }
            //= rfc4303#3.4.4/icv-first: a packet whose ICV is wrong is dropped; nothing of it is looked at.
            Progress::Open => Progress::Refused(DropReason::IcvMismatch),
            _ => Progress::Refused(DropReason::EngineErrorIn),
        };
    }
}

/// What was read of an opened packet before the flow cache is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    packet: Plain,
    /// Where the flow cache has it.
    pub place: u32,
    /// Where the inner packet begins.
    pub start: u16,
    /// From there to the padding.
    len: u16,
    /// Of the outer header.
    pub tos: u8,
    inside: Inside,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Plain,
    /// Another IPv4 packet, to be read at leisure.
    Ipv4,
    Ipv6,
    /// What `modes` looks into.
    Other,
    /// It goes no further; the rest says nothing.
    Refused(DropReason),
}
impl Opened {
    /// The inner packet, if it is plain.
    #[inline(always)]
    pub fn plain(&self) -> Option<&Plain> {
        (self.inside == Inside::Plain).then_some(&self.packet)
    }
    /// Asks for what the flow cache knows of it.
    #[inline(always)]
    pub fn approached(self, cache: &FlowCache, scope: u64) -> Self {
        Self { place: cache.approach(self.packet.key, scope), ..self }
    }
    const fn refused(reason: DropReason) -> Self {
        let inside = Inside::Refused(reason);
        Self { packet: Plain::NOTHING, place: 0, start: 0, len: 0, tos: 0, inside }
    }
}

/// The same run, whose inner packets lie open now: reads them all, so that what the flow cache knows of them is on its
/// way when it is needed. One entry for each job.
#[inline(always)]
pub(crate) fn look_inside<B: PacketBuf, K>(
    tables: &Tables<K>,
    sa: &Sa<K>,
    run: &[Job<B>],
    cache: &FlowCache,
    opened: &mut Vec<Opened>,
) {
    let scope = scope_of(sa.install, tables.generation);
    opened.reserve(run.len());
    for job in run {
        let good = matches!(job.context.progress, Progress::Accepted | Progress::Newest);
        let plain = if good { plain_inner(sa, job.packet.data(), job.esp_at, job.esp_len) } else { None };
        match plain {
            Some(inner) => opened.push(inner.approached(cache, scope)),
            None => opened.push(inner(sa, job).unwrap_or_else(Opened::refused)),
        }
    }
}

/// What most packets hold. `None` says nothing, but that this is to be looked at at leisure.
#[inline(always)]
pub(crate) fn plain_inner<K>(sa: &Sa<K>, packet: &[u8], esp_at: u16, esp_len: u16) -> Option<Opened> {
    if !sa.form.is_esp_tunnel() {
        return None;
    }
    let (esp_at, esp_len) = (usize::from(esp_at), usize::from(esp_len));
    let start = esp_at + esp::HEADER + usize::from(sa.iv_len);
    let end = (esp_at + esp_len).checked_sub(usize::from(sa.icv_len))?;
    let trailer = esp::parse_trailer(packet.get(start..end)?).ok()?;
    let text = packet.get(start..start + trailer.payload_len)?;
    if trailer.next_header != protocol::IPV4 {
        return None;
    }
    let tos = tos(packet)?;
    let packet = Plain::parse(text, Origin::Protected)?;
    Some(Opened { packet, place: 0, start: start as u16, len: text.len() as u16, tos, inside: Inside::Plain })
}

/// Any packet.
#[cold]
#[inline(never)]
fn inner<B: PacketBuf, K>(sa: &Sa<K>, job: &Job<B>) -> Result<Opened, DropReason> {
    match job.context.progress {
        Progress::Accepted | Progress::Newest => {}
        Progress::Refused(reason) => return Err(reason),
        Progress::Seal | Progress::Open => return Err(DropReason::EngineErrorIn),
    }
    if !sa.form.is_esp_tunnel() {
        let (start, len) = (job.esp_at, job.esp_len);
        return Ok(Opened { packet: Plain::NOTHING, place: 0, start, len, tos: 0, inside: Inside::Other });
    }
    let packet = job.packet.data();
    let tos = tos(packet).ok_or(DropReason::BadTrailer)?;
    let start = usize::from(job.esp_at) + esp::HEADER + usize::from(sa.iv_len);
    let end = usize::from(job.esp_at) + usize::from(job.esp_len) - usize::from(sa.icv_len);
    let plain = packet.get(start..end).ok_or(DropReason::BadTrailer)?;
    let trailer = esp::parse_trailer(plain).map_err(|_| DropReason::BadTrailer)?;
    let inside = match trailer.next_header {
        protocol::IPV4 => Inside::Ipv4,
        protocol::IPV6 => Inside::Ipv6,
        //= rfc4303#2.6/dummy: next header 59 is dropped without being an error.
        protocol::NONE => return Err(DropReason::DummyPacket),
        _ => return Err(DropReason::BadTrailer),
    };
    let text = plain.get(..trailer.payload_len).ok_or(DropReason::BadTrailer)?;
    // Both fit: an IP packet is at most 65535 bytes long.
    Ok(Opened { packet: Plain::NOTHING, place: 0, start: start as u16, len: text.len() as u16, tos, inside })
}

/// A run of packets of one SA, back from the engine.
pub(crate) struct Back<'a, K> {
    pub tables: &'a Tables<K>,
    pub sa: &'a Sa<K>,
    pub at: SaRef,
}

impl<K> Back<'_, K> {
    /// The run that was looked into: charge it, unwrap what was inside, check it, pass it on.
    #[inline(always)]
    pub fn settle<B: PacketBuf>(
        &self,
        work: &mut Work<B>,
        jobs: &mut Drain<'_, Job<B>>,
        opened: &[Opened],
        out: &mut Out<B>,
    ) {
        let (mut packets, mut bytes, mut last) = (0, 0, 0);
        for opened in opened {
            // Looked at in place: what is copied as a whole is loaded wider than it was stored.
            let Some(job) = jobs.as_slice().first() else { break };
            let (len, interface) = (u64::from(job.esp_len), job.context.link);
            let (seq, progress) = (job.context.candidate.seq(), job.context.progress);
            if let Err(reason) = self.charge(job, out) {
                self.refuse(reason, job.packet.data(), work, out);
                drop(jobs.next());
                continue;
            }
            if progress == Progress::Newest && self.sa.encap.is_some() {
                moved(self.sa, job, work, out);
            }
            let Some(Job { packet: mut buf, .. }) = jobs.next() else { break };
            match self.unwrap(work, &mut buf, opened) {
                Ok(verdict) => {
                    packets += 1;
                    bytes += len;
                    last = last.max(seq.0);
                    let origin = Origin::Protected;
                    deliver(self, work, Forward { buf, verdict, origin, interface: Some(interface) }, out);
                }
                Err(reason) => self.refuse(reason, buf.data(), work, out),
            }
        }
        if packets > 0 {
            work.counts.passed(self.at, packets, bytes, last, work.now);
        }
    }

    #[cold]
    fn refuse<B: PacketBuf>(&self, reason: DropReason, bytes: &[u8], work: &mut Work<B>, out: &mut Out<B>) {
        work.counts.dropped(self.at);
        out.drop_packet(reason, bytes, self.sa.spi);
        //= rfc4301#5.2/audit: a packet that does not fit its SA is an auditable event.
        if reason == DropReason::SelectorMismatch
            && let Ok((_, flow)) = flow_of(bytes)
            && work.mismatches.take(work.now)
        {
            let packet = packet_info(&flow);
            out.events.push(Event::Mismatch { slot: SaSlot(self.at.slot), spi: self.sa.name(), packet });
        }
    }

    #[inline(always)]
    fn charge<B>(&self, job: &Job<B>, out: &mut Out<B>) -> Result<(), DropReason> {
        match job.context.progress {
            Progress::Accepted | Progress::Newest => {}
            Progress::Refused(reason) => return Err(reason),
            Progress::Seal | Progress::Open => return Err(DropReason::EngineErrorIn),
        }
        match self.sa.shared.charge(job.esp_len.into()) {
            Charge::Fine => {}
            Charge::Soft(why) => out.events.push(outbound::soft(self.at, self.sa, why)),
            Charge::Hard { why, first } => {
                if first {
                    out.events.push(outbound::hard(self.at, self.sa, why));
                }
                return Err(DropReason::SaExpiredIn);
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn unwrap<B: PacketBuf>(
        &self,
        work: &mut Work<B>,
        buf: &mut B,
        opened: &Opened,
    ) -> Result<Word, DropReason> {
        let mut outer_tos = opened.tos;
        let (verdict, inner_tos) = match opened.inside {
            Inside::Refused(reason) => return Err(reason),
            Inside::Plain => {
                let Plain { key, total_len, tos, .. } = opened.packet;
                let flow = || opened.packet.flow();
                //= rfc4303#2.7/tfc-padding: what follows the inner packet is padding.
                buf.cut(opened.start.into(), total_len.into()).ok_or(DropReason::BadTrailer)?;
                let scope = scope_of(self.sa.install, self.tables.generation);
                let judge = |before| first_look(self.tables, self.sa, Some(&flow()), before);
                (work.cache.look_up_at(opened.place, key, scope, judge), tos)
            }
            Inside::Ipv4 | Inside::Ipv6 => self.at_leisure(work, buf, opened)?,
            Inside::Other => {
                let (verdict, outer) =
                    modes::unwrap(self, work, buf, opened.start.into(), opened.len.into())?;
                outer_tos = outer;
                (verdict, tos(buf.data()).ok_or(DropReason::BadTrailer)?)
            }
        };
        if verdict == Word::MISMATCH {
            return Err(DropReason::SelectorMismatch);
        }
        let ecn = decapsulated_ecn(outer_tos & 3, inner_tos & 3).ok_or(DropReason::BadTrailer)?;
        if ecn != inner_tos & 3 {
            ip::set_ecn(buf.data_mut(), ecn).ok_or(DropReason::BadTrailer)?;
        }
        Ok(verdict)
    }

    /// Any inner packet.
    #[inline(never)]
    fn at_leisure<B: PacketBuf>(
        &self,
        work: &mut Work<B>,
        buf: &mut B,
        opened: &Opened,
    ) -> Result<(Word, u8), DropReason> {
        buf.cut(opened.start.into(), opened.len.into()).ok_or(DropReason::BadTrailer)?;
        let seen = Seen::parse(buf.data(), Origin::Protected).map_err(|_| DropReason::BadTrailer)?;
        if seen.ipv4 != (opened.inside == Inside::Ipv4) || seen.from_group {
            return Err(DropReason::BadTrailer);
        }
        //= rfc4303#2.7/tfc-padding: what follows the inner packet is padding.
        buf.truncate(seen.total_len.into()).ok_or(DropReason::BadTrailer)?;
        let key = seen.key.within(self.sa.install, self.tables.generation);
        let flow = || flow_of(buf.data()).ok().map(|(_, flow)| flow);
        let judge = |before| first_look(self.tables, self.sa, flow().as_ref(), before);
        Ok((work.cache.look_up(&key, judge), seen.tos))
    }
}

/// What an inner packet of this SA may do.
#[cold]
pub(crate) fn first_look<K>(
    tables: &Tables<K>,
    sa: &Sa<K>,
    flow: Option<&Flow>,
    before: Option<Before>,
) -> Verdict {
    let Some(flow) = flow else { return Verdict::Mismatch };
    if let Some(verdict) = before.and_then(|before| before.still(tables, flow)) {
        return verdict;
    }
    //= rfc4301#5.2/selector-check: the inner packet must be what the SA is for; our own address never is.
    if !spd::within(&sa.about.selectors, &flow.reversed()) || tables.ports.is_own(flow.src) {
        return Verdict::Mismatch;
    }
    if tables.ports.is_own(flow.dst) {
        return Verdict::Ours;
    }
    if flow.dst.is_multicast() {
        return Verdict::Drop(DropReason::UnsupportedProtocol);
    }
    judge_flow(tables, Origin::Protected, Some(flow))
}

/// TOS or traffic class of a packet that was parsed before.
#[inline(always)]
pub(crate) fn tos(packet: &[u8]) -> Option<u8> {
    let [a, b] = *packet.first_chunk()?;
    Some(if a >> 4 == 4 { b } else { a << 4 | b >> 4 })
}

//= rfc6040#4.2/decapsulation: figure 4; `None` where congestion was marked on a packet that cannot say so.
#[inline(always)]
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
fn moved<B: PacketBuf, K>(sa: &Sa<K>, job: &Job<B>, work: &mut Work<B>, out: &mut Out<B>) {
    let packet = job.packet.data();
    let udp = usize::from(job.esp_at).checked_sub(udp::HEADER).and_then(|at| packet.get(at..));
    let port = udp.and_then(<[u8]>::first_chunk).map(|port| u16::from_be_bytes(*port));
    let (Some(encap), Some((from, _)), Some(port)) = (sa.encap, addresses(packet), port) else { return };
    let said = Some((job.sa, from, port));
    if (from, port) != (sa.ends.remote, encap.remote_port) && work.moved != said {
        work.moved = said;
        let from = SocketAddr::new(from, port);
        out.events.push(Event::PeerMoved { slot: SaSlot(job.sa.slot), spi: sa.name(), from });
    }
}

/// A checked inner packet: to the gateway itself, or onwards.
#[inline(always)]
fn deliver<B: PacketBuf, K>(of: &Back<'_, K>, work: &mut Work<B>, inner: Forward<B>, out: &mut Out<B>) {
    match inner.verdict {
        Word::OURS => to_us(of, work, inner, out),
        _ => enqueue(of.tables, work, inner, out),
    }
}

#[cold]
fn to_us<B: PacketBuf, K>(of: &Back<'_, K>, work: &mut Work<B>, inner: Forward<B>, out: &mut Out<B>) {
    let tables = of.tables;
    let Ok((packet, _)) = flow_of(inner.buf.data()) else { return out.drop(DropReason::MalformedIp) };
    // A tunnel in a tunnel that both end here is not taken apart twice, but for ESP in AH between the same two ends.
    match packet.protocol {
        protocol::ESP if of.sa.form == Form::AhTransport => {
            let interface = inner.interface.unwrap_or(0);
            return work.incoming.push(Incoming::new(inner.buf, packet.upper_at, None, interface));
        }
        protocol::ESP | protocol::AH => return out.drop(DropReason::UnsupportedProtocol),
        _ => {}
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
