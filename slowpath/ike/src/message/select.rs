//! Which of the offered algorithms two ends agree on (RFC 7296 2.7, 3.3), and if none, why not.
use super::differ::{Mismatch, mismatch_esp, mismatch_ike};
use super::numbers::{Protocol, TransformType};
use super::proposal::{Proposal, Transform};
use crate::api::{DhGroup, IkeCipher, IkeIntegrity, IkeProposal, KeRound};
use crate::crypto::{Additional, IkeSuite};
use sa::{Spi, Suite};

pub(super) const NONE: u16 = 0;
pub(super) const ESN: u16 = 1;

/// An IKE SA's algorithms, and the SA payload's one proposal to answer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenIke {
    pub suite: IkeSuite,
    /// The sender's SPI when an IKE SA is being rekeyed.
    pub spi: Option<u64>,
    /// As offered, with one transform of each type. Put the own SPI in before sending it back.
    pub answer: Proposal,
}

/// A Child SA's algorithms, and the SA payload's one proposal to answer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenEsp {
    pub suite: Suite,
    pub group: Option<DhGroup>,
    pub additional: Additional,
    pub esn: bool,
    /// The sender's inbound SPI: ours for outbound.
    pub spi: Spi,
    pub answer: Proposal,
}

/// What we want of a Child SA, in order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EspWishes<'a> {
    pub protocol: sa::Protocol,
    pub suites: &'a [Suite],
    /// `None`: no PFS.
    pub pfs: Option<DhGroup>,
    /// Further key exchanges after that one (RFC 9370); none without it.
    pub additional: &'a [KeRound],
    //= rfc7296#1.2/no-ke-in-auth: the Child SA made in IKE_AUTH has no KE, whatever groups are listed.
    /// The Child SA is made in IKE_AUTH: groups do not count.
    pub in_auth: bool,
    /// Extended sequence numbers: taken when offered, and offered.
    pub esn: bool,
}

impl<'a> EspWishes<'a> {
    /// The first key exchange and the further ones, where any are made.
    pub(super) fn exchanges(&self) -> (Option<DhGroup>, &'a [KeRound]) {
        let first = self.pfs.filter(|_| !self.in_auth);
        (first, if first.is_some() { self.additional } else { &[] })
    }
}

/// Transforms one choice of ours consists of: what must be there, by type.
type Wanted = Vec<Transform>;

pub(super) fn encr(cipher: IkeCipher) -> Transform {
    match cipher.transform() {
        (id, Some(bits)) => Transform::with_key(TransformType::ENCR, id, bits),
        (id, None) => Transform::new(TransformType::ENCR, id),
    }
}
/// `None`: IKEv2 has no number for it, so nobody can be offered it.
pub(super) fn esp_transforms(suite: Suite) -> Option<(Transform, Option<Transform>)> {
    let (id, bits) = suite.encryption().transform()?;
    let encr = bits.map_or(Transform::new(TransformType::ENCR, id), |bits| {
        Transform::with_key(TransformType::ENCR, id, bits)
    });
    let integ = Some(suite.integrity().transform()).filter(|id| *id != NONE);
    Some((encr, integ.map(|id| Transform::new(TransformType::INTEG, id))))
}

/// The transform types this proposal lacks a wanted transform of, the first being the diagnosis.
fn first_missing(proposal: &Proposal, wanted: &[Transform]) -> Option<TransformType> {
    wanted.iter().find(|w| !has(proposal, w)).map(|w| w.kind)
}
/// Whether what they offer is what we want.
pub(super) fn means(offered: &Transform, wanted: &Transform) -> bool {
    //= rfc7296#3.3.5/default-key-length: of our ciphers, only Blowfish has one.
    let blowfish = Transform::with_key(TransformType::ENCR, 7, 128);
    offered == wanted || (*wanted == blowfish && *offered == Transform { key_len: None, ..blowfish })
}
fn has(proposal: &Proposal, wanted: &Transform) -> bool {
    //= rfc7296#3.3.3/integ-none-optional: leaving the type out is the same as NONE; so for KE, and ESN as read here.
    proposal.transforms.iter().any(|t| means(t, wanted))
        || (wanted.id == NONE && wanted.key_len.is_none() && proposal.of(wanted.kind).next().is_none())
}

