//! What the running gateway shows: `active-peers`, `installed-sa`, `statistics`, `diagnosis`, `log`.
use super::roadwarrior::COUNT;
use super::*;
use sa::Stat;

pub(super) const ACTIVE_PEERS: Menu = Menu {
    name: "active-peers",
    shape: Shape::Live,
    help: "IKE SAs.",
    shown: &[
        shown("peer", Kind::Text, "The row of `peer` it belongs to."),
        shown("id", Kind::Text, "Who the peer said it is."),
        shown("state", Kind::Text, "How far it is."),
        shown("uptime", TIME, "Since it was established."),
        shown("ph2-total", COUNT, "Its SAs for packets."),
        shown("remote-address", Kind::Address, "Where the peer is."),
        shown("port", COUNT, "The peer's UDP port."),
        shown("local-address", Kind::Address, "Our address."),
        shown("dynamic-address", Kind::Address, "What mode-config handed out."),
        shown(
            "side",
            Kind::One(&[ok("initiator"), ok("responder")]),
            "Who called: we as initiator, or the peer.",
        ),
        shown("responder", Kind::YesNo, "The peer called."),
        shown("natt-peer", Kind::YesNo, "There is a NAT in between."),
        shown("ppk", Kind::YesNo, "A post-quantum pre-shared key was mixed in."),
        shown("last-seen", TIME, "Since its last message."),
        shown("spii", Kind::Text, "Initiator's SPI."),
        shown("spir", Kind::Text, "Responder's SPI."),
        shown("algorithms", Kind::Text, "What was agreed on."),
        shown("rx-bytes", COUNT, "Bytes received through its SAs."),
        shown("rx-packets", COUNT, "Packets received."),
        shown("tx-bytes", COUNT, "Bytes sent."),
        shown("tx-packets", COUNT, "Packets sent."),
    ],
    flags: &[flag('R', "responder"), flag('N', "natt-peer"), flag('P', "ppk")],
    commands: &[
        Command {
            name: "kill-connections",
            help: "Delete the IKE SAs of all peers.",
            of_rows: false,
            arguments: &[],
        },
        Command {
            name: "remove",
            help: "Delete an IKE SA and what belongs to it.",
            of_rows: true,
            arguments: &[],
        },
        Command { name: "rekey", help: "Make a new IKE SA in its place.", of_rows: true, arguments: &[] },
    ],
    ..FOLDER
};
const TIME: Kind = Kind::Time { min: 0, max: u64::MAX };

pub(super) const INSTALLED_SA: Menu = Menu {
    name: "installed-sa",
    shape: Shape::Live,
    help: "SAs that packets go through, one for each direction.",
    shown: &[
        shown("spi", Kind::Text, "The SPI, in hexadecimal."),
        shown("src-address", Kind::Text, "Outer source, with the port when there is a NAT."),
        shown("dst-address", Kind::Text, "Outer destination."),
        shown(
            "state",
            Kind::One(&[ok("larval"), ok("mature"), ok("dying"), ok("dead")]),
            "Waiting for keys, usable, past its soft limit, past its hard one.",
        ),
        shown("auth-algorithm", Kind::Text, "Integrity."),
        shown("enc-algorithm", Kind::Text, "Cipher family."),
        shown("enc-key-size", COUNT, "Bits of its key."),
        shown(
            "weak",
            Kind::YesNo,
            "One of its algorithms is out of date: `espway check` says which, and why.",
        ),
        shown("auth-key", Kind::Key, "Shown with show-sensitive."),
        shown("enc-key", Kind::Key, "Shown with show-sensitive."),
        shown("expires-in", TIME, "Until its hard limit."),
        shown("current-bytes", COUNT, "Bytes so far."),
        shown("current-packets", COUNT, "Packets so far."),
        shown("invalid-packets", COUNT, "Packets that were refused."),
        shown("replay", COUNT, "Width of the replay window, in packets."),
        shown("peer", Kind::Text, "Whose it is."),
        shown("direction", Kind::One(&[ok("in"), ok("out")]), "Which way its packets go."),
        shown("engine", Kind::Text, "Who encrypts."),
        shown("esn", Kind::YesNo, "64-bit sequence numbers."),
        shown("age", TIME, "Since it was made."),
        shown("idle", TIME, "Since its last packet."),
        shown(
            "mode",
            Kind::One(&[ok("tunnel"), ok("transport")]),
            "What it carries: whole packets, or what is in them.",
        ),
        shown("seen-traffic", Kind::YesNo, "It has carried packets."),
        shown("hw-aead", Kind::YesNo, "A device encrypts."),
        shown("AH", Kind::YesNo, "AH."),
        shown("ESP", Kind::YesNo, "ESP."),
    ],
    flags: &[flag('S', "seen-traffic"), flag('H', "hw-aead"), flag('A', "AH"), flag('E', "ESP")],
    commands: &[
        Command {
            name: "flush",
            help: "Delete all SAs; peers negotiate new ones.",
            of_rows: false,
            arguments: &[],
        },
        Command { name: "rekey", help: "Make a new SA in its place.", of_rows: true, arguments: &[] },
    ],
    ..FOLDER
};

