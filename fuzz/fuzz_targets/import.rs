//! Foreign configurations: any text is imported, what comes of it is written and read back as the same, and a script
//! of it is an import that needs no changes.
#![no_main]
use config::Document;
use config::document::Secrets;
use config::script::export::{Amount, Style, export};
use config::script::{decode, import, swanctl};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let text = decode(rest);
    let done = if first & 1 == 0 { import(&text) } else { swanctl::import(&text) };
    let yaml = done.document.to_yaml(Secrets::Shown);
    let (read, _) = Document::from_yaml(&yaml).expect("what is written can be read");
    assert_eq!(*read.to_yaml(Secrets::Shown), *yaml);
    let style = Style { amount: Amount::Compact, secrets: Secrets::Shown };
    let script = export(&read, style, "2026-01-02 03:04:05", "0.1.0");
    assert_eq!(*export(&import(&script).document, style, "2026-01-02 03:04:05", "0.1.0"), *script);
    let _ = (done.report.to_string(), done.report.summary());
});
