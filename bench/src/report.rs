//! Rows for people and for machines.
use crate::case::{Cycles, Label};
use crate::environment::Environment;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

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
        }
    }
}
fn round(cycles: f64) -> f64 {
    (cycles * 10.0).round() / 10.0
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub environment: Environment,
    pub counted: &'static str,
    pub rows: Vec<Row>,
}

pub const COUNTED: &str = "tunnel mode over IPv4, 64-bit sequence numbers, replay window of 1024, 64 UDP flows, bursts of 32; bytes and gbps count inner IP packets, without outer headers, ESP or Ethernet; cycles are \
     those of one worker from packets in memory to packets in memory, without NIC, driver and buffer pool; floor is \
     libipsec-mb's one-shot AES-GCM on the ESP plaintexts of the same packets (inner packet, padding, trailer)";

impl Report {
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header([
            "direction",
            "suite",
            "engine",
            "mode",
            "SAs",
            "buffers",
            "bytes",
            "cycles/packet",
            "p10 … p90",
            "floor",
            "ratio",
            "Mpps",
            "Gbit/s",
        ]);
        for row in &self.rows {
            let l = &row.label;
            let direction = format!("{:?}", l.direction).to_lowercase();
            table.add_row([
                direction,
                l.suite.clone(),
                l.engine.clone(),
                l.mode.into(),
                l.sas.to_string(),
                l.buffers.to_string(),
                l.bytes.to_string(),
                format!("{:.0}", row.cycles_per_packet),
                format!("{:.0} … {:.0}", row.cycles_p10, row.cycles_p90),
                row.floor_cycles.map_or("–".into(), |f| format!("{f:.0}")),
                row.ratio.map_or("–".into(), |r| format!("{r:.2}")),
                format!("{:.2}", row.mpps),
                format!("{:.2}", row.gbps),
            ]);
        }
        table.column_iter_mut().skip(4).for_each(|c| c.set_cell_alignment(CellAlignment::Right));
        let e = &self.environment;
        let core = e.pinned_to_core.map_or("not pinned".into(), |c| format!("core {c}"));
        format!(
            "{}\n{} build, {core}, {:.3} GHz {}, libipsec-mb {}, kernel {}\n{}\n{table}\n{}",
            e.cpu,
            e.profile,
            e.ticks_per_second / 1e9,
            e.unit,
            e.ipsec_mb,
            e.kernel,
            e.flags.join(" "),
            self.counted
        )
    }
}
