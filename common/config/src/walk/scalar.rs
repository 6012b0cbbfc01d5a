//! One value: from its text, and back.
use super::Value;
use crate::Secret;
use crate::nearest;
use crate::schema::{Choice, Kind, describe, example};
use crate::value;
use crate::yaml::{Body, Spot};
use std::time::Duration;
use zeroize::Zeroizing;

/// One value as text, in the form in which it is kept; also what only a later version will have.
pub fn canonical(kind: Kind, text: &str) -> Result<Zeroizing<String>, Wrong> {
    show(&parse(kind, text, Spot::default(), Later::Taken)?)
        .ok_or_else(|| Wrong::new("this has no value", ""))
}
/// The text that reads back as the value.
pub fn show(value: &Value) -> Option<Zeroizing<String>> {
    Some(Zeroizing::new(match value {
        Value::Unset | Value::Bad | Value::Group(_) => return None,
        Value::YesNo(yes) => if *yes { "yes" } else { "no" }.into(),
        Value::Text(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Size(bytes) => value::show_size(*bytes),
        Value::Time(time) => value::show_duration(*time),
        Value::Never(word) => (*word).into(),
        Value::Word(word) => (*word).into(),
        Value::Words(words) => words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(","),
        Value::Address(address) => address.to_string(),
        Value::InterfaceAddress((address, len)) => format!("{address}/{len}"),
        Value::Prefix(prefix) => prefix.to_string(),
        Value::Ports(ports) => value::show_ports(*ports),
        Value::Protocol(protocol) => value::show_protocol(*protocol),
        Value::Mac(mac) => value::show_mac(*mac),
        Value::Device(device) => device.to_string(),
        Value::Count(count) => count.to_string(),
        Value::Cpus(cpus) => cpus.iter().map(u16::to_string).collect::<Vec<_>>().join(","),
        Value::Secret(secret) => return Some(secret.to_text()),
        Value::Key(key) => return Some(Zeroizing::new(key.to_hex())),
    }))
}

/// What becomes of values that only a later version will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Later {
    Refused,
    Warned,
    Taken,
}

/// Why a text is not a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub said: String,
    pub fix: String,
    /// It is one, but not for this version.
    pub later: bool,
}
impl From<String> for Wrong {
    /// The readers of `value` say both in one sentence.
    fn from(said: String) -> Self {
        let (said, fix) = said.split_once("; ").unwrap_or((&said, ""));
        Self::new(said, fix)
    }
}
impl Wrong {
    pub(super) fn new(said: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { said: said.into(), fix: fix.into(), later: false }
    }
    pub(super) fn kind(body: &Body, kind: Kind) -> Self {
        Self::new(
            format!("this is {}, not {}", body.what(), describe(kind)),
            format!("write it like {}", example(kind)),
        )
    }
}

