//! The one list of drop reasons, each rolled up into one of RouterOS's 25 IPsec statistics.

macro_rules! stats {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// `/ip ipsec statistics`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Stat { $($variant),* }
        impl Stat {
            pub const ALL: &[Self] = &[$(Self::$variant),*];
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }
        }
    };
}
stats! {
    InErrors = "in-errors",
    InBufferErrors = "in-buffer-errors",
    InHeaderErrors = "in-header-errors",
    InNoStates = "in-no-states",
    InStateProtocolErrors = "in-state-protocol-errors",
    InStateModeErrors = "in-state-mode-errors",
    InStateSequenceErrors = "in-state-sequence-errors",
    InStateExpired = "in-state-expired",
    InStateMismatches = "in-state-mismatches",
    InStateInvalid = "in-state-invalid",
    InTemplateMismatches = "in-template-mismatches",
    InNoPolicies = "in-no-policies",
    InPolicyBlocked = "in-policy-blocked",
    InPolicyErrors = "in-policy-errors",
    OutErrors = "out-errors",
    OutBundleErrors = "out-bundle-errors",
    OutBundleCheckErrors = "out-bundle-check-errors",
    OutNoStates = "out-no-states",
    OutStateProtocolErrors = "out-state-protocol-errors",
    OutStateModeErrors = "out-state-mode-errors",
    OutStateSequenceErrors = "out-state-sequence-errors",
    OutStateExpired = "out-state-expired",
    OutPolicyBlocked = "out-policy-blocked",
    OutPolicyDead = "out-policy-dead",
    OutPolicyErrors = "out-policy-errors",
}

