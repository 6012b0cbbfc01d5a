//! `ip.ipsec`. Names, defaults and order of the rows are RouterOS's.
use super::Default::{Is, Needed, Unset};
use super::*;
use crate::remote::Kind as Remote;
use sa::ike_suite::REFUSED_GROUPS;
use sa::{DhGroup, Encryption, IkeCipher, IkeIntegrity, Integrity, Prf};

const IKEV1: &str = "IKEv1";
const FIREWALL: &str = "a firewall";

/// `$first`, the names of all algorithms of a kind, `$last`.
macro_rules! names {
    ([$($first:expr),*], $all:expr, $last:expr) => {
        &{
            const FIRST: &[Choice] = &[$($first),*];
            const LAST: &[Choice] = &$last;
            let mut all = [ok(""); FIRST.len() + $all.len() + LAST.len()];
            let mut at = 0;
            while at < all.len() {
                all[at] = if at < FIRST.len() {
                    FIRST[at]
                } else if at < FIRST.len() + $all.len() {
                    ok($all[at - FIRST.len()].name())
                } else {
                    LAST[at - FIRST.len() - $all.len()]
                };
                at += 1;
            }
            all
        }
    };
}

/// By name, so that whoever brings them from elsewhere is told why.
const NO_GROUPS: [Choice; 5] = {
    let [a, b, c] = REFUSED_GROUPS;
    let ec2n = "its curve over a binary field is broken or close to it, and no IKEv2 number is left for it";
    [never(a.0, a.2), never(b.0, b.2), never(c.0, c.2), never("ec2n155", ec2n), never("ec2n185", ec2n)]
};
const DH_GROUPS: &[Choice] = names!([], DhGroup::CLASSIC, NO_GROUPS);
const PFS_GROUPS: &[Choice] = names!([ok("none")], DhGroup::CLASSIC, NO_GROUPS);
const ADDITIONAL: &[Choice] =
    names!([ok("mlkem768"), ok("mlkem1024"), ok("mlkem512"), ok("none")], DhGroup::CLASSIC, []);
const IKE_ENCRYPTION: &[Choice] = names!([], IkeCipher::ALL, []);
const HASHES: &[Choice] = names!([], IkeIntegrity::ALL, []);
const PRFS: &[Choice] = names!([ok("auto")], Prf::ALL, []);
const ESP_ENCRYPTION: &[Choice] = names!([], Encryption::ALL, []);
const ESP_INTEGRITY: &[Choice] = names!([], Integrity::ALL, []);

const EAP_METHODS: &[Choice] = &[ok("eap-mschapv2"), ok("eap-peap"), ok("eap-tls"), ok("eap-ttls")];
const PH2_STATES: &[Choice] = &[ok("no-phase2"), ok("established"), ok("expired")];
const DYNAMIC: Property = shown("dynamic", Kind::YesNo, "The gateway made it by itself.");
pub(super) const DEFAULT: Property =
    shown("default", Kind::YesNo, "It is always there and cannot be removed.");

