//! Failures in words: what both sides have, which command ends it here, what to tell the other side. No engine state;
//! called only when something has failed and may be said.
use super::dynamic::Taken;
use super::explain_proof;
use super::ike_sa::IkeSa;
use super::templates::generate_of;
use crate::api::{Child, Id, Identity, Peer, Proof, RemoteId, Template};
use crate::diagnosis::{Cause, Diagnosis, word};
use crate::message::{
    EspWishes, Identification, Mismatch, NotifyType, Ts, describe_esp, describe_ike, group_name,
};
use ::sa::{AddrRange, PortRange, Prefix, Selector, TrafficSelector};
use std::net::{IpAddr, SocketAddr};

pub(super) const INIT: &str = "IKE_SA_INIT";
pub(super) const INTERMEDIATE: &str = "IKE_INTERMEDIATE";
pub(super) const AUTH: &str = "IKE_AUTH";
pub(super) const CREATE: &str = "CREATE_CHILD_SA";
pub(super) const FOLLOWUP: &str = "IKE_FOLLOWUP_KE";
pub(super) const INFORMATIONAL: &str = "INFORMATIONAL";

pub(super) fn prefix_of(range: AddrRange) -> Option<Prefix> {
    let bits = if range.first().is_ipv4() { 32 } else { 128 };
    (0..=bits).rev().filter_map(|len| Prefix::new(range.first(), len)).find(|p| p.range() == range)
}
fn range(range: AddrRange) -> String {
    match prefix_of(range) {
        Some(prefix) => prefix.to_string(),
        None => format!("{}-{}", range.first(), range.last()),
    }
}
fn ports(range: PortRange) -> String {
    if range.first == range.last {
        range.first.to_string()
    } else {
        format!("{}-{}", range.first, range.last)
    }
}
fn ts(t: &Ts) -> String {
    let protocol = t.protocol.map_or_else(String::new, |p| format!(" protocol {p}"));
    let port = if t.ports.is_any() { String::new() } else { format!(" port {}", ports(t.ports)) };
    format!("{}{protocol}{port}", range(t.addresses))
}
fn several(list: &[Ts]) -> String {
    let mut shown: Vec<_> = list.iter().take(4).map(ts).collect();
    if list.len() > 4 {
        shown.push(format!("{} more", list.len() - 4));
    }
    if shown.is_empty() { "nothing we understand".into() } else { shown.join(", ") }
}
/// `src-address=… dst-address=…`, as a policy has it.
fn policy_words(s: &TrafficSelector) -> String {
    let mut words = format!("src-address={} dst-address={}", range(s.local), range(s.remote));
    if let Some(protocol) = s.protocol {
        words += &format!(" protocol={protocol}");
    }
    for (name, range) in [("src-port", s.local_port), ("dst-port", s.remote_port)] {
        if !range.is_any() {
            words += &format!(" {name}={}", ports(range));
        }
    }
    words
}
fn policy_find(peer: &Peer, child: &Child) -> String {
    format!("/ip ipsec policy set [find {} peer={}]", policy_words(&child.selector), word(&peer.name))
}
pub(super) fn wishes(child: &Child, in_auth: bool) -> EspWishes<'_> {
    //= rfc4303#2.2.1/esn: extended numbers need the replay window to infer the high half.
    EspWishes {
        protocol: child.protocol,
        suites: &child.suites,
        pfs: child.pfs,
        additional: &child.additional,
        in_auth,
        esn: child.esn && child.replay_window > 0,
    }
}

