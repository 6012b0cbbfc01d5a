//! Every kind of port this machine can have, under the real process.
use crate::frames::{listen, received};
use crate::support::{Gateway, PATIENCE, Wire, addresses, frame, mac_of, site, system, udp, unhex};
use crate::takeover::connect;
use anyhow::{Context, Result, ensure};
use harness::lab::{Plan, Site};
use harness::traffic::{expect_pings, ping_until_up};
use harness::{Lab, NumberedFlow, Side, wait_until};
use ipc::PortCounters;
use sa::DropReason;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

fn lab(site_a: Site, site_b: Site, body: impl FnOnce(&Lab) -> Result<()>) {
    let result = Lab::run(&Plan::new(site_a, site_b), body);
    result.unwrap_or_else(|error| panic!("{error:#}"));
}
fn config(side: Side, wan: &str, lan: &str) -> String {
    system(side.letter(), "")
        + &format!("interface:\n  - {{name: wan, device: \"{wan}\"}}\n  - {{name: lan, device: \"{lan}\"}}\n")
        + &addresses(side)
}
/// A host behind site A and the router, both families, and a flow.
fn forwards(lab: &Lab, gateway: &mut Gateway) -> Result<()> {
    lab.wan.ip(&format!("route add {} via {}\n", Side::A.subnet4(), Side::A.wan4()))?;
    lab.wan.ip(&format!("route add {} via {}\n", Side::A.subnet6(), Side::A.wan6()))?;
    gateway.commit(&[])?;
    let host = lab.host(Side::A);
    for router in [Side::A.router4(), Side::A.router6()] {
        ping_until_up(host, router, PATIENCE)?;
        expect_pings(host, router, 20)?;
    }
    let (from, to) = ((host, Side::A.host4()), (&lab.wan, Side::A.router4()));
    let flow = NumberedFlow::start(from, to, 1200, 400)?;
    flow.let_pass(400)?;
    flow.finish()?.expect_whole(400)
}
fn port(gateway: &Gateway, name: &str) -> Result<PortCounters> {
    let ports = gateway.statistics()?.ports();
    ports.into_iter().find(|p| p.name == name).with_context(|| format!("no port {name}"))
}

#[test]
fn af_xdp() {
    lab(Site::Dpdk, Site::Kernel, |lab| {
        let site = lab.site(Side::A);
        let mut gateway =
            Gateway::start(lab, site, "fastpath", &config(Side::A, "af-xdp:wan0", "af-xdp:lan0"))?;
        forwards(lab, &mut gateway)?;
        ensure!(site.run("ip link show wan0")?.contains("xdp"), "it is not AF_XDP that carried it");
        fragments(lab, &mut gateway)?;
        gateway.stop()?;
        for link in ["wan0", "lan0"] {
            let shown = site.run(&format!("ip link show {link}"))?;
            ensure!(!shown.contains("xdp"), "the XDP program is left: {shown}");
        }
        Ok(())
    });
}

/// What the router's kernel fragments reaches the slow path whole. (An AF_PACKET port would get it whole.)
fn fragments(lab: &Lab, gateway: &mut Gateway) -> Result<()> {
    let message: Vec<u8> = (0..3500u32).map(|n| n as u8).collect();
    for (near, far) in [(Side::A.wan4(), Side::A.router4()), (Side::A.wan6(), Side::A.router6())] {
        for (port, marker) in [(500, &[][..]), (4500, &[0; 4])] {
            let [near, far] = [near, far].map(|address| SocketAddr::new(address, port));
            listen(lab, far)?.send_to(&[marker, &message].concat(), near)?;
            let (meta, payload) = received(gateway).with_context(|| format!("from {far}"))?;
            ensure!((meta.local, meta.remote) == (near, far) && payload == message, "{meta:?}");
        }
        // What is for the host's own programs may be larger than any buffer.
        let (site, bits) = (lab.site(Side::A), if near.is_ipv4() { 32 } else { 128 });
        let nodad = if near.is_ipv4() { "" } else { "nodad" };
        site.ip(&format!(
            "addr replace {near}/{bits} dev x-wan {nodad}\nroute replace {far}/{bits} dev x-wan\n"
        ))?;
        let [near, far] = [near, far].map(|address| SocketAddr::new(address, 7777));
        let bound = site.enter(move || Ok(UdpSocket::bind(near)?)).join().expect("no panic");
        let socket = bound.with_context(|| format!("binding {near}"))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        listen(lab, far)?.send_to(&[&message[..], &message].concat(), near)?;
        let mut got = vec![0; 10_000];
        let (len, from) = socket.recv_from(&mut got).context("the host's program got nothing")?;
        ensure!(from == far && got[..len] == [&message[..], &message].concat(), "{len} bytes from {from}");
    }
    Ok(())
}

