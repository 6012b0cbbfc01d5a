//! What the gateway does with a packet: `config::explain`, with the SAs of the engine and the drops of the fast path.
use crate::dynamic::Dynamic;
use crate::running::Running;
use config::explain::{Explanation, Live, LiveDrop, LiveSa, Packet, Question, SaView, answer};
use config::model::Policy;
use ike::api::ChildStatus;
use ipc::status::Response;
use ipc::{RecentDrop, StatsReader};
use sa::{Direction, PolicyId, PolicySpec, SaSlot, SaSpec};
use std::collections::HashMap;
use std::sync::Arc;

/// JSON in and out for whoever serves it: the question's object, the explanation's, or what is wrong with the question.
pub fn explain(
    running: &Running,
    config: &config::Config,
    question: &Question,
) -> Result<Explanation, String> {
    let statistics = running.head.statistics.as_ref();
    let whole = with_generated(running, config);
    answer(whole.as_ref().unwrap_or(config), question, Some(&Known { running, statistics }))
}
/// With the policies that negotiations have made, where they stand. `None`: there are none.
fn with_generated(running: &Running, config: &config::Config) -> Option<config::Config> {
    if running.generated.is_empty() {
        return None;
    }
    let mut dynamic = Dynamic::default();
    dynamic.configure(&running.head.ranks);
    dynamic.set(running.generated.clone());
    let mut whole = config.clone();
    let configured: Vec<PolicySpec> = whole.ipsec.policies.iter().map(|policy| policy.spec).collect();
    let mut written: HashMap<PolicyId, Policy> =
        whole.ipsec.policies.drain(..).map(|policy| (policy.spec.id, policy)).collect();
    let policy = |spec: PolicySpec| match dynamic.get(spec.id) {
        None => written.remove(&spec.id),
        Some(made) => {
            let template = config.ipsec.templates.iter().find(|template| template.id == made.template)?;
            Some(Policy {
                spec,
                peer: Some(made.peer.clone()),
                backups: Vec::new(),
                protocol: made.protocol,
                proposal: Arc::clone(&template.proposal),
                comment: String::new(),
            })
        }
    };
    whole.ipsec.policies = dynamic.among(&configured).into_iter().filter_map(policy).collect();
    Some(whole)
}
/// The same as an answer to whoever asks.
pub fn response(running: &Running, config: &config::Config, packet: ipc::status::Packet) -> Response {
    let ipc::status::Packet { src, dst, protocol, src_port, dst_port } = packet;
    let question = Question { src, dst, protocol, src_port, dst_port };
    let explained = explain(running, config, &question).and_then(|explanation| {
        let object = serde_json::to_value(&explanation).map_err(|error| error.to_string())?;
        Ok(Response::Explained { explanation: object, text: explanation.to_string() })
    });
    explained.unwrap_or_else(Response::Error)
}

struct Known<'a> {
    running: &'a Running,
    statistics: Option<&'a StatsReader>,
}
impl Live for Known<'_> {
    fn sas(&self, policy: PolicyId) -> Vec<LiveSa> {
        let of = self.running.children.iter().filter(|child| child.policies().any(|served| served == policy));
        let slots: HashMap<SaSlot, &ChildStatus> =
            of.flat_map(|child| [(child.inbound.0, child), (child.outbound.0, child)]).collect();
        let ours = self.running.installed.iter().filter_map(|spec| Some((spec, *slots.get(&spec.slot)?)));
        let manual = self.running.head.manual.iter().filter(|spec| spec.policies().any(|of| of == policy));
        let all = ours.map(|(spec, child)| (spec, Some(child))).chain(manual.map(|spec| (spec, None)));
        all.filter_map(|(spec, child)| self.sa(spec, child)).collect()
    }
    fn drops(&self) -> Vec<LiveDrop> {
        let Some(statistics) = self.statistics else { return Vec::new() };
        let clock = statistics.clock();
        statistics.recent_drops().into_iter().map(|drop| live_drop(drop, clock)).collect()
    }
}
impl Known<'_> {
    /// `None` while the fast path does not have it.
    fn sa(&self, spec: &SaSpec, child: Option<&ChildStatus>) -> Option<LiveSa> {
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
            expires_in: child.map_or(0, |child| child.expires_in.as_secs()),
            used: false,
        };
        Some(LiveSa {
            view,
            selectors: spec.selectors.clone(),
            outbound,
            remote: spec.ends.remote,
            // Younger ones are preferred; of one second the child says which.
            installed: child.map_or(0, |child| u64::MAX - child.age.as_nanos() as u64),
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
