//! What all processes log with: RouterOS's topics on every event, rows of `system logging`, levels per peer that change
//! at run time, limits per kind of message, and text or JSON to standard error, a file or the journal.
//!
//! A message is made of an event's fields; secrets have no `Display`, and their `Debug` says nothing.
#![forbid(unsafe_code)]

mod filter;
mod layer;
mod limit;
mod output;
mod relay;
mod ring;
mod syslog;
mod topics;

pub use filter::{Action, Rule};
pub use layer::Handle;
pub use relay::Seen;
pub use ring::Entry;
pub use syslog::Target;
pub use topics::topics;

use anyhow::Context;
use std::ffi::OsString;
use std::path::PathBuf;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Where the slow path takes in the lines of other processes, beside its other sockets.
pub const SOCKET: &str = "log.sock";

/// Where to and how much; every program that logs has these.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How much is logged: error, warn, info, debug, trace, or by part like `ike=debug,info`.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
    /// One JSON object per line of log.
    #[arg(long)]
    pub log_json: bool,
    /// Also log to this file. Who moves it away (logrotate) gets a new one.
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Log to systemd's journal, with fields, instead of standard error.
    #[arg(long)]
    pub log_journald: bool,
}
impl Options {
    /// The same for a process that is started.
    pub fn arguments(&self) -> anyhow::Result<Vec<OsString>> {
        let mut out: Vec<OsString> = vec!["--log-level".into(), self.log_level.clone().into()];
        out.extend(self.log_json.then(|| "--log-json".into()));
        out.extend(self.log_journald.then(|| "--log-journald".into()));
        if let Some(file) = &self.log_file {
            out.extend(["--log-file".into(), std::path::absolute(file).context("--log-file")?.into()]);
        }
        Ok(out)
    }
    /// From now on this process logs.
    pub fn start(&self) -> anyhow::Result<Handle> {
        let (layer, handle) = layer::Layer::new(self)?;
        tracing_subscriber::registry().with(layer).init();
        Ok(handle)
    }
}
