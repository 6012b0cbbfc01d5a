//! One connection: a peer, its profile, its identity, and the policies of its children.
use super::super::ast::Text;
use super::read::Section;
use super::secrets;
use super::{Draft, Outcome, Putter, proposals, row, unread};
use std::net::IpAddr;

const READ: &[&str] = &[
    "aggressive",
    "dpd_delay",
    "dpd_timeout",
    "local_addrs",
    "local_port",
    "pools",
    "proposals",
    "reauth_time",
    "rekey_time",
    "remote_addrs",
    "remote_port",
    "version",
    "vips",
];
/// What we do anyway, or what says nothing about what is agreed on.
const HARMLESS: &[&str] = &[
    "fragmentation",
    "keyingtries",
    "mobike",
    "over_time",
    "rand_time",
    "send_cert",
    "send_certreq",
    "unique",
];
/// What strongSwan offers when nothing is written, as far as it is known here.
const DEFAULT_IKE: &[(&str, &str)] = &[
    ("enc-algorithm", "aes-256,aes-192,aes-128"),
    ("hash-algorithm", "sha256"),
    ("dh-group", "ecp256,x25519,modp3072,modp2048"),
];
const DEFAULT_ESP: &[(&str, &str)] = &[
    ("enc-algorithms", "aes-256-cbc,aes-192-cbc,aes-128-cbc"),
    ("auth-algorithms", "sha256,sha1"),
    ("pfs-group", "none"),
];

struct Ends {
    local: Option<String>,
    remote: Option<String>,
    /// Anyone may call.
    anyone: bool,
}

pub fn connection(put: &mut Putter, of: &Section, secrets: &Section, pools: &Section) {
    let about = format!("connections {}", of.name);
    let mut peer = row(of.line, &[("name", &of.name), ("profile", &of.name)]);
    let ends = addresses(put, of, &about, &mut peer);
    version(put, of, &about, &mut peer);
    profile(put, of, &about);
    if let Some(port) = of.get("remote_port") {
        peer.put_str("port", port, of.line_of("remote_port"));
    }
    if of.get("local_port").is_some_and(|port| !matches!(port, "500" | "4500")) {
        let said = "local_port left out: ours are 500 and 4500";
        put.say(of.line_of("local_port"), Outcome::Changed, &*about, said, "");
    }
    if of.get("reauth_time").is_some_and(|time| value(time) != "0s") {
        let said = "reauth_time left out: SAs are rekeyed, not authenticated again";
        put.say(
            of.line_of("reauth_time"),
            Outcome::Changed,
            &*about,
            said,
            "set it to 0 on the other side, too",
        );
    }
    put.put("ip.ipsec.peer", peer);

    let empty = Section::default();
    let children = of.section("children").unwrap_or(&empty);
    let generates = ends.anyone || of.get("pools").is_some() || of.get("vips").is_some();
    if generates {
        put.put("ip.ipsec.policy-group", row(of.line, &[("name", &of.name)]));
    }
    identity(put, of, &about, secrets, pools, &ends, generates);
    for child in &children.sections {
        self::child(put, of, child, &ends, generates);
    }
    unread(put, &about, of, READ, HARMLESS);
}

fn list(text: Option<&str>) -> Vec<String> {
    let parts = text.unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(ToOwned::to_owned).collect()
}
/// `4h`, `3600`, `1d` as we write it; theirs has no `0`.
fn value(time: &str) -> String {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty();
    if digits(time) { format!("{time}s") } else { time.to_owned() }
}

fn addresses(put: &mut Putter, of: &Section, about: &str, peer: &mut Draft) -> Ends {
    let any = |address: &String| matches!(&**address, "%any" | "%any4" | "%any6" | "0.0.0.0/0" | "::/0");
    let locals: Vec<_> = list(of.get("local_addrs")).into_iter().filter(|address| !any(address)).collect();
    let remotes = list(of.get("remote_addrs"));
    let local = locals.first().cloned();
    if let Some(local) = &local {
        peer.put_str("local-address", local, of.line_of("local_addrs"));
    }
    let anyone = remotes.is_empty() || remotes.iter().any(any);
    let remote = remotes.first().filter(|_| !anyone).cloned();
    let line = of.line_of("remote_addrs");
    match &remote {
        Some(remote) if remote.parse::<sa::Prefix>().is_ok() => peer.put_str("address", remote, line),
        Some(remote) => {
            peer.put_str("disabled", "yes", line);
            let said =
                format!("names like `{remote}` are not resolved yet; left out, and the peer is disabled");
            put.say(line, Outcome::Attention, about, said, "write its address, then enable it");
        }
        None => peer.put_str("passive", "yes", line),
    }
    for (what, more, line) in
        [("local_addrs", locals.len(), of.line_of("local_addrs")), ("remote_addrs", remotes.len(), line)]
    {
        if more > 1 && !(anyone && what == "remote_addrs") {
            put.say(line, Outcome::Changed, about, format!("only the first of {what} is taken over"), "");
        }
    }
    Ends { local, remote, anyone }
}
fn version(put: &mut Putter, of: &Section, about: &str, peer: &mut Draft) {
    let line = of.line_of("version");
    match of.get("version").unwrap_or("0") {
        "1" if of.get("aggressive") == Some("yes") => peer.put_str("exchange-mode", "aggressive", line),
        "1" => peer.put_str("exchange-mode", "main", line),
        "2" => peer.put_str("exchange-mode", "ike2", line),
        _ => {
            peer.put_str("exchange-mode", "ike2", line);
            put.say(
                line,
                Outcome::Changed,
                about,
                "IKEv2 only: without a version strongSwan answers IKEv1, too",
                "",
            );
        }
    }
}

