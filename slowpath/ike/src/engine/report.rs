//! What a person is told: one line for one failure, and not more lines than anyone can read.
use super::ike_sa::IkeSa;
use super::{Cx, Engine};
use crate::api::{Action, Now, Peer, Report, ReportLevel};
use crate::diagnosis::{Cause, Diagnosis};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// So many in a second, whoever asks for more is counted.
pub(super) struct Bucket {
    per_second: u32,
    left: u32,
    since: Now,
    pub suppressed: u64,
}
impl Bucket {
    pub fn new(per_second: u32) -> Self {
        Self { per_second, left: per_second, since: Now::ZERO, suppressed: 0 }
    }
    pub fn take(&mut self, now: Now) -> bool {
        if now.saturating_sub(self.since) >= Duration::from_secs(1) {
            (self.since, self.left) = (now, self.per_second);
        }
        let some = self.left > 0;
        if some {
            self.left -= 1;
        } else {
            self.suppressed += 1;
        }
        some
    }
}

/// What strangers made us say lately: a retransmission is not news.
#[derive(Default)]
pub(super) struct Heard {
    lately: VecDeque<Said>,
}
struct Said {
    at: Now,
    what: u64,
    /// Since then.
    again: u32,
}
impl Heard {
    const REMEMBERED: usize = 64;
    const NEWS_AGAIN: Duration = Duration::from_secs(60);

    /// `Some`: is to be said, and has happened so often since the last time it was.
    fn news(&mut self, what: impl Hash, now: Now) -> Option<u32> {
        let mut hash = DefaultHasher::new();
        what.hash(&mut hash);
        let what = hash.finish();
        let known = self.lately.iter().position(|said| said.what == what);
        let times = match known.and_then(|at| Some((at, self.lately.get_mut(at)?))) {
            Some((_, said)) if now.saturating_sub(said.at) < Self::NEWS_AGAIN => {
                said.again += 1;
                return None;
            }
            Some((at, said)) => {
                let times = said.again + 1;
                self.lately.remove(at);
                times
            }
            None => 1,
        };
        if self.lately.len() == Self::REMEMBERED {
            self.lately.pop_front();
        }
        self.lately.push_back(Said { at: now, what, again: 0 });
        Some(times)
    }
    /// After a change of the configuration everything is news.
    pub fn forget(&mut self) {
        self.lately.clear();
    }
}

/// Who sent something that nothing vouches for, to which address of ours, and whose address it is.
#[derive(Clone, Copy)]
pub(super) struct Stranger<'a> {
    pub remote: SocketAddr,
    pub local: SocketAddr,
    pub peer: Option<&'a Arc<Peer>>,
}

impl Engine {
    /// About a peer we know and have authenticated, or that we called.
    pub(super) fn say(&self, sa: &IkeSa, level: ReportLevel, cx: &mut Cx, text: String) {
        let report = Report {
            level,
            peer: Some(sa.peer.name.clone()),
            remote: Some(sa.remote),
            local: Some(sa.local),
            text,
            diagnosis: None,
            times: 1,
            up: false,
        };
        cx.out.push(Action::Log(report));
    }
    /// The same, and what failed before is over.
    pub(super) fn say_up(&self, sa: &IkeSa, cx: &mut Cx, text: String) {
        self.say(sa, ReportLevel::Info, cx, text);
        if let Some(Action::Log(report)) = cx.out.last_mut() {
            report.up = true;
        }
    }
    /// One negotiation failed: counts it and says why.
    pub(super) fn fail(&mut self, sa: &IkeSa, why: Diagnosis, cx: &mut Cx) {
        self.fail_of(&sa.peer.name, Some((sa.local, sa.remote)), why, cx);
    }
    pub(super) fn fail_of(
        &mut self,
        peer: &str,
        ends: Option<(SocketAddr, SocketAddr)>,
        why: Diagnosis,
        cx: &mut Cx,
    ) {
        self.counters.fail(why.cause.failure());
        let report = Report {
            level: ReportLevel::Error,
            peer: Some(peer.to_owned()),
            remote: ends.map(|(_, remote)| remote),
            local: ends.map(|(local, _)| local),
            text: why.to_string(),
            diagnosis: Some(Box::new(why)),
            times: 1,
            up: false,
        };
        cx.out.push(Action::Log(report));
    }
    /// Set off by anyone who can send us a packet, hence limited; nothing is put into words before the limits allow it.
    /// `what` tells cases of the same cause apart.
    pub(super) fn of_stranger(
        &mut self,
        who: Stranger<'_>,
        cause: Cause,
        what: impl Hash,
        cx: &mut Cx,
        explain: impl FnOnce() -> Diagnosis,
    ) {
        self.counters.fail(cause.failure());
        let Some(times) = self.heard.news((who.remote.ip(), cause, what), cx.now) else { return };
        let before = self.talk.suppressed;
        if !self.talk.take(cx.now) {
            return;
        }
        self.talk.suppressed = 0;
        let why = explain();
        let mut text = why.to_string();
        if before > 0 {
            text.push_str(&format!(" ({before} lines suppressed before)"));
        }
        let report = Report {
            level: ReportLevel::Warning,
            peer: who.peer.map(|peer| peer.name.clone()),
            remote: Some(who.remote),
            local: Some(who.local),
            text,
            diagnosis: Some(Box::new(why)),
            times,
            up: false,
        };
        cx.out.push(Action::Log(report));
    }
}
