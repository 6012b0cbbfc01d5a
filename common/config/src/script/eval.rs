//! Conditions against a row.
use super::expr::{Compare, Expr, Op};
use crate::value;
use std::cmp::Ordering;
use std::net::IpAddr;

impl Expr {
    /// Does it hold for the row whose properties `get` says? Flags are properties that are `yes`.
    pub fn holds(&self, get: &dyn Fn(&str) -> Option<String>) -> bool {
        match self {
            Self::All => true,
            Self::Any(of) => of.iter().any(|expr| expr.holds(get)),
            Self::Every(of) => of.iter().all(|expr| expr.holds(get)),
            Self::Not(expr) => !expr.holds(get),
            // A word alone asks whether a flag is raised, or whether anything is written.
            Self::Flag { name, .. } => get(name).is_some_and(|value| !matches!(&*value, "" | "no" | "false")),
            Self::Compare(compare) => compare.holds(&get(&compare.field).unwrap_or_default()),
        }
    }
}

impl Compare {
    fn holds(&self, left: &str) -> bool {
        let right = self.value.as_str();
        match &self.op {
            Op::Equal => equal(left, right),
            Op::Unequal => !equal(left, right),
            Op::Less => order(left, right) == Some(Ordering::Less),
            Op::Greater => order(left, right) == Some(Ordering::Greater),
            Op::AtMost => order(left, right).is_some_and(Ordering::is_le),
            Op::AtLeast => order(left, right).is_some_and(Ordering::is_ge),
            Op::In => right.split(',').any(|one| within(left, one)),
            Op::Matches(regex) => regex.is_match(left),
        }
    }
}

fn equal(left: &str, right: &str) -> bool {
    left == right || by_value(left, right) == Some(Ordering::Equal)
}
/// Nothing has no order with something.
fn order(left: &str, right: &str) -> Option<Ordering> {
    if left.is_empty() || right.is_empty() {
        return None;
    }
    by_value(left, right).or_else(|| Some(left.cmp(right)))
}

/// By what the texts mean, where both mean the same kind of thing.
fn by_value(left: &str, right: &str) -> Option<Ordering> {
    fn both<T: Ord>(left: &str, right: &str, read: impl Fn(&str) -> Option<T>) -> Option<Ordering> {
        Some(read(left)?.cmp(&read(right)?))
    }
    both(left, right, |text| value::yes_no(text).ok())
        .or_else(|| both(left, right, number))
        .or_else(|| both(left, right, |text| value::duration(text).ok()))
        .or_else(|| both(left, right, network))
}
fn number(text: &str) -> Option<u128> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u128::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+')),
        None => text.parse().ok().filter(|_| !text.starts_with('+')),
    }
}
/// A host is the network with only it.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (addr, len) = match text.split_once('/') {
        Some((addr, len)) => (addr.parse::<IpAddr>().ok()?, Some(len.parse::<u8>().ok()?)),
        None => (text.parse().ok()?, None),
    };
    let full = if addr.is_ipv4() { 32 } else { 128 };
    let len = len.unwrap_or(full);
    (len <= full).then_some((addr, len))
}
/// `10.1.2.0/24 in 10.0.0.0/8`; anything else is in what equals it.
fn within(left: &str, right: &str) -> bool {
    let (Some((addr, len)), Some((of, of_len))) = (network(left), network(right)) else {
        return equal(left, right);
    };
    let bits = |addr: IpAddr| match addr {
        IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
        IpAddr::V6(v6) => u128::from(v6),
    };
    let mask = u128::MAX.checked_shl(128 - u32::from(of_len)).unwrap_or(0);
    addr.is_ipv4() == of.is_ipv4() && of_len <= len && (bits(addr) ^ bits(of)) & mask == 0
}
