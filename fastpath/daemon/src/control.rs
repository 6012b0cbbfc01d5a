//! The main lcore: commands of the slow path, frames both ways, neighbours and ICMP, the exception
//! path, timers, statistics. May allocate and sleep; workers never wait for it.
use crate::engine::{Key, Made, Maker};
use crate::exchange::{Lane, ToMain, ToWorker};
use crate::idle::Backoff;
use crate::looks::Looks;
use crate::mirror::Mirror;
use crate::network::Networks;
use crate::ports::Tap;
use dpdk::{Burst, Mbuf, Mempool, Port};
use fastpath::graph::{ErrorReport, ike_in, refuses};
use fastpath::host::frame::{addresses, ethernet};
use fastpath::host::pmtu::Hint;
use fastpath::host::reassemble::{Added, Reassembly};
use fastpath::host::{Act, Host, IcmpError, fragment, icmp};
use fastpath::tables::control::{Applied, InstalledSa};
use fastpath::tables::{Completion, Control};
use ipc::{Command, Event, FastSide, FrameKind, PeerEvent, Refusal, SaIdentity};
use sa::{Action, DropReason, Level};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tracing::{debug, error, info, warn};
use wire::{Flow, Mac, PacketBuf};

/// Items of one kind handled before the others get their turn.
const TURN: usize = 64;
/// Commands of one turn: workers see them at once, so that a flood of them costs few look-ups anew.
const COMMANDS: usize = 256;
/// Events kept for a slow path whose ring is full; beyond it the oldest go.
const EVENTS_KEPT: usize = 4096;
const MIRROR_EVERY: Duration = Duration::from_millis(50);
/// With very many slots a round takes so many slots a millisecond: else nothing else would be done than looking at
/// counters. Half a second with 262 144; what may be sent meanwhile is far below the lead that a takeover gives.
const MIRROR_PACE: u32 = 512;
/// Slots looked at in one turn: with a hundred thousand SAs IKE must not wait for all of them.
const MIRROR_TURN: u32 = 2048;
/// Where frames of errors for the host's own programs seem to come from.
const FAR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];
const HOST_EVERY: Duration = Duration::from_millis(100);

pub struct Main {
    pub control: Control<Maker>,
    /// By which engine the last key was made.
    pub made: Made,
    pub host: Host,
    pub region: FastSide,
    pub lanes: Vec<Arc<Lane>>,
    pub taps: Vec<Tap>,
    pub networks: Networks,
    /// Graph port of each interface.
    pub interface_ports: Vec<u16>,
    pub ports: Vec<Port>,
    pub pool: Mempool,
    pub mirror: Mirror,
    pub start: Instant,
    pub idle: Backoff,
    pub stop: Arc<AtomicBool>,
    pub state: State,
}

#[derive(Default)]
pub struct State {
    /// Removals that wait for the workers: their sequence numbers, and what is removed.
    removals: HashMap<u64, (u64, Option<InstalledSa>)>,
    /// Number of the change and of the command: answered when every worker acts on it. Peers send under a
    /// new SA as soon as they hear of it.
    unseen: VecDeque<(u64, u64)>,
    events: VecDeque<Event>,
    completions: Vec<Completion>,
    reassembly: Reassembly,
    due: Vec<Event>,
    acts: Vec<Act>,
    /// Sent for the slow path; names the fragments of one.
    datagrams: u32,
    mirrored: Duration,
    hosted: Duration,
    looks: Looks,
}

impl Main {
    pub fn run(mut self) -> (FastSide, Vec<Port>) {
        let mut acts = Vec::new();
        self.host.announce(&mut acts);
        self.perform(&mut acts);
        while !self.stop.load(Relaxed) {
            let now = self.start.elapsed();
            let mut worked = self.peers();
            worked |= self.commands(now);
            worked |= self.drain_workers(now);
            worked |= self.frames();
            worked |= self.taps();
            worked |= self.state.looks.turn(&mut self.control, &mut self.region, now);
            self.time(now);
            self.raise();
            self.idle.after(worked);
        }
        (self.region, self.ports)
    }

