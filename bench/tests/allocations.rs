//! The datapath takes no memory and gives none back: an allocator that counts stands under two gateways that have
//! warmed up, while thousands of bursts of every kind go through them.
#[path = "../../fastpath/tests/common/mod.rs"]
mod common;

use bench::buffer::MemBuf;
use bench::plan;
use common::*;
use fastpath::crypto::{CpuEngine, CpuEngineKind, CpuKeys};
use fastpath::graph::{Out, Worker};
use fastpath::offline::{self, Setup};
use fastpath::tables::Control;
use ipc::contract::Command;
use sa::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;
use wire::PacketBuf;

/// Counts what a thread takes and gives back.
struct Counting;
thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
    static GIVEN: Cell<u64> = const { Cell::new(0) };
}
// SAFETY: every call is handed on to the system's allocator as it came; counting takes no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: the caller keeps this trait's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        GIVEN.set(GIVEN.get() + 1);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}
#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn counted() -> (u64, u64) {
    (TAKEN.get(), GIVEN.get())
}

/// A tunnel with a policy of its own: UDP to one port.
struct Tunnel {
    suite: &'static str,
    inner_v6: bool,
    outer_v6: bool,
    encap: Option<Encap>,
}
const fn tunnel(suite: &'static str, inner_v6: bool, outer_v6: bool, encap: bool) -> Tunnel {
    let ports = Encap { local_port: 4500, remote_port: 4500 };
    Tunnel { suite, inner_v6, outer_v6, encap: if encap { Some(ports) } else { None } }
}
const TUNNELS: [Tunnel; 8] = [
    tunnel("aes-128-gcm", false, false, false),
    tunnel("aes-256-gcm", false, false, true),
    tunnel("aes-128-gcm", true, false, false),
    tunnel("aes-128-gcm", false, true, false),
    tunnel("aes-128-cbc/sha256", false, false, false),
    tunnel("aes-256-cbc/sha256", true, true, false),
    tunnel("aes-256-cbc/sha1", false, false, true),
    tunnel("null/sha256", false, false, false),
];
const PORT: u16 = 5000;
/// Its policy says discard.
const DISCARDED: u16 = 6000;
/// Its policy wants an SA that nobody made.
const UNPROTECTED: u16 = 6001;

fn udp_to(v6: bool, port: u16, len: usize) -> Vec<u8> {
    udp(Side::A.host(v6), Side::B.host(v6), 4000, port, &vec![0x5a; len])
}
fn policy_for(id: usize, v6: bool, port: u16, action: Action, side: Side) -> PolicySpec {
    let one = PortRange { first: port, last: port };
    let (src, dst) = (side.lan(v6), side.other().lan(v6));
    // What A sends to a port of B, and what B has for A from there.
    let selector = match side {
        Side::A => Selector { protocol: Some(17), dst_port: one, ..selector(src, dst) },
        Side::B => Selector { protocol: Some(17), src_port: one, ..selector(src, dst) },
    };
    PolicySpec { id: PolicyId(id as u32), selector, action, framing: Framing::default() }
}
fn setup(side: Side) -> Setup {
    let mut setup = Setup { policies: Vec::new(), ..side.setup() };
    for neighbour in setup.neighbours.iter_mut().filter(|n| n.interface == usize::from(WAN)) {
        neighbour.mac = side.other().wan_mac();
    }
    for (n, tunnel) in TUNNELS.iter().enumerate() {
        let policy = policy_for(n + 1, tunnel.inner_v6, PORT + n as u16, REQUIRE, side);
        setup.policies.push(policy);
        setup.sas.push(SaSpec {
            slot: SaSlot(n as u32 + 1),
            spi: Spi::new(0x1000_0021 + n as u32).expect("an SPI"),
            ends: TunnelEnds { local: side.wan(tunnel.outer_v6), remote: side.other().wan(tunnel.outer_v6) },
            encap: tunnel.encap,
            policy: policy.id,
            selectors: vec![policy.selector.into()],
            esn: n % 2 == 0,
            ..a_to_b(side, tunnel.suite)
        });
    }
    let extra = [(DISCARDED, Action::Discard), (UNPROTECTED, REQUIRE)];
    for (n, (port, action)) in extra.into_iter().enumerate() {
        setup.policies.push(policy_for(TUNNELS.len() + 1 + n, false, port, action, side));
    }
    setup
}