fn profile(put: &mut Putter, of: &Section, about: &str) {
    let line = of.line_of("proposals");
    let offered = proposals::read(of.get("proposals").unwrap_or("default"), false);
    let mut profile = row(of.line, &[("name", &of.name)]);
    told(put, about, line, &offered.unknown);
    if offered.ciphers.is_empty() {
        DEFAULT_IKE.iter().for_each(|(name, value)| profile.put_str(name, value, line));
        let said = "strongSwan's default proposals are written out, without what is obsolete";
        put.say(line, Outcome::Changed, about, said, "");
    } else {
        profile.put_str("enc-algorithm", &offered.ciphers.join(","), line);
        if let Some((first, more)) = offered.hashes.split_first() {
            profile.put_str("hash-algorithm", first, line);
            if !more.is_empty() {
                let said = format!("hash-algorithm={first}: a profile has one; {} left out", more.join(", "));
                put.say(line, Outcome::Changed, about, said, "");
            }
        } else if let Some(prf) = offered.prfs.first() {
            profile.put_str("hash-algorithm", prf, line);
        }
        if let Some(prf) =
            offered.prfs.first().filter(|prf| offered.hashes.first().is_some_and(|hash| hash != *prf))
        {
            profile.put_str("prf-algorithm", prf, line);
        }
        if !offered.groups.is_empty() {
            profile.put_str("dh-group", &offered.groups.join(","), line);
        }
    }
    let delay = value(of.get("dpd_delay").unwrap_or("0"));
    profile.put_str(
        "dpd-interval",
        if delay == "0s" { "disable-dpd" } else { &delay },
        of.line_of("dpd_delay"),
    );
    profile.put_str("lifetime", &value(of.get("rekey_time").unwrap_or("4h")), of.line_of("rekey_time"));
    put.put("ip.ipsec.profile", profile);
}
fn told(put: &mut Putter, about: &str, line: usize, unknown: &[String]) {
    if !unknown.is_empty() {
        let said = format!("{} left out: not known here", unknown.join(", "));
        put.say(line, Outcome::Changed, about, said, "the other side must know one of the others");
    }
}

/// `@gw.example`, `a@b.example`, `192.0.2.1`, `fqdn:gw.example` as RouterOS writes it.
fn id(text: &str) -> String {
    match text {
        "" | "%any" => "auto".into(),
        text if text.parse::<IpAddr>().is_ok() => format!("address:{text}"),
        text => match text.split_once(':') {
            Some(("fqdn" | "dns", name)) => format!("fqdn:{name}"),
            Some(("email" | "rfc822" | "userfqdn", name)) => format!("user-fqdn:{name}"),
            Some(("keyid", name)) => format!("key-id:{name}"),
            Some(("ipv4" | "ipv6", address)) => format!("address:{address}"),
            _ => match text.strip_prefix('@') {
                Some(name) if name.starts_with('@') => format!("user-fqdn:{}", name.trim_start_matches('@')),
                Some(key) if key.starts_with('#') => format!("key-id:{}", key.trim_start_matches('#')),
                Some(name) => format!("fqdn:{name}"),
                None if text.contains('=') => "dn".into(),
                None if text.contains('@') => format!("user-fqdn:{text}"),
                None => format!("fqdn:{text}"),
            },
        },
    }
}

