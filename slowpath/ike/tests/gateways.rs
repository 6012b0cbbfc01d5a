//! The offers of cloud gateways, as they publish them, against RouterOS's defaults: what is diagnosed, and that the
//! settings it names make the offer fit.
mod common;

use common::Seeded;
use common::gateway::{any, peer};
use ike::api::*;
use ike::crypto::DhPrivate;
use ike::diagnosis::{Cause, Diagnosis};
use ike::message::*;
use sa::{Encryption, Integrity, Spi, Suite};

use TransformType as T;

/// Encryption with key bits, integrity, PRF, groups; in IANA's numbers.
struct Offer {
    encryption: &'static [(u16, u16)],
    integrity: &'static [u16],
    prf: &'static [u16],
    groups: &'static [u16],
}
struct Gateway {
    name: &'static str,
    ike: &'static [Offer],
    esp: &'static [Offer],
    /// What the difference to the profile `default` begins with, and the command against it. Empty: it fits.
    ike_differs: &'static str,
    ike_fix: &'static str,
    esp_differs: &'static str,
    esp_fix: &'static str,
}
const CBC: u16 = 12;
const GCM: u16 = 20;
const SHA: &[u16] = &[2, 12, 13, 14];
const SHA_PRF: &[u16] = &[2, 5, 6, 7];
const UP_TO_24: &[u16] = &[14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24];

