//! How the tunnels come to be: the real slow path is called by the other ends, one IKE SA for each tunnel. The fast path
//! is this process while that lasts: frames go from ring to engine and back, commands are answered and remembered.
use super::site;
use crate::ike::SystemRng;
use anyhow::{Result, bail, ensure};
use ike::api::{Action, Datagram, Input, Now};
use ipc::{
    Command, FastSide, FrameKind, FrameMeta, Geometry, PeerEvent, Refusal, RegionOptions, SaIdentity, SaState,
};
use std::path::Path;
use std::time::{Duration, Instant};

/// Calls under way: below the number from which a gateway demands cookies.
const AT_ONCE: u32 = 16;
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Birth {
    fast: FastSide,
    far: ike::Engine,
    start: Instant,
    tunnels: u32,
    called: u32,
    up: u32,
    /// SAs that the slow path has had installed.
    pub installed: u32,
}

impl Birth {
    /// Listens where the fast path will.
    pub fn listen(socket: &Path, tunnels: u32) -> Result<Self> {
        let slots = site::slots(tunnels);
        let geometry =
            Geometry { sa_slots: slots, vault_records: (slots / 2).max(2048), ..Geometry::default() };
        let port_names = vec!["wan".into(), "lan".into()];
        let mut fast = FastSide::create(&RegionOptions { geometry, port_names })?;
        fast.listen(socket, &[rustix::process::getuid().as_raw()])?;
        let mut birth = Self {
            fast,
            far: ike::Engine::new(Box::new(SystemRng::default())),
            start: Instant::now(),
            tunnels,
            called: 0,
            up: 0,
            installed: 0,
        };
        let mut out = Vec::new();
        birth.far.configure(site::far_ends(tunnels), Now::ZERO, &mut out);
        Ok(birth)
    }

    /// Until all tunnels are up at both ends.
    pub fn negotiate(&mut self, mut say: impl FnMut(u32)) -> Result<()> {
        let mut last = (0, Instant::now());
        while self.up < self.tunnels || self.installed < 2 * self.tunnels {
            if !self.turn()? {
                std::thread::sleep(Duration::from_micros(100));
            }
            if last.0 != self.up + self.installed {
                last = (self.up + self.installed, Instant::now());
                say(self.up);
            }
            ensure!(
                last.1.elapsed() < PATIENCE,
                "nothing happens any more after {} of {} tunnels ({} SAs installed)",
                self.up,
                self.tunnels,
                self.installed
            );
        }
        Ok(())
    }
    /// `false`: nothing to do.
    fn turn(&mut self) -> Result<bool> {
        let mut worked = false;
        match self.fast.poll_peer() {
            None => {}
            Some(PeerEvent::Attached(_)) => worked = true,
            Some(other) => bail!("the slow path did not stay: {other:?}"),
        }
        while let Some((seq, command)) = self.fast.next_command() {
            worked = true;
            let result = self.carry_out(&command);
            self.fast.acknowledge(seq, result);
        }
        let mut heard = Vec::new();
        while let Some((meta, payload)) = self.fast.next_frame() {
            let (local, remote) = (meta.remote, meta.local);
            heard.push(Input::Datagram(Datagram { local, remote, payload: payload.to_vec() }));
        }
        while self.fast.attached() && self.called < self.tunnels && self.called - self.up < AT_ONCE {
            heard.push(Input::Initiate { peer: site::name(self.called), policy: None });
            self.called += 1;
        }
        if self.far.next_timeout().is_some_and(|at| at <= self.start.elapsed()) {
            heard.push(Input::Tick);
        }
        for input in heard {
            worked = true;
            self.tell(input)?;
        }
        Ok(worked)
    }
    fn tell(&mut self, input: Input) -> Result<()> {
        let mut out = Vec::new();
        self.far.handle(input, self.start.elapsed(), &mut out);
        for action in out {
            match action {
                Action::Send(d) => {
                    let meta = FrameMeta { local: d.remote, remote: d.local, kind: FrameKind::Ike };
                    // A full ring is a lost datagram, which IKE sends again.
                    let _ = self.fast.frame_to_slow(&meta, &d.payload);
                }
                Action::Install { .. } => self.up += 1,
                Action::AcquireFailed { policy, .. } => bail!("tunnel {} did not come up", policy.0),
                _ => {}
            }
        }
        Ok(())
    }
    fn carry_out(&mut self, command: &Command) -> Result<(), Refusal> {
        match command {
            Command::InstallSa(spec) => {
                let identity = SaIdentity {
                    spi: spec.spi,
                    direction: spec.direction,
                    state: SaState::Mature,
                    policy: spec.policy,
                    engine: None,
                    start_seq: spec.last_seq,
                    installed_at: 0,
                };
                self.fast.publish_sa(spec.slot, &identity);
                self.installed += 1;
            }
            Command::PolicyCommit { generation } => self.fast.set_policy_generation(*generation),
            // The tunnels are to stay as they came up.
            Command::RemoveSa { .. } => return Err(Refusal::NoSuchSa),
            _ => {}
        }
        Ok(())
    }
    /// The slow path sees its fast path go.
    pub fn end(self) -> Result<()> {
        ensure!(self.installed == 2 * self.tunnels, "{} SAs for {} tunnels", self.installed, self.tunnels);
        Ok(())
    }
    pub fn wait_for_slow_path(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while !self.fast.attached() {
            self.turn()?;
            ensure!(Instant::now() < until, "the slow path did not come within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}
