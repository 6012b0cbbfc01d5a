//! Searches for rates, which most measurements begin with.
use crate::frames::Size;
use crate::options::Direction;
use crate::report::{Better, Row};
use crate::scene::Scene;
use crate::search::{Found, Limit, Rules, Search};
use crate::session::{Rig, Session, parameters};
use crate::tester::Load;
use anyhow::Result;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is measured: where, and how it is called.
pub struct Subject {
    pub direction: Direction,
    pub size: Size,
    pub workers: u16,
}
impl Subject {
    pub fn parameters(&self, scene: &Scene) -> BTreeMap<String, String> {
        parameters(self.direction, &self.size, scene, self.workers)
    }
    pub fn load(&self, rate: Option<f64>, duration: Duration) -> Load {
        Load { ways: self.direction.ways(), size: self.size.clone(), rate, duration, packets: None }
    }
    pub fn text(&self, scene: &Scene) -> String {
        let worker = if self.workers == 1 { "worker" } else { "workers" };
        let tunnel = if scene.tunnels == 1 { "tunnel" } else { "tunnels" };
        format!(
            "{} {} bytes, {} {tunnel}, {} {worker}",
            self.direction.name(),
            self.size,
            scene.tunnels,
            self.workers
        )
    }
}

/// Rates for each bound, the first of which is the NDR's: 0. Also what came out under overload.
pub struct Rates {
    pub found: Vec<(f64, Found)>,
    pub overload: f64,
}

pub fn search(
    session: &mut Session,
    rig: &mut Rig,
    test: &str,
    subject: &Subject,
    bounds: &[f64],
) -> Result<Rates> {
    let scene = rig.tester.scene().clone();
    let parameters = subject.parameters(&scene);
    session.progress.part(&format!("{test}: {}", subject.text(&scene)));
    let trials = session.options.trials.clone();
    let warm = subject.load(None, trials.warm_up.max(Duration::from_millis(10)));
    let flood = session.trial(rig, "warm-up", &parameters, &warm)?;
    let overload = flood.trial.received as f64 / flood.trial.seconds;
    let max = trials.max_rate.unwrap_or(flood.trial.offered * 1.2).max(1.0);
    let rules = Rules {
        max,
        guess: (overload * 1.02).clamp(1.0, max),
        resolution: trials.resolution,
        retries: trials.retries,
        confirm: trials.trials.max(1),
    };
    let mut search = Search::new(rules, |rate| {
        let load = subject.load(Some(rate), trials.duration);
        anyhow::Ok(session.trial(rig, test, &parameters, &load)?.outcome())
    });
    let found = bounds.iter().map(|bound| Ok((*bound, search.find(*bound)?))).collect::<Result<_>>()?;
    Ok(Rates { found, overload })
}

/// Puts rates into a row: `ndr` and `pdr 0.1%`, each in Mpps and Gbit/s.
pub fn put(row: &mut Row, rates: &Rates, size: &Size) {
    for (bound, found) in &rates.found {
        let name = if *bound == 0.0 { "ndr".to_owned() } else { format!("pdr {}%", bound * 100.0) };
        // The next rate that was tried failed: between the two lies what one run cannot tell.
        let noise = found.above.map_or(0.0, |above| (above - found.rate).max(0.0)).min(found.rate);
        row.put(&name, found.rate / 1e6, "Mpps", Better::Higher, noise / 1e6);
        let bits = size.mean_ip() * 8.0 / 1e9;
        row.put(&format!("{name} (IP)"), found.rate * bits, "Gbit/s", Better::Higher, noise * bits);
        if *bound == 0.0 {
            row.limit = Some(found.limit);
        }
        match found.limit {
            Limit::Tester => row.notes.push(format!("{name} is what the tester can do; the gateway may be faster")),
            Limit::Disturbance => row.notes.push(format!(
                "{name}: above it something else had the worker's CPU in every trial; the gateway may be faster"
            )),
            Limit::Gateway | Limit::Asked | Limit::Nothing => {}
        }
    }
    row.put("overload", rates.overload / 1e6, "Mpps", Better::Neither, 0.0);
}

/// What the tester can do without a gateway, for each size.
pub fn tester_alone(session: &mut Session, scene: &Scene, sizes: &[Size]) -> Result<Vec<Row>> {
    session.progress.part("the tester alone");
    let mut rig = session.loopback(scene)?;
    let mut rows = Vec::new();
    for size in sizes {
        let subject = Subject { direction: Direction::Out, size: size.clone(), workers: 0 };
        let parameters = subject.parameters(scene);
        let duration = session.options.trials.duration;
        let flood = session.trial(&mut rig, "tester", &parameters, &subject.load(None, duration))?;
        let best = flood.trial.received as f64 / flood.trial.seconds;
        let half =
            session.trial(&mut rig, "tester", &parameters, &subject.load(Some(best / 2.0), duration))?;
        let mut row = Row::new("tester alone", &[("size", size.to_string())]);
        row.put("rate", best / 1e6, "Mpps", Better::Neither, 0.0);
        row.put("p50 at 50%", half.latency.value_at_quantile(0.5) as f64 / 1e3, "µs", Better::Neither, 0.0);
        row.put("p99 at 50%", half.latency.value_at_quantile(0.99) as f64 / 1e3, "µs", Better::Neither, 0.0);
        rows.push(row);
    }
    Ok(rows)
}
