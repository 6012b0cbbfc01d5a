//! The tables of `espway status`. Names are those of `/ip ipsec`.
use crate::rundir::{Phase, State};
use comfy_table::{CellAlignment, Table, presets};
use ipc::status::{SaDirection, Side, Status};
use std::collections::BTreeMap;
use std::time::Duration;

pub fn processes(state: &State) -> String {
    let rows = state.processes.iter().map(|p| {
        let time = time(p.since.age());
        let pid = p.pid.map(|pid| pid.to_string()).unwrap_or_default();
        let state = if p.state == Phase::Running {
            "running".into()
        } else {
            format!("{} for {time}", p.state.name())
        };
        let uptime = if p.state == Phase::Running { time } else { String::new() };
        let end = p.last_end.clone().unwrap_or_default();
        vec![p.name.clone(), state, pid, uptime, p.restarts.to_string(), end]
    });
    let supervisor = vec![
        "espway run".into(),
        "running".into(),
        state.pid.to_string(),
        time(state.started.age()),
        String::new(),
        String::new(),
    ];
    let rows = std::iter::once(supervisor).chain(rows).collect();
    section(
        &format!("{} ({})", state.name, state.config.display()),
        &["process", "state", "pid>", "uptime>", "restarts>", "last end"],
        rows,
    )
}

pub fn gateway(status: &Status) -> String {
    let mut out = String::new();
    if !status.fastpath_attached {
        out += "the slow path is not connected to a fast path\n\n";
    }
    let totals = &status.totals;
    out += &long("active-peers", totals.active_peers, status.active_peers.len(), || peers(status));
    out += &long("installed-sa", totals.installed_sas, status.installed_sas.len(), || sas(status));
    out += &long("policy", totals.policies, status.policies.len(), || policies(status));
    if status.policies.len() as u64 != totals.policies {
        out += &format!("  {} of them established\n\n", totals.established_policies);
    }
    out += &ports(status);
    out += &counters("drops", &status.drops);
    out += &counters("statistics", &status.statistics);
    out += &counters("ike", &status.ike);
    out
}

/// A list, or how long it is when it was left out.
fn long(name: &str, total: u64, rows: usize, table: impl FnOnce() -> String) -> String {
    if rows > 0 || total == 0 { table() } else { format!("{name}: {total} rows, shown with --all\n\n") }
}

fn peers(status: &Status) -> String {
    let rows = status.active_peers.iter().map(|p| {
        let side = if p.side == Side::Initiator { "initiator" } else { "responder" };
        vec![
            p.peer.clone(),
            p.state.clone(),
            side.into(),
            p.remote_address.to_string(),
            p.id.clone(),
            yes(p.natt_peer),
            p.algorithms.clone(),
            time(p.uptime),
            time(p.last_seen),
            p.ph2_total.to_string(),
        ]
    });
    section(
        "active-peers",
        &[
            "peer",
            "state",
            "side",
            "remote-address",
            "id",
            "natt",
            "algorithms",
            "uptime>",
            "last-seen>",
            "ph2-total>",
        ],
        rows.collect(),
    )
}

fn sas(status: &Status) -> String {
    let rows = status.installed_sas.iter().map(|sa| {
        let algorithms = match sa.auth_algorithm.as_str() {
            "" | "none" | "null" => sa.enc_algorithm.clone(),
            auth => format!("{}/{auth}", sa.enc_algorithm),
        };
        vec![
            if sa.direction == SaDirection::In { "in".into() } else { "out".to_owned() },
            sa.spi.clone(),
            sa.src_address.clone(),
            sa.dst_address.clone(),
            sa.state.clone(),
            format!("{algorithms} {}", sa.enc_key_size),
            sa.engine.clone().unwrap_or_default(),
            sa.current_packets.to_string(),
            bytes(sa.current_bytes),
            sa.invalid_packets.to_string(),
            time(sa.expires_in),
        ]
    });
    section(
        "installed-sa",
        &[
            "dir",
            "spi",
            "src-address",
            "dst-address",
            "state",
            "algorithm",
            "engine",
            "packets>",
            "bytes>",
            "invalid>",
            "expires-in>",
        ],
        rows.collect(),
    )
}

fn policies(status: &Status) -> String {
    let rows = status.policies.iter().map(|p| {
        let with_port = |address: &str, port: &str| match port {
            "any" | "" => address.to_owned(),
            port => format!("{address} {port}"),
        };
        vec![
            with_port(&p.src_address, &p.src_port),
            with_port(&p.dst_address, &p.dst_port),
            p.protocol.clone(),
            p.action.clone(),
            if p.action == "encrypt" { p.level.clone() } else { String::new() },
            p.peer.clone(),
            p.ph2_state.clone(),
            p.ph2_count.to_string(),
        ]
    });
    section(
        "policy",
        &["src-address", "dst-address", "protocol", "action", "level", "peer", "ph2-state", "ph2-count>"],
        rows.collect(),
    )
}

fn ports(status: &Status) -> String {
    let rows = status.ports.iter().map(|p| {
        vec![
            p.name.clone(),
            p.rx_packets.to_string(),
            bytes(p.rx_bytes),
            p.rx_missed.to_string(),
            p.tx_packets.to_string(),
            bytes(p.tx_bytes),
            p.tx_errors.to_string(),
        ]
    });
    section(
        "interface",
        &["name", "rx-packets>", "rx-bytes>", "rx-missed>", "tx-packets>", "tx-bytes>", "tx-errors>"],
        rows.collect(),
    )
}

/// Those that are not zero.
fn counters(name: &str, counters: &BTreeMap<String, u64>) -> String {
    let rows: Vec<_> =
        counters.iter().filter(|(_, n)| **n > 0).map(|(name, n)| vec![name.clone(), n.to_string()]).collect();
    if rows.is_empty() { format!("{name}: none\n\n") } else { section(name, &["counter", "count>"], rows) }
}

/// A titled table; headings that end in `>` head columns of numbers.
fn section(title: &str, headings: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return format!("{title}: none\n\n");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headings.iter().map(|heading| heading.trim_end_matches('>').to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for (at, heading) in headings.iter().enumerate() {
        if let (true, Some(column)) = (heading.ends_with('>'), table.column_mut(at)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{title}\n{table}\n\n")
}

fn yes(flag: bool) -> String {
    if flag { "yes".into() } else { "no".into() }
}
fn time(seconds: u64) -> String {
    config::show_duration(Duration::from_secs(seconds))
}
/// Three digits and a unit.
fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1000.0, unit + 1);
    }
    let digits = if unit == 0 || value >= 100.0 { 0 } else { 1 };
    format!("{value:.digits$} {}", UNITS[unit])
}
