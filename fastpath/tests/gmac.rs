//! AES-GMAC in AH (RFC 4543 4), held against AES-GCM of another crate over bytes that are put together here.
mod common;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use common::*;
use fastpath::offline::Gateway;
use ipc::contract::{Command, Refusal};
use sa::*;

fn tunnel(side: Side, integrity: Integrity, esn: bool, v6: bool) -> SaSpec {
    let suite = Suite::ah(integrity).unwrap();
    let last_seq = if esn { (7 << 32) + 41 } else { 41 };
    SaSpec {
        protocol: Protocol::Ah,
        suite,
        encryption_key: Key::empty(),
        salt: key(suite.salt_len(), 9),
        integrity_key: key(suite.integrity().key_len(), 3),
        ends: TunnelEnds { local: side.wan(v6), remote: side.other().wan(v6) },
        esn,
        last_seq,
        ..a_to_b(side, "null/sha1")
    }
}
fn tag(key: &[u8], nonce: &[u8; 12], covered: &[u8]) -> [u8; 16] {
    let nonce = (*nonce).into();
    match key.len() {
        16 => Aes128Gcm::new_from_slice(key).unwrap().encrypt_inout_detached(
            &nonce,
            covered,
            (&mut [][..]).into(),
        ),
        _ => Aes256Gcm::new_from_slice(key).unwrap().encrypt_inout_detached(
            &nonce,
            covered,
            (&mut [][..]).into(),
        ),
    }
    .unwrap()
    .into()
}

//= test rfc4543#4/ah
#[test]
fn an_ah_of_gmac_is_gcm_of_nothing_over_what_ah_covers() {
    for (integrity, esn, v6) in [
        (Integrity::Aes128Gmac, false, false),
        (Integrity::Aes128Gmac, true, true),
        (Integrity::Aes256Gmac, true, false),
        (Integrity::Aes256Gmac, false, true),
    ] {
        let [a, b] = [Side::A, Side::B].map(|side| tunnel(side, integrity, esn, v6));
        let (mut sender, mut receiver) = (Side::A.gateway(std::slice::from_ref(&a)), Side::B.gateway(&[b]));
        let inner = udp(Side::A.host(false), Side::B.host(false), 4000, 53, b"to be authentic");
        let (_, wire) = sent(&sender.run(LAN, &frame(Side::A, LAN, &inner)));
        let at = if v6 { 40 } else { 20 };
        // 12 bytes, the IV, the tag; IPv6 wants a multiple of 8.
        let len = if v6 { 40 } else { 36 };
        assert_eq!(
            (wire[at], usize::from(wire[at + 1]) * 4 + 8, wire.len()),
            (4, len, at + len + inner.len())
        );
        let seq = a.last_seq + 1;
        let iv = &wire[at + 12..at + 20];
        assert_eq!(iv, seq.to_be_bytes());
        let mut covered = wire.clone();
        let mutable: &[usize] = if v6 { &[1, 2, 3, 7] } else { &[1, 6, 7, 8, 10, 11] };
        mutable.iter().for_each(|at| covered[*at] = 0);
        covered[0] &= if v6 { 0xf0 } else { 0xff };
        covered[at + 12..at + 36].fill(0);
        if esn {
            covered.extend(7_u32.to_be_bytes());
        }
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(a.salt.expose());
        nonce[4..].copy_from_slice(iv);
        let expected = tag(a.integrity_key.expose(), &nonce, &covered);
        assert_eq!(wire[at + 20..at + 36], expected, "{integrity:?} esn={esn} v6={v6}");

        let (_, opened) = sent(&receiver.run(WAN, &frame(Side::B, WAN, &wire)));
        assert_eq!(opened, with_ttl(&inner, 62));
        // IV, tag, and what is inside: one bit is enough.
        for bit in [(at + 12) * 8, (at + 19) * 8 + 7, (at + 20) * 8, (at + 36) * 8 - 1, wire.len() * 8 - 1] {
            let mut changed = wire.clone();
            changed[bit / 8] ^= 0x80 >> (bit % 8);
            let mut other = Side::B.gateway(&[tunnel(Side::B, integrity, esn, v6)]);
            let outcomes = other.run(WAN, &frame(Side::B, WAN, &changed));
            assert_eq!(dropped(&outcomes), Some(DropReason::IcvMismatch), "bit {bit}");
        }
    }
}
#[test]
fn a9_no_iv_of_gmac_comes_twice() {
    let mut a = Side::A.gateway(&[tunnel(Side::A, Integrity::Aes128Gmac, false, false)]);
    let inner = udp(Side::A.host(false), Side::B.host(false), 4000, 53, b"again and again");
    let ivs: Vec<_> =
        (0..300).map(|_| sent(&a.run(LAN, &frame(Side::A, LAN, &inner))).1[32..40].to_vec()).collect();
    assert!(ivs.windows(2).all(|pair| pair[0] < pair[1]));
}
#[test]
fn esp_has_no_place_for_it() {
    let spec = SaSpec { protocol: Protocol::Esp, ..tunnel(Side::A, Integrity::Aes128Gmac, false, false) };
    let mut gateway: Gateway = Side::A.gateway(&[]);
    assert_eq!(gateway.apply(Command::InstallSa(Box::new(spec))), Err(Refusal::Unsupported));
}
