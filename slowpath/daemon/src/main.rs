//! `espway-slowpath`: process 2. Started and watched by `espway run`; each can be restarted without the other.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail};
use clap::Parser;
use espway_slowpath::run::{Options, run};
use ipc::VaultKey;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, reload, util::SubscriberInitExt};
use zeroize::Zeroizing;

/// IKE negotiations for the fast path.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration, as `espway check` accepts it.
    #[arg(long)]
    config: PathBuf,
    /// Where the fast path hands over its shared memory.
    #[arg(long)]
    fastpath_socket: PathBuf,
    /// Where status is asked for, one JSON request a line.
    #[arg(long)]
    control_socket: PathBuf,
    /// Descriptor to read the vault's 32-byte key from. Without it tunnels do not survive a restart.
    #[arg(long)]
    vault_key_fd: Option<u32>,
    /// User the fast path may run as, besides ourselves.
    #[arg(long)]
    fastpath_uid: Vec<u32>,
    /// `error`, `warn`, `info`, `debug`, or a filter such as `ike=debug,info`.
    #[arg(long, default_value = "info")]
    log_level: String,
    /// One JSON object per line of log.
    #[arg(long)]
    log_json: bool,
    /// Write all keys to this file and FILE.esp, in Wireshark's formats. Whoever reads them reads the traffic.
    #[arg(long)]
    key_log: Option<PathBuf>,
    /// Folder for former configurations. Without it changes cannot be taken back.
    #[arg(long)]
    history: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_new(&arguments.log_level)
        .with_context(|| format!("--log-level {}", arguments.log_level))?;
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    if arguments.log_json {
        registry.with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr)).init();
    } else {
        let colours = std::io::stderr().is_terminal();
        registry
            .with(tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr))
            .init();
    }
    let set_log_level = move |text: &str| {
        let filter = EnvFilter::try_new(text).map_err(|e| format!("`{text}` is no log filter: {e}"))?;
        handle.reload(filter).map_err(|e| e.to_string())
    };
    let vault_key = arguments.vault_key_fd.map(read_key).transpose()?;
    let mut fastpath_uids = arguments.fastpath_uid;
    fastpath_uids.push(rustix::process::getuid().as_raw());
    let options = Options {
        config: arguments.config,
        fastpath_socket: arguments.fastpath_socket,
        control_socket: arguments.control_socket,
        fastpath_uids,
        vault_key,
        key_log: arguments.key_log,
        history: arguments.history,
    };
    run(options, &set_log_level)
}

/// Exactly 32 bytes, then the end.
fn read_key(fd: u32) -> Result<VaultKey> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(VaultKey::LEN + 1));
    // Opening by name makes a descriptor of our own out of an inherited one, in safe code.
    let file = std::fs::File::open(format!("/proc/self/fd/{fd}"))
        .with_context(|| format!("--vault-key-fd {fd}: no such descriptor"))?;
    file.take(VaultKey::LEN as u64 + 1).read_to_end(&mut bytes).context("--vault-key-fd")?;
    match <[u8; VaultKey::LEN]>::try_from(bytes.as_slice()) {
        Ok(key) => Ok(VaultKey::new(key)),
        Err(_) => bail!("--vault-key-fd {fd} gave {} bytes, a vault key has {}", bytes.len(), VaultKey::LEN),
    }
}
