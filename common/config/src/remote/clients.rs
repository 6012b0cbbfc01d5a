//! Built-in clients of Windows and Apple's systems, and strongSwan's app for Android.
use super::{HIDDEN, Other, bare, each, header};
use crate::model::{DhGroup, IkeCipher, IkeIntegrity, Policy};
use sa::{Encryption, Integrity, Prefix};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// What this version lacks for clients that come from anywhere.
const NO_ADDRESS: &str =
    "this version of espway hands out no addresses (mode-config), and this client asks for one";

/// Our networks, each once: what goes through the tunnel.
fn networks(policies: &[&Policy]) -> Vec<Prefix> {
    let mut networks: Vec<Prefix> = policies.iter().map(|policy| policy.spec.selector.src).collect();
    networks.sort();
    networks.dedup();
    networks
}
fn suites(other: &Other<'_>) -> (Vec<Encryption>, Vec<Integrity>) {
    let all = other.policies.iter().flat_map(|policy| policy.proposal.suites.iter());
    let (mut ciphers, mut hashes) = (Vec::new(), Vec::new());
    for suite in all {
        ciphers.push(suite.encryption());
        hashes.push(suite.integrity());
    }
    (ciphers, hashes)
}
fn first(words: &[&'static str], else_: &'static str) -> &'static str {
    words.first().copied().unwrap_or(else_)
}
fn pfs(other: &Other<'_>) -> Option<DhGroup> {
    other.policies.first().and_then(|policy| policy.proposal.pfs_group)
}
fn narrow(other: &mut Other<'_>, whose: &str) {
    let narrow = |p: &&Policy| p.spec.selector.protocol.is_some();
    if other.policies.iter().any(narrow) {
        other.problem(format!(
            "{whose} protects whole networks: policies here that name a protocol or ports will not match"
        ));
    }
}
/// Text between quotes that PowerShell takes as it is.
fn power(text: &str) -> String {
    format!("'{}'", text.replace(['\r', '\n'], "").replace('\'', "''"))
}

