//! `aes256-sha256-modp2048, aes128gcm16-x25519` as lists of RouterOS's names.

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Algorithms {
    pub ciphers: Vec<&'static str>,
    pub hashes: Vec<&'static str>,
    pub prfs: Vec<&'static str>,
    pub groups: Vec<&'static str>,
    /// Ciphers that bring their own integrity are among them, and others are.
    pub aead: bool,
    pub plain: bool,
    /// `default` is among them.
    pub default: bool,
    pub unknown: Vec<String>,
}

/// Names of IKE's ciphers, and of ESP's, for each of theirs.
const CIPHERS: &[(&[&str], &str, &str, bool)] = &[
    (&["aes128", "aes"], "aes-128", "aes-128-cbc", false),
    (&["aes192"], "aes-192", "aes-192-cbc", false),
    (&["aes256"], "aes-256", "aes-256-cbc", false),
    (&["aes128gcm16", "aes128gcm", "aes128gcm128"], "aes-128-gcm", "aes-128-gcm", true),
    (&["aes192gcm16", "aes192gcm", "aes192gcm128"], "aes-192-gcm", "aes-192-gcm", true),
    (&["aes256gcm16", "aes256gcm", "aes256gcm128"], "aes-256-gcm", "aes-256-gcm", true),
    (&["chacha20poly1305"], "chacha20poly1305", "chacha20poly1305", true),
    (&["aes128ctr"], "aes-128-ctr", "aes-128-ctr", false),
    (&["aes192ctr"], "aes-192-ctr", "aes-192-ctr", false),
    (&["aes256ctr"], "aes-256-ctr", "aes-256-ctr", false),
    (&["aes128gcm8", "aes128gcm64"], "aes-128-gcm-8", "aes-128-gcm-8", true),
    (&["aes128gcm12", "aes128gcm96"], "aes-128-gcm-12", "aes-128-gcm-12", true),
    (&["aes192gcm8", "aes192gcm64"], "aes-192-gcm-8", "aes-192-gcm-8", true),
    (&["aes192gcm12", "aes192gcm96"], "aes-192-gcm-12", "aes-192-gcm-12", true),
    (&["aes256gcm8", "aes256gcm64"], "aes-256-gcm-8", "aes-256-gcm-8", true),
    (&["aes256gcm12", "aes256gcm96"], "aes-256-gcm-12", "aes-256-gcm-12", true),
    (&["aes128ccm8", "aes128ccm64"], "aes-128-ccm-8", "aes-128-ccm-8", true),
    (&["aes128ccm12", "aes128ccm96"], "aes-128-ccm-12", "aes-128-ccm-12", true),
    (&["aes128ccm16", "aes128ccm128"], "aes-128-ccm", "aes-128-ccm", true),
    (&["aes192ccm8", "aes192ccm64"], "aes-192-ccm-8", "aes-192-ccm-8", true),
    (&["aes192ccm12", "aes192ccm96"], "aes-192-ccm-12", "aes-192-ccm-12", true),
    (&["aes192ccm16", "aes192ccm128"], "aes-192-ccm", "aes-192-ccm", true),
    (&["aes256ccm8", "aes256ccm64"], "aes-256-ccm-8", "aes-256-ccm-8", true),
    (&["aes256ccm12", "aes256ccm96"], "aes-256-ccm-12", "aes-256-ccm-12", true),
    (&["aes256ccm16", "aes256ccm128"], "aes-256-ccm", "aes-256-ccm", true),
    (&["aes128gmac"], "", "aes-128-gmac", true),
    (&["aes192gmac"], "", "aes-192-gmac", true),
    (&["aes256gmac"], "", "aes-256-gmac", true),
    (&["3des"], "3des", "3des", false),
    (&["des"], "des", "des", false),
    (&["camellia128", "camellia"], "camellia-128", "camellia-128", false),
    (&["camellia192"], "camellia-192", "camellia-192", false),
    (&["camellia256"], "camellia-256", "camellia-256", false),
    (&["camellia128ctr"], "camellia-128-ctr", "", false),
    (&["camellia128ccm8", "camellia128ccm64"], "camellia-128-ccm-8", "", true),
    (&["camellia128ccm12", "camellia128ccm96"], "camellia-128-ccm-12", "", true),
    (&["camellia128ccm16", "camellia128ccm128"], "camellia-128-ccm", "", true),
    (&["camellia192ctr"], "camellia-192-ctr", "", false),
    (&["camellia192ccm8", "camellia192ccm64"], "camellia-192-ccm-8", "", true),
    (&["camellia192ccm12", "camellia192ccm96"], "camellia-192-ccm-12", "", true),
    (&["camellia192ccm16", "camellia192ccm128"], "camellia-192-ccm", "", true),
    (&["camellia256ctr"], "camellia-256-ctr", "", false),
    (&["camellia256ccm8", "camellia256ccm64"], "camellia-256-ccm-8", "", true),
    (&["camellia256ccm12", "camellia256ccm96"], "camellia-256-ccm-12", "", true),
    (&["camellia256ccm16", "camellia256ccm128"], "camellia-256-ccm", "", true),
    (&["blowfish", "blowfish128"], "blowfish", "blowfish", false),
    (&["twofish", "twofish128"], "", "twofish", false),
    (&["null"], "", "null", false),
];
const HASHES: &[(&[&str], &str)] = &[
    (&["sha1", "sha"], "sha1"),
    (&["sha256", "sha2_256"], "sha256"),
    (&["sha384", "sha2_384"], "sha384"),
    (&["sha512", "sha2_512"], "sha512"),
    (&["md5"], "md5"),
    (&["aesxcbc"], "aes-xcbc"),
    (&["aescmac"], "aes-cmac"),
];
const PRFS: &[(&str, &str)] = &[
    ("prfmd5", "md5"),
    ("prfsha1", "sha1"),
    ("prfaesxcbc", "aes-xcbc"),
    ("prfaescmac", "aes-cmac"),
    ("prfsha256", "sha256"),
    ("prfsha384", "sha384"),
    ("prfsha512", "sha512"),
];
const GROUPS: &[(&[&str], &str)] = &[
    (&["modp768"], "modp768"),
    (&["modp1024"], "modp1024"),
    (&["modp1536"], "modp1536"),
    (&["modp2048"], "modp2048"),
    (&["modp3072"], "modp3072"),
    (&["modp4096"], "modp4096"),
    (&["modp6144"], "modp6144"),
    (&["modp8192"], "modp8192"),
    (&["ecp256"], "ecp256"),
    (&["ecp384"], "ecp384"),
    (&["ecp521"], "ecp521"),
    (&["curve25519", "x25519"], "x25519"),
    (&["curve448", "x448"], "x448"),
    (&["ecp224bp"], "brainpool224"),
    (&["ecp256bp"], "brainpool256"),
    (&["ecp384bp"], "brainpool384"),
    (&["ecp512bp"], "brainpool512"),
    (&["modp1024s160"], "modp1024s160"),
    (&["modp2048s224"], "modp2048s224"),
    (&["modp2048s256"], "modp2048s256"),
];

