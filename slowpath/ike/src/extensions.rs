//! What IKEv2 has learnt since RFC 7296, as far as somebody may want to switch it.
use std::net::IpAddr;

/// Of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extensions {
    /// The longest IP packet that carries a message of ours before it is sent in fragments (RFC 7383); 0: never.
    pub fragment_size: u16,
    /// Addresses may change under an IKE SA (RFC 4555).
    pub mobike: bool,
    /// The peer may bring up an IKE SA without a first child (RFC 6023).
    pub childless: bool,
    /// Go where a gateway sends us (RFC 5685).
    pub follow_redirects: bool,
    /// Requests the peer may have under way at once (RFC 7296 2.3).
    pub window: u32,
}
impl Default for Extensions {
    fn default() -> Self {
        Self { fragment_size: 1280, mobike: true, childless: true, follow_redirects: false, window: 4 }
    }
}

/// Of the gateway as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayExtensions {
    /// Everyone who can be sent elsewhere is (RFC 5685).
    pub redirect_to: Option<IpAddr>,
}