    fn peers(&mut self) -> bool {
        let mut worked = false;
        while let Some(event) = self.region.poll_peer() {
            worked = true;
            match event {
                PeerEvent::Attached(who) => {
                    info!(pid = who.pid, uid = who.uid, "slow path attached");
                    // Its predecessor may have died with acquires unanswered: packets ask anew.
                    self.control.acquire_again();
                    self.state.events.clear();
                }
                PeerEvent::Detached => warn!("slow path is gone; forwarding goes on"),
                PeerEvent::Refused(who) => {
                    error!(pid = who.pid, uid = who.uid, "refused a process at the fast path's socket");
                }
                PeerEvent::Faulted(fault) => {
                    error!(%fault, "slow path wrote nonsense into a ring; hung up on it")
                }
            }
        }
        worked
    }

    fn commands(&mut self, now: Duration) -> bool {
        for turn in 0..COMMANDS {
            let Some((seq, command)) = self.region.next_command() else { return turn > 0 };
            self.command(seq, command, now);
        }
        true
    }
    fn command(&mut self, seq: u64, command: Command, now: Duration) {
        let name = name_of(&command);
        let identity = self.mirror.identity_of(&command, now);
        let removal = match &command {
            Command::RemoveSa { slot, .. } => self.control.installed_sa(*slot),
            _ => None,
        };
        let generation =
            if let Command::PolicyCommit { generation } = &command { Some(*generation) } else { None };
        let result = if is_network(&command) {
            self.network(command).map(|()| Applied::Now)
        } else {
            self.control.enqueue(command, now)
        };
        debug!(seq, name, ?result, "command");
        match result {
            Ok(Applied::Later(number)) => {
                self.state.removals.insert(number, (seq, removal));
            }
            Ok(Applied::Now) => {
                if let Some((slot, identity)) = identity {
                    let identity = SaIdentity { engine: self.made.engine(), ..identity };
                    self.mirror.installed(&mut self.region, slot, &identity);
                }
                if let Some(generation) = generation {
                    self.region.set_policy_generation(generation);
                }
                self.state.unseen.push_back((self.control.submitted(), seq));
            }
            Err(refusal) => {
                warn!(seq, name, %refusal, "command refused");
                self.region.acknowledge(seq, Err(refusal));
            }
        }
    }

    fn network(&mut self, command: Command) -> Result<(), Refusal> {
        let mut acts = std::mem::take(&mut self.state.acts);
        let result = self.networks.command(command, &mut self.control, &mut self.host, &mut acts);
        self.perform(&mut acts);
        self.state.acts = acts;
        result
    }

    fn drain_workers(&mut self, now: Duration) -> bool {
        let now_ms = now.as_millis() as u64;
        let mut worked = false;
        let mut acts = std::mem::take(&mut self.state.acts);
        for lane in 0..self.lanes.len() {
            for turn in 0..2 * TURN {
                let Lane { urgent, to_main, .. } = &*self.lanes[lane];
                let urgent = if turn < TURN { urgent.pop() } else { None };
                let Some(item) = urgent.or_else(|| to_main.pop()) else { break };
                worked = true;
                match item {
                    ToMain::Host(frame) => {
                        self.host.on_frame(frame.interface, frame.frame.data(), now_ms, &mut acts);
                    }
                    ToMain::Piece(piece) => self.piece(piece.interface, piece.frame.data(), now_ms),
                    ToMain::Hint(hint) => self.hint(&hint, now),
                    ToMain::Unresolved(p) => {
                        let packet = p.packet.data().to_vec();
                        self.host.on_unresolved(p.interface, p.next_hop, packet, now_ms, &mut acts);
                    }
                    ToMain::Ike(frame) => {
                        if !self.region.frame_to_slow(&frame.meta, frame.payload.data()) {
                            self.mirror.drop(DropReason::FrameQueueFull, 1);
                        }
                    }
                    ToMain::Error(report) => self.icmp_error(&report, now_ms, &mut acts),
                    ToMain::Event(event) => self.state.events.push_back(event),
                }
            }
        }
        self.perform(&mut acts);
        self.state.acts = acts;
        worked
    }

