//! Looking on: what is copied of which packets, and what is said of each.
mod common;
use common::*;
use fastpath::offline::Gateway;
use ipc::contract::Command;
use ipc::watch::{Fate, FlowFilter, MAX_SNAP, Place, RuledWord, Sighting, Step, Subject, Watch};
use sa::*;

fn watch(of: Subject) -> Command {
    Command::Watch(Box::new(Watch { number: 7, of, snap: MAX_SNAP as u16, seconds: 60, packets: 1000 }))
}
fn inner(n: u8) -> Vec<u8> {
    udp(Side::A.host(false), Side::B.host(false), 1000 + u16::from(n), 53, &[n; 40])
}
fn policy_1() -> Subject {
    Subject::Policies(vec![PolicyId(1)])
}
/// The SA from A to B, watched at both ends.
fn pair(of: Subject) -> (Gateway, Gateway) {
    let [mut a, mut b] = [Side::A, Side::B].map(|side| side.gateway(&[a_to_b(side, "aes-128-gcm")]));
    a.apply(watch(of.clone())).unwrap();
    b.apply(watch(of)).unwrap();
    (a, b)
}
fn steps(sighting: &Sighting) -> Vec<Step> {
    sighting.trail.steps().collect()
}
const SPI: u32 = 0x1000_0021;

