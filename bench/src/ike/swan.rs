//! strongSwan's responder, as its own documentation tunes it for many handshakes: large hash tables, no limits against
//! floods, nothing logged.
use super::papers::{GATEWAY, Papers, SECRET};
use anyhow::{Context, Result};
use harness::{Lab, Netns, StrongSwan};
use std::time::Duration;

pub struct Charon(StrongSwan<'static>);

const TUNING: &str = "threads = 24\nikesa_table_size = 4096\nikesa_table_segments = 16\ndos_protection = no\n\
                      cookie_threshold = 0\nblock_threshold = 0\nhalf_open_timeout = 30\ndh_exponent_ansi_x9_42 = no\n";

impl Charon {
    pub fn start(lab: &Lab, site: &Netns, certificates: bool, group: &str, papers: &Papers) -> Result<Self> {
        let (auth, certs, by) = match certificates {
            false => ("psk", "", ""),
            true => ("pubkey", "certs = gateway.pem\n", "cacerts = authority.pem\n"),
        };
        let conf = format!(
            "connections {{\ngw {{\nversion = 2\nmobike = no\nlocal_addrs = %any\nremote_addrs = %any\nunique = never\n\
             proposals = aes128-sha256-{group}\nlocal {{\nauth = {auth}\n{certs}id = {GATEWAY}\n}}\n\
             remote {{\nauth = {auth}\n{by}}}\n\
             children {{\nnet {{\nlocal_ts = 10.2.0.0/24\nremote_ts = 10.1.0.0/24\nesp_proposals = aes128gcm16\n\
             rekey_time = 0\n}}\n}}\n}}\n}}\nsecrets {{\nike-1 {{\nsecret = \"{SECRET}\"\n}}\n}}\n",
        );
        StrongSwan::start_quiet(lab, site, &conf, TUNING, &papers.files()).map(Self)
    }
    /// Processor time of all its threads.
    pub fn spent(&self) -> Result<Duration> {
        let tasks = format!("/proc/{}/task", self.0.pid().context("charon has no process here")?);
        let mut all = 0;
        for task in std::fs::read_dir(&tasks).with_context(|| tasks.clone())? {
            // Nanoseconds on a processor, nanoseconds waiting, turns.
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            all += text.split(' ').next().context("schedstat")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(all))
    }
    pub fn version(&self) -> Result<String> {
        let text = self.0.control("--version")?;
        Ok(text.lines().next().unwrap_or_default().replace("swanctl ", ""))
    }
}
