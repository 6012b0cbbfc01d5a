//! What `cargo ci up` shows of a gateway's status: peers, SAs, ports, drops.
use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;
use std::collections::BTreeMap;

/// A status as `espway status --json` gives it.
#[derive(Clone, Debug)]
pub struct Status {
    value: Value,
}

impl Status {
    pub fn new(value: Value) -> Self {
        // The command may hand on the whole answer of the control socket.
        let inner = value.get("status").filter(|status| status.is_object()).cloned();
        Self { value: inner.unwrap_or(value) }
    }
    fn rows(&self, name: &str) -> &[Value] {
        self.value[name].as_array().map_or(&[], Vec::as_slice)
    }
    /// There is an established IKE SA, and an SA each way.
    pub fn tunnel_is_up(&self) -> bool {
        let has = |direction: &str| {
            let mature = |sa: &&Value| sa["direction"] == direction && sa["state"] == "mature";
            self.rows("installed-sas").iter().any(|sa| mature(&sa))
        };
        let established = self.rows("active-peers").iter().any(|peer| peer["state"] == "established");
        established && has("in") && has("out")
    }
    pub fn one_line(&self) -> String {
        let states: Vec<_> = self.rows("active-peers").iter().map(|peer| text(&peer["state"])).collect();
        format!(
            "peers: {}, SAs: {}",
            if states.is_empty() { "none".into() } else { states.join(", ") },
            self.rows("installed-sas").len()
        )
    }
    /// Drops that happened, by reason.
    pub fn drops(&self) -> BTreeMap<String, u64> {
        let all = self.value["drops"].as_object();
        let pairs =
            all.into_iter().flatten().map(|(reason, count)| (reason.clone(), count.as_u64().unwrap_or(0)));
        pairs.filter(|(_, count)| *count > 0).collect()
    }
    /// Packets the SAs of a direction (`in`, `out`) have passed.
    pub fn packets(&self, direction: &str) -> u64 {
        let those = self.rows("installed-sas").iter().filter(|sa| sa["direction"] == direction);
        those.filter_map(|sa| sa["current-packets"].as_u64()).sum()
    }

    pub fn tables(&self) -> String {
        let peers = table(
            &["peer", "id", "remote", "state", "side", "NAT", "algorithms", "uptime"],
            self.rows("active-peers"),
            &["peer", "id", "remote-address", "state", "side", "natt-peer", "algorithms", "uptime"],
        );
        let sas = table(
            &["SA", "SPI", "source", "destination", "cipher", "auth", "state", "packets", "bytes", "dropped"],
            self.rows("installed-sas"),
            &[
                "direction",
                "spi",
                "src-address",
                "dst-address",
                "enc-algorithm",
                "auth-algorithm",
                "state",
                "current-packets",
                "current-bytes",
                "invalid-packets",
            ],
        );
        let ports = table(
            &["port", "received", "bytes", "sent", "bytes", "missed", "errors"],
            self.rows("ports"),
            &["name", "rx-packets", "rx-bytes", "tx-packets", "tx-bytes", "rx-missed", "tx-errors"],
        );
        let drops: Vec<_> = self.drops().iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let drops = if drops.is_empty() { "none".to_owned() } else { drops.join(", ") };
        format!("{peers}\n{sas}\n{ports}\ndrops: {drops}")
    }
}

fn table(headers: &[&str], rows: &[Value], keys: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(headers);
    for row in rows {
        table.add_row(keys.iter().map(|key| text(&row[*key])));
    }
    for (at, key) in keys.iter().enumerate() {
        let numeric = rows.iter().all(|row| row[*key].is_number());
        if let Some(column) = table.column_mut(at).filter(|_| numeric) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tunnel_is_up_with_an_sa_each_way() {
        let sa = |direction: &str, state: &str| json!({"direction": direction, "state": state, "current-packets": 3});
        let status = |sas: Vec<Value>, state: &str| {
            Status::new(
                json!({"active-peers": [{"state": state}], "installed-sas": sas, "drops": {"no-sa": 0, "replay": 2}}),
            )
        };
        let both = vec![sa("in", "mature"), sa("out", "mature")];
        assert!(status(both.clone(), "established").tunnel_is_up());
        assert!(!status(both.clone(), "connecting").tunnel_is_up());
        assert!(!status(vec![sa("in", "mature"), sa("out", "dying")], "established").tunnel_is_up());
        let one = status(both, "established");
        assert_eq!(one.packets("in"), 3);
        assert_eq!(one.drops(), BTreeMap::from([("replay".to_owned(), 2)]));
        assert!(one.tables().contains("replay 2"));
    }
}
