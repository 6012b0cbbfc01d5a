//! Random models, written as YAML and read again, are the same; and what the file on top of the tree says.
use config::model::*;
use config::{Secret, show_duration, show_mac, show_ports, show_protocol, show_size};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use sa::{
    Action, DontFragment, Encryption, Framing, Integrity, Level, PolicyId, PolicySpec, PortRange, Prefix,
    ReplayWidth, Selector, Suite,
};
use std::collections::HashSet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

// ---- model → YAML, written without the reader's tables ----

fn yaml(config: &Config) -> String {
    let mut out = String::new();
    let y = &mut out;
    let s = &config.system;
    let workers = match &s.workers {
        Workers::Count(n) => n.to_string(),
        Workers::Cpus(cpus) => format!("{cpus:?}"),
    };
    line(y, format!("system:\n  name: {}\n  workers: {workers}\n  memory: {}", s.name, show_size(s.memory)));
    line(y, format!("  buffers: {}\n  sa-slots: {}\n  lab: {}", s.buffers, s.sa_slots, yes(s.lab)));
    line(y, format!("  hugepages: {}\n  run-dir: {}", s.hugepages.name(), s.run_dir.display()));
    line(y, format!("  share: {}", s.share.name()));
    if let Some(core) = s.main_core {
        line(y, format!("  main-core: {core}"));
    }
    line(
        y,
        match s.idle {
            Idle::Poll => "  idle: poll".into(),
            Idle::Adaptive { max_sleep } => format!("  idle-max-sleep: {}", show_duration(max_sleep)),
        },
    );
    if let Some(engines) = &s.engines {
        let engines: Vec<_> = engines.iter().map(|e| e.name()).collect();
        line(y, format!("  crypto:\n    engines: [{}]", engines.join(", ")));
    }
    line(y, "interface:".into());
    for i in &config.interfaces {
        line(y, format!("  - name: {}\n    mtu: {}", i.name, i.mtu));
        line(
            y,
            match &i.kind {
                InterfaceKind::Port { device } => format!("    device: \"{device}\""),
                InterfaceKind::Vlan { parent, id } => {
                    format!("    vlan: {{interface: {parent}, vlan-id: {id}}}")
                }
            },
        );
        if let Some(mac) = i.mac_address {
            line(y, format!("    mac-address: \"{}\"", show_mac(mac)));
        }
        let tap = i.exception_tap.as_ref().map_or("none".into(), ToString::to_string);
        line(y, format!("    exception-path: {tap}"));
    }
    line(y, "ip:\n  address:".into());
    for a in &config.addresses {
        line(y, format!("    - {{address: \"{}/{}\", interface: {}}}", a.address, a.prefix_len, a.interface));
    }
    line(y, "  route:".into());
    for r in &config.routes {
        let gateway = match &r.gateway {
            Gateway::Via { address, interface } => format!("gateway: \"{address}%{interface}\""),
            Gateway::Interface(interface) => format!("gateway: {interface}"),
            Gateway::Blackhole => "blackhole: yes".into(),
        };
        line(y, format!("    - {{dst-address: \"{}\", {gateway}, distance: {}}}", r.dst, r.distance));
    }
    ipsec(&config.ipsec, y);
    out
}

