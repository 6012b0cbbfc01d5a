//! `bench scaling`: what a second worker brings, against one worker in the same run.
//!
//! Nothing but the two cores of the workers is used: each prepares its own buffers, untimed, and one of them checks
//! what came out, untimed. A sample of one worker and a sample of two take turns.
use crate::buffer::MemBuf;
use crate::case::Direction;
use crate::clock;
use crate::environment::{self, Environment};
use crate::traffic::{Flows, Traffic};
use crate::world::{ETHERNET, LAN, MemWorker, NOW, Setup, WAN, tables, workers};
use anyhow::{Context, Result, ensure};
use comfy_table::Table;
use fastpath::crypto::CpuKeys;
use fastpath::crypto::cpu::CpuEngineKind;
use fastpath::graph::share::{self, PARCEL, Sharing};
use fastpath::graph::{BURST, Out};
use fastpath::tables::Control;
use sa::{Encryption, Integrity, Suite};
use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use wire::PacketBuf;

/// Packets each receiving worker gets per sample: so many that the end, when one worker waits for the other, weighs
/// little. They come from memory, so their number costs no cache.
const PACKETS: usize = 16_384;
const SIZES: [usize; 3] = [64, 512, 1400];
/// Where the sequence number of a sealed frame stands: Ethernet, IPv4, SPI.
const NUMBER_AT: usize = ETHERNET + 20 + 4;

pub struct Options {
    pub rounds: usize,
    pub warm_up: usize,
    pub cores: [usize; 2],
    /// Packets handed over at a time.
    pub parcel: usize,
    /// Measures only rows whose name holds this.
    pub only: String,
}

/// How packets come to two workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// Two gateways that share nothing: what this machine can do at all.
    Apart,
    /// One gateway, an SA for each worker.
    TwoSas,
    /// One SA, packets spread over both workers, as receive-side scaling spreads inner flows.
    Spread,
    /// One SA, all packets received by one worker.
    OneQueue,
}
const SETTINGS: [(Setting, Direction); 7] = [
    (Setting::Apart, Direction::Out),
    (Setting::Apart, Direction::In),
    (Setting::TwoSas, Direction::Out),
    (Setting::TwoSas, Direction::In),
    (Setting::Spread, Direction::Out),
    (Setting::OneQueue, Direction::Out),
    (Setting::OneQueue, Direction::In),
];

#[derive(Debug, Serialize)]
pub struct Row {
    pub setting: Setting,
    pub direction: Direction,
    pub suite: String,
    pub engine: &'static str,
    pub bytes: usize,
    pub sas: usize,
    /// Packets of a sample of one worker.
    pub buffers: usize,
    /// Medians, all workers together.
    pub mpps_one: f64,
    pub mpps_two: f64,
    pub gbps_two: f64,
    /// Median of the ratios of neighbouring samples, and its quantiles.
    pub speedup: f64,
    pub p10: f64,
    pub p90: f64,
    /// Ratio of the 10 % quantiles of both kinds of samples: others on the machine only ever make a sample slower.
    pub undisturbed: f64,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub environment: Environment,
    pub cores: [usize; 2],
    pub rows: Vec<Row>,
}

/// One worker's place: a worker of each site, and buffers.
struct Seat {
    sealer: MemWorker,
    opener: MemWorker,
    sealing: Sharing<MemBuf>,
    opening: Sharing<MemBuf>,
    out: Out<MemBuf>,
    burst: Vec<MemBuf>,
    clear: Vec<Vec<u8>>,
    frames: Vec<MemBuf>,
    sent: Vec<MemBuf>,
    /// Keeps what a driver would read of each packet from being optimised away.
    touched: usize,
}

