//! Public-key operations that are done beside the engine, in any order: it says what is to be computed
//! (`api::Action::Compute`), some thread runs it, and the engine is told what came of it (`api::Input::Computed`).
use crate::api::{DhGroup, Prf, Rng};
use crate::crypto::{DhError, DhPrivate, Secret, prf};
use crate::engine::{ProofTask, Proven};
use zeroize::Zeroizing;

/// Holds keys, and is never shown.
#[derive(Clone)]
pub struct Job(pub(crate) Work);
#[derive(Clone)]
pub(crate) enum Work {
    /// A responder's part of a key exchange.
    Exchange {
        group: DhGroup,
        theirs: Vec<u8>,
        seed: Zeroizing<[u8; 32]>,
    },
    Proof(Box<ProofTask>),
}
/// What came of a job.
#[derive(Clone)]
pub struct Done(pub(crate) Outcome);
#[derive(Clone)]
pub(crate) enum Outcome {
    /// Our public value, and the secret.
    Exchange(Result<(Vec<u8>, Secret), DhError>),
    Proof(Box<Proven>),
    Nothing,
}

impl Job {
    /// Takes from microseconds to milliseconds, and touches nothing but itself.
    pub fn run(self) -> Done {
        Done(match self.0 {
            Work::Exchange { group, theirs, seed } => {
                Outcome::Exchange(DhPrivate::answer(group, &theirs, &mut Stream::new(seed)))
            }
            Work::Proof(task) => Outcome::Proof(Box::new(task.run())),
        })
    }
}
impl Done {
    /// Nobody could do it.
    pub fn nothing() -> Self {
        Self(Outcome::Nothing)
    }
}
impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Work::Exchange { .. } => "Job(key exchange)",
            Work::Proof(_) => "Job(signatures)",
        })
    }
}
impl std::fmt::Debug for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Outcome::Exchange(_) => "Done(key exchange)",
            Outcome::Proof(_) => "Done(signatures)",
            Outcome::Nothing => "Done(nothing)",
        })
    }
}

/// What a job draws comes from a seed of the engine's random source: HMAC-SHA-256 over a counter.
struct Stream {
    seed: Zeroizing<[u8; 32]>,
    next: u64,
}
impl Stream {
    fn new(seed: Zeroizing<[u8; 32]>) -> Self {
        Self { seed, next: 0 }
    }
}
impl Rng for Stream {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let block = prf(Prf::HmacSha256, &self.seed[..], &[&self.next.to_be_bytes()]);
            self.next += 1;
            chunk.iter_mut().zip(block.iter()).for_each(|(out, drawn)| *out = *drawn);
        }
    }
}

#[test]
fn a_stream_neither_repeats_nor_depends_on_how_it_is_cut() {
    let drawn = |seed, cuts: &[usize]| -> Vec<u8> {
        let mut stream = Stream::new(Zeroizing::new([seed; 32]));
        let fill = |len: &usize| {
            let mut out = vec![0; *len];
            stream.fill(&mut out);
            out
        };
        cuts.iter().map(fill).collect::<Vec<_>>().concat()
    };
    let whole = drawn(1, &[256]);
    assert_eq!(whole, drawn(1, &[64, 32, 160]));
    assert_ne!(whole, drawn(2, &[256]));
    let blocks: std::collections::HashSet<_> = whole.chunks(32).collect();
    assert_eq!(blocks.len(), 8);
}
