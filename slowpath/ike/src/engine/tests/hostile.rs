//! Rows C1 to C5, C7 and random bytes: what does not belong changes nothing.
use super::pair::*;
use crate::api::*;
use crate::engine::Refused;
use crate::engine::ike_sa::State;
use crate::message::*;

const EXCHANGES: [u8; 8] = [34, 35, 36, 37, 38, 43, 44, 99];

/// Everything that must not change.
fn dump(node: &Node) -> String {
    let one = |sa: &crate::engine::ike_sa::IkeSa| {
        format!(
            "{:x} {:x} {} {} {} {:?} {:?} {:?} {:?} {:?}\n",
            sa.local_spi,
            sa.remote_spi,
            sa.state.name(),
            sa.window.next_send,
            sa.window.expect,
            sa.window.in_flight.as_ref().map(|f| (f.id, &f.sealed)),
            sa.tasks,
            sa.children,
            sa.remote,
            sa.remote_id,
        )
    };
    let sas: String = node.engine.sas.values().map(|sa| one(sa)).collect();
    format!("{sas}{:?}{:?}{:?}", node.table, node.vault, node.order)
}

const STATES: [&str; 8] =
    ["InitSent", "InitAnswered", "AuthSent", "Established", "Established", "Deleting", "Replaced", "Closed"];

/// A node with an IKE SA in that state, and nothing more arriving from the other end.
pub fn in_state(at: usize) -> (Pair, usize) {
    let quiet = |time: u64| {
        let mut pair = Pair::new(41);
        pair.start();
        pair.run(ms(time));
        pair.loss = 100;
        pair
    };
    let up = || {
        let mut pair = Pair::up(41);
        pair.run(secs(5));
        pair
    };
    let rekeyed = |time: u64| {
        let mut pair = up();
        pair.input(A, Input::RekeyIke { peer: "to-b".into() });
        pair.run(ms(time));
        pair.loss = 100;
        pair
    };
    let (pair, n) = match at {
        0 => (quiet(2), A),
        1 => (quiet(6), B),
        2 => (quiet(11), A),
        3 => (up(), A),
        4 => (up(), B),
        5 => {
            let mut pair = up();
            pair.loss = 100;
            pair.input(A, Input::Terminate { peer: None });
            (pair, A)
        }
        6 => (rekeyed(6), B),
        _ => (rekeyed(16), B),
    };
    let found = pair.nodes[n].engine.sas.values().any(|sa| match STATES[at] {
        "InitSent" => matches!(sa.state, State::InitSent(_)),
        "InitAnswered" => matches!(sa.state, State::InitAnswered(_)),
        "AuthSent" => matches!(sa.state, State::AuthSent(_)),
        "Established" => matches!(sa.state, State::Established),
        "Deleting" => matches!(sa.state, State::Deleting),
        "Replaced" => matches!(sa.state, State::Replaced),
        _ => matches!(sa.state, State::Closed),
    });
    assert!(found, "{}", STATES[at]);
    (pair, n)
}
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum With {
    /// In clear.
    NoKeys,
    WrongKeys,
    Keys,
}
/// A message from the other end's place with the SPIs of the victim's SA.
pub fn message(
    pair: &mut Pair,
    n: usize,
    spi: u64,
    header: (u8, bool, bool, u32),
    payloads: Vec<Payload>,
    with: With,
) -> Option<Datagram> {
    let (exchange, initiator, response, message_id) = header;
    let sa = &pair.nodes[n].engine.sas[&spi];
    let header = Header {
        spi_i: sa.spi_i(),
        spi_r: sa.spi_r(),
        exchange: ExchangeType(exchange),
        initiator,
        response,
        message_id,
    };
    let message = Message::new(header, payloads);
    let payload = if with == With::NoKeys {
        message.to_bytes()
    } else {
        let mut keys = sa.keys.as_ref()?.keys.receiving(sa.initiator).clone();
        if with == With::WrongKeys {
            keys = sa.keys.as_ref()?.keys.sending(sa.initiator).clone();
        }
        seal(&message, &keys, &mut Seeded::new(9)).unwrap()
    };
    Some(Datagram { local: sa.local, remote: sa.remote, payload })
}
pub fn spis_of(pair: &Pair, n: usize) -> Vec<u64> {
    pair.nodes[n].engine.sas.keys().copied().collect()
}
fn established(pair: &Pair, n: usize) -> usize {
    pair.nodes[n].engine.sas.values().filter(|sa| sa.is_established()).count()
}

