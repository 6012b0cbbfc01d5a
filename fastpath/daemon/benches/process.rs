//! What the real data path takes from a slow path, in SAs a second: `cargo bench -p espway-fastpath --bench process`.
//!
//! Starts `espway-fastpath` on null ports and speaks to it through the shared region, as the slow path does.
use ipc::{Command, SlowSide};
use sa::*;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, Instant};

const SAS: u32 = 100_000;
const CONFIG: &str = "\
system:
  name: scale
  hugepages: no
  memory: 256M
  buffers: 16384
  sa-slots: 262144
  idle-max-sleep: 200us
  crypto:
    engines: [native, ipsec-mb]
interface:
  - {name: wan, device: \"null\"}
  - {name: lan, device: \"null\"}
ip:
  address:
    - {address: 192.0.2.1/24, interface: wan}
    - {address: 10.255.0.1/24, interface: lan}
";

fn main() {
    // `cargo test` would run this as well.
    if std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let (config, socket) = (dir.path().join("espway.yaml"), dir.path().join("fast.sock"));
    std::fs::write(&config, CONFIG).expect("a file");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_espway-fastpath"));
    command.arg("--config").arg(&config).arg("--socket").arg(&socket).args(["--log-level", "warn"]);
    command.arg("--file-prefix").arg(format!("espway-scale-{}", std::process::id()));
    let mut child = Fast(command.spawn().expect("espway-fastpath"));
    let mut slow = attach(&socket);
    println!("resident: {} MB, empty", child.resident() >> 20);

    let policies: Vec<PolicySpec> = (0..SAS / 2).map(policy).collect();
    let mut list = vec![Command::PolicyBegin { generation: 1, count: SAS / 2 }];
    list.extend(policies.iter().map(|p| Command::Policy(*p)));
    list.push(Command::PolicyCommit { generation: 1 });
    timed("whole list of policies", &mut slow, &list);
    let before = child.resident();
    let installs: Vec<Command> = (0..SAS).map(install).collect();
    timed("InstallSa", &mut slow, &installs);
    println!("resident: {} bytes more for each SA", (child.resident() - before) / u64::from(SAS));

    one_at_a_time(&mut slow);
    let removals: Vec<Command> = (0..SAS)
        .map(|n| Command::RemoveSa { slot: SaSlot(n), spi: Spi::new(0x2200_0000 + n).expect("an SPI") })
        .collect();
    timed("RemoveSa", &mut slow, &removals);
    child.stop();
}

struct Fast(std::process::Child);
impl Fast {
    fn resident(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.0.id())).unwrap_or_default();
        text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
    }
    fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        assert!(self.0.wait().expect("an end").success());
    }
}
impl Drop for Fast {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn attach(socket: &Path) -> SlowSide {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let uid = rustix::process::getuid().as_raw();
        match SlowSide::attach(socket, &[uid], Duration::from_secs(2)) {
            Ok(slow) => return slow,
            Err(error @ ipc::IpcError::Socket { .. }) => assert!(Instant::now() < until, "{error}"),
            Err(error) => panic!("{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends all and waits until all are acknowledged, which is when every worker acts on them.
fn timed(what: &str, slow: &mut SlowSide, commands: &[Command]) {
    let start = Instant::now();
    let mut answers = 0;
    let mut take = |slow: &mut SlowSide| {
        while let Some(ack) = slow.next_ack() {
            ack.result.expect("accepted");
            answers += 1;
        }
        answers
    };
    for command in commands {
        while slow.send(command).is_err() {
            take(slow);
            std::thread::yield_now();
        }
    }
    while take(slow) < commands.len() {
        assert!(!slow.fast_gone(), "the fast path is gone");
        std::thread::yield_now();
    }
    let took = start.elapsed();
    let rate = commands.len() as f64 / took.as_secs_f64();
    println!("{what:<26} {:>7} in {:>7.1} ms  {rate:>9.0}/s", commands.len(), took.as_secs_f64() * 1e3);
}

/// One policy more and one less, until acknowledged.
fn one_at_a_time(slow: &mut SlowSide) {
    let mut samples = Vec::new();
    for n in 0..400u32 {
        let (from, generation) = (u64::from(n) + 1, u64::from(n) + 2);
        let new = policy(SAS + 1);
        let after = Some(PolicyId(n * 97 % (SAS / 2) + 1));
        let step = match n % 2 {
            0 => Command::PolicyInsert { after, policy: new },
            _ => Command::PolicyRemove { policy: new.id },
        };
        let edit = [Command::PolicyEdit { from, generation }, step, Command::PolicyCommit { generation }];
        let start = Instant::now();
        for command in &edit {
            slow.send(command).expect("room");
        }
        let mut left = edit.len();
        while left > 0 {
            match slow.next_ack() {
                Some(ack) => {
                    ack.result.expect("accepted");
                    left -= 1;
                }
                None => std::thread::yield_now(),
            }
        }
        samples.push(start.elapsed().as_secs_f64() * 1e6);
    }
    samples.sort_by(f64::total_cmp);
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize];
    println!(
        "one policy of {} added or removed, until every worker acts on it: {:.0} us (50 %), {:.0} us (99 %)",
        SAS / 2,
        at(0.5),
        at(0.99)
    );
}

fn v4(raw: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(raw))
}
fn policy(n: u32) -> PolicySpec {
    let (src, dst) = (Prefix::host(v4(0x0a00_0000 + n)), Prefix::host(v4(0x1400_0000 + n)));
    let any = PortRange::ANY;
    let selector = Selector { src, dst, protocol: None, src_port: any, dst_port: any };
    let action = Action::Encrypt { level: Level::Require, tunnel: true };
    PolicySpec { id: PolicyId(n + 1), selector, action, framing: Framing::default() }
}
/// Even ones inbound, odd ones outbound, two to a policy.
fn install(n: u32) -> Command {
    let policy = policy(n / 2);
    let key = |len: usize, salt: u32| {
        let bytes: Vec<u8> = (0..len as u32).map(|at| (at * 7 + n * 13 + salt) as u8).collect();
        Key::new(&bytes).expect("short")
    };
    Command::InstallSa(Box::new(SaSpec {
        slot: SaSlot(n),
        spi: Spi::new(0x2200_0000 + n).expect("an SPI"),
        direction: if n.is_multiple_of(2) { Direction::Inbound } else { Direction::Outbound },
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        suite: Suite::new(Encryption::Aes128Gcm, Integrity::None).expect("a suite"),
        encryption_key: key(16, 1),
        salt: key(4, 2),
        integrity_key: key(0, 3),
        ends: TunnelEnds { local: v4(0xc000_0201), remote: v4(0xc612_0000 + n / 2) },
        encap: None,
        original: None,
        esn: true,
        replay_window: 1024,
        last_seq: 0,
        lifetime: Lifetime { seconds: Limit { soft: 1800, hard: 2000 }, ..Lifetime::default() },
        policy: policy.id,
        also: Vec::new(),
        selectors: vec![TrafficSelector::from(policy.selector)],
    }))
}