//= rfc7296#3.3.3/all-types: a proposal with a transform type we do not know cannot be accepted.
fn unknown_type(proposal: &Proposal, allowed: &[TransformType]) -> bool {
    // One with NONE among its choices asks for nothing. Whether additional key exchanges fit is looked at later.
    let mut declinable = [false; 256];
    for t in proposal.transforms.iter().filter(|t| t.id == NONE && t.key_len.is_none() && !t.odd) {
        declinable[usize::from(t.kind.0)] = true;
    }
    let known = |t: &Transform| t.kind.is_additional() || allowed.contains(&t.kind);
    proposal.transforms.iter().any(|t| !known(t) && !declinable[usize::from(t.kind.0)])
}

/// The transforms of `proposal` that were chosen, in its own order, so that the answer is a subset of it.
fn answer(proposal: &Proposal, wanted: &[Transform]) -> Proposal {
    let mut transforms: Vec<Transform> = Vec::new();
    for t in &proposal.transforms {
        let none_of_unknown = t.id == NONE && t.key_len.is_none() && !wanted.iter().any(|w| w.kind == t.kind);
        if (wanted.iter().any(|w| means(t, w)) || none_of_unknown) && !transforms.contains(t) {
            transforms.push(*t);
        }
    }
    Proposal { number: proposal.number, protocol: proposal.protocol, spi: proposal.spi.clone(), transforms }
}

/// Every choice of ours, best first.
fn ike_choices(ours: &IkeProposal) -> impl Iterator<Item = (IkeSuite, Wanted)> + '_ {
    ours.encryption.iter().flat_map(move |&encryption| {
        let integrities: Vec<Option<IkeIntegrity>> = if encryption.is_aead() {
            vec![None]
        } else {
            ours.integrity.iter().copied().map(Some).collect()
        };
        integrities.into_iter().flat_map(move |integrity| {
            ours.prf.iter().flat_map(move |&prf| {
                ours.groups.iter().map(move |&group| {
                    let additional = Additional::default();
                    let suite = IkeSuite { encryption, integrity, prf, group, additional };
                    (suite, ike_wanted(&suite))
                })
            })
        })
    })
}
fn ike_wanted(suite: &IkeSuite) -> Wanted {
    //= rfc5282#8/no-integrity: with an AEAD the integrity transform is NONE or left out.
    let integ = suite.integrity.map_or(NONE, IkeIntegrity::transform);
    vec![
        encr(suite.encryption),
        Transform::new(TransformType::INTEG, integ),
        Transform::new(TransformType::PRF, suite.prf.transform()),
        Transform::new(TransformType::KE, suite.group.transform()),
    ]
}
const IKE_TYPES: [TransformType; 4] =
    [TransformType::ENCR, TransformType::PRF, TransformType::INTEG, TransformType::KE];

