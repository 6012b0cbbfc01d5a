//! What the gateway itself answers on its interfaces: ARP, neighbour discovery, ICMP echo and ICMP
//! errors. Runs on the main lcore, so it may allocate; it has no port, clock or thread of its own.
//!
//! In: frames that the graph did not forward, packets that wait for a next hop, the time.
//! Out: [`Act`]s. Everything bounded: neighbours, packets waiting for one, ICMP errors a second.
pub mod fragment;
pub mod frame;
pub mod icmp;
pub mod neighbour;
pub mod pmtu;
pub mod reassemble;

use frame::{Arp, Mac};
use neighbour::{Neighbours, Verdict};
use std::net::IpAddr;

/// A layer-3 interface as the host side sees it. Its index is the one the graph uses.
#[derive(Clone, Debug)]
pub struct Interface {
    pub mac: Mac,
    pub vlan: Option<u16>,
    pub mtu: u16,
    /// Our addresses with their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
}
impl Interface {
    fn owns(&self, addr: IpAddr) -> bool {
        self.addresses.iter().any(|(a, _)| *a == addr)
            || matches!(addr, IpAddr::V6(a) if a == frame::link_local(self.mac))
    }
    /// The address to speak from towards `peer`: one on the same link, else the first of the family.
    fn source_for(&self, peer: IpAddr) -> Option<IpAddr> {
        let family = |a: &&(IpAddr, u8)| a.0.is_ipv4() == peer.is_ipv4();
        let on_link = |(a, len): &&(IpAddr, u8)| sa::Prefix::new(*a, *len).is_some_and(|p| p.contains(peer));
        let mut own = self.addresses.iter().filter(family);
        let first = self.addresses.iter().find(family).map(|(a, _)| *a);
        own.find(on_link)
            .map(|(a, _)| *a)
            .or(first)
            .or_else(|| peer.is_ipv6().then(|| IpAddr::V6(frame::link_local(self.mac))))
    }
}

/// What the daemon has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A complete Ethernet frame for the interface's port.
    Send {
        interface: u16,
        frame: Vec<u8>,
    },
    /// An IP packet of ours, to be routed (and protected by policy) like any other.
    Route {
        packet: Vec<u8>,
    },
    /// Tell the workers.
    Resolved {
        interface: u16,
        address: IpAddr,
        mac: Mac,
    },
    Unresolved {
        interface: u16,
        address: IpAddr,
    },
    /// A frame for the operating system behind the exception path.
    ToSystem {
        interface: u16,
        frame: Vec<u8>,
    },
    /// A packet that waited for a next hop which did not answer, or found too many waiting already.
    GaveUp {
        packet: Vec<u8>,
    },
}

/// Why an ICMP error is due, and its parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    TtlExpired,
    TooBig { mtu: u16 },
    NoRoute,
    AdminProhibited,
}

#[derive(Debug)]
pub struct Host {
    interfaces: Vec<Interface>,
    neighbours: Neighbours,
    errors: icmp::Budget,
}

impl Host {
    pub fn new(interfaces: Vec<Interface>) -> Self {
        Self { interfaces, neighbours: Neighbours::default(), errors: icmp::Budget::default() }
    }
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Says who we are, so that peers learn our address at once (gratuitous ARP, unsolicited NA).
    pub fn announce(&self, out: &mut Vec<Act>) {
        for (index, interface) in self.interfaces.iter().enumerate() {
            for (address, _) in &interface.addresses {
                announce(index as u16, interface, *address, out);
            }
        }
    }
    /// Other addresses for an interface; those that are new are announced.
    pub fn set_addresses(&mut self, index: u16, addresses: Vec<(IpAddr, u8)>, out: &mut Vec<Act>) {
        let Some(interface) = self.interfaces.get_mut(usize::from(index)) else { return };
        let before = std::mem::replace(&mut interface.addresses, addresses);
        for (address, _) in &interface.addresses {
            if !before.iter().any(|(known, _)| known == address) {
                announce(index, interface, *address, out);
            }
        }
    }

