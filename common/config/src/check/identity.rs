//! Rows of `identity`, and the files they name: `certificate` and `ip ipsec key`.
use super::Tables;
use crate::complaint::Sink;
use crate::model::{Auth, CertificateFile, Credentials, Id, Identity, KeyFile, MyId, Proof, RemoteId};
use crate::value;
use crate::walk::{Bad, Row};
use std::path::PathBuf;

/// The files, after a look at whether what identities name is there.
pub fn credentials(tables: &Tables, sink: &mut Sink) -> Credentials {
    let certificate = |row: &Row| {
        Ok::<_, Bad>(CertificateFile {
            name: row.get::<&str>("name")?.into(),
            file: row.get::<&str>("file")?.into(),
            key_file: row.opt::<&str>("key-file")?.map(PathBuf::from),
            trusted: row.get("trusted")?,
        })
    };
    let key = |row: &Row| {
        Ok::<_, Bad>(KeyFile { name: row.get::<&str>("name")?.into(), file: row.get::<&str>("file")?.into() })
    };
    let found = Credentials {
        certificates: tables.list("certificate").iter().filter_map(|row| certificate(row).ok()).collect(),
        keys: tables.list("ip.ipsec.key").iter().filter_map(|row| key(row).ok()).collect(),
    };
    let known: Vec<&str> = tables.list("certificate").iter().filter_map(Row::name).collect();
    for row in tables.list("ip.ipsec.identity") {
        for property in ["certificate", "remote-certificate"] {
            for name in names(row, property).iter().filter(|name| !known.contains(&name.as_str())) {
                let said = format!("there is no certificate `{name}`");
                row.error(sink, property, said, "add a row with its file to `certificate`");
            }
        }
    }
    let any_trusted = found.certificates.iter().any(|c| c.trusted);
    for row in tables.list("ip.ipsec.identity").iter().filter(|row| row.enabled() && !any_trusted) {
        let signs = method(row, true).is_ok_and(|method| method == "digital-signature");
        if signs && names(row, "remote-certificate").is_empty() {
            let said = "no certificate has trusted=yes, so no certificate of a peer is believed";
            row.warning(
                sink,
                "remote-certificate",
                said,
                "add the authority to `certificate` with `trusted: yes`",
            );
        }
    }
    found
}

/// What a list names; `none` and nothing name nothing.
fn names(row: &Row, property: &str) -> Vec<String> {
    let text = row.opt::<&str>(property).ok().flatten().unwrap_or_default();
    text.split(',').map(str::trim).filter(|n| !n.is_empty() && *n != "none").map(str::to_owned).collect()
}
fn method(row: &Row, theirs: bool) -> Result<&'static str, Bad> {
    match (theirs, row.word("remote-auth-method")?) {
        (true, method) if method != "same" => Ok(method),
        _ => row.word("auth-method"),
    }
}

pub fn build(row: &Row, sink: &mut Sink) -> Result<Identity, Bad> {
    let (ours, theirs) = (proof(row, false, sink)?, proof(row, true, sink)?);
    let has_own = matches!(ours, Proof::Certificate(_));
    let has_theirs = matches!(&theirs, Proof::Certificate(all) if !all.is_empty());
    let remote_id = match row.get("remote-id")? {
        "auto" => RemoteId::Auto,
        "ignore" => {
            if !matches!(theirs, Proof::Secret(_)) {
                let said = "whoever has a key that is believed may call itself anything";
                row.warning(sink, "remote-id", said, "write whom you expect, or auto");
            }
            RemoteId::Ignore
        }
        "dn" | "dn:" if has_theirs => RemoteId::Subject,
        text => RemoteId::Id(id(row, "remote-id", text, sink)?),
    };
    let my_id = match row.get("my-id")? {
        "auto" => MyId::Auto,
        "dn" | "dn:" if has_own => MyId::Subject,
        text => MyId::Id(id(row, "my-id", text, sink)?),
    };
    let match_by_certificate = row.word("match-by")? == "certificate";
    if match_by_certificate && !has_theirs {
        let said = "match-by=certificate needs `remote-certificate`";
        return Err(row.error(sink, "match-by", said, "write the name of the peer's certificate there"));
    }
    let pkcs1 = row.word("rsa-padding")? == "pkcs1";
    let auth = Auth { ours, theirs, allow_sha1: row.get("allow-sha1")?, pkcs1 };
    let generate = super::ipsec::generate(row, sink)?;
    Ok(Identity { my_id, remote_id, match_by_certificate, auth, generate })
}

fn proof(row: &Row, theirs: bool, sink: &mut Sink) -> Result<Proof, Bad> {
    let property = if theirs && row.word("remote-auth-method")? != "same" {
        "remote-auth-method"
    } else {
        "auth-method"
    };
    let method = method(row, theirs)?;
    let missing = |sink: &mut Sink, name: &str, fix: &str| {
        Err(row.error(sink, name, format!("{property}={method} needs `{name}`"), fix))
    };
    match method {
        "digital-signature" => {
            let all = names(row, if theirs { "remote-certificate" } else { "certificate" });
            if all.is_empty() && !theirs {
                return missing(sink, "certificate", "write the name of ours from `certificate`");
            }
            Ok(Proof::Certificate(all))
        }
        "rsa-key" => {
            let name = if theirs { "remote-key" } else { "key" };
            match row.opt::<&str>(name)? {
                Some(key) => Ok(Proof::Key(key.into())),
                None => missing(sink, name, "write the name of a row of `ip.ipsec.key`"),
            }
        }
        // The other methods do not get here.
        _ => match row.opt::<&crate::Secret>("secret")? {
            Some(secret) => Ok(Proof::Secret(secret.clone())),
            None => missing(sink, "secret", "write `secret: \"...\"`, the same as the peer has"),
        },
    }
}

fn id(row: &Row, name: &str, text: &str, sink: &mut Sink) -> Result<Id, Bad> {
    const KINDS: &str = "write address:1.2.3.4, fqdn:gw.example, user-fqdn:a@b.example, key-id:text, dn:CN=gw,O=Example or auto";
    let (kind, what) = text.split_once(':').unwrap_or((text, ""));
    let id = match kind {
        "address" => value::address(what).map(Id::Address).ok(),
        "fqdn" => Some(Id::Fqdn(what.into())),
        "user-fqdn" => what.contains('@').then(|| Id::UserFqdn(what.into())),
        "key-id" => Some(Id::KeyId(what.into())),
        "dn" if what.is_empty() => {
            let whose = if name == "my-id" { "certificate" } else { "remote-certificate" };
            let said = format!("`dn` alone is the subject of `{whose}`, and there is none");
            return Err(row.error(sink, name, said, KINDS));
        }
        "dn" => what.split(',').all(|pair| pair.contains('=')).then(|| Id::Dn(what.into())),
        _ => None,
    };
    id.filter(|_| (1..=255).contains(&what.len()))
        .ok_or_else(|| row.error(sink, name, format!("`{text}` is not an identity"), KINDS))
}