impl Seat {
    fn load(&mut self) -> Result<()> {
        self.frames.append(&mut self.sent);
        ensure!(self.frames.len() == self.clear.len(), "{} buffers came back", self.frames.len());
        for (buffer, frame) in self.frames.iter_mut().zip(&self.clear) {
            ensure!(buffer.load(frame), "the packet does not fit a buffer");
        }
        Ok(())
    }
    fn prepare(&mut self, direction: Direction) -> Result<()> {
        self.load()?;
        if direction == Direction::In {
            self.alone(Direction::Out);
            self.frames.append(&mut self.sent);
        }
        // In memory, as a NIC leaves them, and not in the caches of whoever made them.
        for buffer in &mut self.frames {
            buffer.settle();
            buffer.evict();
        }
        Ok(())
    }
    /// Works everything off without anybody's help.
    fn alone(&mut self, direction: Direction) {
        let (worker, from, to) = match direction {
            Direction::Out => (&mut self.sealer, LAN, WAN),
            Direction::In => (&mut self.opener, WAN, LAN),
        };
        let mut left = self.frames.drain(..);
        loop {
            receive(&mut left, &mut self.burst, BURST);
            if self.burst.is_empty() {
                return;
            }
            worker.process(from, &mut self.burst, NOW, &mut self.out);
            transmit(&mut self.out, to, &mut self.sent, &mut self.touched);
        }
    }
    /// The same as receiver of a queue that others help with.
    fn shared(&mut self, direction: Direction, parcel: usize) {
        let (worker, sharing, from, to) = match direction {
            Direction::Out => (&mut self.sealer, &mut self.sealing, LAN, WAN),
            Direction::In => (&mut self.opener, &mut self.opening, WAN, LAN),
        };
        let mut left = self.frames.drain(..);
        while left.len() > 0 || sharing.active() {
            while left.len() > 0 && sharing.wants() {
                receive(&mut left, &mut self.burst, parcel);
                sharing.offer(from, &mut self.burst);
            }
            if !sharing.work(worker, NOW) {
                std::hint::spin_loop();
            }
            while sharing.collect(&mut self.out) {}
            transmit(&mut self.out, to, &mut self.sent, &mut self.touched);
        }
    }
    /// Helps whoever has more than it can do.
    fn help(&mut self, direction: Direction, over: &AtomicBool) {
        let (worker, sharing) = match direction {
            Direction::Out => (&mut self.sealer, &mut self.sealing),
            Direction::In => (&mut self.opener, &mut self.opening),
        };
        while !over.load(Ordering::Relaxed) {
            if !sharing.help(worker, NOW) {
                std::hint::spin_loop();
            }
        }
    }
    fn clean(&self) -> Result<()> {
        let dropped: Vec<_> = self.out.drops.iter().enumerate().filter(|(_, n)| **n > 0).collect();
        ensure!(dropped.is_empty(), "drops by reason {dropped:?}");
        Ok(())
    }
    /// Whether what was sent is in clear what had come, in the same order.
    fn check_clear(&self) -> Result<()> {
        self.clean()?;
        let (sent, clear) = (&self.sent, &self.clear);
        ensure!(sent.len() == clear.len(), "{} of {} packets arrived", sent.len(), clear.len());
        let right = sent.iter().zip(clear).position(|(got, frame)| !same(got.data(), frame));
        ensure!(right.is_none(), "packet {right:?} is not what was sent, or not in its place");
        Ok(())
    }
    fn numbers(&self) -> impl Iterator<Item = u32> {
        self.sent
            .iter()
            .filter_map(|frame| Some(u32::from_be_bytes(*frame.data().get(NUMBER_AT..)?.first_chunk()?)))
    }
}

/// As a driver does: writes where each packet starts and how long it is.
fn receive(left: &mut std::vec::Drain<'_, MemBuf>, burst: &mut Vec<MemBuf>, most: usize) {
    for mut buffer in left.take(most) {
        let len = buffer.len();
        buffer.receive(len);
        burst.push(buffer);
    }
}
/// As a driver does: reads the length of each packet.
fn transmit(out: &mut Out<MemBuf>, port: u16, sent: &mut Vec<MemBuf>, touched: &mut usize) {
    if let Some(queue) = out.tx.get_mut(usize::from(port)) {
        *touched += queue.iter().map(PacketBuf::len).sum::<usize>();
        sent.append(queue);
    }
}
/// All but the MAC addresses, the TTL and the header's checksum.
fn same(got: &[u8], sent: &[u8]) -> bool {
    let part = |from: usize, to: usize| got.get(from..to) == sent.get(from..to);
    got.len() == sent.len() && part(12, ETHERNET + 8) && part(ETHERNET + 12, sent.len())
}

/// Both seats in one setting.
struct Stand {
    setting: Setting,
    direction: Direction,
    bytes: usize,
    seats: [Mutex<Seat>; 2],
}

