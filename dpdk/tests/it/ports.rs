use crate::own_process;
use crate::support::{allowed_cpus, config, fill, number, open, pool, start, start_with};
use dpdk::{Burst, EalConfig, Lcore, Port, PortConfig, PortError};

#[test]
fn sending_does_not_free_what_the_driver_owns() {
    own_process!();
    let eal = start();
    let pool = pool(&eal, 4095);
    let config = PortConfig::default();
    let (mut port, mut rx, mut tx) = open(&eal, "loop", "ring:loop", &config, pool);
    // The ring holds 1023 packets: the driver takes some of a burst, then none.
    let (mut sent, mut burst) = (0, Burst::new());
    loop {
        fill(&pool, &mut burst, 64);
        let taken = tx.send(&mut burst);
        sent += taken;
        assert_eq!(pool.in_use() as usize, sent + burst.len(), "the driver's and ours, each once");
        if taken < 64 {
            assert_eq!(burst.len(), 64 - taken);
            let expected: Vec<u32> = (taken as u32..64).collect();
            assert_eq!(burst.iter().filter_map(number).collect::<Vec<_>>(), expected, "the last ones stay");
            break;
        }
    }
    assert!(sent > 0 && sent % 64 != 0, "the last burst was taken in part: {sent}");
    assert_eq!(tx.send(&mut burst), 0);
    burst.clear();
    assert_eq!(pool.in_use() as usize, sent);
    // What was sent comes back whole and in order.
    let mut back = Vec::new();
    while rx.fill(&mut burst) != 0 {
        back.extend(burst.drain().map(|mbuf| number(&mbuf)));
    }
    assert_eq!(back, (0..sent).map(|at| Some(at as u32 % 64)).collect::<Vec<_>>());
    assert_eq!(pool.in_use(), 0);
    assert!(matches!(port.stop(), Err(PortError::InUse(_))), "queues are out");
    drop((rx, tx));
    port.stop().expect("all queues came back");
}

#[test]
fn the_null_port_swallows_and_frees() {
    own_process!();
    let eal = start();
    let pool = pool(&eal, 1023);
    let (port, mut rx, mut tx) = open(&eal, "hole", "null", &PortConfig::default(), pool);
    let mut burst = Burst::new();
    for _ in 0..10 {
        fill(&pool, &mut burst, 64);
        assert_eq!(tx.send(&mut burst), 64);
        assert_eq!(pool.in_use(), 0);
    }
    assert_eq!(rx.fill(&mut burst), 0);
    assert_eq!(port.stats().expect("statistics").tx_packets, 640);
    assert!(port.link().expect("a link").up);
}

#[test]
fn limits_and_missing_things_are_named() {
    own_process!();
    let eal = start();
    let pool = pool(&eal, 255);
    let refused = |device: &str| {
        let device = device.parse().expect("a device");
        Port::open(&eal, "wan", &device).map(drop).expect_err("it cannot be opened").to_string()
    };
    let said = refused("af-packet:nosuchif0");
    assert!(said.contains("port `wan`") && said.contains("nosuchif0"), "{said}");
    assert!(refused("pcap:/nonexistent.pcap").contains("/nonexistent.pcap"));
    assert!(refused("pci:0000:ff:1f.7").contains("0000:ff:1f.7"));
    let mut port = Port::open(&eal, "hole", &"null".parse().expect("a device")).expect("a port");
    let mut start = |config: PortConfig| port.start(&config, &[pool]).map(drop).expect_err("beyond a limit");
    let default = PortConfig::default;
    assert!(matches!(start(PortConfig { mtu: 10, ..default() }), PortError::Limit { what: "mtu", .. }));
    assert!(matches!(start(PortConfig { mtu: 9000, ..default() }), PortError::Frame { need: 9022, .. }));
    assert!(matches!(start(PortConfig { rx_queues: 2000, ..default() }), PortError::Limit { .. }));
}

#[test]
fn queues_move_to_the_workers_that_poll_them() {
    own_process!();
    let cpu = *allowed_cpus().last().expect("a CPU");
    let workers = vec![Lcore { id: 1, cpu }, Lcore { id: 2, cpu }];
    let eal = start_with(&EalConfig { workers, ..config() });
    let pool = pool(&eal, 4095);
    let mut port = Port::open(&eal, "loop", &"ring:loop".parse().expect("a device")).expect("a port");
    let queues = PortConfig { rx_queues: 2, tx_queues: 2, ..PortConfig::default() };
    let (rx, tx) = port.start(&queues, &[pool, pool]).expect("it starts");
    let running: Vec<_> = [1, 2]
        .into_iter()
        .zip(rx.into_iter().zip(tx))
        .map(|(lcore, (mut rx, mut tx))| {
            let work = move || {
                let (mut burst, mut seen) = (Burst::new(), 0);
                for _ in 0..1000 {
                    fill(&pool, &mut burst, 32);
                    assert_eq!(tx.send(&mut burst), 32);
                    while seen % 32 != 0 || burst.is_empty() {
                        seen += rx.fill(&mut burst);
                    }
                    assert!(burst.iter().filter_map(number).eq(0..32));
                    burst.clear();
                }
                (rx.queue(), tx.queue(), seen)
            };
            eal.launch(lcore, work).expect("an idle worker")
        })
        .collect();
    let done: Vec<_> = running.into_iter().map(|worker| worker.join().expect("no panic")).collect();
    assert_eq!(done, [(0, 0, 32_000), (1, 1, 32_000)]);
    assert_eq!(pool.in_use(), 0);
    port.stop().expect("the workers dropped their queues");
    assert_eq!(port.stats().expect("statistics").tx_packets, 64_000);
}