//= rfc9370#2.2.1/distinct: no method twice, the first key exchange's included.
/// What both have for each further key exchange; `None`: nothing, where one side insists on it.
pub(super) fn additional(
    proposal: &Proposal,
    ours: &[KeRound],
    first: Option<DhGroup>,
) -> Option<Additional> {
    let mut chosen = Additional::default();
    for round in 0..chosen.len() {
        let kind = TransformType::additional(round);
        let offers = |id| proposal.transforms.contains(&Transform::new(kind, id));
        let (before, own) = (chosen, ours.get(round));
        let fresh = |m: &DhGroup| Some(*m) != first && !before.contains(&Some(*m));
        let common =
            own.and_then(|own| own.methods.iter().copied().find(|m| offers(m.transform()) && fresh(m)));
        //= rfc9370#2.2.1/none: leaving the type out, or NONE in it, says that it need not be.
        let they_can_do_without = proposal.of(kind).next().is_none() || offers(NONE);
        if common.is_none() && !(they_can_do_without && own.is_none_or(|own| own.optional)) {
            return None;
        }
        *chosen.get_mut(round)? = common;
    }
    Some(chosen)
}
fn addke(chosen: &Additional) -> impl Iterator<Item = Transform> + '_ {
    let each = chosen.iter().enumerate();
    each.filter_map(|(n, m)| Some(Transform::new(TransformType::additional(n), m.as_ref()?.transform())))
}
/// The rounds of an offer: all of them, and none where they can be done without, for peers who know nothing of them.
fn variants(rounds: &[KeRound]) -> impl Iterator<Item = Vec<Transform>> + '_ {
    let of_round = move |(n, round): (usize, &KeRound)| {
        let kind = TransformType::additional(n);
        let mut all: Vec<_> = round.methods.iter().map(|m| Transform::new(kind, m.transform())).collect();
        if round.optional && rounds.len() > 1 {
            all.push(Transform::new(kind, NONE));
        }
        all
    };
    let with: Vec<Transform> = rounds.iter().enumerate().flat_map(of_round).collect();
    let without = rounds.iter().all(|r| r.optional).then(Vec::new);
    (!with.is_empty()).then_some(with).into_iter().chain(without)
}

/// The responder's choice: the first of *our* preferences that any of their proposals holds.
pub fn select_ike(offered: &[Proposal], ours: &IkeProposal) -> Result<ChosenIke, Mismatch> {
    pick_ike(offered, ours, true)
}

/// The initiator's check of the one proposal that came back: it must be one of our choices, complete.
pub fn confirm_ike(answered: &[Proposal], ours: &IkeProposal) -> Result<ChosenIke, Mismatch> {
    let chosen = pick_ike(answered, ours, false)?;
    single(answered, ike_wanted(&chosen.suite).len() + chosen.suite.additional.len())
        .map_err(|fault| mismatch_ike(answered, ours, None, Some(fault)))?;
    Ok(chosen)
}

/// An answer holds one proposal with one transform of each type.
fn single(answered: &[Proposal], most: usize) -> Result<(), &'static str> {
    let [proposal] = answered else { return Err("an answer holds exactly one proposal") };
    let mut kinds: Vec<TransformType> = proposal.transforms.iter().map(|t| t.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let one_each = kinds.len() == proposal.transforms.len() && kinds.len() <= most;
    if one_each { Ok(()) } else { Err("an answer holds exactly one transform of each type") }
}

fn made(more: &Additional) -> usize {
    more.iter().flatten().count()
}
fn pick_ike(offered: &[Proposal], ours: &IkeProposal, request: bool) -> Result<ChosenIke, Mismatch> {
    let fail = |kind, fault| mismatch_ike(offered, ours, kind, fault);
    first_number(offered, request).map_err(|fault| fail(None, Some(fault)))?;
    let usable = |p: &&Proposal| {
        p.protocol == Protocol::IKE && matches!(p.spi.len(), 0 | 8) && !unknown_type(p, &IKE_TYPES)
    };
    let candidates: Vec<&Proposal> = offered.iter().filter(usable).collect();
    let mut furthest = None;
    for (suite, mut wanted) in ike_choices(ours) {
        let mut best: Option<(&Proposal, Additional)> = None;
        for &proposal in &candidates {
            let more = additional(proposal, &ours.additional, Some(suite.group));
            match (first_missing(proposal, &wanted), more) {
                (Some(kind), _) => furthest = later(furthest, kind, &wanted),
                (None, None) => furthest = Some(TransformType::ADDKE1),
                // What is made with more key exchanges comes before what is made with fewer.
                (None, Some(more)) if best.is_none_or(|(_, best)| made(&more) > made(&best)) => {
                    best = Some((proposal, more));
                }
                (None, Some(_)) => {}
            }
        }
        if let Some((proposal, additional)) = best {
            wanted.extend(addke(&additional));
            let suite = IkeSuite { additional, ..suite };
            return Ok(ChosenIke { suite, spi: proposal.spi64(), answer: answer(proposal, &wanted) });
        }
    }
    let fault = candidates.is_empty().then_some("no proposal is for an IKE SA we could run");
    Err(fail(furthest, fault))
}

