//! A gateway without ports and threads: frames in, what happened out. For captures, tests and fuzzers.
use crate::crypto::{CpuEngine, CpuEngineKind, CpuKeys};
use crate::graph::{Out, ToHost, Worker, ike_in};
use crate::host::reassemble::{Added, Reassembly};
use crate::tables::{Control, Interface, NextHop};
use ipc::contract::{Command, Event, FrameMeta, Refusal};
use ipc::watch::Sighting;
use sa::{DropReason, PolicySpec, Prefix, SaSpec};
use std::net::IpAddr;
use std::time::Duration;
use wire::{Mac, PacketBuf, TestBuf};

/// An interface of the offline gateway; `port` numbers the captures.
#[derive(Clone, Debug)]
pub struct InterfaceSpec {
    pub port: u16,
    pub vlan: Option<u16>,
    pub mac: [u8; 6],
    pub mtu: u16,
    pub addresses: Vec<(IpAddr, u8)>,
}
#[derive(Clone, Debug)]
pub struct RouteSpec {
    pub prefix: Prefix,
    /// Index into the list of interfaces.
    pub interface: usize,
    pub next_hop: Option<IpAddr>,
}
#[derive(Clone, Debug)]
pub struct NeighbourSpec {
    pub interface: usize,
    pub address: IpAddr,
    pub mac: [u8; 6],
}
#[derive(Clone, Debug, Default)]
pub struct Setup {
    pub interfaces: Vec<InterfaceSpec>,
    pub routes: Vec<RouteSpec>,
    pub neighbours: Vec<NeighbourSpec>,
    /// In rank order.
    pub policies: Vec<PolicySpec>,
    pub sas: Vec<SaSpec>,
}

/// What became of one frame. One frame has one outcome, besides the events it caused.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Sent {
        port: u16,
        frame: Vec<u8>,
    },
    Dropped(DropReason),
    /// For the gateway's own stack: ARP, ND, ICMP, local services.
    ToHost {
        why: String,
        packet: Vec<u8>,
    },
    /// Would be sent, if the next hop's MAC address were known ([`Setup::neighbours`]).
    Unresolved {
        interface: usize,
        next_hop: IpAddr,
        packet: Vec<u8>,
    },
    Ike {
        meta: FrameMeta,
        payload: Vec<u8>,
    },
    /// A fragment of a datagram for the gateway, of which others are missing.
    Held,
    /// ICMP from the way to a peer that was believed.
    Narrow {
        remote: IpAddr,
        mtu: u16,
    },
    Event(Event),
}

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("SA {spi:#x} in slot {slot}: {why}")]
    Sa { slot: u32, spi: u32, why: Refusal },
    #[error("policies: {0}")]
    Policies(Refusal),
    #[error("{what} names interface {index}, but there are only {count}")]
    NoSuchInterface { what: &'static str, index: usize, count: usize },
    #[error("the crypto engine does not start: {0}")]
    Engine(String),
}

/// One worker and its control, in one thread.
pub struct Gateway {
    control: Control<CpuKeys>,
    worker: Worker<TestBuf, CpuEngine<TestBuf>>,
    out: Out<TestBuf>,
    reassembly: Reassembly,
    now: Duration,
}

/// As large as a port's.
fn buffer(bytes: &[u8]) -> TestBuf {
    const ROOM: usize = 2048;
    TestBuf::with_room(bytes, TestBuf::HEADROOM, ROOM.saturating_sub(bytes.len()).max(TestBuf::TAILROOM))
}

/// Interfaces, routes and neighbours of a setup; no policies and SAs yet.
pub fn control(setup: &Setup, engines: &[CpuEngineKind]) -> Result<Control<CpuKeys>, SetupError> {
    let highest = setup.sas.iter().map(|spec| spec.slot.0).max().unwrap_or(0);
    let maker = CpuKeys::new(engines).map_err(|e| SetupError::Engine(e.to_string()))?;
    let mut control = Control::new(maker, highest.saturating_add(1).clamp(16, 1 << 20));
    let count = setup.interfaces.len();
    for (index, interface) in setup.interfaces.iter().enumerate() {
        let InterfaceSpec { port, vlan, mac, mtu, addresses } = interface.clone();
        control.set_interface(index as u16, Interface { port, vlan, mac: Mac(mac), mtu, addresses });
    }
    let named = |what, index: usize| match index < count {
        true => Ok(index as u16),
        false => Err(SetupError::NoSuchInterface { what, index, count }),
    };
    for route in &setup.routes {
        let via = NextHop { interface: named("a route", route.interface)?, gateway: route.next_hop };
        control.set_route(route.prefix, via);
    }
    for neighbour in &setup.neighbours {
        let interface = named("a neighbour", neighbour.interface)?;
        control.set_neighbour(interface, neighbour.address, Some(Mac(neighbour.mac)));
    }
    Ok(control)
}

impl Gateway {
    /// Runs on the CPU engines in this order.
    pub fn new(setup: &Setup, engines: &[CpuEngineKind]) -> Result<Self, SetupError> {
        let engine = |e: &dyn std::error::Error| SetupError::Engine(e.to_string());
        let control = control(setup, engines)?;
        let worker = CpuEngine::new(engines).map_err(|e| engine(&e))?;
        let mut worker = Worker::new(control.reader(), worker).map_err(|e| engine(&e))?;
        worker.fragment_into(Box::new(|header, payload| Some(buffer(&[header, payload].concat()))));
        let (out, reassembly) = (Out::default(), Reassembly::default());
        let mut gateway = Self { control, worker, out, reassembly, now: Duration::ZERO };
        gateway.set_policies(&setup.policies).map_err(SetupError::Policies)?;
        for spec in &setup.sas {
            let refused = |why| SetupError::Sa { slot: spec.slot.0, spi: spec.spi.get(), why };
            gateway.apply(Command::InstallSa(Box::new(spec.clone()))).map_err(refused)?;
        }
        Ok(gateway)
    }

