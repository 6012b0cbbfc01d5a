//! What a run found: for machines as JSON, for people as tables; `html` and `compare` read the same structures.
use crate::environment::{Disturbance, Environment};
use crate::ledger::Fault;
use crate::search::Limit;
use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub const FORMAT: &str = "espway-lab 1";

pub const COUNTED: &str = "A frame's size is that of the clear Ethernet frame with its FCS (RFC 2544), also where it \
     travels as ESP. Mpps are packets offered to the gateway, over all directions; Gbit/s counts the inner IP packets \
     alone: no Ethernet, outer header or ESP. NDR is the highest rate without any loss, PDR that with at most the loss \
     named. Every packet that came back was decrypted where it was ESP and compared with the one sent; order per flow \
     and sequence numbers were checked.";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub format: String,
    pub command: String,
    pub command_line: Vec<String>,
    /// Seconds since 1970.
    pub started: u64,
    pub seconds: f64,
    pub environment: Environment,
    /// What all rows have in common, in words.
    pub setup: BTreeMap<String, String>,
    pub counted: String,
    pub rows: Vec<Row>,
    pub trials: Vec<Trial>,
    /// The gateway's configuration.
    pub configuration: String,
    /// Output of `cargo ci bench datapath --stages --json`, as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stages: Option<serde_json::Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Higher,
    Lower,
    Neither,
}
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measure {
    pub value: f64,
    pub unit: String,
    pub better: Better,
    /// What the same measurement may give next time, as far as this run can tell (absolute).
    pub noise: f64,
}

/// One line of the result. `parameters` say what was measured, `measures` what came out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    pub test: String,
    pub parameters: BTreeMap<String, String>,
    pub measures: BTreeMap<String, Measure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Quantile and nanoseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub percentiles: Vec<[f64; 2]>,
    /// Files written for this row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}
