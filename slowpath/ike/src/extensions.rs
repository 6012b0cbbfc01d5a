//! What IKEv2 has learnt since RFC 7296, as far as somebody may want to switch it.
use std::net::IpAddr;

/// Of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extensions {
    /// The longest IP packet that carries a message of ours before it is sent in fragments (RFC 7383); 0: never.
    pub fragment_size: u16,
    /// Addresses may change under an IKE SA (RFC 4555).
    pub mobike: bool,
    pub childless: Childless,
    /// Go where a gateway sends us (RFC 5685).
    pub follow_redirects: bool,
    /// Ask for tickets and call with them (RFC 5723).
    pub resumption: bool,
    /// Requests the peer may have under way at once (RFC 7296 2.3).
    pub window: u32,
}
impl Default for Extensions {
    fn default() -> Self {
        Self {
            fragment_size: 1280,
            mobike: true,
            childless: Childless::Allow,
            follow_redirects: false,
            resumption: false,
            window: 4,
        }
    }
}

/// IKE SAs without a first child (RFC 6023).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Childless {
    No,
    /// The peer may.
    #[default]
    Allow,
    /// We do so as well where the peer can.
    Prefer,
}

/// Of the gateway as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayExtensions {
    /// Everyone who can be sent elsewhere is (RFC 5685).
    pub redirect_to: Option<IpAddr>,
    /// Half-open IKE SAs from which puzzles are set (RFC 8019); 0: never.
    pub puzzle_threshold: u32,
}
