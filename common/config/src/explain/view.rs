//! Policies, routes, SAs and drops as they are shown, with RouterOS's names.
use super::{LiveDrop, Packet};
use crate::model::{Gateway, Policy};
use crate::value::{show_ports, show_protocol};
use crate::ways::Way;
use sa::{Action, DropReason, Level};
use serde::{Serialize, Serializer};
use std::net::IpAddr;

pub(super) fn protocol<S: Serializer>(protocol: &u8, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&show_protocol(Some(*protocol)))
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyView {
    /// Place among those in force, from 0.
    pub number: usize,
    pub id: u32,
    /// Made from a template, for as long as its peer has an SA.
    pub dynamic: bool,
    pub src_address: String,
    pub dst_address: String,
    pub protocol: String,
    pub src_port: String,
    pub dst_port: String,
    pub action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
}
impl PolicyView {
    pub(super) fn of(number: usize, policy: &Policy) -> Self {
        let s = policy.spec.selector;
        let (action, level) = match policy.spec.action {
            Action::Discard => ("discard", None),
            Action::Bypass => ("none", None),
            Action::Encrypt { level, .. } => ("encrypt", Some(level_name(level))),
        };
        Self {
            number,
            id: policy.spec.id.0,
            dynamic: policy.spec.id.is_dynamic(),
            src_address: s.src.to_string(),
            dst_address: s.dst.to_string(),
            protocol: show_protocol(s.protocol),
            src_port: show_ports(s.src_port),
            dst_port: show_ports(s.dst_port),
            action,
            level,
            peer: policy.peer.clone(),
            comment: policy.comment.clone(),
        }
    }
}
fn level_name(level: Level) -> &'static str {
    match level {
        Level::Use => "use",
        Level::Require => "require",
        Level::Unique => "unique",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RouteView {
    pub dst_address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    pub connected: bool,
    pub blackhole: bool,
}
impl RouteView {
    pub(super) fn of(way: &Way) -> Self {
        Self {
            dst_address: way.network.to_string(),
            gateway: match &way.hop {
                Gateway::Via { address, .. } => Some(*address),
                _ => None,
            },
            interface: interface(way),
            connected: way.connected,
            blackhole: way.hop == Gateway::Blackhole,
        }
    }
}
pub(super) fn interface(way: &Way) -> Option<String> {
    match &way.hop {
        Gateway::Via { interface, .. } | Gateway::Interface(interface) => Some(interface.clone()),
        Gateway::Blackhole => None,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SaView {
    /// `in` or `out`.
    pub direction: &'static str,
    pub spi: String,
    pub state: String,
    pub algorithms: String,
    pub src_address: String,
    pub dst_address: String,
    pub current_packets: u64,
    pub current_bytes: u64,
    pub expires_in: u64,
    /// It is for this packet.
    pub used: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DropView {
    pub reason: &'static str,
    pub meaning: &'static str,
    pub advice: &'static str,
    pub seconds_ago: u64,
    pub count: u64,
    pub packet: Packet,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spi: Option<String>,
}
impl DropView {
    pub(super) fn of(drop: &LiveDrop) -> Self {
        let Around { meaning, advice } = around(drop.reason);
        Self {
            reason: drop.reason.name(),
            meaning,
            advice,
            seconds_ago: drop.seconds_ago,
            count: drop.count,
            packet: drop.packet,
            spi: (drop.spi != 0).then(|| format!("{:#x}", drop.spi)),
        }
    }
}

/// What the manual says of a reason.
pub(super) struct Around {
    pub meaning: &'static str,
    pub advice: &'static str,
}
pub(super) fn around(reason: DropReason) -> Around {
    const MANUAL: &str = include_str!("../../../../docs/drops.md");
    let named =
        |row: &&str| row.strip_prefix("| `").is_some_and(|row| row.split('`').next() == Some(reason.name()));
    let row = MANUAL.lines().find(named).unwrap_or_default();
    Around { meaning: reason.text(), advice: row.split('|').nth(4).map(str::trim).unwrap_or_default() }
}
