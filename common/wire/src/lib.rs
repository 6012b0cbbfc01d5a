//! Bytes ⇄ headers: total, safe parsers and writers for everything that crosses a port.
#![forbid(unsafe_code)]

pub mod buf;
pub use buf::{PacketBuf, TestBuf};
