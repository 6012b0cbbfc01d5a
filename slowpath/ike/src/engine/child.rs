//! A child SA: the two ESP SAs and what has become of them.
use crate::api::{Child, Now};
use crate::crypto::EspKeys;
use sa::{
    Direction, Encap, Lifetime, Limit, Mode, PolicyId, Protocol, SaSlot, SaSpec, Spi, Suite, TrafficSelector,
    TunnelEnds,
};
use std::time::Duration;

/// One direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Half {
    pub slot: SaSlot,
    pub spi: Spi,
    pub place: Place,
    pub keys: EspKeys,
}
/// Where one direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Place {
    /// It has a slot, and the fast path knows nothing of it.
    Reserved,
    /// The fast path has it, or has been told to take it.
    Installed,
    /// Removed; the slot is no longer ours.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum ChildState {
    /// Both directions in use.
    Active,
    /// Made by the peer while an older one carries the traffic: we receive on it, and send on it once the peer has
    /// shown that it can receive (its packets, or its delete of the old one) or `TAKEOVER` has passed.
    AwaitingSwitch,
    /// Made by the peer's rekey, which lost against ours (RFC 7296 2.8.1): the peer will delete it.
    Redundant,
    /// Our delete is queued or out. We no longer send on it.
    Deleting,
    /// Deleted on both ends; the inbound half stays until everything in flight must have arrived.
    Lingering,
}

#[derive(Clone, Debug)]
pub(super) struct ChildSa {
    pub policy: PolicyId,
    /// Further policies that it serves.
    pub also: Vec<PolicyId>,
    pub inbound: Half,
    pub outbound: Half,
    pub protocol: Protocol,
    pub mode: Mode,
    /// Transport mode through a NAT, and we answered: the addresses as the peer knows them.
    pub original: Option<TunnelEnds>,
    pub suite: Suite,
    pub esn: bool,
    pub replay_window: u32,
    pub lifetime: Lifetime,
    pub selectors: Vec<TrafficSelector>,
    pub state: ChildState,
    /// We sent the request that made it.
    pub initiated: bool,
    pub low_nonce: Vec<u8>,
    /// Our inbound SPI of the one it replaces.
    pub replaces: Option<Spi>,
    pub created: Now,
    pub soft_at: Option<Now>,
    pub hard_at: Option<Now>,
    /// End of `Lingering`.
    pub gone_at: Option<Now>,
    /// When to look for a twin, the same child asked for by both ends at once; before that, the end of `TAKEOVER`.
    pub twin_at: Option<Now>,
}

/// How long a deleted inbound SA still receives: more than any packet stays on the way.
pub(super) const LINGER: Duration = Duration::from_secs(5);

/// How long a responder's answer may take to the peer before we send on an SA that no rekey has made.
pub(super) const TAKEOVER: Duration = Duration::from_millis(500);
/// When both ends have heard of an SA and twins can be told apart.
pub(super) const SETTLED: Duration = Duration::from_secs(3);

impl ChildSa {
    pub fn deadlines(&self, mut at: impl FnMut(Now)) {
        [self.soft_at, self.hard_at, self.gone_at, self.twin_at].into_iter().flatten().for_each(&mut at);
    }
    pub fn has(&self, slot: SaSlot, spi: Spi) -> bool {
        [&self.inbound, &self.outbound].iter().any(|h| h.slot == slot && h.spi == spi)
    }
    /// Waits to carry what another SA, of whichever IKE SA, carries until the peer is ready.
    pub fn takes_over(&self) -> bool {
        self.state == ChildState::AwaitingSwitch && self.replaces.is_none()
    }
    /// It may still carry traffic towards the peer.
    pub fn is_live(&self) -> bool {
        matches!(self.state, ChildState::Active | ChildState::AwaitingSwitch)
    }
    pub fn spec(&self, direction: Direction, ends: TunnelEnds, encap: Option<Encap>) -> Box<SaSpec> {
        let half = match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        };
        Box::new(SaSpec {
            slot: half.slot,
            spi: half.spi,
            direction,
            protocol: self.protocol,
            mode: self.mode,
            suite: self.suite,
            encryption_key: half.keys.encryption.clone(),
            salt: half.keys.salt.clone(),
            integrity_key: half.keys.integrity.clone(),
            ends,
            encap,
            original: self.original.filter(|_| encap.is_some()),
            esn: self.esn,
            replay_window: self.replay_window,
            last_seq: 0,
            lifetime: self.lifetime,
            policy: self.policy,
            also: self.also.clone(),
            selectors: self.selectors.clone(),
        })
    }
    pub fn state_name(&self) -> &'static str {
        match self.state {
            ChildState::Active => "mature",
            ChildState::AwaitingSwitch => "larval",
            ChildState::Redundant | ChildState::Deleting | ChildState::Lingering => "dying",
        }
    }
}

/// Soft is 80 % of hard; `fresh` (0..=255) takes up to a tenth off so that two ends rarely rekey at once.
pub(super) fn soft_of(hard: Duration, fresh: u8) -> Duration {
    hard.mul_f64(0.8 - 0.08 * f64::from(fresh) / 255.0)
}

//= rfc4301#4.4.2.1/lifetime: seconds and bytes, whichever comes first; soft before hard.
pub(super) fn lifetime_of(child: &Child, esn: bool, fresh: u8) -> Lifetime {
    let hard = child.lifetime.as_secs();
    let percent = |n: u64| n / 100 * 80 + n % 100 * 80 / 100;
    Lifetime {
        seconds: Limit { soft: soft_of(child.lifetime, fresh).as_secs(), hard },
        bytes: Limit { soft: percent(child.lifetime_bytes), hard: child.lifetime_bytes },
        //= rfc4303#3.3.3/no-cycle: without ESN the numbers end at 2^32 - 1; a successor must be there before.
        packets: if esn { Limit::default() } else { Limit { soft: 3 << 30, hard: u64::from(u32::MAX) } },
    }
}
