//! The section `secrets`: pre-shared keys and passwords by whom they are for.
use super::read::Section;
use super::{Outcome, Putter};
use zeroize::Zeroizing;

/// The pre-shared key for these: of all that fit, the one that names most of them.
pub fn psk(secrets: &Section, ours: &[&str], theirs: &[&str]) -> Option<Zeroizing<String>> {
    let of_ike = secrets.sections.iter().filter(|section| section.name.starts_with("ike"));
    let scored = of_ike.filter_map(|section| {
        let ids: Vec<&str> = ids(section).collect();
        let named = |who: &[&str]| ids.iter().any(|id| who.contains(id));
        let score = usize::from(named(ours)) + 2 * usize::from(named(theirs));
        (ids.is_empty() || score > 0).then_some((score, section))
    });
    let (_, section) = scored.max_by_key(|(score, _)| *score)?;
    section.get("secret").map(text)
}
/// The password of an EAP or XAuth user.
pub fn password(secrets: &Section, user: &str) -> Option<Zeroizing<String>> {
    let of_users = |section: &&Section| section.name.starts_with("eap") || section.name.starts_with("xauth");
    let mut fitting =
        secrets.sections.iter().filter(of_users).filter(|section| ids(section).any(|id| id == user));
    fitting.next()?.get("secret").map(text)
}
fn ids(section: &Section) -> impl Iterator<Item = &str> {
    section
        .settings
        .iter()
        .filter(|setting| setting.key.starts_with("id"))
        .map(|setting| setting.value.as_str())
}
/// As we write it: `0x` stays, `0s` is base 64.
fn text(secret: &str) -> Zeroizing<String> {
    let Some(bytes) = secret.strip_prefix("0s").and_then(base64) else {
        return Zeroizing::new(secret.to_owned());
    };
    let mut hex = Zeroizing::new(String::with_capacity(2 + 2 * bytes.len()));
    hex.push_str("0x");
    for byte in bytes.iter() {
        for nibble in [byte >> 4, byte & 15] {
            hex.extend(char::from_digit(u32::from(nibble), 16));
        }
    }
    Some(hex).filter(|hex| hex.len() > 2).unwrap_or_else(|| Zeroizing::new(secret.to_owned()))
}
/// RFC 4648 4; padding may be missing.
fn base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut bits, mut count) = (0u32, 0);
    for c in text.trim_end_matches('=').bytes() {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(six)) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Some(bytes)
}

/// Keys in files are brought along by hand.
pub fn others(put: &mut Putter, secrets: &Section) {
    for section in &secrets.sections {
        let known = ["ike", "eap", "xauth"].iter().any(|kind| section.name.starts_with(kind));
        let about = format!("secrets {}", section.name);
        if section.name.starts_with("ppk") {
            put.say(
                section.line,
                Outcome::NotCovered,
                about,
                "post-quantum pre-shared keys are not available yet",
                "",
            );
        } else if !known {
            let fix = "write the key without a passphrase and name it in `certificate`";
            put.say(section.line, Outcome::Attention, about, "keys in files are not taken over", fix);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn secrets_keep_their_bytes() {
        assert_eq!(*super::text("plain"), "plain");
        assert_eq!(*super::text("0x0102"), "0x0102");
        assert_eq!(*super::text("0sAQID/w=="), "0x010203ff");
        assert_eq!(*super::text("0s!!"), "0s!!");
    }
}