fn ipsec(ipsec: &Ipsec, y: &mut String) {
    line(
        y,
        format!(
            "  ipsec:\n    settings:\n      ddos-cookie-threshold: {}",
            ipsec.settings.ddos_cookie_threshold
        ),
    );
    if let Some(gateway) = ipsec.settings.redirect_to {
        line(y, format!("      redirect-to: \"{gateway}\""));
    }
    line(y, "    profile:".into());
    let mut written = HashSet::new();
    for p in ipsec.peers.iter().map(|p| &p.profile).filter(|p| written.insert(p.name.clone())) {
        let enc: Vec<_> = p.encryption.iter().map(|e| e.name()).collect();
        let dh: Vec<_> = p.dh_groups.iter().map(|g| g.name()).collect();
        let more = further(&p.additional);
        let dpd = p.dpd_interval.map_or("disable-dpd".into(), show_duration);
        line(
            y,
            format!(
                "      - {{name: {}, enc-algorithm: [{}], additional-ke: [{}], dh-group: \"{}\"",
                p.name,
                enc.join(", "),
                more.join(", "),
                dh.join(",")
            ),
        );
        line(
            y,
            format!(
                "         , dpd-interval: {dpd}, hash-algorithm: {}, prf-algorithm: {}",
                p.hash.name(),
                p.prf.name()
            ),
        );
        line(
            y,
            format!(
                "         , lifetime: {}, nat-traversal: {}",
                show_duration(p.lifetime),
                yes(p.nat_traversal)
            ),
        );
        let e = &p.extensions;
        line(
            y,
            format!(
                "         , fragment-size: {}, mobike: {}, childless: {}, window-size: {}",
                e.fragment_size,
                yes(e.mobike),
                yes(e.childless),
                e.window
            ),
        );
        let follow = yes(e.follow_redirects);
        line(y, format!("         , follow-redirects: {follow}}}"));
    }
    line(y, "    peer:".into());
    for p in &ipsec.peers {
        line(
            y,
            format!(
                "      - name: {}\n        exchange-mode: ike2\n        address: \"{}\"",
                p.name, p.address
            ),
        );
        line(y, format!("        port: {}\n        passive: {}", p.port, yes(p.passive)));
        line(
            y,
            format!(
                "        profile: {}\n        send-initial-contact: {}",
                p.profile.name,
                yes(p.send_initial_contact)
            ),
        );
        if let Some(local) = p.local_address {
            line(y, format!("        local-address: \"{local}\""));
        }
    }
    line(y, "    identity:".into());
    for (peer, i) in ipsec.peers.iter().flat_map(|p| p.identities.iter().map(move |i| (p, i))) {
        let my = match &i.my_id {
            MyId::Auto | MyId::Subject => "auto".into(),
            MyId::Id(id) => show_id(id),
        };
        let remote = match &i.remote_id {
            RemoteId::Auto | RemoteId::Subject => "auto".into(),
            RemoteId::Ignore => "ignore".into(),
            RemoteId::Id(id) => show_id(id),
        };
        let Proof::Secret(secret) = &i.auth.ours else { panic!("only secrets are made here") };
        let hex: String = secret.expose().iter().map(|b| format!("{b:02x}")).collect();
        line(
            y,
            format!(
                "      - {{peer: {}, my-id: \"{my}\", remote-id: \"{remote}\", secret: \"0x{hex}\"}}",
                peer.name
            ),
        );
    }
    line(y, "    proposal:".into());
    let mut written = HashSet::new();
    for p in ipsec.policies.iter().map(|p| &p.proposal).filter(|p| written.insert(p.name.clone())) {
        let (mut enc, mut auth): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        for suite in &p.suites {
            enc.extend((!enc.contains(&suite.encryption().name())).then_some(suite.encryption().name()));
            auth.extend((!auth.contains(&suite.integrity().name())).then_some(suite.integrity().name()));
        }
        line(
            y,
            format!(
                "      - name: {}\n        enc-algorithms: [{}]\n        auth-algorithms: [{}]",
                p.name,
                enc.join(", "),
                auth.join(", ")
            ),
        );
        line(
            y,
            format!(
                "        lifetime: {}\n        lifebytes: {}",
                show_duration(p.lifetime.unwrap_or_default()),
                p.lifebytes
            ),
        );
        line(
            y,
            format!(
                "        pfs-group: {}\n        esn: {}",
                p.pfs_group.map_or("none", DhGroup::name),
                yes(p.esn)
            ),
        );
        line(y, format!("        replay-window: {}", p.replay_window.get()));
        line(y, format!("        additional-ke: [{}]", further(&p.additional).join(", ")));
    }
    line(y, "    policy:".into());
    for p in &ipsec.policies {
        let s = &p.spec.selector;
        line(
            y,
            format!(
                "      - src-address: \"{}\"\n        dst-address: \"{}\"\n        protocol: {}",
                s.src,
                s.dst,
                show_protocol(s.protocol)
            ),
        );
        line(
            y,
            format!(
                "        src-port: {}\n        dst-port: {}\n        proposal: {}",
                show_ports(s.src_port),
                show_ports(s.dst_port),
                p.proposal.name
            ),
        );
        let Framing { dont_fragment, dscp, clamp_mss, pad_to } = p.spec.framing;
        let df = match dont_fragment {
            DontFragment::Inherit => "inherit",
            DontFragment::Clear => "no",
            DontFragment::Set => "yes",
        };
        let clamp = if clamp_mss { "yes" } else { "no" };
        _ = writeln!(
            y,
            "        dont-fragment: {df}\n        clamp-tcp-mss: {clamp}\n        tfc-padding: {pad_to}"
        );
        if let Some(dscp) = dscp {
            _ = writeln!(y, "        dscp: {dscp}");
        }
        match p.spec.action {
            Action::Discard => line(y, "        action: discard".into()),
            Action::Bypass => line(y, "        action: none".into()),
            Action::Encrypt { level, .. } => {
                let level = match level {
                    Level::Use => "use",
                    Level::Require => "require",
                    Level::Unique => "unique",
                };
                line(
                    y,
                    format!(
                        "        tunnel: yes\n        level: {level}\n        peer: {}",
                        p.peer.as_deref().unwrap_or("")
                    ),
                );
            }
        }
        line(y, format!("        comment: {:?}", p.comment));
    }
}
fn further(rounds: &[KeRound]) -> Vec<&'static str> {
    let round = rounds.first();
    let none = round.is_none_or(|r| r.optional).then_some("none");
    round.iter().flat_map(|r| &r.methods).map(|m| m.name()).chain(none).collect()
}
fn line(out: &mut String, text: String) {
    writeln!(out, "{text}").expect("a String takes everything");
}
fn yes(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}
fn show_id(id: &Id) -> String {
    match id {
        Id::Address(a) => format!("address:{a}"),
        Id::Fqdn(s) => format!("fqdn:{s}"),
        Id::UserFqdn(s) => format!("user-fqdn:{s}"),
        Id::KeyId(s) => format!("key-id:{s}"),
        Id::Dn(s) => format!("dn:{s}"),
    }
}

