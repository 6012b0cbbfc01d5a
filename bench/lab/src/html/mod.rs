//! The report as one HTML file: style and plots are in it, nothing is loaded from elsewhere.
mod chart;
mod charts;
mod stages;

use crate::environment::Environment;
use crate::report::{Report, Row, columns, limit_text, shown};
use crate::search::Limit;
use std::fmt::Write;

/// For text and for attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}

pub fn page(report: &Report) -> String {
    let mut body = format!("<h1>espway lab {}</h1>\n", escape(&report.command));
    let _ =
        writeln!(body, "<p class=\"command\"><code>{}</code></p>", escape(&report.command_line.join(" ")));
    let _ = writeln!(body, "<p>{}</p>", escape(&report.environment.line()));
    body += &warnings(report);
    body += &charts::all(&report.rows);
    if let Some(value) = &report.stages {
        body += &stages::chart(value);
    }
    let mut tests: Vec<&str> = report.rows.iter().map(|r| r.test.as_str()).collect();
    tests.dedup();
    for test in tests {
        let rows: Vec<&Row> = report.rows.iter().filter(|r| r.test == test).collect();
        let _ = writeln!(body, "<h2>{}</h2>\n{}", escape(test), table(&rows));
    }
    let _ = writeln!(body, "<p>{}</p>", escape(&report.counted));
    body += &losses(report);
    body += &environment(&report.environment);
    body += "<h2>Setup</h2>\n<dl>";
    for (name, value) in &report.setup {
        let _ = writeln!(body, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
    }
    let _ = writeln!(
        body,
        "</dl>\n<details><summary>Configuration of the gateway</summary><pre>{}</pre></details>",
        escape(&report.configuration)
    );
    let _ = writeln!(
        body,
        "<p class=\"small\">{} trials, {:.0} seconds in all.</p>",
        report.trials.len(),
        report.seconds
    );
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <title>espway lab {}</title>\n<style>{}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(&report.command),
        include_str!("style.css")
    )
}

/// What a reader must not miss.
fn warnings(report: &Report) -> String {
    let count = |limit| report.rows.iter().filter(|r| r.limit == Some(limit)).count();
    let mut list = Vec::new();
    if count(Limit::Tester) > 0 {
        list.push(format!(
            "{} rows are limited by the tester, not by the gateway, which may be faster.",
            count(Limit::Tester)
        ));
    }
    if count(Limit::Disturbance) > 0 {
        list.push(format!(
            "In {} rows something else had the worker's CPU in every trial above the rate shown: measure them again on \
             a quiet machine.",
            count(Limit::Disturbance)
        ));
    }
    let disturbed = report.trials.iter().filter(|t| t.disturbed).count();
    if disturbed > 0 {
        list.push(format!("{disturbed} of {} trials were disturbed.", report.trials.len()));
    }
    let mut faults = std::collections::BTreeMap::new();
    for (fault, n) in report.trials.iter().flat_map(|t| &t.faults) {
        *faults.entry(fault).or_insert(0) += n;
    }
    if !faults.is_empty() {
        list.push(format!("The gateway got packets WRONG: {faults:?}."));
    }
    if report.environment.profile != "release" {
        list.push(report.environment.profile.clone());
    }
    if list.is_empty() {
        return String::new();
    }
    let items: String = list.iter().map(|text| format!("<li>{}</li>", escape(text))).collect();
    format!("<ul class=\"warning\">{items}</ul>\n")
}

