//! No log of a gateway holds a secret: what was configured and what was negotiated, as bytes or in any usual spelling.
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// Shorter ones would be found everywhere by chance.
const SHORTEST: usize = 8;
/// Of a key: whoever has so much of it has it.
const OF_A_KEY: usize = 16;

/// What must not be found, under what it is.
#[derive(Default)]
pub struct Secrets {
    /// By its first bytes.
    shapes: HashMap<[u8; SHORTEST], Vec<(String, Vec<u8>)>>,
    known: usize,
}

impl Secrets {
    /// Those of the gateways of a lab: `secret` in their configurations, keys in their key logs.
    pub fn of(dir: &Path) -> Result<Self> {
        let mut all = Self::default();
        for path in files(dir)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = || std::fs::read_to_string(&path).with_context(|| path.display().to_string());
            if name.ends_with(".yaml") {
                let config: Value = serde_yaml::from_str(&text()?).with_context(|| name.clone())?;
                all.configured(&config);
            } else if name.contains(".keys") {
                all.negotiated(&name, &text()?);
            } else if name.ends_with(".key") || name.ends_with(".pem") {
                all.private_key(&text()?);
            }
        }
        Ok(all)
    }
    fn configured(&mut self, value: &Value) {
        for (key, value) in value.as_object().into_iter().flatten() {
            match value {
                Value::String(secret) if is_secret(key) => self.add("a configured secret", secret.as_bytes()),
                value => self.configured(value),
            }
        }
        value.as_array().into_iter().flatten().for_each(|value| self.configured(value));
    }
    /// Each line of its Base64 is a secret.
    fn private_key(&mut self, pem: &str) {
        let mut inside = false;
        for line in pem.lines() {
            match line.starts_with("-----") {
                true => inside = line.contains("BEGIN") && line.contains("PRIVATE KEY"),
                false if inside && line.len() >= 2 * OF_A_KEY => self.add("a private key", line.as_bytes()),
                false => {}
            }
        }
    }
    /// Wireshark's tables: whatever is hexadecimal and long enough for a key.
    fn negotiated(&mut self, name: &str, text: &str) {
        for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
            let digits = word.strip_prefix("0x").unwrap_or(word);
            let bytes: Option<Vec<u8>> = digits
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
                .collect();
            if let Some(key) = bytes.filter(|bytes| bytes.len() >= OF_A_KEY) {
                self.add(&format!("a key of {name}"), &key[..OF_A_KEY]);
            }
        }
    }
    pub fn add(&mut self, what: &str, secret: &[u8]) {
        if secret.len() < SHORTEST {
            return;
        }
        self.known += 1;
        for (spelling, shape) in spellings(secret) {
            if let Some(first) = shape.first_chunk() {
                self.shapes.entry(*first).or_default().push((format!("{what}, {spelling}"), shape));
            }
        }
    }
    /// How many secrets are looked for.
    pub fn known(&self) -> usize {
        self.known
    }
    /// What it is that stands in there, and in which line.
    pub fn found_in(&self, text: &[u8]) -> Option<(String, usize)> {
        let at = |at: usize, first: &[u8]| {
            let first = first.first_chunk()?;
            self.shapes.get(first)?.iter().find(|(_, shape)| text[at..].starts_with(shape))
        };
        text.windows(SHORTEST).enumerate().find_map(|(n, first)| {
            let (what, _) = at(n, first)?;
            Some((what.clone(), text[..n].iter().filter(|b| **b == b'\n').count() + 1))
        })
    }
    /// An error for the first log that holds one of them. Never repeats it.
    pub fn expect_none_in_logs(&self, dir: &Path) -> Result<()> {
        for path in files(dir)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // What other programs write is theirs.
            if !name.ends_with(".log") || name.starts_with("charon") {
                continue;
            }
            let text = std::fs::read(&path).with_context(|| name.clone())?;
            let found = self.found_in(&text);
            ensure!(found.is_none(), "{name} holds a secret: {:?}", found.unwrap_or_default());
        }
        Ok(())
    }
}
/// Properties whose values are nobody else's business, as the reference calls them.
fn is_secret(key: &str) -> bool {
    ["secret", "password", "passphrase", "token", "auth-key", "enc-key"].iter().any(|end| key.ends_with(end))
}
fn files(dir: &Path) -> Result<Vec<std::path::PathBuf>> {
    let entries = std::fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}

