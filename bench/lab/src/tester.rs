//! One trial: packets are sent on time, received, and every one of them is compared with what it should be.
//!
//! Sending and receiving come first. ESP packets are sealed ahead, and those received are copied aside with their
//! time of arrival; they are opened when there is nothing else to do, the rest after the trial. So the cost of the
//! tester's own cryptography does not bound the rate, and no packet goes unchecked.
use crate::cable::End;
use crate::environment::{self, Disturbance, Watch};
use crate::esp;
use crate::fifo::Fifo;
use crate::frames::{Differs, HEADERS, Maker, Size, Tag, Way};
use crate::ledger::{Fault, Faults, Ledger, Numbers};
use crate::scene::{self, Scene};
use anyhow::{Context, Result};
use bench::clock;
use dpdk::{Burst, Mempool};
use hdrhistogram::Histogram;
use sa::Direction;
use std::time::Duration;
use wire::{PacketBuf, ip};

const BURST: usize = 32;
/// Behind the last packet sent: so long without any, and no longer than that in all.
const SILENCE: Duration = Duration::from_millis(40);
const DRAIN: Duration = Duration::from_secs(2);
/// A tester that was held up sends at most so much at once to catch up; the rest it never sends.
const CATCH_UP: Duration = Duration::from_micros(200);
const TURN: Duration = Duration::from_micros(500);
const OUTER: usize = wire::eth::HEADER + ip::V4_HEADER;
/// Packets sent inwards whose time of sending is remembered.
const TIMES: usize = 1 << 20;

#[derive(Clone, Debug)]
pub struct Load {
    pub ways: Vec<Way>,
    pub size: Size,
    /// Packets a second over all directions; `None`: as fast as the tester can.
    pub rate: Option<f64>,
    pub duration: Duration,
    /// Stop after so many packets of each direction.
    pub packets: Option<u64>,
}

/// What happened in one direction.
pub struct Counted {
    pub way: Way,
    /// Packets that were to be sent, those included that came too late for their time.
    pub planned: u64,
    /// Offered to the cable.
    pub attempted: u64,
    /// Of those, what the cable had no room for.
    pub refused: u64,
    /// Planned, but the tester was not there in time or had no buffer.
    pub skipped: u64,
    /// Came back right.
    pub received: u64,
    /// From an earlier trial.
    pub stale: u64,
    pub faults: Faults,
    pub latency: Histogram<u64>,
}
pub struct Measured {
    pub seconds: f64,
    pub counted: Vec<Counted>,
    /// Neither ours nor ARP: ICMP errors, for instance.
    pub foreign: u64,
    /// Share of the polls that found a whole burst waiting, among those that found anything.
    pub full_polls: f64,
    pub disturbance: Disturbance,
}

/// The tester's memory between trials: keys, numbers, packets under way.
pub struct Tester {
    pub pool: Mempool,
    pub lan: End,
    pub wan: End,
    scene: Scene,
    openers: Vec<esp::Sa>,
    sealers: Vec<esp::Sa>,
    /// Numbers seen on the gateway's outbound SAs.
    numbers: Vec<Numbers>,
    /// Last number used towards the gateway.
    used: Vec<u64>,
    captured: Fifo,
    sealed: Fifo,
    times: Vec<u64>,
    trial: u16,
    /// Both ports are the ends of one cable: what arrives is what was sent.
    pub loopback: bool,
    ticks_per_second: f64,
}

/// Sends on time.
struct Pace {
    start: u64,
    ticks_per_packet: f64,
    catch_up: u64,
    limit: u64,
    attempted: u64,
    refused: u64,
    skipped: u64,
}
impl Pace {
    /// How many to send now.
    fn due(&mut self, now: u64) -> usize {
        let left = self.limit - self.attempted;
        if self.ticks_per_packet == 0.0 {
            return left.min(BURST as u64) as usize;
        }
        let planned = self.planned(now);
        let mut due = planned.saturating_sub(self.attempted + self.skipped);
        if due > self.catch_up {
            self.skipped += due - self.catch_up;
            due = self.catch_up;
        }
        due.min(left).min(BURST as u64) as usize
    }
    fn planned(&self, now: u64) -> u64 {
        (now.saturating_sub(self.start) as f64 / self.ticks_per_packet) as u64
    }
}

struct Lane {
    way: Way,
    maker: Maker,
    pace: Pace,
    ledger: Ledger,
    /// Flow of the next packet.
    flow: u32,
    stale: u64,
    /// Inwards: the next packet to seal, and its flow.
    seal_index: u64,
    seal_flow: u32,
    /// Packets of this trial, as far as that is known.
    most: u64,
}

