//! Texts of the file ⇄ values: RouterOS's durations, sizes, port ranges, MAC addresses and protocols.
//!
//! Every reader answers with what to write when it cannot read.
use std::net::IpAddr;
use std::time::Duration;

/// RouterOS durations: `1d2h3m4s`, `30m`, `90` (seconds), `00:30:00`, `1d00:00:00`; below a second `200us`, `5ms`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration; write one like 30m, 1d2h3m4s or 00:30:00");
    let mut total = Duration::ZERO;
    let mut rest = text;
    let mut last = usize::MAX;
    const UNITS: [(&str, u64); 7] = [
        ("us", 1),
        ("ms", 1_000),
        ("s", 1_000_000),
        ("m", 60_000_000),
        ("h", 3_600_000_000),
        ("d", 86_400_000_000),
        ("w", 604_800_000_000),
    ];
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at_checked(digits).ok_or_else(wrong)?;
        if tail.starts_with(':') {
            return clock(rest).and_then(|t| total.checked_add(t)).ok_or_else(wrong);
        }
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at_checked(letters).ok_or_else(wrong)?;
        let unit = if unit.is_empty() && tail.is_empty() && last == usize::MAX { "s" } else { unit };
        let at = UNITS.iter().position(|(name, _)| *name == unit).ok_or_else(wrong)?;
        if at >= last {
            return Err(wrong()); // 3m1h, 1m1m
        }
        last = at;
        let micros = number.parse::<u64>().ok().and_then(|n| n.checked_mul(UNITS[at].1)).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_micros(micros)).ok_or_else(wrong)?;
        rest = tail;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// hh:mm:ss, or hh:mm.
fn clock(text: &str) -> Option<Duration> {
    let mut parts = text.split(':');
    let mut next = |max: u64| {
        parts
            .next()
            .filter(|p| (1..=2).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|p| p.parse::<u64>().ok())
            .filter(|n| *n <= max)
    };
    let (hours, minutes) = (next(99)?, next(59)?);
    let seconds = if text.matches(':').count() == 2 { next(59)? } else { 0 };
    (text.matches(':').count() <= 2).then(|| Duration::from_secs(hours * 3600 + minutes * 60 + seconds))
}

/// The shortest form that [`duration`] reads back as the same.
pub fn show_duration(duration: Duration) -> String {
    let mut micros = duration.as_micros();
    let mut text = String::new();
    for (unit, size) in [
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
        ("us", 1),
    ] {
        if micros >= size {
            text += &format!("{}{unit}", micros / size);
            micros %= size;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// Bytes with K, M or G behind (powers of 1024).
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size; write one like 512M or 2G");
    let (number, factor) = match text.as_bytes().last() {
        Some(b'K') => (text.strip_suffix('K'), 1 << 10),
        Some(b'M') => (text.strip_suffix('M'), 1 << 20),
        Some(b'G') => (text.strip_suffix('G'), 1 << 30),
        _ => (Some(text), 1),
    };
    let number = number.filter(|n| n.bytes().all(|b| b.is_ascii_digit())).ok_or_else(wrong)?;
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(wrong)
}
pub fn show_size(bytes: u64) -> String {
    match bytes {
        b if b != 0 && b.is_multiple_of(1 << 30) => format!("{}G", b >> 30),
        b if b != 0 && b.is_multiple_of(1 << 20) => format!("{}M", b >> 20),
        b if b != 0 && b.is_multiple_of(1 << 10) => format!("{}K", b >> 10),
        b => b.to_string(),
    }
}

/// A whole number, decimal or `0x` hexadecimal. A leading zero is refused: some read `010` as eight.
pub fn number(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a whole number from {min} to {max}");
    let plain = |s: &str, ok: fn(&u8) -> bool| !s.is_empty() && s.bytes().all(|b| ok(&b));
    let value = match text.strip_prefix("0x") {
        Some(hex) if plain(hex, u8::is_ascii_hexdigit) => u64::from_str_radix(hex, 16),
        None if plain(text, u8::is_ascii_digit) && (text == "0" || !text.starts_with('0')) => text.parse(),
        _ => return Err(wrong()),
    };
    value.ok().filter(|n| (min..=max).contains(n)).ok_or_else(wrong)
}

pub fn yes_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(format!("`{text}` is neither yes nor no")),
    }
}

pub fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an IPv4 or IPv6 address"))
}

