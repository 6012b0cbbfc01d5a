//! Outbound: number and frame each packet of a run under its SA, and send what came back sealed.
use super::cache::To;
use super::forward::{Forward, V6_LEAST, Way, fit, report};
use super::inbound::Back;
use super::iv::IvSource;
use super::{Context, Out, Progress, Work, framing, modes};
use crate::crypto::{Job, Operation, SaRef};
use crate::tables::sad::{Charge, Form, Reserved, State};
use crate::tables::{Sa, Tables};
use ipc::contract::{Event, Expiry};
use sa::{Candidate, Direction, DontFragment, DropReason, Framing, SaSlot, SeqNo};
use std::vec::Drain;
use wire::{PacketBuf, checksum, esp, eth, ip, udp};

/// What most packets grow by, in front and behind.
pub(crate) const FRONT: usize = Short::FRONT;
pub(crate) const BACK: usize = esp::TRAILER + Short::ICV;

/// Bytes of a packet's ESP form.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Outer headers, ESP header, IV.
    front: usize,
    /// Padding and trailer.
    trailer: usize,
    icv: usize,
}
impl Shape {
    pub fn of<K>(sa: &Sa<K>, inner: usize) -> Self {
        let front = usize::from(sa.header.esp_at) + esp::HEADER + usize::from(sa.iv_len);
        let trailer = esp::padding(inner, sa.pad_to.into()) + esp::TRAILER;
        Self { front, trailer, icv: sa.icv_len.into() }
    }
    pub fn total(self, inner: usize) -> usize {
        self.front + inner + self.trailer + self.icv
    }
}
/// The largest inner packet whose protected form fits the link and what is known of the path behind it.
pub(crate) fn inner_mtu<K>(sa: &Sa<K>, way: &Way) -> usize {
    let mtu = usize::from(way.mtu.min(sa.shared.path_mtu()));
    if !sa.form.is_esp_tunnel() {
        return modes::inner_mtu(sa, mtu);
    }
    let front = usize::from(sa.header.esp_at) + esp::HEADER + usize::from(sa.iv_len);
    let room = mtu.saturating_sub(front + usize::from(sa.icv_len));
    // A power of two: whole blocks, without a division that could be one by zero.
    (room & usize::from(sa.pad_to).wrapping_neg()).saturating_sub(esp::TRAILER)
}

/// What was found out about a run before its first packet is touched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub sa: SaRef,
    /// How many packets.
    pub count: usize,
    /// `None`: there is no SA, or no route to its peer.
    pub way: Option<Way>,
    /// `None`: some packets do not fit and are split first.
    pub reserved: Option<Reserved>,
}
impl Plan {
    /// Whether its packets take no numbers any more: they have them, or go nowhere.
    pub fn has_numbers(&self) -> bool {
        self.reserved.is_some() || self.way.is_none()
    }
}

/// Plans the runs of a burst, one entry for each. Taking a number is an exchange, and that waits until all stores before
/// it are done: here there are none, while behind the headers of the run before there would be many.
#[inline(always)]
pub(crate) fn plan<B: PacketBuf, K>(tables: &Tables<K>, work: &mut Work<B>, packets: &[Forward<B>]) {
    work.plans.clear();
    for run in packets.chunk_by(|a, b| a.verdict == b.verdict) {
        let Some(at) = run.first().and_then(|item| item.verdict.sa()) else { continue };
        let count = run.len();
        let mut plan = Plan { sa: at, count, way: None, reserved: None };
        if let Some(sa) = outbound(tables, at)
            && let Some(way) = work.ways.find(tables, peer(sa))
        {
            plan.way = Some(*way);
            let inner = inner_mtu(sa, way);
            if run.iter().all(|item| item.buf.len() <= inner) {
                plan.reserved = Some(sa.shared.reserve(count as u64));
            }
        }
        work.plans.push(plan);
    }
}

/// Where the tunnel ends, from the line of the SA that each packet reads anyway.
#[inline(always)]
pub(crate) fn peer<K>(sa: &Sa<K>) -> To {
    match (sa.header.is_ipv4, sa.header.bytes.get(16..20).and_then(<[u8]>::first_chunk)) {
        (true, Some(dst)) => To::v4(u32::from_be_bytes(*dst)),
        _ => sa.ends.remote.into(),
    }
}

#[inline(always)]
pub(crate) fn outbound<K>(tables: &Tables<K>, at: SaRef) -> Option<&Sa<K>> {
    tables.sad.by_ref(at).filter(|sa| sa.direction == Direction::Outbound)
}

