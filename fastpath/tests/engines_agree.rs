//! The CPU engines against each other: whatever one seals every other opens, byte for byte the same, and nobody
//! opens what was changed on the way.
use fastpath::crypto::cpu::{CpuCrypto, CpuEngineKind, EspOp, KeyRecord};
use proptest::prelude::*;
use sa::{Cipher, CipherMode, Direction, Encryption, Integrity, Suite};

fn engine(kind: CpuEngineKind) -> CpuCrypto {
    CpuCrypto::new(kind).expect("libipsec-mb1 is installed where the tests run")
}

fn suites() -> Vec<Suite> {
    Suite::all().chain(Suite::unprotected(Encryption::Aes128Cbc)).collect()
}

/// Bytes that differ from packet to packet and repeat from run to run.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn key(engine: &CpuCrypto, suite: Suite, direction: Direction, seed: u64) -> KeyRecord {
    let bytes = noise(seed, suite.keymat_len());
    let (enc, rest) = bytes.split_at(suite.encryption().key_len());
    let (salt, integ) = rest.split_at(suite.salt_len());
    engine.new_key(suite, direction, enc, salt, integ).unwrap()
}

#[derive(Clone, Debug)]
struct Packet {
    suite: Suite,
    seed: u64,
    payload: usize,
    misalign: usize,
    seq_high: Option<u32>,
    flip: prop::sample::Index,
}
impl Packet {
    /// SPI to ICV, in a buffer that starts `misalign` bytes off.
    fn buffer(&self) -> Vec<u8> {
        let blocks = self.payload.next_multiple_of(self.suite.encryption().pad_to()).max(16);
        noise(self.seed ^ 0x5555, self.misalign + 8 + self.suite.iv_len() + blocks + self.suite.icv_len())
    }
}
fn packet() -> impl Strategy<Value = Packet> {
    let payload = prop_oneof![0..9217usize, 0..200usize];
    let high = prop_oneof![Just(None), any::<u32>().prop_map(Some)];
    let suite = prop::sample::select(Suite::all().collect::<Vec<_>>());
    (suite, 0..4u64, payload, 0..64usize, high, any::<prop::sample::Index>()).prop_map(
        |(suite, seed, payload, misalign, seq_high, flip)| Packet {
            suite,
            seed,
            payload,
            misalign,
            seq_high,
            flip,
        },
    )
}

