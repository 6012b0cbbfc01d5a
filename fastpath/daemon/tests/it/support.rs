//! A running `espway-fastpath`, with the test as its slow path, and scapy at the cables' other ends.
use anyhow::{Context, Result, anyhow, bail, ensure};
use harness::{Lab, Netns, Process, Side, wait_until};
use ipc::{Command, Event, Refusal, SlowSide};
use sa::{
    Action, Direction, DropReason, Encap, Encryption, Framing, Integrity, Key, Level, Lifetime, Mode,
    PolicyId, PolicySpec, PortRange, Prefix, Protocol, SaSlot, SaSpec, Selector, Spi, Suite, TrafficSelector,
    TunnelEnds,
};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(30);

/// The part of a configuration that is the same everywhere; `more` are further lines of `system`.
pub fn system(name: &str, more: &str) -> String {
    format!(
        "system:\n  name: {name}\n  hugepages: no\n  memory: 96M\n  buffers: 16384\n  sa-slots: 1024\n\
         \x20 idle-max-sleep: 200us\n{}",
        more.lines().map(|line| format!("  {line}\n")).collect::<String>()
    )
}
/// Site A of the lab on AF_PACKET.
pub fn site_a(more: &str) -> String {
    site(Side::A, more)
}
pub fn site(side: Side, more: &str) -> String {
    let interfaces =
        "interface:\n  - {name: wan, device: af-packet:wan0}\n  - {name: lan, device: af-packet:lan0}\n";
    system(side.letter(), more) + interfaces + &addresses(side)
}
/// Addresses and routes of a site with interfaces `wan` and `lan`.
pub fn addresses(side: Side) -> String {
    format!(
        "ip:\n  address:\n\
         \x20   - {{address: {}/24, interface: wan}}\n    - {{address: \"{}/64\", interface: wan}}\n\
         \x20   - {{address: {}/24, interface: lan}}\n    - {{address: \"{}/64\", interface: lan}}\n\
         \x20 route:\n\
         \x20   - {{dst-address: 0.0.0.0/0, gateway: {}}}\n    - {{dst-address: \"::/0\", gateway: \"{}\"}}\n",
        side.wan4(),
        side.wan6(),
        side.lan4(),
        side.lan6(),
        side.router4(),
        side.router6()
    )
}

pub struct Gateway {
    pub process: Process,
    pub socket: PathBuf,
    pub prefix: String,
    slow: Option<SlowSide>,
    events: Vec<Event>,
    generation: u64,
}