// ---- models that hold ----

fn some<T: Clone + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = Vec<T>> {
    subsequence(all, 1..=all.len()).prop_shuffle()
}
fn seconds(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_secs)
}

prop_compose! {
    fn system()(name in "[a-z][a-z0-9-]{0,20}", cpus in prop::option::of(prop::collection::hash_set(0u16..1024, 1..6)),
                count in 1u16..=128, main in prop::option::of(0u16..1024), mb in 512u64..4096, buffers in 1024u32..100_000,
                slots in 10u32..20, sleep in prop::option::of(1u64..=100_000), engines in prop::option::of(some(Engine::ALL)),
                hugepages in select(Hugepages::ALL), share in select(Share::ALL), lab: bool) -> System {
        let workers = cpus.map_or(Workers::Count(count), |cpus| Workers::Cpus(cpus.into_iter().collect()));
        let idle = sleep.map_or(Idle::Poll, |us| Idle::Adaptive { max_sleep: Duration::from_micros(us) });
        let main_core = main.filter(|core| !matches!(&workers, Workers::Cpus(cpus) if cpus.contains(core)));
        // An engine that knows everything is always among them.
        let mut engines = engines;
        if let Some(engines) = &mut engines
            && !engines.iter().any(|e| !matches!(e, Engine::Native | Engine::Ring))
        {
            engines.push(Engine::RustCrypto);
        }
        System { run_dir: format!("/run/x/{name}").into(), name, workers, main_core, memory: mb << 20, hugepages, buffers,
                 sa_slots: 1 << slots, idle, share, engines, lab }
    }
}
prop_compose! {
    fn extensions()(fragment_size: u16, mobike: bool, childless: bool, follow_redirects: bool,window in 1u32..=32) -> Extensions {
        Extensions { fragment_size, mobike, childless, follow_redirects, window }
    }
}
fn rounds() -> impl Strategy<Value = Vec<KeRound>> {
    let round =
        (some(&DhGroup::KEMS), any::<bool>()).prop_map(|(methods, optional)| KeRound { methods, optional });
    prop::collection::vec(round, 0..=1)
}
prop_compose! {
    fn profile(n: usize)(dh in some(&DhGroup::CLASSIC), enc in some(&IkeCipher::ALL), hash in select(&IkeIntegrity::ALL),
                         prf in select(&Prf::ALL), additional in rounds(), dpd in prop::option::of(seconds(1..3600)),
                         lifetime in seconds(60..1_000_000), nat: bool, extensions in extensions()) -> Arc<Profile> {
        Arc::new(Profile { name: format!("profile{n}"), dh_groups: dh, additional, dpd_interval: dpd, encryption: enc, hash, prf,
                           lifetime, nat_traversal: nat, extensions })
    }
}
const CIPHERS: &[Encryption] =
    &[Encryption::Null, Encryption::Aes128Cbc, Encryption::Aes192Cbc, Encryption::Aes256Cbc];
