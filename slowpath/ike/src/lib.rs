//! IKEv2 as a sans-IO engine (RFC 7296).
#![forbid(unsafe_code)]

pub mod api;
pub mod engine;

pub use engine::Engine;
