//! Ports that end in the kernel, in a network namespace of this test's own.
use crate::own_process;
use crate::support::{fill, frame, number, open, pool, start};
use dpdk::{Burst, Mempool, Port, PortConfig, PortError, RxQueue, TxQueue};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};
use wire::PacketBuf;

/// Long enough for any machine; reached only when nothing comes at all.
const PATIENCE: Duration = Duration::from_secs(20);
const FRAMES: u32 = 200;

/// Moves this thread, and all that it starts, into a new namespace that ends with the process.
fn private_namespace() {
    // SAFETY: changes this thread only.
    let code = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert!(code == 0, "a network namespace needs root (CAP_SYS_ADMIN): {}", io::Error::last_os_error());
    run("ip", "link set lo up");
}
fn run(program: &str, args: &str) {
    let done = Command::new(program).args(args.split_whitespace()).output();
    let done = done.unwrap_or_else(|e| panic!("{program} cannot be run: {e} (install iproute2 and ethtool)"));
    assert!(done.status.success(), "{program} {args}: {}", String::from_utf8_lossy(&done.stderr));
}
/// Two ends of a cable: `dut` for the port, `far` for the test.
fn veth_pair() {
    private_namespace();
    run("ip", "link add dut type veth peer name far");
    for end in ["dut", "far"] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1").ok();
        run("ip", &format!("link set {end} up"));
    }
}

/// A packet socket on an interface.
struct Wire(OwnedFd);
impl Wire {
    fn open(interface: &str) -> Self {
        let name = std::ffi::CString::new(interface).expect("no zero");
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: makes a descriptor.
        let raw =
            unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol.into()) };
        assert!(raw >= 0, "packet socket: {}", io::Error::last_os_error());
        // SAFETY: a descriptor that nobody else has.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        // SAFETY: a C text; all zero is a value of the address.
        let mut addr: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        addr.sll_family = libc::AF_PACKET as u16;
        addr.sll_protocol = protocol;
        // SAFETY: a C text.
        addr.sll_ifindex = unsafe { libc::if_nametoindex(name.as_ptr()) } as i32;
        let len = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: an address of the length given.
        let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const addr).cast(), len) };
        assert!(bound == 0, "bind to {interface}: {}", io::Error::last_os_error());
        Self(fd)
    }
    fn send(&self, frame: &[u8]) {
        // SAFETY: readable bytes.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(sent, frame.len() as isize, "{}", io::Error::last_os_error());
    }
    /// The next frame if there is one.
    fn receive(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 65536];
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: writable bytes.
        let len = unsafe { libc::recv(self.0.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), flags) };
        bytes.truncate(usize::try_from(len).ok()?);
        Some(bytes)
    }
}

/// Both ways through the port, in order and whole; then all buffers are back.
fn exchange(queues: (&mut RxQueue, &mut TxQueue), far: &Wire, pool: &Mempool, len: usize) {
    let (rx, tx) = queues;
    let mut burst = Burst::new();
    let (mut got, mut sent, started) = (Vec::new(), 0, Instant::now());
    // The far end sends a few at a time: veth and sockets drop what nobody takes.
    while got.len() < FRAMES as usize {
        if sent < FRAMES && sent as usize - got.len() < 16 {
            far.send(&frame(sent, len));
            sent += 1;
        }
        rx.fill(&mut burst);
        for mbuf in burst.drain() {
            if let Some(number) = number(&mbuf) {
                assert_eq!(mbuf.data(), frame(number, len));
                // Room for what a tunnel adds in front and behind.
                assert!(mbuf.headroom() >= 128 && mbuf.tailroom() >= 128, "{mbuf:?}");
                got.push(number);
            }
        }
        assert!(started.elapsed() < PATIENCE, "received {} of {sent} frames", got.len());
    }
    assert_eq!(got, (0..FRAMES).collect::<Vec<_>>());
    while far.receive().is_some() {}
    let (mut got, mut sent, started) = (Vec::new(), 0, Instant::now());
    while got.len() < FRAMES as usize {
        if sent < FRAMES && sent as usize - got.len() < 16 && burst.is_empty() {
            let mbuf = pool.copy_of(&frame(sent, len)).expect("a free buffer").expect("it fits");
            burst.push(mbuf).expect("room");
            sent += 1;
        }
        tx.send(&mut burst);
        while let Some(bytes) = far.receive() {
            if let Some(number) = number(&wire::TestBuf::new(&bytes)) {
                assert_eq!(bytes, frame(number, len));
                got.push(number);
            }
        }
        assert!(started.elapsed() < PATIENCE, "{sent} sent, {} received at the far end", got.len());
    }
    assert_eq!(got, (0..FRAMES).collect::<Vec<_>>());
}

#[test]
fn af_packet_on_veth() {
    own_process!();
    veth_pair();
    let eal = start();
    let pool = pool(&eal, 1023);
    let (port, mut rx, mut tx) = open(&eal, "wan", "af-packet:dut", &PortConfig::default(), pool);
    let far = Wire::open("far");
    exchange((&mut rx, &mut tx), &far, &pool, 64);
    exchange((&mut rx, &mut tx), &far, &pool, 1514);
    let stats = port.stats().expect("statistics");
    assert!(stats.rx_packets >= 400 && stats.tx_packets >= 400, "{stats:?}");
    assert_eq!(pool.in_use(), 0, "this driver copies");
}

