//! Everything but ESP in tunnel mode: transport mode (RFC 4301 4.1, RFC 4303 3.1.1) and AH (RFC 4302).
//!
//! Out of line, and decided once per SA ([`Form`]): the commonest way does not come by here.
//!
//! An engine sees AH as what it knows already, an integrity algorithm behind NULL encryption. For that the packet stands
//! as the ICV covers it, from the IP header on, with what may change on the way made zero; behind it is the ICV, as in
//! ESP, and behind that, where no engine looks, the headers as they were.
use super::cache::{Origin, Word};
use super::forward::{Forward, V6_LEAST, Way, fit, largest, report};
use super::fragment::{Whole, split_v6};
use super::inbound::{self, Back, Incoming, Refused, first_look, stale};
use super::iv::IvSource;
use super::outbound::{self, Inner, Run};
use super::seen::{Seen, flow_of};
use super::{Candidate, Context, Out, Progress, Work};
use crate::crypto::{Job, Operation, SaRef};
use crate::tables::sad::{Form, State};
use crate::tables::{Sa, Tables};
use sa::{DropReason, SeqNo, TunnelEnds};
use std::net::IpAddr;
use wire::ah::{self, End};
use wire::chain::{self, Place};
use wire::ip::{Packet, protocol};
use wire::{PacketBuf, esp, udp};

/// Of the link and of what is known of the path behind it.
pub(crate) fn mtu<K>(sa: &Sa<K>, way: &Way) -> usize {
    way.mtu.min(sa.shared.path_mtu()).into()
}
/// Bytes of the AH of an SA.
fn ah_len<K>(sa: &Sa<K>) -> usize {
    ah::header_len(sa.icv_len.into(), sa.header.is_ipv4)
}
/// UDP header, ESP header and IV.
fn esp_front<K>(sa: &Sa<K>) -> usize {
    let udp = if sa.encap.is_some() { udp::HEADER } else { 0 };
    udp + esp::HEADER + usize::from(sa.iv_len)
}

/// The largest packet whose protected form fits `mtu`. For transport mode the largest that does wherever its header ends.
#[cold]
pub(crate) fn inner_mtu<K>(sa: &Sa<K>, mtu: usize) -> usize {
    mtu.saturating_sub(match sa.form {
        Form::AhTransport => ah_len(sa),
        Form::AhTunnel => usize::from(sa.header.esp_at) + ah_len(sa),
        _ => esp_front(sa) + usize::from(sa.pad_to) - 1 + esp::TRAILER + usize::from(sa.icv_len),
    })
}

//= rfc4303#3.3.4/fragment-after: in transport mode a datagram is protected as a whole, and fragmented after.
/// Leaves in the run what fits, and what may be fragmented when it is protected.
#[cold]
pub(crate) fn refuse_large<B: PacketBuf>(
    sa_ref: SaRef,
    inner: usize,
    work: &mut Work<B>,
    ready: &mut Vec<Forward<B>>,
    out: &mut Out<B>,
) {
    // TCP sends smaller segments when it is told; others could only send fragments, which are not protected.
    let splits = |packet: &[u8]| match packet {
        [0x45, _, _, _, _, _, flags, ..] => flags & 0x40 == 0,
        [first, _, _, _, _, _, kind, ..] if first >> 4 == 6 => {
            *kind != protocol::TCP || packet.len() <= V6_LEAST
        }
        _ => false,
    };
    let mut at = 0;
    while let Some(item) = ready.get(at) {
        if item.buf.len() <= inner || splits(item.buf.data()) {
            at += 1;
        } else {
            work.counts.dropped(sa_ref);
            let item = ready.remove(at);
            let mtu = largest(item.buf.data(), inner);
            report(item, DropReason::TooBig, mtu as u16, out);
        }
    }
}

