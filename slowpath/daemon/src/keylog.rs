//! Keys in Wireshark's table formats, for an independent decoder. Exists only after `--key-log`, readable by its owner.
use ike::api::{IkeCipher, IkeIntegrity, KeyLog};
use sa::{Cipher, CipherMode, Encryption, Integrity, SaSpec};
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// `FILE` is an `ikev2_decryption_table`, `FILE.esp` an `esp_sa` table.
pub struct KeyLogFiles {
    ike: File,
    esp: File,
    /// SPI and slot of SAs already written.
    written: HashSet<(u32, u32)>,
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl KeyLogFiles {
    pub fn create(path: &Path) -> io::Result<Self> {
        let open = |path: &Path| OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let mut esp = path.as_os_str().to_owned();
        esp.push(".esp");
        Ok(Self { ike: open(path)?, esp: open(Path::new(&esp))?, written: HashSet::new() })
    }
    pub fn write(&mut self, ike: &[KeyLog], installed: &[SaSpec]) -> io::Result<()> {
        for keys in ike {
            writeln!(self.ike, "{}", ike_line(keys))?;
        }
        self.written.retain(|name| installed.iter().any(|spec| (spec.spi.get(), spec.slot.0) == *name));
        for spec in installed {
            if self.written.insert((spec.spi.get(), spec.slot.0)) {
                writeln!(self.esp, "{}", esp_line(spec))?;
            }
        }
        Ok(())
    }
}

/// What Wireshark calls an IKE cipher. `None`: it does not decrypt it.
fn wireshark_ike(cipher: IkeCipher) -> Option<String> {
    let (bits, icv) = (cipher.key_len() * 8, cipher.icv_len());
    Some(match (cipher.cipher(), cipher.mode()) {
        (Cipher::TripleDes, _) => "3DES [RFC2451]".into(),
        (Cipher::Aes, CipherMode::Cbc) => format!("AES-CBC-{bits} [RFC3602]"),
        (Cipher::Aes, CipherMode::Ctr) => format!("AES-CTR-{bits} [RFC5930]"),
        (Cipher::Aes, CipherMode::Gcm) => format!("AES-GCM-{bits} with {icv} octet ICV [RFC5282]"),
        (Cipher::Aes, CipherMode::Ccm) => format!("AES-CCM-{bits} with {icv} octet ICV [RFC5282]"),
        _ => return None,
    })
}
fn ike_line(k: &KeyLog) -> String {
    // A value that Wireshark does not know costs the lines behind it.
    let Some(cipher) = wireshark_ike(k.encryption) else {
        return format!("# {:016x},{:016x}: {}", k.spi_i, k.spi_r, k.encryption.name());
    };
    let integrity = match k.integrity {
        None => "NONE [RFC4306]",
        Some(IkeIntegrity::HmacMd5) => "HMAC_MD5_96 [RFC2403]",
        Some(IkeIntegrity::HmacSha1) => "HMAC_SHA1_96 [RFC2404]",
        // It computes no others; it must know how long the ICV is.
        Some(IkeIntegrity::AesXcbc | IkeIntegrity::AesCmac) => "ANY 96-bits of Authentication [No Checking]",
        Some(IkeIntegrity::HmacSha256) => "HMAC_SHA2_256_128 [RFC4868]",
        Some(IkeIntegrity::HmacSha384) => "HMAC_SHA2_384_192 [RFC4868]",
        Some(IkeIntegrity::HmacSha512) => "HMAC_SHA2_512_256 [RFC4868]",
    };
    let [ei, er, ai, ar] = [&k.sk_ei, &k.sk_er, &k.sk_ai, &k.sk_ar].map(|key| hex(key.expose()));
    format!("{:016x},{:016x},{ei},{er},\"{cipher}\",{ai},{ar},\"{integrity}\"", k.spi_i, k.spi_r)
}

/// What Wireshark calls a cipher of ESP. `None`: it does not decrypt it.
fn wireshark_esp(encryption: Encryption) -> Option<&'static str> {
    Some(match (encryption.cipher(), encryption.mode(), encryption.icv_len()) {
        (Cipher::Null, ..) => "NULL",
        (Cipher::Aes, CipherMode::Cbc, _) => "AES-CBC [RFC3602]",
        (Cipher::Aes, CipherMode::Ctr, _) => "AES-CTR [RFC3686]",
        (Cipher::Aes, CipherMode::Gcm, 8) => "AES-GCM with 8 octet ICV [RFC4106]",
        (Cipher::Aes, CipherMode::Gcm, 12) => "AES-GCM with 12 octet ICV [RFC4106]",
        (Cipher::Aes, CipherMode::Gcm, _) => "AES-GCM with 16 octet ICV [RFC4106]",
        (Cipher::Des, ..) => "DES-CBC [RFC2405]",
        (Cipher::TripleDes, ..) => "TripleDES-CBC [RFC2451]",
        (Cipher::Blowfish, ..) => "BLOWFISH-CBC [RFC2451]",
        (Cipher::Twofish, ..) => "TWOFISH-CBC",
        // Known to newer versions of Wireshark alone.
        (Cipher::ChaCha20, ..) => "ChaCha20 with Poly1305 [RFC7634]",
        // CCM, GMAC and Camellia.
        (Cipher::Aes | Cipher::Camellia, ..) => return None,
    })
}

