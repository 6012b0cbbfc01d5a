//! SA and policy specifications.
use super::{Malformed, Unfit, addr::AddrRecord, addr::range};
use sa::{
    Action, Direction, DontFragment, Encap, Encryption, Framing, Integrity, Key, Level, Lifetime, Limit,
    Mode, PolicyId, PolicySpec, PortRange, Prefix, Protocol, ReplayWidth, SaSlot, SaSpec, Selector, Spi,
    Suite, TrafficSelector, TunnelEnds,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
use zeroize::Zeroize;

const ANY_PROTOCOL: u32 = u32::MAX;

fn protocol(raw: u32) -> Result<Option<u8>, Malformed> {
    if raw == ANY_PROTOCOL {
        return Ok(None);
    }
    u8::try_from(raw).map(Some).map_err(|_| Malformed("protocol"))
}
fn ports([first, last]: [u16; 2]) -> Result<PortRange, Malformed> {
    if first <= last { Ok(PortRange { first, last }) } else { Err(Malformed("port range")) }
}
pub(super) fn spi(raw: u32) -> Result<Spi, Malformed> {
    Spi::new(raw).map_err(|_| Malformed("SPI"))
}
pub(super) fn policy_id(raw: u32) -> Result<PolicyId, Malformed> {
    if raw == 0 { Err(Malformed("policy id")) } else { Ok(PolicyId(raw)) }
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SelectorRecord {
    local: [AddrRecord; 2],
    remote: [AddrRecord; 2],
    protocol: u32,
    local_port: [u16; 2],
    remote_port: [u16; 2],
}
const _: () = assert!(size_of::<SelectorRecord>() == 92);

impl SelectorRecord {
    const ZERO: Self = Self {
        local: [AddrRecord::ZERO; 2],
        remote: [AddrRecord::ZERO; 2],
        protocol: 0,
        local_port: [0; 2],
        remote_port: [0; 2],
    };
    fn decode(&self) -> Result<TrafficSelector, Malformed> {
        let (local, remote) =
            (range(&self.local[0], &self.local[1])?, range(&self.remote[0], &self.remote[1])?);
        if local.first().is_ipv4() != remote.first().is_ipv4() {
            return Err(Malformed("selector's address families"));
        }
        Ok(TrafficSelector {
            local,
            remote,
            protocol: protocol(self.protocol)?,
            local_port: ports(self.local_port)?,
            remote_port: ports(self.remote_port)?,
        })
    }
}
impl From<&TrafficSelector> for SelectorRecord {
    fn from(s: &TrafficSelector) -> Self {
        Self {
            local: [s.local.first().into(), s.local.last().into()],
            remote: [s.remote.first().into(), s.remote.last().into()],
            protocol: s.protocol.map_or(ANY_PROTOCOL, u32::from),
            local_port: [s.local_port.first, s.local_port.last],
            remote_port: [s.remote_port.first, s.remote_port.last],
        }
    }
}

#[repr(C)]
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct KeyRecord {
    len: u32,
    bytes: [u8; Key::MAX],
}
impl KeyRecord {
    fn decode(&self, len: usize, what: &'static str) -> Result<Key, Malformed> {
        // A key of another length than the suite's would be an engine's out-of-bounds read.
        if self.len as usize != len {
            return Err(Malformed(what));
        }
        self.bytes.get(..len).and_then(Key::new).ok_or(Malformed(what))
    }
}
impl From<&Key> for KeyRecord {
    fn from(key: &Key) -> Self {
        let mut record = Self { len: key.len() as u32, bytes: [0; Key::MAX] };
        record.bytes[..key.len()].copy_from_slice(key.expose());
        record
    }
}

#[repr(C)]
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SaRecord {
    last_seq: u64,
    /// Seconds, bytes, packets; soft and hard.
    lifetime: [[u64; 2]; 3],
    slot: u32,
    spi: u32,
    policy: u32,
    replay_window: u32,
    ends: [AddrRecord; 2],
    /// All zero without.
    original: [AddrRecord; 2],
    encap_ports: [u16; 2],
    direction: u8,
    mode: u8,
    encryption: u8,
    integrity: u8,
    encap: u8,
    esn: u8,
    selector_count: u8,
    protocol: u8,
    encryption_key: KeyRecord,
    salt: KeyRecord,
    integrity_key: KeyRecord,
    selectors: [SelectorRecord; SaSpec::MAX_SELECTORS],
    /// 0 where there is none.
    also: [u32; SaSpec::MAX_ALSO],
}
const _: () = assert!(size_of::<SaRecord>() == 1144);

impl Drop for SaRecord {
    fn drop(&mut self) {
        for key in [&mut self.encryption_key, &mut self.salt, &mut self.integrity_key] {
            key.bytes.zeroize();
        }
    }
}

fn flag(raw: u8, what: &'static str) -> Result<bool, Malformed> {
    match raw {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed(what)),
    }
}
pub(super) fn ends([local, remote]: &[AddrRecord; 2]) -> Result<TunnelEnds, Malformed> {
    let (local, remote) = (local.decode()?, remote.decode()?);
    let fit = local.is_ipv4() == remote.is_ipv4() && !local.is_unspecified() && !remote.is_unspecified();
    if fit { Ok(TunnelEnds { local, remote }) } else { Err(Malformed("tunnel ends")) }
}
pub(super) fn encap(present: u8, [local_port, remote_port]: [u16; 2]) -> Result<Option<Encap>, Malformed> {
    Ok(flag(present, "encapsulation")?.then_some(Encap { local_port, remote_port }))
}

impl SaRecord {
    pub fn encode(spec: &SaSpec) -> Result<Self, Unfit> {
        let count = spec.selectors.len();
        if count == 0 || count > SaSpec::MAX_SELECTORS {
            return Err(Unfit::Selectors(count));
        }
        let mut also = [0; SaSpec::MAX_ALSO];
        if spec.also.len() > also.len() {
            return Err(Unfit::Policies(spec.also.len() + 1));
        }
        for (record, policy) in also.iter_mut().zip(&spec.also) {
            *record = policy.0;
        }
        let mut selectors = [SelectorRecord::ZERO; SaSpec::MAX_SELECTORS];
        for (record, selector) in selectors.iter_mut().zip(&spec.selectors) {
            *record = selector.into();
        }
        let limit = |l: Limit| [l.soft, l.hard];
        let life = spec.lifetime;
        Ok(Self {
            last_seq: spec.last_seq,
            lifetime: [limit(life.seconds), limit(life.bytes), limit(life.packets)],
            slot: spec.slot.0,
            spi: spec.spi.get(),
            policy: spec.policy.0,
            replay_window: spec.replay_window,
            ends: [spec.ends.local.into(), spec.ends.remote.into()],
            original: spec.original.map_or([AddrRecord::ZERO; 2], |o| [o.local.into(), o.remote.into()]),
            encap_ports: spec.encap.map_or([0; 2], |e| [e.local_port, e.remote_port]),
            direction: spec.direction as u8,
            mode: spec.mode as u8,
            encryption: spec.suite.encryption() as u8,
            integrity: spec.suite.integrity() as u8,
            encap: spec.encap.is_some().into(),
            esn: spec.esn.into(),
            selector_count: count as u8,
            protocol: spec.protocol as u8,
            encryption_key: (&spec.encryption_key).into(),
            salt: (&spec.salt).into(),
            integrity_key: (&spec.integrity_key).into(),
            selectors,
            also,
        })
    }
    pub fn decode(&self) -> Result<SaSpec, Malformed> {
        let encryption = Encryption::from_u8(self.encryption).ok_or(Malformed("encryption algorithm"))?;
        let integrity = Integrity::from_u8(self.integrity).ok_or(Malformed("integrity algorithm"))?;
        let suite = Suite::told(encryption, integrity).ok_or(Malformed("suite"))?;
        let esn = flag(self.esn, "ESN flag")?;
        //= rfc4303#2.2/32-bit-counter: without ESN there is no number above 2^32 - 1.
        if !esn && self.last_seq > u64::from(u32::MAX) {
            return Err(Malformed("last sequence number"));
        }
        let selectors = self
            .selectors
            .get(..usize::from(self.selector_count))
            .filter(|s| !s.is_empty())
            .ok_or(Malformed("selector count"))?;
        let limit = |[soft, hard]: [u64; 2]| Limit { soft, hard };
        Ok(SaSpec {
            slot: SaSlot(self.slot),
            spi: spi(self.spi)?,
            direction: match self.direction {
                0 => Direction::Inbound,
                1 => Direction::Outbound,
                _ => return Err(Malformed("direction")),
            },
            protocol: Protocol::from_u8(self.protocol).ok_or(Malformed("protocol of an SA"))?,
            mode: match self.mode {
                0 => Mode::Transport,
                1 => Mode::Tunnel,
                _ => return Err(Malformed("mode")),
            },
            suite,
            encryption_key: self.encryption_key.decode(encryption.key_len(), "encryption key")?,
            salt: self.salt.decode(suite.salt_len(), "salt")?,
            integrity_key: self.integrity_key.decode(integrity.key_len(), "integrity key")?,
            ends: ends(&self.ends)?,
            encap: encap(self.encap, self.encap_ports)?,
            original: if self.original == [AddrRecord::ZERO; 2] { None } else { Some(ends(&self.original)?) },
            esn,
            replay_window: ReplayWidth::new(self.replay_window).ok_or(Malformed("replay window"))?.get(),
            last_seq: self.last_seq,
            lifetime: Lifetime {
                seconds: limit(self.lifetime[0]),
                bytes: limit(self.lifetime[1]),
                packets: limit(self.lifetime[2]),
            },
            policy: policy_id(self.policy)?,
            also: self.also.iter().filter(|id| **id != 0).map(|id| PolicyId(*id)).collect(),
            selectors: selectors.iter().map(SelectorRecord::decode).collect::<Result<_, _>>()?,
        })
    }
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PolicyRecord {
    id: u32,
    src: AddrRecord,
    dst: AddrRecord,
    protocol: u32,
    src_port: [u16; 2],
    dst_port: [u16; 2],
    src_len: u8,
    dst_len: u8,
    /// 0 discard, 1 bypass, 2 encrypt.
    action: u8,
    level: u8,
    tunnel: u8,
    dont_fragment: u8,
    /// [`INHERIT`]: the inner packet's.
    dscp: u8,
    clamp_mss: u8,
    pad_to: u16,
    reserved: [u8; 2],
}
const _: () = assert!(size_of::<PolicyRecord>() == 68);
const INHERIT: u8 = u8::MAX;

fn prefix(addr: &AddrRecord, len: u8) -> Result<Prefix, Malformed> {
    let addr = addr.decode()?;
    // The model clears host bits; a record that has them was not made by it.
    Prefix::new(addr, len).filter(|p| p.addr() == addr).ok_or(Malformed("prefix"))
}

impl PolicyRecord {
    pub fn encode(policy: &PolicySpec) -> Self {
        let (s, framing) = (&policy.selector, policy.framing);
        let (action, level, tunnel) = match policy.action {
            Action::Discard => (0, 0, false),
            Action::Bypass => (1, 0, false),
            Action::Encrypt { level, tunnel } => (2, level as u8, tunnel),
        };
        Self {
            id: policy.id.0,
            src: s.src.addr().into(),
            dst: s.dst.addr().into(),
            protocol: s.protocol.map_or(ANY_PROTOCOL, u32::from),
            src_port: [s.src_port.first, s.src_port.last],
            dst_port: [s.dst_port.first, s.dst_port.last],
            src_len: s.src.len(),
            dst_len: s.dst.len(),
            action,
            level,
            tunnel: tunnel.into(),
            dont_fragment: framing.dont_fragment as u8,
            dscp: framing.dscp.unwrap_or(INHERIT),
            clamp_mss: framing.clamp_mss.into(),
            pad_to: framing.pad_to,
            reserved: [0; 2],
        }
    }
    pub fn decode(&self) -> Result<PolicySpec, Malformed> {
        let selector = Selector {
            src: prefix(&self.src, self.src_len)?,
            dst: prefix(&self.dst, self.dst_len)?,
            protocol: protocol(self.protocol)?,
            src_port: ports(self.src_port)?,
            dst_port: ports(self.dst_port)?,
        };
        if selector.src.is_ipv4() != selector.dst.is_ipv4() {
            return Err(Malformed("selector's address families"));
        }
        let level = match self.level {
            0 => Level::Use,
            1 => Level::Require,
            2 => Level::Unique,
            _ => return Err(Malformed("level")),
        };
        let action = match self.action {
            0 => Action::Discard,
            1 => Action::Bypass,
            2 => Action::Encrypt { level, tunnel: flag(self.tunnel, "tunnel flag")? },
            _ => return Err(Malformed("action")),
        };
        let framing = Framing {
            dont_fragment: match self.dont_fragment {
                0 => DontFragment::Inherit,
                1 => DontFragment::Clear,
                2 => DontFragment::Set,
                _ => return Err(Malformed("DF policy")),
            },
            dscp: match self.dscp {
                INHERIT => None,
                dscp @ 0..64 => Some(dscp),
                _ => return Err(Malformed("DSCP")),
            },
            clamp_mss: flag(self.clamp_mss, "MSS flag")?,
            pad_to: self.pad_to,
        };
        Ok(PolicySpec { id: policy_id(self.id)?, selector, action, framing })
    }
}
