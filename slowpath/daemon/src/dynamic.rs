//! Policies that negotiations have made, among the configured ones: each at the place of its template, the oldest first.
use ike::api::{Generated, Rank};
use sa::{PolicyId, PolicySpec};
use std::collections::{BTreeMap, HashMap};

#[derive(Default)]
pub(crate) struct Dynamic {
    /// Of each template its number, and how many configured policies stand above it, by number.
    templates: HashMap<PolicyId, u32>,
    above: Vec<usize>,
    /// By the template's number, then by age.
    rows: BTreeMap<(u32, PolicyId), Generated>,
    places: HashMap<PolicyId, u32>,
}

impl Dynamic {
    pub fn configure(&mut self, spd: &[Rank]) {
        self.templates.clear();
        self.above.clear();
        let mut policies = 0;
        for rank in spd {
            match rank {
                Rank::Policy(_) => policies += 1,
                Rank::Template(id) => {
                    self.templates.insert(*id, self.above.len() as u32);
                    self.above.push(policies);
                }
            }
        }
        // What has lost its template stays at the end until the engine has let go of it.
        self.above.push(policies);
        for row in std::mem::take(&mut self.rows).into_values() {
            self.put(row);
        }
    }
    /// A new fast path, or a predecessor's IKE SAs: these there are, and no others.
    pub fn set(&mut self, all: Vec<Generated>) {
        self.rows.clear();
        self.places.clear();
        all.into_iter().for_each(|row| self.put(row));
    }
    fn number(&self, template: PolicyId) -> u32 {
        self.templates.get(&template).copied().unwrap_or(self.templates.len() as u32)
    }
    fn put(&mut self, row: Generated) {
        let (number, id) = (self.number(row.template), row.spec.id);
        self.places.insert(id, number);
        self.rows.insert((number, id), row);
    }
    /// Takes one in. It comes behind the policy that is returned; `None`: before all others.
    pub fn add(&mut self, row: Generated, configured: &[PolicySpec]) -> Option<PolicyId> {
        let key = (self.number(row.template), row.spec.id);
        let above = |number: u32| self.above.get(number as usize).copied().unwrap_or(configured.len());
        let before = self.rows.range(..key).next_back().map(|((number, id), _)| (above(*number), *id));
        let above = above(key.0);
        let after = match before {
            Some((same, id)) if same == above => Some(id),
            _ => above.checked_sub(1).and_then(|at| configured.get(at)).map(|policy| policy.id),
        };
        self.put(row);
        after
    }
    /// `false`: there was none.
    pub fn remove(&mut self, id: PolicyId) -> bool {
        self.places.remove(&id).is_some_and(|number| self.rows.remove(&(number, id)).is_some())
    }
    pub fn is_template(&self, id: PolicyId) -> bool {
        self.templates.contains_key(&id)
    }
    pub fn get(&self, id: PolicyId) -> Option<&Generated> {
        self.rows.get(&(*self.places.get(&id)?, id))
    }
    /// The whole SPD in its order.
    pub fn among(&self, configured: &[PolicySpec]) -> Vec<PolicySpec> {
        let mut all = Vec::with_capacity(configured.len() + self.rows.len());
        let mut done = 0;
        for ((number, _), row) in &self.rows {
            let above =
                self.above.get(*number as usize).map_or(configured.len(), |n| (*n).min(configured.len()));
            all.extend(configured.get(done..above).into_iter().flatten());
            done = done.max(above);
            all.push(row.spec);
        }
        all.extend(configured.get(done..).into_iter().flatten());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sa::{Action, Framing, Level, PortRange, Selector};

    fn spec(id: u32) -> PolicySpec {
        let any: sa::Prefix = "0.0.0.0/0".parse().expect("a prefix");
        let ports = PortRange::ANY;
        let selector = Selector { src: any, dst: any, protocol: None, src_port: ports, dst_port: ports };
        let action = Action::Encrypt { level: Level::Unique, tunnel: true };
        PolicySpec { id: PolicyId(id), selector, action, framing: Framing::default() }
    }
    fn made(id: u32, template: u32) -> Generated {
        Generated {
            spec: spec(id),
            template: PolicyId(template),
            peer: "p".into(),
            proposal: "q".into(),
            protocol: sa::Protocol::Esp,
        }
    }

    /// What is inserted one by one stands where the whole list has it, wherever templates are, also two beside each
    /// other, and one first, and one last.
    #[test]
    fn each_is_behind_its_template_and_before_what_follows_that() {
        let configured: Vec<PolicySpec> = (1..=4).map(spec).collect();
        let (p, t) = (|id| Rank::Policy(spec(id)), |id| Rank::Template(PolicyId(id)));
        let spd = [t(90), p(1), p(2), t(91), t(92), p(3), p(4), t(93)];
        let mut dynamic = Dynamic::default();
        dynamic.configure(&spd);
        let mut list = configured.clone();
        let mut seed = 7u32;
        for id in 0..200u32 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let row = made((1 << 31) + id, 90 + (seed >> 9) % 4);
            let after = dynamic.add(row.clone(), &configured);
            let at = after.map_or(0, |id| list.iter().position(|p| p.id == id).expect("there") + 1);
            list.insert(at, row.spec);
            assert_eq!(dynamic.among(&configured), list);
            if seed.is_multiple_of(3) {
                let gone = list.iter().map(|p| p.id).find(|id| id.is_dynamic()).expect("one");
                assert!(dynamic.remove(gone) && !dynamic.remove(gone));
                list.retain(|p| p.id != gone);
            }
        }
        // Another order of the templates, one of them gone.
        dynamic.configure(&[t(93), p(1), t(91), p(2), p(3), t(90), p(4)]);
        let ids: Vec<u32> = dynamic.among(&configured).iter().map(|p| p.id.0).collect();
        let place = |id: u32| ids.iter().position(|x| *x == id).expect("there");
        for row in dynamic.rows.values() {
            let (at, template) = (place(row.spec.id.0), row.template.0);
            let expected = match template {
                93 => at < place(1),
                91 => place(1) < at && at < place(2),
                90 => place(3) < at && at < place(4),
                _ => at > place(4),
            };
            assert!(expected, "{} of {template}: {ids:?}", row.spec.id.0);
        }
        assert_eq!(dynamic.rows.len() + 4, ids.len());
        dynamic.set(vec![]);
        assert_eq!(dynamic.among(&configured), configured);
    }
}