impl Tester {
    /// So many bytes for packets sealed ahead, and for received ones that are not opened yet.
    pub fn new(
        pool: Mempool,
        lan: End,
        wan: End,
        scene: &Scene,
        sealed: usize,
        captured: usize,
    ) -> Result<Self> {
        let tunnels = scene.tunnels as usize;
        Ok(Self {
            pool,
            lan,
            wan,
            openers: keys(scene, Direction::Outbound)?,
            sealers: keys(scene, Direction::Inbound)?,
            numbers: vec![Numbers::of(tunnels as u32); tunnels],
            used: vec![0; tunnels],
            scene: scene.clone(),
            captured: Fifo::new(captured),
            sealed: Fifo::new(sealed),
            times: vec![0; TIMES],
            trial: 0,
            loopback: false,
            ticks_per_second: clock::frequency(),
        })
    }
    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// `worker_waits` reads how long the gateway's workers waited for a CPU so far.
    pub fn trial(&mut self, load: &Load, worker_waits: &dyn Fn() -> u64) -> Result<Measured> {
        self.trial = self.trial.wrapping_add(1);
        self.captured.clear();
        self.sealed.clear();
        let mut lanes: Vec<Lane> = load.ways.iter().map(|way| self.lane(*way, load)).collect();
        if let Some(lane) = lanes.iter_mut().find(|lane| lane.way == Way::In) {
            while lane.seal_index < lane.most && self.seal(lane)? {}
        }
        let mut polls = Polls::default();
        let watch = Watch::start(worker_waits());
        let start = clock::now();
        let end = start + self.ticks(load.duration);
        lanes.iter_mut().for_each(|lane| lane.pace.start = start);
        let mut now = start;
        // With a real-time priority the gateway's main lcore, if it shares this CPU, runs when it is let.
        let (realtime, turn, mut yielded) =
            (environment::policy() != environment::Policy::Shared, self.ticks(TURN), start);
        while now < end && lanes.iter().any(|lane| lane.pace.attempted < lane.pace.limit) {
            let mut busy = self.receive(&mut lanes, &mut polls)?;
            for lane in &mut lanes {
                let due = lane.pace.due(now);
                if due > 0 {
                    busy = true;
                    self.send(lane, due)?;
                }
            }
            if !busy {
                self.spare(&mut lanes)?;
            }
            now = clock::now();
            if realtime && now.saturating_sub(yielded) > turn {
                std::thread::yield_now();
                yielded = now;
            }
        }
        let stopped = now;
        let disturbance = watch.end(worker_waits());
        self.drain(&mut lanes, &mut polls)?;
        while !self.loopback
            && let Some(lane) = out_lane(&mut lanes)
            && self.open(lane)
        {}
        let seconds = (stopped - start) as f64 / self.ticks_per_second;
        Ok(Measured {
            seconds,
            counted: lanes.into_iter().map(|lane| lane.counted(stopped)).collect(),
            foreign: polls.foreign,
            full_polls: polls.full as f64 / polls.some.max(1) as f64,
            disturbance,
        })
    }

    fn ticks(&self, time: Duration) -> u64 {
        (time.as_secs_f64() * self.ticks_per_second) as u64
    }
    fn lane(&self, way: Way, load: &Load) -> Lane {
        let rate = load.rate.map(|rate| rate / load.ways.len() as f64);
        // A flood has no number; more is made on the way.
        let most = (rate.unwrap_or(3e6) * load.duration.as_secs_f64()).ceil() as u64 + 1;
        let limit = load.packets.unwrap_or(u64::MAX);
        let mut ledger = Ledger::new(self.scene.flows);
        let most = most.min(limit);
        ledger.reserve(most);
        Lane {
            way,
            maker: Maker::new(&self.scene, way, &load.size, self.trial),
            pace: Pace {
                start: 0,
                ticks_per_packet: rate.map_or(0.0, |rate| self.ticks_per_second / rate),
                catch_up: rate.map_or(0, |rate| (rate * CATCH_UP.as_secs_f64()) as u64).max(BURST as u64),
                limit,
                attempted: 0,
                refused: 0,
                skipped: 0,
            },
            ledger,
            flow: 0,
            stale: 0,
            seal_index: 0,
            seal_flow: 0,
            most,
        }
    }

