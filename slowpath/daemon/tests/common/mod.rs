//! A fast path without packets: the real region and the real rings, tables that only remember.
#![allow(dead_code)]
use espway_slowpath::driver::Driver;
use espway_slowpath::negotiator::Negotiator;
use ike::api::*;
use ipc::*;
use sa::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// One gateway, one peer, one tunnel.
pub const CONFIG: &str = r#"
system: {name: t, sa-slots: 64}
interface:
  - {name: wan, device: "null"}
ip:
  address:
    - {address: 192.0.2.1/24, interface: wan}
  ipsec:
    profile: [{name: p, enc-algorithm: [aes-256-gcm], hash-algorithm: sha256, dh-group: [x25519]}]
    peer: [{name: other, address: 192.0.2.2, local-address: 192.0.2.1, exchange-mode: ike2, profile: p}]
    identity: [{peer: other, secret: "a secret for tests"}]
    policy:
      - {src-address: 10.1.0.0/16, dst-address: 10.2.0.0/16, peer: other, tunnel: yes}
"#;

pub struct Fast {
    pub side: FastSide,
    pub worker: WorkerStats,
    pub sas: BTreeMap<u32, SaSpec>,
    pub policies: Vec<PolicySpec>,
    open: Option<Vec<PolicySpec>>,
    /// Addresses and routes of the last transaction.
    pub network: Vec<Command>,
    pub generation: u64,
    /// What was done, in order.
    pub done: Vec<String>,
    /// Removals stay unacknowledged while set, as when a worker has not passed a quiescent point.
    pub hold_removals: bool,
    pub held: Vec<u64>,
    answers: u64,
    pub refuse_installs: Option<Refusal>,
    pub refuse_policies: Option<Refusal>,
    /// Transactions that were refused.
    pub refused: usize,
    pub watch: Option<watch::Watch>,
}

impl Fast {
    pub fn new() -> Self {
        Self::with(Geometry { sa_slots: 16, vault_records: 8, commands: 8, ..Geometry::default() })
    }
    pub fn with(geometry: Geometry) -> Self {
        let options = RegionOptions { geometry, port_names: vec!["wan".into()] };
        let mut side = FastSide::create(&options).unwrap();
        Self {
            worker: side.worker_stats(0).unwrap(),
            side,
            sas: BTreeMap::new(),
            policies: Vec::new(),
            open: None,
            network: Vec::new(),
            generation: 0,
            done: Vec::new(),
            hold_removals: false,
            held: Vec::new(),
            answers: 0,
            refuse_installs: None,
            refuse_policies: None,
            refused: 0,
            watch: None,
        }
    }
    /// Carries out every command that waits; returns the frames for the wire.
    pub fn turn(&mut self) -> Vec<(FrameMeta, Vec<u8>)> {
        while let Some((seq, command)) = self.side.next_command() {
            if self.hold_removals && matches!(command, Command::RemoveSa { .. }) {
                self.carry_out(command).unwrap();
                self.held.push(seq);
                continue;
            }
            let result = self.carry_out(command);
            self.side.acknowledge(seq, result);
            self.answers += 1;
        }
        let mut frames = Vec::new();
        while let Some((meta, payload)) = self.side.next_frame() {
            frames.push((meta, payload.to_vec()));
            self.done.push("frame".into());
        }
        frames
    }
    fn carry_out(&mut self, command: Command) -> Result<(), Refusal> {
        match command {
            Command::InstallSa(spec) => {
                if let Some(refusal) = self.refuse_installs {
                    return Err(refusal);
                }
                if self.sas.contains_key(&spec.slot.0) {
                    return Err(Refusal::SlotInUse);
                }
                let way = if spec.direction == Direction::Inbound { "in" } else { "out" };
                self.done.push(format!("install-{way} {}", spec.slot.0));
                let identity = SaIdentity {
                    spi: spec.spi,
                    direction: spec.direction,
                    state: SaState::Mature,
                    policy: spec.policy,
                    engine: Some(SaEngine::Native),
                    start_seq: spec.last_seq,
                    installed_at: 0,
                };
                self.side.publish_sa(spec.slot, &identity);
                self.sas.insert(spec.slot.0, *spec);
                Ok(())
            }
            Command::RemoveSa { slot, spi } => {
                self.sas.get(&slot.0).filter(|s| s.spi == spi).ok_or(Refusal::NoSuchSa)?;
                self.done.push(format!("remove {}", slot.0));
                self.sas.remove(&slot.0);
                self.side.clear_sa(slot);
                Ok(())
            }
            Command::MoveSa { slot, ends, encap, .. } => {
                let sa = self.sas.get_mut(&slot.0).ok_or(Refusal::NoSuchSa)?;
                (sa.ends, sa.encap) = (ends, encap);
                Ok(())
            }
            Command::NetworkBegin => {
                self.network.clear();
                Ok(())
            }
            row @ (Command::Address { .. } | Command::Route { .. }) => {
                self.network.push(row);
                Ok(())
            }
            Command::NetworkCommit { count } if self.network.len() == count as usize => {
                self.done.push(format!("network of {count}"));
                Ok(())
            }
            Command::NetworkCommit { .. } => Err(Refusal::BadTransaction),
            Command::PolicyBegin { .. } => {
                self.open = Some(Vec::new());
                Ok(())
            }
            Command::Policy(policy) => {
                self.open.as_mut().ok_or(Refusal::BadTransaction)?.push(policy);
                Ok(())
            }
            Command::PolicyEdit { from, .. } => {
                self.open = (from == self.generation).then(|| self.policies.clone());
                self.open.as_ref().map(|_| ()).ok_or(Refusal::BadTransaction)
            }
            Command::PolicyInsert { after, policy } => {
                let open = self.open.as_mut().ok_or(Refusal::BadTransaction)?;
                let at = match after {
                    Some(id) => open.iter().position(|p| p.id == id).ok_or(Refusal::NoSuchPolicy)? + 1,
                    None => 0,
                };
                open.insert(at, policy);
                self.done.push(format!("policy-insert {}", policy.id.0));
                Ok(())
            }
            Command::PolicyRemove { policy } => {
                self.open.as_mut().ok_or(Refusal::BadTransaction)?.retain(|p| p.id != policy);
                self.done.push(format!("policy-remove {}", policy.0));
                Ok(())
            }
            Command::PolicyCommit { generation } => {
                if let Some(refusal) = self.refuse_policies {
                    self.open = None;
                    self.refused += 1;
                    return Err(refusal);
                }
                self.policies = self.open.take().ok_or(Refusal::BadTransaction)?;
                self.generation = generation;
                self.side.set_policy_generation(generation);
                self.done.push("policies".into());
                Ok(())
            }
            Command::Watch(watch) => {
                self.done.push(format!("watch {}", watch.number));
                self.watch = Some(*watch);
                Ok(())
            }
            Command::Unwatch { number } => {
                self.done.push(format!("unwatch {number}"));
                Ok(())
            }
            Command::AcquireFailed { policy, .. } => {
                self.done.push(format!("acquire-failed {}", policy.0));
                Ok(())
            }
        }
    }
    /// Whether any command was answered since the last look.
    fn answered(&mut self) -> bool {
        std::mem::take(&mut self.answers) > 0
    }
    /// What the state would be if packets had passed.
    pub fn count(&mut self, slot: SaSlot, packets: u64, last_seq: u64) {
        self.worker.sa_passed(slot, packets, packets * 100, last_seq, 0);
    }
    pub fn of(&self, direction: Direction) -> Vec<&SaSpec> {
        self.sas.values().filter(|s| s.direction == direction).collect()
    }
    pub fn take_done(&mut self) -> Vec<String> {
        std::mem::take(&mut self.done)
    }
}

