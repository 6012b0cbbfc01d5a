//! libreswan in a guest with a whole Linux kernel: both roles, a secret, rekeys of both kinds by both ends.
use anyhow::{Context, Result};
use e2e::{Gateway, SECRET, SOON, Seen, Suite, id, rekey_child, rekey_ike, until};
use harness::traffic::{expect_pings, ping_until_up};
use harness::{Espway, Guest, Lab, Libreswan, Plan, Side, Site};

/// Pings both ways through the one tunnel.
fn passes(lab: &Lab, espway: &Espway) -> Result<Seen> {
    let (a, b) = (lab.host(Side::A), lab.host(Side::B));
    ping_until_up(a, Side::B.host4(), SOON)?;
    expect_pings(a, Side::B.host4(), 3)?;
    expect_pings(b, Side::A.host4(), 3)?;
    until(espway, "one tunnel", SOON, |seen| seen.expect_one_tunnel().is_ok())
}
/// Whatever `rekey` rekeys is another one afterwards, alone, and packets pass.
fn rekeyed(
    lab: &Lab,
    espway: &Espway,
    what: &str,
    child: bool,
    rekey: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let names = |seen: &Seen| if child { seen.spis("in") } else { seen.ike_spis() };
    let before = names(&passes(lab, espway)?);
    rekey()?;
    until(espway, what, 2 * SOON, |seen| names(seen) != before && seen.expect_one_tunnel().is_ok())?;
    passes(lab, espway).map(drop).context(what.to_owned())
}

#[test]
fn libreswan_with_a_secret_both_ways() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Taps), |lab| {
        let guest = Guest::boot(lab, Side::B)?;
        let (us, them) = (id(Side::A), id(Side::B));
        let pluto = Libreswan::start(&guest, &format!("@{them} @{us} : PSK \"{SECRET}\"\n"))?;
        let settings = format!(
            " ikev2=insist\n left={}\n leftid=@{them}\n leftsubnet={}\n right={}\n rightid=@{us}\n rightsubnet={}\n\
             \x20authby=secret\n ike=aes256-sha2_256-modp2048\n esp=aes256-sha2_256-modp2048\n pfs=yes\n",
            Side::B.wan4(),
            Side::B.subnet4(),
            Side::A.wan4(),
            Side::A.subnet4(),
        );
        for we_call in [false, true] {
            let scenario = || -> Result<()> {
                pluto.load(&settings)?;
                let gateway = Gateway::new(Side::A, Suite::AesCbcSha256);
                let gateway = if we_call { gateway } else { gateway.responder() };
                let espway = gateway.start(lab)?;
                if !we_call {
                    pluto.initiate()?;
                }
                passes(lab, &espway)?;
                if !we_call {
                    rekeyed(lab, &espway, "our rekey of the child", true, || rekey_child(&espway))?;
                    rekeyed(lab, &espway, "their rekey of the child", true, || pluto.rekey_child())?;
                    rekeyed(lab, &espway, "our rekey of the IKE SA", false, || rekey_ike(&espway))?;
                    rekeyed(lab, &espway, "their rekey of the IKE SA", false, || pluto.rekey_ike())?;
                }
                espway.stop()
            };
            let log = || pluto.log().unwrap_or_default();
            scenario().with_context(|| format!("we call: {we_call}\n{}", log()))?;
        }
        Ok(())
    })
}
