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

fn ike_line(k: &KeyLog) -> String {
    let cipher = match k.encryption {
        IkeCipher::Aes128Cbc => "AES-CBC-128 [RFC3602]",
        IkeCipher::Aes192Cbc => "AES-CBC-192 [RFC3602]",
        IkeCipher::Aes256Cbc => "AES-CBC-256 [RFC3602]",
        IkeCipher::Aes128Gcm => "AES-GCM-128 with 16 octet ICV [RFC5282]",
        IkeCipher::Aes192Gcm => "AES-GCM-192 with 16 octet ICV [RFC5282]",
        IkeCipher::Aes256Gcm => "AES-GCM-256 with 16 octet ICV [RFC5282]",
        // Wireshark does not decrypt it, and a value that it does not know costs the lines behind it.
        IkeCipher::ChaCha20Poly1305 => {
            return format!("# {:016x},{:016x}: ChaCha20 with Poly1305 [RFC7634]", k.spi_i, k.spi_r);
        }
    };
    let integrity = match k.integrity {
        None => "NONE [RFC4306]",
        Some(IkeIntegrity::HmacSha1) => "HMAC_SHA1_96 [RFC2404]",
        Some(IkeIntegrity::HmacSha256) => "HMAC_SHA2_256_128 [RFC4868]",
        Some(IkeIntegrity::HmacSha384) => "HMAC_SHA2_384_192 [RFC4868]",
        Some(IkeIntegrity::HmacSha512) => "HMAC_SHA2_512_256 [RFC4868]",
    };
    let [ei, er, ai, ar] = [&k.sk_ei, &k.sk_er, &k.sk_ai, &k.sk_ar].map(|key| hex(key.expose()));
    format!("{:016x},{:016x},{ei},{er},\"{cipher}\",{ai},{ar},\"{integrity}\"", k.spi_i, k.spi_r)
}

/// What Wireshark calls it. Those that it does not know are "NULL": header and length are right, the rest is not read.
fn wireshark_cipher(encryption: Encryption) -> &'static str {
    match (encryption.cipher(), encryption.mode(), encryption.icv_len()) {
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
        _ => "NULL",
    }
}

fn esp_line(spec: &SaSpec) -> String {
    let family = if spec.ends.local.is_ipv4() { "IPv4" } else { "IPv6" };
    let (src, dst) = match spec.direction {
        sa::Direction::Inbound => (spec.ends.remote, spec.ends.local),
        sa::Direction::Outbound => (spec.ends.local, spec.ends.remote),
    };
    let cipher = wireshark_cipher(spec.suite.encryption());
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
