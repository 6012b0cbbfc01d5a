//! Rows B19, C10, C11, D1, D2 and F5 on a whole engine, called by somebody who knows what he does.
mod common;

use common::gateway::{Gateway, any, child, peer};
use common::initiator::Initiator;
use common::raw::fix_length;
use ike::api::*;
use ike::engine::Watched;
use ike::message::*;
use sa::{AddrRange, Encryption, Integrity, PortRange, Suite};
use std::time::Duration;

fn proposal() -> IkeProposal {
    IkeProposal {
        encryption: vec![IkeCipher::Aes128Gcm],
        integrity: vec![],
        prf: vec![Prf::HmacSha256],
        groups: vec![DhGroup::X25519],
        additional: vec![],
    }
}
fn secret() -> Psk {
    Psk(b"only two know it".to_vec())
}
fn named(name: &str) -> Id {
    Id::Fqdn(name.into())
}
/// Takes `client.test` and, with another secret, `other.test`.
fn configured() -> Peer {
    let with =
        |name: &str, psk| Identity::with_secret(MyId::Id(named("gw.test")), RemoteId::Id(named(name)), psk);
    let suite = Suite::new(Encryption::Aes128Gcm, Integrity::None).unwrap();
    let mut peer = peer(proposal(), with("client.test", secret()), child(any(), vec![suite]));
    peer.identities.push(with("other.test", Psk(b"a secret of the other's".to_vec())));
    peer
}
fn client(seed: u64) -> Initiator {
    Initiator::new("198.51.100.9:500", "192.0.2.1:500", seed, DhGroup::X25519)
}
fn first(me: &Initiator) -> Vec<Payload> {
    vec![Payload::Sa(offer_ike(&proposal(), None)), me.ke(), Payload::Nonce(me.nonce_i.clone())]
}
fn called(me: &mut Initiator, gateway: &mut Gateway) {
    let request = me.init(first(me));
    let answer = gateway.hears(request);
    me.read_init(&answer[0].payload);
}
/// What stands in IKE_AUTH besides the proof.
fn rest(auth: Option<Authentication>, id: &Id) -> Vec<Payload> {
    let range = any().range();
    let all = |addresses: AddrRange| vec![Ts { protocol: None, ports: PortRange::ANY, addresses }];
    let suites = [Suite::new(Encryption::Aes128Gcm, Integrity::None).unwrap()];
    let wishes = EspWishes {
        protocol: sa::Protocol::Esp,
        suites: &suites,
        pfs: None,
        additional: &[],
        in_auth: true,
        esn: false,
    };
    let mut payloads = vec![Payload::IdI(Identification::from(id))];
    payloads.extend(auth.map(Payload::Auth));
    let spi = sa::Spi::new(0x0102_0304).unwrap();
    payloads.extend([
        Payload::Sa(offer_esp(&wishes, spi)),
        Payload::TsI(all(range)),
        Payload::TsR(all(range)),
    ]);
    payloads
}
fn proof(me: &Initiator) -> Authentication {
    me.psk(&secret(), &Identification::from(&named("client.test")))
}
/// A whole handshake; the gateway's answer to IKE_AUTH.
fn authenticates(
    seed: u64,
    id: &Id,
    auth: impl FnOnce(&Initiator) -> Option<Authentication>,
) -> (Gateway, Initiator, Message, usize) {
    let (mut gateway, mut me) = (Gateway::new(configured()), client(seed));
    called(&mut me, &mut gateway);
    let payloads = rest(auth(&me), id);
    let request = me.protected(ExchangeType::IKE_AUTH, payloads);
    let answer = gateway.hears(request);
    let (len, read) = (answer[0].payload.len(), me.open(&answer));
    (gateway, me, read, len)
}
fn nothing_stays(mut gateway: Gateway) {
    assert!(gateway.table.is_empty());
    gateway.waits(Duration::from_secs(150));
    assert!(gateway.engine.peers(gateway.now).is_empty() && gateway.engine.next_timeout().is_none());
}

