//! The real graph, in memory: two gateways back to back, tunnel mode over IPv4, one SA each way for each policy.
//!
//! One of them is timed, from Ethernet frames in to Ethernet frames out; the other makes its packets or checks
//! them. So a sample counts only if all that went in clear came out clear behind the second gateway.
use crate::buffer::MemBuf;
use crate::case::{BURST, Case, Direction, Label};
use anyhow::{Context, Result, ensure};
use fastpath::crypto::{CpuEngine, CpuEngineKind, CpuKeys};
use fastpath::graph::{Out, Worker};
use fastpath::tables::{Control, Interface, NextHop};
use ipc::contract::Command;
use sa::{
    Action, Key, Level, Lifetime, Mode, PolicyId, PolicySpec, PortRange, Prefix, SaSlot, SaSpec, Selector,
    Spi, Suite, TunnelEnds,
};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use wire::{Mac, PacketBuf};

/// Flows that share the SA: their verdicts sit in the flow cache.
const FLOWS: usize = 64;
const LAN: u16 = 0;
const WAN: u16 = 1;
/// Ethernet and IPv4 in front of what a packet says.
const ETHERNET: usize = 14;
const IPV4: usize = 20;
/// Long enough after the epoch that nothing is special about it. No lifetime ends.
const NOW: Duration = Duration::from_secs(1000);

/// Site `site` (1 or 2) of two: hosts in 10.`site`.0.0/16 behind it, 192.0.2.`site` in front.
struct Gateway {
    worker: Worker<MemBuf, CpuEngine<MemBuf>>,
    out: Out<MemBuf>,
    burst: Vec<MemBuf>,
    _control: Control<CpuKeys>,
}

fn mac(site: u8, interface: u16) -> Mac {
    Mac([2, 0, 0, 0, site, interface as u8])
}
fn host(site: u8, n: usize) -> Ipv4Addr {
    let [high, low] = (n as u16 + 2).to_be_bytes();
    Ipv4Addr::new(10, site, high, low)
}
fn wan(site: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, site).into()
}
fn network(site: u8) -> Result<Prefix> {
    Prefix::new(Ipv4Addr::new(10, site, 0, 0).into(), 16).context("a prefix")
}

