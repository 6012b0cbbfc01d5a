//! Hostile inputs to single payloads: key exchange values, nonces, notifies, deletes, identities, traffic
//! selectors, configuration (rows B7 to B13).
mod common;

use common::raw::*;
use common::{Seeded, hex};
use ike::api::{DhGroup, Id};
use ike::crypto::{DhError, DhPrivate};
use ike::message::*;
use sa::{AddrRange, PortRange, TrafficSelector};

#[test]
fn b7_wrong_length_and_unknown_group() {
    for group in DhGroup::CLASSIC {
        let ours = DhPrivate::generate(group, &mut Seeded(3)).unwrap();
        for len in (0..=group.public_len() + 1).chain([1025, 65_000]).filter(|l| *l != group.public_len()) {
            assert!(
                matches!(ours.shared(&vec![5; len]), Err(DhError::Length { .. })),
                "{} of {len}",
                group.name()
            );
        }
    }
    for id in [0, 3, 22, 23, 24, 1025, u16::MAX] {
        assert_eq!(DhGroup::from_transform(id), None);
        let ke = KeyExchange { group: id, data: vec![1; 128] };
        let message = Message::new(HEADER, vec![Payload::Ke(ke.clone())]).to_bytes();
        assert_eq!(parse_clear(&message).unwrap().ke(), Ok(&ke));
    }
}
//= test rfc6989#2.1/range
#[test]
fn b7_modp_values_without_security() {
    let p2048 = hex(common::text("ike/rfc3526.txt")
        .lines()
        .filter_map(|l| l.strip_prefix("P = "))
        .find(|p| p.len() == 512)
        .unwrap());
    let ours = DhPrivate::generate(DhGroup::Modp2048, &mut Seeded(4)).unwrap();
    let off = |by: i8| {
        let mut value = p2048.clone();
        let last = value.last_mut().unwrap();
        // p ends in ff, so one more carries through every ff there is: only +1 needs care.
        match by {
            1 => {
                for byte in value.iter_mut().rev() {
                    *byte = byte.wrapping_add(1);
                    if *byte != 0 {
                        break;
                    }
                }
            }
            by => *last = last.wrapping_add_signed(by),
        }
        value
    };
    let small = |n: u8| [vec![0; 255], vec![n]].concat();
    for (name, value) in [
        ("0", small(0)),
        ("1", small(1)),
        ("p-1", off(-1)),
        ("p", off(0)),
        ("p+1", off(1)),
        ("all ones", vec![0xff; 256]),
    ] {
        assert!(matches!(ours.shared(&value), Err(DhError::Value { .. })), "{name}");
    }
    assert!(ours.shared(&small(2)).is_ok());
    assert!(ours.shared(&off(-2)).is_ok());
}
//= test rfc6989#2.3/on-curve
#[test]
fn b7_points_off_the_curve() {
    for group in [DhGroup::Ecp256, DhGroup::Ecp384, DhGroup::Ecp521, DhGroup::Brainpool224] {
        let ours = DhPrivate::generate(group, &mut Seeded(5)).unwrap();
        let theirs = DhPrivate::generate(group, &mut Seeded(6)).unwrap();
        let len = group.public_len();
        for bit in 0..len * 8 {
            let mut off = theirs.public().to_vec();
            off[bit / 8] ^= 1 << (bit % 8);
            assert!(ours.shared(&off).is_err(), "{}: bit {bit}", group.name());
        }
        let zero = vec![0; len];
        assert!(ours.shared(&zero).is_err(), "infinity by another name");
        assert!(ours.shared(&vec![0xff; len]).is_err(), "coordinates beyond the field");
        let swapped = [&theirs.public()[len / 2..], &theirs.public()[..len / 2]].concat();
        assert!(ours.shared(&swapped).is_err());
        for form in [2, 3, 4] {
            let compressed = [&[form], &theirs.public()[..len / 2]].concat();
            assert!(ours.shared(&compressed).is_err(), "a point with its form in front");
        }
    }
}
#[test]
fn b7_x25519_low_order() {
    let ours = DhPrivate::generate(DhGroup::X25519, &mut Seeded(8)).unwrap();
    for low in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ] {
        assert!(matches!(ours.shared(&hex(low)), Err(DhError::Value { .. })), "{low}");
    }
}

