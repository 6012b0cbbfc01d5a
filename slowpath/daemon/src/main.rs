//! `espway-slowpath`: process 2. Started and watched by `espway run`; each can be restarted without the other.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail};
use clap::Parser;
use espway_slowpath::run::{Options, run};
use ipc::VaultKey;
use std::io::Read;
use std::path::PathBuf;
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
    #[command(flatten)]
    logs: logs::Options,
    /// Write all keys to this file and FILE.esp, in Wireshark's formats. Whoever reads them reads the traffic.
    #[arg(long)]
    key_log: Option<PathBuf>,
    /// Folder for former configurations. Without it changes cannot be taken back.
    #[arg(long)]
    history: Option<PathBuf>,
    /// Threads for Diffie-Hellman and signatures, while which messages, timers and questions go on; 0 for none.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(..=64))]
    crypto_threads: u8,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let logs = arguments.logs.start()?;
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
        crypto_threads: arguments.crypto_threads.into(),
    };
    run(options, &logs)
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
