//! What is remembered of a path: that its signatures were right, and nothing else.
mod common;

use ca::{Issued, Key, Wish};
use common::{certificate, wall};
use pki::{Certificate, Revocation, Rule, Trust};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

struct Site {
    root: Issued,
    middle: Issued,
    leaf: Issued,
}
fn site() -> Site {
    let root = Wish::authority("root", Key::P256).self_signed();
    let middle = Wish::authority("middle", Key::P256).by(&root);
    let leaf = Wish::leaf("leaf", Key::P256).by(&middle);
    Site { root, middle, leaf }
}

#[test]
fn a_known_certificate_is_the_same_object_and_needs_no_others() {
    let s = site();
    let trust = Trust::new(vec![certificate(&s.root)]);
    let unknown = [trust.read(&s.leaf.der()).unwrap(), trust.read(&s.leaf.der()).unwrap()];
    assert!(!Arc::ptr_eq(&unknown[0], &unknown[1]), "nothing is kept of what was not verified");
    assert_eq!(trust.check_path(&unknown[0], &[], wall()).unwrap_err().rule, Rule::UnknownAuthority);
    trust.check_path(&unknown[0], &[certificate(&s.middle)], wall()).unwrap();
    let known = trust.read(&s.leaf.der()).unwrap();
    assert!(Arc::ptr_eq(&known, &unknown[0]));
    trust.check_path(&known, &[], wall()).unwrap();
    // Another copy of the same bytes is the same certificate; whoever trusts somebody else knows nothing of it.
    trust.check_path(&unknown[1], &[], wall()).unwrap();
    assert!(Trust::new(vec![certificate(&s.root)]).check_path(&known, &[], wall()).is_err());
    assert!(trust.clone().with_weak_signatures().check_path(&known, &[], wall()).is_err());
}
#[test]
fn an_authority_on_the_way_is_not_known_as_a_leaf() {
    let s = site();
    let trust = Trust::new(vec![certificate(&s.root)]);
    trust.check_path(&certificate(&s.leaf), &[certificate(&s.middle)], wall()).unwrap();
    let elsewhere =
        Wish::authority("middle", Key::P256).by(&Wish::authority("root", Key::P256).self_signed());
    assert!(trust.check_path(&certificate(&elsewhere), &[], wall()).is_err());
    trust.check_path(&certificate(&s.middle), &[], wall()).unwrap();
    trust.check_path(&certificate(&s.leaf), &[], wall()).unwrap();
}
/// A changed signature makes another certificate.
#[test]
fn each_changed_byte_of_the_signature_is_noticed_beside_the_known_one() {
    let s = site();
    let (trust, middle) = (Trust::new(vec![certificate(&s.root)]), [certificate(&s.middle)]);
    trust.check_path(&certificate(&s.leaf), &middle, wall()).unwrap();
    let der = s.leaf.der();
    for back in 1..60 {
        let mut other = der.clone();
        let at = other.len() - back;
        other[at] ^= 1;
        if let Ok(other) = trust.read(&other) {
            assert!(trust.check_path(&other, &middle, wall()).is_err(), "{back} bytes from the end");
        }
    }
}

#[test]
fn time_passes_for_what_is_known_too() {
    let root = Wish::authority("root", Key::P256).self_signed();
    let middle = Wish::authority("middle", Key::P256).valid(-3600, 7200).by(&root);
    let leaf = certificate(&Wish::leaf("leaf", Key::P256).valid(-60, 3600).by(&middle));
    let long = certificate(&Wish::leaf("long", Key::P256).valid(-60, 36000).by(&middle));
    let (trust, middle) = (Trust::new(vec![certificate(&root)]), [certificate(&middle)]);
    let new = || Trust::new(vec![certificate(&root)]);
    for (leaf, ends) in [(&leaf, 3600), (&long, 7200)] {
        trust.check_path(leaf, &middle, wall()).unwrap();
        for at in [wall() - Duration::from_secs(5000), wall() + Duration::from_secs(ends + 10)] {
            let refused = trust.check_path(leaf, &middle, at).unwrap_err();
            assert_eq!(refused, new().check_path(leaf, &middle, at).unwrap_err());
            assert_eq!(refused.rule, Rule::Time);
        }
        trust.check_path(leaf, &[], wall() + Duration::from_secs(ends - 30)).unwrap();
    }
}

struct List(Arc<AtomicBool>, &'static str);
impl Revocation for List {
    fn revoked(&self, certificate: &Certificate, _: &Certificate, _: Duration) -> Option<String> {
        let meant = certificate.name().contains(self.1) && self.0.load(Ordering::Relaxed);
        meant.then(|| "it was taken back".to_owned())
    }
}
//= test rfc5280#6.3/each-time
#[test]
fn revocation_is_asked_each_time() {
    let s = site();
    for whom in ["leaf", "middle"] {
        let revoked = Arc::new(AtomicBool::new(false));
        let trust = Trust::new(vec![certificate(&s.root)]);
        let trust = trust.with_revocation(Arc::new(List(Arc::clone(&revoked), whom)));
        let (leaf, middle) = (certificate(&s.leaf), [certificate(&s.middle)]);
        trust.check_path(&leaf, &middle, wall()).unwrap();
        revoked.store(true, Ordering::Relaxed);
        assert_eq!(trust.check_path(&leaf, &middle, wall()).unwrap_err().rule, Rule::Revoked, "{whom}");
        revoked.store(false, Ordering::Relaxed);
        trust.check_path(&leaf, &[], wall()).unwrap();
    }
}
