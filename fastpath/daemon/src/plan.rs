//! From the checked configuration to what this process sets up: CPUs, memory, ports, interfaces, routes.
use crate::network::Network;
use anyhow::{Context, Result, bail};
use config::model::{Config, Gateway, Hugepages, Idle, InterfaceKind, Share, Workers};
use dpdk::{EalConfig, Lcore, LogLevel, PciAllow};
use fastpath::tables::NextHop;
use sa::Device;

pub struct Plan {
    /// The gateway's.
    pub name: String,
    pub eal: EalConfig,
    /// Physical ports in order; their index is the port number of the graph.
    pub ports: Vec<PortPlan>,
    /// Interfaces in the order of the configuration; their index is the interface number of the graph.
    pub interfaces: Vec<InterfacePlan>,
    pub network: Network,
    pub buffers: u32,
    pub sa_slots: u32,
    pub idle: Idle,
    /// Whether workers take bursts from each other.
    pub share: bool,
    /// `None`: the fastest for each suite.
    pub engines: Option<Vec<config::model::Engine>>,
}
pub struct PortPlan {
    pub name: String,
    pub device: Device,
    /// Largest MTU of the interfaces on it.
    pub mtu: u16,
    pub mac: Option<[u8; 6]>,
}
pub struct InterfacePlan {
    pub name: String,
    pub port: u16,
    pub vlan: Option<u16>,
    pub mtu: u16,
    pub mac: Option<[u8; 6]>,
    pub tap: Option<String>,
}
pub fn plan(config: &Config, file_prefix: &str, level: LogLevel) -> Result<Plan> {
    let ports = ports(config);
    let interfaces = interfaces(config, &ports)?;
    let network = network(config, &interfaces)?;
    let (main, workers) = lcores(config)?;
    let share = shares(config.system.share, &main, &workers);
    let mut eal = EalConfig::new(file_prefix);
    eal.main = main;
    eal.workers = workers;
    eal.memory_mib = u32::try_from(config.system.memory >> 20).context("system.memory")?;
    eal.hugepages = match config.system.hugepages {
        Hugepages::Yes => dpdk::Hugepages::Yes,
        Hugepages::No => dpdk::Hugepages::No,
        Hugepages::Auto => dpdk::Hugepages::Auto,
    };
    eal.log_level = level;
    eal.telemetry = true;
    eal.pci = config.interfaces.iter().filter_map(|i| pci_allow(i.device()?)).collect();
    Ok(Plan {
        name: config.system.name.clone(),
        eal,
        ports,
        interfaces,
        network,
        buffers: config.system.buffers,
        sa_slots: config.system.sa_slots,
        idle: config.system.idle,
        share,
        engines: config.system.engines.clone(),
    })
}

fn pci_allow(device: &Device) -> Option<PciAllow> {
    let Device::Pci { address, args } = device else { return None };
    let args = args.iter().map(|a| format!("{}={}", a.key, a.value)).collect::<Vec<_>>().join(",");
    Some(PciAllow { address: *address, args })
}

fn ports(config: &Config) -> Vec<PortPlan> {
    let physical = config.interfaces.iter().filter_map(|i| Some((i, i.device()?)));
    physical
        .map(|(interface, device)| {
            let on_it = |i: &&config::model::Interface| match &i.kind {
                InterfaceKind::Port { .. } => i.name == interface.name,
                InterfaceKind::Vlan { parent, .. } => *parent == interface.name,
            };
            let mtu = config.interfaces.iter().filter(on_it).map(|i| i.mtu).max().unwrap_or(interface.mtu);
            PortPlan { name: interface.name.clone(), device: device.clone(), mtu, mac: interface.mac_address }
        })
        .collect()
}

fn interfaces(config: &Config, ports: &[PortPlan]) -> Result<Vec<InterfacePlan>> {
    let port_of = |name: &str| {
        let at = ports.iter().position(|p| p.name == name);
        at.map(|at| at as u16).with_context(|| format!("interface {name} has no device"))
    };
    let build = |i: &config::model::Interface| {
        let (port, vlan) = match &i.kind {
            InterfaceKind::Port { .. } => (port_of(&i.name)?, None),
            InterfaceKind::Vlan { parent, id } => (port_of(parent)?, Some(*id)),
        };
        Ok(InterfacePlan {
            name: i.name.clone(),
            port,
            vlan,
            mtu: i.mtu,
            mac: i.mac_address,
            tap: i.exception_tap.as_ref().map(ToString::to_string),
        })
    };
    config.interfaces.iter().map(build).collect()
}

