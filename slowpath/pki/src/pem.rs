//! What stands in files: certificates and keys, PEM or DER.
use crate::certificate::{Certificate, CertificateError};
use crate::key::{KeyError, PrivateKey, PublicKey};
use openssl::pkey::PKey;
use openssl::x509::X509;

/// No honest file is larger.
pub const MAX_FILE: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("larger than a megabyte")]
    Size,
    #[error("no certificate in it, neither as PEM (-----BEGIN CERTIFICATE-----) nor as DER")]
    NoCertificate,
    #[error("no private key in it")]
    NoPrivateKey,
    #[error("no public key in it")]
    NoPublicKey,
    #[error("the private key is protected by a passphrase")]
    Encrypted,
    #[error("certificate {at}: {error}")]
    Certificate { at: usize, error: CertificateError },
    #[error("{0}")]
    Key(#[from] KeyError),
}

fn is_pem(bytes: &[u8], label: &str) -> bool {
    let begin = format!("-----BEGIN {label}");
    bytes.windows(begin.len()).any(|w| w == begin.as_bytes())
}

/// All certificates of a file, in its order; at least one.
pub fn read_certificates(bytes: &[u8]) -> Result<Vec<Certificate>, FileError> {
    if bytes.len() > MAX_FILE {
        return Err(FileError::Size);
    }
    let ders = if is_pem(bytes, "") {
        let all = X509::stack_from_pem(bytes).map_err(|_| FileError::NoCertificate)?;
        all.iter().filter_map(|x| x.to_der().ok()).collect()
    } else {
        vec![bytes.to_vec()]
    };
    if ders.is_empty() {
        return Err(FileError::NoCertificate);
    }
    let of = |(at, der): (usize, &Vec<u8>)| {
        Certificate::from_der(der).map_err(|error| match error {
            CertificateError::Der if !is_pem(bytes, "") => FileError::NoCertificate,
            error => FileError::Certificate { at: at + 1, error },
        })
    };
    ders.iter().enumerate().map(of).collect()
}

/// PKCS#8, PKCS#1 or SEC1. A passphrase is never asked for.
pub fn read_private_key(bytes: &[u8]) -> Result<PrivateKey, FileError> {
    if bytes.len() > MAX_FILE {
        return Err(FileError::Size);
    }
    let encrypted = bytes.windows(9).any(|w| w == b"ENCRYPTED");
    if is_pem(bytes, "") && encrypted {
        return Err(FileError::Encrypted);
    }
    let key = if is_pem(bytes, "") {
        PKey::private_key_from_pem_callback(bytes, |_| Ok(0))
    } else {
        PKey::private_key_from_der(bytes)
    };
    Ok(PrivateKey::new(key.map_err(|_| FileError::NoPrivateKey)?)?)
}

/// SubjectPublicKeyInfo, or the public part of a private key or a certificate.
pub fn read_public_key(bytes: &[u8]) -> Result<PublicKey, FileError> {
    if bytes.len() > MAX_FILE {
        return Err(FileError::Size);
    }
    if is_pem(bytes, "CERTIFICATE") {
        let mut all = read_certificates(bytes)?;
        return Ok(PublicKey::from_spki(all.swap_remove(0).key().spki())?);
    }
    if let Ok(key) = read_private_key(bytes) {
        return Ok(key.public()?);
    }
    // OpenSSL asks the terminal for the passphrase of anything else that is locked.
    let key = match (is_pem(bytes, "PUBLIC KEY"), is_pem(bytes, "RSA PUBLIC KEY"), is_pem(bytes, "")) {
        (true, ..) => PKey::public_key_from_pem(bytes),
        (_, true, _) => openssl::rsa::Rsa::public_key_from_pem_pkcs1(bytes).and_then(PKey::from_rsa),
        (.., true) => return Err(FileError::NoPublicKey),
        _ => PKey::public_key_from_der(bytes),
    };
    let der = key.and_then(|key| key.public_key_to_der()).map_err(|_| FileError::NoPublicKey)?;
    Ok(PublicKey::from_spki(&der)?)
}