fn spellings(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hex: String = secret.iter().map(|b| format!("{b:02x}")).collect();
    let list: Vec<_> = secret.iter().map(u8::to_string).collect();
    let spaced: Vec<_> = secret.iter().map(|b| format!("{b:02x}")).collect();
    let mut all = vec![
        ("as it is", secret.to_vec()),
        ("in hexadecimal", hex.to_uppercase().into_bytes()),
        ("in hexadecimal", hex.into_bytes()),
        ("in hexadecimal, byte by byte", spaced.join(":").into_bytes()),
        ("in hexadecimal, byte by byte", spaced.join(" ").into_bytes()),
        ("as a list of numbers", list.join(", ").into_bytes()),
    ];
    // Within a longer text Base64 looks different at each of three alignments.
    for before in 0..3 {
        all.push(("in Base64", base64_within(secret, before)));
    }
    all
}
/// The characters that depend on `secret` alone when so many bytes stand before it.
fn base64_within(secret: &[u8], before: usize) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let padded: Vec<u8> = std::iter::repeat_n(0, before).chain(secret.iter().copied()).collect();
    let groups = padded.chunks_exact(3).flat_map(|three| {
        let bits = three.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b));
        [18, 12, 6, 0].map(|shift| DIGITS[(bits >> shift & 63) as usize])
    });
    groups.skip([0, 2, 3][before % 3]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab(log: &[u8]) -> Result<()> {
        let dir = tempfile::tempdir()?;
        let write = |name: &str, text: &[u8]| std::fs::write(dir.path().join(name), text);
        let config = r#"{"ip": {"ipsec": {"identity": [{"peer": "b", "secret": "an end-to-end secret", "password": "a word to pass"}]}}}"#;
        write("site-a.yaml", config.as_bytes())?;
        let spi = "0011223344556677";
        let key = "00010203040506070809fafbfcfdfeff";
        write("site-a.keys", format!("{spi},{spi},{key}0a0b0c0d,\"AES\",{key},\"NONE\"\n").as_bytes())?;
        write("site-a.keys.esp", format!("\"IPv4\",\"0xc0ffee00\",\"0x{key}\"\n").as_bytes())?;
        let line = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
        write(
            "a.key",
            format!("-----BEGIN PRIVATE KEY-----\n{line}\n-----END PRIVATE KEY-----\n").as_bytes(),
        )?;
        write("a.pem", b"-----BEGIN CERTIFICATE-----\nMIIBszCCAVqgAwIBAgIUQJ1hsZ3vVpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g0\n")?;
        write("site-a.log", log)?;
        write("charon-b.log", b"an end-to-end secret")?;
        let secrets = Secrets::of(dir.path())?;
        assert_eq!(secrets.known(), 6);
        secrets.expect_none_in_logs(dir.path())
    }
    #[test]
    fn a_planted_secret_is_found_however_it_is_spelt() {
        let key: Vec<u8> = (0..10).chain(0xfa..=0xff).collect();
        // `printf 'x an end-to-end secret\n' | base64`, and with one byte less in front.
        for planted in [
            &b"the psk is an end-to-end secret."[..],
            b"eCBhbiBlbmQtdG8tZW5kIHNlY3JldAo=",
            b"IGFuIGVuZC10by1lbmQgc2VjcmV0Cg==",
            b"YW4gZW5kLXRvLWVuZCBzZWNyZXQK",
            b"key 00010203040506070809FAFBFCFDFEFF",
            b"he is let in with a word to pass",
            b"key file MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g",
            b"00:01:02:03:04:05:06:07:08:09:fa:fb:fc:fd:fe:ff",
            b"Key([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 250, 251, 252, 253, 254, 255])",
            &key,
        ] {
            let log = [b"2026 INFO system,info: ready\n", planted].concat();
            let error = lab(&log).expect_err("it is found").to_string();
            assert!(error.contains("site-a.log") && error.contains(", 2)"), "{error}");
            assert!(!error.contains("end-to-end secret") && !error.contains("0203"), "and not told: {error}");
        }
    }
    #[test]
    fn what_is_no_secret_is_left_alone() {
        lab(b"IKE SA 0011223344556677 is up; spi 0xc0ffee00; the secret of the other side\n").expect("clean");
    }
}