impl Gateway {
    /// `sas` policies with a pair of SAs each: one for the whole networks, several for one far host each.
    fn new(site: u8, suite: Suite, kind: CpuEngineKind, sas: usize) -> Result<Self> {
        let peer = 3 - site;
        let slots = (2 * sas + 2).next_power_of_two().max(16) as u32;
        let mut control = Control::new(CpuKeys::new(&[kind])?, slots);
        let lan: IpAddr = Ipv4Addr::new(10, site, 0, 1).into();
        for (index, address, len) in [(LAN, lan, 16), (WAN, wan(site), 24)] {
            let addresses = vec![(address, len)];
            let interface =
                Interface { port: index, vlan: None, mac: mac(site, index), mtu: 1500, addresses };
            control.set_interface(index, interface);
        }
        control.set_route(network(site)?, NextHop { interface: LAN, gateway: Some(host(site, 0).into()) });
        control.set_route(network(peer)?, NextHop { interface: WAN, gateway: Some(wan(peer)) });
        let to_peer = Prefix::new(wan(peer), 32).context("a prefix")?;
        control.set_route(to_peer, NextHop { interface: WAN, gateway: None });
        control.set_neighbour(WAN, wan(peer), Some(mac(peer, WAN)));
        control.set_neighbour(LAN, host(site, 0).into(), Some(mac(site, 9)));

        let selectors = (0..sas).map(|n| -> Result<Selector> {
            // Seen from the first site, whose one host sends to many of the second.
            let (src, dst) = match sas {
                1 => (network(1)?, network(2)?),
                _ => (network(1)?, Prefix::host(host(2, n).into())),
            };
            let (src, dst) = if site == 1 { (src, dst) } else { (dst, src) };
            let any = PortRange::ANY;
            Ok(Selector { src, dst, protocol: None, src_port: any, dst_port: any })
        });
        let selectors: Vec<_> = selectors.collect::<Result<_>>()?;
        let action = Action::Encrypt { level: Level::Require, tunnel: true };
        control.apply(Command::PolicyBegin { generation: 1, count: sas as u32 }, NOW)?;
        for (id, selector) in (1..).map(PolicyId).zip(&selectors) {
            control.apply(Command::Policy(PolicySpec { id, selector: *selector, action }), NOW)?;
        }
        control.apply(Command::PolicyCommit { generation: 1 }, NOW)?;
        for (n, selector) in selectors.iter().enumerate() {
            let slot = 2 * n as u32;
            for (slot, from, direction) in
                [(slot + 1, site, sa::Direction::Outbound), (slot, peer, sa::Direction::Inbound)]
            {
                let mut key_of = n as u8 ^ from;
                let mut key = |len: usize| {
                    key_of = key_of.wrapping_add(0x35);
                    Key::new(&vec![key_of; len]).context("a key")
                };
                let spec = SaSpec {
                    slot: SaSlot(slot),
                    // The receiver's slot in the low bits, as it would choose it.
                    spi: Spi::new((0x1000_0000 * u32::from(from)) | (slot & !1))?,
                    direction,
                    mode: Mode::Tunnel,
                    suite,
                    encryption_key: key(suite.encryption().key_len())?,
                    salt: key(suite.encryption().salt_len())?,
                    integrity_key: key(suite.integrity().key_len())?,
                    ends: TunnelEnds { local: wan(site), remote: wan(peer) },
                    encap: None,
                    esn: true,
                    replay_window: 1024,
                    last_seq: 0,
                    lifetime: Lifetime::default(),
                    policy: PolicyId(n as u32 + 1),
                    selectors: vec![(*selector).into()],
                };
                control.apply(Command::InstallSa(Box::new(spec)), NOW)?;
            }
        }
        let mut worker = Worker::new(control.reader(), CpuEngine::new(&[kind])?)?;
        let mut out = Out::default();
        // Every change is visible only once the worker has moved on from the tables before it.
        let (mut events, mut done) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            worker.idle(NOW, &mut out);
            control.poll(NOW, &mut events, &mut done);
        }
        Ok(Self { worker, out, burst: Vec::with_capacity(BURST), _control: control })
    }

    /// Works all of `frames` off, in order, and puts what is sent on the other port in their place.
    fn pass(&mut self, from: u16, frames: &mut Vec<MemBuf>, sent: &mut Vec<MemBuf>) {
        let to = usize::from(LAN + WAN - from);
        let mut left = frames.drain(..);
        loop {
            self.burst.extend(left.by_ref().take(BURST));
            if self.burst.is_empty() {
                return;
            }
            self.worker.process(from, &mut self.burst, NOW, &mut self.out);
            if let Some(tx) = self.out.tx.get_mut(to) {
                sent.append(tx);
            }
        }
    }
    fn clean(&self) -> Result<()> {
        let dropped: Vec<_> = self.out.drops.iter().enumerate().filter(|(_, n)| **n > 0).collect();
        let (host, ike, unresolved) = (self.out.host.len(), self.out.ike.len(), self.out.unresolved.len());
        ensure!(
            dropped.is_empty() && host + ike + unresolved == 0,
            "drops by reason {dropped:?}, {host} to the host, {ike} to IKE, {unresolved} unresolved"
        );
        Ok(())
    }
}

/// How much the caches have to hold.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub sas: usize,
    pub buffers: usize,
}

pub struct Path {
    label: Label,
    first: Gateway,
    second: Gateway,
    /// What hosts of the first site send.
    clear: Vec<Vec<u8>>,
    /// Bytes of an ESP packet with its outer header.
    sealed_len: usize,
    frames: Vec<MemBuf>,
    sent: Vec<MemBuf>,
}

