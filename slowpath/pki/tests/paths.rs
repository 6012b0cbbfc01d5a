//! Certificates: paths of NIST and the BSI, malformed ones, what each rule says, and names.
mod common;

use ca::{Issued, Key, Wish};
use common::{certificate, vectors, wall};
use pki::{
    Certificate, CertificateError, Claimed, Refusal, Revocation, Role, Rule, Trust, name, read_certificates,
    read_private_key, read_public_key,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn certificates(dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<Arc<Certificate>>, String> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let named = |p: &Path| p.file_name().unwrap().to_str().unwrap().to_owned();
    let wanted = files.iter().filter(|p| p.extension().is_some_and(|e| e == "crt") && wanted(&named(p)));
    let all = wanted.map(|p| read_certificates(&std::fs::read(p).unwrap()).map_err(|e| e.to_string()));
    Ok(all.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().map(Arc::new).collect())
}
/// `name<mark>outcome` lines.
fn expected(path: &str, mark: char) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(vectors(path)).unwrap();
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    lines.filter_map(|l| l.split_once(mark)).map(|(a, b)| (a.into(), b.into())).collect()
}
fn check(
    end: &[Arc<Certificate>],
    anchors: Vec<Arc<Certificate>>,
    between: &[Arc<Certificate>],
    at: u64,
) -> Result<(), String> {
    let [end] = end else { return Err(format!("{} certificates under test", end.len())) };
    let trust = Trust::new(anchors).with_weak_signatures();
    let verdict = || trust.check_path(end, between, Duration::from_secs(at));
    let first = verdict();
    assert_eq!(verdict(), first, "what is remembered changes the verdict");
    first.map_err(|r| format!("{:?}: {}", r.rule, r.text))
}

/// Whose answer lists of revoked certificates alone give is another matter: here they have to pass, since the path is good.
const BY_LIST: [&str; 14] = [
    "test19", "test20", "test31", "test32", "test64", "test65", "test68", "test70", "test71", "test73",
    "test74", "test76", "test67", "test77",
];
/// Botan passes over policies, and the file says that it is wrong there.
const WRONG_THERE: [&str; 2] = ["test46", "test47"];
#[test]
fn nist() {
    let nist = vectors("x509-paths/nist");
    let (mut good, mut bad) = (0, 0);
    for (test, outcome) in expected("x509-paths/nist/expected.txt", ':') {
        let root = certificates(&nist, |f| f == "root.crt").unwrap();
        let verdict = (|| {
            let end = certificates(&nist.join(&test), |f| f == "end.crt")?;
            let between = certificates(&nist.join(&test), |f| f.starts_with("int"))?;
            check(&end, root, &between, 1_000_000_000)
        })();
        let should = (outcome == "Verified" && !WRONG_THERE.contains(&&*test)) || BY_LIST.contains(&&*test);
        assert_eq!(verdict.is_ok(), should, "{test}: {outcome}, here {verdict:?}");
        *if should { &mut good } else { &mut bad } += 1;
    }
    assert!(good > 30 && bad > 15, "{good} {bad}");
}

/// Refused here and good for Botan, or the reverse; each with its reason.
const OTHERWISE: [(&str, bool); 4] = [
    // A name longer than RFC 5280's upper bound, a negative serial number: warnings there, unlimited in OpenSSL.
    ("common_06", true),
    ("common_12", true),
    // Name constraints in a certificate that vouches for nobody: they constrain nothing.
    ("ext_15", true),
    // The file itself calls Botan's answer wrong: an explicit policy is asked for.
    ("ext_17", false),
];
#[test]
fn bsi() {
    let bsi = vectors("x509-paths/bsi");
    let (mut good, mut bad) = (0, 0);
    for (test, outcome) in expected("x509-paths/bsi/expected.txt", '$') {
        let dir = bsi.join(&test);
        let verdict = (|| {
            let end = certificates(&dir, |f| f.contains(".TC."))?;
            let anchors = certificates(&dir, |f| f.contains(".TA."))?;
            let between = certificates(&dir, |f| !f.contains(".TC.") && !f.contains(".TA."))?;
            // In August 2017, when they were made; with the strength of today's rule.
            let trust = Trust::new(anchors);
            let end = end.first().ok_or("nothing under test")?;
            let path = trust.check_path(end, &between, Duration::from_secs(1_502_200_000));
            path.map_err(|r| format!("{:?}: {}", r.rule, r.text))
        })();
        let known = OTHERWISE.iter().find(|(name, _)| *name == test);
        let should = known.map_or(outcome == "Verified", |(_, good)| *good);
        assert_eq!(verdict.is_ok(), should, "{test}: {outcome}, here {verdict:?}");
        *if should { &mut good } else { &mut bad } += 1;
    }
    assert!(good >= 4 && bad >= 12, "{good} {bad}");
}

