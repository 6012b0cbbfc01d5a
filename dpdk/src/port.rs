//! Ports: opened from a `device`, configured within what the driver can, then run as queues.
//!
//! [`Port::start`] gives out one handle per queue. A handle is the right to poll its queue, so it has
//! one owner; the port stops only when all of them have come back to nothing.
use crate::device::{self, Device, DeviceFault, Plan};
use crate::log::{self, Errno, Said};
use crate::mbuf::{Mbuf, contiguous};
use crate::{Burst, Eal, Mempool};
use dpdk_sys as sys;
use std::ffi::{CStr, CString};
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error("port `{port}`: {fault}")]
    Device { port: String, fault: DeviceFault },
    #[error("port `{port}`: the driver refused {name},{args}: {errno}{said}")]
    Probe { port: String, name: String, args: String, errno: Errno, said: Said },
    #[error("port `{port}`: {what} failed: {errno}{said}")]
    Driver { port: String, what: &'static str, errno: Errno, said: Said },
    #[error("port `{port}`: {what} {asked} is outside of the driver's {min} to {max}")]
    Limit { port: String, what: &'static str, asked: u32, min: u32, max: u32 },
    #[error("port `{port}`: {queues} receive queues need one pool, or one pool each; {pools} were given")]
    Pools { port: String, queues: u16, pools: usize },
    #[error("port `{port}`: an MTU of {mtu} needs buffers of {need} bytes; those of the pool have {have}")]
    Frame { port: String, mtu: u16, need: u32, have: u16 },
    #[error("port `{port}`: AF_XDP needs {need} buffers in the pool, which has {have}")]
    Buffers { port: String, need: u32, have: u32 },
    #[error("port `{0}` still has queues in use")]
    InUse(String),
}

/// What the driver says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    pub driver: String,
    pub mac: [u8; 6],
    pub min_mtu: u16,
    pub max_mtu: u16,
    pub max_rx_queues: u16,
    pub max_tx_queues: u16,
    /// The driver can spread flows over receive queues by a hash of addresses, ports or SPI.
    pub rss: bool,
}

