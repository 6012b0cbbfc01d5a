//! Every algorithm of IKE that Debian's strongSwan has as well, each in an IKE SA of its own, both ends as initiator. One
//! lab, one charon with as many addresses as there are IKE SAs.
use anyhow::{Result, ensure};
use e2e::{Gateway, SECRET, SOON, Suite, until};
use harness::{Lab, Plan, Side, Site, StrongSwan};
use serde_json::{Value, json};
use std::net::IpAddr;

/// enc-algorithm, hash-algorithm (and PRF), dh-group; the same in strongSwan's words.
type Row = (&'static str, &'static str, &'static str, &'static str);
/// DES and Blowfish are unsupported by Debian's build of strongSwan.
const ROWS: &[Row] = &[
    ("aes-128", "sha1", "modp1024", "aes128-sha1-modp1024"),
    ("aes-192", "sha256", "modp2048", "aes192-sha256-modp2048"),
    ("aes-256", "sha384", "modp3072", "aes256-sha384-modp3072"),
    ("aes-256", "sha512", "modp4096", "aes256-sha512-modp4096"),
    ("3des", "md5", "modp768", "3des-md5-modp768"),
    ("camellia-128", "aes-xcbc", "modp1536", "camellia128-aesxcbc-modp1536"),
    ("camellia-192", "aes-cmac", "ecp256", "camellia192-aescmac-ecp256"),
    ("camellia-256", "sha256", "ecp384", "camellia256-sha256-ecp384"),
    ("aes-128-ctr", "sha256", "ecp521", "aes128ctr-sha256-ecp521"),
    ("aes-192-ctr", "sha1", "x25519", "aes192ctr-sha1-curve25519"),
    ("aes-256-ctr", "sha512", "x448", "aes256ctr-sha512-curve448"),
    ("camellia-128-ctr", "sha256", "brainpool224", "camellia128ctr-sha256-ecp224bp"),
    ("camellia-192-ctr", "sha256", "brainpool256", "camellia192ctr-sha256-ecp256bp"),
    ("camellia-256-ctr", "sha256", "brainpool384", "camellia256ctr-sha256-ecp384bp"),
    ("aes-128-gcm-8", "sha256", "brainpool512", "aes128gcm8-prfsha256-ecp512bp"),
    ("aes-192-gcm-8", "sha256", "modp6144", "aes192gcm8-prfsha256-modp6144"),
    ("aes-256-gcm-8", "sha256", "modp8192", "aes256gcm8-prfsha256-modp8192"),
    ("aes-128-gcm-12", "aes-xcbc", "x25519", "aes128gcm12-prfaesxcbc-curve25519"),
    ("aes-192-gcm-12", "aes-cmac", "x25519", "aes192gcm12-prfaescmac-curve25519"),
    ("aes-256-gcm-12", "sha384", "x25519", "aes256gcm12-prfsha384-curve25519"),
    ("aes-128-gcm", "sha1", "x25519", "aes128gcm16-prfsha1-curve25519"),
    ("aes-192-gcm", "md5", "x25519", "aes192gcm16-prfmd5-curve25519"),
    ("aes-256-gcm", "sha512", "x25519", "aes256gcm16-prfsha512-curve25519"),
    ("aes-128-ccm-8", "sha256", "x25519", "aes128ccm8-prfsha256-curve25519"),
    ("aes-192-ccm-8", "sha256", "x25519", "aes192ccm8-prfsha256-curve25519"),
    ("aes-256-ccm-8", "sha256", "x25519", "aes256ccm8-prfsha256-curve25519"),
    ("aes-128-ccm-12", "sha256", "x25519", "aes128ccm12-prfsha256-curve25519"),
    ("aes-192-ccm-12", "sha256", "x25519", "aes192ccm12-prfsha256-curve25519"),
    ("aes-256-ccm-12", "sha256", "x25519", "aes256ccm12-prfsha256-curve25519"),
    ("aes-128-ccm", "sha256", "x25519", "aes128ccm16-prfsha256-curve25519"),
    ("aes-192-ccm", "sha256", "x25519", "aes192ccm16-prfsha256-curve25519"),
    ("aes-256-ccm", "sha256", "x25519", "aes256ccm16-prfsha256-curve25519"),
    ("camellia-128-ccm-8", "sha256", "x25519", "camellia128ccm8-prfsha256-curve25519"),
    ("camellia-192-ccm-12", "sha256", "x25519", "camellia192ccm12-prfsha256-curve25519"),
    ("camellia-256-ccm", "sha256", "x25519", "camellia256ccm16-prfsha256-curve25519"),
    ("chacha20poly1305", "sha256", "x25519", "chacha20poly1305-prfsha256-curve25519"),
];

