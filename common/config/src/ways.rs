//! Where packets to an address go: networks on links, and routes. The longest prefix wins; of one prefix the network on
//! the link, then the route with the smallest distance.
use crate::model::{Address, Gateway, Route};
use sa::Prefix;
use std::collections::HashMap;
use std::net::IpAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    pub network: Prefix,
    pub hop: Gateway,
    /// It is there because an interface has an address in it.
    pub connected: bool,
    distance: u8,
}

#[derive(Debug, Default)]
pub struct Ways {
    best: HashMap<Prefix, Way>,
    /// IPv4 and IPv6: the lengths that occur, longest first.
    lengths: [Vec<u8>; 2],
    sorted: Vec<Prefix>,
}

impl Ways {
    pub fn of(addresses: &[Address], routes: &[Route]) -> Self {
        let links = addresses.iter().map(|a| Way {
            network: a.network(),
            hop: Gateway::Interface(a.interface.clone()),
            connected: true,
            distance: 0,
        });
        let routes = routes.iter().map(|r| Way {
            network: r.dst,
            hop: r.gateway.clone(),
            connected: false,
            distance: r.distance,
        });
        let mut best: HashMap<Prefix, Way> = HashMap::new();
        for way in links.chain(routes) {
            let rank = |way: &Way| (!way.connected, way.distance);
            match best.get(&way.network) {
                Some(before) if rank(before) <= rank(&way) => {}
                _ => _ = best.insert(way.network, way),
            }
        }
        let lengths = [true, false].map(|v4| {
            let mut lengths: Vec<u8> = best.keys().filter(|p| p.is_ipv4() == v4).map(|p| p.len()).collect();
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            lengths.dedup();
            lengths
        });
        let mut sorted: Vec<Prefix> = best.keys().copied().collect();
        sorted.sort_unstable();
        Self { best, lengths, sorted }
    }
    /// May be a blackhole; `None`: no network holds it.
    pub fn to(&self, address: IpAddr) -> Option<&Way> {
        let lengths = &self.lengths[usize::from(address.is_ipv6())];
        lengths.iter().find_map(|len| self.best.get(&Prefix::new(address, *len)?))
    }
    /// Whether any address of a network leads somewhere. Of very many routes inside of it some are looked at.
    pub fn any_in(&self, network: Prefix) -> bool {
        let leads = |way: Option<&Way>| way.is_some_and(|way| way.hop != Gateway::Blackhole);
        let from = self.sorted.partition_point(|p| *p < network);
        let inside = self.sorted.get(from..).unwrap_or_default().iter();
        leads(self.to(network.addr()))
            || inside.take_while(|p| network.contains_prefix(**p)).take(1024).any(|p| leads(self.best.get(p)))
    }
    /// Each network once, with the way that counts.
    pub fn iter(&self) -> impl Iterator<Item = &Way> {
        self.sorted.iter().filter_map(|network| self.best.get(network))
    }
}