const GATEWAYS: &[Gateway] = &[
    // Site-to-Site VPN, tunnel options left open: SHA-1 and group 2 included.
    Gateway {
        name: "AWS, default options",
        ike: &[
            Offer {
                encryption: &[(CBC, 128), (CBC, 256)],
                integrity: SHA,
                prf: SHA_PRF,
                groups: &[2, 14, 19],
            },
            Offer {
                encryption: &[(GCM, 128), (GCM, 256)],
                integrity: &[],
                prf: SHA_PRF,
                groups: &[2, 14, 19],
            },
        ],
        esp: &[Offer {
            encryption: &[(CBC, 128), (CBC, 256)],
            integrity: SHA,
            prf: &[],
            groups: &[2, 5, 14],
        }],
        ike_differs: "",
        ike_fix: "",
        esp_differs: "",
        esp_fix: "",
    },
    // The options its own guide asks for in production.
    Gateway {
        name: "AWS, AES-256 and SHA-2 alone",
        ike: &[Offer { encryption: &[(CBC, 256)], integrity: &[12, 13], prf: &[5, 6], groups: UP_TO_24 }],
        esp: &[Offer { encryption: &[(GCM, 256)], integrity: &[], prf: &[], groups: UP_TO_24 }],
        ike_differs: "enc-algorithm: they have aes-256-cbc, we have aes-128; hash-algorithm: they have sha256,sha384, we have sha1; prf-algorithm",
        ike_fix: "/ip ipsec profile set [find name=default] enc-algorithm=aes-128,aes-256 hash-algorithm=sha384 prf-algorithm=sha384",
        esp_differs: "enc-algorithms: they have aes-256-gcm, we have aes-256-cbc,aes-192-cbc,aes-128-cbc; auth-algorithms",
        esp_fix: "/ip ipsec proposal set [find name=default] enc-algorithms=aes-256-cbc,aes-192-cbc,aes-128-cbc,aes-256-gcm auth-algorithms=sha1,null pfs-group=ecp521",
    },
    // Route-based, default policy: AES and 3DES, group 2, no PFS.
    Gateway {
        name: "Azure, default policy",
        ike: &[
            Offer { encryption: &[(CBC, 256)], integrity: &[2], prf: &[2], groups: &[2] },
            Offer { encryption: &[(CBC, 256)], integrity: &[12], prf: &[5], groups: &[2] },
            Offer { encryption: &[(CBC, 128)], integrity: &[2], prf: &[2], groups: &[2] },
            Offer { encryption: &[(3, 0)], integrity: &[2], prf: &[2], groups: &[2] },
        ],
        esp: &[
            Offer { encryption: &[(GCM, 256)], integrity: &[], prf: &[], groups: &[] },
            Offer { encryption: &[(CBC, 256)], integrity: &[2], prf: &[], groups: &[] },
            Offer { encryption: &[(3, 0)], integrity: &[2], prf: &[], groups: &[] },
        ],
        ike_differs: "",
        ike_fix: "",
        esp_differs: "pfs-group: they have none, we have modp1024",
        esp_fix: "/ip ipsec proposal set [find name=default] pfs-group=none",
    },
    // A custom policy with DHGroup24, which many choose and this version has not.
    Gateway {
        name: "Azure, DHGroup24",
        ike: &[Offer { encryption: &[(CBC, 256)], integrity: &[13], prf: &[6], groups: &[24] }],
        esp: &[Offer { encryption: &[(GCM, 256)], integrity: &[], prf: &[], groups: &[24] }],
        ike_differs: "enc-algorithm: they have aes-256-cbc, we have aes-128; hash-algorithm: they have sha384, we have sha1; prf-algorithm: they have sha384, we have sha1; dh-group: they have modp2048s256",
        ike_fix: "",
        esp_differs: "enc-algorithms: they have aes-256-gcm",
        esp_fix: "",
    },
    // HA VPN: AEADs first; no group 2 in the modern list.
    Gateway {
        name: "Google",
        ike: &[
            Offer {
                encryption: &[(GCM, 128), (GCM, 192), (GCM, 256)],
                integrity: &[],
                prf: &[5, 4, 8, 6, 7],
                groups: &[14, 23, 5, 15, 16, 18, 19, 20, 21, 31],
            },
            Offer {
                encryption: &[(CBC, 128), (CBC, 192), (CBC, 256)],
                integrity: &[5, 8, 12, 13, 14],
                prf: &[5, 4, 8, 6, 7],
                groups: &[14, 23, 5, 15, 16, 18, 19, 20, 21, 31],
            },
        ],
        esp: &[
            Offer { encryption: &[(GCM, 128), (GCM, 256)], integrity: &[], prf: &[], groups: &[14, 15, 16] },
            Offer {
                encryption: &[(CBC, 128), (CBC, 256)],
                integrity: &[12, 14],
                prf: &[],
                groups: &[14, 15, 16],
            },
        ],
        ike_differs: "enc-algorithm: they have aes-128-gcm,aes-192-gcm,aes-256-gcm, we have aes-128; prf-algorithm: they have sha256,aes-xcbc",
        ike_fix: "/ip ipsec profile set [find name=default] enc-algorithm=aes-128,aes-256-gcm prf-algorithm=sha512",
        esp_differs: "auth-algorithms: they have sha256,sha512, we have sha1; pfs-group: they have modp2048,modp3072,modp4096, we have modp1024",
        esp_fix: "/ip ipsec proposal set [find name=default] auth-algorithms=sha1,sha512 pfs-group=modp4096",
    },
    // "ESP:AES_CBC_256/HMAC_SHA1_96/MODP_1024/NO_EXT_SEQ", against a proposal without PFS.
    Gateway {
        name: "Alibaba, default",
        ike: &[Offer { encryption: &[(CBC, 128)], integrity: &[2], prf: &[2], groups: &[2] }],
        esp: &[Offer { encryption: &[(CBC, 256)], integrity: &[2], prf: &[], groups: &[2] }],
        ike_differs: "",
        ike_fix: "",
        esp_differs: "",
        esp_fix: "",
    },
];