    /// A fragment of a datagram for the gateway. IKE goes to the slow path as soon as it is whole; what fits a packet
    /// buffer goes to a worker.
    fn piece(&mut self, interface: u16, bytes: &[u8], now_ms: u64) {
        let mirror = &mut self.mirror;
        match self.state.reassembly.add(bytes, now_ms, |(reason, count)| mirror.drop(reason, count)) {
            Added::Waits => {}
            Added::Refused(reason) => self.mirror.drop_packet(&mut self.region, reason, bytes),
            Added::Whole(packet) => match ike_in(&packet) {
                Some((meta, payload)) => {
                    if !self.region.frame_to_slow(&meta, payload) {
                        self.mirror.drop(DropReason::FrameQueueFull, 1);
                    }
                }
                None if packet.len() > self.pool.frame().into() => self.large(interface, packet),
                None => self.inject(&packet, |packet| ToWorker::Whole { interface, packet }),
            },
        }
    }
    /// A whole datagram too large for a buffer. Nobody but the host's own programs takes such a one, in fragments again.
    fn large(&mut self, interface: u16, packet: Vec<u8>) {
        let protocol = wire::ip::Packet::parse(&packet).map(|p| p.protocol);
        if protocol != Ok(wire::ip::protocol::UDP) {
            return self.mirror.drop_packet(&mut self.region, DropReason::TooBig, &packet);
        }
        if let Some(reason) = refuses(self.control.tables(), &packet) {
            return self.mirror.drop_packet(&mut self.region, reason, &packet);
        }
        let Some(own) = self.host.interfaces().get(usize::from(interface)) else { return };
        let (mac, mtu) = (own.mac, own.mtu);
        self.state.datagrams = self.state.datagrams.wrapping_add(1);
        for piece in fragment::split(packet, mtu, self.state.datagrams) {
            if let Some(frame) = ethernet(FAR_MAC, mac, &piece) {
                self.give_system(interface, &frame);
            }
        }
    }

    fn hint(&mut self, hint: &Hint, now: Duration) {
        match self.control.take_hint(hint, now) {
            Some(mtu) => {
                let (peer, router) = (hint.remote, hint.router);
                info!(%peer, mtu, %router, "the path to a peer is narrower than its link; larger packets are fragmented or refused before encryption");
            }
            None => self.mirror.drop(DropReason::HintRefused, 1),
        }
    }

    fn icmp_error(&mut self, report: &ErrorReport<Mbuf>, now_ms: u64, acts: &mut Vec<Act>) {
        let error = match report.reason {
            DropReason::TtlExpired => IcmpError::TtlExpired,
            DropReason::TooBig => IcmpError::TooBig { mtu: report.mtu },
            DropReason::NoRoute => IcmpError::NoRoute,
            _ => return,
        };
        let packet = report.packet.data();
        match report.interface {
            Some(_) if report.protected => {
                if let Some(source) = self.protected_source(packet, error) {
                    self.host.on_error_from(source, packet, error, now_ms, acts);
                }
            }
            Some(interface) => self.host.on_error(interface, packet, error, now_ms, acts),
            None => self.tell_system(packet, error),
        }
    }
    /// The address of ours from which an error about a decrypted packet would be encrypted again. Its
    /// quotation must not leave in clear; without such an address nothing is said.
    fn protected_source(&self, packet: &[u8], error: IcmpError) -> Option<IpAddr> {
        let tables = self.control.tables();
        let own = self.host.interfaces().iter().flat_map(|i| &i.addresses).map(|(address, _)| *address);
        own.into_iter().find(|source| {
            let protects = || {
                let said = icmp::error(packet, *source, error)?;
                let flow = Flow::of(&wire::ip::Packet::parse(&said).ok()?, &said);
                let action = tables.spd.find(&flow)?.placed.spec.action;
                Some(matches!(action, Action::Encrypt { level: Level::Require | Level::Unique, .. }))
            };
            protects().unwrap_or(false)
        })
    }
    /// A packet of the host's own programs did not fit or has no way: they hear it from where it was
    /// going, since the stack takes no packets from its own addresses.
    fn tell_system(&mut self, packet: &[u8], error: IcmpError) {
        let said = addresses(packet).and_then(|(from, to)| {
            let owns = |i: &&fastpath::host::Interface| i.addresses.iter().any(|(a, _)| *a == from);
            let at = self.host.interfaces().iter().position(|i| owns(&i))?;
            let mac = self.host.interfaces()[at].mac;
            let frame = ethernet(FAR_MAC, mac, &icmp::error(packet, to, error)?)?;
            Some((at as u16, frame))
        });
        if let Some((interface, frame)) = said {
            self.give_system(interface, &frame);
        }
    }

