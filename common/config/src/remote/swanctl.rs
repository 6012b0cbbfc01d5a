//! `swanctl.conf` for strongSwan 5.9 and later.
use super::{HIDDEN, Other, each, header};
use crate::model::{DhGroup, Id, IkeCipher, IkeIntegrity, Policy, Prf, Profile};
use crate::value::show_protocol;
use sa::{Cipher, CipherMode, Integrity, PortRange, Prefix, Suite};
use zeroize::Zeroizing;

pub fn print(other: &mut Other<'_>) -> Zeroizing<String> {
    let name = section(&other.name);
    let profile = other.peer.profile.clone();
    let mut out = Zeroizing::new(header(other, "#", "The other side, for strongSwan (swanctl.conf),"));
    *out += "# The networks on this side must be reachable through it, and forwarding must be on.\n";
    *out += &format!("connections {{\n  {name} {{\n    version = 2\n");
    if let Some(local) = other.local {
        *out += &format!("    local_addrs = {local}\n");
    }
    *out += &format!("    remote_addrs = {}\n", other.remote());
    *out += &format!("    proposals = {}\n", ike_words(&profile));
    let dpd = profile.dpd_interval.map_or(0, |interval| interval.as_secs());
    *out += &format!(
        "    dpd_delay = {dpd}s\n    rekey_time = {}s\n    reauth_time = 0s\n",
        profile.lifetime.as_secs()
    );
    for (side, id) in [("local", &other.local_id), ("remote", &other.remote_id)] {
        let id = id.as_ref().map_or(String::new(), |id| format!("\n      id = {}", written(id)));
        *out += &format!("    {side} {{\n      auth = psk{id}\n    }}\n");
    }
    *out += "    children {\n";
    for (n, policy) in other.policies.iter().enumerate() {
        *out += &child(&name, n, policy);
    }
    *out += "    }\n  }\n}\n";
    *out += &format!("secrets {{\n  ike-{name} {{\n");
    for (n, id) in [&other.local_id, &other.remote_id].into_iter().flatten().enumerate() {
        *out += &format!("    id-{n} = {}\n", written(id));
    }
    *out += &format!("    secret = {}\n  }}\n}}\n", secret(other).as_str());
    out
}

/// Sections are separated by dots when they are spoken of.
fn section(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect()
}
fn written(id: &Id) -> String {
    match id {
        Id::Address(address) => address.to_string(),
        Id::Fqdn(text) => format!("\"fqdn:{}\"", escaped(text)),
        Id::UserFqdn(text) => format!("\"userfqdn:{}\"", escaped(text)),
        Id::KeyId(text) => format!("\"keyid:{}\"", escaped(text)),
        Id::Dn(text) => format!("\"asn1dn:{}\"", escaped(text)),
    }
}
fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| ["\\", ""][usize::from(c != '"' && c != '\\')].chars().chain([c])).collect()
}
/// In hexadecimal where text would be read as something else.
fn secret(other: &Other<'_>) -> Zeroizing<String> {
    let text = &other.secret;
    if !other.shown {
        return Zeroizing::new(format!("\"{HIDDEN}\""));
    }
    let plain = text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\');
    let hex = text.starts_with("0x");
    Zeroizing::new(match (hex, plain && !text.starts_with("0s")) {
        (true, _) => text.to_string(),
        (false, true) => format!("\"{}\"", text.as_str()),
        (false, false) => crate::Secret::new(text.as_bytes().to_vec()).to_hex(),
    })
}

