//! The pieces alone: parsers, policy and SA look-up, replay window, IKE message, engines. Each is a closure that works
//! so many times; criterion times it (`cargo bench -p bench`), `bench micro` counts its instructions under valgrind.
use crate::traffic::{Flows, Traffic};
use crate::world::{ETHERNET, Pair, Setup};
use crate::{clock, plan};
use anyhow::{Context, Result, ensure};
use fastpath::crypto::cpu::EspOp;
use fastpath::crypto::{CpuCrypto, CpuEngineKind, KeyRecord};
use indicatif::ProgressBar;
use sa::{Authentic, Direction, Encryption, Integrity, ReplayWidth, ReplayWindow, Suite};
use serde::Serialize;
use std::hint::black_box;
use wire::{Flow, esp, eth, ip, udp};

pub struct Micro {
    pub name: String,
    /// Works so many times.
    pub run: Box<dyn FnMut(u64)>,
}
fn micro<T>(name: impl Into<String>, mut once: impl FnMut() -> T + 'static) -> Micro {
    let run = move |times| {
        for _ in 0..times {
            black_box(once());
        }
    };
    Micro { name: name.into(), run: Box::new(run) }
}

const POLICIES: [usize; 5] = [1, 100, 1000, 10_000, 100_000];

/// Those whose names are wanted; tables and keys are made for these alone.
pub fn cases(wanted: impl Fn(&str) -> bool) -> Result<Vec<Micro>> {
    let mut all = Vec::new();
    parsers(&mut all)?;
    replay(&mut all)?;
    all.retain(|case| wanted(&case.name));
    for policies in POLICIES {
        if wanted(&format!("spd-find/{policies}")) {
            all.push(spd(policies)?);
        }
    }
    for sas in [1, 10_000, 100_000] {
        if wanted(&format!("sad-inbound/{sas}")) {
            all.push(sad(sas)?);
        }
    }
    for suite in plan::suites()? {
        for kind in plan::automatic(suite).into_iter().filter(|kind| kind.supports(suite)) {
            for (bytes, and_open) in plan::SIZES.into_iter().flat_map(|b| [(b, false), (b, true)]) {
                let name = format!("{}/{kind}/{suite}/{bytes}", if and_open { "seal+open" } else { "seal" });
                if wanted(&name) {
                    all.push(engine(name, kind, suite, bytes, and_open)?);
                }
            }
        }
    }
    Ok(all)
}

fn parsers(all: &mut Vec<Micro>) -> Result<()> {
    let v4 = Traffic::new(1, Flows::Known, 64, 1).frames()[0].clone();
    let packet = v4[ETHERNET..].to_vec();
    let parsed = ip::Packet::parse(&packet).ok().context("our own packet parses")?;
    let fields = ip::Fields {
        src: "2001:db8::1".parse()?,
        dst: "2001:db8::2".parse()?,
        protocol: 17,
        tos: 0,
        ttl: 64,
        dont_fragment: true,
        id: 1,
    };
    let mut v6 = vec![0; fields.header_len()];
    fields.write(&mut v6, 44).context("room")?;
    v6.extend(&packet[20..]);
    ensure!(ip::Packet::parse(&v6).is_ok(), "our own IPv6 packet parses");
    let (datagram, esp) =
        (packet[20..].to_vec(), [[0x10, 0, 0, 2, 0, 0, 0, 1].as_slice(), &[0; 56]].concat());
    let ike = ike_sa_init()?;
    all.push(micro("parse/ethernet", move || black_box(eth::Frame::parse(black_box(&v4))).is_ok()));
    let bytes = packet.clone();
    all.push(micro("parse/ipv4", move || black_box(ip::Packet::parse(black_box(&bytes))).is_ok()));
    all.push(micro("parse/ipv6", move || black_box(ip::Packet::parse(black_box(&v6))).is_ok()));
    all.push(micro("parse/udp", move || black_box(udp::parse(black_box(&datagram))).is_ok()));
    all.push(micro("parse/esp", move || black_box(esp::Header::parse(black_box(&esp))).is_ok()));
    all.push(micro("parse/flow", move || {
        black_box(Flow::of(black_box(&parsed), black_box(&packet)));
    }));
    all.push(micro("parse/ike-sa-init", move || {
        black_box(ike::message::parse_clear(black_box(&ike))).is_ok()
    }));
    Ok(())
}

