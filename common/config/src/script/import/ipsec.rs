//! `/ip ipsec`, also as versions before 6.44 had it, when a peer was its own profile and identity.
use super::super::ast::Text;
use super::Version;
use super::put::{MissingSecret, Putter};
use super::report::{Outcome, missing_secret};
use super::rows::{Draft, Tables};
use super::words::{OF_IDENTITY, OF_PROFILE};
use std::collections::HashSet;
use std::net::IpAddr;

/// From this version on profiles ask a silent peer after 8 s.
const EAGER_DPD: Version = (7, 13);

pub fn profiles(put: &mut Putter, tables: &mut Tables, version: Option<Version>) {
    for mut row in tables.take("ip ipsec profile") {
        if !put.own {
            let about = format!("ip ipsec profile {}", row.filled("name").unwrap_or_default());
            if version.is_some_and(|version| version >= EAGER_DPD) && row.get("dpd-interval").is_none() {
                // The built-in profile means this, too, where nothing is said about it; so it is only of interest where
                // something uses IPsec.
                let concerns =
                    row.line > 0 || put.report.lines.iter().any(|line| line.command.contains("ip ipsec"));
                if concerns {
                    row.put_str("dpd-interval", "8s", row.line);
                    let said = "dpd-interval=8s written: the default of the version it comes from";
                    put.say(row.line, Outcome::Changed, &*about, said, "");
                }
            }
            if row.get("enc-algorithm").is_none() && row.line > 0 {
                let said = "enc-algorithm is aes-128 here; RouterOS adds 3des when none is written";
                put.say(row.line, Outcome::Changed, about, said, "");
            }
        }
        put.put("ip.ipsec.profile", row);
    }
}
pub fn proposals(put: &mut Putter, tables: &mut Tables) {
    for mut row in tables.take("ip ipsec proposal") {
        for name in ["auth-algorithms", "enc-algorithms"] {
            if row.get(name) == Some("") {
                row.put_str(name, "null", row.line);
                let about = format!("ip ipsec proposal {}: {name}", row.filled("name").unwrap_or_default());
                put.say(row.line, Outcome::Changed, about, "an empty list is written as `null`", "");
            }
        }
        put.put("ip.ipsec.proposal", row);
    }
}

/// A peer that was taken over.
pub struct Peer {
    name: String,
    address: String,
}

pub fn peers(put: &mut Putter, tables: &mut Tables) -> Vec<Peer> {
    let mut peers = Vec::new();
    let mut number = 0;
    let drafts = tables.take("ip ipsec peer");
    let taken: Vec<String> =
        drafts.iter().filter_map(|row| row.filled("name")).map(ToOwned::to_owned).collect();
    for mut row in drafts {
        let line = row.line;
        if row.filled("name").is_none() {
            number += 1;
            while taken.contains(&format!("peer{number}")) {
                number += 1;
            }
            row.put_str("name", &format!("peer{number}"), line);
            let said = format!("named `peer{number}`: peers have names since 6.44");
            put.say(line, Outcome::Changed, "ip ipsec peer", said, "");
        }
        let name = row.filled("name").unwrap_or_default().to_owned();
        split(put, tables, &mut row, &name);
        if !put.own {
            modernise(put, &mut row, &name);
        }
        peers.push(Peer { name, address: row.filled("address").unwrap_or("0.0.0.0/0").to_owned() });
        put.put("ip.ipsec.peer", row);
    }
    peers
}
fn modernise(put: &mut Putter, row: &mut Draft, name: &str) {
    let about = format!("ip ipsec peer {name}");
    if row
        .take("compatibility-options")
        .is_some_and(|cell| !cell.value.is_empty() && cell.value.as_str() != "none")
    {
        put.say(row.line, Outcome::Changed, &*about, "compatibility-options left out: they are of IKEv1", "");
    }
    if row.is("exchange-mode", "main-l2tp") {
        row.put_str("exchange-mode", "main", row.line);
        put.say(row.line, Outcome::Changed, &*about, "exchange-mode=main-l2tp is `main` now", "");
    }
    if row.get("exchange-mode").is_none() {
        let said =
            "no exchange-mode is written, which is `main` (IKEv1); this version does not have IKEv1 yet";
        put.say(row.line, Outcome::Later, about, said, "set exchange-mode=ike2 on both sides");
    }
}

