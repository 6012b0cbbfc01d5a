//! `bench ike`: what a handshake (IKE_SA_INIT, IKE_AUTH with the first Child SA) costs the responder, beside what its
//! public-key operations alone cost, and beside strongSwan's responder called by the same generator through the same
//! virtual cables. Processor time is counted, so that neither the generator nor the wire sets the figure.
mod ceiling;
mod config;
mod gateway;
mod generator;
mod papers;
mod responder;
mod swan;

use crate::environment::Environment;
use anyhow::{Context, Result, bail, ensure};
use comfy_table::{CellAlignment, Table, presets};
use gateway::InMemory;
pub use gateway::SystemRng;
use generator::Generator;
use harness::{Lab, Netns, Plan, Side, Site};
use ike::api::DhGroup;
use papers::Papers;
use responder::Responder;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use swan::Charon;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// One JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Turns of each row: in each the ceiling, espway and strongSwan are measured once.
    #[arg(long, default_value_t = 20)]
    pub rounds: usize,
    /// Handshakes in one turn; their SAs are deleted after it, uncounted.
    #[arg(long, default_value_t = 32)]
    pub handshakes: usize,
    /// Only rows whose name holds this, as in `psk/x25519`.
    #[arg(long, default_value = "")]
    pub only: String,
    /// Without strongSwan beside it.
    #[arg(long)]
    pub alone: bool,
}

/// What a row negotiates.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub auth: &'static str,
    pub key_exchange: &'static str,
    /// Of both ends' certificates and of their authority's.
    pub key: Option<ca::Key>,
    /// Each caller has a certificate that was never seen before.
    pub strangers: bool,
    pub group: DhGroup,
    /// A second one, in an exchange of its own.
    pub kem: Option<DhGroup>,
    /// In swanctl's words; `None` where Debian's does not know it.
    pub swan: Option<&'static str>,
}
impl Kind {
    fn name(&self) -> String {
        format!("{}/{}", self.auth, self.key_exchange)
    }
}

const X25519: Kind = Kind {
    auth: "psk",
    key_exchange: "x25519",
    key: None,
    strangers: false,
    group: DhGroup::X25519,
    kem: None,
    swan: Some("x25519"),
};
const KINDS: [Kind; 7] = [
    X25519,
    Kind { key_exchange: "ecp256", group: DhGroup::Ecp256, swan: Some("ecp256"), ..X25519 },
    Kind { key_exchange: "modp2048", group: DhGroup::Modp2048, swan: Some("modp2048"), ..X25519 },
    Kind { auth: "ecdsa-p256", key: Some(ca::Key::P256), ..X25519 },
    Kind { auth: "ecdsa-p256 (new)", key: Some(ca::Key::P256), strangers: true, ..X25519 },
    Kind { auth: "rsa-2048", key: Some(ca::Key::Rsa(2048)), ..X25519 },
    Kind { key_exchange: "x25519+mlkem768", kem: Some(DhGroup::MlKem768), swan: None, ..X25519 },
];

/// Times are of the processor, in microseconds per handshake, the median of all turns.
#[derive(Debug, Serialize)]
pub struct Row {
    pub auth: &'static str,
    pub key_exchange: &'static str,
    /// Of one core.
    pub handshakes_per_second: f64,
    pub ceiling: f64,
    pub ratio_ceiling: f64,
    pub strongswan: Option<f64>,
    pub ratio_strongswan: Option<f64>,
    pub microseconds: Spread,
    /// Through a socket, as strongSwan is measured: what `ratio_strongswan` compares.
    pub socket_microseconds: Spread,
    pub ceiling_microseconds: Spread,
    pub strongswan_microseconds: Option<Spread>,
}
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    pub median: f64,
    pub p10: f64,
    pub p90: f64,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub environment: Environment,
    pub peer: String,
    pub rounds: usize,
    pub handshakes: usize,
    pub rows: Vec<Row>,
}

const COUNTED: &str = "processor time of the responder per handshake. Ours: the engine with its sealed records, datagrams \
                       from memory as a gateway has them from rings, without the fast path's part; over a socket as well, \
                       for the comparison with strongSwan, whose time has its user-space ESP in it";

/// Where the two responders listen, in one namespace: strongSwan has no other port, espway takes any.
const OUR_PORT: u16 = 1500;

pub fn run(options: &Options) -> Result<Report> {
    ensure!(options.rounds > 0 && options.handshakes > 0, "--rounds and --handshakes must be at least 1");
    let kinds: Vec<Kind> = KINDS.into_iter().filter(|kind| kind.name().contains(&options.only)).collect();
    ensure!(!kinds.is_empty(), "no row is named like `{}`", options.only);
    let lab = Lab::build(&Plan::new(Site::Kernel, Site::Kernel)).context(
        "`bench ike` calls both responders through network namespaces of its own, which root may make",
    )?;
    let (mut rows, mut peer) = (Vec::new(), String::new());
    for kind in kinds {
        eprintln!("{}", kind.name());
        rows.push(row(&lab, &kind, options, &mut peer).with_context(|| kind.name())?);
    }
    let mut environment = Environment::look(None);
    environment.unit = "microseconds";
    environment.counted = COUNTED;
    Ok(Report { environment, peer, rounds: options.rounds, handshakes: options.handshakes, rows })
}