fn identity(
    put: &mut Putter,
    of: &Section,
    about: &str,
    secrets: &Section,
    pools: &Section,
    ends: &Ends,
    generates: bool,
) {
    let empty = Section::default();
    let (local, remote) =
        (of.numbered("local").next().unwrap_or(&empty), of.numbered("remote").next().unwrap_or(&empty));
    for (rounds, name) in [(of.numbered("local").count(), "local"), (of.numbered("remote").count(), "remote")]
    {
        if rounds > 1 {
            let said = format!(
                "only the first section `{name}` is taken over: there is one round of authentication"
            );
            put.say(of.line, Outcome::Attention, about, said, "");
        }
    }
    let mut identity = row(of.line, &[("peer", &of.name)]);
    for (section, name) in [(local, "my-id"), (remote, "remote-id")] {
        if let Some(text) = section.get("id") {
            identity.put_str(name, &id(text), section.line_of("id"));
        }
    }
    let (ours, theirs) = (local.get("auth").unwrap_or("pubkey"), remote.get("auth").unwrap_or("pubkey"));
    let method = match (ours, theirs) {
        ("psk", "psk") => "pre-shared-key",
        ("psk", other) | (other, "psk") if other.starts_with("xauth") => "pre-shared-key-xauth",
        (_, theirs) if theirs.starts_with("eap") => "eap-radius",
        (ours, _) if ours.starts_with("eap") => "eap",
        _ => "digital-signature",
    };
    let line = local.line_of("auth");
    identity.put_str("auth-method", method, line);
    if method.starts_with("pre-shared-key") {
        let ours: Vec<&str> = local.get("id").into_iter().chain(ends.local.as_deref()).collect();
        let theirs: Vec<&str> = remote.get("id").into_iter().chain(ends.remote.as_deref()).collect();
        match secrets::psk(secrets, &ours, &theirs) {
            Some(secret) => identity.put("secret", Text::new(secret), line),
            None => put.say(
                line,
                Outcome::Attention,
                about,
                "there is no pre-shared key for it in `secrets`",
                "set secret=",
            ),
        }
    }
    if ours.starts_with("eap") {
        let user = local.get("eap_id").or(local.get("id")).unwrap_or_default();
        identity.put_str("username", user, line);
        if let Some(password) = secrets::password(secrets, user) {
            identity.put("password", Text::new(password), line);
        }
        let kind = if ours == "eap" { "eap-mschapv2" } else { ours };
        identity.put_str("eap-methods", kind, line);
    }
    for (section, name) in [(local, "certificate"), (remote, "remote-certificate")] {
        let files = list(section.get("certs"));
        let names: Vec<_> = files.iter().map(|file| stem(file)).collect();
        if !names.is_empty() {
            identity.put_str(name, &names.join(","), section.line_of("certs"));
        }
    }
    if generates {
        identity.put_str("generate-policy", "port-strict", of.line);
        identity.put_str("policy-template-group", &of.name, of.line);
    }
    if let Some(pool) = list(of.get("pools")).first() {
        let known = pools.section(pool).is_some();
        if known {
            identity.put_str("mode-config", pool, of.line_of("pools"));
        } else {
            let said = format!("there is no pool `{pool}` in the file");
            put.say(of.line_of("pools"), Outcome::Attention, about, said, "name a mode-config");
        }
    } else if of.get("vips").is_some() {
        identity.put_str("mode-config", "request-only", of.line_of("vips"));
    }
    put.put("ip.ipsec.identity", identity);
    unread(put, about, local, &["auth", "certs", "eap_id", "id"], &[]);
    unread(put, about, remote, &["auth", "certs", "eap_id", "id"], &["revocation"]);
}
/// A certificate is called as its file, without folder and ending.
fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

const CHILD: &[&str] = &[
    "ah_proposals",
    "esp_proposals",
    "life_bytes",
    "local_ts",
    "mode",
    "rekey_bytes",
    "rekey_time",
    "remote_ts",
    "replay_window",
    "start_action",
];
const CHILD_HARMLESS: &[&str] =
    &["close_action", "dpd_action", "life_time", "rand_time", "priority", "reqid"];

