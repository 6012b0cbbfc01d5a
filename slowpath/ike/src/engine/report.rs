//! What a person is told: one line for one failure, and not more lines than anyone can read.
use super::counters::Failure;
use super::ike_sa::IkeSa;
use super::{Cx, Engine};
use crate::api::{Action, Now, Report, ReportLevel};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
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
    lately: VecDeque<(Now, u64)>,
}
impl Heard {
    const REMEMBERED: usize = 64;
    const NEWS_AGAIN: Duration = Duration::from_secs(60);

    fn again(&mut self, remote: SocketAddr, text: &str, now: Now) -> bool {
        let mut hash = DefaultHasher::new();
        (remote, text).hash(&mut hash);
        let this = hash.finish();
        self.lately.retain(|(at, _)| now.saturating_sub(*at) < Self::NEWS_AGAIN);
        let known = self.lately.iter().any(|(_, h)| *h == this);
        if !known {
            if self.lately.len() == Self::REMEMBERED {
                self.lately.pop_front();
            }
            self.lately.push_back((now, this));
        }
        known
    }
}

impl Engine {
    /// About a peer we know and have authenticated, or that we called.
    pub(super) fn say(&self, sa: &IkeSa, level: ReportLevel, cx: &mut Cx, text: String) {
        cx.out.push(Action::Log(Report {
            level,
            peer: Some(sa.peer.name.clone()),
            remote: Some(sa.remote),
            text,
        }));
    }
    /// One negotiation failed: counts it and says why.
    pub(super) fn fail(&mut self, sa: &IkeSa, why: Failure, cx: &mut Cx, text: String) {
        self.counters.fail(why);
        self.say(sa, ReportLevel::Error, cx, text);
    }
    /// Set off by anyone who can send us a packet, hence limited.
    pub(super) fn say_of_stranger(
        &mut self,
        remote: SocketAddr,
        peer: Option<&str>,
        cx: &mut Cx,
        text: String,
    ) {
        if self.heard.again(remote, &text, cx.now) {
            return;
        }
        let before = self.talk.suppressed;
        if self.talk.take(cx.now) {
            self.talk.suppressed = 0;
            let text = if before > 0 { format!("{text} ({before} lines suppressed before)") } else { text };
            let (level, peer, remote) = (ReportLevel::Warning, peer.map(str::to_owned), Some(remote));
            cx.out.push(Action::Log(Report { level, peer, remote, text }));
        }
    }
}
