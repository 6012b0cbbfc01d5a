//! `espway explain`: what the gateway does with a packet, and why.
use crate::rundir::RunDir;
use crate::status::request;
use anyhow::{Context, bail};
use config::explain::{Question, answer};
use ipc::status::{Packet, Request, Response};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Explain what happens to a packet and to the answer to it: interface, policy, route, SA, last drops.
///
/// Asks the running gateway. With --offline, the configuration alone: then SAs and drops are not known.
#[derive(clap::Args)]
pub struct Args {
    /// Source address.
    #[arg(long, value_name = "ADDRESS")]
    src: IpAddr,
    /// Destination address.
    #[arg(long, value_name = "ADDRESS")]
    dst: IpAddr,
    /// IP protocol, a name or a number.
    #[arg(long, default_value = "tcp")]
    proto: String,
    /// Source port; left out, policies for certain ports do not count.
    #[arg(long, value_name = "PORT")]
    sport: Option<u16>,
    /// Destination port.
    #[arg(long, value_name = "PORT")]
    dport: Option<u16>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// By this configuration; without --offline, the gateway that runs it is asked.
    #[arg(long, value_name = "FILE", conflicts_with = "run_dir")]
    config: Option<PathBuf>,
    /// Of the gateway in this folder.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Ask no gateway, only the file of --config.
    #[arg(long, requires = "config")]
    offline: bool,
}

pub fn explain(args: &Args) -> anyhow::Result<ExitCode> {
    let Args { src, dst, sport, dport, .. } = *args;
    let (object, text) = match &args.config {
        Some(file) if args.offline => {
            let config = crate::check::load(file)?;
            let question =
                Question { src, dst, protocol: args.proto.clone(), src_port: sport, dst_port: dport };
            let explanation = answer(&config, &question, None).map_err(anyhow::Error::msg)?;
            (serde_json::to_value(&explanation)?, explanation.to_string())
        }
        config => {
            let run_dir = RunDir::find(args.run_dir.as_deref(), config.as_deref())?;
            let socket = run_dir.control_socket();
            let packet = Packet { src, dst, protocol: args.proto.clone(), src_port: sport, dst_port: dport };
            let asked = request(&socket, &Request::Explain(packet));
            match asked.context("no gateway answers; --config FILE --offline asks the file alone")? {
                Response::Explained { explanation, text } => (explanation, text),
                Response::Error(error) => bail!("{error}"),
                _ => bail!("{} answered something else", socket.display()),
            }
        }
    };
    match args.json {
        true => crate::say(object),
        false => crate::say(text.trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}
