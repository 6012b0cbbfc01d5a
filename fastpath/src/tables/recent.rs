//! What the last changes were about, so that a verdict remembered before them need not be found anew.
//!
//! A gateway with many tunnels changes all the time: SAs are rekeyed, policies come with road warriors. Each such change
//! concerns the flows of a few policies; the others keep what the flow cache has.
use super::spd::covers;
use sa::Selector;
use std::sync::Arc;
use wire::Flow;

/// So many changes are remembered. Further back it is cheaper to ask the policies again.
const KEPT: u32 = 16;
/// A change of more policies is about everything.
const FEW: usize = 8;

/// What a change was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    Everything,
    /// Packets of these policies, there or back.
    Policies(Arc<[Selector]>),
}
impl About {
    pub fn policies(selectors: impl IntoIterator<Item = Selector>) -> Self {
        let mut selectors = selectors.into_iter();
        let few: Arc<[_]> = selectors.by_ref().take(FEW).collect();
        if selectors.next().is_some() { Self::Everything } else { Self::Policies(few) }
    }
    fn is(&self, flow: &Flow, back: &Flow) -> bool {
        match self {
            Self::Everything => true,
            Self::Policies(selectors) => selectors.iter().any(|s| covers(s, flow) || covers(s, back)),
        }
    }
}

/// The last changes, each with the generation that it began.
#[derive(Debug)]
pub struct Recent {
    changes: [About; KEPT as usize],
}
impl Default for Recent {
    fn default() -> Self {
        Self { changes: std::array::from_fn(|_| About::Everything) }
    }
}
impl Recent {
    pub(super) fn note(&mut self, generation: u32, about: About) {
        self.changes[(generation % KEPT) as usize] = about;
    }
    /// Whether what was known of the flow in generation `then` still holds.
    pub fn holds(&self, then: u32, now: u32, flow: &Flow) -> bool {
        // Numbers that begin again end before they started.
        if now.checked_sub(then).is_none_or(|changes| changes > KEPT) {
            return false;
        }
        let back = flow.reversed();
        (then + 1..=now).all(|at| !self.changes[(at % KEPT) as usize].is(flow, &back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selector(net: u8) -> Selector {
        let prefix = |address: [u8; 4], len| sa::Prefix::new(address.into(), len).expect("a prefix");
        Selector {
            src: prefix([10, net, 0, 0], 16),
            dst: prefix([0; 4], 0),
            protocol: None,
            src_port: sa::PortRange::ANY,
            dst_port: sa::PortRange::ANY,
        }
    }
    fn flow(net: u8) -> Flow {
        Flow {
            src: [10, net, 0, 1].into(),
            dst: [192, 0, 2, 1].into(),
            protocol: 17,
            src_port: Some(1),
            dst_port: Some(2),
        }
    }

    proptest! {
        #[test]
        fn it_holds_as_long_as_no_change_was_about_it(
            changes in prop::collection::vec(prop::collection::vec(0u8..6, 0..12), 1..60), then in 0u32..60, net in 0u8..6, back: bool,
        ) {
            let mut recent = Recent::default();
            for (at, nets) in changes.iter().enumerate() {
                recent.note(at as u32 + 1, About::policies(nets.iter().map(|net| selector(*net))));
            }
            let now = changes.len() as u32;
            let flow = if back { flow(net).reversed() } else { flow(net) };
            let since = changes.iter().skip(then as usize);
            let expected = then <= now && now - then <= KEPT
                && !since.clone().any(|nets| nets.contains(&net) || nets.len() > FEW);
            prop_assert_eq!(recent.holds(then, now, &flow), expected);
        }
    }
    #[test]
    fn numbers_that_began_again_hold_nothing() {
        let recent = Recent { changes: std::array::from_fn(|_| About::policies([])) };
        assert!(recent.holds(u32::MAX - 3, u32::MAX, &flow(0)));
        assert!(!recent.holds(u32::MAX, 1, &flow(0)));
    }
}
