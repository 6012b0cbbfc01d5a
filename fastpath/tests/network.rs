//! Addresses and routes that change as a whole, against a list scan.
mod common;
use common::*;
use fastpath::crypto::{CpuEngineKind, CpuKeys};
use fastpath::tables::{Control, Interface, NextHop};
use proptest::prelude::*;
use sa::Prefix;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

const INTERFACES: u16 = 3;

fn control() -> Control<CpuKeys> {
    let mut control = Control::new(CpuKeys::new(&[CpuEngineKind::RustCrypto]).expect("keys"), 16);
    for index in 0..INTERFACES {
        let mac = wire::Mac([2, 0, 0, 0, 0, index as u8]);
        control
            .set_interface(index, Interface { port: index, vlan: None, mac, mtu: 1500, addresses: vec![] });
    }
    control
}
fn addr() -> impl Strategy<Value = IpAddr> {
    // Few, so that networks nest and collide.
    prop_oneof![
        (0u32..4, 0u32..4).prop_map(|(net, host)| IpAddr::V4((10 << 24 | net << 8 | host).into())),
        (0u128..3, 0u128..3).prop_map(|(net, host)| IpAddr::V6((0x2001 << 112 | net << 64 | host).into())),
    ]
}
type Network = (Vec<(u16, IpAddr, u8)>, HashMap<Prefix, NextHop>);
fn network() -> impl Strategy<Value = Network> {
    let len = |a: IpAddr, nth: usize| if a.is_ipv4() { [8, 24, 31, 32][nth] } else { [0, 16, 64, 128][nth] };
    let address =
        (0..INTERFACES, addr(), 0usize..4).prop_map(move |(interface, a, nth)| (interface, a, len(a, nth)));
    let route = (addr(), 0usize..4, prop::option::of((0..INTERFACES, prop::option::of(addr())))).prop_map(
        move |(a, nth, via)| {
            let via = via.map_or(NextHop::BLACKHOLE, |(interface, gateway)| NextHop { interface, gateway });
            (Prefix::new(a, len(a, nth)).expect("a length of its family"), via)
        },
    );
    (prop::collection::vec(address, 0..4), prop::collection::hash_map(addr(), route, 0..8))
        .prop_map(|(addresses, routes)| (addresses, routes.into_values().collect()))
}
fn scan(routes: &HashMap<Prefix, NextHop>, dst: IpAddr) -> Option<NextHop> {
    let covering = routes.iter().filter(|(prefix, _)| prefix.contains(dst));
    let longest = covering.max_by_key(|(prefix, _)| prefix.len()).map(|(_, via)| *via);
    longest.filter(|via| *via != NextHop::BLACKHOLE)
}

proptest! {
    #[test]
    fn each_network_takes_the_place_of_the_one_before(
        networks in prop::collection::vec(network(), 1..5),
        packets in prop::collection::vec(addr(), 16),
    ) {
        let mut control = control();
        let mut reader = control.reader();
        for (addresses, routes) in networks {
            control.set_network(&addresses, &routes);
            for _ in 0..3 {
                control.poll(Duration::ZERO, &mut vec![], &mut vec![]);
                drop(reader.refresh());
            }
            for dst in &packets {
                prop_assert_eq!(reader.table().fib.route(*dst), scan(&routes, *dst), "to {}", dst);
                let ours = addresses.iter().any(|(_, address, _)| address == dst);
                prop_assert_eq!(reader.table().ports.is_own(*dst), ours, "is {} ours", dst);
            }
        }
    }
}

#[test]
fn what_stays_the_same_is_not_said_again() {
    let mut control = control();
    let us = Side::A.wan(false);
    let routes = HashMap::from([(Prefix::host(us), NextHop { interface: 1, gateway: None })]);
    control.set_network(&[(0, us, 24)], &routes);
    let before = control.submitted();
    control.set_network(&[(0, us, 24)], &routes);
    assert_eq!(control.submitted(), before);
    control.set_network(&[], &HashMap::new());
    assert_eq!(control.submitted(), before + 2);
}
