//! Hostile proposals (row B6), and offers that are in order.
mod common;

use common::raw::*;
use ike::api::{DhGroup, IkeCipher, IkeIntegrity, IkeProposal, Prf};
use ike::message::*;
use sa::{Encryption, Integrity, Suite};

const SA: u8 = 33;

fn transform(kind: u8, id: u16, attributes: &[u8]) -> Vec<u8> {
    let mut out = vec![3, 0];
    out.extend((8 + attributes.len() as u16).to_be_bytes());
    out.extend([kind, 0]);
    out.extend(id.to_be_bytes());
    out.extend(attributes);
    out
}
const BITS_256: [u8; 4] = [0x80, 14, 1, 0];
const BITS_128: [u8; 4] = [0x80, 14, 0, 128];
/// AES-256-GCM, PRF SHA-256, X25519: what `proposal()` wants.
fn good() -> Vec<Vec<u8>> {
    vec![transform(1, 20, &BITS_256), transform(2, 5, &[]), transform(4, 31, &[])]
}
/// One proposal with the last-substructure bits set right.
fn raw_proposal(more: u8, number: u8, protocol: u8, spi: &[u8], transforms: &[Vec<u8>]) -> Vec<u8> {
    let mut body: Vec<u8> = vec![number, protocol, spi.len() as u8, transforms.len() as u8];
    body.extend(spi);
    for (at, t) in transforms.iter().enumerate() {
        let mut t = t.clone();
        t[0] = if at + 1 == transforms.len() { 0 } else { 3 };
        body.extend(t);
    }
    let mut out = vec![more, 0];
    out.extend((body.len() as u16 + 4).to_be_bytes());
    out.extend(body);
    out
}
fn offer(sa: &[u8]) -> Result<ChosenIke, String> {
    let message = parse_one(SA, sa).map_err(|e| e.to_string())?;
    match message.sa() {
        Ok(proposals) => select_ike(proposals, &proposal()).map_err(|m| m.to_string()),
        Err(error) => {
            assert_eq!(error.notify(false).unwrap().kind, NotifyType::NO_PROPOSAL_CHOSEN);
            Err(error.to_string())
        }
    }
}
fn offer_transforms(transforms: &[Vec<u8>]) -> Result<ChosenIke, String> {
    offer(&raw_proposal(0, 1, 1, &[], transforms))
}

