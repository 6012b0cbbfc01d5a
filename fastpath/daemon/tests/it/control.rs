//! What the slow path says and hears: acquires, lifetimes, moved peers, removals, policy transactions.
use crate::support::{
    Gateway, PATIENCE, REQUIRE, Tunnel, Wire, frame, hex, mac_of, policy, site_a, udp, unhex,
};
use anyhow::{Context, Result, ensure};
use harness::lab::{Plan, Site};
use harness::traffic::ping_until_up;
use harness::{Lab, Side};
use ipc::{Command, Event, Expiry, Refusal, SaState};
use sa::{Action, DropReason, Encap, Limit, PolicyId, PolicySpec, SaSlot, Spi};
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

struct Bench {
    gateway: Gateway,
    lan: Wire,
    wan: Wire,
    lan_mac: String,
    wan_mac: String,
    markers: u64,
}

/// Everything to site B needs protection; 10.9.0.0/24 is for markers in clear.
fn protected() -> PolicySpec {
    policy(1, "10.1.0.0/24", "10.2.0.0/24", REQUIRE)
}
fn markers() -> PolicySpec {
    policy(2, "10.1.0.0/24", "10.9.0.0/24", Action::Bypass)
}

impl Bench {
    fn build(lab: &Lab) -> Result<Self> {
        lab.set_partition(true)?;
        let deaf =
            "table inet t {\nchain c {\ntype filter hook input priority 0;\nip protocol udp drop\n}\n}\n";
        lab.host(Side::A).nft(deaf)?;
        lab.wan.ip(&format!("route add {} via {}\n", Side::A.subnet4(), Side::A.wan4()))?;
        let site = lab.site(Side::A);
        let mut gateway = Gateway::start(lab, site, "fastpath", &site_a(""))?;
        gateway.commit(&[protected(), markers()])?;
        ping_until_up(lab.host(Side::A), Side::A.router4(), PATIENCE)?;
        Ok(Self {
            gateway,
            lan: Wire::tap(lab.host(Side::A), "lan0")?,
            wan: Wire::tap(&lab.wan, Lab::wan_link(Side::A))?,
            lan_mac: mac_of(site, "lan0")?,
            wan_mac: mac_of(site, "wan0")?,
            markers: 0,
        })
    }
    /// `count` packets from host A to host B.
    fn send(&mut self, count: usize) -> Result<()> {
        let packet = udp(Side::A.host4(), Side::B.host4(), 9, 64, b"protect me");
        self.lan.send(&vec![frame(&self.lan_mac, &self.lan.mac, &packet); count])
    }
    /// The gateway has worked on all that was sent before. Twice: within a burst, packets in clear may overtake.
    fn settle(&mut self) -> Result<()> {
        self.mark()?;
        self.mark()
    }
    fn mark(&mut self) -> Result<()> {
        self.markers += 1;
        let packet = udp(Side::A.host4(), "10.9.0.1".parse()?, 99, 64, &self.markers.to_be_bytes());
        self.lan.send(&[frame(&self.lan_mac, &self.lan.mac, &packet)])?;
        let wanted =
            format!("lambda f: to_port(99)(f) and f.endswith(bytes.fromhex('{:016x}'))", self.markers);
        self.wan.ask(&format!("wait_for({wanted}, 15)")).map(drop)
    }
    /// ESP packets on the WAN since the last time.
    fn sealed(&mut self) -> Result<Vec<Vec<u8>>> {
        self.settle()?;
        let found: Vec<String> = serde_json::from_value(self.wan.ask("collect(is_esp, 0, 0)")?)?;
        Ok(found.iter().map(|p| unhex(p)).collect())
    }
    /// scapy sends `numbers` under an inbound SA, host B to host A.
    fn seal(&mut self, slot: SaSlot, numbers: &[u64]) -> Result<()> {
        let inner = hex(&udp(Side::B.host4(), Side::A.host4(), 9, 64, b"from afar"));
        let rows: Vec<_> = numbers.iter().map(|n| (slot.0, &inner, n)).collect();
        let sealed: Vec<String> =
            serde_json::from_value(self.wan.ask(&format!("seal_all({})", json!(rows)))?)?;
        let frames: Vec<_> = sealed.iter().map(|p| frame(&self.wan_mac, &self.wan.mac, &unhex(p))).collect();
        self.wan.send(&frames)
    }
    fn install(&mut self, tunnel: &Tunnel) -> Result<()> {
        tunnel.teach(&mut self.wan)?;
        self.gateway.install(&tunnel.both())
    }
}