impl Path {
    /// `None` when the engine lacks the suite.
    pub fn new(
        kind: CpuEngineKind,
        suite: Suite,
        direction: Direction,
        bytes: usize,
        load: Load,
    ) -> Result<Option<Self>> {
        if !kind.supports(suite) {
            return Ok(None);
        }
        let label = Label {
            direction,
            suite: suite.to_string(),
            engine: kind.name().into(),
            mode: "tunnel-ipv4",
            sas: load.sas,
            policies: load.sas,
            workers: 1,
            buffers: load.buffers,
            bytes,
        };
        let text = (bytes + 2).next_multiple_of(suite.encryption().pad_to());
        let mut path = Self {
            label,
            first: Gateway::new(1, suite, kind, load.sas)?,
            second: Gateway::new(2, suite, kind, load.sas)?,
            clear: (0..load.buffers).map(|n| frame(n, bytes, load.sas)).collect(),
            sealed_len: IPV4 + 8 + suite.iv_len() + text + suite.icv_len(),
            frames: (0..load.buffers).map(|_| MemBuf::new()).collect(),
            sent: Vec::with_capacity(load.buffers),
        };
        path.load()?;
        Ok(Some(path))
    }
    fn load(&mut self) -> Result<()> {
        self.frames.append(&mut self.sent);
        let buffers = self.clear.len();
        ensure!(self.frames.len() == buffers, "{} of {buffers} buffers came back", self.frames.len());
        for (buffer, frame) in self.frames.iter_mut().zip(&self.clear) {
            ensure!(buffer.load(frame), "the packet does not fit a buffer");
        }
        Ok(())
    }
    fn seal(&mut self) {
        self.first.pass(LAN, &mut self.frames, &mut self.sent);
    }
    fn open(&mut self) {
        self.second.pass(WAN, &mut self.frames, &mut self.sent);
    }
    fn check_sealed(&mut self) -> Result<()> {
        self.first.clean()?;
        let right = self.sent.iter().filter(|b| b.len() == ETHERNET + self.sealed_len);
        ensure!(
            right.count() == self.clear.len(),
            "not every packet left as ESP of {} bytes",
            self.sealed_len
        );
        self.frames.append(&mut self.sent);
        Ok(())
    }
    fn check_opened(&mut self) -> Result<()> {
        self.second.clean()?;
        let buffers = self.clear.len();
        ensure!(self.sent.len() == buffers, "{} of {buffers} packets arrived", self.sent.len());
        for (n, (buffer, clear)) in self.sent.iter().zip(&self.clear).enumerate() {
            let (got, sent) = (buffer.data(), clear);
            let same =
                |from: usize, to: usize| got.get(from..to) == sent.get(from..to) && got.len() == sent.len();
            // All but the MAC addresses, the TTL and the header's checksum.
            let right = same(12, ETHERNET + 8) && same(ETHERNET + 12, sent.len());
            ensure!(right, "packet {n} is not what was sent");
        }
        Ok(())
    }
}

impl Case for Path {
    fn label(&self) -> &Label {
        &self.label
    }
    fn prepare(&mut self) -> Result<()> {
        // Whoever is timed has done the same with the same packets just before.
        self.load()?;
        self.seal();
        self.check_sealed()?;
        if self.label.direction == Direction::Inbound {
            self.open();
            self.check_opened()?;
            self.load()?;
            self.seal();
            return self.check_sealed();
        }
        self.load()
    }
    fn run(&mut self) {
        match self.label.direction {
            Direction::Outbound => self.seal(),
            Direction::Inbound => self.open(),
        }
    }
    fn check(&mut self) -> Result<()> {
        if self.label.direction == Direction::Outbound {
            self.check_sealed()?;
            self.open();
        }
        self.check_opened()
    }
}

/// Ethernet, IPv4, UDP and numbers, `bytes` long without the Ethernet header.
fn frame(n: usize, bytes: usize, sas: usize) -> Vec<u8> {
    let port = (1024 + n % FLOWS) as u16;
    let mut frame = [&mac(1, LAN).0[..], &mac(1, 9).0, &[0x08, 0x00]].concat();
    let mut ip = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    ip[2..4].copy_from_slice(&(bytes as u16).to_be_bytes());
    // Far hosts, and so SAs, in no order that a prefetcher could learn.
    let far = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    ip[12..16].copy_from_slice(&host(1, 0).octets());
    ip[16..20].copy_from_slice(&host(2, far as usize % sas).octets());
    let sum: u32 = ip.chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(ip);
    frame.extend(port.to_be_bytes());
    frame.extend(9u16.to_be_bytes());
    frame.extend(((bytes - IPV4) as u16).to_be_bytes());
    frame.extend([0, 0]); // no UDP checksum
    frame.extend((frame.len()..ETHERNET + bytes).map(|at| (at * 7 + n) as u8));
    frame
}