    /// A frame for us, or one that every station must look at, VLAN tag already removed.
    pub fn on_frame(&mut self, interface: u16, bytes: &[u8], now_ms: u64, out: &mut Vec<Act>) {
        let Some(own) = self.interfaces.get(usize::from(interface)) else { return };
        match frame::ether_type(bytes) {
            Some(frame::ARP) => self.on_arp(interface, bytes, now_ms, out),
            Some(frame::IPV4 | frame::IPV6) => {
                if let Some(reply) = icmp::echo_reply(bytes, |a| own.owns(a)) {
                    out.push(Act::Route { packet: reply });
                } else if !self.on_discovery(interface, bytes, now_ms, out) {
                    out.push(Act::ToSystem { interface, frame: bytes.to_vec() });
                }
            }
            _ => {}
        }
    }

    fn on_arp(&mut self, interface: u16, bytes: &[u8], now_ms: u64, out: &mut Vec<Act>) {
        let own = &self.interfaces[usize::from(interface)];
        let Some(arp) = Arp::parse(bytes) else { return };
        let asks_us = own.owns(arp.target_ip.into());
        // RFC 826: merge what is known already; learn new pairs only from those who talk to us.
        let learnt = self.neighbours.learn(interface, arp.sender_ip.into(), arp.sender_mac, asks_us, now_ms);
        if arp.is_request && asks_us {
            let reply = frame::arp_reply(own.mac, &arp);
            out.push(send(interface, own, reply));
        }
        if !arp.is_request && arp.target_mac == own.mac {
            out.push(Act::ToSystem { interface, frame: bytes.to_vec() });
        }
        self.release(interface, arp.sender_ip.into(), arp.sender_mac, learnt, out);
    }

    /// Neighbour discovery (RFC 4861 7.2). True when the packet was one.
    fn on_discovery(&mut self, interface: u16, bytes: &[u8], now_ms: u64, out: &mut Vec<Act>) -> bool {
        let own = &self.interfaces[usize::from(interface)];
        let Some(nd) = frame::Discovery::parse(bytes) else { return false };
        match nd {
            frame::Discovery::Solicitation { source, target, link } => {
                if !own.owns(target.into()) {
                    return true;
                }
                let mac = link.or_else(|| frame::source_mac(bytes));
                if let (false, Some(mac)) = (source.is_unspecified(), mac) {
                    let learnt = self.neighbours.learn(interface, source.into(), mac, true, now_ms);
                    out.push(send(interface, own, frame::advertisement(own.mac, mac, target, source, true)));
                    self.release(interface, source.into(), mac, learnt, out);
                } else {
                    //= rfc4861#7.2.4/unspecified-source: the answer to a probe for duplicates goes to all nodes.
                    let to_all =
                        frame::advertisement(own.mac, frame::ALL_NODES_MAC, target, frame::ALL_NODES, false);
                    out.push(send(interface, own, to_all));
                }
            }
            frame::Discovery::Advertisement { target, link } => {
                if let Some(mac) = link.or_else(|| frame::source_mac(bytes)) {
                    //= rfc4861#7.2.5/no-entry: an advertisement nobody asked for creates no entry.
                    let learnt = self.neighbours.learn(interface, target.into(), mac, false, now_ms);
                    self.release(interface, target.into(), mac, learnt, out);
                }
                out.push(Act::ToSystem { interface, frame: bytes.to_vec() });
            }
            frame::Discovery::Other => out.push(Act::ToSystem { interface, frame: bytes.to_vec() }),
        }
        true
    }

    fn release(&mut self, interface: u16, address: IpAddr, mac: Mac, learnt: Verdict, out: &mut Vec<Act>) {
        let Verdict::Changed { waiting } = learnt else { return };
        let own = &self.interfaces[usize::from(interface)];
        out.push(Act::Resolved { interface, address, mac });
        for packet in waiting {
            if let Some(frame) = frame::ethernet(own.mac, mac, &packet) {
                out.push(send(interface, own, frame));
            }
        }
    }

