//! The model both processes speak: names of SAs, suites, selectors, specifications, counters.
//!
//! No DPDK, no clock, no sockets. Everything here is plain data that is valid by construction.
#![forbid(unsafe_code)]

pub mod device;
pub mod ike_suite;
pub mod key;
pub mod policy;
pub mod replay;
pub mod selector;
pub mod spec;
pub mod spi;
pub mod stat;
pub mod suite;
mod table;

pub use device::{Device, DeviceArg, DeviceError, InterfaceName, MemifRole, PciAddress};
pub use ike_suite::{DhGroup, GroupKind, IkeCipher, IkeIntegrity, KeRound, Prf};
pub use key::Key;
pub use policy::{Action, DontFragment, Framing, Level, PolicyId, PolicySpec, Ranked, Ruling, rule};
pub use replay::{Authentic, Candidate, Held, ReplayWidth, ReplayWindow, Stale};
pub use selector::{AddrRange, PortRange, Prefix, Selector, TrafficSelector};
pub use spec::{Direction, Encap, Lifetime, Limit, Mode, Protocol, SaSlot, SaSpec, TunnelEnds};
pub use spi::{ReservedSpi, SeqNo, Spi};
pub use stat::{DropReason, Stat};
pub use suite::{Cipher, CipherMode, Encryption, Integrity, MacKind, Suite, SuiteError};
