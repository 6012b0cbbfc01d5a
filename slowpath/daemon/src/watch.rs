//! Captures and traces: somebody asks for packets, the fast path copies them, and here they become lines of an answer
//! that ends when enough was seen. One at a time.
use crate::control::Rows;
use crate::driver::Driver;
use crate::keylog::{esp_line, hex};
use crate::negotiator::Negotiator;
use ipc::status::{Look, Text, WatchedLine, WatchedPacket};
use ipc::watch::{Fate, FlowFilter, MAX_SNAP, Place, RuledWord, Seen, Sighting, Step, Subject, Watch};
use ipc::{Command, PacketInfo};
use sa::PolicyId;
use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

/// What may wait for a reader who is slow; beyond it packets are left out and counted.
const WAITING: usize = 8 << 20;

/// What one watch is for, as long as anybody waits for it.
pub(crate) struct Watching {
    number: u32,
    look: Look,
    lines: Weak<RefCell<Lines>>,
    /// SPIs whose keys were told.
    told: HashSet<u32>,
    bytes: u64,
    ended: Option<&'static str>,
}
#[derive(Default)]
struct Lines {
    waiting: VecDeque<Vec<u8>>,
    size: usize,
    left_out: u64,
    over: bool,
}
impl Lines {
    fn put(&mut self, line: &WatchedLine) -> bool {
        let Ok(text) = serde_json::to_vec(line) else { return false };
        let fits = self.size + text.len() <= WAITING;
        if fits {
            self.size += text.len();
            self.waiting.push_back(text);
        } else {
            self.left_out += 1;
        }
        fits
    }
}

/// `{"watched":[`, lines, `]}`.
pub struct Answer {
    lines: Rc<RefCell<Lines>>,
    /// For a reader who takes it as one.
    whole: bool,
    begun: bool,
    first: bool,
}
impl Rows for Answer {
    fn more(&mut self, out: &mut Vec<u8>) -> serde_json::Result<bool> {
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(b"{\"watched\":[\n");
        }
        let mut lines = self.lines.borrow_mut();
        for line in std::mem::take(&mut lines.waiting) {
            if !std::mem::replace(&mut self.first, false) {
                out.extend_from_slice(b",\n");
            }
            out.extend_from_slice(&line);
        }
        lines.size = 0;
        if lines.over {
            out.extend_from_slice(b"\n]}");
        }
        Ok(!lines.over)
    }
    fn ready(&self) -> bool {
        let lines = self.lines.borrow();
        lines.over || !self.whole && (!self.begun || !lines.waiting.is_empty())
    }
    fn ends_with_reader(&self) -> bool {
        true
    }
}

