//! How fast the datapath is, in memory: cycles per packet of the real graph beside the floor that bare libipsec-mb
//! sets on the same bytes, in the same run.
//!
//! Nothing here touches DPDK or a network. Ports, pools and drivers add their share on top.
pub mod buffer;
pub mod case;
pub mod clock;
pub mod engine;
pub mod environment;
pub mod floor;
pub mod path;
pub mod quick;
pub mod report;
