//! `system`, `interface`, `ip.address`, `ip.route`.
use super::Default::{Is, Needed, Unset};
use super::*;

pub(super) const SYSTEM: Menu = Menu {
    name: "system",
    help: "The gateway as a program: CPUs, memory, crypto engines.",
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
        own(
            "share",
            Kind::One(&[ok("auto"), ok("yes"), ok("no")]),
            Is("auto"),
            "Workers with nothing to do take packets from one whose queue is full, so that one SA uses several CPUs; \
             order is kept. `auto`: where workers and control have a CPU each. Not with `cryptodev` at work.",
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
        own(
            "lab",
            Kind::YesNo,
            Is("no"),
            "Permits what has no place in production: `espway run --key-log`, and ESP without integrity.",
        ),
    ],
    commands: live::SYSTEM_COMMANDS,
    ..SETTINGS
};
pub(super) const CRYPTO: &[Property] = &[own(
    "engines",
    Kind::Some(&[ok("native"), ok("ipsec-mb"), ok("cryptodev"), ok("ring"), ok("rustcrypto")]),
    Unset,
    "Crypto engines in order of preference; each SA runs on the first that is present and knows its algorithms. Left out: \
     for each algorithm the fastest CPU engine of this machine, measured at the start. Crypto devices are used only when \
     named.",
)];

pub(super) const INTERFACE: Menu = Menu {
    name: "interface",
    help: "Ports, and VLANs on them. A row has either `device` or `vlan`.",
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
    flags: &[DISABLED_FLAG, flag('R', "running")],
    shown: &[
        shown("running", Kind::YesNo, "The port is open."),
        shown("rx-packet", Kind::Integer { min: 0, max: u64::MAX }, "Packets received."),
        shown("rx-byte", Kind::Integer { min: 0, max: u64::MAX }, "Bytes received."),
        shown("rx-drop", Kind::Integer { min: 0, max: u64::MAX }, "Packets the port had no room for."),
        shown("tx-packet", Kind::Integer { min: 0, max: u64::MAX }, "Packets sent."),
        shown("tx-byte", Kind::Integer { min: 0, max: u64::MAX }, "Bytes sent."),
        shown("tx-error", Kind::Integer { min: 0, max: u64::MAX }, "Packets the port did not take."),
    ],
    ..LIST
};
pub(super) const VLAN: &[Property] = &[
    full("interface", Kind::Reference("interface"), Needed, "The port that carries the tagged frames."),
    full("vlan-id", Kind::Integer { min: 1, max: 4094 }, Needed, "The tag."),
];

pub(super) const ADDRESS: Menu = Menu {
    name: "address",
    help: "IPv4 and IPv6 addresses of the gateway.",
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
    flags: &[DISABLED_FLAG],
    ..LIST
};
pub(super) const ROUTE: Menu = Menu {
    name: "route",
    help: "Static routes, IPv4 and IPv6. The networks of `ip.address` need none.",
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
    flags: &[DISABLED_FLAG],
    ..LIST
};
