//! A laboratory on one machine: two sites, a WAN between them and a host behind each, in network namespaces.
//!
//! ```text
//! host-a ── site-a ── wan ── site-b ── host-b
//! ```
//!
//! A site is espway, Debian's strongSwan with its user-space ESP, or a guest with a whole Linux kernel. Nothing here
//! links DPDK. Everything a [`Lab`] makes (namespaces, processes, files) goes away with it, also when the program that
//! made it is killed: see [`janitor`].

pub mod addr;
pub mod capture;
pub mod espway;
pub mod guest;
pub mod janitor;
pub mod lab;
pub mod netns;
pub mod others;
pub mod process;
pub mod secrets;
pub mod strongswan;
pub mod sys;
pub mod traffic;
pub mod wireguard;

pub use addr::Side;
pub use capture::Capture;
pub use espway::Espway;
pub use guest::Guest;
pub use lab::{Lab, Plan, Site};
pub use netns::Netns;
pub use others::Libreswan;
pub use process::Process;
pub use strongswan::{StrongSwan, Swan};
pub use traffic::{NumberedFlow, iperf3, iperf3_udp, ping};
pub use wireguard::WireGuard;

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Asks `done` until it answers, at most `limit` long. The error names what was waited for and the last answer's reason.
pub fn wait_until<T>(what: &str, limit: Duration, mut done: impl FnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        match done() {
            Ok(answer) => return Ok(answer),
            Err(why) if Instant::now() >= end => bail!("{what}: not within {limit:?}: {why:#}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
