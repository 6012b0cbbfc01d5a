//! What is printed for the other side fits: read back by our own importers, by Python, by eye for the rest.
use config::model::{Config, Id, MyId, RemoteId};
use config::remote::{Kind, Printed, print};
use config::script::{import, swanctl};

const SECRET: &str = "a \\ \"secret\" $ with; 'corners'?";

fn ours(profile: &str, proposal: &str, identity: &str) -> Config {
    let text = format!(
        "system: {{name: site-a}}\ninterface:\n  - {{name: wan, device: \"null\"}}\n  - {{name: lan, device: \"null\"}}\nip:\n  \
         address:\n    - {{address: 198.51.100.2/24, interface: wan}}\n    - {{address: 10.1.0.1/24, interface: lan}}\n    \
         - {{address: \"fd00:a::1/64\", interface: lan}}\n  \
         route:\n    - {{gateway: 198.51.100.1}}\n  ipsec:\n    profile:\n      - {{name: p, {profile}, lifetime: 8h, dpd-interval: 20s}}\n    \
         peer:\n      - {{name: b, address: 203.0.113.2, exchange-mode: ike2, profile: p}}\n    \
         identity:\n      - {{peer: b, {identity}, secret: {}}}\n    proposal:\n      - {{name: e, {proposal}, lifetime: 45m}}\n    \
         policy:\n      - {{src-address: 10.1.0.0/24, dst-address: 10.2.0.0/24, peer: b, proposal: e, tunnel: yes}}\n      \
         - {{src-address: \"fd00:a::/64\", dst-address: \"fd00:b::/64\", protocol: tcp, src-port: 443, peer: b, proposal: e, tunnel: yes}}\n",
        serde_json::to_string(SECRET).unwrap()
    );
    config::check(&text).unwrap_or_else(|complaints| panic!("{complaints}")).config
}
fn plain() -> Config {
    ours(
        "enc-algorithm: [aes-256, aes-128], hash-algorithm: sha256, dh-group: [x25519, ecp256, modp2048]",
        "enc-algorithms: [aes-256-cbc, aes-128-cbc], auth-algorithms: [sha256, sha512], pfs-group: ecp256",
        "my-id: \"fqdn:site-a.example\", remote-id: \"user-fqdn:b@site-b.example\"",
    )
}
fn printed(config: &Config, kind: Kind) -> Printed {
    print(config, "b", kind, true).unwrap_or_else(|said| panic!("{said}"))
}
/// The other gateway, with the interfaces that stand nowhere in what was printed.
fn other(document: &config::Document) -> Config {
    let yaml = document.to_yaml(config::document::Secrets::Shown);
    let address = "ip:\n  address: [{address: 203.0.113.2/24, interface: w}, {address: 10.2.0.1/24, interface: w}, {address: \"fd00:b::1/64\", interface: w}]\n  route: [{gateway: 203.0.113.1}]\n";
    assert_eq!(
        yaml.matches("\nip:\n").count() + usize::from(yaml.starts_with("ip:\n")),
        1,
        "{}",
        yaml.as_str()
    );
    let text = format!("interface: [{{name: w, device: \"null\"}}]\n{}", yaml.replacen("ip:\n", address, 1));
    config::check(&text).unwrap_or_else(|complaints| panic!("{complaints}\n{text}")).config
}