/// Takes profile and identity out of a peer of an old version.
fn split(put: &mut Putter, tables: &mut Tables, row: &mut Draft, name: &str) {
    let line = row.line;
    let mut profile = Draft { line, ..Draft::default() };
    for of in OF_PROFILE {
        if let Some(cell) = row.take(of) {
            profile.put(of, cell.value, cell.line);
        }
    }
    let mut identity = Draft { line, ..Draft::default() };
    for of in OF_IDENTITY {
        if let Some(cell) = row.take(of) {
            let of = match *of {
                "xauth-login" => "username",
                "xauth-password" => "password",
                "my-id-user-fqdn" => "my-id",
                of => of,
            };
            identity.put(of, cell.value, cell.line);
        }
    }
    let about = format!("ip ipsec peer {name}");
    if !profile.cells.is_empty() && row.filled("profile").is_none() {
        let taken = |name: &str| {
            let profiles = crate::schema::place("ip.ipsec.profile");
            profiles.is_some_and(|profiles| put.document.by_name(profiles, name).is_some())
        };
        let free = (1..).map(|n| if n == 1 { name.to_owned() } else { format!("{name}-{n}") });
        let name = free.into_iter().find(|name| !taken(name)).unwrap_or_default();
        profile.put_str("name", &name, line);
        put.put("ip.ipsec.profile", profile);
        row.put_str("profile", &name, line);
        put.say(
            line,
            Outcome::Changed,
            &*about,
            format!("its phase 1 parameters are the profile `{name}` now"),
            "",
        );
    }
    if !identity.cells.is_empty() {
        identity.put_str("peer", name, line);
        if let Some(disabled) = row.get("disabled") {
            let disabled = disabled.to_owned();
            identity.put_str("disabled", &disabled, line);
        }
        tables.table("ip ipsec identity").push(identity);
        put.say(line, Outcome::Changed, about, "how it is authenticated is an identity of its own now", "");
    }
}

pub fn identities(put: &mut Putter, tables: &mut Tables, peers: &[Peer]) {
    let known: HashSet<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
    for mut row in tables.take("ip ipsec identity") {
        let peer = row.filled("peer").unwrap_or_default().to_owned();
        let about = format!("ip ipsec identity {peer}");
        if !put.own {
            for (name, old, new) in [
                ("auth-method", "rsa-signature", "digital-signature"),
                ("generate-policy", "yes", "port-override"),
            ] {
                if row.is(name, old) {
                    row.put_str(name, new, row.line);
                    put.say(row.line, Outcome::Changed, &*about, format!("{name}={old} is `{new}` now"), "");
                }
            }
        }
        if !peer.is_empty() && !put.own && !known.contains(&*peer) {
            let said = format!("there is no peer `{peer}` in the source; the row is left out");
            put.say(row.line, Outcome::Refused, about, said, "export the peers, too");
            continue;
        }
        let wanted = wanted_secrets(&row);
        let line = row.line;
        let Some(id) = put.put("ip.ipsec.identity", row) else { continue };
        for (property, what) in wanted {
            let what = format!("{what} of the identity of peer `{peer}`");
            let fix = "give it with --ask-secrets or --secrets-file, or export with show-sensitive";
            put.say(line, Outcome::Attention, &*about, missing_secret(&what), fix);
            let key = if property == "secret" { peer.clone() } else { format!("{peer} {property}") };
            put.missing.push(MissingSecret { line, path: "ip.ipsec.identity", id, property, what, key });
        }
    }
}
fn wanted_secrets(row: &Draft) -> Vec<(&'static str, &'static str)> {
    let method = row.filled("auth-method").unwrap_or("pre-shared-key");
    let mut wanted = Vec::new();
    if method.starts_with("pre-shared-key") && row.filled("secret").is_none() {
        wanted.push(("secret", "pre-shared key"));
    }
    if row.filled("username").is_some() && row.filled("password").is_none() {
        wanted.push(("password", "password"));
    }
    wanted
}

