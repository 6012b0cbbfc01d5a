//! Peers whose address is a name: looked up beside the driver, which never waits for a name server.
//!
//! The system's resolver is asked, so that `/etc/hosts`, `/etc/resolv.conf` and whatever else `/etc/nsswitch.conf` names count.
//! It does not say how long an answer is good for, hence a name is asked for again every [`REFRESH`], and at once when its
//! peer does not answer any more.
use ike::api::{Input, Now};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// A name that has been found is asked for again after this.
pub const REFRESH: Duration = Duration::from_secs(60);
/// One that has not, first after this, then after twice as long each time, up to `REFRESH`.
const AGAIN: Duration = Duration::from_secs(2);
/// A peer that fails again and again does not ask more often than this.
const URGENT: Duration = Duration::from_secs(2);
/// Looked up at the same time: each is a thread that may hang for as long as the system's resolver waits.
const AT_ONCE: usize = 8;
/// Addresses of one name that are tried.
const ADDRESSES: usize = 16;

type Answer = Result<Vec<IpAddr>, String>;
/// Of a name.
type Found = (String, Answer);
/// What finds the addresses of a name.
pub type Lookup = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

struct Name {
    peers: Vec<String>,
    due: Now,
    asked: Option<Now>,
    failures: u32,
    /// Somebody is looking.
    running: bool,
}

pub struct Resolver {
    lookup: Lookup,
    names: HashMap<String, Name>,
    running: usize,
    answers: (Sender<Found>, Receiver<Found>),
    wake: Arc<OwnedFd>,
}