fn child(put: &mut Putter, of: &Section, child: &Section, ends: &Ends, generates: bool) {
    let about = format!("connections {} children {}", of.name, child.name);
    let name = format!("{}-{}", of.name, child.name);
    proposal(put, child, &about, &name);
    let mode = child.get("mode").unwrap_or("tunnel");
    // What is asked for in a negotiation may be anything that the other side hands out or has.
    let side = |ts: &str, own: Option<&str>| match child.get(ts).map_or("dynamic", str::trim) {
        "dynamic" if generates => {
            vec![Some(Selector { network: "0.0.0.0/0".into(), protocol: None, port: None })]
        }
        list => selectors(list, own),
    };
    let (locals, remotes) =
        (side("local_ts", ends.local.as_deref()), side("remote_ts", ends.remote.as_deref()));
    for local in &locals {
        for remote in &remotes {
            let (Some(local), Some(remote)) = (local, remote) else {
                let said = "`dynamic` stands for an address that is not known here; this policy is left out";
                put.say(child.line, Outcome::Attention, &*about, said, "add it with the address");
                continue;
            };
            let mut policy = row(
                child.line,
                &[
                    ("comment", &name),
                    ("proposal", &name),
                    ("src-address", &local.network),
                    ("dst-address", &remote.network),
                ],
            );
            if generates {
                policy.put_str("template", "yes", child.line);
                policy.put_str("group", &of.name, child.line);
            } else {
                policy.put_str("peer", &of.name, child.line);
                policy.put_str("tunnel", if mode == "transport" { "no" } else { "yes" }, child.line);
            }
            match mode {
                "pass" => policy.put_str("action", "none", child.line),
                "drop" => policy.put_str("action", "discard", child.line),
                "beet" => put.say(child.line, Outcome::Changed, &*about, "mode=beet is `tunnel` here", ""),
                _ => {}
            }
            if child.get("ah_proposals").is_some() {
                policy.put_str("ipsec-protocols", "ah", child.line_of("ah_proposals"));
            }
            if let Some(protocol) = local.protocol.as_ref().or(remote.protocol.as_ref()) {
                policy.put_str("protocol", protocol, child.line);
            }
            for (name, port) in [("src-port", &local.port), ("dst-port", &remote.port)] {
                port.iter().for_each(|port| policy.put_str(name, port, child.line));
            }
            put.put("ip.ipsec.policy", policy);
        }
    }
    if child.get("start_action").is_none_or(|action| action == "none") && !generates {
        let said = "start_action is none there; here a policy negotiates when a packet matches it";
        put.say(child.line_of("start_action"), Outcome::Changed, &*about, said, "");
    }
    unread(put, &about, child, CHILD, CHILD_HARMLESS);
}
fn proposal(put: &mut Putter, child: &Section, about: &str, name: &str) {
    let written = child.get("esp_proposals").map(|text| (text, "esp_proposals"));
    let (text, key) =
        written.or(child.get("ah_proposals").map(|text| (text, "ah_proposals"))).unwrap_or(("default", ""));
    let line = child.line_of(key);
    let offered = proposals::read(text, true);
    let mut row = row(child.line, &[("name", name)]);
    told(put, about, line, &offered.unknown);
    if offered.ciphers.is_empty() && offered.hashes.is_empty() {
        DEFAULT_ESP.iter().for_each(|(name, value)| row.put_str(name, value, line));
        put.say(line, Outcome::Changed, about, "strongSwan's default proposals are written out", "");
    } else {
        if !offered.ciphers.is_empty() {
            row.put_str("enc-algorithms", &offered.ciphers.join(","), line);
        }
        let mut hashes = offered.hashes.clone();
        if offered.aead || hashes.is_empty() {
            hashes.push("null");
        }
        row.put_str("auth-algorithms", &hashes.join(","), line);
        let (group, more) = offered.groups.split_first().unwrap_or((&"none", &[]));
        row.put_str("pfs-group", group, line);
        if !more.is_empty() {
            let said = format!("pfs-group={group}: a proposal has one; {} left out", more.join(", "));
            put.say(line, Outcome::Changed, about, said, "");
        }
    }
    row.put_str("lifetime", &value(child.get("rekey_time").unwrap_or("1h")), child.line_of("rekey_time"));
    for (key, name) in
        [("rekey_bytes", "lifebytes"), ("life_bytes", "lifebytes"), ("replay_window", "replay-window")]
    {
        if let Some(value) = child.get(key) {
            row.put_str(name, value, child.line_of(key));
        }
    }
    put.put("ip.ipsec.proposal", row);
}

struct Selector {
    network: String,
    protocol: Option<String>,
    port: Option<String>,
}
/// `10.1.0.0/16[tcp/443]`; none where `dynamic` stands for an address nobody knows.
fn selectors(list: &str, own: Option<&str>) -> Vec<Option<Selector>> {
    let list = list.split(',').map(str::trim);
    list.filter(|one| !one.is_empty())
        .map(|one| {
            let (network, rest) = one.split_once('[').unwrap_or((one, ""));
            let network = match network.trim() {
                "dynamic" | "" => own.filter(|own| own.parse::<IpAddr>().is_ok())?.to_owned(),
                network => network.to_owned(),
            };
            let (protocol, port) =
                rest.trim_end_matches(']').split_once('/').unwrap_or((rest.trim_end_matches(']'), ""));
            let said = |text: &str| (!matches!(text, "" | "any")).then(|| text.to_owned());
            Some(Selector { network, protocol: said(protocol), port: said(port) })
        })
        .collect()
}