#[test]
fn a_packet_is_seen_before_and_after_on_both_sides() {
    let (mut a, mut b) = pair(policy_1());
    let plain = frame(Side::A, LAN, &inner(1));
    let (port, esp) = sent(&a.run(LAN, &plain));
    let [(before, bytes), (after, sealed)] = &a.sightings()[..] else { panic!("two sightings") };
    assert_eq!(
        (bytes, before.place, before.leaves, before.protected),
        (&plain, Place::Port(LAN), false, false)
    );
    assert_eq!(before.fate, Some(Fate::Sent { port }));
    assert_eq!(
        steps(before),
        [
            Step::Ruled { policy: 1, word: RuledWord::Protect(SPI) },
            Step::Framed { spi: SPI, number: 1, pieces: 1 },
            Step::Sealed { ok: true },
        ]
    );
    assert_eq!(
        (&sealed[14..], after.place, after.leaves, after.protected),
        (&esp[..], Place::Port(WAN), true, true)
    );
    assert_eq!((before.packet, after.packet, after.fate), (1, 1, None));

    let outer = frame(Side::B, WAN, &esp);
    let (port, opened) = sent(&b.run(WAN, &outer));
    let [(before, bytes), (after, clear)] = &b.sightings()[..] else { panic!("two sightings") };
    assert_eq!((bytes, before.protected, before.fate), (&outer, true, Some(Fate::Sent { port })));
    assert_eq!(
        steps(before),
        [
            Step::Esp { spi: SPI },
            Step::Admitted { spi: SPI, number: 1 },
            Step::Opened { ok: true },
            Step::Ruled { policy: 0, word: RuledWord::Pass },
        ]
    );
    assert_eq!((&clear[14..], after.place, after.protected), (&opened[..], Place::Port(LAN), false));
}
#[test]
fn a_drop_is_seen_with_its_reason_and_the_way_up_to_it() {
    let (mut a, mut b) = pair(policy_1());
    let (_, mut esp) = sent(&a.run(LAN, &frame(Side::A, LAN, &inner(1))));
    let outer = frame(Side::B, WAN, &esp);
    b.run(WAN, &outer);
    b.sightings();
    // The same again, and one that was changed on the way.
    b.run(WAN, &outer);
    let [(replayed, _)] = &b.sightings()[..] else { panic!("one sighting") };
    assert_eq!(replayed.fate, Some(Fate::Dropped(DropReason::ReplaySeen)));
    assert_eq!(steps(replayed), [Step::Esp { spi: SPI }]);
    let (_, next) = sent(&a.run(LAN, &frame(Side::A, LAN, &inner(2))));
    esp = next;
    *esp.last_mut().unwrap() ^= 1;
    b.run(WAN, &frame(Side::B, WAN, &esp));
    let [(forged, _)] = &b.sightings()[..] else { panic!("one sighting") };
    assert_eq!(forged.fate, Some(Fate::Dropped(DropReason::IcvMismatch)));
    assert_eq!(steps(forged).last(), Some(&Step::Opened { ok: false }));
    // In clear, although the policy protects it.
    b.run(WAN, &frame(Side::B, WAN, &inner(3)));
    let [(clear, _)] = &b.sightings()[..] else { panic!("one sighting") };
    assert_eq!(clear.fate, Some(Fate::Dropped(DropReason::ClearForProtected)));
    let word = RuledWord::Drop(DropReason::ClearForProtected);
    assert_eq!(steps(clear), [Step::Ruled { policy: 0, word }]);
}
#[test]
fn a_flow_is_found_in_clear_and_inside_of_a_tunnel() {
    let dst_port = Some(53);
    let filter = FlowFilter {
        dst: Some(prefix("10.2.0.10/32")),
        src_port: Some(1002),
        dst_port,
        ..FlowFilter::default()
    };
    let (mut a, mut b) = pair(Subject::Flow(filter));
    for n in 1..4 {
        let (_, esp) = sent(&a.run(LAN, &frame(Side::A, LAN, &inner(n))));
        sent(&b.run(WAN, &frame(Side::B, WAN, &esp)));
        let wanted = if n == 2 { 2 } else { 0 };
        assert_eq!((a.sightings().len(), b.sightings().len()), (wanted, wanted), "{n}");
    }
    assert_eq!((a.watched(), b.watched()), (Some((1, 0)), Some((1, 0))));
}
#[test]
fn an_sa_is_watched_and_no_other() {
    let sa = |slot| Subject::Sas(vec![(SaSlot(slot), Spi::new(SPI).unwrap())]);
    let (mut a, mut b) = pair(sa(1));
    let (_, esp) = sent(&a.run(LAN, &frame(Side::A, LAN, &inner(1))));
    sent(&b.run(WAN, &frame(Side::B, WAN, &esp)));
    assert_eq!((a.sightings().len(), b.sightings().len()), (2, 2));
    let other = Subject::Sas(vec![(SaSlot(2), Spi::new(SPI + 1).unwrap())]);
    a.apply(watch(other.clone())).unwrap();
    b.apply(watch(other)).unwrap();
    let (_, esp) = sent(&a.run(LAN, &frame(Side::A, LAN, &inner(2))));
    sent(&b.run(WAN, &frame(Side::B, WAN, &esp)));
    assert_eq!((a.sightings().len(), b.sightings().len()), (0, 0));
}
#[test]
fn copies_are_cut_bounded_and_counted_and_traffic_does_not_notice() {
    let mut a = Side::A.gateway(&[a_to_b(Side::A, "aes-128-gcm")]);
    let spec = Watch { number: 1, of: policy_1(), snap: 34, seconds: 60, packets: 600 };
    a.apply(Command::Watch(Box::new(spec))).unwrap();
    for _ in 0..700 {
        sent(&a.run(LAN, &frame(Side::A, LAN, &inner(1))));
    }
    // Two copies of each packet; the queue holds 512.
    assert_eq!(a.watched(), Some((600, 1200 - 512)));
    let seen = a.sightings();
    assert!(seen.len() == 512 && seen.iter().all(|(s, bytes)| bytes.len() == 34 && s.wire_len > 34));
    a.apply(Command::Unwatch { number: 2 }).unwrap();
    assert!(a.watched().is_some(), "another watch was meant");
    a.apply(Command::Unwatch { number: 1 }).unwrap();
    assert!(a.watched().is_none() && !a.run(LAN, &frame(Side::A, LAN, &inner(2))).is_empty());
}
