//! The tester behind `espway lab`: generator and checker over real ports, with the gateway in another process.
//!
//! ```text
//!   tester (this process)                       device under test (espway-fastpath)
//!   scene  who is where, keys, flows       ┌──► policies and SAs over the shared region, as from a slow path
//!   dut    starts and feeds the gateway ───┘
//!   frames, tester  send on time ── cable ────► LAN … WAN
//!   fifo, esp, ledger  open, compare ◄─ cable ─ WAN … LAN
//!   search NDR, PDR      environment  what the machine is and did      report, html, compare  what is said of it
//! ```
#![forbid(unsafe_code)]

pub mod cable;
pub mod commands;
pub mod compare;
pub mod dut;
pub mod environment;
pub mod esp;
pub mod fifo;
pub mod frames;
pub mod histograms;
pub mod html;
pub mod ledger;
pub mod options;
pub mod progress;
pub mod report;
pub mod scene;
pub mod search;
pub mod session;
pub mod tester;