/// Each reads or is refused with a reason; nothing panics.
#[test]
fn f1_odd_certificates() {
    let (mut good, mut bad) = (0, 0);
    for file in std::fs::read_dir(vectors("x509-corpus")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|e| e == "md") {
            continue;
        }
        match read_certificates(&std::fs::read(&path).unwrap()) {
            Ok(all) => {
                good += 1;
                for c in all {
                    let said = format!("{c:?} {} {:?} {}", c.name(), c.sans(), name::text(c.issuer()));
                    assert!(!said.contains('\n') && said.len() < 4096, "{said}");
                }
            }
            Err(_) => bad += 1,
        }
    }
    assert!(good > 10 && bad >= 4, "{good} {bad}");
}
#[test]
fn f1_der_that_is_none() {
    let der = Wish::leaf("gw", Key::P256).named("fqdn:gw.test").self_signed().der();
    for cut in 0..der.len() {
        assert!(Certificate::from_der(&der[..cut]).is_err(), "{cut}");
    }
    assert!(Certificate::from_der(&[&der[..], &[0]].concat()).is_err(), "a byte behind the end");
    assert!(Certificate::from_der(&[0x30, 0x80, 0, 0]).is_err(), "indefinite length");
    assert!(Certificate::from_der(&[0x30, 0x88, 0x80, 0, 0, 0, 0, 0, 0, 0]).is_err(), "2^63");
    assert!(matches!(Certificate::from_der(&[0; 16385]), Err(CertificateError::Size(16385))));
    let mut deep = Vec::new();
    for _ in 0..1000 {
        let inside = std::mem::take(&mut deep);
        pki::der::push(&mut deep, 0x30, &inside);
    }
    assert!(!pki::der::is_well_formed(&deep));
    // Every byte changed in turn: refused, or it says something else.
    for at in 0..der.len() {
        let mut other = der.clone();
        other[at] ^= 0x20;
        if let Ok(c) = Certificate::from_der(&other) {
            let _ = (c.name(), c.valid_at(wall()), c.check_usage(Role::Initiator));
        }
    }
}

struct Hierarchy {
    root: Issued,
    middle: Issued,
    trust: Trust,
}
impl Hierarchy {
    fn new() -> Self {
        let root = Wish::authority("root", Key::P256).self_signed();
        let middle = Wish::authority("middle", Key::P256).by(&root);
        let trust = Trust::new(vec![certificate(&root)]);
        Self { root, middle, trust }
    }
    fn check(&self, leaf: &Issued) -> Result<(), Rule> {
        let others = [certificate(&self.middle)];
        self.trust.check_path(&certificate(leaf), &others, wall()).map_err(|r| r.rule)
    }
}

//= test rfc5280#6.1.4/authority
#[test]
fn f3_each_rule_of_a_path() {
    let h = Hierarchy::new();
    let leaf = |name: &str| Wish::leaf(name, Key::P256);
    assert_eq!(h.check(&leaf("direct").by(&h.root)), Ok(()));
    assert_eq!(h.check(&leaf("below").by(&h.middle)), Ok(()));
    assert_eq!(h.check(&leaf("over").valid(-7200, -3600).by(&h.middle)), Err(Rule::Time));
    assert_eq!(h.check(&leaf("early").valid(3600, 7200).by(&h.middle)), Err(Rule::Time));
    assert_eq!(h.check(&leaf("alone").self_signed()), Err(Rule::UnknownAuthority));
    let other = Wish::authority("root", Key::P256).self_signed();
    assert!(h.check(&leaf("of a namesake").by(&other)).is_err());
    let no_authority = leaf("middle").by(&h.root);
    let others = [certificate(&no_authority)];
    let below = certificate(&leaf("of a leaf").by(&no_authority));
    assert_eq!(h.trust.check_path(&below, &others, wall()).unwrap_err().rule, Rule::Chain);
    let short = Wish { authority: Some(Some(0)), ..Wish::authority("short", Key::P256) }.by(&h.root);
    let too_deep = Wish::authority("too deep", Key::P256).by(&short);
    let others = [&short, &too_deep].map(certificate);
    let leaf_below = certificate(&leaf("pathlen").by(&too_deep));
    assert_eq!(h.trust.check_path(&leaf_below, &others, wall()).unwrap_err().rule, Rule::Chain);
    assert_eq!(Trust::default().check_path(&below, &[], wall()).unwrap_err().rule, Rule::UnknownAuthority);
    // An authority below the root may be the one that is trusted; a certificate that is no authority may not vouch.
    let middle_only = Trust::new(vec![certificate(&h.middle)]);
    middle_only.check_path(&certificate(&leaf("x").by(&h.middle)), &[], wall()).unwrap();
}
/// Loops and crowds of equal names end, and soon.
#[test]
fn f2_chains_without_end() {
    let h = Hierarchy::new();
    let (a, b) = (Wish::authority("a", Key::P256), Wish::authority("b", Key::P256));
    let (first_a, first_b) = (a.self_signed(), b.self_signed());
    let (a_by_b, b_by_a) = (a.by(&first_b), b.by(&first_a));
    let others: Vec<_> =
        [&a_by_b, &b_by_a, &first_a, &first_b].iter().cycle().take(100).map(|i| certificate(i)).collect();
    let leaf = certificate(&Wish::leaf("leaf", Key::P256).by(&a_by_b));
    assert!(h.trust.check_path(&leaf, &others, wall()).is_err());
    let mut last = h.root.clone();
    let mut path = Vec::new();
    for _ in 0..12 {
        last = Wish::authority("deep", Key::P256).by(&last);
        path.push(certificate(&last));
    }
    let leaf = certificate(&Wish::leaf("leaf", Key::P256).by(&last));
    assert!(h.trust.check_path(&leaf, &path, wall()).is_err());
}