/// A row of `esp_sa`.
pub fn esp_line(spec: &SaSpec) -> String {
    let family = if spec.ends.local.is_ipv4() { "IPv4" } else { "IPv6" };
    let (src, dst) = match spec.direction {
        sa::Direction::Inbound => (spec.ends.remote, spec.ends.local),
        sa::Direction::Outbound => (spec.ends.local, spec.ends.remote),
    };
    let Some(cipher) = wireshark_esp(spec.suite.encryption()) else {
        return format!("# {src} to {dst}, {:#010x}: {}", spec.spi.get(), spec.suite);
    };
    let integrity = match spec.suite.integrity() {
        Integrity::None => "NULL",
        Integrity::HmacMd5 => "HMAC-MD5-96 [RFC2403]",
        Integrity::HmacSha1 => "HMAC-SHA-1-96 [RFC2404]",
        Integrity::HmacSha256 => "HMAC-SHA-256-128 [RFC4868]",
        Integrity::HmacSha384 => "HMAC-SHA-384-192 [RFC4868]",
        Integrity::HmacSha512 => "HMAC-SHA-512-256 [RFC4868]",
        // Wireshark computes no others; it must know how long the ICV is.
        Integrity::AesXcbc | Integrity::AesCmac => "ANY 96 bit authentication [no checking]",
        Integrity::Aes128Gmac | Integrity::Aes192Gmac | Integrity::Aes256Gmac => {
            "ANY 192 bit authentication [no checking]"
        }
    };
    let bytes = |keys: &[&sa::Key]| {
        let hex: String = keys.iter().map(|key| hex(key.expose())).collect();
        if hex.is_empty() { hex } else { format!("0x{hex}") }
    };
    let key = bytes(&[&spec.encryption_key, &spec.salt]);
    let auth = bytes(&[&spec.integrity_key]);
    format!(
        r#""{family}","{src}","{dst}","{:#010x}","{cipher}","{key}","{integrity}","{auth}""#,
        spec.spi.get()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in the tables of Wireshark 4.0 (`packet-isakmp.c`).
    #[test]
    fn ike_ciphers_have_wireshark_s_names() {
        let key = |len| sa::Key::new(&vec![1; len]).unwrap();
        let line = |encryption, integrity| {
            let (e, a) = (key(4), key(2));
            ike_line(&KeyLog {
                spi_i: 1,
                spi_r: 2,
                sk_ei: e.clone(),
                sk_er: e,
                sk_ai: a.clone(),
                sk_ar: a,
                encryption,
                integrity,
            })
        };
        let head = "0000000000000001,0000000000000002,01010101,01010101";
        assert_eq!(
            line(IkeCipher::Aes192Ccm12, None),
            format!("{head},\"AES-CCM-192 with 12 octet ICV [RFC5282]\",0101,0101,\"NONE [RFC4306]\"")
        );
        assert_eq!(
            line(IkeCipher::Aes256Ctr, Some(IkeIntegrity::AesCmac)),
            format!(
                "{head},\"AES-CTR-256 [RFC5930]\",0101,0101,\"ANY 96-bits of Authentication [No Checking]\""
            )
        );
        assert_eq!(
            line(IkeCipher::TripleDes, Some(IkeIntegrity::HmacMd5)),
            format!("{head},\"3DES [RFC2451]\",0101,0101,\"HMAC_MD5_96 [RFC2403]\"")
        );
        let camellia = line(IkeCipher::Camellia128Cbc, Some(IkeIntegrity::HmacSha1));
        assert_eq!(camellia, "# 0000000000000001,0000000000000002: camellia-128");
    }
    #[test]
    fn no_cipher_of_esp_is_passed_off_as_null() {
        for encryption in Encryption::ALL.into_iter().filter(|e| *e != Encryption::Null) {
            assert_ne!(wireshark_esp(encryption), Some("NULL"), "{}", encryption.name());
        }
    }
}
