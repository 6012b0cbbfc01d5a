//! The contract between the two processes: one sealed shared region, rings of fixed records, a
//! statistics table and the vault. The only home of `unsafe` besides `dpdk/` and named hot loops.
//!
//! The fast path makes the region and hands it over a Unix socket; one slow path is attached at a time.
//! ```text
//! FastSide::create(&RegionOptions) -> Result<FastSide, IpcError>      main lcore, one per process
//!   .listen(&Path, &[u32 /*allowed uids*/])                           socket the slow path connects to
//!   .poll_peer() -> Option<PeerEvent>                                 Attached | Detached | Refused; never blocks
//!   .attached() -> bool
//!   .next_command() -> Option<(u64 /*seq*/, Command)>                 Malformed ones are acknowledged inside
//!   .acknowledge(seq, Result<(), Refusal>)                            exactly once per command, in any order
//!   .raise(&Event) -> bool                                            false: full or nobody attached; say it again later
//!   .frame_to_slow(&FrameMeta, &[u8]) -> bool                         false: drop it as FrameQueueFull
//!   .next_frame() -> Option<(FrameMeta, &[u8])>                       IKE to be sent on the wire
//!   .show(&Seen, &[u8]) -> bool                                       a watched packet; false: full, or nobody attached
//!   .before_sleep() -> bool, .wake_fd(), .poll_fds(), .awake()        optional: sleep until commands or frames wait
//!   .worker_stats(worker) -> Option<WorkerStats>                      each once; Send, moves into the worker
//!   .publish_sa(SaSlot, &SaIdentity), .set_sa_state(SaSlot, SaState), .clear_sa(SaSlot)
//!   .set_worker(n, &WorkerCounters), .note_drop(n, LostPacket)
//!   .set_port(index, &PortCounters), .set_clock(seconds), .set_policy_generation(u64)
//! WorkerStats (plain relaxed stores of one writer)
//!   .sa_passed(SaSlot, packets, bytes, last_seq, now_seconds), .sa_dropped(SaSlot, n), .dropped(DropReason, n)
//! SlowSide::attach(&Path, &[u32], timeout) -> Result<SlowSide, IpcError>
//!   .send(&Command) -> Result<u64, SendError>, .next_ack() -> Option<Ack>, .next_event() -> Option<Event>
//!   .next_frame() -> Option<(FrameMeta, &[u8])>, .send_frame(&FrameMeta, &[u8]) -> Result<(), SendError>
//!   .next_seen() -> Option<(Seen, &[u8])>
//!   .statistics() -> &StatsReader, .open_vault(&VaultKey) -> Vault, .fast_gone() -> bool
//!   .before_sleep() -> bool, .wake_fd(), .socket_fd(), .awake()
//! fast.attach_here() -> Result<SlowSide, IpcError>                    both ends in one process, for tests
//! ```
//! An index of the other side that makes no sense ends the attachment; the next one starts with fresh rings.
//! After `PeerEvent::Attached` the fast path says again whatever still holds: acquires of policies without
//! an SA. Expiries are read by the slow path from the statistics table's `SaState`.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p ipc --lib loom` lets the model checker try the ring, the sequence lock
//! and the wake-up in every order of events.

#[cfg(not(loom))]
pub mod change;
#[cfg(not(loom))]
pub mod contract;
pub mod diagnosis;
#[cfg(not(loom))]
mod fast;
#[cfg(not(loom))]
mod frame;
#[cfg(not(loom))]
mod handover;
#[cfg(not(loom))]
mod layout;
pub mod memory;
#[cfg(not(loom))]
pub mod process;
#[cfg(not(loom))]
mod recent;
#[cfg(not(loom))]
pub mod record;
#[cfg(not(loom))]
mod region;
pub mod ring;
pub mod seqlock;
#[cfg(not(loom))]
mod slow;
#[cfg(not(loom))]
mod stats;
#[cfg(not(loom))]
pub mod status;
mod sync;
#[cfg(not(loom))]
pub mod vault;
pub mod wake;
#[cfg(not(loom))]
pub mod watch;

#[cfg(not(loom))]
pub use {
    contract::*,
    fast::{FastSide, PeerEvent, RegionOptions},
    handover::{Credentials, IpcError},
    layout::{Geometry, GeometryError, LAYOUT_VERSION, MAX_FRAME},
    recent::{LostPacket, RecentDrop},
    region::{Region, RegionError},
    slow::{SendError, SlowSide},
    stats::{SaEngine, SaIdentity, SaState, StatsReader, WorkerCounters, WorkerStats},
    vault::{Vault, VaultError, VaultKey},
};