//= test rfc7296#2.15/psk
#[test]
fn d1_auth_that_proves_nothing() {
    let id = named("client.test");
    let (_, older, answer, _) = authenticates(1, &id, |me| Some(proof(me)));
    assert!(answer.auth().is_ok(), "the true one");
    let replayed = proof(&older);
    let of = |method: u8, data: Vec<u8>| Authentication { method: AuthMethod(method), data };
    let body = Identification::from(&id);
    type Forge<'a> = (&'a str, Box<dyn Fn(&Initiator) -> Authentication + 'a>);
    let bent = |change: fn(&mut Vec<u8>)| {
        move |me: &Initiator| {
            let mut auth = proof(me);
            change(&mut auth.data);
            auth
        }
    };
    let forged: Vec<Forge<'_>> = vec![
        ("another secret", Box::new(|me| me.psk(&Psk(b"only one knows it".to_vec()), &body))),
        ("an empty secret", Box::new(|me| me.psk(&Psk(Vec::new()), &body))),
        ("empty", Box::new(|_| of(2, vec![]))),
        ("the first bit", Box::new(bent(|data| data[0] ^= 0x80))),
        ("the last bit", Box::new(bent(|data| data[31] ^= 1))),
        ("cut", Box::new(bent(|data| data.truncate(31)))),
        ("longer", Box::new(bent(|data| data.push(0)))),
        ("method 0", Box::new(|me| of(0, proof(me).data))),
        ("a signature of RSA", Box::new(|me| of(1, proof(me).data))),
        ("NULL", Box::new(|me| of(13, proof(me).data))),
        ("a digital signature", Box::new(|me| of(14, proof(me).data))),
        ("method 255", Box::new(|me| of(255, proof(me).data))),
        ("what the gateway itself would say", Box::new(|me| of(2, me.their_psk(&secret(), &body)))),
        ("of another IKE SA", Box::new(|_| replayed.clone())),
        ("of another name", Box::new(|me| me.psk(&secret(), &Identification::from(&named("other.test"))))),
        (
            "over another nonce",
            Box::new(|me| {
                let (prf, p) = (me.prf(), me.keys().pi.expose());
                of(2, ike::crypto::psk_auth(prf, &secret(), p, &me.request, &me.nonce_i, &body, &[]).to_vec())
            }),
        ),
        (
            "over another first message",
            Box::new(|me| {
                let (prf, p) = (me.prf(), me.keys().pi.expose());
                of(
                    2,
                    ike::crypto::psk_auth(prf, &secret(), p, &me.response, &me.nonce_r, &body, &[]).to_vec(),
                )
            }),
        ),
    ];
    let failed = vec![Payload::Notify(Notify::new(NotifyType::AUTHENTICATION_FAILED, vec![]))];
    let mut lengths = Vec::new();
    for (what, forge) in &forged {
        let (gateway, _, answer, len) = authenticates(2, &id, |me| Some(forge(me)));
        assert_eq!(answer.payloads, failed, "{what}");
        lengths.push(len);
        nothing_stays(gateway);
    }
    // Who has the secret of one is not the other; and whom nobody knows gets the same answer.
    for name in ["other.test", "nobody.test", "client.test.", "CLIENT.TEST\u{0}"] {
        let id = named(name);
        let valid = |me: &Initiator| Some(me.psk(&secret(), &Identification::from(&id)));
        let (gateway, _, answer, len) = authenticates(2, &id, valid);
        assert_eq!(answer.payloads, failed, "{name}");
        lengths.push(len);
        nothing_stays(gateway);
    }
    lengths.dedup();
    assert_eq!(lengths.len(), 1, "the answers differ: {lengths:?}");
}

#[test]
fn d2_no_auth_at_all() {
    // As who wants EAP does; and with EAP_ONLY_AUTHENTICATION.
    for more in [None, Some(NotifyType::EAP_ONLY_AUTHENTICATION)] {
        let (mut gateway, mut me) = (Gateway::new(configured()), client(3));
        called(&mut me, &mut gateway);
        let mut payloads = rest(None, &named("client.test"));
        payloads.extend(more.map(|kind| Payload::Notify(Notify::new(kind, vec![]))));
        let request = me.protected(ExchangeType::IKE_AUTH, payloads);
        let answer = me.open(&gateway.hears(request));
        assert_eq!(answer.error().map(|n| n.kind), Some(NotifyType::AUTHENTICATION_FAILED));
        assert!(answer.eap().is_err() && answer.auth().is_err());
        nothing_stays(gateway);
    }
}