impl Stand {
    /// The tables' other ends have to live as long.
    fn new(
        setting: Setting,
        direction: Direction,
        kind: CpuEngineKind,
        suite: Suite,
        bytes: usize,
    ) -> Result<(Self, Vec<Control<CpuKeys>>)> {
        let sas = if setting == Setting::TwoSas { 2 } else { 1 };
        let setup = Setup { suite, engines: vec![kind], sas, policies: sas };
        let gateways = if setting == Setting::Apart { 2 } else { 1 };
        let (mut controls, mut pairs) = (Vec::new(), Vec::new());
        for _ in 0..gateways {
            let mut sites = [tables(1, &setup)?, tables(2, &setup)?];
            let [a, b] = &mut sites;
            let each = 2 / gateways;
            pairs.extend(workers(a, &setup, each)?.into_iter().zip(workers(b, &setup, each)?));
            controls.extend(sites);
        }
        let (sealing, opening) = (share::team(2), share::team(2));
        let traffic = Traffic::new(sas, Flows::Known, bytes, 3 * sas * PACKETS);
        let mut seats = Vec::new();
        for (n, (((sealer, opener), sealing), opening)) in
            pairs.into_iter().zip(sealing).zip(opening).enumerate()
        {
            let mine = |frame: &&Vec<u8>| sas == 1 || frame.get(ETHERNET + 19) == Some(&(2 + n as u8));
            seats.push(Mutex::new(Seat {
                sealer,
                opener,
                sealing,
                opening,
                out: Out::default(),
                burst: Vec::with_capacity(PARCEL),
                clear: traffic.frames().iter().filter(mine).take(PACKETS).cloned().collect(),
                frames: Vec::with_capacity(PACKETS),
                sent: MemBuf::pool(PACKETS),
                touched: 0,
            }));
        }
        let seats = seats.try_into().ok().context("two seats")?;
        Ok((Self { setting, direction, bytes, seats }, controls))
    }
    fn seat(&self, n: usize) -> MutexGuard<'_, Seat> {
        self.seats[n].lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Packets of a sample of one worker and of two.
    fn packets(&self) -> [usize; 2] {
        [PACKETS, if self.setting == Setting::OneQueue { PACKETS } else { 2 * PACKETS }]
    }
    fn check(&self, two: bool) -> Result<()> {
        let (mut first, mut second) = (self.seat(0), self.seat(1));
        let both = two && self.setting != Setting::OneQueue;
        if self.direction == Direction::Out {
            if self.setting == Setting::Spread && both {
                return check_spread(&mut first, &mut second);
            }
            for seat in [&mut first, &mut second].into_iter().take(1 + usize::from(both)) {
                seat.clean()?;
                let numbers: Vec<_> = seat.numbers().collect();
                let follow = numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1));
                ensure!(numbers.len() == PACKETS && follow, "numbers do not follow each other");
                seat.prepare_opening();
                seat.alone(Direction::In);
            }
        }
        for seat in [&first, &second].into_iter().take(1 + usize::from(both)) {
            seat.check_clear()?;
        }
        second.clean()
    }
}
impl Seat {
    fn prepare_opening(&mut self) {
        self.frames.append(&mut self.sent);
        self.frames.iter_mut().for_each(MemBuf::settle);
    }
}

/// Two workers under one SA: each number once, rising for each worker, and every packet opens to what it was.
fn check_spread(first: &mut Seat, second: &mut Seat) -> Result<()> {
    for seat in [&*first, &*second] {
        seat.clean()?;
        ensure!(seat.numbers().is_sorted() && seat.sent.len() == PACKETS, "numbers of a worker do not rise");
    }
    let numbers = |seat: &Seat, n: usize| seat.numbers().map(|number| (number, n)).collect::<Vec<_>>();
    let mut order = [numbers(first, 0), numbers(second, 1)].concat();
    order.sort_unstable();
    ensure!(order.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "a number is missing or was used twice");
    let mut left = [first.sent.drain(..), second.sent.drain(..)];
    let merged = order.iter().filter_map(|(_, n)| left[*n].next()).collect::<Vec<_>>();
    drop(left);
    first.frames = merged;
    first.frames.iter_mut().for_each(MemBuf::settle);
    first.alone(Direction::In);
    first.clean()?;
    ensure!(first.sent.len() == order.len(), "{} of {} packets opened", first.sent.len(), order.len());
    let mut sorted = [Vec::new(), Vec::new()];
    for (buffer, (_, n)) in first.sent.drain(..).zip(&order) {
        sorted[*n].push(buffer);
    }
    [first.sent, second.sent] = sorted;
    first.check_clear()?;
    second.check_clear()
}