#[test]
fn too_few_buffers_for_the_ports_are_told_with_the_number_that_is_enough() {
    lab(Site::Dpdk, Site::Kernel, |lab| {
        let config = config(Side::A, "af-xdp:wan0", "af-xdp:lan0").replace("buffers: 16384", "buffers: 8191");
        let mut gateway = Gateway::launch(lab, lab.site(Side::A), "fastpath", &config)?;
        let status = gateway.process.wait(PATIENCE)?;
        ensure!(status.code() == Some(1), "{status}");
        let log = gateway.process.log();
        ensure!(log.contains("system.buffers is 8191") && log.contains("can hold 8192"), "{log}");
        Ok(())
    });
}

/// Both workers have a queue of each, and the driver spreads the flows.
#[test]
fn taps_as_ports_of_two_workers() {
    lab(Site::Taps, Site::Kernel, |lab| {
        let config =
            config(Side::A, "tap:tw0", "tap:tl0").replace("hugepages", "workers: [0, 1]\n  hugepages");
        let site = lab.site(Side::A);
        let mut gateway = Gateway::start(lab, site, "fastpath", &config)?;
        lab.attach_taps(Side::A, "tw0", "tl0")?;
        forwards(lab, &mut gateway)?;
        gateway.stop()?;
        let left = lab.wan.run("ip -br link")?;
        ensure!(!left.contains(Lab::wan_link(Side::A)), "a TAP is left: {left}");
        Ok(())
    });
}

/// Whatever socket the kernel puts a flow on, it is read.
#[test]
fn several_sockets_on_one_interface() {
    lab(Site::Dpdk, Site::Kernel, |lab| {
        let config = config(Side::A, "af-packet:wan0,qpairs=3", "af-packet:lan0,qpairs=2");
        let mut gateway = Gateway::start(lab, lab.site(Side::A), "fastpath", &config)?;
        forwards(lab, &mut gateway)?;
        // Each `ping` and each flow is another one.
        for _ in 0..20 {
            expect_pings(lab.host(Side::A), Side::A.router4(), 2)?;
        }
        gateway.stop().map(drop)
    });
}

/// AF_XDP carries what fits a page of the kernel's.
#[test]
fn frames_larger_than_ethernets() {
    let plan = Plan { wan_mtu: 3400, lan_mtu: 3400, ..Plan::new(Site::Dpdk, Site::Kernel) };
    let result = Lab::run(&plan, |lab| {
        let config = config(Side::A, "af-xdp:wan0", "af-xdp:lan0").replace("0\"}", "0\", mtu: 3400}");
        lab.site(Side::A).ip("link set wan0 mtu 3400\nlink set lan0 mtu 3400\n")?;
        let mut gateway = Gateway::start(lab, lab.site(Side::A), "fastpath", &config)?;
        forwards(lab, &mut gateway)?;
        for router in [Side::A.router4(), Side::A.router6()] {
            lab.host(Side::A).run(&format!("ping -c 3 -i 0.1 -M do -s 3300 -W 5 {router}"))?;
        }
        gateway.stop().map(drop)
    });
    result.unwrap_or_else(|error| panic!("{error:#}"));
}

