//! Certificates and keys in IKE_AUTH: every pair of methods that goes together, and every rule that refuses, with what is
//! said about it.
use super::pair::*;
use crate::api::*;
use crate::diagnosis::{Cause, Diagnosis};
use ca::{Issued, Key, Wish};
use pki::{Certificate, Signer, Trust, Ways};
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// Made once for all tests of the process.
struct World {
    root: Issued,
    middle: Issued,
    other_root: Issued,
    a: Issued,
    b: Issued,
}
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let root = Wish::authority("root", Key::P256).self_signed();
    let middle = Wish::authority("middle", Key::P384).by(&root);
    let other_root = Wish::authority("other root", Key::P256).self_signed();
    let a = Wish::leaf("a", Key::P256).named("fqdn:a.test").named("address:192.0.2.1").by(&root);
    let b = Wish::leaf("b", Key::P256).named("fqdn:b.test").named("fqdn:second.test").by(&root);
    World { root, middle, other_root, a, b }
});
fn parsed(issued: &Issued) -> Arc<Certificate> {
    Arc::new(Certificate::from_der(&issued.der()).unwrap())
}
fn signer(issued: &Issued, chain: &[&Issued]) -> Proof {
    let chain = std::iter::once(&issued).chain(chain).map(|i| parsed(i)).collect();
    let key = pki::read_private_key(&issued.key_pem()).unwrap();
    Proof::Signature(Arc::new(Signer::new(key, chain).unwrap()))
}
fn raw(issued: &Issued) -> Proof {
    let key = pki::read_private_key(&issued.key_pem()).unwrap();
    Proof::Signature(Arc::new(Signer::new(key, Vec::new()).unwrap()))
}
fn raw_key(issued: &Issued) -> Check {
    Check::Key(Arc::new(pki::read_public_key(&issued.public_pem()).unwrap()))
}
fn signed_by(root: &Issued) -> Check {
    Check::Certificate { trust: Arc::new(Trust::new(vec![parsed(root)])), only: None }
}
fn very(issued: &Issued) -> Check {
    Check::Certificate { trust: Arc::new(Trust::default()), only: Some(parsed(issued)) }
}
fn identity(ours: Proof, theirs: Check) -> Identity {
    let auth = Auth { ours, theirs, ways: Ways::default() };
    Identity {
        my_id: MyId::Auto,
        remote_id: RemoteId::Auto,
        match_by: MatchBy::RemoteId,
        auth,
        generate: None,
    }
}
fn secret() -> Psk {
    Psk(b"a secret of theirs".to_vec())
}
pub fn pair(a: Vec<Identity>, b: Vec<Identity>) -> Pair {
    let (mut on_a, mut on_b) = (config(A, "secret"), config(B, "secret"));
    (on_a.peers[0].identities, on_b.peers[0].identities) = (a, b);
    let mut pair = Pair::with(5, on_a, on_b);
    pair.record = true;
    pair.compute_beside(B, 8);
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    pair.nodes.iter_mut().for_each(|node| node.engine.set_calendar(pair.now, wall));
    pair
}
fn run(a: Identity, b: Identity) -> Pair {
    let mut pair = pair(vec![a], vec![b]);
    pair.start();
    pair.run(ms(900));
    pair
}
/// The usual two, each with a certificate of the same authority.
pub fn usual() -> (Identity, Identity) {
    let w = &*WORLD;
    (identity(signer(&w.a, &[]), signed_by(&w.root)), identity(signer(&w.b, &[]), signed_by(&w.root)))
}
#[track_caller]
fn the(pair: &Pair, n: usize, cause: Cause, words: &[&str]) -> Diagnosis {
    let all = pair.nodes[n].logs.iter().filter_map(|r| Some((r, r.diagnosis.as_deref()?)));
    let found: Vec<_> = all.filter(|(_, d)| d.cause == cause).collect();
    let [(report, d)] = &found[..] else { panic!("{cause:?}: {:#?}", pair.nodes[n].logs) };
    for word in words {
        assert!(report.text.contains(word), "`{word}` in {}", report.text);
    }
    assert!(report.peer.is_some() && report.text.lines().count() == 1, "{}", report.text);
    assert!(!d.tell_them.is_empty() || !d.fix_here.is_empty(), "{}", report.text);
    (*d).clone()
}
/// Neither end believes in anything. (A responder whose answer was not believed keeps an SA for packets on their way.)
#[track_caller]
fn assert_nothing(pair: &Pair) {
    for node in &pair.nodes {
        assert!(!node.engine.children(pair.now).iter().any(|c| is_served(c.state)), "{:#?}", node.logs);
        assert!(node.engine.peers(pair.now).iter().all(|p| p.state != "established"), "{:#?}", node.logs);
    }
}

