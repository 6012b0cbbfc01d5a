//! Names of properties that sources use.
use super::super::names::{self, NoSuch};
use super::rows::place_of;
use std::borrow::Cow;

/// What peers carried before profiles (6.43) and identities (6.44) were taken out of them.
pub const OF_PROFILE: &[&str] = &[
    "dh-group",
    "dpd-interval",
    "dpd-maximum-failures",
    "enc-algorithm",
    "hash-algorithm",
    "lifebytes",
    "lifetime",
    "nat-traversal",
    "proposal-check",
];
pub const OF_IDENTITY: &[&str] = &[
    "auth-method",
    "certificate",
    "eap-methods",
    "generate-policy",
    "key",
    "mode-config",
    "my-id",
    "my-id-user-fqdn",
    "notrack-chain",
    "password",
    "policy-template-group",
    "remote-certificate",
    "remote-id",
    "remote-key",
    "secret",
    "username",
    "xauth-login",
    "xauth-password",
];
const PEER: &[&str] = &["compatibility-options"];
const POLICY: &[&str] = &["manual-sa", "priority"];
const ADDRESS: &[&str] = &["advertise", "broadcast", "eui-64", "from-pool", "network", "no-dad"];
const ROUTE: &[&str] = &[
    "check-gateway",
    "pref-src",
    "routing-mark",
    "routing-table",
    "scope",
    "suppress-hw-offload",
    "target-scope",
    "type",
    "vrf-interface",
];

/// The name in full. Menus that only the source has keep what is written.
pub fn vocabulary<'w>(menu: &str, word: &'w str) -> Result<Cow<'w, str>, NoSuch> {
    let Some(place) = place_of(menu) else { return Ok(Cow::Borrowed(word)) };
    let further: &[&[&str]] = match menu {
        "ip ipsec peer" => &[OF_PROFILE, OF_IDENTITY, PEER],
        "ip ipsec policy" => &[POLICY],
        "ip address" => &[ADDRESS],
        "ip route" => &[ROUTE],
        _ => &[],
    };
    let further = further.iter().flat_map(|names| names.iter().copied());
    let names = place.fields.iter().map(|field| field.name).chain(further);
    names::property(menu, names, word).map(Cow::Borrowed)
}
