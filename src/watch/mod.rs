//! `espway capture` and `espway trace`: packets of a running gateway, as they come in and as they leave.
mod pcapng;

use crate::rundir::RunDir;
use crate::status::stream;
use anyhow::{Context, bail, ensure};
use ipc::status::{Look, LookFlow, Request, Response, WatchedLine, WatchedPacket};
use pcapng::Pcapng;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Capture packets of a running gateway, before and after they are encrypted or decrypted, into a pcapng file.
///
/// Of a policy, a peer, an SA or a flow. Each packet stands there as it came in, with what became of it as a comment, and
/// behind it as it left. Interfaces of the file say `inside` (clear) or `outside` (under ESP or AH). The packets hold what
/// users send: the file is for its owner alone.
#[derive(clap::Args)]
pub struct CaptureArgs {
    #[command(flatten)]
    what: What,
    /// The file to write.
    #[arg(long, value_name = "PCAPNG")]
    out: PathBuf,
    /// Also write the keys of the SAs, as rows of Wireshark's table `esp_sa`: whoever has them reads everything that was
    /// ever sent under these SAs.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// End after so many bytes of packets.
    #[arg(long, default_value_t = 64 << 20)]
    bytes: u64,
    /// Bytes of each packet.
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u16).range(64..=2048))]
    snap: u16,
}

/// Show the way of packets through a running gateway: what each stage made of them, and why one was dropped.
///
/// Of a policy, a peer, an SA or a flow, as they come in or as they come out of a tunnel. Offline, with packets from a
/// capture, `espway packet` does it.
#[derive(clap::Args)]
pub struct TraceArgs {
    #[command(flatten)]
    what: What,
    /// One JSON object a line instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct What {
    /// Of the policy with this id, as `espway status --json` and `espway explain --json` tell it.
    #[arg(long, value_name = "ID", value_parser = number)]
    policy: Option<u32>,
    /// Of all policies of a peer.
    #[arg(long, value_name = "NAME", conflicts_with = "policy")]
    peer: Option<String>,
    /// Of an SA and its counterpart, by either SPI.
    #[arg(long, value_name = "SPI", conflicts_with_all = ["policy", "peer"])]
    spi: Option<String>,
    /// Of a flow: from this address or network.
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["policy", "peer", "spi"])]
    src: Option<String>,
    /// To this address or network.
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["policy", "peer", "spi"])]
    dst: Option<String>,
    /// IP protocol, a name or a number.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["policy", "peer", "spi"])]
    proto: Option<String>,
    /// Source port.
    #[arg(long, value_name = "PORT", conflicts_with_all = ["policy", "peer", "spi"])]
    sport: Option<u16>,
    /// Destination port.
    #[arg(long, value_name = "PORT", conflicts_with_all = ["policy", "peer", "spi"])]
    dport: Option<u16>,
    /// End after so many packets.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// End after so many seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86400))]
    seconds: u32,
    /// Of the gateway with this configuration.
    #[arg(long, value_name = "FILE", conflicts_with = "run_dir")]
    config: Option<PathBuf>,
    /// Of the gateway in this folder.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
}

/// As it is shown, in either base.
fn number(text: &str) -> Result<u32, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| "is no number".into())
}