/// An identity as `my-id` and `remote-id` take it.
fn id_word(id: &Id) -> Option<String> {
    match id {
        Id::Address(address) => Some(format!("address:{address}")),
        Id::Fqdn(name) => Some(format!("fqdn:{name}")),
        Id::UserFqdn(name) => Some(format!("user-fqdn:{name}")),
        Id::KeyId(bytes) => {
            // Marks that turn the line round, and the like, are shown as bytes.
            let plain = |c: char| c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric();
            let text = str::from_utf8(bytes).ok().filter(|text| text.chars().all(plain))?;
            Some(format!("key-id:{text}"))
        }
        Id::Dn(der) => Some(format!("dn:{}", pki::name::text(der))),
    }
}
pub(super) fn id_text(id: &Identification) -> String {
    Id::try_from(id).ok().and_then(|id| id_word(&id)).unwrap_or_else(|| id.to_string())
}
pub(super) fn remote_word(identity: &Identity) -> String {
    match &identity.remote_id {
        RemoteId::Auto => "auto".into(),
        RemoteId::Ignore => "ignore".into(),
        RemoteId::Id(id) => id_word(id).unwrap_or_else(|| id.to_string()),
    }
}
pub(super) fn my_word(identity: &Identity, local: IpAddr) -> String {
    let id = super::peers::own_id(identity, local);
    id_word(&id).unwrap_or_else(|| id.to_string())
}
pub(super) fn identity_find(peer: &Peer, identity: &Identity) -> String {
    let which = match peer.identities.len() {
        0 | 1 => String::new(),
        _ => format!(" remote-id={}", word(&remote_word(identity))),
    };
    format!("/ip ipsec identity set [find peer={}{which}]", word(&peer.name))
}
fn set_profile(peer: &Peer, settings: &str) -> String {
    format!("/ip ipsec profile set [find name={}] {settings}", word(&peer.profile.name))
}
fn set_proposal(child: &Child, settings: &str) -> String {
    format!("/ip ipsec proposal set [find name={}] {settings}", word(&child.proposal))
}

// The algorithms.

/// We refuse what they offer for the IKE SA, or they answered with what we did not offer.
pub(super) fn ike_proposal(peer: &Peer, exchange: &'static str, m: &Mismatch) -> Diagnosis {
    let d = Diagnosis::new(Cause::IkeProposal, exchange)
        .theirs(m.offered.clone())
        .ours(format!("{} (profile `{}`)", m.ours, peer.profile.name))
        .difference(m.difference())
        .tell(format!("offer one of these for IKE (phase 1): {}", m.ours));
    match m.settings() {
        Some(settings) => d.fix(set_profile(peer, &settings)),
        None => d,
    }
}
/// The same for a policy's SA.
pub(super) fn child_proposal(child: &Child, exchange: &'static str, m: &Mismatch) -> Diagnosis {
    let d = Diagnosis::new(Cause::ChildProposal, exchange)
        .detail(format!("policy {}", policy_words(&child.selector)))
        .theirs(m.offered.clone())
        .ours(format!("{} (proposal `{}`)", m.ours, child.proposal))
        .difference(m.difference())
        .tell(format!(
            "offer one of these for {} (phase 2): {}",
            child.protocol.name().to_uppercase(),
            m.ours
        ));
    match m.settings() {
        Some(settings) => d.fix(set_proposal(child, &settings)),
        None => d,
    }
}
/// An additional key exchange came to nothing.
pub(super) fn key_exchange(peer: &Peer, exchange: &'static str, told: Option<NotifyType>) -> Diagnosis {
    let theirs =
        told.map_or_else(|| "a KE payload that does not fit the chosen method".into(), |n| n.to_string());
    Diagnosis::new(Cause::IkeKeyExchange, exchange)
        .detail(theirs.clone())
        .theirs(theirs)
        .ours(format!("{} (profile `{}`)", describe_ike(&peer.profile.proposal), peer.profile.name))
        .tell(
            "this is a fault of the program there: update it, or leave additional key exchanges (ADDKE) out",
        )
        .fix(set_profile(peer, "additional-ke=none"))
}
/// They want another group than any we offer: INVALID_KE_PAYLOAD.
pub(super) fn group_refused(peer: &Peer, exchange: &'static str, number: Option<u16>) -> Diagnosis {
    let groups: Vec<&str> = peer.profile.proposal.groups.iter().map(|g| g.name()).collect();
    let groups = groups.join(",");
    let theirs = number.map_or_else(|| "another group, which they do not name".into(), group_name);
    let known = number.and_then(crate::api::DhGroup::from_transform);
    let d = Diagnosis::new(Cause::IkeGroupRefused, exchange)
        .detail(if exchange == INIT { "not authenticated" } else { "" })
        .difference(format!("dh-group: they have {theirs}, we have {groups}"))
        .theirs(theirs)
        .ours(format!("{groups} (profile `{}`)", peer.profile.name))
        .tell(format!("accept one of these Diffie-Hellman groups for IKE (phase 1): {groups}"));
    match known {
        Some(group) => d.fix(set_profile(peer, &format!("dh-group={groups},{}", group.name()))),
        None => d,
    }
}

