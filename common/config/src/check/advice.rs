//! What can be run but was hardly meant: weak algorithms, peers inside of each other, next hops and networks that nobody
//! reaches.
use super::Tables;
use super::net::Network;
use crate::complaint::Sink;
use crate::model::Policy;
use crate::walk::{Row, Value};
use crate::ways::Ways;
use sa::{Action, DhGroup, Encryption, IkeCipher, IkeIntegrity, Integrity, Prefix, Prf};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// Menu, property, word; whether it is said also where it is there by default; what is wrong, what to take.
type Weak = (&'static str, &'static str, &'static str, bool, &'static str, &'static str);
const GROUP: &str = "modp1024 is too short for new tunnels (RFC 8247 2.4)";
const GROUP_FIX: &str = "take x25519, ecp256 or modp2048 if the peer can";
const WEAK: &[Weak] = &[
    ("ip.ipsec.profile", "dh-group", "modp1024", true, GROUP, GROUP_FIX),
    (
        "ip.ipsec.profile",
        "hash-algorithm",
        "sha1",
        false,
        "sha1 is on its way out (RFC 8247 2.3)",
        "take sha256 if the peer can",
    ),
    (
        "ip.ipsec.profile",
        "prf-algorithm",
        "sha1",
        false,
        "sha1 is on its way out (RFC 8247 2.2)",
        "take sha256 if the peer can",
    ),
    ("ip.ipsec.proposal", "pfs-group", "modp1024", true, GROUP, GROUP_FIX),
    (
        "ip.ipsec.proposal",
        "enc-algorithms",
        "null",
        false,
        "`null` encrypts nothing: everybody on the way reads it",
        "take aes-256-gcm",
    ),
    (
        "ip.ipsec.proposal",
        "auth-algorithms",
        "sha1",
        false,
        "sha1 is on its way out (RFC 8221 6)",
        "take sha256, or AES-GCM, if the peer can",
    ),
];

/// Rows of profiles and proposals, and the built-in ones where something uses them.
pub fn weak_algorithms(tables: &Tables, sink: &mut Sink) {
    for (menu, property, word, by_default, said, fix) in WEAK {
        for row in tables.list(menu) {
            let has = match row.value(property) {
                Value::Word(value) => value == word,
                Value::Words(values) => values.iter().any(|(value, _)| value == word),
                _ => false,
            };
            match row.written(property) {
                true if has => row.warning(sink, property, *said, *fix),
                false if has && *by_default => {
                    let said = format!("left out, this has {word} as in RouterOS: {said}");
                    row.warning(sink, property, said, *fix);
                }
                _ => {}
            }
        }
    }
    broken_algorithms(tables, sink);
    for (users, property) in [("ip.ipsec.peer", "profile"), ("ip.ipsec.policy", "proposal")] {
        let menu = format!("ip.ipsec.{property}");
        let built_in = |row: &&Row| {
            row.enabled()
                && row.get::<&str>(property).is_ok_and(|name| name == "default")
                && (property == "profile" || row.written("peer"))
        };
        if tables.list(&menu).iter().any(|row| row.name() == Some("default")) {
            continue;
        }
        if let Some(row) = tables.list(users).iter().find(built_in) {
            let group = if property == "profile" { "dh-group" } else { "pfs-group" };
            let said = format!("the built-in {property} `default` has {group} as in RouterOS, and {GROUP}");
            let fix = format!("write a {property} with {group} x25519, ecp256 or modp2048, and name it here");
            row.warning(sink, property, said, fix);
        }
    }
}

/// What the tables of algorithms call weak, wherever one is named.
fn broken_algorithms(tables: &Tables, sink: &mut Sink) {
    let encryption = |name: &str| Encryption::from_name(name)?.weakness();
    let integrity = |name: &str| Integrity::from_name(name)?.weakness();
    let group = |name: &str| DhGroup::from_name(name)?.weakness();
    let ike_cipher = |name: &str| IkeCipher::from_name(name)?.weakness();
    let hash = |name: &str| IkeIntegrity::from_name(name)?.weakness();
    let prf = |name: &str| Prf::from_name(name)?.weakness();
    type Weakness<'a> = &'a dyn Fn(&str) -> Option<&'static str>;
    let (cipher, sha) = ("take aes-256-gcm if the peer can", "take sha256 if the peer can");
    let places: [(&str, &str, Weakness<'_>, &str); 9] = [
        ("ip.ipsec.profile", "dh-group", &group, GROUP_FIX),
        ("ip.ipsec.profile", "enc-algorithm", &ike_cipher, cipher),
        ("ip.ipsec.profile", "hash-algorithm", &hash, sha),
        ("ip.ipsec.profile", "prf-algorithm", &prf, sha),
        ("ip.ipsec.proposal", "pfs-group", &group, GROUP_FIX),
        ("ip.ipsec.proposal", "enc-algorithms", &encryption, cipher),
        ("ip.ipsec.proposal", "auth-algorithms", &integrity, cipher),
        ("ip.ipsec.manual-sa", "enc-algorithm", &encryption, cipher),
        ("ip.ipsec.manual-sa", "auth-algorithm", &integrity, cipher),
    ];
    for (menu, property, weakness, fix) in places {
        for row in tables.list(menu) {
            let words: Vec<&str> = match row.value(property) {
                Value::Word(word) => vec![word],
                Value::Words(words) => words.iter().map(|(word, _)| *word).collect(),
                _ => Vec::new(),
            };
            for word in words {
                if let Some(why) = weakness(word) {
                    row.warning(sink, property, format!("`{word}` is weak: {why}"), fix);
                }
            }
        }
    }
}

/// A peer whose addresses hold those of others: that the longest match wins is right, but easily overlooked.
pub fn overlapping_peers(tables: &Tables, sink: &mut Sink) {
    let rows = tables.list("ip.ipsec.peer").iter().filter(|row| row.enabled());
    let mut peers: Vec<(Prefix, &Row)> =
        rows.filter_map(|row| Some((row.get("address").ok()?, row))).collect();
    peers.sort_by_key(|(address, _)| *address);
    // In this order everything inside of a network comes right behind it: the networks around the current one are a stack.
    let mut around: Vec<(Prefix, &Row)> = Vec::new();
    let mut inside: BTreeMap<usize, Inside> = BTreeMap::new();
    for (address, row) in peers {
        while around.last().is_some_and(|(outer, _)| !outer.contains_prefix(address)) {
            around.pop();
        }
        if let Some((outer, wide)) = around.last().filter(|(outer, _)| *outer != address) {
            let of = inside.entry(wide.spot.start as usize).or_insert(Inside {
                wide,
                address: *outer,
                names: Vec::new(),
                count: 0,
            });
            of.count += 1;
            if of.names.len() < 3 {
                of.names.extend(row.name());
            }
        }
        around.push((address, row));
    }
    for Inside { wide, address, names, count } in inside.into_values() {
        let more = count.saturating_sub(names.len());
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let said = format!(
            "{address} holds the address of {}{more} too; the longer prefix wins, so who calls from there is never this peer",
            names.join(", ")
        );
        wide.warning(
            sink,
            "address",
            said,
            "nothing, if it is for everybody else; otherwise write a smaller network",
        );
    }
}
struct Inside<'r> {
    wide: &'r Row,
    address: Prefix,
    names: Vec<&'r str>,
    count: usize,
}

/// Next hops that nobody can ask for their MAC addresses.
pub fn next_hops(tables: &Tables, network: &Network, sink: &mut Sink) {
    let mut links: HashMap<&str, Vec<Prefix>> = HashMap::new();
    for address in &network.addresses {
        links.entry(&address.interface).or_default().push(address.network());
    }
    for row in tables.list("ip.route").iter().filter(|row| row.enabled()) {
        let (Ok(Some(text)), Ok(dst)) = (row.opt::<&str>("gateway"), row.get::<Prefix>("dst-address")) else {
            continue;
        };
        let (hop, interface) = text.split_once('%').map_or((None, text), |(hop, name)| (Some(hop), name));
        if !network.interfaces.iter().any(|i| i.name == interface) {
            continue;
        }
        let version = if dst.is_ipv4() { "IPv4" } else { "IPv6" };
        let on = links.get(interface).map_or(&[][..], Vec::as_slice);
        if !on.iter().any(|link| link.is_ipv4() == dst.is_ipv4()) {
            let said = format!("`{interface}` has no {version} address, so nobody there answers us");
            row.warning(sink, "gateway", said, "add one to `ip.address`");
        } else if let Some(hop) = hop.and_then(|hop| hop.parse::<IpAddr>().ok())
            && !on.iter().any(|link| link.contains(hop))
            && !matches!(hop, IpAddr::V6(a) if a.is_unicast_link_local())
        {
            let said = format!("{hop} is in no network of `{interface}`; it is asked for there all the same");
            row.warning(sink, "gateway", said, "write a next hop on a connected network, or add the address");
        }
    }
}

/// What comes out of a tunnel must have somewhere to go.
pub fn local_sides(tables: &Tables, ways: &Ways, policies: &[(usize, Policy)], sink: &mut Sink) {
    for (number, policy) in policies {
        let src = policy.spec.selector.src;
        if matches!(policy.spec.action, Action::Encrypt { .. })
            && !ways.any_in(src)
            && let Some(row) = tables.list("ip.ipsec.policy").get(*number)
        {
            let said = format!("no route leads to {src}: what the peer sends there is dropped");
            row.warning(sink, "src-address", said, "add one to `ip.route`, or an address to `ip.address`");
        }
    }
}