/// One burst through one engine; packets whose suite it lacks stay `None`.
fn run(
    kind: CpuEngineKind,
    direction: Direction,
    packets: &[Packet],
    buffers: &[Vec<u8>],
) -> Vec<Option<(bool, Vec<u8>)>> {
    let mut engine = engine(kind);
    let keys: Vec<_> = packets
        .iter()
        .map(|p| kind.supports(p.suite).then(|| key(&engine, p.suite, direction, p.seed)))
        .collect();
    let mut buffers = buffers.to_vec();
    let mut ops: Vec<EspOp> = packets
        .iter()
        .zip(&keys)
        .zip(&mut buffers)
        .filter_map(|((p, key), buffer)| {
            Some(EspOp {
                key: key.as_ref()?,
                esp: &mut buffer[p.misalign..],
                seq_high: p.seq_high,
                ok: false,
            })
        })
        .collect();
    match direction {
        Direction::Outbound => engine.seal(&mut ops),
        Direction::Inbound => engine.open(&mut ops),
    }
    let mut verdicts = ops.iter().map(|op| op.ok).collect::<Vec<_>>().into_iter();
    drop(ops);
    keys.iter()
        .zip(buffers)
        .map(|(key, buffer)| key.as_ref().map(|_| (verdicts.next().unwrap(), buffer)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn engines_agree_on_mixed_bursts(packets in prop::collection::vec(packet(), 1..100)) {
        let clear: Vec<_> = packets.iter().map(Packet::buffer).collect();
        let oracle = run(CpuEngineKind::RustCrypto, Direction::Outbound, &packets, &clear);
        let sealed: Vec<_> = oracle.iter().map(|o| o.clone().unwrap().1).collect();
        for (n, (verdict, _)) in oracle.iter().flatten().enumerate() {
            prop_assert!(verdict, "{:?} sealed", packets[n]);
        }
        for kind in CpuEngineKind::ALL {
            for (n, outcome) in run(kind, Direction::Outbound, &packets, &clear).into_iter().enumerate() {
                prop_assert!(outcome.is_none_or(|o| o == (true, sealed[n].clone())), "{kind} seals {:?}", packets[n]);
            }
            for (n, outcome) in run(kind, Direction::Inbound, &packets, &sealed).into_iter().enumerate() {
                let Some((verdict, opened)) = outcome else { continue };
                let icv_at = opened.len() - packets[n].suite.icv_len();
                prop_assert!(verdict, "{kind} opens {:?}", packets[n]);
                prop_assert!(opened[..icv_at] == clear[n][..icv_at], "{kind} opens {:?} to the clear text", packets[n]);
            }
        }
    }

    //= test rfc4303#3.4.4/integrity-checked
    #[test]
    fn one_flipped_bit_is_refused_and_leaves_no_plaintext(packets in prop::collection::vec(packet(), 1..40)) {
        let clear: Vec<_> = packets.iter().map(Packet::buffer).collect();
        let mut sealed: Vec<_> = run(CpuEngineKind::RustCrypto, Direction::Outbound, &packets, &clear)
            .into_iter().map(|o| o.unwrap().1).collect();
        for (p, buffer) in packets.iter().zip(&mut sealed) {
            let bit = p.flip.index((buffer.len() - p.misalign) * 8);
            buffer[p.misalign + bit / 8] ^= 1 << (bit % 8);
        }
        for kind in CpuEngineKind::ALL {
            for (n, outcome) in run(kind, Direction::Inbound, &packets, &sealed).into_iter().enumerate() {
                let Some((verdict, opened)) = outcome else { continue };
                let p = &packets[n];
                prop_assert!(!verdict, "{kind} accepts a changed {p:?}");
                let text = p.misalign + 8 + p.suite.iv_len()..opened.len() - p.suite.icv_len();
                if p.suite.encryption() != Encryption::Null {
                    let shared = opened[text.clone()].iter().zip(&clear[n][text]).filter(|(a, b)| a == b).count();
                    prop_assert!(shared < 16 + opened.len() / 64, "{kind} leaks plaintext of {p:?}");
                }
            }
        }
    }

    //= test rfc4303#2.2.1/esn-hashed
    #[test]
    fn another_high_half_is_refused(packets in prop::collection::vec(packet(), 1..20)) {
        let clear: Vec<_> = packets.iter().map(Packet::buffer).collect();
        let sealed: Vec<_> = run(CpuEngineKind::RustCrypto, Direction::Outbound, &packets, &clear)
            .into_iter().map(|o| o.unwrap().1).collect();
        let other: Vec<_> = packets.iter().cloned().map(|mut p| {
            p.seq_high = p.seq_high.map_or(Some(0), |h| if h & 1 == 0 { None } else { Some(h.wrapping_add(1)) });
            p
        }).collect();
        for kind in CpuEngineKind::ALL {
            for (verdict, _) in run(kind, Direction::Inbound, &other, &sealed).into_iter().flatten() {
                prop_assert!(!verdict, "{kind}");
            }
        }
    }
}

/// Every length from nothing up to a packet that is just long enough, and the payloads no cipher can have made.
#[test]
fn impossible_lengths_are_refused_without_harm() {
    for suite in suites() {
        for kind in CpuEngineKind::ALL.into_iter().filter(|k| k.supports(suite)) {
            let mut engine = engine(kind);
            for direction in [Direction::Outbound, Direction::Inbound] {
                let key = key(&engine, suite, direction, 1);
                for seq_high in [None, Some(7)] {
                    let least = 8 + suite.iv_len() + suite.icv_len();
                    for len in 0..least + 48 {
                        let mut bytes = noise(len as u64, len);
                        let mut ops = [EspOp { key: &key, esp: &mut bytes, seq_high, ok: true }];
                        let sealing = direction == Direction::Outbound;
                        if sealing {
                            engine.seal(&mut ops)
                        } else {
                            engine.open(&mut ops)
                        }
                        let text = len.checked_sub(least);
                        // libipsec-mb is not asked to encrypt nothing.
                        let (cipher, mb) = (suite.encryption(), kind == CpuEngineKind::IpsecMb);
                        let some = cipher.block_len() > 1
                            || mb && matches!(cipher.mode(), CipherMode::Ctr | CipherMode::Ccm);
                        let possible =
                            text.is_some_and(|n| n.is_multiple_of(cipher.block_len()) && (n > 0 || !some));
                        assert_eq!(
                            ops[0].ok,
                            possible && (sealing || !suite.is_protected()),
                            "{kind} {suite} {direction:?} {len} bytes"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_key_of_the_other_direction_or_of_an_absent_engine_is_refused() {
    let (mut mb, mut ring) = (engine(CpuEngineKind::IpsecMb), engine(CpuEngineKind::Ring));
    for suite in suites().into_iter().filter(|suite| CpuEngineKind::IpsecMb.supports(*suite)) {
        let (inbound, outbound) =
            (key(&mb, suite, Direction::Inbound, 1), key(&mb, suite, Direction::Outbound, 1));
        let clear = noise(1, 8 + suite.iv_len() + 64 + suite.icv_len());
        for (engine, key, seals) in [(&mut mb, &inbound, true), (&mut ring, &outbound, true)] {
            let mut bytes = clear.clone();
            let mut ops = [EspOp { key, esp: &mut bytes, seq_high: None, ok: true }];
            if seals {
                engine.seal(&mut ops)
            } else {
                engine.open(&mut ops)
            }
            assert!(!ops[0].ok, "{suite}");
            assert_eq!(bytes, clear, "{suite}");
        }
        let mut bytes = clear.clone();
        let mut ops = [EspOp { key: &outbound, esp: &mut bytes, seq_high: None, ok: true }];
        mb.open(&mut ops);
        assert!(!ops[0].ok && bytes == clear, "{suite}");
    }
}

#[test]
fn each_suite_runs_on_the_first_engine_of_the_list_that_has_it() {
    use CpuEngineKind::{IpsecMb, Native, Ring, RustCrypto};
    let list = CpuCrypto::with_order(&[Ring, RustCrypto, IpsecMb]).unwrap();
    for suite in suites() {
        use Encryption::{Aes128Gcm, Aes256Gcm, ChaCha20Poly1305};
        let on_ring = matches!(suite.encryption(), Aes128Gcm | Aes256Gcm | ChaCha20Poly1305);
        let expected = if on_ring { Ring } else { RustCrypto };
        assert_eq!(key(&list, suite, Direction::Inbound, 1).engine(), expected, "{suite}");
    }
    let gcm192 = Suite::new(Encryption::Aes192Gcm, Integrity::None).unwrap();
    assert!(engine(Ring).new_key(gcm192, Direction::Inbound, &[0; 24], &[0; 4], &[]).is_err());
    assert!(!engine(Ring).supports(gcm192) && list.supports(gcm192));
    let list = CpuCrypto::with_order(&[Native, IpsecMb, RustCrypto]).unwrap();
    for suite in suites() {
        let expected = match suite.encryption() {
            e if e.is_aes_gcm() => Native,
            e if matches!(e.cipher(), Cipher::Blowfish | Cipher::Twofish | Cipher::Camellia) => RustCrypto,
            Encryption::Aes192Ccm8 | Encryption::Aes192Ccm12 | Encryption::Aes192Ccm => RustCrypto,
            _ if !suite.is_protected() => RustCrypto,
            _ => IpsecMb,
        };
        assert_eq!(key(&list, suite, Direction::Inbound, 1).engine(), expected, "{suite}");
    }
    assert!(CpuCrypto::with_order(&[]).is_err());
}

#[test]
fn keys_of_the_wrong_length_are_refused() {
    for suite in suites() {
        for kind in CpuEngineKind::ALL.into_iter().filter(|k| k.supports(suite)) {
            let engine = engine(kind);
            let (e, s, i) = (suite.encryption().key_len(), suite.salt_len(), suite.integrity().key_len());
            let make =
                |e, s, i| engine.new_key(suite, Direction::Inbound, &vec![1; e], &vec![1; s], &vec![1; i]);
            assert!(make(e, s, i).is_ok());
            assert!(make(e + 1, s, i).is_err() && make(e, s + 1, i).is_err() && make(e, s, i + 1).is_err());
        }
    }
}

#[test]
fn names_are_those_of_the_configuration() {
    for kind in CpuEngineKind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
    }
    assert!("openssl".parse::<CpuEngineKind>().unwrap_err().to_string().contains("ipsec-mb"));
}

/// What a log line could show of a key.
#[test]
fn debug_output_of_a_key_tells_suite_and_engine_only() {
    let suite = Suite::new(Encryption::Aes128Gcm, Integrity::None).unwrap();
    let record =
        engine(CpuEngineKind::Ring).new_key(suite, Direction::Inbound, &[0xab; 16], &[0xcd; 4], &[]).unwrap();
    assert_eq!(format!("{record:?}"), "KeyRecord(aes-128-gcm on ring)");
}
