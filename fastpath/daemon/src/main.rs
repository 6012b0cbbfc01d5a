//! `espway-fastpath`: the process that owns the ports and every packet on them.
#![forbid(unsafe_code)]
mod control;
mod engine;
mod exchange;
mod idle;
mod kernel;
mod looks;
mod mirror;
mod network;
mod plan;
mod ports;
mod telemetry;
mod worker;

use anyhow::{Context, Result};
use clap::Parser;
use dpdk::{Eal, LogLevel};
use fastpath::graph::{Worker, share};
use fastpath::host::Host;
use fastpath::tables::{Control, Interface};
use ipc::{FastSide, Geometry, RegionOptions};
use ports::Opened;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tracing::{info, warn};
use wire::{Mac, PacketBuf};

#[derive(Parser)]
#[command(version, about = "The data path of espway: DPDK ports, ESP, policies. Started by `espway run`.")]
struct Args {
    /// Configuration file
    #[arg(long)]
    config: PathBuf,
    /// Unix socket the slow path connects to
    #[arg(long)]
    socket: PathBuf,
    /// DPDK file prefix, unique among DPDK processes of this machine
    #[arg(long)]
    file_prefix: String,
    #[command(flatten)]
    logs: logs::Options,
}

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    // The slow path shows our lines too, when it is there. The thread is older than the lcores, so it runs on none of them.
    let socket = args.socket.with_file_name(logs::SOCKET);
    let started = args.logs.start().and_then(|logs| Ok(logs.relay(socket)?));
    if let Err(error) = started {
        eprintln!("espway-fastpath: {error:#}");
        return std::process::ExitCode::FAILURE;
    }
    match run(&args) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    // Keys are in this process's memory: no core dump, no ptrace by others.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .context("forbidding core dumps")?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("catching signals")?;
    }
    let config = config::load(&args.config)?.config;
    let level = if tracing::enabled!(tracing::Level::DEBUG) { LogLevel::Info } else { LogLevel::Warning };
    let plan = plan::plan(&config, &args.file_prefix, level)?;
    let eal = Eal::init(&plan.eal)?;
    if !eal.hugepages() {
        warn!(
            "running without hugepages: tables and buffers on 4 KiB pages cost up to a third of the throughput"
        );
    }
    let pool = ports::pool(&eal, &plan)?;
    let workers = plan.eal.workers.len() as u16;
    let mut opened = ports::open_all(&eal, &plan, &pool, workers)?;

    let (maker, engines) = engine::open(&eal, plan.engines.as_deref(), workers, plan.sa_slots)?;
    let made = maker.made();
    let mut control = Control::new(maker, plan.sa_slots);
    let host = interfaces(&plan, &opened, &mut control);
    let mut taps = Vec::new();
    for (index, interface) in plan.interfaces.iter().enumerate() {
        let mac = interface.mac.unwrap_or(opened[usize::from(interface.port)].mac);
        taps.extend(ports::open_tap(&eal, &plan, index as u16, mac, &pool)?);
    }

    let mut geometry =
        Geometry { sa_slots: plan.sa_slots, workers: u32::from(workers) + 1, ..Geometry::default() };
    // Each IKE SA may have a single pair of SAs. Only what is written takes memory.
    geometry.vault_records = geometry.vault_records.max(plan.sa_slots / 2);
    let port_names = opened.iter().map(|p| p.name.clone()).collect();
    let mut region = FastSide::create(&RegionOptions { geometry, port_names })?;
    let start = Instant::now();
    let (loops, counts, lanes) = build_workers(&plan, &mut opened, pool, &control, engines, start, &stop)?;
    let pens = (0..=u32::from(workers)).filter_map(|n| region.worker_stats(n)).collect();
    telemetry::start(region.statistics(), u32::from(workers));
    // The socket appears when everything is ready for commands.
    region.listen(&args.socket, &[rustix::process::getuid().as_raw()])?;
    let running: Vec<_> = plan
        .eal
        .workers
        .iter()
        .zip(loops)
        .map(|(lcore, work)| eal.launch(lcore.id, move || work.run()))
        .collect::<Result<_, _>>()?;
    info!(
        workers,
        main_cpu = plan.eal.main.cpu,
        hugepages = eal.hugepages(),
        share = plan.share,
        "data path is running"
    );
    let (ports, quiet): (Vec<_>, Vec<_>) = opened.into_iter().map(|p| (p.port, p.quiet)).unzip();
    let main = control::Main {
        control,
        made,
        host,
        region,
        lanes,
        networks: network::Networks::new(
            plan.interfaces.iter().map(|i| i.name.clone()).collect(),
            &taps,
            plan.network.clone(),
        ),
        taps,
        interface_ports: plan.interfaces.iter().map(|i| i.port).collect(),
        ports,
        pool,
        mirror: mirror::Mirror::new(counts, pens, plan.sa_slots),
        start,
        idle: idle::Backoff::new(plan.idle),
        stop,
        state: control::State::default(),
    };
    let (region, ports) = main.run();
    for worker in running {
        worker.join()?;
    }
    drop((region, ports, quiet));
    dpdk::telemetry::remove_socket();
    info!("data path stopped");
    Ok(())
}