/// Both ends agree on everything: addresses, identities, secret, algorithms, lifetimes, networks.
fn mirrored(ours: &Config, theirs: &Config) {
    let [us, them] = [ours, theirs].map(|config| config.ipsec.peers.first().expect("a peer"));
    assert_eq!(them.address.to_string(), "198.51.100.2/32");
    assert_eq!(them.local_address, Some("203.0.113.2".parse().unwrap()));
    let [ours_p, theirs_p] = [&us.profile, &them.profile];
    assert_eq!(
        (&ours_p.dh_groups, ours_p.hash, ours_p.prf),
        (&theirs_p.dh_groups, theirs_p.hash, theirs_p.prf)
    );
    assert_eq!((ours_p.lifetime, ours_p.dpd_interval), (theirs_p.lifetime, theirs_p.dpd_interval));
    assert!(!theirs_p.encryption.is_empty());
    assert!(theirs_p.encryption.iter().all(|e| ours_p.encryption.contains(e)), "{theirs_p:?}");
    let [our_id, their_id] = [us, them].map(|peer| &peer.identities[0]);
    let said = |id: &MyId, address: &str| match id {
        MyId::Id(id) => id.clone(),
        MyId::Auto | MyId::Subject => Id::Address(address.parse().unwrap()),
    };
    for (says, address, hears) in [
        (&our_id.my_id, "198.51.100.2", &their_id.remote_id),
        (&their_id.my_id, "203.0.113.2", &our_id.remote_id),
    ] {
        match hears {
            RemoteId::Id(id) => assert_eq!(*id, said(says, address)),
            RemoteId::Auto | RemoteId::Ignore | RemoteId::Subject => {}
        }
    }
    assert!(our_id.auth == their_id.auth, "the secrets differ");
    let selectors = |config: &Config, swap: bool| {
        let mut all: Vec<String> = config
            .ipsec
            .policies
            .iter()
            .map(|p| {
                let s = p.spec.selector;
                let (a, b) = ((s.src, s.src_port), (s.dst, s.dst_port));
                let (a, b) = if swap { (b, a) } else { (a, b) };
                format!("{a:?} {b:?} {:?}", s.protocol)
            })
            .collect();
        all.sort();
        all
    };
    assert_eq!(selectors(ours, false), selectors(theirs, true));
    for (a, b) in
        ours.ipsec.policies.iter().map(|p| &p.proposal).zip(theirs.ipsec.policies.iter().map(|p| &p.proposal))
    {
        assert!(!b.suites.is_empty() && b.suites.iter().all(|suite| a.suites.contains(suite)), "{a:?} {b:?}");
        assert_eq!((a.pfs_group, a.lifetime), (b.pfs_group, b.lifetime));
    }
}

#[test]
fn routeros_reads_back_as_the_mirror() {
    for config in [
        plain(),
        ours(
            "enc-algorithm: [aes-256-gcm, aes-192], hash-algorithm: sha384, prf-algorithm: sha512, dh-group: ecp384",
            "enc-algorithms: [aes-256-gcm, chacha20poly1305], auth-algorithms: null, pfs-group: none",
            "my-id: auto",
        ),
    ] {
        let Printed { text, problems } = printed(&config, Kind::Routeros);
        assert_eq!(problems, Vec::<String>::new(), "{}", text.as_str());
        let imported = import(&text);
        assert!(imported.missing.is_empty(), "{}", imported.report.summary());
        mirrored(&config, &other(&imported.document));
    }
}
#[test]
fn swanctl_reads_back_as_the_mirror() {
    for config in [
        plain(),
        ours(
            "enc-algorithm: [aes-256-gcm, chacha20poly1305], hash-algorithm: sha384, dh-group: [x25519, ecp384]",
            "enc-algorithms: [aes-256-gcm, chacha20poly1305], auth-algorithms: null, pfs-group: x25519",
            "my-id: auto, remote-id: \"key-id:b\"",
        ),
    ] {
        let Printed { text, problems } = printed(&config, Kind::Swanctl);
        assert_eq!(problems, Vec::<String>::new(), "{}", text.as_str());
        mirrored(&config, &other(&swanctl::import(&text).document));
    }
}

#[test]
fn what_the_other_kind_cannot_do_is_said_in_the_text() {
    let gcm = ours(
        "enc-algorithm: aes-256-gcm, hash-algorithm: sha512, dh-group: x25519",
        "enc-algorithms: chacha20poly1305, auth-algorithms: null, pfs-group: x25519",
        "my-id: auto",
    );
    for (kind, wanted) in [
        (
            Kind::Routeros,
            &["RouterOS knows none of the IKE ciphers allowed here (aes-256-gcm)", "pfs-group x25519"][..],
        ),
        (
            Kind::Windows,
            &[
                "never with a pre-shared key",
                "none of the Diffie-Hellman groups",
                "none of the ESP ciphers",
                "0.0.0.0/0",
            ],
        ),
        (Kind::Apple, &["hands out no addresses", "name a protocol or ports"]),
        (Kind::Android, &["never with a pre-shared key", "hands out no addresses"]),
    ] {
        let Printed { text, problems } = printed(&gcm, kind);
        for words in wanted {
            assert!(problems.iter().any(|p| p.contains(words)), "{}: {words}: {problems:?}", kind.name());
            // JSON and XML write some characters in their own way; these words have none.
            assert!(text.contains(words), "{}: {words}: {}", kind.name(), text.as_str());
        }
    }
    assert_eq!(printed(&gcm, Kind::Swanctl).problems, Vec::<String>::new());
}

