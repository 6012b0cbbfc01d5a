//! The tester's ends of the two cables.
use crate::scene;
use anyhow::{Context, Result, bail, ensure};
use dpdk::{
    Burst, Eal, EalConfig, Hugepages, Lcore, LogLevel, Mempool, PciAllow, PoolConfig, Port, PortConfig,
};
use dpdk::{RxQueue, TxQueue};
use sa::Device;
use std::net::Ipv4Addr;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};
use wire::Mac;

/// What the cables are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    Memif,
    /// The gateway has the device side, the tester is the guest.
    VhostUser,
    /// Devices named by the user.
    Devices(Box<Devices>),
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devices {
    pub lan: Device,
    pub wan: Device,
    pub dut_lan: Device,
    pub dut_wan: Device,
}
impl Link {
    pub fn name(&self) -> String {
        match self {
            Self::Memif => "memif".into(),
            Self::VhostUser => "vhost-user".into(),
            Self::Devices(d) => format!("{} and {}", d.lan, d.wan),
        }
    }
    /// Whether a full queue of the tester's means that the gateway does not fetch. With a NIC between them it
    /// means that the wire, or the kernel, is slower than the tester.
    pub fn shared_memory(&self) -> bool {
        match self {
            Self::Memif | Self::VhostUser => true,
            Self::Devices(d) => {
                matches!(d.lan, Device::Memif { .. } | Device::Virtio { .. } | Device::VhostUser { .. })
            }
        }
    }
    /// Both ends' devices, the gateway's first.
    pub fn devices(&self, shape: &Shape, dir: &Path, name: &str) -> Result<[(Device, Device); 2]> {
        let socket = |port: &str| dir.join(format!("{name}-{port}"));
        let pair = |port: &str| -> Result<(Device, Device)> {
            let path = socket(port);
            let path = path.display();
            let (dut, tester) = match self {
                Self::Memif => {
                    let shape = format!("bsize={},rsize={}", shape.buffer(), shape.ring_log2);
                    (
                        format!("memif:{path},role=server,id=0,{shape}"),
                        format!("memif:{path},role=client,id=0,{shape}"),
                    )
                }
                _ => {
                    let queues = shape.queues;
                    (
                        format!("vhost-user:{path},queues={queues}"),
                        format!("virtio:{path},queues={queues},queue_size={}", 1u32 << shape.ring_log2),
                    )
                }
            };
            Ok((Device::from_str(&dut)?, Device::from_str(&tester)?))
        };
        match self {
            Self::Devices(d) => Ok([(d.dut_lan.clone(), d.lan.clone()), (d.dut_wan.clone(), d.wan.clone())]),
            _ => Ok([pair("lan")?, pair("wan")?]),
        }
    }
}

/// Sizes of a cable's rings.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// MTU of the WAN, the larger one.
    pub mtu: u16,
    pub ring_log2: u32,
    pub queues: u16,
}
impl Shape {
    fn buffer(&self) -> u32 {
        (u32::from(self.mtu) + 64).next_multiple_of(128).max(2048)
    }
}

/// The tester's DPDK.
pub fn start_eal(cpu: u16, memory_mib: u32, hugepages: Hugepages, devices: &Link) -> Result<Eal> {
    let mut config = EalConfig::new(format!("espway-lab-{}", std::process::id()));
    config.program = "espway-lab".into();
    config.main = Lcore { id: 0, cpu: cpu.into() };
    config.memory_mib = memory_mib;
    config.hugepages = hugepages;
    config.log_level = LogLevel::Warning;
    if let Link::Devices(d) = devices {
        config.pci = [&d.lan, &d.wan].into_iter().filter_map(allow).collect();
    }
    Eal::init(&config).context("starting the tester's DPDK")
}
fn allow(device: &Device) -> Option<PciAllow> {
    let Device::Pci { address, args } = device else { return None };
    let args = args.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    Some(PciAllow { address: *address, args })
}

pub fn pool(eal: &Eal, mtu: u16) -> Result<Mempool> {
    let mut config = PoolConfig::new("tester", 8191);
    config.frame = (mtu + 128).max(2048).next_multiple_of(128);
    Mempool::create(eal, &config).context("the tester's packet buffers")
}

