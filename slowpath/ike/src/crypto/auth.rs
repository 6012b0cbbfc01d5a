//! AUTH with a pre-shared key, and what AUTH is over (RFC 7296 2.15).
use super::{Secret, prf, same};
use crate::api::{Prf, Psk};
use crate::message::Identification;

//= rfc7296#2.15/psk: AUTH = prf(prf(PSK, "Key Pad for IKEv2"), <signed octets>).
//= rfc7296#2.15/signed-octets: own first message | the other's nonce | prf(SK_p, own ID payload's body).
//= rfc9242#3.3.1/octets: and behind them what was said in IKE_INTERMEDIATE, if anything was.
/// `first_message` is the signer's whole IKE_SA_INIT message as it was sent, `their_nonce` the other's,
/// `sk_p` and `id` the signer's.
#[allow(clippy::too_many_arguments)]
pub fn psk_auth(
    which: Prf,
    psk: &Psk,
    sk_p: &[u8],
    first_message: &[u8],
    their_nonce: &[u8],
    id: &Identification,
    int_auth: &[u8],
) -> Secret {
    let pad = prf(which, &psk.0, &[b"Key Pad for IKEv2"]);
    let signed_id = prf(which, sk_p, &[&id.body()]);
    prf(which, &pad, &[first_message, their_nonce, &signed_id, int_auth])
}

/// What a signature is over; the arguments are the signer's, as in [`psk_auth`].
pub fn signed_octets(
    which: Prf,
    sk_p: &[u8],
    first_message: &[u8],
    their_nonce: &[u8],
    id: &Identification,
    int_auth: &[u8],
) -> Vec<u8> {
    [first_message, their_nonce, &prf(which, sk_p, &[&id.body()]), int_auth].concat()
}

/// Compares in constant time. The arguments are the signer's, as in [`psk_auth`].
#[allow(clippy::too_many_arguments)]
pub fn verify_psk_auth(
    which: Prf,
    psk: &Psk,
    sk_p: &[u8],
    first_message: &[u8],
    their_nonce: &[u8],
    id: &Identification,
    int_auth: &[u8],
    received: &[u8],
) -> bool {
    same(&psk_auth(which, psk, sk_p, first_message, their_nonce, id, int_auth), received)
}
