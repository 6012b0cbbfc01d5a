//! Policies and SAs by the hundred thousand.
use fastpath::crypto::{CpuEngineKind, CpuKeys};
use fastpath::tables::Control;
use ipc::contract::Command;
use sa::*;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use wire::Flow;

pub const NOW: Duration = Duration::ZERO;
pub const REQUIRE: Action = Action::Encrypt { level: Level::Require, tunnel: true };
/// The default order of the product.
const ENGINES: [CpuEngineKind; 3] = [CpuEngineKind::Native, CpuEngineKind::IpsecMb, CpuEngineKind::Ring];

pub fn engines() -> Vec<CpuEngineKind> {
    let there = |kind: &CpuEngineKind| CpuKeys::new(&[*kind]).is_ok();
    ENGINES.into_iter().filter(there).collect()
}
pub fn control(slots: u32) -> Control<CpuKeys> {
    Control::new(CpuKeys::new(&engines()).expect("an engine"), slots)
}

pub fn v4(raw: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(raw))
}
pub fn selector(src: Prefix, dst: Prefix) -> Selector {
    Selector { src, dst, protocol: None, src_port: PortRange::ANY, dst_port: PortRange::ANY }
}
pub fn policy(id: u32, selector: Selector) -> PolicySpec {
    PolicySpec { id: PolicyId(id), selector, action: REQUIRE, framing: Framing::default() }
}
/// Host `n` of ours and host `n` of theirs.
pub fn host_pair(n: u32) -> Selector {
    selector(Prefix::host(v4(0x0a00_0000 + n)), Prefix::host(v4(0x1400_0000 + n)))
}
pub fn host_pairs(count: u32) -> Vec<PolicySpec> {
    (0..count).map(|n| policy(n + 1, host_pair(n))).collect()
}
pub fn flow_to(n: u32) -> Flow {
    Flow {
        src: v4(0x0a00_0000 + n),
        dst: v4(0x1400_0000 + n),
        protocol: 17,
        src_port: Some(4000),
        dst_port: Some(53),
    }
}

pub fn commit(control: &mut Control<CpuKeys>, policies: &[PolicySpec]) {
    let mut apply = |command| control.apply(command, NOW).expect("a transaction");
    apply(Command::PolicyBegin { generation: 1, count: policies.len() as u32 });
    for policy in policies {
        apply(Command::Policy(*policy));
    }
    apply(Command::PolicyCommit { generation: 1 });
}

/// SA `n`: even ones inbound, odd ones outbound, two to a policy.
pub fn sa(n: u32) -> Command {
    let tunnel = n / 2;
    let key = |len: usize, salt: u32| {
        let bytes: Vec<u8> = (0..len as u32).map(|at| (at * 7 + n * 13 + salt) as u8).collect();
        Key::new(&bytes).expect("short")
    };
    let suite = Suite::new(Encryption::Aes128Gcm, Integrity::None).expect("a suite");
    Command::InstallSa(Box::new(SaSpec {
        slot: SaSlot(n),
        spi: Spi::new(0x2200_0000 + n).expect("an SPI"),
        direction: if n.is_multiple_of(2) { Direction::Inbound } else { Direction::Outbound },
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        suite,
        encryption_key: key(16, 1),
        salt: key(4, 2),
        integrity_key: key(0, 3),
        ends: TunnelEnds { local: v4(0xc000_0201), remote: v4(0xc612_0000 + tunnel) },
        encap: None,
        original: None,
        esn: true,
        replay_window: 1024,
        last_seq: 0,
        lifetime: Lifetime { seconds: Limit { soft: 1800, hard: 2000 }, ..Lifetime::default() },
        policy: PolicyId(tunnel + 1),
        also: Vec::new(),
        selectors: vec![TrafficSelector::from(host_pair(tunnel))],
    }))
}

/// Resident memory of this process in bytes.
pub fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}
/// The value that a share of the others is below.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}
