//! Every object and property of the configuration: the one table that reading, checking and the manual use.
//!
//! What RouterOS knows and this version does not do is listed too ([`Support::Later`], [`Choice::later`]), so
//! that it is refused by name instead of being taken for a spelling mistake or ignored.

/// One level of the file: a group of settings, a list of rows, or a folder of further menus.
#[derive(Debug)]
pub struct Menu {
    pub name: &'static str,
    pub shape: Shape,
    pub help: &'static str,
    pub properties: &'static [Property],
    pub menus: &'static [Menu],
    /// What is missing for this menu to work; it is refused then.
    pub later: Option<&'static str>,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Folder,
    Settings,
    List,
}

#[derive(Debug)]
pub struct Property {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Default,
    pub support: Support,
    /// One or two sentences for the manual.
    pub help: &'static str,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// Must be written.
    Needed,
    /// May be left out and then says nothing.
    Unset,
    /// As if this had been written.
    Is(&'static str),
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    Full,
    /// Any value but the default is refused; the text names what is missing.
    Later(&'static str),
    /// Any value but the default is warned about; the text says why it does nothing.
    NoEffect(&'static str),
    /// Not RouterOS's own.
    Extension,
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    YesNo,
    /// Free text.
    Text,
    /// What others refer to; unique in its menu.
    Name,
    Integer {
        min: u64,
        max: u64,
    },
    /// Bytes, with K, M or G.
    Size {
        min: u64,
        max: u64,
    },
    /// A duration between two, in microseconds.
    Time {
        min: u64,
        max: u64,
    },
    /// The same, or a word that means "none".
    TimeOr {
        word: &'static str,
        min: u64,
        max: u64,
    },
    One(&'static [Choice]),
    /// Some of these, in order of preference.
    Some(&'static [Choice]),
    Address,
    /// Address with the length of its network.
    InterfaceAddress,
    Prefix,
    /// Address, address%interface, or interface.
    Gateway,
    Ports,
    Protocol,
    Mac,
    /// The name of a row of another menu.
    Reference(&'static str),
    Device,
    /// Which CPUs: a number of them, or a list.
    Workers,
    Path,
    /// A port's exception TAP.
    Tap,
    MyId,
    RemoteId,
    /// Text that is never shown.
    Secret,
    /// Hexadecimal digits that are never shown.
    Key,
    Group(&'static [Property]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub name: &'static str,
    pub later: Option<&'static str>,
}
const fn ok(name: &'static str) -> Choice {
    Choice { name, later: None }
}
const fn later(name: &'static str, what: &'static str) -> Choice {
    Choice { name, later: Some(what) }
}

use self::Default::{Is, Needed, Unset};
const fn full(name: &'static str, kind: Kind, default: Default, help: &'static str) -> Property {
    Property { name, kind, default, support: Support::Full, help }
}
const fn own(name: &'static str, kind: Kind, default: Default, help: &'static str) -> Property {
    Property { name, kind, default, support: Support::Extension, help }
}
const fn refused(
    name: &'static str,
    kind: Kind,
    default: Default,
    what: &'static str,
    help: &'static str,
) -> Property {
    Property { name, kind, default, support: Support::Later(what), help }
}
const fn idle(
    name: &'static str,
    kind: Kind,
    default: Default,
    why: &'static str,
    help: &'static str,
) -> Property {
    Property { name, kind, default, support: Support::NoEffect(why), help }
}

const MICROS: u64 = 1_000_000;
const YEAR: u64 = 365 * 86_400 * MICROS;

const DISABLED: Property =
    full("disabled", Kind::YesNo, Is("no"), "The row is checked, but takes no part in anything.");
const COMMENT: Property = full("comment", Kind::Text, Is(""), "A note for people.");
const NAME: Property = full("name", Kind::Name, Needed, "What other rows and tables call it.");

const OBSOLETE_DH: &str = "support for obsolete Diffie-Hellman groups";
const OLD_CIPHER: &str = "support for obsolete ciphers";
const IKEV1: &str = "IKEv1";
const CERTIFICATES: &str = "certificate authentication";
const EAP: &str = "EAP and XAuth";
const GENERATE: &str = "generating policies from templates";
const RADIUS: &str = "RADIUS";

const DH_GROUPS: &[Choice] = &[
    ok("modp1024"),
    ok("modp2048"),
    ok("modp3072"),
    ok("modp4096"),
    ok("ecp256"),
    ok("ecp384"),
    ok("ecp521"),
    ok("x25519"),
    later("modp768", OBSOLETE_DH),
    later("modp1536", "support for this Diffie-Hellman group"),
    later("modp6144", "support for this Diffie-Hellman group"),
    later("modp8192", "support for this Diffie-Hellman group"),
    later("ec2n155", OBSOLETE_DH),
    later("ec2n185", OBSOLETE_DH),
];
const PFS_GROUPS: &[Choice] = &[
    ok("none"),
    ok("modp1024"),
    ok("modp2048"),
    ok("modp3072"),
    ok("modp4096"),
    ok("ecp256"),
    ok("ecp384"),
    ok("ecp521"),
    ok("x25519"),
    later("modp768", OBSOLETE_DH),
    later("modp1536", "support for this Diffie-Hellman group"),
    later("modp6144", "support for this Diffie-Hellman group"),
    later("modp8192", "support for this Diffie-Hellman group"),
    later("ec2n155", OBSOLETE_DH),
    later("ec2n185", OBSOLETE_DH),
];
const IKE_ENCRYPTION: &[Choice] = &[
    ok("aes-128"),
    ok("aes-192"),
    ok("aes-256"),
    ok("aes-128-gcm"),
    ok("aes-192-gcm"),
    ok("aes-256-gcm"),
    later("3des", OLD_CIPHER),
    later("des", OLD_CIPHER),
    later("blowfish", OLD_CIPHER),
    later("camellia-128", "support for Camellia"),
    later("camellia-192", "support for Camellia"),
    later("camellia-256", "support for Camellia"),
];
const HASHES: &[Choice] =
    &[ok("sha1"), ok("sha256"), ok("sha384"), ok("sha512"), later("md5", "support for obsolete hashes")];
const PRFS: &[Choice] = &[ok("auto"), ok("sha1"), ok("sha256"), ok("sha384"), ok("sha512")];
const ESP_ENCRYPTION: &[Choice] = &[
    ok("null"),
    ok("aes-128-cbc"),
    ok("aes-192-cbc"),
    ok("aes-256-cbc"),
    ok("aes-128-gcm"),
    ok("aes-192-gcm"),
    ok("aes-256-gcm"),
    later("aes-128-ctr", "support for AES-CTR"),
    later("aes-192-ctr", "support for AES-CTR"),
    later("aes-256-ctr", "support for AES-CTR"),
    later("chacha20poly1305", "support for ChaCha20-Poly1305"),
    later("des", OLD_CIPHER),
    later("3des", OLD_CIPHER),
    later("blowfish", OLD_CIPHER),
    later("twofish", OLD_CIPHER),
    later("camellia-128", "support for Camellia"),
    later("camellia-192", "support for Camellia"),
    later("camellia-256", "support for Camellia"),
];
const ESP_INTEGRITY: &[Choice] = &[
    ok("null"),
    ok("sha1"),
    ok("sha256"),
    ok("sha384"),
    ok("sha512"),
    later("md5", "support for obsolete hashes"),
];

const SYSTEM: Menu = Menu {
    name: "system",
    shape: Shape::Settings,
    help: "The gateway as a program: CPUs, memory, crypto engines.",
    later: None,
    menus: &[],
    properties: &[
        own(
            "name",
            Kind::Name,
            Is("espway"),
            "Name of this gateway. Two on one machine need different names.",
        ),
        own(
            "workers",
            Kind::Workers,
            Is("1"),
            "CPUs that forward packets: a number of them, chosen at start, or a list like [1, 2, 3].",
        ),
        own(
            "main-core",
            Kind::Integer { min: 0, max: 1023 },
            Unset,
            "CPU of control, ARP, ICMP and timers. Left out: one that no worker uses, if there is one.",
        ),
        own(
            "memory",
            Kind::Size { min: 16 << 20, max: 1 << 40 },
            Is("256M"),
            "Memory of the fast path for packet buffers and tables, in whole megabytes.",
        ),
        own(
            "hugepages",
            Kind::One(&[ok("auto"), ok("yes"), ok("no")]),
            Is("auto"),
            "`yes` refuses to start without them, `auto` takes them if there are enough. Without, expect a third less speed.",
        ),
        own(
            "buffers",
            Kind::Integer { min: 1024, max: 16_777_216 },
            Is("16384"),
            "Packet buffers shared by all ports: 2.5 kB each, 4 kB without hugepages. An AF_XDP queue holds 2048 of them.",
        ),
        own(
            "sa-slots",
            Kind::Integer { min: 64, max: 1 << 20 },
            Is("4096"),
            "Slots of the SA table; a power of two. A tunnel takes two, and two more while it is rekeyed.",
        ),
        own(
            "idle",
            Kind::One(&[ok("adaptive"), ok("poll")]),
            Is("adaptive"),
            "What a worker does when nothing arrives: sleep a little longer each time, or poll on for the lowest latency.",
        ),
        own(
            "idle-max-sleep",
            Kind::Time { min: 1, max: 100_000 },
            Is("200us"),
            "The longest of those sleeps; it is the latency a packet may meet after silence.",
        ),
        own("crypto", Kind::Group(CRYPTO), Is(""), "Who encrypts."),
        own(
            "exception-path",
            Kind::Text,
            Is("x-{interface}"),
            "Name of the TAP interfaces through which the host gets traffic for the gateway itself, with `{interface}` \
             for the port's name; `none` for no TAPs.",
        ),
        own(
            "run-dir",
            Kind::Path,
            Unset,
            "Folder of sockets. Left out: /run/espway/ and the gateway's name.",
        ),
        own("lab", Kind::YesNo, Is("no"), "Permits what has no place in production: `espway run --key-log`."),
    ],
};
const CRYPTO: &[Property] = &[own(
    "engines",
    Kind::Some(&[ok("ipsec-mb"), ok("cryptodev"), ok("ring"), ok("rustcrypto")]),
    Is("ipsec-mb,cryptodev,ring,rustcrypto"),
    "Crypto engines in order of preference; each SA runs on the first that is present and knows its algorithms.",
)];

const INTERFACE: Menu = Menu {
    name: "interface",
    shape: Shape::List,
    help: "Ports, and VLANs on them. A row has either `device` or `vlan`.",
    later: None,
    menus: &[],
    properties: &[
        NAME,
        own(
            "device",
            Kind::Device,
            Unset,
            "What the port is made of: pci:0000:01:00.0, virtio:/path, vhost-user:/path, memif:/path, af-xdp:eth1, \
             af-packet:eth1, tap:tap0, pcap:in.pcap,out.pcap, null, ring:name; arguments follow as `,key=value`.",
        ),
        full("vlan", Kind::Group(VLAN), Unset, "This row is a VLAN on another interface."),
        full(
            "mtu",
            Kind::Integer { min: 576, max: 9600 },
            Is("1500"),
            "Largest IP packet, without Ethernet header and tags. IPv6 needs 1280.",
        ),
        full("mac-address", Kind::Mac, Unset, "Left out: the device's own (a VLAN has its port's)."),
        own(
            "exception-path",
            Kind::Tap,
            Is("auto"),
            "TAP of this port: `auto` by the pattern of `system`, `none`, or a name. VLANs have none unless named.",
        ),
        DISABLED,
        COMMENT,
    ],
};
const VLAN: &[Property] = &[
    full("interface", Kind::Reference("interface"), Needed, "The port that carries the tagged frames."),
    full("vlan-id", Kind::Integer { min: 1, max: 4094 }, Needed, "The tag."),
];

const ADDRESS: Menu = Menu {
    name: "address",
    shape: Shape::List,
    help: "IPv4 and IPv6 addresses of the gateway.",
    later: None,
    menus: &[],
    properties: &[
        full(
            "address",
            Kind::InterfaceAddress,
            Needed,
            "Address with the length of its network: 198.51.100.2/24.",
        ),
        full("interface", Kind::Reference("interface"), Needed, "Where that network is."),
        DISABLED,
        COMMENT,
    ],
};
const ROUTE: Menu = Menu {
    name: "route",
    shape: Shape::List,
    help: "Static routes, IPv4 and IPv6. The networks of `ip.address` need none.",
    later: None,
    menus: &[],
    properties: &[
        full("dst-address", Kind::Prefix, Is("0.0.0.0/0"), "Destination; `::/0` is everything in IPv6."),
        full(
            "gateway",
            Kind::Gateway,
            Unset,
            "Next hop, interface, or both as fe80::1%wan. A next hop must be in a network of `ip.address`.",
        ),
        full("blackhole", Kind::YesNo, Is("no"), "Drop what is routed here; then without `gateway`."),
        full(
            "distance",
            Kind::Integer { min: 1, max: 255 },
            Is("1"),
            "Of several routes to one destination the smallest is used.",
        ),
        DISABLED,
        COMMENT,
    ],
};

const SETTINGS: Menu = Menu {
    name: "settings",
    shape: Shape::Settings,
    help: "What concerns IKE as a whole.",
    later: None,
    menus: &[],
    properties: &[
        full(
            "ddos-cookie-threshold",
            Kind::Integer { min: 0, max: 1_000_000 },
            Is("20"),
            "Half-open IKE SAs from which a cookie is demanded of everyone new.",
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
};
const PROFILE: Menu = Menu {
    name: "profile",
    shape: Shape::List,
    help: "Parameters of the IKE SA. `default` exists without being written; a row of that name changes it.",
    later: None,
    menus: &[],
    properties: &[
        NAME,
        full(
            "dh-group",
            Kind::Some(DH_GROUPS),
            Is("modp1024,modp2048"),
            "Diffie-Hellman groups, preferred first.",
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
            "Ciphers of IKE messages, preferred first. Beyond RouterOS, AES-GCM is offered.",
        ),
        full(
            "hash-algorithm",
            Kind::One(HASHES),
            Is("sha1"),
            "Integrity of IKE messages (not with AES-GCM) and, with prf-algorithm=auto, the PRF.",
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
    ],
};
const PEER: Menu = Menu {
    name: "peer",
    shape: Shape::List,
    help: "Who to speak IKE with. A peer needs an identity.",
    later: None,
    menus: &[],
    properties: &[
        NAME,
        full(
            "address",
            Kind::Prefix,
            Is("0.0.0.0/0"),
            "Remote address, or the network remote addresses may come from; the longest match wins. Only a single address is called by us. No two peers have the same.",
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
};
const IDENTITY: Menu = Menu {
    name: "identity",
    shape: Shape::List,
    help: "How we and a peer prove who we are.",
    later: None,
    menus: &[],
    properties: &[
        full("peer", Kind::Reference("ip.ipsec.peer"), Needed, "The peer it is for."),
        full(
            "auth-method",
            Kind::One(&[
                ok("pre-shared-key"),
                later("digital-signature", CERTIFICATES),
                later("eap", EAP),
                later("eap-radius", EAP),
                later("pre-shared-key-xauth", EAP),
                later("rsa-key", IKEV1),
                later("rsa-signature-hybrid", IKEV1),
            ]),
            Is("pre-shared-key"),
            "Method of authentication.",
        ),
        full("secret", Kind::Secret, Unset, "The pre-shared key: text, or hexadecimal after `0x`."),
        full(
            "my-id",
            Kind::MyId,
            Is("auto"),
            "Who we say we are: auto (our address), address:1.2.3.4, fqdn:gw.example, user-fqdn:a@b.example, key-id:text.",
        ),
        full(
            "remote-id",
            Kind::RemoteId,
            Is("auto"),
            "Who the peer must say it is; written as in my-id, `auto` for anyone, `ignore` to not look.",
        ),
        refused("certificate", Kind::Text, Unset, CERTIFICATES, "Our certificate."),
        refused("remote-certificate", Kind::Text, Unset, CERTIFICATES, "The peer's certificate."),
        refused(
            "match-by",
            Kind::One(&[ok("remote-id"), ok("certificate")]),
            Is("remote-id"),
            CERTIFICATES,
            "How the identity of a caller is found.",
        ),
        refused("eap-methods", Kind::Text, Unset, EAP, "EAP methods of an initiator."),
        refused("username", Kind::Text, Unset, EAP, "XAuth or EAP user."),
        refused("password", Kind::Secret, Unset, EAP, "XAuth or EAP password."),
        refused("key", Kind::Text, Unset, IKEV1, "Our raw RSA key."),
        refused("remote-key", Kind::Text, Unset, IKEV1, "The peer's raw RSA key."),
        refused(
            "generate-policy",
            Kind::One(&[ok("no"), ok("port-override"), ok("port-strict")]),
            Is("no"),
            GENERATE,
            "Make policies the peer asks for.",
        ),
        refused(
            "policy-template-group",
            Kind::Reference("ip.ipsec.policy-group"),
            Is("default"),
            GENERATE,
            "Templates for them.",
        ),
        refused(
            "notrack-chain",
            Kind::Text,
            Unset,
            GENERATE,
            "Chain for notrack rules of generated policies.",
        ),
        refused(
            "mode-config",
            Kind::Text,
            Is("none"),
            "configuration payloads (mode-config)",
            "Addresses for road warriors.",
        ),
        DISABLED,
        COMMENT,
    ],
};
const PROPOSAL: Menu = Menu {
    name: "proposal",
    shape: Shape::List,
    help: "What is offered for the SAs of a policy. `default` exists without being written; a row of that name changes it.",
    later: None,
    menus: &[],
    properties: &[
        NAME,
        full(
            "auth-algorithms",
            Kind::Some(ESP_INTEGRITY),
            Is("sha1"),
            "Integrity, preferred first. AES-GCM brings its own and goes with `null`, all else with a hash.",
        ),
        full(
            "enc-algorithms",
            Kind::Some(ESP_ENCRYPTION),
            Is("aes-256-cbc,aes-192-cbc,aes-128-cbc"),
            "Ciphers, preferred first.",
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
            "replay-window",
            Kind::Integer { min: 0, max: 65536 },
            Is("1024"),
            "Packets that may be overtaken before they count as replayed: a power of two from 64 to 65536, 0 to not look.",
        ),
        own("esn", Kind::YesNo, Is("yes"), "Offer 64-bit sequence numbers (and accept 32-bit ones)."),
        DISABLED,
        COMMENT,
    ],
};
const GROUP: Menu = Menu {
    name: "policy-group",
    shape: Shape::List,
    help: "Groups of policy templates. Only `default` has a use before templates are available.",
    later: None,
    menus: &[],
    properties: &[NAME, COMMENT],
};
const POLICY: Menu = Menu {
    name: "policy",
    shape: Shape::List,
    help: "What to protect. Rows are tried from the top, the first match wins; inbound traffic is matched with both sides swapped.",
    later: None,
    menus: &[],
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
            Kind::Reference("ip.ipsec.peer"),
            Unset,
            "Who to negotiate with; needed with `encrypt`.",
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
            "Must be written as `yes`: RouterOS's default `no` is transport mode, which this version does not have.",
        ),
        full(
            "ipsec-protocols",
            Kind::One(&[ok("esp"), later("ah", "support for AH")]),
            Is("esp"),
            "The protocol.",
        ),
        full("sa-src-address", Kind::Address, Unset, "Only to repeat the peer's local-address."),
        full("sa-dst-address", Kind::Address, Unset, "Only to repeat the peer's address."),
        refused("template", Kind::YesNo, Is("no"), GENERATE, "The row is a template."),
        refused(
            "group",
            Kind::Reference("ip.ipsec.policy-group"),
            Is("default"),
            GENERATE,
            "Group of a template.",
        ),
        DISABLED,
        COMMENT,
    ],
};
const MANUAL_SA: Menu = Menu {
    name: "manual-sa",
    shape: Shape::List,
    help: "SAs with keys from this file, for `espway packet`. `espway run` refuses them: a restart would use a key and IV twice.",
    later: None,
    menus: &[],
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
            "Key in hexadecimal; for AES-GCM with the 4 bytes of salt at the end.",
        ),
        own("auth-algorithm", Kind::One(ESP_INTEGRITY), Is("null"), "Integrity."),
        own("auth-key", Kind::Key, Unset, "Its key in hexadecimal."),
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
            "Outbound: last number used. Inbound: highest number accepted.",
        ),
        DISABLED,
        COMMENT,
    ],
};
const fn unavailable(name: &'static str, what: &'static str) -> Menu {
    Menu {
        name,
        shape: Shape::List,
        help: "Not available yet.",
        properties: &[],
        menus: &[],
        later: Some(what),
    }
}

pub const ROOT: Menu = Menu {
    name: "",
    shape: Shape::Folder,
    help: "The file.",
    properties: &[],
    later: None,
    menus: &[
        SYSTEM,
        INTERFACE,
        Menu {
            name: "ip",
            shape: Shape::Folder,
            help: "Addresses, routes, IPsec.",
            properties: &[],
            later: None,
            menus: &[
                ADDRESS,
                ROUTE,
                Menu {
                    name: "ipsec",
                    shape: Shape::Folder,
                    help: "IPsec, as RouterOS has it.",
                    properties: &[],
                    later: None,
                    menus: &[
                        SETTINGS,
                        PROFILE,
                        PEER,
                        IDENTITY,
                        PROPOSAL,
                        GROUP,
                        POLICY,
                        MANUAL_SA,
                        unavailable("mode-config", "configuration payloads (mode-config)"),
                        unavailable("key", "authentication with raw keys"),
                    ],
                },
            ],
        },
    ],
};
