//! The configuration file: YAML in, a checked [`model::Config`] or every complaint at once out.
#![forbid(unsafe_code)]

pub mod complaint;
pub mod model;
mod secret;

pub use complaint::{Complaint, Complaints, Severity};
pub use model::Config;
pub use secret::Secret;

/// A configuration that holds, and what is odd about it.
#[derive(Clone, Debug)]
pub struct Checked {
    pub config: Config,
    pub warnings: Complaints,
}
