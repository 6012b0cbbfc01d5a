//! Bytes ⇄ headers: total, safe parsers and writers for everything that crosses a port.
//!
//! A parser takes a slice and answers a view or [`Malformed`]; it never panics and never reads past the
//! slice, whatever the bytes. Views borrow: nothing is copied that does not have to be.
#![forbid(unsafe_code)]

pub mod ah;
pub mod arp;
pub mod buf;
pub mod chain;
pub mod checksum;
pub mod esp;
pub mod eth;
pub mod flow;
pub mod icmp;
pub mod ip;
pub mod nd;
pub mod udp;

pub use buf::{PacketBuf, TestBuf};
pub use checksum::checksum;
pub use eth::Mac;
pub use flow::Flow;

/// The bytes are not what they claim to be. Says what was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);
