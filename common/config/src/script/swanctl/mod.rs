//! strongSwan's swanctl.conf: connections become peers with profiles, identities and policies.
//!
//! What has no counterpart is said setting by setting; nothing is fatal, and no secret is in the report.
mod connection;
mod proposals;
mod read;
mod secrets;

use super::import::{Draft, Imported, Line, Outcome, Putter, Report, finish};
use read::Section;

pub use super::ast::Text;
pub use read::Includes;

/// Reads the text of swanctl.conf alone.
pub fn import(text: &str) -> Imported {
    import_with(text, &mut |_, _| Err("put the files together and import that".into()))
}
/// The same with the files it includes.
pub fn import_with(text: &str, include: &mut Includes) -> Imported {
    let file = if text.len() > super::MAX_BYTES { read::File::default() } else { read::read(text, include) };
    let mut report = Report { source: Some("swanctl".into()), ..Report::default() };
    lines(&file.root, "", &mut report);
    let mut put = Putter::new(report, false);
    if text.len() > super::MAX_BYTES {
        put.say(0, Outcome::Refused, "text", "the file is too long", "");
    }
    for (line, said) in &file.faults {
        put.say(*line, Outcome::Refused, "text", *said, "");
    }
    for (line, came) in &file.includes {
        match came {
            Ok(path) => {
                let said =
                    format!("{} is read; what is said of its lines is said of this one", path.display());
                put.say(*line, Outcome::Done, "include", said, "");
            }
            Err(said) => put.say(*line, Outcome::Attention, "include", &**said, ""),
        }
        put.report.lines.push(Line { line: *line, command: "include".into(), outcome: Outcome::Done });
    }
    let empty = Section::default();
    let root = |name: &str| file.root.section(name).unwrap_or(&empty);
    for pool in &root("pools").sections {
        self::pool(&mut put, pool);
    }
    for one in &root("connections").sections {
        connection::connection(&mut put, one, root("secrets"), root("pools"));
    }
    secrets::others(&mut put, root("secrets"));
    for authority in &root("authorities").sections {
        let about = format!("authorities {}", authority.name);
        put.say(
            authority.line,
            Outcome::NotCovered,
            about,
            "certification authorities are not available yet",
            "",
        );
    }
    for other in &file.root.sections {
        if !matches!(&*other.name, "connections" | "secrets" | "pools" | "authorities") {
            put.say(other.line, Outcome::NotCovered, &*other.name, "this section is not read", "");
        }
    }
    put.report.lines.sort_by_key(|line| line.line);
    finish(put)
}

/// Each setting is a line of the report.
fn lines(section: &Section, path: &str, report: &mut Report) {
    for setting in &section.settings {
        let command = format!("{path}.{}", setting.key);
        let command = command.trim_start_matches('.').to_owned();
        report.lines.push(Line { line: setting.line, command, outcome: Outcome::Done });
    }
    for sub in &section.sections {
        let path = if path.is_empty() { sub.name.clone() } else { format!("{path}.{}", sub.name) };
        if sub.settings.is_empty() && sub.sections.is_empty() {
            report.lines.push(Line { line: sub.line, command: path.clone(), outcome: Outcome::Done });
        }
        lines(sub, &path, report);
    }
}

/// Says each setting that nobody asked for.
fn unread(put: &mut Putter, about: &str, section: &Section, read: &[&str], harmless: &[&str]) {
    for setting in &section.settings {
        if !read.contains(&&*setting.key) && !harmless.contains(&&*setting.key) {
            let said = format!("`{}` has no counterpart here; left out", setting.key);
            put.say(setting.line, Outcome::NotCovered, about, said, "");
        }
    }
}
fn row(line: usize, cells: &[(&str, &str)]) -> Draft {
    let mut row = Draft { line, ..Draft::default() };
    cells.iter().for_each(|(name, value)| row.put_str(name, value, line));
    row
}

/// Addresses are a pool here, what is told with them a mode-config of the same name.
fn pool(put: &mut Putter, pool: &Section) {
    let about = format!("pools {}", pool.name);
    let Some(addresses) = pool.get("addrs") else {
        return put.say(pool.line, Outcome::Refused, about, "`addrs` is missing; left out", "");
    };
    let ranges: Vec<_> = addresses.split(',').map(str::trim).collect();
    put.put("ip.pool", row(pool.line, &[("name", &pool.name), ("ranges", &ranges.join(","))]));
    let mut config = row(
        pool.line,
        &[("name", &pool.name), ("address-pool", &pool.name), ("address-prefix-length", "32")],
    );
    for (theirs, ours) in
        [("dns", "static-dns"), ("split_include", "split-include"), ("subnet", "split-include")]
    {
        if let Some(value) = pool.get(theirs) {
            let list: Vec<_> = value.split(',').map(str::trim).collect();
            config.put_str(ours, &list.join(","), pool.line_of(theirs));
        }
    }
    if pool.get("dns").is_some() {
        config.put_str("system-dns", "no", pool.line);
    }
    put.put("ip.ipsec.mode-config", config);
    unread(put, &about, pool, &["addrs", "dns", "split_include", "subnet"], &[]);
}
