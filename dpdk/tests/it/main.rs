//! The wrapper against the real DPDK. DPDK starts once per process, so each test needs its own
//! process: `cargo nextest run -p dpdk`.
mod buffers;
mod eal;
mod ports;
mod support;
