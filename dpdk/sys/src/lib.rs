//! Raw bindings to the installed DPDK (libdpdk 22.11 or newer), and the shim's per-burst calls.
//!
//! Made at build time from the installed headers. Nothing here is safe to call without reading
//! DPDK's manual: the package `dpdk` is the fence.
#![no_std]
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals)]
#![allow(unsafe_op_in_unsafe_fn, unused_qualifications, missing_docs)]
#![allow(clippy::all, clippy::undocumented_unsafe_blocks)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));

// What the inline accessors of the package `dpdk` rely on; wrong flags for bindgen would show here.
const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<rte_mbuf>() == 128);
    assert!(offset_of!(rte_mbuf, data_off) == 16);
    assert!(offset_of!(rte_mbuf, pkt_len) == 36);
    assert!(offset_of!(rte_mbuf, next) == 64);
};