/// Frames the packets of a run, which come next, into jobs.
#[inline]
pub(crate) fn frame<B: PacketBuf, K>(
    tables: &Tables<K>,
    sa_ref: SaRef,
    plan: Plan,
    left: &mut Drain<'_, Forward<B>>,
    work: &mut Work<B>,
    out: &mut Out<B>,
) {
    let count = plan.count;
    let Some(sa) = outbound(tables, sa_ref) else {
        // The cache never outlives a generation, so this is a table that contradicts itself.
        return left
            .by_ref()
            .take(count)
            .for_each(|item| out.drop_packet(DropReason::NoSa, item.buf.data(), 0));
    };
    let Some(way) = plan.way else {
        return left.by_ref().take(count).for_each(|item| {
            work.counts.dropped(sa_ref);
            report(item, DropReason::NoRoute, 0, out);
        });
    };
    let mut run = Run { sa_ref, sa, way, short: Short::of(sa, &way) };
    if let Some(reserved) = plan.reserved {
        return run.frame(left.by_ref().take(count), count, reserved, work, out);
    }
    let mut ready = std::mem::take(&mut work.ready);
    ready.extend(left.by_ref().take(count));
    let inner = inner_mtu(sa, &way);
    match sa.form {
        form if form.is_transport() => modes::refuse_large(sa_ref, inner, work, &mut ready, out),
        Form::Framed => split_large(sa_ref, inner, framing::splits_after(sa), work, &mut ready, out),
        _ => split_large(sa_ref, inner, false, work, &mut ready, out),
    }
    if ready.iter().any(|item| item.buf.len() > inner) {
        // They get their link headers when they have been split.
        (run.way, run.short) = (way.bare(), None);
    }
    let count = ready.len();
    let reserved = sa.shared.reserve(count as u64);
    run.frame(ready.drain(..), count, reserved, work, out);
    work.ready = ready;
}

/// What packets of one SA that follow each other have in common.
pub(crate) struct Run<'a, K> {
    pub sa_ref: SaRef,
    pub sa: &'a Sa<K>,
    pub way: Way,
    /// If they are of the commonest shape.
    short: Option<Short>,
}

/// The commonest shape: AES-GCM in IPv4 on an untagged link. Its headers are finished in registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Short {
    link: [u8; eth::HEADER],
    /// TTL and protocol.
    ttl: [u8; 2],
    /// Source and destination.
    ends: [u8; 8],
    /// Folded, so that what is added per packet folds in two steps.
    sum: u32,
    spi: [u8; 4],
}
impl Short {
    const FRONT: usize = eth::HEADER + ip::V4_HEADER + esp::HEADER + Self::IV;
    pub const ESP_AT: u16 = (eth::HEADER + ip::V4_HEADER) as u16;
    const IV: usize = 8;
    const ICV: usize = 16;
    const PAD_TO: usize = 4;

    #[inline(always)]
    pub fn of<K>(sa: &Sa<K>, way: &Way) -> Option<Self> {
        let header = &sa.header;
        let shape = (usize::from(sa.iv_len), usize::from(sa.icv_len), usize::from(sa.pad_to));
        let fits = shape == (Self::IV, Self::ICV, Self::PAD_TO) && sa.form == Form::Counter;
        if !fits || !header.is_ipv4 || header.udp_at != 0 {
            return None;
        }
        let [_, _, _, _, _, _, _, _, t0, t1, _, _, rest @ ..] =
            header.bytes.first_chunk::<{ ip::V4_HEADER }>()?;
        Some(Self {
            link: *way.untagged()?,
            ttl: [*t0, *t1],
            ends: *rest,
            sum: checksum::fold(header.sum.into()).into(),
            spi: sa.spi.to_be_bytes(),
        })
    }

