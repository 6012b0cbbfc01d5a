//! What a look-up in the policy table costs when the flow cache does not know the flow.
use crate::world::{commit, control, flow_to, host_pair, host_pairs, policy, quantile, selector, v4};
use fastpath::tables::Spd;
use sa::{PolicySpec, PortRange, Prefix, Selector};
use std::hint::black_box;
use std::time::Instant;
use wire::Flow;

const FLOWS: usize = 4096;
const ROUNDS: usize = 60;

pub fn run() {
    println!("  {:<44} {:>9} {:>9}", "ns per look-up, 10 % and 50 % quantile", "hit", "miss");
    for count in [1, 10, 1000, 10_000, 100_000] {
        row(&format!("host pairs, {count}"), &host_pairs(count), |n| flow_to(n % count));
    }
    for count in [1000, 10_000, 100_000] {
        row(&format!("33 prefix lengths, {count}"), &mixed(count), |n| flow_to(n % count));
        row(&format!("one pair, port ranges, {count}"), &ranges(count), |n| in_range(n % count));
        row(&format!("pairs with protocol and port, {count}"), &services(count), |n| service(n % count));
    }
    for count in [10, 100, 576] {
        row(&format!("{count} different masks"), &shapes(count), |n| flow_to(n % count));
    }
}

/// Source and destination prefixes of all lengths.
fn mixed(count: u32) -> Vec<PolicySpec> {
    let longer = |n: u32| {
        let Selector { src, dst, .. } = host_pair(n);
        let len = (n % 33) as u8;
        let cut = |p: Prefix| Prefix::new(p.addr(), len.max(8)).expect("a length of IPv4");
        policy(n + 1, selector(src, cut(dst)))
    };
    (0..count).map(longer).collect()
}
/// Many ranges of ports between the same two hosts.
fn ranges(count: u32) -> Vec<PolicySpec> {
    let both = selector(Prefix::host(v4(1)), Prefix::host(v4(2)));
    let of = |n: u32| {
        let first = (n % 32_000) as u16 * 2;
        policy(n + 1, Selector { dst_port: PortRange { first, last: first + 1 }, ..both })
    };
    (0..count).map(of).collect()
}
fn in_range(n: u32) -> Flow {
    let port = (n % 32_000) as u16 * 2;
    Flow { src: v4(1), dst: v4(2), protocol: 17, src_port: Some(9), dst_port: Some(port) }
}
fn services(count: u32) -> Vec<PolicySpec> {
    let of =
        |n: u32| policy(n + 1, Selector { protocol: Some(17), dst_port: PortRange::one(53), ..host_pair(n) });
    (0..count).map(of).collect()
}
fn service(n: u32) -> Flow {
    flow_to(n)
}
/// As many masks as prefix lengths of both ends make, none of which the probed flows fit.
fn shapes(count: u32) -> Vec<PolicySpec> {
    let of = |n: u32| {
        let Selector { src, dst, .. } = host_pair(n);
        let cut = |p: Prefix, len: u32| Prefix::new(p.addr(), len as u8).expect("a length of IPv4");
        policy(n + 1, selector(cut(src, n % 24 + 9), cut(dst, n / 24 % 24 + 9)))
    };
    (0..count).map(of).collect()
}

fn row(what: &str, policies: &[PolicySpec], flow: impl Fn(u32) -> Flow) {
    let mut control = control(16);
    commit(&mut control, policies);
    let spread = |n: usize| (n as u32).wrapping_mul(0x9e37_79b1) >> 8;
    let hits: Vec<Flow> = (0..FLOWS).map(|n| flow(spread(n))).collect();
    let far =
        |n: usize| Flow { src: v4(0x7f00_0000 + spread(n)), dst: v4(0x7e00_0000 + spread(n)), ..flow_to(0) };
    let misses: Vec<Flow> = (0..FLOWS).map(far).collect();
    let spd = &control.tables().spd;
    let [hit, miss] = [hits, misses].map(|flows| time(spd, &flows));
    println!("  {what:<44} {:>4.0} {:>4.0} {:>4.0} {:>4.0}", hit[0], hit[1], miss[0], miss[1]);
}
fn time(spd: &Spd, flows: &[Flow]) -> [f64; 2] {
    let until = Instant::now();
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for flow in flows {
            black_box(spd.find(black_box(flow)));
        }
        samples.push(start.elapsed().as_secs_f64() * 1e9 / flows.len() as f64);
        if until.elapsed().as_secs() >= 3 {
            break;
        }
    }
    samples.sort_by(f64::total_cmp);
    [quantile(&samples, 0.1), quantile(&samples, 0.5)]
}
