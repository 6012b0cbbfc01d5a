//! Bytes ⇄ headers: total, safe parsers and writers for everything that crosses a port.
#![forbid(unsafe_code)]

pub mod buf;
pub mod checksum;
pub use buf::{PacketBuf, TestBuf};
pub use checksum::checksum;
