//! The whole path of one worker, from Ethernet frames in a receive ring to Ethernet frames in a transmit ring.
//!
//! Of the two gateways one is timed; the other makes its packets or checks them. So a sample counts only if all that
//! went in clear came out clear behind the second gateway.
use crate::buffer::MemBuf;
use crate::case::{Case, Direction, Label, Turn};
use crate::clock;
use crate::rings::Rings;
use crate::traffic::{Flows, Traffic};
use crate::world::{ETHERNET, Gateway, IPV4, LAN, Pair, Setup, WAN};
use anyhow::{Context, Result, ensure};
use fastpath::graph::Stage;
use std::cell::RefCell;
use std::rc::Rc;
use wire::PacketBuf;

/// Buffers that all cases use, one after the other: each takes what it needs for a sample.
#[derive(Clone)]
pub struct Buffers(Rc<RefCell<Vec<MemBuf>>>);
impl Buffers {
    /// Enough for samples of `count` packets.
    pub fn with(count: usize) -> Self {
        Self(Rc::new(RefCell::new(MemBuf::pool(count))))
    }
}

pub struct Path {
    label: Label,
    pair: Rc<RefCell<Pair>>,
    buffers: Buffers,
    rings: Rings,
    traffic: Traffic,
    /// Bytes of an ESP packet with its outer header.
    sealed_len: usize,
    stages: Option<Stages>,
}

/// What the stages took, apart from other cases on the same worker.
#[derive(Default)]
struct Stages {
    on: bool,
    before: (u64, [u64; Stage::COUNT]),
    packets: u64,
    cycles: [u64; Stage::COUNT],
}
fn reading(worker: &Gateway) -> (u64, [u64; Stage::COUNT]) {
    let cycles = worker.worker.stage_cycles();
    (cycles.packets(), Stage::ALL.map(|stage| cycles.cost(stage).cycles))
}

/// What a case is about, beside the tables it uses.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub direction: Direction,
    pub bytes: usize,
    pub buffers: usize,
    pub flows: Flows,
}