/// What `python3` makes of a property list, as JSON.
fn plist(text: &str) -> serde_json::Value {
    use std::io::Write;
    let mut python = std::process::Command::new("python3")
        .args([
            "-c",
            "import sys, json, plistlib; print(json.dumps(plistlib.loads(sys.stdin.buffer.read())))",
        ])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python3");
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let out = python.wait_with_output().unwrap();
    assert!(out.status.success(), "{text}");
    serde_json::from_slice(&out.stdout).unwrap()
}
#[test]
fn apples_profile_is_a_property_list_with_our_words_in_it() {
    let parsed = plist(&printed(&plain(), Kind::Apple).text);
    let vpn = &parsed["PayloadContent"][0];
    assert_eq!(
        (parsed["PayloadType"].as_str(), vpn["VPNType"].as_str()),
        (Some("Configuration"), Some("IKEv2"))
    );
    let ike = &vpn["IKEv2"];
    for (key, value) in [
        ("RemoteAddress", "198.51.100.2"),
        ("RemoteIdentifier", "site-a.example"),
        ("LocalIdentifier", "b@site-b.example"),
        ("AuthenticationMethod", "SharedSecret"),
        ("SharedSecret", SECRET),
    ] {
        assert_eq!(ike[key], value, "{ike}");
    }
    let parameters = &ike["IKESecurityAssociationParameters"];
    assert_eq!(
        (&parameters["EncryptionAlgorithm"], &parameters["DiffieHellmanGroup"]),
        (&"AES-256".into(), &31.into())
    );
    assert_eq!(ike["ChildSecurityAssociationParameters"]["DiffieHellmanGroup"], 19);
    assert_ne!(parsed["PayloadUUID"], vpn["PayloadUUID"]);
}
#[test]
fn androids_profile_is_json_and_windows_s_lines_are_commands() {
    let android: serde_json::Value = serde_json::from_str(&printed(&plain(), Kind::Android).text).unwrap();
    assert_eq!(android["remote"]["addr"], "198.51.100.2");
    assert_eq!(android["split-tunneling"]["subnets"], serde_json::json!(["10.1.0.0/24", "fd00:a::/64"]));
    assert!(
        android["ike-proposal"]
            .as_str()
            .unwrap()
            .starts_with("aes256-sha256-prfsha256-curve25519-ecp256-modp2048")
    );
    let windows = printed(&plain(), Kind::Windows).text;
    for line in windows.lines() {
        assert!(line.starts_with(['#', 'A', 'S']), "{line}");
        if !line.starts_with('#') {
            assert!(
                line.starts_with("Add-VpnConnection")
                    || line.starts_with("Set-VpnConnectionIPsecConfiguration"),
                "{line}"
            );
        }
        let text = line.trim_start_matches("# ");
        assert!(!text.starts_with("Add-") || text.matches('\'').count().is_multiple_of(2), "{line}");
    }
    assert!(windows.contains("-EncryptionMethod AES256 -IntegrityCheckMethod SHA256 -DHGroup ECP256 -CipherTransformConstants AES256 -AuthenticationTransformConstants SHA256128 -PfsGroup ECP256"), "{}", windows.as_str());
}

#[test]
fn the_secret_is_only_in_it_when_asked_for() {
    for kind in Kind::ALL {
        let text = print(&plain(), "b", kind, false).unwrap_or_else(|said| panic!("{said}")).text;
        assert!(!text.contains("corners"), "{}", kind.name());
        // The app for Android has no place for one.
        assert!(text.contains("CHANGE-ME") || kind == Kind::Android, "{}", kind.name());
        assert_eq!(Kind::from_name(kind.name()), Some(kind));
    }
    assert_eq!(
        print(&plain(), "c", Kind::Swanctl, false).err().as_deref(),
        Some("there is no enabled peer `c`; there are b")
    );
}
