//! `ip.ipsec.manual-sa`: SAs whose keys stand in the file.
use super::net::Network;
use super::policy::Numbered;
use super::{Tables, ipsec};
use crate::complaint::Sink;
use crate::model::Policy;
use crate::walk::{Bad, Row};
use sa::{
    Action, Direction, Encap, Encryption, Integrity, Key, Lifetime, Mode, Protocol, SaSlot, SaSpec, Selector,
    Spi, Suite, SuiteError, TunnelEnds,
};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

pub fn build(tables: &Tables, network: &Network, policies: &Numbered, sink: &mut Sink) -> Vec<SaSpec> {
    let by_number: HashMap<u64, &Policy> = policies.iter().map(|(number, p)| (*number as u64, p)).collect();
    let mut taken = HashSet::new();
    let mut slot = 0;
    let mut keys = Vec::new();
    let lab = ipsec::lab(tables);
    super::enabled(tables.list("ip.ipsec.manual-sa"), |row| {
        let spec = manual(row, network, &by_number, SaSlot(slot), lab, sink)?;
        if !row.enabled() {
            return Err(Bad);
        }
        if !taken.insert((spec.direction, spec.spi)) {
            let said = format!("another SA of this direction has the SPI {}", spec.spi);
            return Err(row.error(sink, "spi", said, "write another"));
        }
        if let Some(first) = same_key(&spec, &keys) {
            let said = format!(
                "{first} has the same key, so both use it with the same IVs: whoever sees that reads both, and forges"
            );
            let fix = "write another key; each direction takes its own";
            if !lab {
                return Err(row.error(sink, "enc-key", said, fix));
            }
            row.warning(sink, "enc-key", said, fix);
        }
        keys.push((row.place(), spec.clone()));
        let said = "a manual SA is never rekeyed: who gets the key reads all that ever passed (RFC 4301 4.5.1), and after \
                    a restart what was sent before is taken once more";
        row.warning(sink, "spi", said, "let IKE make it: name a `peer` in the policy");
        slot += 1;
        Ok(spec)
    })
}

//= rfc4106#2/manual-keys: with manual keying nobody makes sure that IVs differ, so no key has two users.
/// The place of an SA that counts its IVs under the same key.
fn same_key<'s>(spec: &SaSpec, before: &'s [(String, SaSpec)]) -> Option<&'s str> {
    let counts = |of: &SaSpec| of.suite.encryption().counts_iv() || of.suite.integrity().iv_len() > 0;
    let same = |of: &SaSpec| {
        (&of.encryption_key, &of.salt) == (&spec.encryption_key, &spec.salt)
            && (of.suite.encryption().counts_iv() || of.integrity_key == spec.integrity_key)
    };
    let found = before.iter().find(|(_, of)| counts(of) && counts(spec) && same(of));
    found.map(|(place, _)| place.as_str())
}