macro_rules! drop_reasons {
    ($($variant:ident $name:literal $stat:tt $text:literal),* $(,)?) => {
        /// Why a packet went no further. Exactly one is counted for each packet that does not leave.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason { $($variant),* }
        impl DropReason {
            pub const ALL: &[Self] = &[$(Self::$variant),*];
            pub const COUNT: usize = Self::ALL.len();
            /// The counter's name.
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }
            /// One sentence for an operator.
            pub const fn text(self) -> &'static str { match self { $(Self::$variant => $text),* } }
            /// The RouterOS statistic it belongs to; `None` for what has nothing to do with IPsec.
            pub const fn stat(self) -> Option<Stat> { match self { $(Self::$variant => drop_reasons!(@ $stat)),* } }
            pub fn from_u8(raw: u8) -> Option<Self> { Self::ALL.get(usize::from(raw)).copied() }
        }
    };
    (@ _) => { None };
    (@ $stat:ident) => { Some(Stat::$stat) };
}
drop_reasons! {
    // Outside IPsec.
    NotForUs            "not-for-us"            _ "frame for another MAC address or an unknown VLAN",
    MalformedEthernet   "malformed-ethernet"    _ "frame too short or of an unknown EtherType",
    MalformedIp         "malformed-ip"          _ "IP header that does not parse",
    TtlExpired          "ttl-expired"           _ "TTL or hop limit used up",
    NoRoute             "no-route"              _ "no route to the destination",
    NoNeighbour         "no-neighbour"          _ "next hop did not answer ARP or neighbour discovery",
    TooBig              "too-big"               _ "larger than the MTU and not allowed to be fragmented",
    NoBuffer            "no-buffer"             _ "no free packet buffer",
    TxFull              "tx-full"               _ "transmit queue full",
    HostQueueFull       "host-queue-full"       _ "exception path to the host is full",
    FrameQueueFull      "frame-queue-full"      _ "queue of IKE frames to the slow path is full",
    UnsupportedProtocol "unsupported-protocol"  _ "protocol this gateway neither forwards nor terminates",
    Keepalive           "nat-keepalive"         _ "NAT keepalive, dropped as RFC 3948 4 says",
    HintRefused         "icmp-hint-refused"     _ "ICMP says a packet of ours was too big, but quotes none that was sent lately",
    // Inbound.
    EspTooShort         "esp-too-short"         InHeaderErrors "ESP shorter than its header, IV and ICV",
    FragmentBad         "fragment-bad"          InHeaderErrors "fragments for the gateway that overlap, lie about their end or are too many",
    FragmentLate        "fragment-late"         InHeaderErrors "fragment for the gateway whose others did not come in time",
    FragmentFull        "fragment-full"         InHeaderErrors "given up: too many datagrams for the gateway were incomplete",
    FragmentTwice       "fragment-twice"        InHeaderErrors "fragment for the gateway that was there already",
    AhMalformed         "ah-malformed"          InHeaderErrors "AH, or an IP option in front of it, with a length that cannot be right",
    NoHeadroomIn        "in-no-buffer"          InBufferErrors "buffer unfit for decryption",
    NoSuchSa            "no-such-sa"            InNoStates "no SA for this SPI, address and protocol",
    IcvMismatch         "icv-mismatch"          InStateProtocolErrors "integrity check failed",
    EngineErrorIn       "in-engine-error"       InStateProtocolErrors "crypto engine could not process the packet",
    ReplaySeen          "replay-seen"           InStateSequenceErrors "sequence number already received",
    ReplayOld           "replay-old"            InStateSequenceErrors "sequence number left of the window",
    SaExpiredIn         "in-sa-expired"         InStateExpired "SA past its hard lifetime",
    EncapMismatch       "encap-mismatch"        InStateMismatches "UDP encapsulation differs from what was negotiated",
    BadTrailer          "bad-trailer"           InStateModeErrors "ESP trailer, padding or inner header is wrong",
    DummyPacket         "dummy-packet"          _ "dummy packet (next header 59), dropped as RFC 4303 2.6 says",
    SelectorMismatch    "selector-mismatch"     InTemplateMismatches "inner packet is not covered by the SA",
    ClearForProtected   "clear-for-protected"   InTemplateMismatches "arrived in clear where policy requires protection",
    NoPolicyIn          "in-no-policy"          InNoPolicies "SA is fine but no policy covers the packet",
    DiscardIn           "in-discard"            InPolicyBlocked "policy says discard",
    // Outbound.
    PolicyNotLoaded     "policy-not-loaded"     OutPolicyErrors "no policy set has been loaded yet; nothing is forwarded before",
    Discard             "discard"               OutPolicyBlocked "policy says discard",
    NoSa                "no-sa"                 OutNoStates "policy requires protection and no SA is up; one was asked for",
    SaExpiredOut        "out-sa-expired"        OutStateExpired "SA past its hard lifetime",
    SeqExhausted        "seq-exhausted"         OutStateSequenceErrors "SA has used its last sequence number",
    TransportEnds       "transport-ends"        OutStateModeErrors "transport mode, and the packet is not from and to the ends of the SA",
    TransportFragment   "transport-fragment"    OutStateModeErrors "transport mode protects whole datagrams, and this is a fragment",
    NoHeadroom          "no-headroom"           OutErrors "no room in the buffer for the ESP headers",
    EngineError         "out-engine-error"      OutStateProtocolErrors "crypto engine could not process the packet",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_in_the_manual_under_its_statistic() {
        let manual = include_str!("../../../docs/drops.md");
        for reason in DropReason::ALL {
            let stat = reason.stat().map_or(String::new(), |s| format!("`{}`", s.name()));
            let row = format!("| `{}` | {stat} | {} |", reason.name(), reason.text());
            assert!(manual.contains(&row), "docs/drops.md has no row that begins with {row}");
        }
    }
    #[test]
    fn names_are_unique_and_numbers_are_places() {
        for (at, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, at);
            assert_eq!(DropReason::ALL.iter().filter(|r| r.name() == reason.name()).count(), 1);
        }
        assert_eq!(Stat::ALL.len(), 25);
    }
}
