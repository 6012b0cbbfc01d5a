//! Every piece works, and instruction counts are those of the work alone.
use bench::micro;

#[test]
fn every_piece_works_and_has_a_name_of_its_own() {
    let mut names = std::collections::HashSet::new();
    for mut case in micro::cases(|name| !name.ends_with("0000")).expect("tables and engines") {
        (case.run)(65);
        assert!(names.insert(case.name.clone()), "{} twice", case.name);
    }
    for wanted in ["parse/ethernet", "parse/ike-sa-init", "replay/check+commit/1024", "spd-find/1000"] {
        assert!(names.contains(wanted), "{wanted} in {names:?}");
    }
    assert!(names.contains("seal/rustcrypto/aes-128-gcm/64") && names.contains("sad-inbound/1"));
    assert!(micro::work("parse/ipv4", 10).is_ok() && micro::work("parse/ipv", 10).is_err());
}