// What they answer.

fn cause_of(kind: NotifyType, init: bool) -> Cause {
    match (kind, init) {
        (NotifyType::NO_PROPOSAL_CHOSEN, true) => Cause::IkeProposalRefused,
        (NotifyType::INVALID_KE_PAYLOAD, true) => Cause::IkeGroupRefused,
        (NotifyType::INVALID_MAJOR_VERSION, _) => Cause::Ikev1Answer,
        (NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, _) => Cause::CriticalRefused,
        (NotifyType::INVALID_SYNTAX, _) => Cause::SyntaxRefused,
        (NotifyType::AUTHENTICATION_FAILED, _) => Cause::AuthRefused,
        (NotifyType::NO_PROPOSAL_CHOSEN | NotifyType::INVALID_KE_PAYLOAD, false) => {
            Cause::ChildProposalRefused
        }
        (NotifyType::TS_UNACCEPTABLE | NotifyType::SINGLE_PAIR_REQUIRED, _) => Cause::TsRefused,
        (NotifyType::INTERNAL_ADDRESS_FAILURE | NotifyType::FAILED_CP_REQUIRED, _) => Cause::ConfigRequired,
        (NotifyType::NO_ADDITIONAL_SAS, _) => Cause::TooManySas,
        _ => Cause::Refused,
    }
}
/// An error in answer to IKE_SA_INIT: nobody vouches for it.
pub(super) fn init_refused(peer: &Peer, kind: NotifyType, local: SocketAddr) -> Diagnosis {
    let cause = cause_of(kind, true);
    let ours = describe_ike(&peer.profile.proposal);
    let tell = match cause {
        Cause::IkeProposalRefused => {
            format!(
                "accept one of these for IKE (phase 1): {ours}; if IKEv2 is off there, turn it on; their log says what they have"
            )
        }
        Cause::Ikev1Answer => {
            "turn IKEv2 on for us (exchange-mode=ike2, keyexchange=ikev2, \"IKEv2\")".into()
        }
        Cause::CriticalRefused | Cause::SyntaxRefused => {
            format!(
                "check that the address they have for us is {}, and that their IKEv2 follows RFC 7296",
                local.ip()
            )
        }
        _ => format!("look into the log there for the call from {}", local.ip()),
    };
    Diagnosis::new(cause, INIT)
        .detail(format!("{kind}, not authenticated"))
        .theirs(kind.to_string())
        .ours(format!("{ours} (profile `{}`)", peer.profile.name))
        .tell(tell)
}
/// IKE_AUTH was answered with an error instead of an identity.
pub(super) fn auth_refused(identity: &Identity, local: IpAddr, kind: Option<NotifyType>) -> Diagnosis {
    let cause = kind.map_or(Cause::Malformed, |kind| cause_of(kind, false));
    let (mine, theirs) = (my_word(identity, local), remote_word(identity));
    let told = kind.map_or_else(|| "no AUTH payload and no error".to_owned(), |kind| kind.to_string());
    let proof = match &identity.auth.ours {
        Proof::Secret(_) => "secret",
        _ => "signature, the certificate",
    };
    let asked = if theirs == "auto" { "any".to_owned() } else { theirs };
    let d = Diagnosis::new(cause, AUTH)
        .ours(format!("my-id={mine} remote-id={asked}, {}", identity.auth.ours.method()))
        .theirs(told.clone());
    match cause {
        Cause::AuthRefused => d
            .detail(format!("{told}; whether it is the {proof} or an identity they do not say"))
            .tell(format!("{}, their own {asked}", explain_proof::needed_there(identity, local))),
        Cause::ConfigRequired => d.detail(told).tell("do not require a configuration payload (virtual address) of us"),
        Cause::CriticalRefused | Cause::SyntaxRefused => {
            d.detail(told).tell(format!("check that the address they have for us is {local}, and the secret; some gateways answer so to either"))
        }
        _ => d.detail(told).tell(format!("look into the log there for {mine} at {local}")),
    }
}
/// A child was refused; `in_auth`: within IKE_AUTH, whose IKE SA stands.
pub(super) fn child_refused(
    child: Option<&Child>,
    kind: NotifyType,
    group: Option<u16>,
    in_auth: bool,
) -> Diagnosis {
    let exchange = if in_auth { AUTH } else { CREATE };
    let cause = cause_of(kind, false);
    let d = Diagnosis::new(cause, exchange).theirs(kind.to_string());
    let Some(child) = child else { return d.detail(kind.to_string()) };
    let words = policy_words(&child.selector);
    let suites = describe_esp(&wishes(child, in_auth));
    let mirrored = format!("{} here, {} there", range(child.selector.local), range(child.selector.remote));
    let d = d.detail(format!("{kind} for policy {words}"));
    match cause {
        Cause::ChildProposalRefused => {
            let theirs = group.map(group_name);
            let known = group.and_then(crate::api::DhGroup::from_transform);
            let d = d.ours(format!("{suites} (proposal `{}`)", child.proposal));
            let d = match theirs.filter(|_| kind == NotifyType::INVALID_KE_PAYLOAD) {
                Some(theirs) => {
                    let ours = child.pfs.map_or("none", |g| g.name());
                    d.difference(format!("pfs-group: they have {theirs}, we have {ours}")).theirs(theirs)
                }
                None => d,
            };
            let d = d.tell(format!("accept one of these for ESP (phase 2): {suites}"));
            match known {
                Some(group) => d.fix(set_proposal(child, &format!("pfs-group={}", group.name()))),
                None => d,
            }
        }
        Cause::TsRefused => d
            .ours(words)
            .tell(format!("have exactly these networks for us: {mirrored}; on gateways with routes instead of policies, 0.0.0.0/0 on both sides or the networks as \"policy-based\"")),
        Cause::ConfigRequired => d.ours(words).tell("do not require a configuration payload (virtual address) of us"),
        Cause::TooManySas => d.ours(words).tell("allow more than one SA (child, phase 2) per IKE SA, or one policy that covers all"),
        _ => d.ours(format!("{words}, {suites}")).tell("look into the log there"),
    }
}
/// They accept a new IKE SA in place of the old one no more.
pub(super) fn ike_rekey_refused(peer: &Peer, kind: NotifyType) -> Diagnosis {
    let ours = describe_ike(&peer.profile.proposal);
    Diagnosis::new(Cause::IkeProposalRefused, CREATE)
        .detail(format!("{kind} to the rekey of the IKE SA, which goes on until its end"))
        .theirs(kind.to_string())
        .tell(format!("accept one of these for IKE (phase 1) also when it is rekeyed: {ours}"))
        .ours(format!("{ours} (profile `{}`)", peer.profile.name))
}