fn manual(
    row: &Row,
    network: &Network,
    policies: &HashMap<u64, &Policy>,
    slot: SaSlot,
    lab: bool,
    sink: &mut Sink,
) -> Result<SaSpec, Bad> {
    let number: u64 = row.get("policy")?;
    let Some(policy) = policies.get(&number) else {
        let said =
            format!("row {number} of `ip.ipsec.policy` does not exist, is disabled or is wrong itself");
        return Err(row.error(sink, "policy", said, "count the rows from 0"));
    };
    let (Action::Encrypt { tunnel, .. }, None) = (policy.spec.action, &policy.peer) else {
        let said = "a manual SA serves a policy with `action: encrypt` and without `peer`";
        return Err(row.error(sink, "policy", said, "write the number of such a row"));
    };
    let (protocol, mode) = (policy.protocol, if tunnel { Mode::Tunnel } else { Mode::Transport });
    let ends = TunnelEnds { local: row.get("local-address")?, remote: row.get("remote-address")? };
    ends_fit(row, network, ends, sink)?;
    let Selector { src, dst, .. } = policy.spec.selector;
    if mode == Mode::Transport && !(src.contains(ends.local) && dst.contains(ends.remote)) {
        let said =
            format!("row {number} of `ip.ipsec.policy` is transport mode, and not about these two addresses");
        return Err(row.error(
            sink,
            "policy",
            said,
            "write `tunnel: yes` there, or the addresses of the gateways",
        ));
    }
    let encryption = Encryption::from_name(row.word("enc-algorithm")?).ok_or(Bad)?;
    if protocol == Protocol::Ah && encryption != Encryption::Null {
        let said = format!("AH does not encrypt, and row {number} of `ip.ipsec.policy` asks for it");
        return Err(row.error(sink, "enc-algorithm", said, "write `enc-algorithm: null`"));
    }
    let encap = encap(row, sink)?;
    if protocol == Protocol::Ah && encap.is_some() {
        let said = "AH covers the addresses and cannot cross a NAT";
        return Err(row.error(sink, "local-port", said, "leave the ports out"));
    }
    let integrity = Integrity::from_name(row.word("auth-algorithm")?).ok_or(Bad)?;
    let suite = match protocol {
        Protocol::Esp => Suite::new(encryption, integrity),
        Protocol::Ah => Suite::ah(integrity),
    };
    let suite = suite.or_else(|error| {
        if let (SuiteError::NoIntegrity(_), Some(suite)) =
            (error, ipsec::unprotected(row, "auth-algorithm", encryption, lab, sink))
        {
            return Ok(suite);
        }
        let error = error.to_string();
        let (said, fix) = error.split_once(": ").unwrap_or((&error, ""));
        let fix = fix.replace("algorithms", "algorithm").replace('=', ": ");
        Err(row.error(sink, "auth-algorithm", said, fix))
    })?;
    let keymat = key(row, "enc-key", encryption.key_len() + encryption.salt_len(), encryption.name(), sink)?;
    let authmat = key(row, "auth-key", integrity.key_len() + integrity.salt_len(), integrity.name(), sink)?;
    let (encryption_key, salt) = keymat.expose().split_at_checked(encryption.key_len()).ok_or(Bad)?;
    let (integrity_key, its_salt) = authmat.expose().split_at_checked(integrity.key_len()).ok_or(Bad)?;
    let salt = if its_salt.is_empty() { salt } else { its_salt };
    let direction = if row.word("direction")? == "in" { Direction::Inbound } else { Direction::Outbound };
    let esn: bool = row.get("esn")?;
    let last_seq: u64 = row.get("last-seq")?;
    if !esn && last_seq > u64::from(u32::MAX) {
        return Err(row.error(sink, "last-seq", "without ESN a number has 32 bits", "write `esn: yes`"));
    }
    Ok(SaSpec {
        slot,
        spi: Spi::new(row.get::<u64>("spi")? as u32).map_err(|_| Bad)?,
        direction,
        protocol,
        mode,
        suite,
        encryption_key: Key::new(encryption_key).ok_or(Bad)?,
        salt: Key::new(salt).ok_or(Bad)?,
        integrity_key: Key::new(integrity_key).ok_or(Bad)?,
        ends,
        encap,
        original: None,
        esn,
        replay_window: ipsec::replay_window(row, sink)?.get(),
        last_seq,
        lifetime: Lifetime::default(),
        policy: policy.spec.id,
        also: Vec::new(),
        selectors: vec![policy.spec.selector.into()],
    })
}

fn ends_fit(row: &Row, network: &Network, ends: TunnelEnds, sink: &mut Sink) -> Result<(), Bad> {
    let owns = |address: IpAddr| network.owns(address);
    if !owns(ends.local) {
        let said = format!("{} is not one of our addresses", ends.local);
        return Err(row.error(sink, "local-address", said, "write one from `ip.address`, or add it there"));
    }
    if ends.local.is_ipv4() != ends.remote.is_ipv4() {
        let said = format!("{} and {} differ in IP version", ends.local, ends.remote);
        return Err(row.error(sink, "remote-address", said, "take both from the same"));
    }
    if owns(ends.remote) {
        let said = format!("{} is our own address", ends.remote);
        return Err(row.error(sink, "remote-address", said, "write that of the other side"));
    }
    Ok(())
}

fn key(row: &Row, name: &str, len: usize, algorithm: &str, sink: &mut Sink) -> Result<Key, Bad> {
    let key = row.opt::<&crate::Secret>(name)?;
    let bytes = key.map_or(&[][..], crate::Secret::expose);
    if bytes.len() != len {
        let said = format!("`{algorithm}` takes {len} bytes, here are {}", bytes.len());
        let fix = if len == 0 {
            "leave the key out".into()
        } else {
            format!("write {} hexadecimal digits", 2 * len)
        };
        return Err(row.error(sink, name, said, fix));
    }
    Key::new(bytes).ok_or(Bad)
}

fn encap(row: &Row, sink: &mut Sink) -> Result<Option<Encap>, Bad> {
    match (row.get::<u64>("local-port")? as u16, row.get::<u64>("remote-port")? as u16) {
        (0, 0) => Ok(None),
        (0, _) => Err(row.error(sink, "local-port", "UDP needs both ports", "write `local-port: 4500`")),
        (_, 0) => Err(row.error(sink, "remote-port", "UDP needs both ports", "write `remote-port: 4500`")),
        (local_port, remote_port) => Ok(Some(Encap { local_port, remote_port })),
    }
}
