//! Certificates and keys against Debian's strongSwan: one charon with a connection for each row, one gateway with an
//! identity for each.
use anyhow::{Context, Result, ensure};
use ca::{Issued, Key, Wish};
use e2e::{Gateway, SECRET, SOON, Seen, Suite, terminate, until};
use harness::{Espway, Lab, Plan, Side, Site, StrongSwan};
use serde_json::{Value, json};
use std::path::Path;

/// How one side proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Certificate,
    /// With an intermediate authority, which is sent.
    Chain,
    /// Of an authority that the other side does not know.
    Stranger,
    Secret,
}
struct Row {
    name: &'static str,
    key: Key,
    /// More of strongSwan's `auth` for its own signature.
    scheme: &'static str,
    ours: By,
    theirs: By,
    /// What is diagnosed here when it calls; `None`: the tunnel comes up.
    refused: Option<&'static str>,
}
const fn row(name: &'static str, key: Key) -> Row {
    Row { name, key, scheme: "pubkey", ours: By::Certificate, theirs: By::Certificate, refused: None }
}
const ROWS: &[Row] = &[
    row("rsa2048", Key::Rsa(2048)),
    Row { scheme: "ike:rsa/pss-sha256", ..row("rsapss", Key::Rsa(2048)) },
    row("rsa4096", Key::Rsa(4096)),
    row("p256", Key::P256),
    row("p384", Key::P384),
    row("p521", Key::P521),
    row("ed25519", Key::Ed25519),
    row("ed448", Key::Ed448),
    Row { ours: By::Chain, theirs: By::Chain, ..row("chain", Key::P256) },
    Row { ours: By::Secret, ..row("oursecret", Key::P256) },
    Row { theirs: By::Secret, ..row("theirsecret", Key::P256) },
    Row { theirs: By::Stranger, refused: Some("certificate-authority"), ..row("stranger", Key::P256) },
];

struct World {
    root: Issued,
    middle: Issued,
    other: Issued,
}
impl World {
    fn new() -> Self {
        let root = Wish::authority("root", Key::P256).self_signed();
        let middle = Wish::authority("middle", Key::P256).by(&root);
        let other = Wish::authority("other", Key::P256).self_signed();
        Self { root, middle, other }
    }
    fn issue(&self, name: &str, key: Key, by: By) -> Issued {
        let wish = Wish::leaf(name, key).named(&format!("fqdn:{name}"));
        match by {
            By::Chain => wish.by(&self.middle),
            By::Stranger => wish.by(&self.other),
            By::Certificate | By::Secret => wish.by(&self.root),
        }
    }
}

/// The gateway's configuration: an identity for each row. Files are put into `dir`.
fn ours(gateway: &Gateway, rows: &[Row], world: &World, dir: &Path) -> Result<Value> {
    let mut config = gateway.config();
    let put = |name: &str, bytes: Vec<u8>| -> Result<String> {
        let path = dir.join(name);
        std::fs::write(&path, bytes).context("a file of ours")?;
        Ok(path.display().to_string())
    };
    let mut certificates =
        vec![json!({"name": "root", "file": put("root.pem", world.root.pem())?, "trusted": "yes"})];
    let mut identities = Vec::new();
    for row in rows {
        let us = format!("gw-{}.test", row.name);
        let mut identity = json!({
            "peer": "other", "my-id": format!("fqdn:{us}"), "remote-id": format!("fqdn:{}.test", row.name),
        });
        if row.ours == By::Secret {
            identity["secret"] = json!(SECRET);
            identity["remote-auth-method"] = json!("digital-signature");
        } else {
            let own = world.issue(&us, row.key, row.ours);
            let between = if row.ours == By::Chain { world.middle.pem() } else { Vec::new() };
            let all = [own.key_pem(), own.pem(), between].concat();
            let file = put(&format!("{}.pem", row.name), all)?;
            certificates.push(json!({"name": row.name, "file": file}));
            identity["auth-method"] = json!("digital-signature");
            identity["certificate"] = json!([row.name]);
        }
        if row.theirs == By::Secret {
            identity["secret"] = json!(SECRET);
            identity["remote-auth-method"] = json!("pre-shared-key");
        }
        identities.push(identity);
    }
    config["certificate"] = json!(certificates);
    config["ip"]["ipsec"]["identity"] = json!(identities);
    Ok(config)
}