/// What both threads of a stand meet at.
struct Meeting {
    parcel: usize,
    gate: Barrier,
    /// Arrivals at the start of a sample of two, where nobody sleeps.
    ready: AtomicUsize,
    over: AtomicBool,
    begin: [AtomicU64; 2],
    end: [AtomicU64; 2],
}

/// One sample, as thread `n` sees it. The time of all, on thread 0.
fn sample(stand: &Stand, n: usize, two: bool, meeting: &Meeting) -> Result<Option<f64>> {
    let owner = n == 0;
    let receives = owner || two && stand.setting != Setting::OneQueue;
    let works = owner || two;
    let mut seat = stand.seat(n);
    let prepared = if receives { seat.prepare(stand.direction) } else { Ok(()) };
    if owner {
        meeting.over.store(false, Ordering::Relaxed);
        meeting.ready.store(0, Ordering::Relaxed);
    }
    meeting.gate.wait();
    if works {
        meeting.ready.fetch_add(1, Ordering::AcqRel);
        while meeting.ready.load(Ordering::Acquire) < 1 + usize::from(two) {
            std::hint::spin_loop();
        }
        meeting.begin[n].store(clock::now(), Ordering::Relaxed);
        match (stand.setting, two, owner) {
            (Setting::OneQueue, true, true) => {
                seat.shared(stand.direction, meeting.parcel);
                meeting.over.store(true, Ordering::Relaxed);
            }
            (Setting::OneQueue, true, false) => seat.help(stand.direction, &meeting.over),
            _ => seat.alone(stand.direction),
        }
        meeting.end[n].store(clock::now(), Ordering::Relaxed);
    }
    drop(seat);
    meeting.gate.wait();
    let checked = if owner { stand.check(two) } else { Ok(()) };
    // Nobody touches a seat before it has been checked.
    meeting.gate.wait();
    prepared.and(checked)?;
    if !owner {
        return Ok(None);
    }
    let of = |times: &[AtomicU64; 2], n: usize| times[n].load(Ordering::Relaxed);
    let (mut begin, mut end) = (of(&meeting.begin, 0), of(&meeting.end, 0));
    if two && stand.setting != Setting::OneQueue {
        (begin, end) = (begin.min(of(&meeting.begin, 1)), end.max(of(&meeting.end, 1)));
    }
    Ok(Some(end.saturating_sub(begin) as f64))
}

/// Ticks of each round: one worker, two workers.
fn measure(stand: &Stand, options: &Options) -> Result<Vec<[f64; 2]>> {
    let zero = || [const { AtomicU64::new(0) }; 2];
    let meeting = Meeting {
        parcel: options.parcel,
        gate: Barrier::new(2),
        ready: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        begin: zero(),
        end: zero(),
    };
    let rounds = &|n: usize| -> Result<Vec<[f64; 2]>> {
        let pinned = environment::pin(Some(options.cores[n])).is_some();
        let (mut ticks, mut wrong) = (Vec::new(), None);
        for round in 0..options.warm_up + options.rounds {
            let mut pair = [0.0; 2];
            for two in [round % 2 == 1, round % 2 == 0] {
                // Whatever is wrong is said at the end: the other thread waits at the gate.
                match sample(stand, n, two, &meeting) {
                    Ok(took) => pair[usize::from(two)] = took.unwrap_or_default(),
                    Err(error) => wrong = wrong.or(Some(error)),
                }
            }
            if round >= options.warm_up {
                ticks.push(pair);
            }
        }
        ensure!(pinned, "core {} cannot be had", options.cores[n]);
        wrong.map_or(Ok(ticks), Err)
    };
    std::thread::scope(|scope| {
        // Threads of their own: a pinned thread hands its one core down to those it starts.
        let threads = [0, 1].map(|n| scope.spawn(move || rounds(n)));
        let [first, second] = threads.map(|thread| thread.join().ok().context("a worker ended")?);
        second.and(first)
    })
}

