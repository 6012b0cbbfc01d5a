//! How fast the datapath is, in memory: cycles per packet of the real graph beside the floor that bare libipsec-mb
//! sets on the same bytes, in the same run.
//!
//! Nothing here touches DPDK or a network. NICs and their drivers add their share on top.
pub mod buffer;
pub mod case;
pub mod clock;
pub mod datapath;
pub mod engine;
pub mod engines;
pub mod environment;
pub mod floor;
pub mod ike;
pub mod micro;
pub mod path;
pub mod plan;
pub mod quick;
pub mod report;
pub mod rings;
pub mod scale;
pub mod scaling;
pub mod targets;
pub mod traffic;
pub mod world;
