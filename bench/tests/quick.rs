//! The quick benchmark with one sample per row: what it prints is complete and consistent. How fast anything was is
//! not looked at.
use bench::quick::{Options, run};
use serde_json::Value;

#[test]
fn every_row_is_there_and_names_its_floor() {
    let report = run(&Options { rounds: 1, warm_up: 0, loads: false, only: String::new(), core: None })
        .expect("libipsec-mb1 is installed");
    let json: Value = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    for field in ["cpu", "flags", "ipsec_mb", "dpdk", "ticks_per_second", "profile"] {
        assert!(!json["environment"][field].is_null(), "{field}");
    }
    let rows = json["rows"].as_array().unwrap();
    for direction in ["outbound", "inbound"] {
        for bytes in [64, 512, 1400] {
            for (engine, mode) in [
                ("libipsec-mb", "floor"),
                ("native", "engine"),
                ("ipsec-mb", "engine"),
                ("ring", "engine"),
                ("rustcrypto", "engine"),
            ] {
                let found: Vec<_> = rows
                    .iter()
                    .filter(|r| {
                        r["direction"] == direction && r["bytes"] == bytes && r["suite"] == "aes-128-gcm"
                    })
                    .filter(|r| r["engine"] == engine && r["mode"] == mode)
                    .collect();
                assert_eq!(found.len(), 1, "{direction} {bytes} {engine} {mode}");
                let number = |field: &str| {
                    found[0][field].as_f64().unwrap_or_else(|| panic!("{field} of {}", found[0]))
                };
                let ratio = number("cycles_per_packet") / number("floor_cycles");
                // Both sides were rounded on their way out.
                assert!((ratio - number("ratio")).abs() < 0.05 * ratio + 0.02, "{}", found[0]);
                let gbps = number("mpps") * f64::from(bytes) * 8.0 / 1000.0;
                let pps =
                    json["environment"]["ticks_per_second"].as_f64().unwrap() / number("cycles_per_packet");
                assert!((pps / 1e6 - number("mpps")).abs() < 0.01 + 0.01 * pps / 1e6, "{}", found[0]);
                assert!((gbps - number("gbps")).abs() < 0.002 + 0.05 * gbps, "{}", found[0]);
                for field in ["sas", "policies", "workers"] {
                    number(field);
                }
            }
        }
    }
    let table = report.table();
    assert!(table.contains("ipsec-mb") && table.contains("inner IP packets"), "{table}");
}