pub fn run(options: &Options) -> Result<Report> {
    let suite = Suite::new(Encryption::Aes128Gcm, Integrity::None)?;
    let kind = CpuEngineKind::ALL.into_iter().find(|kind| kind.supports(suite)).context("an engine")?;
    let mut environment = Environment::look(None);
    let mut measured = Vec::new();
    for (setting, direction) in SETTINGS {
        for bytes in SIZES {
            let name = format!("{setting:?}/{direction:?}/{bytes}").to_lowercase();
            if name.contains(&options.only.to_lowercase()) {
                let (stand, _controls) = Stand::new(setting, direction, kind, suite, bytes)?;
                let ticks = measure(&stand, options).with_context(|| name)?;
                measured.push((stand, ticks));
                if let Some((stand, _)) = measured.last_mut() {
                    // The memory is needed for the next.
                    stand.seats.iter_mut().for_each(|seat| {
                        let seat = seat.get_mut().unwrap_or_else(PoisonError::into_inner);
                        (seat.frames, seat.sent, seat.clear) = Default::default();
                    });
                }
            }
        }
    }
    ensure!(!measured.is_empty(), "no row is named like `{}`", options.only);
    environment.ticks_per_second = clock::frequency().round();
    let rows =
        measured.iter().map(|(stand, ticks)| row(stand, ticks, suite, kind, environment.ticks_per_second));
    let rows = rows.collect();
    Ok(Report { environment, cores: options.cores, rows })
}

fn row(stand: &Stand, ticks: &[[f64; 2]], suite: Suite, kind: CpuEngineKind, per_second: f64) -> Row {
    let [one, two] = stand.packets().map(|packets| packets as f64);
    let mpps = |packets: f64, ticks: f64| packets / ticks * per_second / 1e6;
    let ratio = |[a, b]: &[f64; 2]| (two / b) / (one / a);
    let (first, second) = (ticks.iter().map(|t| t[0]), ticks.iter().map(|t| t[1]));
    let undisturbed = (two / quantile(second.clone(), 0.1)) / (one / quantile(first.clone(), 0.1));
    let mpps_two = mpps(two, quantile(second, 0.5));
    Row {
        setting: stand.setting,
        direction: stand.direction,
        suite: suite.to_string(),
        engine: kind.name(),
        bytes: stand.bytes,
        sas: if matches!(stand.setting, Setting::Spread | Setting::OneQueue) { 1 } else { 2 },
        buffers: PACKETS,
        mpps_one: mpps(one, quantile(first, 0.5)),
        mpps_two,
        gbps_two: mpps_two * stand.bytes as f64 * 8.0 / 1e3,
        speedup: quantile(ticks.iter().map(ratio), 0.5),
        p10: quantile(ticks.iter().map(ratio), 0.1),
        p90: quantile(ticks.iter().map(ratio), 0.9),
        undisturbed,
    }
}

fn quantile(values: impl Iterator<Item = f64>, at: f64) -> f64 {
    let mut all: Vec<_> = values.collect();
    all.sort_by(f64::total_cmp);
    let index = (at * all.len().saturating_sub(1) as f64).round() as usize;
    all.get(index).copied().unwrap_or(f64::NAN)
}

impl Report {
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.set_header([
            "setting",
            "direction",
            "bytes",
            "Mpps, one",
            "Mpps, two",
            "two / one",
            "10 %",
            "90 %",
            "undisturbed",
        ]);
        for row in &self.rows {
            let name = format!("{:?}", row.setting);
            let mut cells = vec![name, format!("{:?}", row.direction), row.bytes.to_string()];
            cells.extend(
                [row.mpps_one, row.mpps_two, row.speedup, row.p10, row.p90, row.undisturbed]
                    .map(|n| format!("{n:.2}")),
            );
            table.add_row(cells);
        }
        format!("{}\ncores {:?}, {} packets a sample\n{table}", self.environment.cpu, self.cores, PACKETS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One round of everything, checked packet by packet; the figures mean nothing here.
    #[test]
    fn every_setting_ends_with_the_packets_it_began_with() {
        let cores = core_affinity::get_core_ids().expect("cores");
        let (first, last) = (cores[0].id, cores[cores.len() - 1].id);
        let options =
            Options { rounds: 1, warm_up: 0, cores: [first, last], parcel: PARCEL, only: "/64".into() };
        let report = run(&options).expect("a report");
        assert_eq!(report.rows.len(), SETTINGS.len());
        assert!(report.rows.iter().all(|row| row.speedup > 0.0 && row.mpps_two > 0.0), "{}", report.table());
        assert!(run(&Options { only: "nothing".into(), ..options }).is_err());
    }
}
