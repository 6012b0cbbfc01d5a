//! SIGHUP: the slow path is asked to put the file in force as it is now. A thread waits for what comes of it.
use crate::rundir::RunDir;

pub fn ask(run_dir: &RunDir) {
    let socket = run_dir.control_socket();
    std::thread::spawn(move || match crate::change::reload(&socket) {
        Ok(Ok(plan)) if plan.changes.is_empty() => tracing::info!("the configuration has not changed"),
        Ok(Ok(plan)) => {
            tracing::info!(
                "the configuration is in force: {} changes, {} SAs deleted, {} kept",
                plan.changes.len(),
                plan.deleted_sas,
                plan.kept_sas
            );
        }
        Ok(Err(refused)) => {
            tracing::error!("the running configuration stays: {}", refused.said);
            refused.complaints.iter().for_each(|line| tracing::error!("{line}"));
        }
        Err(error) => tracing::error!("the running configuration stays: {error:#}"),
    });
}