const AEADS: &[Encryption] =
    &[Encryption::Aes128Gcm, Encryption::Aes192Gcm, Encryption::Aes256Gcm, Encryption::ChaCha20Poly1305];
const HASHES: &[Integrity] =
    &[Integrity::HmacSha1, Integrity::HmacSha256, Integrity::HmacSha384, Integrity::HmacSha512];
prop_compose! {
    fn proposal(n: usize)(ciphers in some(CIPHERS), aeads in some(AEADS), hashes in some(HASHES), which in 0u8..3,
                          lifetime in prop::option::of(seconds(10..1_000_000)), lifebytes: u64,
                          pfs in prop::option::of(select(&DhGroup::CLASSIC)), additional in rounds(), window in 5u32..=16, esn: bool) -> Arc<Proposal> {
        let mut suites = Vec::new();
        if which != 0 {
            suites.extend(aeads.iter().map(|c| Suite::new(*c, Integrity::None).unwrap()));
        }
        if which != 1 {
            suites.extend(ciphers.iter().flat_map(|c| hashes.iter().map(|h| Suite::new(*c, *h).unwrap())));
        }
        let width = if window == 5 { 0 } else { 1 << window };
        Arc::new(Proposal { name: format!("proposal{n}"), suites, lifetime, lifebytes, additional: if pfs.is_some() { additional } else { vec![] }, pfs_group: pfs,
                            replay_window: ReplayWidth::new(width).unwrap(), esn })
    }
}
fn id() -> impl Strategy<Value = Id> {
    prop_oneof![
        any::<u32>().prop_map(|a| Id::Address(Ipv4Addr::from(a).into())),
        any::<u128>().prop_map(|a| Id::Address(Ipv6Addr::from(a).into())),
        "[a-z0-9.-]{1,40}".prop_map(Id::Fqdn),
        "[a-z0-9]{1,10}@[a-z0-9.]{1,10}".prop_map(Id::UserFqdn),
        "[ -!#-\\[\\]-~]{1,30}".prop_map(Id::KeyId),
    ]
}
prop_compose! {
    fn identity(n: usize)(my in prop::option::of(id()), remote in id(), secret in prop::collection::vec(any::<u8>(), 1..64)) -> Identity {
        let my_id = my.map_or(MyId::Auto, MyId::Id);
        // Different for each identity of a peer.
        let remote_id = match n {
            0 => RemoteId::Auto,
            1 => RemoteId::Ignore,
            _ => RemoteId::Id(remote),
        };
        Identity { my_id, remote_id, match_by_certificate: false, auth: Auth::secret(Secret::new(secret)), generate: None }
    }
}
fn identities() -> impl Strategy<Value = Vec<Identity>> {
    (identity(0), identity(1), identity(2), 1usize..=3)
        .prop_map(|(a, b, c, n)| [a, b, c].into_iter().take(n).collect())
}
prop_compose! {
    fn peer(n: usize, local: IpAddr)(profile in profile(n), identities in identities(), host: bool, passive: bool, port in 1u16..,
                      contact: bool, bind: bool) -> Arc<Peer> {
        let base = IpAddr::from([203, 0, n as u8, if host { 9 } else { 0 }]);
        let address = if host { Prefix::host(base) } else { Prefix::new(base, 24).unwrap() };
        Arc::new(Peer { name: format!("peer{n}"), address, host: None, local_address: bind.then_some(local), port, passive: passive || !host,
                        send_initial_contact: contact, profile, identities })
    }
}
fn ports() -> impl Strategy<Value = PortRange> {
    (any::<u16>(), any::<u16>()).prop_map(|(a, b)| PortRange { first: a.min(b), last: a.max(b) })
}
prop_compose! {
    fn policy(peer: String)(v4: bool, src: u128, dst: u128, lens in (0u8..=128, 0u8..=128), protocol in prop::option::of(1u8..=254),
              ports in (ports(), ports()), action in 0u8..5, proposal in proposal(0), comment in "[ -~]{0,20}", which in 0u8..2)
              -> (Policy, u8) {
        let prefix = |raw: u128, len: u8| match v4 {
            true => Prefix::new(Ipv4Addr::from(raw as u32).into(), len / 4),
            false => Prefix::new(Ipv6Addr::from(raw).into(), len),
        }.unwrap();
        let has_ports = matches!(protocol, Some(6 | 17 | 33 | 132 | 136));
        let (src_port, dst_port) = if has_ports { ports } else { (PortRange::ANY, PortRange::ANY) };
        let selector = Selector { src: prefix(src, lens.0), dst: prefix(dst, lens.1), protocol, src_port, dst_port };
        let action = match action {
            0 => Action::Discard,
            1 => Action::Bypass,
            2 => Action::Encrypt { level: Level::Use, tunnel: true },
            3 => Action::Encrypt { level: Level::Require, tunnel: true },
            _ => Action::Encrypt { level: Level::Unique, tunnel: true },
        };
        let peer = matches!(action, Action::Encrypt { .. }).then(|| peer.clone());
        let df = [DontFragment::Inherit, DontFragment::Clear, DontFragment::Set][usize::from(src as u8 % 3)];
        let dscp = Some(dst as u8).filter(|n| *n < 64);
        let framing = Framing { dont_fragment: df, dscp, clamp_mss: v4, pad_to: (src as u16) % 9000 };
        (Policy { spec: PolicySpec { id: PolicyId(0), selector, action, framing }, peer, backups: vec![], protocol: sa::Protocol::Esp, proposal, comment }, which)
    }
}
fn address(n: u8, interface: &str) -> [Address; 2] {
    [
        Address { address: IpAddr::from([198, 51, n, 2]), prefix_len: 24, interface: interface.into() },
        Address {
            address: Ipv6Addr::new(0x2001, 0xdb8, u16::from(n), 0, 0, 0, 0, 2).into(),
            prefix_len: 64,
            interface: interface.into(),
        },
    ]
}
prop_compose! {
    fn config()(system in system(), ports in 1u8..4, vlans in 0u8..3, mtu in 1280u16..=9600, mac: [u8; 5], taps: bool,
                peers in (1usize..4).prop_flat_map(|n| (0..n).map(|i| peer(i, IpAddr::from([198, 51, 0, 2]))).collect::<Vec<_>>()),
                policies in prop::collection::vec(policy("peer0".into()), 0..12), proposals in (proposal(0), proposal(1)),
                distances in prop::collection::hash_set(1u8.., 0..4), threshold in 0u32..1_000_000,
                redirect in prop::option::of(any::<[u8; 4]>())) -> Config {
        let mut interfaces = Vec::new();
        for n in 0..ports {
            interfaces.push(Interface {
                name: format!("port{n}"),
                kind: InterfaceKind::Port { device: format!("af-packet:eth{n}").parse().unwrap() },
                mtu,
                mac_address: (n == 0).then_some([2, mac[0], mac[1], mac[2], mac[3], mac[4]]),
                exception_tap: taps.then(|| format!("x-{n}").parse().unwrap()),
            });
        }
        for n in 0..vlans {
            interfaces.push(Interface { name: format!("vlan{n}"), kind: InterfaceKind::Vlan { parent: "port0".into(), id: u16::from(n) + 1 },
                                        mtu: 1280, mac_address: None, exception_tap: None });
        }
        let addresses = interfaces.iter().enumerate().flat_map(|(n, i)| address(n as u8, &i.name)).collect();
        let gateways = [
            Gateway::Via { address: IpAddr::from([198, 51, 0, 1]), interface: "port0".into() },
            Gateway::Interface("port0".into()),
            Gateway::Blackhole,
        ];
        let route = |(n, distance): (usize, u8)| Route { dst: Prefix::new(IpAddr::from([n as u8, 0, 0, 0]), 8).unwrap(),
                                                         gateway: gateways[n % 3].clone(), distance };
        let routes = distances.into_iter().enumerate().map(route).collect();
        let mut seen = HashSet::new();
        let policies = policies.into_iter().filter(|(p, _)| seen.insert(p.spec.selector)).map(|(p, which)| {
            Policy { proposal: if which == 0 { proposals.0.clone() } else { proposals.1.clone() }, ..p }
        }).collect();
        let ipsec = Ipsec { peers, policies, templates: Vec::new(), settings: Settings { ddos_cookie_threshold: threshold, redirect_to: redirect.map(IpAddr::from) }, manual_sas: Vec::new(), credentials: Credentials::default() };
        Config { system, interfaces, addresses, routes, ipsec, logging: vec![], api: Api::default() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn a_model_survives_being_written_and_read(mut written in config()) {
        let text = yaml(&written);
        let read = config::check(&text).map_err(|c| TestCaseError::fail(format!("{c}\n{text}")))?.config;
        // The ids are the reader's own: there, different, and the same each time.
        let ids: HashSet<PolicyId> = read.ipsec.policies.iter().map(|p| p.spec.id).collect();
        prop_assert_eq!(ids.len(), read.ipsec.policies.len());
        prop_assert!(!ids.contains(&PolicyId(0)));
        for (w, r) in written.ipsec.policies.iter_mut().zip(&read.ipsec.policies) {
            w.spec.id = r.spec.id;
        }
        // The one that is always there.
        let built_in: Vec<_> = read.ipsec.templates.iter().map(|t| (t.group.as_str(), t.place, t.selectors.len())).collect();
        prop_assert_eq!(built_in, [("default", 0, 2)]);
        prop_assert!(!ids.contains(&read.ipsec.templates[0].id));
        written.ipsec.templates.clone_from(&read.ipsec.templates);
        prop_assert_eq!(&read, &written, "{}", text);
        prop_assert_eq!(config::check(&text).unwrap().config, read);
    }
    #[test]
    fn a_policys_id_does_not_depend_on_its_place(mut written in config()) {
        let ids = |c: &Config| -> Vec<(Selector, PolicyId)> {
            let read = config::check(&yaml(c)).expect("good").config;
            let mut ids: Vec<_> = read.ipsec.policies.iter().map(|p| (p.spec.selector, p.spec.id)).collect();
            ids.sort_by_key(|(_, id)| *id);
            ids
        };
        let before = ids(&written);
        written.ipsec.policies.reverse();
        prop_assert_eq!(ids(&written), before);
    }
}

#[test]
fn the_sample_of_the_tree_is_good_and_says_what_its_comments_say() {
    let text = include_str!("../../../config.yaml");
    let checked = config::check(text).unwrap_or_else(|complaints| panic!("{complaints}"));
    assert!(checked.warnings.is_empty(), "{}", checked.warnings);
    let config = checked.config;
    assert_eq!(config.system.name, "site-a");
    let policies: Vec<String> = config
        .ipsec
        .policies
        .iter()
        .map(|p| format!("{} > {}", p.spec.selector.src, p.spec.selector.dst))
        .collect();
    assert_eq!(policies, ["10.1.0.0/24 > 10.2.0.0/24", "fd00:a::/64 > fd00:b::/64"]);
    let peer = config.ipsec.peer("site-b").expect("site-b");
    assert_eq!(peer.address.to_string(), "203.0.113.2/32");
    assert_eq!(config.ipsec.policies_of("site-b").count(), 2);
}