fn table(rows: &[&Row]) -> String {
    let (parameters, measures) = columns(rows);
    let with_limit = rows.iter().any(|r| r.limit.is_some());
    let mut out = String::from("<div class=\"scroll\"><table>\n<thead><tr>");
    for name in &parameters {
        let _ = write!(out, "<th>{}</th>", escape(name));
    }
    for name in &measures {
        let unit = rows.iter().find_map(|r| r.measures.get(name)).map_or("", |m| &m.unit);
        let _ = write!(out, "<th class=\"number\">{}<br/><small>{}</small></th>", escape(name), escape(unit));
    }
    out += if with_limit { "<th>limit</th>" } else { "" };
    out += "</tr></thead>\n<tbody>\n";
    for row in rows {
        out += "<tr>";
        for name in &parameters {
            let _ = write!(out, "<td>{}</td>", escape(row.parameters.get(name).map_or("", |v| v)));
        }
        for name in &measures {
            let _ = match row.measures.get(name) {
                Some(m) if m.noise > 0.0 => {
                    write!(
                        out,
                        "<td class=\"number\" title=\"± {}\">{}</td>",
                        chart::short(m.noise),
                        shown(m)
                    )
                }
                Some(m) => write!(out, "<td class=\"number\">{}</td>", shown(m)),
                None => write!(out, "<td class=\"number\">–</td>"),
            };
        }
        if with_limit {
            let limit = row.limit.map_or("", limit_text);
            let class = if matches!(row.limit, Some(Limit::Gateway) | None) { "" } else { " class=\"mark\"" };
            let _ = write!(out, "<td{class}>{limit}</td>");
        }
        out += "</tr>\n";
    }
    out += "</tbody></table></div>\n";
    let mut notes: Vec<&String> = rows.iter().flat_map(|r| &r.notes).collect();
    notes.sort();
    notes.dedup();
    for note in notes {
        let _ = writeln!(out, "<p class=\"small\">{}</p>", escape(note));
    }
    out
}

/// Where packets were lost, over all trials.
fn losses(report: &Report) -> String {
    let mut by_reason = std::collections::BTreeMap::<&str, u64>::new();
    for trial in &report.trials {
        *by_reason.entry("not taken by the gateway in time (its receive ring was full)").or_default() +=
            trial.not_taken;
        *by_reason.entry("missed by the gateway's ports").or_default() += trial.missed;
        *by_reason.entry("not sent in time by the tester (not counted as lost)").or_default() +=
            trial.skipped;
        for (reason, n) in &trial.drops {
            *by_reason.entry(reason).or_default() += n;
        }
    }
    by_reason.retain(|_, n| *n > 0);
    if by_reason.is_empty() {
        return String::new();
    }
    let rows: String = by_reason
        .iter()
        .map(|(reason, n)| format!("<tr><td>{}</td><td class=\"number\">{n}</td></tr>\n", escape(reason)))
        .collect();
    format!(
        "<h2>Where packets were lost, over all trials</h2>\n<table><thead><tr><th>reason</th>\
         <th class=\"number\">packets</th></tr></thead><tbody>\n{rows}</tbody></table>\n"
    )
}

fn environment(e: &Environment) -> String {
    let pages: Vec<String> =
        e.hugepages.iter().map(|(size, [all, free])| format!("{all} of {size}, {free} free")).collect();
    let or = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    let entries = [
        ("CPU", format!("{}, {} of them, {:.0} MHz", e.cpu, e.cpus, e.mhz)),
        ("instruction sets", e.flags.join(" ")),
        ("virtual machine", if e.hypervisor { "yes" } else { "no" }.into()),
        ("time-stamp counter", format!("{:.3} GHz", e.ticks_per_second / 1e9)),
        ("kernel", e.kernel.clone()),
        ("its options", or(&e.kernel_command_line)),
        ("isolated CPUs", or(&e.isolated_cpus)),
        ("nohz_full", or(&e.nohz_full)),
        ("frequency governor", or(&e.governor)),
        ("hugepages", pages.join("; ")),
        ("DPDK", e.dpdk.clone()),
        ("espway", format!("{}, {} build", e.espway, e.profile)),
        ("load at start", e.load_at_start.clone()),
    ];
    let items: String =
        entries.iter().map(|(k, v)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(k), escape(v))).collect();
    format!("<h2>Environment</h2>\n<dl>{items}</dl>\n")
}

#[cfg(test)]
mod tests;