/// Sends a finished packet that was too large for its link.
#[cold]
pub(crate) fn send_in_pieces<B: PacketBuf, K>(
    tables: &Tables<K>,
    sa: &Sa<K>,
    way: Way,
    packet: B,
    work: &mut Work<B>,
    out: &mut Out<B>,
) {
    let mut item = Forward { buf: packet, verdict: Word::PASS, origin: Origin::Own, interface: None };
    let most = mtu(sa, &way);
    let mut pieces = if sa.header.is_ipv4 {
        // Nothing comes here that may not be fragmented outside, whatever the outer header took over from the inner one.
        allow_fragments(item.buf.data_mut());
        fit(item, most, work, out)
    } else {
        own_v6(item, most, work, out)
    };
    for piece in pieces.drain(..) {
        way.send(tables, sa.ends.remote.into(), piece.buf, out);
    }
    work.pieces = pieces;
}

fn allow_fragments(packet: &mut [u8]) {
    let total = packet.len();
    if let Some(flags) = packet.get_mut(6) {
        *flags &= !0x40;
    }
    // It was an IPv4 header before; nothing else could go wrong.
    let _ = chain::set_length(packet, total);
}
fn own_v6<B: PacketBuf>(
    item: Forward<B>,
    most: usize,
    work: &mut Work<B>,
    out: &mut Out<B>,
) -> Vec<Forward<B>> {
    let mut pieces = std::mem::take(&mut work.pieces);
    let [a, b, c, d, ..] = work.ivs.next();
    match split_v6(item, most, [a, b, c, d], work.make.as_mut(), &mut pieces) {
        Ok(count) => out.fragments += count as u64 - 1,
        Err((Whole::MayNot, _)) => out.drop(DropReason::TooBig),
        Err((Whole::NoBuffer, _)) => out.drop(DropReason::NoBuffer),
    }
    pieces
}

/// A packet under its SA's headers, ready for the engine.
#[cold]
#[inline(never)]
pub(crate) fn job<B: PacketBuf, K>(
    run: &Run<'_, K>,
    item: Forward<B>,
    seq: u64,
    ivs: &mut IvSource,
) -> Result<Job<B>, DropReason> {
    let sa = run.sa;
    let mut packet = item.buf;
    let place = match sa.form.is_transport() {
        true => Some(transport_place(sa, packet.data())?),
        false => None,
    };
    // What has to be split gets its link header then.
    let whole = protected_len(sa, place, packet.len()) <= mtu(sa, &run.way);
    let link = if whole { run.way.header_len() } else { 0 };
    let framed = match (sa.form.is_ah(), place) {
        (false, Some(place)) => {
            let iv = iv(sa, seq, ivs);
            esp_transport(sa, place, link, &mut packet, seq, &iv)
        }
        (true, place) => authenticated(sa, place, link, &mut packet, seq),
        (false, None) => None,
    };
    let (esp_at, esp_len) = framed.ok_or(DropReason::NoHeadroom)?;
    if let Some(link) = packet.data_mut().get_mut(..link).filter(|link| !link.is_empty()) {
        run.way.write_header(link);
    }
    Ok(Job {
        packet,
        sa: run.sa_ref,
        operation: Operation::Seal,
        esp_at,
        esp_len,
        seq_high: sa.esn.then(|| SeqNo(seq).high()),
        ok: false,
        context: Context {
            candidate: Candidate::NONE,
            link: run.way.port().filter(|_| whole).unwrap_or(Context::UNRESOLVED),
            progress: Progress::Seal,
        },
    })
}

/// As in tunnel mode.
fn iv<K>(sa: &Sa<K>, seq: u64, ivs: &mut IvSource) -> [u8; 16] {
    match sa.about.suite.encryption().counts_iv() {
        //= rfc4106#3.1/counter-iv: the sequence number is unique under a key, so is the IV.
        true => {
            let mut iv = [0; 16];
            iv[..8].copy_from_slice(&seq.to_be_bytes());
            iv
        }
        false => ivs.next(),
    }
}

/// Where the security header goes into a packet of the gateway's own.
fn transport_place<K>(sa: &Sa<K>, packet: &[u8]) -> Result<Place, DropReason> {
    let parsed = Packet::parse(packet).map_err(|_| DropReason::MalformedIp)?;
    //= rfc4301#4.1/transport-ends: between two hosts; a gateway only for its own traffic.
    if (parsed.src, parsed.dst) != (sa.ends.local, sa.ends.remote) {
        return Err(DropReason::TransportEnds);
    }
    //= rfc4303#3.3.4/whole-datagrams: transport mode is applied to whole datagrams, never to fragments.
    if parsed.fragment.is_some() {
        return Err(DropReason::TransportFragment);
    }
    chain::transport_place(packet).map_err(|_| DropReason::MalformedIp)
}