/// The other end of a shared-memory port is not there: what is for it is dropped, the rest goes on.
#[test]
fn a_port_that_takes_nothing_holds_nobody_up() {
    lab(Site::Dpdk, Site::Kernel, |lab| {
        let nobody = format!("\"vhost-user:{}\"", lab.file("nobody").display());
        let config = site(Side::A, "").replace(
            "ip:\n  address:\n",
            &format!(
                "  - {{name: guest, device: {nobody}}}\n\
                 ip:\n  address:\n    - {{address: 192.0.2.1/22, interface: guest}}\n"
            ),
        );
        let mut gateway = Gateway::start(lab, lab.site(Side::A), "fastpath", &config)?;
        gateway.commit(&[])?;
        let mut lan = Wire::tap(lab.host(Side::A), "lan0")?;
        let to = mac_of(lab.site(Side::A), "lan0")?;
        // Each of them is asked for by ARP.
        let packets: Vec<_> = (2..802u32)
            .map(|n| udp(Side::A.host4(), IpAddr::from(Ipv4Addr::from(0xc000_0000 + 0x200 + n)), 9, 64, b"?"))
            .map(|packet| frame(&to, &lan.mac, &packet))
            .collect();
        lan.send(&packets)?;
        forwards(lab, &mut gateway)?;
        ensure!(gateway.drops(DropReason::TxFull) > 0, "{:?}", gateway.all_drops());
        gateway.stop().map(drop)
    });
}

/// A killed process leaves a socket and XDP programs behind; the next one takes their place.
#[test]
fn killed_and_started_again() {
    lab(Site::Dpdk, Site::Kernel, |lab| {
        let site = lab.site(Side::A);
        let config = config(Side::A, "af-xdp:wan0", "af-packet:lan0");
        let mut first = Gateway::start(lab, site, "fastpath", &config)?;
        forwards(lab, &mut first)?;
        first.process.kill()?;
        let links = site.run("ip -br link")?;
        ensure!(!links.contains("x-"), "a TAP outlives its process: {links}");
        let mut second = Gateway::start(lab, site, "fastpath", &config)?;
        second.commit(&[])?;
        for router in [Side::A.router4(), Side::A.router6()] {
            ping_until_up(lab.host(Side::A), router, PATIENCE)?;
            expect_pings(lab.host(Side::A), router, 20)?;
        }
        drop(first);
        second.stop().map(drop)
    });
}

/// Two gateways whose WAN is shared memory, with an ESP tunnel over it.
fn back_to_back(first: &str, second: &str) {
    lab(Site::Dpdk, Site::Dpdk, |lab| {
        let socket = lab.file("cable").display().to_string();
        let start = |side: Side, device: &str| {
            // Both on one link: what was the router is the other gateway.
            let config = config(side, &device.replace("SOCKET", &socket), "af-packet:lan0")
                .replace(&format!("gateway: {}}}", side.router4()), &format!("gateway: {}}}", link(side.other())))
                .replace(&format!("gateway: \"{}\"", side.router6()), &format!("gateway: \"{}\"", link6(side.other())))
                .replace("ip:\n  address:\n", &format!(
                    "ip:\n  address:\n    - {{address: {}/24, interface: wan}}\n    - {{address: \"{}/64\", interface: wan}}\n",
                    link(side),
                    link6(side)
                ));
            Gateway::start(lab, lab.site(side), &format!("fastpath-{}", side.letter()), &config)
        };
        let mut a = start(Side::A, first)?;
        let mut b = start(Side::B, second)?;
        connect(&mut a, &mut b)?;
        for far in [Side::B.host4(), Side::B.host6()] {
            ping_until_up(lab.host(Side::A), far, PATIENCE)?;
        }
        let (from, to) = ((lab.host(Side::A), Side::A.host4()), (lab.host(Side::B), Side::B.host4()));
        let flow = NumberedFlow::start(from, to, 1200, 400)?;
        flow.let_pass(400)?;
        flow.finish()?.expect_whole(400)?;
        a.expect_drops(DropReason::NoRoute, 0)?;
        a.stop()?;
        b.stop()?;
        ensure!(!std::path::Path::new(&socket).exists(), "the socket is left");
        Ok(())
    });
}
fn link(side: Side) -> &'static str {
    if side == Side::A { "192.0.2.1" } else { "192.0.2.2" }
}
fn link6(side: Side) -> &'static str {
    if side == Side::A { "2001:db8:c::1" } else { "2001:db8:c::2" }
}