//= test rfc7296#2.15/signature
#[test]
fn every_kind_of_key_brings_a_tunnel_up() {
    for (key, issuer) in [
        (Key::Rsa(2048), Key::P256),
        (Key::P256, Key::Rsa(2048)),
        (Key::P384, Key::P384),
        (Key::P521, Key::P256),
        (Key::Ed25519, Key::Ed25519),
        (Key::Ed448, Key::Ed448),
    ] {
        let root = Wish::authority("root", issuer).self_signed();
        let of = |name: &str| Wish::leaf(name, key).named(&format!("fqdn:{name}")).by(&root);
        let (a, b) = (of("a.test"), of("b.test"));
        for pkcs1 in [false, true] {
            let side = |own| {
                let mut identity = identity(signer(own, &[]), signed_by(&root));
                identity.auth.ways.pkcs1 = pkcs1;
                identity
            };
            let pair = run(side(&a), side(&b));
            pair.assert_up(1);
            assert_eq!(pair.nodes[B].engine.peers(pair.now)[0].id, "a.test");
            assert_eq!(pair.nodes[A].engine.peers(pair.now)[0].id, "b.test");
        }
    }
}

//= test rfc7296#2.15/each-its-own
#[test]
fn each_side_has_a_method_of_its_own() {
    let w = &*WORLD;
    let cases: [(Proof, Check, Proof, Check); 5] = [
        (Proof::Secret(secret()), signed_by(&w.root), signer(&w.b, &[]), Check::Secret(secret())),
        (signer(&w.a, &[]), Check::Secret(secret()), Proof::Secret(secret()), signed_by(&w.root)),
        (raw(&w.a), raw_key(&w.b), raw(&w.b), raw_key(&w.a)),
        (raw(&w.a), signed_by(&w.root), signer(&w.b, &[]), raw_key(&w.a)),
        (signer(&w.a, &[]), very(&w.b), signer(&w.b, &[]), very(&w.a)),
    ];
    for (ours, of_b, theirs, of_a) in cases {
        run(identity(ours, of_b), identity(theirs, of_a)).assert_up(1);
    }
}

#[test]
fn a_chain_is_sent_and_followed() {
    let w = &*WORLD;
    let leaf = Wish::leaf("leaf", Key::P256).named("fqdn:leaf.test").by(&w.middle);
    let up = run(identity(signer(&leaf, &[&w.middle, &w.root]), signed_by(&w.root)), usual().1);
    up.assert_up(1);
    // Without the one between.
    let pair = run(identity(signer(&leaf, &[]), signed_by(&w.root)), usual().1);
    the(&pair, B, Cause::CertificateAuthority, &["issued by O=Tests,CN=middle", "trusted: O=Tests,CN=root"]);
    assert_nothing(&pair);
    // A pinned one needs no authority, and need not be sent: the other end has it.
    let mut raw_a = identity(raw(&w.a), signed_by(&w.root));
    raw_a.my_id = MyId::Id(Id::Fqdn("a.test".into()));
    run(raw_a, identity(signer(&w.b, &[]), very(&w.a))).assert_up(1);
}