/// From the IP header on.
fn protected_len<K>(sa: &Sa<K>, place: Option<Place>, len: usize) -> usize {
    match (sa.form.is_ah(), place) {
        (true, Some(_)) => len + ah_len(sa),
        (true, None) => len + usize::from(sa.header.esp_at) + ah_len(sa),
        (false, place) => {
            let padding = esp::padding(len - place.map_or(0, |place| place.at), sa.pad_to.into());
            len + esp_front(sa) + padding + esp::TRAILER + usize::from(sa.icv_len)
        }
    }
}

/// Grows a packet for a header behind the first `place.at` bytes, which move to the front, and for what comes behind.
/// Tells what follows the link header, and the protocol that was named there.
fn insert<B: PacketBuf>(
    buf: &mut B,
    link: usize,
    place: Place,
    front: usize,
    back: usize,
    kind: u8,
) -> Option<(&mut [u8], u8)> {
    let packet = buf.grow(link + front, back)?.get_mut(link..)?;
    packet.copy_within(front..front + place.at, 0);
    let next = std::mem::replace(packet.get_mut(place.named_at)?, kind);
    Some((packet, next))
}

//= rfc4303#3.1.1/transport: the ESP header between the IP header and what it carries; the rest is as in tunnel mode.
fn esp_transport<B: PacketBuf, K>(
    sa: &Sa<K>,
    place: Place,
    link: usize,
    buf: &mut B,
    seq: u64,
    iv: &[u8; 16],
) -> Option<(u16, u16)> {
    let payload = buf.len() - place.at;
    let (front, icv) = (esp_front(sa), usize::from(sa.icv_len));
    let trailer = esp::padding(payload, sa.pad_to.into()) + esp::TRAILER;
    let kind = if sa.encap.is_some() { protocol::UDP } else { protocol::ESP };
    let (packet, next) = insert(buf, link, place, front, trailer + icv, kind)?;
    let total = packet.len();
    let (header, rest) = packet.split_at_mut_checked(place.at)?;
    //= rfc4301#4.1/header-fields: TTL, TOS and addresses stay as they were; length and checksum follow.
    chain::set_length(header, total)?;
    let esp = match sa.encap {
        //= rfc3948#2.1/zero-checksum: as in tunnel mode.
        Some(encap) => {
            udp::write(rest, encap.local_port, encap.remote_port, total - place.at - udp::HEADER)?;
            rest.get_mut(udp::HEADER..)?
        }
        None => rest,
    };
    let esp_len = u16::try_from(esp.len()).ok()?;
    *esp.first_chunk_mut()? = (u64::from(sa.spi) << 32 | u64::from(SeqNo(seq).low())).to_be_bytes();
    let iv_len = usize::from(sa.iv_len);
    esp.get_mut(esp::HEADER..esp::HEADER + iv_len)?.copy_from_slice(iv.get(..iv_len)?);
    let end = esp.len() - icv;
    esp::write_trailer(esp.get_mut(end - trailer..end)?, next)?;
    Some(((link + total - usize::from(esp_len)) as u16, esp_len))
}