/// As any other program of this machine finds them.
pub fn system(name: &str) -> Answer {
    let found = (name, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found.map(|socket| socket.ip()) {
        let usable = !(address.is_unspecified() || address.is_multicast());
        if usable && !addresses.contains(&address) && addresses.len() < ADDRESSES {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err("no address".into()) } else { Ok(addresses) }
}

impl Resolver {
    pub fn new(lookup: Lookup) -> std::io::Result<Self> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        Ok(Self { lookup, names: HashMap::new(), running: 0, answers: channel(), wake })
    }
    pub fn poll_fd(&self) -> PollFd<'_> {
        PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN)
    }
    /// Peers with their names. Those that are known already go on as they are.
    pub fn configure<'a>(&mut self, peers: impl Iterator<Item = (&'a str, &'a str)>, now: Now) {
        let mut wanted: HashMap<String, Vec<String>> = HashMap::new();
        for (peer, name) in peers {
            wanted.entry(name.to_owned()).or_default().push(peer.to_owned());
        }
        self.names.retain(|name, _| wanted.contains_key(name));
        for (name, peers) in wanted {
            let new = || Name { peers: Vec::new(), due: now, asked: None, failures: 0, running: false };
            let known = self.names.entry(name).or_insert_with(new);
            if known.peers != peers {
                (known.peers, known.due) = (peers, now);
            }
        }
    }
    /// The peer does not answer at the addresses it had.
    pub fn urge(&mut self, peer: &str, now: Now) {
        for name in self.names.values_mut().filter(|name| name.peers.iter().any(|p| p == peer)) {
            let soon = name.asked.map_or(now, |asked| now.max(asked + URGENT));
            name.due = name.due.min(soon);
        }
    }
    pub fn next_timeout(&self) -> Option<Now> {
        let idle = self.names.values().filter(|name| !name.running);
        idle.map(|name| name.due).min().filter(|_| self.running < AT_ONCE)
    }
    /// Asks for what is due, and tells what has come of it.
    pub fn turn(&mut self, now: Now) -> Vec<Input> {
        let mut drained = [0; 8];
        let _ = rustix::io::read(&*self.wake, &mut drained); // empty is as good
        let mut told = Vec::new();
        while let Ok((name, answer)) = self.answers.1.try_recv() {
            self.running -= 1;
            let Some(known) = self.names.get_mut(&name) else { continue };
            known.running = false;
            known.failures = if answer.is_ok() { 0 } else { known.failures + 1 };
            known.due = match known.failures {
                0 => now + REFRESH,
                n => now + AGAIN.saturating_mul(1 << (n - 1).min(8)).min(REFRESH),
            };
            let each = |peer: &String| Input::Resolved { peer: peer.clone(), addresses: answer.clone() };
            told.extend(known.peers.iter().map(each));
        }
        for (name, known) in self.names.iter_mut().filter(|(_, known)| !known.running && known.due <= now) {
            if self.running == AT_ONCE {
                break;
            }
            let (lookup, answers) = (Arc::clone(&self.lookup), self.answers.0.clone());
            let (name, wake) = (name.clone(), Arc::clone(&self.wake));
            let look = move || {
                let answer = lookup(&name);
                // Whoever asked may be gone.
                if answers.send((name, answer)).is_ok() {
                    let _ = rustix::io::write(&*wake, &1u64.to_ne_bytes());
                }
            };
            known.asked = Some(now);
            match std::thread::Builder::new().name("resolve".into()).spawn(look) {
                Ok(_) => (known.running, self.running) = (true, self.running + 1),
                Err(error) => {
                    tracing::warn!(%error, "no thread to look up a peer's name");
                    known.due = now + AGAIN;
                }
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn at(seconds: u64) -> Now {
        Duration::from_secs(seconds)
    }
    /// Turns until everybody who looks has come back.
    fn settle(resolver: &mut Resolver, now: Now) -> Vec<Input> {
        let mut told = resolver.turn(now);
        while resolver.running > 0 {
            std::thread::sleep(Duration::from_millis(1));
            told.extend(resolver.turn(now));
        }
        told
    }
    fn said(told: &[Input]) -> Vec<String> {
        let word = |input: &Input| match input {
            Input::Resolved { peer, addresses } => format!("{peer} {addresses:?}"),
            other => panic!("{other:?}"),
        };
        let mut said: Vec<_> = told.iter().map(word).collect();
        said.sort();
        said
    }

    #[test]
    fn names_are_looked_up_again_in_time_and_on_demand() {
        let answer: Arc<Mutex<Answer>> = Arc::new(Mutex::new(Err("nobody".into())));
        let shared = Arc::clone(&answer);
        let mut resolver = Resolver::new(Arc::new(move |_| shared.lock().unwrap().clone())).unwrap();
        assert_eq!(resolver.next_timeout(), None);
        resolver.configure([("a", "x.test"), ("b", "x.test")].into_iter(), at(0));
        assert_eq!(said(&settle(&mut resolver, at(0))), ["a Err(\"nobody\")", "b Err(\"nobody\")"]);
        assert_eq!(resolver.next_timeout(), Some(at(2)), "not found: soon again");
        settle(&mut resolver, at(2));
        assert_eq!(resolver.next_timeout(), Some(at(6)), "then later");
        *answer.lock().unwrap() = Ok(vec!["192.0.2.1".parse().unwrap()]);
        assert_eq!(said(&settle(&mut resolver, at(6))), ["a Ok([192.0.2.1])", "b Ok([192.0.2.1])"]);
        assert_eq!(resolver.next_timeout(), Some(at(66)));
        resolver.urge("b", at(7));
        assert_eq!(
            resolver.next_timeout(),
            Some(at(8)),
            "a peer that does not answer asks at once, but not too often"
        );
        assert_eq!(settle(&mut resolver, at(8)).len(), 2);
        resolver.configure([("a", "x.test")].into_iter(), at(9));
        assert_eq!(settle(&mut resolver, at(9)).len(), 1, "another list of peers is told");
        resolver.configure(std::iter::empty(), at(10));
        assert_eq!((resolver.next_timeout(), settle(&mut resolver, at(100)).len()), (None, 0));
    }
    #[test]
    fn those_that_hang_hold_up_nobody() {
        let (go, gate) = channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let hang = move |name: &str| {
            if name != "quick.test" {
                let _ = gate.lock().unwrap().recv();
            }
            Ok(vec!["192.0.2.1".parse().unwrap()])
        };
        let mut resolver = Resolver::new(Arc::new(hang)).unwrap();
        let names: Vec<String> =
            (0..AT_ONCE - 1).map(|n| format!("slow{n}.test")).chain(["quick.test".into()]).collect();
        resolver.configure(names.iter().map(|name| (name.as_str(), name.as_str())), at(0));
        let mut told = resolver.turn(at(0));
        while told.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
            told = resolver.turn(at(0));
        }
        assert_eq!(said(&told), ["quick.test Ok([192.0.2.1])"]);
        drop(go);
        settle(&mut resolver, at(0));
        // A hosts file has this one.
        assert!(system("localhost").unwrap().iter().all(|a| a.is_loopback()));
        assert!(system("no-such-name.invalid").is_err());
    }
}