//= rfc7296#3.3.1/first-is-one: an offer starts with number 1; an answer repeats the chosen number.
fn first_number(offered: &[Proposal], request: bool) -> Result<(), &'static str> {
    match offered.first() {
        None => Err("there is no proposal"),
        Some(first) if request && first.number != 1 => Err("the first proposal is not number 1"),
        Some(_) => Ok(()),
    }
}

/// The choice that came furthest names the difference worth telling.
fn later(best: Option<TransformType>, found: TransformType, order: &[Transform]) -> Option<TransformType> {
    let rank = |k| order.iter().position(|t| t.kind == k);
    match best {
        Some(best) if rank(best) >= rank(found) => Some(best),
        _ => Some(found),
    }
}

/// Our offer for an IKE SA: AEADs and other ciphers apart (RFC 7296 3.3), the preferred kind first.
/// `spi` only when an IKE SA is being rekeyed.
pub fn offer_ike(ours: &IkeProposal, spi: Option<u64>) -> Vec<Proposal> {
    let prefer_aead = ours.encryption.first().is_some_and(|e| e.is_aead());
    let mut offer = Vec::new();
    let kinds =
        variants(&ours.additional).flat_map(|more| [(prefer_aead, more.clone()), (!prefer_aead, more)]);
    for (aead, more) in kinds {
        let ciphers: Vec<_> = ours.encryption.iter().filter(|e| e.is_aead() == aead).collect();
        if ciphers.is_empty() || (!aead && ours.integrity.is_empty()) {
            continue;
        }
        let mut transforms: Vec<Transform> = ciphers.into_iter().map(|c| encr(*c)).collect();
        if !aead {
            let integ = ours.integrity.iter().map(|i| Transform::new(TransformType::INTEG, i.transform()));
            transforms.extend(integ);
        }
        transforms.extend(ours.prf.iter().map(|p| Transform::new(TransformType::PRF, p.transform())));
        transforms.extend(ours.groups.iter().map(|g| Transform::new(TransformType::KE, g.transform())));
        transforms.extend(more);
        let spi = spi.map_or_else(Vec::new, |s| s.to_be_bytes().to_vec());
        offer.push(Proposal { number: offer.len() as u8 + 1, protocol: Protocol::IKE, spi, transforms });
    }
    offer
}

fn esp_wanted(suite: Suite, wishes: &EspWishes<'_>, esn: bool) -> Option<Wanted> {
    let (encr, integ) = esp_transforms(suite)?;
    //= rfc7296#3.3.3/ah-transforms: integrity and ESN, and no cipher.
    let encr = (wishes.protocol == sa::Protocol::Esp).then_some(encr);
    let mut wanted = Vec::from_iter(encr);
    wanted.push(integ.unwrap_or(Transform::new(TransformType::INTEG, NONE)));
    if !wishes.in_auth {
        wanted.push(Transform::new(TransformType::KE, wishes.pfs.map_or(NONE, DhGroup::transform)));
    }
    wanted.push(Transform::new(TransformType::ESN, u16::from(esn)));
    Some(wanted)
}

/// The responder's choice: the first of *our* preferences that any of their proposals holds.
pub fn select_esp(offered: &[Proposal], wishes: &EspWishes<'_>) -> Result<ChosenEsp, Mismatch> {
    pick_esp(offered, wishes, true)
}

/// The initiator's check of the one proposal that came back.
pub fn confirm_esp(answered: &[Proposal], wishes: &EspWishes<'_>) -> Result<ChosenEsp, Mismatch> {
    let chosen = pick_esp(answered, wishes, false)?;
    single(answered, 4 + chosen.additional.len())
        .map_err(|fault| mismatch_esp(answered, wishes, None, Some(fault)))?;
    Ok(chosen)
}

