//! Which plots a set of rows is worth.
use super::chart::{Axis, Chart, Scale, Series};
use crate::report::Row;
use std::collections::BTreeMap;

pub fn all(rows: &[Row]) -> String {
    let of = |test: &str| -> Vec<&Row> { rows.iter().filter(|r| r.test == test).collect() };
    let mut charts = Vec::new();
    charts.extend(by_size(&of("throughput"), &of("tester alone")));
    charts.extend(latency(&of("latency")));
    let tunnels = of("tunnels");
    charts.extend(by(&tunnels, "tunnels", "ndr", "Rate without loss by number of tunnels", Scale::Log));
    charts.extend(by(
        &tunnels,
        "tunnels",
        "install",
        "SAs installed per second by number of tunnels",
        Scale::Log,
    ));
    charts.extend(by(
        &of("scaling"),
        "workers",
        "ndr",
        "Rate without loss by number of workers",
        Scale::Linear,
    ));
    charts.extend(by(&of("loss"), "load", "loss", "Loss by load", Scale::Linear));
    charts.extend(by(
        &of("backtoback"),
        "size",
        "burst",
        "Longest burst without loss by frame size",
        Scale::Log,
    ));
    charts.iter().map(Chart::svg).collect()
}

/// A parameter as a number: `10%`, `1518`; IMIX by its mean frame.
fn number(text: &str) -> Option<f64> {
    match text.trim().trim_end_matches('%') {
        "imix" => Some(361.8),
        digits => digits.parse().ok(),
    }
}

/// Series of `measure` over a parameter, one for each combination of the other parameters that differ.
fn series(rows: &[&Row], over: &str, measure: &str) -> Vec<Series> {
    let differs = |name: &str| {
        let mut values: Vec<_> = rows.iter().map(|r| r.parameters.get(name)).collect();
        values.sort();
        values.dedup();
        values.len() > 1
    };
    let mut found: Vec<Series> = Vec::new();
    for row in rows {
        let others = row.parameters.iter().filter(|(name, _)| {
            // As many flows as tunnels is no series of its own.
            name.as_str() != over && name.as_str() != "flows" && differs(name)
        });
        let name = others.map(|(k, v)| named(k, v)).collect::<Vec<_>>().join(", ");
        let name = if name.is_empty() { measure.to_owned() } else { format!("{measure}, {name}") };
        let (Some(x), Some(y)) = (row.parameters.get(over).and_then(|v| number(v)), row.get(measure)) else {
            continue;
        };
        match found.iter_mut().find(|s| s.name == name) {
            Some(series) => series.points.push((x, y)),
            None => found.push(Series { name, points: vec![(x, y)], dashed: false }),
        }
    }
    found.iter_mut().for_each(|s| s.points.sort_by(|a, b| a.0.total_cmp(&b.0)));
    found
}
fn named(parameter: &str, value: &str) -> String {
    match parameter {
        "direction" | "suite" => value.to_owned(),
        "size" => format!("{value} bytes"),
        "load" => format!("at {}", value.trim()),
        name => format!("{value} {name}"),
    }
}
fn unit(rows: &[&Row], measure: &str) -> String {
    rows.iter().find_map(|r| r.measures.get(measure)).map(|m| m.unit.clone()).unwrap_or_default()
}
/// The values of a parameter as they are written, where they are not too many.
fn places(rows: &[&Row], over: &str) -> Vec<(f64, String)> {
    let values = rows.iter().filter_map(|r| r.parameters.get(over));
    let mut at: BTreeMap<u64, (f64, String)> = BTreeMap::new();
    for text in values.filter(|text| text.as_str() != "imix") {
        if let Some(value) = number(text) {
            at.insert(value.to_bits(), (value, text.trim().to_owned()));
        }
    }
    at.into_values().collect()
}

fn by(rows: &[&Row], over: &str, measure: &str, title: &str, scale: Scale) -> Option<Chart> {
    let series = series(rows, over, measure);
    if !series.iter().any(|s| s.points.len() > 1) {
        return None;
    }
    Some(Chart {
        title: title.into(),
        x: Axis { label: over.into(), scale, ticks: places(rows, over) },
        y: Axis { label: unit(rows, measure), scale: Scale::Linear, ticks: Vec::new() },
        series,
    })
}

/// Rates by frame size, with what the tester can do at best. IMIX is a mix and has no place on the axis.
fn by_size(rows: &[&Row], alone: &[&Row]) -> Vec<Chart> {
    let plain = |rows: &[&Row]| -> Vec<Row> {
        rows.iter()
            .filter(|r| r.parameters.get("size").is_some_and(|s| s != "imix"))
            .map(|r| (*r).clone())
            .collect()
    };
    let (rows, alone) = (plain(rows), plain(alone));
    let (rows, alone): (Vec<&Row>, Vec<&Row>) = (rows.iter().collect(), alone.iter().collect());
    let mut charts = Vec::new();
    for (measures, title) in [
        (["ndr", "pdr 0.1%"], "Packets per second by frame size"),
        (["ndr (IP)", "pdr 0.1% (IP)"], "Throughput of inner packets by frame size"),
    ] {
        let Some(mut chart) = by(&rows, "size", measures[0], title, Scale::Log) else { continue };
        let partial = series(&rows, "size", measures[1]);
        chart.series.extend(partial.into_iter().map(|s| Series { dashed: true, ..s }));
        if measures[0] == "ndr" {
            let tester = series(&alone, "size", "rate");
            chart.series.extend(tester.into_iter().map(|s| Series {
                name: "tester alone".into(),
                dashed: true,
                ..s
            }));
        }
        charts.push(chart);
    }
    charts
}

/// Latency over quantiles, both logarithmic: the distance to 100 % is what counts.
fn latency(rows: &[&Row]) -> Option<Chart> {
    let differs = |name: &str| {
        rows.iter()
            .any(|r| r.parameters.get(name) != rows.first().and_then(|first| first.parameters.get(name)))
    };
    let series: Vec<Series> = rows
        .iter()
        .filter(|row| !row.percentiles.is_empty())
        .map(|row| {
            let names = row.parameters.iter().filter(|(name, _)| differs(name) || name.as_str() == "load");
            let name = names.map(|(k, v)| named(k, v)).collect::<Vec<_>>().join(", ");
            let at = |[quantile, ns]: &[f64; 2]| (1.0 / (1.0 - quantile), ns / 1e3);
            let points = row.percentiles.iter().filter(|[q, _]| *q < 0.999_999).map(at).collect();
            Series { name, points, dashed: false }
        })
        .collect();
    if series.is_empty() {
        return None;
    }
    let places = [
        ("0 %", 1.0),
        ("50 %", 2.0),
        ("90 %", 10.0),
        ("99 %", 100.0),
        ("99.9 %", 1e3),
        ("99.99 %", 1e4),
        ("99.999 %", 1e5),
    ];
    let ticks = places.into_iter().map(|(text, at)| (at, text.to_owned())).collect();
    Some(Chart {
        title: "Latency by percentile".into(),
        x: Axis { label: "packets that took no longer".into(), scale: Scale::Log, ticks },
        y: Axis { label: "µs".into(), scale: Scale::Log, ticks: Vec::new() },
        series,
    })
}
