//! Two results side by side: rows with the same parameters, and what changed beyond the noise of both.
use crate::report::{Better, FORMAT, Report, Row, limit_text, shown};
use crate::search::Limit;
use anyhow::{Context, Result, bail};
use comfy_table::{CellAlignment, Table, presets};
use std::path::Path;

/// From the first report to the second.
#[derive(Clone, Debug)]
pub struct Change {
    pub row: String,
    pub measure: String,
    pub unit: String,
    pub before: String,
    pub after: String,
    /// In percent of the first.
    pub percent: f64,
    pub verdict: Verdict,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Better,
    Worse,
    WithinNoise,
    /// The tester or the machine was the limit in one of both: nothing follows.
    NoComparison,
}
pub struct Comparison {
    pub changes: Vec<Change>,
    /// Rows of one report alone.
    pub only_before: Vec<String>,
    pub only_after: Vec<String>,
}

pub fn load(path: &Path) -> Result<Report> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let report: Report = serde_json::from_str(&text)
        .with_context(|| format!("{} is no result of espway lab", path.display()))?;
    if report.format != FORMAT {
        bail!("{} has format {:?}, this program reads {FORMAT:?}", path.display(), report.format);
    }
    Ok(report)
}

pub fn compare(before: &Report, after: &Report) -> Comparison {
    let find = |rows: &'_ [Row], key: &str| rows.iter().find(|r| r.key() == key).cloned();
    let missing = |from: &[Row], other: &[Row]| -> Vec<String> {
        from.iter().map(Row::key).filter(|key| find(other, key).is_none()).collect()
    };
    let both = before.rows.iter().filter_map(|row| Some((row, find(&after.rows, &row.key())?)));
    Comparison {
        changes: both.flat_map(|(row, other)| changes(row, &other)).collect(),
        only_before: missing(&before.rows, &after.rows),
        only_after: missing(&after.rows, &before.rows),
    }
}

fn changes(before: &Row, after: &Row) -> Vec<Change> {
    let unclear = |row: &Row| matches!(row.limit, Some(Limit::Tester | Limit::Disturbance));
    let unclear = unclear(before) || unclear(after);
    let of = |name: &String| {
        let (a, b) = (before.measures.get(name)?, after.measures.get(name)?);
        if a.better == Better::Neither {
            return None;
        }
        let difference = b.value - a.value;
        let noise = a.noise.max(b.noise);
        let good = (difference > 0.0) == (a.better == Better::Higher);
        let verdict = match () {
            () if unclear => Verdict::NoComparison,
            () if difference.abs() <= noise => Verdict::WithinNoise,
            () if good => Verdict::Better,
            () => Verdict::Worse,
        };
        let percent = match (a.value, difference) {
            (_, 0.0) => 0.0,
            (0.0, _) => f64::INFINITY.copysign(difference),
            (value, _) => 100.0 * difference / value,
        };
        Some(Change {
            row: before.key(),
            measure: name.clone(),
            unit: a.unit.clone(),
            before: shown(a),
            after: shown(b),
            percent,
            verdict,
        })
    };
    before.measures.keys().filter_map(of).collect()
}

impl Comparison {
    /// Changes for the worse, beyond noise, of at least so many percent.
    pub fn regressions(&self, percent: f64) -> Vec<&Change> {
        let worse = |c: &&Change| c.verdict == Verdict::Worse && c.percent.abs() >= percent;
        self.changes.iter().filter(worse).collect()
    }
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["row", "measure", "before", "after", "change", ""]);
        for c in &self.changes {
            let mark = match c.verdict {
                Verdict::Better => "better",
                Verdict::Worse => "WORSE",
                Verdict::WithinNoise => "within noise",
                Verdict::NoComparison => "not comparable: tester or machine was the limit",
            };
            table.add_row([
                c.row.clone(),
                format!("{} {}", c.measure, c.unit).trim().to_owned(),
                c.before.clone(),
                c.after.clone(),
                format!("{:+.1} %", c.percent),
                mark.to_owned(),
            ]);
        }
        table.column_iter_mut().skip(2).take(3).for_each(|c| c.set_cell_alignment(CellAlignment::Right));
        let only = |rows: &[String], which: &str| -> String {
            rows.iter().map(|row| format!("only in the {which}: {row}\n")).collect()
        };
        format!("{table}\n{}{}", only(&self.only_before, "first"), only(&self.only_after, "second"))
    }
}

