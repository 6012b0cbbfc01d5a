//! The topology: who is connected to whom, which kind of site stands where, NAT and loss on the way.
use crate::addr::Side;
use crate::janitor::Janitor;
use crate::netns::Netns;
use crate::process::tail;
use crate::secrets::Secrets;
use crate::sys;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// DPDK owns `wan0` and `lan0`: the kernel has no address on them.
    Dpdk,
    /// The namespace's kernel routes; strongSwan runs in it.
    Kernel,
    /// Nothing yet: taps (a guest's, or DPDK's own) will take the place of the site's cables.
    Taps,
}

/// What to build.
#[derive(Clone, Debug)]
pub struct Plan {
    pub sites: [Site; 2],
    /// The WAN router masquerades this side (IPv4) with random ports and drops what nobody inside asked for.
    pub nat: Option<Side>,
    /// Datagrams lost on the WAN, each direction.
    pub loss_percent: u32,
    pub wan_mtu: u32,
    /// Of the hosts' links. Room for ESP is left by default; what happens without it is a test of its own.
    pub lan_mtu: u32,
}
impl Plan {
    pub fn new(site_a: Site, site_b: Site) -> Self {
        Self { sites: [site_a, site_b], nat: None, loss_percent: 0, wan_mtu: 1500, lan_mtu: 1400 }
    }
    pub fn nat(mut self, side: Option<Side>) -> Self {
        self.nat = side;
        self
    }
}

#[derive(Debug)]
pub struct Lab {
    hosts: [Netns; 2],
    sites: [Netns; 2],
    pub wan: Netns,
    dir: PathBuf,
    keep: bool,
    plan: Plan,
    numbers: AtomicU32,
    // Last: everything above is gone or ended when the janitor cleans up.
    janitor: Janitor,
}

impl Lab {
    pub fn build(plan: &Plan) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        ensure!(sys::is_root(), "network namespaces need root: run this as root or with sudo -E");
        let run = format!("espway-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut janitor = Janitor::hire()?;
        let dir = std::env::temp_dir().join(&run);
        janitor.directory(&dir)?;
        std::fs::create_dir(&dir).with_context(|| format!("{}", dir.display()))?;
        let mut make = |role: &str| {
            let name = format!("{run}-{role}");
            janitor.namespace(&name)?;
            Netns::create(name)
        };
        let hosts = [make("host-a")?, make("host-b")?];
        let sites = [make("site-a")?, make("site-b")?];
        let wan = make("wan")?;
        let lab = Self {
            hosts,
            sites,
            wan,
            dir,
            keep: false,
            plan: plan.clone(),
            numbers: AtomicU32::new(1),
            janitor,
        };
        lab.wan.sysctl(&["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])?;
        for side in Side::BOTH {
            match plan.sites[side as usize] {
                Site::Taps => {} // the taps are moved into place by `attach_taps`
                kind => lab.cable(side, kind)?,
            }
        }
        lab.router_rules()?;
        Ok(lab)
    }
    pub fn host(&self, side: Side) -> &Netns {
        &self.hosts[side as usize]
    }
    pub fn site(&self, side: Side) -> &Netns {
        &self.sites[side as usize]
    }
    /// Logs, captures and configurations of this run.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
    /// For file names that must not meet.
    pub(crate) fn next_number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }
    /// Leaves [`Lab::dir`] where it is when the lab goes.
    pub fn keep_files(&mut self) -> Result<()> {
        self.keep = true;
        self.janitor.keep_files()
    }
    /// Name of the router's link towards a site.
    pub fn wan_link(side: Side) -> &'static str {
        match side {
            Side::A => "a0",
            Side::B => "b0",
        }
    }

