//! A datagram in clear: parsed, questioned as the engine would, written again and read back the same.
#![no_main]
use ike::api::{DhGroup, Id, IkeCipher, IkeIntegrity, IkeProposal, Prf};
use ike::message::*;
use libfuzzer_sys::fuzz_target;
use sa::{AddrRange, Encryption, Integrity, PortRange, Protocol, SaSpec, Suite, TrafficSelector};

fuzz_target!(|data: &[u8]| {
    let _ = parse_clear(data).map_err(|e| (e.notify(false), e.notify(true), e.to_string()));
    // Most of what is worth finding lies behind the header, so every input gets a good one as well.
    let mut fixed = data.to_vec();
    if let Some(version) = fixed.get_mut(17) {
        *version = 0x20;
    }
    let length = (fixed.len() as u32).to_be_bytes();
    if let Some(place) = fixed.get_mut(24..28) {
        place.copy_from_slice(&length);
    }
    let Ok(message) = parse_clear(&fixed) else { return };
    assert!(message.payloads.len() <= MAX_PAYLOADS);
    question(&message);
    let odd = |p: &Payload| match p {
        Payload::Sa(proposals) => proposals.iter().any(|p| p.transforms.iter().any(|t| t.odd)),
        _ => false,
    };
    let sent: Vec<Payload> =
        message.payloads.iter().filter(|p| !matches!(p, Payload::Broken { .. })).cloned().collect();
    let again = parse_clear(&Message::new(message.header, sent.clone()).to_bytes()).unwrap();
    if !sent.iter().any(odd) {
        assert_eq!(again, Message::new(message.header, sent));
    }
});

fn question(message: &Message) {
    let ours = IkeProposal {
        encryption: IkeCipher::ALL.to_vec(),
        integrity: IkeIntegrity::ALL.to_vec(),
        prf: Prf::ALL.to_vec(),
        groups: DhGroup::ALL.to_vec(),
        additional: vec![],
    };
    if let Ok(offered) = message.sa() {
        match select_ike(offered, &ours) {
            // What is chosen is a subset of what was offered, and an answer the other end accepts.
            Ok(chosen) => {
                let from = offered.iter().find(|p| p.number == chosen.answer.number).unwrap();
                assert!(chosen.answer.transforms.iter().all(|t| from.transforms.contains(t)));
                assert_eq!(chosen.suite.integrity.is_none(), chosen.suite.encryption.is_aead());
            }
            Err(mismatch) => assert!(mismatch.to_string().len() < 8192),
        }
        let suites = [
            Suite::new(Encryption::Aes128Gcm, Integrity::None).unwrap(),
            Suite::new(Encryption::Aes256Cbc, Integrity::HmacSha256).unwrap(),
        ];
        for (pfs, in_auth) in [(None, true), (None, false), (Some(DhGroup::X25519), false)] {
            let wishes = EspWishes {
                protocol: Protocol::Esp,
                suites: &suites,
                pfs,
                additional: &[],
                in_auth,
                esn: true,
            };
            let _ = select_esp(offered, &wishes).map_err(|m| m.to_string());
            let _ = confirm_esp(offered, &wishes);
        }
        let _ = confirm_ike(offered, &ours);
    }
    for id in [message.id_i(), message.id_r()].into_iter().flatten() {
        let shown = id.to_string();
        assert!(shown.bytes().all(|b| (0x20..0x7f).contains(&b)), "{shown:?}");
        if let Ok(parsed) = Id::try_from(id) {
            assert_eq!(Identification::from(&parsed).data, id.data);
        }
    }
    if let (Ok(i), Ok(r)) = (message.ts_i(), message.ts_r()) {
        let all = AddrRange::new([0, 0, 0, 0].into(), [255, 255, 255, 255].into()).unwrap();
        let (ports, protocol) = (PortRange { first: 10, last: 60_000 }, None);
        let policy =
            TrafficSelector { local: all, remote: all, protocol, local_port: ports, remote_port: ports };
        let pairs = narrow(i, r, &policy);
        assert!(pairs.len() <= SaSpec::MAX_SELECTORS);
        let (local, remote) = split(&pairs);
        assert_eq!(within(&local, &remote, &policy), !pairs.is_empty());
    }
}