fn row(lab: &Lab, kind: &Kind, options: &Options, peer: &mut String) -> Result<Row> {
    let (from, to): (IpAddr, IpAddr) = (Side::A.wan4(), Side::B.wan4());
    let papers = Papers::new(kind.key, kind.strangers);
    let operations = ceiling::Operations::new(kind)?;
    let mut near = InMemory::new(*kind, &papers)?;
    let ours = Responder::start(lab.site(Side::B), SocketAddr::new(to, OUR_PORT), *kind, &papers)?;
    let charon = match kind.swan {
        Some(group) if !options.alone => {
            Some(Charon::start(lab, lab.site(Side::B), kind.key.is_some(), group, &papers)?)
        }
        _ => None,
    };
    if let Some(charon) = &charon {
        *peer = charon.version()?;
    }
    let site: &Netns = lab.site(Side::A);
    let mut generators =
        [OUR_PORT, 500].map(|port| Generator::new(site, from, SocketAddr::new(to, port), *kind));
    let [to_us, to_swan] = &mut generators;
    let mut samples = [const { Vec::new() }; 4];
    // The first turn warms caches and pages, and is not counted.
    for turn in 0..=options.rounds {
        let each = |spent: Duration| spent.as_secs_f64() * 1e6 / options.handshakes as f64;
        let count = options.handshakes;
        let mut taken = [
            Some(each(operations.spend(count)?)),
            Some(each(near.spend(&papers, count)?)),
            Some(each(to_us.as_mut().map_err(said)?.call(&papers, count, || ours.spent())?)),
            None,
        ];
        if let Some(charon) = &charon {
            let spent = to_swan.as_mut().map_err(said)?.call(&papers, count, || charon.spent())?;
            taken[3] = Some(each(spent));
        }
        for (list, sample) in samples.iter_mut().zip(taken).filter(|_| turn > 0) {
            list.extend(sample);
        }
    }
    ours.stop()?;
    let [ceiling, ours, socket, swan] = samples.map(spread);
    let (Some(ceiling), Some(ours), Some(socket)) = (ceiling, ours, socket) else { bail!("no sample") };
    let per_second = |spread: Spread| (1e6 / spread.median).round();
    let ratio = |a: Spread, b: Spread| (b.median / a.median * 100.0).round() / 100.0;
    Ok(Row {
        auth: kind.auth,
        key_exchange: kind.key_exchange,
        handshakes_per_second: per_second(ours),
        ceiling: per_second(ceiling),
        ratio_ceiling: ratio(ours, ceiling),
        strongswan: swan.map(per_second),
        ratio_strongswan: swan.map(|swan| ratio(socket, swan)),
        microseconds: ours,
        socket_microseconds: socket,
        ceiling_microseconds: ceiling,
        strongswan_microseconds: swan,
    })
}

fn said(error: &mut anyhow::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

fn spread(mut samples: Vec<f64>) -> Option<Spread> {
    samples.sort_by(f64::total_cmp);
    let at = |q: f64| samples.get((q * samples.len().saturating_sub(1) as f64).round() as usize).copied();
    let round = |n: f64| (n * 10.0).round() / 10.0;
    Some(Spread { median: round(at(0.5)?), p10: round(at(0.1)?), p90: round(at(0.9)?) })
}

impl Report {
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header([
            "handshake",
            "per second",
            "ceiling",
            "of it",
            "strongSwan",
            "times it",
            "µs (10 %, 90 %)",
            "by socket",
            "strongSwan's",
        ]);
        let spread = |s: Spread| format!("{} ({}, {})", s.median, s.p10, s.p90);
        for row in &self.rows {
            let or = |value: Option<f64>| value.map_or_else(|| "-".into(), |n| n.to_string());
            table.add_row([
                format!("{}, {}", row.auth, row.key_exchange),
                row.handshakes_per_second.to_string(),
                row.ceiling.to_string(),
                row.ratio_ceiling.to_string(),
                or(row.strongswan),
                or(row.ratio_strongswan),
                spread(row.microseconds),
                spread(row.socket_microseconds),
                row.strongswan_microseconds.map_or_else(|| "-".into(), spread),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let beside = if self.peer.is_empty() { String::new() } else { format!(", beside {}", self.peer) };
        let about = format!("{}{beside}", self.environment.cpu);
        format!("{about}\n{}\n{} turns of {} handshakes\n{table}", COUNTED, self.rounds, self.handshakes)
    }
}