fn pick_esp(offered: &[Proposal], wishes: &EspWishes<'_>, request: bool) -> Result<ChosenEsp, Mismatch> {
    const TYPES: [TransformType; 4] =
        [TransformType::ENCR, TransformType::INTEG, TransformType::KE, TransformType::ESN];
    let (protocol, types) = match wishes.protocol {
        sa::Protocol::Esp => (Protocol::ESP, &TYPES[..]),
        sa::Protocol::Ah => (Protocol::AH, &TYPES[1..]),
    };
    let fail = |kind, fault| mismatch_esp(offered, wishes, kind, fault);
    first_number(offered, request).map_err(|fault| fail(None, Some(fault)))?;
    let spi_of = |p: &Proposal| p.spi32().and_then(|raw| Spi::new(raw).ok());
    let usable = |p: &&Proposal| p.protocol == protocol && spi_of(p).is_some() && !unknown_type(p, types);
    let (group, rounds) = wishes.exchanges();
    let numbers: &[bool] = if wishes.esn { &[true, false] } else { &[false] };
    let candidates: Vec<&Proposal> = offered.iter().filter(usable).collect();
    let mut furthest = None;
    for &suite in wishes.suites {
        for &esn in numbers {
            let Some(mut wanted) = esp_wanted(suite, wishes, esn) else { continue };
            let mut best: Option<(&Proposal, Additional)> = None;
            for &proposal in &candidates {
                match (first_missing(proposal, &wanted), additional(proposal, rounds, group)) {
                    (Some(kind), _) => furthest = later(furthest, kind, &wanted),
                    (None, None) => furthest = Some(TransformType::ADDKE1),
                    (None, Some(more)) if best.is_none_or(|(_, best)| made(&more) > made(&best)) => {
                        best = Some((proposal, more));
                    }
                    (None, Some(_)) => {}
                }
            }
            if let Some((proposal, additional)) = best
                && let Some(spi) = spi_of(proposal)
            {
                wanted.extend(addke(&additional));
                let answer = esp_answer(proposal, &wanted, wishes);
                return Ok(ChosenEsp { suite, group, additional, esn, spi, answer });
            }
        }
    }
    let none = match wishes.protocol {
        sa::Protocol::Esp => "no proposal is for an ESP SA with a usable SPI",
        sa::Protocol::Ah => "no proposal is for an AH SA with a usable SPI",
    };
    let fault = candidates.is_empty().then_some(none);
    Err(fail(furthest, fault))
}
fn esp_answer(proposal: &Proposal, wanted: &[Transform], wishes: &EspWishes<'_>) -> Proposal {
    let mut answer = answer(proposal, wanted);
    if wishes.in_auth {
        answer.transforms.retain(|t| t.kind != TransformType::KE);
    }
    answer
}

/// Our offer for a Child SA: a proposal for each suite, so that exactly our combinations are on offer.
pub fn offer_esp(wishes: &EspWishes<'_>, spi: Spi) -> Vec<Proposal> {
    let (group, rounds) = wishes.exchanges();
    let all = variants(rounds).flat_map(|more| {
        let suites = wishes.suites.iter().filter_map(|suite| esp_transforms(*suite));
        suites.map(move |suite| (suite, more.clone()))
    });
    all.zip(1..=255)
        .map(|(((encr, integ), more), number)| {
            let ah = wishes.protocol == sa::Protocol::Ah;
            let mut transforms = Vec::from_iter((!ah).then_some(encr));
            transforms.extend(integ);
            transforms.extend(group.map(|g| Transform::new(TransformType::KE, g.transform())));
            transforms.extend(more);
            if wishes.esn {
                transforms.push(Transform::new(TransformType::ESN, ESN));
            }
            transforms.push(Transform::new(TransformType::ESN, NONE));
            let protocol = wishes.protocol.into();
            Proposal { number, protocol, spi: spi.get().to_be_bytes().to_vec(), transforms }
        })
        .collect()
}