// Without keys, and with the wrong ones: any exchange, direction, flag and id, in any state.
#[test]
fn c1_messages_without_valid_keys_change_nothing() {
    let mut tried = 0;
    for (at, name) in STATES.into_iter().enumerate() {
        let (mut pair, n) = in_state(at);
        for spi in spis_of(&pair, n) {
            for exchange in EXCHANGES {
                for (initiator, response, id) in [false, true].into_iter().flat_map(|i| {
                    [false, true].into_iter().flat_map(move |r| [0, 1, 2, 3, u32::MAX].map(|id| (i, r, id)))
                }) {
                    for with in [With::NoKeys, With::WrongKeys] {
                        let before = dump(&pair.nodes[n]);
                        let sent = pair.nodes[n].sent;
                        let Some(d) =
                            message(&mut pair, n, spi, (exchange, initiator, response, id), vec![], with)
                        else {
                            continue;
                        };
                        let len = d.payload.len();
                        pair.record = true;
                        pair.wire.clear();
                        pair.input(n, Input::Datagram(d));
                        assert_eq!(
                            dump(&pair.nodes[n]),
                            before,
                            "{name} {exchange} {initiator} {response} {id} {with:?}"
                        );
                        // At most one answer, in clear and no longer than what it answers.
                        assert!(pair.nodes[n].sent - sent <= u64::from(!response), "{name} {exchange} {id}");
                        for (_, answer) in &pair.wire {
                            assert!(answer.payload.len() <= len && parse_clear(&answer.payload).is_ok());
                        }
                        tried += 1;
                    }
                }
            }
        }
    }
    assert!(tried > 2000);
}

// With valid keys: nothing is a shortcut to "established", and an established SA does only what its exchange says.
#[test]
fn c1_messages_out_of_place_with_valid_keys() {
    for (at, name) in STATES.into_iter().enumerate() {
        for exchange in EXCHANGES {
            for response in [false, true] {
                for id in [0u32, 1, 2, 7, u32::MAX] {
                    let (mut pair, n) = in_state(at);
                    for spi in spis_of(&pair, n) {
                        let Some(sa) = pair.nodes[n].engine.sas.get(&spi) else { continue };
                        let (flag, before) = (!sa.initiator, established(&pair, n));
                        let table = pair.nodes[n].table.clone();
                        let Some(d) =
                            message(&mut pair, n, spi, (exchange, flag, response, id), vec![], With::Keys)
                        else {
                            continue;
                        };
                        pair.input(n, Input::Datagram(d));
                        assert!(established(&pair, n) <= before, "{name} {exchange} {response} {id}");
                        assert_eq!(pair.nodes[n].table, table, "{name} {exchange} {response} {id}");
                    }
                }
            }
        }
    }
}

// Row C2: a second IKE_SA_INIT on the same SPIs and a second IKE_AUTH get the same bytes, or nothing.
#[test]
fn c2_repeats_are_answered_alike_and_others_not() {
    let mut pair = Pair::new(42);
    pair.record = true;
    pair.start();
    pair.run(secs(2));
    pair.assert_up(1);
    let wire: Vec<Datagram> = pair.wire.iter().map(|(_, d)| d.clone()).collect();
    let back = |d: &Datagram| Datagram { local: d.remote, remote: d.local, payload: d.payload.clone() };
    let before = dump(&pair.nodes[B]);
    pair.run(secs(1));
    pair.wire.clear();
    pair.input(B, Input::Datagram(back(&wire[2])));
    assert_eq!(pair.wire[0].1.payload, wire[3].payload, "IKE_AUTH again");
    assert_eq!(dump(&pair.nodes[B]), before);
    let spi = spis_of(&pair, B)[0];
    for id in [0, 1] {
        let d = message(&mut pair, B, spi, (35, true, false, id), vec![], With::Keys).unwrap();
        pair.wire.clear();
        pair.input(B, Input::Datagram(d));
        assert!(pair.wire.is_empty(), "another IKE_AUTH with id {id}");
    }
    assert_eq!(dump(&pair.nodes[B]), before);
    let d = message(&mut pair, B, spi, (35, true, false, 2), vec![], With::Keys).unwrap();
    pair.input(B, Input::Datagram(d));
    pair.assert_up(1);
}