pub fn windows(other: &mut Other<'_>) -> Zeroizing<String> {
    const WHOSE: &str = "Windows";
    let profile = other.peer.profile.clone();
    let ike =
        other.words("IKE ciphers", WHOSE, &profile.encryption, IkeCipher::name, |cipher| match cipher {
            IkeCipher::Aes128Cbc => Some("AES128"),
            IkeCipher::Aes192Cbc => Some("AES192"),
            IkeCipher::Aes256Cbc => Some("AES256"),
            IkeCipher::Aes128Gcm => Some("GCMAES128"),
            IkeCipher::Aes256Gcm => Some("GCMAES256"),
            _ => None,
        });
    let hash = other.words("IKE hashes", WHOSE, &[profile.hash], IkeIntegrity::name, |hash| match hash {
        IkeIntegrity::HmacSha1 => Some("SHA1"),
        IkeIntegrity::HmacSha256 => Some("SHA256"),
        IkeIntegrity::HmacSha384 => Some("SHA384"),
        _ => None,
    });
    let group = |group| match group {
        DhGroup::Modp1024 => Some(("Group2", "PFS2")),
        DhGroup::Modp2048 => Some(("Group14", "PFS2048")),
        DhGroup::Ecp256 => Some(("ECP256", "ECP256")),
        DhGroup::Ecp384 => Some(("ECP384", "ECP384")),
        _ => None,
    };
    let dh =
        other.words("Diffie-Hellman groups", WHOSE, &profile.dh_groups, DhGroup::name, |g| Some(group(g)?.0));
    let (ciphers, _) = suites(other);
    // Cipher and integrity of ESP are named together where the cipher brings its own.
    let esp = other.words("ESP ciphers", WHOSE, &ciphers, Encryption::name, |cipher| match cipher {
        Encryption::Aes128Cbc => Some("AES128"),
        Encryption::Aes192Cbc => Some("AES192"),
        Encryption::Aes256Cbc => Some("AES256"),
        Encryption::Aes128Gcm => Some("GCMAES128"),
        Encryption::Aes192Gcm => Some("GCMAES192"),
        Encryption::Aes256Gcm => Some("GCMAES256"),
        _ => None,
    });
    let cipher = first(&esp, "GCMAES256");
    let auth = match cipher.strip_prefix("GCM") {
        Some(_) => cipher,
        None => {
            let of = |suite: &sa::Suite| (!suite.encryption().is_aead()).then(|| suite.integrity());
            let hashes: Vec<_> =
                other.policies.iter().flat_map(|p| p.proposal.suites.iter().filter_map(of)).collect();
            let known = other.words("ESP hashes", WHOSE, &hashes, Integrity::name, |hash| match hash {
                Integrity::HmacSha1 => Some("SHA196"),
                Integrity::HmacSha256 => Some("SHA256128"),
                _ => None,
            });
            first(&known, "SHA256128")
        }
    };
    let pfs = match pfs(other) {
        None => "None",
        Some(ours) => group(ours).map_or_else(
            || {
                other.problem(format!(
                    "Windows cannot do pfs-group {}: rekeys will fail; write pfs-group none here",
                    ours.name()
                ));
                "None"
            },
            |(_, word)| word,
        ),
    };
    narrow(other, WHOSE);
    other.problem("WILL NOT CONNECT as a client: the IKEv2 client of Windows authenticates with a machine certificate or EAP, never with a pre-shared key, as the identity of this peer has");
    other.problem(NO_ADDRESS);
    other.problem("Windows ignores the networks a gateway names and wants 0.0.0.0/0; the routes below make it a split tunnel");
    let name = power(&other.name);
    let mut out =
        Zeroizing::new(header(other, "#", "The other side, for Windows 10 and later (PowerShell),"));
    *out += &format!(
        "Add-VpnConnection -Name {name} -ServerAddress {} -TunnelType Ikev2 -AuthenticationMethod MachineCertificate -EncryptionLevel Required -SplitTunneling -Force\n",
        power(&other.remote())
    );
    *out += &format!(
        "Set-VpnConnectionIPsecConfiguration -ConnectionName {name} -EncryptionMethod {} -IntegrityCheckMethod {} -DHGroup {} -CipherTransformConstants {cipher} -AuthenticationTransformConstants {auth} -PfsGroup {pfs} -Force\n",
        first(&ike, "AES256"),
        first(&hash, "SHA256"),
        first(&dh, "Group14"),
    );
    let networks = networks(&other.policies);
    for network in &networks {
        *out += &format!(
            "Add-VpnConnectionRoute -ConnectionName {name} -DestinationPrefix {}\n",
            power(&network.to_string())
        );
    }
    *out +=
        "# Windows Server (RRAS) can be the other side of a tunnel between sites, with the pre-shared key:\n";
    let subnets = each(&networks, |n| power(&format!("{n}:100")), ",");
    let secret = if other.shown { other.secret.as_str() } else { HIDDEN };
    *out += &format!(
        "# Add-VpnS2SInterface -Name {name} -Destination {} -Protocol IKEv2 -AuthenticationMethod PSKOnly -SharedSecret {} -{}Subnet @({subnets})\n",
        power(&other.remote()),
        power(secret),
        if networks.first().is_some_and(|n| !n.is_ipv4()) { "IPv6" } else { "IPv4" },
    );
    out
}

