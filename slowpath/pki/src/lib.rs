//! Keys, signatures and certificates for IKE: bytes and the calendar's time in, verdicts out. No file, clock or socket.
//!
//! What comes from the network is first walked by [`der`], which is total and bounded; then OpenSSL builds and checks
//! the path, and the rules that IKE adds (whom a certificate names, what it is for) are ours. Everything is parsed once
//! and shared: a handshake parses nothing of its own side again.
pub mod der;
pub mod name;

mod certificate;
mod fast;
mod key;
mod known;
mod path;
mod pem;
mod scheme;
mod signature;

pub use certificate::{Certificate, CertificateError, Claimed, San};
pub use key::{KeyError, KeyKind, PrivateKey, PublicKey};
pub use path::{MAX_CHAIN, Refusal, Revocation, Role, Rule, Trust};
pub use pem::{FileError, MAX_FILE, read_certificates, read_private_key, read_public_key};
pub use scheme::{Hash, Hashes};
pub use signature::{SignError, Signature, SignatureError, Signer, Ways, verify};
