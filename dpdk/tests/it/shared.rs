//! Ports that end in another process, or in a file. The other process is this test binary again.
use crate::own_process;
use crate::support::{frame, number, open, pool, start};
use dpdk::{Burst, PortConfig, RxQueue, TxQueue};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use wire::PacketBuf;

const PATIENCE: Duration = Duration::from_secs(30);
const FRAMES: u32 = 2000;
/// Tells the second process of a test which device it has.
const FAR_DEVICE: &str = "ESPWAY_TEST_FAR_DEVICE";

fn far_process(test: &str, device: &str) -> Child {
    let exe = std::env::current_exe().expect("a path");
    let args = ["--exact", test, "--nocapture"];
    Command::new(exe).args(args).env(FAR_DEVICE, device).spawn().expect("the second process starts")
}

/// Sends back every numbered frame until the last one has gone.
fn echo(device: &str) {
    let eal = start();
    let pool = pool(&eal, 4095);
    let (_port, mut rx, mut tx) = open(&eal, "far", device, &PortConfig::default(), pool);
    let (mut burst, mut out) = (Burst::new(), Burst::new());
    let (mut echoed, started) = (0, Instant::now());
    while echoed < FRAMES as usize {
        rx.fill(&mut burst);
        for mbuf in burst.drain() {
            if number(&mbuf).is_some() {
                out.push(mbuf).expect("it was empty");
            }
        }
        while !out.is_empty() {
            echoed += tx.send(&mut out);
            assert!(started.elapsed() < PATIENCE, "echoed {echoed}");
        }
        assert!(started.elapsed() < PATIENCE, "echoed {echoed}");
    }
    // Until the other side has seen them: it ends this process.
    while started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn through_echo(rx: &mut RxQueue, tx: &mut TxQueue, pool: &dpdk::Mempool) -> Vec<u32> {
    let (mut burst, mut inbox) = (Burst::new(), Burst::new());
    let (mut got, mut sent, started) = (Vec::new(), 0, Instant::now());
    while got.len() < FRAMES as usize {
        while sent < FRAMES && !burst.is_full() && (sent as usize - got.len()) < 128 {
            let len = 64 + sent as usize % 1400;
            let mbuf = pool.copy_of(&frame(sent, len)).expect("a free buffer").expect("it fits");
            burst.push(mbuf).expect("room");
            sent += 1;
        }
        tx.send(&mut burst);
        rx.fill(&mut inbox);
        for mbuf in inbox.drain() {
            let number = number(&mbuf).expect("one of ours");
            assert_eq!(mbuf.data(), frame(number, 64 + number as usize % 1400));
            assert!(mbuf.headroom() >= 128 && mbuf.tailroom() >= 128, "{mbuf:?}");
            got.push(number);
        }
        assert!(started.elapsed() < PATIENCE, "{sent} sent, {} came back", got.len());
    }
    got
}

fn two_processes(test: &str, near: impl Fn(&str) -> String, far: impl Fn(&str) -> String) {
    if let Ok(device) = std::env::var(FAR_DEVICE) {
        return echo(&device);
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let socket = dir.path().join("s").to_str().expect("UTF-8").to_owned();
    // A socket that a process which died has left behind must not be in the way.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("bind"));
    let eal = start();
    let pool = pool(&eal, 4095);
    let (port, mut rx, mut tx) = open(&eal, "near", &near(&socket), &PortConfig::default(), pool);
    let mut child = far_process(test, &far(&socket));
    let started = Instant::now();
    // Links of both kinds come up when the far side has connected.
    while !port.link().expect("a link").up {
        // memif works on its connection in its own thread; vhost too.
        std::thread::sleep(Duration::from_millis(1));
        assert!(started.elapsed() < PATIENCE, "no link");
        assert!(child.try_wait().expect("a child").is_none(), "the far process ended early");
    }
    let got = through_echo(&mut rx, &mut tx, &pool);
    child.kill().expect("our own child");
    child.wait().expect("our own child");
    assert_eq!(got, (0..FRAMES).collect::<Vec<_>>());
}

#[test]
fn memif_between_two_processes() {
    own_process!();
    two_processes(
        "shared::memif_between_two_processes",
        |socket| format!("memif:{socket},role=server"),
        |socket| format!("memif:{socket},role=client"),
    );
}

#[test]
fn virtio_user_to_vhost_user() {
    own_process!();
    two_processes(
        "shared::virtio_user_to_vhost_user",
        |socket| format!("vhost-user:{socket}"),
        |socket| format!("virtio:{socket}"),
    );
}

/// A classic capture file of Ethernet frames.
fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        file.extend(word.to_le_bytes());
    }
    for (at, frame) in frames.iter().enumerate() {
        for word in [at as u32, 0, frame.len() as u32, frame.len() as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}
fn frames_of(file: &[u8]) -> Vec<Vec<u8>> {
    let (mut frames, mut rest) = (Vec::new(), &file[24..]);
    while let Some(len) = rest.get(8..12) {
        let len = u32::from_le_bytes(len.try_into().expect("four bytes")) as usize;
        frames.push(rest[16..16 + len].to_vec());
        rest = &rest[16 + len..];
    }
    frames
}

#[test]
fn pcap_in_and_out() {
    own_process!();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (from, to) = (dir.path().join("in.pcap"), dir.path().join("out.pcap"));
    // The last one is longer than a buffer: the driver chains segments, which do not become one.
    let mut frames: Vec<_> = (0..300).map(|at| frame(at, 60 + at as usize * 4)).collect();
    frames.push(frame(300, 6000));
    std::fs::write(&from, capture(&frames)).expect("write");
    let eal = start();
    let pool = pool(&eal, 1023);
    let device = format!("pcap:{},{}", from.display(), to.display());
    let (port, mut rx, mut tx) = open(&eal, "file", &device, &PortConfig::default(), pool);
    let mut burst = Burst::new();
    let started = Instant::now();
    let mut seen = 0;
    while seen + rx.dropped_chained() < 301 {
        seen += rx.fill(&mut burst) as u64;
        while !burst.is_empty() {
            tx.send(&mut burst);
        }
        assert!(started.elapsed() < PATIENCE, "{seen} frames");
    }
    assert_eq!((seen, rx.dropped_chained()), (300, 1));
    assert_eq!(pool.in_use(), 0);
    drop((rx, tx));
    drop(port);
    frames.pop();
    assert_eq!(frames_of(&std::fs::read(&to).expect("the file written")), frames);
}