    /// A finished IP packet has no MAC address to go to: ask, and keep it for a moment.
    pub fn on_unresolved(
        &mut self,
        interface: u16,
        next_hop: IpAddr,
        packet: Vec<u8>,
        now_ms: u64,
        out: &mut Vec<Act>,
    ) {
        let Some(own) = self.interfaces.get(usize::from(interface)) else {
            return out.push(Act::GaveUp { packet });
        };
        match self.neighbours.wait(interface, next_hop, packet, now_ms) {
            neighbour::Waiting::Known(mac, packet) => {
                if let Some(frame) = frame::ethernet(own.mac, mac, &packet) {
                    out.push(send(interface, own, frame));
                }
                out.push(Act::Resolved { interface, address: next_hop, mac });
            }
            neighbour::Waiting::Ask => out.extend(question(interface, own, next_hop, None)),
            neighbour::Waiting::Asked => {}
            neighbour::Waiting::Shed(packet) => out.push(Act::GaveUp { packet }),
        }
    }

    /// An IP packet could not go on; tell its sender if the rules allow (RFC 1812 4.3.2, RFC 4443 2.4).
    pub fn on_error(
        &mut self,
        interface: u16,
        packet: &[u8],
        error: IcmpError,
        now_ms: u64,
        out: &mut Vec<Act>,
    ) {
        let Some(own) = self.interfaces.get(usize::from(interface)) else { return };
        let Some(peer) = icmp::sender(packet) else { return };
        if let Some(source) = own.source_for(peer) {
            self.on_error_from(source, packet, error, now_ms, out);
        }
    }
    /// The same, speaking from a certain address of ours.
    pub fn on_error_from(
        &mut self,
        source: IpAddr,
        packet: &[u8],
        error: IcmpError,
        now_ms: u64,
        out: &mut Vec<Act>,
    ) {
        if self.errors.spend(now_ms) {
            out.extend(icmp::error(packet, source, error).map(|packet| Act::Route { packet }));
        }
    }

    /// Repeats questions, lets old answers go, asks again for those in use.
    pub fn on_time(&mut self, now_ms: u64, out: &mut Vec<Act>) {
        for due in self.neighbours.due(now_ms) {
            let own = &self.interfaces[usize::from(due.interface)];
            match due.what {
                neighbour::DueWhat::Ask(mac) => out.extend(question(due.interface, own, due.address, mac)),
                neighbour::DueWhat::Dead { waiting } => {
                    out.push(Act::Unresolved { interface: due.interface, address: due.address });
                    out.extend(waiting.into_iter().map(|packet| Act::GaveUp { packet }));
                }
            }
        }
    }
    /// Milliseconds until `on_time` has something to do.
    pub fn next_timeout(&self, now_ms: u64) -> Option<u64> {
        self.neighbours.next_due().map(|at| at.saturating_sub(now_ms))
    }
}

fn question(interface: u16, own: &Interface, address: IpAddr, known: Option<Mac>) -> Option<Act> {
    let source = own.source_for(address)?;
    let mut bytes = match (address, source) {
        (IpAddr::V4(target), IpAddr::V4(source)) => frame::arp_request(own.mac, source, target),
        (IpAddr::V6(target), IpAddr::V6(source)) => frame::solicitation(own.mac, source, target),
        _ => return None,
    };
    //= rfc1122#2.3.2.1/unicast-poll: a known neighbour is asked directly before it is forgotten.
    if let (Some(mac), Some(to)) = (known, bytes.get_mut(..6)) {
        to.copy_from_slice(&mac);
    }
    Some(send(interface, own, bytes))
}

fn announce(index: u16, interface: &Interface, address: IpAddr, out: &mut Vec<Act>) {
    let frame = match address {
        IpAddr::V4(a) => frame::arp_request(interface.mac, a, a),
        IpAddr::V6(a) => {
            frame::advertisement(interface.mac, frame::ALL_NODES_MAC, a, frame::ALL_NODES, false)
        }
    };
    out.push(send(index, interface, frame));
}
fn send(interface: u16, own: &Interface, frame: Vec<u8>) -> Act {
    Act::Send { interface, frame: frame::with_vlan(frame, own.vlan) }
}

#[cfg(test)]
mod tests;
