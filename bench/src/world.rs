//! Two gateways back to back with real tables: policies, a pair of SAs for each of the last ones, routes, neighbours.
use crate::buffer::MemBuf;
use crate::case::BURST;
use crate::rings::Rings;
use anyhow::{Context, Result, ensure};
use fastpath::crypto::{CpuEngine, CpuEngineKind, CpuKeys, KeyRecord};
use fastpath::graph::{Out, Worker};
use fastpath::tables::{Control, Interface, NextHop, Tables};
use ipc::contract::Command;
use sa::{
    Action, Framing, Key, Level, Lifetime, Mode, PolicyId, PolicySpec, PortRange, Prefix, Protocol, SaSlot,
    SaSpec, Selector, Spi, Suite, TunnelEnds,
};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use wire::Mac;

pub const LAN: u16 = 0;
pub const WAN: u16 = 1;
/// Ethernet and IPv4 in front of what a packet says.
pub const ETHERNET: usize = 14;
pub const IPV4: usize = 20;
/// Long enough after the epoch that nothing is special about it. No lifetime ends.
pub const NOW: Duration = Duration::from_secs(1000);

/// What stands in the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    pub suite: Suite,
    /// In order of preference, as `system.crypto.engines`.
    pub engines: Vec<CpuEngineKind>,
    /// One: for the whole networks. More: each for one far host, with a policy of its own.
    pub sas: usize,
    /// At least one for each SA. Those beyond stand in front and fit none of the traffic.
    pub policies: usize,
}
impl Setup {
    /// Who does the arithmetic: the first that knows the suite.
    pub fn engine(&self) -> Option<CpuEngineKind> {
        self.engines.iter().copied().find(|kind| kind.supports(self.suite))
    }
}

/// Site 1 (10.1/16, 192.0.2.1) and site 2 (10.64/10, 192.0.2.2).
pub struct Pair {
    pub first: Gateway,
    pub second: Gateway,
}
impl Pair {
    pub fn new(setup: &Setup) -> Result<Self> {
        Ok(Self { first: Gateway::new(1, setup)?, second: Gateway::new(2, setup)? })
    }
}

pub type MemWorker = Worker<MemBuf, CpuEngine<MemBuf>>;

/// One site's worker and all it looks at.
pub struct Gateway {
    pub worker: MemWorker,
    out: Out<MemBuf>,
    burst: Vec<MemBuf>,
    control: Control<CpuKeys>,
}

pub fn mac(site: u8, interface: u16) -> Mac {
    Mac([2, 0, 0, 0, site, interface as u8])
}
/// Host `n` of a site; the second site has millions.
pub fn host(site: u8, n: usize) -> Ipv4Addr {
    Ipv4Addr::from(network(site).0 + n as u32 + 2)
}
fn network(site: u8) -> (u32, u8) {
    match site {
        1 => (0x0a01_0000, 16),
        _ => (0x0a40_0000, 10),
    }
}
fn wan(site: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, site).into()
}
fn prefix(address: u32, len: u8) -> Result<Prefix> {
    Prefix::new(Ipv4Addr::from(address).into(), len).context("a prefix")
}
fn net(site: u8) -> Result<Prefix> {
    let (address, len) = network(site);
    prefix(address, len)
}

/// Seen from the first site, whose one host sends to many of the second.
fn selector(n: usize, setup: &Setup) -> Result<Selector> {
    let dst = match setup.sas {
        1 => net(2)?,
        _ => Prefix::host(host(2, n).into()),
    };
    let any = PortRange::ANY;
    Ok(Selector { src: net(1)?, dst, protocol: None, src_port: any, dst_port: any })
}
/// Number `n` of the policies that fit no packet: sixteen forms of prefixes, protocols and ports take turns.
fn decoy(n: usize) -> Result<Selector> {
    let (form, n) = (n % 16, (n / 16) as u32);
    let dst_len = [32, 28, 24, 20][form % 4];
    let dst = prefix(0x8000_0000 + (n << (32 - dst_len)), dst_len)?;
    let src = [net(1)?, prefix(0, 0)?][form / 4 % 2];
    let any = PortRange::ANY;
    let (protocol, dst_port) = match form / 8 {
        0 => (None, any),
        _ => (Some(17), PortRange { first: 4000, last: 4000 }),
    };
    Ok(Selector { src, dst, protocol, src_port: any, dst_port })
}
fn seen_from(site: u8, selector: Selector) -> Selector {
    if site == 1 {
        return selector;
    }
    let Selector { src, dst, protocol, src_port, dst_port } = selector;
    Selector { src: dst, dst: src, protocol, src_port: dst_port, dst_port: src_port }
}

/// The tables of a site.
pub fn tables(site: u8, setup: &Setup) -> Result<Control<CpuKeys>> {
    let slots = (2 * setup.sas + 2).next_power_of_two().max(16) as u32;
    let mut control = Control::new(CpuKeys::new(&setup.engines)?, slots);
    connect(&mut control, site)?;
    let decoys = setup.policies.saturating_sub(setup.sas);
    policies(&mut control, site, setup, decoys)?;
    for n in 0..setup.sas {
        for direction in [sa::Direction::Outbound, sa::Direction::Inbound] {
            let spec = spec(n, site, direction, setup, PolicyId((decoys + n) as u32 + 1))?;
            control.apply(Command::InstallSa(Box::new(spec)), NOW)?;
        }
    }
    Ok(control)
}

