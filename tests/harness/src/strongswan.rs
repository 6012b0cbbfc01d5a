//! strongSwan as the other side: one charon in a namespace (ESP in user space, inside UDP) or in a guest (the
//! kernel's own ESP), configured with swanctl and asked through its vici socket.
use crate::guest::Guest;
use crate::lab::Lab;
use crate::netns::Netns;
use crate::process::{self, Process};
use crate::wait_until;
use anyhow::{Context, Result, ensure};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// One connection with one child, in swanctl's terms.
#[derive(Clone, Debug)]
pub struct Swan {
    pub local: IpAddr,
    /// `None`: answers anyone (`%any`).
    pub remote: Option<IpAddr>,
    pub local_id: String,
    pub remote_id: String,
    pub psk: String,
    pub ike: String,
    pub esp: String,
    /// AH instead of ESP, if not empty.
    pub ah: String,
    pub local_ts: Vec<String>,
    pub remote_ts: Vec<String>,
    /// Seconds between liveness checks; 0 is off.
    pub dpd_delay: u32,
    /// `none`, `trap` or `start`.
    pub start_action: &'static str,
    /// What DPD does with the child: `clear`, `trap` or `restart`.
    pub dpd_action: &'static str,
    /// More lines for the connection and for its child.
    pub connection: Vec<String>,
    pub child: Vec<String>,
    /// Further children, `net0` and so on: networks here, networks there, ESP proposals.
    pub others: Vec<[String; 3]>,
}

impl Swan {
    pub const CONNECTION: &'static str = "gw";
    pub const CHILD: &'static str = "net";

    pub fn new(local: IpAddr, remote: Option<IpAddr>, psk: &str) -> Self {
        Self {
            local,
            remote,
            local_id: local.to_string(),
            remote_id: remote.map_or_else(|| "%any".to_owned(), |address| address.to_string()),
            psk: psk.to_owned(),
            ike: "aes256-sha256-modp2048".to_owned(),
            esp: "aes128gcm16".to_owned(),
            ah: String::new(),
            local_ts: Vec::new(),
            remote_ts: Vec::new(),
            dpd_delay: 0,
            start_action: "none",
            dpd_action: "clear",
            connection: Vec::new(),
            child: Vec::new(),
            others: Vec::new(),
        }
    }
    pub fn suites(mut self, ike: &str, esp: &str) -> Self {
        (self.ike, self.esp) = (ike.to_owned(), esp.to_owned());
        self
    }
    pub fn selectors(mut self, local: String, remote: String) -> Self {
        self.local_ts.push(local);
        self.remote_ts.push(remote);
        self
    }

    /// One setting a line: a value runs to the end of its line.
    pub fn to_conf(&self) -> String {
        let remote = self.remote.map_or_else(|| "%any".to_owned(), |address| address.to_string());
        let lines = |more: &[String]| more.iter().map(|line| format!("{line}\n")).collect::<String>();
        let other = |(n, [local, remote, esp]): (usize, &[String; 3])| {
            let child = Self::CHILD;
            format!("{child}{n} {{\nlocal_ts = {local}\nremote_ts = {remote}\nesp_proposals = {esp}\n}}\n")
        };
        let others: String = self.others.iter().enumerate().map(other).collect();
        format!(
            "connections {{\n{connection} {{\nversion = 2\nmobike = no\nlocal_addrs = {local}\nremote_addrs = {remote}\n\
             proposals = {ike}\ndpd_delay = {dpd}s\nunique = replace\n{more}\
             local {{\nauth = psk\nid = {local_id}\n}}\nremote {{\nauth = psk\nid = {remote_id}\n}}\n\
             children {{\n{child} {{\nlocal_ts = {local_ts}\nremote_ts = {remote_ts}\n{protect}\n\
             start_action = {start}\ndpd_action = {dpd_action}\nclose_action = none\n{child_more}}}\n{others}}}\n}}\n}}\n\
             secrets {{\nike-1 {{\nsecret = \"{psk}\"\n}}\n}}\n",
            connection = Self::CONNECTION,
            child = Self::CHILD,
            local = self.local,
            ike = self.ike,
            dpd = self.dpd_delay,
            more = lines(&self.connection),
            local_id = self.local_id,
            remote_id = self.remote_id,
            local_ts = self.local_ts.join(","),
            remote_ts = self.remote_ts.join(","),
            protect = match self.ah.as_str() {
                "" => format!("esp_proposals = {}", self.esp),
                ah => format!("ah_proposals = {ah}"),
            },
            start = self.start_action,
            dpd_action = self.dpd_action,
            child_more = lines(&self.child),
            psk = self.psk,
        )
    }
}