// Who they are.

/// They did not prove to have the secret; `hint` is what we found out about it.
pub(super) fn secret(
    peer: &Peer,
    identity: &Identity,
    id: &Identification,
    hint: Option<String>,
    local: IpAddr,
) -> Diagnosis {
    let id = id_text(id);
    let known = hint.unwrap_or_else(|| "algorithms and identities fit, so it is the secret".into());
    Diagnosis::new(Cause::Secret, AUTH)
        .detail(format!("{id}; {known}"))
        .theirs(format!("{id}, another secret"))
        .ours(format!("the secret of the identity with remote-id={}", remote_word(identity)))
        .difference("secret")
        .fix(format!("{} secret=\"the secret of the other side\"", identity_find(peer, identity)))
        .tell(format!(
            "set the same secret for us ({}), without blanks or line ends around it",
            my_word(identity, local)
        ))
}
/// No identity of the peer takes their IDi, or none is whom they ask for with IDr.
pub(super) fn id_unknown(
    peer: &Peer,
    id: &Identification,
    asked: Option<&Identification>,
    local: IpAddr,
) -> Diagnosis {
    let accepted: Vec<&Identity> = peer.identities.iter().filter(|i| super::peers::takes(i, id)).collect();
    let id_as_word = Id::try_from(id).ok().and_then(|id| id_word(&id));
    let theirs = id_text(id);
    if let (Some(asked), [first, ..]) = (asked, accepted.as_slice()) {
        let mine: Vec<_> = accepted.iter().take(4).map(|i| my_word(i, local)).collect();
        let asked_word = Id::try_from(asked).ok().and_then(|id| id_word(&id));
        let d = Diagnosis::new(Cause::IdAsked, AUTH)
            .detail(format!("{theirs} asks for {}", id_text(asked)))
            .theirs(id_text(asked))
            .difference(format!("my-id: they ask for {}, we are {}", id_text(asked), mine.join(", ")))
            .ours(mine.join(", "))
            .tell(format!(
                "their identity for us (remote-id, rightid, peer identifier) has to be {}",
                mine.join(" or ")
            ));
        return match asked_word {
            Some(word_) => d.fix(format!("{} my-id={}", identity_find(peer, first), word(&word_))),
            None => d,
        };
    }
    let ours: Vec<_> = peer.identities.iter().take(4).map(remote_word).collect();
    let d = Diagnosis::new(Cause::IdUnknown, AUTH)
        .detail(theirs.clone())
        .difference(format!("remote-id: they are {theirs}, we take {}", ours.join(", ")))
        .theirs(theirs)
        .ours(format!("remote-id={} (peer `{}`)", ours.join(", "), peer.name))
        .tell(format!("call yourself (my-id, leftid, local identifier) {}", ours.join(" or ")));
    match (id_as_word, peer.identities.as_slice()) {
        (Some(id), [only]) => d.fix(format!("{} remote-id={}", identity_find(peer, only), word(&id))),
        (Some(id), _) => d.fix(format!(
            "/ip ipsec identity add peer={} remote-id={} secret=\"the secret agreed on\"",
            word(&peer.name),
            word(&id)
        )),
        (None, _) => d,
    }
}
/// They tell us, in an exchange of their own, that they do not believe us.
pub(super) fn disbelieved(peer: &Peer, local: IpAddr) -> Diagnosis {
    let mine: Vec<_> = peer.identities.iter().take(4).map(|i| my_word(i, local)).collect();
    Diagnosis::new(Cause::AuthRefused, INFORMATIONAL)
        .detail("they proved who they are, but do not take our answer".to_owned())
        .theirs("AUTHENTICATION_FAILED")
        .ours(format!("my-id={}", mine.join(", ")))
        .tell(peer.identities.first().map_or_else(String::new, |i| explain_proof::needed_there(i, local)))
}