impl<E: Negotiator> Driver<E> {
    /// Begins. `policy_peers` belongs to the policies, in their order.
    pub fn watch(&mut self, look: Look, policy_peers: &[Option<String>]) -> Result<Answer, String> {
        if self.watching.is_some() {
            return Err("another capture or trace is under way; wait until it has ended".into());
        }
        if self.slow().is_none() {
            return Err("the fast path is not there".into());
        }
        let of = self.subject(&look, policy_peers)?;
        let snap = usize::from(look.snap).min(MAX_SNAP) as u16;
        self.watches += 1;
        let number = self.watches;
        let watch = Watch { number, of, snap, seconds: look.seconds, packets: look.packets };
        self.command(Command::Watch(Box::new(watch)));
        self.flush();
        let lines = Rc::new(RefCell::new(Lines::default()));
        let answer = Answer { lines: Rc::clone(&lines), whole: look.whole, begun: false, first: true };
        let lines = Rc::downgrade(&lines);
        self.watching = Some(Watching { number, look, lines, told: HashSet::new(), bytes: 0, ended: None });
        Ok(answer)
    }
    fn subject(&self, look: &Look, policy_peers: &[Option<String>]) -> Result<Subject, String> {
        let policies = |ids: Vec<PolicyId>| match ids.len() {
            0 => Err("no policy of that name or number is in force".to_owned()),
            1..=Subject::MOST => Ok(Subject::Policies(ids)),
            n => Err(format!(
                "{n} policies are too many to be watched at once, {} at most: name one, or a flow",
                Subject::MOST
            )),
        };
        match (&look.policy, &look.peer, &look.spi) {
            (Some(id), None, None) => {
                policies(self.policies.iter().map(|p| p.id).filter(|of| of.0 == *id).collect())
            }
            (None, Some(peer), None) => {
                let named = self.policies.iter().zip(policy_peers);
                let of = named.filter(|(_, name)| name.as_ref() == Some(peer)).map(|(policy, _)| policy.id);
                policies(of.collect())
            }
            (None, None, Some(spi)) => {
                let digits = spi.trim_start_matches("0x");
                let found = u32::from_str_radix(digits, 16).ok().and_then(|spi| self.pair_of(spi));
                found.ok_or_else(|| format!("no SA with the SPI {} is installed", spi.escape_debug()))
            }
            (None, None, None) => {
                let flow = &look.flow;
                let protocol = flow.protocol.as_deref().map_or(Ok(None), config::protocol)?;
                let prefix = |text: &Option<String>| {
                    text.as_deref()
                        .map(|text| {
                            let prefix = text.parse().map_err(|_| text);
                            prefix.map_err(|text| format!("{} is no address or network", text.escape_debug()))
                        })
                        .transpose()
                };
                Ok(Subject::Flow(FlowFilter {
                    src: prefix(&flow.src)?,
                    dst: prefix(&flow.dst)?,
                    protocol,
                    src_port: flow.src_port,
                    dst_port: flow.dst_port,
                }))
            }
            _ => Err("say a policy, a peer, an SPI or a flow, and only one of them".into()),
        }
    }
    /// Both SAs of the child that one of them belongs to, or those of the policy whose keys are configured.
    fn pair_of(&self, spi: u32) -> Option<Subject> {
        let children = self.engine.children(self.now());
        let child = children.iter().find(|c| [c.inbound.1, c.outbound.1].iter().any(|of| of.get() == spi));
        if let Some(child) = child {
            return Some(Subject::Sas(vec![child.inbound, child.outbound]));
        }
        let named = self.manual.specs().find(|spec| spec.spi.get() == spi)?;
        let pair = self.manual.specs().filter(|spec| spec.policy == named.policy);
        Some(Subject::Sas(pair.map(|spec| (spec.slot, spec.spi)).take(Subject::MOST).collect()))
    }

    /// A copy, or the end.
    pub(crate) fn on_seen(&mut self, seen: &Seen, bytes: &[u8]) {
        match seen {
            Seen::Packet(sighting) => self.on_sighting(sighting, bytes),
            Seen::Over { watch, packets, lost } => self.watch_over(*watch, *packets, *lost),
        }
    }
    fn on_sighting(&mut self, sighting: &Sighting, bytes: &[u8]) {
        let Some(mut watching) = self.watching.take_if(|w| w.number == sighting.watch) else { return };
        if let Some(lines) = watching.lines.upgrade() {
            if watching.look.keys {
                for line in self.keys(&mut watching.told, sighting) {
                    lines.borrow_mut().put(&WatchedLine::Key(Text(line)));
                }
            }
            watching.bytes += bytes.len() as u64;
            let packet = self.shown(sighting, bytes, watching.look.data);
            lines.borrow_mut().put(&WatchedLine::Packet(Box::new(packet)));
            if watching.look.bytes > 0 && watching.bytes >= watching.look.bytes && watching.ended.is_none() {
                watching.ended = Some("enough bytes");
                self.command(Command::Unwatch { number: watching.number });
            }
        }
        self.watching = Some(watching);
    }
    fn watch_over(&mut self, number: u32, packets: u64, lost: u64) {
        let Some(watching) = self.watching.take_if(|w| w.number == number) else { return };
        let Some(lines) = watching.lines.upgrade() else { return };
        let enough = packets >= watching.look.packets;
        let why = watching.ended.unwrap_or(if enough { "enough packets" } else { "time" });
        let mut lines = lines.borrow_mut();
        let lost = lost + lines.left_out;
        // The last line has room: whoever is told that something is missing must be told.
        lines.size = 0;
        lines.put(&WatchedLine::Over { packets, lost, why: why.into() });
        lines.over = true;
    }
    /// The fast path is gone, and what it would have said with it.
    pub(crate) fn watch_detached(&mut self) {
        if let Some(watching) = &mut self.watching {
            watching.ended = Some("the fast path is gone");
            let number = watching.number;
            self.watch_over(number, 0, 0);
        }
    }
    /// Nobody reads any more: the fast path need not copy.
    pub(crate) fn watch_unread(&mut self) {
        if self.watching.as_ref().is_some_and(|w| w.lines.strong_count() == 0)
            && let Some(watching) = self.watching.take()
        {
            self.command(Command::Unwatch { number: watching.number });
        }
    }

