//! `espway packet`: a capture through the datapath, without ports and without time.
//!
//! Frames in, frames out, and for each what became of it. SAs come from `ip.ipsec.manual-sa`.
mod pcap;
pub mod setup;

use anyhow::{Context, bail};
use config::model::{Config, InterfaceKind};
use fastpath::offline::{Gateway, NeighbourSpec, Outcome, Setup};
use ipc::contract::Event;
use pcap::Record;
use sa::DropReason;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// Run a capture through the datapath offline, with the SAs given in the configuration.
///
/// Says of each packet what became of it, and writes what was sent to another capture. Without a mac-address in the
/// configuration, ports have the address the capture's first packet was sent to; next hops that nobody could be asked
/// for have 02:00:00:00:01:00 and following.
#[derive(clap::Args)]
pub struct Args {
    /// The configuration file; its devices are not touched.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The capture with the packets that arrive (pcap, Ethernet).
    #[arg(long = "in", value_name = "PCAP")]
    input: PathBuf,
    /// The capture to write the sent packets to.
    #[arg(long = "out", value_name = "PCAP")]
    output: PathBuf,
    /// The interface they arrive on; the first one with a device if left out.
    #[arg(long, value_name = "NAME")]
    port: Option<String>,
    /// One JSON object instead of a line for each packet.
    #[arg(long)]
    json: bool,
}

pub fn packet(args: &Args) -> anyhow::Result<ExitCode> {
    let config = crate::check::load(&args.config)?;
    let ports = setup::port_names(&config);
    let port = arrival(&config, &ports, args.port.as_deref())?;
    let file = std::fs::read(&args.input).with_context(|| args.input.display().to_string())?;
    let records = pcap::read(&file).with_context(|| args.input.display().to_string())?;
    let setup = setup::setup(&config, records.first().map_or(&[], |r| &r.frame))?;
    let fates = walk(setup, &setup::engines(&config), port, &records)?;

    let sent: Vec<Record> = fates
        .iter()
        .zip(&records)
        .flat_map(|(outcomes, record)| {
            outcomes.iter().filter_map(|outcome| match outcome {
                Outcome::Sent { frame, .. } => {
                    Some(Record { time: record.time, frame: frame.clone(), wire_len: frame.len() as u32 })
                }
                _ => None,
            })
        })
        .collect();
    let out = std::fs::File::create(&args.output).with_context(|| args.output.display().to_string())?;
    pcap::write(std::io::BufWriter::new(out), &sent).with_context(|| args.output.display().to_string())?;

    let count = Count::of(&fates);
    if args.json {
        let packets = fates.iter().enumerate().map(|(n, outcomes)| {
            let outcomes: Vec<Value> = outcomes.iter().map(|o| as_json(o, &ports)).collect();
            json!({ "number": n + 1, "outcomes": outcomes })
        });
        let packets: Vec<Value> = packets.collect();
        crate::say(json!({ "packets": packets, "count": count.as_json() }));
    } else {
        for (n, (outcomes, record)) in fates.iter().zip(&records).enumerate() {
            let what: Vec<String> = outcomes.iter().map(|o| as_text(o, &ports)).collect();
            crate::say(format_args!("{:>5}  {:>5} bytes  {}", n + 1, record.frame.len(), what.join(", ")));
        }
        crate::say(count.as_text(records.len()));
    }
    Ok(ExitCode::SUCCESS)
}

/// The number of the port the capture arrives on.
fn arrival(config: &Config, ports: &[String], name: Option<&str>) -> anyhow::Result<u16> {
    let Some(name) = name else {
        return if ports.is_empty() {
            bail!("the configuration has no interface with a device")
        } else {
            Ok(0)
        };
    };
    match ports.iter().position(|port| port == name) {
        Some(at) => Ok(at as u16),
        None if config.interface(name).is_some_and(|i| matches!(i.kind, InterfaceKind::Vlan { .. })) => {
            bail!("`{name}` is a VLAN; its frames arrive tagged on the port below it")
        }
        None => bail!("there is no interface `{name}`; there are: {}", ports.join(", ")),
    }
}

/// Nobody answers ARP here, so next hops are given addresses until no packet waits for one.
fn walk(
    mut setup: Setup,
    engines: &[fastpath::crypto::CpuEngineKind],
    port: u16,
    records: &[Record],
) -> anyhow::Result<Vec<Vec<Outcome>>> {
    loop {
        let mut gateway = Gateway::new(&setup, engines)?;
        let fates: Vec<Vec<Outcome>> =
            records.iter().map(|record| gateway.run(port, &record.frame)).collect();
        let known = setup.neighbours.len();
        for outcome in fates.iter().flatten() {
            let Outcome::Unresolved { interface, next_hop, .. } = *outcome else { continue };
            if !setup.neighbours.iter().any(|n| n.interface == interface && n.address == next_hop) {
                let mac = setup::made_up_mac(setup.neighbours.len());
                setup.neighbours.push(NeighbourSpec { interface, address: next_hop, mac });
            }
        }
        if setup.neighbours.len() == known {
            return Ok(fates);
        }
    }
}

