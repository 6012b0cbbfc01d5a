//! Interfaces, addresses, routes, and what the system itself is called.
use super::foreign::OTHER_INTERFACES;
use super::put::Putter;
use super::report::Outcome;
use super::rows::{Draft, Tables};
use crate::schema::place;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

pub fn all(put: &mut Putter, tables: &mut Tables) {
    // Routes of both families are one list here, and so are addresses.
    for (theirs, ours) in [("ipv6 address", "ip address"), ("ipv6 route", "ip route")] {
        let rows = tables.take(theirs);
        tables.table(ours).extend(rows);
    }
    let wanted = wanted(tables);
    for row in tables.take("interface") {
        put.put("interface", row);
    }
    ports(put, tables, &wanted);
    vlans(put, tables);
    bridges(put, tables, &wanted);
    let others: BTreeMap<String, String> = tables
        .take(OTHER_INTERFACES)
        .iter()
        .filter_map(|row| Some((row.get("name")?.to_owned(), row.get("kind")?.to_owned())))
        .collect();
    unknown(put, &wanted, &others);
    for row in tables.take("ip address") {
        address(put, row, &others);
    }
    for row in tables.take("ip route") {
        route(put, row, &others);
    }
}

/// Interfaces that something needs, with the line that needs each first.
fn wanted(tables: &Tables) -> BTreeMap<String, usize> {
    let mut wanted = BTreeMap::new();
    let mut want = |name: &str, line| _ = wanted.entry(name.to_owned()).or_insert(line);
    for row in tables.rows("ip address").iter().chain(tables.rows("interface vlan")) {
        row.filled("interface").into_iter().for_each(|name| want(name, row.line));
    }
    for row in tables.rows("ip route") {
        for gateway in row.filled("gateway").into_iter().flat_map(|gateway| gateway.split(',')) {
            let interface = gateway.split_once('%').map_or(gateway, |(_, interface)| interface);
            if interface.parse::<IpAddr>().is_err() && !interface.is_empty() {
                want(interface, row.line);
            }
        }
    }
    wanted
}
fn copy(from: &Draft, names: &[&str]) -> Draft {
    let mut row = Draft { line: from.line, ..Draft::default() };
    row.cells = from.cells.iter().filter(|cell| names.contains(&&*cell.name)).cloned().collect();
    row
}
const FILL_IN: &str =
    "give it with --device NAME=af-packet:eth1, or set device= (the kinds are in docs/ports.md)";

