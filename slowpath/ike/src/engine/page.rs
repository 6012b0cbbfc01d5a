//! What the engine knows, some IKE SAs at a time: whoever lists a hundred thousand does not hold up those who negotiate.
use super::{Engine, ike_sa};
use crate::api::{Now, Page};
use std::ops::Bound;

impl Engine {
    /// The IKE SAs behind one, in the order of their numbers, until there are `enough` rows. SAs come with their keys.
    pub fn page(&self, after: Option<u64>, enough: usize, now: Now) -> Page {
        let mut page = Page::default();
        if after.is_none() {
            page.resolved = self.resolved();
        }
        let from = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        for (number, sa) in self.sas.range(from) {
            if page.peers.len() + page.children.len() >= enough {
                return page;
            }
            page.next = Some(*number);
            if !matches!(sa.state, ike_sa::State::Closed) {
                page.peers.push(sa.status(now));
            }
            page.children.extend(sa.children.iter().map(|child| sa.child_status(child, now)));
            page.installed.extend(sa.installed());
            page.generated.extend(sa.generated.iter().map(|made| made.generated(&sa.peer.name)));
        }
        page.next = None;
        page
    }
}
