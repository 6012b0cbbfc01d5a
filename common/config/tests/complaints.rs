//! Each fault gets one complaint, at its place, with a fix. Rows G1 and G2 of the list of hostile inputs.
use config::{Complaints, Severity, check};

/// A configuration in which everything is right, to be broken in one place.
const GOOD: &str = "\
system: {name: gw}
interface:
  - {name: wan, device: \"af-packet:wan0\"}
  - {name: lan, device: \"af-packet:lan0\"}
ip:
  address:
    - {address: 198.51.100.2/24, interface: wan}
    - {address: 10.1.0.1/24, interface: lan}
  route:
    - {gateway: 198.51.100.1}
  ipsec:
    profile:
      - {name: p, dh-group: x25519}
    peer:
      - {name: b, address: 203.0.113.2, exchange-mode: ike2, profile: p}
    identity:
      - {peer: b, secret: correct horse battery staple}
    proposal:
      - {name: e, enc-algorithms: aes-256-gcm, auth-algorithms: null, pfs-group: none}
    policy:
      - {src-address: 10.1.0.0/24, dst-address: 10.2.0.0/24, peer: b, proposal: e, tunnel: yes}
";

fn broken(from: &str, to: &str) -> Complaints {
    assert_eq!(GOOD.matches(from).count(), 1, "`{from}` must be in the good text once");
    match check(&GOOD.replace(from, to)) {
        Ok(checked) => checked.warnings,
        Err(complaints) => complaints,
    }
}

#[test]
fn the_good_one_is_good() {
    let checked = check(GOOD).unwrap_or_else(|complaints| panic!("{complaints}"));
    assert!(checked.warnings.is_empty(), "{}", checked.warnings);
}

/// What is changed, into what, and the one line that is said about it. `^` marks the place that is meant; where
/// that is not in the new text, line and column are written out.
#[test]
fn each_fault_has_one_complaint_with_place_path_and_fix() {
    let table = [
        (
            "secret: correct horse",
            "^secrt: correct horse",
            "ip.ipsec.identity[0].secrt: there is no `secrt` here; did you mean `secret`?",
        ),
        (
            "device: \"af-packet:lan0\"",
            "^devise: \"af-packet:lan0\"",
            "interface[1].devise: there is no `devise` here; did you mean `device`?",
        ),
        (
            "system: {name: gw}",
            "^sistem: {name: gw}",
            "sistem: there is no `sistem` here; did you mean `system`?",
        ),
        (
            "{name: gw}",
            "{name: gw, ^colour: red}",
            "system.colour: there is no `colour` here; known here: name, workers, main-core, memory, hugepages, buffers, sa-slots, idle, idle-max-sleep, share, crypto, exception-path, run-dir, lab",
        ),
        (
            "{name: gw}",
            "{name: gw, ^name: gv}",
            "system.name: `name` is written a second time; the first is in line 1; keep one of them",
        ),
        (
            "{name: gw}",
            "[name, gw]",
            "1:9: system: here belongs a group of properties, this is a list; write lines of the form `property: value`",
        ),
        (
            "{name: gw}",
            "{name: gw, workers: ^{}}",
            "system.workers: this is a group of properties, not a number of CPUs, or a list of them; write it like [1, 2]",
        ),
        (
            "{name: gw}",
            "{name: gw, memory:}",
            "1:26: system.memory: this is nothing, not a size from 16M to 1024G; write it like 256M",
        ),
        (
            "- {gateway: 198.51.100.1}",
            "gateway: 198.51.100.1",
            "10:5: ip.route: `route` is a list, this is a group of properties; begin each row with `- `",
        ),
        (
            "{name: gw}",
            "{name: gw, workers: ^1e400}",
            "system.workers: `1e400` is not a whole number from 1 to 128",
        ),
        (
            "{name: gw}",
            "{name: gw, workers: ^[1, 1]}",
            "system.workers: CPU 1 is in the list twice; keep one",
        ),
        (
            "{name: gw}",
            "{name: gw, sa-slots: ^5000}",
            "system.sa-slots: 5000 is not a power of two; write 8192",
        ),
        (
            "{name: gw}",
            "{name: gw, buffers: ^200000}",
            "system.buffers: 200000 buffers and the rest may take 798 MB, more than `memory`; write `memory: 798M`, or fewer buffers",
        ),
        (
            "{name: gw}",
            "{name: gw, idle: ^pole}",
            "system.idle: `pole` is not one of: adaptive, poll; did you mean `poll`?",
        ),
        (
            "{name: gw}",
            "{name: gw, idle-max-sleep: ^1h}",
            "system.idle-max-sleep: `1h` is not between 1us and 100ms",
        ),
        (
            "{name: gw}",
            "{name: gw, idle: poll, workers: [1], main-core: ^1}",
            "system.main-core: CPU 1 belongs to a worker that never sleeps; control would starve; take another CPU, or write `idle: adaptive`",
        ),
        (
            "{name: gw}",
            "{name: gw, exception-path: ^tap}",
            "system.exception-path: `tap` gives every TAP the same name; put `{interface}` into it, or write `none`",
        ),
        (
            "{name: gw}",
            "{name: gw, run-dir: ^run}",
            "system.run-dir: `run` is not an absolute path; begin it with /",
        ),
        (
            "{name: gw}",
            "{name: gw, crypto: {engines: [ring, ^openssl]}}",
            "system.crypto.engines[1]: `openssl` is not one of: native, ipsec-mb, cryptodev, ring, rustcrypto",
        ),
        (
            "device: \"af-packet:lan0\"",
            "device: ^\"af-packet:wan0\"",
            "interface[1].device: `af-packet:wan0` belongs to interface[0]; give each port a device of its own",
        ),
        (
            "10.1.0.1/24, interface: lan",
            "10.1.0.1/24, interface: ^lam",
            "ip.address[1].interface: there is no interface `lam`; did you mean `lan`?",
        ),
        (
            "10.1.0.1/24, interface: lan",
            "10.1.0.255/24, interface: lan",
            "8:17: ip.address[1].address: 10.1.0.255 is the broadcast address of its network; write an address of a host",
        ),
        (
            "10.1.0.1/24, interface: lan",
            "198.51.100.2/25, interface: lan",
            "8:17: ip.address[1].address: 198.51.100.2 is in ip.address[0] already; keep one",
        ),
        (
            "10.1.0.1/24, interface: lan",
            "198.51.100.9/24, interface: ^lan",
            "ip.address[1].interface: 198.51.100.0/24 is reached through `wan` by ip.address[0] already; give each interface its own network",
        ),
        (
            "{gateway: 198.51.100.1}",
            "{gateway: ^198.51.100.2}",
            "ip.route[0].gateway: 198.51.100.2 is our own address; write that of the next router",
        ),
        (
            "{gateway: 198.51.100.1}",
            "{gateway: ^192.0.2.1}",
            "ip.route[0].gateway: 192.0.2.1 is in no network of `ip.address`, so nobody can be asked for its MAC address; write a next hop on a connected network, or add the address",
        ),
        (
            "{gateway: 198.51.100.1}",
            "{gateway: 198.51.100.1}\n    - {gateway: 198.51.100.3}",
            "11:7: ip.route[1]: ip.route[0] leads to 0.0.0.0/0 with distance 1 as well; this version does not share load over routes; write another distance",
        ),
        (
            "{gateway: 198.51.100.1}",
            "{gateway: ^198.51.100.1, blackhole: yes}",
            "ip.route[0].gateway: a blackhole has no gateway; leave one of the two out",
        ),
        (
            "dh-group: x25519",
            "dh-group: ^modp1024",
            "warning: ip.ipsec.profile[0].dh-group: modp1024 is too short for new tunnels (RFC 8247 2.4); take x25519, ecp256 or modp2048 if the peer can",
        ),
        (
            "dh-group: x25519",
            "dh-group: ^ec2n155",
            "ip.ipsec.profile[0].dh-group: `ec2n155` is refused: its curve over a binary field is broken or close to it, and no IKEv2 number is left for it; write one of: modp768, modp1024, modp1536, modp2048, modp3072, modp4096, modp6144, modp8192, brainpool224, brainpool256, brainpool384, brainpool512, ecp256, ecp384, ecp521, x448, x25519",
        ),
        (
            "dh-group: x25519",
            "dh-group: ^[x25519, x25519]",
            "ip.ipsec.profile[0].dh-group: `x25519` is in the list twice; keep one",
        ),
        (
            "dh-group: x25519",
            "dh-group: x25519, lifebytes: ^5",
            "warning: ip.ipsec.profile[0].lifebytes: this has no effect: IKEv2 does not announce lifetimes; leave `lifebytes` out",
        ),
        (
            "exchange-mode: ike2, ",
            "",
            "15:9: ip.ipsec.peer[0].exchange-mode: left out, this is `main` as in RouterOS, and `main` needs IKEv1, which this version does not have; write exchange-mode: ike2",
        ),
        (
            "exchange-mode: ike2",
            "exchange-mode: ^main",
            "ip.ipsec.peer[0].exchange-mode: `main` needs IKEv1, which this version does not have; write ike2",
        ),
        (
            "profile: p}",
            "profile: ^pq}",
            "ip.ipsec.peer[0].profile: there is no profile `pq`; did you mean `p`?",
        ),
        (
            "profile: p}",
            "profile: p, local-address: ^198.51.100.3}",
            "ip.ipsec.peer[0].local-address: 198.51.100.3 is not one of our addresses; write one from `ip.address`, or add it there",
        ),
        (
            "address: 203.0.113.2",
            "address: ^198.51.100.2",
            "ip.ipsec.peer[0].address: 198.51.100.2 is our own address; write that of the other side",
        ),
        (
            "{peer: b, secret: correct horse battery staple}",
            "{peer: b}",
            "17:9: ip.ipsec.identity[0].secret: auth-method=pre-shared-key needs `secret`; write `secret: \"...\"`, the same as the peer has",
        ),
        (
            "{peer: b, secret: correct horse battery staple}",
            "{peer: b, secret: x, my-id: ^bob}",
            "ip.ipsec.identity[0].my-id: `bob` is not an identity; write address:1.2.3.4, fqdn:gw.example, user-fqdn:a@b.example, key-id:text, dn:CN=gw,O=Example or auto",
        ),
        (
            "{peer: b, secret: correct horse battery staple}",
            "{peer: b, secret: x, generate-policy: port-strict, policy-template-group: ^none}",
            "ip.ipsec.identity[0].policy-template-group: generate-policy=port-strict makes policies inside templates, and there is no group; name one from `ip.ipsec.policy-group`",
        ),
        (
            "    identity:\n      - {peer: b, secret: correct horse battery staple}\n",
            "    policy-group:\n      - {name: rw}\n    identity:\n      - {peer: b, secret: x, generate-policy: port-strict, policy-template-group: ^rw}\n",
            "warning: ip.ipsec.identity[0].policy-template-group: no template is in the group `rw`, so no policy can be made; add a row with `template: yes, group: rw` to `ip.ipsec.policy`",
        ),
        (
            "    identity:\n      - {peer: b, secret: correct horse battery staple}\n",
            "",
            "15:9: warning: ip.ipsec.peer[0]: `b` has no identity, so nobody can prove anything to it; add a row with `peer: b` to `ip.ipsec.identity`",
        ),
        (
            "auth-algorithms: null",
            "auth-algorithms: ^sha256",
            "ip.ipsec.proposal[0].auth-algorithms: aes-256-gcm carries its own integrity; set auth-algorithms=null with it (RFC 5282 8)",
        ),
        (
            "enc-algorithms: aes-256-gcm",
            "enc-algorithms: aes-256-cbc",
            "19:65: ip.ipsec.proposal[0].auth-algorithms: aes-256-cbc without an integrity algorithm can be forged (RFC 8221 4); add auth-algorithms=sha256",
        ),
        (
            "pfs-group: none",
            "pfs-group: none, replay-window: ^100",
            "ip.ipsec.proposal[0].replay-window: 100 is neither 0 nor a power of two from 64 to 65536; write 128",
        ),
        (
            "pfs-group: none",
            "pfs-group: none, lifetime: ^3s",
            "ip.ipsec.proposal[0].lifetime: less than 10 s leaves no time to rekey; write at least 10s, better 30m",
        ),
        (
            "proposal: e, tunnel: yes",
            "proposal: e",
            "21:9: ip.ipsec.policy[0].tunnel: without it this is transport mode, between the gateways themselves, and dst-address 10.2.0.0/24 is not the peer 203.0.113.2/32; write `tunnel: yes`",
        ),
        (
            "dst-address: 10.2.0.0/24",
            "dst-address: ^\"fd00::/64\"",
            "ip.ipsec.policy[0].dst-address: src-address 10.1.0.0/24 and dst-address fd00::/64 differ in IP version; take both from the same, or make a policy for each",
        ),
        (
            "tunnel: yes}",
            "tunnel: yes, dst-port: ^53}",
            "ip.ipsec.policy[0].dst-port: protocol all has no ports; write `protocol: tcp` or `protocol: udp`, or leave the port out",
        ),
        (
            "tunnel: yes}",
            "tunnel: yes, protocol: ^tpc}",
            "ip.ipsec.policy[0].protocol: `tpc` is not an IP protocol; did you mean `tcp`?",
        ),
        (
            "tunnel: yes}",
            "tunnel: yes, sa-dst-address: ^192.0.2.7}",
            "ip.ipsec.policy[0].sa-dst-address: the addresses of the SAs come from the peer `b`, and 192.0.2.7 is not its; leave it out, or change the peer",
        ),
        (
            "tunnel: yes}",
            "tunnel: yes}\n      - {src-address: 10.1.0.0/24, dst-address: \"::/0\", peer: ^b, proposal: e, template: yes}",
            "ip.ipsec.policy[1].peer: a template is not for one peer: identities name its group; leave `peer` out, and write `policy-template-group` there",
        ),
        (
            "tunnel: yes}",
            "tunnel: yes}\n      - {src-address: 10.1.0.0/24, dst-address: ^fd00::/64, proposal: e, template: yes}",
            "ip.ipsec.policy[1].dst-address: src-address 10.1.0.0/24 and dst-address fd00::/64 differ in IP version; take both from the same, or write ::/0 for any",
        ),
        (
            "tunnel: yes}",
            "tunnel: yes}\n      - ^{src-address: \"::/0\", dst-address: \"::/0\", proposal: e, template: yes}",
            "ip.ipsec.policy[1]: another template of the group `default` has the same selector; remove one of the two",
        ),
        (
            "proposal: e, tunnel: yes}",
            "proposal: ^e, tunnel: yes, ipsec-protocols: ah}",
            "ip.ipsec.policy[0].proposal: AH needs an integrity algorithm, and the proposal `e` has none; name one with `auth-algorithms: sha256`",
        ),
        (
            "    policy:\n",
            "    mode-config: ^[{name: x}]\n    policy:\n",
            "ip.ipsec.mode-config: this version does not have configuration payloads (mode-config) yet; leave `mode-config` out",
        ),
    ];
    let mut wrong = String::new();
    for (from, to, expected) in table {
        let expected = match GOOD.replace(from, to).split_once('^') {
            None => expected.to_owned(),
            Some((before, _)) => {
                let (line, column) = (
                    before.matches('\n').count() + 1,
                    before.chars().rev().take_while(|c| *c != '\n').count() + 1,
                );
                format!("{line}:{column}: {expected}")
            }
        };
        let complaints = broken(from, &to.replace('^', "")).to_string();
        if complaints.trim_end() != expected {
            wrong += &format!("\n{from:?} → {to:?}\n  want {expected}\n  got  {complaints}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn g2_contradictions_name_both_sides() {
    let policy = "{src-address: 10.1.0.0/24, dst-address: 10.2.0.0/24, peer: b, proposal: e, tunnel: yes}";
    let twice =
        format!("{policy}\n      - {{src-address: 10.1.0.0/24, dst-address: 10.2.0.0/24, action: none}}");
    let said = broken(policy, &twice);
    assert_eq!(said.errors, 1);
    assert!(said.to_string().contains("ip.ipsec.policy[0] in line 21 has the same selector"), "{said}");

    let narrow =
        format!("{policy}\n      - {{src-address: 10.1.0.7, dst-address: 10.2.0.0/25, action: discard}}");
    let said = broken(policy, &narrow);
    assert_eq!((said.errors, said.warnings), (0, 1), "{said}");
    assert!(
        said.to_string().contains("22:9: warning: ip.ipsec.policy[1]: ip.ipsec.policy[0] in line 21 matches"),
        "{said}"
    );

    let wide =
        format!("{{src-address: 10.1.0.7, dst-address: 10.2.0.0/25, action: discard}}\n      - {policy}");
    assert!(broken(policy, &wide).is_empty());

    let peer = "{name: b, address: 203.0.113.2, exchange-mode: ike2, profile: p}";
    let said = broken(peer, &format!("{peer}\n      - {}", peer.replace("name: b", "name: c")));
    assert!(
        said.to_string().contains("16:28: ip.ipsec.peer[1].address: ip.ipsec.peer[0] has the address"),
        "{said}"
    );
    let said = broken(peer, &format!("{peer}\n      - {}", peer.replace("203.0.113.2", "203.0.113.3")));
    assert!(
        said.to_string()
            .contains("16:16: ip.ipsec.peer[1].name: `b` is the name of ip.ipsec.peer[0] in line 15"),
        "{said}"
    );
}

#[test]
fn all_faults_are_told_at_once_and_in_order() {
    let text = GOOD
        .replace("name: gw", "name: g w")
        .replace("dh-group: x25519", "dh-group: x25591")
        .replace("tunnel: yes", "tunnel: maybe");
    let complaints = check(&text).expect_err("three faults");
    let lines: Vec<usize> = complaints.list.iter().map(|c| c.line).collect();
    assert_eq!(lines, [1, 13, 21], "{complaints}");
}

#[test]
fn a_disabled_peer_keeps_its_policy_as_a_wall() {
    let said =
        check(&GOOD.replace("profile: p}", "profile: p, disabled: yes}")).unwrap_or_else(|c| panic!("{c}"));
    assert!(said.warnings.to_string().contains("packets of this policy are dropped, not sent in clear"));
    assert!(said.config.ipsec.peers.is_empty());
    assert_eq!(said.config.ipsec.policies.len(), 1);
    assert_eq!(said.config.ipsec.policies[0].peer, None);
}

/// `/ip ipsec policy set 0 disabled=yes` stands in many exports.
#[test]
fn the_template_that_is_switched_off_needs_nothing_of_a_policy() {
    let off = "{src-address: \"::/0\", dst-address: \"::/0\", template: yes, default: yes, disabled: yes}";
    let text = GOOD.replacen("policy:\n", &format!("policy:\n      - {off}\n"), 1);
    assert_ne!(text, GOOD);
    check(&text).unwrap_or_else(|complaints| panic!("{complaints}"));
}
/// Where they stand among the policies, which group, which addresses, and that their ids are nobody else's.
#[test]
fn templates_have_their_place_among_the_policies() {
    let rows = "\
tunnel: yes}
      - {src-address: \"::/0\", dst-address: 10.9.0.0/16, template: yes, group: rw, proposal: e}
      - {src-address: 10.1.0.0/24, dst-address: 10.3.0.0/24, peer: b, proposal: e, tunnel: yes}
      - {src-address: \"::/0\", dst-address: \"::/0\", template: yes, default: yes, level: use}
      - {src-address: 0.0.0.0/0, dst-address: 0.0.0.0/0, action: discard}
    policy-group:
      - {name: rw}";
    let text = GOOD.replacen("tunnel: yes}", rows, 1).replacen(
        "staple}",
        "staple, generate-policy: port-override, policy-template-group: rw}",
        1,
    );
    let checked = check(&text).unwrap_or_else(|complaints| panic!("{complaints}"));
    let ipsec = &checked.config.ipsec;
    let seen: Vec<_> =
        ipsec.templates.iter().map(|t| (t.group.as_str(), t.place, t.selectors.len())).collect();
    assert_eq!(seen, [("rw", 1, 1), ("default", 2, 2)]);
    assert_eq!(ipsec.templates[0].selectors[0].src.to_string(), "0.0.0.0/0");
    assert_eq!(ipsec.templates[0].proposal.name, "e");
    assert_eq!(ipsec.templates[1].level, sa::Level::Use);
    let generate = ipsec.peers[0].identities[0].generate.as_ref().expect("it generates");
    assert_eq!((generate.any_port, generate.group.as_str()), (true, "rw"));
    let ids = ipsec.policies.iter().map(|p| p.spec.id).chain(ipsec.templates.iter().map(|t| t.id));
    let ids: std::collections::HashSet<_> = ids.collect();
    assert_eq!(ids.len(), 5);
    assert!(!ids.iter().any(|id| id.is_dynamic()));
    // A peer needs no policy of its own then.
    let none = GOOD.replacen(
        "policy:\n      - {src-address: 10.1.0.0/24, dst-address: 10.2.0.0/24, peer: b, proposal: e, tunnel: yes}\n",
        "policy: []\n",
        1,
    );
    let warned = |text: &str| check(text).unwrap_or_else(|c| panic!("{c}")).warnings.to_string();
    assert!(warned(&none).contains("no policy names the peer"), "{}", warned(&none));
    let generates = none.replacen("staple}", "staple, generate-policy: port-strict}", 1);
    assert!(!warned(&generates).contains("no policy names the peer"), "{}", warned(&generates));
}
#[test]
fn secrets_are_in_no_complaint_and_no_debug() {
    const SECRET: &str = "correct horse battery staple";
    let bad_key = format!("0x{SECRET}");
    for (from, to) in [
        ("secret: correct", "secrt: correct"),
        ("secret: correct", "secret: 0xcorrect"),
        ("peer: b, secret: correct horse battery staple", "peer: c, secret: correct horse battery staple"),
        ("secret: correct horse battery staple}", "secret: [correct horse battery staple]}"),
        ("secret: correct horse battery staple}", "secret: &a correct horse battery staple}"),
        ("secret: correct horse battery staple}", "secret: \"correct horse battery staple}"),
        (
            "secret: correct horse battery staple}",
            "secret: correct horse battery staple, secret: correct horse battery staple}",
        ),
        ("identity:", "identitty:"),
        (
            "{peer: b, secret: correct horse battery staple}",
            "peer: b\n        secret: |\n          correct horse battery staple\n        my-id: : :",
        ),
    ] {
        let complaints = broken(from, to);
        assert!(complaints.errors > 0, "{from} → {to}");
        let all = format!(
            "{complaints}{complaints:?}{}{}",
            complaints.render("f.yaml", false),
            serde_json::to_string(&complaints.list).unwrap()
        );
        for word in ["horse", "battery", "staple", &bad_key] {
            assert!(!all.contains(word), "{from} → {to}: {all}");
        }
    }
    let good = check(GOOD).unwrap();
    assert!(!format!("{good:?}").contains("horse"));
}

#[test]
fn the_rendered_form_shows_the_line_and_a_caret() {
    let shown = broken("dh-group: x25519", "dh-group: x25591").render("gw.yaml", false);
    assert!(shown.contains("gw.yaml:13:29"), "{shown}");
    assert!(shown.contains(" 13 │       - {name: p, dh-group: x25591}"), "{shown}");
    assert!(shown.contains("help: did you mean `x25519`?"), "{shown}");
}

mod hostile {
    //! Row G1.
    use super::*;

    fn refused(text: &str) -> Complaints {
        let complaints = check(text).expect_err("refused");
        assert!(complaints.errors > 0);
        complaints
    }
    #[test]
    fn g1_a_huge_file_is_refused_by_its_size() {
        let text = "# filler\n".repeat(4 << 20);
        assert!(refused(&text).to_string().contains("at most 33554432 are read"));
    }
    #[test]
    fn g1_anchors_cannot_expand() {
        let mut text = String::from("a: &a [x, x]\n");
        for n in 0..30 {
            text += &format!("b{n}: &b{n} [*a, *a]\n");
        }
        let said = refused(&text);
        assert_eq!(said.list.len(), 1);
        assert!(said.to_string().contains("1:"), "{said}");
        assert!(said.to_string().contains("anchors and aliases are not part of this format"), "{said}");
    }
    #[test]
    fn g1_depth_has_an_end() {
        for text in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000)] {
            assert_eq!(refused(&text).list.len(), 1);
        }
    }
    #[test]
    fn g1_many_faults_are_counted_but_not_all_listed() {
        let text = format!("{GOOD}{}", "      - {colour: red}\n".repeat(50_000));
        let said = refused(&text);
        assert!(said.errors >= 100_000);
        assert_eq!(said.list.len(), 200);
        assert!(said.to_string().ends_with(" more\n"));
    }
    #[test]
    fn g1_rows_without_end_are_refused_before_they_are_read() {
        let text = format!("{GOOD}{}", "      - {}\n".repeat(1_000_001));
        let said = refused(&text).to_string();
        assert!(said.contains("ip.ipsec.policy: the file has more than 1000000 rows"), "{said}");
    }
    #[test]
    fn g1_a_byte_order_mark_moves_nothing() {
        let text = format!("\u{feff}{}", GOOD.replace("name: gw", "name: g w"));
        assert!(refused(&text).to_string().starts_with("1:16: system.name:"));
    }
    #[test]
    fn g1_control_and_direction_characters_are_not_repeated() {
        let said = refused(&GOOD.replace("name: gw", "name: \"g\\e[2J\\u202ew\""));
        let all = format!("{said}{}", said.render("f", false));
        assert!(!all.contains(['\u{1b}', '\u{202e}']), "{all:?}");
    }
    #[test]
    fn g1_odd_texts_get_one_complaint() {
        for text in [
            "\t- x",
            "a\0b",
            "%YAML 9.9\n---\n",
            "--- a\n--- b\n",
            "? [a, b]\n: c\n",
            "system: !!int 5",
            "<<: {a: b}",
            "just text",
            "[]",
            ": :",
            "{",
            "\"",
            "|\n x\n",
        ] {
            let said = refused(text);
            assert!(!said.list.is_empty(), "{text:?}");
        }
    }
    #[test]
    fn an_empty_file_says_what_is_needed() {
        for text in ["", "# nothing\n", "---\n", "~\n"] {
            assert!(refused(text).to_string().contains("there is no enabled interface"), "{text:?}");
        }
    }
    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in proptest::prelude::any::<String>(), at in 0usize..800, cut in 0usize..800) {
            let _ = check(&text);
            let mut chars: Vec<char> = GOOD.chars().collect();
            chars.splice(at.min(chars.len())..at.min(chars.len()), text.chars());
            chars.truncate(chars.len().saturating_sub(cut % 60));
            let _ = check(&chars.into_iter().collect::<String>()).map_err(|c| c.render("f", true));
        }
    }
}

#[test]
fn every_complaint_has_a_severity_in_json() {
    let json = serde_json::to_value(&broken("dh-group: x25519", "dh-group: modp1024").list).unwrap();
    assert_eq!(json[0]["severity"], "warning");
    assert_eq!(json[0]["line"], 13);
    assert_eq!(json[0]["path"], "ip.ipsec.profile[0].dh-group");
    assert!(matches!(broken("name: gw", "name: g w").list[0].severity, Severity::Error));
}

/// What can be run and was hardly meant: `from` is replaced by `to` in the good text, and this one warning comes.
#[test]
fn what_was_hardly_meant_is_told() {
    let policy = "{src-address: 10.1.0.0/24, dst-address: 10.2.0.0/24, peer: b, proposal: e, tunnel: yes}";
    let halves = "{src-address: 10.1.0.0/25, dst-address: 10.2.0.0/24, peer: b, proposal: e, tunnel: yes}
      - {src-address: 10.1.0.128/25, dst-address: 10.2.0.0/24, peer: b, proposal: e, tunnel: yes}
      - {src-address: 10.1.0.0/24, dst-address: 10.2.0.7, action: discard}";
    let peer = "{name: b, address: 203.0.113.2, exchange-mode: ike2, profile: p}";
    let around = format!(
        "{peer}
      - {{name: all, address: 0.0.0.0/0, exchange-mode: ike2, profile: p}}"
    );
    let (good_id, ids) = (
        "{peer: b, secret: correct horse battery staple}",
        "{peer: b, secret: x}
      - {peer: all, secret: y}",
    );
    let (good_policy, for_all) = (
        policy,
        format!(
            "{policy}
      - {{src-address: 10.1.0.0/24, dst-address: 10.3.0.0/24, peer: all, proposal: e, tunnel: yes}}"
        ),
    );
    let table: &[(&[(&str, &str)], &str)] = &[
        (
            &[(policy, halves)],
            "23:9: warning: ip.ipsec.policy[2]: ip.ipsec.policy[1] in line 22 and others above it match everything this one is for, so it never comes to its turn; move this one above them, or remove it",
        ),
        (
            &[(peer, &around), (good_id, ids), (good_policy, &for_all)],
            "16:30: warning: ip.ipsec.peer[1].address: 0.0.0.0/0 holds the address of `b` too; the longer prefix wins, so who calls from there is never this peer; nothing, if it is for everybody else; otherwise write a smaller network",
        ),
        (
            &[("dh-group: x25519", "enc-algorithm: aes-256-gcm")],
            "13:9: warning: ip.ipsec.profile[0].dh-group: left out, this has modp1024 as in RouterOS: modp1024 is too short for new tunnels (RFC 8247 2.4); take x25519, ecp256 or modp2048 if the peer can",
        ),
        (
            &[("dh-group: x25519", "dh-group: x25519, hash-algorithm: sha1")],
            "13:53: warning: ip.ipsec.profile[0].hash-algorithm: sha1 is on its way out (RFC 8247 2.3); take sha256 if the peer can",
        ),
        (
            &[(
                "enc-algorithms: aes-256-gcm, auth-algorithms: null",
                "enc-algorithms: \"null\", auth-algorithms: sha256",
            )],
            "19:35: warning: ip.ipsec.proposal[0].enc-algorithms: `null` encrypts nothing: everybody on the way reads it; take aes-256-gcm",
        ),
        (
            &[(", profile: p}", "}")],
            "15:9: warning: ip.ipsec.peer[0].profile: the built-in profile `default` has dh-group as in RouterOS, and modp1024 is too short for new tunnels (RFC 8247 2.4); write a profile with dh-group x25519, ecp256 or modp2048, and name it here",
        ),
        (
            &[("- {gateway: 198.51.100.1}", "- {gateway: 192.0.2.1%wan}")],
            "10:17: warning: ip.route[0].gateway: 192.0.2.1 is in no network of `wan`; it is asked for there all the same; write a next hop on a connected network, or add the address",
        ),
        (
            &[(
                "- {gateway: 198.51.100.1}",
                "- {gateway: 198.51.100.1}\n    - {dst-address: \"2001:db8::/32\", gateway: wan}",
            )],
            "11:47: warning: ip.route[1].gateway: `wan` has no IPv6 address, so nobody there answers us; add one to `ip.address`",
        ),
        (
            &[(
                "- {gateway: 198.51.100.1}",
                "- {gateway: 198.51.100.1}\n    - {dst-address: 203.0.113.0/24, blackhole: yes}",
            )],
            "16:28: warning: ip.ipsec.peer[0].address: the route to 203.0.113.2 is a blackhole; add a longer one to `ip.route`",
        ),
        (
            &[
                ("- {gateway: 198.51.100.1}", "- {dst-address: 203.0.113.0/24, gateway: 198.51.100.1}"),
                ("src-address: 10.1.0.0/24", "src-address: 10.5.0.0/24"),
            ],
            "21:23: warning: ip.ipsec.policy[0].src-address: no route leads to 10.5.0.0/24: what the peer sends there is dropped; add one to `ip.route`, or an address to `ip.address`",
        ),
    ];
    for (changes, expected) in table {
        let text = changes.iter().fold(GOOD.to_owned(), |text, (from, to)| {
            assert_eq!(text.matches(from).count(), 1, "{from}");
            text.replace(from, to)
        });
        let checked = check(&text).unwrap_or_else(|complaints| panic!("{complaints}"));
        assert_eq!(checked.warnings.to_string().trim_end(), *expected);
    }
}

/// Many policies of every kind that could be compared with each other.
#[test]
fn many_policies_are_checked_in_time() {
    let rows = |count: u32| {
        let mut text = GOOD.replace("system: {name: gw}", "system: {name: gw, sa-slots: 524288}");
        text += "      - {src-address: 10.0.0.0/9, dst-address: 172.16.0.0/13, action: none}\n";
        for n in 0..count {
            let (high, middle, low) = (n >> 16, n >> 8 & 255, n & 255);
            let row = match n % 4 {
                0 => format!("src-address: 10.{high}.{middle}.0/24, dst-address: 172.16.{middle}.{low}"),
                1 => format!(
                    "src-address: 192.168.0.0/16, dst-address: 192.168.0.0/16, protocol: tcp, dst-port: {}",
                    n >> 1
                ),
                2 => format!(
                    "src-address: 192.168.1.0/24, dst-address: 192.168.0.0/16, protocol: udp, dst-port: {}-{}",
                    n >> 2,
                    (n >> 2) + 30000
                ),
                _ => format!(
                    "src-address: 10.0.0.{low}, dst-address: 10.{high}.{middle}.0/{}",
                    24 + (n >> 2) % 9
                ),
            };
            text += &format!("      - {{{row}, action: none}}\n");
        }
        let begin = std::time::Instant::now();
        let checked = check(&text).unwrap_or_else(|complaints| panic!("{complaints}"));
        assert_eq!(checked.warnings.warnings as u32, count / 4, "{}", checked.warnings);
        begin.elapsed()
    };
    let (few, many) = (rows(4_000), rows(40_000));
    // All with all would be a hundred times as long.
    assert!(many < few * 40, "{few:?} for four thousand, {many:?} for forty thousand");
}

#[test]
fn who_may_use_the_api_is_told_apart_safely() {
    let said =
        |api: &str| broken("system: {name: gw}\n", &format!("system: {{name: gw}}\n{api}\n")).to_string();
    for (api, expected) in [
        ("api: {enabled: yes, key-file: /k}", "without `certificate-file` there is no TLS"),
        ("api: {enabled: yes, key-file: /k, certificate-file: /c}", "nobody may use it"),
        ("api-user: [{name: a, token: too short}]", "shorter than 24 characters"),
        ("api-user: [{name: a, token-sha256: abc}]", "this is no SHA-256"),
        ("api-user: [{name: a}]", "nothing tells who this is"),
        ("api-user: [{name: a, certificate-name: x, expires: soon}]", "this is no date"),
        ("api-user: [{name: a, certificate-name: x, roles: [root]}]", "`root` is not one of"),
    ] {
        assert!(said(api).contains(expected), "{api}: {}", said(api));
    }
    let secret = said("api-user: [{name: a, token: do not show it}]");
    assert!(!secret.contains("do not show"), "{secret}");
    assert_eq!(said("api-user: [{name: a, token: a long enough token of ours, roles: 'read,write'}]"), "");
}

#[test]
fn a_log_that_is_sent_to_nobody_is_refused() {
    let gateway = "system: {name: t}\ninterface: [{name: wan, device: \"null\"}]\n";
    let said = |more: &str| check(&format!("{gateway}{more}"));
    let lost = said("log: [{topics: ipsec, action: remote}]\n").expect_err("refused").to_string();
    assert!(lost.contains("log[0].action: nothing says which machine the log is sent to"), "{lost}");
    let other = "log-action: [{name: far, target: remote, remote: 192.0.2.1, src-address: \"fd00::1\"}]\nlog: [{action: far}]\n";
    let other = said(other).expect_err("refused").to_string();
    assert!(other.contains("log-action[0].src-address: it differs from `remote`"), "{other}");
    let none = said("log: [{action: nowhere}]\n").expect_err("refused").to_string();
    assert!(none.contains("there is no log-action `nowhere`"), "{none}");
    let good = "log-action: [{name: remote, target: remote, remote: 192.0.2.1, syslog-facility: local0, syslog-severity: info}]\n\
        log: [{topics: ipsec, action: remote}, {action: echo}]\n";
    let config = said(good).expect("good").config;
    let config::model::LogAction::Remote(to) = &config.logging[0].action else {
        panic!("{:?}", config.logging)
    };
    assert_eq!((to.to.to_string().as_str(), to.facility, to.severity), ("192.0.2.1:514", 16, Some(6)));
    assert_eq!(config.logging[1].action, config::model::LogAction::Echo);
}

/// As an integrity algorithm AES-GMAC is for AH, by proposals and by manual SAs, and in ESP it is refused.
#[test]
fn gmac_as_integrity_is_for_ah() {
    let proposal = "enc-algorithms: aes-256-gcm, auth-algorithms: null, pfs-group: none";
    let gmac = "enc-algorithms: null, auth-algorithms: [aes-128-gmac, sha256], pfs-group: none";
    let policy = "proposal: e, tunnel: yes";
    let suites = |policy_words: &str| {
        let text = GOOD.replace(proposal, gmac).replace(policy, policy_words);
        let config = check(&text).unwrap_or_else(|complaints| panic!("{complaints}")).config;
        config.ipsec.policies[0].suites().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(suites("proposal: e, tunnel: yes, ipsec-protocols: ah"), ["null/aes-128-gmac", "null/sha256"]);
    assert_eq!(suites(policy), ["null/sha256"]);
    let alone =
        GOOD.replace(proposal, "enc-algorithms: null, auth-algorithms: aes-256-gmac, pfs-group: none");
    let said = check(&alone).unwrap_err().to_string();
    assert!(said.contains("nothing but integrity algorithms of AH"), "{said}");
    assert!(check(&alone.replace(policy, "proposal: e, tunnel: yes, ipsec-protocols: ah")).is_ok());

    let manual = |key: &str| {
        let sa = format!(
            "    manual-sa:\n      - {{spi: 0x1001, direction: out, local-address: 198.51.100.2, remote-address: 203.0.113.2, \
             enc-algorithm: null, auth-algorithm: aes-128-gmac, auth-key: {key}, policy: 0}}\n"
        );
        let text = GOOD
            .replace("peer: b, proposal: e, tunnel: yes", "proposal: e, tunnel: yes, ipsec-protocols: ah");
        check(&(text.replace(proposal, gmac) + &sa))
    };
    let checked =
        manual(&"0123456789abcdef0123456789abcdef".chars().chain("deadbeef".chars()).collect::<String>());
    let config = checked.unwrap_or_else(|complaints| panic!("{complaints}")).config;
    let spec = &config.ipsec.manual_sas[0];
    assert_eq!((spec.integrity_key.len(), spec.salt.expose()), (16, &[0xde, 0xad, 0xbe, 0xef][..]));
    let said = manual("0123456789abcdef0123456789abcdef").unwrap_err().to_string();
    assert!(said.contains("`aes-128-gmac` takes 20 bytes"), "{said}");
}
