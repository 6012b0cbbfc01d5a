//! Messages put together byte by byte, as a hostile sender would.
use ike::api::{DhGroup, IkeCipher, IkeIntegrity, IkeProposal, Prf};
use ike::crypto::SkKeys;
use ike::message::*;

pub const HEADER: Header = Header {
    spi_i: 0x1122_3344_5566_7788,
    spi_r: 0x99aa_bbcc_ddee_ff00,
    exchange: ExchangeType::CREATE_CHILD_SA,
    initiator: true,
    response: false,
    message_id: 7,
};

/// A header for `body`, with `first` payload and the right length.
pub fn datagram(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Message::new(HEADER, vec![]).to_bytes();
    out[16] = first;
    out.extend(body);
    fix_length(&mut out);
    out
}
pub fn fix_length(datagram: &mut [u8]) {
    let len = (datagram.len() as u32).to_be_bytes();
    if let Some(place) = datagram.get_mut(24..28) {
        place.copy_from_slice(&len);
    }
}

/// A payload with its generic header.
pub fn payload(next: u8, flags: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![next, flags];
    out.extend((content.len() as u16 + 4).to_be_bytes());
    out.extend(content);
    out
}
/// Payloads of these types and contents, linked.
pub fn chain(list: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let next = list.iter().skip(1).map(|(kind, _)| *kind).chain([0]);
    let body: Vec<u8> =
        list.iter().zip(next).flat_map(|((_, content), next)| payload(next, 0, content)).collect();
    datagram(list.first().map_or(0, |(kind, _)| *kind), &body)
}
/// A message of one payload.
pub fn one(kind: u8, content: &[u8]) -> Vec<u8> {
    chain(&[(kind, content.to_vec())])
}
pub fn parse_one(kind: u8, content: &[u8]) -> Result<Message, ParseError> {
    parse_clear(&one(kind, content))
}

pub fn keys() -> [SkKeys; 2] {
    let key = |n: usize| sa::Key::new(&vec![n as u8; n]).unwrap();
    [
        SkKeys {
            encryption: IkeCipher::Aes256Cbc,
            integrity: Some(IkeIntegrity::HmacSha256),
            encryption_key: key(32),
            salt: key(0),
            integrity_key: key(32),
        },
        SkKeys {
            encryption: IkeCipher::Aes128Gcm,
            integrity: None,
            encryption_key: key(16),
            salt: key(4),
            integrity_key: key(0),
        },
    ]
}
/// An SK message around any bytes at all, with an ICV that is right.
pub fn sealed(keys: &SkKeys, first: u8, plain: &[u8]) -> Vec<u8> {
    let len = keys.sealed_len(plain.len()) + 4;
    let mut head = datagram(46, &[first, 0, (len >> 8) as u8, len as u8]);
    let total = (HEADER_LEN + len) as u32;
    head[24..28].copy_from_slice(&total.to_be_bytes());
    keys.seal(&mut head, &[3; 16][..keys.encryption.iv_len()], plain).unwrap();
    head
}

pub fn proposal() -> IkeProposal {
    IkeProposal {
        encryption: vec![IkeCipher::Aes256Gcm, IkeCipher::Aes128Cbc],
        integrity: vec![IkeIntegrity::HmacSha256],
        prf: vec![Prf::HmacSha256],
        groups: vec![DhGroup::X25519, DhGroup::Modp2048],
        additional: vec![],
    }
}

/// One of every payload, each well formed.
pub fn everything() -> Vec<Payload> {
    let id = |kind, data: &[u8]| Identification { kind, reserved: [0; 3], data: data.to_vec() };
    let ts = |first: &str, last: &str| Ts {
        protocol: Some(17),
        ports: sa::PortRange { first: 53, last: 54 },
        addresses: sa::AddrRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap(),
    };
    vec![
        Payload::Sa(offer_ike(&proposal(), Some(0x0102_0304_0506_0708))),
        Payload::Ke(KeyExchange { group: 31, data: vec![9; 32] }),
        Payload::IdI(id(IdType::ID_FQDN, b"left.example")),
        Payload::IdR(id(IdType::ID_IPV4_ADDR, &[192, 0, 2, 1])),
        Payload::Cert(Certificate { encoding: 4, data: vec![0x30, 0] }),
        Payload::CertReq(Certificate { encoding: 4, data: vec![1; 20] }),
        Payload::Auth(Authentication { method: AuthMethod::SHARED_KEY_MIC, data: vec![2; 32] }),
        Payload::Nonce(vec![3; 32]),
        Payload::Notify(Notify::new(NotifyType::COOKIE, vec![4; 36])),
        Payload::Notify(Notify::about_child(Protocol::ESP, NotifyType::REKEY_SA, 0xdead_beef)),
        Payload::Delete(Delete { protocol: Protocol::ESP, spis: vec![0x100, 0x200] }),
        Payload::Delete(Delete { protocol: Protocol::IKE, spis: vec![] }),
        Payload::VendorId(b"somebody".to_vec()),
        Payload::TsI(vec![ts("10.0.0.0", "10.0.0.255"), ts("2001:db8::", "2001:db8::ff")]),
        Payload::TsR(vec![ts("10.1.0.1", "10.1.0.1")]),
        Payload::Cp(Configuration { kind: 1, attributes: vec![ConfigAttribute { kind: 1, value: vec![] }] }),
        Payload::Eap(vec![1, 7, 0, 5, 1]),
    ]
}
