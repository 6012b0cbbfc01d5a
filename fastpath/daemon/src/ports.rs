//! Opens and starts the ports of the plan, and the TAPs through which the host sees its own traffic.
use crate::kernel::Quiet;
use crate::plan::{InterfacePlan, Plan, PortPlan};
use anyhow::{Context, Result, ensure};
use dpdk::{Eal, Mempool, PoolConfig, Port, PortConfig, RxQueue, TxQueue};
use sa::{Device, DeviceArg};
use std::net::IpAddr;
use std::process::Command;
use tracing::{info, warn};

/// A started port. Workers take the queues; the port itself stays for statistics.
pub struct Opened {
    pub port: Port,
    pub name: String,
    pub mac: [u8; 6],
    pub rx: Vec<RxQueue>,
    pub tx: Vec<TxQueue>,
    pub quiet: Quiet,
}

/// The exception path of one interface. Its queues belong to the main lcore.
pub struct Tap {
    /// Index of the interface it stands for.
    pub interface: u16,
    pub rx: RxQueue,
    pub tx: TxQueue,
    _port: Port,
}

/// Room for a frame of the largest MTU with tags and ESP around it.
fn frame_room(plan: &Plan) -> u16 {
    let mtu = plan.ports.iter().map(|p| p.mtu).max().unwrap_or(1500);
    (mtu + 256).max(2048).next_multiple_of(128)
}

pub fn pool(eal: &Eal, plan: &Plan) -> Result<Mempool> {
    let mut config = PoolConfig::new("packets", plan.buffers);
    config.frame = frame_room(plan);
    Mempool::create(eal, &config).context("making the packet pool (system.buffers, system.memory)")
}

/// One queue pair for each worker where the driver has that many; else as many as it has.
pub fn open_all(eal: &Eal, plan: &Plan, pool: &Mempool, workers: u16) -> Result<Vec<Opened>> {
    plan.ports.iter().map(|p| open(eal, p, pool, workers)).collect()
}

fn open(eal: &Eal, plan: &PortPlan, pool: &Mempool, workers: u16) -> Result<Opened> {
    let about = || format!("interface {} ({})", plan.name, plan.device);
    let quiet = match &plan.device {
        Device::AfPacket { interface, .. } => Quiet::new(interface.as_str()),
        _ => Quiet::default(),
    };
    let mut port = Port::open(eal, &plan.name, &plan.device).with_context(about)?;
    let limits = port.info();
    let queues = if limits.rss { workers } else { 1 };
    let config = PortConfig {
        mtu: plan.mtu,
        rx_queues: queues.clamp(1, limits.max_rx_queues.max(1)),
        tx_queues: workers.clamp(1, limits.max_tx_queues.max(1)),
        promiscuous: true,
        ..PortConfig::default()
    };
    let mac = plan.mac.unwrap_or(limits.mac);
    ensure!(mac != [0; 6], "{}: the device has no MAC address; set mac-address", about());
    let driver = limits.driver.clone();
    let (rx, tx) = port.start(&config, std::slice::from_ref(pool)).with_context(about)?;
    info!(
        interface = plan.name, device = %plan.device, driver, mac = %Mac(mac), mtu = plan.mtu,
        rx_queues = rx.len(), tx_queues = tx.len(), "port started"
    );
    Ok(Opened { port, name: plan.name.clone(), mac, rx, tx, quiet })
}

/// Makes the TAP of an interface, with the port's MAC address and the gateway's addresses, so that the
/// host's own programs (ssh, routing daemons) live behind the data path.
pub fn open_tap(eal: &Eal, plan: &Plan, interface: u16, mac: [u8; 6], pool: &Mempool) -> Result<Option<Tap>> {
    let own = &plan.interfaces[usize::from(interface)];
    let Some(name) = &own.tap else { return Ok(None) };
    let about = || format!("exception TAP {name} of interface {}", own.name);
    let args = vec![DeviceArg { key: "mac".into(), value: Mac(mac).to_string() }];
    let device = Device::Tap { interface: name.parse().with_context(about)?, args };
    let mut port = Port::open(eal, name, &device).with_context(about)?;
    let config = PortConfig { mtu: own.mtu, rx_queues: 1, tx_queues: 1, ..PortConfig::default() };
    let (mut rx, mut tx) = port.start(&config, std::slice::from_ref(pool)).with_context(about)?;
    let (Some(rx), Some(tx)) = (rx.pop(), tx.pop()) else { anyhow::bail!("{}: no queue", about()) };
    configure_system(plan, interface, own, name);
    Ok(Some(Tap { interface, rx, tx, _port: port }))
}

/// Addresses and routes of the TAP in the operating system. What fails is said; forwarding goes on.
fn configure_system(plan: &Plan, index: u16, own: &InterfacePlan, tap: &str) {
    let mut lines = vec![format!("link set dev {tap} mtu {} up", own.mtu)];
    for (address, len) in &own.addresses {
        let nodad = if address.is_ipv6() { " nodad" } else { "" };
        lines.push(format!("addr replace {address}/{len} dev {tap}{nodad}"));
    }
    for route in &plan.routes {
        if let Some((interface, Some(via))) = route.via
            && interface == index
        {
            let family = if matches!(via, IpAddr::V6(_)) { "-6" } else { "-4" };
            lines.push(format!("{family} route replace {} via {via} dev {tap}", route.dst));
        }
    }
    for line in lines {
        match Command::new("ip").args(line.split(' ')).output() {
            Ok(done) if done.status.success() => {}
            Ok(done) => warn!(tap, "ip {line}: {}", String::from_utf8_lossy(&done.stderr).trim()),
            Err(error) => return warn!(tap, "the exception path has no addresses: cannot run `ip`: {error}"),
        }
    }
}

pub struct Mac(pub [u8; 6]);
impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
