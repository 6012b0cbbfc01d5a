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

mod ipsec;
mod system;
mod words;

pub use words::{describe, example};

use self::Default::{Is, Needed};
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
        system::SYSTEM,
        system::INTERFACE,
        Menu {
            name: "ip",
            shape: Shape::Folder,
            help: "Addresses, routes, IPsec.",
            properties: &[],
            later: None,
            menus: &[
                system::ADDRESS,
                system::ROUTE,
                Menu {
                    name: "ipsec",
                    shape: Shape::Folder,
                    help: "IPsec, as RouterOS has it.",
                    properties: &[],
                    later: None,
                    menus: &[
                        ipsec::SETTINGS,
                        ipsec::PROFILE,
                        ipsec::PEER,
                        ipsec::IDENTITY,
                        ipsec::PROPOSAL,
                        ipsec::GROUP,
                        ipsec::POLICY,
                        ipsec::MANUAL_SA,
                        unavailable("mode-config", "configuration payloads (mode-config)"),
                        unavailable("key", "authentication with raw keys"),
                    ],
                },
            ],
        },
    ],
};
