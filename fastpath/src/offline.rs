//! A gateway without ports and threads: frames in, what happened out. For captures, tests and fuzzers.
//!
//! `Gateway::new(&Setup) -> Result<Gateway, SetupError>`, then `run(port, &frame) -> Vec<Outcome>`.
use ipc::contract::{Event, FrameMeta, Refusal};
use sa::{DropReason, PolicySpec, Prefix, SaSpec};
use std::net::IpAddr;

/// An interface of the offline gateway; `port` numbers the captures.
#[derive(Clone, Debug)]
pub struct InterfaceSpec {
    pub port: u16,
    pub vlan: Option<u16>,
    pub mac: [u8; 6],
    pub mtu: u16,
    pub addresses: Vec<(IpAddr, u8)>,
}
#[derive(Clone, Debug)]
pub struct RouteSpec {
    pub prefix: Prefix,
    /// Index into the list of interfaces.
    pub interface: usize,
    pub next_hop: Option<IpAddr>,
}
#[derive(Clone, Debug)]
pub struct NeighbourSpec {
    pub interface: usize,
    pub address: IpAddr,
    pub mac: [u8; 6],
}
#[derive(Clone, Debug, Default)]
pub struct Setup {
    pub interfaces: Vec<InterfaceSpec>,
    pub routes: Vec<RouteSpec>,
    pub neighbours: Vec<NeighbourSpec>,
    /// In rank order.
    pub policies: Vec<PolicySpec>,
    pub sas: Vec<SaSpec>,
}

/// What became of one frame. One frame has one outcome, besides the events it caused.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Sent {
        port: u16,
        frame: Vec<u8>,
    },
    Dropped(DropReason),
    /// For the gateway's own stack: ARP, ND, ICMP, local services, or a next hop that is not resolved.
    ToHost {
        why: String,
        packet: Vec<u8>,
    },
    Ike {
        meta: FrameMeta,
        payload: Vec<u8>,
    },
    Event(Event),
}

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("SA {spi:#x} in slot {slot}: {why}")]
    Sa { slot: u32, spi: u32, why: Refusal },
    #[error("policies: {0}")]
    Policies(Refusal),
    #[error("{what} names interface {index}, but there are only {count}")]
    NoSuchInterface { what: &'static str, index: usize, count: usize },
    #[error("the crypto engine does not start: {0}")]
    Engine(String),
}