pub(super) const IPSEC_SETTINGS: Menu = Menu {
    name: "settings",
    help: "What concerns IKE as a whole.",
    properties: &[
        full(
            "ddos-cookie-threshold",
            Kind::Integer { min: 0, max: 1_000_000 },
            Is("20"),
            "Half-open IKE SAs from which a cookie is demanded of everyone new.",
        ),
        own(
            "redirect-to",
            Kind::Address,
            Unset,
            "Send every peer that can be sent elsewhere to this gateway (RFC 5685), those that are connected as well.",
        ),
        refused("accounting", Kind::YesNo, Is("yes"), RADIUS, "RADIUS accounting."),
        refused(
            "interim-update",
            Kind::Time { min: 0, max: YEAR },
            Is("0s"),
            RADIUS,
            "Interval of accounting updates.",
        ),
        refused("xauth-use-radius", Kind::YesNo, Is("no"), RADIUS, "XAuth users through RADIUS."),
    ],
    ..SETTINGS
};
pub(super) const PROFILE: Menu = Menu {
    name: "profile",
    help: "Parameters of the IKE SA. `default` exists without being written; a row of that name changes it.",
    properties: &[
        NAME,
        own(
            "additional-ke",
            Kind::Some(ADDITIONAL),
            Is("mlkem768,none"),
            "A further key exchange that quantum computers do not break (RFC 9370), made after that of `dh-group` and mixed with it, preferred first. With `none` in the list, peers who do not know it are spoken with without it. The groups of `dh-group` can be named as well.",
        ),
        own(
            "childless",
            Kind::YesNo,
            Is("yes"),
            "Let the peer bring up an IKE SA without a first child (RFC 6023).",
        ),
        full(
            "dh-group",
            Kind::Some(DH_GROUPS),
            Is("modp1024,modp2048"),
            "Diffie-Hellman groups, preferred first. Beyond RouterOS, brainpool, x448, and x25519 for `pfs-group` too.",
        ),
        full(
            "dpd-interval",
            Kind::TimeOr { word: "disable-dpd", min: MICROS, max: 3600 * MICROS },
            Is("2m"),
            "Ask a silent peer whether it lives after so long; `disable-dpd` never asks.",
        ),
        idle(
            "dpd-maximum-failures",
            Kind::Integer { min: 1, max: 100 },
            Is("5"),
            "IKEv2 gives up after its retransmissions instead",
            "IKEv1 only.",
        ),
        full(
            "enc-algorithm",
            Kind::Some(IKE_ENCRYPTION),
            Is("aes-128"),
            "Ciphers of IKE messages, preferred first. A name without a mode is CBC. Beyond RouterOS there are AES-GCM, AES-CCM, AES-CTR, ChaCha20-Poly1305 and Camellia's modes; a number at the end is that of the ICV's bytes, which are 16 without it.",
        ),
        own(
            "follow-redirects",
            Kind::YesNo,
            Is("no"),
            "Go to another gateway when the peer says so (RFC 5685).",
        ),
        own(
            "fragment-size",
            Kind::Integer { min: 0, max: 65535 },
            Is("1280"),
            "Longest IP packet of an IKE message before it is sent in fragments of IKE (RFC 7383); below 256 counts as 256, 0 never splits.",
        ),
        full(
            "hash-algorithm",
            Kind::One(HASHES),
            Is("sha1"),
            "Integrity of IKE messages (not with AES-GCM, CCM or ChaCha20-Poly1305) and, with prf-algorithm=auto, the PRF.",
        ),
        idle(
            "lifebytes",
            Kind::Integer { min: 0, max: u32::MAX as u64 },
            Is("0"),
            "IKEv2 does not announce lifetimes",
            "IKEv1 only.",
        ),
        full(
            "lifetime",
            Kind::Time { min: 60 * MICROS, max: YEAR },
            Is("1d"),
            "The IKE SA is rekeyed before this has passed.",
        ),
        own(
            "mobike",
            Kind::YesNo,
            Is("yes"),
            "Let the peer's address, or ours, change under an IKE SA (RFC 4555).",
        ),
        full("nat-traversal", Kind::YesNo, Is("yes"), "Detect NAT and put ESP in UDP when there is one."),
        refused(
            "ppk",
            Kind::One(&[ok("no"), ok("psk"), ok("psk-ike-initial"), ok("qkd")]),
            Is("no"),
            "post-quantum pre-shared keys",
            "Post-quantum pre-shared keys.",
        ),
        full(
            "prf-algorithm",
            Kind::One(PRFS),
            Is("auto"),
            "Pseudo-random function; `auto` is that of hash-algorithm.",
        ),
        idle(
            "proposal-check",
            Kind::One(&[ok("obey"), ok("claim"), ok("exact"), ok("strict")]),
            Is("obey"),
            "IKEv2 does not negotiate lifetimes",
            "IKEv1 only.",
        ),
        own(
            "window-size",
            Kind::Integer { min: 1, max: 32 },
            Is("4"),
            "Requests the peer may have under way at once (RFC 7296 2.3).",
        ),
    ],
    flags: &[DEFAULT_FLAG],
    built_in: &[&[("name", "default")]],
    shown: &[DEFAULT],
    ..LIST
};
pub(super) const PEER: Menu = Menu {
    name: "peer",
    help: "Who to speak IKE with. A peer needs an identity.",
    properties: &[
        NAME,
        full(
            "address",
            Kind::PrefixOrName,
            Is("0.0.0.0/0"),
            "Remote address, the network remote addresses may come from (the longest match wins), or a DNS name. Only a single address or a name is called by us. A name is looked up by the system's resolver, hosts file included: at the start, each minute, and when the peer does not answer; of several addresses each is tried in turn. No two peers have the same.",
        ),
        full(
            "exchange-mode",
            Kind::One(&[ok("ike2"), later("main", IKEV1), later("aggressive", IKEV1), later("base", IKEV1)]),
            Is("main"),
            "Must be written as `ike2`: RouterOS's default `main` is IKEv1.",
        ),
        full("local-address", Kind::Address, Unset, "Which of our addresses to use. Left out: by route."),
        full("passive", Kind::YesNo, Is("no"), "Wait for the peer to call."),
        full("port", Kind::Integer { min: 1, max: 65535 }, Is("500"), "Remote UDP port when we call."),
        refused(
            "ppk-secret",
            Kind::Secret,
            Unset,
            "post-quantum pre-shared keys",
            "Static post-quantum pre-shared key.",
        ),
        full("profile", Kind::Reference("ip.ipsec.profile"), Is("default"), "Parameters of the IKE SA."),
        full("send-initial-contact", Kind::YesNo, Is("yes"), "Tell the peer to forget older SAs with us."),
        DISABLED,
        COMMENT,
    ],
    flags: &[DISABLED_FLAG, DYNAMIC_FLAG, flag('R', "responder")],
    shown: &[
        DYNAMIC,
        shown("responder", Kind::YesNo, "It only listens: the peer calls."),
        shown("current-address", Kind::Address, "The address it is reached under now."),
        shown("unresolved", Kind::Text, "Why its name has not led to an address."),
    ],
    commands: &[Command {
        name: "print-remote",
        help: "The other side's configuration that fits ours.",
        of_rows: true,
        arguments: &[
            shown("for", Kind::One(&OTHERS), "What the other side is."),
            shown("show-sensitive", Kind::YesNo, "With the secret; else a placeholder stands for it."),
        ],
    }],
    ..LIST
};
const OTHERS: [Choice; Remote::ALL.len()] = {
    let mut others = [ok(""); Remote::ALL.len()];
    let mut at = 0;
    while at < others.len() {
        others[at] = ok(Remote::ALL[at].name());
        at += 1;
    }
    others
};
pub(super) const IDENTITY: Menu = Menu {
    name: "identity",
    help: "How we and a peer prove who we are.",
    properties: &[
        full("peer", Kind::Reference("ip.ipsec.peer"), Needed, "The peer it is for."),
        full(
            "auth-method",
            Kind::One(&[
                ok("pre-shared-key"),
                ok("digital-signature"),
                later("eap", EAP),
                later("eap-radius", EAP),
                later("pre-shared-key-xauth", EAP),
                ok("rsa-key"),
                later("rsa-signature-hybrid", IKEV1),
            ]),
            Is("pre-shared-key"),
            "How both sides prove who they are: a secret, certificates, or raw keys (which in IKEv2 may also be ECDSA and Ed25519).",
        ),
        own(
            "remote-auth-method",
            Kind::One(&[ok("same"), ok("pre-shared-key"), ok("digital-signature"), ok("rsa-key")]),
            Is("same"),
            "How the peer proves who it is, where that differs from how we do.",
        ),
        full("secret", Kind::Secret, Unset, "The pre-shared key: text, or hexadecimal after `0x`."),
        full(
            "my-id",
            Kind::MyId,
            Is("auto"),
            "Who we say we are: auto (the first subjectAltName of our certificate, else its subject; without one our address), address:1.2.3.4, fqdn:gw.example, user-fqdn:a@b.example, key-id:text, dn (our certificate's subject), dn:CN=gw,O=Example.",
        ),
        full(
            "remote-id",
            Kind::RemoteId,
            Is("auto"),
            "Who the peer must say it is; written as in my-id (dn: the subject of remote-certificate), `auto` for anyone, `ignore` to not look. All but `ignore` must also stand in the peer's certificate, if it has one.",
        ),
        full(
            "certificate",
            Kind::List(&Kind::Reference("certificate")),
            Unset,
            "Our certificate; with several the further ones are its chain.",
        ),
        full(
            "remote-certificate",
            Kind::ReferenceOr { menu: "certificate", words: &["none", ""] },
            Unset,
            "The peer's certificate: only this one is taken. Without it any is that an authority with trusted=yes vouches for.",
        ),
        full(
            "match-by",
            Kind::One(&[ok("remote-id"), ok("certificate")]),
            Is("remote-id"),
            "How the identity of a caller is found: by what it calls itself, or by its certificate, which is remote-certificate then.",
        ),
        refused(
            "eap-methods",
            Kind::Some(EAP_METHODS),
            Is("eap-tls"),
            EAP,
            "EAP methods of an initiator, tried in this order.",
        ),
        refused("username", Kind::Text, Unset, EAP, "XAuth or EAP user."),
        refused("password", Kind::Secret, Unset, EAP, "XAuth or EAP password."),
        full("key", Kind::Reference("ip.ipsec.key"), Unset, "Our raw key."),
        full("remote-key", Kind::Reference("ip.ipsec.key"), Unset, "The peer's raw public key."),
        own(
            "allow-sha1",
            Kind::YesNo,
            Is("no"),
            "RSA signatures over SHA-1 are made and taken, for peers that do not know RFC 7427. They can be forged by whoever has much to spend.",
        ),
        own(
            "rsa-padding",
            Kind::One(&[ok("pss"), ok("pkcs1")]),
            Is("pss"),
            "How we sign with an RSA key towards peers that know RFC 7427; both are taken.",
        ),
        full(
            "generate-policy",
            Kind::One(&[ok("no"), ok("port-override"), ok("port-strict")]),
            Is("no"),
            "Make policies of what the peer asks for, for as long as its SA lives: with the ports it names (`port-strict`), or for all ports whichever it names (`port-override`). They appear at their template's place in `policy`, the oldest first.",
        ),
        full(
            "policy-template-group",
            Kind::ReferenceOr { menu: "ip.ipsec.policy-group", words: &["none"] },
            Is("default"),
            "The templates that these policies have to be inside of. What the peer asks for is narrowed to them.",
        ),
        refused(
            "notrack-chain",
            Kind::Text,
            Unset,
            FIREWALL,
            "Chain for notrack rules of generated policies.",
        ),
        refused(
            "mode-config",
            Kind::ReferenceOr { menu: "ip.ipsec.mode-config", words: &["none"] },
            Is("none"),
            MODE_CONFIG,
            "Addresses for road warriors.",
        ),
        DISABLED,
        COMMENT,
    ],
    flags: &[DYNAMIC_FLAG, DISABLED_FLAG],
    shown: &[DYNAMIC],
    ..LIST
};
pub(super) const PROPOSAL: Menu = Menu {
    name: "proposal",
    help: "What is offered for the SAs of a policy. `default` exists without being written; a row of that name changes it.",
    properties: &[
        NAME,
        full(
            "auth-algorithms",
            Kind::Some(ESP_INTEGRITY),
            Is("sha1"),
            "Integrity, preferred first. AES-GCM, AES-CCM, AES-GMAC and ChaCha20-Poly1305 bring their own and go with `null`, all else with a hash. AES-GMAC in this place is for AH.",
        ),
        full(
            "enc-algorithms",
            Kind::Some(ESP_ENCRYPTION),
            Is("aes-256-cbc,aes-192-cbc,aes-128-cbc"),
            "Ciphers, preferred first. A number at the end of AES-GCM and AES-CCM is that of the ICV's bytes, which are 16 without it. `aes-128-gmac` and its kin encrypt nothing. IKEv2 has no number for `twofish`: it is for manual SAs.",
        ),
        full(
            "lifetime",
            Kind::Time { min: 0, max: YEAR },
            Is("30m"),
            "SAs are rekeyed after four fifths of this; 0s for no limit.",
        ),
        own(
            "lifebytes",
            Kind::Integer { min: 0, max: u64::MAX },
            Is("0"),
            "The same by amount of data; 0 for no limit.",
        ),
        full(
            "pfs-group",
            Kind::One(PFS_GROUPS),
            Is("modp1024"),
            "Diffie-Hellman group of each rekey, or `none`.",
        ),
        own(
            "additional-ke",
            Kind::Some(ADDITIONAL),
            Is("none"),
            "A further key exchange at each rekey that quantum computers do not break (RFC 9370), made after that of `pfs-group` and mixed with it, preferred first. With `none` in the list it is done without where the peer does not know it. The keys of an SA come from those of the IKE SA as well, which `additional-ke` of the profile protects.",
        ),
        own(
            "replay-window",
            Kind::Integer { min: 0, max: 65536 },
            Is("1024"),
            "Packets that may be overtaken before they count as replayed: a power of two from 64 to 65536, 0 to not look.",
        ),
        own("esn", Kind::YesNo, Is("yes"), "Offer 64-bit sequence numbers (and accept 32-bit ones)."),
        DISABLED,
        COMMENT,
    ],
    flags: &[DISABLED_FLAG, DEFAULT_FLAG],
    built_in: &[&[("name", "default")]],
    shown: &[DEFAULT],
    ..LIST
};
pub(super) const GROUP: Menu = Menu {
    name: "policy-group",
    help: "Groups of policy templates. `default` is always there.",
    properties: &[NAME, COMMENT],
    console: Some("policy group"),
    flags: &[DEFAULT_FLAG],
    built_in: &[&[("name", "default")]],
    shown: &[DEFAULT],
    ..LIST
};
pub(super) const POLICY: Menu = Menu {
    name: "policy",
    help: "What to protect. Rows are tried from the top, the first match wins; inbound traffic is matched with both sides swapped.",
    properties: &[
        full(
            "action",
            Kind::One(&[ok("encrypt"), ok("discard"), ok("none")]),
            Is("encrypt"),
            "`encrypt` sends through the peer's tunnel, `discard` drops, `none` leaves packets as they are.",
        ),
        full("src-address", Kind::Prefix, Needed, "Local side."),
        full("dst-address", Kind::Prefix, Needed, "Remote side."),
        full("protocol", Kind::Protocol, Is("all"), "IP protocol: all, a name like tcp, or a number."),
        full(
            "src-port",
            Kind::Ports,
            Is("any"),
            "Local port; with tcp, udp, sctp, dccp and udp-lite. Beyond RouterOS, a range like 1000-2000.",
        ),
        full("dst-port", Kind::Ports, Is("any"), "Remote port."),
        full(
            "peer",
            Kind::References("ip.ipsec.peer"),
            Unset,
            "Who to negotiate with; needed with `encrypt`. Of several, separated by commas, the next one is asked when the one before it cannot be reached, until that one is back.",
        ),
        full(
            "proposal",
            Kind::Reference("ip.ipsec.proposal"),
            Is("default"),
            "Algorithms and lifetimes of the SAs.",
        ),
        full(
            "level",
            Kind::One(&[ok("require"), ok("unique"), ok("use")]),
            Is("require"),
            "While there is no SA: `require` drops and asks for one, `unique` asks for one of its own, `use` sends in clear.",
        ),
        full(
            "tunnel",
            Kind::YesNo,
            Is("no"),
            "`yes` for networks behind the gateways. `no`, the default, is transport mode: for traffic between the two gateways themselves, like GRE, IPIP or L2TP.",
        ),
        full(
            "ipsec-protocols",
            Kind::One(&[ok("esp"), ok("ah")]),
            Is("esp"),
            "The protocol: `ah` authenticates without encrypting, with `auth-algorithms` of the proposal, and cannot cross a NAT.",
        ),
        own(
            "dont-fragment",
            Kind::One(&[ok("inherit"), ok("no"), ok("yes")]),
            Is("inherit"),
            "DF bit of the outer IPv4 header: the inner packet's (IPv6 counts as set), cleared or set. With `no`, routers may fragment what we send, and packets larger than the path are fragmented after encryption instead of being refused.",
        ),
        own(
            "dscp",
            Kind::Integer { min: 0, max: 63 },
            Unset,
            "DSCP of the outer header. Left out, the inner packet's.",
        ),
        own(
            "clamp-tcp-mss",
            Kind::YesNo,
            Is("no"),
            "Bring TCP's maximum segment size down to what fits the tunnel, for hosts that never hear of packets too big.",
        ),
        own(
            "tfc-padding",
            Kind::Integer { min: 0, max: 9000 },
            Is("0"),
            "Pad inner packets to so many bytes, as far as they fit the path, so that their sizes tell nothing (RFC 4303 2.7). 0 does not. Tunnel mode only.",
        ),
        full("sa-src-address", Kind::Address, Unset, "Only to repeat the peer's local-address."),
        full("sa-dst-address", Kind::Address, Unset, "Only to repeat the peer's address."),
        full(
            "template",
            Kind::YesNo,
            Is("no"),
            "The row matches no packets: policies are made at its place, inside its addresses and protocol (`::/0` is any address of both IP versions), with its proposal, for identities with `generate-policy`. Whether in tunnel or transport mode is for the peer to say. Policies above it come first, so a `discard` for the rest belongs below.",
        ),
        full(
            "group",
            Kind::Reference("ip.ipsec.policy-group"),
            Is("default"),
            "Group of a template: identities choose theirs with `policy-template-group`.",
        ),
        own(
            "default",
            Kind::YesNo,
            Is("no"),
            "The row stands for the built-in template, which is for everything in the group `default`.",
        ),
        DISABLED,
        COMMENT,
    ],
    flags: &[
        flag('T', "template"),
        flag('B', "backup"),
        DISABLED_FLAG,
        DYNAMIC_FLAG,
        flag('I', "invalid"),
        flag('A', "active"),
        DEFAULT_FLAG,
    ],
    ordered: true,
    built_in: &[&[("template", "yes"), ("src-address", "::/0"), ("dst-address", "::/0"), ("default", "yes")]],
    shown: &[
        shown("active", Kind::YesNo, "Packets are held against it."),
        shown("backup", Kind::YesNo, "Its first peer is down, a further one serves it."),
        DYNAMIC,
        shown("invalid", Kind::YesNo, "It can never match: an earlier row has the same selector."),
        shown("ph2-count", Kind::Integer { min: 0, max: u32::MAX as u64 }, "SAs in each direction."),
        shown("ph2-state", Kind::One(PH2_STATES), "How far its SAs are."),
    ],
    ..LIST
};
pub(super) const MANUAL_SA: Menu = Menu {
    name: "manual-sa",
    help: "SAs with keys from this file, for laboratories and tests: nobody negotiates, and nothing ever rekeys them.",
    properties: &[
        own("spi", Kind::Integer { min: 256, max: u32::MAX as u64 }, Needed, "The SPI, like 0x1001."),
        own("direction", Kind::One(&[ok("in"), ok("out")]), Needed, "Which way its packets go."),
        own("local-address", Kind::Address, Needed, "Our outer address."),
        own("remote-address", Kind::Address, Needed, "The peer's outer address."),
        own("enc-algorithm", Kind::One(ESP_ENCRYPTION), Needed, "Cipher."),
        own(
            "enc-key",
            Kind::Key,
            Unset,
            "Key in hexadecimal, with the salt at the end: 4 bytes with AES-CTR, AES-GCM, AES-GMAC and ChaCha20-Poly1305, 3 with AES-CCM.",
        ),
        own("auth-algorithm", Kind::One(ESP_INTEGRITY), Is("null"), "Integrity."),
        own(
            "auth-key",
            Kind::Key,
            Unset,
            "Its key in hexadecimal; with AES-GMAC, the salt of 4 bytes at the end.",
        ),
        own(
            "policy",
            Kind::Integer { min: 0, max: 1 << 24 },
            Needed,
            "Row of `ip.ipsec.policy` it serves, counted from 0 as the file has them.",
        ),
        own(
            "local-port",
            Kind::Integer { min: 0, max: 65535 },
            Is("0"),
            "Our UDP port when ESP goes in UDP (4500), else 0.",
        ),
        own("remote-port", Kind::Integer { min: 0, max: 65535 }, Is("0"), "The peer's."),
        own("esn", Kind::YesNo, Is("no"), "64-bit sequence numbers."),
        own(
            "replay-window",
            Kind::Integer { min: 0, max: 65536 },
            Is("1024"),
            "As in `proposal`; without meaning outbound.",
        ),
        own(
            "last-seq",
            Kind::Integer { min: 0, max: u64::MAX },
            Is("0"),
            "Outbound: last number used; a gateway that has used more goes on behind those. Inbound: highest number accepted.",
        ),
        DISABLED,
        COMMENT,
    ],
    flags: &[DISABLED_FLAG],
    ..LIST
};
