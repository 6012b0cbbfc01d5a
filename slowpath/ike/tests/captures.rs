//! Real exchanges between two strongSwan, with the keys it logged: what we parse, rebuild, derive, open and
//! verify must be what it did.
mod common;

use common::{field, json, vector};
use ike::api::{DhGroup, IkeCipher, IkeIntegrity, IkeProposal, Prf, Psk};
use ike::crypto::*;
use ike::message::*;
use sa::{Encryption, Integrity, Suite};
use std::net::{IpAddr, SocketAddr};

struct Frame {
    from: SocketAddr,
    to: SocketAddr,
    payload: Vec<u8>,
}

/// A classic little-endian pcap of Ethernet, IPv4 without options and UDP: what the capture is made of.
fn frames(pcap: &[u8]) -> Vec<Frame> {
    let (head, mut rest) = pcap.split_at(24);
    assert_eq!(head[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
    let mut out = Vec::new();
    while !rest.is_empty() {
        let len = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        let packet = &rest[16..16 + len];
        rest = &rest[16 + len..];
        assert_eq!((packet[12], packet[13], packet[14], packet[23]), (8, 0, 0x45, 17));
        let address = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap());
        let port = |at: usize| u16::from_be_bytes(packet[at..at + 2].try_into().unwrap());
        let end = 34 + usize::from(port(38));
        let payload = if port(36) == 4500 { &packet[46..end] } else { &packet[42..end] };
        let from = SocketAddr::new(address(26), port(34));
        out.push(Frame { from, to: SocketAddr::new(address(30), port(36)), payload: payload.to_vec() });
    }
    out
}

fn everything() -> IkeProposal {
    IkeProposal {
        encryption: IkeCipher::ALL.to_vec(),
        integrity: IkeIntegrity::ALL.to_vec(),
        prf: Prf::ALL.to_vec(),
        groups: DhGroup::ALL.to_vec(),
        additional: vec![],
    }
}

fn assert_ike_keys(keys: &IkeKeys, log: &serde_json::Value) {
    assert_eq!(keys.d.expose(), field(log, "sk_d"));
    assert_eq!(keys.pi.expose(), field(log, "sk_pi"));
    assert_eq!(keys.pr.expose(), field(log, "sk_pr"));
    let e = |k: &SkKeys| [k.encryption_key.expose(), k.salt.expose()].concat();
    assert_eq!(e(&keys.i), field(log, "sk_ei"));
    assert_eq!(e(&keys.r), field(log, "sk_er"));
    if keys.i.integrity.is_some() {
        assert_eq!(keys.i.integrity_key.expose(), field(log, "sk_ai"));
        assert_eq!(keys.r.integrity_key.expose(), field(log, "sk_ar"));
    }
}

fn assert_child_keys(keys: &ChildKeys, log: &serde_json::Value) {
    for (direction, keys) in [("initiator", &keys.i), ("responder", &keys.r)] {
        let cipher = [keys.encryption.expose(), keys.salt.expose()].concat();
        assert_eq!(cipher, field(log, &format!("encryption_{direction}")));
        if !keys.integrity.is_empty() {
            assert_eq!(keys.integrity.expose(), field(log, &format!("integrity_{direction}")));
        }
    }
}

/// Everything an ESP negotiation of these captures may come to.
fn suites() -> Vec<Suite> {
    let aead = [Encryption::Aes128Gcm, Encryption::Aes192Gcm, Encryption::Aes256Gcm];
    let cbc = [Encryption::Aes128Cbc, Encryption::Aes192Cbc, Encryption::Aes256Cbc];
    let aead = aead.into_iter().map(|e| (e, Integrity::None));
    let cbc = cbc.into_iter().flat_map(|e| {
        [Integrity::HmacSha1, Integrity::HmacSha256, Integrity::HmacSha384, Integrity::HmacSha512]
            .into_iter()
            .map(move |i| (e, i))
    });
    aead.chain(cbc).map(|(e, i)| Suite::new(e, i).unwrap()).collect()
}

/// Opens with the sender's keys, and checks that rebuilding the content gives the very bytes strongSwan made.
fn open_and_rebuild(frame: &Frame, keys: &IkeKeys) -> Message {
    let initiator = parse_header(&frame.payload).unwrap().header.initiator;
    let sk = keys.sending(initiator);
    let message = open(&frame.payload, sk).unwrap();
    let (head, body) = frame.payload.split_at(HEADER_LEN + 4);
    let plain = sk.open(head, body).unwrap();
    assert_eq!(message.to_bytes()[HEADER_LEN..], plain[..]);

    let mut forged = frame.payload.clone();
    for at in [0, HEADER_LEN + 4, forged.len() - 1] {
        forged[at] ^= 1;
        assert_eq!(open(&forged, sk), Err(OpenError::Icv), "byte {at} changed");
        forged[at] ^= 1;
    }
    assert_eq!(
        open(&frame.payload, keys.receiving(initiator)),
        Err(OpenError::Icv),
        "the other direction's keys"
    );
    if sk.integrity.is_none() {
        // Without padding the ciphertext is determined, so ours must be theirs byte for byte.
        let mut ours = head.to_vec();
        sk.seal(&mut ours, &body[..8], &plain).unwrap();
        assert_eq!(ours, frame.payload);
    }
    message
}

struct Walk {
    name: &'static str,
    frames: std::vec::IntoIter<Frame>,
    log: serde_json::Value,
}
impl Walk {
    fn next(&mut self) -> Frame {
        self.frames.next().unwrap_or_else(|| panic!("{}: the capture is too short", self.name))
    }
    fn child(&self, at: usize) -> &serde_json::Value {
        &self.log["children"][at]
    }
}

/// The destination's hash is true. The source's is not: a daemon with ESP in user space asks for UDP
/// encapsulation by pretending to be behind a NAT.
fn natd_matches(message: &Message, frame: &Frame) {
    let h = message.header;
    let hash = |kind| message.notify(kind).unwrap().data.as_slice();
    let destination = nat_detection(h.spi_i, h.spi_r, frame.to);
    assert_eq!(hash(NotifyType::NAT_DETECTION_DESTINATION_IP), destination);
    let source = nat_detection(h.spi_i, h.spi_r, frame.from);
    assert_ne!(hash(NotifyType::NAT_DETECTION_SOURCE_IP), source);
}

fn replay(name: &'static str, expected: &str) {
    let frames = frames(&vector(&format!("ike-captures/{name}.pcap"))).into_iter();
    let mut walk = Walk { name, frames, log: json(&format!("ike-captures/{name}.json")) };

    // → IKE_SA_INIT, ← IKE_SA_INIT
    let (first, second) = (walk.next(), walk.next());
    let (request, response) = (parse_clear(&first.payload).unwrap(), parse_clear(&second.payload).unwrap());
    for (message, frame) in [(&request, &first), (&response, &second)] {
        assert_eq!(message.to_bytes(), frame.payload);
        natd_matches(message, frame);
    }
    let chosen = confirm_ike(response.sa().unwrap(), &everything()).unwrap();
    assert_eq!(chosen.suite.to_string(), expected);
    assert_eq!(select_ike(request.sa().unwrap(), &everything()).unwrap().suite, chosen.suite);
    for message in [&request, &response] {
        assert_eq!(message.ke().unwrap().group, chosen.suite.group.transform());
        assert_eq!(message.ke().unwrap().data.len(), chosen.suite.group.public_len());
    }
    let (ni, nr) = (request.nonce().unwrap(), response.nonce().unwrap());
    let sa = &walk.log["ike_sas"][0];
    let prf = chosen.suite.prf;
    let seed = skeyseed(prf, ni, nr, &field(sa, "shared"));
    assert_eq!(*seed, field(sa, "skeyseed"));
    let header = response.header;
    let keys = ike_keys(&chosen.suite, &seed, ni, nr, header.spi_i, header.spi_r);
    assert_ike_keys(&keys, sa);

    auth(&mut walk, &keys, prf, [&first.payload, &second.payload], [ni, nr]);
    child_rekey(&mut walk, &keys, prf);
    let rekeyed = ike_rekey(&mut walk, &keys, &chosen.suite);

    // → delete of the new IKE SA, ← empty
    let delete = open_and_rebuild(&walk.next(), &rekeyed);
    assert_eq!(delete.deletes().next().unwrap(), &Delete { protocol: Protocol::IKE, spis: vec![] });
    assert_eq!(open_and_rebuild(&walk.next(), &rekeyed).payloads, []);
    assert!(walk.frames.next().is_none());
}

/// → IKE_AUTH, ← IKE_AUTH: identities, AUTH of both sides, the first Child SA's keys and selectors.
fn auth(walk: &mut Walk, keys: &IkeKeys, prf: Prf, init: [&[u8]; 2], [ni, nr]: [&[u8]; 2]) {
    let (request, response) = (open_and_rebuild(&walk.next(), keys), open_and_rebuild(&walk.next(), keys));
    let psk = Psk(walk.log["psk"].as_str().unwrap().into());
    let sides = [
        (request.id_i().unwrap(), &request, init[0], nr, &keys.pi, "left.lab.test"),
        (response.id_r().unwrap(), &response, init[1], ni, &keys.pr, "right.lab.test"),
    ];
    for (at, (id, message, first, nonce, sk_p, name)) in sides.into_iter().enumerate() {
        assert_eq!(id.to_string(), name);
        let auth = message.auth().unwrap();
        assert_eq!(auth.method, AuthMethod::SHARED_KEY_MIC);
        assert_eq!(common::hex(walk.log["auth"][at].as_str().unwrap()), auth.data);
        assert!(verify_psk_auth(prf, &psk, sk_p.expose(), first, nonce, id, &[], &auth.data));
        let wrong = Psk(b"another".to_vec());
        assert!(!verify_psk_auth(prf, &wrong, sk_p.expose(), first, nonce, id, &[], &auth.data));
        assert!(!verify_psk_auth(prf, &psk, sk_p.expose(), first, nonce, id, &[], &auth.data[1..]));
    }
    let suites = suites();
    let wishes = EspWishes {
        protocol: sa::Protocol::Esp,
        suites: &suites,
        pfs: None,
        additional: &[],
        in_auth: true,
        esn: false,
    };
    let esp = confirm_esp(response.sa().unwrap(), &wishes).unwrap();
    assert!(select_esp(request.sa().unwrap(), &wishes).is_ok());
    assert_child_keys(&child_keys(prf, keys.d.expose(), None, ni, nr, esp.suite), walk.child(0));
    let ts: Vec<String> = [response.ts_i(), response.ts_r()]
        .iter()
        .map(|ts| {
            format!(
                "{}-{}",
                ts.as_ref().unwrap()[0].addresses.first(),
                ts.as_ref().unwrap()[0].addresses.last()
            )
        })
        .collect();
    assert_eq!(ts, ["172.30.1.0-172.30.1.255", "172.30.2.0-172.30.2.255"]);
}

/// → CREATE_CHILD_SA (REKEY_SA), ←, → delete of the old one, ←.
fn child_rekey(walk: &mut Walk, keys: &IkeKeys, prf: Prf) {
    let (request, response) = (open_and_rebuild(&walk.next(), keys), open_and_rebuild(&walk.next(), keys));
    let old = request.notify(NotifyType::REKEY_SA).unwrap().spi32().unwrap();
    let (ni, nr) = (request.nonce().unwrap(), response.nonce().unwrap());
    let pfs = response.ke().ok().and_then(|ke| DhGroup::from_transform(ke.group));
    let suites = suites();
    let wishes = EspWishes {
        protocol: sa::Protocol::Esp,
        suites: &suites,
        pfs,
        additional: &[],
        in_auth: false,
        esn: false,
    };
    let esp = confirm_esp(response.sa().unwrap(), &wishes).unwrap();
    assert_eq!(esp.group, pfs);
    let log = walk.child(1);
    let shared = pfs.map(|_| field(log, "shared"));
    assert_child_keys(
        &child_keys(prf, keys.d.expose(), shared.as_deref().map(|s| (s, &[][..])), ni, nr, esp.suite),
        log,
    );
    let delete = open_and_rebuild(&walk.next(), keys);
    assert_eq!(delete.deletes().next().unwrap().spis, [old]);
    assert!(open_and_rebuild(&walk.next(), keys).has(PayloadType::DELETE));
}

/// ← CREATE_CHILD_SA by the responder, →, ← delete of the old IKE SA, →. The exchange's initiator becomes the
/// new SA's.
fn ike_rekey(walk: &mut Walk, keys: &IkeKeys, old: &IkeSuite) -> IkeKeys {
    let (request, response) = (open_and_rebuild(&walk.next(), keys), open_and_rebuild(&walk.next(), keys));
    let new = confirm_ike(response.sa().unwrap(), &everything()).unwrap();
    let spi_i = request.sa().unwrap()[0].spi64().unwrap();
    let (ni, nr) = (request.nonce().unwrap(), response.nonce().unwrap());
    let log = &walk.log["ike_sas"][1];
    let seed = skeyseed_rekeyed(old.prf, keys.d.expose(), &field(log, "shared"), ni, nr, &[]);
    assert_eq!(*seed, field(log, "skeyseed"));
    let rekeyed = ike_keys(&new.suite, &seed, ni, nr, spi_i, new.spi.unwrap());
    assert_ike_keys(&rekeyed, log);
    let delete = open_and_rebuild(&walk.next(), keys);
    assert_eq!(delete.deletes().next().unwrap().protocol, Protocol::IKE);
    assert_eq!(open_and_rebuild(&walk.next(), keys).payloads, []);
    rekeyed
}

//= test rfc7296#2.14/sk
//= test rfc7296#2.15/psk
//= test rfc7296#2.17/keymat
//= test rfc7296#2.18/skeyseed-rekey
//= test rfc7296#2.23/nat-detection-hash
//= test rfc7296#3.14/icv-over-all
#[test]
fn strongswan_cbc256_sha256_modp2048() {
    replay("cbc256-modp2048", "aes-256/sha256/prf-sha256/modp2048");
}
#[test]
fn strongswan_cbc192_sha1_modp1024_and_gcm_child_with_pfs() {
    replay("cbc192-modp1024", "aes-192/sha1/prf-sha1/modp1024");
}
//= test rfc5282#7.1/salt
#[test]
fn strongswan_gcm128_sha384_x25519_and_child_with_pfs() {
    replay("gcm128-x25519", "aes-128-gcm/prf-sha384/x25519");
}
#[test]
fn strongswan_gcm256_sha512_ecp384() {
    replay("gcm256-ecp384", "aes-256-gcm/prf-sha512/ecp384");
}
