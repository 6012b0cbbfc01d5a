//! Plans and histories as text.
use ipc::change::{Entry, Plan};
use std::fmt::Write;

pub fn plan(plan: &Plan, dry_run: bool) -> String {
    let mut out = String::new();
    for line in &plan.warnings {
        // Each says itself what it is.
        _ = writeln!(out, "{line}");
    }
    for line in &plan.changes {
        _ = writeln!(out, "{line}");
    }
    for effect in &plan.effects {
        _ = writeln!(out, "peer {} {}", effect.peer, effect.said);
    }
    if !plan.restart.is_empty() {
        _ = writeln!(out, "needs a restart, and is refused until then: {}", plan.restart.join(", "));
    }
    if plan.changes.is_empty() && plan.entry == 0 {
        out += "nothing differs";
        return out;
    }
    let (deleted, kept) = (plan.deleted_sas, plan.kept_sas);
    let sas =
        format!("{deleted} SAs {} deleted, {kept} do not notice", if dry_run { "would be" } else { "are" });
    let what = match (dry_run, plan.entry) {
        (true, _) => "nothing was changed".to_owned(),
        (false, 0) => "in force".to_owned(),
        (false, entry) => format!("in force as entry {entry}"),
    };
    _ = write!(out, "{what}: {sas}");
    out
}

pub fn history(entries: &[Entry], all: bool) -> String {
    const SHOWN: usize = 3;
    let mut out = String::new();
    for entry in entries {
        let comment = if entry.comment.is_empty() { String::new() } else { format!("  # {}", entry.comment) };
        _ = writeln!(out, "{:>4}  {}  {}{comment}", entry.number, config::date::show(entry.when), entry.who);
        let shown = if all { entry.changes.len() } else { SHOWN };
        for line in entry.changes.iter().take(shown) {
            _ = writeln!(out, "        {line}");
        }
        if entry.changes.len() > shown {
            _ = writeln!(out, "        and {} more", entry.changes.len() - shown);
        }
    }
    if entries.is_empty() {
        out += "nothing is written down: the gateway has no folder for its history";
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipc::change::Effect;

    #[test]
    fn a_plan_says_what_it_touches() {
        let shown = |dry_run| {
            plan(
                &Plan {
                    changes: vec!["- ip ipsec peer b: address=192.0.2.2/32".into()],
                    effects: vec![Effect { peer: "b".into(), said: "is gone".into() }],
                    deleted_sas: 2,
                    kept_sas: 1998,
                    entry: if dry_run { 0 } else { 7 },
                    ..Plan::default()
                },
                dry_run,
            )
        };
        assert!(
            shown(true)
                .ends_with("peer b is gone\nnothing was changed: 2 SAs would be deleted, 1998 do not notice")
        );
        assert!(shown(false).ends_with("in force as entry 7: 2 SAs are deleted, 1998 do not notice"));
        assert_eq!(plan(&Plan::default(), false), "nothing differs");
        let restart =
            Plan { changes: vec!["~".into()], restart: vec!["system buffers".into()], ..Plan::default() };
        assert!(
            plan(&restart, true).contains("needs a restart, and is refused until then: system buffers\n")
        );
    }
}
