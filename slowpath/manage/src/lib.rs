//! The running configuration and its history: parse → check → diff → plan → apply → history.
//!
//! A change is a whole configuration that takes the place of another. It is checked and planned before anything is
//! touched, written down before it is in force, and can be taken back: by number, or by itself when nobody confirms it.
#![forbid(unsafe_code)]

mod history;
mod plan;
mod store;

pub use plan::plan;
pub use store::{Change, Store};
