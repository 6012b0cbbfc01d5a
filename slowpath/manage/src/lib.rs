//! The running configuration and its history: parse → check → diff → plan → apply → history.
//!
//! A change is a whole configuration that takes the place of another, or edits of single objects. It is checked and
//! planned before anything is touched, written down before it is in force, and can be taken back: by number, or by
//! itself when nobody confirms it. `api` understands the requests of REST and console.
#![forbid(unsafe_code)]

pub mod api;
pub mod credentials;
mod edit;
mod history;
mod plan;
mod store;

pub use edit::make;
pub use plan::plan;
pub use store::{Change, Shared, Snapshot, Store};