    /// As [`encapsulate`].
    #[inline(always)]
    pub fn encapsulate<B: PacketBuf>(&self, buf: &mut B, seq: u64) -> Option<u16> {
        let inner = buf.len();
        let trailer = esp::padding(inner, Self::PAD_TO) + esp::TRAILER;
        let esp_len = u16::try_from(esp::HEADER + Self::IV + inner + trailer + Self::ICV).ok()?;
        let total = esp_len.checked_add(ip::V4_HEADER as u16)?;
        let bytes = buf.grow(Self::FRONT, trailer + Self::ICV)?;
        let (front, rest) = bytes.split_first_chunk_mut::<{ Self::FRONT }>()?;
        let about = Inner::of(rest)?;
        let shape = Shape { front: Self::FRONT, trailer, icv: Self::ICV };
        write_trailer(rest.get_mut(inner..)?, shape, about.next_header)?;

        //= rfc4301#5.1.2.1/dscp-copy: the outer DSCP is the inner one.
        //= rfc6040#4.1/normal-mode: the outer ECN field is the inner one.
        //= rfc4301#8.1/df-copy: the outer DF bit is the inner one; IPv6 counts as set.
        let flags = if about.dont_fragment { ip::DF } else { 0 };
        let id = seq as u16;
        let sum = self.sum + u32::from(about.tos) + u32::from(total) + u32::from(id) + u32::from(flags);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        let ([l0, l1], [i0, i1], [f0, f1], [s0, s1]) =
            (total.to_be_bytes(), id.to_be_bytes(), flags.to_be_bytes(), sum.to_be_bytes());
        let (link, front) = front.split_first_chunk_mut::<{ eth::HEADER }>()?;
        let (words, front) = front.split_first_chunk_mut::<12>()?;
        let (ends, front) = front.split_first_chunk_mut::<8>()?;
        let (esp, iv) = front.split_first_chunk_mut::<{ esp::HEADER }>()?;
        *link = self.link;
        *words = [0x45, about.tos, l0, l1, i0, i1, f0, f1, self.ttl[0], self.ttl[1], s0, s1];
        *ends = self.ends;
        let ([a, b, c, d], [e, f, g, h]) = (self.spi, (seq as u32).to_be_bytes());
        *esp = [a, b, c, d, e, f, g, h];
        *iv.first_chunk_mut()? = seq.to_be_bytes();
        Some(esp_len)
    }
}

impl<K> Run<'_, K> {
    #[inline(always)]
    fn frame<B: PacketBuf>(
        &self,
        items: impl Iterator<Item = Forward<B>>,
        count: usize,
        reserved: Reserved,
        work: &mut Work<B>,
        out: &mut Out<B>,
    ) {
        let sa = self.sa;
        if reserved.soft && sa.shared.mark_dying() {
            out.events.push(soft(self.sa_ref, sa, Expiry::Sequence));
        }
        let mut numbers = reserved.first..reserved.first.saturating_add(reserved.count);
        // `saturating_add` hides the very last 64-bit number from the range; it is then simply not used.
        let enough = numbers.end - numbers.start == count as u64;
        let plain = enough && !sa.shared.is_limited() && sa.shared.state() != State::Dead;
        for item in items {
            let number = numbers.next();
            let seq = match number {
                Some(seq) if plain => seq,
                _ => match self.check(&item, number, out) {
                    Ok(seq) => seq,
                    Err(reason) => {
                        work.counts.dropped(self.sa_ref);
                        out.drop_packet(reason, item.buf.data(), sa.spi);
                        continue;
                    }
                },
            };
            match self.job(item, seq, &mut work.ivs) {
                Ok(job) => work.jobs.push(job),
                Err(reason) => {
                    work.counts.dropped(self.sa_ref);
                    out.drop(reason);
                }
            }
        }
    }

    #[inline(always)]
    fn job<B: PacketBuf>(
        &self,
        item: Forward<B>,
        seq: u64,
        ivs: &mut IvSource,
    ) -> Result<Job<B>, DropReason> {
        let sa = self.sa;
        let mut packet = item.buf;
        let esp_len = match (&self.short, sa.form) {
            (Some(short), _) => short.encapsulate(&mut packet, seq),
            (None, Form::Counter) => encapsulate(sa, &self.way, &mut packet, seq, Iv::Counter(seq), None),
            (None, Form::Random) => {
                encapsulate(sa, &self.way, &mut packet, seq, Iv::Random(ivs.next()), None)
            }
            (None, Form::Framed) => return framing::job(self, packet, seq, ivs),
            _ => return modes::job(self, Forward { buf: packet, ..item }, seq, ivs),
        };
        let esp_len = esp_len.ok_or(DropReason::NoHeadroom)?;
        Ok(self.seal(packet, &self.way, seq, esp_len))
    }

    /// A packet in tunnel mode whose headers stand.
    #[inline(always)]
    pub fn seal<B: PacketBuf>(&self, packet: B, way: &Way, seq: u64, esp_len: u16) -> Job<B> {
        let sa = self.sa;
        Job {
            packet,
            sa: self.sa_ref,
            operation: Operation::Seal,
            // Less than a hundred.
            esp_at: (way.header_len() + usize::from(sa.header.esp_at)) as u16,
            esp_len,
            seq_high: sa.esn.then(|| SeqNo(seq).high()),
            ok: false,
            context: Context {
                candidate: Candidate::NONE,
                link: way.port().unwrap_or(Context::UNRESOLVED),
                progress: Progress::Seal,
            },
        }
    }

    #[cold]
    fn check<B: PacketBuf>(
        &self,
        item: &Forward<B>,
        number: Option<u64>,
        out: &mut Out<B>,
    ) -> Result<u64, DropReason> {
        let Self { sa_ref, sa, .. } = *self;
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
}