/// Workers on the same tables, all of which have seen the newest.
pub fn workers(control: &mut Control<CpuKeys>, setup: &Setup, count: usize) -> Result<Vec<MemWorker>> {
    let mut workers = Vec::new();
    for _ in 0..count {
        workers.push(Worker::new(control.reader(), CpuEngine::new(&setup.engines)?)?);
    }
    // Every change is visible only once the workers have moved on from the tables before it.
    let (mut out, mut events, mut done) = (Out::default(), Vec::new(), Vec::new());
    while control.settled() < control.submitted() {
        workers.iter_mut().for_each(|worker| worker.idle(NOW, &mut out));
        control.poll(NOW, &mut events, &mut done);
    }
    workers.iter_mut().for_each(|worker| worker.idle(NOW, &mut out));
    Ok(workers)
}

impl Gateway {
    fn new(site: u8, setup: &Setup) -> Result<Self> {
        let mut control = tables(site, setup)?;
        let worker = workers(&mut control, setup, 1)?.pop().context("a worker")?;
        Ok(Self { worker, out: Out::default(), burst: Vec::with_capacity(BURST), control })
    }

    /// What its workers see.
    pub fn tables(&self) -> &Tables<KeyRecord> {
        self.control.tables()
    }
    /// Works off all that `rings` received on port `from`; what goes out on the other port is in its sent ring.
    pub fn pass(&mut self, from: u16, rings: &mut Rings) {
        let to = usize::from(LAN + WAN - from);
        while rings.receive(&mut self.burst, BURST) {
            self.worker.process(from, &mut self.burst, NOW, &mut self.out);
            if let Some(tx) = self.out.tx.get_mut(to) {
                rings.transmit(tx);
            }
        }
    }
    /// Every packet was forwarded.
    pub fn clean(&self) -> Result<()> {
        let dropped: Vec<_> = self.out.drops.iter().enumerate().filter(|(_, n)| **n > 0).collect();
        let (host, ike, unresolved) = (self.out.host.len(), self.out.ike.len(), self.out.unresolved.len());
        ensure!(
            dropped.is_empty() && host + ike + unresolved == 0,
            "drops by reason {dropped:?}, {host} to the host, {ike} to IKE, {unresolved} unresolved"
        );
        Ok(())
    }
}

/// Interfaces, routes and neighbours of a site.
fn connect(control: &mut Control<CpuKeys>, site: u8) -> Result<()> {
    let peer = 3 - site;
    let (address, len) = network(site);
    let lan: IpAddr = Ipv4Addr::from(address + 1).into();
    for (index, address, len) in [(LAN, lan, len), (WAN, wan(site), 24)] {
        let interface = Interface {
            port: index,
            vlan: None,
            mac: mac(site, index),
            mtu: 1500,
            addresses: vec![(address, len)],
        };
        control.set_interface(index, interface);
    }
    control.set_route(net(site)?, NextHop { interface: LAN, gateway: Some(host(site, 0).into()) });
    control.set_route(net(peer)?, NextHop { interface: WAN, gateway: Some(wan(peer)) });
    let to_peer = Prefix::new(wan(peer), 32).context("a prefix")?;
    control.set_route(to_peer, NextHop { interface: WAN, gateway: None });
    control.set_neighbour(WAN, wan(peer), Some(mac(peer, WAN)));
    control.set_neighbour(LAN, host(site, 0).into(), Some(mac(site, 9)));
    Ok(())
}

fn policies(control: &mut Control<CpuKeys>, site: u8, setup: &Setup, decoys: usize) -> Result<()> {
    let encrypt = Action::Encrypt { level: Level::Require, tunnel: true };
    let all = (0..decoys).map(|n| (decoy(n), Action::Discard));
    let all = all.chain((0..setup.sas).map(|n| (selector(n, setup), encrypt)));
    let count = (decoys + setup.sas) as u32;
    control.apply(Command::PolicyBegin { generation: 1, count }, NOW)?;
    for (id, (selector, action)) in (1..).map(PolicyId).zip(all) {
        let selector = seen_from(site, selector?);
        control
            .apply(Command::Policy(PolicySpec { id, selector, action, framing: Framing::default() }), NOW)?;
    }
    control.apply(Command::PolicyCommit { generation: 1 }, NOW)?;
    Ok(())
}

/// One direction of the SA pair `n`, as `site` runs it.
fn spec(n: usize, site: u8, direction: sa::Direction, setup: &Setup, policy: PolicyId) -> Result<SaSpec> {
    let (suite, peer) = (setup.suite, 3 - site);
    let inbound_slot = 2 * n as u32;
    let (slot, from) = match direction {
        sa::Direction::Outbound => (inbound_slot + 1, site),
        sa::Direction::Inbound => (inbound_slot, peer),
    };
    let seed = (n as u64) << 8 | u64::from(from);
    let key = |purpose: u64, len: usize| {
        let bytes: Vec<_> = (0..len as u64)
            .map(|at| ((seed << 16 | purpose << 8 | at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
            .collect();
        Key::new(&bytes).context("a key")
    };
    Ok(SaSpec {
        slot: SaSlot(slot),
        // The receiver's slot in the low bits, as it would choose it.
        spi: Spi::new((0x1000_0000 * u32::from(from)) | inbound_slot)?,
        direction,
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        suite,
        encryption_key: key(0, suite.encryption().key_len())?,
        salt: key(1, suite.salt_len())?,
        integrity_key: key(2, suite.integrity().key_len())?,
        ends: TunnelEnds { local: wan(site), remote: wan(peer) },
        encap: None,
        original: None,
        esn: true,
        replay_window: 1024,
        last_seq: 0,
        lifetime: Lifetime::default(),
        policy,
        also: Vec::new(),
        selectors: vec![seen_from(site, selector(n, setup)?).into()],
    })
}
