//! Certificates of both ends, by one authority, made for the run.
use anyhow::{Context, Result, anyhow};
use ca::{Issued, Key, Wish};
use ike::api::{Auth, Check, Id, Identity, MatchBy, MyId, Proof, Psk, RemoteId};
use pki::{Certificate, Signer, Trust, Ways};
use std::sync::Arc;

pub const GATEWAY: &str = "gateway.bench";
pub const CLIENT: &str = "client.bench";
pub const SECRET: &str = "a secret of the benchmark";

pub enum Papers {
    Secret,
    Certificates { authority: Box<Issued>, gateway: Box<Issued>, client: Box<Issued> },
}
impl Papers {
    pub fn new(key: Option<Key>) -> Self {
        let Some(key) = key else { return Self::Secret };
        let authority = Wish::authority("authority", key).self_signed();
        let leaf = |name: &str| Box::new(Wish::leaf(name, key).named(&format!("fqdn:{name}")).by(&authority));
        let (gateway, client) = (leaf(GATEWAY), leaf(CLIENT));
        Self::Certificates { authority: Box::new(authority), gateway, client }
    }
    /// Of the client with this number, or of the gateway.
    pub fn identity(&self, client: Option<u64>) -> Result<Identity> {
        let named = |name: String| MyId::Id(Id::Fqdn(name));
        let (gateway, own) = match self {
            Self::Secret => {
                let name = client.map_or(GATEWAY.to_owned(), |n| format!("client-{n}.bench"));
                return Ok(Identity::with_secret(named(name), RemoteId::Auto, Psk(SECRET.into())));
            }
            Self::Certificates { gateway, client: own, .. } => (gateway, own),
        };
        let (issued, name) = if client.is_some() { (own, CLIENT) } else { (gateway, GATEWAY) };
        let parsed = |issued: &Issued| Certificate::from_der(&issued.der()).map(Arc::new);
        let Self::Certificates { authority, .. } = self else { return Err(anyhow!("no authority")) };
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