    fn cable(&self, side: Side, kind: Site) -> Result<()> {
        let (site, router) = (self.site(side), Self::wan_link(side));
        let (mtu, lan_mtu) = (self.plan.wan_mtu, self.plan.lan_mtu);
        site.ip(&format!(
            "link add wan0 mtu {mtu} type veth peer name {router} mtu {mtu} netns {}\n\
             link add lan0 type veth peer name lan0 netns {}\n\
",
            self.wan.name(),
            self.host(side).name()
        ))?;
        if kind == Site::Dpdk {
            site.sysctl(&["net.ipv6.conf.wan0.disable_ipv6=1", "net.ipv6.conf.lan0.disable_ipv6=1"])?;
        }
        site.ip("link set wan0 up\nlink set lan0 up\n")?;
        self.host_ends(side, lan_mtu)?;
        for (ns, link) in [(site, "wan0"), (site, "lan0"), (&self.wan, router), (self.host(side), "lan0")] {
            ns.offloads_off(link)?;
        }
        match kind {
            // The fast path keeps the kernel off its ports by itself.
            Site::Dpdk => {}
            Site::Kernel | Site::Taps => {
                site.sysctl(&["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])?;
                site.ip(&site_addresses(side, "wan0", "lan0"))?;
            }
        }
        Ok(())
    }
    fn host_ends(&self, side: Side, lan_mtu: u32) -> Result<()> {
        let router = Self::wan_link(side);
        self.wan.ip(&format!(
            "addr add {}/24 dev {router}\naddr add {}/64 dev {router} nodad\nlink set {router} up\n",
            side.router4(),
            side.router6()
        ))?;
        self.host(side).ip(&format!(
            "addr add {}/24 dev lan0\naddr add {}/64 dev lan0 nodad\nlink set lan0 mtu {lan_mtu} up\n\
             route add default via {}\nroute add ::/0 via {}\n",
            side.host4(),
            side.host6(),
            side.lan4(),
            side.lan6()
        ))
    }
    /// Moves taps made in a site planned as [`Site::Taps`] to where its cables would end.
    pub fn attach_taps(&self, side: Side, wan_tap: &str, lan_tap: &str) -> Result<()> {
        let router = Self::wan_link(side);
        self.site(side).ip(&format!(
            "link set {wan_tap} netns {} name {router}\nlink set {lan_tap} netns {} name lan0\n",
            self.wan.name(),
            self.host(side).name()
        ))?;
        self.host_ends(side, self.plan.lan_mtu)
    }
    fn router_rules(&self) -> Result<()> {
        if let Some(inside) = self.plan.nat {
            let (inside, outside) = (Self::wan_link(inside), Self::wan_link(inside.other()));
            self.wan.nft(&format!(
                "table ip nat {{\nchain post {{\ntype nat hook postrouting priority 100;\n\
                 oifname \"{outside}\" masquerade random\n}}\n}}\n\
                 table ip filter {{\nchain forward {{\ntype filter hook forward priority 0;\n\
                 iifname \"{outside}\" oifname \"{inside}\" ct state established,related accept\n\
                 iifname \"{outside}\" oifname \"{inside}\" drop\n}}\n}}\n"
            ))?;
        }
        self.set_loss(self.plan.loss_percent)
    }
    /// Random loss of forwarded datagrams on the WAN from now on. 0 ends it.
    pub fn set_loss(&self, percent: u32) -> Result<()> {
        let mut rules = "table inet loss {}\ndelete table inet loss\n".to_owned();
        if percent > 0 {
            // A comparison that is always true is not taken.
            let which =
                if percent < 100 { format!("numgen random mod 100 < {percent} ") } else { String::new() };
            rules += &format!(
                "table inet loss {{\nchain forward {{\ntype filter hook forward priority 10;\n\
                 {which}drop\n}}\n}}\n"
            );
        }
        self.wan.nft(&rules)
    }
    /// Nothing passes the WAN (`true`), or everything again.
    pub fn set_partition(&self, cut: bool) -> Result<()> {
        self.set_loss(if cut { 100 } else { 0 })
    }
}

/// Addresses and routes of a site whose kernel routes, as lines for `ip -batch`.
pub(crate) fn site_addresses(side: Side, wan: &str, lan: &str) -> String {
    format!(
        "addr add {}/24 dev {wan}\naddr add {}/64 dev {wan} nodad\n\
         addr add {}/24 dev {lan}\naddr add {}/64 dev {lan} nodad\n\
         link set {wan} up\nlink set {lan} up\n\
         route add default via {}\nroute add ::/0 via {}\n",
        side.wan4(),
        side.wan6(),
        side.lan4(),
        side.lan6(),
        side.router4(),
        side.router6()
    )
}

impl Lab {
    /// Builds, lets `body` work, searches the logs for secrets, and when anything fails shows every log and keeps the files.
    pub fn run(plan: &Plan, body: impl FnOnce(&Lab) -> Result<()>) -> Result<()> {
        let mut lab = Self::build(plan)?;
        let result = body(&lab).and_then(|()| Secrets::of(&lab.dir)?.expect_none_in_logs(&lab.dir));
        if result.is_err() {
            lab.show_logs();
        }
        result
    }
    fn show_logs(&mut self) {
        eprintln!("── files of the failed run are in {}", self.dir.display());
        // A janitor that is gone has cleaned up already.
        let _ = self.keep_files();
        self.print_logs();
    }
    /// The end of every log, on standard error.
    pub fn print_logs(&self) {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return };
        let mut logs: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        logs.retain(|path| path.extension().is_some_and(|ext| ext == "log"));
        logs.sort();
        for log in logs {
            let text = std::fs::read(&log).unwrap_or_default();
            eprintln!("── {}\n{}", log.display(), tail(&String::from_utf8_lossy(&text), 60));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.keep {
            self.show_logs();
        }
    }
}
