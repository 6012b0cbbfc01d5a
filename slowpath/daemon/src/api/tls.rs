//! TLS for the TCP side: 1.2 and 1.3 with *ring*'s algorithms, client certificates where the configuration names who may
//! vouch for them.
use config::model::ApiListen;
use openssl::nid::Nid;
use openssl::x509::X509;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection};

/// What is wrong names the file.
pub fn acceptor(listen: &ApiListen) -> Result<TlsAcceptor, String> {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match &listen.client_ca {
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| format!("{}: {error}", file.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::from_pem_file(&listen.key)
        .map_err(|error| format!("{}: no private key: {error}", listen.key.display()))?;
    let mut config = builder
        .with_single_cert(certificates(&listen.certificate)?, key)
        .map_err(|error| format!("{}: {error}", listen.certificate.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error| format!("{}: no certificate: {error}", file.display());
    let all = CertificateDer::pem_file_iter(file).map_err(wrong)?.collect::<Result<Vec<_>, _>>();
    let all = all.map_err(wrong)?;
    if all.is_empty() { Err(format!("{}: no certificate in it", file.display())) } else { Ok(all) }
}

/// Names in the certificate that the client has proved to hold.
pub fn names(connection: &ServerConnection) -> Vec<String> {
    let shown = connection.peer_certificates().and_then(|chain| chain.first());
    let Some(certificate) = shown.and_then(|der| X509::from_der(der).ok()) else { return Vec::new() };
    let alternative = certificate.subject_alt_names();
    let alternative = alternative.iter().flatten().filter_map(|name| name.dnsname().or_else(|| name.email()));
    let mut names: Vec<String> = alternative.map(ToOwned::to_owned).collect();
    let common = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
    names.extend(common.filter_map(|entry| entry.data().to_string().ok().map(|name| name.to_string())));
    names
}
