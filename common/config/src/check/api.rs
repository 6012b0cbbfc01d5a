//! `system api`.
use super::{Tables, enabled};
use crate::complaint::Sink;
use crate::model::{Api, ApiListen, ApiUser};
use crate::walk::{Bad, Row};
use crate::{Secret, date, value};
use std::net::IpAddr;
use std::path::PathBuf;

/// Shorter ones can be guessed.
const SHORTEST: usize = 24;

pub fn build(tables: &Tables, sink: &mut Sink) -> Option<Api> {
    let users = enabled(tables.list("api-user"), |row| user(row, sink));
    let row = tables.one("api")?;
    let listen = listen(row, sink).ok()?;
    if listen.is_some() && users.is_empty() {
        row.warning(sink, "enabled", "nobody may use it", "add a row to `api-user`");
    }
    Some(Api { listen, users })
}
fn listen(row: &Row, sink: &mut Sink) -> Result<Option<ApiListen>, Bad> {
    let file = |name: &str| Ok::<_, Bad>(row.opt::<&str>(name)?.map(PathBuf::from));
    let (certificate, key, client_ca) =
        (file("certificate-file")?, file("key-file")?, file("client-ca-file")?);
    let (address, port) = (row.get::<IpAddr>("address")?, row.get::<u64>("port")? as u16);
    if !row.get::<bool>("enabled")? {
        return Ok(None);
    }
    let needed = |name: &str, file: Option<PathBuf>, sink: &mut Sink| {
        let missing = |sink: &mut Sink| {
            let fix = format!("write `{name}: /etc/espway/FILE.pem`");
            row.error(sink, "enabled", format!("without `{name}` there is no TLS"), fix)
        };
        file.ok_or_else(|| missing(sink))
    };
    let certificate = needed("certificate-file", certificate, sink);
    let key = needed("key-file", key, sink);
    Ok(Some(ApiListen { address, port, certificate: certificate?, key: key?, client_ca }))
}
fn user(row: &Row, sink: &mut Sink) -> Result<ApiUser, Bad> {
    let token = row.opt::<&Secret>("token")?.cloned();
    if token.as_ref().is_some_and(|token| token.expose().len() < SHORTEST) {
        let said = format!("the token is shorter than {SHORTEST} characters");
        return Err(row.error(sink, "token", said, "make one with `openssl rand -base64 32`"));
    }
    let token_sha256 = match row.opt::<&str>("token-sha256")? {
        Some(text) => match value::hex(text).ok().filter(|bytes| bytes.len() == 32) {
            Some(bytes) => Some(Secret::new(bytes)),
            None => {
                let said = "this is no SHA-256";
                return Err(row.error(sink, "token-sha256", said, "write 64 hexadecimal digits"));
            }
        },
        None => None,
    };
    let certificate_name = row.opt::<&str>("certificate-name")?.map(ToOwned::to_owned);
    if token.is_none() && token_sha256.is_none() && certificate_name.is_none() {
        let fix = "write `token`, `token-sha256` or `certificate-name`";
        return Err(row.error(sink, "", "nothing tells who this is", fix));
    }
    let expires = match row.opt::<&str>("expires")? {
        Some(text) => match date::parse(text) {
            Some(seconds) => Some(seconds),
            None => return Err(row.error(sink, "expires", "this is no date", "write it like 2027-01-31")),
        },
        None => None,
    };
    let roles = row.get::<&[(&'static str, crate::yaml::Spot)]>("roles")?;
    let roles = roles.iter().map(|(role, _)| (*role).to_owned()).collect();
    let name = row.name().unwrap_or_default().to_owned();
    Ok(ApiUser { name, token, token_sha256, certificate_name, roles, expires })
}
