//! A certificate from the network: walked, read, named, judged, its key used; also as a key, a name and a signature.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pki::{Certificate, Claimed, PublicKey, Role, Signature, Trust, Ways, der, name, verify};
use std::sync::Arc;
use std::time::Duration;

fuzz_target!(|data: &[u8]| {
    let _ = (der::is_well_formed(data), name::is_name(data));
    let shown = name::text(data);
    assert!(shown.bytes().all(|b| (0x20..0x7f).contains(&b)), "{shown:?}");
    let _ = PublicKey::from_spki(data).map_err(|e| e.to_string());
    let Ok(certificate) = Certificate::from_der(data).map(Arc::new) else { return };
    assert!(der::is_well_formed(data) && certificate.der() == data);
    let wall = Duration::from_secs(1_700_000_000);
    let _ = (certificate.valid_at(wall), certificate.days_left(wall), certificate.ends());
    for role in [Role::Initiator, Role::Responder] {
        let _ = certificate.check_usage(role);
    }
    assert!(certificate.names(Claimed::Dn(certificate.subject())));
    let _ = certificate.check_identity(Claimed::Fqdn("gw.test"));
    let again = Certificate::from_der(data).unwrap();
    assert!(again == *certificate);
    let trust = Trust::new(vec![Arc::new(again)]);
    assert_eq!(trust.authorities().len(), 20);
    let _ = trust.check_path(&certificate, &[], wall);
    for method in [1, 9, 14] {
        let signature = Signature { method, data: data.iter().take(300).copied().collect() };
        assert!(verify(certificate.key(), &signature, Ways::default(), data).is_err());
    }
});
