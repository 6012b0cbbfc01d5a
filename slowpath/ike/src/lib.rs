//! IKEv2 as a sans-IO engine (RFC 7296).
#![forbid(unsafe_code)]

pub mod api;
pub mod crypto;
pub mod diagnosis;
pub mod engine;
pub mod extensions;
pub mod job;
pub mod message;

pub use engine::Engine;
