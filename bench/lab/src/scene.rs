//! Who is where: the networks on both sides of the device under test, its tunnels, and the flows through them.
//!
//! ```text
//! hosts 10.1.0.0/16 ─ router 10.0.0.2 ─ LAN 10.0.0.1 [DUT] 192.0.2.1 WAN ─ router 192.0.2.2 ─ far gateways
//!       the tester's LAN port ┘                                    └ the tester's WAN port
//! ```
//! Tunnel `t` protects 10.1.0.0/16 ↔ the /28 number `t` of 10.64.0.0/10, towards the far gateway 172.16.0.0 + `t`. A
//! flow is a number, and everything in its packets follows from that number: neither side of the tester needs to
//! remember what it sent.
use anyhow::{Context, Result, ensure};
use sa::{
    Action, Direction, Key, Level, Lifetime, Mode, PolicyId, PolicySpec, PortRange, Prefix, Protocol, SaSlot,
    SaSpec, Selector, Spi, Suite, TrafficSelector, TunnelEnds,
};
use std::net::{IpAddr, Ipv4Addr};
use wire::Mac;

pub const DUT_LAN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub const TESTER_LAN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub const DUT_WAN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const TESTER_WAN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub const DUT_LAN_MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
pub const TESTER_LAN_MAC: Mac = Mac([2, 0, 0, 0, 1, 2]);
pub const DUT_WAN_MAC: Mac = Mac([2, 0, 0, 0, 2, 1]);
pub const TESTER_WAN_MAC: Mac = Mac([2, 0, 0, 0, 2, 2]);

const HOSTS: u32 = u32::from_be_bytes([10, 1, 0, 0]);
const FAR_NETS: u32 = u32::from_be_bytes([10, 64, 0, 0]);
const FAR_GATEWAYS: u32 = u32::from_be_bytes([172, 16, 0, 0]);
const OUT_SPI: u32 = 0x8000_0000;
const IN_SPI: u32 = 0x4000_0000;
const PORT: u16 = 5001;

pub const MAX_TUNNELS: u32 = 1 << 18;
pub const MAX_FLOWS: u32 = 1 << 20;

/// One direction of a flow, as it stands in its packets' headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    pub src: u32,
    pub dst: u32,
    pub src_port: u16,
    pub dst_port: u16,
}
impl Flow {
    pub fn reversed(self) -> Self {
        Self { src: self.dst, dst: self.src, src_port: self.dst_port, dst_port: self.src_port }
    }
}

#[derive(Clone, Debug)]
pub struct Scene {
    pub tunnels: u32,
    pub flows: u32,
    pub suite: Suite,
    pub esn: bool,
    pub replay_window: u32,
    /// Keys follow from it. They protect nothing.
    seed: u64,
}

impl Scene {
    pub fn new(tunnels: u32, flows: u32, suite: Suite, esn: bool, replay_window: u32) -> Result<Self> {
        ensure!((1..=MAX_TUNNELS).contains(&tunnels), "--tunnels must be from 1 to {MAX_TUNNELS}");
        ensure!((1..=MAX_FLOWS).contains(&flows), "--flows must be from 1 to {MAX_FLOWS}");
        ensure!(flows >= tunnels, "--flows {flows} leaves some of the {tunnels} tunnels without traffic");
        let mut seed = [0; 8];
        let random = ring::rand::SystemRandom::new();
        ring::rand::SecureRandom::fill(&random, &mut seed).ok().context("the system's random source")?;
        Ok(Self { tunnels, flows, suite, esn, replay_window, seed: u64::from_le_bytes(seed) })
    }
    /// Slots of the fast path's table that hold both SAs of each tunnel.
    pub fn slots(&self) -> u32 {
        (2 * self.tunnels).next_power_of_two().max(64)
    }

    /// The flow as its clear packets leave the hosts behind the gateway.
    pub fn flow(&self, number: u32) -> Flow {
        let (tunnel, nth) = (number % self.tunnels, number / self.tunnels);
        Flow {
            src: HOSTS + 1 + nth % 250,
            dst: FAR_NETS + tunnel * 16 + 1 + nth % 14,
            src_port: 10_000 + ((nth / 250) % 50_000) as u16,
            dst_port: PORT,
        }
    }
    pub fn tunnel_of(&self, flow: u32) -> u32 {
        flow % self.tunnels
    }
    pub fn far_gateway(&self, tunnel: u32) -> Ipv4Addr {
        Ipv4Addr::from(FAR_GATEWAYS + tunnel)
    }

    pub fn policies(&self) -> Vec<PolicySpec> {
        (0..self.tunnels).map(|tunnel| self.policy(tunnel)).collect()
    }
    fn policy(&self, tunnel: u32) -> PolicySpec {
        let any = PortRange::ANY;
        let prefix = |address: u32, len| {
            // Both lengths fit the family.
            Prefix::new(Ipv4Addr::from(address).into(), len).unwrap_or(Prefix::host(DUT_LAN.into()))
        };
        PolicySpec {
            id: PolicyId(tunnel + 1),
            selector: Selector {
                src: prefix(HOSTS, 16),
                dst: prefix(FAR_NETS + tunnel * 16, 28),
                protocol: None,
                src_port: any,
                dst_port: any,
            },
            action: Action::Encrypt { level: Level::Unique, tunnel: true },
            framing: sa::Framing::default(),
        }
    }

