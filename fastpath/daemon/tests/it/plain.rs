//! A router before it is an IPsec gateway: policies loaded or not, ARP and ND, ICMP, VLANs, the host behind the TAPs.
use crate::support::{Gateway, PATIENCE, Wire, frame, mac_of, site_a, udp, unhex};
use anyhow::{Result, ensure};
use harness::lab::{Plan, Site};
use harness::traffic::{expect_pings, ping_until_up};
use harness::{Lab, Netns, Side};
use sa::DropReason;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

/// Site A is ours, site B is Linux, and the router in between knows the way back.
fn lab(body: impl FnOnce(&Lab) -> Result<()>) {
    let plan = Plan::new(Site::Dpdk, Site::Kernel);
    let result = Lab::run(&plan, |lab| {
        for side in Side::BOTH {
            let line = |net: String, via: IpAddr| format!("route add {net} via {via}\n");
            lab.wan.ip(&line(side.subnet4(), side.wan4()))?;
            lab.wan.ip(&line(side.subnet6(), side.wan6()))?;
        }
        body(lab)
    });
    result.unwrap_or_else(|error| panic!("{error:#}"));
}

/// What `ping` prints when it gets no answer.
fn failing_ping(ns: &Netns, words: &str) -> Result<String> {
    let mut command = ns.command("ping");
    let out = command.args(words.split(' ')).output()?;
    ensure!(!out.status.success(), "ping {words} was answered");
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

#[test]
fn nothing_is_forwarded_before_the_policies_are_loaded() {
    lab(|lab| {
        let mut gateway = Gateway::start(lab, lab.site(Side::A), "fastpath", &site_a(""))?;
        let host = lab.host(Side::A);
        for address in [Side::B.host4(), Side::B.host6()] {
            failing_ping(host, &format!("-c 3 -i 0.01 -W 0.5 {address}"))?;
        }
        gateway.expect_drops(DropReason::PolicyNotLoaded, 6)?;
        // What they looked like is kept, the same ones under one count; and the worker says that it had work.
        let stats = gateway.statistics()?;
        let recent = stats.recent_drops();
        for (src, dst, protocol, echo) in
            [(Side::A.host4(), Side::B.host4(), 1, 0x0800), (Side::A.host6(), Side::B.host6(), 58, 0x8000)]
        {
            let reason = DropReason::PolicyNotLoaded;
            let ports = Some((echo, echo));
            let wanted = ipc::LostPacket { reason, src, dst, protocol, ports, spi: 0 };
            let kept = recent.iter().find(|drop| drop.packet == wanted);
            ensure!(kept.is_some_and(|drop| drop.count == 3 && drop.last <= stats.clock()), "{recent:?}");
        }
        let loads = stats.worker_counters();
        let load = loads.first().copied().unwrap_or_default();
        ensure!(load.packets >= 6 && load.bursts > 0 && load.busy_turns <= load.turns, "{loads:?}");
        ensure!(load.busy_ns > 0 && load.idle_ns > 0, "{loads:?}");
        gateway.commit(&[])?;
        for address in [Side::B.host4(), Side::B.host6()] {
            ping_until_up(host, address, PATIENCE)?;
            expect_pings(host, address, 50)?;
        }
        ensure!(gateway.drops(DropReason::PolicyNotLoaded) == 6, "{:?}", gateway.all_drops());
        gateway.stop().map(drop)
    });
}

#[test]
fn the_gateway_answers_for_itself_and_reports_errors() {
    lab(|lab| {
        let config = site_a("").replace("af-packet:wan0", "af-packet:wan0, mtu: 1300");
        let mut gateway = Gateway::start(lab, lab.site(Side::A), "fastpath", &config)?;
        gateway.commit(&[])?;
        let host = lab.host(Side::A);
        for address in [Side::A.lan4(), Side::A.lan6(), Side::A.wan4(), Side::A.wan6()] {
            expect_pings(host, address, 5)?;
        }
        for (address, from) in [(Side::B.host4(), Side::A.lan4()), (Side::B.host6(), Side::A.lan6())] {
            ping_until_up(host, address, PATIENCE)?;
            let said = failing_ping(host, &format!("-c 1 -t 1 -W 3 {address}"))?;
            ensure!(said.contains("xceeded") && said.contains(&from.to_string()), "{said}");
            // 1350 bytes of payload fit the host's link and not the gateway's.
            let said = failing_ping(host, &format!("-c 1 -M do -s 1350 -W 3 {address}"))?;
            ensure!(said.contains("1300"), "{said}");
            // The host has learnt it: now it refuses by itself, or cuts where it may.
            expect_pings(host, address, 5)?;
        }
        gateway.expect_drops(DropReason::TtlExpired, 2)?;
        gateway.expect_drops(DropReason::TooBig, 2)?;
        gateway.stop().map(drop)
    });
}

#[test]
fn routes_by_length_and_distance_and_into_black_holes() {
    lab(|lab| {
        let config = site_a("")
            + "    - {dst-address: 10.2.0.0/25, gateway: 198.51.100.77, distance: 9}\n\
               \x20   - {dst-address: 10.2.0.0/25, gateway: 198.51.100.1, distance: 2}\n\
               \x20   - {dst-address: 203.0.113.0/24, blackhole: yes}\n";
        let mut gateway = Gateway::start(lab, lab.site(Side::A), "fastpath", &config)?;
        gateway.commit(&[])?;
        let host = lab.host(Side::A);
        ping_until_up(host, Side::B.host4(), PATIENCE)?;
        expect_pings(host, Side::B.host4(), 5)?;
        // The default route would have reached it.
        let said = failing_ping(host, &format!("-c 3 -i 0.01 -W 0.5 {}", Side::B.wan4()))?;
        ensure!(said.contains("Unreachable"), "{said}");
        gateway.expect_drops(DropReason::NoRoute, 3)?;
        let recent = gateway.statistics()?.recent_drops();
        ensure!(
            recent.iter().any(|d| d.packet.dst == Side::B.wan4() && d.packet.reason == DropReason::NoRoute)
        );
        // A next hop that nobody has: the packet waited for it, on the main lcore.
        let silent: IpAddr = "198.51.100.99".parse()?;
        failing_ping(host, &format!("-c 1 -W 5 {silent}"))?;
        gateway.expect_drops(DropReason::NoNeighbour, 1)?;
        let recent = gateway.statistics()?.recent_drops();
        ensure!(recent.iter().any(|d| d.packet.dst == silent && d.packet.reason == DropReason::NoNeighbour));
        gateway.stop().map(drop)
    });
}

#[test]
fn vlans_are_interfaces_of_their_own() {
    lab(|lab| {
        let config = site_a("").replace(
            "ip:\n  address:\n",
            "  - {name: guests, vlan: {interface: lan, vlan-id: 20}}\n\
             ip:\n  address:\n    - {address: 10.20.0.1/24, interface: guests}\n\
             \x20   - {address: \"fd00:20::1/64\", interface: guests}\n",
        );
        let mut gateway = Gateway::start(lab, lab.site(Side::A), "fastpath", &config)?;
        gateway.commit(&[])?;
        lab.wan.ip(&format!("route add 10.20.0.0/24 via {}\n", Side::A.wan4()))?;
        let mut guest = Wire::tap(lab.host(Side::A), "lan0")?;
        let mut wan = Wire::tap(&lab.wan, Lab::wan_link(Side::A))?;
        let tag = |tag: u16, rest: &str| {
            format!(
                "send([raw(Ether(src='02:00:00:00:00:14', dst='ff:ff:ff:ff:ff:ff')/Dot1Q(vlan={tag})/{rest}).hex()])"
            )
        };
        // ARP both ways: we ask, it answers.
        let ask = "ARP(op=1, hwsrc='02:00:00:00:00:14', psrc='10.20.0.2', pdst='10.20.0.1')";
        guest.ask(&tag(21, ask))?;
        guest.ask(&tag(20, ask))?;
        guest.ask("collect_frames(tagged(20, lambda f: ARP in f and f.op == 2 and f.psrc == '10.20.0.1'), 1, 15)[0]")?;
        guest.expect_none("lambda f: f[12:16] == bytes.fromhex('81000015')")?;
        gateway.expect_drops(DropReason::NotForUs, 1)?;
        let our_mac = mac_of(lab.site(Side::A), "lan0")?;
        let payload = udp("10.20.0.2".parse()?, Side::B.host4(), 9, 64, b"out of the VLAN");
        guest.send(&[format!("{our_mac}02000000001481000014{}", &frame("", "", &payload))])?;
        let out = wan.collect("to_port(9)", 1)?;
        ensure!(unhex(&out[0])[28..] == *b"out of the VLAN", "{out:?}");
        // The way back, tagged again.
        let back = udp(Side::B.host4(), "10.20.0.2".parse()?, 10, 64, b"into the VLAN");
        wan.send(&[frame(&mac_of(lab.site(Side::A), "wan0")?, &wan.mac, &back)])?;
        let got = guest.ask("collect_frames(tagged(20, lambda f: UDP in f and f.dport == 10), 1, 15)[0]")?;
        let got = unhex(got.as_str().unwrap_or_default());
        ensure!(got[..6] == [2, 0, 0, 0, 0, 0x14] && got.ends_with(b"into the VLAN"), "{got:02x?}");
        gateway.stop().map(drop)
    });
}

/// One connection, some bytes each way.
fn talk(server: (&Netns, SocketAddr), client: &Netns) -> Result<()> {
    const ENOUGH: usize = 300_000;
    let address = server.1;
    let listener = server.0.enter(move || Ok(TcpListener::bind(address)?)).join().expect("no panic")?;
    let serve = std::thread::spawn(move || -> Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut got = vec![0; ENOUGH];
        stream.read_exact(&mut got)?;
        Ok(stream.write_all(&got)?)
    });
    let ask = client.enter(move || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let sent: Vec<u8> = (0..ENOUGH).map(|n| (n % 251) as u8).collect();
        stream.write_all(&sent)?;
        let mut got = vec![0; ENOUGH];
        stream.read_exact(&mut got)?;
        ensure!(got == sent, "the bytes changed on the way");
        Ok(())
    });
    ask.join().expect("no panic")?;
    serve.join().expect("no panic")
}

#[test]
fn the_host_lives_behind_the_exception_taps() {
    lab(|lab| {
        let site = lab.site(Side::A);
        let mut gateway = Gateway::start(lab, site, "fastpath", &site_a(""))?;
        gateway.commit(&[])?;
        for (ours, theirs) in [(Side::A.lan4(), Side::A.host4()), (Side::A.lan6(), Side::A.host6())] {
            talk((site, SocketAddr::new(ours, 7000)), lab.host(Side::A))?;
            talk((lab.host(Side::A), SocketAddr::new(theirs, 7000)), site)?;
        }
        // Beyond a route, on the other interface.
        talk((lab.host(Side::B), SocketAddr::new(Side::B.host4(), 7000)), site)?;
        talk((site, SocketAddr::new(Side::A.wan6(), 7000)), lab.host(Side::B))?;
        let links = site.run("ip -br link")?;
        ensure!(links.contains("x-wan") && links.contains("x-lan"), "{links}");
        gateway.stop()?;
        let links = site.run("ip -br link")?;
        ensure!(!links.contains("x-"), "a TAP is left: {links}");
        Ok(())
    });
}