pub fn policies(put: &mut Putter, tables: &mut Tables, peers: &[Peer]) {
    let drafts = tables.take("ip ipsec policy");
    let before = drafts.iter().position(|row| row.built_in);
    let mut ids = Vec::new();
    for (at, mut row) in drafts.into_iter().enumerate() {
        if !put.own {
            old_policy(put, &mut row, peers);
        }
        let id = put.put("ip.ipsec.policy", row);
        if before.is_some_and(|built_in| at < built_in) {
            ids.extend(id);
        }
    }
    // Rows in front of the built-in template. It matches no packet, so that only an export of ours needs this.
    if let Some(place) = crate::schema::place("ip.ipsec.policy").filter(|_| put.own && !ids.is_empty())
        && let Some(built_in) = put.document.rows(place).iter().find(|row| row.built_in).map(|row| row.id)
    {
        // Both rows are there: it cannot fail.
        let _ = put.document.move_before(place, &ids, Some(built_in));
    }
}
fn old_policy(put: &mut Putter, row: &mut Draft, peers: &[Peer]) {
    let line = row.line;
    let about = "ip ipsec policy";
    if row.take("priority").is_some_and(|cell| cell.value.as_str() != "0") {
        let said = "priority left out: since 6.40 the order of the rows decides";
        put.say(line, Outcome::Changed, about, said, "look at the order");
    }
    if row.take("manual-sa").is_some_and(|cell| !matches!(cell.value.as_str(), "" | "none")) {
        put.say(line, Outcome::NotCovered, about, "manual SAs of policies are not taken over", "");
    }
    if row.is("template", "yes") {
        for name in ["src-address", "dst-address"] {
            if row.get(name).is_none() {
                row.put_str(name, "::/0", line);
            }
        }
    }
    let unset = |text: &str| matches!(text, "" | "0.0.0.0" | "::" | "0.0.0.0/32" | "::/128");
    for name in ["sa-src-address", "sa-dst-address"] {
        if row.get(name).is_some_and(unset) {
            row.take(name);
        }
    }
    let encrypts = row.get("action").unwrap_or("encrypt") == "encrypt" && !row.is("template", "yes");
    if row.filled("peer").is_none() && encrypts && !row.built_in {
        let Some(outer) = row.filled("sa-dst-address").map(ToOwned::to_owned) else {
            put.say(line, Outcome::Attention, about, "no peer is named", "set peer= to the one it is for");
            return;
        };
        match serving(peers, &outer) {
            Some(peer) => {
                row.put("peer", Text::new(peer.name.clone().into()), line);
                let said = format!("peer={} written: its address is sa-dst-address", peer.name);
                put.say(line, Outcome::Changed, about, said, "");
            }
            None => {
                let said = format!("no peer serves sa-dst-address={outer}");
                put.say(line, Outcome::Attention, about, said, "set peer= to the one it is for");
            }
        }
    }
}
/// The peer with the longest prefix that has this address.
fn serving<'p>(peers: &'p [Peer], outer: &str) -> Option<&'p Peer> {
    let outer: IpAddr = outer.parse().ok()?;
    let prefix = |peer: &Peer| peer.address.parse::<sa::Prefix>().ok();
    let serves = |peer: &&Peer| prefix(peer).is_some_and(|prefix| prefix.contains(outer));
    peers.iter().filter(serves).max_by_key(|peer| prefix(peer).map(|prefix| prefix.len()))
}