#[test]
fn af_xdp_on_veth() {
    own_process!();
    veth_pair();
    let eal = start();
    // The driver keeps buffers in the kernel's fill ring: room for its ring and for ours.
    let pool = pool(&eal, 8191);
    let (_port, mut rx, mut tx) = open(&eal, "wan", "af-xdp:dut", &PortConfig::default(), pool);
    let far = Wire::open("far");
    exchange((&mut rx, &mut tx), &far, &pool, 64);
    exchange((&mut rx, &mut tx), &far, &pool, 1514);
}

#[test]
fn af_xdp_with_too_small_a_pool_says_how_large_it_must_be() {
    own_process!();
    veth_pair();
    let eal = start();
    let small = pool(&eal, 2047);
    let mut port = Port::open(&eal, "wan", &"af-xdp:dut".parse().expect("a device")).expect("a port");
    let error = port.start(&PortConfig::default(), &[small]).map(drop).expect_err("too small");
    assert!(matches!(error, PortError::Buffers { have: 2047, need: 2112, .. }), "{error}");
    let enough = pool(&eal, 4095);
    let _queues = port.start(&PortConfig::default(), &[enough]).expect("it starts");
    assert_eq!(enough.in_use(), 2048, "what README.md says the kernel's ring takes");
}

/// A killed process leaves its XDP program on the interface; the next one must get on with it.
#[test]
fn af_xdp_after_a_kill() {
    own_process!();
    const VICTIM: &str = "ESPWAY_TEST_VICTIM";
    if let Ok(ready) = std::env::var(VICTIM) {
        let eal = start();
        let pool = pool(&eal, 8191);
        let _port = open(&eal, "wan", "af-xdp:dut", &PortConfig::default(), pool);
        std::fs::write(ready, "").expect("a sign of life");
        std::thread::sleep(2 * PATIENCE);
        return;
    }
    veth_pair();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ready = dir.path().join("ready");
    let exe = std::env::current_exe().expect("a path");
    let args = ["--exact", "kernel::af_xdp_after_a_kill", "--nocapture"];
    let mut victim = Command::new(exe).args(args).env(VICTIM, &ready).spawn().expect("a second process");
    let started = Instant::now();
    while !ready.exists() {
        assert!(victim.try_wait().expect("a child").is_none(), "the victim ended by itself");
        assert!(started.elapsed() < PATIENCE, "the victim did not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    victim.kill().expect("our own child");
    victim.wait().expect("our own child");
    let eal = start();
    let pool = pool(&eal, 8191);
    let (_port, mut rx, mut tx) = open(&eal, "wan", "af-xdp:dut", &PortConfig::default(), pool);
    exchange((&mut rx, &mut tx), &Wire::open("far"), &pool, 64);
}

#[test]
fn tap() {
    own_process!();
    private_namespace();
    let eal = start();
    let pool = pool(&eal, 4095);
    let (port, mut rx, mut tx) = open(&eal, "host", "tap:tap0", &PortConfig::default(), pool);
    run("ip", "link set tap0 up");
    assert!(port.link().expect("a link").up);
    let far = Wire::open("tap0");
    exchange((&mut rx, &mut tx), &far, &pool, 64);
    exchange((&mut rx, &mut tx), &far, &pool, 1514);
}

#[test]
fn an_mtu_is_set_on_the_kernel_interface_or_refused_with_the_limit() {
    own_process!();
    veth_pair();
    let eal = start();
    let pool = pool(&eal, 1023);
    let mtu = |mtu| PortConfig { mtu, ..PortConfig::default() };
    let mut port = Port::open(&eal, "wan", &"af-packet:dut".parse().expect("a device")).expect("a port");
    let error = port.start(&mtu(9000), &[pool]).map(drop).expect_err("its frames have 2048 bytes");
    assert!(matches!(error, PortError::Limit { what: "mtu", asked: 9000, max: 1500, .. }), "{error}");
    let _queues = port.start(&mtu(1400), &[pool]).expect("it starts");
    let shown = Command::new("ip").args(["link", "show", "dut"]).output().expect("ip");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("mtu 1400"), "{shown}");
}

#[test]
fn a_tap_goes_away_with_its_port() {
    own_process!();
    private_namespace();
    let eal = start();
    let pool = pool(&eal, 2047);
    let (port, rx, tx) = open(&eal, "host", "tap:tap0", &PortConfig::default(), pool);
    run("ip", "link show tap0");
    drop((rx, tx));
    drop(port);
    let gone = Command::new("ip").args(["link", "show", "tap0"]).output().expect("ip");
    assert!(!gone.status.success(), "tap0 is still there");
    assert_eq!(pool.in_use(), 0, "the driver gave back what it held");
    let mut port =
        Port::open(&eal, "host", &"tap:tap0".parse().expect("a device")).expect("it can be made again");
    let (_rx, mut tx) = port.start(&PortConfig::default(), &[pool]).expect("it starts again");
    let mut burst = Burst::new();
    run("ip", "link set tap0 up");
    fill(&pool, &mut burst, 8);
    assert_eq!(tx[0].send(&mut burst), 8);
}