//= test rfc7296#3.9/nonce-size
#[test]
fn b8_nonce_sizes() {
    for len in 0..300usize {
        let parsed = parse_one(40, &vec![1; len]);
        assert_eq!(parsed.is_ok(), (16..=256).contains(&len), "{len} bytes");
        if let Err(error) = parsed {
            assert_eq!(error.notify(false), None);
            assert_eq!(error.notify(true).unwrap().kind, NotifyType::INVALID_SYNTAX);
        }
    }
    let twice = chain(&[(40, vec![1; 16]), (40, vec![2; 16])]);
    assert_eq!(parse_clear(&twice), Err(ParseError::TooMany(PayloadType::NONCE)));
}

fn notify(protocol: u8, spi: &[u8], kind: NotifyType, data: &[u8]) -> Vec<u8> {
    let mut out = vec![protocol, spi.len() as u8];
    out.extend(kind.0.to_be_bytes());
    out.extend(spi);
    out.extend(data);
    out
}
#[test]
fn b9_notify_data_and_spi_sizes() {
    let got = |content: &[u8]| parse_one(41, content).map(|m| m.notifies().count());
    for size in 1..=255u8 {
        assert!(got(&[0, size, 0x40, 0]).is_err(), "an SPI of {size} bytes that are not there");
    }
    // (type, sizes that are right, sizes that are not, ignored rather than refused)
    for (kind, right, wrong, ignored) in [
        (NotifyType::NAT_DETECTION_SOURCE_IP, &[20][..], &[0, 19, 21, 64][..], true),
        (NotifyType::NAT_DETECTION_DESTINATION_IP, &[20], &[0, 19, 21], true),
        (NotifyType::SET_WINDOW_SIZE, &[4], &[0, 3, 5], true),
        (NotifyType::SIGNATURE_HASH_ALGORITHMS, &[0, 2, 8], &[1, 3, 7], true),
        (NotifyType::COOKIE, &[1, 64], &[0, 65, 1000], false),
        (NotifyType::INVALID_KE_PAYLOAD, &[2], &[0, 1, 3], false),
        (NotifyType(40_000), &[0, 1, 500], &[], true),
    ] {
        for &len in right {
            assert_eq!(got(&notify(0, &[], kind, &vec![1; len])), Ok(1), "{kind} of {len}");
        }
        for &len in wrong {
            let result = got(&notify(0, &[], kind, &vec![1; len]));
            assert_eq!(result.ok(), ignored.then_some(0), "{kind} of {len}");
        }
    }
    // Which SA a REKEY_SA means, if any, is a question for whoever knows the SAs.
    for (protocol, spi) in [(3, 4), (2, 4), (1, 4), (0, 0), (3, 0), (3, 8)] {
        assert!(got(&notify(protocol, &vec![1; spi], NotifyType::REKEY_SA, &[])).is_ok());
    }
}

//= test rfc7296#3.11/delete-ike
#[test]
fn b10_delete_fields_that_do_not_fit() {
    for protocol in 0..=255u8 {
        for size in 0..=255u8 {
            for count in [0u8, 1, 2, 3] {
                let content = [&[protocol, size, 0, count][..], &[9; 8]].concat();
                let fits = matches!(protocol, 2 | 3) && size == 4 && count == 2;
                assert_eq!(parse_one(42, &content).is_ok(), fits, "{protocol} {size} {count}");
            }
        }
    }
    assert!(parse_one(42, &[1, 0, 0, 0]).is_ok());
    assert!(parse_one(42, &[1, 0, 0, 1]).is_err());
    assert!(parse_one(42, &[1, 8, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]).is_err(), "an IKE SA needs no SPI");
    assert!(parse_one(42, &[3, 4, 0xff, 0xff, 0, 0, 0, 1]).is_err());
    // Twice the same: kept as sent; the engine finds the SA gone the second time.
    let twice = parse_one(42, &[3, 4, 0, 2, 0, 0, 1, 0, 0, 0, 1, 0]).unwrap();
    assert_eq!(twice.deletes().next().unwrap().spis, [256, 256]);
}