/// An address with its network's length, host bits kept.
pub fn interface_address(text: &str) -> Result<(IpAddr, u8), String> {
    let Some((addr, len)) = text.split_once('/') else {
        address(text)?;
        return Err(format!("`{text}` says nothing about its network; write the length too, like {text}/24"));
    };
    let addr = address(addr)?;
    let len = number(len, 0, if addr.is_ipv4() { 32 } else { 128 })?;
    Ok((addr, len as u8))
}

/// A prefix; an address alone is that host. Host bits that are set are a mistake.
pub fn prefix(text: &str) -> Result<sa::Prefix, String> {
    let prefix: sa::Prefix = text.parse()?;
    let addr = text.split_once('/').map_or(text, |(addr, _)| addr);
    if address(addr)? != prefix.addr() {
        return Err(format!(
            "`{text}` has bits set behind its length; write {prefix} for the network or {addr} for the host"
        ));
    }
    Ok(prefix)
}

/// `first-last`, a network, or one address.
pub fn address_range(text: &str) -> Result<String, String> {
    let Some((first, last)) = text.split_once('-') else { return prefix(text).map(|p| p.to_string()) };
    let (first, last) = (address(first.trim())?, address(last.trim())?);
    if first.is_ipv4() != last.is_ipv4() || first > last {
        return Err(format!("`{text}` is not a range; write the smaller address first, both of one version"));
    }
    Ok(format!("{first}-{last}"))
}

pub fn ports(text: &str) -> Result<sa::PortRange, String> {
    let wrong = || format!("`{text}` is not `any`, a port, or a range like 1000-2000");
    let port = |s: &str| number(s, 0, 65535).map(|n| n as u16).map_err(|_| wrong());
    if text == "any" {
        return Ok(sa::PortRange::ANY);
    }
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    if first <= last { Ok(sa::PortRange { first, last }) } else { Err(wrong()) }
}
pub fn show_ports(ports: sa::PortRange) -> String {
    match ports {
        p if p.is_any() => "any".into(),
        p if p.first == p.last => p.first.to_string(),
        p => format!("{}-{}", p.first, p.last),
    }
}

pub fn mac(text: &str) -> Result<[u8; 6], String> {
    let wrong =
        || format!("`{text}` is not a MAC address; write six pairs of hexadecimal digits, 02:00:00:00:00:01");
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let part = parts.next().filter(|p| p.len() == 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(part, 16).ok().filter(|_| !part.starts_with('+')).ok_or_else(wrong)?;
    }
    if parts.next().is_some() {
        return Err(wrong());
    }
    match mac {
        [first, ..] if first & 1 == 1 => {
            Err(format!("{text} is a group address; the first byte must be even"))
        }
        [0, 0, 0, 0, 0, 0] => Err("the MAC address must not be all zero".into()),
        _ => Ok(mac),
    }
}
pub fn show_mac(mac: [u8; 6]) -> String {
    mac.map(|b| format!("{b:02x}")).join(":")
}

/// Hexadecimal digits, with or without `0x`. The answer never repeats the text: it may be a key.
pub fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let nibble = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(pair).collect();
    bytes.filter(|b| !b.is_empty()).ok_or_else(|| "this is not an even number of hexadecimal digits".into())
}

/// RouterOS's names of IP protocols, by number; further names of the same number are read but not written.
pub const PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", 1),
    ("igmp", 2),
    ("ggp", 3),
    ("ipencap", 4),
    ("ipip", 4),
    ("st", 5),
    ("tcp", 6),
    ("egp", 8),
    ("pup", 12),
    ("udp", 17),
    ("hmp", 20),
    ("xns-idp", 22),
    ("rdp", 27),
    ("iso-tp4", 29),
    ("dccp", 33),
    ("xtp", 36),
    ("ddp", 37),
    ("idpr-cmtp", 38),
    ("ipv6-encap", 41),
    ("ipv6-route", 43),
    ("ipv6-frag", 44),
    ("rsvp", 46),
    ("gre", 47),
    ("ipsec-esp", 50),
    ("ipsec-ah", 51),
    ("icmpv6", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("rspf", 73),
    ("vmtp", 81),
    ("ospf", 89),
    ("etherip", 97),
    ("encap", 98),
    ("pim", 103),
    ("vrrp", 112),
    ("l2tp", 115),
    ("sctp", 132),
    ("udp-lite", 136),
];