//= rfc4301#8.2.2/fragment-first: what may be fragmented is, before encryption, so that the peer need not
// reassemble ESP.
/// Replaces each packet of the run that does not fit the tunnel by its pieces. With `keep`, those that may not be split
/// stay as they are, to be split when they are protected; so does IPv6 that every path has to carry.
#[cold]
fn split_large<B: PacketBuf>(
    sa_ref: SaRef,
    inner: usize,
    keep: bool,
    work: &mut Work<B>,
    ready: &mut Vec<Forward<B>>,
    out: &mut Out<B>,
) {
    let mut at = 0;
    while at < ready.len() {
        let kept = |item: &Forward<B>| {
            let v6 = inner < V6_LEAST && item.buf.data().first().is_some_and(|first| first >> 4 == 6);
            v6 && item.buf.len() <= V6_LEAST
                || keep && Inner::of(item.buf.data()).is_some_and(|inner| inner.dont_fragment)
        };
        if ready[at].buf.len() <= inner || kept(&ready[at]) {
            at += 1;
            continue;
        }
        let item = ready.remove(at);
        let mut pieces = fit(item, inner, work, out);
        if pieces.is_empty() {
            work.counts.dropped(sa_ref);
        }
        let count = pieces.len();
        ready.splice(at..at, pieces.drain(..));
        work.pieces = pieces;
        at += count;
    }
}

pub(crate) fn soft<K>(at: SaRef, sa: &Sa<K>, why: Expiry) -> Event {
    Event::SoftExpire { slot: SaSlot(at.slot), spi: sa.name(), why }
}
pub(crate) fn hard<K>(at: SaRef, sa: &Sa<K>, why: Expiry) -> Event {
    Event::HardExpire { slot: SaSlot(at.slot), spi: sa.name(), why }
}

pub(crate) enum Iv {
    //= rfc4106#3.1/counter-iv: the sequence number is unique under a key, so is the IV.
    Counter(u64),
    Random([u8; 16]),
}

/// Link header, outer headers from the template, IV, padding, trailer; room for the ICV. Tells the bytes from SPI to ICV.
#[inline(never)]
pub(crate) fn encapsulate<B: PacketBuf, K>(
    sa: &Sa<K>,
    way: &Way,
    buf: &mut B,
    seq: u64,
    iv: Iv,
    framing: Option<&Framing>,
) -> Option<u16> {
    let inner = buf.len();
    let shape = Shape::of(sa, inner);
    let (esp_at, total) = (usize::from(sa.header.esp_at), shape.total(inner));
    let front = way.header_len() + shape.front;
    let (bytes, rest) = buf.grow(front, shape.trailer + shape.icv)?.split_at_mut_checked(front)?;
    let about = Inner::of(rest)?;
    let about = framing.map_or(about, |framing| about.framed(framing));
    write_trailer(rest.get_mut(inner..)?, shape, about.next_header)?;
    let (link, rest) = bytes.split_at_mut_checked(way.header_len())?;
    if !link.is_empty() {
        way.write_header(link);
    }
    let (header, rest) = rest.split_at_mut_checked(esp_at)?;
    outer(sa, header, total, about, seq)?;
    let (esp, rest) = rest.split_first_chunk_mut::<{ esp::HEADER }>()?;
    *esp = (u64::from(sa.spi) << 32 | u64::from(SeqNo(seq).low())).to_be_bytes();
    match iv {
        Iv::Counter(n) => *rest.first_chunk_mut()? = n.to_be_bytes(),
        Iv::Random(block) => {
            let len = usize::from(sa.iv_len);
            rest.get_mut(..len)?.copy_from_slice(block.get(..len)?);
        }
    }
    u16::try_from(total - esp_at).ok()
}

/// Padding, its length, the next header; `room` is for them and the ICV.
#[inline(always)]
fn write_trailer(room: &mut [u8], shape: Shape, next_header: u8) -> Option<()> {
    match room.first_chunk_mut::<8>() {
        // The padding of AEADs, in one store; the engine overwrites what goes beyond.
        Some(word) if shape.trailer <= 5 && shape.icv >= 8 => {
            let pad = shape.trailer as u64 - esp::TRAILER as u64;
            let padding = 0x03_02_01 & ((1 << (8 * pad)) - 1);
            let trailer = (pad | u64::from(next_header) << 8) << (8 * pad);
            *word = (padding | trailer).to_le_bytes();
            Some(())
        }
        _ => esp::write_trailer(room.get_mut(..shape.trailer)?, next_header),
    }
}