/// Tells the tables of interfaces and routes, and makes the host side of the same interfaces.
fn interfaces(plan: &plan::Plan, opened: &[Opened], control: &mut Control<engine::Maker>) -> Host {
    let mut own = Vec::new();
    for (index, i) in plan.interfaces.iter().enumerate() {
        let mac = i.mac.unwrap_or(opened[usize::from(i.port)].mac);
        let addresses = plan.network.addresses_of(index as u16);
        let interface =
            Interface { port: i.port, vlan: i.vlan, mac: Mac(mac), mtu: i.mtu, addresses: addresses.clone() };
        control.set_interface(index as u16, interface);
        own.push(fastpath::host::Interface { mac, vlan: i.vlan, mtu: i.mtu, addresses });
    }
    control.set_network(&plan.network.addresses, &plan.network.routes);
    Host::new(own)
}

type Workers = (Vec<worker::Loop>, Vec<Arc<fastpath::graph::SaCounts>>, Vec<Arc<exchange::Lane>>);

/// Shares the queues out: receive queues round robin, a transmit queue of each port for everyone.
fn build_workers(
    plan: &plan::Plan,
    opened: &mut [Opened],
    pool: dpdk::Mempool,
    control: &Control<engine::Maker>,
    engines: Vec<engine::WorkerEngine>,
    start: Instant,
    stop: &Arc<AtomicBool>,
) -> Result<Workers> {
    let count = plan.eal.workers.len();
    let mut queues: Vec<(Vec<dpdk::RxQueue>, Vec<u16>, Vec<worker::Transmit>)> =
        (0..count).map(|_| (Vec::new(), Vec::new(), Vec::new())).collect();
    let mut next = 0;
    for (port, opened) in opened.iter_mut().enumerate() {
        for queue in opened.rx.drain(..) {
            let (rx, rx_ports, _) = &mut queues[next % count];
            rx.push(queue);
            rx_ports.push(port as u16);
            next += 1;
        }
        let tx = transmit_queues(std::mem::take(&mut opened.tx), count);
        for (of_worker, queue) in queues.iter_mut().zip(tx) {
            of_worker.2.push(queue);
        }
    }
    let (mut loops, mut counts, mut lanes) = (Vec::new(), Vec::new(), Vec::new());
    let team = if plan.share { share::team(count) } else { Vec::new() };
    let mut team = team.into_iter();
    for ((rx, rx_ports, tx), engine) in queues.into_iter().zip(engines) {
        let mut graph = Worker::new(control.reader(), engine)?;
        graph.fragment_into(Box::new(move |header, payload| {
            let mut buffer = pool.alloc().ok()?;
            let (front, back) = buffer.append(header.len() + payload.len())?.split_at_mut(header.len());
            front.copy_from_slice(header);
            back.copy_from_slice(payload);
            Some(buffer)
        }));
        let lane = exchange::Lane::new(Arc::clone(stop));
        counts.push(graph.counts());
        lanes.push(Arc::clone(&lane));
        loops.push(worker::Loop {
            graph,
            rx,
            tx,
            rx_ports,
            next_rx: 0,
            lane,
            sharing: team.next(),
            start,
            idle: idle::Backoff::new(plan.idle),
            load: ipc::WorkerCounters::default(),
        });
    }
    Ok((loops, counts, lanes))
}

/// One for each worker; shared where the driver has fewer.
fn transmit_queues(queues: Vec<dpdk::TxQueue>, workers: usize) -> Vec<worker::Transmit> {
    if queues.len() >= workers {
        return queues.into_iter().take(workers).map(worker::Transmit::Own).collect();
    }
    let shared: Vec<_> = queues.into_iter().map(|q| Arc::new(Mutex::new(q))).collect();
    let queue_of = |worker: usize| worker::Transmit::Shared(Arc::clone(&shared[worker % shared.len()]));
    (0..workers).map(queue_of).collect()
}