/// What A has, the authorities it sends, what it calls itself, what comes of it.
type Case<'a> = (Issued, Vec<&'a Issued>, Option<Id>, Cause, &'static str);
/// Each rule: who presents what, what is said about it, and that nothing is left behind.
#[test]
fn what_is_wrong_with_a_certificate_is_told() {
    let w = &*WORLD;
    let leaf = || Wish::leaf("a", Key::P256).named("fqdn:a.test");
    let named = |name: &str| Some(Id::Fqdn(name.into()));
    let no_authority = Wish::leaf("no authority", Key::P256).by(&w.root);
    let cases: [Case; 9] = [
        (leaf().valid(-7200, -3600).by(&w.root), vec![], None, Cause::CertificateTime, "it ended on"),
        (leaf().valid(3600, 7200).by(&w.root), vec![], None, Cause::CertificateTime, "it begins only on"),
        (leaf().by(&w.other_root), vec![], None, Cause::CertificateAuthority, "CN=other root"),
        (leaf().self_signed(), vec![], None, Cause::CertificateAuthority, "issued by O=Tests,CN=a"),
        (
            leaf().by(&w.root),
            vec![],
            named("b.test"),
            Cause::CertificateIdentity,
            "it is for dn:O=Tests,CN=a, fqdn:a.test",
        ),
        (leaf().by(&w.root), vec![], named("a"), Cause::CertificateIdentity, "fqdn:a;"),
        (leaf().by(&no_authority), vec![&no_authority], None, Cause::CertificateChain, "authority 1 above"),
        (
            leaf().purpose("emailProtection").by(&w.root),
            vec![],
            None,
            Cause::CertificateUsage,
            "clientAuth or serverAuth",
        ),
        (
            Wish { usage: vec!["keyEncipherment"], ..leaf() }.by(&w.root),
            vec![],
            None,
            Cause::CertificateUsage,
            "digitalSignature",
        ),
    ];
    for (a, chain, id, cause, said) in cases {
        let mut on_a = identity(signer(&a, &chain), signed_by(&w.root));
        if let Some(id) = id {
            on_a.my_id = MyId::Id(id);
        }
        // As the initiator's certificate, and as the responder's.
        let called = run(on_a.clone(), usual().1);
        the(&called, B, cause, &[said, "IKE_AUTH"]);
        the(&called, A, Cause::AuthRefused, &["AUTHENTICATION_FAILED", "trust the authority", "CN="]);
        assert_nothing(&called);
        let calling = run(usual().0, on_a);
        the(&calling, A, cause, &[]);
        assert_nothing(&calling);
    }
}
//= test rfc4945#5.1.3.12/eku
#[test]
fn a_client_is_no_gateway() {
    let w = &*WORLD;
    let client = Wish::leaf("a", Key::P256).named("fqdn:a.test").purpose("clientAuth").by(&w.root);
    let client = identity(signer(&client, &[]), signed_by(&w.root));
    run(client.clone(), usual().1).assert_up(1);
    let pair = run(usual().0, client);
    the(&pair, A, Cause::CertificateUsage, &["ipsecIKE or serverAuth"]);
    assert_nothing(&pair);
}
#[test]
fn without_a_calendar_no_certificate_is_believed() {
    let (a, b) = usual();
    let (mut on_a, mut on_b) = (config(A, "secret"), config(B, "secret"));
    (on_a.peers[0].identities, on_b.peers[0].identities) = (vec![a], vec![b]);
    let mut pair = Pair::with(5, on_a, on_b);
    pair.start();
    pair.run(ms(900));
    the(&pair, B, Cause::Local, &["the calendar's time is not known"]);
    assert_nothing(&pair);
}
/// The calendar jumps: what counts is what it says when somebody proves who he is.
#[test]
fn c17_the_calendar_jumps() {
    let (a, b) = usual();
    let mut pair = pair(vec![a], vec![b]);
    pair.nodes[B].engine.set_calendar(pair.now, secs(86_400));
    pair.start();
    pair.run(ms(900));
    the(&pair, B, Cause::CertificateTime, &["not yet valid"]);
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    pair.nodes[B].engine.set_calendar(pair.now, wall);
    pair.run(secs(10));
    pair.assert_up(1);
    pair.nodes[B].engine.set_calendar(pair.now, wall + secs(10 * 365 * 86_400));
    pair.run(secs(600));
    pair.assert_up(1);
}

#[test]
fn the_very_certificate() {
    let w = &*WORLD;
    let again = Wish::leaf("a", Key::P256).named("fqdn:a.test").by(&w.root);
    let on_b = || identity(signer(&w.b, &[]), very(&w.a));
    let pair = run(identity(signer(&again, &[]), signed_by(&w.root)), on_b());
    let d = the(&pair, B, Cause::CertificateOther, &["byte by byte"]);
    assert_eq!(d.fix_here, "/ip ipsec identity set [find peer=to-a] remote-certificate=none");
    assert_nothing(&pair);
    let over = Wish::leaf("a", Key::P256).named("fqdn:a.test").valid(-7200, -3600).self_signed();
    let pair =
        run(identity(signer(&over, &[]), signed_by(&w.root)), identity(signer(&w.b, &[]), very(&over)));
    the(&pair, B, Cause::CertificateTime, &["it ended on"]);
}

