//! IKE between wire and slow path, and what is said about packets that came out of a tunnel.
use crate::support::{Gateway, PATIENCE, Wire, frame, mac_of, site_a, udp};
use crate::takeover::pair;
use anyhow::{Context, Result, ensure};
use harness::lab::{Plan, Site};
use harness::{Lab, Side, wait_until};
use ipc::{FrameKind, FrameMeta};
use sa::DropReason;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

pub fn received(gateway: &mut Gateway) -> Result<(FrameMeta, Vec<u8>)> {
    wait_until("a frame for the slow path", PATIENCE, || {
        let (meta, payload) = gateway.slow().next_frame().context("none")?;
        Ok((meta, payload.to_vec()))
    })
}
/// As the kernel of the router gets it: checksums right, fragments put together.
pub fn listen(lab: &Lab, at: SocketAddr) -> Result<UdpSocket> {
    let socket = lab.wan.enter(move || Ok(UdpSocket::bind(at)?)).join().expect("no panic")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

#[test]
fn ike_travels_both_ways_before_any_policy() {
    let result = Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let mut gateway = Gateway::start(lab, lab.site(Side::A), "fastpath", &site_a(""))?;
        for (near, far) in [(Side::A.wan4(), Side::A.router4()), (Side::A.wan6(), Side::A.router6())] {
            let [ike, nat_t] = [500, 4500].map(|port| SocketAddr::new(near, port));
            let (far500, far4500) = (SocketAddr::new(far, 500), SocketAddr::new(far, 4500));
            let (socket, nat_socket) = (listen(lab, far500)?, listen(lab, far4500)?);
            let meta = |local, remote, kind| FrameMeta { local, remote, kind };
            let ike_meta = meta(ike, far500, FrameKind::Ike);
            let nat_meta = meta(nat_t, far4500, FrameKind::Ike);
            socket.send_to(b"an IKE message", ike)?;
            ensure!(received(&mut gateway)? == (ike_meta, b"an IKE message".to_vec()));
            nat_socket.send_to(b"\0\0\0\0behind a marker", nat_t)?;
            ensure!(received(&mut gateway)? == (nat_meta, b"behind a marker".to_vec()));

            let mut got = vec![0; 20_000];
            let mut expect = |socket: &UdpSocket, from: SocketAddr, wanted: &[u8]| -> Result<()> {
                let (len, sender) = socket.recv_from(&mut got).context("nothing came")?;
                ensure!(sender == from && got[..len] == *wanted, "{len} bytes from {sender}");
                Ok(())
            };
            gateway.slow().send_frame(&ike_meta, b"an answer")?;
            expect(&socket, ike, b"an answer")?;
            gateway.slow().send_frame(&nat_meta, b"an answer")?;
            expect(&nat_socket, nat_t, b"\0\0\0\0an answer")?;
            gateway.slow().send_frame(&meta(nat_t, far4500, FrameKind::Raw), &[0xff])?;
            expect(&nat_socket, nat_t, &[0xff])?;
            // More than a frame holds: fragments, which the far end's kernel puts together.
            let long: Vec<u8> = (0..3500u32).map(|n| n as u8).collect();
            gateway.slow().send_frame(&ike_meta, &long)?;
            expect(&socket, ike, &long)?;
            nat_socket.send_to(&[0xff], nat_t)?;
        }
        gateway.expect_drops(DropReason::Keepalive, 2)?;
        ensure!(gateway.slow().next_frame().is_none());
        gateway.stop().map(drop)
    });
    result.unwrap_or_else(|error| panic!("{error:#}"));
}

/// Errors quote the packet they are about: about a decrypted one they may not leave in clear.
#[test]
fn errors_about_protected_packets_go_back_through_the_tunnel() {
    pair("", |lab, a, b| {
        let mut wan = Wire::tap(&lab.wan, Lab::wan_link(Side::A))?;
        let host = lab.host(Side::B);
        for (target, from) in [(Side::A.host4(), Side::A.lan4()), (Side::A.host6(), Side::A.lan6())] {
            // One hop for each gateway; the packet dies behind A's tunnel end.
            let out = host
                .command("ping")
                .args(["-c", "3", "-i", "0.1", "-t", "2", "-W", "5", &target.to_string()])
                .output()?;
            let said = String::from_utf8_lossy(&out.stdout);
            ensure!(said.contains("xceeded") && said.contains(&from.to_string()), "{said}");
        }
        a.expect_drops(DropReason::TtlExpired, 6)?;
        b.expect_drops(DropReason::TtlExpired, 0)?;
        wan.expect_none(
            "lambda f: ICMP in Ether(f) or (kind(f) or (0, 0))[:2] == (6, 58) and kind(f)[2][40] < 128",
        )?;
        Ok(())
    });
}

#[test]
fn the_hosts_own_packets_that_do_not_fit_are_answered() {
    pair("", |lab, _, _| {
        let site = lab.site(Side::A);
        for (near, far) in [(Side::A.lan4(), Side::B.host4()), (Side::A.lan6(), Side::B.host6())] {
            let (from, to) = (near.to_string(), far.to_string());
            // Through the tunnel, from the gateway's own address on the inside.
            let ping = |size: &str| -> Result<(bool, String)> {
                let words = ["-c", "2", "-i", "0.2", "-W", "3", "-M", "do", "-s", size, "-I", &from, &to];
                let out = site.command("ping").args(words).output()?;
                Ok((
                    out.status.success(),
                    String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned(),
                ))
            };
            let (answered, said) = ping("100")?;
            ensure!(answered, "{said}");
            let (answered, said) = ping("1450")?;
            ensure!(!answered && said.contains("mtu"), "{said}");
        }
        Ok(())
    });
}

/// Nobody listens: frames for the slow path are dropped and counted, forwarding goes on.
#[test]
fn ike_without_a_slow_path_is_counted() {
    let result = Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let mut gateway = Gateway::start(lab, lab.site(Side::A), "fastpath", &site_a(""))?;
        let stats = gateway.statistics()?.clone();
        gateway.detach();
        let mut wan = Wire::tap(&lab.wan, Lab::wan_link(Side::A))?;
        let to: IpAddr = Side::A.wan4();
        let packet = udp(Side::A.router4(), to, 500, 64, b"is anybody there");
        let mac = mac_of(lab.site(Side::A), "wan0")?;
        wan.send(&vec![frame(&mac, &wan.mac, &packet); 5])?;
        // The table stays readable for who has it.
        wait_until("five drops", Duration::from_secs(10), || {
            let drops = stats.drops();
            ensure!(drops.contains(&(DropReason::FrameQueueFull, 5)), "{drops:?}");
            Ok(())
        })?;
        gateway.attach()?;
        gateway.stop().map(drop)
    });
    result.unwrap_or_else(|error| panic!("{error:#}"));
}