/// An IKE_SA_INIT request as strongSwan sent it.
fn ike_sa_init() -> Result<Vec<u8>> {
    const CAPTURE: &[u8] = include_bytes!("../../tests/vectors/ike-captures/gcm128-x25519.pcap");
    // Headers of the file and of the first packet, then Ethernet, IPv4 and UDP.
    let len = CAPTURE.get(24 + 8..24 + 12).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let packet = CAPTURE.get(40..40 + len.context("a capture")? as usize).context("a capture")?;
    let message = packet.get(ETHERNET + 20 + 8..).context("an IKE message")?.to_vec();
    ensure!(ike::message::parse_clear(&message).is_ok(), "a captured IKE_SA_INIT parses");
    Ok(message)
}

fn replay(all: &mut Vec<Micro>) -> Result<()> {
    for width in [64, 1024] {
        let window = ReplayWindow::new(ReplayWidth::new(width).context("a width")?, true, 0);
        let mut seq = 0u32;
        all.push(micro(format!("replay/check+commit/{width}"), move || {
            seq = seq.wrapping_add(1);
            if let Ok(candidate) = window.check(black_box(seq)) {
                let _ = black_box(window.hold().commit(candidate, Authentic::after_icv_verified()));
            }
        }));
    }
    Ok(())
}

fn setup(sas: usize, policies: usize) -> Result<Setup> {
    let suite = Suite::new(Encryption::Aes128Gcm, Integrity::None)?;
    Ok(Setup { suite, engines: plan::automatic(suite), sas, policies })
}
/// The policy behind all others, found for flows that are all new.
fn spd(policies: usize) -> Result<Micro> {
    let pair = Pair::new(&setup(1, policies)?)?;
    let traffic = Traffic::new(1, Flows::New, 64, 1024);
    let flows: Vec<_> =
        traffic.frames().iter().map(|frame| flow(&frame[ETHERNET..])).collect::<Result<_>>()?;
    let last = pair.first.tables().spd.find(&flows[0]).context("the policy of the traffic")?;
    ensure!(last.placed.spec.id.0 as usize == policies, "the last of {policies} policies is found");
    let mut at = 0;
    Ok(micro(format!("spd-find/{policies}"), move || {
        at = (at + 1) % flows.len();
        black_box(pair.first.tables().spd.find(black_box(&flows[at])));
    }))
}
fn flow(packet: &[u8]) -> Result<Flow> {
    let parsed = ip::Packet::parse(packet).ok().context("our own packet parses")?;
    Ok(Flow::of(&parsed, packet))
}
/// The SA of an ESP packet, any of them.
fn sad(sas: usize) -> Result<Micro> {
    let pair = Pair::new(&setup(sas, sas)?)?;
    let spi = |n: usize| 0x1000_0000 | (2 * n as u32);
    ensure!(pair.second.tables().sad.inbound(spi(sas - 1)).is_some(), "the last SA is found");
    let mut n = 0usize;
    Ok(micro(format!("sad-inbound/{sas}"), move || {
        n = (n + 7919) % sas;
        black_box(pair.second.tables().sad.inbound(black_box(spi(n))));
    }))
}