fn bench(body: impl FnOnce(&mut Bench) -> Result<()>) {
    let result = Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let mut bench = Bench::build(lab)?;
        body(&mut bench)?;
        bench.gateway.process.check()?;
        bench.gateway.stop().map(drop)
    });
    result.unwrap_or_else(|error| panic!("{error:#}"));
}
fn is_acquire(event: &Event) -> bool {
    matches!(event, Event::Acquire { .. })
}

#[test]
fn a_packet_that_needs_an_sa_is_asked_for_once_and_never_sent_clear() {
    bench(|b| {
        b.send(20)?;
        ensure!(b.sealed()?.is_empty());
        b.wan.expect_none("to_port(9)")?;
        b.gateway.expect_drops(DropReason::NoSa, 20)?;
        let Event::Acquire { policy, packet } = b.gateway.event("an acquire", is_acquire)? else {
            unreachable!("it is one")
        };
        ensure!(policy == PolicyId(1));
        ensure!((packet.src, packet.dst) == (Side::A.host4(), Side::B.host4()), "{packet:?}");
        ensure!((packet.protocol, packet.dst_port) == (17, 9), "{packet:?}");
        ensure!(b.gateway.count_events(is_acquire) == 0, "asked twice");

        // Given up: asked again, once, and not before the time.
        let wait = Duration::from_millis(400);
        let since = Instant::now();
        b.gateway.expect(vec![Command::AcquireFailed { policy, retry_ms: 400 }])?;
        while b.gateway.count_events(is_acquire) == 0 {
            b.send(1)?;
            ensure!(since.elapsed() < PATIENCE, "never asked again");
        }
        ensure!(since.elapsed() >= wait, "asked after {:?}", since.elapsed());
        b.send(20)?;
        b.settle()?;
        ensure!(b.gateway.count_events(is_acquire) == 1, "asked more than once");

        // A new slow path has not heard of it.
        b.gateway.attach()?;
        // The main lcore may get its turn only after some packets have passed.
        let since = Instant::now();
        while b.gateway.count_events(is_acquire) == 0 {
            b.send(1)?;
            ensure!(since.elapsed() < PATIENCE, "the new slow path was not asked");
        }
        b.send(20)?;
        b.settle()?;
        ensure!(b.gateway.count_events(is_acquire) == 1, "asked twice");

        b.install(&Tunnel::to_b(1, &protected()))?;
        b.send(3)?;
        ensure!(b.sealed()?.len() == 3);
        ensure!(b.gateway.count_events(is_acquire) == 1, "asked though there is one");
        Ok(())
    });
}

fn limits(packets: Limit, bytes: Limit, seconds: Limit) -> sa::Lifetime {
    sa::Lifetime { packets, bytes, seconds }
}