    pub fn set_policies(&mut self, policies: &[PolicySpec]) -> Result<(), Refusal> {
        self.apply(Command::PolicyBegin { generation: 0, count: policies.len() as u32 })?;
        for policy in policies {
            self.apply(Command::Policy(*policy))?;
        }
        self.apply(Command::PolicyCommit { generation: 0 })
    }

    /// Carries a command out completely: it holds for the next frame.
    pub fn apply(&mut self, command: Command) -> Result<(), Refusal> {
        self.control.apply(command, self.now)?;
        let mut done = Vec::new();
        // One worker that holds nothing: each round lets go of one instance of the tables.
        for _ in 0..3 {
            self.worker.idle(self.now, &mut self.out);
            self.control.poll(self.now, &mut self.out.events, &mut done);
        }
        Ok(())
    }
    /// What was seen of watched packets since the last time.
    pub fn sightings(&mut self) -> Vec<(Sighting, Vec<u8>)> {
        let Some(watch) = self.control.watch() else { return Vec::new() };
        std::iter::from_fn(|| watch.next()).map(|look| (look.sighting, look.bytes().to_vec())).collect()
    }
    /// Packets watched, and copies lost.
    pub fn watched(&self) -> Option<(u64, u64)> {
        self.control.watch().map(|watch| watch.counts())
    }
    /// Time as the lifetimes of SAs see it.
    pub fn advance(&mut self, by: Duration) -> Vec<Outcome> {
        self.now += by;
        let before = self.out.drops;
        self.control.poll(self.now, &mut self.out.events, &mut Vec::new());
        let drops = &mut self.out.drops;
        let now = self.now.as_millis() as u64;
        self.reassembly.on_time(now, |(reason, count)| drops[reason as usize] += count);
        self.outcomes(&before)
    }

    /// What happens to one frame that arrives on a port.
    pub fn run(&mut self, port: u16, frame: &[u8]) -> Vec<Outcome> {
        let before = self.out.drops;
        self.worker.process(port, &mut vec![buffer(frame)], self.now, &mut self.out);
        let mut held = Vec::new();
        for hint in std::mem::take(&mut self.out.hints) {
            match self.control.take_hint(&hint, self.now) {
                Some(mtu) => held.push(Outcome::Narrow { remote: hint.remote, mtu }),
                None => self.out.drops[DropReason::HintRefused as usize] += 1,
            }
        }
        for ToHost { interface, frame } in std::mem::take(&mut self.out.pieces) {
            held.extend(self.piece(interface, frame.data()));
        }
        held.extend(self.outcomes(&before));
        held
    }
    /// A fragment for the gateway: what the main lcore does with it.
    fn piece(&mut self, interface: u16, bytes: &[u8]) -> Option<Outcome> {
        let drops = &mut self.out.drops;
        let lost = |(reason, count): (DropReason, u64)| drops[reason as usize] += count;
        match self.reassembly.add(bytes, self.now.as_millis() as u64, lost) {
            Added::Waits => return Some(Outcome::Held),
            Added::Refused(reason) => self.out.drops[reason as usize] += 1,
            Added::Whole(packet) => {
                if let Some((meta, payload)) = ike_in(&packet) {
                    return Some(Outcome::Ike { meta, payload: payload.to_vec() });
                }
                let packets = &mut vec![buffer(&packet)];
                self.worker.reassembled(interface, packets, self.now, &mut self.out);
            }
        }
        None
    }
    /// What happens to one IP packet of the gateway's own.
    pub fn originate(&mut self, packet: &[u8], exempt: bool) -> Vec<Outcome> {
        let before = self.out.drops;
        self.worker.originate(&mut vec![buffer(packet)], exempt, self.now, &mut self.out);
        self.outcomes(&before)
    }

    fn outcomes(&mut self, before: &[u64; DropReason::COUNT]) -> Vec<Outcome> {
        let out = &mut self.out;
        let mut outcomes = Vec::new();
        for (port, queue) in out.tx.iter_mut().enumerate() {
            let sent = |b: TestBuf| Outcome::Sent { port: port as u16, frame: b.data().to_vec() };
            outcomes.extend(queue.drain(..).map(sent));
        }
        outcomes.extend(out.host.drain(..).map(|h| Outcome::ToHost {
            why: format!("for the gateway, from interface {}", h.interface),
            packet: h.frame.data().to_vec(),
        }));
        outcomes.extend(out.unresolved.drain(..).map(|u| Outcome::Unresolved {
            interface: usize::from(u.interface),
            next_hop: u.next_hop,
            packet: u.packet.data().to_vec(),
        }));
        let ike = out.ike.drain(..);
        outcomes.extend(ike.map(|i| Outcome::Ike { meta: i.meta, payload: i.payload.data().to_vec() }));
        for reason in DropReason::ALL {
            let fresh = out.drops[*reason as usize] - before[*reason as usize];
            outcomes.extend((0..fresh).map(|_| Outcome::Dropped(*reason)));
        }
        out.errors.clear();
        outcomes.extend(out.events.drain(..).map(Outcome::Event));
        outcomes
    }
}