    /// Rows of Wireshark's table of the SAs that a packet went through, once for each.
    fn keys(&self, told: &mut HashSet<u32>, sighting: &Sighting) -> Vec<String> {
        let mut rows = Vec::new();
        for step in sighting.trail.steps() {
            let (Step::Admitted { spi, .. } | Step::Framed { spi, .. }) = step else { continue };
            if told.insert(spi) {
                let all = self.installed();
                rows.extend(all.iter().filter(|spec| spec.spi.get() == spi).map(esp_line));
            }
        }
        rows
    }
    fn shown(&self, s: &Sighting, bytes: &[u8], data: bool) -> WatchedPacket {
        let ports = self.slow().map(|slow| slow.statistics().ports()).unwrap_or_default();
        let name = |port: u16| {
            ports.get(usize::from(port)).map_or_else(|| port.to_string(), |port| port.name.clone())
        };
        let (fate, reason) = match s.fate {
            None => (None, None),
            Some(Fate::Sent { port }) => (Some(format!("sent on {}", name(port))), None),
            Some(Fate::Dropped(reason)) => {
                (Some(format!("dropped: {}", reason.text())), Some(reason.name().to_owned()))
            }
            Some(Fate::Host) => (Some("to the host".into()), None),
            Some(Fate::Ike) => (Some("to IKE".into()), None),
            Some(Fate::Waiting) => (Some("waits for the MAC address of its next hop".into()), None),
            Some(Fate::Held) => (Some("waits for the other fragments of its datagram".into()), None),
            Some(Fate::Hint) => (Some("ICMP about the path to a peer: looked at".into()), None),
            Some(Fate::InEngine) => (Some("not back from the crypto device yet".into()), None),
        };
        WatchedPacket {
            number: s.packet,
            time: s.time,
            port: match s.place {
                Place::Port(port) => name(port),
                Place::Host | Place::Own => "host".into(),
                Place::Waiting => "waiting".into(),
            },
            frame: s.place.has_frames(),
            leaves: s.leaves,
            protected: s.protected,
            length: s.wire_len,
            flow: s.flow.as_ref().map(flow).unwrap_or_default(),
            fate,
            reason,
            steps: s.trail.steps().map(said).collect(),
            data: data.then(|| hex(bytes)),
        }
    }
}

fn flow(packet: &PacketInfo) -> String {
    let PacketInfo { src, dst, protocol, src_port, dst_port } = *packet;
    let protocol = config::show_protocol(Some(protocol));
    match (protocol.as_str(), src_port, dst_port) {
        // What stands in the place of ports there says more to machines.
        ("icmp" | "icmpv6" | "ipv6-icmp", ..) | (_, 0, 0) => format!("{src} > {dst} {protocol}"),
        _ => format!("{} > {} {protocol}", SocketAddr::new(src, src_port), SocketAddr::new(dst, dst_port)),
    }
}
fn said(step: Step) -> String {
    match step {
        Step::Esp { spi } => format!("classify: ESP for the gateway, SPI {spi:#x}"),
        Step::Ah { spi } => format!("classify: AH for the gateway, SPI {spi:#x}"),
        Step::Admitted { spi, number } => {
            format!("admit: SA {spi:#x} is there, number {number} may be new")
        }
        Step::Opened { ok: true } => "open: the ICV is right".into(),
        Step::Opened { ok: false } => "open: the ICV is wrong".into(),
        Step::Sealed { ok: true } => "seal: done".into(),
        Step::Sealed { ok: false } => "seal: the engine refused".into(),
        Step::Framed { spi, number, pieces } => {
            let number = if number == 0 { String::new() } else { format!(", number {number}") };
            let pieces = if pieces == 1 { String::new() } else { format!(", {pieces} pieces") };
            format!("frame: under SA {spi:#x}{number}{pieces}")
        }
        Step::Ruled { policy, word } => {
            let word = match word {
                RuledWord::Pass => "pass as it is".into(),
                RuledWord::Protect(spi) => format!("protect with SA {spi:#x}"),
                RuledWord::Acquire => "protect, but there is no SA: ask for one".into(),
                RuledWord::Ours => "for the gateway itself".into(),
                RuledWord::Link => "for the link or a group".into(),
                RuledWord::Mismatch => "not what its SA is for".into(),
                RuledWord::Drop(reason) => format!("drop, {}", reason.name()),
            };
            match policy {
                0 => format!("policy: none fits; {word}"),
                id => format!("policy {id:#010x}: {word}"),
            }
        }
    }
}
