//! What an IKE SA does next, when its window is free: one task at a time, stale ones skipped.
use super::child::ChildState;
use super::ike_sa::{Exchange, IkeSa, Task, Wanted};
use super::{Cx, Engine};
use ::sa::Spi;

impl Engine {
    pub(super) fn start_next(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        while sa.is_established()
            && !sa.dead
            && sa.window.in_flight.is_none()
            && cx.now >= sa.window.hold_until
        {
            let Some(task) = sa.tasks.pop_front() else { return };
            self.start(sa, task, cx);
        }
    }
    fn start(&mut self, sa: &mut IkeSa, task: Task, cx: &mut Cx) {
        match task {
            Task::Create(wanted) => {
                // Without a packet that asks for more, one is enough.
                if wanted.packet.is_some() || !sa.is_served(wanted.policy) {
                    self.ask_for_child(sa, &wanted, None, cx);
                }
            }
            Task::Rekey(spi) => self.start_rekey(sa, spi, cx),
            Task::Delete(spi) => self.start_delete(sa, spi, cx),
            Task::Disown(protocol, spi) => self.send_child_delete(sa, protocol, spi, cx),
            // Which of two twins stays is settled by what both ends know of them: not before that.
            Task::RekeyIke if sa.twin_at.is_some() => sa.rekey_at = sa.twin_at,
            Task::RekeyIke => self.ask_for_ike(sa, None, 0, cx),
            Task::DeleteIke => self.send_ike_delete(sa, cx),
            Task::Liveness => self.send_liveness(sa, cx),
            Task::Prove(path) => self.send_path(sa, path, cx),
            Task::Redirect => self.send_redirect(sa, cx),
        }
    }
    fn start_rekey(&mut self, sa: &mut IkeSa, spi: Spi, cx: &mut Cx) {
        if sa.children.iter().any(|c| c.replaces == Some(spi) && c.is_live()) {
            return;
        }
        let theirs = sa.pending_rekey(spi).map(|pending| pending.until + std::time::Duration::from_secs(1));
        let Some(child) = sa.child(spi).filter(|c| c.state == ChildState::Active) else { return };
        if theirs.is_some() {
            child.soft_at = theirs;
            return;
        }
        child.soft_at = None;
        let wanted = Wanted { policy: child.policy, packet: None };
        if !self.ask_for_child(sa, &wanted, Some(spi), cx)
            && let Some(child) = sa.child(spi)
        {
            child.soft_at = Some(cx.now + std::time::Duration::from_secs(10));
        }
    }
    fn start_delete(&mut self, sa: &mut IkeSa, spi: Spi, cx: &mut Cx) {
        let Some(at) =
            sa.children.iter().position(|c| c.inbound.spi == spi && c.state != ChildState::Lingering)
        else {
            return;
        };
        self.switch_to_successor(sa, spi, cx);
        self.stop_sending(sa, at, cx);
        let protocol = sa.children[at].protocol;
        if let Some(child) = sa.children.get_mut(at) {
            child.state = ChildState::Deleting;
            (child.soft_at, child.hard_at, child.twin_at) = (None, None, None);
        }
        self.send_child_delete(sa, protocol, spi, cx);
    }
}

impl IkeSa {
    /// A child for this policy is being asked for, or about to be.
    pub(super) fn is_making(&self, policy: ::sa::PolicyId) -> bool {
        let asked = matches!(self.window.in_flight.as_ref().map(|f| &f.what), Some(Exchange::Child(o)) if o.policy == policy);
        asked || self.has_task(|t| matches!(t, Task::Create(w) if w.policy == policy))
    }
}