fn ports(put: &mut Putter, tables: &mut Tables, wanted: &BTreeMap<String, usize>) {
    for row in tables.take("interface ethernet") {
        let name = row.filled("name").unwrap_or_default().to_owned();
        let about = format!("interface {name}");
        if !wanted.contains_key(&name) {
            put.say(row.line, Outcome::NotCovered, about, "no address or route uses this port; left out", "");
            continue;
        }
        let (line, mut ours) = (row.line, copy(&row, &["name", "mtu", "comment", "disabled"]));
        if let Some(mac) = row.filled("mac-address") {
            let said = format!("mac-address={mac} left out: the port has its own here");
            put.say(line, Outcome::Changed, &*about, said, "");
        }
        ours.line = line;
        put.put("interface", ours);
        put.say(line, Outcome::Attention, about, "a port without a device", FILL_IN);
    }
}
fn vlans(put: &mut Putter, tables: &mut Tables) {
    for row in tables.take("interface vlan") {
        let mut ours = copy(&row, &["name", "mtu", "comment", "disabled"]);
        for (theirs, name) in [("interface", "vlan.interface"), ("vlan-id", "vlan.vlan-id")] {
            match row.cells.iter().find(|cell| cell.name == theirs) {
                Some(cell) => ours.put(name, cell.value.clone(), cell.line),
                None if theirs == "vlan-id" => ours.put_str(name, "1", row.line),
                None => {}
            }
        }
        if row.is("use-service-tag", "yes") {
            let about = format!("interface {}", row.filled("name").unwrap_or_default());
            put.say(
                row.line,
                Outcome::Attention,
                about,
                "service tags (802.1ad) are not available: the tag is 802.1Q",
                "",
            );
        }
        put.put("interface", ours);
    }
}
/// A bridge that joins nothing holds addresses; one that joins ports is a port of the machine here.
fn bridges(put: &mut Putter, tables: &mut Tables, wanted: &BTreeMap<String, usize>) {
    let ports = tables.take("interface bridge port");
    for row in tables.take("interface bridge") {
        let name = row.filled("name").unwrap_or("bridge1").to_owned();
        let about = format!("interface {name}");
        if !wanted.contains_key(&name) {
            put.say(
                row.line,
                Outcome::NotCovered,
                about,
                "no address or route uses this bridge; left out",
                "",
            );
            continue;
        }
        let members: Vec<_> = ports
            .iter()
            .filter(|port| port.is("bridge", &name))
            .filter_map(|port| port.filled("interface"))
            .collect();
        let (line, mut ours) = (row.line, copy(&row, &["name", "mtu", "comment", "disabled"]));
        ours.put_str("name", &name, line);
        if members.is_empty() {
            ours.put_str("device", "null", line);
            put.put("interface", ours);
            put.say(
                line,
                Outcome::Changed,
                about,
                "a bridge without ports only holds addresses: device=null",
                "",
            );
        } else {
            put.put("interface", ours);
            let said = format!("the gateway does not bridge; it joined {}", members.join(", "));
            put.say(line, Outcome::Attention, about, said, FILL_IN);
        }
    }
    for port in ports {
        put.say(port.line, Outcome::NotCovered, "interface bridge port", "the gateway does not bridge", "");
    }
}
/// Interfaces that the source uses and does not define.
fn unknown(put: &mut Putter, wanted: &BTreeMap<String, usize>, others: &BTreeMap<String, String>) {
    if put.own {
        return;
    }
    let Some(interfaces) = place("interface") else { return };
    let there: BTreeSet<String> =
        put.document.rows(interfaces).iter().filter_map(|row| row.name().map(ToOwned::to_owned)).collect();
    for (name, line) in
        wanted.iter().filter(|(name, _)| !there.contains(*name) && !others.contains_key(*name))
    {
        let mut row = Draft { line: *line, ..Draft::default() };
        row.put_str("name", name, *line);
        let about = format!("interface {name}");
        if matches!(&**name, "lo" | "loopback") {
            row.put_str("device", "null", *line);
            put.say(*line, Outcome::Changed, about, "added as a holder of addresses: device=null", "");
        } else {
            put.say(
                *line,
                Outcome::Attention,
                about,
                "added without a device: the source does not define it",
                FILL_IN,
            );
        }
        put.put("interface", row);
    }
}

fn address(put: &mut Putter, mut row: Draft, others: &BTreeMap<String, String>) {
    if put.own {
        put.put("ip.address", row);
        return;
    }
    let line = row.line;
    let interface = row.filled("interface").unwrap_or_default().to_owned();
    let about = format!("ip address {}", row.filled("address").unwrap_or_default());
    if let Some(kind) = others.get(&interface) {
        let said = format!("it is on `{interface}`, a {kind} interface, which is not taken over; left out");
        return put.say(line, Outcome::NotCovered, about, said, "");
    }
    if row.take("from-pool").is_some_and(|cell| !cell.value.is_empty()) {
        return put.say(
            line,
            Outcome::NotCovered,
            about,
            "addresses from pools of prefixes are not available; left out",
            "",
        );
    }
    for name in ["advertise", "broadcast", "eui-64", "no-dad"] {
        if row.take(name).is_some_and(|cell| cell.value.as_str() == "yes") {
            put.say(line, Outcome::Changed, &*about, format!("{name}=yes left out: not available here"), "");
        }
    }
    if let Some(written) =
        row.filled("address").filter(|address| !address.contains('/')).map(ToOwned::to_owned)
    {
        let len = if written.contains(':') { 64 } else { 32 }; // RouterOS's defaults
        row.put_str("address", &format!("{written}/{len}"), line);
        put.say(line, Outcome::Changed, &*about, format!("written with its length, {written}/{len}"), "");
    }
    if let Some(network) = row.take("network").filter(|cell| !cell.value.is_empty()) {
        let own = row.filled("address").and_then(|address| address.parse::<sa::Prefix>().ok());
        let same = own.is_some_and(|own| network.value.parse() == Ok(own.addr()));
        if !same {
            let said =
                format!("network={} left out: it is not the network of the address", network.value.as_str());
            let fix = "for a point-to-point link add a route to the other end";
            put.say(network.line, Outcome::Attention, about, said, fix);
        }
    }
    put.put("ip.address", row);
}