struct Site {
    control: Control<CpuKeys>,
    worker: Worker<MemBuf, CpuEngine<MemBuf>>,
    out: Out<MemBuf>,
    burst: Vec<MemBuf>,
}
impl Site {
    fn new(side: Side, engines: &[CpuEngineKind]) -> Self {
        let setup = setup(side);
        let mut control = offline::control(&setup, engines).expect("engines");
        let mut apply = |command| control.apply(command, Duration::ZERO).expect("accepted");
        apply(Command::PolicyBegin { generation: 1, count: setup.policies.len() as u32 });
        for policy in &setup.policies {
            apply(Command::Policy(*policy));
        }
        apply(Command::PolicyCommit { generation: 1 });
        for spec in setup.sas {
            apply(Command::InstallSa(Box::new(spec)));
        }
        let engine = CpuEngine::new(engines).expect("engines");
        let worker = Worker::new(control.reader(), engine).expect("randomness");
        let mut site = Self { control, worker, out: Out::default(), burst: Vec::with_capacity(64) };
        site.settle(Duration::ZERO);
        site
    }
    fn settle(&mut self, now: Duration) {
        for _ in 0..4 {
            self.worker.idle(now, &mut self.out);
            self.control.poll(now, &mut self.out.events, &mut Vec::new());
        }
    }
    fn dropped(&self, reason: DropReason) -> u64 {
        self.out.dropped(reason)
    }
    /// Takes everything out that was made, but what is on its way to the other port.
    fn empty(&mut self, free: &mut Vec<MemBuf>) {
        let Out { tx, host, unresolved, ike, errors, events, .. } = &mut self.out;
        tx.iter_mut().for_each(|queue| free.append(queue));
        free.extend(host.drain(..).map(|h| h.frame));
        free.extend(unresolved.drain(..).map(|u| u.packet));
        free.extend(ike.drain(..).map(|i| i.payload));
        free.extend(errors.drain(..).map(|e| e.packet));
        events.clear();
    }
}

/// Frames that A gets from its LAN: for each tunnel some of several lengths, then those that go nowhere.
fn clear_frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (n, tunnel) in TUNNELS.iter().enumerate() {
        for len in [1, 64, 301, 1200] {
            frames.push(frame(Side::A, LAN, &udp_to(tunnel.inner_v6, PORT + n as u16, len)));
        }
    }
    let dying = with_ttl(&udp_to(false, PORT, 100), 1);
    let unknown = udp(Side::A.host(false), ip("10.2.0.99"), 4000, PORT, &[1; 40]);
    let ours = packet(Side::A.host(false), ip("10.1.0.1"), 1, &[8, 0, 0, 0, 0, 0, 0, 0]);
    for packet in [udp_to(false, DISCARDED, 100), udp_to(false, UNPROTECTED, 100), dying, unknown, ours] {
        frames.push(frame(Side::A, LAN, &packet));
    }
    let mut stranger = frames[0].clone();
    stranger[0] ^= 2;
    frames.extend([stranger, frames[0][..10].to_vec(), frames[0][..40].to_vec()]);
    frames
}
/// Frames that B gets from the WAN beside what A sent.
fn wan_frames() -> Vec<Vec<u8>> {
    let from = |protocol, payload: &[u8]| packet(Side::A.wan(false), Side::B.wan(false), protocol, payload);
    let ike = udp(Side::A.wan(false), Side::B.wan(false), 500, 500, &[7; 60]);
    let keepalive = udp(Side::A.wan(false), Side::B.wan(false), 4500, 4500, &[0xff]);
    let unknown_spi = [&[0x77, 0, 0, 1, 0, 0, 0, 1][..], &[0; 60]].concat();
    let in_clear = udp_to(false, PORT, 100);
    let packets = [from(50, &unknown_spi), from(50, &[0x10, 0, 0, 0x21, 0, 0]), ike, keepalive, in_clear];
    packets.iter().map(|packet| frame(Side::B, WAN, packet)).collect()
}

