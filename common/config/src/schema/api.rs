//! `system api`: who may manage the gateway over the network.
use super::Default::{Is, Unset};
use super::*;

pub(super) const API: Menu = Menu {
    name: "api",
    console: Some("system api"),
    help: "REST over TCP, with TLS only. On the machine itself it is always there, as a Unix socket for root.",
    properties: &[
        own("enabled", Kind::YesNo, Is("no"), "Listen for TLS connections."),
        own(
            "address",
            Kind::Address,
            Is("127.0.0.1"),
            "The host's address to listen on: one of the management network, or of an exception TAP.",
        ),
        own("port", Kind::Integer { min: 1, max: 65535 }, Is("8443"), "TCP port."),
        own("certificate-file", Kind::Path, Unset, "PEM file of the certificate and its chain."),
        own("key-file", Kind::Path, Unset, "PEM file of its private key."),
        own(
            "client-ca-file",
            Kind::Path,
            Unset,
            "PEM file of authorities whose client certificates are looked at. Left out: tokens only.",
        ),
    ],
    ..SETTINGS
};
pub(super) const API_USER: Menu = Menu {
    name: "api-user",
    console: Some("system api user"),
    help: "Who may use it over TCP: by a token, or by the name in a client certificate.",
    properties: &[
        NAME,
        own("token", Kind::Secret, Unset, "The token, at least 24 characters: `openssl rand -base64 32`."),
        own(
            "token-sha256",
            Kind::Text,
            Unset,
            "Instead of the token its SHA-256 in hexadecimal: `printf %s TOKEN | sha256sum`.",
        ),
        own(
            "certificate-name",
            Kind::Text,
            Unset,
            "A DNS name or email address in the client certificate, or its common name.",
        ),
        own(
            "roles",
            Kind::Some(&[ok("read"), ok("write"), ok("sensitive")]),
            Is("read"),
            "`read` sees, `write` changes, `sensitive` sees secrets and, with `write`, changes who may do what.",
        ),
        own(
            "expires",
            Kind::Text,
            Unset,
            "The day or time (UTC) from which it is no longer taken: 2027-01-31.",
        ),
        DISABLED,
        COMMENT,
    ],
    flags: &[DISABLED_FLAG],
    ..LIST
};