/// One end: queues, and who is at this end and at the other.
pub struct End {
    pub rx: Vec<RxQueue>,
    pub tx: Vec<TxQueue>,
    pub mac: Mac,
    pub dut_mac: Mac,
    own: Ipv4Addr,
    // Last: queues are dropped first.
    port: Port,
}

impl End {
    pub fn open(
        eal: &Eal,
        name: &str,
        device: &Device,
        lan: bool,
        shape: &Shape,
        pool: &Mempool,
    ) -> Result<Self> {
        let mut port = Port::open(eal, name, device)?;
        let info = port.info();
        let config = PortConfig {
            mtu: shape.mtu.min(info.max_mtu),
            rx_queues: shape.queues.clamp(1, info.max_rx_queues.max(1)),
            tx_queues: shape.queues.clamp(1, info.max_tx_queues.max(1)),
            promiscuous: true,
            ..PortConfig::default()
        };
        ensure!(
            config.mtu == shape.mtu,
            "{device} carries IP packets of {} bytes at most, and {} are needed: choose smaller --sizes",
            info.max_mtu,
            shape.mtu
        );
        let (rx, tx) = port.start(&config, std::slice::from_ref(pool))?;
        let (own, mac, dut_mac) = match lan {
            true => (scene::TESTER_LAN, scene::TESTER_LAN_MAC, scene::DUT_LAN_MAC),
            false => (scene::TESTER_WAN, scene::TESTER_WAN_MAC, scene::DUT_WAN_MAC),
        };
        Ok(Self { rx, tx, mac, dut_mac, own, port })
    }
    /// Until both sides are there.
    pub fn wait_for_link(&self, patience: Duration) -> Result<()> {
        let end = Instant::now() + patience;
        while !self.port.link()?.up {
            if Instant::now() > end {
                bail!("port {}: the link does not come up within {patience:?}", self.port.name());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
    /// Sends packets of consecutive flows, from `flow` on; a flow always takes the same queue, as RSS would have it.
    /// What finds no room stays in the burst.
    #[inline]
    pub fn send(&mut self, burst: &mut Burst, flow: u32, flows: u32) {
        let queues = self.tx.len();
        if let [only] = &mut self.tx[..] {
            only.send(burst);
            return;
        }
        let mut parts: Vec<Burst> = (0..queues).map(|_| Burst::new()).collect();
        for (n, mbuf) in (0u32..).zip(burst.drain()) {
            // No part is longer than the whole.
            let _ = parts[(((flow + n) % flows) as usize) % queues].push(mbuf);
        }
        for (queue, mut part) in self.tx.iter_mut().zip(parts) {
            queue.send(&mut part);
            for mbuf in part.drain() {
                let _ = burst.push(mbuf);
            }
        }
    }
    /// Answers a question for the router that this end plays. `true`: the frame was ARP.
    pub fn answer_arp(&mut self, frame: &[u8], pool: &Mempool) -> bool {
        let Some((head, body)) = frame.split_at_checked(wire::eth::HEADER) else { return false };
        if head[12..] != wire::eth::ethertype::ARP.to_be_bytes() {
            return false;
        }
        let Ok(question) = wire::arp::Arp::parse(body) else { return true };
        if question.operation == wire::arp::Operation::Request && question.target == self.own {
            let answer = wire::arp::Arp {
                operation: wire::arp::Operation::Reply,
                sender_mac: self.mac,
                sender: self.own,
                target_mac: question.sender_mac,
                target: question.sender,
            };
            let mut bytes = [0; wire::eth::HEADER + wire::arp::LEN];
            let (head, body) = bytes.split_at_mut(wire::eth::HEADER);
            let arp = wire::eth::ethertype::ARP;
            if wire::eth::write(head, question.sender_mac, self.mac, None, arp).is_some() {
                body.copy_from_slice(&answer.to_bytes());
                let mut burst = Burst::new();
                // Without a buffer the question comes again.
                if let Ok(Some(mbuf)) = pool.copy_of(&bytes) {
                    let _ = burst.push(mbuf);
                    self.send(&mut burst, 0, 1);
                }
            }
        }
        true
    }
}