pub fn read(text: &str, esp: bool) -> Algorithms {
    let mut all = Algorithms::default();
    for proposal in text.split(',').map(str::trim).filter(|proposal| !proposal.is_empty()) {
        if proposal == "default" {
            all.default = true;
            continue;
        }
        for word in proposal.split('-').map(str::trim) {
            all.word(word, esp);
        }
    }
    all
}
impl Algorithms {
    fn word(&mut self, word: &str, esp: bool) {
        fn put(list: &mut Vec<&'static str>, name: &'static str) {
            if !list.contains(&name) {
                list.push(name);
            }
        }
        if let Some((_, ike, of_esp, aead)) = CIPHERS.iter().find(|(names, ..)| names.contains(&word)) {
            let name = if esp { of_esp } else { ike };
            if !name.is_empty() {
                put(&mut self.ciphers, name);
                self.aead |= aead;
                self.plain |= !aead;
                return;
            }
        }
        if let Some((_, name)) = HASHES.iter().find(|(names, _)| names.contains(&word)) {
            put(&mut self.hashes, name);
        } else if let Some((_, name)) = PRFS.iter().find(|(other, _)| *other == word) {
            put(&mut self.prfs, name);
        } else if let Some((_, name)) = GROUPS.iter().find(|(names, _)| names.contains(&word)) {
            put(&mut self.groups, name);
        } else if !matches!(word, "esn" | "noesn" | "modpnone") {
            self.unknown.push(word.chars().take(40).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_become_routeros_s_names() {
        let ike = super::read("aes256-sha256-prfsha384-modp2048, aes128gcm16-x25519, default", false);
        assert_eq!(ike.ciphers, ["aes-256", "aes-128-gcm"]);
        assert_eq!(
            (ike.hashes, ike.prfs, ike.groups),
            (vec!["sha256"], vec!["sha384"], vec!["modp2048", "x25519"])
        );
        assert!(ike.default && ike.aead && ike.plain && ike.unknown.is_empty());
        let esp = super::read("null-sha1-esn,serpent128-sha512", true);
        assert_eq!(
            (esp.ciphers, esp.hashes, esp.unknown),
            (vec!["null"], vec!["sha1", "sha512"], vec!["serpent128".to_owned()])
        );
    }
}
