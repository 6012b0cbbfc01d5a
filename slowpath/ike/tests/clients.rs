//! The clients that operating systems bring along, replayed as initiators: the proposals that they are documented to send,
//! in their order of payloads, with their notifies, vendor ids and ways to prove who they are. EAP and addresses from us are
//! not played here: a client asks for addresses (CP), and goes on without.
mod common;

use Part::*;
use TransformType as T;
use ca::{Issued, Key, Wish};
use common::gateway::{Gateway, any, child, peer};
use common::hex;
use common::initiator::Initiator;
use ike::api::*;
use ike::message::*;
use pki::{Signer, Trust};
use sa::{AddrRange, Direction, Encryption, Integrity, PortRange, Prefix, SaSpec, Suite};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// One payload in the order in which a client sends them.
#[derive(Clone, Copy)]
enum Part {
    Sa,
    Ke,
    No,
    Natds,
    N(NotifyType),
    /// SIGNATURE_HASH_ALGORITHMS: SHA-256, SHA-384, SHA-512.
    Hashes,
    Vendor(&'static str),
    IdI,
    IdR,
    Cert,
    CertReq,
    Authentic,
    /// CP(REQUEST) with these attributes, all empty.
    Cp(&'static [u16]),
    Selectors,
}
#[derive(Clone, Copy, PartialEq, Debug)]
enum Proves {
    Secret,
    /// RSA, PKCS #1 over SHA-1 under method 1: who does not know RFC 7427.
    RsaSha1,
    /// ECDSA over SHA-256 under method 9.
    Ecdsa,
    /// ECDSA over SHA-256 under method 14.
    Digital,
}
struct Client {
    name: &'static str,
    ike: Vec<Vec<Transform>>,
    esp: Vec<Vec<Transform>>,
    /// What it offers when it rekeys a child; with KE if the first of them has a group.
    rekey: Vec<Vec<Transform>>,
    /// Of its first KE payload.
    group: DhGroup,
    init: Vec<Part>,
    auth: Vec<Part>,
    /// In front of its request to rekey a child, besides what must be there.
    with_rekey: Vec<Part>,
    proves: Proves,
    id: Id,
    natted: bool,
    mobike: bool,
    /// What comes of it with the profile that serves all.
    agreed: (IkeCipher, DhGroup, Encryption, Integrity),
}

const CBC: u16 = 12;
const GCM: u16 = 20;
const SHA1: u16 = 2;
const SHA256: u16 = 12;
/// ENCR with key bits (0: none), INTEG (0: an AEAD), PRF, groups.
fn ike((cipher, bits): (u16, u16), integ: u16, prf: u16, groups: &[u16]) -> Vec<Transform> {
    let mut all = vec![encr(cipher, bits), Transform::new(T::PRF, prf)];
    all.extend((integ != 0).then(|| Transform::new(T::INTEG, integ)));
    all.extend(groups.iter().map(|group| Transform::new(T::KE, *group)));
    all
}
fn encr(cipher: u16, bits: u16) -> Transform {
    if bits == 0 { Transform::new(T::ENCR, cipher) } else { Transform::with_key(T::ENCR, cipher, bits) }
}
/// A child's, with the sequence numbers of RFC 4303's 32 bits.
fn esp((cipher, bits): (u16, u16), integ: u16, groups: &[u16]) -> Vec<Transform> {
    let mut all = vec![encr(cipher, bits)];
    all.extend((integ != 0).then(|| Transform::new(T::INTEG, integ)));
    all.extend(groups.iter().map(|group| Transform::new(T::KE, *group)));
    all.push(Transform::new(T::ESN, 0));
    all
}
fn mixed(ciphers: &[(u16, &[u16])], integ: &[u16], prf: &[u16], groups: &[u16]) -> Vec<Transform> {
    let all = ciphers.iter().flat_map(|(cipher, bits)| bits.iter().map(|bits| encr(*cipher, *bits)));
    let of = |kind, ids: &[u16]| ids.iter().map(|id| Transform::new(kind, *id)).collect::<Vec<_>>();
    all.chain(of(T::INTEG, integ)).chain(of(T::PRF, prf)).chain(of(T::KE, groups)).collect()
}
fn numbered(protocol: Protocol, spi: &[u8], list: &[Vec<Transform>]) -> Vec<Proposal> {
    let one = |(transforms, number): (&Vec<Transform>, u8)| Proposal {
        number,
        protocol,
        spi: spi.to_vec(),
        transforms: transforms.clone(),
    };
    list.iter().zip(1..).map(one).collect()
}

/// Every combination is a proposal of its own.
fn windows(name: &'static str, ciphers: &[(u16, u16)], group: DhGroup, agreed: IkeCipher) -> Client {
    let hashes = [(SHA1, 2), (SHA256, 5), (13, 6)];
    let each = |cipher: &(u16, u16)| {
        let cipher = *cipher;
        let integ = move |hash| if cipher.0 == GCM { 0 } else { hash };
        hashes.map(|(hash, prf)| ike(cipher, integ(hash), prf, &[group.transform()]))
    };
    let esp: Vec<_> = [(CBC, 256), (CBC, 128), (3, 0), (2, 0), (11, 0)].map(|c| esp(c, SHA1, &[])).into();
    Client {
        name,
        ike: ciphers.iter().flat_map(each).collect(),
        rekey: esp.clone(),
        esp,
        group,
        init: vec![
            Sa,
            Ke,
            No,
            N(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED),
            Natds,
            // MS NT5 ISAKMPOAKLEY v9, MS-Negotiation Discovery Capable, Vid-Initial-Contact, and one without a name.
            Vendor("1e2b516905991c7d7c96fcbfb587e46100000009"),
            Vendor("fb1de3cdf341b7ea16b7e5be0855f120"),
            Vendor("26244d38eddb61b3172a36e3d0cfb819"),
            Vendor("01528bbbc00696121849ab9a1c5b2a5100000002"),
        ],
        auth: vec![
            IdI,
            Cert,
            CertReq,
            Authentic,
            N(NotifyType::MOBIKE_SUPPORTED),
            // Address, DNS, NBNS, an own one, the same of IPv6.
            Cp(&[1, 3, 4, 23456, 8, 10, 23457]),
            Sa,
            Selectors,
        ],
        with_rekey: vec![],
        proves: Proves::RsaSha1,
        // The subject of the machine's certificate.
        id: Id::Dn(pki::name::from_text("O=Tests,CN=client").unwrap()),
        natted: true,
        mobike: true,
        agreed: (agreed, group, Encryption::Aes256Cbc, Integrity::HmacSha1),
    }
}
fn apple(name: &'static str, newer: bool, proves: Proves, id: Id) -> Client {
    let mut proposals = Vec::new();
    if newer {
        proposals.extend([19, 14].map(|group| ike((GCM, 256), 0, 5, &[group])));
    }
    proposals.extend([14, 19, 5].map(|group| ike((CBC, 256), SHA256, 5, &[group])));
    proposals.extend([ike((CBC, 128), SHA1, 2, &[2]), ike((3, 0), SHA1, 2, &[2])]);
    let children = |groups: &[u16]| {
        vec![esp((CBC, 256), SHA256, groups), esp((CBC, 128), SHA1, groups), esp((3, 0), SHA1, groups)]
    };
    let mut auth = vec![IdI];
    auth.extend((proves != Proves::Secret).then_some(Cert));
    // Never a CERTREQ, and a certificate is wanted all the same.
    auth.extend([
        N(NotifyType::INITIAL_CONTACT),
        IdR,
        Authentic,
        Cp(&[1, 2, 6, 3, 8, 12, 10, 25]),
        N(NotifyType::ESP_TFC_PADDING_NOT_SUPPORTED),
        N(NotifyType::NON_FIRST_FRAGMENTS_ALSO),
        Sa,
        Selectors,
        N(NotifyType::MOBIKE_SUPPORTED),
    ]);
    Client {
        name,
        ike: proposals,
        esp: children(&[]),
        // With a key exchange, and without.
        rekey: [children(&[14]), children(&[])].concat(),
        group: if newer { DhGroup::Ecp256 } else { DhGroup::Modp2048 },
        init: vec![
            Sa,
            Ke,
            No,
            N(NotifyType::REDIRECT_SUPPORTED),
            Natds,
            N(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED),
        ],
        auth,
        with_rekey: vec![],
        proves,
        id,
        natted: true,
        mobike: true,
        agreed: (IkeCipher::Aes256Cbc, DhGroup::Ecp256, Encryption::Aes256Cbc, Integrity::HmacSha256),
    }
}
fn android() -> Client {
    const AES: &[u16] = &[256, 192, 128];
    let (integ, prf) = (&[14, 13, 12, 5, 8], &[4, 8, 5, 6, 7]);
    let groups = &[16, 31, 15, 14];
    let none = Transform::new(T::ESN, 0);
    let block = [mixed(&[(13, AES), (CBC, AES)], &[14, 13, 12, 5, 8], &[], &[]), vec![none]].concat();
    let aead = [mixed(&[(28, &[0]), (20, AES), (19, AES), (18, AES)], &[], &[], &[]), vec![none]].concat();
    Client {
        name: "Android, its own client",
        ike: vec![
            mixed(&[(13, AES), (CBC, AES)], integ, prf, groups),
            mixed(&[(28, &[0]), (20, AES), (19, AES), (18, AES)], &[], prf, groups),
        ],
        rekey: vec![aead.clone(), block.clone()],
        esp: vec![aead, block],
        group: DhGroup::Modp4096,
        init: vec![
            Sa,
            Ke,
            No,
            Natds,
            N(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED),
            N(NotifyType::REDIRECT_SUPPORTED),
            Hashes,
        ],
        auth: vec![
            IdI,
            IdR,
            N(NotifyType::INITIAL_CONTACT),
            Authentic,
            Sa,
            Selectors,
            Cp(&[1, 8, 3, 10]),
            N(NotifyType::MOBIKE_SUPPORTED),
        ],
        with_rekey: vec![],
        proves: Proves::Secret,
        id: Id::UserFqdn("phone@clients.test".into()),
        natted: true,
        mobike: true,
        agreed: (IkeCipher::Aes256Cbc, DhGroup::Modp2048, Encryption::Aes256Cbc, Integrity::HmacSha256),
    }
}
fn strongswan_app() -> Client {
    const AES: &[u16] = &[128, 192, 256];
    let groups = &[19, 20, 21, 15, 16, 17, 18, 14];
    let child = |cipher, bits: &[u16], integ: &[u16]| {
        [mixed(&[(cipher, bits)], integ, &[], &[]), vec![Transform::new(T::ESN, 0)]].concat()
    };
    let children = vec![child(GCM, &[256, 128], &[]), child(CBC, &[256, 192, 128], &[12, 14, SHA1])];
    Client {
        name: "strongSwan's app",
        ike: vec![
            mixed(&[(CBC, AES)], &[12, 13, 14, SHA1], &[5, 6, 7, 2], groups),
            mixed(&[(GCM, AES)], &[], &[5, 6, 7, 2], groups),
        ],
        rekey: children.clone(),
        esp: children,
        group: DhGroup::Ecp256,
        init: vec![
            Sa,
            Ke,
            No,
            Natds,
            N(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED),
            Hashes,
            N(NotifyType::REDIRECT_SUPPORTED),
        ],
        auth: vec![
            IdI,
            Cert,
            N(NotifyType::INITIAL_CONTACT),
            CertReq,
            IdR,
            Authentic,
            Cp(&[1, 8, 3, 10]),
            N(NotifyType::ESP_TFC_PADDING_NOT_SUPPORTED),
            Sa,
            Selectors,
            N(NotifyType::MOBIKE_SUPPORTED),
            N(NotifyType::NO_ADDITIONAL_ADDRESSES),
            N(NotifyType::EAP_ONLY_AUTHENTICATION),
            N(NotifyType::IKEV2_MESSAGE_ID_SYNC_SUPPORTED),
        ],
        with_rekey: vec![],
        proves: Proves::Digital,
        id: Id::Fqdn("client.test".into()),
        natted: true,
        mobike: true,
        agreed: (IkeCipher::Aes256Cbc, DhGroup::Ecp256, Encryption::Aes256Cbc, Integrity::HmacSha256),
    }
}
/// Asks for addresses also where it only rekeys.
fn routeros() -> Client {
    let children = vec![
        [mixed(&[(CBC, &[256, 192, 128])], &[SHA1], &[], &[]), vec![Transform::new(T::ESN, 0)]].concat(),
    ];
    Client {
        name: "RouterOS",
        ike: vec![mixed(&[(CBC, &[256, 128]), (3, &[0])], &[SHA256, SHA1], &[5, 2], &[14, 2])],
        rekey: children.clone(),
        esp: children,
        group: DhGroup::Modp2048,
        init: vec![N(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED), Natds, No, Ke, Sa],
        auth: vec![IdI, Authentic, N(NotifyType::INITIAL_CONTACT), Sa, Selectors, Cp(&[1, 2, 3, 13])],
        with_rekey: vec![Cp(&[1, 2, 3, 13])],
        proves: Proves::Secret,
        id: Id::Address("198.51.100.9".parse().unwrap()),
        natted: false,
        mobike: false,
        agreed: (IkeCipher::Aes256Cbc, DhGroup::Modp2048, Encryption::Aes256Cbc, Integrity::HmacSha1),
    }
}
fn all() -> Vec<Client> {
    let old = [(3, 0), (CBC, 128), (CBC, 192), (CBC, 256), (GCM, 128), (GCM, 256)];
    let nothing = Id::Address("192.168.1.5".parse().unwrap());
    let cbc = IkeCipher::Aes256Cbc;
    vec![
        windows("Windows", &old, DhGroup::Modp1024, cbc),
        windows("Windows, NegotiateDH2048_AES256", &[(CBC, 256)], DhGroup::Modp2048, cbc),
        // Without a local ID it calls itself by its address behind the NAT, whatever its certificate says.
        apple("macOS", false, Proves::Ecdsa, nothing),
        apple("iOS", false, Proves::Secret, Id::Fqdn("phone.test".into())),
        apple("iOS, newer", true, Proves::RsaSha1, Id::Fqdn("client.test".into())),
        android(),
        strongswan_app(),
        routeros(),
    ]
}

/// Made once.
struct World {
    root: Issued,
    rsa: [Issued; 2],
    p256: [Issued; 2],
}
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let root = Wish::authority("root", Key::P256).self_signed();
    let pair = |key| {
        let us = Wish::leaf("gw", key).named("fqdn:gw.test").purpose("serverAuth").by(&root);
        let they = Wish::leaf("client", key).named("fqdn:client.test").purpose("clientAuth").by(&root);
        [us, they]
    };
    World { rsa: pair(Key::Rsa(2048)), p256: pair(Key::P256), root }
});
fn certificate(issued: &Issued) -> Arc<pki::Certificate> {
    Arc::new(pki::Certificate::from_der(&issued.der()).unwrap())
}
fn signer(issued: &Issued) -> Signer {
    Signer::new(pki::read_private_key(&issued.key_pem()).unwrap(), vec![certificate(issued)]).unwrap()
}
fn pair_of(proves: Proves) -> &'static [Issued; 2] {
    if proves == Proves::RsaSha1 { &WORLD.rsa } else { &WORLD.p256 }
}
fn secret() -> Psk {
    Psk(b"what the phones know".to_vec())
}
const GW: &str = "gw.test";

