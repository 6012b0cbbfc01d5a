//! The wrapper against the real DPDK, each test in a process of its own ([`own_process`]). Needs root
//! for namespaces and XDP, and touches no interface but those it makes.
mod buffers;
mod crypto;
mod eal;
mod kernel;
mod ports;
mod shared;
mod support;