    pub fn out_spi(&self, tunnel: u32) -> u32 {
        OUT_SPI | tunnel
    }
    /// Its low bits are the slot, as in an SPI that the gateway's own IKE chooses.
    pub fn in_spi(&self, tunnel: u32) -> u32 {
        IN_SPI | in_slot(tunnel)
    }
    /// The tunnel of an outbound SPI.
    pub fn tunnel_of_spi(&self, spi: u32) -> Option<u32> {
        Some(spi ^ OUT_SPI).filter(|tunnel| *tunnel < self.tunnels)
    }
    /// Both SAs as the gateway is told them.
    pub fn sas(&self, tunnel: u32) -> Result<[SaSpec; 2]> {
        Ok([self.sa(tunnel, Direction::Inbound)?, self.sa(tunnel, Direction::Outbound)?])
    }
    pub fn sa(&self, tunnel: u32, direction: Direction) -> Result<SaSpec> {
        let (slot, spi) = match direction {
            Direction::Inbound => (in_slot(tunnel), self.in_spi(tunnel)),
            Direction::Outbound => (in_slot(tunnel) + 1, self.out_spi(tunnel)),
        };
        let mut source = Keys(self.seed ^ u64::from(slot) << 32);
        let mut key = |len: usize| Key::new(&source.bytes(len)).context("a key of this suite is too long");
        let (encryption, integrity) = (self.suite.encryption(), self.suite.integrity());
        let policy = self.policy(tunnel);
        Ok(SaSpec {
            slot: SaSlot(slot),
            spi: Spi::new(spi)?,
            direction,
            protocol: Protocol::Esp,
            mode: Mode::Tunnel,
            suite: self.suite,
            encryption_key: key(encryption.key_len())?,
            salt: key(encryption.salt_len())?,
            integrity_key: key(integrity.key_len())?,
            ends: TunnelEnds { local: IpAddr::V4(DUT_WAN), remote: self.far_gateway(tunnel).into() },
            encap: None,
            original: None,
            esn: self.esn,
            replay_window: self.replay_window,
            last_seq: 0,
            lifetime: Lifetime::default(),
            policy: policy.id,
            also: Vec::new(),
            selectors: vec![TrafficSelector::from(policy.selector)],
        })
    }
}

fn in_slot(tunnel: u32) -> u32 {
    2 * tunnel
}

/// SplitMix64: different keys for different SAs, the same for both sides.
struct Keys(u64);
impl Keys {
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        });
        words.flat_map(u64::to_le_bytes).take(len).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sa::{Encryption, Integrity};
    use std::collections::HashSet;

    fn scene(tunnels: u32, flows: u32) -> Scene {
        let suite = Suite::new(Encryption::Aes128Gcm, Integrity::None).expect("a suite");
        Scene::new(tunnels, flows, suite, true, 128).expect("a scene")
    }
    #[test]
    fn every_flow_is_another_one_and_fits_the_policy_of_its_tunnel_alone() {
        let scene = scene(7, 50_000);
        let policies = scene.policies();
        let mut seen = HashSet::new();
        for number in 0..scene.flows {
            let flow = scene.flow(number);
            assert!(seen.insert((flow.src, flow.dst, flow.src_port)), "flow {number} is there twice");
            let fits = |policy: &&PolicySpec| {
                policy.selector.src.contains(Ipv4Addr::from(flow.src).into())
                    && policy.selector.dst.contains(Ipv4Addr::from(flow.dst).into())
            };
            let fitting: Vec<_> = policies.iter().filter(fits).map(|p| p.id.0).collect();
            assert_eq!(fitting, [scene.tunnel_of(number) + 1]);
        }
    }
    #[test]
    fn a_hundred_thousand_tunnels_have_slots_spis_and_addresses_of_their_own() {
        let scene = scene(100_000, 100_000);
        assert_eq!(scene.slots(), 1 << 18);
        let mut spis = HashSet::new();
        for tunnel in 0..scene.tunnels {
            for sa in scene.sas(tunnel).expect("SAs") {
                assert!(spis.insert(sa.spi));
                assert!(sa.slot.0 < scene.slots());
                if sa.direction == Direction::Inbound {
                    assert_eq!(sa.spi.get() & (scene.slots() - 1), sa.slot.0);
                }
            }
            assert_eq!(scene.tunnel_of_spi(scene.out_spi(tunnel)), Some(tunnel));
        }
        assert_eq!(scene.tunnel_of_spi(scene.out_spi(scene.tunnels)), None);
        let last = Ipv4Addr::from(FAR_NETS + (MAX_TUNNELS - 1) * 16 + 15);
        assert!(Prefix::new(Ipv4Addr::from(FAR_NETS).into(), 10).expect("a prefix").contains(last.into()));
    }
    #[test]
    fn more_tunnels_than_flows_are_refused() {
        let suite = Suite::new(Encryption::Aes128Gcm, Integrity::None).expect("a suite");
        assert!(Scene::new(10, 9, suite, true, 128).is_err());
        assert!(Scene::new(0, 9, suite, true, 128).is_err());
    }
}