fn transforms(offer: &Offer) -> Vec<Transform> {
    let encr = |(id, bits): &(u16, u16)| match bits {
        0 => Transform::new(T::ENCR, *id),
        bits => Transform::with_key(T::ENCR, *id, *bits),
    };
    let of = |kind, ids: &[u16]| ids.iter().map(|id| Transform::new(kind, *id)).collect::<Vec<_>>();
    let mut all: Vec<_> = offer.encryption.iter().map(encr).collect();
    all.extend([of(T::PRF, offer.prf), of(T::INTEG, offer.integrity), of(T::KE, offer.groups)].concat());
    all
}
fn ike_offer(gateway: &Gateway) -> Vec<Proposal> {
    let one = |(at, offer): (usize, &Offer)| Proposal {
        number: at as u8 + 1,
        protocol: Protocol::IKE,
        spi: vec![],
        transforms: transforms(offer),
    };
    gateway.ike.iter().enumerate().map(one).collect()
}
fn esp_offer(gateway: &Gateway) -> Vec<Proposal> {
    let one = |(at, offer): (usize, &Offer)| {
        let mut transforms = transforms(offer);
        transforms.push(Transform::new(T::ESN, 0));
        Proposal { number: at as u8 + 1, protocol: Protocol::ESP, spi: vec![1, 2, 3, 4], transforms }
    };
    gateway.esp.iter().enumerate().map(one).collect()
}

/// What RouterOS has when nothing is set: profile and proposal `default`.
fn profile() -> IkeProposal {
    IkeProposal {
        encryption: vec![IkeCipher::Aes128Cbc],
        integrity: vec![IkeIntegrity::HmacSha1],
        prf: vec![Prf::HmacSha1],
        groups: vec![DhGroup::Modp1024, DhGroup::Modp2048],
        additional: vec![],
    }
}
struct EspSettings {
    encryption: Vec<Encryption>,
    integrity: Vec<Integrity>,
    pfs: Option<DhGroup>,
}
impl EspSettings {
    fn new() -> Self {
        let encryption = vec![Encryption::Aes256Cbc, Encryption::Aes192Cbc, Encryption::Aes128Cbc];
        Self { encryption, integrity: vec![Integrity::HmacSha1], pfs: Some(DhGroup::Modp1024) }
    }
    fn suites(&self) -> Vec<Suite> {
        let pairs =
            self.encryption.iter().flat_map(|e| self.integrity.iter().map(move |i| Suite::new(*e, *i)));
        pairs.flatten().collect()
    }
    fn select(&self, offer: &[Proposal]) -> Result<ChosenEsp, Mismatch> {
        select_esp(
            offer,
            &EspWishes {
                protocol: sa::Protocol::Esp,
                suites: &self.suites(),
                pfs: self.pfs,
                additional: &[],
                in_auth: false,
                esn: false,
            },
        )
    }
}
fn named<T: Copy>(all: &[T], names: &str, name: impl Fn(T) -> &'static str) -> Vec<T> {
    let one = |n: &str| all.iter().copied().find(|t| name(*t) == n).unwrap_or_else(|| panic!("{n}"));
    names.split(',').map(one).collect()
}
/// Carries out `… set [find name=default] a=b c=d`.
fn settings(command: &str) -> impl Iterator<Item = (&str, &str)> {
    let (_, settings) = command.split_once("] ").unwrap();
    settings.split(' ').map(|s| s.split_once('=').unwrap())
}
fn set_profile(command: &str) -> IkeProposal {
    let mut p = profile();
    for (name, value) in settings(command) {
        match name {
            "enc-algorithm" => p.encryption = named(&IkeCipher::ALL, value, IkeCipher::name),
            "hash-algorithm" => p.integrity = named(&IkeIntegrity::ALL, value, IkeIntegrity::name),
            "prf-algorithm" => p.prf = named(&Prf::ALL, value, Prf::name),
            "dh-group" => p.groups = named(&DhGroup::ALL, value, DhGroup::name),
            other => panic!("{other}"),
        }
    }
    p
}
fn set_proposal(command: &str) -> EspSettings {
    let mut p = EspSettings::new();
    for (name, value) in settings(command) {
        match name {
            "enc-algorithms" => p.encryption = named(&Encryption::ALL, value, Encryption::name),
            "auth-algorithms" => p.integrity = named(&Integrity::ALL, value, Integrity::name),
            "pfs-group" if value == "none" => p.pfs = None,
            "pfs-group" => p.pfs = Some(named(&DhGroup::ALL, value, DhGroup::name)[0]),
            other => panic!("{other}"),
        }
    }
    p
}

