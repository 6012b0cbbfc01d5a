//! The way of a packet through a worker.

/// What the graph needs to finish a packet once an engine has given it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The full sequence number.
    pub seq: u64,
}
