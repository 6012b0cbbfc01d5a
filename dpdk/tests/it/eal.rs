use crate::own_process;
use crate::support::{allowed_cpus, config, start, start_with};
use dpdk::{Eal, EalConfig, EalError, Hugepages, Lcore};

#[test]
fn two_starts_are_refused() {
    own_process!();
    let _eal = start();
    assert!(matches!(Eal::init(&config()), Err(EalError::AlreadyStarted)));
}

#[test]
fn start_without_hugepages_says_so_and_leaves_no_files() {
    own_process!();
    let config = EalConfig { hugepages: Hugepages::No, ..config() };
    let eal = start_with(&config);
    assert!(!eal.hugepages());
    assert!(Eal::version().starts_with("DPDK "), "{}", Eal::version());
    let left = format!("/var/run/dpdk/{}", config.file_prefix);
    assert!(!std::path::Path::new(&left).exists(), "{left}");
}

#[test]
fn auto_uses_hugepages_when_there_are_enough() {
    own_process!();
    let want = EalConfig { hugepages: Hugepages::Auto, memory_mib: 32, ..config() };
    let free = dpdk::eal::free_hugepage_mib();
    let eal = start_with(&want);
    assert_eq!(eal.hugepages(), free >= 32, "{free} MiB are free");
}

#[test]
fn demanding_more_hugepages_than_there_are_is_an_error_that_names_the_numbers() {
    own_process!();
    let want = EalConfig { hugepages: Hugepages::Yes, memory_mib: u32::MAX, ..config() };
    let error = Eal::init(&want).expect_err("nobody has 4 PiB");
    assert!(matches!(error, EalError::NoHugepages { want: u32::MAX, .. }), "{error}");
}

#[test]
fn a_failed_start_names_the_reason() {
    own_process!();
    let want =
        EalConfig { vdevs: vec!["net_nonsense0".into()], main: Lcore { id: 0, cpu: 4096 }, ..config() };
    let error = Eal::init(&want).expect_err("there is no CPU 4096").to_string();
    assert!(error.contains("\n  "), "the log is missing: {error}");
}

#[test]
fn an_lcore_given_twice_is_refused_before_anything_starts() {
    own_process!();
    let twice = EalConfig { workers: vec![Lcore { id: 0, cpu: 0 }], ..config() };
    assert!(matches!(Eal::init(&twice), Err(EalError::Lcore(0))));
}

#[test]
fn workers_run_closures_on_their_cpu_and_report_panics() {
    own_process!();
    let cpu = *allowed_cpus().last().expect("a CPU");
    let eal = start_with(&EalConfig { workers: vec![Lcore { id: 5, cpu }], ..config() });
    let worker = eal.launch(5, || (dpdk::eal::lcore_id(), allowed_cpus())).expect("an idle worker");
    assert_eq!(worker.join().expect("no panic"), (Some(5), vec![cpu]));
    let worker = eal.launch(5, || panic!("on purpose")).expect("an idle worker");
    assert!(matches!(worker.join(), Err(EalError::Panicked(5))));
    assert!(matches!(eal.launch(9, || ()), Err(EalError::NotAWorker(9))));
    let eal = std::sync::Arc::new(eal);
    let other = std::sync::Arc::clone(&eal);
    let outside = std::thread::spawn(move || other.launch(5, || ()).map(drop)).join().expect("no panic");
    assert!(matches!(outside, Err(EalError::NotMain)));
}