/// Ours for such a client.
fn identity(client: &Client) -> Identity {
    if client.proves == Proves::Secret {
        return Identity::with_secret(MyId::Id(Id::Fqdn(GW.into())), RemoteId::Auto, secret());
    }
    let trust = Arc::new(Trust::new(vec![certificate(&WORLD.root)]));
    let auth = Auth {
        ours: Proof::Signature(Arc::new(signer(&pair_of(client.proves)[0]))),
        theirs: Check::Certificate { trust, only: None },
        ways: Ways { pkcs1: false, sha1: client.proves == Proves::RsaSha1 },
    };
    // An address behind a NAT stands in no certificate: what counts is that an authority vouches for the key.
    let remote_id = if matches!(client.id, Id::Address(_)) { RemoteId::Ignore } else { RemoteId::Auto };
    Identity { my_id: MyId::Auto, remote_id, match_by: MatchBy::RemoteId, auth, generate: None }
}
/// The settings that the reference names for all of them at once.
fn for_all() -> (IkeProposal, Vec<Suite>) {
    let proposal = IkeProposal {
        encryption: vec![IkeCipher::Aes256Cbc, IkeCipher::Aes128Cbc, IkeCipher::TripleDes],
        integrity: vec![IkeIntegrity::HmacSha256],
        prf: vec![Prf::HmacSha256],
        groups: vec![DhGroup::Ecp256, DhGroup::Modp2048, DhGroup::Modp1536, DhGroup::Modp1024],
        additional: vec![],
    };
    let ciphers = [Encryption::Aes256Cbc, Encryption::Aes128Cbc];
    let hashes = [Integrity::HmacSha256, Integrity::HmacSha1];
    let suites = ciphers.iter().flat_map(|c| hashes.iter().map(|h| Suite::new(*c, *h).unwrap()));
    (proposal, suites.chain(Suite::new(Encryption::Aes256Gcm, Integrity::None)).collect())
}
fn behind_us() -> Prefix {
    "10.77.0.0/16".parse().unwrap()
}

