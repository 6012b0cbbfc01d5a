//! The contract between the two processes: one sealed shared region, rings of fixed records, a
//! statistics table and the vault. The only home of `unsafe` besides `dpdk/` and named hot loops.

pub mod contract;
pub use contract::*;