pub(super) const DIAGNOSIS: Menu = Menu {
    name: "diagnosis",
    shape: Shape::Live,
    help: "Negotiations that failed: why, and what would change it. One row for what happened once or again and again.",
    shown: &[
        shown("when", Kind::Text, "The last time, UTC."),
        shown("first", Kind::Text, "The first time."),
        shown("count", COUNT, "How often."),
        shown("peer", Kind::Text, "The row of `peer`; empty for a stranger."),
        shown("remote", Kind::Text, "The other side's address and port."),
        shown("local", Kind::Text, "Ours."),
        shown("exchange", Kind::Text, "IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA or INFORMATIONAL."),
        shown("cause", Kind::Text, "One word for it, the same in every language and version."),
        shown("said", Kind::Text, "What happened."),
        shown("theirs", Kind::Text, "What they offer, ask for or are."),
        shown("ours", Kind::Text, "What we have."),
        shown("difference", Kind::Text, "Where the two first differ."),
        shown(
            "fix-here",
            Kind::Text,
            "The command that would make it work from our side; empty if none would.",
        ),
        shown("tell-them", Kind::Text, "What to say to whoever runs the other side."),
        shown("solved", Kind::YesNo, "The peer has come up since."),
    ],
    flags: &[flag('S', "solved")],
    commands: &[Command { name: "clear", help: "Forget all rows.", of_rows: false, arguments: &[] }],
    ..FOLDER
};

/// `/log`; the key `log` is the file's for `system logging`.
pub(super) const ENTRIES: Menu = Menu {
    name: "log-entries",
    console: Some("log"),
    shape: Shape::Live,
    help: "What has happened, newest last.",
    shown: &[
        shown("time", Kind::Text, "When, UTC."),
        shown("topics", Kind::Text, "What it is about and how grave: `ipsec,error`."),
        shown("message", Kind::Text, "What happened."),
    ],
    ..FOLDER
};

/// `/system history`: who changed what, and when.
pub(super) const HISTORY: Menu = Menu {
    name: "system-history",
    console: Some("system history"),
    shape: Shape::Live,
    help: "Changes of the configuration, newest last. `/system rollback entry=N` goes back to one.",
    shown: &[
        shown("number", COUNT, "What `rollback` calls it."),
        shown("when", Kind::Text, "When, UTC."),
        shown("who", Kind::Text, "Who did it."),
        shown("comment", Kind::Text, "The note given with it."),
        shown("changes", Kind::Text, "What is different since the entry before."),
    ],
    ..FOLDER
};
/// What can be done with the configuration as a whole.
pub(super) const SYSTEM_COMMANDS: &[Command] = &[
    Command {
        name: "rollback",
        help: "Go back to a former configuration.",
        of_rows: false,
        arguments: &[
            shown("entry", COUNT, "Its number in `/system history`."),
            shown("confirm", COUNT, "Seconds after which it is taken back unless `confirm` comes before."),
        ],
    },
    Command {
        name: "confirm",
        help: "Keep a change that would be taken back by itself.",
        of_rows: false,
        arguments: &[],
    },
];

pub(super) const STATISTICS: Menu = Menu {
    name: "statistics",
    shape: Shape::Figures,
    help: "Why packets were dropped, as RouterOS counts it.",
    shown: &COUNTERS,
    ..FOLDER
};
const COUNTERS: [Property; Stat::ALL.len()] = {
    let mut counters = [shown("", COUNT, "Packets dropped."); Stat::ALL.len()];
    let mut at = 0;
    while at < counters.len() {
        counters[at].name = Stat::ALL[at].name();
        at += 1;
    }
    counters
};