/// Differences between the two machines or setups that make percentages meaningless.
pub fn warnings(before: &Report, after: &Report) -> Vec<String> {
    let mut out = Vec::new();
    let (a, b) = (&before.environment, &after.environment);
    let mut differ = |what: &str, a: &str, b: &str| {
        if a != b {
            out.push(format!("{what} differs: {a} / {b}"));
        }
    };
    differ("CPU", &a.cpu, &b.cpu);
    differ("kernel", &a.kernel, &b.kernel);
    differ("DPDK", &a.dpdk, &b.dpdk);
    differ("build", &a.profile, &b.profile);
    for (name, value) in &before.setup {
        if let Some(other) = after.setup.get(name) {
            differ(name, value, other);
        }
    }
    let disturbed = |r: &Report| r.rows.iter().filter(|r| r.limit == Some(Limit::Disturbance)).count();
    let (x, y) = (disturbed(before), disturbed(after));
    if x + y > 0 {
        out.push(format!(
            "{} rows {}: measure them again on a quiet machine",
            x + y,
            limit_text(Limit::Disturbance)
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rows: Vec<Row>) -> Report {
        Report {
            format: FORMAT.into(),
            command: "throughput".into(),
            command_line: Vec::new(),
            started: 0,
            seconds: 0.0,
            environment: Default::default(),
            setup: Default::default(),
            counted: String::new(),
            rows,
            trials: Vec::new(),
            configuration: String::new(),
            stages: None,
        }
    }
    fn row(size: &str, ndr: f64, noise: f64, latency: f64) -> Row {
        let mut row = Row::new("throughput", &[("size", size.into())]);
        row.put("ndr", ndr, "Mpps", Better::Higher, noise);
        row.put("p99", latency, "µs", Better::Lower, 1.0);
        row.put("overload", ndr * 2.0, "Mpps", Better::Neither, 0.0);
        row
    }
    #[test]
    fn rows_are_matched_and_noise_is_left_alone() {
        let before =
            report(vec![row("64", 2.0, 0.05, 10.0), row("512", 1.0, 0.01, 10.0), row("99", 1.0, 0.0, 1.0)]);
        let after =
            report(vec![row("512", 0.9, 0.01, 5.0), row("64", 2.04, 0.01, 10.5), row("1518", 1.0, 0.0, 1.0)]);
        let comparison = compare(&before, &after);
        let verdicts: Vec<_> = comparison
            .changes
            .iter()
            .map(|c| (c.row.as_str(), c.measure.as_str(), c.verdict, c.percent.round() as i64))
            .collect();
        let (a, b) = ("throughput size=64", "throughput size=512");
        assert_eq!(
            verdicts,
            [
                (a, "ndr", Verdict::WithinNoise, 2),
                (a, "p99", Verdict::WithinNoise, 5),
                (b, "ndr", Verdict::Worse, -10),
                (b, "p99", Verdict::Better, -50),
            ]
        );
        assert_eq!(comparison.only_before, ["throughput size=99"]);
        assert_eq!(comparison.only_after, ["throughput size=1518"]);
        assert_eq!(comparison.regressions(5.0).len(), 1);
        assert!(comparison.regressions(11.0).is_empty());
        let table = comparison.table();
        assert!(table.contains("WORSE") && table.contains("-10.0 %") && table.contains("only in the second"));
    }
    #[test]
    fn what_the_tester_limited_is_not_compared() {
        let slow = Row { limit: Some(Limit::Tester), ..row("64", 1.0, 0.0, 1.0) };
        let comparison = compare(&report(vec![row("64", 2.0, 0.0, 1.0)]), &report(vec![slow]));
        assert!(comparison.changes.iter().all(|c| c.verdict == Verdict::NoComparison));
        assert!(comparison.regressions(0.0).is_empty());
    }
    #[test]
    fn something_from_nothing_is_a_change() {
        let comparison =
            compare(&report(vec![row("64", 0.0, 0.0, 1.0)]), &report(vec![row("64", 1.0, 0.0, 1.0)]));
        assert_eq!(comparison.changes[0].percent, f64::INFINITY);
        assert_eq!(comparison.changes[0].verdict, Verdict::Better);
    }
    #[test]
    fn other_files_are_refused_with_their_name() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x.json");
        std::fs::write(&path, "{}").expect("written");
        assert!(load(&path).expect_err("no report").to_string().contains("x.json"));
        let mut other = report(Vec::new());
        other.format = "espway-lab 0".into();
        std::fs::write(&path, serde_json::to_string(&other).expect("JSON")).expect("written");
        assert!(load(&path).expect_err("another format").to_string().contains("espway-lab 0"));
        std::fs::write(&path, serde_json::to_string(&report(vec![row("64", 1.0, 0.0, 1.0)])).expect("JSON"))
            .expect("written");
        assert_eq!(load(&path).expect("a report").rows.len(), 1);
    }
}