/// What PSK tunnels need and nothing else: a charon with all of Debian's plugins takes long to start in a guest.
const PLUGINS: &str =
    "random nonce aes sha1 sha2 md5 hmac kdf gcm ccm ctr xcbc cmac chapoly gmp curve25519 openssl drbg";

/// `enc` and `ike` at level 4 would print keys; level 2 names every payload and notify.
const LOGS: &str = "filelog {\nf {\npath = /run/ss/log\ndefault = 1\nike = 2\nenc = 1\ncfg = 2\nknl = 1\nflush_line = yes\n\
                    time_format = %H:%M:%S\n}\n}\n";

fn strongswan_conf(user_space_esp: bool, more: &str) -> String {
    // The first that can do ESP does it.
    let esp = if user_space_esp { "kernel-libipsec kernel-netlink" } else { "kernel-netlink" };
    format!(
        "charon-systemd {{\nload = {PLUGINS} {esp} socket-default vici\nretransmit_timeout = 1.0\nretransmit_tries = 4\n\
         {more}journal {{\ndefault = -1\n}}\n\
         plugins {{\nvici {{\nsocket = unix:///run/charon.vici\n}}\n}}\n}}\n\
         swanctl {{\nload = random\n}}\n"
    )
}

#[derive(Debug)]
enum Place<'a> {
    Namespace { charon: Process, log: PathBuf },
    Guest(&'a Guest),
}

#[derive(Debug)]
pub struct StrongSwan<'a> {
    place: Place<'a>,
}

const ENVIRONMENT: [&str; 2] = ["STRONGSWAN_CONF=/run/ss/strongswan.conf", "SWANCTL_DIR=/run/ss/swanctl"];