/// A certificate as hash and URL, and URLs in whatever is sent: nobody is asked for anything.
#[test]
fn f5_no_url_is_followed() {
    let root = ca::Wish::authority("root", ca::Key::P256).self_signed();
    let anchor = std::sync::Arc::new(pki::Certificate::from_der(&root.der()).unwrap());
    for encoding in [12, 13, 4] {
        let mut peer = configured();
        let trust = std::sync::Arc::new(pki::Trust::new(vec![anchor.clone()]));
        peer.identities.truncate(1);
        peer.identities[0].auth.theirs = Check::Certificate { trust, only: None };
        let (mut gateway, mut me) = (Gateway::new(peer), client(4));
        let request = me.init(first(&me));
        let offered = me.read_init(&gateway.hears(request)[0].payload);
        assert!(offered.notify(NotifyType::HTTP_CERT_LOOKUP_SUPPORTED).is_none(), "never asked for");
        let mut payloads =
            rest(Some(Authentication { method: AuthMethod(14), data: vec![1; 80] }), &named("client.test"));
        let url = [&[0x11; 20][..], b"http://127.0.0.1/cert.der"].concat();
        payloads.insert(1, Payload::Cert(Certificate { encoding, data: url }));
        payloads.push(Payload::Notify(Notify::new(NotifyType::HTTP_CERT_LOOKUP_SUPPORTED, vec![])));
        let request = me.protected(ExchangeType::IKE_AUTH, payloads);
        let mut out = Vec::new();
        gateway.engine.handle(Input::Datagram(request), gateway.now, &mut out);
        // An engine has no socket: all that it can do is say so, and answer who asked.
        for action in &out {
            match action {
                Action::Send(d) => assert_eq!(d.remote, me.local),
                Action::Log(_) => {}
                other => panic!("{encoding}: {other:?}"),
            }
        }
        let sent: Vec<_> =
            out.iter().filter_map(|a| if let Action::Send(d) = a { Some(d.clone()) } else { None }).collect();
        assert_eq!(me.open(&sent).error().map(|n| n.kind), Some(NotifyType::AUTHENTICATION_FAILED));
    }
}

/// Each byte of a call changed in turn, and each length made to claim more than there is.
fn bent(request: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = (0..request.len()).map(|end| request[..end].to_vec()).collect();
    all.extend((0..request.len()).flat_map(|at| {
        [0, 1, 0x7f, 0xff].map(|value| {
            let mut other = request.to_vec();
            other[at] = value;
            other
        })
    }));
    let mut whole = all.clone();
    whole.iter_mut().for_each(|datagram| fix_length(datagram));
    // The header alone, with a length that promises more.
    let mut alone = request[..HEADER_LEN].to_vec();
    alone[24..28].copy_from_slice(&u32::MAX.to_be_bytes());
    all.into_iter().chain(whole).chain([alone]).collect()
}

/// Whatever is asked, each byte of an answer in clear is one we wrote: it reads back to the same bytes, it is no longer than
/// the request unless it chooses something, and what an engine has lived through does not show.
#[test]
fn b19_answers_hold_nothing_but_what_we_say() {
    let mut me = client(5);
    let request = me.init(first(&me));
    let old = || {
        let (gateway, ..) = authenticates(6, &named("client.test"), |me| Some(proof(me)));
        gateway
    };
    let (mut answered, mut chose) = (0, 0);
    let mut seasoned = old();
    for (n, payload) in bent(&request.payload).into_iter().enumerate() {
        if n.is_multiple_of(200) {
            seasoned = old();
        }
        let from = |port: u16| {
            let mut d = me.datagram(payload.clone());
            d.remote.set_port(port);
            d
        };
        let port = 1000 + n as u16;
        let mut fresh = Gateway::new(configured());
        let (a, b) = (fresh.hears(from(port)), seasoned.hears(from(port)));
        assert_eq!(a.len(), b.len(), "{n}");
        for (a, b) in a.iter().zip(&b) {
            let (read, other) = (parse_clear(&a.payload).unwrap(), parse_clear(&b.payload).unwrap());
            assert_eq!(read.to_bytes(), a.payload, "{n}");
            answered += 1;
            if read.sa().is_ok() {
                chose += 1;
                continue;
            }
            assert!(a.payload.len() <= payload.len(), "{n}");
            assert_eq!(read, other, "{n}");
            let [Payload::Notify(told)] = &read.payloads[..] else { panic!("{n}: {read:?}") };
            assert!(told.data.len() <= 2 && told.spi.is_empty(), "{n}: {told:?}");
        }
    }
    assert!(answered > 100 && chose > 10, "{answered} {chose}");
}