/// AH in front of what follows `place`, or of the whole packet and behind our own outer header.
fn authenticated<B: PacketBuf, K>(
    sa: &Sa<K>,
    place: Option<Place>,
    link: usize,
    buf: &mut B,
    seq: u64,
) -> Option<(u16, u16)> {
    let (len, icv) = (ah_len(sa), usize::from(sa.icv_len));
    let (packet, at, next) = match place {
        Some(place) => {
            let (packet, next) = insert(buf, link, place, len, icv + place.at, protocol::AH)?;
            (packet, place.at, next)
        }
        None => {
            let about = Inner::of(buf.data())?;
            let at = usize::from(sa.header.esp_at);
            let packet = buf.grow(link + at + len, icv + at)?.get_mut(link..)?;
            let total = packet.len() - icv - at;
            outbound::outer(sa, packet.get_mut(..at)?, total, about, seq)?;
            (packet, at, about.next_header)
        }
    };
    let total = packet.len() - icv - at;
    let (packet, behind) = packet.split_at_mut_checked(total)?;
    let (header, rest) = packet.split_at_mut_checked(at)?;
    chain::set_length(header, total)?;
    ah::write(rest.get_mut(..len)?, next, sa.spi, SeqNo(seq).low())?;
    behind.get_mut(icv..)?.copy_from_slice(header);
    if sa.about.suite.integrity().iv_len() > 0 {
        //= rfc4543#3.1/unique-iv: the sequence number, which never comes twice under a key.
        *behind.first_chunk_mut()? = seq.to_be_bytes();
    }
    ah::mute(header, End::Sender).ok()?;
    Some((u16::try_from(link).ok()?, u16::try_from(total + icv).ok()?))
}

/// Puts the ICV of a packet that an engine has gone over, and its headers, to their places. Tells where the AH is from
/// `start` on, the packet's IP header.
fn put_back<B: PacketBuf>(packet: &mut B, start: usize, len: usize, icv: usize) -> Option<usize> {
    let total = len.checked_sub(icv)?;
    let (front, behind) = packet.data_mut().split_at_mut_checked(start + total)?;
    let (tag, saved) = behind.split_at_mut_checked(icv)?;
    let at = saved.len();
    let whole = front.get_mut(start..)?;
    whole.get_mut(..at)?.copy_from_slice(saved);
    whole.get_mut(at + ah::FIXED..at + ah::FIXED + icv)?.copy_from_slice(tag);
    packet.truncate(start + total)?;
    Some(at)
}
/// The same for what goes out. Tells the bytes from the AH on.
#[cold]
pub(crate) fn finish<B: PacketBuf>(packet: &mut B, start: u16, len: u16, icv: u8) -> Option<u16> {
    let at = put_back(packet, start.into(), len.into(), icv.into())?;
    u16::try_from(packet.len() - usize::from(start) - at).ok()
}
/// The same for a run that came in, whatever the engine said: each stands as it arrived.
#[cold]
pub(crate) fn restore<B: PacketBuf>(icv: u8, run: &mut [Job<B>]) {
    for job in run {
        match put_back(&mut job.packet, 0, job.esp_len.into(), icv.into()) {
            Some(at) => (job.esp_at, job.esp_len) = (at as u16, (job.packet.len() - at) as u16),
            None => job.context.progress = Progress::Refused(DropReason::EngineErrorIn),
        }
    }
}

/// As `inbound::check`, for AH, and the packet made ready for the engine. Given back with the reason if it is refused.
#[cold]
pub(crate) fn open<B: PacketBuf, K>(
    tables: &Tables<K>,
    mut item: Incoming<B>,
) -> Result<Job<B>, (Refused, Incoming<B>)> {
    let checked = check(tables, &item).and_then(|found| {
        let icv = usize::from(found.sa.icv_len);
        match stand_for_icv(&mut item.buf, item.esp_at.into(), icv) {
            Ok(len) => Ok((found, len)),
            Err(reason) => Err(Refused { reason, at: Some(found.at) }),
        }
    });
    match checked {
        Err(refused) => Err((refused, item)),
        Ok((Found { at, sa, candidate }, esp_len)) => Ok(Job {
            sa: at,
            operation: Operation::Open,
            esp_at: 0,
            esp_len,
            seq_high: sa.esn.then(|| candidate.seq().high()),
            ok: false,
            context: Context { candidate, link: item.interface, progress: Progress::Open },
            packet: item.buf,
        }),
    }
}