#[test]
fn lifetimes_in_packets_bytes_and_seconds() {
    bench(|b| {
        let none = Limit::default();
        // The inner packets are 38 bytes long.
        let by_packets = limits(Limit { soft: 3, hard: 5 }, none, none);
        let by_bytes = limits(none, Limit { soft: 3 * 38, hard: 5 * 38 }, none);
        for (n, (lifetime, reason)) in
            (1u32..).zip([(by_packets, Expiry::Packets), (by_bytes, Expiry::Bytes)])
        {
            let tunnel = Tunnel::to_b(n, &protected());
            let mut outbound = tunnel.outbound.clone();
            outbound.lifetime = lifetime;
            b.gateway.install(std::slice::from_ref(&outbound))?;
            b.send(7)?;
            ensure!(b.sealed()?.len() == 5, "{reason:?}");
            let soft = |e: &Event| matches!(e, Event::SoftExpire { slot, why, .. } if (*slot, *why) == (outbound.slot, reason));
            let hard = |e: &Event| matches!(e, Event::HardExpire { slot, why, .. } if (*slot, *why) == (outbound.slot, reason));
            b.gateway.event("soft expiry", soft)?;
            b.gateway.event("hard expiry", hard)?;
            ensure!(b.gateway.count_events(|e| soft(e) || hard(e)) == 0, "said twice");
            b.gateway.expect_drops(DropReason::SaExpiredOut, 2 * u64::from(n))?;
            expect_state(&b.gateway, outbound.slot, SaState::Dead)?;
            b.gateway.remove(&outbound)?;
        }
        // Inbound, by packets.
        let mut inbound = Tunnel::to_b(4, &protected()).change(|s| s.lifetime = by_packets);
        inbound.outbound.lifetime = limits(none, none, Limit { soft: 1, hard: 2 });
        b.install(&inbound)?;
        b.seal(inbound.inbound.slot, &[1, 2, 3, 4, 5, 6, 7])?;
        ensure!(b.lan.collect("to_port(9)", 5)?.len() == 5);
        b.gateway.event(
            "hard expiry",
            |e| matches!(e, Event::HardExpire { slot, .. } if *slot == inbound.inbound.slot),
        )?;
        b.gateway.expect_drops(DropReason::SaExpiredIn, 2)?;
        // Outbound, by time alone.
        let slot = inbound.outbound.slot;
        b.gateway.event(
            "soft expiry",
            |e| matches!(e, Event::SoftExpire { slot: s, why: Expiry::Seconds, .. } if *s == slot),
        )?;
        b.gateway.event(
            "hard expiry",
            |e| matches!(e, Event::HardExpire { slot: s, why: Expiry::Seconds, .. } if *s == slot),
        )?;
        b.send(4)?;
        ensure!(b.sealed()?.is_empty());
        b.gateway.expect_drops(DropReason::SaExpiredOut, 8)
    });
}

fn expect_state(gateway: &Gateway, slot: SaSlot, wanted: SaState) -> Result<()> {
    let stats = gateway.statistics()?;
    harness::wait_until("the state of an SA", Duration::from_secs(10), || {
        let identity = stats.identity(slot).context("the slot is empty")?;
        ensure!(identity.state == wanted, "{identity:?}");
        Ok(())
    })
}

#[test]
fn a_peer_behind_a_nat_may_move() {
    bench(|b| {
        let encap = |remote_port| Some(Encap { local_port: 4500, remote_port });
        let tunnel = Tunnel::to_b(1, &protected()).change(|s| s.encap = encap(4500));
        b.install(&tunnel)?;
        let inbound = &tunnel.inbound;
        b.seal(inbound.slot, &[1, 2])?;
        b.lan.collect("to_port(9)", 2)?;
        let moved = |e: &Event| matches!(e, Event::PeerMoved { .. });
        b.settle()?;
        ensure!(b.gateway.count_events(moved) == 0);
        // Only scapy learns of the new port.
        tunnel.clone().change(|s| s.encap = encap(5555)).teach(&mut b.wan)?;
        b.seal(inbound.slot, &[3, 4, 5])?;
        b.lan.collect("to_port(9)", 3)?;
        let from = SocketAddr::new(Side::B.wan4(), 5555);
        let wanted = Event::PeerMoved { slot: inbound.slot, spi: inbound.spi, from };
        b.gateway.event("a moved peer", |e| *e == wanted)?;
        b.settle()?;
        ensure!(b.gateway.count_events(moved) == 0, "said more than once");
        b.gateway.expect(
            tunnel
                .both()
                .map(|s| Command::MoveSa { slot: s.slot, spi: s.spi, ends: s.ends, encap: encap(5555) })
                .into(),
        )?;
        b.send(1)?;
        let out = b.wan.collect("lambda f: is_from(4500)(f)", 1)?;
        ensure!(unhex(&out[0])[22..24] == 5555u16.to_be_bytes(), "{out:?}");
        b.seal(inbound.slot, &[6])?;
        b.lan.collect("to_port(9)", 1)?;
        b.settle()?;
        ensure!(b.gateway.count_events(moved) == 0, "it is known");
        Ok(())
    });
}

