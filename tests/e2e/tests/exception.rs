//! The host behind the gateway: its own addresses live on the exception TAPs, and it is reached through the data path.
use anyhow::{Result, ensure};
use e2e::{Gateway, SOON, Suite};
use harness::traffic::{expect_pings, ping_until_up, tcp_echo};
use harness::{Capture, Lab, Plan, Side, Site, StrongSwan, capture};

#[test]
fn the_host_is_reached_and_reaches_out() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let (a, gateway, wan) = (lab.host(Side::A), lab.site(Side::A), &lab.wan);
        let espway = Gateway::new(Side::A, Suite::AesGcm).start(lab)?;
        for (from, to) in
            [(wan, Side::A.wan4()), (wan, Side::A.wan6()), (a, Side::A.lan4()), (a, Side::A.lan6())]
        {
            ping_until_up(from, to, SOON)?;
            expect_pings(from, to, 10)?;
            tcp_echo(from, (gateway, to), 100_000)?;
        }
        // Outwards: a connection the host itself opens, on both sides and over both families.
        for (there, to) in
            [(wan, Side::A.router4()), (wan, Side::A.router6()), (a, Side::A.host4()), (a, Side::A.host6())]
        {
            expect_pings(gateway, to, 5)?;
            tcp_echo(gateway, (there, to), 100_000)?;
        }
        // Nobody answers twice: neither the kernel beside the fast path, nor the other way about.
        let wire = Capture::start(lab, wan, Lab::wan_link(Side::A), "icmp")?;
        expect_pings(wan, Side::A.wan4(), 10)?;
        let file = wire.finish()?;
        ensure!(capture::count(&file, "icmp.type == 0")? == 10, "each request has one reply");
        espway.stop()
    })
}

/// What the host sends from its inner address is covered by the policy: it goes through the tunnel.
#[test]
fn the_host_uses_the_tunnel_from_its_inner_address() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let config = Gateway::new(Side::A, Suite::AesGcm);
        let _swan = StrongSwan::start(lab, lab.site(Side::B), &config.swan(false))?;
        let _espway = config.start(lab)?;
        ping_until_up(lab.host(Side::A), Side::B.host4(), SOON)?;
        let wire = Capture::start(lab, &lab.wan, Lab::wan_link(Side::A), "")?;
        // From the far host to the gateway's inner address and back.
        expect_pings(lab.host(Side::B), Side::A.lan4(), 10)?;
        tcp_echo(lab.host(Side::B), (lab.site(Side::A), Side::A.lan4()), 50_000)?;
        let file = wire.finish()?;
        let [esp, inner] = capture::counts(&file, ["esp", "ip.addr == 10.0.0.0/8"])?;
        ensure!(esp > 40 && inner == 0, "{esp} ESP packets, {inner} in clear");
        Ok(())
    })
}
