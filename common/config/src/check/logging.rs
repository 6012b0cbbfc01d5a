//! `system logging`.
use super::{Tables, enabled};
use crate::complaint::Sink;
use crate::model::{LogAction, Logging, Syslog};
use crate::schema::{Kind, Property, place};
use crate::walk::{Bad, Row};
use std::net::IpAddr;

/// What this version tells messages apart by.
const TOPICS: &[&str] =
    &["ipsec", "crypto", "interface", "system", "api", "error", "warning", "info", "debug", "packet"];

pub fn build(tables: &Tables, sink: &mut Sink) -> Vec<Logging> {
    enabled(tables.list("log"), |row| one(tables, row, sink))
}
fn one(tables: &Tables, row: &Row, sink: &mut Sink) -> Result<Logging, Bad> {
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
        action: action(tables, row, sink)?,
        prefix: row.get::<&str>("prefix")?.into(),
        regex: regex.into(),
    })
}

fn action(tables: &Tables, row: &Row, sink: &mut Sink) -> Result<LogAction, Bad> {
    let name: &str = row.get("action")?;
    let actions = tables.list("log-action");
    let Some(action) = actions.iter().find(|action| action.name() == Some(name)) else {
        // One that exists without being written; another name was complained about.
        return match name {
            "memory" => Ok(LogAction::Memory),
            "disk" => Ok(LogAction::Disk),
            "echo" => Ok(LogAction::Echo),
            "remote" => Err(nowhere(row, "action", sink)),
            _ => Err(Bad),
        };
    };
    match action.word("target")? {
        "memory" => Ok(LogAction::Memory),
        "disk" => Ok(LogAction::Disk),
        "echo" => Ok(LogAction::Echo),
        _ => syslog(action, sink).map(LogAction::Remote),
    }
}
fn nowhere(row: &Row, name: &str, sink: &mut Sink) -> Bad {
    let said = "nothing says which machine the log is sent to";
    row.error(sink, name, said, "write `remote: ADDRESS` in the row of `log-action`")
}
fn syslog(row: &Row, sink: &mut Sink) -> Result<Syslog, Bad> {
    let Some(to) = row.opt::<IpAddr>("remote")? else { return Err(nowhere(row, "remote", sink)) };
    let from = row.opt::<IpAddr>("src-address")?;
    if from.is_some_and(|from| from.is_ipv4() != to.is_ipv4()) {
        let said = format!("it differs from `remote` {to} in IP version");
        return Err(row.error(sink, "src-address", said, "take both from the same"));
    }
    Ok(Syslog {
        to: (to, row.get::<u64>("remote-port")? as u16).into(),
        from,
        bsd: row.get("bsd-syslog")?,
        facility: number(row, "syslog-facility").ok_or(Bad)?,
        // `auto` stands in front of those that have numbers.
        severity: number(row, "syslog-severity").ok_or(Bad)?.checked_sub(1),
    })
}
/// Which of the words of a property it is.
fn number(row: &Row, name: &str) -> Option<u8> {
    let word = row.word(name).ok()?;
    let properties = place("log-action")?.menu.properties;
    let Property { kind: Kind::One(choices), .. } = properties.iter().find(|p| p.name == name)? else {
        return None;
    };
    u8::try_from(choices.iter().position(|choice| choice.name == word)?).ok()
}
