//! Everything that looks at bytes from a port before any key does: headers, flows, neighbour discovery.
#![no_main]
use libfuzzer_sys::fuzz_target;
use wire::{Flow, arp, esp, eth, icmp, ip, nd, udp};

fuzz_target!(|bytes: &[u8]| {
    let payload = eth::Frame::parse(bytes).map_or(bytes, |frame| &bytes[frame.payload_at..]);
    let _ = (arp::Arp::parse(payload), icmp::Header::parse(payload), nd::Neighbour::parse(payload));
    let _ =
        (esp::Header::parse(payload), esp::parse_trailer(payload), esp::nat_t(payload), udp::parse(payload));
    if let Ok(packet) = ip::Packet::parse(payload) {
        assert!(usize::from(packet.total_len) <= payload.len() && packet.upper_at <= packet.total_len);
        let flow = Flow::of(&packet, payload);
        assert_eq!(flow.reversed().reversed(), flow);
        // What a router changes leaves a packet that parses to the same flow.
        let mut edited = payload.to_vec();
        if ip::decrement_ttl(&mut edited).is_some() && ip::set_ecn(&mut edited, 3).is_some() {
            let again = ip::Packet::parse(&edited).expect("still a packet");
            assert_eq!(Flow::of(&again, &edited), flow);
        }
    }
});