/// A's burst goes through both gateways, some of it spoilt or doubled on the way. How many packets arrive.
fn round(
    (a, b): (&mut Site, &mut Site),
    free: &mut Vec<MemBuf>,
    (clear, wan): (&[Vec<u8>], &[Vec<u8>]),
    n: usize,
) -> usize {
    let now = Duration::from_micros(100 * n as u64);
    for frames in clear.chunks(32) {
        for frame in frames {
            let mut buffer = free.pop().expect("enough buffers");
            assert!(buffer.load(frame));
            a.burst.push(buffer);
        }
        a.worker.process(LAN, &mut a.burst, now, &mut a.out);
    }
    b.burst.append(&mut a.out.tx[usize::from(WAN)]);
    let doubled = TUNNELS.len() + n % (b.burst.len() - TUNNELS.len());
    let mut buffer = free.pop().expect("enough buffers");
    assert!(buffer.load(b.burst[doubled].data()));
    b.burst.push(buffer);
    let spoilt = b.burst[(n + 7) % TUNNELS.len()].data_mut();
    *spoilt.last_mut().expect("a frame") ^= 1;
    for frame in wan {
        let mut buffer = free.pop().expect("enough buffers");
        assert!(buffer.load(frame));
        b.burst.push(buffer);
    }
    b.worker.process(WAN, &mut b.burst, now, &mut b.out);
    let delivered = b.out.tx[usize::from(LAN)].len();
    a.empty(free);
    b.empty(free);
    delivered
}

/// Two bursts at the first gateway and one at the second.
const ROUNDS: usize = 1000;

fn no_allocation_on(engines: &[CpuEngineKind]) {
    let (mut a, mut b) = (Site::new(Side::A, engines), Site::new(Side::B, engines));
    let (clear, wan) = (clear_frames(), wan_frames());
    let mut free = Vec::with_capacity(65_536);
    free.extend(MemBuf::pool(free.capacity()));
    for n in 0..200 {
        round((&mut a, &mut b), &mut free, (&clear, &wan), n);
    }
    let mut delivered = 0;
    let before = (a.out.drops, b.out.drops);
    for n in 200..200 + ROUNDS {
        let start = counted();
        delivered += round((&mut a, &mut b), &mut free, (&clear, &wan), n);
        let end = counted();
        assert_eq!(
            (end.0 - start.0, end.1 - start.1),
            (0, 0),
            "taken and given back in round {n}, {engines:?}"
        );
        if n % 100 == 0 {
            // Whoever changes a table may allocate; the workers that come to see it may not.
            a.control.set_neighbour(0, Side::A.host(false), Some(wire::Mac(HOST)));
            a.control.poll(Duration::ZERO, &mut Vec::new(), &mut Vec::new());
        }
    }
    // All of that was there.
    assert_eq!(delivered, ROUNDS * (4 * TUNNELS.len() - 1), "all but the spoilt ones");
    let grew = |site: &Site, before: &[u64; DropReason::COUNT], reason: DropReason| {
        site.dropped(reason) - before[reason as usize]
    };
    use DropReason::*;
    for reason in [Discard, NoSa, TtlExpired, NotForUs, MalformedEthernet, MalformedIp] {
        assert!(grew(&a, &before.0, reason) >= ROUNDS as u64, "{reason:?} at A");
    }
    for reason in [NoSuchSa, EspTooShort, Keepalive, ClearForProtected, IcvMismatch, ReplaySeen] {
        assert!(grew(&b, &before.1, reason) >= ROUNDS as u64 / 2, "{reason:?} at B");
    }
}

#[test]
fn the_hot_path_takes_no_memory() {
    let gcm = plan::suite("aes-128-gcm").expect("a suite");
    let mut choices: Vec<Vec<CpuEngineKind>> = vec![plan::automatic(gcm), vec![CpuEngineKind::RustCrypto]];
    choices.push(vec![CpuEngineKind::Ring, CpuEngineKind::IpsecMb]);
    for engines in choices {
        no_allocation_on(&engines);
    }
}
