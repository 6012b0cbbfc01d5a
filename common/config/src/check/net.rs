//! `interface`, `ip.address`, `ip.route`.
use super::{Tables, enabled};
use crate::complaint::Sink;
use crate::model::{Address, Gateway, Interface, InterfaceKind, Route};
use crate::value;
use crate::walk::{Bad, Row};
use sa::{Device, InterfaceName, Prefix};
use std::collections::HashMap;
use std::net::IpAddr;

pub struct Network {
    pub interfaces: Vec<Interface>,
    pub addresses: Vec<Address>,
    pub routes: Vec<Route>,
}
impl Network {
    pub fn owns(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|a| a.address == address)
    }
    /// The interface on whose link an address is; the longest network wins.
    fn link(&self, address: IpAddr) -> Option<&Address> {
        let on_link = self.addresses.iter().filter(|a| a.network().contains(address));
        on_link.max_by_key(|a| a.prefix_len)
    }
}

pub fn build(tables: &Tables, sink: &mut Sink) -> Network {
    let mut network = Network { interfaces: Vec::new(), addresses: Vec::new(), routes: Vec::new() };
    network.interfaces = interfaces(tables, sink);
    network.addresses = addresses(tables, &network, sink);
    network.routes = routes(tables, &network, sink);
    network
}

fn interfaces(tables: &Tables, sink: &mut Sink) -> Vec<Interface> {
    let rows = tables.list("interface");
    if rows.iter().all(|row| !row.enabled()) {
        let spot = rows.first().map(|row| row.spot).unwrap_or_default();
        sink.error(spot, "interface", "there is no enabled interface", "add a row with `name` and `device`");
    }
    let pattern = tap_pattern(tables, sink);
    let by_name: HashMap<&str, &Row> = rows.iter().filter_map(|row| Some((row.name()?, row))).collect();
    let mut taken = Taken::default();
    enabled(rows, |row| interface(row, &by_name, pattern, &mut taken, sink))
}

/// With `{interface}` in it, or `none`.
fn tap_pattern<'r>(tables: &Tables<'r>, sink: &mut Sink) -> &'r str {
    let Some(system) = tables.one("system") else { return "none" };
    match system.get("exception-path").unwrap_or("none") {
        pattern if pattern == "none" || pattern.contains("{interface}") => pattern,
        pattern => {
            let said = format!("`{pattern}` gives every TAP the same name");
            system.error(sink, "exception-path", said, "put `{interface}` into it, or write `none`");
            "none"
        }
    }
}

/// What no two interfaces may have in common, and which has it.
#[derive(std::default::Default)]
struct Taken {
    devices: HashMap<String, String>,
    vlans: HashMap<(String, u16), String>,
    taps: HashMap<InterfaceName, String>,
}