pub fn ike_words(profile: &Profile) -> String {
    let groups = each(&profile.dh_groups, |group| group_word(*group).into(), "-");
    let proposal = |cipher: &IkeCipher| {
        let hash = if cipher.is_aead() { "" } else { integrity_word(profile.hash) };
        format!("{}{hash}-{}-{groups}", cipher_word(*cipher), prf_word(profile.prf))
    };
    each(&profile.encryption, proposal, ",")
}
fn cipher_word(cipher: IkeCipher) -> String {
    let bits = cipher.key_len() * 8;
    let mode = match cipher.mode() {
        CipherMode::Ctr => "ctr".to_owned(),
        CipherMode::Gcm => format!("gcm{}", cipher.icv_len()),
        CipherMode::Ccm => format!("ccm{}", cipher.icv_len()),
        _ => String::new(),
    };
    match cipher.cipher() {
        Cipher::Aes => format!("aes{bits}{mode}"),
        Cipher::Camellia => format!("camellia{bits}{mode}"),
        Cipher::Blowfish => format!("blowfish{bits}"),
        _ => cipher.name().into(),
    }
}
fn integrity_word(hash: IkeIntegrity) -> &'static str {
    match hash {
        IkeIntegrity::HmacMd5 => "-md5",
        IkeIntegrity::HmacSha1 => "-sha1",
        IkeIntegrity::AesXcbc => "-aesxcbc",
        IkeIntegrity::AesCmac => "-aescmac",
        IkeIntegrity::HmacSha256 => "-sha256",
        IkeIntegrity::HmacSha384 => "-sha384",
        IkeIntegrity::HmacSha512 => "-sha512",
    }
}
fn prf_word(prf: Prf) -> String {
    format!("prf{}", prf.name().replace("aes-", "aes"))
}
fn group_word(group: DhGroup) -> &'static str {
    match group {
        DhGroup::X25519 => "curve25519",
        DhGroup::X448 => "curve448",
        DhGroup::Brainpool224 => "ecp224bp",
        DhGroup::Brainpool256 => "ecp256bp",
        DhGroup::Brainpool384 => "ecp384bp",
        DhGroup::Brainpool512 => "ecp512bp",
        other => other.name(),
    }
}

fn child(name: &str, n: usize, policy: &Policy) -> String {
    let s = policy.spec.selector;
    let rekey = policy.proposal.lifetime.map_or(0, |lifetime| lifetime.as_secs());
    format!(
        "      {name}-{n} {{\n        local_ts = {}\n        remote_ts = {}\n        esp_proposals = {}\n        mode = tunnel\n        rekey_time = {rekey}s\n        start_action = trap\n      }}\n",
        selector(s.dst, s.protocol, s.dst_port),
        selector(s.src, s.protocol, s.src_port),
        esp_words(policy)
    )
}
fn selector(network: Prefix, protocol: Option<u8>, port: PortRange) -> String {
    let port = match port {
        range if range.is_any() => String::new(),
        PortRange { first, last } if first == last => format!("/{first}"),
        PortRange { first, last } => format!("/{first}-{last}"),
    };
    match protocol {
        None => network.to_string(),
        Some(protocol) => format!("{network}[{}{port}]", show_protocol(Some(protocol))),
    }
}
pub fn esp_words(policy: &Policy) -> String {
    let proposal = &policy.proposal;
    let pfs = proposal.pfs_group.map_or(String::new(), |group| format!("-{}", group_word(group)));
    let esn = if proposal.esn { "-esn-noesn" } else { "" };
    each(&proposal.suites, |suite| format!("{}{pfs}{esn}", suite_word(*suite)), ",")
}
fn suite_word(suite: Suite) -> String {
    let (e, i) = (suite.encryption(), suite.integrity());
    let bits = e.key_len() * 8;
    let cipher = match (e.cipher(), e.mode()) {
        (Cipher::Aes, CipherMode::Cbc) => format!("aes{bits}"),
        (Cipher::Aes, CipherMode::Ctr) => format!("aes{bits}ctr"),
        (Cipher::Aes, CipherMode::Gcm) => format!("aes{bits}gcm{}", e.icv_len()),
        (Cipher::Aes, CipherMode::Ccm) => format!("aes{bits}ccm{}", e.icv_len()),
        (Cipher::Aes, _) => format!("aes{bits}gmac"),
        (Cipher::Blowfish | Cipher::Twofish | Cipher::Camellia, _) => format!("{}{bits}", e.family()),
        (Cipher::Null | Cipher::Des | Cipher::TripleDes | Cipher::ChaCha20, _) => e.family().into(),
    };
    match i {
        Integrity::None => cipher,
        Integrity::AesXcbc => format!("{cipher}-aesxcbc"),
        Integrity::AesCmac => format!("{cipher}-aescmac"),
        hash => format!("{cipher}-{}", hash.name()),
    }
}
