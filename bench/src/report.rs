//! Rows for people and for machines.
use crate::case::{Cycles, Label, Measured};
use crate::environment::Environment;
use crate::targets::Target;
use comfy_table::{CellAlignment, Table, presets};
use fastpath::graph::Stage;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
pub struct Row {
    #[serde(flatten)]
    pub label: Label,
    pub cycles_per_packet: f64,
    /// 10 % and 90 % quantile of the samples: what lies between them is noise.
    pub cycles_p10: f64,
    pub cycles_p90: f64,
    pub cycles_p99: f64,
    /// Bare libipsec-mb on the same bytes in the same run; absent where it is no measure.
    pub floor_cycles: Option<f64>,
    pub ratio: Option<f64>,
    pub mpps: f64,
    /// Of inner IP packets: no Ethernet, no outer header, no ESP.
    pub gbps: f64,
    #[serde(flatten)]
    pub target: Option<Target>,
    /// Cycles per packet of each stage of the path, and `around`: rings and pool.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stages: BTreeMap<&'static str, f64>,
    /// What measuring the stages added, of the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages_overhead_percent: Option<f64>,
}
impl Row {
    pub fn new(label: Label, cycles: Cycles, floor: Option<f64>, ticks_per_second: f64) -> Self {
        let pps = ticks_per_second / cycles.median;
        let gbps = pps * label.bytes as f64 * 8.0 / 1e9;
        Self {
            label,
            cycles_per_packet: round(cycles.median),
            cycles_p10: round(cycles.p10),
            cycles_p90: round(cycles.p90),
            cycles_p99: round(cycles.p99),
            floor_cycles: floor.map(round),
            ratio: floor.map(|f| (cycles.median / f * 100.0).round() / 100.0),
            mpps: (pps / 1e2).round() / 1e4,
            gbps: (gbps * 1e4).round() / 1e4,
            target: None,
            stages: BTreeMap::new(),
            stages_overhead_percent: None,
        }
    }
    pub fn with_stages(mut self, stages: Vec<(&'static str, f64)>, measured: &Measured) -> Self {
        let Some(on) = measured.with_stages else { return self };
        // Most samples are alike, and disturbances come to both kinds: what is added shows where there are few.
        let (on, off) = (on.p10, measured.cycles.p10);
        self.stages_overhead_percent = Some(((on / off - 1.0) * 1e4).round() / 1e2);
        let all: f64 = stages.iter().map(|(_, cycles)| cycles).sum();
        self.stages = stages.into_iter().map(|(name, cycles)| (name, round(cycles))).collect();
        self.stages.insert("around", round(measured.cycles.median - all));
        self
    }
}
fn round(cycles: f64) -> f64 {
    (cycles * 10.0).round() / 10.0
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub environment: Environment,
    pub rows: Vec<Row>,
}

pub const COUNTED: &str = "tunnel mode over IPv4, 64-bit sequence numbers, replay window of 1024, 64 UDP flows (with \
     several SAs one for each, drawn at random per packet), bursts of 32; bytes and gbps count inner IP packets, \
     without outer headers, ESP or Ethernet; tunnel-ipv4 is one worker from a receive ring to a transmit ring with a \
     buffer pool, in memory, without NIC and driver; engine is seal or open alone; floor is libipsec-mb on the ESP \
     plaintexts of the same packets (inner packet, padding, trailer), one key, 512 buffers: AES-GCM in one call per \
     packet, AES-CBC with HMAC multi-buffer, flushed once; cycles are medians with the 10 % and 90 % quantiles beside";

const HEADER: [&str; 16] = [
    "direction",
    "suite",
    "engine",
    "mode",
    "SAs",
    "policies",
    "lookup",
    "buffers",
    "bytes",
    "cycles/packet",
    "p10 … p90",
    "floor",
    "ratio",
    "Mpps",
    "Gbit/s",
    "target",
];

impl Report {
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(HEADER);
        for row in &self.rows {
            let l = &row.label;
            table.add_row([
                l.direction.name().into(),
                l.suite.clone(),
                l.engine.clone(),
                l.mode.into(),
                l.sas.to_string(),
                l.policies.to_string(),
                l.lookup.into(),
                l.buffers.to_string(),
                l.bytes.to_string(),
                format!("{:.0}", row.cycles_per_packet),
                format!("{:.0} … {:.0}", row.cycles_p10, row.cycles_p90),
                row.floor_cycles.map_or("–".into(), |f| format!("{f:.0}")),
                row.ratio.map_or("–".into(), |r| format!("{r:.2}")),
                format!("{:.2}", row.mpps),
                format!("{:.2}", row.gbps),
                row.target.as_ref().map_or(String::new(), |t| {
                    format!("{}: {} ({:.0})", t.verdict, t.target, t.target_cycles)
                }),
            ]);
        }
        let right = |at: usize| (4..15).contains(&at) && at != 6;
        let columns = table.column_iter_mut().enumerate().filter(|(at, _)| right(*at));
        columns.for_each(|(_, column)| column.set_cell_alignment(CellAlignment::Right));
        let stages = self.stage_table().map_or(String::new(), |table| format!("\n{table}"));
        format!("{}\n{table}{stages}\n{}", self.head(), self.tail())
    }
    /// Where the cycles of each row went, in the order of the path.
    fn stage_table(&self) -> Option<Table> {
        let names: Vec<_> = Stage::ALL.iter().map(|stage| stage.name()).chain(["around"]).collect();
        let staged: Vec<_> = self.rows.iter().filter(|row| !row.stages.is_empty()).collect();
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["row"].into_iter().chain(names.iter().copied()).chain(["measuring adds"]));
        for row in &staged {
            let cells =
                names.iter().map(|name| row.stages.get(name).map_or(String::new(), |c| format!("{c:.1}")));
            let adds = row.stages_overhead_percent.map_or(String::new(), |p| format!("{p:.1} %"));
            table.add_row([row.label.name()].into_iter().chain(cells).chain([adds]));
        }
        table.column_iter_mut().skip(1).for_each(|c| c.set_cell_alignment(CellAlignment::Right));
        (!staged.is_empty()).then_some(table)
    }
    fn head(&self) -> String {
        let e = &self.environment;
        let core = e.pinned_to_core.map_or("not pinned".into(), |c| format!("core {c}"));
        let steal = e.steal_percent.map_or("unknown".into(), |s| format!("{s} %"));
        format!(
            "{}\n{} build, {core}, {:.3} GHz {}, libipsec-mb {}, kernel {}, large pages {}, stolen time {steal}\n{}",
            e.cpu,
            e.profile,
            e.ticks_per_second / 1e9,
            e.unit,
            e.ipsec_mb,
            e.kernel,
            e.transparent_hugepages,
            e.flags.join(" "),
        )
    }
    fn tail(&self) -> String {
        let mut text = self.environment.counted.to_owned();
        for t in self.environment.tables.iter().filter(|t| t.sas + t.policies > 2) {
            text += &format!(
                "\ntables of two gateways with {} SA pairs and {} policies, {}: made in {:.2} s, {} MiB",
                t.sas, t.policies, t.suite, t.set_up_seconds, t.resident_mib
            );
        }
        let targets: Vec<_> = self.rows.iter().filter_map(|row| row.target.as_ref()).collect();
        if !targets.is_empty() {
            let met = targets.iter().filter(|t| t.verdict == "met").count();
            text += &format!("\n{met} of {} targets met", targets.len());
        }
        text
    }
}
