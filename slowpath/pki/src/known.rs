//! Certificates whose path was verified, so that a peer that comes again costs neither a parser nor signatures of authorities.
//! Who has no such path leaves nothing here.
use crate::certificate::Certificate;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Entries of one generation; two are kept.
const GENERATION: usize = 1024;

/// By SHA-256 of the DER.
pub type Digest = [u8; 32];

#[derive(Clone)]
pub struct Known {
    pub certificate: Arc<Certificate>,
    /// Those above it up to the anchor. `None`: it has been met as an authority only.
    pub issuers: Option<Arc<[Arc<Certificate>]>>,
}
impl Known {
    /// None of them has to be younger, or older.
    pub fn holds_at(&self, wall: Duration) -> bool {
        let above = self.issuers.iter().flat_map(|issuers| issuers.iter());
        std::iter::once(&self.certificate).chain(above).all(|c| c.valid_at(wall).is_ok())
    }
}

/// When a generation is full the one before it is forgotten, except for what was asked for since.
#[derive(Default)]
pub struct Cache {
    recent: HashMap<Digest, Known>,
    older: HashMap<Digest, Known>,
}
impl Cache {
    pub fn get(&mut self, digest: &Digest) -> Option<Known> {
        if let Some(known) = self.recent.get(digest) {
            return Some(known.clone());
        }
        let known = self.older.remove(digest)?;
        self.put(known.clone());
        Some(known)
    }
    pub fn put(&mut self, known: Known) {
        if self.recent.len() >= GENERATION {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(*known.certificate.digest(), known);
    }
    /// As an authority, which may be known as more.
    pub fn put_authority(&mut self, certificate: &Arc<Certificate>) {
        if self.get(certificate.digest()).is_none() {
            self.put(Known { certificate: Arc::clone(certificate), issuers: None });
        }
    }
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.recent.len() + self.older.len()
    }
}

#[test]
fn two_generations_are_kept_and_what_is_asked_for_stays() {
    let certificate = |n: u32| {
        let own = ca::Wish::leaf(&format!("leaf {n}"), ca::Key::P256).self_signed();
        Arc::new(Certificate::from_der(&own.der()).unwrap())
    };
    let (first, forgotten) = (certificate(0), certificate(1));
    let mut cache = Cache::default();
    cache.put(Known { certificate: Arc::clone(&first), issuers: Some(Arc::new([])) });
    cache.put_authority(&forgotten);
    // Of one certificate under other digests: making thousands takes long.
    let fill = |cache: &mut Cache, from: u32| {
        for n in from..from + GENERATION as u32 {
            if cache.recent.len() >= GENERATION {
                cache.older = std::mem::take(&mut cache.recent);
            }
            let mut digest = [0; 32];
            digest[..4].copy_from_slice(&n.to_be_bytes());
            cache.recent.insert(digest, Known { certificate: Arc::clone(&first), issuers: None });
            assert!(cache.len() <= 2 * GENERATION);
        }
    };
    for round in 0..4 {
        fill(&mut cache, round * GENERATION as u32);
        let known = cache.get(first.digest()).expect("asked for in each round");
        // An authority's role takes nothing away.
        cache.put_authority(&first);
        assert!(known.issuers.is_some() && cache.get(first.digest()).unwrap().issuers.is_some());
    }
    assert!(cache.get(forgotten.digest()).is_none());
}
