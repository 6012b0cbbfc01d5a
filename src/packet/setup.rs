//! The configuration as the offline gateway wants it.
use anyhow::{Context, bail};
use config::model::{Config, Engine, Gateway, Interface, InterfaceKind};
use fastpath::crypto::{CpuCrypto, CpuEngineKind};
use fastpath::offline::{InterfaceSpec, RouteSpec, Setup};

use std::collections::BTreeMap;

/// Interfaces with a device, in the order of the file: the ports, numbered.
pub fn port_names(config: &Config) -> Vec<String> {
    config.interfaces.iter().filter(|i| i.device().is_some()).map(|i| i.name.clone()).collect()
}

/// The engines of the configuration that work without DPDK and are present; all present ones if there is none.
pub fn engines(config: &Config) -> Vec<CpuEngineKind> {
    let here = config.system.engines.iter().flatten().filter_map(|engine| match engine {
        Engine::Native => Some(CpuEngineKind::Native),
        Engine::IpsecMb => Some(CpuEngineKind::IpsecMb),
        Engine::Ring => Some(CpuEngineKind::Ring),
        Engine::RustCrypto => Some(CpuEngineKind::RustCrypto),
        Engine::Cryptodev => None,
    });
    let present = |kind: &CpuEngineKind| CpuCrypto::new(*kind).is_ok();
    let here: Vec<_> = here.filter(present).collect();
    if here.is_empty() { CpuEngineKind::ALL.into_iter().filter(present).collect() } else { here }
}

/// Locally administered, and different from every other that is made up here.
pub fn made_up_mac(n: usize) -> [u8; 6] {
    let [.., high, low] = n.to_be_bytes();
    [2, 0, 0, 0, high.wrapping_add(1), low]
}

/// `first` is the capture's first frame: whom it is sent to, the ports are.
pub fn setup(config: &Config, first: &[u8]) -> anyhow::Result<Setup> {
    let ports = port_names(config);
    let addressed =
        first.first_chunk::<6>().copied().filter(|mac| mac.first().is_some_and(|byte| byte & 1 == 0));
    let index = |name: &str| config.interfaces.iter().position(|i| i.name == name);
    let mut setup = Setup::default();
    for interface in &config.interfaces {
        setup.interfaces.push(spec(config, interface, &ports, addressed)?);
    }
    // Of several routes to one destination the nearest counts.
    let mut routes = BTreeMap::new();
    for route in &config.routes {
        let nearest = routes.entry(route.dst).or_insert(route);
        if route.distance < nearest.distance {
            *nearest = route;
        }
    }
    for (prefix, route) in routes {
        let (name, next_hop) = match &route.gateway {
            Gateway::Via { address, interface } => (interface, Some(*address)),
            Gateway::Interface(interface) => (interface, None),
            Gateway::Blackhole => bail!("the offline datapath has no blackhole routes; leave {prefix} out"),
        };
        let interface = index(name).with_context(|| format!("no interface `{name}`"))?;
        setup.routes.push(RouteSpec { prefix, interface, next_hop });
    }
    setup.policies = config.ipsec.policies.iter().map(|policy| policy.spec).collect();
    setup.sas = config.ipsec.manual_sas.clone();
    Ok(setup)
}

fn spec(
    config: &Config,
    interface: &Interface,
    ports: &[String],
    addressed: Option<[u8; 6]>,
) -> anyhow::Result<InterfaceSpec> {
    let (port, vlan) = match &interface.kind {
        InterfaceKind::Port { .. } => (&interface.name, None),
        InterfaceKind::Vlan { parent, id } => (parent, Some(*id)),
    };
    let below = config.interface(port).with_context(|| format!("no interface `{port}`"))?;
    let number = ports.iter().position(|name| name == port).with_context(|| format!("no port `{port}`"))?;
    let on_it = config.addresses.iter().filter(|address| address.interface == interface.name);
    Ok(InterfaceSpec {
        port: number as u16,
        vlan,
        mac: below.mac_address.or(addressed).unwrap_or([2, 0, 0, 0, 0, number as u8 + 1]),
        mtu: interface.mtu,
        addresses: on_it.map(|address| (address.address, address.prefix_len)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_routes_the_nearer_is_taken() {
        let text = "interface: [{name: a, device: \"null\"}]\nip:\n  address: [{address: 192.0.2.1/24, interface: a}]\n  \
                    route:\n    - {gateway: 192.0.2.9, distance: 5}\n    - {gateway: 192.0.2.8, distance: 2}\n";
        let config = config::check(text).unwrap_or_else(|c| panic!("{c}")).config;
        let setup = setup(&config, &[]).unwrap();
        let hops: Vec<(sa::Prefix, _)> = setup.routes.iter().map(|r| (r.prefix, r.next_hop)).collect();
        assert_eq!(hops, [("0.0.0.0/0".parse().unwrap(), Some("192.0.2.8".parse().unwrap()))]);
        assert_eq!(setup.interfaces[0].mac, [2, 0, 0, 0, 0, 1]);
    }
}
