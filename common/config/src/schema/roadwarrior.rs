//! Addresses for road warriors: `ip.pool`, `ip.ipsec.mode-config`.
use super::Default::{Is, Unset};
use super::*;

const ADDRESSES: Kind = Kind::List(&Kind::Address);
const NETWORKS: Kind = Kind::List(&Kind::Prefix);

pub(super) const POOL: Menu = Menu {
    name: "pool",
    help: "Sets of addresses to hand out.",
    properties: &[
        NAME,
        full(
            "ranges",
            Kind::List(&Kind::AddressRange),
            Needed,
            "Addresses: 192.168.77.2-192.168.77.254, networks, or single ones.",
        ),
        full(
            "next-pool",
            Kind::ReferenceOr { menu: "ip.pool", words: &["none"] },
            Is("none"),
            "Where to go on when it is used up.",
        ),
        COMMENT,
    ],
    shown: &[
        shown("total", COUNT, "Addresses in it."),
        shown("used", COUNT, "Addresses handed out."),
        shown("available", COUNT, "Addresses left."),
    ],
    later: Some(super::MODE_CONFIG),
    ..LIST
};
pub(super) const COUNT: Kind = Kind::Integer { min: 0, max: u64::MAX };

pub(super) const MODE_CONFIG: Menu = Menu {
    name: "mode-config",
    help: "What a responder hands out to its callers, or an initiator asks for.",
    properties: &[
        NAME,
        full("responder", Kind::YesNo, Is("yes"), "We hand out; `no` is the side that asks."),
        full(
            "address",
            Kind::List(&Kind::Address),
            Unset,
            "One fixed address for the caller, instead of a pool.",
        ),
        full(
            "address-pool",
            Kind::ReferenceOr { menu: "ip.pool", words: &["none"] },
            Is("none"),
            "The pool its address comes from.",
        ),
        full(
            "address-prefix-length",
            Kind::Integer { min: 1, max: 128 },
            Unset,
            "Length of the network that is told with the address.",
        ),
        full("connection-mark", Kind::Text, Is("no-mark"), "Asking side: mark of what is translated."),
        full("split-dns", Kind::List(&Kind::Text), Unset, "Domains to resolve through the tunnel."),
        full("split-include", NETWORKS, Unset, "Networks behind the tunnel."),
        full("src-address-list", Kind::Text, Is(""), "Asking side: sources that are translated."),
        full("static-dns", ADDRESSES, Unset, "DNS servers to tell."),
        full(
            "system-dns",
            Kind::YesNo,
            Is("yes"),
            "Tell the gateway's own DNS servers; not with static-dns.",
        ),
        full(
            "use-responder-dns",
            Kind::One(&[ok("exclusively"), ok("no"), ok("yes")]),
            Is("exclusively"),
            "Asking side: what to do with DNS servers that were told.",
        ),
        COMMENT,
    ],
    flags: &[DEFAULT_FLAG, flag('R', "responder")],
    shown: &[shown("default", Kind::YesNo, "It is always there and cannot be removed.")],
    built_in: &[&[("name", "request-only"), ("responder", "no")]],
    later: Some(super::MODE_CONFIG),
    ..LIST
};