/// Bursts of 32 packets, as the graph has them, sealed and maybe opened again; one packet is one time.
fn engine(name: String, kind: CpuEngineKind, suite: Suite, bytes: usize, and_open: bool) -> Result<Micro> {
    const BURST: usize = 32;
    let mut crypto = CpuCrypto::new(kind)?;
    let (enc, int) = (suite.encryption(), suite.integrity());
    let (enc_key, salt, int_key) = (vec![1; enc.key_len()], vec![2; enc.salt_len()], vec![3; int.key_len()]);
    let key = |direction| crypto.new_key(suite, direction, &enc_key, &salt, &int_key);
    let (seal, open) = (key(Direction::Outbound)?, key(Direction::Inbound)?);
    let text = (bytes + 2).next_multiple_of(enc.pad_to());
    let mut burst = vec![vec![0u8; 8 + suite.iv_len() + text + suite.icv_len()]; BURST];
    let wrong = format!("{name}: a packet was refused");
    let run = move |times: u64| {
        let mut left = times as usize;
        while left > 0 {
            let burst = &mut burst[..left.min(BURST)];
            left -= burst.len();
            let sealed = all_of(burst, &seal, |ops| crypto.seal(ops));
            let opened = !and_open || all_of(burst, &open, |ops| crypto.open(ops));
            assert!(sealed && opened, "{wrong}");
        }
    };
    Ok(Micro { name, run: Box::new(run) })
}
fn all_of(burst: &mut [Vec<u8>], key: &KeyRecord, work: impl FnOnce(&mut [EspOp<'_>])) -> bool {
    let mut ops: Vec<_> = burst.iter_mut().map(|esp| EspOp { key, esp, seq_high: None, ok: false }).collect();
    work(&mut ops);
    ops.iter().all(|op| op.ok)
}

/// `bench micro`: one line for each case.
#[derive(Debug, Serialize)]
pub struct Counted {
    pub name: String,
    /// Of the CPU, for one time; the same in every run. Absent without `--instructions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<f64>,
    /// Median over samples of about a millisecond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycles: Option<f64>,
}

/// Cycles of each case, for a look; criterion has the statistics.
pub fn time(only: &str) -> Result<Vec<Counted>> {
    let mut all = Vec::new();
    for mut case in cases(|name| name.contains(only))? {
        let mut times = 64;
        let mut take = |times: u64| {
            let from = clock::now();
            (case.run)(times);
            (clock::now() - from) as f64
        };
        while take(times) < 2e6 && times < 1 << 30 {
            times *= 2;
        }
        let mut samples: Vec<_> = (0..15).map(|_| take(times) / times as f64).collect();
        samples.sort_by(f64::total_cmp);
        let cycles = samples.get(samples.len() / 2).map(|c| (c * 10.0).round() / 10.0);
        all.push(Counted { name: case.name, instructions: None, cycles });
    }
    Ok(all)
}

/// Works one case so many times and nothing else: what valgrind looks at.
pub fn work(name: &str, times: u64) -> Result<()> {
    let mut found = cases(|case| case == name)?;
    let case = found.first_mut().with_context(|| format!("no case is named `{name}`"))?;
    (case.run)(times);
    Ok(())
}

/// Runs this program under callgrind twice for each case, the second time with twice the work. What the runs differ
/// by is the work alone: nothing of starting, making tables and ending is in it.
pub fn instructions(only: &str) -> Result<Vec<Counted>> {
    // Tables of 100000 take valgrind a minute and tell nothing that those of 10000 do not.
    let names = cases(|name| name.contains(only) && !name.ends_with("/100000"))?;
    let names: Vec<_> = names.into_iter().map(|case| case.name).collect();
    let bar = ProgressBar::new(names.len() as u64);
    let mut all = Vec::new();
    for name in names {
        let (once, twice) = (callgrind(&name, TIMES)?, callgrind(&name, 2 * TIMES)?);
        let instructions = twice.saturating_sub(once) as f64 / TIMES as f64;
        all.push(Counted { name, instructions: Some((instructions * 10.0).round() / 10.0), cycles: None });
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(all)
}
/// Whole bursts of an engine.
const TIMES: u64 = 320;

fn callgrind(name: &str, times: u64) -> Result<u64> {
    let out = std::process::Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["micro", "--work", name, "--times", &times.to_string()])
        .output()
        .context("valgrind is not there: install Debian's package of that name")?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let count = said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    count.filter(|_| out.status.success()).with_context(|| format!("valgrind on {name}: {said}"))
}