    fn perform(&mut self, acts: &mut Vec<Act>) {
        for act in acts.drain(..) {
            match act {
                Act::Send { interface, frame } => self.send_frame(interface, &frame),
                Act::Route { packet } => self.inject(&packet, ToWorker::Packet),
                Act::Resolved { interface, address, mac } => {
                    self.control.set_neighbour(interface, address, Some(Mac(mac)));
                }
                Act::Unresolved { interface, address } => {
                    self.control.set_neighbour(interface, address, None)
                }
                Act::ToSystem { interface, frame } => self.give_system(interface, &frame),
                Act::GaveUp { packet } => {
                    self.mirror.drop_packet(&mut self.region, DropReason::NoNeighbour, &packet)
                }
            }
        }
    }

    /// Gives the first worker a copy of `bytes` in a packet buffer.
    fn inject(&mut self, bytes: &[u8], wrap: impl FnOnce(Mbuf) -> ToWorker) {
        match self.pool.copy_of(bytes) {
            Ok(Some(packet)) => {
                if self.lanes.first().is_none_or(|lane| lane.to_worker.push(wrap(packet)).is_err()) {
                    self.mirror.drop(DropReason::HostQueueFull, 1);
                }
            }
            Ok(None) => self.mirror.drop(DropReason::TooBig, 1),
            Err(_) => self.mirror.drop(DropReason::NoBuffer, 1),
        }
    }
    fn send_frame(&mut self, interface: u16, frame: &[u8]) {
        if let Some(&port) = self.interface_ports.get(usize::from(interface)) {
            self.inject(frame, |frame| ToWorker::Frame { port, frame });
        }
    }

    /// IKE from the slow path, wrapped in UDP and IP.
    fn frames(&mut self) -> bool {
        for turn in 0..TURN {
            let Some((meta, payload)) = self.region.next_frame() else { return turn > 0 };
            let marked = meta.kind == FrameKind::Ike && meta.local.port() == 4500;
            let datagram = datagram(meta.local, meta.remote, marked, payload);
            let Some(packet) = datagram else {
                self.mirror.drop(DropReason::MalformedIp, 1);
                continue;
            };
            let tables = self.control.tables();
            let via = tables.fib.route(meta.remote.ip()).and_then(|via| tables.ports.get(via.interface));
            let mtu = via.map_or(u16::MAX, |link| link.mtu);
            self.state.datagrams = self.state.datagrams.wrapping_add(1);
            for piece in fragment::split(packet, mtu, self.state.datagrams) {
                self.inject(&piece, ToWorker::Exempt);
            }
        }
        true
    }

    /// What the host's own programs send.
    fn taps(&mut self) -> bool {
        let mut worked = false;
        let mut burst = Burst::new();
        for index in 0..self.taps.len() {
            let tap = &mut self.taps[index];
            let interface = tap.interface;
            worked |= tap.rx.fill(&mut burst) > 0;
            for mut frame in burst.drain() {
                if crosses_unchanged(frame.data()) {
                    self.send_frame(interface, frame.data());
                } else if frame.advance(wire::eth::HEADER).is_some() {
                    // A TAP's buffers come from the same pool: no copy.
                    if self.lanes.first().is_none_or(|l| l.to_worker.push(ToWorker::Packet(frame)).is_err()) {
                        self.mirror.drop(DropReason::HostQueueFull, 1);
                    }
                }
            }
        }
        worked
    }
    fn give_system(&mut self, interface: u16, frame: &[u8]) {
        let Some(tap) = self.taps.iter_mut().find(|t| t.interface == interface) else {
            return self.mirror.drop(DropReason::UnsupportedProtocol, 1);
        };
        let mut burst = Burst::new();
        match self.pool.copy_of(frame) {
            Ok(Some(copy)) => {
                // An empty burst has room.
                let _ = burst.push(copy);
                if tap.tx.send(&mut burst) == 0 {
                    self.mirror.drop(DropReason::HostQueueFull, 1);
                }
            }
            _ => self.mirror.drop(DropReason::NoBuffer, 1),
        }
    }