fn interface(
    row: &Row,
    by_name: &HashMap<&str, &Row>,
    pattern: &str,
    taken: &mut Taken,
    sink: &mut Sink,
) -> Result<Interface, Bad> {
    let name: &str = row.get("name")?;
    let mtu = row.get::<u64>("mtu")?;
    let kind = match (row.opt::<&Device>("device")?, row.opt::<&Row>("vlan")?) {
        (Some(device), None) => port(row, device, taken, sink)?,
        (None, Some(group)) => vlan(row, group, by_name, mtu, taken, sink)?,
        (None, None) => {
            return Err(row.error(
                sink,
                "",
                "a row needs `device` or `vlan`",
                "write `device: af-packet:eth1`",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(row.error(
                sink,
                "vlan",
                "a row has either `device` or `vlan`",
                "make two rows of it",
            ));
        }
    };
    let tap = tap(row, name, &kind, pattern, sink)?;
    if let Some(tap) = &tap
        && row.enabled()
        && let Some(first) = taken.taps.insert(tap.clone(), row.path())
    {
        let said = format!("the TAP `{tap}` belongs to {first}");
        return Err(row.error(sink, "exception-path", said, "write another name"));
    }
    Ok(Interface {
        name: name.into(),
        kind,
        mtu: mtu as u16,
        mac_address: row.opt("mac-address")?,
        exception_tap: tap,
    })
}

fn port(row: &Row, device: &Device, taken: &mut Taken, sink: &mut Sink) -> Result<InterfaceKind, Bad> {
    // Arguments do not make it another device.
    let text = device.to_string();
    let id = text.split(',').next().unwrap_or_default().to_owned();
    if !matches!(device, Device::Null)
        && row.enabled()
        && let Some(first) = taken.devices.insert(id.clone(), row.path())
    {
        return Err(row.error(
            sink,
            "device",
            format!("`{id}` belongs to {first}"),
            "give each port a device of its own",
        ));
    }
    Ok(InterfaceKind::Port { device: device.clone() })
}

fn vlan(
    row: &Row,
    group: &Row,
    by_name: &HashMap<&str, &Row>,
    mtu: u64,
    taken: &mut Taken,
    sink: &mut Sink,
) -> Result<InterfaceKind, Bad> {
    let (parent, id): (&str, u64) = (group.get("interface")?, group.get("vlan-id")?);
    let port = by_name.get(parent).ok_or(Bad)?; // complained about as a reference
    if port.opt::<&Row>("vlan")?.is_some() {
        return Err(group.error(
            sink,
            "interface",
            format!("`{parent}` is a VLAN itself"),
            "name a row with a `device`",
        ));
    }
    if row.enabled() && !port.enabled() {
        return Err(group.error(
            sink,
            "interface",
            format!("`{parent}` is disabled"),
            "enable it, or disable this row too",
        ));
    }
    if mtu > port.get::<u64>("mtu")? {
        let said = format!("{mtu} is more than the mtu of `{parent}`");
        return Err(row.error(sink, "mtu", said, "raise it there or lower it here"));
    }
    if row.written("mac-address") {
        return Err(row.error(sink, "mac-address", "a VLAN has the MAC address of its port", "leave it out"));
    }
    if row.enabled()
        && let Some(first) = taken.vlans.insert((parent.into(), id as u16), row.path())
    {
        return Err(group.error(
            sink,
            "vlan-id",
            format!("{first} has this tag on `{parent}`"),
            "write another",
        ));
    }
    Ok(InterfaceKind::Vlan { parent: parent.into(), id: id as u16 })
}

fn tap(
    row: &Row,
    name: &str,
    kind: &InterfaceKind,
    pattern: &str,
    sink: &mut Sink,
) -> Result<Option<InterfaceName>, Bad> {
    let hostless = match kind {
        InterfaceKind::Vlan { .. } => true,
        InterfaceKind::Port { device } => {
            matches!(device, Device::Pcap { .. } | Device::Null | Device::Ring { .. })
        }
    };
    let tap = match row.get("exception-path")? {
        "none" => return Ok(None),
        "auto" if hostless || pattern == "none" => return Ok(None),
        "auto" => pattern.replace("{interface}", name),
        tap => tap.into(),
    };
    match tap.parse() {
        Ok(tap) => Ok(Some(tap)),
        Err(_) => {
            let said = format!("`{tap}` is not usable as the name of a TAP interface (1 to 15 characters)");
            Err(row.error(sink, "exception-path", said, "write a shorter name, or `none`"))
        }
    }
}

fn addresses(tables: &Tables, network: &Network, sink: &mut Sink) -> Vec<Address> {
    let mut owners: HashMap<IpAddr, String> = HashMap::new();
    let mut networks: HashMap<Prefix, (String, String)> = HashMap::new();
    enabled(tables.list("ip.address"), |row| {
        let (address, prefix_len) = row.get::<(IpAddr, u8)>("address")?;
        let interface: &str = row.get("interface")?;
        if let Some(why) = unusable(address, prefix_len) {
            return Err(row.error(
                sink,
                "address",
                format!("{address} is {why}"),
                "write an address of a host",
            ));
        }
        if !row.enabled() {
            return Err(Bad);
        }
        if let Some(first) = owners.insert(address, row.path()) {
            return Err(row.error(sink, "address", format!("{address} is in {first} already"), "keep one"));
        }
        let Some(port) = network.interfaces.iter().find(|i| i.name == interface) else {
            let off = tables.list("interface").iter().any(|i| i.name() == Some(interface) && !i.enabled());
            if off {
                let said = format!("the interface `{interface}` is disabled");
                row.error(sink, "interface", said, "enable it, or disable this row too");
            }
            return Err(Bad);
        };
        //= rfc8200#5/mtu-1280: every link that carries IPv6 carries 1280 bytes.
        if address.is_ipv6() && port.mtu < 1280 {
            let said = format!("IPv6 needs an MTU of 1280, `{interface}` has {}", port.mtu);
            return Err(row.error(sink, "interface", said, "raise `mtu` there"));
        }
        let address = Address { address, prefix_len, interface: interface.into() };
        match networks.insert(address.network(), (interface.into(), row.path())) {
            Some((other, first)) if other != interface => {
                let said = format!("{} is reached through `{other}` by {first} already", address.network());
                Err(row.error(sink, "interface", said, "give each interface its own network"))
            }
            _ => Ok(address),
        }
    })
}

/// Why an address cannot be that of an interface.
fn unusable(address: IpAddr, len: u8) -> Option<&'static str> {
    let network = Prefix::new(address, len)?;
    match address {
        a if a.is_unspecified() => Some("no address"),
        a if a.is_multicast() => Some("a group address"),
        a if a.is_loopback() => Some("the loopback address"),
        IpAddr::V4(a) if a.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(_) if len < 31 && network.addr() == address => Some("the address of the network itself"),
        IpAddr::V4(_) if len < 31 && network.range().last() == address => {
            Some("the broadcast address of its network")
        }
        _ => None,
    }
}

fn routes(tables: &Tables, network: &Network, sink: &mut Sink) -> Vec<Route> {
    let rows = tables.list("ip.route");
    let mut taken: HashMap<(Prefix, u8), String> = HashMap::new();
    let mut best: HashMap<Prefix, u8> = HashMap::new();
    for row in rows.iter().filter(|row| row.enabled()) {
        if let (Ok(dst), Ok(distance)) = (row.get::<Prefix>("dst-address"), row.get::<u64>("distance")) {
            let least = best.entry(dst).or_insert(u8::MAX);
            *least = (*least).min(distance as u8);
        }
    }
    enabled(rows, |row| {
        let dst: Prefix = row.get("dst-address")?;
        let distance = row.get::<u64>("distance")? as u8;
        let gateway = match (row.opt::<&str>("gateway")?, row.get::<bool>("blackhole")?) {
            (Some(text), false) => gateway(row, dst, text, tables, network, sink)?,
            (None, true) => Gateway::Blackhole,
            (None, false) => {
                return Err(row.error(
                    sink,
                    "",
                    "a route needs `gateway`",
                    "write `gateway: 192.0.2.1`, or `blackhole: yes`",
                ));
            }
            (Some(_), true) => {
                return Err(row.error(
                    sink,
                    "gateway",
                    "a blackhole has no gateway",
                    "leave one of the two out",
                ));
            }
        };
        if !row.enabled() {
            return Err(Bad);
        }
        if let Some(first) = taken.insert((dst, distance), row.path()) {
            let said = format!(
                "{first} leads to {dst} with distance {distance} as well; this version does not share load over routes"
            );
            return Err(row.error(sink, "", said, "write another distance"));
        }
        if best.get(&dst).is_some_and(|least| *least < distance) {
            let said = format!(
                "a route to {dst} with a smaller distance exists; next hops are not watched, so this one is never used"
            );
            row.warning(sink, "distance", said, "disable one of them");
        }
        Ok(Route { dst, gateway, distance })
    })
}

fn gateway(
    row: &Row,
    dst: Prefix,
    text: &str,
    tables: &Tables,
    network: &Network,
    sink: &mut Sink,
) -> Result<Gateway, Bad> {
    let (hop, interface) = match text.split_once('%') {
        Some((hop, interface)) => (hop, Some(interface)),
        None => (text, None),
    };
    let known = |name: &str| network.interfaces.iter().any(|i| i.name == name);
    let Ok(address) = value::address(hop) else {
        if interface.is_none() && known(hop) {
            return Ok(Gateway::Interface(hop.into()));
        }
        let disabled = tables.list("interface").iter().any(|i| i.name() == Some(hop));
        let said = match disabled {
            true => format!("the interface `{hop}` is disabled or wrong itself"),
            false => format!("`{hop}` is neither an address nor an interface"),
        };
        let near = crate::nearest(hop, network.interfaces.iter().map(|i| i.name.as_str()));
        let fix = near.map_or("write it like 192.0.2.1".into(), |near| format!("did you mean `{near}`?"));
        return Err(row.error(sink, "gateway", said, fix));
    };
    if address.is_ipv4() != dst.is_ipv4() {
        let (said, fix) =
            (format!("{address} cannot be the next hop to {dst}"), "take both from the same IP version");
        let fix = if row.written("dst-address") { fix } else { "write `dst-address: ::/0`" };
        return Err(row.error(sink, "gateway", said, fix));
    }
    if network.owns(address) {
        return Err(row.error(
            sink,
            "gateway",
            format!("{address} is our own address"),
            "write that of the next router",
        ));
    }
    if let Some(interface) = interface {
        if known(interface) {
            return Ok(Gateway::Via { address, interface: interface.into() });
        }
        let near = crate::nearest(interface, network.interfaces.iter().map(|i| i.name.as_str()));
        let fix = near.map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
        return Err(row.error(sink, "gateway", format!("there is no enabled interface `{interface}`"), fix));
    }
    if matches!(address, IpAddr::V6(a) if a.is_unicast_link_local()) {
        let said = format!("{address} is a link-local address; it exists on every link");
        return Err(row.error(sink, "gateway", said, format!("write {address}%INTERFACE")));
    }
    match network.link(address) {
        Some(link) => Ok(Gateway::Via { address, interface: link.interface.clone() }),
        None => {
            let said = format!(
                "{address} is in no network of `ip.address`, so nobody can be asked for its MAC address"
            );
            Err(row.error(
                sink,
                "gateway",
                said,
                "write a next hop on a connected network, or add the address",
            ))
        }
    }
}