pub fn apple(other: &mut Other<'_>) -> Zeroizing<String> {
    const WHOSE: &str = "Apple's client";
    let profile = other.peer.profile.clone();
    let ike =
        other.words("IKE ciphers", WHOSE, &profile.encryption, IkeCipher::name, |cipher| match cipher {
            IkeCipher::Aes128Cbc => Some("AES-128"),
            IkeCipher::Aes256Cbc => Some("AES-256"),
            IkeCipher::Aes128Gcm => Some("AES-128-GCM"),
            IkeCipher::Aes256Gcm => Some("AES-256-GCM"),
            IkeCipher::ChaCha20Poly1305 => Some("ChaCha20Poly1305"),
            _ => None,
        });
    let hashes = other.words("IKE hashes", WHOSE, &[profile.hash], IkeIntegrity::name, |hash| match hash {
        IkeIntegrity::HmacSha1 => Some("SHA1-96"),
        IkeIntegrity::HmacSha256 => Some("SHA2-256"),
        IkeIntegrity::HmacSha384 => Some("SHA2-384"),
        IkeIntegrity::HmacSha512 => Some("SHA2-512"),
        _ => None,
    });
    let hash = first(&hashes, "SHA2-256");
    let number = |group| match group {
        DhGroup::Modp1024 => Some("2"),
        DhGroup::Modp1536 => Some("5"),
        DhGroup::Modp2048 => Some("14"),
        DhGroup::Modp3072 => Some("15"),
        DhGroup::Modp4096 => Some("16"),
        DhGroup::Modp6144 => Some("17"),
        DhGroup::Modp8192 => Some("18"),
        DhGroup::Ecp256 => Some("19"),
        DhGroup::Ecp384 => Some("20"),
        DhGroup::Ecp521 => Some("21"),
        DhGroup::X25519 => Some("31"),
        DhGroup::X448 => Some("32"),
        _ => None,
    };
    let numbers = other.words("Diffie-Hellman groups", WHOSE, &profile.dh_groups, DhGroup::name, number);
    let dh = first(&numbers, "14");
    let (ciphers, _) = suites(other);
    let esp = other.words("ESP ciphers", WHOSE, &ciphers, Encryption::name, |cipher| match cipher {
        Encryption::Aes128Cbc => Some("AES-128"),
        Encryption::Aes256Cbc => Some("AES-256"),
        Encryption::Aes128Gcm => Some("AES-128-GCM"),
        Encryption::Aes256Gcm => Some("AES-256-GCM"),
        Encryption::ChaCha20Poly1305 => Some("ChaCha20Poly1305"),
        _ => None,
    });
    let cipher = first(&esp, "AES-256-GCM");
    // With a cipher that brings its own, the hash says nothing.
    let hashes = other.policies.iter().flat_map(|p| p.proposal.suites.iter()).map(|s| s.integrity());
    let child_hash = match hashes.into_iter().find(|hash| *hash != Integrity::None) {
        Some(Integrity::HmacSha1) => "SHA1-96",
        Some(Integrity::HmacSha384) => "SHA2-384",
        Some(Integrity::HmacSha512) => "SHA2-512",
        _ => "SHA2-256",
    };
    narrow(other, WHOSE);
    other.problem(format!("WILL NOT CONNECT yet: {NO_ADDRESS}"));
    if networks(&other.policies).len() > 1 {
        other.problem("macOS and iOS take only the first network of a split tunnel");
    }
    let minutes = |seconds: u64| (seconds / 60).clamp(10, 1440).to_string();
    let child_minutes =
        other.policies.first().and_then(|p| p.proposal.lifetime).map_or(1440, |l| l.as_secs());
    let pfs_group = pfs(other);
    let parameters = |cipher: &str, hash: &str, group: &str, minutes: String| {
        format!(
            "<dict><key>EncryptionAlgorithm</key><string>{cipher}</string><key>IntegrityAlgorithm</key><string>{hash}</string><key>DiffieHellmanGroup</key><integer>{group}</integer><key>LifeTimeInMinutes</key><integer>{minutes}</integer></dict>"
        )
    };
    let text = |key: &str, value: &str| format!("        <key>{key}</key><string>{}</string>\n", xml(value));
    let mut ikev2 = Zeroizing::new(String::new());
    *ikev2 += &text("RemoteAddress", &other.remote());
    *ikev2 += &text("RemoteIdentifier", &other.remote_id.as_ref().map_or_else(|| other.remote(), bare));
    *ikev2 += &text("LocalIdentifier", &other.local_id.as_ref().map(bare).unwrap_or_default());
    *ikev2 += &text("AuthenticationMethod", "SharedSecret");
    *ikev2 += &text("SharedSecret", if other.shown { &other.secret } else { HIDDEN });
    *ikev2 += &text("DeadPeerDetectionRate", if profile.dpd_interval.is_some() { "Medium" } else { "None" });
    *ikev2 += &format!("        <key>EnablePFS</key><integer>{}</integer>\n", u8::from(pfs_group.is_some()));
    *ikev2 += &format!(
        "        <key>IKESecurityAssociationParameters</key>{}\n",
        parameters(first(&ike, "AES-256"), hash, dh, minutes(profile.lifetime.as_secs()))
    );
    *ikev2 += &format!(
        "        <key>ChildSecurityAssociationParameters</key>{}\n",
        parameters(cipher, child_hash, pfs_group.and_then(number).unwrap_or(dh), minutes(child_minutes))
    );
    let name = xml(&other.name);
    // Two hyphens would end the comment.
    let comment = header(other, "", "The other side, for macOS and iOS,").replace("--", "- -");
    let top = uuid(&format!("profile {} {}", other.name, other.peer.name));
    let inner = uuid(&format!("vpn {} {}", other.name, other.peer.name));
    Zeroizing::new(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!--\n{}-->\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">\n<dict>\n  <key>PayloadType</key><string>Configuration</string>\n  <key>PayloadVersion</key><integer>1</integer>\n  <key>PayloadIdentifier</key><string>espway.{name}</string>\n  <key>PayloadUUID</key><string>{top}</string>\n  <key>PayloadDisplayName</key><string>{name}</string>\n  <key>PayloadContent</key>\n  <array>\n    <dict>\n      <key>PayloadType</key><string>com.apple.vpn.managed</string>\n      <key>PayloadVersion</key><integer>1</integer>\n      <key>PayloadIdentifier</key><string>espway.{name}.vpn</string>\n      <key>PayloadUUID</key><string>{inner}</string>\n      <key>PayloadDisplayName</key><string>{name}</string>\n      <key>UserDefinedName</key><string>{name}</string>\n      <key>VPNType</key><string>IKEv2</string>\n      <key>IKEv2</key>\n      <dict>\n{}      </dict>\n    </dict>\n  </array>\n</dict>\n</plist>\n",
        xml(&comment),
        ikev2.as_str()
    ))
}
fn xml(text: &str) -> String {
    let good = |c: &char| !c.is_control() || *c == '\n';
    text.chars()
        .filter(good)
        .collect::<String>()
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
/// The same for the same words, so that a profile printed again takes the place of the one before.
fn uuid(words: &str) -> String {
    let hash = |start: u64| {
        words.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    };
    let (a, b) = (hash(0xcbf2_9ce4_8422_2325), hash(0x8422_2325_cbf2_9ce4));
    // Version 8: made by rules of our own (RFC 9562 5.8).
    format!(
        "{:08X}-{:04X}-8{:03X}-{:04X}-{:012X}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        0x8000 | b >> 48 & 0x3fff,
        b & 0xffff_ffff_ffff
    )
}

pub fn android(other: &mut Other<'_>) -> Zeroizing<String> {
    narrow(other, "strongSwan's app for Android");
    other.problem("WILL NOT CONNECT: strongSwan's app for Android authenticates with a certificate or EAP, never with a pre-shared key, as the identity of this peer has");
    other.problem(NO_ADDRESS);
    let profile = other.peer.profile.clone();
    let ike = super::swanctl::ike_words(&profile);
    let esp: Vec<String> = other.policies.iter().map(|policy| super::swanctl::esp_words(policy)).collect();
    let subnets: Vec<Value> = networks(&other.policies).iter().map(|n| Value::from(n.to_string())).collect();
    let mut remote = json!({ "addr": other.remote(), "port": 500 });
    if let Some(id) = &other.remote_id {
        remote["id"] = bare(id).into();
    }
    let mut object = json!({
        // What the app does not know it passes over.
        "_comment": header(other, "", "The other side, for strongSwan's app for Android (.sswan),").lines().map(str::trim).collect::<Vec<_>>(),
        "uuid": uuid(&format!("android {} {}", other.name, other.peer.name)).to_lowercase(),
        "name": other.name,
        "type": "ikev2-cert",
        "remote": remote,
        "ike-proposal": ike,
        "esp-proposal": esp.first().cloned().unwrap_or_default(),
        "split-tunneling": { "subnets": subnets },
    });
    if let Some(id) = &other.local_id {
        object["local"] = json!({ "id": bare(id) });
    }
    Zeroizing::new(format!("{object:#}\n"))
}
