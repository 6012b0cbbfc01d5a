//! Traffic that can be counted: numbered datagrams, ping, iperf3.
use crate::netns::Netns;
use crate::process::Process;
use crate::{Lab, sys, wait_until};
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Numbered datagrams to an echo on the other host and back, at a steady pace, until told to stop.
///
/// Every number is looked for on its own: a total that happens to fit hides nothing.
#[derive(Debug)]
pub struct NumberedFlow {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    returned: Arc<AtomicU64>,
    sender: JoinHandle<Result<()>>,
    receiver: JoinHandle<Result<Vec<u64>>>,
    echo_stop: Arc<AtomicBool>,
    echo: JoinHandle<Result<()>>,
}

/// What came of a [`NumberedFlow`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    pub sent: u64,
    pub lost: Vec<u64>,
    pub duplicated: Vec<u64>,
}
impl Tally {
    /// `times[n]` is how often number `n` came back.
    fn of(times: &[u64]) -> Self {
        let those = |wanted: fn(u64) -> bool| {
            (0..).zip(times).filter(|(_, times)| wanted(**times)).map(|(number, _)| number).collect()
        };
        Self {
            sent: times.len() as u64,
            lost: those(|times| times == 0),
            duplicated: those(|times| times > 1),
        }
    }
    /// All came back, each once, and there were enough of them to mean something.
    pub fn expect_whole(&self, at_least: u64) -> Result<()> {
        ensure!(self.sent >= at_least, "only {} datagrams were sent, {at_least} wanted", self.sent);
        ensure!(self.lost.is_empty() && self.duplicated.is_empty(), "{self}");
        Ok(())
    }
}
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = runs(&self.lost);
        write!(f, "{} sent, {} lost {runs}, {} came twice", self.sent, self.lost.len(), self.duplicated.len())
    }
}
/// `[3-9, 12-12]`
fn runs(numbers: &[u64]) -> String {
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for &number in numbers {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => spans.push((number, number)),
        }
    }
    let shown: Vec<_> = spans.iter().map(|(first, last)| format!("{first}-{last}")).collect();
    format!("[{}]", shown.join(", "))
}

const TAG: [u8; 8] = *b"numbered";
const LISTEN: Duration = Duration::from_millis(50);
const SOCKET_BUFFER: i32 = 8 << 20;

impl NumberedFlow {
    /// `size` bytes of UDP payload, `per_second` of them.
    pub fn start(from: (&Netns, IpAddr), to: (&Netns, IpAddr), size: usize, per_second: u32) -> Result<Self> {
        ensure!(size >= 16 && per_second > 0, "a numbered datagram has at least 16 bytes");
        let echo_stop = Arc::new(AtomicBool::new(false));
        let (address, wanted) = (to.1, echo_stop.clone());
        let echo_socket = to.0.enter(move || bound(address)).join().map_err(|_| anyhow!("echo thread"))??;
        let target = echo_socket.local_addr()?;
        let echo = std::thread::spawn(move || echo_loop(&echo_socket, &wanted));
        let source = from.1;
        let socket = from.0.enter(move || bound(source)).join().map_err(|_| anyhow!("sender thread"))??;

        let stop = Arc::new(AtomicBool::new(false));
        let (sent, returned) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let receiver = {
            let (socket, stop) = (socket.try_clone()?, stop.clone());
            let (sent, returned) = (sent.clone(), returned.clone());
            std::thread::spawn(move || receive_loop(&socket, size, &stop, &sent, &returned))
        };
        let sender = {
            let (stop, sent) = (stop.clone(), sent.clone());
            std::thread::spawn(move || send_loop(&socket, target, size, per_second, &stop, &sent))
        };
        Ok(Self { stop, sent, returned, sender, receiver, echo_stop, echo })
    }
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
    pub fn returned(&self) -> u64 {
        self.returned.load(Ordering::Relaxed)
    }
    /// Waits until `more` further datagrams have gone out: traffic, not time, passes.
    pub fn let_pass(&self, more: u64) -> Result<()> {
        let goal = self.sent() + more;
        wait_until("numbered datagrams going out", Duration::from_secs(60), || {
            ensure!(self.sent() >= goal, "{} of {goal}", self.sent());
            Ok(())
        })
    }
    /// Waits until a datagram sent from now on has come back: the path works.
    pub fn wait_for_answer(&self, limit: Duration) -> Result<()> {
        let before = self.returned();
        wait_until("a numbered datagram coming back", limit, || {
            ensure!(self.returned() > before, "{} sent, {} returned", self.sent(), self.returned());
            Ok(())
        })
    }
    /// Stops sending, gives the last ones time to come back and counts.
    pub fn finish(self) -> Result<Tally> {
        self.stop.store(true, Ordering::Release);
        self.sender.join().map_err(|_| anyhow!("sender panicked"))??;
        let times = self.receiver.join().map_err(|_| anyhow!("receiver panicked"))??;
        self.echo_stop.store(true, Ordering::Release);
        self.echo.join().map_err(|_| anyhow!("echo panicked"))??;
        Ok(Tally::of(&times))
    }
}