#[test]
fn removed_sas_pass_nothing_and_their_slots_are_free_again() {
    bench(|b| {
        let (old, new) = (Tunnel::to_b(1, &protected()), Tunnel::to_b(2, &protected()));
        b.install(&old)?;
        b.send(2)?;
        ensure!(b.sealed()?.len() == 2);
        // Make before break: the newest is used, the old one still opens.
        b.install(&new)?;
        b.send(2)?;
        let spi = |packet: &Vec<u8>| u32::from_be_bytes([packet[20], packet[21], packet[22], packet[23]]);
        let sealed = b.sealed()?;
        ensure!(sealed.iter().map(spi).collect::<Vec<_>>() == [new.outbound.spi.get(); 2]);
        b.seal(old.inbound.slot, &[1])?;
        b.seal(new.inbound.slot, &[1])?;
        b.lan.collect("to_port(9)", 2)?;

        for spec in old.both() {
            b.gateway.remove(&spec)?;
            ensure!(b.gateway.statistics()?.identity(spec.slot).is_none(), "still shown");
        }
        b.seal(old.inbound.slot, &[2])?;
        b.gateway.event("an unknown SPI", |e| {
            matches!(e, Event::UnknownSpi { spi, remote, .. } if *spi == old.inbound.spi.get() && *remote == Side::B.wan4())
        })?;
        b.gateway.expect_drops(DropReason::NoSuchSa, 1)?;
        b.install(&old)?;
        b.seal(old.inbound.slot, &[1])?;
        b.lan.collect("to_port(9)", 1)?;
        b.gateway.expect_sa(old.inbound.slot, 1)?;

        // What makes no sense is refused and changes nothing.
        let refused = [
            (Command::InstallSa(Box::new(new.outbound.clone())), Refusal::SlotInUse),
            (Command::RemoveSa { slot: SaSlot(77), spi: old.inbound.spi }, Refusal::NoSuchSa),
            (Command::RemoveSa { slot: new.inbound.slot, spi: Spi::new(0x999)? }, Refusal::NoSuchSa),
            (Command::PolicyCommit { generation: 77 }, Refusal::BadTransaction),
            (Command::Policy(protected()), Refusal::BadTransaction),
        ];
        for (command, refusal) in refused {
            let said = b.gateway.tell(command)?;
            ensure!(said == Err(refusal), "{said:?} instead of {refusal:?}");
        }
        b.send(1)?;
        ensure!(b.sealed()?.len() == 1);
        Ok(())
    });
}