//= test rfc7296#2.1/retransmit
#[test]
fn c3_retransmits_and_ids() {
    let mut pair = Pair::up(43);
    pair.record = true;
    let spi = spis_of(&pair, B)[0];
    let liveness = message(&mut pair, B, spi, (37, true, false, 2), vec![], With::Keys).unwrap();
    pair.input(B, Input::Datagram(liveness.clone()));
    let answer = pair.wire[0].1.payload.clone();
    pair.wire.clear();
    for _ in 0..1000 {
        pair.input(B, Input::Datagram(liveness.clone()));
    }
    assert!(pair.wire.is_empty(), "not at once again");
    pair.run(ms(150));
    pair.wire.clear();
    for _ in 0..1000 {
        pair.input(B, Input::Datagram(liveness.clone()));
    }
    assert_eq!(pair.wire.len(), 1, "rate limited");
    assert_eq!(pair.wire[0].1.payload, answer, "the same bytes");
    assert_eq!(pair.nodes[B].engine.counters().refused(Refused::Retransmit), 2000);
    let before = dump(&pair.nodes[B]);
    pair.wire.clear();
    pair.run(ms(150));
    let other = vec![Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT, vec![]))];
    for (id, payloads) in
        [(2, other), (0, vec![]), (1, vec![]), (7, vec![]), (1000, vec![]), (u32::MAX, vec![])]
    {
        let d = message(&mut pair, B, spi, (37, true, false, id), payloads, With::Keys).unwrap();
        pair.input(B, Input::Datagram(d));
        assert!(pair.wire.is_empty(), "id {id}");
    }
    assert_eq!(dump(&pair.nodes[B]), before);
}

//= test rfc7296#2.2/last-id
#[test]
fn c3_an_ike_sa_near_the_last_id_is_replaced() {
    let mut pair = Pair::up(44);
    let before = pair.nodes[A].engine.peers(pair.now)[0].spi_i;
    for n in [A, B] {
        for sa in pair.nodes[n].engine.sas.values_mut() {
            let (ours, theirs) = (&mut sa.window.next_send, &mut sa.window.expect);
            if n == A {
                *ours = u32::MAX - 1000
            } else {
                *theirs = u32::MAX - 1000
            }
            sa.window.answered.clear();
        }
    }
    let slot = pair.inbound(A).0;
    pair.input(A, Input::RekeyChild { slot });
    pair.run(secs(120));
    pair.assert_up(1);
    assert_ne!(pair.nodes[A].engine.peers(pair.now)[0].spi_i, before);
    // At the very end nothing more is sent on it; a new one is made.
    let spi = spis_of(&pair, A)[0];
    pair.nodes[A].engine.sas.get_mut(&spi).unwrap().window.next_send = u32::MAX;
    let slot = pair.inbound(A).0;
    pair.input(A, Input::RekeyChild { slot });
    pair.run(secs(200));
    pair.assert_up(1);
    assert_ne!(spis_of(&pair, A)[0], spi);
}

