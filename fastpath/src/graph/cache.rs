//! What the policy said of a flow, remembered per worker.
//!
//! Direct mapped: a flow that hashes to the place of another takes it. A verdict is good for one
//! generation of the tables.
use crate::crypto::SaRef;
use crate::tables::hash::Mix;
use sa::{DropReason, PolicyId};
use std::hash::{Hash, Hasher};
use wire::Flow;

/// How a packet came to the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Origin {
    /// From a port, unprotected.
    Clear,
    /// Out of a tunnel, checked against that SA's selectors.
    Protected,
    /// From the gateway's own stack.
    Own,
    /// From a port, unprotected, and addressed to the gateway.
    ToUs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Drop(DropReason),
    Encrypt(SaRef),
    Acquire(PolicyId),
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line {
    generation: u32,
    origin: Origin,
    flow: Flow,
    verdict: Verdict,
}

#[derive(Debug)]
pub struct FlowCache {
    lines: Box<[Option<Line>]>,
}

const LINES: usize = 1 << 14;

impl FlowCache {
    pub fn new() -> Self {
        Self { lines: vec![None; LINES].into() }
    }
    pub fn look_up(
        &mut self,
        generation: u32,
        origin: Origin,
        flow: &Flow,
        judge: impl FnOnce() -> Verdict,
    ) -> Verdict {
        let mut hash = Mix::default();
        (origin, flow).hash(&mut hash);
        let line = &mut self.lines[hash.finish() as usize % LINES];
        if let Some(l) = line
            && l.generation == generation
            && l.origin == origin
            && l.flow == *flow
        {
            return l.verdict;
        }
        let verdict = judge();
        *line = Some(Line { generation, origin, flow: *flow, verdict });
        verdict
    }
}