//= test rfc4945#5.1.3.2/key-usage
//= test rfc4945#5.1.3.12/eku
#[test]
fn f3_usage_and_extended_usage() {
    let of = |wish: Wish| certificate(&wish.self_signed());
    let leaf = || Wish::leaf("gw", Key::P256);
    let both = |c: &Certificate| [Role::Initiator, Role::Responder].map(|role| c.check_usage(role).is_ok());
    assert_eq!(both(&of(leaf())), [true, true]);
    assert_eq!(both(&of(Wish { usage: vec![], ..leaf() })), [true, true]);
    assert_eq!(both(&of(Wish { usage: vec!["keyEncipherment"], ..leaf() })), [false, false]);
    for (purpose, expected) in [
        ("serverAuth", [true, true]),
        ("clientAuth", [true, false]),
        ("emailProtection", [false, false]),
        ("1.3.6.1.5.5.7.3.17", [true, true]),
        ("1.3.6.1.5.5.8.2.2", [true, true]),
        ("2.5.29.37.0", [true, true]),
    ] {
        assert_eq!(both(&of(leaf().purpose(purpose))), expected, "{purpose}");
    }
    let refusal = of(leaf().purpose("clientAuth")).check_usage(Role::Responder).unwrap_err();
    assert_eq!(refusal.rule, Rule::Usage);
    assert!(refusal.text.contains("ipsecIKE or serverAuth"), "{}", refusal.text);
}

//= test rfc4945#3.1/types
//= test rfc4945#3.1.2/no-wildcard
#[test]
fn f4_identities() {
    let wish = Wish::leaf("only.in.cn", Key::P256)
        .named("fqdn:gw.test")
        .named("fqdn:*.wild.test")
        .named("user-fqdn:Jo@Example.test")
        .named("address:192.0.2.1")
        .named("address:2001:db8::1")
        .named("fqdn:192.0.2.9");
    let issued = wish.self_signed();
    let c = certificate(&issued);
    for (claimed, expected) in [
        (Claimed::Fqdn("gw.test"), true),
        (Claimed::Fqdn("GW.Test"), true),
        (Claimed::Fqdn("only.in.cn"), false),
        (Claimed::Fqdn("a.wild.test"), false),
        (Claimed::Fqdn("*.wild.test"), true),
        (Claimed::Fqdn("gw.test\0.evil"), false),
        (Claimed::Email("Jo@example.TEST"), true),
        (Claimed::Email("jo@example.test"), false),
        (Claimed::Email("gw.test"), false),
        (Claimed::Address("192.0.2.1".parse().unwrap()), true),
        (Claimed::Address("192.0.2.9".parse().unwrap()), false),
        (Claimed::Address("2001:db8::1".parse().unwrap()), true),
        (Claimed::KeyId(b"gw.test"), false),
        (Claimed::KeyId(issued.certificate.subject_key_id().unwrap().as_slice()), true),
    ] {
        assert_eq!(c.names(claimed), expected, "{claimed:?}");
    }
    let dn = |text: &str| name::from_text(text).unwrap();
    assert!(c.names(Claimed::Dn(c.subject())));
    assert!(c.names(Claimed::Dn(&dn("O=Tests,CN=only.in.cn"))));
    assert!(c.names(Claimed::Dn(&dn("o=TESTS, cn=Only.In.CN"))), "case and blanks do not count");
    assert!(!c.names(Claimed::Dn(&dn("CN=only.in.cn,O=Tests"))), "order counts");
    assert!(!c.names(Claimed::Dn(&dn("O=Tests,CN=only.in.cn,OU=more"))));
    assert!(!c.names(Claimed::Dn(b"\x30\x80")));
    let refusal = c.check_identity(Claimed::Fqdn("other.test")).unwrap_err();
    assert!(refusal.text.contains("fqdn:gw.test"), "{}", refusal.text);
}
#[test]
fn f4_a_nul_within_a_name_refuses_the_certificate() {
    let issued = Wish::leaf("gw", Key::P256).named("fqdn:gw.test.evil").self_signed();
    let mut der = issued.der();
    let at = der.windows(8).position(|w| w == b"gw.test.").unwrap();
    der[at + 7] = 0;
    assert_eq!(Certificate::from_der(&der).unwrap_err(), CertificateError::Extension("subjectAltName"));
}