//= test rfc7296#2.21.1/unauthenticated-error
#[test]
fn c4_forged_errors_in_clear_end_nothing() {
    use NotifyType as N;
    let kinds = [
        N::INVALID_IKE_SPI,
        N::INVALID_SPI,
        N::AUTHENTICATION_FAILED,
        N::NO_PROPOSAL_CHOSEN,
        N::INVALID_SYNTAX,
    ];
    for (at, name) in STATES.into_iter().enumerate() {
        let (mut pair, n) = in_state(at);
        for spi in spis_of(&pair, n) {
            let initiator = pair.nodes[n].engine.sas[&spi].initiator;
            let before = dump(&pair.nodes[n]);
            for kind in kinds {
                for exchange in [34, 35, 36, 37] {
                    for response in [false, true] {
                        let told = vec![Payload::Notify(Notify::new(kind, vec![]))];
                        let header = (exchange, !initiator, response, 0);
                        let d = message(&mut pair, n, spi, header, told, With::NoKeys).unwrap();
                        pair.input(n, Input::Datagram(d));
                        assert_eq!(dump(&pair.nodes[n]), before, "{name} {kind} {exchange} {response}");
                    }
                }
            }
        }
    }
    // An attempt under way succeeds in spite of them.
    let mut pair = Pair::new(45);
    pair.latency = (50, 50);
    pair.start();
    for _ in 0..20 {
        if let Some(spi) = spis_of(&pair, A).first().copied() {
            for kind in kinds {
                let told = vec![Payload::Notify(Notify::new(kind, vec![]))];
                let d = message(&mut pair, A, spi, (34, false, true, 0), told, With::NoKeys).unwrap();
                pair.input(A, Input::Datagram(d));
            }
        }
        pair.run(ms(10));
    }
    pair.run(secs(2));
    pair.assert_up(1);
}

#[test]
fn c5_a_rogue_responder_ends_after_three_rounds() {
    let mut pair = Pair::new(46);
    pair.loss = 100;
    pair.record = true;
    pair.start();
    pair.run(ms(1));
    for round in 0..10u8 {
        let spi = spis_of(&pair, A)[0];
        let payload = if round % 2 == 0 {
            Notify::new(NotifyType::COOKIE, vec![round + 1; 20])
        } else {
            let group: u16 = if round % 4 == 1 { 19 } else { 31 };
            Notify::new(NotifyType::INVALID_KE_PAYLOAD, group.to_be_bytes().to_vec())
        };
        let d =
            message(&mut pair, A, spi, (34, false, true, 0), vec![Payload::Notify(payload)], With::NoKeys)
                .unwrap();
        pair.input(A, Input::Datagram(d));
    }
    assert_eq!(pair.wire.len(), 1 + 3, "the call and three rounds");
    assert_eq!(pair.errors(A).len(), 1);
    for bad in [vec![], vec![7; 65]] {
        let spi = spis_of(&pair, A)[0];
        let told = vec![Payload::Notify(Notify::new(NotifyType::COOKIE, bad))];
        let d = message(&mut pair, A, spi, (34, false, true, 0), told, With::NoKeys).unwrap();
        pair.input(A, Input::Datagram(d));
    }
    assert_eq!(pair.wire.len(), 4);
}

