//! Rows of `ip.ipsec.policy` with `template: yes`, and whose identities have policies made from them.
use super::Tables;
use super::ipsec::Named;
use super::policy::{self, Numbered, bytes, id_of, next_id};
use crate::complaint::Sink;
use crate::model::{Proposal, Template, ah_suites};
use crate::walk::{Bad, Row};
use sa::{Action, Framing, Level, PolicyId, PortRange, Prefix, Protocol, Selector};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

pub fn is_template(row: &Row) -> bool {
    row.get::<bool>("template").unwrap_or_default()
}

/// In their order, the built-in one first when it is not written.
pub fn build(
    tables: &Tables,
    policies: &Numbered,
    proposals: &Named<Proposal>,
    sink: &mut Sink,
) -> Vec<Template> {
    let rows = tables.list("ip.ipsec.policy");
    let mut templates = Vec::new();
    if !rows.iter().any(|row| row.get::<bool>("default").unwrap_or_default()) {
        templates.extend(built_in(proposals));
    }
    for (number, row) in rows.iter().enumerate().filter(|(_, row)| is_template(row) && row.enabled()) {
        let place = policies.partition_point(|(before, _)| *before < number);
        let Ok(template) = template(row, place, proposals, sink) else { continue };
        let same = |t: &Template| t.group == template.group && t.selectors == template.selectors;
        if templates.iter().any(same) {
            let said = format!("another template of the group `{}` has the same selector", template.group);
            row.error(sink, "", said, "remove one of the two");
            continue;
        }
        templates.push(template);
    }
    let mut taken: HashSet<u32> = policies.iter().map(|(_, policy)| policy.spec.id.0).collect();
    for template in &mut templates {
        let selectors = template.selectors.iter().flat_map(bytes);
        let mut id = id_of(b"template ".iter().copied().chain(template.group.bytes()).chain(selectors));
        while !taken.insert(id) {
            id = next_id(id);
        }
        template.id = PolicyId(id);
    }
    templates
}

/// `T *`: everything, for whoever is in the group `default`.
fn built_in(proposals: &Named<Proposal>) -> Option<Template> {
    let all = Prefix::new(IpAddr::from([0; 16]), 0)?;
    Some(Template {
        id: PolicyId(0),
        place: 0,
        group: "default".into(),
        selectors: selectors(all, all, None),
        level: Level::Require,
        framing: Framing::default(),
        protocol: Protocol::Esp,
        proposal: Arc::clone(proposals.get("default")?),
    })
}

fn template(row: &Row, place: usize, proposals: &Named<Proposal>, sink: &mut Sink) -> Result<Template, Bad> {
    let (src, dst) = (row.get::<Prefix>("src-address")?, row.get::<Prefix>("dst-address")?);
    let selectors = selectors(src, dst, row.get("protocol")?);
    if selectors.is_empty() {
        let said = format!("src-address {src} and dst-address {dst} differ in IP version");
        return Err(row.error(sink, "dst-address", said, "take both from the same, or write ::/0 for any"));
    }
    let Action::Encrypt { level, .. } = policy::action(row)? else {
        let said = "policies made from a template encrypt";
        return Err(row.error(sink, "action", said, "leave `action` out"));
    };
    if row.opt::<&str>("peer")?.is_some_and(|peer| !peer.is_empty()) {
        let said = "a template is not for one peer: identities name its group";
        return Err(row.error(
            sink,
            "peer",
            said,
            "leave `peer` out, and write `policy-template-group` there",
        ));
    }
    for name in ["src-port", "dst-port"] {
        if !row.get::<PortRange>(name)?.is_any() {
            row.warning(sink, name, "a template does not look at ports", "leave it out");
        }
    }
    let proposal = proposals.get(row.get::<&str>("proposal")?).cloned().ok_or(Bad)?;
    let (level, protocol) = (level, policy::protocol(row, Action::Encrypt { level, tunnel: true })?);
    if protocol == Protocol::Ah && ah_suites(&proposal.suites).is_empty() {
        let said = format!("AH needs an integrity algorithm, and the proposal `{}` has none", proposal.name);
        return Err(row.error(sink, "proposal", said, "name one with `auth-algorithms: sha256`"));
    }
    Ok(Template {
        id: PolicyId(0),
        place,
        group: row.get::<&str>("group")?.into(),
        selectors,
        level,
        framing: policy::framing(row, sink)?,
        protocol,
        proposal,
    })
}

/// `::/0` stands for all addresses of both IP versions.
fn selectors(src: Prefix, dst: Prefix, protocol: Option<u8>) -> Vec<Selector> {
    let of = |prefix: Prefix, zero: IpAddr| match prefix {
        any if !any.is_ipv4() && matches!(any.len(), 0) => Prefix::new(zero, 0),
        one => Some(one).filter(|one| one.is_ipv4() == zero.is_ipv4()),
    };
    let (src_port, dst_port) = (PortRange::ANY, PortRange::ANY);
    let each = |zero: IpAddr| {
        let (src, dst) = (of(src, zero)?, of(dst, zero)?);
        Some(Selector { src, dst, protocol, src_port, dst_port })
    };
    [IpAddr::from([0; 4]), IpAddr::from([0; 16])].into_iter().filter_map(each).collect()
}

/// Whoever generates policies needs a template for them.
pub fn groups(tables: &Tables, templates: &[Template], sink: &mut Sink) {
    for row in tables.list("ip.ipsec.identity").iter().filter(|row| row.enabled()) {
        let Ok(group) = row.get::<&str>("policy-template-group") else { continue };
        let generates = row.word("generate-policy").is_ok_and(|word| word != "no");
        if generates && group != "none" && !templates.iter().any(|t| t.group == group) {
            let said = format!("no template is in the group `{group}`, so no policy can be made");
            let fix = format!("add a row with `template: yes, group: {group}` to `ip.ipsec.policy`");
            row.warning(sink, "policy-template-group", said, fix);
        }
    }
}