#[test]
fn names_to_text_and_back() {
    for text in ["CN=gw", "C=CH,O=A\\, B,CN=gw.test", "DC=test,DC=example,CN=x", "E=a@b.test"] {
        assert_eq!(name::text(&name::from_text(text).unwrap()), text);
    }
    for text in ["", "CN", "CN=", "XX=a", "CN=a,,O=b"] {
        assert!(name::from_text(text).is_err(), "{text}");
    }
    let odd = name::text(&name::from_text("CN=a\nb\"c,O=Zürich").unwrap());
    assert!(odd.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"'), "{odd}");
}

struct Black(Vec<u8>);
impl Revocation for Black {
    fn revoked(&self, certificate: &Certificate, _: &Certificate, _: Duration) -> Option<String> {
        (certificate.subject() == self.0).then(|| "on a list".into())
    }
}
/// Whoever knows of revoked certificates is asked about each of the path.
#[test]
fn what_was_taken_back_is_refused() {
    let h = Hierarchy::new();
    let leaf = Wish::leaf("leaf", Key::P256).by(&h.middle);
    for (revoked, expected) in [
        (certificate(&leaf), Err(Rule::Revoked)),
        (certificate(&h.middle), Err(Rule::Revoked)),
        (certificate(&Wish::leaf("another", Key::P256).self_signed()), Ok(())),
    ] {
        let trust = h.trust.clone().with_revocation(Arc::new(Black(revoked.subject().to_vec())));
        let h = Hierarchy { root: h.root.clone(), middle: h.middle.clone(), trust };
        assert_eq!(h.check(&leaf), expected);
    }
}

#[test]
fn d10_files() {
    let issued = Wish::leaf("gw", Key::P256).self_signed();
    assert_eq!(read_certificates(&issued.der()).unwrap().len(), 1);
    assert_eq!(read_certificates(&[issued.pem(), issued.pem()].concat()).unwrap().len(), 2);
    let (der, sec1) = (issued.key.private_key_to_der().unwrap(), issued.key.ec_key().unwrap());
    for key in [issued.key_pem(), der, sec1.private_key_to_pem().unwrap()] {
        assert!(read_private_key(&key).unwrap().is_of(certificate(&issued).key()));
    }
    for public in [issued.public_pem(), issued.pem(), issued.key_pem()] {
        assert_eq!(read_public_key(&public).unwrap().spki(), certificate(&issued).key().spki());
    }
    let cipher = openssl::symm::Cipher::aes_256_cbc();
    let locked = issued.key.private_key_to_pem_pkcs8_passphrase(cipher, b"secret").unwrap();
    for (bytes, said) in
        [(&locked, "passphrase"), (&issued.pem(), "no private key"), (&vec![], "no private key")]
    {
        let error = read_private_key(bytes).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    for bytes in [&b""[..], b"text", &issued.key_pem(), &vec![b'x'; 2 << 20]] {
        assert!(read_certificates(bytes).is_err());
        assert!(read_public_key(&bytes[..bytes.len().min(20)]).is_err());
    }
    let short = Wish::leaf("short", Key::Rsa(1024)).self_signed();
    assert!(read_private_key(&short.key_pem()).unwrap_err().to_string().contains("1024"));
}

/// The verdict of a refusal says which certificate and why, in one line.
#[test]
fn a_refusal_is_one_line() {
    let h = Hierarchy::new();
    let leaf = Wish::leaf("over\nand out", Key::P256).valid(-7200, -3600).by(&h.middle);
    let Refusal { text, .. } = h.trust.check_path(&certificate(&leaf), &[], wall()).unwrap_err();
    assert!(!text.contains('\n') && text.contains("over"), "{text}");
}