/// An address of site B for the IKE SA of a row, made by us or by strongSwan.
fn far(row: usize, they_call: bool) -> IpAddr {
    let host = 100 + 2 * row as u8 + u8::from(they_call);
    match Side::B.wan4() {
        IpAddr::V4(wan) => {
            let [a, b, c, _] = wan.octets();
            [a, b, c, host].into()
        }
        v6 => v6,
    }
}
fn each() -> impl Iterator<Item = (usize, bool, &'static Row)> {
    ROWS.iter().enumerate().flat_map(|(n, row)| [(n, false, row), (n, true, row)])
}
fn name(row: usize, they_call: bool) -> String {
    format!("{}{row}", if they_call { "they" } else { "we" })
}
fn networks(row: usize, they_call: bool) -> String {
    format!("172.31.{}.0/24", 2 * row + usize::from(they_call))
}

fn ours(mut config: Value) -> Value {
    config["system"]["sa-slots"] = json!(512);
    let ipsec = &mut config["ip"]["ipsec"];
    let local = Side::A.wan4().to_string();
    let of = |make: &dyn Fn(usize, bool, &Row) -> Value| -> Value {
        each().map(|(n, they_call, row)| make(n, they_call, row)).collect()
    };
    // The offer of ML-KEM goes before each, and is not known to this strongSwan.
    ipsec["profile"] = of(
        &|n, t, (enc, hash, dh, _)| json!({"name": name(n, t), "enc-algorithm": enc, "hash-algorithm": hash, "dh-group": dh}),
    );
    ipsec["peer"] = of(&|n, t, _| {
        let (name, passive) = (name(n, t), if t { "yes" } else { "no" });
        json!({"name": name, "profile": name, "address": far(n, t).to_string(), "local-address": local,
               "exchange-mode": "ike2", "passive": passive})
    });
    ipsec["identity"] = of(&|n, t, _| json!({"peer": name(n, t), "secret": SECRET}));
    ipsec["policy"] = of(&|n, t, _| {
        json!({"src-address": Side::A.subnet4(), "dst-address": networks(n, t), "peer": name(n, t),
               "proposal": "esp", "tunnel": "yes"})
    });
    config
}
fn theirs() -> String {
    let connection = |(n, they_call, (.., words)): (usize, bool, &Row)| {
        let start = if they_call { "start" } else { "none" };
        format!(
            "{name} {{\nversion = 2\nmobike = no\nlocal_addrs = {local}\nremote_addrs = {remote}\nproposals = {words}\n\
             local {{\nauth = psk\n}}\nremote {{\nauth = psk\n}}\nchildren {{\nnet-{name} {{\nlocal_ts = {here}\nremote_ts = {there}\n\
             esp_proposals = aes128gcm16-x25519\nstart_action = {start}\n}}\n}}\n}}\n",
            name = name(n, they_call),
            local = far(n, they_call),
            remote = Side::A.wan4(),
            here = networks(n, they_call),
            there = Side::A.subnet4(),
        )
    };
    let connections: String = each().map(connection).collect();
    format!("connections {{\n{connections}}}\nsecrets {{\nike-1 {{\nsecret = \"{SECRET}\"\n}}\n}}\n")
}

#[test]
fn every_ike_algorithm_that_strongswan_has_both_ways() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        // Its user-space ESP installs policies only for networks in which it has an address.
        let addresses = each().map(|(n, t, _)| {
            let inside = networks(n, t).replace(".0/24", ".1/32");
            format!("addr add {}/32 dev lo\naddr add {inside} dev lo\n", far(n, t))
        });
        lab.site(Side::B).ip(&addresses.collect::<String>())?;
        let gateway = Gateway::new(Side::A, Suite::AesGcm);
        let espway = gateway.start_as(lab, &ours(gateway.config()))?;
        let swan = StrongSwan::start_with(lab, lab.site(Side::B), &theirs())?;
        let all = 2 * ROWS.len();
        let seen = until(&espway, "all IKE SAs", 3 * SOON, |seen| {
            seen.established() >= all && seen.sas("in").len() >= all
        });
        let listed = swan.sas()?;
        let missing: Vec<_> = each()
            .filter(|(n, t, _)| {
                !listed
                    .text
                    .lines()
                    .any(|l| l.starts_with(&format!("{}:", name(*n, *t))) && l.contains("ESTABLISHED"))
            })
            .map(|(n, t, row)| format!("{} {row:?}", name(n, t)))
            .collect();
        ensure!(missing.is_empty(), "not established: {missing:#?}");
        seen?;
        espway.stop()
    })
}