// What is to be protected.

pub(super) fn selectors(sa: &IkeSa, exchange: &'static str, theirs: &[Ts], ours: &[Ts]) -> Diagnosis {
    let peer = &sa.peer;
    let templates = generate_of(sa).map_or(&[][..], |generate| &generate.templates);
    let from = templates.iter().flat_map(|t| t.selectors.iter().map(move |s| (s, Some(t))));
    let all = || peer.children.iter().map(|c| (&c.selector, None)).chain(from.clone());
    let words = |(s, template): (&TrafficSelector, Option<&Template>)| match template {
        Some(t) => format!("template {} group={}", policy_words(s), word(&t.group)),
        None => policy_words(s),
    };
    let have: Vec<_> = all().take(4).map(words).collect();
    let d = Diagnosis::new(Cause::Ts, exchange)
        .theirs(format!("{} there, {} here", several(theirs), several(ours)))
        .ours(if have.is_empty() { format!("no policy has peer={}", peer.name) } else { have.join("; ") })
        .difference(format!(
            "src-address, dst-address: they ask for {} to {}",
            several(ours),
            several(theirs)
        ))
        .tell(match all().next() {
            Some((s, _)) => format!("ask for {} there and {} here", range(s.remote), range(s.local)),
            None => "nothing: there is no policy for them here yet".into(),
        });
    let (Some(there), Some(here)) = (theirs.first(), ours.first()) else { return d };
    let (Some(dst), Some(src)) = (prefix_of(there.addresses), prefix_of(here.addresses)) else { return d };
    let wanted = TrafficSelector {
        local: src.range(),
        remote: dst.range(),
        protocol: there.protocol.or(here.protocol),
        local_port: here.ports,
        remote_port: there.ports,
    };
    let proposal = |name: &str| format!(" proposal={}", word(name));
    if let (Some(template), true) = (templates.first(), peer.children.is_empty()) {
        let wide = TrafficSelector { local_port: PortRange::ANY, remote_port: PortRange::ANY, ..wanted };
        return d.fix(format!(
            "/ip ipsec policy add {} template=yes group={}{}",
            policy_words(&wide),
            word(&template.group),
            proposal(&template.like.proposal)
        ));
    }
    let proposal = peer.children.first().map_or_else(String::new, |c| proposal(&c.proposal));
    d.fix(format!(
        "/ip ipsec policy add {} peer={}{proposal} tunnel=yes",
        policy_words(&wanted),
        word(&peer.name)
    ))
}
/// A template would allow it, but somebody else has that traffic.
pub(super) fn taken(
    peer: &Peer,
    exchange: &'static str,
    group: &str,
    asked: &Selector,
    taken: Taken,
) -> Diagnosis {
    let asked = policy_words(&(*asked).into());
    let d = Diagnosis::new(Cause::TsTaken, exchange).theirs(asked.clone());
    match taken {
        Taken::Configured(spec) => {
            let words = policy_words(&spec.selector.into());
            let of_group = if group.is_empty() { String::new() } else { format!(" of group `{group}`") };
            d.detail(format!("{asked}: the policy {words} stands above the template{of_group} and takes all of it"))
                .ours(words)
                .tell("nothing: the order of the policies here is wrong, or the traffic is not for them; here: move the template above that policy")
        }
        Taken::Other(other) => {
            let words = policy_words(&other.into());
            d.detail(format!("{asked}: another peer has {words} now"))
                .ours(format!("{words} (peer `{}`)", peer.name))
                .tell("ask for addresses of their own; if it was the same client under another name, end the old one (/ip ipsec active-peers remove)")
        }
    }
}
/// Their answer takes more than we asked for.
pub(super) fn selectors_wider(
    child: &Child,
    exchange: &'static str,
    theirs: &[Ts],
    ours: &[Ts],
) -> Diagnosis {
    let words = policy_words(&child.selector);
    Diagnosis::new(Cause::TsWider, exchange)
        .theirs(format!("{} there, {} here", several(theirs), several(ours)))
        .difference(format!("src-address, dst-address: they answer {} to {}", several(ours), several(theirs)))
        .tell(format!(
            "answer with no more than {} there and {} here",
            range(child.selector.remote),
            range(child.selector.local)
        ))
        .ours(words)
}
pub(super) fn mode(peer: &Peer, child: &Child, exchange: &'static str) -> Diagnosis {
    let (ours, theirs) = if child.tunnel { ("yes", "no") } else { ("no", "yes") };
    let mode = |tunnel| if tunnel { "tunnel" } else { "transport" };
    let d = Diagnosis::new(Cause::Mode, exchange)
        .detail(format!("policy {}", policy_words(&child.selector)))
        .theirs(format!("{} mode", mode(!child.tunnel)))
        .ours(format!("tunnel={ours}"))
        .difference(format!("tunnel=: they have {theirs}, we have {ours}"))
        .tell(format!("use {} mode", mode(child.tunnel)));
    d.fix(format!("{} tunnel={theirs}", policy_find(peer, child)))
}
/// The policy is about other addresses than those that IKE runs between.
pub(super) fn transport_ends(
    peer: &Peer,
    child: &Child,
    exchange: &'static str,
    ends: [IpAddr; 2],
) -> Diagnosis {
    let [local, remote] = ends;
    let detail = format!("transport mode is between {local} and {remote}, and the policy is not about these");
    of_policy(Cause::Unfit, exchange, child, detail).fix(format!("{} tunnel=yes", policy_find(peer, child)))
}
/// AH covers the addresses that a NAT changes.
pub(super) fn ah_behind_nat(peer: &Peer, child: &Child, exchange: &'static str) -> Diagnosis {
    of_policy(Cause::Unfit, exchange, child, "AH cannot cross the NAT between us".into())
        .fix(format!("{} ipsec-protocols=esp", policy_find(peer, child)))
}
/// Something about the SA of a policy, with our part only.
pub(super) fn of_policy(cause: Cause, exchange: &'static str, child: &Child, detail: String) -> Diagnosis {
    let words = policy_words(&child.selector);
    Diagnosis::new(cause, exchange)
        .detail(if detail.is_empty() {
            format!("policy {words}")
        } else {
            format!("policy {words}: {detail}")
        })
        .ours(words)
}