/// A client and the gateway it talks to.
struct Play<'a> {
    client: &'a Client,
    me: Initiator,
    gateway: Gateway,
    /// Its own inbound SPI.
    spi: u32,
}
impl<'a> Play<'a> {
    fn new(client: &'a Client, proposal: IkeProposal, suites: Vec<Suite>) -> Self {
        let peer = peer(proposal, identity(client), child(behind_us(), suites));
        let from = if client.natted { "198.51.100.9:61234" } else { "198.51.100.9:500" };
        let me = Initiator::new(from, "192.0.2.1:500", 77, client.group);
        Self { client, me, gateway: Gateway::new(peer), spi: 0x0a0b_0c0d }
    }
    fn natds(&self) -> Vec<Payload> {
        let here = if self.client.natted { "192.168.1.5:500".parse().unwrap() } else { self.me.local };
        vec![
            self.me.natd(NotifyType::NAT_DETECTION_SOURCE_IP, here),
            self.me.natd(NotifyType::NAT_DETECTION_DESTINATION_IP, self.me.remote),
        ]
    }
    fn payload(&self, part: Part, in_auth: bool) -> Vec<Payload> {
        let id = Identification::from(&self.client.id);
        let one = match part {
            Sa if in_auth => Payload::Sa(self.children(&self.client.esp)),
            Sa => Payload::Sa(numbered(Protocol::IKE, &[], &self.client.ike)),
            Ke => self.me.ke(),
            No => Payload::Nonce(self.me.nonce_i.clone()),
            Natds => return self.natds(),
            N(kind) => Payload::Notify(Notify::new(kind, vec![])),
            Hashes => {
                Payload::Notify(Notify::new(NotifyType::SIGNATURE_HASH_ALGORITHMS, vec![0, 2, 0, 3, 0, 4]))
            }
            Vendor(id) => Payload::VendorId(hex(id)),
            IdI => Payload::IdI(id),
            IdR => Payload::IdR(Identification::from(&Id::Fqdn(GW.into()))),
            Cert => Payload::Cert(Certificate { encoding: 4, data: pair_of(self.client.proves)[1].der() }),
            // Of all authorities that its system knows.
            CertReq => Payload::CertReq(Certificate { encoding: 4, data: vec![0x5a; 20 * 120] }),
            Authentic => Payload::Auth(self.proof(&id)),
            Cp(kinds) => {
                let attribute = |kind: &u16| ConfigAttribute { kind: *kind, value: vec![] };
                Payload::Cp(Configuration { kind: 1, attributes: kinds.iter().map(attribute).collect() })
            }
            Selectors => return self.selectors(),
        };
        vec![one]
    }
    fn payloads(&self, parts: &[Part], in_auth: bool) -> Vec<Payload> {
        parts.iter().flat_map(|part| self.payload(*part, in_auth)).collect()
    }
    fn children(&self, list: &[Vec<Transform>]) -> Vec<Proposal> {
        numbered(Protocol::ESP, &self.spi.to_be_bytes(), list)
    }
    /// Everything, of both IP versions.
    fn selectors(&self) -> Vec<Payload> {
        let range = |first: &str, last: &str| {
            let [first, last] = [first, last].map(|a| a.parse::<IpAddr>().unwrap());
            Ts { protocol: None, ports: PortRange::ANY, addresses: AddrRange::new(first, last).unwrap() }
        };
        let all =
            vec![range("0.0.0.0", "255.255.255.255"), range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")];
        vec![Payload::TsI(all.clone()), Payload::TsR(all)]
    }
    fn proof(&self, id: &Identification) -> Authentication {
        let hashes = match self.client.proves {
            Proves::Secret => return self.me.psk(&secret(), id),
            Proves::RsaSha1 | Proves::Ecdsa => None,
            Proves::Digital => Some(pki::Hashes::from_wire(&[0, 2])),
        };
        let signer = signer(&pair_of(self.client.proves)[1]);
        let made = signer.sign(hashes, Ways { pkcs1: false, sha1: true }, &self.me.octets(id)).unwrap();
        Authentication { method: AuthMethod(made.method), data: made.data }
    }
    fn ask(&mut self, exchange: ExchangeType, payloads: Vec<Payload>) -> Message {
        let request = self.me.protected(exchange, payloads);
        let answer = self.gateway.hears(request.clone());
        let read = self.me.open(&answer);
        assert!(read.header.response && read.header.exchange == exchange, "{}", self.client.name);
        // Asked once more, it says the same.
        self.gateway.now += Duration::from_millis(200);
        assert_eq!(self.gateway.hears(request), answer, "{}", self.client.name);
        read
    }
    fn told(&self) -> String {
        let said: Vec<_> = self.gateway.said.iter().map(|report| report.text.as_str()).collect();
        format!("{}: {said:#?}", self.client.name)
    }

    /// IKE_SA_INIT; a second time with the group that was asked for.
    fn init(&mut self) {
        for _ in 0..2 {
            let payloads = self.payloads(&self.client.init.clone(), false);
            let request = self.me.init(payloads);
            let answer = self.gateway.hears(request);
            assert_eq!(answer.len(), 1, "{}", self.told());
            let answer = self.me.read_init(&answer[0].payload);
            match answer.notify(NotifyType::INVALID_KE_PAYLOAD).and_then(Notify::group) {
                Some(group) => self.me.other_group(DhGroup::from_transform(group).unwrap()),
                None => break,
            }
        }
        assert!(self.me.keys.is_some(), "{}", self.told());
        if self.client.natted {
            self.me.local.set_port(61_235);
            self.me.remote.set_port(4500);
        }
    }
    /// IKE_AUTH: they are who they say, and so are we.
    fn auth(&mut self) {
        let payloads = self.payloads(&self.client.auth.clone(), true);
        let answer = self.ask(ExchangeType::IKE_AUTH, payloads);
        assert!(answer.error().is_none(), "{answer:?} {}", self.told());
        let (id, auth) = (answer.id_r().unwrap(), answer.auth().unwrap());
        assert_eq!(Id::try_from(id), Ok(Id::Fqdn(GW.into())), "{}", self.client.name);
        if self.client.proves == Proves::Secret {
            assert_eq!(auth.data, self.me.their_psk(&secret(), id), "{}", self.client.name);
        } else {
            let shown = answer
                .certificates()
                .next()
                .unwrap_or_else(|| panic!("{}: no certificate", self.client.name));
            let shown = pki::Certificate::from_der(&shown.data).unwrap();
            let signature = pki::Signature { method: auth.method.0, data: auth.data.clone() };
            let ways = Ways { pkcs1: false, sha1: self.client.proves == Proves::RsaSha1 };
            pki::verify(shown.key(), &signature, ways, &self.me.their_octets(id)).unwrap();
            let expected =
                if self.client.proves == Proves::Digital { 14 } else { pair_method(self.client.proves) };
            assert_eq!(auth.method.0, expected, "{}", self.client.name);
        }
        let (ni, nr) = (self.me.nonce_i.clone(), self.me.nonce_r.clone());
        self.check_child(&answer, &ni, &nr);
    }
    /// The answer's child is what was offered, narrowed, and what runs here.
    fn check_child(&self, answer: &Message, ni: &[u8], nr: &[u8]) {
        let [chosen] = answer.sa().unwrap().as_slice() else { panic!("one proposal") };
        let ours = chosen.spi32().unwrap();
        let of = |direction, spi: u32| -> &SaSpec {
            let mut found = self.gateway.table.iter().filter(|sa| sa.direction == direction);
            found.rfind(|sa| sa.spi.get() == spi).unwrap_or_else(|| panic!("{spi:x} {}", self.told()))
        };
        let inbound = of(Direction::Inbound, ours);
        let keys = self.me.child_keys(ni, nr, inbound.suite);
        assert_eq!(
            (&inbound.encryption_key, &inbound.integrity_key),
            (&keys.i.encryption, &keys.i.integrity)
        );
        let narrowed = |list: &[Ts]| list.iter().map(|ts| ts.addresses).collect::<Vec<_>>();
        assert_eq!(narrowed(answer.ts_r().unwrap()), [behind_us().range()], "{}", self.client.name);
        assert_eq!(narrowed(answer.ts_i().unwrap()), [any().range()], "{}", self.client.name);
        assert_eq!(inbound.encap.is_some(), self.client.natted, "{}", self.client.name);
    }
    fn rekey(&mut self) {
        let (old, nonce) = (self.spi, vec![0x4e; 32]);
        self.spi += 1;
        let mut payloads = self.payloads(&self.client.with_rekey, true);
        payloads.push(Payload::Notify(Notify::about_child(Protocol::ESP, NotifyType::REKEY_SA, old)));
        payloads.extend([Payload::Sa(self.children(&self.client.rekey)), Payload::Nonce(nonce.clone())]);
        if let Some(group) = self.client.rekey[0].iter().find(|t| t.kind == T::KE) {
            self.me.other_group(DhGroup::from_transform(group.id).unwrap());
            payloads.push(self.me.ke());
        }
        payloads.extend(self.selectors());
        let answer = self.ask(ExchangeType::CREATE_CHILD_SA, payloads);
        assert!(answer.error().is_none() && answer.ke().is_err(), "{answer:?} {}", self.told());
        self.check_child(&answer, &nonce, answer.nonce().unwrap());
        // The old one goes, and what it was replaced by stays.
        let delete = Delete { protocol: Protocol::ESP, spis: vec![old] };
        let answer = self.ask(ExchangeType::INFORMATIONAL, vec![Payload::Delete(delete)]);
        assert_eq!(answer.deletes().count(), 1, "{}", self.client.name);
        assert_eq!(
            self.gateway.engine.children(self.gateway.now).iter().filter(|c| is_served(c.state)).count(),
            1
        );
    }
    /// The phone leaves the house.
    fn moves(&mut self) {
        self.me.local = "203.0.113.77:40000".parse().unwrap();
        let mut payloads = vec![Payload::Notify(Notify::new(NotifyType::UPDATE_SA_ADDRESSES, vec![]))];
        payloads.extend(self.natds());
        let request = self.me.protected(ExchangeType::INFORMATIONAL, payloads);
        let sent = self.gateway.hears(request);
        // An answer, and a question whether it is really there.
        let response = |d: &Datagram| parse_header(&d.payload).unwrap().header.response;
        let (answer, question): (Vec<_>, Vec<_>) = sent.into_iter().partition(response);
        assert!(self.me.open(&answer).notify(NotifyType::NAT_DETECTION_SOURCE_IP).is_some());
        let asked = self.me.open(&question);
        let cookie = asked.notify(NotifyType::COOKIE2).expect("COOKIE2").clone();
        let header = Header { initiator: true, response: true, ..asked.header };
        let reply = Message::new(header, vec![Payload::Notify(cookie)]);
        let sealed = seal(&reply, &self.me.keys().i.clone(), &mut common::Seeded(5)).unwrap();
        self.gateway.hears(self.me.datagram(sealed));
        let peers = self.gateway.engine.peers(self.gateway.now);
        assert_eq!(peers[0].remote, self.me.local, "{}", self.client.name);
    }
    fn ends(&mut self) {
        let delete = Delete { protocol: Protocol::IKE, spis: vec![] };
        assert_eq!(self.ask(ExchangeType::INFORMATIONAL, vec![Payload::Delete(delete)]).payloads, []);
        self.gateway.waits(Duration::from_secs(150));
        assert!(self.gateway.table.is_empty() && self.gateway.engine.peers(self.gateway.now).is_empty());
    }
}
fn pair_method(proves: Proves) -> u8 {
    if proves == Proves::RsaSha1 { 1 } else { 9 }
}

/// From the first message to the last, with one set of settings for all of them.
#[test]
fn every_client_is_served_by_the_same_settings() {
    for client in all() {
        let (proposal, suites) = for_all();
        let mut play = Play::new(&client, proposal, suites);
        play.init();
        play.auth();
        let suite = play.me.suite.unwrap();
        let child = play.gateway.engine.children(play.gateway.now)[0].suite;
        let agreed = (suite.encryption, suite.group, child.encryption(), child.integrity());
        assert_eq!(agreed, client.agreed, "{}", client.name);
        assert_eq!(play.ask(ExchangeType::INFORMATIONAL, vec![]).payloads, [], "liveness of {}", client.name);
        play.rekey();
        if client.mobike {
            play.moves();
        }
        play.ends();
    }
}

/// Whatever a row of their tables says can be what both agree on.
#[test]
fn each_row_of_their_tables_can_be_agreed_on() {
    let named = |t: &Transform| IkeCipher::ALL.into_iter().find(|c| c.transform() == (t.id, t.key_len));
    let mut agreed = 0;
    for client in all() {
        for row in &client.ike {
            let of = |kind| row.iter().filter(move |t| t.kind == kind);
            // Of a proposal with many choices each is taken once, beside any of the others.
            let most =
                [T::ENCR, T::PRF, T::INTEG, T::KE].map(|kind| of(kind).count()).into_iter().max().unwrap();
            for at in 0..most {
                let nth = |kind| of(kind).cycle().nth(at);
                let id = |kind| nth(kind).map(|t| t.id);
                let proposal = IkeProposal {
                    encryption: vec![named(nth(T::ENCR).unwrap()).unwrap()],
                    integrity: IkeIntegrity::ALL
                        .into_iter()
                        .filter(|i| Some(i.transform()) == id(T::INTEG))
                        .collect(),
                    prf: Prf::ALL.into_iter().filter(|p| Some(p.transform()) == id(T::PRF)).collect(),
                    groups: vec![DhGroup::from_transform(id(T::KE).unwrap()).unwrap()],
                    additional: vec![],
                };
                let mut play = Play::new(&client, proposal.clone(), for_all().1);
                play.init();
                play.auth();
                let suite = play.me.suite.unwrap();
                assert_eq!((suite.encryption, suite.prf), (proposal.encryption[0], proposal.prf[0]));
                assert_eq!(
                    (suite.group, suite.integrity),
                    (proposal.groups[0], proposal.integrity.first().copied())
                );
                agreed += 1;
            }
        }
    }
    assert!(agreed > 70, "{agreed}");
}
