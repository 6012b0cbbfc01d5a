//! What the gateway does with a packet: `config::explain`, with the SAs of the engine and the drops of the fast path.
use crate::driver::Driver;
use config::explain::{Explanation, Live, LiveDrop, LiveSa, Packet, Question, SaView, answer};
use ike::api::{ChildStatus, Now};
use ipc::{RecentDrop, StatsReader};
use sa::{Direction, PolicyId, SaSpec};

/// JSON in and out for whoever serves it: the question's object, the explanation's, or what is wrong with the question.
pub fn explain(
    driver: &Driver<ike::Engine>,
    config: &config::Config,
    question: &Question,
    now: Now,
) -> Result<Explanation, String> {
    let statistics = driver.slow().map(|slow| slow.statistics());
    answer(config, question, Some(&Running { driver, statistics, now }))
}

struct Running<'a> {
    driver: &'a Driver<ike::Engine>,
    statistics: Option<&'a StatsReader>,
    now: Now,
}
impl Live for Running<'_> {
    fn sas(&self, policy: PolicyId) -> Vec<LiveSa> {
        let all = self.driver.engine.installed_for(policy, self.now);
        all.iter().filter_map(|(spec, child)| self.sa(spec, child)).collect()
    }
    fn drops(&self) -> Vec<LiveDrop> {
        let Some(statistics) = self.statistics else { return Vec::new() };
        let clock = statistics.clock();
        statistics.recent_drops().into_iter().map(|drop| live_drop(drop, clock)).collect()
    }
}
impl Running<'_> {
    /// `None` while the fast path does not have it.
    fn sa(&self, spec: &SaSpec, child: &ChildStatus) -> Option<LiveSa> {
        let statistics = self.statistics?;
        let identity = statistics.identity(spec.slot).filter(|identity| identity.spi == spec.spi)?;
        let counters = statistics.sa(spec.slot);
        let outbound = spec.direction == Direction::Outbound;
        let (local, remote) = (spec.ends.local, spec.ends.remote);
        let (src, dst) = if outbound { (local, remote) } else { (remote, local) };
        let view = SaView {
            direction: if outbound { "out" } else { "in" },
            spi: spec.spi.to_string(),
            state: identity.state.name().into(),
            algorithms: spec.suite.to_string(),
            src_address: src.to_string(),
            dst_address: dst.to_string(),
            current_packets: counters.packets,
            current_bytes: counters.bytes,
            expires_in: child.expires_in.as_secs(),
            used: false,
        };
        Some(LiveSa {
            view,
            selectors: spec.selectors.clone(),
            outbound,
            remote: spec.ends.remote,
            // Younger ones are preferred; of one second the child says which.
            installed: u64::MAX - child.age.as_nanos() as u64,
        })
    }
}
fn live_drop(drop: RecentDrop, clock: u64) -> LiveDrop {
    let p = drop.packet;
    LiveDrop {
        reason: p.reason,
        packet: Packet {
            src: p.src,
            dst: p.dst,
            protocol: p.protocol,
            src_port: p.ports.map(|(src, _)| src),
            dst_port: p.ports.map(|(_, dst)| dst),
        },
        spi: p.spi,
        seconds_ago: clock.saturating_sub(drop.last),
        count: drop.count,
    }
}
