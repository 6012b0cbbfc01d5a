//! Safe DPDK for a gateway: EAL, packet buffers with one owner, ports, rings, crypto devices.
//!
//! Ownership is the fence. A [`Mbuf`] is a buffer nobody else has; whoever hands it to a driver no
//! longer has it. Queues are handles that move to the one thread that polls them. What is shared
//! with hardware for as long as it runs (the EAL, pools) lives as long as the process.

pub mod burst;
pub mod crypto;
pub mod device;
pub mod eal;
pub mod log;
pub mod mbuf;
pub mod pool;
pub mod port;
pub mod ring;
pub mod telemetry;

pub use burst::Burst;
pub use device::{Device, DeviceFault, Plan};
pub use eal::{Eal, EalConfig, EalError, Hugepages, Lcore, LogLevel, PciAllow, Worker};
pub use log::Errno;
pub use mbuf::{Chained, Mbuf};
pub use pool::{Exhausted, Mempool, PoolConfig, PoolError};
pub use port::{Port, PortConfig, PortError, PortInfo, PortStats, RxQueue, TxQueue};
pub use ring::{MbufConsumer, MbufProducer, MbufRing};
