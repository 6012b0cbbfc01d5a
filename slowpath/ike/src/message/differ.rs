//! Where an offer and what we have part: in names people use, by transform, and with what would close the gap.
use super::numbers::{Protocol, TransformType};
use super::proposal::{Proposal, Transform};
use super::select::{ESN, EspWishes, NONE, additional, encr, esp_transforms, means};
use crate::api::{DhGroup, IkeCipher, IkeIntegrity, IkeProposal, KeRound, Prf};
use sa::{Encryption, Integrity, Suite};
use std::fmt;

/// No common ground: what they offer, what we have, where the nearest of their proposals differs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mismatch {
    pub offered: String,
    pub ours: String,
    /// The transform type of the nearest proposal that we have nothing in common in.
    pub differs_in: Option<TransformType>,
    /// All differences to their nearest proposal, the first being the diagnosis.
    pub differences: Vec<Difference>,
    /// What is wrong when it is not the algorithms.
    pub fault: Option<&'static str>,
}
/// One property of ours that holds nothing of what they offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Of `/ip ipsec profile` or `/ip ipsec proposal`.
    pub property: &'static str,
    pub theirs: String,
    pub ours: String,
    /// Properties and values under which theirs would fit; `None`: this version has nothing of theirs.
    pub set: Option<Vec<(&'static str, String)>>,
}
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: they have {}, we have {}", self.property, self.theirs, self.ours)
    }
}
impl Mismatch {
    /// All differences in one line.
    pub fn difference(&self) -> String {
        let told = self.differences.iter().map(ToString::to_string);
        told.chain(self.fault.map(str::to_owned)).collect::<Vec<_>>().join("; ")
    }
    /// `property=value …` under which theirs fits, when there is something that does it alone.
    pub fn settings(&self) -> Option<String> {
        let mut all: Vec<&(&'static str, String)> = Vec::new();
        for difference in &self.differences {
            for setting in difference.set.as_ref()? {
                if !all.iter().any(|(name, _)| *name == setting.0) {
                    all.push(setting);
                }
            }
        }
        let text: Vec<_> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!text.is_empty()).then(|| text.join(" "))
    }
}
impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "they offer {}; we have {}", self.offered, self.ours)?;
        let difference = self.difference();
        if difference.is_empty() { Ok(()) } else { write!(f, "; {difference}") }
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(",")
}
/// What they offer of one kind, in names.
fn theirs(proposal: &Proposal, kind: TransformType) -> String {
    const SHOWN: usize = 16;
    let mut names: Vec<String> = proposal.of(kind).take(SHOWN).map(bare_name).collect();
    names.dedup();
    if names.is_empty() { "none".into() } else { names.join(",") }
}
/// The last, and with it the strongest, of `all` that they offer; nobody is led to what is weak.
fn strongest<T: Copy>(
    all: &[T],
    proposal: &Proposal,
    of: impl Fn(T) -> Transform,
    weakness: impl Fn(T) -> Option<&'static str>,
) -> Option<T> {
    let offered = |t: &T| weakness(*t).is_none() && proposal.transforms.contains(&of(*t));
    all.iter().rev().copied().find(offered)
}
fn integ(t: IkeIntegrity) -> Transform {
    Transform::new(TransformType::INTEG, t.transform())
}
fn prf(t: Prf) -> Transform {
    Transform::new(TransformType::PRF, t.transform())
}
fn group(t: DhGroup) -> Transform {
    Transform::new(TransformType::KE, t.transform())
}

/// Their proposal that lacks least, and what it lacks.
fn nearest(
    offered: &[Proposal],
    protocol: Protocol,
    compare: impl Fn(&Proposal) -> Vec<Difference>,
) -> Vec<Difference> {
    let fitting = offered.iter().filter(|p| p.protocol == protocol);
    fitting
        .map(compare)
        .min_by_key(|d| (d.iter().filter(|d| d.set.is_none()).count(), d.len()))
        .unwrap_or_default()
}

