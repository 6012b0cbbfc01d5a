//! Cycles per stage of the graph, as bars.
use super::chart::COLOURS;
use super::escape;
use serde_json::Value;
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LABEL: f64 = 190.0;
const BAR: f64 = 22.0;
const GAP: f64 = 8.0;

struct Bar {
    name: String,
    parts: Vec<(String, f64)>,
}

/// Rows of `cargo ci bench datapath --stages --json`: each with an object or a list named `stages`.
pub fn chart(value: &Value) -> String {
    let bars: Vec<Bar> =
        value.get("rows").and_then(Value::as_array).into_iter().flatten().filter_map(bar).collect();
    let widest = bars.iter().map(Bar::total).fold(0.0, f64::max);
    if widest <= 0.0 {
        return "<p class=\"small\">The file given with --stages holds no cycles per stage.</p>\n".into();
    }
    let mut stages: Vec<&str> = Vec::new();
    for (stage, _) in bars.iter().flat_map(|b| &b.parts) {
        if !stages.contains(&stage.as_str()) {
            stages.push(stage);
        }
    }
    let height = bars.len() as f64 * (BAR + GAP) + GAP;
    let mut out =
        format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"cycles per stage\">\n");
    for (n, bar) in bars.iter().enumerate() {
        let y = GAP + n as f64 * (BAR + GAP);
        let _ = writeln!(
            out,
            "<text class=\"axis\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LABEL - 8.0,
            y + 15.0,
            escape(&bar.name)
        );
        let scale = (WIDTH - LABEL - 60.0) / widest;
        let mut x = LABEL;
        for (stage, cycles) in &bar.parts {
            let colour = stages.iter().position(|s| s == stage).unwrap_or(0) % COLOURS;
            let width = cycles * scale;
            let _ = writeln!(
                out,
                "<rect class=\"c{colour}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\">\
                 <title>{}: {cycles:.0} cycles</title></rect>",
                escape(stage)
            );
            if width > 26.0 {
                let _ = writeln!(
                    out,
                    "<text class=\"on\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{cycles:.0}</text>",
                    x + width / 2.0,
                    y + 15.0
                );
            }
            x += width;
        }
        let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{:.1}\">{:.0}</text>", x + 6.0, y + 15.0, bar.total());
    }
    out += "</svg>\n<ul class=\"legend\">";
    for (n, stage) in stages.iter().enumerate() {
        let _ = write!(
            out,
            "<li><svg viewBox=\"0 0 24 8\"><rect class=\"c{}\" width=\"24\" height=\"8\"/></svg>{}</li>",
            n % COLOURS,
            escape(stage)
        );
    }
    format!("<figure><figcaption>Cycles per packet by stage of the graph</figcaption>\n{out}</ul></figure>\n")
}

impl Bar {
    fn total(&self) -> f64 {
        self.parts.iter().map(|p| p.1).sum()
    }
}

fn bar(row: &Value) -> Option<Bar> {
    let text = |name: &str| match row.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let parts: Vec<(String, f64)> = match row.get("stages")? {
        Value::Object(stages) => stages.iter().filter_map(|(k, v)| Some((k.clone(), cycles(v)?))).collect(),
        Value::Array(stages) => stages
            .iter()
            .filter_map(|s| {
                let name = s.get("stage").or(s.get("name"))?.as_str()?;
                Some((name.to_owned(), s.as_object()?.values().find_map(cycles)?))
            })
            .collect(),
        _ => return None,
    };
    let parts: Vec<_> = parts.into_iter().filter(|(_, cycles)| *cycles > 0.0).collect();
    let named = [
        text("direction"),
        text("bytes").map(|b| format!("{b} bytes")),
        text("sas").map(|n| format!("{n} SAs")),
    ];
    let name = named.into_iter().flatten().collect::<Vec<_>>().join(", ");
    (!parts.is_empty()).then_some(Bar { name, parts })
}
fn cycles(value: &Value) -> Option<f64> {
    match value {
        Value::Number(n) => n.as_f64(),
        Value::Object(fields) => fields.get("cycles_per_packet").or(fields.get("cycles"))?.as_f64(),
        _ => None,
    }
    .filter(|cycles| cycles.is_finite() && *cycles >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn stages_become_bars_and_nonsense_a_sentence() {
        let good = json!({"rows": [
            {"direction": "out", "bytes": 64, "sas": 1, "stages": {"classify": 40.0, "seal": 80.0}},
            {"direction": "in", "bytes": 64, "stages": [{"stage": "open", "cycles_per_packet": 90}]},
            {"direction": "in", "bytes": 512}
        ]});
        let svg = chart(&good);
        assert!(
            svg.contains("out, 64 bytes, 1 SAs")
                && svg.contains("seal: 80 cycles")
                && svg.contains("open: 90")
        );
        assert_eq!(svg.matches("<rect").count(), 3 + 3, "{svg}");
        for bad in
            [json!({}), json!([]), json!({"rows": [{"stages": 7}]}), json!({"rows": [{"stages": {"x": -1}}]})]
        {
            assert!(chart(&bad).contains("no cycles per stage"), "{bad}");
        }
    }
}
