//! What IPsec leans on: `radius`, `certificate`, keys, `log`.
use super::Default::{Is, Needed, Unset};
use super::*;

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
            Kind::Reference("log-action"),
            Is("memory"),
            "Where to: `memory` is what `/log print` shows, `disk` the file of `espway run --log-file`, `echo` standard \
             error or the journal, `remote` another machine, or a row of `log-action` by name. Rows for memory or disk \
             take the place of everything that `--log-level` lets through; the others come on top.",
        ),
        full("prefix", Kind::Text, Is(""), "Put in front of each entry."),
        full("regex", Kind::Text, Is(""), "Only entries that match."),
        DISABLED,
    ],
    flags: &[DISABLED_FLAG],
    ..LIST
};

pub(super) const LOG_ACTION: Menu = Menu {
    name: "log-action",
    console: Some("system logging action"),
    help: "Where logs go. Syslog is sent over UDP (RFC 5424, RFC 5426) by the process that negotiates; what cannot be \
           sent at once is counted and not sent.",
    properties: &[
        NAME,
        full(
            "target",
            Kind::One(&[ok("memory"), ok("disk"), ok("echo"), ok("remote")]),
            Is("memory"),
            "What kind of place it is.",
        ),
        full(
            "remote",
            Kind::Address,
            Unset,
            "The machine that collects; needed where something is sent to it.",
        ),
        full("remote-port", Kind::Integer { min: 1, max: 65535 }, Is("514"), "Its UDP port."),
        full("src-address", Kind::Address, Unset, "The host's address that it is sent from."),
        full(
            "bsd-syslog",
            Kind::YesNo,
            Is("no"),
            "The older shape of a message (RFC 3164) instead of RFC 5424's.",
        ),
        full("syslog-facility", Kind::One(FACILITIES), Is("daemon"), "What it is filed under there."),
        full(
            "syslog-severity",
            Kind::One(&[
                ok("auto"),
                ok("emergency"),
                ok("alert"),
                ok("critical"),
                ok("error"),
                ok("warning"),
                ok("notice"),
                ok("info"),
                ok("debug"),
            ]),
            Is("auto"),
            "How grave every message is said to be; `auto`: as grave as it is.",
        ),
        COMMENT,
    ],
    flags: &[DEFAULT_FLAG],
    built_in: &[
        &[("name", "memory")],
        &[("name", "disk"), ("target", "disk")],
        &[("name", "echo"), ("target", "echo")],
        &[("name", "remote"), ("target", "remote")],
    ],
    shown: &[ipsec::DEFAULT],
    ..LIST
};
/// In the order of their numbers (RFC 5424 6.2.1).
const FACILITIES: &[Choice] = &[
    ok("kern"),
    ok("user"),
    ok("mail"),
    ok("daemon"),
    ok("auth"),
    ok("syslog"),
    ok("lpr"),
    ok("news"),
    ok("uucp"),
    ok("cron"),
    ok("authpriv"),
    ok("ftp"),
    ok("ntp"),
    ok("log-audit"),
    ok("log-alert"),
    ok("clock"),
    ok("local0"),
    ok("local1"),
    ok("local2"),
    ok("local3"),
    ok("local4"),
    ok("local5"),
    ok("local6"),
    ok("local7"),
];

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
        own(
            "file",
            Kind::Path,
            Needed,
            "PEM or DER file of the certificate; further ones in it are its chain.",
        ),
        own(
            "key-file",
            Kind::Path,
            Unset,
            "PEM file of its private key, if it is ours and the key is not in `file`.",
        ),
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
    ..LIST
};

pub(super) const KEY: Menu = Menu {
    name: "key",
    console: Some("key rsa"),
    help: "Raw keys, in files.",
    properties: &[NAME, own("file", Kind::Path, Needed, "PEM file of the private or public key."), COMMENT],
    flags: &[flag('P', "private-key"), flag('R', "rsa")],
    shown: &[
        shown("key-size", Kind::Integer { min: 0, max: 16384 }, "Its bits."),
        shown("private-key", Kind::YesNo, "The private part is here."),
        shown("rsa", Kind::YesNo, "It is an RSA key."),
    ],
    commands: &[
        Command {
            name: "generate-key",
            help: "Make a private RSA key in a file of its own, and a row for it.",
            of_rows: false,
            arguments: &[
                shown("name", Kind::Name, "What the row is called."),
                shown(
                    "key-size",
                    Kind::Integer { min: 2048, max: 8192 },
                    "Its bits: 2048 (left out), 3072, 4096 or 8192.",
                ),
                shown(
                    "file",
                    Kind::Path,
                    "The file, which must not be there yet; left out: `/etc/espway/keys/` and the name.",
                ),
            ],
        },
        Command {
            name: "import",
            help: "Add a row for a key in a file on the gateway: private or public, PEM or DER, RSA or another kind.",
            of_rows: false,
            arguments: &[
                shown("file-name", Kind::Path, "The file."),
                shown("name", Kind::Name, "What the row is called."),
            ],
        },
        Command {
            name: "export-pub-key",
            help: "Write the public part of a key to a new file on the gateway, for the other side.",
            of_rows: false,
            arguments: &[
                shown("key", Kind::Reference("ip.ipsec.key"), "The key."),
                shown("file-name", Kind::Path, "The file, which must not be there yet."),
            ],
        },
    ],
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