//= test rfc7296#3.5/no-terminator
#[test]
fn b11_identities() {
    let id = |kind: u8, data: &[u8]| {
        let message = parse_one(35, &[&[kind, 0, 0, 0], data].concat()).unwrap();
        let payload = message.id_i().unwrap().clone();
        let shown = payload.to_string();
        assert!(shown.bytes().all(|b| (0x20..0x7f).contains(&b)), "unsafe to print: {shown:?}");
        assert!(shown.len() < 600, "long to print");
        Id::try_from(&payload)
    };
    for kind in (0..=255u8).filter(|k| ![1, 2, 3, 5, 9, 11].contains(k)) {
        assert!(id(kind, b"whatever").is_err(), "type {kind}");
    }
    for kind in 0..=255u8 {
        assert!(id(kind, b"").is_err(), "type {kind}, empty");
        assert!(id(kind, &vec![b'a'; 65_000]).is_err(), "type {kind}, huge");
    }
    for len in (0..40).filter(|l| *l != 4) {
        assert!(id(1, &vec![1; len]).is_err(), "IPv4 of {len} bytes");
    }
    for len in (0..40).filter(|l| *l != 16) {
        assert!(id(5, &vec![1; len]).is_err(), "IPv6 of {len} bytes");
    }
    for text in [
        &b"a\0b"[..],
        b"a\nb",
        b"a;b",
        b"$(reboot)",
        b"`x`",
        b"%s%n\x1b[31m",
        b"\xff\xfe",
        b"a b",
        b"\"'<>",
        b"\xc3\xa4",
    ] {
        assert!(id(2, text).is_err(), "{}", text.escape_ascii());
        assert!(id(3, text).is_err(), "{}", text.escape_ascii());
    }
    assert_eq!(id(2, b"left.example"), Ok(Id::Fqdn("left.example".into())));
    assert_eq!(id(3, b"ann@example"), Ok(Id::UserFqdn("ann@example".into())));
    assert_eq!(id(11, b"\0\n;"), Ok(Id::KeyId(b"\0\n;".to_vec())));
    // CN=a, then that cut, with a length that lies, and with bytes behind it.
    let dn = hex("300c310a300806035504030c0161");
    assert_eq!(id(9, &dn), Ok(Id::Dn(dn.clone())));
    for cut in 0..dn.len() {
        assert!(id(9, &dn[..cut]).is_err(), "DN cut at {cut}");
    }
    assert!(id(9, &[&dn[..], &[0]].concat()).is_err());
    for at in [1, 3, 5, 7] {
        let mut lying = dn.clone();
        lying[at] = 0x84;
        assert!(id(9, &lying).is_err(), "length at {at}");
    }
}