fn route(put: &mut Putter, mut row: Draft, others: &BTreeMap<String, String>) {
    if put.own {
        put.put("ip.route", row);
        return;
    }
    let line = row.line;
    let about = format!("ip route {}", row.filled("dst-address").unwrap_or("0.0.0.0/0"));
    for name in ["routing-table", "routing-mark", "vrf-interface"] {
        if let Some(cell) = row.take(name).filter(|cell| !matches!(cell.value.as_str(), "" | "main")) {
            let said = format!(
                "it is of the table `{}`; only the main table is available; left out",
                cell.value.as_str()
            );
            return put.say(line, Outcome::NotCovered, about, said, "");
        }
    }
    // `192.0.2.1@main` names the table, too.
    if let Some((gateway, table)) = row.get("gateway").and_then(|gateway| gateway.split_once('@')) {
        if table != "main" {
            let said =
                format!("its gateway is in the table `{table}`; only the main table is available; left out");
            return put.say(line, Outcome::NotCovered, about, said, "");
        }
        let gateway = gateway.to_owned();
        row.put_str("gateway", &gateway, line);
    }
    for (name, usual) in [
        ("scope", "30"),
        ("target-scope", "10"),
        ("suppress-hw-offload", "no"),
        ("pref-src", ""),
        ("check-gateway", "none"),
    ] {
        if let Some(cell) = row
            .take(name)
            .filter(|cell| !matches!(cell.value.as_str(), "" | "0.0.0.0") && cell.value.as_str() != usual)
        {
            let said = format!("{name}={} left out: not available here", cell.value.as_str());
            put.say(cell.line, Outcome::Changed, &*about, said, "");
        }
    }
    match row.take("type").as_ref().map(|cell| cell.value.as_str()) {
        Some("blackhole") => row.put_str("blackhole", "yes", line),
        Some(other @ ("unreachable" | "prohibit")) => {
            row.put_str("blackhole", "yes", line);
            put.say(
                line,
                Outcome::Changed,
                &*about,
                format!("type={other} is a blackhole here: no answer is sent"),
                "",
            );
        }
        _ => {}
    }
    if row.is("blackhole", "") {
        row.put_str("blackhole", "yes", line);
    }
    if row.is("blackhole", "yes") {
        row.take("gateway");
    }
    if let Some((first, more)) = row.get("gateway").and_then(|gateways| gateways.split_once(',')) {
        let (first, said) =
            (first.to_owned(), format!("only the first gateway is taken over; {more} left out"));
        row.put_str("gateway", &first, line);
        put.say(line, Outcome::Changed, &*about, said, "");
    }
    let gateway = row.filled("gateway").unwrap_or_default();
    let interface = gateway.split_once('%').map_or(gateway, |(_, interface)| interface);
    if let Some(kind) = others.get(interface) {
        let said =
            format!("it leads to `{interface}`, a {kind} interface, which is not taken over; left out");
        return put.say(line, Outcome::NotCovered, about, said, "");
    }
    put.put("ip.route", row);
}

/// `/system identity` is the gateway's name.
pub fn system(put: &mut Putter, tables: &mut Tables) {
    for row in tables.take("system") {
        put.put("system", row);
    }
    for row in tables.take("system identity") {
        put.put("system", copy(&row, &["name"]));
    }
}
