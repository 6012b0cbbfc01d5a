//! What a worker remembers of flows, through changes of policies and SAs: it has to say what a worker says that knows
//! nothing yet.
mod common;
use common::*;
use fastpath::crypto::{CpuEngine, CpuEngineKind, CpuKeys};
use fastpath::graph::{Out, Worker};
use fastpath::offline::{self, Setup};
use fastpath::tables::Control;
use ipc::contract::Command;
use proptest::prelude::*;
use sa::*;
use std::time::Duration;
use wire::{PacketBuf, TestBuf};

const KIND: [CpuEngineKind; 1] = [CpuEngineKind::RustCrypto];
const NOW: Duration = Duration::ZERO;
const SLOTS: u32 = 16;

#[derive(Clone, Debug)]
enum Change {
    /// The whole list: which selectors of the pool, with which actions.
    Policies(Vec<(u32, usize, u8)>),
    /// An outbound SA for a policy.
    Bind(prop::sample::Index),
    Unbind(prop::sample::Index),
    /// Nothing, so that more is remembered.
    Wait,
}
fn changes() -> impl Strategy<Value = Vec<Change>> {
    let index = any::<prop::sample::Index>;
    let list = prop::collection::vec((1u32..6, 0usize..8, 0u8..4), 0..5);
    let change = prop_oneof![
        2 => list.prop_map(Change::Policies),
        4 => index().prop_map(Change::Bind),
        2 => index().prop_map(Change::Unbind),
        2 => Just(Change::Wait),
    ];
    prop::collection::vec(change, 1..40)
}
fn pool() -> impl Strategy<Value = Vec<Selector>> {
    let block = |net: &'static str| {
        prop::sample::select(vec![
            format!("{net}.0/24"),
            format!("{net}.0/30"),
            format!("{net}.2/32"),
            "0.0.0.0/0".into(),
        ])
    };
    let ports = prop_oneof![Just(PortRange::ANY), (50u16..54).prop_map(PortRange::one)];
    let protocol = prop::option::of(Just(17u8));
    let selector = (block("10.1.0"), block("10.2.0"), any::<bool>(), protocol, ports).prop_map(
        |(near, far, back, protocol, dst_port)| {
            let (near, far) = (prefix(&near), prefix(&far));
            let (src, dst) = if back { (far, near) } else { (near, far) };
            Selector { src, dst, protocol, src_port: PortRange::ANY, dst_port }
        },
    );
    prop::collection::vec(selector, 8)
}

struct Site {
    control: Control<CpuKeys>,
    policies: Vec<PolicySpec>,
    bound: Vec<u32>,
}
impl Site {
    fn apply(&mut self, command: Command) {
        self.control.apply(command, NOW).expect("accepted");
    }
    fn change(&mut self, change: &Change, pool: &[Selector]) {
        match change {
            Change::Policies(list) => {
                let mut ids = std::collections::HashSet::new();
                let action = |n| match n {
                    0 => Action::Discard,
                    1 => Action::Bypass,
                    2 => Action::Encrypt { level: Level::Use, tunnel: true },
                    _ => REQUIRE,
                };
                let list = list.iter().filter(|(id, ..)| ids.insert(*id));
                let policy = |(id, at, kind): &(u32, usize, u8)| PolicySpec {
                    id: PolicyId(*id),
                    selector: pool[*at],
                    action: action(*kind),
                    framing: Framing::default(),
                };
                self.policies = list.map(policy).collect();
                self.apply(Command::PolicyBegin { generation: 1, count: self.policies.len() as u32 });
                self.policies.clone().into_iter().for_each(|policy| self.apply(Command::Policy(policy)));
                self.apply(Command::PolicyCommit { generation: 1 });
            }
            Change::Bind(which) => {
                let free = (0..SLOTS).find(|slot| !self.bound.contains(slot));
                let protecting: Vec<_> =
                    self.policies.iter().filter(|p| matches!(p.action, Action::Encrypt { .. })).collect();
                let Some(slot) = free.filter(|_| !protecting.is_empty()) else { return };
                let policy = protecting[which.index(protecting.len())];
                let spec = SaSpec {
                    slot: SaSlot(slot),
                    spi: Spi::new(0x1000 + slot).expect("an SPI"),
                    policy: policy.id,
                    selectors: vec![policy.selector.into()],
                    ..a_to_b(Side::A, "aes-128-gcm")
                };
                self.bound.push(slot);
                self.apply(Command::InstallSa(Box::new(spec)));
            }
            Change::Unbind(which) if !self.bound.is_empty() => {
                let slot = self.bound.swap_remove(which.index(self.bound.len()));
                let spi = Spi::new(0x1000 + slot).expect("an SPI");
                self.apply(Command::RemoveSa { slot: SaSlot(slot), spi });
            }
            Change::Unbind(_) | Change::Wait => {}
        }
    }
}
type CpuWorker = Worker<TestBuf, CpuEngine<TestBuf>>;
fn worker(control: &Control<CpuKeys>) -> CpuWorker {
    Worker::new(control.reader(), CpuEngine::new(&KIND).expect("an engine")).expect("randomness")
}
/// What becomes of each packet: the SPI it leaves under, in clear, or why not.
fn outcomes(worker: &mut CpuWorker, frames: &[Vec<u8>]) -> Vec<String> {
    frames
        .iter()
        .map(|frame| {
            let mut out = Out::default();
            worker.process(LAN, &mut vec![TestBuf::new(frame)], NOW, &mut out);
            let sent = out.tx.iter().flatten().map(|b| b.data());
            let sent: Vec<_> = sent
                .map(|f| if f[23] == 50 { format!("{:02x?}", &f[34..38]) } else { "clear".into() })
                .collect();
            let dropped: Vec<_> = DropReason::ALL.iter().filter(|r| out.dropped(**r) > 0).collect();
            format!("{sent:?} {dropped:?}")
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn who_remembers_says_what_who_knows_nothing_says(pool in pool(), changes in changes()) {
        let setup = Setup { policies: Vec::new(), ..Side::A.setup() };
        let mut site = Site { control: offline::control(&setup, &KIND).expect("a control"), policies: Vec::new(), bound: Vec::new() };
        let frames: Vec<Vec<u8>> = (0..4u8).flat_map(|host| (51..53).map(move |port| (host, port)))
            .map(|(host, port)| udp(Side::A.host(false), [10, 2, 0, host].into(), 50, port, b"what a host says"))
            .map(|packet| frame(Side::A, LAN, &packet))
            .collect();
        let mut old = worker(&site.control);
        for change in &changes {
            site.change(change, &pool);
            let mut new = worker(&site.control);
            for _ in 0..4 {
                [&mut old, &mut new].into_iter().for_each(|w| w.idle(NOW, &mut Out::default()));
                site.control.poll(NOW, &mut Vec::new(), &mut Vec::new());
            }
            let remembered = outcomes(&mut old, &frames);
            // Who asked for an SA is not asked by the next.
            site.control.acquire_again();
            prop_assert_eq!(remembered, outcomes(&mut new, &frames), "after {:?}", change);
            drop(new);
        }
    }
}