    fn send(&mut self, lane: &mut Lane, n: usize) -> Result<()> {
        let mut burst = Burst::new();
        if self.pool.alloc_burst(&mut burst, n).is_err() {
            lane.pace.skipped += n as u64;
            return Ok(());
        }
        let now = clock::now();
        let flow = lane.maker.flow_of(lane.pace.attempted);
        match lane.way {
            Way::Out => self.write_clear(lane, &mut burst, now)?,
            Way::In => self.take_sealed(lane, &mut burst, now)?,
        }
        let end = if lane.way == Way::Out { &mut self.lan } else { &mut self.wan };
        end.send(&mut burst, flow, self.scene.flows);
        lane.pace.refused += burst.len() as u64;
        Ok(())
    }
    fn write_clear(&mut self, lane: &mut Lane, burst: &mut Burst, now: u64) -> Result<()> {
        for mbuf in burst.iter_mut() {
            let (index, flow) = (lane.pace.attempted, lane.flow);
            let len = lane.maker.len_of(index);
            let frame = mbuf.append(wire::eth::HEADER + len).context("a frame larger than the buffers")?;
            let (head, packet) = frame.split_at_mut(wire::eth::HEADER);
            ethernet(head, &self.lan);
            lane.maker.write(index, flow, now, packet);
            lane.pace.attempted += 1;
            lane.flow = if flow + 1 == self.scene.flows { 0 } else { flow + 1 };
        }
        Ok(())
    }
    fn take_sealed(&mut self, lane: &mut Lane, burst: &mut Burst, now: u64) -> Result<()> {
        for mbuf in burst.iter_mut() {
            if self.sealed.is_empty() {
                self.seal(lane)?;
            }
            let (index, bytes) = self.sealed.pop().context("no room to seal a packet")?;
            mbuf.append(bytes.len()).context("a frame larger than the buffers")?.copy_from_slice(bytes);
            self.times[index as usize % TIMES] = now;
            lane.pace.attempted += 1;
        }
        Ok(())
    }
    /// Seals the next packet inwards. `false`: no room now.
    fn seal(&mut self, lane: &mut Lane) -> Result<bool> {
        let (index, flow) = (lane.seal_index, lane.seal_flow);
        let tunnel = self.scene.tunnel_of(flow);
        let (sa, used) = (&self.sealers[tunnel as usize], &mut self.used[tunnel as usize]);
        let len = lane.maker.len_of(index);
        let esp_len = sa.sealed_len(len);
        let Some(frame) = self.sealed.push(index, OUTER + esp_len) else { return Ok(false) };
        let mut inner = [0; Size::MAX as usize];
        lane.maker.write(index, flow, 0, &mut inner[..len]);
        let (head, rest) = frame.split_at_mut(wire::eth::HEADER);
        ethernet(head, &self.wan);
        let (outer, esp) = rest.split_at_mut(ip::V4_HEADER);
        outer_header(
            self.scene.far_gateway(tunnel).into(),
            scene::DUT_WAN.into(),
            *used as u16,
            esp_len,
            outer,
        );
        *used += 1;
        sa.seal(*used, &inner[..len], esp)?;
        lane.seal_index += 1;
        lane.seal_flow = if flow + 1 == self.scene.flows { 0 } else { flow + 1 };
        Ok(true)
    }

