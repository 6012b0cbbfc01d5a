//! `system logging`.
use super::{Tables, enabled};
use crate::complaint::Sink;
use crate::model::{LogAction, Logging};
use crate::walk::{Bad, Row};

/// What this version tells messages apart by.
const TOPICS: &[&str] =
    &["ipsec", "crypto", "interface", "system", "api", "error", "warning", "info", "debug", "packet"];

pub fn build(tables: &Tables, sink: &mut Sink) -> Vec<Logging> {
    enabled(tables.list("log"), |row| one(row, sink))
}
fn one(row: &Row, sink: &mut Sink) -> Result<Logging, Bad> {
    let topics: Vec<String> = row.get::<&str>("topics")?.split(',').map(|t| t.trim().to_owned()).collect();
    for topic in &topics {
        if !TOPICS.contains(&topic.trim_start_matches('!')) {
            let said = format!("nothing here has the topic `{topic}`");
            row.warning(sink, "topics", said, format!("topics are {}", TOPICS.join(", ")));
        }
    }
    let regex: &str = row.get("regex")?;
    if let Err(error) = regex::RegexBuilder::new(regex).size_limit(1 << 20).build() {
        let said = error.to_string().lines().last().unwrap_or_default().to_owned();
        return Err(row.error(sink, "regex", said, "write a regular expression, or leave it out"));
    }
    Ok(Logging {
        topics,
        action: LogAction::from_name(row.word("action")?).ok_or(Bad)?,
        prefix: row.get::<&str>("prefix")?.into(),
        regex: regex.into(),
    })
}