/// The gateway calls us, who have this profile: what is answered, and what is diagnosed.
fn called(gateway: &Gateway, proposal: IkeProposal) -> (Option<Message>, Option<Diagnosis>) {
    let identity = Identity::with_secret(MyId::Auto, RemoteId::Auto, Psk(b"a cloud secret".to_vec()));
    let child = common::gateway::child(any(), EspSettings::new().suites());
    let mut us = common::gateway::Gateway::new(peer(proposal, identity, child));
    let group = gateway.ike[0].groups[0];
    let value = DhGroup::from_transform(group)
        .map_or(vec![2; 256], |group| DhPrivate::generate(group, &mut Seeded(9)).unwrap().public().to_vec());
    let exchange = ExchangeType::IKE_SA_INIT;
    let header = Header { spi_i: 5, spi_r: 0, exchange, initiator: true, response: false, message_id: 0 };
    let message = Message::new(
        header,
        vec![
            Payload::Sa(ike_offer(gateway)),
            Payload::Ke(KeyExchange { group, data: value }),
            Payload::Nonce(vec![3; 32]),
        ],
    );
    let at = |a: &str| a.parse().unwrap();
    let datagram =
        Datagram { local: at("192.0.2.1:500"), remote: at("198.51.100.9:500"), payload: message.to_bytes() };
    let answer = us.hears(datagram).first().map(|d| parse_clear(&d.payload).unwrap());
    (answer, us.said.into_iter().find_map(|report| report.diagnosis.map(|d| *d)))
}
/// Chosen, or asked for with the group we would choose; not refused.
fn fits(answer: Option<Message>) -> bool {
    let answer = answer.expect("an answer");
    answer.notify(NotifyType::NO_PROPOSAL_CHOSEN).is_none()
        && (answer.sa().is_ok() || answer.notify(NotifyType::INVALID_KE_PAYLOAD).is_some())
}

#[test]
fn ike_offers_of_cloud_gateways() {
    for gateway in GATEWAYS {
        let (answer, diagnosis) = called(gateway, profile());
        let name = gateway.name;
        if gateway.ike_differs.is_empty() {
            assert!(fits(answer), "{name}: {diagnosis:?}");
            continue;
        }
        assert!(answer.unwrap().notify(NotifyType::NO_PROPOSAL_CHOSEN).is_some(), "{name}");
        let d = diagnosis.unwrap_or_else(|| panic!("{name}"));
        assert_eq!(d.cause, Cause::IkeProposal, "{name}");
        assert!(d.difference.starts_with(gateway.ike_differs), "{name}: {}", d.difference);
        assert_eq!(d.fix_here, gateway.ike_fix, "{name}");
        assert!(d.tell_them.contains("aes-128/sha1/prf-sha1/modp1024,modp2048"), "{name}: {}", d.tell_them);
        if !d.fix_here.is_empty() {
            assert!(fits(called(gateway, set_profile(&d.fix_here)).0), "{name}: the command makes it work");
        }
    }
}

#[test]
fn esp_offers_of_cloud_gateways() {
    for gateway in GATEWAYS {
        let (name, offer) = (gateway.name, esp_offer(gateway));
        let chosen = EspSettings::new().select(&offer);
        if gateway.esp_differs.is_empty() {
            assert!(chosen.is_ok(), "{name}: {chosen:?}");
            continue;
        }
        let mismatch = chosen.expect_err(name);
        assert!(mismatch.difference().starts_with(gateway.esp_differs), "{name}: {}", mismatch.difference());
        let command = mismatch.settings().map(|s| format!("/ip ipsec proposal set [find name=default] {s}"));
        assert_eq!(command.as_deref().unwrap_or(""), gateway.esp_fix, "{name}");
        if let Some(command) = command {
            assert!(set_proposal(&command).select(&offer).is_ok(), "{name}: the command makes it work");
        }
    }
    let spi = Spi::new(0x0102_0304).unwrap();
    assert_eq!(EspSettings::new().select(&esp_offer(&GATEWAYS[0])).unwrap().spi, spi);
}
