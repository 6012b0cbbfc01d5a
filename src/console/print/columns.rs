//! Which properties a table shows.
use super::super::cell;
use config::schema::{Kind, Place};

/// By console path; other menus show all they have. With `?`: only where some row has another value than the default.
const BRIEF: &[(&str, &[&str])] = &[
    ("interface", &["name", "device", "vlan.interface", "vlan.vlan-id", "mtu", "mac-address"]),
    ("ip address", &["address", "interface"]),
    ("ip route", &["dst-address", "gateway", "blackhole?", "distance"]),
    ("ip pool", &["name", "ranges", "next-pool?", "total", "used", "available"]),
    (
        "ip ipsec profile",
        &["name", "hash-algorithm", "enc-algorithm", "dh-group", "lifetime", "dpd-interval"],
    ),
    ("ip ipsec peer", &["name", "address", "current-address", "local-address", "profile", "exchange-mode"]),
    (
        "ip ipsec identity",
        &["peer", "auth-method", "my-id", "remote-id", "certificate", "generate-policy?", "mode-config?"],
    ),
    ("ip ipsec proposal", &["name", "auth-algorithms", "enc-algorithms", "lifetime", "pfs-group"]),
    (
        "ip ipsec policy",
        &[
            "peer",
            "tunnel",
            "src-address",
            "src-port?",
            "dst-address",
            "dst-port?",
            "protocol",
            "action",
            "level",
            "ph2-count",
            "ph2-state",
        ],
    ),
    (
        "ip ipsec mode-config",
        &["name", "address-pool", "address", "address-prefix-length", "split-include", "system-dns"],
    ),
    (
        "ip ipsec active-peers",
        &["id", "peer", "state", "uptime", "ph2-total", "remote-address", "dynamic-address"],
    ),
    (
        "ip ipsec installed-sa",
        &[
            "spi",
            "src-address",
            "dst-address",
            "state",
            "enc-algorithm",
            "auth-algorithm",
            "expires-in",
            "current-packets",
        ],
    ),
    (
        "ip ipsec manual-sa",
        &["spi", "direction", "local-address", "remote-address", "enc-algorithm", "auth-algorithm", "policy"],
    ),
    ("system api user", &["name", "roles", "certificate-name", "expires"]),
    ("radius", &["service", "address", "protocol", "timeout", "src-address"]),
    ("certificate", &["name", "common-name", "file", "invalid-after"]),
    ("ip ipsec diagnosis", &["when", "count", "peer", "remote", "exchange", "said"]),
];
/// RouterOS shows their rows with all properties unless told otherwise.
const DETAILED: &[&str] = &["ip ipsec installed-sa"];

pub fn is_detailed(place: &Place) -> bool {
    DETAILED.contains(&place.console)
}
/// Shown as a letter, or as the line above the row.
pub fn is_flag(place: &Place, name: &str) -> bool {
    name == "comment" || place.menu.flags.iter().any(|flag| flag.name == name)
}
/// Shown last, and as long as they are.
pub fn is_long(name: &str) -> bool {
    matches!(name, "message" | "changes" | "said")
}
/// What a table shows unless it is told otherwise; `true`: whatever is in it.
pub fn brief(place: &'static Place) -> Vec<(&'static str, bool)> {
    match BRIEF.iter().find(|(console, _)| *console == place.console) {
        Some((_, columns)) => {
            columns.iter().map(|name| (name.trim_end_matches('?'), !name.ends_with('?'))).collect()
        }
        None => {
            let shown = |(name, kind): &(&'static str, Kind)| {
                !is_flag(place, name) && !matches!(kind, Kind::Secret | Kind::Key)
            };
            cell::properties(place).filter(shown).map(|(name, _)| (name, true)).collect()
        }
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use config::schema::places;

    #[test]
    fn every_column_is_a_property() {
        for (console, columns) in BRIEF {
            // A menu that is not in the table yet has no columns either.
            let Some(place) = places().iter().find(|place| place.console == *console) else { continue };
            for column in columns.iter().map(|name| name.trim_end_matches('?')) {
                assert!(cell::properties(place).any(|(name, _)| name == column), "{console} {column}");
            }
        }
    }
}
