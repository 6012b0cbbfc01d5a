//! What the tests share: an EAL of this process's own, pools, packets.
use dpdk::eal::LogLevel;
use dpdk::{
    Burst, Eal, EalConfig, Hugepages, Lcore, Mempool, PoolConfig, Port, PortConfig, RxQueue, TxQueue,
};
use wire::PacketBuf;

/// DPDK starts once per process: first line of each test. Under `cargo nextest` a test has a process
/// of its own anyway; under `cargo test` it is run again in one.
#[macro_export]
macro_rules! own_process {
    () => {{
        fn here() {}
        if $crate::support::ran_elsewhere(std::any::type_name_of_val(&here)) {
            return;
        }
    }};
}
pub fn ran_elsewhere(here: &str) -> bool {
    const CHILD: &str = "ESPWAY_TEST_CHILD";
    if std::env::var_os("NEXTEST").is_some() || std::env::var_os(CHILD).is_some() {
        return false;
    }
    let name = here.trim_start_matches("it::").trim_end_matches("::here");
    let exe = std::env::current_exe().expect("a path");
    let args = ["--exact", name, "--nocapture"];
    let done = std::process::Command::new(exe).args(args).env(CHILD, "1").output().expect("a second process");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
    true
}

/// Without hugepages, so that the tests run anywhere; with them if `ESPWAY_TEST_HUGEPAGES` is set.
pub fn config() -> EalConfig {
    let cpu = allowed_cpus()[0];
    let huge = std::env::var_os("ESPWAY_TEST_HUGEPAGES").is_some();
    EalConfig {
        program: "dpdk-test".into(),
        main: Lcore { id: 0, cpu },
        memory_mib: if huge { 32 } else { 128 },
        hugepages: if huge { Hugepages::Yes } else { Hugepages::No },
        log_level: LogLevel::Warning,
        ..EalConfig::new(format!("espway-test-{}", std::process::id()))
    }
}

pub fn allowed_cpus() -> Vec<u32> {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc is mounted");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a CPU list");
    list.trim()
        .split(',')
        .flat_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            first.parse::<u32>().expect("a number")..=last.parse::<u32>().expect("a number")
        })
        .collect()
}

pub fn start() -> Eal {
    start_with(&config())
}
pub fn start_with(config: &EalConfig) -> Eal {
    Eal::init(config).unwrap_or_else(|e| panic!("{e}"))
}

/// A pool without caches, whose count of buffers in use is exact.
pub fn pool(eal: &Eal, buffers: u32) -> Mempool {
    let config = PoolConfig { cache: 0, ..PoolConfig::new(format!("p{buffers}"), buffers) };
    Mempool::create(eal, &config).unwrap_or_else(|e| panic!("{e}"))
}

pub fn open(
    eal: &Eal,
    name: &str,
    device: &str,
    config: &PortConfig,
    pool: Mempool,
) -> (Port, RxQueue, TxQueue) {
    let device = device.parse().unwrap_or_else(|e| panic!("{device}: {e}"));
    let mut port = Port::open(eal, name, &device).unwrap_or_else(|e| panic!("{e}"));
    let (mut rx, mut tx) = port.start(config, &[pool]).unwrap_or_else(|e| panic!("{e}"));
    let queues = (rx.remove(0), tx.remove(0));
    (port, queues.0, queues.1)
}

/// A broadcast frame of an experimental EtherType whose payload says which one it is.
pub fn frame(number: u32, len: usize) -> Vec<u8> {
    let mut frame = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5];
    frame.extend(number.to_be_bytes());
    frame.resize(len, number as u8);
    frame
}

pub fn fill(pool: &Mempool, burst: &mut Burst, n: u32) {
    for number in 0..n {
        let mbuf = pool.copy_of(&frame(number, 64)).expect("a free buffer").expect("it fits");
        burst.push(mbuf).expect("room in the burst");
    }
}

/// The number inside a frame of [`frame`], or `None` for anybody else's.
pub fn number(packet: &impl PacketBuf) -> Option<u32> {
    let data = packet.data();
    (data.get(12..14)? == [0x88, 0xb5]).then_some(())?;
    Some(u32::from_be_bytes(data.get(14..18)?.try_into().ok()?))
}