/// `None` is `all`.
pub fn protocol(text: &str) -> Result<Option<u8>, String> {
    if text == "all" {
        return Ok(None);
    }
    if let Some((_, number)) = PROTOCOLS.iter().find(|(name, _)| *name == text) {
        return Ok(Some(*number));
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return number(text, 1, 254).map(|n| Some(n as u8)); // 0 is IPv6's hop-by-hop header, 255 reserved
    }
    let near = crate::nearest(text, PROTOCOLS.iter().map(|(name, _)| *name));
    Err(match near {
        Some(near) => format!("`{text}` is not an IP protocol; did you mean `{near}`?"),
        None => format!("`{text}` is not an IP protocol; write `all`, a name like tcp, or a number"),
    })
}
pub fn show_protocol(protocol: Option<u8>) -> String {
    let Some(number) = protocol else { return "all".into() };
    PROTOCOLS.iter().find(|(_, n)| *n == number).map_or(number.to_string(), |(name, _)| (*name).into())
}

/// A name of an object: shown in tables and logs, used in paths of sockets.
/// Names separated by commas, each once.
pub fn names(text: &str) -> Result<String, String> {
    let names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    match names.iter().enumerate().find(|(at, name)| names.iter().take(*at).any(|before| before == *name)) {
        Some((_, twice)) => Err(format!("`{twice}` is in the list twice; keep one")),
        None => Ok(names.join(",")),
    }
}
/// A name that a resolver may be asked for. One whose last part is a number is a mistyped address.
pub fn host_name(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let letters = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let part = |part: &str| (1..=63).contains(&part.len()) && letters(part) && !part.starts_with('-');
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_name = name.len() <= 253 && name.split('.').all(part) && !last.bytes().all(|b| b.is_ascii_digit());
    if is_name {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(format!("`{text}` is not a DNS name; write it like vpn.example.com"))
    }
}
pub fn name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.:@+".contains(c);
    if (1..=63).contains(&text.len()) && text.chars().all(good) && !text.starts_with(['.', '-']) {
        Ok(text.into())
    } else {
        Err(format!(
            "`{}` is not usable as a name; take 1 to 63 letters, digits and -_.:@+, not beginning with . or -",
            text.escape_debug()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_routeros_writes_them() {
        for (text, seconds) in [
            ("0s", 0),
            ("90", 90),
            ("30m", 1800),
            ("1d2h3m4s", 93784),
            ("00:30:00", 1800),
            ("1d00:00:01", 86401),
            ("1w", 604_800),
            ("01:30", 5400),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("200us"), Ok(Duration::from_micros(200)));
        assert_eq!(duration("1s5ms"), Ok(Duration::from_micros(1_005_000)));
        for text in [
            "",
            "m",
            "1x",
            "-1s",
            "1h2d",
            "1m1m",
            "1:2:3:4",
            "00:60:00",
            "5 m",
            "1h30",
            "99999999999999w",
            "é",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
    #[test]
    fn numbers_do_not_guess() {
        assert_eq!(number("0x10", 0, 100), Ok(16));
        for text in ["010", "1e4", "+1", "-1", "1_000", "", "0x", "18446744073709551616", "101"] {
            assert!(number(text, 0, 100).is_err(), "{text}");
        }
    }
    #[test]
    fn a_prefix_with_host_bits_says_both_readings() {
        let said = prefix("10.1.0.1/24").unwrap_err();
        assert!(said.contains("10.1.0.0/24") && said.contains("10.1.0.1 for the host"), "{said}");
        assert_eq!(prefix("::1"), Ok(sa::Prefix::host("::1".parse().unwrap())));
    }
    #[test]
    fn hex_never_repeats_what_it_was_given() {
        assert_eq!(hex("0x00ff"), Ok(vec![0, 255]));
        for text in ["", "0x", "abc", "secretly"] {
            assert!(!hex(text).unwrap_err().contains("secretly"));
        }
    }
    proptest! {
        #[test]
        fn what_is_shown_is_read_back(micros in 0u64..1 << 50, bytes: u64, first: u16, last: u16, p in 1u8..=254, m: [u8; 5]) {
            let time = Duration::from_micros(micros);
            prop_assert_eq!(duration(&show_duration(time)), Ok(time));
            prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
            let range = sa::PortRange { first: first.min(last), last: first.max(last) };
            prop_assert_eq!(ports(&show_ports(range)), Ok(range));
            prop_assert_eq!(protocol(&show_protocol(Some(p))), Ok(Some(p)));
            let mac_address = [2, m[0], m[1], m[2], m[3], m[4]];
            prop_assert_eq!(mac(&show_mac(mac_address)), Ok(mac_address));
        }
        #[test]
        fn no_text_makes_a_reader_panic(text in any::<String>()) {
            let _ = (duration(&text), size(&text), number(&text, 0, 9), prefix(&text), ports(&text), mac(&text));
            let _ = (hex(&text), protocol(&text), name(&text), interface_address(&text), yes_no(&text));
        }
    }
}