impl Row {
    pub fn new(test: &str, parameters: &[(&str, String)]) -> Self {
        let parameters = parameters.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        Self { test: test.into(), parameters, ..Self::default() }
    }
    pub fn put(&mut self, name: &str, value: f64, unit: &str, better: Better, noise: f64) {
        let value = significant(value);
        let noise = significant(noise);
        self.measures.insert(name.into(), Measure { value, unit: unit.into(), better, noise });
    }
    pub fn get(&self, name: &str) -> Option<f64> {
        self.measures.get(name).map(|m| m.value)
    }
    /// What makes it the same measurement in another report.
    pub fn key(&self) -> String {
        let parameters: Vec<_> = self.parameters.iter().map(|(k, v)| format!("{k}={v}")).collect();
        format!("{} {}", self.test, parameters.join(" "))
    }
}
/// Five digits: no measurement here has more.
pub fn significant(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10f64.powf(4.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trial {
    pub test: String,
    pub parameters: BTreeMap<String, String>,
    /// Packets a second.
    pub offered: f64,
    pub seconds: f64,
    pub attempted: u64,
    pub received: u64,
    pub lost: u64,
    /// Of those lost: no room on the cable towards the gateway, which did not fetch in time.
    pub not_taken: u64,
    /// Of those lost: dropped by the gateway under a reason.
    pub drops: BTreeMap<String, u64>,
    /// Of those lost: missed by the gateway's ports.
    pub missed: u64,
    /// Not sent because the tester was late or had no buffer. Not among those lost.
    pub skipped: u64,
    pub foreign: u64,
    pub stale: u64,
    pub faults: BTreeMap<Fault, u64>,
    pub full_polls: f64,
    pub tester_limited: bool,
    pub disturbed: bool,
    pub disturbance: Disturbance,
}

impl Report {
    /// All rows of several results, those of one test together. Everything else is the first one's; a setting that
    /// differs says so.
    pub fn join(reports: Vec<Self>) -> Option<Self> {
        let mut reports = reports.into_iter();
        let mut all = reports.next()?;
        for mut other in reports {
            if !all.command.split(", ").any(|command| command == other.command) {
                all.command += &format!(", {}", other.command);
            }
            all.command_line.push(";".into());
            all.command_line.append(&mut other.command_line);
            all.seconds += other.seconds;
            for (name, value) in other.setup {
                let known = all.setup.entry(name).or_default();
                if !known.split(" | ").any(|k| k == value) {
                    *known += &format!(" | {value}");
                }
            }
            all.rows.append(&mut other.rows);
            all.trials.append(&mut other.trials);
            all.stages = all.stages.or(other.stages);
        }
        // A measurement that was made twice stands once: the last time.
        let mut rows: Vec<Row> = Vec::new();
        for row in all.rows {
            let key = row.key();
            match rows.iter_mut().find(|r| r.key() == key) {
                Some(old) => *old = row,
                None => rows.push(row),
            }
        }
        let mut tests: Vec<String> = Vec::new();
        for row in &rows {
            if !tests.contains(&row.test) {
                tests.push(row.test.clone());
            }
        }
        rows.sort_by_key(|row| tests.iter().position(|test| *test == row.test));
        all.rows = rows;
        Some(all)
    }
    pub fn table(&self) -> String {
        let mut text = format!("{}\n", self.environment.line());
        for (name, value) in &self.setup {
            text += &format!("{name}: {value}\n");
        }
        let mut tests: Vec<&str> = self.rows.iter().map(|r| r.test.as_str()).collect();
        tests.dedup();
        for test in tests {
            let rows: Vec<&Row> = self.rows.iter().filter(|r| r.test == test).collect();
            text += &format!("\n{test}\n{}\n", table(&rows));
        }
        let notes: Vec<_> = self.rows.iter().flat_map(|r| r.notes.iter().map(|n| (r.key(), n))).collect();
        for (key, note) in notes {
            text += &format!("{key}: {note}\n");
        }
        text + &self.counted
    }
}

/// Names of all columns: parameters that differ or are alone, then measures.
pub fn columns(rows: &[&Row]) -> (Vec<String>, Vec<String>) {
    let mut parameters: Vec<String> = Vec::new();
    let mut measures: Vec<String> = Vec::new();
    for row in rows {
        for name in row.parameters.keys().filter(|n| !parameters.contains(n)).cloned().collect::<Vec<_>>() {
            parameters.push(name);
        }
        for name in row.measures.keys().filter(|n| !measures.contains(n)).cloned().collect::<Vec<_>>() {
            measures.push(name);
        }
    }
    (parameters, measures)
}
/// A measure as it is shown.
pub fn shown(measure: &Measure) -> String {
    let digits = match measure.value.abs() {
        v if v == 0.0 || v >= 1000.0 => 0,
        v if v >= 100.0 => 1,
        v if v >= 1.0 => 3,
        _ => 4,
    };
    format!("{:.digits$}", measure.value)
}
pub fn limit_text(limit: Limit) -> &'static str {
    match limit {
        Limit::Gateway => "gateway",
        Limit::Disturbance => "DISTURBED",
        Limit::Tester => "TESTER",
        Limit::Asked => "--max-rate",
        Limit::Nothing => "no rate passed",
    }
}

fn table(rows: &[&Row]) -> Table {
    let (parameters, measures) = columns(rows);
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let unit = |name: &String| {
        let unit = rows.iter().find_map(|r| r.measures.get(name)).map_or("", |m| &m.unit);
        if unit.is_empty() { name.clone() } else { format!("{name}\n{unit}") }
    };
    let with_limit = rows.iter().any(|r| r.limit.is_some());
    let mut header: Vec<String> = parameters.clone();
    header.extend(measures.iter().map(unit));
    header.extend(with_limit.then(|| "limit".to_owned()));
    table.set_header(header);
    for row in rows {
        let parameter = |name| row.parameters.get(name).cloned().unwrap_or_default();
        let mut cells: Vec<String> = parameters.iter().map(parameter).collect();
        cells.extend(measures.iter().map(|name| row.measures.get(name).map_or("–".into(), shown)));
        cells.extend(with_limit.then(|| row.limit.map_or("", limit_text).to_owned()));
        table.add_row(cells);
    }
    let (from, n) = (parameters.len(), measures.len());
    table.column_iter_mut().skip(from).take(n).for_each(|c| c.set_cell_alignment(CellAlignment::Right));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_five_digits() {
        assert_eq!(significant(1_234_567.0), 1_234_600.0);
        assert_eq!(significant(0.000_123_456_7), 0.000_123_46);
        assert_eq!(significant(0.0), 0.0);
        assert_eq!(significant(f64::NAN), 0.0);
    }
    #[test]
    fn results_are_joined_row_by_row() {
        let report = |command: &str, test: &str, value: f64, cable: &str| {
            let mut row = Row::new(test, &[("size", "64".into())]);
            row.put("ndr", value, "Mpps", Better::Higher, 0.0);
            let setup = [("cable".to_owned(), cable.to_owned())].into();
            let text = String::new;
            let (command, rows) = (command.to_owned(), vec![Row::new("tester alone", &[]), row]);
            let (format, environment) = (FORMAT.to_owned(), Environment::default());
            let (command_line, trials, stages) = (vec![command.clone()], Vec::new(), None);
            let (started, seconds, counted, configuration) = (0, 1.0, text(), text());
            Report {
                format,
                command,
                command_line,
                started,
                seconds,
                environment,
                setup,
                counted,
                rows,
                trials,
                configuration,
                stages,
            }
        };
        let parts = vec![
            report("throughput", "throughput", 1.0, "memif"),
            report("latency", "latency", 2.0, "memif"),
            report("throughput", "throughput", 3.0, "vhost-user"),
        ];
        let all = Report::join(parts).expect("three");
        let rows: Vec<_> = all.rows.iter().map(|r| (r.test.as_str(), r.get("ndr"))).collect();
        assert_eq!(rows, [("tester alone", None), ("throughput", Some(3.0)), ("latency", Some(2.0))]);
        assert_eq!(all.command, "throughput, latency");
        assert_eq!(all.setup["cable"], "memif | vhost-user");
        assert!(Report::join(Vec::new()).is_none());
    }
    #[test]
    fn rows_show_their_parameters_and_measures() {
        let mut row = Row::new("throughput", &[("size", "64".into()), ("direction", "out".into())]);
        row.put("ndr", 1.5, "Mpps", Better::Higher, 0.01);
        row.limit = Some(Limit::Tester);
        assert_eq!(row.key(), "throughput direction=out size=64");
        let text = table(&[&row]).to_string();
        assert!(text.contains("1.500") && text.contains("TESTER") && text.contains("Mpps"), "{text}");
    }
}
