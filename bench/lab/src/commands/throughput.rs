//! `throughput`: NDR and PDR by frame size and direction.
use super::rates::{self, Subject};
use crate::report::Row;
use crate::session::Session;
use anyhow::Result;

pub fn run(session: &mut Session, rows: &mut Vec<Row>) -> Result<()> {
    let options = session.options.clone();
    let scene = session.scene(options.tunnels)?;
    rows.extend(rates::tester_alone(session, &scene, &options.sizes)?);
    let mut rig = session.rig(&scene, options.dut.workers)?;
    let bounds: Vec<f64> = std::iter::once(0.0).chain(options.trials.pdr.iter().copied()).collect();
    for direction in &options.direction {
        for size in &options.sizes {
            let subject = Subject { direction: *direction, size: size.clone(), workers: options.dut.workers };
            let found = rates::search(session, &mut rig, "throughput", &subject, &bounds)?;
            let mut row = Row { parameters: subject.parameters(&scene), ..Row::new("throughput", &[]) };
            rates::put(&mut row, &found, size);
            rows.push(row);
        }
    }
    rig.stop()
}
