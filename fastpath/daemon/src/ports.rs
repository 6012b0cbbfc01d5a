//! Opens and starts the ports of the plan, and the TAPs through which the host sees its own traffic.
use crate::kernel::Quiet;
use crate::plan::{Plan, PortPlan};
use anyhow::{Context, Result, ensure};
use dpdk::{Eal, Mempool, PoolConfig, Port, PortConfig, RxQueue, TxQueue};
use fastpath::graph::share;
use sa::{Device, DeviceArg};
use tracing::info;

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
    pub name: String,
    pub mtu: u16,
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
    let queues = |p: &PortPlan| u32::from(queues_of(&p.device).unwrap_or(plan.eal.workers.len() as u16));
    let held: u32 = plan.ports.iter().map(|p| queues(p) * held_by(&p.device)).sum();
    // Caches of the lcores, bursts under way, frames that wait for room in a transmit queue; what one worker hands over.
    let shared = if plan.share { share::held(plan.eal.workers.len()) as u32 } else { 0 };
    let need = held + 1024 * (plan.eal.workers.len() as u32 + 1) + shared;
    ensure!(
        plan.buffers >= need,
        "system.buffers is {}; the queues of these ports and the workers can hold {need}: set it to at least that",
        plan.buffers
    );
    let mut config = PoolConfig::new("packets", plan.buffers);
    config.frame = frame_room(plan);
    Mempool::create(eal, &config).context("making the packet pool (system.buffers, system.memory)")
}

/// One queue pair for each worker where the driver has that many; else as many as it has.
pub fn open_all(eal: &Eal, plan: &Plan, pool: &Mempool, workers: u16) -> Result<Vec<Opened>> {
    plan.ports.iter().map(|p| open(eal, &plan.name, p, pool, workers)).collect()
}

/// Queues the device was told to make. Whoever sends to them uses all, so all have to be read.
fn queues_of(device: &Device) -> Option<u16> {
    let keys = ["queues", "queue_count", "qpairs"];
    device.args().iter().find(|arg| keys.contains(&arg.key.as_str()))?.value.parse().ok()
}
/// Buffers one queue pair can keep.
fn held_by(device: &Device) -> u32 {
    let descriptors = 2 * u32::from(PortConfig::default().rx_descriptors);
    match device {
        // The kernel's fill ring of 2048; what was sent comes back when half of such a ring has.
        Device::AfXdp { .. } => 3072,
        Device::Pci { .. } | Device::Virtio { .. } | Device::VhostUser { .. } => descriptors,
        Device::Memif { .. } | Device::Ring { .. } => descriptors,
        // These copy.
        Device::AfPacket { .. } | Device::Tap { .. } | Device::Pcap { .. } | Device::Null => 0,
    }
}

/// The address of a port: the configured one, the hardware's, or, where the device has none that is its
/// own (or another one at each start), one that stays the same for this interface of this gateway.
fn mac_of(gateway: &str, plan: &PortPlan, device: [u8; 6]) -> [u8; 6] {
    let chosen = plan.device.args().iter().any(|arg| arg.key == "mac");
    match &plan.device {
        _ if plan.mac.is_some() => plan.mac.unwrap_or(device),
        Device::Pci { .. } | Device::AfXdp { .. } | Device::AfPacket { .. } if device != [0; 6] => device,
        Device::Virtio { .. } | Device::Memif { .. } if chosen => device,
        _ => {
            // Where there is no machine id, the names have to be enough.
            let machine = std::fs::read("/etc/machine-id").unwrap_or_default();
            derived_mac(&[&machine, gateway.as_bytes(), plan.name.as_bytes()])
        }
    }
}
/// Locally administered, of one station: FNV-1a over the parts.
fn derived_mac(parts: &[&[u8]]) -> [u8; 6] {
    let bytes = parts.iter().flat_map(|part| part.iter().copied().chain([0xff]));
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let [a, b, c, d, e, f, ..] = hash.to_be_bytes();
    [a & 0xfc | 0x02, b, c, d, e, f]
}

fn open(eal: &Eal, gateway: &str, plan: &PortPlan, pool: &Mempool, workers: u16) -> Result<Opened> {
    let about = || format!("interface {} ({})", plan.name, plan.device);
    let quiet = match &plan.device {
        Device::AfPacket { interface, .. } => Quiet::new(interface.as_str()),
        _ => Quiet::default(),
    };
    let mut port = Port::open(eal, &plan.name, &plan.device).with_context(about)?;
    let limits = port.info();
    let queues = queues_of(&plan.device).unwrap_or(if limits.rss { workers } else { 1 });
    let config = PortConfig {
        mtu: plan.mtu,
        rx_queues: queues.clamp(1, limits.max_rx_queues.max(1)),
        tx_queues: workers.clamp(1, limits.max_tx_queues.max(1)),
        promiscuous: true,
        ..PortConfig::default()
    };
    let mac = mac_of(gateway, plan, limits.mac);
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
    // The driver has a limit; the host then sends, and asks for, smaller packets than the port could carry.
    let mtu = own.mtu.min(port.info().max_mtu);
    let config = PortConfig { mtu, rx_queues: 1, tx_queues: 1, ..PortConfig::default() };
    let (mut rx, mut tx) = port.start(&config, std::slice::from_ref(pool)).with_context(about)?;
    let (Some(rx), Some(tx)) = (rx.pop(), tx.pop()) else { anyhow::bail!("{}: no queue", about()) };
    Ok(Some(Tap { interface, name: name.clone(), mtu, rx, tx, _port: port }))
}

pub struct Mac(pub [u8; 6]);
impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(device: &str, mac: Option<[u8; 6]>) -> PortPlan {
        PortPlan { name: "wan".into(), device: device.parse().expect("a device"), mtu: 1500, mac }
    }
    #[test]
    fn a_port_without_an_address_of_its_own_gets_one_that_stays() {
        let (device, configured) = ([2, 0, 0, 0, 0, 9], [2, 1, 1, 1, 1, 1]);
        for kind in ["af-packet:eth1", "af-xdp:eth1", "pci:0000:01:00.0", "memif:/s,mac=02:00:00:00:00:09"] {
            assert_eq!(mac_of("a", &plan(kind, None), device), device, "{kind}");
            assert_eq!(mac_of("a", &plan(kind, Some(configured)), device), configured, "{kind}");
        }
        for kind in ["ring:r", "vhost-user:/s", "virtio:/s", "memif:/s", "tap:t0", "null", "pcap:a,b"] {
            let mac = mac_of("a", &plan(kind, None), device);
            assert_eq!(mac[0] & 3, 2, "{kind}: locally administered, one station");
            assert_eq!(mac, mac_of("a", &plan(kind, None), [0; 6]), "{kind}");
            assert_ne!(mac, mac_of("b", &plan(kind, None), device), "{kind}");
            assert_ne!(mac, mac_of("a", &PortPlan { name: "lan".into(), ..plan(kind, None) }, device));
            assert_eq!(mac_of("a", &plan(kind, Some(configured)), device), configured, "{kind}");
        }
    }
    #[test]
    fn all_queues_a_device_is_told_to_make_are_read() {
        for (device, queues) in [
            ("af-xdp:eth1,queue_count=4", Some(4)),
            ("af-packet:eth1,qpairs=2", Some(2)),
            ("vhost-user:/s,queues=3", Some(3)),
            ("virtio:/s,queues=3", Some(3)),
            ("af-packet:eth1", None),
        ] {
            assert_eq!(queues_of(&device.parse().expect("a device")), queues, "{device}");
        }
    }
}