/// SPIs of zero and SPIs that are somebody's.
#[test]
fn c10_spis_that_must_not_be() {
    let mut gateway = Gateway::new(configured());
    for (spi_i, spi_r) in [(0, 0), (7, 1), (0, 1)] {
        let mut me = client(7);
        (me.spi_i, me.spi_r) = (spi_i, spi_r);
        let request = me.init(first(&me));
        assert_eq!(gateway.hears(request), [], "{spi_i} {spi_r}");
    }
    assert!(gateway.engine.peers(gateway.now).is_empty() && gateway.engine.next_timeout().is_none());

    // Two callers with the same SPI, and one of them once more while its IKE SA is up.
    let (mut one, mut two, mut again) = (client(8), client(8), client(8));
    two.local = "198.51.100.10:500".parse().unwrap();
    for me in [&mut one, &mut two] {
        called(me, &mut gateway);
        let request = me.protected(ExchangeType::IKE_AUTH, rest(Some(proof(me)), &named("client.test")));
        assert!(me.open(&gateway.hears(request)).auth().is_ok());
    }
    called(&mut again, &mut gateway);
    assert_ne!(one.spi_r, again.spi_r);
    for me in [&mut one, &mut two] {
        let request = me.protected(ExchangeType::INFORMATIONAL, vec![]);
        assert_eq!(me.open(&gateway.hears(request)).payloads, []);
    }
    // An answer that names no responder.
    let host = sa::Prefix::host("198.51.100.9".parse().unwrap());
    let calling =
        Peer { address: host, local_address: "192.0.2.1".parse().ok(), passive: false, ..configured() };
    let mut gateway = Gateway::new(calling);
    let call = gateway.waits(Duration::ZERO);
    let asked = parse_clear(&call[0].payload).unwrap();
    let me = client(9);
    let answer = |spi_r: u64| {
        let header = Header { spi_r, initiator: false, response: true, ..asked.header };
        me.datagram(Message::new(header, first(&me)).to_bytes())
    };
    assert_eq!(gateway.hears(answer(0)), []);
    assert_eq!(gateway.engine.peers(gateway.now)[0].state, "message-1-sent");
    assert_eq!(gateway.hears(answer(9)).len(), 1, "and one that does is gone on with");

    // What failed leaves none behind.
    let mut gateway = Gateway::new(configured());
    for seed in 10..40 {
        let mut me = client(seed);
        called(&mut me, &mut gateway);
        if seed % 2 == 0 {
            let wrong = me.psk(&Psk(b"no".to_vec()), &Identification::from(&named("client.test")));
            let request = me.protected(ExchangeType::IKE_AUTH, rest(Some(wrong), &named("client.test")));
            gateway.hears(request);
        }
    }
    nothing_stays(gateway);
}

/// Every way to be refused, with everything told that can be told: one line each, and nothing in it that ends a line.
#[test]
fn c11_refusals_with_every_message_traced() {
    let mut gateway = Gateway::new(configured());
    gateway.engine.watch(Watched::Everybody);
    let mut me = client(50);
    let request = me.init(first(&me));
    for (n, payload) in bent(&request.payload).into_iter().enumerate() {
        let mut datagram = me.datagram(payload);
        datagram.remote.set_port(1000 + n as u16);
        gateway.hears(datagram);
    }
    let before = gateway.said.len();
    // No more cookies.
    gateway.waits(Duration::from_secs(60));
    // With keys: names that are no names, payloads of every type, and what is broken inside.
    for kind in 0..=255u8 {
        for data in [&b""[..], b"a\nb", b"\x1b[2J$(reboot);`id`", &[0xff; 300], "\u{202e}x".as_bytes()] {
            let mut me = client(1000 + u64::from(kind));
            me.local.set_port(20_000 + u16::from(kind));
            called(&mut me, &mut gateway);
            let id = Identification { kind: IdType(kind), reserved: [0; 3], data: data.to_vec() };
            let mut payloads = rest(Some(proof(&me)), &named("client.test"));
            payloads[0] = Payload::IdI(id);
            payloads.push(Payload::VendorId(data.to_vec()));
            payloads.push(Payload::Notify(Notify::new(NotifyType(u16::from(kind)), data.to_vec())));
            let request = me.protected(ExchangeType::IKE_AUTH, payloads);
            gateway.hears(request);
            gateway.now += Duration::from_secs(1);
        }
        gateway.waits(Duration::from_secs(1));
    }
    assert!(gateway.said.len() > before + 1000, "{}", gateway.said.len());
    for report in &gateway.said {
        let clean = report.text.chars().all(|c| !c.is_control() && c != '\u{202e}');
        assert!(clean && report.text.len() < 4000, "{:?}", report.text);
    }
}