/// What the outer header takes over from the inner packet.
#[derive(Clone, Copy)]
pub(crate) struct Inner {
    pub next_header: u8,
    tos: u8,
    dont_fragment: bool,
}
impl Inner {
    /// Of a packet that was parsed before.
    #[inline(always)]
    pub fn of(packet: &[u8]) -> Option<Self> {
        let [a, b, _, _, _, _, c, ..] = *packet.first_chunk::<{ ip::V4_HEADER }>()?;
        Some(match a >> 4 {
            4 => Self { next_header: ip::protocol::IPV4, tos: b, dont_fragment: c & 0x40 != 0 },
            _ => Self { next_header: ip::protocol::IPV6, tos: a << 4 | b >> 4, dont_fragment: true },
        })
    }
}

impl Inner {
    /// What the policy says instead.
    fn framed(self, framing: &Framing) -> Self {
        Self {
            tos: framing.dscp.map_or(self.tos, |dscp| dscp << 2 | self.tos & 3),
            dont_fragment: match framing.dont_fragment {
                DontFragment::Inherit => self.dont_fragment,
                DontFragment::Clear => false,
                DontFragment::Set => true,
            },
            ..self
        }
    }
}

/// IP and UDP header: the template and what differs from packet to packet. `header` is as long as the two are.
#[inline(always)]
pub(crate) fn outer<K>(sa: &Sa<K>, header: &mut [u8], total: usize, inner: Inner, seq: u64) -> Option<()> {
    let template = &sa.header;
    let total = u16::try_from(total).ok()?;
    //= rfc4301#5.1.2.1/dscp-copy: the outer DSCP is the inner one.
    //= rfc6040#4.1/normal-mode: the outer ECN field is the inner one.
    let tos = inner.tos;
    let udp = if template.is_ipv4 {
        //= rfc4301#8.1/df-copy: the outer DF bit is the inner one; IPv6 counts as set.
        let flags = if inner.dont_fragment { ip::DF } else { 0 };
        let id = seq as u16;
        let sum =
            u64::from(template.sum) + u64::from(tos) + u64::from(total) + u64::from(id) + u64::from(flags);
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

/// A run of `count` packets of one SA, back from the engine.
#[inline(always)]
pub(crate) fn settle<B: PacketBuf, K>(
    of: &Back<'_, K>,
    work: &mut Work<B>,
    jobs: &mut Drain<'_, Job<B>>,
    count: usize,
    out: &mut Out<B>,
) {
    let (mut packets, mut bytes) = (0, 0);
    for _ in 0..count {
        // Looked at in place: what is copied as a whole is loaded wider than it was stored.
        let Some(job) = jobs.as_slice().first() else { break };
        let (ok, mut len, link, start) = (job.ok, job.esp_len, job.context.link, job.esp_at);
        let Some(Job { mut packet, .. }) = jobs.next() else { break };
        if !ok {
            work.counts.dropped(of.at);
            out.drop(DropReason::EngineError);
            continue;
        }
        if of.sa.form.is_ah() {
            match modes::finish(&mut packet, start, len, of.sa.icv_len) {
                Some(bytes) => len = bytes,
                None => {
                    out.drop(DropReason::EngineError);
                    continue;
                }
            }
        }
        packets += 1;
        bytes += u64::from(len);
        match link {
            Context::UNRESOLVED => unresolved(of.tables, of.sa, work, packet, out),
            port => out.send(port, packet),
        }
    }
    if packets > 0 {
        let last = of.sa.shared.last_seq(Direction::Outbound);
        work.counts.passed(of.at, packets, bytes, last, work.now);
    }
}

/// The next hop's MAC address was not known when the packet was framed; perhaps it is now.
#[cold]
fn unresolved<B: PacketBuf, K>(
    tables: &Tables<K>,
    sa: &Sa<K>,
    work: &mut Work<B>,
    packet: B,
    out: &mut Out<B>,
) {
    let to = To::from(sa.ends.remote);
    match work.ways.find(tables, to) {
        Some(way) if packet.len() > modes::mtu(sa, way) => {
            let way = *way;
            modes::send_in_pieces(tables, sa, way, packet, work, out);
        }
        Some(way) => way.send(tables, to, packet, out),
        None => out.drop(DropReason::NoRoute),
    }
}