impl What {
    fn look(&self) -> Look {
        Look {
            policy: self.policy,
            peer: self.peer.clone(),
            spi: self.spi.clone(),
            flow: LookFlow {
                src: self.src.clone(),
                dst: self.dst.clone(),
                protocol: self.proto.clone(),
                src_port: self.sport,
                dst_port: self.dport,
            },
            packets: self.count,
            seconds: self.seconds,
            ..Look::default()
        }
    }
    /// Line by line, as the gateway says them.
    fn run(&self, look: Look, mut each: impl FnMut(WatchedLine) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let run_dir = RunDir::find(self.run_dir.as_deref(), self.config.as_deref())?;
        let patience = Duration::from_secs(u64::from(look.seconds) + 10);
        let stream = stream(&run_dir.control_socket(), &Request::Watch(Box::new(look)), patience)
            .context("the slow path does not answer")?;
        let (mut begun, mut over) = (false, false);
        for line in BufReader::new(stream).lines() {
            let line = line.context("the gateway says no more")?;
            match line.trim_end_matches(',') {
                "{\"watched\":[" => begun = true,
                "]}" if begun => return Ok(()),
                line if begun => {
                    let line = serde_json::from_str(line).context("a line cannot be read")?;
                    over |= matches!(line, WatchedLine::Over { .. });
                    each(line)?;
                }
                line => match serde_json::from_str(line) {
                    Ok(Response::Error(error)) => bail!("{error}"),
                    _ => bail!("the slow path answered something else; are both of one version?"),
                },
            }
        }
        ensure!(over, "the gateway has ended it");
        Ok(())
    }
}

pub fn capture(args: &CaptureArgs) -> anyhow::Result<ExitCode> {
    let create = |path: &PathBuf| {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        file.with_context(|| path.display().to_string())
    };
    let mut file = Pcapng::begin(create(&args.out)?)?;
    let mut keys = args.keys.as_ref().map(create).transpose()?;
    let look =
        Look { bytes: args.bytes, snap: args.snap, data: true, keys: keys.is_some(), ..args.what.look() };
    args.what.run(look, |line| {
        match (line, &mut keys) {
            (WatchedLine::Packet(packet), _) => file.packet(&packet)?,
            (WatchedLine::Key(row), Some(keys)) => writeln!(keys, "{}", row.0)?,
            (WatchedLine::Key(_), None) => {}
            (WatchedLine::Over { packets, lost, why }, _) => {
                file.end(lost)?;
                crate::say(ended(packets, lost, &why));
            }
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

pub fn trace(args: &TraceArgs) -> anyhow::Result<ExitCode> {
    // What identifies a packet to whoever looks is said in words.
    args.what.run(args.what.look(), |line| {
        match (line, args.json) {
            (line, true) => crate::say(serde_json::to_string(&line)?),
            (WatchedLine::Packet(packet), false) => crate::say(shown(&packet)),
            (WatchedLine::Over { packets, lost, why }, false) => crate::say(ended(packets, lost, &why)),
            (WatchedLine::Key(_), false) => {}
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn ended(packets: u64, lost: u64, why: &str) -> String {
    let lost =
        if lost == 0 { String::new() } else { format!(", {lost} copies found no room and are missing") };
    format!("{packets} packets{lost}; ended: {why}")
}
/// A packet that came in with the way it took; behind it, what left.
fn shown(packet: &WatchedPacket) -> String {
    let WatchedPacket { number, port, length, flow, fate, steps, .. } = packet;
    let flow = if flow.is_empty() { "no packet of IP" } else { flow };
    let Some(fate) = fate else { return format!("       out {port}: {flow}, {length} bytes") };
    let steps: String = steps.iter().map(|step| format!("           {step}\n")).collect();
    format!("{number:>5}  in {port}: {flow}, {length} bytes\n{steps}       {fate}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_shown_with_its_way_and_its_end() {
        let packet = WatchedPacket {
            number: 3,
            port: "wan".into(),
            length: 150,
            flow: "192.0.2.2 > 192.0.2.1 ipsec-esp".into(),
            fate: Some("dropped: x".into()),
            steps: vec!["classify: ESP".into(), "open: the ICV is wrong".into()],
            ..WatchedPacket::default()
        };
        let expected = "    3  in wan: 192.0.2.2 > 192.0.2.1 ipsec-esp, 150 bytes\n           classify: ESP\n           open: the ICV \
                        is wrong\n       dropped: x";
        assert_eq!(shown(&packet), expected);
        assert_eq!(ended(2, 1, "time"), "2 packets, 1 copies found no room and are missing; ended: time");
        assert_eq!((number("0x1f"), number("31")), (Ok(31), Ok(31)));
        assert!(number("x").is_err());
    }
}