#[derive(Clone, Debug)]
pub struct PortConfig {
    pub mtu: u16,
    pub rx_queues: u16,
    pub tx_queues: u16,
    /// Wishes; rounded to what the driver takes.
    pub rx_descriptors: u16,
    pub tx_descriptors: u16,
    pub promiscuous: bool,
}
impl Default for PortConfig {
    fn default() -> Self {
        Self {
            mtu: 1500,
            rx_queues: 1,
            tx_queues: 1,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            promiscuous: false,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub rx_missed: u64,
    pub rx_errors: u64,
    /// Received but dropped because no buffer was free.
    pub rx_no_buffer: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub tx_errors: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub up: bool,
    /// Mbit/s; `None` when the driver does not know.
    pub speed: Option<u32>,
    pub full_duplex: bool,
}

/// One port. Dropping it stops and closes the device unless queues are still out.
#[derive(Debug)]
pub struct Port {
    id: u16,
    name: String,
    info: PortInfo,
    running: bool,
    /// What to unplug in the end; `None` for a device that was there before.
    plugged: Option<(CString, CString)>,
    lease: Arc<()>,
}

/// The right to poll one receive queue.
#[derive(Debug)]
pub struct RxQueue {
    port: u16,
    queue: u16,
    chained: u64,
    _lease: Arc<()>,
}
/// The right to send on one transmit queue.
#[derive(Debug)]
pub struct TxQueue {
    port: u16,
    queue: u16,
    _lease: Arc<()>,
}

impl Port {
    /// Makes or takes over the device. A PCI device must be in [`crate::EalConfig::pci`].
    pub fn open(_eal: &Eal, name: &str, device: &Device) -> Result<Self, PortError> {
        let fault = |fault| PortError::Device { port: name.into(), fault };
        let plan = Plan::new(name, device).map_err(fault)?;
        device::prepare(device).map_err(fault)?;
        log::begin();
        let refused = |errno| PortError::Probe {
            port: name.into(),
            name: plan.name.clone(),
            args: plan.args.clone(),
            errno,
            said: log::said(),
        };
        let text = |s: &str| CString::new(s).map_err(|_| fault(DeviceFault::PortName(name.into())));
        let (bus, dev, args) = (text(plan.bus)?, text(&plan.name)?, text(&plan.args)?);
        let (id, plugged) = match find(&dev) {
            Some(id) => (id, None),
            None => {
                // SAFETY: C texts that outlive the call; the EAL runs.
                let code = unsafe { sys::rte_eal_hotplug_add(bus.as_ptr(), dev.as_ptr(), args.as_ptr()) };
                if code != 0 {
                    return Err(refused(Errno::from_negative(code)));
                }
                let id = find(&dev).ok_or_else(|| refused(Errno(libc::ENODEV)))?;
                (id, Some((bus, dev)))
            }
        };
        let mut port = Self {
            id,
            name: name.into(),
            info: PortInfo {
                driver: String::new(),
                mac: [0; 6],
                min_mtu: 0,
                max_mtu: 0,
                max_rx_queues: 0,
                max_tx_queues: 0,
                rss: false,
            },
            running: false,
            plugged,
            lease: Arc::new(()),
        };
        port.info = port.read_info()?;
        Ok(port)
    }

    pub fn id(&self) -> u16 {
        self.id
    }
    pub fn name(&self) -> &str {
        &self.name
    }
    pub fn info(&self) -> &PortInfo {
        &self.info
    }

    /// Configures and starts. Receive queues fill from `pools`: one for all, or one for each.
    pub fn start(
        &mut self,
        config: &PortConfig,
        pools: &[Mempool],
    ) -> Result<(Vec<RxQueue>, Vec<TxQueue>), PortError> {
        self.check_stopped()?;
        if pools.len() != 1 && pools.len() != usize::from(config.rx_queues) {
            return Err(PortError::Pools {
                port: self.name.clone(),
                queues: config.rx_queues,
                pools: pools.len(),
            });
        }
        let info = self.raw_info()?;
        self.within("mtu", config.mtu, info.min_mtu, max_mtu(&info))?;
        // Ethernet header and two VLAN tags: a received frame must fit one buffer.
        let need = u32::from(config.mtu) + sys::RTE_ETHER_HDR_LEN + 8;
        if let Some(pool) = pools.iter().find(|pool| u32::from(pool.frame()) < need) {
            let (port, mtu, have) = (self.name.clone(), config.mtu, pool.frame());
            return Err(PortError::Frame { port, mtu, need, have });
        }
        self.check_buffers(config, pools)?;
        self.within("rx-queues", config.rx_queues, 1, info.max_rx_queues)?;
        self.within("tx-queues", config.tx_queues, 1, info.max_tx_queues)?;
        log::begin();
        let (rx_desc, tx_desc) = self.configure(config, &info)?;
        // SAFETY: the port exists.
        let socket = unsafe { sys::rte_eth_dev_socket_id(self.id) } as u32;
        for queue in 0..config.rx_queues {
            let pool = pools.get(usize::from(queue)).or(pools.first());
            let pool = pool.map_or(std::ptr::null_mut(), Mempool::as_ptr);
            // SAFETY: configured with more queues than `queue`; a null configuration means the
            // driver's default; the pool is live for ever.
            let code = unsafe {
                sys::rte_eth_rx_queue_setup(self.id, queue, rx_desc, socket, std::ptr::null(), pool)
            };
            self.check(code, "setting up a receive queue")?;
        }
        for queue in 0..config.tx_queues {
            // SAFETY: as for the receive queues.
            let code =
                unsafe { sys::rte_eth_tx_queue_setup(self.id, queue, tx_desc, socket, std::ptr::null()) };
            self.check(code, "setting up a transmit queue")?;
        }
        // SAFETY: all queues are set up.
        self.check(unsafe { sys::rte_eth_dev_start(self.id) }, "starting")?;
        self.running = true;
        self.set_promiscuous(config.promiscuous)?;
        let (port, lease) = (self.id, &self.lease);
        let rx =
            (0..config.rx_queues).map(|queue| RxQueue { port, queue, chained: 0, _lease: Arc::clone(lease) });
        let tx = (0..config.tx_queues).map(|queue| TxQueue { port, queue, _lease: Arc::clone(lease) });
        Ok((rx.collect(), tx.collect()))
    }

    fn configure(&self, config: &PortConfig, info: &sys::rte_eth_dev_info) -> Result<(u16, u16), PortError> {
        let mut conf = sys::rte_eth_conf::default();
        conf.rxmode.mtu = config.mtu.into();
        let hash = info.flow_type_rss_offloads & sys::ESPWAY_RSS_FLOWS;
        if config.rx_queues > 1 && hash != 0 {
            conf.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
            conf.rxmode.offloads |= info.rx_offload_capa & sys::ESPWAY_RX_OFFLOAD_RSS_HASH;
            conf.rx_adv_conf.rss_conf.rss_hf = hash;
        }
        // SAFETY: the port exists and is stopped; the configuration outlives the call.
        let code = unsafe {
            sys::rte_eth_dev_configure(self.id, config.rx_queues, config.tx_queues, &raw const conf)
        };
        self.check(code, "configuring")?;
        // SAFETY: a configured port.
        match unsafe { sys::rte_eth_dev_set_mtu(self.id, config.mtu) } {
            // Drivers without a device behind them have nothing to set.
            code if code == -libc::ENOTSUP => {}
            code => self.check(code, "setting the MTU")?,
        }
        let (mut rx, mut tx) = (config.rx_descriptors, config.tx_descriptors);
        // SAFETY: a configured port, two numbers of ours.
        let code = unsafe { sys::rte_eth_dev_adjust_nb_rx_tx_desc(self.id, &raw mut rx, &raw mut tx) };
        self.check(code, "choosing the number of descriptors")?;
        Ok((rx, tx))
    }

    /// Stops the port. All queue handles must have been dropped.
    pub fn stop(&mut self) -> Result<(), PortError> {
        self.check_leases()?;
        if self.running {
            log::begin();
            // SAFETY: the port exists, and no queue of it is polled any more.
            self.check(unsafe { sys::rte_eth_dev_stop(self.id) }, "stopping")?;
            self.running = false;
        }
        Ok(())
    }

    pub fn stats(&self) -> Result<PortStats, PortError> {
        let mut raw = sys::rte_eth_stats::default();
        // SAFETY: the port exists; room for the answer.
        self.check(unsafe { sys::rte_eth_stats_get(self.id, &raw mut raw) }, "reading statistics")?;
        Ok(PortStats {
            rx_packets: raw.ipackets,
            rx_bytes: raw.ibytes,
            rx_missed: raw.imissed,
            rx_errors: raw.ierrors,
            rx_no_buffer: raw.rx_nombuf,
            tx_packets: raw.opackets,
            tx_bytes: raw.obytes,
            tx_errors: raw.oerrors,
        })
    }

    pub fn link(&self) -> Result<Link, PortError> {
        let mut raw = sys::rte_eth_link::default();
        // SAFETY: the port exists; room for the answer.
        self.check(unsafe { sys::rte_eth_link_get_nowait(self.id, &raw mut raw) }, "reading the link")?;
        const UNKNOWN: u32 = u32::MAX;
        let speed = Some(raw.link_speed).filter(|speed| !matches!(*speed, 0 | UNKNOWN));
        Ok(Link { up: raw.link_status() != 0, speed, full_duplex: raw.link_duplex() != 0 })
    }

    /// What the driver cannot switch it may ignore: software ports receive everything anyway.
    pub fn set_promiscuous(&mut self, on: bool) -> Result<(), PortError> {
        // SAFETY: the port exists.
        let code = unsafe {
            match on {
                true => sys::rte_eth_promiscuous_enable(self.id),
                false => sys::rte_eth_promiscuous_disable(self.id),
            }
        };
        if code == -libc::ENOTSUP { Ok(()) } else { self.check(code, "setting promiscuous mode") }
    }

    fn raw_info(&self) -> Result<sys::rte_eth_dev_info, PortError> {
        let mut raw = sys::rte_eth_dev_info::default();
        // SAFETY: the port exists; room for the answer.
        self.check(unsafe { sys::rte_eth_dev_info_get(self.id, &raw mut raw) }, "reading its limits")?;
        Ok(raw)
    }
    fn read_info(&self) -> Result<PortInfo, PortError> {
        let raw = self.raw_info()?;
        let mut mac = sys::rte_ether_addr::default();
        // SAFETY: the port exists; room for the answer.
        self.check(unsafe { sys::rte_eth_macaddr_get(self.id, &raw mut mac) }, "reading its MAC address")?;
        let driver = match raw.driver_name.is_null() {
            true => String::new(),
            // SAFETY: a static text of the driver.
            false => unsafe { CStr::from_ptr(raw.driver_name) }.to_string_lossy().into_owned(),
        };
        Ok(PortInfo {
            driver,
            mac: mac.addr_bytes,
            min_mtu: raw.min_mtu,
            max_mtu: max_mtu(&raw),
            max_rx_queues: raw.max_rx_queues,
            max_tx_queues: raw.max_tx_queues,
            rss: raw.flow_type_rss_offloads & sys::ESPWAY_RSS_FLOWS != 0,
        })
    }

    fn within(&self, what: &'static str, asked: u16, min: u16, max: u16) -> Result<(), PortError> {
        if (min..=max).contains(&asked) {
            return Ok(());
        }
        let (asked, min, max) = (asked.into(), min.into(), max.into());
        Err(PortError::Limit { port: self.name.clone(), what, asked, min, max })
    }
    fn check(&self, code: i32, what: &'static str) -> Result<(), PortError> {
        if code >= 0 {
            return Ok(());
        }
        let errno = Errno::from_negative(code);
        Err(PortError::Driver { port: self.name.clone(), what, errno, said: log::said() })
    }
    /// The AF_XDP driver fills the kernel's ring of 2048 when a queue is set up; with less it says no
    /// more than "invalid argument".
    fn check_buffers(&self, config: &PortConfig, pools: &[Mempool]) -> Result<(), PortError> {
        const RING: u32 = 2048;
        if self.info.driver != "net_af_xdp" {
            return Ok(());
        }
        let shared = if pools.len() == 1 { u32::from(config.rx_queues) } else { 1 };
        let need = RING * shared + Burst::CAPACITY as u32;
        match pools.iter().map(Mempool::buffers).find(|have| *have < need) {
            Some(have) => Err(PortError::Buffers { port: self.name.clone(), need, have }),
            None => Ok(()),
        }
    }
    fn check_leases(&mut self) -> Result<(), PortError> {
        match Arc::get_mut(&mut self.lease) {
            Some(()) => Ok(()),
            None => Err(PortError::InUse(self.name.clone())),
        }
    }
    fn check_stopped(&mut self) -> Result<(), PortError> {
        if self.running { Err(PortError::InUse(self.name.clone())) } else { self.check_leases() }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // With queues out, another thread may be polling: the device then lives until the process ends.
        if self.stop().is_err() {
            return;
        }
        match &self.plugged {
            // SAFETY: the port is stopped and its id is not used after this; C texts.
            Some((bus, dev)) => unsafe { sys::rte_eal_hotplug_remove(bus.as_ptr(), dev.as_ptr()) },
            // SAFETY: as above.
            None => unsafe { sys::rte_eth_dev_close(self.id) },
        };
    }
}

impl RxQueue {
    /// Adds what has arrived, as much as fits, and returns how many packets were added. Packets in
    /// several segments are made one; those too long for a buffer are dropped and counted.
    #[inline]
    pub fn fill(&mut self, burst: &mut Burst) -> usize {
        let spare = burst.spare();
        let first = spare.as_mut_ptr().cast::<*mut sys::rte_mbuf>();
        let room = spare.len() as u16;
        // SAFETY: handles exist only while the port is started, and this is the only one of its
        // queue. `first` has room for `room` pointers.
        let got = usize::from(unsafe { sys::shim_eth_rx_burst(self.port, self.queue, first, room) });
        let mut kept = 0;
        for at in 0..got {
            // SAFETY: the driver wrote `got` buffers that are ours now.
            let raw = unsafe { *first.add(at) };
            // SAFETY: as above.
            match unsafe { contiguous(raw) } {
                Ok(()) => {
                    // SAFETY: `kept ≤ at < room`.
                    unsafe { *first.add(kept) = raw };
                    kept += 1;
                }
                Err(_) => {
                    self.chained += 1;
                    // SAFETY: ours, and dropped from the array here.
                    drop(unsafe { Mbuf::from_raw(raw) });
                }
            }
        }
        // SAFETY: the first `kept` spare places hold contiguous buffers of ours.
        unsafe { burst.grow(kept) };
        kept
    }
    /// Packets dropped because their segments did not fit into one buffer.
    pub fn dropped_chained(&self) -> u64 {
        self.chained
    }
    pub fn port(&self) -> u16 {
        self.port
    }
    pub fn queue(&self) -> u16 {
        self.queue
    }
}

impl TxQueue {
    /// Offers the burst to the driver and returns how many it took; the rest stay in the burst.
    #[inline]
    pub fn send(&mut self, burst: &mut Burst) -> usize {
        let (first, len) = burst.as_raw();
        // SAFETY: handles exist only while the port is started, and this is the only one of its
        // queue. `first` heads `len` live buffers of ours; `len` ≤ 64.
        let taken = usize::from(unsafe { sys::shim_eth_tx_burst(self.port, self.queue, first, len as u16) });
        // SAFETY: the driver owns exactly the first `taken` buffers now; ours must not free them.
        unsafe { burst.forget_front(taken.min(len)) };
        taken.min(len)
    }
    pub fn port(&self) -> u16 {
        self.port
    }
    pub fn queue(&self) -> u16 {
        self.queue
    }
}

/// Many drivers leave the MTU open and bound the frame instead; DPDK checks both.
fn max_mtu(info: &sys::rte_eth_dev_info) -> u16 {
    const ETHERNET: u32 = sys::RTE_ETHER_HDR_LEN + sys::RTE_ETHER_CRC_LEN;
    let stated = info.max_mtu != u16::MAX && info.max_rx_pktlen > info.max_mtu.into();
    let overhead = if stated { info.max_rx_pktlen - u32::from(info.max_mtu) } else { ETHERNET };
    let by_frame = info.max_rx_pktlen.saturating_sub(overhead);
    info.max_mtu.min(u16::try_from(by_frame).unwrap_or(u16::MAX))
}

fn find(device: &CStr) -> Option<u16> {
    let mut id = 0;
    // SAFETY: a C text and room for the answer.
    (unsafe { sys::rte_eth_dev_get_port_by_name(device.as_ptr(), &raw mut id) } == 0).then_some(id)
}
