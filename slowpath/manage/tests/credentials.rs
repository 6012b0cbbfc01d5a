//! Files of certificates and keys: read once, read again when they change, and complained about by name.
use ca::{Key, Wish};
use manage::credentials::Files;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}
fn put(dir: &Path, name: &str, bytes: &[u8], mode: u32) {
    let path = dir.join(name);
    // As a tool renews it: a new file in the place of the old one.
    let new = dir.join("new");
    std::fs::write(&new, bytes).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::rename(new, path).unwrap();
}
fn config(dir: &Path, identity: &str) -> config::Config {
    let text = format!(
        "interface: [{{name: wan, device: \"null\"}}]
ip:
  address: [{{address: 203.0.113.1/24, interface: wan}}]
  ipsec:
    peer: [{{name: b, address: 203.0.113.2/32, exchange-mode: ike2}}]
    identity: [{{peer: b, {identity}}}]
    key: [{{name: raw, file: {d}/own.key}}, {{name: theirs, file: {d}/theirs.pub}}]
certificate:
  - {{name: ca, file: {d}/ca.pem, trusted: yes}}
  - {{name: own, file: {d}/own.pem, key-file: {d}/own.key}}
  - {{name: both, file: {d}/both.pem}}
  - {{name: theirs, file: {d}/theirs.pem}}
",
        d = dir.display()
    );
    let (document, _) = config::document::Document::from_yaml(&text).unwrap_or_else(|e| panic!("{e:?}"));
    document.check().unwrap_or_else(|e| panic!("{e}")).config
}

#[test]
fn d10_what_the_files_say() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let root = Wish::authority("root", Key::P256).self_signed();
    let own = Wish::leaf("own", Key::P256).named("fqdn:own.test").by(&root);
    let other = Wish::leaf("other", Key::P256).by(&root);
    put(d, "ca.pem", &root.pem(), 0o644);
    put(d, "own.pem", &[own.pem(), root.pem()].concat(), 0o644);
    put(d, "own.key", &own.key_pem(), 0o600);
    put(d, "both.pem", &[own.key_pem(), own.pem()].concat(), 0o600);
    put(d, "theirs.pem", &other.pem(), 0o644);
    put(d, "theirs.pub", &other.public_pem(), 0o644);
    let mut files = Files::default();
    let own_names = vec!["own".to_owned()];
    let good = config(d, "auth-method: digital-signature, certificate: own, remote-certificate: theirs");
    let made = files.load(&good, wall());
    assert_eq!(made.problems, []);
    let signer = made.signer(&own_names).unwrap();
    assert_eq!(signer.to_send().count(), 1, "the root in the file is not sent");
    assert_eq!(made.trust().anchors().len(), 1);
    // The same files are not read again.
    assert!(Arc::ptr_eq(
        &files.load(&good, wall()).certificate("own").unwrap(),
        signer.certificate().unwrap()
    ));
    // And who trusts the same authorities goes on knowing whom they have vouched for.
    let trust = Arc::clone(made.trust());
    assert!(Arc::ptr_eq(files.load(&good, wall()).trust(), &trust));
    // Key and certificate in one file; raw keys.
    let one = config(d, "auth-method: digital-signature, certificate: both");
    assert!(files.load(&one, wall()).signer(&["both".to_owned()]).is_ok());
    let raw = config(d, "auth-method: rsa-key, key: raw, remote-key: theirs");
    let made = files.load(&raw, wall());
    assert!(made.raw_signer("raw").is_ok() && made.raw_key("theirs").is_ok(), "{:?}", made.problems);

    let complained = |files: &mut Files, at: Duration| {
        files.load(&good, at).problems.iter().map(|p| (p.is_error, p.to_string())).collect::<Vec<_>>()
    };
    put(d, "own.key", &other.key_pem(), 0o600);
    let said = complained(&mut files, wall());
    assert!(said[0].0 && said[0].1.contains("is not that of the certificate"), "{said:?}");
    put(d, "own.key", &own.key_pem(), 0o644);
    let said = complained(&mut files, wall());
    assert!(!said[0].0 && said[0].1.contains("everybody") && said[0].1.contains("chmod 600"), "{said:?}");
    let cipher = openssl::symm::Cipher::aes_256_cbc();
    let locked = own.key.private_key_to_pem_pkcs8_passphrase(cipher, b"secret").unwrap();
    put(d, "own.key", &locked, 0o600);
    assert!(complained(&mut files, wall())[0].1.contains("passphrase"));
    std::fs::remove_file(d.join("own.key")).unwrap();
    let said = complained(&mut files, wall());
    assert!(said[0].0 && said[0].1.contains("own.key: No such file"), "{said:?}");
    put(d, "own.key", &own.key_pem(), 0o600);
    put(d, "own.pem", b"nothing", 0o644);
    assert!(complained(&mut files, wall())[0].1.starts_with("certificate own: "));
    put(d, "own.pem", &own.pem(), 0o644);
    assert_eq!(complained(&mut files, wall()), []);
    // Time passes.
    let said = complained(&mut files, wall() + Duration::from_secs(360 * 86_400));
    assert!(said.len() == 4 && said.iter().all(|(error, s)| !error && s.contains("ends on")), "{said:?}");
    let said = complained(&mut files, wall() + Duration::from_secs(400 * 86_400));
    assert!(said.iter().all(|(error, s)| !error && s.contains("it ended on")), "{said:?}");
    // An authority that is none, and a name that is none.
    put(d, "ca.pem", &other.pem(), 0o644);
    assert!(complained(&mut files, wall())[0].1.contains("is no authority"));
    assert!(!Arc::ptr_eq(files.load(&good, wall()).trust(), &trust));
    let odd = config(d, "secret: x, my-id: \"dn:XX=a\"");
    let made = files.load(&odd, wall());
    assert!(
        made.errors().any(|p| p.path == "ip ipsec identity b" && p.said.contains("XX")),
        "{:?}",
        made.problems
    );
}