// Silence.

pub(super) fn no_answer(peer: &Peer, local: SocketAddr, remote: SocketAddr, sent: u32) -> Diagnosis {
    Diagnosis::new(Cause::NoAnswer, INIT)
        .detail(format!("{sent} messages from {local} to {remote}"))
        .theirs("nothing")
        .ours(format!("address={} port={}", remote.ip(), remote.port()))
        .tell(format!(
            "let UDP 500/4500 from {} in, have {} as the address of peer `{}`'s other end, run IKEv2; here: the peer's address, the route to it, local-address",
            local.ip(), local.ip(), peer.name
        ))
}
pub(super) fn no_answer_auth(local: SocketAddr, remote: SocketAddr, nat: bool) -> Diagnosis {
    let filter = match nat {
        true => "a NAT is in between, so this went to UDP 4500: that port is likely filtered",
        false => {
            "the message is larger than the first: fragments are likely dropped on the way, or their side ignores a caller it does not know"
        }
    };
    Diagnosis::new(Cause::NoAnswerAuth, AUTH)
        .detail(format!("{local} to {remote}; {filter}"))
        .theirs("an answer to IKE_SA_INIT, then nothing")
        .tell("let UDP 4500 and IP fragments in; look into the log there for our identity")
}
/// A caller that vanished; `again` is how often it repeated its first message.
pub(super) fn half_open(
    local: SocketAddr,
    remote: SocketAddr,
    again: u32,
    forged: u32,
    nat: bool,
) -> Diagnosis {
    let port = if nat { "UDP 4500 (a NAT is in between)" } else { "UDP 500" };
    let known = match (again, forged) {
        (_, 1..) => format!("{forged} messages in its place could not be decrypted"),
        (1.., _) => format!(
            "it asked {again} times again, so our answers do not arrive: UDP 500 from {} is filtered",
            local.ip()
        ),
        _ => format!(
            "it did not ask again, so it did not like our answer, or its next message to {port} is lost"
        ),
    };
    Diagnosis::new(Cause::HalfOpen, AUTH)
        .detail(known)
        .theirs("IKE_SA_INIT, then nothing")
        .tell(format!("let UDP 500/4500 from and to {} through, also fragments; their log says what they made of our answer (call from {remote})", local.ip()))
}

