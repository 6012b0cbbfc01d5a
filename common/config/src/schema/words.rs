//! Kinds of values in words, and an example of each.
use super::{Choice, Kind};
use crate::value;
use std::time::Duration;

/// What a value is, in words for the manual and for complaints.
pub fn describe(kind: Kind) -> String {
    match kind {
        Kind::YesNo => "yes or no".into(),
        Kind::Text => "text".into(),
        Kind::Name => "a name".into(),
        Kind::Integer { min, max } => format!("a number from {min} to {max}"),
        Kind::Size { min, max } => {
            format!("a size from {} to {}", value::show_size(min), value::show_size(max))
        }
        Kind::Time { min, max } => format!("a duration from {} to {}", micros(min), micros(max)),
        Kind::TimeOr { word, min, max } => {
            format!("a duration from {} to {}, or {word}", micros(min), micros(max))
        }
        Kind::One(choices) => format!("one of: {}", names(choices)),
        Kind::Some(choices) => format!("a list of: {}", names(choices)),
        Kind::Address => "an address".into(),
        Kind::InterfaceAddress => "an address with its network's length".into(),
        Kind::Prefix => "an address or network".into(),
        Kind::PrefixOrName => "an address, a network or a DNS name".into(),
        Kind::Gateway => "an address, address%interface, or interface".into(),
        Kind::Ports => "`any`, a port, or a range of ports".into(),
        Kind::Protocol => "`all`, or an IP protocol".into(),
        Kind::Mac => "a MAC address".into(),
        Kind::Reference(menu) => format!("a name from `{menu}`"),
        Kind::References(menu) => format!("names from `{menu}`, separated by commas"),
        Kind::ReferenceOr { menu, words } => {
            let words: Vec<_> = words.iter().filter(|word| !word.is_empty()).copied().collect();
            format!("a name from `{menu}`, or {}", words.join(" or "))
        }
        Kind::List(each) => format!("a list, each {}", describe(*each)),
        Kind::AddressRange => "addresses `first-last`, a network, or an address".into(),
        Kind::Device => "a device".into(),
        Kind::Workers => "a number of CPUs, or a list of them".into(),
        Kind::Path => "an absolute path".into(),
        Kind::Tap => "`auto`, `none`, or the name of a TAP interface".into(),
        Kind::MyId => "an identity".into(),
        Kind::RemoteId => "an identity or `ignore`".into(),
        Kind::Secret => "a secret".into(),
        Kind::Key => "hexadecimal digits".into(),
        Kind::Group(_) => "a group of properties".into(),
    }
}
fn micros(micros: u64) -> String {
    value::show_duration(Duration::from_micros(micros))
}
fn names(choices: &[Choice]) -> String {
    choices.iter().filter(|c| c.later.is_none()).map(|c| c.name).collect::<Vec<_>>().join(", ")
}
pub fn example(kind: Kind) -> String {
    match kind {
        Kind::YesNo => "yes".into(),
        Kind::Text | Kind::Name | Kind::Reference(_) | Kind::References(_) | Kind::ReferenceOr { .. } => {
            "NAME".into()
        }
        Kind::Integer { min, .. } => min.to_string(),
        Kind::Size { .. } => "256M".into(),
        Kind::Time { .. } | Kind::TimeOr { .. } => "30m".into(),
        Kind::One(choices) | Kind::Some(choices) => {
            choices.first().map(|c| c.name.to_owned()).unwrap_or_default()
        }
        Kind::Address | Kind::Gateway => "192.0.2.1".into(),
        Kind::InterfaceAddress => "192.0.2.1/24".into(),
        Kind::Prefix | Kind::PrefixOrName => "192.0.2.0/24".into(),
        Kind::List(each) => example(*each),
        Kind::AddressRange => "192.0.2.10-192.0.2.99".into(),
        Kind::Ports => "any".into(),
        Kind::Protocol => "tcp".into(),
        Kind::Mac => "02:00:00:00:00:01".into(),
        Kind::Device => "af-packet:eth1".into(),
        Kind::Workers => "[1, 2]".into(),
        Kind::Path => "/run/espway".into(),
        Kind::Tap => "auto".into(),
        Kind::MyId | Kind::RemoteId => "fqdn:gw.example".into(),
        Kind::Secret => "\"...\"".into(),
        Kind::Key => "0x00112233...".into(),
        Kind::Group(_) => "{property: value}".into(),
    }
}