impl<'a> StrongSwan<'a> {
    /// In a namespace, with ESP in user space (Debian's `kernel-libipsec`: tunnel mode inside UDP only).
    pub fn start(lab: &Lab, ns: &Netns, swan: &Swan) -> Result<StrongSwan<'static>> {
        Self::start_with(lab, ns, &swan.to_conf())
    }
    /// The same with the text of a swanctl.conf.
    pub fn start_with(lab: &Lab, ns: &Netns, conf: &str) -> Result<StrongSwan<'static>> {
        Self::start_in(lab, ns, conf, &strongswan_conf(true, LOGS), &[])
    }
    /// One that logs nothing, with more settings of charon and certificates: for measurements.
    pub fn start_quiet(
        lab: &Lab,
        ns: &Netns,
        conf: &str,
        more: &str,
        files: &[(&str, Vec<u8>)],
    ) -> Result<StrongSwan<'static>> {
        // Its fastest public-key arithmetic is that of OpenSSL.
        let load = "load = openssl x509 pem pkcs1 pkcs8 pubkey constraints ";
        let settings = strongswan_conf(true, more).replacen("load = ", load, 1);
        Self::start_in(lab, ns, conf, &settings, files)
    }
    /// `files` by their places in swanctl's folder.
    fn start_in(
        lab: &Lab,
        ns: &Netns,
        conf: &str,
        settings: &str,
        files: &[(&str, Vec<u8>)],
    ) -> Result<StrongSwan<'static>> {
        let name = format!("charon-{}", ns.name());
        let prepared = lab.file(&name);
        std::fs::create_dir_all(prepared.join("swanctl"))?;
        for (file, bytes) in files {
            let file = prepared.join("swanctl").join(file);
            std::fs::create_dir_all(file.parent().unwrap_or(&prepared))?;
            std::fs::write(&file, bytes)?;
        }
        std::fs::write(prepared.join("strongswan.conf"), settings)?;
        std::fs::write(prepared.join("swanctl/swanctl.conf"), conf)?;
        let log = prepared.with_extension("log");
        // A private /run: vici socket, pid file and logs of several charons do not meet.
        let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/ss/swanctl && cp \"$1\"/strongswan.conf /run/ss/ \
                      && cp -r \"$1\"/swanctl/. /run/ss/swanctl/ && ln -s \"$2\" /run/ss/log \
                      && exec env STRONGSWAN_CONF=/run/ss/strongswan.conf /usr/sbin/charon-systemd";
        let mut command = ns.command("unshare");
        command.args(["-m", "sh", "-c", script, "sh"]).arg(&prepared).arg(&log);
        let charon = Process::start(&name, &mut command, &prepared.with_extension("out.log"))?;
        let mut this = StrongSwan { place: Place::Namespace { charon, log } };
        this.load()?;
        Ok(this)
    }
    /// Another strongSwan, from a directory with a whole system.
    pub fn start_in_root(lab: &Lab, ns: &Netns, root: &Path, conf: &str) -> Result<StrongSwan<'static>> {
        let name = format!("charon-{}", ns.name());
        let prepared = lab.file(&name);
        std::fs::create_dir_all(&prepared)?;
        std::fs::write(prepared.join("strongswan.conf"), strongswan_conf(true, LOGS))?;
        std::fs::write(prepared.join("swanctl.conf"), conf)?;
        let script = "mount -t proc proc \"$2\"/proc && mount --bind /dev \"$2\"/dev && mount -t tmpfs tmpfs \"$2\"/run \
                      && mkdir -p \"$2\"/run/ss/swanctl && cp \"$1\"/strongswan.conf \"$2\"/run/ss/ \
                      && cp \"$1\"/swanctl.conf \"$2\"/run/ss/swanctl/ \
                      && exec chroot \"$2\" env STRONGSWAN_CONF=/run/ss/strongswan.conf /usr/sbin/charon-systemd";
        let mut command = ns.command("unshare");
        command.args(["-m", "sh", "-c", script, "sh"]).arg(&prepared).arg(root);
        let charon = Process::start(&name, &mut command, &prepared.with_extension("out.log"))?;
        let log = PathBuf::from(format!("/proc/{}/root/run/ss/log", charon.pid()));
        let mut this = StrongSwan { place: Place::Namespace { charon, log } };
        this.load()?;
        Ok(this)
    }
    /// In a guest, with the guest kernel's ESP.
    pub fn start_in_guest(guest: &'a Guest, swan: &Swan) -> Result<StrongSwan<'a>> {
        guest.sh("mkdir -p /run/ss/swanctl")?;
        guest.put("/run/ss/strongswan.conf", &strongswan_conf(false, LOGS))?;
        guest.put("/run/ss/swanctl/swanctl.conf", &swan.to_conf())?;
        guest.sh(&format!(
            "{} setsid /usr/sbin/charon-systemd >/run/ss/out 2>&1 </dev/null &",
            ENVIRONMENT[0]
        ))?;
        let mut this = StrongSwan { place: Place::Guest(guest) };
        this.load()?;
        Ok(this)
    }
    fn load(&mut self) -> Result<()> {
        wait_until("charon's vici socket", Duration::from_secs(60), || match &mut self.place {
            Place::Namespace { charon, .. } => {
                charon.check()?;
                let socket = format!("/proc/{}/root/run/charon.vici", charon.pid());
                ensure!(Path::new(&socket).exists(), "no socket yet");
                Ok(())
            }
            Place::Guest(guest) => guest.sh("[ -S /run/charon.vici ]").map(drop),
        })?;
        self.control("--load-all").map(drop)
    }
    /// Runs `swanctl` with these words.
    pub fn control(&self, words: &str) -> Result<String> {
        match &self.place {
            Place::Namespace { charon, .. } => {
                let pid = charon.pid().to_string();
                process::output(
                    Command::new("nsenter")
                        .args(["-t", &pid, "-n", "-m", "-r", "-w", "env"])
                        .args(ENVIRONMENT)
                        .arg("swanctl")
                        .args(words.split_whitespace()),
                )
            }
            Place::Guest(guest) => {
                guest.sh(&format!("{} {} swanctl {words}", ENVIRONMENT[0], ENVIRONMENT[1]))
            }
        }
    }
    /// Of charon, where it is a process of this machine.
    pub fn pid(&self) -> Option<u32> {
        match &self.place {
            Place::Namespace { charon, .. } => Some(charon.pid()),
            Place::Guest(_) => None,
        }
    }
    pub fn log(&self) -> Result<String> {
        match &self.place {
            Place::Namespace { log, .. } => {
                std::fs::read_to_string(log).with_context(|| log.display().to_string())
            }
            Place::Guest(guest) => guest.sh("cat /run/ss/log"),
        }
    }
    /// Takes another configuration; what is up under the former one goes.
    pub fn reconfigure(&self, swan: &Swan) -> Result<()> {
        // A connection that is there may be one that never came up.
        let _ = self.terminate();
        match &self.place {
            Place::Namespace { charon, .. } => {
                let file = format!("/proc/{}/root/run/ss/swanctl/swanctl.conf", charon.pid());
                std::fs::write(&file, swan.to_conf()).with_context(|| file.clone())?;
            }
            Place::Guest(guest) => guest.put("/run/ss/swanctl/swanctl.conf", &swan.to_conf())?,
        }
        self.control("--load-all --clear").map(drop)
    }
    pub fn initiate(&self) -> Result<()> {
        self.control(&format!("--initiate --child {} --timeout 20", Swan::CHILD)).map(drop)
    }
    pub fn rekey_child(&self) -> Result<()> {
        self.control(&format!("--rekey --child {}", Swan::CHILD)).map(drop)
    }
    pub fn rekey_ike(&self) -> Result<()> {
        self.control(&format!("--rekey --ike {}", Swan::CONNECTION)).map(drop)
    }
    pub fn terminate_child(&self) -> Result<()> {
        self.control(&format!("--terminate --child {}", Swan::CHILD)).map(drop)
    }
    pub fn terminate(&self) -> Result<()> {
        self.control(&format!("--terminate --ike {}", Swan::CONNECTION)).map(drop)
    }
    pub fn sas(&self) -> Result<Sas> {
        self.control("--list-sas").map(|text| Sas { text })
    }
    /// SIGKILL: the peer that vanishes without a word.
    pub fn kill(&mut self) -> Result<()> {
        match &mut self.place {
            Place::Namespace { charon, .. } => charon.kill(),
            Place::Guest(guest) => guest.sh("kill -9 $(pidof charon-systemd)").map(drop),
        }
    }
}

