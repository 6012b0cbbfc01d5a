//! SIGHUP: what the file says now against what runs. Nothing is changed; the answer says what would have to be.
use config::{Config, LoadError};
use std::path::Path;

pub fn explain(running: &Config, file: &Path) {
    let new = match config::load(file) {
        Ok(checked) => checked.config,
        Err(LoadError::Refused { complaints, .. }) => {
            return tracing::error!("the configuration is refused, the running one stays:\n{complaints}");
        }
        Err(error) => return tracing::error!("the running configuration stays: {error}"),
    };
    let differences = differences(running, &new);
    if differences.is_empty() {
        tracing::info!("{}: nothing has changed", file.display());
    }
    for (what, needs) in differences {
        tracing::warn!("`{what}` has changed; it takes effect when {needs} is started again");
    }
}

/// Each part of the file that differs, and what must be started again for it.
fn differences(old: &Config, new: &Config) -> Vec<(&'static str, &'static str)> {
    const BOTH: &str = "espway run";
    const SLOW: &str = "espway-slowpath";
    [
        ("system", old.system != new.system, BOTH),
        ("interface", old.interfaces != new.interfaces, BOTH),
        ("ip.address", old.addresses != new.addresses, BOTH),
        ("ip.route", old.routes != new.routes, BOTH),
        ("ip.ipsec.peer (with profile and identity)", old.ipsec.peers != new.ipsec.peers, SLOW),
        ("ip.ipsec.policy (with proposal)", old.ipsec.policies != new.ipsec.policies, SLOW),
        ("ip.ipsec.settings", old.ipsec.settings != new.ipsec.settings, SLOW),
        ("ip.ipsec.manual-sa", old.ipsec.manual_sas != new.ipsec.manual_sas, BOTH),
    ]
    .into_iter()
    .filter(|(_, differs, _)| *differs)
    .map(|(what, _, needs)| (what, needs))
    .collect()
}