/// One peer, several identities: by certificate, by name, by method, by the name that is asked for.
#[test]
fn the_identity_is_found_by_what_the_caller_shows() {
    let w = &*WORLD;
    let second = Wish::leaf("c", Key::P256).named("fqdn:c.test").by(&w.root);
    let fqdn = |name: &str| Id::Fqdn(name.into());
    let by_certificate = |of: &Issued, my: &str| Identity {
        my_id: MyId::Id(fqdn(my)),
        match_by: MatchBy::Certificate,
        ..identity(signer(&w.b, &[]), very(of))
    };
    let by_name = |theirs: &str, my: &str| Identity {
        my_id: MyId::Id(fqdn(my)),
        remote_id: RemoteId::Id(fqdn(theirs)),
        ..identity(signer(&w.b, &[]), signed_by(&w.root))
    };
    let by_secret = Identity {
        my_id: MyId::Id(fqdn("secret.test")),
        ..identity(Proof::Secret(secret()), Check::Secret(secret()))
    };
    let any = identity(signer(&w.b, &[]), signed_by(&w.root));
    let caller = |own: &Issued| identity(signer(own, &[]), signed_by(&w.root));
    let asks = |own: &Issued, name: &str| Identity { remote_id: RemoteId::Id(fqdn(name)), ..caller(own) };
    let cases: [(Identity, Vec<Identity>, &str); 6] = [
        (
            caller(&w.a),
            vec![by_certificate(&second, "second.test"), by_certificate(&w.a, "b.test")],
            "b.test",
        ),
        (
            caller(&second),
            vec![by_certificate(&second, "second.test"), by_certificate(&w.a, "b.test")],
            "second.test",
        ),
        (caller(&second), vec![by_name("a.test", "b.test"), by_name("c.test", "second.test")], "second.test"),
        (
            identity(Proof::Secret(secret()), Check::Secret(secret())),
            vec![any.clone(), by_secret.clone()],
            "secret.test",
        ),
        (caller(&w.a), vec![by_secret, any.clone()], "b.test"),
        (asks(&w.a, "second.test"), vec![any], "second.test"),
    ];
    for (a, b, expected) in cases {
        let mut pair = pair(vec![a], b);
        pair.start();
        pair.run(ms(900));
        pair.assert_up(1);
        assert_eq!(pair.nodes[A].engine.peers(pair.now)[0].id, expected);
    }
    let mut pair = pair(vec![asks(&w.a, "nobody.test")], vec![caller(&w.b)]);
    pair.start();
    pair.run(ms(900));
    the(&pair, B, Cause::IdAsked, &["fqdn:nobody.test"]);
}

#[test]
fn remote_id_and_the_certificate_both_count() {
    let w = &*WORLD;
    let dn = |text: &str| Id::Dn(pki::name::from_text(text).unwrap());
    let takes = |id: RemoteId| Identity { remote_id: id, ..usual().1 };
    let is = |id: Id| Identity { my_id: MyId::Id(id), ..usual().0 };
    run(is(dn("O=Tests,CN=a")), takes(RemoteId::Id(dn("o=tests, CN=A")))).assert_up(1);
    run(is(Id::Address(addr(A))), takes(RemoteId::Auto)).assert_up(1);
    let pair = run(is(dn("O=Tests,CN=a")), takes(RemoteId::Id(Id::Fqdn("a.test".into()))));
    the(&pair, B, Cause::IdUnknown, &["dn:O=Tests,CN=a", "fqdn:a.test"]);
    // `ignore`: whatever they call themselves, as long as an authority vouches for the key.
    run(is(Id::Fqdn("anything.test".into())), takes(RemoteId::Ignore)).assert_up(1);
    let mut stranger =
        identity(signer(&Wish::leaf("x", Key::P256).by(&w.other_root), &[]), signed_by(&w.root));
    stranger.my_id = MyId::Id(Id::Fqdn("anything.test".into()));
    the(&run(stranger, takes(RemoteId::Ignore)), B, Cause::CertificateAuthority, &[]);
}

