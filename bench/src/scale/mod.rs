//! `bench scale`: the real processes with very many tunnels. What it takes to read such a configuration, to negotiate the
//! tunnels, to give all of them to a new fast path, to answer for them, and to take them over after a crash.
mod birth;
mod process;
mod site;

use anyhow::{Context, Result, ensure};
use birth::Birth;
use ipc::status::Status;
use process::{Folder, Memory, Place, Running, timed};
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub struct Options {
    /// Each is a peer, an IKE SA, a policy and two SAs.
    #[arg(long, default_value_t = 50_000)]
    pub tunnels: u32,
    /// The folder of espway, espway-fastpath and espway-slowpath; this program's own unless named.
    #[arg(long)]
    pub programs: Option<PathBuf>,
    /// One JSON object instead of lines.
    #[arg(long)]
    pub json: bool,
}

/// Times are in seconds, memory in bytes.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    pub tunnels: u32,
    pub configuration_bytes: usize,
    pub check: f64,
    pub slow_path_start: f64,
    /// Both ends on this machine.
    pub negotiated: f64,
    /// Of the slow path alone, for all of them.
    pub negotiated_cpu: f64,
    /// From the attachment to the acknowledgement of the policies, and from there to that of the last SA.
    pub policies: f64,
    pub sas: f64,
    pub sas_per_second: f64,
    pub fast_path_empty: Memory,
    pub fast_path: Memory,
    pub slow_path: Memory,
    pub status: f64,
    pub status_all: f64,
    pub status_json: f64,
    pub status_json_bytes: usize,
    /// From the start of the new process until every record is opened and the policies are in force again.
    pub successor: f64,
    /// The part of it from the attachment on.
    pub taken_over: f64,
    pub successor_memory: Memory,
}

/// Ends with an error when an SA is missing anywhere.
pub fn run(options: &Options) -> Result<Figures> {
    let tunnels = options.tunnels;
    ensure!((1..=100_000).contains(&tunnels), "--tunnels is from 1 to 100000");
    let own = std::env::current_exe()?;
    let programs = options.programs.clone().or_else(|| Some(own.parent()?.to_owned()));
    let dir = process::folder()?;
    let _removed = Folder(&dir);
    let place = Place { programs: programs.context("no folder of programs")?, dir: dir.clone() };
    let mut figures = Figures { tunnels, ..Figures::default() };
    let mut slow = born(&place, &mut figures)?;
    let fast = installed(&place, &mut slow, &mut figures)?;
    asked(&place, &mut figures)?;
    figures.slow_path = slow.memory()?;
    slow.kill()?;
    let slow = succeeded(&place, &mut figures)?;
    // The slow path first: an absent one is no fault.
    slow.stop()?;
    fast.stop()?;
    Ok(figures)
}

/// What the slow path logs when a takeover is at its end. A successor appends to its predecessor's log.
const ALL_RUNS: &str = "the fast path runs all of it";

fn said(text: std::fmt::Arguments) {
    eprintln!("{text}");
}

/// A slow path that has negotiated everything.
fn born(place: &Place, figures: &mut Figures) -> Result<Running> {
    let text = site::configuration(figures.tunnels);
    std::fs::write(place.config(), &text)?;
    figures.configuration_bytes = text.len();
    figures.check = timed(place.program("espway")?.arg("check").arg(place.config()))?.0.as_secs_f64();
    let mut empty = place.fast_path()?;
    figures.fast_path_empty = empty.started(&place.socket())?;
    empty.stop()?;
    let mut birth = Birth::listen(&place.socket(), figures.tunnels)?;
    let start = Instant::now();
    let slow = place.slow_path()?;
    birth.wait_for_slow_path()?;
    figures.slow_path_start = start.elapsed().as_secs_f64();
    let (start, cpu) = (Instant::now(), slow.cpu()?);
    let mut shown = Instant::now();
    birth.negotiate(|up| {
        if shown.elapsed() > Duration::from_secs(5) {
            shown = Instant::now();
            said(format_args!("{up} of {} tunnels are up", figures.tunnels));
        }
    })?;
    figures.negotiated = start.elapsed().as_secs_f64();
    figures.negotiated_cpu = (slow.cpu()? - cpu).as_secs_f64();
    birth.end()?;
    Ok(slow)
}