pub(super) fn mismatch_ike(
    offered: &[Proposal],
    ours: &IkeProposal,
    differs_in: Option<TransformType>,
    fault: Option<&'static str>,
) -> Mismatch {
    let differences = match differs_in {
        Some(_) => nearest(offered, Protocol::IKE, |p| differences_ike(p, ours)),
        None => Vec::new(),
    };
    Mismatch { offered: describe(offered), ours: describe_ike(ours), differs_in, differences, fault }
}
fn differences_ike(proposal: &Proposal, ours: &IkeProposal) -> Vec<Difference> {
    let mut found = Vec::new();
    let common = ours.encryption.iter().copied().find(|c| proposal.transforms.contains(&encr(*c)));
    let taken = common.or_else(|| strongest(&IkeCipher::ALL, proposal, encr, IkeCipher::weakness));
    if common.is_none() {
        let names = list(ours.encryption.iter().map(|e| e.name()));
        let set = taken.map(|t| vec![("enc-algorithm", format!("{names},{}", t.name()))]);
        found.push(difference("enc-algorithm", theirs(proposal, TransformType::ENCR), names, set));
    }
    let prf_common = ours.prf.iter().copied().find(|p| proposal.transforms.contains(&prf(*p)));
    let prf_taken = prf_common.or_else(|| strongest(&Prf::ALL, proposal, prf, Prf::weakness));
    let aead = match taken {
        Some(cipher) => cipher.is_aead(),
        None => proposal.of(TransformType::INTEG).next().is_none(),
    };
    if !aead && !ours.integrity.iter().any(|i| proposal.transforms.contains(&integ(*i))) {
        let taken = strongest(&IkeIntegrity::ALL, proposal, integ, IkeIntegrity::weakness);
        // `prf-algorithm` may have followed `hash-algorithm`; it must not any more.
        let set = taken.zip(prf_taken).map(|(i, p)| {
            vec![("hash-algorithm", i.name().to_owned()), ("prf-algorithm", p.name().to_owned())]
        });
        let names = list(ours.integrity.iter().map(|i| i.name()));
        found.push(difference("hash-algorithm", theirs(proposal, TransformType::INTEG), names, set));
    }
    if prf_common.is_none() {
        let set = prf_taken.map(|p| vec![("prf-algorithm", p.name().to_owned())]);
        let names = list(ours.prf.iter().map(|p| p.name()));
        found.push(difference("prf-algorithm", theirs(proposal, TransformType::PRF), names, set));
    }
    if !ours.groups.iter().any(|g| proposal.transforms.contains(&group(*g))) {
        let names = list(ours.groups.iter().map(|g| g.name()));
        let taken = strongest(&DhGroup::CLASSIC, proposal, group, DhGroup::weakness);
        let set = taken.map(|g| vec![("dh-group", format!("{names},{}", g.name()))]);
        found.push(difference("dh-group", theirs(proposal, TransformType::KE), names, set));
    }
    if found.is_empty() {
        found.extend(difference_in_rounds(proposal, &ours.additional));
    }
    found
}
fn difference_in_rounds(proposal: &Proposal, ours: &[KeRound]) -> Option<Difference> {
    if additional(proposal, ours, None).is_some() {
        return None;
    }
    let names = additional_names(ours).unwrap_or_else(|| "none".into());
    let theirs = proposal.transforms.iter().filter(|t| t.kind.is_additional());
    let theirs: Vec<_> = theirs.map(bare_name).collect();
    let theirs = if theirs.is_empty() { "none".into() } else { theirs.join(",") };
    // Whoever insists on it may do without it.
    let set = Some(vec![("additional-ke", format!("{names},none"))]).filter(|_| theirs == "none");
    Some(difference("additional-ke", theirs, names, set))
}
/// In the words of `additional-ke`.
fn additional_names(rounds: &[KeRound]) -> Option<String> {
    let of = |round: &KeRound| {
        let none = round.optional.then_some("none");
        list(round.methods.iter().map(|m| m.name()).chain(none))
    };
    (!rounds.is_empty()).then(|| rounds.iter().map(of).collect::<Vec<_>>().join("+"))
}
fn difference(
    property: &'static str,
    theirs: String,
    ours: String,
    set: Option<Vec<(&'static str, String)>>,
) -> Difference {
    Difference { property, theirs, ours, set }
}

pub(super) fn mismatch_esp(
    offered: &[Proposal],
    wishes: &EspWishes<'_>,
    differs_in: Option<TransformType>,
    fault: Option<&'static str>,
) -> Mismatch {
    let differences = match differs_in {
        Some(_) => nearest(offered, wishes.protocol.into(), |p| differences_esp(p, wishes)),
        None => Vec::new(),
    };
    Mismatch { offered: describe(offered), ours: describe_esp(wishes), differs_in, differences, fault }
}
fn without_repetition<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut once = Vec::new();
    for one in all {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    once
}
fn differences_esp(proposal: &Proposal, wishes: &EspWishes<'_>) -> Vec<Difference> {
    let ah = wishes.protocol == sa::Protocol::Ah;
    let holds = |suite: &Suite| {
        esp_transforms(*suite).is_some_and(|(encr, integ)| {
            let offered = |wanted| proposal.transforms.iter().any(|t| means(t, &wanted));
            (ah || offered(encr)) && integ.is_none_or(offered)
        })
    };
    let mut found = Vec::new();
    if !wishes.suites.iter().any(holds) {
        found.extend(if ah {
            difference_in_ah(proposal, wishes)
        } else {
            difference_in_suite(proposal, wishes, holds)
        });
    }
    if !wishes.in_auth {
        let fits = match wishes.pfs {
            Some(g) => proposal.transforms.contains(&group(g)),
            None => {
                proposal.of(TransformType::KE).all(|t| t.id == NONE)
                    || proposal.transforms.contains(&Transform::new(TransformType::KE, NONE))
            }
        };
        if !fits {
            let without = proposal.of(TransformType::KE).all(|t| t.id == NONE);
            let taken = strongest(&DhGroup::CLASSIC, proposal, group, DhGroup::weakness).map(DhGroup::name);
            let set = taken.or(without.then_some("none")).map(|g| vec![("pfs-group", g.to_owned())]);
            let ours = wishes.pfs.map_or("none", DhGroup::name).to_owned();
            found.push(difference("pfs-group", theirs(proposal, TransformType::KE), ours, set));
        }
    }
    let only_esn = proposal.of(TransformType::ESN).next().is_some()
        && !proposal.transforms.contains(&Transform::new(TransformType::ESN, NONE));
    if only_esn && !wishes.esn {
        let set = Some(vec![("esn", "yes".to_owned())]);
        found.push(difference("esn", theirs(proposal, TransformType::ESN), "no".into(), set));
    }
    if found.is_empty() {
        found.extend(difference_in_rounds(proposal, wishes.exchanges().1));
    }
    found
}
fn difference_in_ah(proposal: &Proposal, wishes: &EspWishes<'_>) -> Vec<Difference> {
    let ours = list(wishes.suites.iter().map(|s| s.integrity().name()));
    let taken = Integrity::ALL.iter().rev().find(|i| {
        let suite = Suite::new(Encryption::Null, **i).ok();
        suite.and_then(|s| esp_transforms(s)?.1).is_some_and(|t| proposal.transforms.contains(&t))
    });
    let set = taken.map(|i| vec![("auth-algorithms", format!("{ours},{}", i.name()))]);
    vec![difference("auth-algorithms", theirs(proposal, TransformType::INTEG), ours, set)]
}
/// None of our suites is in it: is it the cipher, the integrity algorithm, or both?
fn difference_in_suite(
    proposal: &Proposal,
    wishes: &EspWishes<'_>,
    holds: impl Fn(&Suite) -> bool,
) -> Vec<Difference> {
    let ciphers = without_repetition(wishes.suites.iter().map(|s| s.encryption()));
    let hashes = without_repetition(wishes.suites.iter().map(|s| s.integrity()));
    let offered = |e: Encryption| {
        let numbered =
            |t: &Transform, (id, key_len)| (t.kind, t.id, t.key_len) == (TransformType::ENCR, id, key_len);
        proposal.transforms.iter().any(|t| e.transform().is_some_and(|of| numbered(t, of)))
    };
    let every = Encryption::ALL
        .iter()
        .rev()
        .flat_map(|e| Integrity::ALL.iter().rev().filter_map(|i| Suite::new(*e, *i).ok()));
    // Nobody is led to what is weak.
    let good = |s: &Suite| s.encryption() != Encryption::Null && s.weaknesses().next().is_none();
    let usable = without_repetition(every.filter(|s| good(s) && holds(s)));
    // The one that asks for the least change, and of these what is in wide use, the strongest first.
    let wide =
        |s: &Suite| s.encryption() <= Encryption::ChaCha20Poly1305 && s.integrity() <= Integrity::HmacSha512;
    let change =
        |s: &&Suite| (!ciphers.contains(&s.encryption()), !hashes.contains(&s.integrity()), !wide(s));
    let taken = usable.iter().min_by_key(change);
    let ciphers_fit = ciphers.iter().any(|e| offered(*e));
    let mut found = Vec::new();
    let cipher_names = list(ciphers.iter().map(|e| e.name()));
    let hash_names = list(hashes.iter().map(|i| i.name()));
    if !ciphers_fit || taken.is_some_and(|s| !ciphers.contains(&s.encryption())) {
        let set =
            taken.map(|s| vec![("enc-algorithms", format!("{cipher_names},{}", s.encryption().name()))]);
        found.push(difference("enc-algorithms", theirs(proposal, TransformType::ENCR), cipher_names, set));
    }
    if taken.map_or(ciphers_fit, |s| !hashes.contains(&s.integrity())) {
        let set = taken.map(|s| vec![("auth-algorithms", format!("{hash_names},{}", s.integrity().name()))]);
        found.push(difference("auth-algorithms", theirs(proposal, TransformType::INTEG), hash_names, set));
    }
    found
}

/// What we offer and accept for an IKE SA, in the words of its profile.
pub fn describe_ike(ours: &IkeProposal) -> String {
    let mut text = vec![list(ours.encryption.iter().map(|e| e.name()))];
    if !ours.integrity.is_empty() {
        text.push(list(ours.integrity.iter().map(|i| i.name())));
    }
    text.push(format!("prf-{}", list(ours.prf.iter().map(|p| p.name()))));
    text.push(list(ours.groups.iter().map(|g| g.name())));
    text.extend(additional_names(&ours.additional));
    text.join("/")
}
/// The same for a Child SA.
pub fn describe_esp(wishes: &EspWishes<'_>) -> String {
    let mut ours = match wishes.protocol {
        sa::Protocol::Esp => wishes.suites.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        sa::Protocol::Ah => format!("ah {}", list(wishes.suites.iter().map(|s| s.integrity().name()))),
    };
    if !wishes.in_auth {
        ours.push_str(&format!(", pfs-group={}", wishes.pfs.map_or("none", DhGroup::name)));
        let further = additional_names(wishes.exchanges().1);
        ours.extend(further.map(|names| format!(", additional-ke={names}")));
    }
    ours
}

/// Proposals in our names, bounded: a hostile peer can offer thousands.
fn describe(proposals: &[Proposal]) -> String {
    const SHOWN: usize = 8;
    let mut text: Vec<String> = proposals.iter().take(SHOWN).map(describe_one).collect();
    if proposals.len() > SHOWN {
        text.push(format!("{} more", proposals.len() - SHOWN));
    }
    if text.is_empty() { "nothing".into() } else { text.join(", ") }
}
fn describe_one(proposal: &Proposal) -> String {
    const SHOWN: usize = 24;
    let names: Vec<String> = proposal.transforms.iter().take(SHOWN).map(name).collect();
    let more = if proposal.transforms.len() > SHOWN { "/.." } else { "" };
    format!("{} {}{more}", proposal.protocol, names.join("/"))
}
fn name(t: &Transform) -> String {
    let prefix = if t.kind == TransformType::PRF { "prf-" } else { "" };
    format!("{prefix}{}", bare_name(t))
}
/// IANA's registry in the words of RouterOS and strongSwan, also of what only others have.
const NAMES: &[(TransformType, u16, &str)] = &[
    (TransformType::ENCR, 2, "des"),
    (TransformType::ENCR, 3, "3des"),
    (TransformType::ENCR, 6, "cast"),
    (TransformType::ENCR, 7, "blowfish"),
    (TransformType::ENCR, 11, "null"),
    (TransformType::ENCR, 12, "aes-#-cbc"),
    (TransformType::ENCR, 13, "aes-#-ctr"),
    (TransformType::ENCR, 14, "aes-#-ccm-8"),
    (TransformType::ENCR, 15, "aes-#-ccm-12"),
    (TransformType::ENCR, 16, "aes-#-ccm"),
    (TransformType::ENCR, 18, "aes-#-gcm-8"),
    (TransformType::ENCR, 19, "aes-#-gcm-12"),
    (TransformType::ENCR, 20, "aes-#-gcm"),
    (TransformType::ENCR, 23, "camellia-#"),
    (TransformType::ENCR, 24, "camellia-#-ctr"),
    (TransformType::ENCR, 25, "camellia-#-ccm-8"),
    (TransformType::ENCR, 26, "camellia-#-ccm-12"),
    (TransformType::ENCR, 27, "camellia-#-ccm"),
    (TransformType::ENCR, 28, "chacha20poly1305"),
    (TransformType::PRF, 1, "md5"),
    (TransformType::PRF, 2, "sha1"),
    (TransformType::PRF, 4, "aes-xcbc"),
    (TransformType::PRF, 5, "sha256"),
    (TransformType::PRF, 6, "sha384"),
    (TransformType::PRF, 7, "sha512"),
    (TransformType::PRF, 8, "aes-cmac"),
    (TransformType::INTEG, 1, "md5"),
    (TransformType::INTEG, 2, "sha1"),
    (TransformType::INTEG, 5, "aes-xcbc"),
    (TransformType::INTEG, 8, "aes-cmac"),
    (TransformType::INTEG, 12, "sha256"),
    (TransformType::INTEG, 13, "sha384"),
    (TransformType::INTEG, 14, "sha512"),
    (TransformType::KE, 1, "modp768"),
    (TransformType::KE, 2, "modp1024"),
    (TransformType::KE, 5, "modp1536"),
    (TransformType::KE, 14, "modp2048"),
    (TransformType::KE, 15, "modp3072"),
    (TransformType::KE, 16, "modp4096"),
    (TransformType::KE, 17, "modp6144"),
    (TransformType::KE, 18, "modp8192"),
    (TransformType::KE, 19, "ecp256"),
    (TransformType::KE, 20, "ecp384"),
    (TransformType::KE, 21, "ecp521"),
    (TransformType::KE, 22, "modp1024s160"),
    (TransformType::KE, 23, "modp2048s224"),
    (TransformType::KE, 24, "modp2048s256"),
    (TransformType::KE, 25, "ecp192"),
    (TransformType::KE, 26, "ecp224"),
    (TransformType::KE, 27, "brainpool224"),
    (TransformType::KE, 28, "brainpool256"),
    (TransformType::KE, 29, "brainpool384"),
    (TransformType::KE, 30, "brainpool512"),
    (TransformType::KE, 31, "x25519"),
    (TransformType::KE, 32, "x448"),
    (TransformType::KE, 35, "mlkem512"),
    (TransformType::KE, 36, "mlkem768"),
    (TransformType::KE, 37, "mlkem1024"),
    (TransformType::ESN, NONE, "no-esn"),
    (TransformType::ESN, ESN, "esn"),
];
fn bare_name(t: &Transform) -> String {
    let t = &if t.kind.is_additional() { Transform { kind: TransformType::KE, ..*t } } else { *t };
    let known = NAMES.iter().find(|(kind, id, _)| (*kind, *id) == (t.kind, t.id)).map(|(_, _, name)| *name);
    let bits = t.key_len.map_or_else(String::new, |b| b.to_string());
    match known {
        _ if t.id == NONE && t.kind != TransformType::ESN => "none".into(),
        Some(name) if name.contains('#') => match t.key_len {
            Some(_) => name.replace('#', &bits),
            None => name.replace("-#", ""),
        },
        Some(name) if bits.is_empty() => name.into(),
        Some(name) => format!("{name}-{bits}"),
        None if bits.is_empty() => format!("{}:{}", t.kind, t.id),
        None => format!("{}:{}-{bits}", t.kind, t.id),
    }
}
/// A group by its number, as a notify names it.
pub fn group_name(number: u16) -> String {
    bare_name(&Transform::new(TransformType::KE, number))
}