#[test]
fn c5_cookies_are_good_for_one_rotation_and_one_place() {
    let ask = |pair: &mut Pair, from: std::net::SocketAddr, cookie: Option<Vec<u8>>| -> Option<Vec<u8>> {
        let dh = crate::crypto::DhPrivate::generate(DhGroup::X25519, &mut Seeded::new(3)).unwrap();
        let mut payloads: Vec<Payload> =
            cookie.into_iter().map(|c| Payload::Notify(Notify::new(NotifyType::COOKIE, c))).collect();
        payloads.push(Payload::Sa(offer_ike(&pair.nodes[B].config.peers[0].profile.proposal, None)));
        payloads.push(Payload::Ke(KeyExchange { group: 31, data: dh.public().to_vec() }));
        payloads.push(Payload::Nonce(vec![5; 32]));
        let exchange = ExchangeType::IKE_SA_INIT;
        let header =
            Header { spi_i: 77, spi_r: 0, exchange, initiator: true, response: false, message_id: 0 };
        pair.wire.clear();
        let local = std::net::SocketAddr::new(addr(B), 500);
        pair.input(
            B,
            Input::Datagram(Datagram {
                local,
                remote: from,
                payload: Message::new(header, payloads).to_bytes(),
            }),
        );
        let answer = parse_clear(&pair.wire[0].1.payload).unwrap();
        answer.notify(NotifyType::COOKIE).map(|n| n.data.clone())
    };
    let from = std::net::SocketAddr::new(addr(A), 500);
    for (wait, good) in [(0, true), (70, true), (140, false)] {
        let mut pair = Pair::new(47);
        pair.record = true;
        pair.loss = 100;
        pair.nodes[B].config.ddos_cookie_threshold = 1;
        super::refusals::half_open(&mut pair, 1);
        let cookie = ask(&mut pair, from, None).expect("asked for a cookie");
        // Rotations happen while cookies are asked for.
        for _ in 0..wait / 10 {
            pair.run(secs(10));
            super::refusals::half_open(&mut pair, 1);
            ask(&mut pair, std::net::SocketAddr::new(addr(A), 999), None);
        }
        let elsewhere = std::net::SocketAddr::new(nat_addr(), 500);
        assert!(ask(&mut pair, elsewhere, Some(cookie.clone())).is_some(), "from another address");
        assert!(ask(&mut pair, from, Some(vec![1; 36])).is_some(), "not a cookie of ours");
        assert_eq!(ask(&mut pair, from, Some(cookie)).is_none(), good, "after {wait} s");
    }
}

// X → B  CREATE_CHILD_SA: N(REKEY_SA what) SA N TSi TSr
#[test]
fn c7_rekeys_of_what_is_not_there() {
    let pair = Pair::up(48);
    let (_, own) = pair.inbound(B);
    let theirs = pair.inbound(A).1;
    let unknown = Notify::about_child(Protocol::ESP, NotifyType::REKEY_SA, 0x1234_5678);
    let with_protocol = |protocol: u8, spi: u32| Notify {
        protocol: Protocol(protocol),
        spi: spi.to_be_bytes().to_vec(),
        kind: NotifyType::REKEY_SA,
        data: vec![],
    };
    let cases = [
        ("an unknown SPI", unknown),
        (
            "the receiver's own inbound SPI",
            Notify::about_child(Protocol::ESP, NotifyType::REKEY_SA, own.get()),
        ),
        ("protocol 0", with_protocol(0, theirs.get())),
        ("protocol IKE", with_protocol(1, theirs.get())),
        ("protocol AH", with_protocol(2, theirs.get())),
        ("protocol 4", with_protocol(4, theirs.get())),
        ("no SPI", Notify::new(NotifyType::REKEY_SA, vec![])),
    ];
    for (what, named) in cases {
        let mut pair = Pair::up(48);
        let table = pair.nodes[B].table.clone();
        let spi = spis_of(&pair, B)[0];
        let wishes = EspWishes {
            protocol: sa::Protocol::Esp,
            suites: &[gcm()],
            pfs: None,
            additional: &[],
            in_auth: false,
            esn: false,
        };
        let (local, remote) = split(&[selector(A, 1)]);
        let payloads = vec![
            Payload::Notify(named),
            Payload::Sa(offer_esp(&wishes, sa::Spi::new(0x9999).unwrap())),
            Payload::Nonce(vec![1; 32]),
            Payload::TsI(local),
            Payload::TsR(remote),
        ];
        pair.record = true;
        let d = message(&mut pair, B, spi, (36, true, false, 2), payloads, With::Keys).unwrap();
        pair.input(B, Input::Datagram(d));
        let sa = &pair.nodes[B].engine.sas[&spi];
        let keys = sa.keys.as_ref().unwrap().keys.sending(sa.initiator).clone();
        let answer = open(&pair.wire[0].1.payload, &keys).unwrap();
        let error = answer.error().unwrap_or_else(|| panic!("{what}: {answer:?}"));
        if ["protocol 0", "protocol IKE", "protocol 4", "no SPI"].contains(&what) {
            // Nothing of such a request is repeated, and the IKE SA lives on.
            assert_eq!(*error, Notify::new(NotifyType::CHILD_SA_NOT_FOUND, vec![]), "{what}");
            pair.run(secs(1));
            pair.assert_up(1);
            continue;
        }
        let named = if what == "protocol AH" { Protocol::AH } else { Protocol::ESP };
        assert_eq!((error.kind, error.protocol), (NotifyType::CHILD_SA_NOT_FOUND, named), "{what}");
        assert_eq!(pair.nodes[B].table, table, "{what}");
        assert_eq!(pair.nodes[B].engine.slots.owned(), 2, "{what}");
    }
}

