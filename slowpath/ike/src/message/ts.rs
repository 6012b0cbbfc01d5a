//! Traffic selectors ⇄ TS payloads, and narrowing (RFC 7296 3.13, 2.9).
use super::wire::{Reader, with_length16};
use sa::{AddrRange, PortRange, SaSpec, TrafficSelector};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One side of some traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ts {
    pub protocol: Option<u8>,
    pub ports: PortRange,
    pub addresses: AddrRange,
}

const IPV4_RANGE: u8 = 7;
const IPV6_RANGE: u8 = 8;

/// Types we do not know, and OPAQUE ports, cannot be selected and are left out.
pub(super) fn parse(mut r: Reader<'_>) -> Result<Vec<Ts>, &'static str> {
    let (count, _reserved) = r.u8().zip(r.array::<3>()).ok_or("shorter than its fixed fields")?;
    let mut list = Vec::new();
    for _ in 0..count {
        let (kind, protocol, length) =
            (|| Some((r.u8()?, r.u8()?, r.u16()?)))().ok_or("fewer selectors than announced")?;
        let length = usize::from(length).checked_sub(4).ok_or("a selector is shorter than its header")?;
        let body = Reader::new(r.take(length).ok_or("a selector is longer than the payload")?);
        list.extend(one(kind, protocol, body)?);
    }
    if r.is_empty() { Ok(list) } else { Err("more selectors than announced") }
}

fn one(kind: u8, protocol: u8, mut r: Reader<'_>) -> Result<Option<Ts>, &'static str> {
    const LENGTH: &str = "a selector does not have its type's length";
    let (first_port, last_port) = match kind {
        IPV4_RANGE | IPV6_RANGE => r.u16().zip(r.u16()).ok_or(LENGTH)?,
        _ => return Ok(None),
    };
    let (first, last): (IpAddr, IpAddr) = if kind == IPV4_RANGE {
        let (a, b) = r.array::<4>().zip(r.array::<4>()).ok_or(LENGTH)?;
        (Ipv4Addr::from(a).into(), Ipv4Addr::from(b).into())
    } else {
        let (a, b) = r.array::<16>().zip(r.array::<16>()).ok_or(LENGTH)?;
        (Ipv6Addr::from(a).into(), Ipv6Addr::from(b).into())
    };
    if !r.is_empty() {
        return Err(LENGTH);
    }
    let addresses = AddrRange::new(first, last).ok_or("a selector's addresses are reversed")?;
    //= rfc7296#3.13.1/opaque: 65535 to 0 stands for ports nobody can see.
    if (first_port, last_port) == (u16::MAX, 0) {
        return Ok(None);
    }
    if first_port > last_port {
        return Err("a selector's ports are reversed");
    }
    let protocol = (protocol != 0).then_some(protocol);
    Ok(Some(Ts { protocol, ports: PortRange { first: first_port, last: last_port }, addresses }))
}

/// At most 255; what the gateway builds has at most `SaSpec::MAX_SELECTORS`.
pub(super) fn build(out: &mut Vec<u8>, list: &[Ts]) {
    let list = list.get(..255).unwrap_or(list);
    out.extend([list.len() as u8, 0, 0, 0]);
    for ts in list {
        let start = out.len();
        let kind = if ts.addresses.first().is_ipv4() { IPV4_RANGE } else { IPV6_RANGE };
        out.extend([kind, ts.protocol.unwrap_or(0), 0, 0]);
        with_length16(out, start, start + 2, |out| {
            out.extend(ts.ports.first.to_be_bytes());
            out.extend(ts.ports.last.to_be_bytes());
            for address in [ts.addresses.first(), ts.addresses.last()] {
                match address {
                    IpAddr::V4(a) => out.extend(a.octets()),
                    IpAddr::V6(a) => out.extend(a.octets()),
                }
            }
        });
    }
}

/// Our side and the peer's side of these selectors, each without repetition.
pub fn split(selectors: &[TrafficSelector]) -> (Vec<Ts>, Vec<Ts>) {
    let (mut local, mut remote) = (Vec::new(), Vec::new());
    let add = |list: &mut Vec<Ts>, ts| {
        if !list.contains(&ts) {
            list.push(ts);
        }
    };
    for s in selectors {
        add(&mut local, Ts { protocol: s.protocol, ports: s.local_port, addresses: s.local });
        add(&mut remote, Ts { protocol: s.protocol, ports: s.remote_port, addresses: s.remote });
    }
    (local, remote)
}

//= rfc7296#2.9/narrow: the responder may take a subset of what was proposed.
/// What the peer's lists and our policy have in common; empty is TS_UNACCEPTABLE. At most
/// `SaSpec::MAX_SELECTORS` pairs, the first ones.
pub fn narrow(local: &[Ts], remote: &[Ts], policy: &TrafficSelector) -> Vec<TrafficSelector> {
    let mut pairs = Vec::new();
    for l in local {
        for r in remote {
            let Some(pair) = common(l, r, policy) else { continue };
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
            if pairs.len() == SaSpec::MAX_SELECTORS {
                return pairs;
            }
        }
    }
    pairs
}

fn common(l: &Ts, r: &Ts, policy: &TrafficSelector) -> Option<TrafficSelector> {
    let protocol = both(both(l.protocol, r.protocol)?, policy.protocol)?;
    Some(TrafficSelector {
        local: l.addresses.intersect(policy.local)?,
        remote: r.addresses.intersect(policy.remote)?,
        protocol,
        local_port: l.ports.intersect(policy.local_port)?,
        remote_port: r.ports.intersect(policy.remote_port)?,
    })
}
/// The inner `None` is any protocol, the outer one a contradiction.
fn both(a: Option<u8>, b: Option<u8>) -> Option<Option<u8>> {
    match (a, b) {
        (Some(a), Some(b)) if a != b => None,
        (a, b) => Some(a.or(b)),
    }
}

/// Whether an answer stays inside what was proposed (RFC 7296 2.9: only a subset may come back).
pub fn within(local: &[Ts], remote: &[Ts], proposed: &TrafficSelector) -> bool {
    let inside = |ts: &Ts, range: AddrRange, ports: PortRange| {
        ts.addresses.intersect(range) == Some(ts.addresses)
            && ts.ports.intersect(ports) == Some(ts.ports)
            && (proposed.protocol.is_none() || ts.protocol == proposed.protocol)
    };
    !local.is_empty()
        && !remote.is_empty()
        && local.iter().all(|ts| inside(ts, proposed.local, proposed.local_port))
        && remote.iter().all(|ts| inside(ts, proposed.remote, proposed.remote_port))
}