#[test]
fn b6_how_many_proposals_and_their_numbers() {
    assert!(offer_transforms(&good()).is_ok());
    assert!(offer(&[]).is_err());
    let many = |count: usize, number: fn(usize) -> u8| {
        let each = |at| raw_proposal(if at + 1 == count { 0 } else { 2 }, number(at), 1, &[], &good());
        offer(&(0..count).flat_map(each).collect::<Vec<u8>>())
    };
    assert!(many(1, |_| 1).is_ok());
    assert!(many(255, |at| at as u8 + 1).is_ok());
    assert!(many(256, |at| (at + 1) as u8).is_err());
    assert!(many(1000, |at| (at + 1) as u8).is_err());
    for wrong in [|_| 0, |_| 2, |_| 255, |at| 3 - at as u8] as [fn(usize) -> u8; 4] {
        assert!(many(3, wrong).is_err());
    }
    assert!(many(2, |_| 1).is_err());
    assert!(many(2, |at| at as u8 * 2 + 1).is_err());
}
#[test]
fn b6_counts_and_lengths_that_lie() {
    let sound = raw_proposal(0, 1, 1, &[], &good());
    assert!(offer(&sound).is_ok());
    for (at, what) in [(0, "last proposal"), (3, "proposal length"), (6, "SPI size"), (7, "transform count")]
    {
        for value in 0..=255u8 {
            let mut bad = sound.clone();
            if bad[at] == value {
                continue;
            }
            bad[at] = value;
            assert!(offer(&bad).is_err(), "{what} = {value}");
        }
    }
    // Each transform's last-substructure field and length.
    let mut at = 8;
    while at < sound.len() {
        let length = sound[at + 3];
        for value in 0..=255u8 {
            for field in [at, at + 3] {
                let mut bad = sound.clone();
                if bad[field] != value {
                    bad[field] = value;
                    assert!(offer(&bad).is_err(), "byte {field} = {value}");
                }
            }
        }
        at += usize::from(length);
    }
}
//= test rfc7296#3.3.6/unknown-attribute
#[test]
fn b6_key_lengths() {
    let with = |attributes: &[u8]| {
        offer_transforms(&[transform(1, 20, attributes), transform(2, 5, &[]), transform(4, 31, &[])])
    };
    assert!(with(&BITS_256).is_ok());
    for bits in [0u16, 7, 128, 192, 255, 257, 512, u16::MAX] {
        let [hi, lo] = bits.to_be_bytes();
        assert!(with(&[0x80, 14, hi, lo]).is_err(), "{bits} bits");
    }
    assert!(with(&[]).is_err(), "no key length");
    assert!(with(&[BITS_256, BITS_256].concat()).is_err(), "given twice");
    assert!(with(&[BITS_128, BITS_256].concat()).is_err(), "given twice, differently");
    assert!(with(&[&BITS_256[..], &[0x80, 99, 0, 0]].concat()).is_err(), "an unknown attribute");
    assert!(with(&[0, 14, 0, 2, 1, 0]).is_err(), "key length in the variable form");
    assert!(with(&[0, 14, 0, 200]).is_err(), "an attribute longer than the transform");
    assert!(with(&[0x80, 14, 1]).is_err(), "an attribute cut off");
    //= test rfc7634#4/no-key-length
    let chacha = IkeProposal { encryption: vec![IkeCipher::ChaCha20Poly1305], ..proposal() };
    let offered = |attributes: &[u8]| {
        let transforms = [transform(1, 28, attributes), transform(2, 5, &[]), transform(4, 31, &[])];
        let message = parse_one(SA, &raw_proposal(0, 1, 1, &[], &transforms)).unwrap();
        select_ike(message.sa().unwrap(), &chacha)
    };
    assert_eq!(offered(&[]).unwrap().suite.encryption, IkeCipher::ChaCha20Poly1305);
    assert!(offered(&BITS_256).is_err(), "a key length that must not be there");
    assert_eq!(offer_ike(&chacha, None)[0].transforms[0], Transform::new(TransformType::ENCR, 28));
    // On what has no key length.
    let prf = [transform(1, 20, &BITS_256), transform(2, 5, &BITS_256), transform(4, 31, &[])];
    assert!(offer_transforms(&prf).is_err());
}
//= test rfc7296#3.3.3/all-types
//= test rfc5282#8/no-integrity
#[test]
fn b6_combinations_that_cannot_run() {
    let refused = |change: &str, transforms: &[Vec<u8>]| {
        assert!(offer_transforms(transforms).is_err(), "{change}");
    };
    let [encr, prf, ke] = [&good()[0], &good()[1], &good()[2]].map(Clone::clone);
    refused("no DH", &[encr.clone(), prf.clone()]);
    refused("DH NONE", &[encr.clone(), prf.clone(), transform(4, 0, &[])]);
    refused("no PRF", &[encr.clone(), ke.clone()]);
    refused("no cipher", &[prf.clone(), ke.clone()]);
    refused("no transforms", &[]);
    refused("AEAD with integrity", &[encr.clone(), prf.clone(), ke.clone(), transform(3, 12, &[])]);
    refused("an unknown type", &[encr.clone(), prf.clone(), ke.clone(), transform(77, 5, &[])]);
    refused("an unknown group", &[encr.clone(), prf.clone(), transform(4, 1025, &[])]);
    refused("ESN for an IKE SA", &[encr.clone(), prf.clone(), ke.clone(), transform(5, 1, &[])]);
    refused("CBC without integrity", &[transform(1, 12, &BITS_128), prf.clone(), ke.clone()]);
    refused(
        "CBC, integrity NONE",
        &[transform(1, 12, &BITS_128), prf.clone(), ke.clone(), transform(3, 0, &[])],
    );
    let none = [encr.clone(), prf.clone(), ke.clone(), transform(3, 0, &[])];
    assert!(offer_transforms(&none).is_ok(), "AEAD with integrity NONE");
    // A cipher that we could run beside ones that we could not.
    let mixed = [transform(1, 12, &BITS_128), encr, prf, ke, transform(3, 12, &[])];
    let chosen = offer_transforms(&mixed).unwrap();
    assert_eq!(chosen.suite.encryption, IkeCipher::Aes128Cbc);
    assert_eq!(chosen.answer.transforms.len(), 4);
}
#[test]
fn b6_spi_sizes_and_protocols() {
    for size in 0..=255usize {
        let chosen = offer(&raw_proposal(0, 1, 1, &vec![7; size], &good()));
        assert_eq!(chosen.is_ok(), matches!(size, 0 | 8), "SPI of {size} bytes");
    }
    for protocol in (0..=255u8).filter(|p| *p != 1) {
        assert!(offer(&raw_proposal(0, 1, protocol, &[], &good())).is_err());
    }
    let gcm = [Suite::new(Encryption::Aes256Gcm, Integrity::None).unwrap()];
    let wishes = EspWishes {
        protocol: sa::Protocol::Esp,
        suites: &gcm,
        pfs: None,
        additional: &[],
        in_auth: true,
        esn: false,
    };
    let esp = |spi: &[u8]| {
        let transforms = [transform(1, 20, &BITS_256), transform(5, 0, &[])];
        let message = parse_one(SA, &raw_proposal(0, 1, 3, spi, &transforms)).unwrap();
        select_esp(message.sa().unwrap(), &wishes).is_ok()
    };
    for size in 0..=255usize {
        assert_eq!(esp(&vec![7; size]), size == 4);
    }
    assert!(!esp(&[0, 0, 0, 0]), "SPI 0");
    assert!(!esp(&[0, 0, 0, 255]), "a reserved SPI");
}
#[test]
fn b6_one_diagnosis() {
    let theirs = IkeProposal {
        encryption: vec![IkeCipher::Aes256Gcm],
        integrity: vec![],
        prf: vec![Prf::HmacSha256],
        groups: vec![DhGroup::Modp1024],
        additional: vec![],
    };
    let mismatch = select_ike(&offer_ike(&theirs, None), &proposal()).unwrap_err();
    assert_eq!(mismatch.differs_in, Some(TransformType::KE));
    assert_eq!(
        mismatch.to_string(),
        "they offer IKE aes-256-gcm/prf-sha256/modp1024; \
         we have aes-256-gcm,aes-128/sha256/prf-sha256/x25519,modp2048; \
         dh-group: they have modp1024, we have x25519,modp2048"
    );
    // However much is offered, the text stays readable.
    let many: Vec<Proposal> = (1..=255)
        .map(|number| Proposal {
            number,
            protocol: Protocol::IKE,
            spi: vec![],
            transforms: vec![Transform::new(TransformType(9), 9); 255],
        })
        .collect();
    assert!(select_ike(&many, &proposal()).unwrap_err().to_string().len() < 4096);
}
/// As many transforms as a datagram holds, none of them ours.
#[test]
fn b6_a_datagram_full_of_transforms() {
    let junk: Vec<Transform> =
        (0..255).map(|id| Transform::new(TransformType(id as u8 % 4 + 1), 9000 + id)).collect();
    let proposal =
        |number| Proposal { number, protocol: Protocol::IKE, spi: vec![], transforms: junk.clone() };
    let offer = Message::new(HEADER, vec![Payload::Sa((1..=31).map(proposal).collect())]).to_bytes();
    assert!(offer.len() > 63_000);
    let ours = IkeProposal {
        encryption: IkeCipher::ALL.to_vec(),
        integrity: IkeIntegrity::ALL.to_vec(),
        prf: Prf::ALL.to_vec(),
        groups: DhGroup::ALL.to_vec(),
        additional: vec![],
    };
    let mismatch = select_ike(parse_clear(&offer).unwrap().sa().unwrap(), &ours).unwrap_err();
    assert_eq!(mismatch.differs_in, Some(TransformType::ENCR));
}
#[test]
fn b6_answers_that_were_not_offered() {
    let offer = offer_ike(&proposal(), None);
    let answer = select_ike(&offer, &proposal()).unwrap().answer;
    let confirm = |list: &[Proposal]| confirm_ike(list, &proposal());
    assert_eq!(confirm(std::slice::from_ref(&answer)).unwrap().suite.encryption, IkeCipher::Aes256Gcm);
    assert!(confirm(&[]).is_err());
    assert!(confirm(&offer).is_err(), "more than one proposal");
    assert!(confirm(&offer[..1]).is_err(), "two groups to choose from");
    for drop in 0..answer.transforms.len() {
        let mut less = answer.clone();
        less.transforms.remove(drop);
        assert!(confirm(&[less]).is_err(), "transform {drop} missing");
    }
    let mut other = answer;
    other.transforms[0] = Transform::with_key(TransformType::ENCR, 20, 192);
    assert!(confirm(&[other]).is_err(), "a cipher we did not offer");
}

