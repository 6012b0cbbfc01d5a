//! An engine that is called, with one peer for everybody.
use super::Seeded;
use ike::Engine;
use ike::api::*;
use sa::{PolicyId, PortRange, Prefix, SaSpec, Suite, TrafficSelector};
use std::time::Duration;

pub fn any() -> Prefix {
    "0.0.0.0/0".parse().unwrap()
}
/// Everything from `local` to anywhere.
pub fn selector(local: Prefix) -> TrafficSelector {
    TrafficSelector {
        local: local.range(),
        remote: any().range(),
        protocol: None,
        local_port: PortRange::ANY,
        remote_port: PortRange::ANY,
    }
}
pub fn child(local: Prefix, suites: Vec<Suite>) -> Child {
    Child {
        policy: PolicyId(1),
        level: sa::Level::Require,
        backup: 0,
        any_port: false,
        framing: sa::Framing::default(),
        proposal: "default".into(),
        selector: selector(local),
        tunnel: true,
        protocol: sa::Protocol::Esp,
        suites,
        pfs: None,
        additional: vec![],
        lifetime: Duration::from_secs(1800),
        lifetime_bytes: 0,
        replay_window: 64,
        esn: false,
    }
}
pub fn peer(proposal: IkeProposal, identity: Identity, child: Child) -> Peer {
    Peer {
        name: "clients".into(),
        address: any(),
        local_address: None,
        host: None,
        port: 500,
        passive: true,
        send_initial_contact: true,
        profile: Profile {
            name: "default".into(),
            proposal,
            lifetime: Duration::from_secs(86_400),
            dpd_interval: None,
            nat_traversal: true,
            extensions: Extensions::default(),
        },
        identities: vec![identity],
        children: vec![child],
    }
}

pub struct Gateway {
    pub engine: Engine,
    pub now: Duration,
    /// What runs, as the fast path was told.
    pub table: Vec<SaSpec>,
    pub said: Vec<Report>,
}
impl Gateway {
    pub fn new(peer: Peer) -> Self {
        let config =
            Config { peers: vec![peer], ddos_cookie_threshold: 100, sa_slots: 64, ..Config::default() };
        let now = Duration::from_secs(1000);
        let mut this = Self { engine: Engine::new(Box::new(Seeded(7))), now, table: vec![], said: vec![] };
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        this.engine.set_calendar(now, wall);
        this.engine.configure(config, now, &mut Vec::new());
        this
    }
    /// What is sent in answer.
    pub fn hears(&mut self, datagram: Datagram) -> Vec<Datagram> {
        self.input(Input::Datagram(datagram))
    }
    pub fn input(&mut self, input: Input) -> Vec<Datagram> {
        let (mut out, mut sent) = (Vec::new(), Vec::new());
        self.engine.handle(input, self.now, &mut out);
        for action in out {
            match action {
                Action::Send(datagram) => sent.push(datagram),
                Action::Install { inbound, outbound } => self.table.extend([*inbound, *outbound]),
                Action::InstallInbound(spec) | Action::InstallOutbound(spec) => self.table.push(*spec),
                Action::Remove { slot, .. } => self.table.retain(|sa| sa.slot != slot),
                Action::Log(report) => self.said.push(report),
                _ => {}
            }
        }
        sent
    }
    /// Lets the time pass; what is sent meanwhile.
    pub fn waits(&mut self, time: Duration) -> Vec<Datagram> {
        let (end, mut sent) = (self.now + time, Vec::new());
        while let Some(at) = self.engine.next_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            sent.extend(self.input(Input::Tick));
        }
        self.now = end;
        sent
    }
}