#[test]
fn c8_a_storm_of_children_is_bounded() {
    let mut pair = Pair::up(49);
    let spi = spis_of(&pair, B)[0];
    let wishes = EspWishes {
        protocol: sa::Protocol::Esp,
        suites: &[gcm()],
        pfs: None,
        additional: &[],
        in_auth: false,
        esn: false,
    };
    for id in 2..1000 {
        let (local, remote) = split(&[selector(A, 1)]);
        let payloads = vec![
            Payload::Sa(offer_esp(&wishes, sa::Spi::new(0x1000 + id).unwrap())),
            Payload::Nonce(vec![1; 32]),
            Payload::TsI(local),
            Payload::TsR(remote),
        ];
        let d = message(&mut pair, B, spi, (36, true, false, id), payloads, With::Keys).unwrap();
        pair.input(B, Input::Datagram(d));
    }
    assert!(pair.nodes[B].table.len() <= 256, "{}", pair.nodes[B].table.len());
    assert_eq!(pair.nodes[B].engine.sas[&spi].window.expect, 1000, "each was answered");
}

// Row B20 on the whole engine: random bytes and changed copies of every message of a real run.
#[test]
fn b20_mutations_and_noise_change_no_established_state() {
    let mut traffic = Pair::new(50);
    traffic.record = true;
    traffic.start();
    traffic.run(secs(2));
    for n in [A, B] {
        let slot = traffic.inbound(n).0;
        traffic.input(n, Input::RekeyChild { slot });
        traffic.run(secs(10));
    }
    let wire = traffic.wire.clone();
    assert!(wire.len() >= 12);
    traffic.record = false;
    traffic.loss = 100;
    let mut rng = Seeded::new(51);
    for round in 0..6000 {
        let (from, sent) = &wire[rng.below(wire.len() as u64) as usize];
        let n = 1 - from;
        let mut payload = sent.payload.clone();
        match rng.below(4) {
            0 => payload = (0..rng.below(200)).map(|_| rng.next() as u8).collect(),
            1 => payload.truncate(rng.below(payload.len() as u64) as usize),
            _ => {
                for _ in 0..1 + rng.below(4) {
                    let at = rng.below(payload.len() as u64) as usize;
                    payload[at] = rng.next() as u8;
                }
            }
        }
        if payload == sent.payload {
            continue;
        }
        let spis: Vec<u64> = spis_of(&traffic, n);
        let established: Vec<String> = traffic.nodes[n]
            .engine
            .sas
            .values()
            .filter(|sa| sa.is_established())
            .map(|sa| {
                format!(
                    "{:x} {} {} {:?} {:?}",
                    sa.local_spi, sa.window.expect, sa.window.next_send, sa.children, sa.remote
                )
            })
            .collect();
        let table = traffic.nodes[n].table.clone();
        traffic.input(n, Input::Datagram(Datagram { local: sent.remote, remote: sent.local, payload }));
        let after: Vec<String> = traffic.nodes[n]
            .engine
            .sas
            .values()
            .filter(|sa| sa.is_established())
            .map(|sa| {
                format!(
                    "{:x} {} {} {:?} {:?}",
                    sa.local_spi, sa.window.expect, sa.window.next_send, sa.children, sa.remote
                )
            })
            .collect();
        assert_eq!(established, after, "round {round}");
        assert_eq!(traffic.nodes[n].table, table, "round {round}");
        assert!(spis_of(&traffic, n).len() <= spis.len() + 1);
    }
    // Half-open leftovers go by themselves, the tunnel stays.
    traffic.loss = 0;
    traffic.run(secs(150));
    traffic.assert_up(1);
}