    fn time(&mut self, now: Duration) {
        self.control.poll(now, &mut self.state.due, &mut self.state.completions);
        self.state.events.extend(self.state.due.drain(..));
        let settled = self.control.settled();
        while let Some((_, seq)) = self.state.unseen.pop_front_if(|(number, _)| *number <= settled) {
            self.region.acknowledge(seq, Ok(()));
        }
        for Completion(number) in self.state.completions.drain(..) {
            if let Some((seq, removed)) = self.state.removals.remove(&number) {
                if let Some(sa) = removed {
                    self.mirror.removed(&mut self.region, &sa, now);
                }
                self.region.acknowledge(seq, Ok(()));
            }
        }
        if now - self.state.hosted >= HOST_EVERY {
            self.state.hosted = now;
            let mut acts = std::mem::take(&mut self.state.acts);
            self.host.on_time(now.as_millis() as u64, &mut acts);
            let mirror = &mut self.mirror;
            let lost = |(reason, count)| mirror.drop(reason, count);
            self.state.reassembly.on_time(now.as_millis() as u64, lost);
            self.perform(&mut acts);
            self.state.acts = acts;
        }
        let every = MIRROR_EVERY.max(Duration::from_millis((self.mirror.slots() / MIRROR_PACE).into()));
        if now - self.state.mirrored >= every && self.mirror.is_through() {
            self.state.mirrored = now;
            self.mirror.begin(&mut self.region, &self.lanes, &self.ports, now);
        }
        self.mirror.go_on::<Key>(&mut self.region, &self.control, MIRROR_TURN, now);
    }

    /// Events in order; those that find the ring full are said again.
    fn raise(&mut self) {
        while self.state.events.len() > EVENTS_KEPT {
            self.state.events.pop_front();
        }
        while let Some(event) = self.state.events.front() {
            if !self.region.raise(event) {
                break;
            }
            self.state.events.pop_front();
        }
    }
}

fn name_of(command: &Command) -> &'static str {
    match command {
        Command::InstallSa(_) => "install-sa",
        Command::RemoveSa { .. } => "remove-sa",
        Command::MoveSa { .. } => "move-sa",
        Command::PolicyBegin { .. } => "policy-begin",
        Command::Policy(_) => "policy",
        Command::PolicyEdit { .. } => "policy-edit",
        Command::PolicyInsert { .. } => "policy-insert",
        Command::PolicyRemove { .. } => "policy-remove",
        Command::PolicyCommit { .. } => "policy-commit",
        Command::AcquireFailed { .. } => "acquire-failed",
        Command::NetworkBegin => "network-begin",
        Command::Address { .. } => "address",
        Command::Route { .. } => "route",
        Command::NetworkCommit { .. } => "network-commit",
        Command::Watch(_) => "watch",
        Command::Unwatch { .. } => "unwatch",
    }
}
fn is_network(command: &Command) -> bool {
    use Command::{Address, NetworkBegin, NetworkCommit, Route};
    matches!(command, NetworkBegin | Address { .. } | Route { .. } | NetworkCommit { .. })
}

/// ARP, neighbour discovery and groups belong to the link: they leave as the host made them.
fn crosses_unchanged(frame: &[u8]) -> bool {
    let group = frame.first().is_some_and(|first| first & 1 == 1);
    let discovery = fastpath::host::frame::Discovery::parse(frame).is_some();
    group || discovery || fastpath::host::frame::ether_type(frame) == Some(wire::eth::ethertype::ARP)
}

fn datagram(local: SocketAddr, remote: SocketAddr, marked: bool, payload: &[u8]) -> Option<Vec<u8>> {
    let marker: &[u8] = if marked { &wire::esp::NON_ESP_MARKER } else { &[] };
    let len = marker.len() + payload.len();
    let mut udp = vec![0; wire::udp::HEADER];
    wire::udp::write(&mut udp, local.port(), remote.port(), len)?;
    udp.extend_from_slice(marker);
    udp.extend_from_slice(payload);
    wire::udp::fill_checksum(&mut udp, local.ip(), remote.ip())?;
    let fields = wire::ip::Fields {
        src: local.ip(),
        dst: remote.ip(),
        protocol: wire::ip::protocol::UDP,
        tos: 0xc0,
        ttl: 64,
        dont_fragment: false,
        id: 0,
    };
    let mut packet = vec![0; fields.header_len()];
    fields.write(&mut packet, udp.len())?;
    packet.extend_from_slice(&udp);
    Some(packet)
}