struct Found<'a, K> {
    at: SaRef,
    sa: &'a Sa<K>,
    candidate: Candidate,
}
fn check<'a, B: PacketBuf, K>(tables: &'a Tables<K>, item: &Incoming<B>) -> Result<Found<'a, K>, Refused> {
    let packet = item.buf.data();
    let none = |reason| Refused { reason, at: None };
    let header = ah::Header::parse(packet.get(item.esp_at.into()..).unwrap_or_default())
        .map_err(|_| none(DropReason::AhMalformed))?;
    let (slot, sa) = tables.sad.inbound(header.spi).ok_or_else(|| none(DropReason::NoSuchSa))?;
    let at = SaRef { slot, install: sa.install };
    let refuse = |reason| Refused { reason, at: Some(at) };
    //= rfc4302#3.4.2/sa-lookup: an SPI of ESP is none of AH, and one of one peer is not another's.
    if !sa.form.is_ah() || sa.header.answered_by(packet) != (true, true) {
        return Err(refuse(DropReason::NoSuchSa));
    }
    //= rfc4302#3.4.4/icv-length: that of the SA's algorithm, with the padding of the family.
    let whole = usize::from(item.esp_at) + header.len <= packet.len();
    if !whole || !header.fits(sa.icv_len.into(), sa.header.is_ipv4) {
        return Err(refuse(DropReason::AhMalformed));
    }
    if sa.shared.state() == State::Dead {
        return Err(refuse(DropReason::SaExpiredIn));
    }
    let candidate = sa.shared.window().check(header.seq_low).map_err(|why| refuse(stale(why)))?;
    Ok(Found { at, sa, candidate })
}

/// See above. Tells how many bytes are the engine's. Changes nothing when it refuses.
fn stand_for_icv<B: PacketBuf>(buf: &mut B, at: usize, icv: usize) -> Result<u16, DropReason> {
    let total = buf.len();
    let mut trial = [0; MOST_IN_FRONT];
    let front = buf.data().get(..at).ok_or(DropReason::AhMalformed)?;
    let trial = trial.get_mut(..at).ok_or(DropReason::AhMalformed)?;
    trial.copy_from_slice(front);
    ah::mute(trial, End::Receiver).map_err(|_| DropReason::AhMalformed)?;
    let packet = buf.append(icv + at).ok_or(DropReason::NoHeadroomIn)?;
    let mut made = || -> Option<u16> {
        let (packet, behind) = packet.split_at_mut_checked(total)?;
        let (header, rest) = packet.split_at_mut_checked(at)?;
        let tag = rest.get_mut(ah::FIXED..ah::FIXED + icv)?;
        behind.get_mut(..icv)?.copy_from_slice(tag);
        tag.fill(0);
        behind.get_mut(icv..)?.copy_from_slice(header);
        header.copy_from_slice(trial);
        u16::try_from(total + icv).ok()
    };
    made().ok_or(DropReason::AhMalformed)
}
/// The longest headers in front of an AH that are looked at; those of IPv4 are 60 bytes at most.
const MOST_IN_FRONT: usize = 512;

/// An authentic packet whose security header, ESP or AH, begins at `at` and is `len` bytes long with all that it covers.
#[cold]
#[inline(never)]
pub(crate) fn unwrap<B: PacketBuf, K>(
    of: &Back<'_, K>,
    work: &mut Work<B>,
    buf: &mut B,
    at: usize,
    len: usize,
) -> Result<(Word, u8), DropReason> {
    let sa = of.sa;
    let outer_tos = inbound::tos(buf.data()).ok_or(DropReason::BadTrailer)?;
    let (start, inner, next) = inside(sa, buf.data(), at, len).ok_or(DropReason::BadTrailer)?;
    //= rfc4303#2.6/dummy: next header 59 is dropped without being an error.
    if next == protocol::NONE {
        return Err(DropReason::DummyPacket);
    }
    if sa.form.is_transport() {
        take_out(sa, buf, at, start, inner, next).ok_or(DropReason::BadTrailer)?;
    } else {
        buf.cut(start, inner).ok_or(DropReason::BadTrailer)?;
    }
    let seen = Seen::parse(buf.data(), Origin::Protected).map_err(|_| DropReason::BadTrailer)?;
    let family = match next {
        _ if sa.form.is_transport() => seen.ipv4 == sa.header.is_ipv4,
        protocol::IPV4 => seen.ipv4,
        protocol::IPV6 => !seen.ipv4,
        _ => false,
    };
    if !family || seen.from_group {
        return Err(DropReason::BadTrailer);
    }
    //= rfc4303#2.7/tfc-padding: what follows the inner packet is padding.
    buf.truncate(seen.total_len.into()).ok_or(DropReason::BadTrailer)?;
    let key = seen.key.within(sa.install, of.tables.generation);
    let flow = || flow_of(buf.data()).ok().map(|(_, flow)| flow);
    let verdict = work.cache.look_up(&key, |before| first_look(of.tables, sa, flow().as_ref(), before));
    if sa.form.is_transport() {
        //= rfc4301#4.1/transport-ends: for ourselves, or it is not of this SA.
        let ours = matches!(verdict, Word::OURS | Word::MISMATCH);
        if let (Word::OURS, Some(encap), Ok((_, flow))) = (verdict, sa.encap, flow_of(buf.data())) {
            of.tables.clients.note(&flow.reversed(), encap.remote_port);
        }
        return if ours { Ok((verdict, seen.tos)) } else { Err(DropReason::SelectorMismatch) };
    }
    Ok((verdict, outer_tos))
}

