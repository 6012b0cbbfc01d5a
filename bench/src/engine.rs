//! One CPU engine alone: `seal` or `open` on ESP packets, without the graph around it.
use crate::case::{BUFFERS, Case, Direction, Label};
use anyhow::{Result, ensure};
use fastpath::crypto::cpu::{CpuCrypto, CpuEngineKind, EspOp, KeyRecord};
use sa::Suite;

/// [`BUFFERS`] ESP packets of one length, two kilobytes apart as in a mempool.
pub struct Slab {
    bytes: Vec<u8>,
    packet: usize,
}
impl Slab {
    const STRIDE: usize = 2048 + 64;

    /// Room for the ESP form of inner packets of `inner` bytes: SPI to ICV.
    pub fn new(suite: Suite, inner: usize) -> Self {
        //= rfc4303#2.4/alignment: payload, padding, pad length and next header end on a boundary.
        let text = (inner + 2).next_multiple_of(suite.encryption().pad_to());
        let packet = 8 + suite.iv_len() + text + suite.icv_len();
        assert!(packet <= Self::STRIDE, "a packet fits its buffer");
        let bytes = (0..BUFFERS * Self::STRIDE).map(|n| (n % 251) as u8).collect();
        Self { bytes, packet }
    }
    pub fn packets(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let len = self.packet;
        self.bytes.chunks_exact_mut(Self::STRIDE).filter_map(move |buffer| buffer.get_mut(..len))
    }
}

pub struct Engine {
    label: Label,
    crypto: CpuCrypto,
    outbound: KeyRecord,
    inbound: KeyRecord,
    slab: Slab,
    verdicts: Vec<bool>,
}

impl Engine {
    /// `None` when the engine lacks the suite.
    pub fn new(
        kind: CpuEngineKind,
        suite: Suite,
        direction: Direction,
        bytes: usize,
    ) -> Result<Option<Self>> {
        if !kind.supports(suite) {
            return Ok(None);
        }
        let crypto = CpuCrypto::new(kind)?;
        let key = |direction| {
            let enc = vec![0x11; suite.encryption().key_len()];
            let integ = vec![0x33; suite.integrity().key_len()];
            crypto.new_key(suite, direction, &enc, &vec![0x22; suite.salt_len()], &integ)
        };
        let (outbound, inbound) = (key(sa::Direction::Outbound)?, key(sa::Direction::Inbound)?);
        let label = Label {
            direction,
            suite: suite.to_string(),
            engine: kind.name().into(),
            mode: "engine",
            sas: 1,
            policies: 0,
            workers: 1,
            buffers: BUFFERS,
            lookup: "none",
            bytes,
        };
        let slab = Slab::new(suite, bytes);
        Ok(Some(Self { label, crypto, outbound, inbound, slab, verdicts: Vec::new() }))
    }
    fn pass(&mut self, direction: Direction) {
        let Self { crypto, outbound, inbound, slab, verdicts, .. } = self;
        let key = if direction == Direction::Out { &*outbound } else { &*inbound };
        let mut ops: Vec<_> =
            slab.packets().map(|esp| EspOp { key, esp, seq_high: None, ok: false }).collect();
        match direction {
            Direction::Out => crypto.seal(&mut ops),
            Direction::In => crypto.open(&mut ops),
        }
        verdicts.clear();
        verdicts.extend(ops.iter().map(|op| op.ok));
    }
}

impl Case for Engine {
    fn label(&self) -> &Label {
        &self.label
    }
    fn prepare(&mut self) -> Result<()> {
        self.pass(Direction::Out);
        self.check()?;
        self.verdicts.clear();
        Ok(())
    }
    fn run(&mut self) {
        self.pass(self.label.direction);
    }
    fn check(&mut self) -> Result<()> {
        let right = self.verdicts.iter().filter(|ok| **ok).count();
        ensure!(right == BUFFERS, "{} got {right} of {BUFFERS} packets right", self.label.engine);
        Ok(())
    }
}
