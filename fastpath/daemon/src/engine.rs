//! The crypto engines of this process, in the order the configuration names them.
use config::model::Engine as Named;
use dpdk::Mbuf;
use fastpath::crypto::cpu::{CpuEngineKind, KeyRecord};
use fastpath::crypto::{CpuEngine, CpuKeys};

pub type WorkerEngine = CpuEngine<Mbuf>;
pub type Key = KeyRecord;
pub type Maker = CpuKeys;

pub fn cpu_order(engines: &[Named]) -> Vec<CpuEngineKind> {
    let kind = |engine: &Named| match engine {
        Named::Cryptodev => None,
        Named::IpsecMb => Some(CpuEngineKind::IpsecMb),
        Named::Ring => Some(CpuEngineKind::Ring),
        Named::RustCrypto => Some(CpuEngineKind::RustCrypto),
    };
    engines.iter().filter_map(kind).collect()
}
