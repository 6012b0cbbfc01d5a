//! What time alone sets off.
use super::child::ChildState;
use super::explain::{self, CREATE};
use super::ike_sa::{IkeSa, State, Task};
use super::rekey_child::End;
use super::report::Stranger;
use super::{Cx, Engine};
use crate::api::Action;
use crate::diagnosis::{Cause, Diagnosis};
use std::time::Duration;

/// Two IKE SAs that came up within this time of each other, one from each end, are twins: a call may take a whole
/// series of transmissions.
const BOTH_CALLED: Duration = Duration::from_secs(150);
/// A twin that is being rekeyed is looked at again after this time.
const SOON: Duration = Duration::from_secs(1);
/// An INITIAL_CONTACT so soon after a call of ours comes from who has called at the same time.
pub(super) const TWINS: Duration = Duration::from_secs(30);

impl Engine {
    pub(super) fn tick(&mut self, cx: &mut Cx) {
        for local_spi in self.timers.due(cx.now) {
            self.with_sa(local_spi, cx, |engine, sa, cx| engine.tick_sa(sa, cx));
        }
        self.run_starts(cx);
    }

    fn tick_sa(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        if sa.ends_at.is_some_and(|t| t <= cx.now) {
            if let State::InitAnswered(half) = &sa.state {
                let (again, forged, nat) = (half.again, half.forgeries, sa.nat_local || sa.nat_remote);
                let who = Stranger { remote: sa.remote, local: sa.local, peer: Some(&sa.peer) };
                self.of_stranger(who, Cause::HalfOpen, again > 0, cx, || {
                    explain::half_open(sa.local, sa.remote, again, forged, nat)
                });
            }
            return self.drop_sa(sa, cx);
        }
        sa.pieces.retain(|set| set.until > cx.now);
        self.tick_pending(sa, cx.now);
        self.retransmit(sa, cx);
        self.tick_children(sa, cx);
        if !sa.is_established() || sa.dead {
            return;
        }
        self.tick_agreed(sa, cx);
        if sa.rekey_at.is_some_and(|t| t <= cx.now) {
            self.renew(sa, cx);
        }
        if let Some(interval) = sa.peer.profile.dpd_interval
            && sa.window.in_flight.is_none()
            && cx.now >= sa.last_seen + interval
        {
            sa.push_task(Task::Liveness);
        }
        if sa.wants_keepalive() && cx.now >= sa.last_sent + super::ike_sa::KEEPALIVE {
            sa.last_sent = cx.now;
            cx.out.push(Action::Keepalive { local: sa.local, remote: sa.remote });
        }
        if sa.want_at.take_if(|t| *t <= cx.now).is_some() {
            self.want_all(sa);
        }
        if sa.twin_at.is_some_and(|t| t <= cx.now) {
            sa.twin_at = None;
            self.settle_twins(sa, cx);
        }
    }

    fn tick_children(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        for at in (0..sa.children.len()).rev() {
            let Some(child) = sa.children.get_mut(at) else { continue };
            let due = |t: Option<Duration>| t.is_some_and(|t| t <= cx.now);
            if due(child.gone_at) {
                self.remove_child(sa, at, cx);
                sa.dirty = true;
            } else if due(child.hard_at) {
                self.expire(sa, at, End::Lifetime, cx);
            } else if due(child.soft_at) {
                child.soft_at = None;
                let spi = child.inbound.spi;
                sa.push_task(Task::Rekey(spi));
            } else if due(child.twin_at) && child.takes_over() {
                let settled = child.created + super::child::SETTLED;
                child.twin_at = Some(settled.max(cx.now + Duration::from_millis(1)));
                self.switch_to(sa, at, cx);
            } else if due(child.twin_at) {
                child.twin_at = None;
                self.settle_child_twins(sa, at);
            }
        }
    }

    /// Past its lifetime an IKE SA that could not be replaced is closed and made anew.
    fn renew(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        let end = sa.hard_end();
        if end.is_some_and(|t| t <= cx.now) {
            let why = Diagnosis::new(Cause::Lifetime, CREATE)
                .detail("it is closed and made anew")
                .tell("answer our rekeys of the IKE SA (CREATE_CHILD_SA)");
            self.fail(sa, why, cx);
            self.close(sa, cx);
            self.call_again(sa, cx);
            sa.rekey_at = None;
        } else {
            sa.push_task(Task::RekeyIke);
            sa.rekey_at = end;
        }
    }

    pub(super) fn has_twin(&self, sa: &IkeSa) -> bool {
        self.sas_of(&sa.peer.name)
            .any(|other| other.is_established() && other.origin.called != sa.origin.called)
    }
    /// Both ends have called each other at the same time: the IKE SA with the lowest of the nonces goes, and
    /// whoever began it deletes it. Either may have been rekeyed since, by either end.
    fn settle_twins(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        let close_in_time = |other: &IkeSa| {
            let (a, b) = (other.established.unwrap_or_default(), sa.established.unwrap_or_default());
            a.abs_diff(b) < BOTH_CALLED
        };
        let Some(id) = &sa.remote_id else { return };
        let twin = self.known(self.filed.with_id(id)).find(|other| {
            matches!(other.state, State::Established | State::Unsettled)
                && other.peer.name == sa.peer.name
                && other.remote_id.as_ref() == Some(id)
                && other.origin.called != sa.origin.called
                && close_in_time(other)
        });
        let Some(twin) = twin else { return };
        if !twin.is_established() {
            sa.twin_at = Some(cx.now + SOON);
            return;
        }
        let (twin, other_is_low) = (twin.local_spi, twin.origin.low_nonce < sa.origin.low_nonce);
        if !other_is_low && sa.origin.called {
            sa.tasks.push_front(Task::DeleteIke);
        } else if other_is_low && !sa.origin.called {
            self.with_sa(twin, cx, |_, twin, _| twin.tasks.push_front(Task::DeleteIke));
        }
    }
    /// Likewise for a child that both ends asked for at once.
    fn settle_child_twins(&mut self, sa: &mut IkeSa, at: usize) {
        let child = &sa.children[at];
        let redundant = sa.children.iter().find(|other| {
            other.inbound.spi != child.inbound.spi
                && other.policy == child.policy
                && other.selectors == child.selectors
                && other.replaces != Some(child.inbound.spi)
                && child.replaces != Some(other.inbound.spi)
                && other.state == ChildState::Active
                && child.state == ChildState::Active
                && (other.initiated || child.initiated)
        });
        let Some(other) = redundant else { return };
        let low = match (child.initiated, other.initiated) {
            (true, true) => {
                if child.created < other.created {
                    child
                } else {
                    other
                }
            }
            _ => {
                if child.low_nonce < other.low_nonce {
                    child
                } else {
                    other
                }
            }
        };
        if low.initiated {
            let spi = low.inbound.spi;
            sa.push_task(Task::Delete(spi));
        }
    }
}

impl IkeSa {
    /// The end of its lifetime.
    pub(super) fn hard_end(&self) -> Option<Duration> {
        let lifetime = self.peer.profile.lifetime;
        self.established.filter(|_| !lifetime.is_zero()).map(|t| t + lifetime)
    }
    pub(super) fn is_worth_storing(&self) -> bool {
        self.established.is_some()
    }
}
