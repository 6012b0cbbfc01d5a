//! The status socket's language: one JSON value per line each way. Names of fields are RouterOS's, so that
//! `espway status` prints what an operator of `/ip ipsec` knows. A key appears only in an
//! answer to a request that said `show-sensitive`.
use crate::change::{Apply, Entry, Plan, Refused};
use crate::diagnosis::{Diagnosis, LogEntry};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Request {
    Status {
        #[serde(default)]
        show_sensitive: bool,
        /// Lists with more rows than this are counted and left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<u32>,
    },
    /// Bring up all children of a peer, or the one of a policy (its id).
    Initiate {
        peer: String,
        #[serde(default)]
        policy: Option<u32>,
    },
    /// `/ip ipsec active-peers remove`, or `kill-connections` without a peer.
    Terminate {
        #[serde(default)]
        peer: Option<String>,
    },
    /// One IKE SA, by the initiator's SPI in hexadecimal.
    TerminateSa {
        spii: String,
    },
    RekeyIke {
        peer: String,
    },
    RekeySa {
        spii: String,
    },
    /// The slot of either SA of the pair.
    RekeyChild {
        slot: u32,
    },
    /// A filter such as `info` or `ike=debug`; of one peer a level, or `default`.
    LogLevel {
        filter: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<String>,
    },
    /// Why negotiations failed, of all peers or one, oldest first.
    Diagnosis {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<String>,
        /// Forget them after that.
        #[serde(default)]
        clear: bool,
    },
    /// What was logged behind this id; 0 for all that is remembered.
    Log {
        #[serde(default)]
        after: u64,
    },
    /// Another configuration, checked and planned first; the answer comes when it is in force.
    Apply(Box<Apply>),
    /// The change that waits for it stays.
    Confirm,
    /// Changes that were made, oldest first.
    History,
    /// The text in force, or of an entry of the history. It has secrets in it.
    Configuration {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry: Option<u64>,
    },
    /// What the gateway does with such a packet, and why.
    Explain(Packet),
    /// Copies of packets, and what the gateway did with each, until enough was seen.
    Watch(Box<Look>),
    /// Everything that can be counted, for a monitoring system.
    Metrics,
    /// The objects of the configuration are kept at hand from now on, for readers in the same process.
    Objects,
    /// What was changed in this safe mode stays.
    Release {
        token: String,
    },
    /// Whoever held this safe mode is gone: what was changed in it is taken back.
    EndSafeMode {
        token: String,
    },
    /// Delete all SAs of packets, as their hard limit would; what needs them is negotiated anew.
    Flush,
    /// Delete every SA at its peer, then end the slow path.
    Shutdown,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    Status(Box<Status>),
    /// Taken over; what comes of it shows in the next status.
    Done,
    Error(String),
    /// What was changed, or would be.
    Changed(Box<Plan>),
    /// Nothing was changed.
    Refused(Refused),
    History(Vec<Entry>),
    Diagnosis(Vec<Diagnosis>),
    Log(Vec<LogEntry>),
    Configuration(Text),
    /// As an object, and for people.
    Explained {
        explanation: serde_json::Value,
        text: String,
    },
    /// OpenMetrics.
    Metrics(String),
    /// Comes line by line, each when it happens.
    Watched(Vec<WatchedLine>),
}

/// A packet somebody asks about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Packet {
    pub src: IpAddr,
    pub dst: IpAddr,
    /// A name or a number.
    pub protocol: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src_port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst_port: Option<u16>,
}

/// What somebody wants to see: of a policy (its id), a peer, an SA or a flow, and of one of them only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Look {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Hexadecimal, of either SA of a pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spi: Option<String>,
    #[serde(default)]
    pub flow: LookFlow,
    /// It ends after so many packets, copied bytes (0: any number) or seconds.
    pub packets: u64,
    #[serde(default)]
    pub bytes: u64,
    pub seconds: u32,
    /// Bytes of each packet.
    #[serde(default)]
    pub snap: u16,
    /// What is in the packets, too.
    #[serde(default)]
    pub data: bool,
    /// And the keys of the SAs they go through.
    #[serde(default)]
    pub keys: bool,
    /// All of it at the end.
    #[serde(default)]
    pub whole: bool,
}
/// What is not said fits everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LookFlow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst: Option<String>,
    /// A name or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src_port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst_port: Option<u16>,
}
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum WatchedLine {
    Packet(Box<WatchedPacket>),
    /// A row of Wireshark's table `esp_sa`.
    Key(Text),
    /// The last one. `lost`: copies that found no room on their way.
    Over {
        packets: u64,
        lost: u64,
        why: String,
    },
}
/// A packet where it came in, or what became of it where that left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WatchedPacket {
    /// The same for a packet and for what became of it.
    pub number: u64,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// `host` is the gateway's own stack; what is `waiting` is for a next hop whose MAC address is not known.
    pub port: String,
    /// It begins with an Ethernet header; else with that of IP.
    pub frame: bool,
    pub leaves: bool,
    /// Under ESP or AH of this gateway.
    pub protected: bool,
    /// On the wire.
    pub length: u32,
    pub flow: String,
    /// Of a packet that came in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fate: Option<String>,
    /// The name of the reason it was dropped for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// Hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// A configuration with its secrets; never printed by accident.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(pub String);
impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Text of {} bytes", self.0.len())
    }
}
impl Drop for Text {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    pub version: String,
    /// Names one life of the fast path.
    pub epoch: u64,
    pub fastpath_attached: bool,
    /// Seconds since the slow path started.
    pub uptime: u64,
    /// Seconds since the fast path started.
    pub fastpath_uptime: u64,
    /// Also of lists that are left out.
    #[serde(default)]
    pub totals: Totals,
    pub active_peers: Vec<ActivePeer>,
    pub installed_sas: Vec<InstalledSa>,
    pub policies: Vec<PolicyStatus>,
    /// The 25 counters of `/ip ipsec statistics`.
    pub statistics: BTreeMap<String, u64>,
    /// Every packet that did not leave, by reason.
    pub drops: BTreeMap<String, u64>,
    pub ports: Vec<PortStatus>,
    pub ike: BTreeMap<String, u64>,
    pub ipc: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Totals {
    pub active_peers: u64,
    pub installed_sas: u64,
    pub policies: u64,
    /// Policies with a usable pair of SAs.
    pub established_policies: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Initiator,
    Responder,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ActivePeer {
    pub peer: String,
    /// The identity the peer proved.
    pub id: String,
    pub local_address: SocketAddr,
    pub remote_address: SocketAddr,
    pub state: String,
    pub side: Side,
    pub natt_peer: bool,
    /// Hexadecimal, as in `/ip ipsec active-peers`.
    pub spii: String,
    pub spir: String,
    /// Seconds.
    pub uptime: u64,
    /// Seconds since the last message.
    pub last_seen: u64,
    pub ph2_total: u32,
    pub algorithms: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SaDirection {
    In,
    Out,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct InstalledSa {
    pub peer: String,
    pub policy: u32,
    pub direction: SaDirection,
    pub slot: u32,
    /// `0x…`.
    pub spi: String,
    pub src_address: String,
    pub dst_address: String,
    /// `larval`, `mature`, `dying` or `dead`.
    pub state: String,
    /// `esp` or `ah`.
    pub protocol: String,
    /// `tunnel` or `transport`.
    pub mode: String,
    pub enc_algorithm: String,
    pub auth_algorithm: String,
    /// Who does the arithmetic, named as in `system.crypto.engines`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Bits.
    pub enc_key_size: u32,
    /// One of its algorithms is out of date.
    #[serde(default)]
    pub weak: bool,
    pub replay: u32,
    pub esn: bool,
    pub current_bytes: u64,
    pub current_packets: u64,
    pub invalid_packets: u64,
    pub seen_traffic: bool,
    pub last_seq: u64,
    /// Seconds.
    pub age: u64,
    pub expires_in: u64,
    /// Seconds since a packet last passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<u64>,
    /// Hexadecimal, with the salt appended for AEADs; only after `show-sensitive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enc_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_key: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PolicyStatus {
    pub id: u32,
    pub src_address: String,
    pub dst_address: String,
    pub protocol: String,
    pub src_port: String,
    pub dst_port: String,
    pub action: String,
    pub level: String,
    pub tunnel: bool,
    pub peer: String,
    pub sa_src_address: Option<IpAddr>,
    pub sa_dst_address: Option<IpAddr>,
    pub active: bool,
    pub ph2_count: u32,
    /// `no-phase2`, `established` or `expired`.
    pub ph2_state: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PortStatus {
    pub name: String,
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub rx_missed: u64,
    pub tx_errors: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_as_an_operator_would_write_them() {
        for (text, expected) in [
            (r#"{"status":{}}"#, Request::Status { show_sensitive: false, at_most: None }),
            (
                r#"{"status":{"show-sensitive":true,"at-most":9}}"#,
                Request::Status { show_sensitive: true, at_most: Some(9) },
            ),
            (r#"{"initiate":{"peer":"b"}}"#, Request::Initiate { peer: "b".into(), policy: None }),
            (r#"{"terminate":{}}"#, Request::Terminate { peer: None }),
            (r#"{"rekey-child":{"slot":7}}"#, Request::RekeyChild { slot: 7 }),
            (r#""shutdown""#, Request::Shutdown),
            (r#"{"diagnosis":{}}"#, Request::Diagnosis { peer: None, clear: false }),
            (
                r#"{"log-level":{"filter":"ike=debug"}}"#,
                Request::LogLevel { filter: "ike=debug".into(), peer: None },
            ),
            (r#"{"log":{}}"#, Request::Log { after: 0 }),
        ] {
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), expected, "{text}");
        }
        assert!(serde_json::from_str::<Request>(r#"{"status":{"show":1}}"#).is_err());
    }
}