/// D2: method and identity both have to be the configured ones.
#[test]
fn d2_another_method_than_the_configured_one() {
    let (a, b) = usual();
    let by_secret = || identity(Proof::Secret(secret()), Check::Secret(secret()));
    let pair = run(by_secret(), b);
    let d = the(&pair, B, Cause::AuthMethod, &["SHARED_KEY_MIC", "digital-signature"]);
    assert!(d.fix_here.contains("remote-auth-method=pre-shared-key"), "{}", d.fix_here);
    assert_nothing(&pair);
    let pair = run(a, by_secret());
    let d = the(&pair, B, Cause::AuthMethod, &["ECDSA_SHA256_P256", "pre-shared-key"]);
    assert!(d.fix_here.contains("remote-auth-method=digital-signature"), "{}", d.fix_here);
    assert_nothing(&pair);
}
/// D10: what the configuration names is not there; nobody is let in, and the one who can mend it is told.
#[test]
fn d10_the_key_is_missing() {
    let (a, b) = usual();
    let missing = || Arc::<str>::from("certificate `gw`: /etc/gw.pem: no such file");
    let mut on_b = b.clone();
    on_b.auth.ours = Proof::Missing(missing());
    let pair = run(a.clone(), on_b);
    the(&pair, B, Cause::Local, &["/etc/gw.pem"]);
    assert_nothing(&pair);
    let mut on_b = b.clone();
    on_b.auth.theirs = Check::Missing(missing());
    assert_nothing(&run(a.clone(), on_b));
    let mut on_a = a;
    on_a.auth.ours = Proof::Missing(missing());
    let pair = run(on_a, b);
    the(&pair, A, Cause::Local, &["/etc/gw.pem"]);
    assert_nothing(&pair);
}
/// A raw key is the one that is known, or nothing.
#[test]
fn another_key_than_the_known_one() {
    let w = &*WORLD;
    let pair = run(identity(raw(&w.a), raw_key(&w.b)), identity(raw(&w.b), raw_key(&w.root)));
    the(&pair, B, Cause::Signature, &["does not fit the key"]);
    assert_nothing(&pair);
}

struct Everything;
impl pki::Revocation for Everything {
    fn revoked(&self, _: &Certificate, _: &Certificate, _: std::time::Duration) -> Option<String> {
        Some("on the list of today".into())
    }
}
/// Every cause that is about certificates and signatures.
pub(super) fn faults() -> Vec<Pair> {
    let w = &*WORLD;
    let leaf = || Wish::leaf("a", Key::P256).named("fqdn:a.test");
    let shows = |a: &Issued| run(identity(signer(a, &[]), signed_by(&w.root)), usual().1);
    let missing = run(identity(raw(&w.a), signed_by(&w.root)), usual().1);
    the(&missing, B, Cause::CertificateMissing, &["they sent nothing"]);
    let trust = Trust::new(vec![parsed(&w.root)]).with_revocation(Arc::new(Everything));
    let check = Check::Certificate { trust: Arc::new(trust), only: None };
    let revoked = run(usual().0, identity(signer(&w.b, &[]), check));
    the(&revoked, B, Cause::CertificateRevoked, &["O=Tests,CN=a: on the list of today"]);
    let no_authority = Wish::leaf("no authority", Key::P256).by(&w.root);
    let below = leaf().by(&no_authority);
    let chain = run(identity(signer(&below, &[&no_authority]), signed_by(&w.root)), usual().1);
    let mut other_id = usual().0;
    other_id.my_id = MyId::Id(Id::Fqdn("b.test".into()));
    let new = Wish::leaf("a", Key::Ed25519).named("fqdn:a.test").by(&w.root);
    let by_secret = identity(Proof::Secret(secret()), Check::Secret(secret()));
    let old_peer = run(identity(signer(&new, &[]), Check::Secret(secret())), by_secret);
    the(&old_peer, A, Cause::SignatureAlgorithm, &["they do not know RFC 7427"]);
    vec![
        missing,
        revoked,
        chain,
        shows(&leaf().valid(-7200, -3600).by(&w.root)),
        shows(&leaf().by(&w.other_root)),
        shows(&leaf().purpose("emailProtection").by(&w.root)),
        run(other_id, usual().1),
        run(usual().0, identity(signer(&w.b, &[]), very(&w.b))),
        run(identity(raw(&w.a), raw_key(&w.b)), identity(raw(&w.b), raw_key(&w.root))),
        old_peer,
    ]
}
