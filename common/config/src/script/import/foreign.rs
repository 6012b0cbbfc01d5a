//! What a router has and this gateway does not, or has in another place.
use super::super::ast::{Item, ItemKind, ValueKind};
use super::rows::{Draft, Tables, place_of};

/// Menus that are read although they are not ours, to be turned into rows of ours.
const TURNED: &[&str] = &[
    "interface bridge",
    "interface bridge port",
    "interface ethernet",
    "interface vlan",
    "ipv6 address",
    "ipv6 route",
    "system identity",
];

const NAT: &str = "address translation is not available yet (without it, addresses are not changed before policies, \
                   and rules that exempt tunnels from it are not needed)";
const TUNNELS: &str = "tunnel interfaces are not available yet";
/// Menus, also by their beginning, and what is said about them.
const MISSING: &[(&str, &str)] = &[
    ("ip firewall nat", NAT),
    ("ip nat", NAT),
    ("ip firewall", "packet filters are not available yet"),
    ("ipv6 firewall", "packet filters are not available yet"),
    ("interface bridge port", "the gateway does not bridge"),
    ("interface gre", TUNNELS),
    ("interface gre6", TUNNELS),
    ("interface ipip", TUNNELS),
    ("interface ipipv6", TUNNELS),
    ("interface eoip", TUNNELS),
    ("interface l2tp-server", "L2TP is not available yet"),
    ("interface l2tp-client", "L2TP is not available yet"),
    ("interface wireguard", "WireGuard is not part of this gateway"),
    ("interface list", "lists of interfaces have no use without packet filters"),
    ("ppp", "PPP is not available"),
    ("user-manager", "the gateway has no RADIUS server of its own: use one beside it"),
    ("radius incoming", "requests from RADIUS servers are not available yet"),
    ("routing", "routing tables, rules and protocols are left to the host"),
    ("queue", "traffic shaping is not part of this gateway"),
    ("certificate settings", "revocation lists are not available yet"),
    ("certificate", "certificates are files here: export them as PEM and name them in `certificate`"),
    ("ip ipsec key", "keys are files here: export them as PEM and name them in `ip ipsec key rsa`"),
    ("ip ipsec user", "XAuth users are not available yet"),
    ("ip ipsec installed-sa", "this is a command for a running gateway"),
    ("ip ipsec active-peers", "this is a command for a running gateway"),
    ("ip dns", "the host's resolver is used"),
    ("ip dhcp-client", "addresses are configured, not asked for"),
    ("ip dhcp-server", "address assignment is not part of this gateway"),
    ("ip cloud", "dynamic DNS is left to the host"),
    ("ip service", "services of the router are not part of this gateway"),
];

/// Why a command has no effect; none: it is carried out.
pub fn not_covered(menu: &str, command: &str) -> Option<&'static str> {
    let is_row =
        matches!(command, "add" | "set" | "remove" | "enable" | "disable" | "comment" | "unset" | "move");
    if matches!(command, "print" | "export" | "find" | "get") {
        return None;
    }
    // Certificates and keys are rows, but making or loading one is a command of the router.
    let ours = place_of(menu).is_some() || TURNED.contains(&menu);
    if ours && (is_row || menu.is_empty()) {
        return None;
    }
    let begins =
        |path: &str| menu == path || menu.strip_prefix(path).is_some_and(|rest| rest.starts_with(' '));
    let known = MISSING.iter().find(|(path, _)| begins(path)).map(|(_, said)| *said);
    known.or(Some(match menu.split(' ').next() {
        Some("interface") => "this kind of interface is not available",
        Some("system" | "tool" | "snmp" | "user" | "disk" | "file") => {
            "this is about the router as a machine"
        }
        _ if ours => "this command is not carried out",
        _ => "there is no such menu here",
    }))
}
/// Menus with one object, not rows.
pub fn is_settings(menu: &str) -> bool {
    menu == "system identity"
}
/// Where names of interfaces that are not taken over are kept, with their kind.
pub const OTHER_INTERFACES: &str = "-other-interfaces";

/// Interfaces that are not taken over: their addresses cannot be, either.
pub fn remember(menu: &str, command: &str, arguments: &[Item], line: usize, tables: &mut Tables) {
    let Some(kind) = menu.strip_prefix("interface ").filter(|_| command == "add") else { return };
    let name = arguments.iter().find_map(|item| match &item.kind {
        ItemKind::Named { name, value, .. } if name == "name" => value.text(),
        _ => None,
    });
    if let Some(name) = name {
        let mut row = Draft { line, ..Draft::default() };
        row.put("name", name.clone(), line);
        row.put_str("kind", kind, line);
        tables.table(OTHER_INTERFACES).push(row);
    }
}
/// `set [ find default-name=ether1 ]`: the port exists, though nothing in the export says so.
pub fn port(text: &str, item: Option<&Item>, line: usize, tables: &mut Tables) {
    let Some(ItemKind::Value(value)) = item.map(|item| &item.kind) else { return };
    let ValueKind::Command(body) = &value.kind else { return };
    let Some((_, name)) = body.inner.of(text).split_once("default-name=") else { return };
    let name = name.split([' ', ']', '\t']).next().unwrap_or_default().trim_matches('"');
    let table = tables.table("interface ethernet");
    if !name.is_empty() && !table.iter().any(|row| row.is("default-name", name)) {
        let mut row = Draft { line, ..Draft::default() };
        row.put_str("default-name", name, line);
        row.put_str("name", name, line);
        table.push(row);
    }
}