/// swanctl.conf, and the files it wants.
fn theirs(gateway: &Gateway, rows: &[Row], world: &World) -> (String, Vec<(String, Vec<u8>)>) {
    let (us, them) = (gateway.side, gateway.side.other());
    let (ike, esp) = gateway.suite.swan();
    let mut files = vec![("x509ca/root.pem".to_owned(), world.root.pem())];
    let mut text = String::from("connections {\n");
    for row in rows {
        let name = row.name;
        let local = if row.theirs == By::Secret {
            "auth = psk".to_owned()
        } else {
            let own = world.issue(&format!("{name}.test"), row.key, row.theirs);
            files.push((format!("x509/{name}.pem"), own.pem()));
            files.push((format!("private/{name}.pem"), own.key_pem()));
            let mut certs = format!("{name}.pem");
            if row.theirs == By::Chain {
                files.push(("x509/middle.pem".into(), world.middle.pem()));
                certs += ", middle.pem";
            }
            format!("auth = {}\ncerts = {certs}", row.scheme)
        };
        let remote = if row.ours == By::Secret { "psk" } else { "pubkey" };
        text += &format!(
            "{name} {{\nversion = 2\nmobike = no\nlocal_addrs = {}\nremote_addrs = {}\nproposals = {ike}\nunique = replace\n\
             local {{\n{local}\nid = {name}.test\n}}\nremote {{\nauth = {remote}\nid = gw-{name}.test\n}}\n\
             children {{\n{name} {{\nlocal_ts = {}\nremote_ts = {}\nesp_proposals = {esp}\n}}\n}}\n}}\n",
            them.wan4(),
            us.wan4(),
            them.subnet4(),
            us.subnet4(),
        );
    }
    text += &format!("}}\nsecrets {{\nike-1 {{\nsecret = \"{SECRET}\"\n}}\n}}\n");
    (text, files)
}

fn gone(espway: &Espway) -> Result<()> {
    let quiet = |seen: &Seen| seen.established() == 0 && seen.sas("in").is_empty();
    until(espway, "nothing left", SOON, quiet).map(drop)
}
fn causes(espway: &Espway) -> Result<String> {
    Ok(espway.request(&json!({"diagnosis": {"peer": null, "clear": true}}))?.to_string())
}

#[test]
fn strongswan_calls_with_every_kind_of_key() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let world = World::new();
        let gateway = Gateway::new(Side::A, Suite::AesGcm).responder();
        let config = ours(&gateway, ROWS, &world, lab.dir())?;
        let espway = gateway.start_as(lab, &config)?;
        let (conf, files) = theirs(&gateway, ROWS, &world);
        let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
        let swan = StrongSwan::start_quiet(lab, lab.site(Side::B), &conf, "", &files)?;
        for row in ROWS {
            let name = row.name;
            let up = swan.control(&format!("--initiate --child {name} --timeout 10"));
            match row.refused {
                None => {
                    up.with_context(|| format!("{name}: {}", causes(&espway).unwrap_or_default()))?;
                    let seen = until(&espway, name, SOON, |seen| seen.expect_one_tunnel().is_ok())?;
                    ensure!(seen.peers()[0]["id"] == format!("{name}.test"), "{name}: {:#}", seen.status);
                    swan.control(&format!("--terminate --ike {name}"))?;
                }
                Some(cause) => {
                    ensure!(up.is_err(), "{name} came up");
                    let said = causes(&espway)?;
                    ensure!(said.contains(cause), "{name}: {said}");
                }
            }
            gone(&espway)?;
        }
        espway.stop()
    })
}

/// We call: which key, and what strongSwan makes of it; one gateway after the other.
#[test]
fn we_call_with_some_kinds_of_keys() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let world = World::new();
        let gateway = Gateway::new(Side::A, Suite::AesGcm);
        let (conf, files) = theirs(&gateway, ROWS, &world);
        let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
        let swan = StrongSwan::start_quiet(lab, lab.site(Side::B), &conf, "", &files)?;
        for name in ["rsa2048", "p384", "ed25519", "chain", "oursecret", "theirsecret", "stranger"] {
            let row = ROWS.iter().find(|row| row.name == name).context("a row")?;
            let config = ours(&gateway, std::slice::from_ref(row), &world, lab.dir())?;
            let espway = gateway.start_as(lab, &config)?;
            match row.refused {
                None => {
                    let seen = until(&espway, name, SOON, |seen| seen.expect_one_tunnel().is_ok());
                    let seen =
                        seen.with_context(|| format!("{name}: {}", causes(&espway).unwrap_or_default()))?;
                    ensure!(seen.peers()[0]["id"] == format!("{name}.test"), "{name}: {:#}", seen.status);
                    terminate(&espway)?;
                }
                Some(cause) => harness::wait_until(name, SOON, || {
                    let said = causes(&espway)?;
                    ensure!(said.contains(cause), "{said}");
                    Ok(())
                })?,
            }
            espway.stop()?;
        }
        drop(swan);
        Ok(())
    })
}