/// Every offer of ours is one that the other end can choose from, with the preferred suite winning.
#[test]
fn offers_and_choices_fit_each_other() {
    for encryption in IkeCipher::ALL {
        for (integrity, prf) in IkeIntegrity::ALL.into_iter().zip(Prf::ALL) {
            for group in DhGroup::ALL {
                let ours = IkeProposal {
                    encryption: vec![encryption],
                    integrity: vec![integrity],
                    prf: vec![prf],
                    groups: vec![group],
                    additional: vec![],
                };
                let offer = Message::new(HEADER, vec![Payload::Sa(offer_ike(&ours, Some(5)))]).to_bytes();
                let chosen = select_ike(parse_clear(&offer).unwrap().sa().unwrap(), &ours).unwrap();
                assert_eq!(
                    (chosen.suite.encryption, chosen.suite.prf, chosen.spi),
                    (encryption, prf, Some(5))
                );
                assert_eq!(chosen.suite.integrity, (!encryption.is_aead()).then_some(integrity));
                assert_eq!(confirm_ike(&[chosen.answer], &ours).unwrap().suite, chosen.suite);
            }
        }
    }
}
#[test]
fn esp_offers_pfs_and_esn() {
    let suites = [
        Suite::new(Encryption::Aes128Gcm, Integrity::None).unwrap(),
        Suite::new(Encryption::Aes256Cbc, Integrity::HmacSha512).unwrap(),
        Suite::new(Encryption::Null, Integrity::HmacSha256).unwrap(),
    ];
    let spi = sa::Spi::new(0x1234).unwrap();
    let pfs = [None, Some(DhGroup::X25519)];
    for (at, &suite) in suites.iter().enumerate() {
        for pfs in pfs {
            for (theirs_esn, ours_esn) in [(false, false), (false, true), (true, false), (true, true)] {
                let theirs = EspWishes {
                    protocol: sa::Protocol::Esp,
                    suites: &suites[at..],
                    pfs,
                    additional: &[],
                    in_auth: false,
                    esn: theirs_esn,
                };
                let ours = EspWishes {
                    protocol: sa::Protocol::Esp,
                    suites: &[suite],
                    pfs,
                    additional: &[],
                    in_auth: false,
                    esn: ours_esn,
                };
                let chosen = select_esp(&offer_esp(&theirs, spi), &ours).unwrap();
                assert_eq!((chosen.suite, chosen.group, chosen.spi), (suite, pfs, spi));
                assert_eq!(chosen.esn, theirs_esn && ours_esn);
                assert_eq!(confirm_esp(&[chosen.answer], &theirs).unwrap().suite, suite);
            }
        }
        // PFS wanted by one side only fails, except in IKE_AUTH, which has none.
        let with = EspWishes {
            protocol: sa::Protocol::Esp,
            suites: &suites,
            pfs: pfs[1],
            additional: &[],
            in_auth: false,
            esn: false,
        };
        let without = EspWishes { pfs: None, ..with };
        for (theirs, ours) in [(with, without), (without, with)] {
            let mismatch = select_esp(&offer_esp(&theirs, spi), &ours).unwrap_err();
            assert_eq!(mismatch.differs_in, Some(TransformType::KE), "{mismatch}");
            let in_auth = EspWishes { in_auth: true, ..ours };
            assert_eq!(select_esp(&offer_esp(&theirs, spi), &in_auth).unwrap().group, None);
        }
    }
}