/// `swanctl --list-sas`, read for what tests ask.
#[derive(Clone, Debug)]
pub struct Sas {
    pub text: String,
}
impl Sas {
    pub fn ike_established(&self) -> usize {
        self.text.matches(", ESTABLISHED,").count()
    }
    pub fn children_installed(&self) -> usize {
        self.text.matches(", INSTALLED,").count()
    }
    /// SPIs of the IKE SAs, as `initiator_i* responder_r`.
    pub fn ike_spis(&self) -> Vec<String> {
        let marked = |word: &&str| word.ends_with("_i") || word.ends_with("_r");
        let words = self.text.split_whitespace().map(|word| word.trim_end_matches('*'));
        words.filter(marked).map(str::to_owned).collect()
    }
    /// SPIs of what the peer receives (`in`) on installed children.
    pub fn inbound_spis(&self) -> Vec<u32> {
        self.spis("in")
    }
    pub fn outbound_spis(&self) -> Vec<u32> {
        self.spis("out")
    }
    fn spis(&self, direction: &str) -> Vec<u32> {
        let lines = self.text.lines().map(str::trim).filter(|line| line.starts_with(direction));
        lines
            .filter_map(|line| line.split_whitespace().nth(1))
            .filter_map(|word| u32::from_str_radix(word.trim_end_matches(','), 16).ok())
            .collect()
    }
    pub fn expect_one_tunnel(&self) -> Result<()> {
        ensure!(
            self.ike_established() == 1 && self.children_installed() == 1,
            "expected one IKE SA and one child:\n{}",
            self.text
        );
        Ok(())
    }
}
