//! A script for RouterOS 7 (and for another espway).
use super::{Other, each, header, quoted};
use crate::model::{DhGroup, Id, IkeCipher, IkeIntegrity, Prf, Proposal};
use crate::value::{show_duration, show_ports, show_protocol};
use sa::{Encryption, Integrity, PortRange};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

const WHOSE: &str = "RouterOS";

pub fn print(other: &mut Other<'_>) -> Zeroizing<String> {
    let profile = profile(other);
    let proposals = proposals(other);
    let policies = policies(other);
    let name = quoted(&other.name);
    let mut out = Zeroizing::new(header(other, "#", "The other side, for RouterOS 7,"));
    *out +=
        "# NAT: put an accept rule for these networks above masquerade, and leave them out of fasttrack.\n";
    *out += &profile;
    *out += &proposals;
    *out += &format!("/ip ipsec peer\nadd address={}/{} exchange-mode=ike2", other.remote(), bits(other));
    if let Some(local) = other.local {
        *out += &format!(" local-address={local}");
    }
    *out += &format!(" name={name} profile={name}\n");
    *out += &format!("/ip ipsec identity\nadd peer={name} secret={}", quoted(&other.secret));
    for (property, id) in [("my-id", &other.local_id), ("remote-id", &other.remote_id)] {
        if let Some(id) = id {
            *out += &format!(" {property}={}", quoted(&written(id)));
        }
    }
    *out += "\n";
    *out += &policies;
    out
}
fn bits(other: &Other<'_>) -> u8 {
    if other.remote.is_some_and(|address| address.is_ipv6()) { 128 } else { 32 }
}
fn written(id: &Id) -> String {
    match id {
        Id::Address(address) => format!("address:{address}"),
        Id::Fqdn(text) => format!("fqdn:{text}"),
        Id::UserFqdn(text) => format!("user-fqdn:{text}"),
        Id::KeyId(text) => format!("key-id:{text}"),
        Id::Dn(text) => format!("dn:{text}"),
    }
}

fn profile(other: &mut Other<'_>) -> String {
    let ours = other.peer.profile.clone();
    // Its console knows no more than its manual lists.
    let enc = other.words("IKE ciphers", WHOSE, &ours.encryption, IkeCipher::name, |cipher| match cipher {
        IkeCipher::Aes128Cbc | IkeCipher::Aes192Cbc | IkeCipher::Aes256Cbc => Some(cipher.name()),
        IkeCipher::Des | IkeCipher::TripleDes => Some(cipher.name()),
        _ => None,
    });
    let groups = other.words("Diffie-Hellman groups", WHOSE, &ours.dh_groups, DhGroup::name, known_group);
    other.words("IKE hashes", WHOSE, &[ours.hash], IkeIntegrity::name, |hash| match hash {
        IkeIntegrity::AesXcbc | IkeIntegrity::AesCmac => None,
        _ => Some(hash.name()),
    });
    other.words("IKE PRFs", WHOSE, &[ours.prf], Prf::name, |prf| match prf {
        Prf::AesXcbc | Prf::AesCmac => None,
        _ => Some(prf.name()),
    });
    let enc = if enc.is_empty() { "aes-256".to_owned() } else { enc.join(",") };
    let prf = if ours.prf == ours.hash.prf() {
        String::new()
    } else {
        format!(" prf-algorithm={}", ours.prf.name())
    };
    let dpd = ours.dpd_interval.map_or_else(|| "disable-dpd".into(), show_duration);
    format!(
        "/ip ipsec profile\nadd name={} dh-group={} enc-algorithm={enc} hash-algorithm={}{prf} dpd-interval={dpd} lifetime={}\n",
        quoted(&other.name),
        groups.join(","),
        ours.hash.name(),
        show_duration(ours.lifetime)
    )
}

/// A proposal for each of ours, under a name of its own.
fn proposals(other: &mut Other<'_>) -> String {
    let mut out = "/ip ipsec proposal\n".to_owned();
    let mut done = BTreeMap::new();
    for policy in other.policies.clone() {
        if done.insert(policy.proposal.name.clone(), ()).is_none() {
            out += &proposal(other, &policy.proposal);
        }
    }
    if done.is_empty() { String::new() } else { out }
}
fn proposal(other: &mut Other<'_>, ours: &Proposal) -> String {
    let (mut ciphers, mut hashes): (Vec<Encryption>, Vec<Integrity>) = Default::default();
    for suite in &ours.suites {
        if !ciphers.contains(&suite.encryption()) {
            ciphers.push(suite.encryption());
        }
        if !hashes.contains(&suite.integrity()) {
            hashes.push(suite.integrity());
        }
    }
    let enc = other.words("ESP ciphers", WHOSE, &ciphers, Encryption::name, |c| Some(c.name()));
    let auth = other.words("ESP hashes", WHOSE, &hashes, Integrity::name, |hash| match hash {
        Integrity::HmacSha384 => None,
        _ => Some(hash.name()),
    });
    if let Some(group) = ours.pfs_group.filter(|g| *g == DhGroup::X25519 || known_group(*g).is_none()) {
        other.problem(format!(
            "RouterOS has no pfs-group {}: the first rekey will fail; write pfs-group ecp256 in our proposal `{}`",
            group.name(),
            ours.name
        ));
    }
    format!(
        "add name={} auth-algorithms={} enc-algorithms={} lifetime={} pfs-group={}\n",
        quoted(&own_name(other, ours)),
        auth.join(","),
        enc.join(","),
        ours.lifetime.map_or_else(|| "0s".into(), show_duration),
        ours.pfs_group.map_or("none", DhGroup::name)
    )
}
fn known_group(group: DhGroup) -> Option<&'static str> {
    match group {
        DhGroup::X448
        | DhGroup::Brainpool224
        | DhGroup::Brainpool256
        | DhGroup::Brainpool384
        | DhGroup::Brainpool512 => None,
        _ => Some(group.name()),
    }
}
fn own_name(other: &Other<'_>, ours: &Proposal) -> String {
    format!("{}-{}", other.name, ours.name)
}

fn policies(other: &mut Other<'_>) -> String {
    if other.policies.is_empty() {
        return String::new();
    }
    let mut out = "/ip ipsec policy\n".to_owned();
    for policy in other.policies.clone() {
        let s = policy.spec.selector;
        let port = |range: PortRange| range.is_any() || range.first == range.last;
        if !port(s.src_port) || !port(s.dst_port) {
            other.problem(format!(
                "RouterOS has no ranges of ports in policies: {} to {} will not match",
                s.src, s.dst
            ));
        }
        let ports = [("dst-port", s.src_port), ("src-port", s.dst_port)];
        let ports = ports.iter().filter(|(_, range)| !range.is_any());
        let ports =
            each(&ports.collect::<Vec<_>>(), |(name, range)| format!(" {name}={}", show_ports(*range)), "");
        let protocol = s.protocol.map_or(String::new(), |p| format!(" protocol={}", show_protocol(Some(p))));
        out += &format!(
            "add dst-address={} peer={} proposal={}{protocol}{ports} src-address={} tunnel=yes\n",
            s.src,
            quoted(&other.name),
            quoted(&own_name(other, &policy.proposal)),
            s.dst
        );
    }
    out
}
