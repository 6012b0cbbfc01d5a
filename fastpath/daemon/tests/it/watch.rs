//! Packets of a running fast path, watched: before and after, with what became of each, and an end that comes by itself.
use crate::support::*;
use anyhow::{Result, bail, ensure};
use harness::traffic::ping_until_up;
use harness::{Lab, Plan, Side, Site, wait_until};
use ipc::Command;
use ipc::watch::{Fate, Place, Seen, Sighting, Subject, Watch};
use sa::{DropReason, PolicyId};
use std::time::Duration;

type Copies = Vec<(Sighting, Vec<u8>)>;

/// Until the end of the watch, which is the last.
fn all(gateway: &mut Gateway) -> Result<(Copies, Seen)> {
    let mut seen = Vec::new();
    let over = wait_until("the end of the watch", PATIENCE, || {
        while let Some((one, bytes)) = gateway.slow().next_seen() {
            match one {
                Seen::Packet(sighting) => seen.push((sighting, bytes.to_vec())),
                over @ Seen::Over { .. } => return Ok(over),
            }
        }
        bail!("{} so far", seen.len())
    })?;
    Ok((seen, over))
}

#[test]
fn packets_are_watched_on_their_way() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        // The kernel at the other end is to keep quiet about what it sees.
        lab.set_partition(true)?;
        lab.wan.ip(&format!("route add {} via {}\n", Side::A.subnet4(), Side::A.wan4()))?;
        let mut gateway = Gateway::start(lab, lab.site(Side::A), "watch", &site_a(""))?;
        let protected = policy(1, "10.1.0.0/24", "10.3.0.0/24", REQUIRE);
        gateway.commit(&[protected])?;
        let tunnel = Tunnel::to_b(0, &protected);
        gateway.install(&tunnel.both())?;
        let (mut lan, mut wan) =
            (Wire::tap(lab.host(Side::A), "lan0")?, Wire::tap(&lab.wan, Lab::wan_link(Side::A))?);
        let to = mac_of(lab.site(Side::A), "lan0")?;
        // Only so many packets wait for an answer to ARP; that is another test's matter.
        ping_until_up(lab.host(Side::A), Side::A.router4(), PATIENCE)?;
        let packet = |n: u8| udp(Side::A.host4(), "10.3.0.9".parse().expect("an address"), 9, 64, &[n; 50]);
        let of = Subject::Policies(vec![PolicyId(1)]);
        let watch = |number, packets, seconds| Watch { number, of: of.clone(), snap: 2048, seconds, packets };
        let begin = |watch| Command::Watch(Box::new(watch));

        // Enough packets end it.
        gateway.expect(vec![begin(watch(1, 3, 60))])?;
        for n in 0..5 {
            lan.send(&[frame(&to, &lan.mac, &packet(n))])?;
        }
        wan.collect("is_esp", 5)?;
        let (seen, over) = all(&mut gateway)?;
        ensure!(over == Seen::Over { watch: 1, packets: 3, lost: 0 }, "{over:?}");
        ensure!(seen.len() == 6, "{seen:?}");
        for (n, pair) in seen.chunks(2).enumerate() {
            let [(before, plain), (after, sealed)] = pair else { unreachable!() };
            ensure!(plain[14..] == packet(n as u8)[..], "packet {n}");
            ensure!(
                before.place == Place::Port(1) && before.fate == Some(Fate::Sent { port: 0 }),
                "{before:?}"
            );
            ensure!(
                after.place == Place::Port(0) && after.protected && after.packet == before.packet,
                "{after:?}"
            );
            ensure!(sealed.len() == after.wire_len as usize && sealed[23] == wire::ip::protocol::ESP);
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
            let age = now.saturating_sub(Duration::from_nanos(before.time));
            ensure!(age < PATIENCE, "seen {age:?} ago");
        }

        // Whoever wants no more of it says so; a packet whose SA is gone is seen with its reason.
        gateway.remove(&tunnel.outbound)?;
        gateway.expect(vec![begin(watch(2, 100, 60))])?;
        lan.send(&[frame(&to, &lan.mac, &packet(9))])?;
        gateway.expect_drops(DropReason::NoSa, 1)?;
        gateway.expect(vec![Command::Unwatch { number: 2 }])?;
        let (seen, over) = all(&mut gateway)?;
        ensure!(over == Seen::Over { watch: 2, packets: 1, lost: 0 }, "{over:?}");
        let [(dropped, _)] = &seen[..] else { bail!("{seen:?}") };
        ensure!(dropped.fate == Some(Fate::Dropped(DropReason::NoSa)), "{dropped:?}");

        // Nobody has to say anything.
        gateway.expect(vec![begin(watch(3, 100, 1))])?;
        let (seen, over) = all(&mut gateway)?;
        ensure!(seen.is_empty() && over == Seen::Over { watch: 3, packets: 0, lost: 0 }, "{over:?}");
        gateway.stop().map(drop)
    })
}