#[test]
fn memif_back_to_back() {
    back_to_back("memif:SOCKET,role=server,id=1", "memif:SOCKET,role=client,id=1");
}
#[test]
fn vhost_user_and_virtio_back_to_back() {
    back_to_back("vhost-user:SOCKET", "virtio:SOCKET");
}

/// A capture file of these frames: Ethernet, microseconds, little endian (the classic format).
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1]);
    for frame in frames {
        let len = frame.len() as u32;
        file.extend(words(&[1, 0, len, len]));
        file.extend_from_slice(frame);
    }
    file
}

#[test]
fn a_capture_file_in_and_another_one_out() {
    lab(Site::Dpdk, Site::Kernel, |lab| {
        let (rx, tx) = (lab.file("in.pcap"), lab.file("out.pcap"));
        let arp = unhex(
            "ffffffffffff0200000000990806000108000604000102000000009\
                         9c6336409000000000000c6336402",
        );
        std::fs::write(&rx, pcap(&[arp, vec![0xee; 30]]))?;
        let config = config(Side::A, &format!("pcap:{},{}", rx.display(), tx.display()), "null")
            .replace("\"}\n  - {name: lan", "\", mac-address: \"02:00:00:00:00:77\"}\n  - {name: lan");
        let gateway = Gateway::start(lab, lab.site(Side::A), "fastpath", &config)?;
        gateway.expect_drops(DropReason::NotForUs, 1)?;
        // The announcements of both addresses, and the answer.
        wait_until("the answer", Duration::from_secs(10), || {
            ensure!(port(&gateway, "wan")?.tx_packets == 3, "{:?}", port(&gateway, "wan")?);
            Ok(())
        })?;
        gateway.stop()?;
        let rows = harness::capture::tshark(
            &tx,
            &Default::default(),
            "arp.opcode == 2",
            &["eth.src", "eth.dst", "arp.src.proto_ipv4"],
        )?;
        let wanted = ["02:00:00:00:00:77", "02:00:00:00:00:99", "198.51.100.2"].map(String::from).to_vec();
        ensure!(rows == [wanted], "{rows:?}");
        Ok(())
    });
}

#[test]
fn null_and_ring() {
    lab(Site::Dpdk, Site::Kernel, |lab| {
        let config = config(Side::A, "ring:loop", "null");
        let mut gateway = Gateway::start(lab, lab.site(Side::A), "fastpath", &config)?;
        gateway.commit(&[])?;
        // The ring gives back what was announced on it; nobody takes it for a neighbour's.
        wait_until("announcements", Duration::from_secs(10), || {
            let (ring, null) = (port(&gateway, "wan")?, port(&gateway, "lan")?);
            ensure!(
                ring.rx_packets >= 2 && ring.tx_packets >= 2 && null.tx_packets >= 2,
                "{ring:?} {null:?}"
            );
            ensure!(null.rx_packets == 0);
            Ok(())
        })?;
        let log = gateway.stop()?;
        let ports: Vec<_> = log.lines().filter(|line| line.contains("port started")).collect();
        ensure!(ports.len() == 2 && ports.iter().all(|l| !l.contains("mac=00:00:00:00:00:00")), "{ports:?}");
        Ok(())
    });
}

#[test]
fn an_address_of_ones_own_and_a_small_mtu() {
    lab(Site::Dpdk, Site::Kernel, |lab| {
        let config = site(Side::A, "")
            .replace("af-packet:lan0", "af-packet:lan0, mtu: 1280, mac-address: \"02:12:34:56:78:9a\"");
        let mut gateway = Gateway::start(lab, lab.site(Side::A), "fastpath", &config)?;
        gateway.commit(&[])?;
        let host = lab.host(Side::A);
        ping_until_up(host, Side::A.lan4(), PATIENCE)?;
        let seen = host.run("ip neigh show dev lan0")?;
        ensure!(seen.contains("02:12:34:56:78:9a"), "{seen}");
        ensure!(mac_of(lab.site(Side::A), "lan0")? != "02123456789a", "the veth has it by itself");
        let mtu = lab.site(Side::A).run("cat /sys/class/net/lan0/mtu")?;
        ensure!(mtu.trim() == "1280", "{mtu}");
        gateway.stop().map(drop)
    });
}