pub const KEY: [u8; 32] = [9; 32];
pub fn key() -> Option<VaultKey> {
    Some(VaultKey::new(KEY))
}

/// Turns of driver and fast path until neither has anything to say; frames for the wire.
pub fn settle<E: Negotiator>(driver: &mut Driver<E>, fast: &mut Fast, now: Now) -> Vec<(FrameMeta, Vec<u8>)> {
    let mut frames = Vec::new();
    loop {
        let (more, before) = (driver.turn(now), fast.done.len());
        frames.extend(fast.turn());
        // What waits for time, or for an acknowledgement that is held back, is not ours to wait for.
        if !more && fast.done.len() == before && (driver.settled() || !fast.answered()) {
            return frames;
        }
    }
}

pub struct Seeded(pub u64);
impl Rng for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            // xorshift64*: the tests need difference, not secrecy.
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            *byte = (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8;
        }
    }
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}
pub fn policy(src: &str, dst: &str) -> PolicySpec {
    PolicySpec {
        id: PolicyId(1),
        selector: Selector {
            src: prefix(src),
            dst: prefix(dst),
            protocol: None,
            src_port: PortRange::ANY,
            dst_port: PortRange::ANY,
        },
        action: sa::Action::Encrypt { level: Level::Require, tunnel: true },
        framing: Framing::default(),
    }
}
/// One of two gateways, 192.0.2.1 before 10.1.0.0/16 and 192.0.2.2 before 10.2.0.0/16.
pub fn gateway(first: bool, esn_suite: Suite) -> (Config, Vec<PolicySpec>) {
    let (local, remote) = if first { ("192.0.2.1", "192.0.2.2") } else { ("192.0.2.2", "192.0.2.1") };
    let spec =
        if first { policy("10.1.0.0/16", "10.2.0.0/16") } else { policy("10.2.0.0/16", "10.1.0.0/16") };
    let peer = Peer {
        name: "other".into(),
        address: prefix(remote),
        local_address: Some(local.parse().unwrap()),
        host: None,
        port: 500,
        passive: !first,
        send_initial_contact: true,
        profile: Profile {
            name: "default".into(),
            proposal: IkeProposal {
                encryption: vec![IkeCipher::Aes256Gcm],
                integrity: vec![IkeIntegrity::HmacSha256],
                prf: vec![Prf::HmacSha256],
                groups: vec![DhGroup::X25519],
                additional: vec![],
            },
            lifetime: Duration::from_secs(86400),
            dpd_interval: Some(Duration::from_secs(120)),
            nat_traversal: true,
            extensions: Extensions::default(),
        },
        identities: vec![Identity::with_secret(
            MyId::Auto,
            RemoteId::Auto,
            Psk(b"a secret for tests".to_vec()),
        )],
        children: vec![Child {
            policy: PolicyId(1),
            level: Level::Require,
            backup: 0,
            any_port: false,
            framing: Framing::default(),
            selector: spec.selector.into(),
            tunnel: true,
            protocol: Protocol::Esp,
            suites: vec![esn_suite],
            pfs: None,
            additional: vec![],
            lifetime: Duration::from_secs(1800),
            proposal: "default".into(),
            lifetime_bytes: 0,
            replay_window: 128,
            esn: true,
        }],
    };
    let config = Config {
        peers: vec![peer],
        ddos_cookie_threshold: 100,
        sa_slots: 16,
        sources: Vec::new(),
        extensions: GatewayExtensions::default(),
        ..Config::default()
    };
    (config, vec![spec])
}
pub fn gcm() -> Suite {
    Suite::new(Encryption::Aes128Gcm, Integrity::None).unwrap()
}
