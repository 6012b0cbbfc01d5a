//! An initiator played from a script: it sends the payloads it is told, in the order it is told, and reads what comes back.
use super::Seeded;
use ike::api::{Datagram, DhGroup, IkeCipher, IkeIntegrity, Prf, Psk};
use ike::crypto::*;
use ike::message::*;
use sa::Suite;
use std::net::SocketAddr;

pub struct Initiator {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub spi_i: u64,
    pub spi_r: u64,
    pub nonce_i: Vec<u8>,
    pub nonce_r: Vec<u8>,
    pub dh: DhPrivate,
    /// The two messages of IKE_SA_INIT.
    pub request: Vec<u8>,
    pub response: Vec<u8>,
    pub suite: Option<IkeSuite>,
    pub keys: Option<IkeKeys>,
    pub next_id: u32,
    rng: Seeded,
}
impl Initiator {
    pub fn new(local: &str, remote: &str, seed: u64, group: DhGroup) -> Self {
        let mut rng = Seeded(seed);
        let dh = DhPrivate::generate(group, &mut rng).unwrap();
        let nonce_i = nonce(&mut rng, 32);
        Self {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            spi_i: seed << 8 | 1,
            spi_r: 0,
            nonce_i,
            nonce_r: Vec::new(),
            dh,
            request: Vec::new(),
            response: Vec::new(),
            suite: None,
            keys: None,
            next_id: 0,
            rng,
        }
    }
    pub fn other_group(&mut self, group: DhGroup) {
        self.dh = DhPrivate::generate(group, &mut self.rng).unwrap();
    }
    pub fn ke(&self) -> Payload {
        Payload::Ke(KeyExchange { group: self.dh.group().transform(), data: self.dh.public().to_vec() })
    }
    /// As who is at `at` says it.
    pub fn natd(&self, kind: NotifyType, at: SocketAddr) -> Payload {
        Payload::Notify(Notify::new(kind, nat_detection(self.spi_i, self.spi_r, at).to_vec()))
    }
    fn header(&self, exchange: ExchangeType, message_id: u32) -> Header {
        let (spi_i, spi_r) = (self.spi_i, self.spi_r);
        Header { spi_i, spi_r, exchange, initiator: true, response: false, message_id }
    }
    pub fn datagram(&self, payload: Vec<u8>) -> Datagram {
        Datagram { local: self.remote, remote: self.local, payload }
    }
    pub fn init(&mut self, payloads: Vec<Payload>) -> Datagram {
        self.request = Message::new(self.header(ExchangeType::IKE_SA_INIT, 0), payloads).to_bytes();
        self.datagram(self.request.clone())
    }
    /// Makes the keys, if it is an answer that chooses something.
    pub fn read_init(&mut self, answer: &[u8]) -> Message {
        let message = parse_clear(answer).unwrap();
        assert_eq!(message.header.spi_i, self.spi_i);
        let Ok(proposals) = message.sa() else { return message };
        self.spi_r = message.header.spi_r;
        self.nonce_r.clone_from(message.nonce().unwrap());
        self.response = answer.to_vec();
        let suite = suite_of(&proposals[0]);
        let shared = self.dh.shared(&message.ke().unwrap().data).unwrap();
        let seed = skeyseed(suite.prf, &self.nonce_i, &self.nonce_r, &shared);
        self.keys = Some(ike_keys(&suite, &seed, &self.nonce_i, &self.nonce_r, self.spi_i, self.spi_r));
        self.suite = Some(suite);
        self.next_id = 1;
        message
    }
    pub fn keys(&self) -> &IkeKeys {
        self.keys.as_ref().expect("keys")
    }
    pub fn prf(&self) -> Prf {
        self.suite.expect("a suite").prf
    }
    pub fn protected(&mut self, exchange: ExchangeType, payloads: Vec<Payload>) -> Datagram {
        let message = Message::new(self.header(exchange, self.next_id), payloads);
        self.next_id += 1;
        let sealed = seal(&message, &self.keys().i.clone(), &mut self.rng).unwrap();
        self.datagram(sealed)
    }
    /// Whole, or put together from fragments.
    pub fn open(&self, datagrams: &[Datagram]) -> Message {
        let keys = &self.keys().r;
        let [first, ..] = datagrams else { panic!("no answer") };
        assert_eq!(
            (first.local, first.remote),
            (self.remote, self.local),
            "it goes where the request came from"
        );
        if let [whole] = datagrams
            && parse_header(&whole.payload).unwrap().first == PayloadType::SK
        {
            return open(&whole.payload, keys).unwrap();
        }
        let pieces: Vec<Fragment> =
            datagrams.iter().map(|d| Fragment::open(&d.payload, keys).unwrap()).collect();
        assert!(pieces.iter().map(|p| usize::from(p.total)).all(|total| total == pieces.len()));
        let plain: Vec<u8> = pieces.iter().flat_map(|p| p.plain.to_vec()).collect();
        Inner { header: pieces[0].header, first: pieces[0].first, plain: plain.into() }.message().unwrap()
    }

    /// What our AUTH is over.
    pub fn octets(&self, id: &Identification) -> Vec<u8> {
        signed_octets(self.prf(), self.keys().pi.expose(), &self.request, &self.nonce_r, id, &[])
    }
    /// What theirs is over.
    pub fn their_octets(&self, id: &Identification) -> Vec<u8> {
        signed_octets(self.prf(), self.keys().pr.expose(), &self.response, &self.nonce_i, id, &[])
    }
    pub fn psk(&self, psk: &Psk, id: &Identification) -> Authentication {
        let p = self.keys().pi.expose();
        let data = psk_auth(self.prf(), psk, p, &self.request, &self.nonce_r, id, &[]).to_vec();
        Authentication { method: AuthMethod::SHARED_KEY_MIC, data }
    }
    pub fn their_psk(&self, psk: &Psk, id: &Identification) -> Vec<u8> {
        let p = self.keys().pr.expose();
        psk_auth(self.prf(), psk, p, &self.response, &self.nonce_i, id, &[]).to_vec()
    }
    /// Of a child made with these nonces, without a key exchange of its own.
    pub fn child_keys(&self, ni: &[u8], nr: &[u8], suite: Suite) -> ChildKeys {
        child_keys(self.prf(), self.keys().d.expose(), None, ni, nr, suite)
    }
}

fn suite_of(chosen: &Proposal) -> IkeSuite {
    let of = |kind| chosen.of(kind).next();
    let encr = of(TransformType::ENCR).unwrap();
    let encryption = IkeCipher::ALL.into_iter().find(|c| c.transform() == (encr.id, encr.key_len)).unwrap();
    let integ = of(TransformType::INTEG).map(|t| t.id).filter(|id| *id != 0);
    let integrity = integ.map(|id| IkeIntegrity::ALL.into_iter().find(|i| i.transform() == id).unwrap());
    let prf = of(TransformType::PRF).unwrap().id;
    let prf = Prf::ALL.into_iter().find(|p| p.transform() == prf).unwrap();
    let group = DhGroup::from_transform(of(TransformType::KE).unwrap().id).unwrap();
    IkeSuite { encryption, integrity, prf, group, additional: Additional::default() }
}