#[test]
fn a_policy_transaction_keeps_the_sas_of_what_did_not_change() {
    bench(|b| {
        let tunnel = Tunnel::to_b(1, &protected());
        b.install(&tunnel)?;
        b.send(2)?;
        ensure!(b.sealed()?.len() == 2);
        let before = policy(3, "10.1.0.0/24", "10.2.7.0/24", Action::Discard);
        b.gateway.commit(&[before, protected(), markers()])?;
        b.send(2)?;
        let sealed = b.sealed()?;
        let number = |packet: &Vec<u8>| u32::from_be_bytes([packet[24], packet[25], packet[26], packet[27]]);
        ensure!(sealed.iter().map(number).collect::<Vec<_>>() == [3, 4], "{sealed:02x?}");
        // Another order, then without: the packets go where the new policies say.
        let bypass = policy(4, "10.1.0.0/24", "10.2.0.0/24", Action::Bypass);
        b.gateway.commit(&[bypass, protected(), markers()])?;
        b.wan.clear()?;
        b.send(1)?;
        ensure!(b.sealed()?.is_empty());
        b.gateway.commit(&[policy(5, "10.1.0.0/24", "10.2.0.0/24", Action::Discard), markers()])?;
        b.send(3)?;
        ensure!(b.sealed()?.is_empty());
        b.gateway.expect_drops(DropReason::Discard, 3)
    });
}

/// Each command's answer, asked as `dpdk-telemetry.py` asks.
fn telemetry(prefix: &str, commands: &[&str]) -> Result<Vec<serde_json::Value>> {
    const CLIENT: &str = "import socket, sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\ns.connect(sys.argv[1])\n\
        s.recv(65536)\nfor command in sys.argv[2:]:\n  s.send(command.encode())\n  print(s.recv(65536).decode())\n";
    let socket = format!("/var/run/dpdk/{prefix}/dpdk_telemetry.v2");
    let out = std::process::Command::new("python3").args(["-c", CLIENT, &socket]).args(commands).output()?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout)?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

#[test]
fn dpdk_telemetry_tells_sas_policies_workers_and_drops() {
    bench(|b| {
        let tunnel = Tunnel::to_b(1, &protected());
        b.send(1)?;
        b.gateway.expect_drops(DropReason::NoSa, 1)?;
        b.install(&tunnel)?;
        b.send(3)?;
        ensure!(b.sealed()?.len() == 3);
        b.gateway.expect_sa(tunnel.outbound.slot, 3)?;
        let prefix = b.gateway.prefix.clone();
        let out = tunnel.outbound.slot.0;
        let asked = [
            "/espway/sa".to_owned(),
            format!("/espway/sa,{out}"),
            "/espway/sa,99".to_owned(),
            "/espway/policy".to_owned(),
            "/espway/policy,1".to_owned(),
            "/espway/stats".to_owned(),
            "/espway/worker,0".to_owned(),
            "/espway/ports".to_owned(),
            "/".to_owned(),
        ];
        let commands: Vec<&str> = asked.iter().map(String::as_str).collect();
        let answers = telemetry(&prefix, &commands)?;
        let [slots, sa, none, policies, policy, stats, worker, ports, all] = &answers[..] else {
            anyhow::bail!("{answers:?}")
        };
        let mut installed = vec![tunnel.inbound.slot.0, out];
        installed.sort_unstable();
        ensure!(slots["/espway/sa"] == json!(installed), "{slots}");
        let sa = &sa["/espway/sa"];
        ensure!(sa["spi"] == tunnel.outbound.spi.to_string() && sa["direction"] == "out", "{sa}");
        ensure!(sa["packets"] == 3 && sa["policy"] == 1 && sa["state"] == "mature", "{sa}");
        ensure!(none["/espway/sa"].is_null(), "{none}");
        ensure!(policies["/espway/policy"] == json!([1]), "{policies}");
        let policy = &policy["/espway/policy"];
        ensure!(policy["out_packets"] == 3 && policy["in_sas"] == 1 && policy["in_packets"] == 0, "{policy}");
        let stats = &stats["/espway/stats"];
        ensure!(stats["no_sa"] == 1 && stats["sa_slots_used"] == 2 && stats["icv_mismatch"] == 0, "{stats}");
        ensure!(worker["/espway/worker"]["packets"].as_u64() >= Some(4), "{worker}");
        ensure!(ports["/espway/ports"]["wan_tx_packets"].as_u64() >= Some(3), "{ports}");
        ensure!(all.to_string().contains("/espway/worker"), "{all}");
        Ok(())
    });
}