fn network(config: &Config, interfaces: &[InterfacePlan]) -> Result<Network> {
    let index = |name: &str| {
        let at = interfaces.iter().position(|i| i.name == name);
        at.map(|at| at as u16).with_context(|| format!("interface {name} is named, but not there"))
    };
    let address = |a: &config::model::Address| Ok((index(&a.interface)?, a.address, a.prefix_len));
    let route = |way: &config::ways::Way| {
        let via = match &way.hop {
            Gateway::Via { address, interface } => {
                NextHop { interface: index(interface)?, gateway: Some(*address) }
            }
            Gateway::Interface(name) => NextHop { interface: index(name)?, gateway: None },
            Gateway::Blackhole => NextHop::BLACKHOLE,
        };
        Ok((way.network, via))
    };
    let ways = config::ways::Ways::of(&config.addresses, &config.routes);
    Ok(Network {
        addresses: config.addresses.iter().map(address).collect::<Result<_>>()?,
        routes: ways.iter().map(route).collect::<Result<_>>()?,
    })
}

/// A worker that loses its CPU while others wait for its burst's turn holds them up: so only where none has to give way.
fn shares(wanted: Share, main: &Lcore, workers: &[Lcore]) -> bool {
    let mut cpus: Vec<_> = workers.iter().chain([main]).map(|lcore| lcore.cpu).collect();
    cpus.sort_unstable();
    let apart = cpus.windows(2).all(|pair| pair[0] != pair[1]);
    workers.len() > 1 && (wanted == Share::Yes || wanted == Share::Auto && apart)
}

/// Lcore 0 is main; workers count from 1. A CPU may serve two lcores when there are too few.
fn lcores(config: &Config) -> Result<(Lcore, Vec<Lcore>)> {
    let set = rustix::thread::sched_getaffinity(None).context("asking for the CPUs this process may use")?;
    let usable: Vec<u16> = (0..1024u16).filter(|cpu| set.is_set(usize::from(*cpu))).collect();
    let Some(&first) = usable.first() else { bail!("this process may use no CPU") };
    let main = config.system.main_core;
    let cpus: Vec<u16> = match &config.system.workers {
        Workers::Cpus(cpus) => cpus.clone(),
        Workers::Count(n) => {
            // From the last CPU down, so that CPU 0 with the kernel's own work stays for main.
            let free: Vec<u16> = usable.iter().rev().copied().filter(|c| Some(*c) != main).collect();
            let free = if free.is_empty() { usable.clone() } else { free };
            (0..usize::from(*n)).map(|i| free[i % free.len()]).collect()
        }
    };
    let main = main.unwrap_or_else(|| *usable.iter().find(|c| !cpus.contains(c)).unwrap_or(&first));
    for cpu in cpus.iter().chain([&main]) {
        if !usable.contains(cpu) {
            bail!("system: CPU {cpu} is not among those this process may use ({usable:?})");
        }
    }
    let workers = cpus.iter().zip(1..).map(|(cpu, id)| Lcore { id, cpu: u32::from(*cpu) }).collect();
    Ok((Lcore { id: 0, cpu: u32::from(main) }, workers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_where_each_has_a_cpu_or_where_told_to() {
        let lcore = |(id, cpu): (u32, u32)| Lcore { id, cpu };
        let on = |wanted, main, cpus: &[u32]| {
            let workers: Vec<_> = (1..).zip(cpus.iter().copied()).map(lcore).collect();
            shares(wanted, &lcore((0, main)), &workers)
        };
        assert!(on(Share::Auto, 0, &[1, 2]) && on(Share::Yes, 0, &[0, 1]));
        assert!(!on(Share::Auto, 0, &[0, 1]), "control would push a worker aside");
        assert!(!on(Share::Auto, 0, &[1, 1]) && !on(Share::No, 0, &[1, 2]));
        assert!(!on(Share::Yes, 0, &[1]) && !on(Share::Auto, 0, &[1]), "nobody to share with");
    }
}
