//! What the tests share: files, hex, certificates.
#![allow(dead_code)]
use ca::Issued;
use pki::Certificate;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub fn vectors(path: &str) -> PathBuf {
    PathBuf::from(format!("{}/../../tests/vectors/{path}", env!("CARGO_MANIFEST_DIR")))
}
pub fn vector(path: &str) -> Vec<u8> {
    std::fs::read(vectors(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}
pub fn json(path: &str) -> serde_json::Value {
    serde_json::from_slice(&vector(path)).unwrap()
}
pub fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|d| u8::from_str_radix(str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}
pub fn certificate(issued: &Issued) -> Arc<Certificate> {
    Arc::new(Certificate::from_der(&issued.der()).unwrap())
}
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}
