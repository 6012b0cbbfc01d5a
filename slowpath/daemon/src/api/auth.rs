//! Who is asking, and what they may. On the Unix socket the kernel says it; over TLS a token or a certificate does.
use config::Secret;
use config::model::{Api, ApiUser};
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use manage::api::{Problem, Roles};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Where a connection comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Root or our own user.
    Local { uid: u32 },
    /// With the names in the certificate it has shown.
    Remote { address: IpAddr, names: Vec<String> },
}
#[derive(Clone, Debug)]
pub struct Who {
    pub name: String,
    pub roles: Roles,
}

/// Wrong tokens that cost nothing: people mistype.
const FREE: u32 = 3;
const LONGEST: Duration = Duration::from_secs(300);
/// Sources that are remembered; beyond that, those with the fewest wrong tokens are forgotten.
const REMEMBERED: usize = 4096;

/// Who is counted as one: an IPv4 address, or an IPv6 /64, all of which a single host has (RFC 7934 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin(IpAddr);
impl Origin {
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        })
    }
}

#[derive(Default)]
pub struct Guard(Mutex<HashMap<Origin, Wrong>>);
#[derive(Clone, Copy)]
struct Wrong {
    times: u32,
    until: Instant,
}

impl Guard {
    /// How much longer nobody is let in from there.
    fn closed(&self, from: Origin, now: Instant) -> Option<Duration> {
        let sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = sources.get(&from)?.until.checked_duration_since(now)?;
        (!left.is_zero()).then_some(left)
    }
    fn wrong(&self, from: Origin, now: Instant) {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= REMEMBERED && !sources.contains_key(&from) {
            let least = sources.iter().min_by_key(|(_, wrong)| wrong.times).map(|(origin, _)| *origin);
            least.and_then(|origin| sources.remove(&origin));
        }
        let wrong = sources.entry(from).or_insert(Wrong { times: 0, until: now });
        wrong.times = wrong.times.saturating_add(1);
        let exponent = wrong.times.saturating_sub(FREE);
        let delay = if exponent == 0 { 0 } else { 1u64 << (exponent - 1).min(16) };
        wrong.until = now + Duration::from_secs(delay).min(LONGEST);
    }
    fn right(&self, from: Origin) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&from);
    }

    pub fn who(&self, source: &Source, headers: &HeaderMap, api: &Api) -> Result<Who, Problem> {
        let (address, names) = match source {
            Source::Local { uid } => return Ok(local(*uid, headers)),
            Source::Remote { address, names } => (*address, names),
        };
        let (now, origin) = (Instant::now(), Origin::of(address));
        if let Some(left) = self.closed(origin, now) {
            let fix = format!("wait {} seconds", left.as_secs() + 1);
            return Err(Problem { fix, ..Problem::new(429, "too many wrong tokens from there") });
        }
        let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let users = api.users.iter().filter(|user| user.expires.is_none_or(|end| today < end));
        let found = match bearer(headers) {
            Some(token) => by_token(users, token),
            None => users
                .into_iter()
                .find(|user| user.certificate_name.as_ref().is_some_and(|n| names.contains(n))),
        };
        let nobody = |said: &str| Problem::new(401, said);
        match (found, headers.contains_key(AUTHORIZATION)) {
            (Some(user), _) => {
                self.right(origin);
                Ok(Who { name: format!("{}@{address}", user.name), roles: roles(user) })
            }
            (None, true) => {
                self.wrong(origin, now);
                Err(nobody("the token is nobody's, or its time is over"))
            }
            (None, false) => {
                Err(nobody("say who you are: `Authorization: Bearer TOKEN`, or a client certificate"))
            }
        }
    }
}
fn roles(user: &ApiUser) -> Roles {
    let has = |role: &str| user.roles.iter().any(|own| own == role);
    Roles { read: has("read"), write: has("write"), sensitive: has("sensitive") }
}
/// Whoever has the machine may say a name; it is for the history.
fn local(uid: u32, headers: &HeaderMap) -> Who {
    let named = headers.get("x-who").and_then(|name| name.to_str().ok());
    let named = named.filter(|name| (1..=64).contains(&name.len()));
    Who { name: named.map_or_else(|| format!("uid {uid}"), ToOwned::to_owned), roles: Roles::ALL }
}
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (kind, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    kind.eq_ignore_ascii_case(b"bearer ").then_some(token)
}
/// Looks at every user, whoever it is: time tells nothing.
fn by_token<'a>(users: impl Iterator<Item = &'a ApiUser>, token: &[u8]) -> Option<&'a ApiUser> {
    let digest =
        |bytes: &[u8]| Secret::new(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().to_vec());
    let shown = digest(token);
    users.fold(None, |found, user| {
        let own = user.token.as_ref().map(|token| digest(token.expose()));
        let is_it = [own.as_ref(), user.token_sha256.as_ref()]
            .into_iter()
            .flatten()
            .fold(false, |yes, own| yes | (*own == shown));
        if is_it { Some(user) } else { found }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, token: &str, roles: &[&str]) -> ApiUser {
        ApiUser {
            name: name.into(),
            token: Some(Secret::new(token.into())),
            token_sha256: None,
            certificate_name: None,
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            expires: None,
        }
    }
    fn api() -> Api {
        let hashed = ring::digest::digest(&ring::digest::SHA256, b"kept as a hash only");
        let mut old = user("old", "its time is over", &["read"]);
        old.expires = Some(1_000_000);
        let hash = ApiUser {
            token: None,
            token_sha256: Some(Secret::new(hashed.as_ref().into())),
            ..user("hash", "", &["read", "write"])
        };
        let mtls = ApiUser {
            token: None,
            certificate_name: Some("robot.example".into()),
            ..user("mtls", "", &["read"])
        };
        Api {
            users: vec![user("ann", "a long token of ann's", &["read"]), hash, old, mtls],
            ..Api::default()
        }
    }
    fn headers(token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !token.is_empty() {
            headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().expect("text"));
        }
        headers
    }
    fn remote(names: &[&str]) -> Source {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Source::Remote { address: IpAddr::from([192, 0, 2, 9]), names }
    }

    #[test]
    fn g6_no_wrong_expired_or_other_roles_tokens() {
        let (guard, api) = (Guard::default(), api());
        let ask = |token: &str, names: &[&str]| guard.who(&remote(names), &headers(token), &api);
        assert_eq!(ask("", &[]).expect_err("nobody").status, 401);
        assert_eq!(ask("its time is over", &[]).expect_err("over").status, 401);
        assert_eq!(ask("a long token of ann'", &[]).expect_err("cut off").status, 401);
        let ann = ask("a long token of ann's", &[]).expect("known");
        assert_eq!(
            (ann.name.as_str(), ann.roles),
            ("ann@192.0.2.9", Roles { read: true, ..Roles::default() })
        );
        assert!(ask("kept as a hash only", &[]).expect("known").roles.write);
        assert_eq!(ask("", &["robot.example"]).expect("a certificate").name, "mtls@192.0.2.9");
        assert_eq!(ask("", &["other.example"]).expect_err("not ours").status, 401);
    }
    #[test]
    fn g6_guessing_gets_slower_and_hits_nobody_else() {
        let (guard, api) = (Guard::default(), api());
        for _ in 0..=FREE {
            assert_eq!(guard.who(&remote(&[]), &headers("guess"), &api).expect_err("wrong").status, 401);
        }
        let closed = guard.who(&remote(&[]), &headers("a long token of ann's"), &api).expect_err("closed");
        assert_eq!(closed.status, 429);
        let other = Source::Remote { address: IpAddr::from([192, 0, 2, 10]), names: Vec::new() };
        guard.who(&other, &headers("a long token of ann's"), &api).expect("another source");
        // Each further one doubles the delay, up to a limit; the table stays small.
        let guesser = Origin::of(IpAddr::from([192, 0, 2, 9]));
        let start = Instant::now();
        let mut last = Duration::ZERO;
        for _ in 0..30 {
            guard.wrong(guesser, start);
            let left = guard.closed(guesser, start).expect("closed");
            assert!(left >= last && left <= LONGEST);
            last = left;
        }
        assert_eq!(last, LONGEST);
        (0..10_000u32).for_each(|n| guard.wrong(Origin(IpAddr::from(n.to_be_bytes())), start));
        assert!(guard.0.lock().expect("whole").len() <= REMEMBERED);
        assert!(guard.closed(guesser, start).is_some(), "the worst is not forgotten");
    }
    #[test]
    fn g6_a_guesser_has_no_new_address_for_each_guess() {
        let (guard, api) = (Guard::default(), api());
        let from =
            |address: String| Source::Remote { address: address.parse().expect("one"), names: Vec::new() };
        for n in 0..=FREE {
            let said = guard.who(&from(format!("2001:db8:1:2:{n:x}::{n:x}")), &headers("guess"), &api);
            assert_eq!(said.expect_err("wrong").status, 401);
        }
        let ask = |address: &str| guard.who(&from(address.into()), &headers("a long token of ann's"), &api);
        assert_eq!(ask("2001:db8:1:2:ffff::1").expect_err("closed").status, 429);
        assert_eq!(ask("2001:db8:1:3::1").expect("another network").name, "ann@2001:db8:1:3::1");
        // An IPv4 address is itself, however it is written.
        assert_eq!(Origin::of("::ffff:192.0.2.1".parse().expect("one")), Origin::of([192, 0, 2, 1].into()));
        assert_ne!(Origin::of([192, 0, 2, 1].into()), Origin::of([192, 0, 2, 2].into()));
    }
}