impl Gateway {
    /// Starts and attaches.
    pub fn start(lab: &Lab, ns: &Netns, name: &str, config: &str) -> Result<Self> {
        let mut this = Self::launch(lab, ns, name, config)?;
        this.attach()?;
        Ok(this)
    }
    pub fn launch(lab: &Lab, ns: &Netns, name: &str, config: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let file = lab.file(&format!("{name}.yaml"));
        std::fs::write(&file, config)?;
        let socket = lab.file(&format!("{name}.sock"));
        let prefix = format!("espway-it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut command = ns.command(env!("CARGO_BIN_EXE_espway-fastpath"));
        command.arg("--config").arg(file).arg("--socket").arg(&socket);
        command.args(["--file-prefix", &prefix, "--log-level", "debug"]);
        let mut process = Process::start(name, &mut command, &lab.file(&format!("{name}.log")))?;
        process.grace = Duration::from_secs(10);
        Ok(Self { process, socket, prefix, slow: None, events: Vec::new(), generation: 0 })
    }
    /// Comes as a new slow path.
    pub fn attach(&mut self) -> Result<()> {
        self.slow = None;
        let slow = wait_until("the fast path's socket", PATIENCE, || {
            self.process.check()?;
            Ok(SlowSide::attach(&self.socket, &[0], Duration::from_secs(2))?)
        })?;
        self.slow = Some(slow);
        self.events.clear();
        Ok(())
    }
    /// Goes away without a word.
    pub fn detach(&mut self) {
        self.slow = None;
    }
    pub fn slow(&mut self) -> &mut SlowSide {
        self.slow.as_mut().expect("attached")
    }

    /// Sends and waits for the answer.
    pub fn tell(&mut self, command: Command) -> Result<Result<(), Refusal>> {
        let results = self.tell_all(vec![command])?;
        results.into_iter().next().context("one answer")
    }
    /// All at once; the answers in the order of the commands.
    pub fn tell_all(&mut self, commands: Vec<Command>) -> Result<Vec<Result<(), Refusal>>> {
        let mut sent = Vec::new();
        let mut results: Vec<Option<Result<(), Refusal>>> = vec![None; commands.len()];
        let end = Instant::now() + PATIENCE;
        let mut waiting = commands.into_iter().peekable();
        while results.iter().any(Option::is_none) {
            let slow = self.slow.as_mut().context("not attached")?;
            if let Some(command) = waiting.peek() {
                match slow.send(command) {
                    Ok(seq) => {
                        sent.push(seq);
                        waiting.next();
                        continue;
                    }
                    Err(ipc::SendError::Full) => {}
                    Err(error) => bail!("{error}"),
                }
            }
            while let Some(ack) = slow.next_ack() {
                let at = sent.iter().position(|seq| *seq == ack.seq).context("an answer to nothing")?;
                ensure!(results[at].is_none(), "two answers to one command");
                results[at] = Some(ack.result);
            }
            ensure!(Instant::now() < end, "commands were not answered: {results:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(results.into_iter().flatten().collect())
    }
    pub fn expect(&mut self, commands: Vec<Command>) -> Result<()> {
        for (at, result) in self.tell_all(commands)?.into_iter().enumerate() {
            result.map_err(|refusal| anyhow!("command {at}: {refusal}"))?;
        }
        Ok(())
    }
    pub fn commit(&mut self, policies: &[PolicySpec]) -> Result<()> {
        self.generation += 1;
        let (generation, count) = (self.generation, policies.len() as u32);
        let mut commands = vec![Command::PolicyBegin { generation, count }];
        commands.extend(policies.iter().map(|p| Command::Policy(*p)));
        commands.push(Command::PolicyCommit { generation });
        self.expect(commands)
    }
    pub fn install(&mut self, specs: &[SaSpec]) -> Result<()> {
        self.expect(specs.iter().map(|s| Command::InstallSa(Box::new(s.clone()))).collect())
    }
    pub fn remove(&mut self, spec: &SaSpec) -> Result<()> {
        self.expect(vec![Command::RemoveSa { slot: spec.slot, spi: spec.spi }])
    }

    /// Events so far that fit, without taking them.
    pub fn count_events(&mut self, fits: impl Fn(&Event) -> bool) -> usize {
        while let Some(event) = self.slow.as_mut().and_then(SlowSide::next_event) {
            self.events.push(event);
        }
        self.events.iter().filter(|e| fits(e)).count()
    }
    /// Waits for the first that fits; it and what came before it are taken.
    pub fn event(&mut self, what: &str, fits: impl Fn(&Event) -> bool) -> Result<Event> {
        wait_until(what, PATIENCE, || {
            self.count_events(|_| true);
            let at = self.events.iter().position(&fits).with_context(|| format!("{:?}", self.events))?;
            let event = self.events[at];
            self.events.drain(..=at);
            Ok(event)
        })
    }
    pub fn statistics(&self) -> Result<&ipc::StatsReader> {
        Ok(self.slow.as_ref().context("not attached")?.statistics())
    }
    pub fn drops(&self, reason: DropReason) -> u64 {
        let drops = self.slow.as_ref().map(|s| s.statistics().drops()).unwrap_or_default();
        drops.iter().find(|(r, _)| *r == reason).map_or(0, |(_, n)| *n)
    }
    /// Waits until the statistics say so: they are carried over a few times a second.
    pub fn expect_drops(&self, reason: DropReason, wanted: u64) -> Result<()> {
        wait_until(&format!("{wanted} drops for {}", reason.name()), Duration::from_secs(10), || {
            let got = self.drops(reason);
            ensure!(got == wanted, "{got}; all: {:?}", self.all_drops());
            Ok(())
        })
    }
    pub fn all_drops(&self) -> Vec<(DropReason, u64)> {
        let mut drops = self.slow.as_ref().map(|s| s.statistics().drops()).unwrap_or_default();
        drops.retain(|(_, n)| *n > 0);
        drops
    }
    pub fn expect_sa(&self, slot: SaSlot, packets: u64) -> Result<ipc::SaCounters> {
        let stats = self.slow.as_ref().context("not attached")?.statistics();
        wait_until(&format!("{packets} packets of SA {}", slot.0), Duration::from_secs(10), || {
            let counters = stats.sa(slot);
            ensure!(counters.packets == packets, "{counters:?}");
            Ok(counters)
        })
    }
    /// SIGTERM; it must leave in order.
    pub fn stop(mut self) -> Result<String> {
        self.process.signal(harness::sys::Signal::Terminate)?;
        let status = self.process.wait(Duration::from_secs(15))?;
        ensure!(status.success(), "{status}\n{}", self.process.log());
        for dir in ["/var/run/dpdk", "/run/dpdk"] {
            let left = Path::new(dir).join(&self.prefix);
            ensure!(!left.exists(), "{} is left", left.display());
        }
        ensure!(!self.socket.exists(), "{} is left", self.socket.display());
        Ok(self.process.log())
    }
}

/// scapy on a link of a namespace.
pub struct Wire {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pub mac: String,
}
impl Wire {
    pub fn tap(ns: &Netns, link: &str) -> Result<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/wire.py");
        // Debian's own, which has Debian's scapy.
        let mut child = ns
            .command("/usr/bin/python3")
            .args(["-u", script, link])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("no input")?;
        let mut output = BufReader::new(child.stdout.take().context("no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        ensure!(line == "ready\n", "wire.py (package python3-scapy) does not start");
        Ok(Self { child, input, output, mac: mac_of(ns, link)? })
    }
    pub fn ask(&mut self, expression: &str) -> Result<Value> {
        writeln!(self.input, "{expression}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line).with_context(|| format!("{expression}: {line:?}"))?;
        match answer.get("is") {
            Some(value) => Ok(value.clone()),
            None => bail!("wire.py: {}", answer["error"]),
        }
    }
    pub fn send(&mut self, frames: &[String]) -> Result<()> {
        self.ask(&format!("send({})", json!(frames))).map(drop)
    }
    /// IP packets that fit, as hex.
    pub fn collect(&mut self, wanted: &str, count: usize) -> Result<Vec<String>> {
        let found = self.ask(&format!("collect({wanted}, {count}, 15)"))?;
        let list: Vec<String> = serde_json::from_value(found)?;
        ensure!(list.len() == count, "{} packets of {wanted} instead of {count}", list.len());
        Ok(list)
    }
    /// Nothing that fits is there. Say it after something later has arrived.
    pub fn expect_none(&mut self, wanted: &str) -> Result<()> {
        let found = self.ask(&format!("collect({wanted}, 0, 0)"))?;
        ensure!(found == json!([]), "{wanted}: {found}");
        Ok(())
    }
    pub fn clear(&mut self) -> Result<()> {
        self.ask("clear()").map(drop)
    }
}
impl Drop for Wire {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn mac_of(ns: &Netns, link: &str) -> Result<String> {
    Ok(ns.run(&format!("cat /sys/class/net/{link}/address"))?.trim().replace(':', ""))
}
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).filter_map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()).collect()
}
pub fn frame(dst: &str, src: &str, packet: &[u8]) -> String {
    let kind = if packet[0] >> 4 == 4 { "0800" } else { "86dd" };
    format!("{dst}{src}{kind}{}", hex(packet))
}

/// A UDP datagram as an IP packet.
pub fn udp(src: IpAddr, dst: IpAddr, port: u16, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut body = vec![0; wire::udp::HEADER];
    wire::udp::write(&mut body, 4000, port, payload.len()).expect("room");
    body.extend_from_slice(payload);
    wire::udp::fill_checksum(&mut body, src, dst).expect("one family");
    let protocol = wire::ip::protocol::UDP;
    let fields = wire::ip::Fields { src, dst, protocol, tos: 0, ttl, dont_fragment: false, id: 7 };
    let mut packet = vec![0; fields.header_len()];
    fields.write(&mut packet, body.len()).expect("room");
    packet.extend_from_slice(&body);
    packet
}

pub fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}
pub fn policy(id: u32, src: &str, dst: &str, action: Action) -> PolicySpec {
    let any = PortRange::ANY;
    let selector =
        Selector { src: prefix(src), dst: prefix(dst), protocol: None, src_port: any, dst_port: any };
    PolicySpec { id: PolicyId(id), selector, action, framing: Framing::default() }
}
pub const REQUIRE: Action = Action::Encrypt { level: Level::Require, tunnel: true };

pub fn suite(encryption: Encryption, integrity: Integrity) -> Suite {
    Suite::new(encryption, integrity).expect("a suite")
}
/// The kind of SA that tests not about ciphers use.
pub fn gcm() -> Suite {
    suite(Encryption::Aes128Gcm, Integrity::None)
}

/// Both SAs of a tunnel for `policy`, inbound in slot `2n`, outbound in `2n + 1`.
#[derive(Clone, Debug)]
pub struct Tunnel {
    pub inbound: SaSpec,
    pub outbound: SaSpec,
}
impl Tunnel {
    pub fn new(n: u32, policy: &PolicySpec, suite: Suite, ends: (IpAddr, IpAddr)) -> Self {
        let inbound = sa_spec(2 * n, Direction::Inbound, policy, suite, ends);
        let outbound = sa_spec(2 * n + 1, Direction::Outbound, policy, suite, ends);
        Self { inbound, outbound }
    }
    /// Between the gateway and where site B would be.
    pub fn to_b(n: u32, policy: &PolicySpec) -> Self {
        Self::new(n, policy, gcm(), (Side::A.wan4(), Side::B.wan4()))
    }
    pub fn both(&self) -> [SaSpec; 2] {
        [self.inbound.clone(), self.outbound.clone()]
    }
    pub fn change(mut self, change: impl Fn(&mut SaSpec)) -> Self {
        change(&mut self.inbound);
        change(&mut self.outbound);
        self
    }
    /// Tells scapy of both, under the names of their slots.
    pub fn teach(&self, wire: &mut Wire) -> Result<()> {
        for spec in [&self.inbound, &self.outbound] {
            wire.ask(&scapy(spec))?;
        }
        Ok(())
    }
}
/// The same SA as the other end sees it.
pub fn mirrored(spec: &SaSpec) -> SaSpec {
    let swap = |ts: &TrafficSelector| TrafficSelector {
        local: ts.remote,
        remote: ts.local,
        protocol: ts.protocol,
        local_port: ts.remote_port,
        remote_port: ts.local_port,
    };
    SaSpec {
        direction: match spec.direction {
            Direction::Inbound => Direction::Outbound,
            Direction::Outbound => Direction::Inbound,
        },
        ends: TunnelEnds { local: spec.ends.remote, remote: spec.ends.local },
        selectors: spec.selectors.iter().map(swap).collect(),
        ..spec.clone()
    }
}
fn sa_spec(
    slot: u32,
    direction: Direction,
    policy: &PolicySpec,
    suite: Suite,
    ends: (IpAddr, IpAddr),
) -> SaSpec {
    let key = |len: usize, salt: u32| {
        let bytes: Vec<u8> = (0..len as u32).map(|n| (n * 7 + slot * 13 + salt) as u8).collect();
        Key::new(&bytes).expect("short")
    };
    SaSpec {
        slot: SaSlot(slot),
        spi: Spi::new(0x2200_0000 + slot).expect("an SPI"),
        direction,
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        suite,
        encryption_key: key(suite.encryption().key_len(), 1),
        salt: key(suite.salt_len(), 2),
        integrity_key: key(suite.integrity().key_len(), 3),
        ends: TunnelEnds { local: ends.0, remote: ends.1 },
        encap: None,
        original: None,
        esn: false,
        replay_window: 64,
        last_seq: 0,
        lifetime: Lifetime::default(),
        policy: policy.id,
        also: Vec::new(),
        selectors: vec![TrafficSelector::from(policy.selector)],
    }
}
fn scapy(spec: &SaSpec) -> String {
    let crypt = match spec.suite.encryption() {
        Encryption::ChaCha20Poly1305 => "CHACHA20-POLY1305",
        e if e.is_aes_gcm() => "AES-GCM",
        _ => "AES-CBC",
    };
    let auth = match spec.suite.integrity() {
        Integrity::None => "NULL",
        Integrity::HmacSha1 => "HMAC-SHA1-96",
        Integrity::HmacSha256 => "SHA2-256-128",
        Integrity::HmacSha384 => "SHA2-384-192",
        Integrity::HmacSha512 => "SHA2-512-256",
        other => panic!("no case has {other:?}"),
    };
    let key = hex(spec.encryption_key.expose()) + &hex(spec.salt.expose());
    let (src, dst) = match spec.direction {
        Direction::Outbound => (spec.ends.local, spec.ends.remote),
        Direction::Inbound => (spec.ends.remote, spec.ends.local),
    };
    let ports = spec.encap.map_or("None".to_owned(), |e: Encap| match spec.direction {
        Direction::Outbound => format!("({}, {})", e.local_port, e.remote_port),
        Direction::Inbound => format!("({}, {})", e.remote_port, e.local_port),
    });
    format!(
        "sa({}, {}, '{crypt}', '{key}', '{auth}', '{}', '{src}', '{dst}', {ports}, {})",
        spec.slot.0,
        spec.spi.get(),
        hex(spec.integrity_key.expose()),
        if spec.esn { "True" } else { "False" }
    )
}