fn selector(kind: u8, protocol: u8, ports: (u16, u16), addresses: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, protocol];
    out.extend((8 + addresses.len() as u16).to_be_bytes());
    out.extend(ports.0.to_be_bytes());
    out.extend(ports.1.to_be_bytes());
    out.extend(addresses);
    out
}
fn ts_list(count: u8, list: &[Vec<u8>]) -> Vec<u8> {
    [&[count, 0, 0, 0], &list.concat()[..]].concat()
}
//= test rfc7296#3.13.1/opaque
#[test]
fn b12_traffic_selectors() {
    const NET: [u8; 8] = [10, 0, 0, 0, 10, 0, 0, 255];
    let policy = TrafficSelector {
        local: AddrRange::new([10, 0, 0, 0].into(), [10, 0, 0, 255].into()).unwrap(),
        remote: AddrRange::new([10, 1, 0, 0].into(), [10, 1, 0, 255].into()).unwrap(),
        protocol: None,
        local_port: PortRange::ANY,
        remote_port: PortRange::ANY,
    };
    let (_, remote) = split(&[policy]);
    // How many pairs come of it; nothing or TS_UNACCEPTABLE is 0, and the message survives either way.
    let pairs = |content: &[u8]| match parse_one(44, content).unwrap().ts_i() {
        Ok(list) => narrow(list, &remote, &policy).len(),
        Err(error) => {
            assert_eq!(error.notify(true).unwrap().kind, NotifyType::TS_UNACCEPTABLE);
            assert_eq!(error.notify(false), None);
            0
        }
    };
    let any = (0, 65_535);
    let good = selector(7, 0, any, &NET);
    assert_eq!(pairs(&ts_list(1, std::slice::from_ref(&good))), 1);
    assert_eq!(pairs(&ts_list(255, &vec![good.clone(); 255])), 1);
    for (what, count, list) in [
        ("none", 0, vec![]),
        ("none announced, one there", 0, vec![good.clone()]),
        ("one announced, none there", 1, vec![]),
        ("two announced, one there", 2, vec![good.clone()]),
        ("one announced, two there", 1, vec![good.clone(), good.clone()]),
        ("reversed addresses", 1, vec![selector(7, 0, any, &[10, 0, 0, 9, 10, 0, 0, 1])]),
        ("reversed ports", 1, vec![selector(7, 6, (90, 80), &NET)]),
        ("opaque ports", 1, vec![selector(7, 6, (65_535, 0), &NET)]),
        ("too short", 1, vec![selector(7, 0, any, &NET[..7])]),
        ("too long", 1, vec![selector(7, 0, any, &[&NET[..], &[0]].concat())]),
        ("IPv6 of IPv4's length", 1, vec![selector(8, 0, any, &NET)]),
        ("IPv6 for an IPv4 policy", 1, vec![selector(8, 0, any, &[0; 32])]),
        ("fibre channel", 1, vec![selector(9, 0, any, &NET)]),
        ("unknown", 1, vec![selector(200, 0, any, &NET)]),
        ("outside the policy", 1, vec![selector(7, 0, any, &[192, 0, 2, 0, 192, 0, 2, 255])]),
    ] {
        assert_eq!(pairs(&ts_list(count, &list)), 0, "{what}");
    }
    // What we do not know does not spoil what we do.
    let mixed = [selector(9, 0, any, &NET), selector(8, 0, any, &[0; 32]), good.clone()];
    assert_eq!(pairs(&ts_list(3, &mixed)), 1);
    for length in [0u8, 1, 3, 4, 7, 8, 15, 17, 255] {
        let mut lying = good.clone();
        lying[3] = length;
        assert_eq!(pairs(&ts_list(1, &[lying])), 0, "length {length}");
    }
}
//= test rfc7296#2.9/narrow
#[test]
fn b12_narrowing_stays_inside_the_policy() {
    let range = |a: [u8; 4], b: [u8; 4]| AddrRange::new(a.into(), b.into()).unwrap();
    let policy = TrafficSelector {
        local: range([10, 0, 0, 0], [10, 0, 0, 255]),
        remote: range([10, 1, 0, 0], [10, 1, 255, 255]),
        protocol: Some(6),
        local_port: PortRange { first: 80, last: 443 },
        remote_port: PortRange::ANY,
    };
    let everything =
        |ports, protocol| vec![Ts { protocol, ports, addresses: range([0, 0, 0, 0], [255, 255, 255, 255]) }];
    let any = everything(PortRange::ANY, None);
    assert_eq!(narrow(&any, &any, &policy), [policy]);
    assert!(!within(&any, &any, &policy), "wider than what was proposed");
    let (local, remote) = split(&[policy]);
    assert!(within(&local, &remote, &policy));
    assert!(!within(&[], &remote, &policy));
    assert!(!within(&everything(PortRange::one(80), Some(17)), &remote, &policy));
    assert_eq!(narrow(&everything(PortRange::one(22), None), &any, &policy), [], "another port");
    assert_eq!(narrow(&everything(PortRange::ANY, Some(17)), &any, &policy), [], "another protocol");
    let both =
        narrow(&everything(PortRange::one(80), Some(6)), &everything(PortRange::one(9), Some(6)), &policy);
    assert_eq!(
        both,
        [TrafficSelector { local_port: PortRange::one(80), remote_port: PortRange::one(9), ..policy }]
    );
    // However many come, an SA gets no more pairs than it can carry.
    let hosts: Vec<Ts> = (0..255)
        .map(|n| Ts { protocol: None, ports: PortRange::ANY, addresses: range([10, 0, 0, n], [10, 0, 0, n]) })
        .collect();
    assert_eq!(narrow(&hosts, &any, &policy).len(), sa::SaSpec::MAX_SELECTORS);
}

#[test]
fn b13_configuration_attributes_that_lie() {
    let attributes = |list: &[u8]| parse_one(47, &[&[1, 0, 0, 0], list].concat());
    assert_eq!(attributes(&[]).unwrap().cp().unwrap().attributes, []);
    assert!(attributes(&[0, 1, 0, 4, 10, 0, 0, 1]).is_ok());
    for length in [5u16, 8, 255, u16::MAX] {
        let [hi, lo] = length.to_be_bytes();
        let error = attributes(&[0, 1, hi, lo, 10, 0, 0, 1]).unwrap_err();
        assert_eq!(error.notify(true).unwrap().kind, NotifyType::INVALID_SYNTAX);
    }
    for cut in 1..4 {
        assert!(attributes(&[0, 1, 0][..cut]).is_err());
    }
    // Unknown types are kept for whoever knows them; the reserved bit is not part of the type.
    let kept = attributes(&[0xff, 0xff, 0, 0]).unwrap();
    assert_eq!(kept.cp().unwrap().attributes, [ConfigAttribute { kind: 0x7fff, value: vec![] }]);
    assert!(attributes(&[0, 1, 0, 0].repeat(64)).is_ok());
    assert!(attributes(&[0, 1, 0, 0].repeat(65)).is_err());
    assert!(attributes(&[0, 1, 0, 0].repeat(10_000)).is_err());
}
