//! The datapath as a library without DPDK: tables, graph, engines. Generic over packet buffers.
#![deny(unsafe_code)]

pub mod crypto;
pub mod graph;
pub mod host;
pub mod offline;
mod pages;
mod prefetch;
pub mod tables;
