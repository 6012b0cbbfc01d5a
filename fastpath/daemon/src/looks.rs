//! What workers saw of watched packets, on its way to the slow path; and the end of a watch, which nobody has to ask for.
use fastpath::crypto::KeyMaker;
use fastpath::graph::watch::{Look, Watch};
use fastpath::tables::Control;
use ipc::watch::{Seen, Sighting};
use ipc::{Command, FastSide};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Copies handed on in one turn.
const TURN: usize = 64;

#[derive(Default)]
pub struct Looks(Option<Current>);

struct Current {
    watch: Arc<Watch>,
    until: Duration,
    /// The calendar's time when the workers' clock began.
    zero: Duration,
    /// The change of the tables that ends it.
    ending: Option<u64>,
    /// Found no room yet.
    held: Option<Look>,
}

impl Looks {
    /// `true`: something was done.
    pub fn turn<M: KeyMaker>(
        &mut self,
        control: &mut Control<M>,
        region: &mut FastSide,
        now: Duration,
    ) -> bool {
        if let Some(watch) = control.watch()
            && self.0.as_ref().is_none_or(|current| !Arc::ptr_eq(&current.watch, watch))
        {
            self.0 = Some(Current::new(Arc::clone(watch), now));
        }
        let Some(current) = &mut self.0 else { return false };
        let number = current.watch.spec().number;
        if current.ending.is_none() {
            let over = now >= current.until || current.watch.is_full() || !region.attached();
            if over {
                // Never refused: at worst there is nothing to end.
                let _ = control.enqueue(Command::Unwatch { number }, now);
            }
            if control.watch().is_none() {
                current.ending = Some(control.submitted());
            }
        }
        if !region.attached() {
            // Nobody is told.
            if current.ending.is_some_and(|change| control.settled() >= change) {
                self.0 = None;
            }
            return false;
        }
        let worked = current.hand_on(region);
        if current.held.is_none()
            && !worked
            && current.ending.is_some_and(|change| control.settled() >= change)
        {
            let (packets, lost) = current.watch.counts();
            if region.show(&Seen::Over { watch: number, packets, lost }, &[]) {
                self.0 = None;
            }
            return true;
        }
        worked
    }
}

impl Current {
    fn new(watch: Arc<Watch>, now: Duration) -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let until = now.saturating_add(Duration::from_secs(watch.spec().seconds.into()));
        Self { watch, until, zero: wall.saturating_sub(now), ending: None, held: None }
    }
    fn hand_on(&mut self, region: &mut FastSide) -> bool {
        for turn in 0..TURN {
            let Some(look) = self.held.take().or_else(|| self.watch.next()) else { return turn > 0 };
            let time = self.zero.as_nanos() as u64 + look.sighting.time;
            let sighting = Sighting { time, ..look.sighting };
            if !region.show(&Seen::Packet(sighting), look.bytes()) {
                self.held = Some(look);
                return turn > 0;
            }
        }
        true
    }
}
