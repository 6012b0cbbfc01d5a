//! A queue that has grown deep is worked off by two workers, and nobody can tell from what comes out.
use crate::support::PATIENCE;
use crate::takeover::{expect_no_drops, pair};
use anyhow::{Context, Result, ensure};
use harness::sys::Signal;
use harness::{Lab, Process, Side};
use std::collections::HashMap;
use std::net::UdpSocket;
use std::time::Duration;

const FLOWS: u64 = 8;
/// Of each flow. All together fit the receive ring of a gateway that stands still, and the listener's buffer.
const EACH: u64 = 56;

#[test]
fn workers_that_share_a_queue_deliver_each_datagram_once_and_keep_each_flow_in_order() {
    // AF_PACKET gives one receive queue, whatever the number of workers, and everything goes through one SA.
    let logs = pair("workers: [0, 1]\nshare: yes", |lab, a, b| {
        for _ in 0..5 {
            through_a_deep_queue(lab, &a.process)?;
            through_a_deep_queue(lab, &b.process)?;
        }
        expect_no_drops(a)?;
        expect_no_drops(b)
    });
    for log in logs {
        assert!(counted(&log, "offered=") > 0, "no queue was deep: {log}");
        assert!(counted(&log, "helped=") > 0, "one worker did everything: {log}");
        assert!(counted(&log, "helped=") <= counted(&log, "offered="), "{log}");
    }
}

/// What the workers said at their end, added up.
fn counted(log: &str, what: &str) -> u64 {
    let said = log.lines().filter_map(|line| line.split_once(what));
    let digits = said.map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    digits.filter_map(|digits| digits.parse::<u64>().ok()).sum()
}

/// Lets datagrams pile up in front of a gateway that is stopped for a while; all of them arrive, in order.
fn through_a_deep_queue(lab: &Lab, gateway: &Process) -> Result<()> {
    let socket = |side: Side| {
        let bound = lab.host(side).enter(move || Ok(UdpSocket::bind((side.host4(), 0))?));
        bound.join().map_err(|_| anyhow::anyhow!("no socket"))?
    };
    let listener = socket(Side::B)?;
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&listener, 4 << 20)?;
    listener.set_read_timeout(Some(PATIENCE))?;
    let to = listener.local_addr()?;
    let senders = (0..FLOWS).map(|_| socket(Side::A)).collect::<Result<Vec<_>>>()?;

    gateway.signal(Signal::Stop)?;
    for number in 0..EACH {
        for sender in &senders {
            sender.send_to(&number.to_be_bytes(), to)?;
        }
    }
    // The other gateway passes on what it gets meanwhile.
    std::thread::sleep(Duration::from_millis(300));
    gateway.signal(Signal::Continue)?;

    let mut next: HashMap<u16, u64> = HashMap::new();
    for n in 0..FLOWS * EACH {
        let mut number = [0; 8];
        let got = listener.recv_from(&mut number);
        let (_, from) = got.with_context(|| format!("after {n} datagrams of {}", FLOWS * EACH))?;
        let (number, next) = (u64::from_be_bytes(number), next.entry(from.port()).or_default());
        ensure!(number == *next, "number {number} from port {} instead of {next}", from.port());
        *next += 1;
    }
    listener.set_read_timeout(Some(Duration::from_millis(50)))?;
    ensure!(listener.recv(&mut [0; 8]).is_err(), "a datagram came twice");
    Ok(())
}
