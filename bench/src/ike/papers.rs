//! Certificates of both ends, by one authority, made for the run.
use anyhow::{Context, Result};
use ca::{Issued, Key, Wish};
use ike::api::{Auth, Check, Id, Identity, MatchBy, MyId, Proof, Psk, RemoteId};
use pki::{Certificate, Signer, Trust, Ways};
use std::sync::Arc;

pub const GATEWAY: &str = "gateway.bench";
pub const CLIENT: &str = "client.bench";
pub const SECRET: &str = "a secret of the benchmark";

pub enum Papers {
    Secret,
    /// Without `client` each of them has a certificate of its own, which nobody has seen before.
    Certificates {
        authority: Box<Issued>,
        gateway: Box<Issued>,
        client: Option<Box<Issued>>,
        key: Key,
    },
}
impl Papers {
    pub fn new(key: Option<Key>, strangers: bool) -> Self {
        let Some(key) = key else { return Self::Secret };
        let authority = Wish::authority("authority", key).self_signed();
        let gateway = Box::new(leaf(GATEWAY, key, &authority));
        let client = (!strangers).then(|| Box::new(leaf(CLIENT, key, &authority)));
        Self::Certificates { authority: Box::new(authority), gateway, client, key }
    }
    /// Of the client with this number, or of the gateway.
    pub fn identity(&self, client: Option<u64>) -> Result<Identity> {
        let named = |name: String| MyId::Id(Id::Fqdn(name));
        let Self::Certificates { authority, gateway, client: own, key } = self else {
            let name = client.map_or(GATEWAY.to_owned(), |n| format!("client-{n}.bench"));
            return Ok(Identity::with_secret(named(name), RemoteId::Auto, Psk(SECRET.into())));
        };
        let fresh;
        let (issued, name) = match (client, own) {
            (None, _) => (&**gateway, GATEWAY),
            (Some(_), Some(own)) => (&**own, CLIENT),
            (Some(_), None) => {
                fresh = leaf(CLIENT, *key, authority);
                (&fresh, CLIENT)
            }
        };
        let parsed = |issued: &Issued| Certificate::from_der(&issued.der()).map(Arc::new);
        let key = pki::read_private_key(&issued.key_pem())?;
        let signer = Signer::new(key, vec![parsed(issued)?]).context("a key for its certificate")?;
        let trust = Trust::new(vec![parsed(authority)?]);
        let auth = Auth {
            ours: Proof::Signature(Arc::new(signer)),
            theirs: Check::Certificate { trust: Arc::new(trust), only: None },
            ways: Ways::default(),
        };
        Ok(Identity {
            my_id: named(name.into()),
            remote_id: RemoteId::Auto,
            match_by: MatchBy::RemoteId,
            auth,
            generate: None,
        })
    }
    /// For strongSwan, by the names of its folders.
    pub fn files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let Self::Certificates { authority, gateway, .. } = self else { return Vec::new() };
        vec![
            ("x509ca/authority.pem", authority.pem()),
            ("x509/gateway.pem", gateway.pem()),
            ("private/gateway.pem", gateway.key_pem()),
        ]
    }
}

fn leaf(name: &str, key: Key, authority: &Issued) -> Issued {
    Wish::leaf(name, key).named(&format!("fqdn:{name}")).by(authority)
}
