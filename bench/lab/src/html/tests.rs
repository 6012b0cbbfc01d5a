use super::*;
use crate::report::{Better, FORMAT};

fn report() -> Report {
    let mut rows = Vec::new();
    for (size, rate) in [("64", 1.5), ("512", 1.1), ("1518", 0.6), ("imix", 0.9)] {
        let mut row = Row::new("throughput", &[("size", size.into()), ("direction", "out".into())]);
        row.put("ndr", rate, "Mpps", Better::Higher, 0.01);
        row.put("pdr 0.1%", rate * 1.1, "Mpps", Better::Higher, 0.01);
        row.limit = Some(Limit::Gateway);
        rows.push(row);
    }
    rows[2].limit = Some(Limit::Tester);
    for load in ["10%", "90%"] {
        let mut row = Row::new("latency", &[("size", "64".into()), ("load", load.into())]);
        row.put("p99", 12.0, "µs", Better::Lower, 1.0);
        row.percentiles = (0..60).map(|n| [1.0 - 0.8f64.powi(n), 1000.0 + 50.0 * f64::from(n)]).collect();
        rows.push(row);
    }
    Report {
        format: FORMAT.into(),
        command: "throughput".into(),
        command_line: vec!["espway-lab".into(), "<script>alert(1)</script>".into()],
        started: 0,
        seconds: 10.0,
        environment: Default::default(),
        setup: [("cable".to_owned(), "memif & co".to_owned())].into(),
        counted: "what is counted".into(),
        rows,
        trials: Vec::new(),
        configuration: "system:\n  name: \"<lab>\"\n".into(),
        stages: None,
    }
}

/// Every element that is opened is closed in order; ours close themselves where they hold nothing.
fn well_formed(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html.strip_prefix("<!DOCTYPE html>").expect("a document type");
    while let Some(at) = rest.find('<') {
        let end = at + rest[at..].find('>').expect("a closed tag");
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().expect("a name"));
        }
    }
    assert!(open.is_empty(), "{open:?} not closed");
}

#[test]
fn a_page_is_well_formed_and_loads_nothing() {
    let html = page(&report());
    well_formed(&html);
    for word in ["http:", "https:", "src=", "url(", "@import", "<script", "<link"] {
        assert!(!html.contains(word), "{word}");
    }
    assert!(html.contains("&lt;script&gt;") && html.contains("memif &amp; co"));
    assert!(html.len() < 60_000, "{} bytes", html.len());
}
#[test]
fn plots_and_warnings_are_there() {
    let html = page(&report());
    for text in [
        "Packets per second by frame size",
        "Latency by percentile",
        "99.99 %",
        "limited by the tester",
        "prefers-color-scheme:dark",
        "<td class=\"mark\">TESTER</td>",
    ] {
        assert!(html.contains(text), "{text}");
    }
    // Two series of rates and two of latency.
    assert_eq!(html.matches("<polyline").count(), 4);
}