impl Path {
    /// `None` when none of the engines knows the suite.
    pub fn label(setup: &Setup, load: Load) -> Option<Label> {
        Some(Label {
            direction: load.direction,
            suite: setup.suite.to_string(),
            engine: setup.engine()?.name().into(),
            mode: "tunnel-ipv4",
            sas: setup.sas,
            policies: setup.policies.max(setup.sas),
            workers: 1,
            buffers: load.buffers,
            lookup: load.flows.name(),
            bytes: load.bytes,
        })
    }
    pub fn new(label: Label, setup: &Setup, pair: Rc<RefCell<Pair>>, load: Load, buffers: &Buffers) -> Self {
        let suite = setup.suite;
        let text = (load.bytes + 2).next_multiple_of(suite.encryption().pad_to());
        let traffic = Traffic::new(setup.sas, load.flows, load.bytes, load.buffers);
        Self {
            label,
            pair,
            buffers: buffers.clone(),
            rings: Rings::new(load.buffers),
            // What goes out is opened as well, to be checked.
            traffic: if load.direction == Direction::In { traffic.others() } else { traffic },
            sealed_len: IPV4 + 8 + suite.iv_len() + text + suite.icv_len(),
            stages: None,
        }
    }
    pub fn with_stages(self, wanted: bool) -> Self {
        Self { stages: wanted.then(Stages::default), ..self }
    }
    fn timed<T>(&self, work: impl FnOnce(&mut Gateway) -> T) -> T {
        let mut pair = self.pair.borrow_mut();
        work(if self.label.direction == Direction::Out { &mut pair.first } else { &mut pair.second })
    }
    /// The worker is shared: what it measures belongs to this case from here to [`Self::end_stages`].
    fn begin_stages(&mut self) {
        let on = self.stages.as_ref().is_some_and(|stages| stages.on);
        let before = self.timed(|gateway| {
            gateway.worker.measure_stages(on.then_some(clock::now as fn() -> u64));
            reading(gateway)
        });
        if let Some(stages) = &mut self.stages {
            stages.before = before;
        }
    }
    fn end_stages(&mut self) {
        let (packets, cycles) = self.timed(|gateway| {
            gateway.worker.measure_stages(None);
            reading(gateway)
        });
        if let Some(stages) = self.stages.as_mut().filter(|stages| stages.on) {
            stages.packets += packets - stages.before.0;
            for (sum, (now, before)) in stages.cycles.iter_mut().zip(cycles.iter().zip(stages.before.1)) {
                *sum += now - before;
            }
        }
    }
    fn load(&mut self) -> Result<()> {
        let mut free = self.buffers.0.borrow_mut();
        let frames = self.traffic.frames();
        let first = free.len().checked_sub(frames.len()).context("buffers for a sample")?;
        for (mut buffer, frame) in free.drain(first..).zip(frames) {
            ensure!(buffer.load(frame), "the packet does not fit a buffer");
            self.rings.arrive(buffer);
        }
        Ok(())
    }
    fn seal(&mut self) {
        self.pair.borrow_mut().first.pass(LAN, &mut self.rings);
    }
    fn open(&mut self) {
        self.pair.borrow_mut().second.pass(WAN, &mut self.rings);
    }
    /// What was sent arrives at the other gateway.
    fn check_sealed(&mut self) -> Result<()> {
        self.pair.borrow().first.clean()?;
        let mut sent = std::mem::take(self.rings.sent());
        let right = sent.iter().filter(|b| b.len() == ETHERNET + self.sealed_len);
        let (right, wanted) = (right.count(), self.traffic.frames().len());
        ensure!(right == wanted, "{right} of {wanted} left as ESP of {} bytes", self.sealed_len);
        sent.drain(..).for_each(|packet| self.rings.arrive(packet));
        *self.rings.sent() = sent;
        Ok(())
    }
    fn check_opened(&mut self) -> Result<()> {
        self.pair.borrow().second.clean()?;
        let (sent, frames) = (self.rings.sent(), self.traffic.frames());
        ensure!(sent.len() == frames.len(), "{} of {} packets arrived", sent.len(), frames.len());
        for (n, (buffer, clear)) in sent.iter().zip(frames).enumerate() {
            let (got, sent) = (buffer.data(), clear);
            let same =
                |from: usize, to: usize| got.get(from..to) == sent.get(from..to) && got.len() == sent.len();
            // All but the MAC addresses, the TTL and the header's checksum.
            let right = same(12, ETHERNET + 8) && same(ETHERNET + 12, sent.len());
            ensure!(right, "packet {n} is not what was sent");
        }
        self.buffers.0.borrow_mut().append(sent);
        Ok(())
    }
}

impl Case for Path {
    fn label(&self) -> &Label {
        &self.label
    }
    fn has_stages(&self) -> bool {
        self.stages.is_some()
    }
    fn measure_stages(&mut self, on: bool) {
        if let Some(stages) = &mut self.stages {
            stages.on = on;
        }
    }
    fn stages(&self) -> Vec<(&'static str, f64)> {
        let Some(stages) = &self.stages else { return Vec::new() };
        let per_packet = |cycles: u64| cycles as f64 / stages.packets.max(1) as f64;
        Stage::ALL
            .iter()
            .zip(stages.cycles)
            .map(|(stage, cycles)| (stage.name(), per_packet(cycles)))
            .collect()
    }
    fn turn(&self) -> Turn {
        match self.label.sas {
            1 => Turn { untimed: 1, timed: 3 },
            // Each packet draws its SA anew: it takes a while until those of late are in the cache again.
            _ => Turn { untimed: 2, timed: 4 },
        }
    }
    fn prepare(&mut self) -> Result<()> {
        self.traffic.draw();
        self.load()?;
        if self.label.direction == Direction::In {
            self.seal();
            self.check_sealed()?;
        }
        self.begin_stages();
        Ok(())
    }
    fn run(&mut self) {
        match self.label.direction {
            Direction::Out => self.seal(),
            Direction::In => self.open(),
        }
    }
    fn check(&mut self) -> Result<()> {
        self.end_stages();
        if self.label.direction == Direction::Out {
            self.check_sealed()?;
            self.open();
        }
        self.check_opened()
    }
}
