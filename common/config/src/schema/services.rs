//! What IPsec leans on: `radius`, `certificate`, keys, `log`.
use super::Default::{Is, Needed, Unset};
use super::*;

const RAW_KEYS: &str = "authentication with raw keys";
const PPK: &str = "post-quantum pre-shared keys";

pub(super) const LOG: Menu = Menu {
    name: "log",
    console: Some("system logging"),
    help: "What is logged where.",
    properties: &[
        full(
            "topics",
            Kind::List(&Kind::Text),
            Is("info"),
            "Topics, all of which an entry must have; `!topic` excludes. What it is about: ipsec, crypto, interface, \
             system, api; how grave it is: error, warning, info, debug, packet.",
        ),
        full(
            "action",
            Kind::One(&[
                ok("memory"),
                ok("disk"),
                ok("echo"),
                later("remote", "sending logs to another machine"),
            ]),
            Is("memory"),
            "Where to: `memory` is what `/log print` shows, `disk` the file of `espway run --log-file`, `echo` standard \
             error or the journal. Rows for memory or disk take the place of everything that `--log-level` lets through; \
             those for echo come on top.",
        ),
        full("prefix", Kind::Text, Is(""), "Put in front of each entry."),
        full("regex", Kind::Text, Is(""), "Only entries that match."),
        DISABLED,
    ],
    flags: &[DISABLED_FLAG],
    ..LIST
};

pub(super) const RADIUS: Menu = Menu {
    name: "radius",
    help: "RADIUS servers, tried in order.",
    properties: &[
        full(
            "service",
            Kind::Some(&[
                ok("ipsec"),
                ok("ppp"),
                ok("login"),
                ok("hotspot"),
                ok("wireless"),
                ok("dhcp"),
                ok("dot1x"),
            ]),
            Unset,
            "What it is asked about.",
        ),
        full("address", Kind::Address, Needed, "The server."),
        full("secret", Kind::Secret, Unset, "Shared secret."),
        full("authentication-port", PORT, Is("1812"), "UDP port for authentication."),
        full("accounting-port", PORT, Is("1813"), "UDP port for accounting."),
        full(
            "timeout",
            Kind::Time { min: MICROS / 100, max: 60 * MICROS },
            Is("300ms"),
            "How long to wait for an answer.",
        ),
        full("protocol", Kind::One(&[ok("udp"), ok("radsec")]), Is("udp"), "UDP, or TLS (RFC 6614)."),
        full("src-address", Kind::Address, Unset, "Our address towards it."),
        full("realm", Kind::Text, Is(""), "Realm of its users."),
        full("domain", Kind::Text, Is(""), "Windows domain of its users."),
        full("called-id", Kind::Text, Is(""), "Called-Station-Id to say."),
        full(
            "certificate",
            Kind::ReferenceOr { menu: "certificate", words: &["none"] },
            Is("none"),
            "Ours, for RadSec.",
        ),
        full("accounting-backup", Kind::YesNo, Is("no"), "Only for accounting when others fail."),
        full(
            "require-message-auth",
            Kind::One(&[ok("yes-for-request-resp"), ok("no")]),
            Is("yes-for-request-resp"),
            "Refuse answers without Message-Authenticator.",
        ),
        DISABLED,
        COMMENT,
    ],
    flags: &[DISABLED_FLAG],
    ordered: true,
    later: Some(super::RADIUS),
    ..LIST
};
const PORT: Kind = Kind::Integer { min: 1, max: 65535 };

pub(super) const CERTIFICATE: Menu = Menu {
    name: "certificate",
    help: "Certificates and their keys, in files.",
    properties: &[
        NAME,
        own("file", Kind::Path, Needed, "PEM or DER file of the certificate."),
        own("key-file", Kind::Path, Unset, "PEM file of its private key, if it is ours."),
        full("trusted", Kind::YesNo, Is("no"), "It may vouch for others."),
        COMMENT,
    ],
    flags: &[flag('K', "private-key"), flag('A', "authority"), flag('E', "expired"), flag('T', "trusted")],
    shown: &[
        shown("common-name", Kind::Text, "Whom it names."),
        shown("invalid-after", Kind::Text, "When it ends."),
        shown("private-key", Kind::YesNo, "Its key is here."),
        shown("authority", Kind::YesNo, "It may sign others."),
        shown("expired", Kind::YesNo, "Its time is over."),
    ],
    later: Some(CERTIFICATES),
    ..LIST
};

pub(super) const KEY: Menu = Menu {
    name: "key",
    console: Some("key rsa"),
    help: "Raw RSA keys, in files.",
    properties: &[NAME, own("file", Kind::Path, Needed, "PEM file of the private or public key."), COMMENT],
    flags: &[flag('P', "private-key"), flag('R', "rsa")],
    shown: &[
        shown("key-size", Kind::Integer { min: 0, max: 16384 }, "Its bits."),
        shown("private-key", Kind::YesNo, "The private part is here."),
        shown("rsa", Kind::YesNo, "It is an RSA key."),
    ],
    later: Some(RAW_KEYS),
    ..LIST
};
pub(super) const KEY_PSK: Menu = Menu {
    name: "key-psk",
    console: Some("key psk"),
    help: "One-time post-quantum pre-shared keys.",
    properties: &[
        full("peer", Kind::Reference("ip.ipsec.peer"), Needed, "Whom it is shared with."),
        full("id", Kind::Text, Needed, "Its identity, at least 16 characters."),
        full("key", Kind::Key, Needed, "The key in hexadecimal."),
    ],
    later: Some(PPK),
    ..LIST
};