fn bound(address: IpAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((address, 0)).with_context(|| format!("UDP socket on {address}"))?;
    socket.set_read_timeout(Some(LISTEN))?;
    sys::receive_buffer(&socket, SOCKET_BUFFER)?;
    Ok(socket)
}
fn quiet(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
fn echo_loop(socket: &UdpSocket, stop: &AtomicBool) -> Result<()> {
    let mut bytes = [0; 65536];
    while !stop.load(Ordering::Acquire) {
        match socket.recv_from(&mut bytes) {
            // A full send queue is a loss like any other; the tally shows it.
            Ok((len, from)) => drop(socket.send_to(&bytes[..len], from)),
            Err(error) if quiet(&error) => {}
            Err(error) => return Err(error).context("echo"),
        }
    }
    Ok(())
}
fn send_loop(
    socket: &UdpSocket,
    target: SocketAddr,
    size: usize,
    per_second: u32,
    stop: &AtomicBool,
    sent: &AtomicU64,
) -> Result<()> {
    let pace = Duration::from_secs(1) / per_second;
    let mut bytes = vec![0x5a; size];
    bytes[..8].copy_from_slice(&TAG);
    let mut due = Instant::now();
    while !stop.load(Ordering::Acquire) {
        let number = sent.load(Ordering::Relaxed);
        bytes[8..16].copy_from_slice(&number.to_be_bytes());
        socket.send_to(&bytes, target).with_context(|| format!("sending to {target}"))?;
        sent.store(number + 1, Ordering::Release);
        // Late by a busy machine: go on from here, without a burst to catch up.
        due = (due + pace).max(Instant::now());
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
fn receive_loop(
    socket: &UdpSocket,
    size: usize,
    stop: &AtomicBool,
    sent: &AtomicU64,
    returned: &AtomicU64,
) -> Result<Vec<u64>> {
    const PATIENCE: Duration = Duration::from_secs(3);
    let mut times: Vec<u64> = Vec::new();
    let mut bytes = [0; 65536];
    let mut last_news = Instant::now();
    loop {
        match socket.recv_from(&mut bytes) {
            Ok((len, _)) => {
                ensure!(len == size && bytes[..8] == TAG, "a datagram came back changed ({len} bytes)");
                ensure!(bytes[16..len].iter().all(|byte| *byte == 0x5a), "a datagram's content has changed");
                let number = u64::from_be_bytes(bytes[8..16].try_into()?);
                let at = usize::try_from(number)?;
                if times.len() <= at {
                    times.resize(at + 1, 0);
                }
                times[at] += 1;
                if times[at] == 1 {
                    returned.fetch_add(1, Ordering::Relaxed);
                }
                last_news = Instant::now();
            }
            Err(error) if quiet(&error) => {}
            Err(error) => return Err(error).context("receiving"),
        }
        let all = sent.load(Ordering::Acquire);
        let complete = returned.load(Ordering::Relaxed) == all;
        if stop.load(Ordering::Acquire) && (complete || last_news.elapsed() > PATIENCE) {
            times.resize(usize::try_from(all)?, 0);
            return Ok(times);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    pub sent: u32,
    pub received: u32,
}

/// `count` echo requests, `gap_ms` apart. That none comes back is a result, not an error.
pub fn ping(from: &Netns, to: IpAddr, count: u32, gap_ms: u32) -> Result<Ping> {
    ping_sized(from, to, count, gap_ms, 56)
}
pub fn ping_sized(from: &Netns, to: IpAddr, count: u32, gap_ms: u32, size: u32) -> Result<Ping> {
    // One program for each request: a ping that has seen answers waits for the last ones no longer than
    // twice the slowest round trip, and on a busy machine leaves before they are there.
    let line = format!("-n -q -W 2 -c 1 -s {size} {to}");
    let mut pings = Vec::new();
    for number in 0..count {
        if number > 0 {
            std::thread::sleep(Duration::from_millis(gap_ms.into()));
        }
        let mut ping = from.command("ping");
        ping.args(line.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
        pings.push(ping.spawn().context("ping (iputils-ping)")?);
    }
    let mut received = 0;
    for ping in pings {
        let out = ping.wait_with_output().context("ping")?;
        // 0: answered; 1: not answered, also where the way itself said no.
        match out.status.code() {
            Some(0) => received += 1,
            Some(1) => {}
            _ => bail!("ping {to}: {}", String::from_utf8_lossy(&out.stderr)),
        }
    }
    Ok(Ping { sent: count, received })
}

/// Pings until one comes back: the tunnel is up and so are both hosts' neighbours.
pub fn ping_until_up(from: &Netns, to: IpAddr, limit: Duration) -> Result<()> {
    wait_until(&format!("an answer of {to}"), limit, || {
        let one = ping(from, to, 1, 100)?;
        ensure!(one.received == 1, "no echo reply");
        Ok(())
    })
}

/// `count` pings, all answered.
pub fn expect_pings(from: &Netns, to: IpAddr, count: u32) -> Result<()> {
    let result = ping(from, to, count, 20)?;
    ensure!(result.sent == count && result.received == count, "ping {to}: {result:?}");
    Ok(())
}

#[derive(Clone, Debug)]
pub struct Throughput {
    pub bits_per_second: f64,
    pub bytes: u64,
    pub retransmits: u64,
}

/// A running iperf3 client with its server on the other host.
#[derive(Debug)]
pub struct Iperf {
    client: Process,
    _server: Process,
}
impl Iperf {
    pub fn start(lab: &Lab, from: &Netns, to: (&Netns, IpAddr), seconds: u32, more: &str) -> Result<Self> {
        let run = format!("{}-{}", from.name(), lab.next_number());
        let (ns, address) = to;
        let server = ns.start(
            "iperf3 server",
            &format!("iperf3 -s -1 -B {address}"),
            &lab.file(&format!("iperf3-server-{run}.log")),
        )?;
        wait_until("iperf3 server", Duration::from_secs(10), || {
            let listening = ns.run("ss -H -l -t -n sport = :5201")?;
            ensure!(!listening.is_empty(), "does not listen");
            Ok(())
        })?;
        let client = from.start(
            "iperf3",
            &format!("iperf3 -J -c {address} -t {seconds} --connect-timeout 5000 {more}"),
            &lab.file(&format!("iperf3-{run}.json")),
        )?;
        Ok(Self { client, _server: server })
    }
    pub fn is_running(&mut self) -> bool {
        self.client.is_running()
    }
    /// iperf3's own report.
    pub fn report(&mut self, limit: Duration) -> Result<Value> {
        self.client.wait(limit)?;
        let text = self.client.log();
        let report: Value = serde_json::from_str(&text).with_context(|| format!("iperf3 said: {text}"))?;
        if let Some(error) = report["error"].as_str() {
            anyhow::bail!("iperf3: {error}");
        }
        Ok(report)
    }
    pub fn finish(mut self, limit: Duration) -> Result<Throughput> {
        let report = self.report(limit)?;
        let (sent, received) = (&report["end"]["sum_sent"], &report["end"]["sum_received"]);
        Ok(Throughput {
            bits_per_second: received["bits_per_second"].as_f64().context("no bits_per_second")?,
            bytes: received["bytes"].as_u64().context("no bytes")?,
            retransmits: sent["retransmits"].as_u64().unwrap_or(0),
        })
    }
}

/// A TCP run of `seconds` from one host to the other.
pub fn iperf3(lab: &Lab, from: &Netns, to: (&Netns, IpAddr), seconds: u32) -> Result<Throughput> {
    Iperf::start(lab, from, to, seconds, "")?.finish(Duration::from_secs(u64::from(seconds) + 20))
}

/// A second of TCP that every CPU has time for: for tests that look at each packet.
pub fn tcp_second(lab: &Lab, from: &Netns, to: (&Netns, IpAddr)) -> Result<Throughput> {
    Iperf::start(lab, from, to, 1, "-b 40M")?.finish(Duration::from_secs(21))
}

/// What came of datagrams that were sent as fast as the sender could.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Datagrams {
    pub sent_per_second: f64,
    pub received_per_second: f64,
}
/// UDP of `payload` bytes each, for `seconds`.
pub fn iperf3_udp(
    lab: &Lab,
    from: &Netns,
    to: (&Netns, IpAddr),
    seconds: u32,
    payload: usize,
) -> Result<Datagrams> {
    let mut run = Iperf::start(lab, from, to, seconds, &format!("-u -b 0 -l {payload}"))?;
    let report = run.report(Duration::from_secs(u64::from(seconds) + 30))?;
    let sum = &report["end"]["sum"];
    let number =
        |field: &str| sum[field].as_f64().with_context(|| format!("no {field} in end.sum of iperf3"));
    let (packets, lost, seconds) = (number("packets")?, number("lost_packets")?, number("seconds")?);
    ensure!(seconds > 0.0, "iperf3 ran for no time");
    Ok(Datagrams { sent_per_second: packets / seconds, received_per_second: (packets - lost) / seconds })
}

/// A TCP connection from one namespace to a server in another: `bytes` there and the same back.
pub fn tcp_echo(from: &Netns, to: (&Netns, IpAddr), bytes: usize) -> Result<()> {
    const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));
    let (ns, address) = to;
    let listener = ns
        .enter(move || TcpListener::bind((address, 0)).with_context(|| format!("listening on {address}")))
        .join()
        .map_err(|_| anyhow!("listening thread"))??;
    let target = listener.local_addr()?;
    let server = std::thread::spawn(move || -> Result<()> {
        listener.set_nonblocking(true)?;
        let (mut stream, _) =
            wait_until("a TCP connection", Duration::from_secs(15), || Ok(listener.accept()?))?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(PATIENCE)?;
        let mut all = vec![0; bytes];
        stream.read_exact(&mut all)?;
        Ok(stream.write_all(&all)?)
    });
    let client = from.enter(move || {
        let mut stream = TcpStream::connect_timeout(&target, Duration::from_secs(10))
            .with_context(|| format!("connecting to {target}"))?;
        stream.set_read_timeout(PATIENCE)?;
        let sent: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        stream.write_all(&sent)?;
        let mut back = vec![0; bytes];
        stream.read_exact(&mut back).context("the echo")?;
        ensure!(back == sent, "the echo is not what was sent");
        Ok(())
    });
    client.join().map_err(|_| anyhow!("client thread"))??;
    server.join().map_err(|_| anyhow!("server thread"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_names_each_missing_number() {
        let tally = Tally::of(&[1, 0, 0, 2, 1, 0]);
        assert_eq!(tally, Tally { sent: 6, lost: vec![1, 2, 5], duplicated: vec![3] });
        assert_eq!(tally.to_string(), "6 sent, 3 lost [1-2, 5-5], 1 came twice");
        assert!(tally.expect_whole(1).is_err());
        assert!(Tally::of(&[1, 1]).expect_whole(2).is_ok());
        assert!(Tally::of(&[1, 1]).expect_whole(3).is_err(), "too few to mean something");
    }
}
