//! The independent look: tcpdump on a link, tshark over the file, with keys when it is to look inside.
use crate::lab::Lab;
use crate::netns::Netns;
use crate::process::{self, Process};
use crate::sys::Signal;
use crate::wait_until;
use anyhow::{Context, Result, anyhow, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

#[derive(Debug)]
pub struct Capture {
    tcpdump: Process,
    file: PathBuf,
}

impl Capture {
    /// Everything that passes `link`; `expression` is tcpdump's ("" for all).
    pub fn start(lab: &Lab, ns: &Netns, link: &str, expression: &str) -> Result<Self> {
        let stem = format!("capture-{}-{link}-{}", ns.name(), lab.next_number());
        let file = lab.file(&format!("{stem}.pcap"));
        let line = format!(
            "tcpdump -n -i {link} -U --immediate-mode -B 16384 -s 0 -Z root -w {} {expression}",
            file.display()
        );
        let mut tcpdump = ns.start("tcpdump", &line, &lab.file(&format!("{stem}.log")))?;
        wait_until("tcpdump", Duration::from_secs(10), || {
            tcpdump.check()?;
            ensure!(tcpdump.log().contains("listening on"), "not listening yet");
            Ok(())
        })?;
        Ok(Self { tcpdump, file })
    }
    /// Ends the capture; the file is complete then. An error when the kernel had to leave packets out.
    pub fn finish(mut self) -> Result<PathBuf> {
        self.tcpdump.signal(Signal::Interrupt)?;
        self.tcpdump.wait(Duration::from_secs(5))?;
        let log = self.tcpdump.log();
        ensure!(log.contains("\n0 packets dropped by kernel"), "the capture has holes:\n{log}");
        Ok(self.file.clone())
    }
}

/// Keys for tshark.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    options: Vec<String>,
}
impl Keys {
    /// What `espway run --key-log FILE` has written: rows of Wireshark's `ikev2_decryption_table`, and of `esp_sa` in
    /// `FILE.esp`.
    pub fn from_log(log: &Path) -> Result<Self> {
        let esp_log = PathBuf::from(format!("{}.esp", log.display()));
        Self::of(&[("ikev2_decryption_table", log), ("esp_sa", &esp_log)])
    }
    /// Rows of `esp_sa` alone, as `espway capture --keys FILE` writes them.
    pub fn from_rows(esp_sa: &Path) -> Result<Self> {
        Self::of(&[("esp_sa", esp_sa)])
    }
    fn of(tables: &[(&str, &Path)]) -> Result<Self> {
        let mut options = vec![
            "esp.enable_encryption_decode:TRUE".to_owned(),
            "esp.enable_authentication_check:TRUE".to_owned(),
        ];
        for (table, file) in tables {
            let rows = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
            ensure!(!rows.trim().is_empty(), "{} is empty", file.display());
            // What Wireshark cannot decrypt stands there as a remark.
            let rows = rows.lines().filter(|row| !row.starts_with('#'));
            options.extend(rows.map(|row| format!("uat:{table}:{row}")));
        }
        Ok(Self { options })
    }
}

/// The packets that match `filter`, one row each with the values of `fields` (several values joined by commas).
pub fn tshark(file: &Path, keys: &Keys, filter: &str, fields: &[&str]) -> Result<Vec<Vec<String>>> {
    // Without the caller's own Wireshark profile.
    let home = tempfile::tempdir()?;
    let mut command = Command::new("tshark");
    command.env("HOME", home.path()).env("XDG_CONFIG_HOME", home.path()).arg("-n").arg("-r").arg(file);
    for option in &keys.options {
        command.arg("-o").arg(option);
    }
    command.args(["-Y", filter, "-T", "fields"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let text = process::output(&mut command).context("tshark")?;
    Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

/// How many packets match each of the filters; the file is read once.
pub fn counts<const N: usize>(file: &Path, filters: [&str; N]) -> Result<[usize; N]> {
    let home = tempfile::tempdir()?;
    let mut command = Command::new("tshark");
    command.env("HOME", home.path()).env("XDG_CONFIG_HOME", home.path());
    // One row for the whole file, a pair of columns (frames, bytes) for each filter.
    command.args(["-n", "-q", "-r"]).arg(file).args(["-z", &format!("io,stat,0,{}", filters.join(","))]);
    let text = process::output(&mut command).context("tshark")?;
    let row = text.lines().find(|line| line.contains("<>"));
    // Of a file without packets there is no row.
    if row.is_none() && text.contains("Duration: 0.0") {
        return Ok([0; N]);
    }
    let cells: Vec<&str> = row.map_or_else(Vec::new, |row| row.split('|').map(str::trim).collect());
    let frames: Vec<usize> =
        cells.iter().skip(2).step_by(2).take(N).filter_map(|cell| cell.parse().ok()).collect();
    frames.try_into().map_err(|_| anyhow!("tshark counts otherwise than expected:\n{text}"))
}
pub fn count(file: &Path, filter: &str) -> Result<usize> {
    counts(file, [filter]).map(|[count]| count)
}
