//! Ports and the interfaces on them: who is a frame for, and how large may one be.
use std::net::IpAddr;
use wire::Mac;

#[derive(Clone, Debug)]
pub struct Interface {
    pub port: u16,
    /// 802.1Q id, `None` for the untagged interface of the port.
    pub vlan: Option<u16>,
    pub mac: Mac,
    /// Largest IP packet.
    pub mtu: u16,
    /// Our addresses with the length of the network they are in.
    pub addresses: Vec<(IpAddr, u8)>,
}

#[derive(Debug, Default)]
pub struct Ports {
    interfaces: Vec<Option<Interface>>,
    /// Per port: interface of each VLAN id, 0 for untagged; `NONE` where there is none.
    by_vlan: Vec<Box<[u16]>>,
    /// Every address of ours on any interface.
    own: super::hash::Map<IpAddr, u16>,
}

const NONE: u16 = u16::MAX;
const VLANS: usize = 4096;

impl Ports {
    pub fn set(&mut self, index: u16, interface: Interface) {
        let (port, at) = (usize::from(interface.port), usize::from(index));
        if self.interfaces.len() <= at {
            self.interfaces.resize_with(at + 1, || None);
        }
        while self.by_vlan.len() <= port {
            self.by_vlan.push(vec![NONE; VLANS].into());
        }
        if let Some(old) = self.interfaces[at].take() {
            self.by_vlan[usize::from(old.port)][usize::from(old.vlan.unwrap_or(0)) % VLANS] = NONE;
        }
        self.by_vlan[port][usize::from(interface.vlan.unwrap_or(0)) % VLANS] = index;
        self.interfaces[at] = Some(interface);
        self.own.clear();
        for (index, interface) in self.interfaces.iter().enumerate() {
            for (address, _) in interface.iter().flat_map(|i| &i.addresses) {
                self.own.insert(*address, index as u16);
            }
        }
    }
    /// The interface a frame arrived on.
    pub fn interface_of(&self, port: u16, vlan: Option<u16>) -> Option<(u16, &Interface)> {
        let by_vlan = self.by_vlan.get(usize::from(port))?;
        let index = *by_vlan.get(usize::from(vlan.unwrap_or(0)))?;
        self.get(index).map(|interface| (index, interface))
    }
    pub fn get(&self, index: u16) -> Option<&Interface> {
        self.interfaces.get(usize::from(index))?.as_ref()
    }
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Interface)> {
        self.interfaces.iter().enumerate().filter_map(|(n, i)| Some((n as u16, i.as_ref()?)))
    }
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.own.contains_key(&address)
    }
    pub fn port_count(&self) -> usize {
        self.by_vlan.len()
    }
}