    /// Both ports, a burst or two each.
    fn receive(&mut self, lanes: &mut [Lane], polls: &mut Polls) -> Result<bool> {
        let mut some = false;
        for _ in 0..2 {
            let out = self.receive_sealed(lanes, polls);
            let inwards = self.receive_clear(lanes, polls);
            some |= out || inwards;
            if !out && !inwards {
                break;
            }
        }
        Ok(some)
    }
    fn receive_sealed(&mut self, lanes: &mut [Lane], polls: &mut Polls) -> bool {
        let mut burst = Burst::new();
        let mut some = false;
        for queue in 0..self.wan.rx.len() {
            polls.note(self.wan.rx[queue].fill(&mut burst));
            if burst.is_empty() {
                continue;
            }
            some = true;
            let now = clock::now();
            if self.loopback {
                self.looped(lanes, &mut burst, now);
                continue;
            }
            for mbuf in burst.drain() {
                let frame = mbuf.data();
                let is_esp =
                    frame.len() >= OUTER && frame[12..14] == [8, 0] && frame[23] == ip::protocol::ESP;
                if !is_esp {
                    polls.foreign += u64::from(!self.wan.answer_arp(frame, &self.pool));
                    continue;
                }
                let Some(lane) = out_lane(lanes) else {
                    polls.foreign += 1;
                    continue;
                };
                loop {
                    if let Some(room) = self.captured.push(now, frame.len()) {
                        room.copy_from_slice(frame);
                        break;
                    }
                    // The memory for packets not opened yet is used up: opening takes the time of sending.
                    if !self.open(lane) {
                        polls.foreign += 1;
                        break;
                    }
                }
            }
        }
        some
    }
    fn receive_clear(&mut self, lanes: &mut [Lane], polls: &mut Polls) -> bool {
        let mut burst = Burst::new();
        let mut some = false;
        for queue in 0..self.lan.rx.len() {
            polls.note(self.lan.rx[queue].fill(&mut burst));
            if burst.is_empty() {
                continue;
            }
            some = true;
            let now = clock::now();
            for mbuf in burst.drain() {
                let frame = mbuf.data();
                let is_udp =
                    frame.len() >= OUTER && frame[12..14] == [8, 0] && frame[23] == ip::protocol::UDP;
                match lanes.iter_mut().find(|lane| lane.way == Way::In) {
                    Some(lane) if is_udp => self.compare_clear(lane, frame, now),
                    _ => polls.foreign += u64::from(!self.lan.answer_arp(frame, &self.pool)),
                }
            }
        }
        some
    }
    /// The work of a trial but for the opening, which is done when there is time for it.
    fn looped(&mut self, lanes: &mut [Lane], burst: &mut Burst, now: u64) {
        let lane = out_lane(lanes);
        for mbuf in burst.iter() {
            let frame = mbuf.data();
            if self.captured.push(now, frame.len()).map(|room| room.copy_from_slice(frame)).is_none() {
                self.captured.clear();
            }
        }
        if let Some(lane) = lane {
            for mbuf in burst.iter() {
                let tag = mbuf.data().get(wire::eth::HEADER + HEADERS..).and_then(|b| b.first_chunk());
                if let Some(tag) = tag.map(Tag::from_bytes) {
                    let took = self.nanoseconds(tag.stamp, now);
                    lane.ledger.record(tag.index, lane.maker.flow_of(tag.index), took, lane.pace.attempted);
                }
            }
        }
        burst.clear();
    }
    fn compare_clear(&self, lane: &mut Lane, frame: &[u8], now: u64) {
        let (head, packet) = frame.split_at(wire::eth::HEADER);
        if !is_between(head, &self.lan) {
            return lane.ledger.faults.add(Fault::BadOuter, || format!("MAC addresses {head:02x?}"));
        }
        match lane.maker.check(packet) {
            Ok(tag) => {
                let sent = self.times[tag.index as usize % TIMES];
                let flow = lane.maker.flow_of(tag.index);
                let took = self.nanoseconds(sent, now);
                lane.ledger.record(tag.index, flow, took, lane.pace.attempted);
            }
            Err(Differs::Stale) => lane.stale += 1,
            Err(how) => lane.ledger.faults.add(Fault::Corrupt, || format!("{how:?} of {packet:02x?}")),
        }
    }
    /// Opens the oldest captured packet. `false`: there is none.
    fn open(&mut self, lane: &mut Lane) -> bool {
        let Some((at, frame)) = self.captured.pop() else { return false };
        let (head, rest) = frame.split_at_mut(wire::eth::HEADER);
        let (outer, esp) = rest.split_at_mut(ip::V4_HEADER);
        let scene = &self.scene;
        let faults = &mut lane.ledger.faults;
        let spi_and_number = wire::esp::Header::parse(esp).ok();
        let known = spi_and_number.and_then(|h| Some((scene.tunnel_of_spi(h.spi)?, h.seq_low)));
        let Some((tunnel, low)) = known else {
            faults.add(Fault::BadOuter, || format!("no SA for {spi_and_number:?}"));
            return true;
        };
        let far = scene.far_gateway(tunnel).into();
        // Whatever the gateway chose: identification, TOS, DF, TTL.
        if !is_between(head, &self.wan) || !outer_fits(outer, scene::DUT_WAN.into(), far, esp.len()) {
            faults.add(Fault::BadOuter, || format!("{head:02x?} {outer:02x?}"));
            return true;
        }
        let numbers = &mut self.numbers[tunnel as usize];
        let number = numbers.infer(low);
        match self.openers[tunnel as usize].open(esp, number) {
            Err(wrong) => {
                faults.add(Fault::BadEsp, || format!("{wrong:?}, number {number} of tunnel {tunnel}"))
            }
            Ok(packet) => {
                if !numbers.take(number) {
                    faults.add(Fault::NumberReused, || format!("number {number} of tunnel {tunnel}"));
                }
                match lane.maker.check(packet) {
                    Ok(tag) => {
                        let flow = lane.maker.flow_of(tag.index);
                        let right = scene.tunnel_of(flow);
                        if right != tunnel {
                            faults.add(Fault::WrongTunnel, || format!("flow {flow} in tunnel {tunnel}"));
                        }
                        let took = self.nanoseconds(tag.stamp, at);
                        lane.ledger.record(tag.index, flow, took, lane.pace.attempted);
                    }
                    Err(Differs::Stale) => lane.stale += 1,
                    Err(how) => faults.add(Fault::Corrupt, || format!("{how:?} of {packet:02x?}")),
                }
            }
        }
        true
    }
    fn nanoseconds(&self, from: u64, to: u64) -> u64 {
        (to.saturating_sub(from) as f64 * 1e9 / self.ticks_per_second) as u64
    }

