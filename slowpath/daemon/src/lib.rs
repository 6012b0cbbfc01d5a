//! Process 2: drives the IKE engine. The only socket, clock and random source of the slow path are here.
//!
//! `driver` is the heart: it takes what the fast path says, hands it to the engine, and performs the engine's actions
//! in their order. `takeover` makes engine and fast path agree after either was restarted. `translate` turns the
//! configuration into the engine's terms, `manual` runs SAs whose keys stand in it, `changes` works out changes of it,
//! `report` turns everything into the status answer, `control` is its socket, `crew` does public-key operations beside the
//! driver. `api` is REST in a thread of its own, which asks the driver through `desk`.
#![forbid(unsafe_code)]

pub mod api;
mod carried;
pub mod changes;
pub mod control;
pub mod crew;
pub mod desk;
pub mod diagnoses;
pub mod driver;
mod dynamic;
mod edits;
pub mod explain;
pub mod fastpath_log;
pub mod keylog;
mod manual;
pub mod marks;
pub mod metrics;
pub mod negotiator;
pub mod report;
pub mod resolve;
pub mod run;
pub mod running;
pub mod takeover;
pub mod translate;
mod watch;
