//! The same gateway on each kind of port that needs no hardware. AF_PACKET is what all other tests use.
use anyhow::{Context, Result, ensure};
use e2e::{Gateway, SOON, Suite, scapy, until};
use harness::traffic::{expect_pings, iperf3, ping_until_up};
use harness::{Lab, Plan, Side, Site, StrongSwan};
use serde_json::json;

/// A tunnel to strongSwan, pings both ways and TCP.
fn works(lab: &Lab, gateway: &Gateway) -> Result<()> {
    let (a, b) = (lab.host(Side::A), lab.host(Side::B));
    let swan = StrongSwan::start(lab, lab.site(Side::B), &gateway.swan(false))?;
    ping_until_up(a, Side::B.host4(), SOON)?;
    swan.sas()?.expect_one_tunnel()?;
    expect_pings(a, Side::B.host4(), 20)?;
    expect_pings(b, Side::A.host4(), 20)?;
    let run = iperf3(lab, a, (b, Side::B.host4()), 1)?;
    ensure!(run.bits_per_second > 5e6, "{run:?}");
    Ok(())
}

#[test]
fn af_xdp() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let mut gateway = Gateway::new(Side::A, Suite::AesGcm).ports("af-xdp:wan0", "af-xdp:lan0");
        // Its rings hold more buffers than AF_PACKET's.
        gateway.system = json!({"memory": "96M", "buffers": 12288});
        let espway = gateway.start(lab)?;
        works(lab, &gateway)?;
        espway.stop()
    })
}

#[test]
fn tap() -> Result<()> {
    Lab::run(&Plan::new(Site::Taps, Site::Kernel), |lab| {
        let gateway = Gateway::new(Side::A, Suite::AesGcm).ports("tap:wan0", "tap:lan0");
        let espway = gateway.start(lab)?;
        lab.attach_taps(Side::A, "wan0", "lan0")?;
        works(lab, &gateway)?;
        espway.stop()
    })
}

/// Two gateways whose WAN is shared memory: no kernel on the way between them.
#[test]
fn memif() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Dpdk), |lab| {
        let socket = lab.file("memif.sock").display().to_string();
        let ends =
            [("192.0.2.1", "192.0.2.2", "server", Side::A), ("192.0.2.2", "192.0.2.1", "client", Side::B)];
        let mut running = Vec::new();
        for (us, them, role, side) in ends {
            let wan = format!("memif:{socket},role={role},id=0,mac=02:00:00:00:00:0{}", side.letter());
            let gateway = Gateway::new(side, Suite::AesGcm).ports(&wan, "af-packet:lan0");
            let mut config = gateway.config();
            config["ip"]["address"][0]["address"] = json!(format!("{us}/24"));
            config["ip"]["route"] = json!([{"dst-address": "0.0.0.0/0", "gateway": them}]);
            config["ip"]["ipsec"]["peer"][0]["address"] = json!(them);
            config["ip"]["ipsec"]["peer"][0]["local-address"] = json!(us);
            running.push(gateway.start_as(lab, &config)?);
        }
        let (a, b) = (lab.host(Side::A), lab.host(Side::B));
        ping_until_up(a, Side::B.host4(), SOON)?;
        expect_pings(a, Side::B.host4(), 20)?;
        expect_pings(b, Side::A.host4(), 20)?;
        let run = iperf3(lab, a, (b, Side::B.host4()), 1)?;
        ensure!(run.bits_per_second > 5e6, "{run:?}");
        for espway in running {
            espway.stop()?;
        }
        Ok(())
    })
}

/// Frames from a capture, answers into another: the gateway answers ARP and pings of a host that exists in a file, and
/// accounts for every frame. (Nothing but ARP is answered before the policies are loaded, and a file does not wait.)
#[test]
fn pcap() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let file = |name: &str| lab.file(name).display().to_string();
        let (host, us) = (Side::A.host4().to_string(), Side::A.lan4().to_string());
        scapy([json!({"do": "echo", "src": host, "dst": us, "count": 20, "out": file("in.pcap")})])?;
        let lan = format!("pcap:{},{}", file("in.pcap"), file("out.pcap"));
        let gateway = Gateway::new(Side::A, Suite::AesGcm).ports("null", &lan);
        let mut config = gateway.config();
        config["interface"][1]["mac-address"] = json!("02:00:00:00:00:02");
        let espway = gateway.start_as(lab, &config)?;
        let seen = until(&espway, "the capture's frames", SOON, |seen| {
            let ports = seen.status["ports"].as_array().map_or(&[][..], Vec::as_slice);
            ports.iter().any(|port| port["name"] == "lan" && port["rx-packets"] == 21)
        })?;
        let dropped = seen.status["drops"]["policy-not-loaded"].as_u64().context("drops")?;
        espway.stop()?;
        let [written] = scapy([json!({"do": "replies", "in": file("out.pcap")})])?;
        let answered = written["numbers"].as_array().context("numbers")?.len() as u64;
        ensure!(written["arp"] == 1, "one ARP reply: {written}");
        ensure!(answered + dropped == 20, "{answered} answered, {dropped} dropped, of 20: {:#}", seen.status);
        Ok(())
    })
}