    /// A little of the work that can wait.
    fn spare(&mut self, lanes: &mut [Lane]) -> Result<()> {
        for lane in lanes {
            match lane.way {
                Way::Out if self.loopback => {}
                Way::Out => _ = self.open(lane),
                Way::In => _ = self.seal(lane)?,
            }
        }
        Ok(())
    }
    fn drain(&mut self, lanes: &mut [Lane], polls: &mut Polls) -> Result<()> {
        let (mut last, end) = (clock::now(), clock::now() + self.ticks(DRAIN));
        let silence = self.ticks(SILENCE);
        while clock::now() < end.min(last + silence) {
            let before: u64 = polls.packets;
            self.receive(lanes, polls)?;
            if polls.packets != before {
                last = clock::now();
            }
        }
        Ok(())
    }
    /// Answers ARP and throws everything else away, for so long.
    pub fn idle(&mut self, time: Duration) -> Result<()> {
        let end = clock::now() + self.ticks(time);
        let mut polls = Polls::default();
        while clock::now() < end {
            if !self.receive(&mut [], &mut polls)? {
                // The gateway's main lcore may need this CPU.
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        Ok(())
    }
}

impl Lane {
    fn counted(self, stopped: u64) -> Counted {
        let planned = match self.pace.ticks_per_packet {
            0.0 => self.pace.attempted,
            _ => self.pace.planned(stopped).min(self.pace.limit).max(self.pace.attempted),
        };
        Counted {
            way: self.way,
            planned,
            attempted: self.pace.attempted,
            refused: self.pace.refused,
            skipped: planned - self.pace.attempted,
            received: self.ledger.received,
            stale: self.stale,
            faults: self.ledger.faults,
            latency: self.ledger.latency,
        }
    }
}

#[derive(Default)]
struct Polls {
    packets: u64,
    foreign: u64,
    /// Polls that found something, and those that found as much as fits.
    some: u64,
    full: u64,
}
impl Polls {
    fn note(&mut self, n: usize) {
        self.packets += n as u64;
        self.some += u64::from(n > 0);
        self.full += u64::from(n == Burst::CAPACITY);
    }
}

fn out_lane(lanes: &mut [Lane]) -> Option<&mut Lane> {
    lanes.iter_mut().find(|lane| lane.way == Way::Out)
}
fn keys(scene: &Scene, direction: Direction) -> Result<Vec<esp::Sa>> {
    (0..scene.tunnels).map(|tunnel| esp::Sa::new(&scene.sa(tunnel, direction)?)).collect()
}

#[inline]
fn ethernet(head: &mut [u8], end: &End) {
    head[..6].copy_from_slice(&end.dut_mac.0);
    head[6..12].copy_from_slice(&end.mac.0);
    head[12..].copy_from_slice(&wire::eth::ethertype::IPV4.to_be_bytes());
}
fn is_between(head: &[u8], end: &End) -> bool {
    head[..6] == end.mac.0 && head[6..12] == end.dut_mac.0
}
/// IPv4 around ESP.
fn outer_header(src: u32, dst: u32, id: u16, esp: usize, out: &mut [u8]) {
    let fields = ip::Fields {
        src: std::net::Ipv4Addr::from(src).into(),
        dst: std::net::Ipv4Addr::from(dst).into(),
        protocol: ip::protocol::ESP,
        tos: 0,
        ttl: 64,
        dont_fragment: false,
        id,
    };
    // `out` has the length of the header.
    let _ = fields.write(out, esp);
}
fn outer_fits(outer: &[u8], src: u32, dst: u32, esp: usize) -> bool {
    let word = |at: usize| u32::from_be_bytes([outer[at], outer[at + 1], outer[at + 2], outer[at + 3]]);
    let len = usize::from(u16::from_be_bytes([outer[2], outer[3]]));
    outer[0] == 0x45
        && len == ip::V4_HEADER + esp
        && (word(12), word(16)) == (src, dst)
        && wire::checksum::holds(outer)
}
