//! `espway status --diagnosis`: why negotiations failed, and what would change it.
use super::request;
use anyhow::bail;
use ipc::diagnosis::Diagnosis;
use ipc::status::{Request, Response};
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

/// Lines of the overview.
const SHORT: usize = 10;

fn ask(socket: &Path, peer: Option<&str>) -> anyhow::Result<Vec<Diagnosis>> {
    match request(socket, &Request::Diagnosis { peer: peer.map(str::to_owned), clear: false })? {
        Response::Diagnosis(rows) => Ok(rows),
        Response::Error(error) => bail!("{error}"),
        _ => bail!("the slow path answered something else; are both of one version?"),
    }
}
pub fn show(socket: &Path, peer: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    let rows = ask(socket, peer)?;
    match (json, rows.is_empty()) {
        (true, _) => crate::say(serde_json::to_string(&rows)?),
        (false, true) => crate::say("no negotiation has failed"),
        (false, false) => {
            for row in &rows {
                crate::say(whole(row));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
/// A part of the whole status: what is not solved, a line each, newest last.
pub fn overview(socket: &Path) -> anyhow::Result<String> {
    let rows: Vec<_> = ask(socket, None)?.into_iter().filter(|row| !row.solved).collect();
    let mut out = String::new();
    if !rows.is_empty() {
        _ = writeln!(out, "diagnosis (all of it with --diagnosis)");
    }
    for row in rows.iter().skip(rows.len().saturating_sub(SHORT)) {
        let peer = if row.peer.is_empty() { &row.remote } else { &row.peer };
        _ = writeln!(out, "  {}  {peer}  {}: {}{}", row.when, row.exchange, row.said, times(row));
    }
    Ok(out)
}
fn times(row: &Diagnosis) -> String {
    if row.count > 1 { format!(" ({} times since {})", row.count, row.first) } else { String::new() }
}
fn whole(row: &Diagnosis) -> String {
    let peer = if row.peer.is_empty() { "(no peer)" } else { &row.peer };
    let solved = if row.solved { ", solved since" } else { "" };
    let mut out = format!(
        "{}  {peer}  {}  {} [{}]{}{solved}\n",
        row.when,
        row.remote,
        row.exchange,
        row.cause,
        times(row)
    );
    let parts = [
        ("what", &row.said),
        ("they", &row.theirs),
        ("we", &row.ours),
        ("difference", &row.difference),
        ("fix here", &row.fix_here),
        ("tell them", &row.tell_them),
    ];
    for (name, text) in parts.iter().filter(|(_, text)| !text.is_empty()) {
        _ = writeln!(out, "  {name:>10}: {text}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_shown_in_parts() {
        let row = Diagnosis {
            when: "2026-11-22 01:02:03".into(),
            first: "2026-11-22 00:00:00".into(),
            count: 3,
            peer: "b".into(),
            remote: "192.0.2.9:500".into(),
            exchange: "IKE_AUTH".into(),
            cause: "secret".into(),
            said: "no".into(),
            ..Diagnosis::default()
        };
        assert_eq!(
            whole(&row),
            "2026-11-22 01:02:03  b  192.0.2.9:500  IKE_AUTH [secret] (3 times since 2026-11-22 00:00:00)\n        what: no\n"
        );
    }
}