/// Where what is carried begins, how long it is, and what it is.
fn inside<K>(sa: &Sa<K>, packet: &[u8], at: usize, len: usize) -> Option<(usize, usize, u8)> {
    let covered = packet.get(at..at + len)?;
    if sa.form.is_ah() {
        let header = ah::Header::parse(covered).ok()?;
        return Some((at + header.len, len - header.len, header.next_header));
    }
    let start = esp::HEADER + usize::from(sa.iv_len);
    let plain = covered.get(start..len.checked_sub(sa.icv_len.into())?)?;
    let trailer = esp::parse_trailer(plain).ok()?;
    Some((at + start, trailer.payload_len, trailer.next_header))
}

/// Closes the gap that a security header leaves, and says in the headers in front what follows now.
fn take_out<B: PacketBuf, K>(
    sa: &Sa<K>,
    buf: &mut B,
    at: usize,
    start: usize,
    inner: usize,
    next: u8,
) -> Option<()> {
    let header_len = if sa.encap.is_some() { at.checked_sub(udp::HEADER)? } else { at };
    let place = chain::place_at(buf.data(), header_len).ok()?;
    //= rfc8200#4/chain: what has to stand in front may not come out of it.
    if next == protocol::HOP_BY_HOP && !sa.header.is_ipv4 {
        return None;
    }
    let gap = start - header_len;
    buf.truncate(start + inner)?;
    buf.data_mut().copy_within(..header_len, gap);
    buf.advance(gap)?;
    let total = buf.len();
    *buf.data_mut().get_mut(place.named_at)? = next;
    chain::set_length(buf.data_mut().get_mut(..header_len)?, total)?;
    if sa.encap.is_some() {
        checksum_behind_nat(sa, buf.data_mut())?;
    }
    Some(())
}

//= rfc3948#3.1.2/transport-checksum: a NAT has changed the addresses that the checksum of TCP and UDP covers.
/// Adjusts it by the addresses that the peer knows, or makes it anew where they are not known: the ICV says that the
/// packet is whole.
fn checksum_behind_nat<K>(sa: &Sa<K>, packet: &mut [u8]) -> Option<()> {
    let parsed = Packet::parse(packet).ok()?;
    let (at, kind) = (usize::from(parsed.upper_at), parsed.protocol);
    match sa.about.original {
        Some(TunnelEnds { local: IpAddr::V4(dst), remote: IpAddr::V4(src) }) => {
            let mut before = [0; 8];
            before[..4].copy_from_slice(&src.octets());
            before[4..].copy_from_slice(&dst.octets());
            chain::readdress(packet, at, kind, &before)
        }
        Some(TunnelEnds { local: IpAddr::V6(dst), remote: IpAddr::V6(src) }) => {
            let mut before = [0; 32];
            before[..16].copy_from_slice(&src.octets());
            before[16..].copy_from_slice(&dst.octets());
            chain::readdress(packet, at, kind, &before)
        }
        _ => chain::checksum_anew(packet, &parsed),
    }
}
