//! The benchmark with one turn per row: what it prints is complete and consistent. How fast anything was is not looked
//! at.
use bench::datapath::{self, Selection};
use bench::plan::Pace;
use bench::quick;
use bench::report::Report;
use serde_json::Value;

fn pace(only: &str) -> Pace {
    Pace { rounds: 1, warm_up: 0, only: only.into(), core: None, stages: true }
}
fn json(report: &Report) -> Value {
    serde_json::from_str(&serde_json::to_string(report).unwrap()).unwrap()
}
/// The only row that `wanted` is true of.
fn one<'a>(json: &'a Value, what: &str, wanted: impl Fn(&Value) -> bool) -> &'a Value {
    let rows = json["rows"].as_array().unwrap();
    let found: Vec<_> = rows.iter().filter(|row| wanted(row)).collect();
    assert_eq!(found.len(), 1, "{what}");
    found[0]
}
fn number(row: &Value, field: &str) -> f64 {
    row[field].as_f64().unwrap_or_else(|| panic!("{field} of {row}"))
}
fn assert_consistent(json: &Value, row: &Value) {
    let cycles = number(row, "cycles_per_packet");
    let ratio = cycles / number(row, "floor_cycles");
    // Both sides were rounded on their way out.
    assert!((ratio - number(row, "ratio")).abs() < 0.05 * ratio + 0.02, "{row}");
    let gbps = number(row, "mpps") * number(row, "bytes") * 8.0 / 1000.0;
    let mpps = json["environment"]["ticks_per_second"].as_f64().unwrap() / cycles / 1e6;
    assert!((mpps - number(row, "mpps")).abs() < 0.01 + 0.01 * mpps, "{row}");
    assert!((gbps - number(row, "gbps")).abs() < 0.002 + 0.05 * gbps, "{row}");
    assert!(number(row, "cycles_p10") <= cycles && cycles <= number(row, "cycles_p90"), "{row}");
    for field in ["sas", "policies", "workers", "buffers"] {
        number(row, field);
    }
}

#[test]
fn quick_has_every_engine_and_its_floor() {
    let report = quick::run(&pace("/engine/64/"), false).expect("libipsec-mb1 is installed");
    let json = json(&report);
    assert_eq!(json.as_object().unwrap().len(), 2, "environment and rows");
    for field in ["cpu", "flags", "ipsec_mb", "dpdk", "ticks_per_second", "profile", "counted"] {
        assert!(!json["environment"][field].is_null(), "{field}");
    }
    let engines = bench::plan::automatic(bench::plan::suite("aes-128-gcm").expect("a suite"));
    assert!(engines.len() >= 3, "{engines:?}");
    for direction in ["out", "in"] {
        let named = engines.iter().map(|kind| (kind.name(), "engine"));
        for (engine, mode) in named.chain([("libipsec-mb", "floor")]) {
            let row = one(&json, &format!("{direction} {engine} {mode}"), |r| {
                (r["direction"] == direction && r["bytes"] == 64 && r["suite"] == "aes-128-gcm")
                    && (r["engine"] == engine && r["mode"] == mode)
            });
            assert_consistent(&json, row);
        }
    }
    let table = report.table();
    assert!(table.contains("ipsec-mb") && table.contains("inner IP packets"), "{table}");
}

#[test]
fn datapath_measures_what_is_named_and_judges_it() {
    let selection = Selection {
        sizes: vec![64],
        sas: vec![1, 70],
        policies: vec![1, 300],
        buffers: vec![1024],
        ..Selection::default()
    };
    let report = datapath::run(&selection, &pace("")).expect("libipsec-mb1 is installed");
    let json = json(&report);
    for direction in ["out", "in"] {
        for (sas, policies) in [(1, 1), (1, 300), (70, 70), (70, 300)] {
            for lookup in ["hit", "miss"] {
                let what = format!("{direction} {sas} {policies} {lookup}");
                let row = one(&json, &what, |r| {
                    r["direction"] == direction
                        && (r["sas"] == sas && r["policies"] == policies)
                        && (r["lookup"] == lookup && r["mode"] == "tunnel-ipv4")
                });
                assert_consistent(&json, row);
                let judged = row["verdict"] == "met" || row["verdict"] == "short";
                let stages = row["stages"].as_object().expect("stages");
                let sum: f64 = stages.values().filter_map(Value::as_f64).sum();
                assert!(stages.len() == 9 && (sum - number(row, "cycles_per_packet")).abs() < 1.0, "{row}");
                let crypto = if direction == "out" { "seal" } else { "open" };
                assert!(number(&row["stages"], crypto) > 0.0 && number(&row["stages"], "classify") > 0.0);
                number(row, "stages_overhead_percent");
                assert_eq!(judged, policies > sas || lookup == "miss", "{row}");
            }
        }
    }
    let wrong = |change: fn(&mut Selection)| {
        let mut selection = selection.clone();
        change(&mut selection);
        datapath::run(&selection, &pace("")).expect_err("refused").to_string()
    };
    assert!(wrong(|s| s.suite = vec!["aes-128-gmc".into()]).contains("aes-128-gcm"));
    assert!(wrong(|s| s.sizes = vec![9000]).contains("1400"));
    assert!(wrong(|s| s.directions = vec!["up".into()]).contains("out or in"));
}