/// A fast path that starts empty and is given all of it.
fn installed(place: &Place, slow: &mut Running, figures: &mut Figures) -> Result<Running> {
    let mut fast = place.fast_path()?;
    // The first time was for the fast path of the beginning.
    let status = place.until(ALL_RUNS, slow, 2)?;
    fast.check()?;
    expect(&status, figures.tunnels)?;
    ensure!(
        status.ipc.get("takeover-installed") == Some(&(2 * u64::from(figures.tunnels))),
        "{:?}",
        status.ipc
    );
    let (policies, all) = finished(&status).context("it is finished")?;
    figures.policies = policies;
    figures.sas = all - policies;
    figures.sas_per_second = f64::from(2 * figures.tunnels) / figures.sas.max(1e-3);
    figures.fast_path = fast.memory()?;
    Ok(fast)
}
/// Seconds until policies, and until everything, was in force.
fn finished(status: &Status) -> Option<(f64, f64)> {
    let seconds = |name: &str| status.ipc.get(name).map(|ms| *ms as f64 / 1e3);
    seconds("takeover-policies-ms").zip(seconds("takeover-all-ms"))
}
fn expect(status: &Status, tunnels: u32) -> Result<()> {
    let (sas, totals) = (2 * u64::from(tunnels), &status.totals);
    ensure!(
        (totals.active_peers, totals.installed_sas, totals.established_policies)
            == (u64::from(tunnels), sas, u64::from(tunnels)),
        "{totals:?}"
    );
    for name in ["commands-refused", "vault-errors", "vault-damaged", "not-restored", "malformed-records"] {
        ensure!(status.ipc.get(name).is_none_or(|n| *n == 0), "{name}: {:?}", status.ipc);
    }
    Ok(())
}

fn asked(place: &Place, figures: &mut Figures) -> Result<()> {
    let ask = |words: &[&str]| -> Result<(Duration, usize)> {
        timed(place.program("espway")?.arg("status").args(words).arg("--run-dir").arg(&place.dir))
    };
    figures.status = ask(&[])?.0.as_secs_f64();
    figures.status_all = ask(&["--all"])?.0.as_secs_f64();
    let (time, bytes) = ask(&["--json"])?;
    (figures.status_json, figures.status_json_bytes) = (time.as_secs_f64(), bytes);
    let mut status = place.status(None)?;
    // What is not in the vault yet would not be taken over.
    let until = Instant::now() + Duration::from_secs(60);
    while status.ipc.get("vault-records") != Some(&u64::from(figures.tunnels)) {
        ensure!(Instant::now() < until, "not all is in the vault: {:?}", status.ipc);
        std::thread::sleep(Duration::from_millis(100));
        status = place.status(None)?;
    }
    expect(&status, figures.tunnels)?;
    let sas = 2 * figures.tunnels as usize;
    let running =
        status.installed_sas.iter().filter(|sa| sa.engine.is_some() && sa.state == "mature").count();
    ensure!(running == sas, "the fast path runs {running} SAs of {sas}");
    Ok(())
}

/// The slow path was killed; its successor goes on with what runs.
fn succeeded(place: &Place, figures: &mut Figures) -> Result<Running> {
    let start = Instant::now();
    let mut slow = place.slow_path()?;
    let status = place.until(ALL_RUNS, &mut slow, 3)?;
    figures.successor = start.elapsed().as_secs_f64();
    expect(&status, figures.tunnels)?;
    let counted = |name: &str| status.ipc.get(name).copied().unwrap_or(0);
    ensure!(
        (counted("restored"), counted("takeover-installed")) == (u64::from(figures.tunnels), 0),
        "{:?}",
        status.ipc
    );
    figures.taken_over = finished(&status).context("it is finished")?.1;
    figures.successor_memory = slow.memory()?;
    Ok(slow)
}

impl Figures {
    pub fn lines(&self) -> String {
        let (n, sas) = (self.tunnels, 2 * self.tunnels);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let memory = |m: &Memory| format!("{:.0} MiB and {:.0} MiB shared", mib(m.own), mib(m.shared));
        let per_tunnel = self.negotiated_cpu * 1e6 / f64::from(n);
        [
            format!("{n} tunnels: as many peers, IKE SAs and policies, and {sas} SAs"),
            format!("configuration of {:.1} MB checked      {:8.2} s", self.configuration_bytes as f64 / 1e6, self.check),
            format!("slow path from its start to its attachment {:4.2} s", self.slow_path_start),
            format!(
                "negotiated, both ends on this machine      {:8.1} s; {per_tunnel:.0} us of the slow path's CPU for each",
                self.negotiated
            ),
            format!("a new fast path: policies in force          {:7.2} s after the attachment", self.policies),
            format!("SAs after that, acknowledged                {:7.2} s, {:.0} SAs/s", self.sas, self.sas_per_second),
            format!("memory of the fast path                     {}", memory(&self.fast_path)),
            format!("  before, without any tunnel                {}", memory(&self.fast_path_empty)),
            format!("memory of the slow path                     {}", memory(&self.slow_path)),
            format!("espway status                               {:7.2} s", self.status),
            format!("espway status --all                         {:7.2} s", self.status_all),
            format!(
                "espway status --json                        {:7.2} s, {:.1} MB",
                self.status_json,
                self.status_json_bytes as f64 / 1e6
            ),
            format!(
                "slow path killed: its successor has all     {:7.2} s after its start, {:.2} s after its attachment",
                self.successor, self.taken_over
            ),
            format!("memory of the successor                     {}", memory(&self.successor_memory)),
        ]
        .join("\n")
    }
}