pub(super) fn pick(text: &str, choices: &'static [Choice], later: Later) -> Result<&'static str, Wrong> {
    let all = || choices.iter().filter(|c| c.later.is_none()).map(|c| c.name);
    let list = || all().collect::<Vec<_>>().join(", ");
    match choices.iter().find(|c| c.name == text) {
        Some(Choice { name, .. }) if later == Later::Taken => Ok(name),
        Some(Choice { name, later: None, .. }) => Ok(name),
        Some(Choice { later: Some(what), never, .. }) => Err(Wrong {
            said: match never {
                true => format!("`{text}` is refused: {what}"),
                false => format!("`{text}` needs {what}, which this version does not have"),
            },
            fix: format!("write {}", if all().count() == 1 { list() } else { format!("one of: {}", list()) }),
            later: true,
        }),
        None => Err(Wrong::new(
            format!("`{text}` is not one of: {}", list()),
            nearest(text, choices.iter().map(|c| c.name))
                .map(|near| format!("did you mean `{near}`?"))
                .unwrap_or_default(),
        )),
    }
}
pub(super) fn distinct(words: Vec<(&'static str, Spot)>) -> Result<Value, Wrong> {
    if words.is_empty() {
        return Err(Wrong::new("the list is empty", "write at least one"));
    }
    for (at, (word, _)) in words.iter().enumerate() {
        if words.iter().take(at).any(|(w, _)| w == word) {
            return Err(Wrong::new(format!("`{word}` is in the list twice"), "keep one"));
        }
    }
    Ok(Value::Words(words))
}
pub(super) fn cpu_list(cpus: Vec<u16>) -> Result<Value, Wrong> {
    if cpus.is_empty() {
        return Err(Wrong::new("the list is empty", "write at least one CPU"));
    }
    match cpus.iter().enumerate().find(|(at, cpu)| cpus.iter().take(*at).any(|c| c == *cpu)) {
        Some((_, cpu)) => Err(Wrong::new(format!("CPU {cpu} is in the list twice"), "keep one")),
        None => Ok(Value::Cpus(cpus)),
    }
}

fn time(text: &str, min: u64, max: u64) -> Result<Value, Wrong> {
    let (low, high) = (Duration::from_micros(min), Duration::from_micros(max));
    let time = value::duration(text)?;
    if time < low || time > high {
        let (low, high) = (value::show_duration(low), value::show_duration(high));
        return Err(Wrong::new(format!("`{text}` is not between {low} and {high}"), ""));
    }
    Ok(Value::Time(time))
}

pub(super) fn parse(kind: Kind, text: &str, spot: Spot, later: Later) -> Result<Value, Wrong> {
    Ok(match kind {
        Kind::YesNo => Value::YesNo(value::yes_no(text)?),
        Kind::Text | Kind::Tap | Kind::MyId | Kind::RemoteId | Kind::Gateway => Value::Text(text.into()),
        Kind::Name => Value::Text(value::name(text)?),
        Kind::Reference(_) | Kind::ReferenceOr { .. } => Value::Text(text.into()),
        Kind::References(_) => Value::Text(value::names(text)?),
        Kind::List(each) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            let shown =
                items.map(|item| Ok(show(&parse(*each, item, spot, later)?).unwrap_or_default().to_string()));
            Value::Text(shown.collect::<Result<Vec<_>, Wrong>>()?.join(","))
        }
        Kind::AddressRange => Value::Text(value::address_range(text)?),
        Kind::Path if text.starts_with('/') && !text.contains('\0') => Value::Text(text.into()),
        Kind::Path => {
            return Err(Wrong::new(format!("`{text}` is not an absolute path"), "begin it with /"));
        }
        Kind::Integer { min, max } => Value::Number(value::number(text, min, max)?),
        Kind::Size { min, max } => match value::size(text)? {
            n if n < min || n > max => {
                let (min, max) = (value::show_size(min), value::show_size(max));
                return Err(Wrong::new(format!("`{text}` is not between {min} and {max}"), ""));
            }
            n => Value::Size(n),
        },
        Kind::Time { min, max } => time(text, min, max)?,
        Kind::TimeOr { word, .. } if text == word => Value::Never(word),
        Kind::TimeOr { min, max, .. } => time(text, min, max)?,
        Kind::One(choices) => Value::Word(pick(text, choices, later)?),
        Kind::Some(choices) => {
            let word = |word: &str| pick(word.trim(), choices, later).map(|word| (word, spot));
            distinct(text.split(',').map(word).collect::<Result<_, _>>()?)?
        }
        Kind::Address => Value::Address(value::address(text)?),
        Kind::InterfaceAddress => Value::InterfaceAddress(value::interface_address(text)?),
        Kind::Prefix => Value::Prefix(value::prefix(text)?),
        Kind::PrefixOrName => match value::prefix(text) {
            Ok(prefix) => Value::Prefix(prefix),
            Err(said) => Value::Text(value::host_name(text).map_err(|_| said)?),
        },
        Kind::Ports => Value::Ports(value::ports(text)?),
        Kind::Protocol => Value::Protocol(value::protocol(text)?),
        Kind::Mac => Value::Mac(value::mac(text)?),
        Kind::Device => {
            Value::Device(Box::new(text.parse().map_err(|e: sa::DeviceError| Wrong::from(e.to_string()))?))
        }
        Kind::Workers if text.contains(',') => {
            let cpu = |cpu: &str| value::number(cpu.trim(), 0, 1023).map(|n| n as u16);
            cpu_list(text.split(',').map(cpu).collect::<Result<_, _>>()?)?
        }
        Kind::Workers => Value::Count(value::number(text, 1, 128)? as u16),
        Kind::Secret => Value::Secret(secret(text)?),
        Kind::Key => Value::Key(Secret::new(value::hex(text)?)),
        Kind::Group(_) => {
            return Err(Wrong::new("here belongs a group of properties", "write them on lines of their own"));
        }
    })
}

/// RouterOS: text that starts with `0x` is hexadecimal.
fn secret(text: &str) -> Result<Secret, Wrong> {
    if text == crate::document::HIDDEN {
        return Err(Wrong::new("this stands for a secret that was not shown", "write the secret itself"));
    }
    let bytes = match text.strip_prefix("0x") {
        Some(hex) => value::hex(hex).map_err(|said| {
            Wrong::new(format!("after `0x`, {said}"), "begin it differently if it is text")
        })?,
        None => text.as_bytes().to_vec(),
    };
    match bytes.len() {
        0 => Err(Wrong::new("the secret is empty", "write at least 16 random characters")),
        1..=1024 => Ok(Secret::new(bytes)),
        _ => Err(Wrong::new("the secret is longer than 1024 bytes", "")),
    }
}
