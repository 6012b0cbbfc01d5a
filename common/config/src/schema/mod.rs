//! Every object and property of the configuration: the one table that reading, checking and the manual use.
//!
//! What RouterOS knows and this version does not do is listed too ([`Support::Later`], [`Choice::later`]), so
//! that it is refused by name instead of being taken for a spelling mistake or ignored.

/// One level of the model: a group of settings, a list of rows, or a folder of further menus.
#[derive(Debug)]
pub struct Menu {
    /// Its key in the file.
    pub name: &'static str,
    /// What the console calls it where that differs: `policy group` is `policy-group` in the file.
    pub console: Option<&'static str>,
    pub shape: Shape,
    pub help: &'static str,
    /// What can be written.
    pub properties: &'static [Property],
    /// What can only be read: states, counters.
    pub shown: &'static [Property],
    pub menus: &'static [Menu],
    /// Letters in front of a row, in the order of their legend.
    pub flags: &'static [Flag],
    /// Rows are tried from the top, and can be moved.
    pub ordered: bool,
    /// Rows that exist without being written and cannot be removed, each as what differs from the defaults.
    pub built_in: &'static [&'static [(&'static str, &'static str)]],
    /// Beyond add, set, print and the like.
    pub commands: &'static [Command],
    /// What is missing for this menu to work; it is refused then.
    pub later: Option<&'static str>,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Folder,
    Settings,
    List,
    /// Rows that the running gateway makes.
    Live,
    /// One group of figures of the running gateway.
    Figures,
}
impl Shape {
    /// Has a place in the file.
    pub fn is_written(self) -> bool {
        matches!(self, Self::Settings | Self::List)
    }
}

/// One letter of the flags column; `name` is the property behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    pub letter: char,
    pub name: &'static str,
}
const fn flag(letter: char, name: &'static str) -> Flag {
    Flag { letter, name }
}
const DISABLED_FLAG: Flag = flag('X', "disabled");
const DYNAMIC_FLAG: Flag = flag('D', "dynamic");
const DEFAULT_FLAG: Flag = flag('*', "default");

#[derive(Clone, Copy, Debug)]
pub struct Command {
    pub name: &'static str,
    pub help: &'static str,
    /// Needs rows to be named.
    pub of_rows: bool,
    pub arguments: &'static [Property],
}

/// What most menus are; the others say how they differ.
const FOLDER: Menu = Menu {
    name: "",
    console: None,
    shape: Shape::Folder,
    help: "",
    properties: &[],
    shown: &[],
    menus: &[],
    flags: &[],
    ordered: false,
    built_in: &[],
    commands: &[],
    later: None,
};
const LIST: Menu = Menu { shape: Shape::List, ..FOLDER };
const SETTINGS: Menu = Menu { shape: Shape::Settings, ..FOLDER };

#[derive(Clone, Copy, Debug)]
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
    /// An address, a network, or a name to look up.
    PrefixOrName,
    /// Address, address%interface, or interface.
    Gateway,
    Ports,
    Protocol,
    Mac,
    /// The name of a row of another menu.
    Reference(&'static str),
    /// Names of such rows, separated by commas, the preferred one first.
    References(&'static str),
    /// The same, or a word that stands for none.
    ReferenceOr {
        menu: &'static str,
        words: &'static [&'static str],
    },
    /// Several of one kind, separated by commas; may be empty.
    List(&'static Kind),
    /// An address, a network, or first-last.
    AddressRange,
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
    /// It cannot be run: what is missing, or why it never will.
    pub later: Option<&'static str>,
    pub never: bool,
}
const fn ok(name: &'static str) -> Choice {
    Choice { name, later: None, never: false }
}
const fn later(name: &'static str, what: &'static str) -> Choice {
    Choice { name, later: Some(what), never: false }
}
const fn never(name: &'static str, why: &'static str) -> Choice {
    Choice { name, later: Some(why), never: true }
}

mod api;
mod ipsec;
mod live;
mod places;
mod roadwarrior;
mod services;
mod system;
mod words;

pub use places::{Field, Place, place, places};
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

/// What a row or the gateway shows and nobody writes.
const fn shown(name: &'static str, kind: Kind, help: &'static str) -> Property {
    Property { name, kind, default: Default::Unset, support: Support::Full, help }
}

const EAP: &str = "EAP and XAuth";
const RADIUS: &str = "RADIUS";
const MODE_CONFIG: &str = "configuration payloads (mode-config)";

pub const ROOT: Menu = Menu {
    help: "The file.",
    menus: &[
        system::SYSTEM,
        api::API,
        api::API_USER,
        services::LOG,
        services::LOG_ACTION,
        live::ENTRIES,
        live::HISTORY,
        system::INTERFACE,
        Menu {
            name: "ip",
            help: "Addresses, routes, IPsec.",
            menus: &[
                system::ADDRESS,
                system::ROUTE,
                roadwarrior::POOL,
                Menu {
                    name: "ipsec",
                    help: "IPsec, as RouterOS has it.",
                    menus: &[
                        ipsec::IPSEC_SETTINGS,
                        ipsec::PROFILE,
                        ipsec::PEER,
                        ipsec::IDENTITY,
                        ipsec::PROPOSAL,
                        ipsec::GROUP,
                        ipsec::POLICY,
                        ipsec::MANUAL_SA,
                        roadwarrior::MODE_CONFIG,
                        services::KEY,
                        services::KEY_PSK,
                        live::ACTIVE_PEERS,
                        live::INSTALLED_SA,
                        live::STATISTICS,
                        live::DIAGNOSIS,
                    ],
                    ..FOLDER
                },
            ],
            ..FOLDER
        },
        services::RADIUS,
        services::CERTIFICATE,
    ],
    ..FOLDER
};