/// Somebody whose address is in no peer.
pub(super) fn no_peer(remote: SocketAddr, local: SocketAddr) -> Diagnosis {
    let name = format!("peer-{}", remote.ip().to_string().replace(['.', ':'], "-"));
    Diagnosis::new(Cause::NoPeer, INIT)
        .detail(format!("from {} at {}", remote.ip(), local.ip()))
        .theirs(remote.ip().to_string())
        .difference(format!("address: no peer has {}", remote.ip()))
        .fix(format!(
            "/ip ipsec peer add name={name} address={} exchange-mode=ike2 passive=yes; /ip ipsec identity add peer={name} secret=\"the secret agreed on\"",
            Prefix::host(remote.ip())
        ))
        .tell("if this is not a gateway of yours, nothing")
}
pub(super) fn other_local(peer: &Peer, remote: SocketAddr, local: SocketAddr) -> Diagnosis {
    let ours = peer.local_address.map_or_else(String::new, |a| a.to_string());
    Diagnosis::new(Cause::OtherLocal, INIT)
        .detail(format!("{} calls {}", remote.ip(), local.ip()))
        .difference(format!("local-address: they call {}, we have {ours}", local.ip()))
        .theirs(local.ip().to_string())
        .tell(format!("call {ours}"))
        .ours(format!("local-address={ours} (peer `{}`)", peer.name))
        .fix(format!("/ip ipsec peer set [find name={}] local-address={}", word(&peer.name), local.ip()))
}