fn as_text(outcome: &Outcome, ports: &[String]) -> String {
    let name = |port: u16| ports.get(usize::from(port)).map_or("?", String::as_str);
    match outcome {
        Outcome::Sent { port, frame } => format!("sent on {}: {} bytes", name(*port), frame.len()),
        Outcome::Dropped(reason) => format!("dropped, {}: {}", reason.name(), reason.text()),
        Outcome::ToHost { why, packet } => format!("to the host ({why}): {} bytes", packet.len()),
        Outcome::Unresolved { next_hop, .. } => format!("waits for the MAC address of {next_hop}"),
        Outcome::Ike { meta, payload } => {
            format!("IKE from {} to {}: {} bytes", meta.remote, meta.local, payload.len())
        }
        Outcome::Held => "waits for the other fragments of its datagram".to_owned(),
        Outcome::Narrow { remote, mtu } => format!("the path to {remote} carries {mtu} bytes at most"),
        Outcome::Event(event) => format!("event: {}", event_text(event)),
    }
}

fn event_text(event: &Event) -> String {
    match event {
        Event::Acquire { policy, packet } => {
            format!("policy {:#010x} needs an SA for {} > {}", policy.0, packet.src, packet.dst)
        }
        Event::SoftExpire { spi, why, .. } => format!("SA {spi} is to be replaced ({why:?})"),
        Event::HardExpire { spi, why, .. } => format!("SA {spi} has expired ({why:?})"),
        Event::PeerMoved { spi, from, .. } => format!("the peer of SA {spi} has moved to {from}"),
        Event::Mismatch { spi, packet: p, .. } => {
            format!("SA {spi} is not for {} to {} protocol {}", p.src, p.dst, p.protocol)
        }
        Event::UnknownSpi { spi, local, remote } => format!("unknown SPI {spi:#x} from {remote} to {local}"),
    }
}

fn as_json(outcome: &Outcome, ports: &[String]) -> Value {
    let name = |port: u16| ports.get(usize::from(port)).map_or("?", String::as_str);
    match outcome {
        Outcome::Sent { port, frame } => json!({ "sent": { "port": name(*port), "bytes": frame.len() } }),
        Outcome::Dropped(reason) => json!({ "dropped": reason.name() }),
        Outcome::ToHost { why, packet } => json!({ "to-host": { "why": why, "bytes": packet.len() } }),
        Outcome::Unresolved { next_hop, .. } => json!({ "unresolved": next_hop }),
        Outcome::Ike { meta, payload } => {
            json!({ "ike": { "local": meta.local, "remote": meta.remote, "bytes": payload.len() } })
        }
        Outcome::Held => json!({ "held": "fragment" }),
        Outcome::Narrow { remote, mtu } => json!({ "path-mtu": { "remote": remote, "mtu": mtu } }),
        Outcome::Event(event) => json!({ "event": event_text(event) }),
    }
}

#[derive(Default)]
struct Count {
    sent: u64,
    to_host: u64,
    ike: u64,
    events: u64,
    drops: BTreeMap<DropReason, u64>,
}
impl Count {
    fn of(fates: &[Vec<Outcome>]) -> Self {
        let mut count = Self::default();
        for outcome in fates.iter().flatten() {
            match outcome {
                Outcome::Sent { .. } => count.sent += 1,
                Outcome::Dropped(reason) => *count.drops.entry(*reason).or_default() += 1,
                Outcome::ToHost { .. }
                | Outcome::Unresolved { .. }
                | Outcome::Held
                | Outcome::Narrow { .. } => count.to_host += 1,
                Outcome::Ike { .. } => count.ike += 1,
                Outcome::Event(_) => count.events += 1,
            }
        }
        count
    }
    fn as_json(&self) -> Value {
        let drops: BTreeMap<&str, u64> = self.drops.iter().map(|(reason, n)| (reason.name(), *n)).collect();
        let dropped: u64 = drops.values().sum();
        json!({ "sent": self.sent, "dropped": dropped, "drops": drops, "to-host": self.to_host, "ike": self.ike,
                "events": self.events })
    }
    fn as_text(&self, received: usize) -> String {
        let dropped: u64 = self.drops.values().sum();
        let reasons: Vec<String> =
            self.drops.iter().map(|(reason, n)| format!("{} {n}", reason.name())).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        format!(
            "{received} received: {} sent, {dropped} dropped{reasons}, {} to the host, {} IKE",
            self.sent, self.to_host, self.ike
        )
    }
}
