//! Syslog over UDP. Whoever collects may be slow or dead: nothing waits for it, what the system does not take at once is
//! counted, and the count is said here.
use crate::output::Line;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, process};
use tracing::Level;

/// Another machine, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub to: SocketAddr,
    pub from: Option<IpAddr>,
    /// RFC 3164's shape.
    pub bsd: bool,
    /// Numbers of RFC 5424 6.2.1.
    pub facility: u8,
    pub severity: Option<u8>,
    /// Who we are.
    pub host: String,
}
//= rfc5426#3.2: a receiver should take 2048 octets, so no message is longer.
const LONGEST: usize = 2048;
/// How often losses are said.
const EVERY: Duration = Duration::from_secs(60);
/// Targets whose socket is kept; a configuration has a few.
const KEPT: usize = 64;

#[derive(Default)]
pub(crate) struct Senders {
    by_target: HashMap<Arc<Target>, Sender>,
    said: Option<Instant>,
}
struct Sender {
    socket: io::Result<UdpSocket>,
    lost: u64,
    why: String,
}
impl Senders {
    pub fn send(&mut self, target: &Arc<Target>, line: &Line<'_>, prefix: &str) {
        if self.by_target.len() >= KEPT && !self.by_target.contains_key(target) {
            self.by_target.clear(); // rows that are gone
        }
        let sender = self.by_target.entry(Arc::clone(target)).or_insert_with(|| Sender::new(target));
        sender.send(target, &message(target, line, prefix));
    }
    /// How many were lost in the last while, on the way to whom, and why.
    pub fn lost(&mut self, now: Instant) -> Vec<(u64, SocketAddr, String)> {
        if self.said.is_some_and(|said| now.saturating_duration_since(said) < EVERY) {
            return Vec::new();
        }
        let lost = self.by_target.iter_mut().filter(|(_, sender)| sender.lost > 0);
        let lost: Vec<_> = lost
            .map(|(target, sender)| {
                (std::mem::take(&mut sender.lost), target.to, std::mem::take(&mut sender.why))
            })
            .collect();
        if !lost.is_empty() {
            self.said = Some(now);
        }
        lost
    }
}
impl Sender {
    fn new(target: &Target) -> Self {
        Self { socket: socket(target), lost: 0, why: String::new() }
    }
    fn send(&mut self, target: &Target, message: &str) {
        let sent = match &self.socket {
            Ok(socket) => socket.send_to(message.as_bytes(), target.to).map(drop),
            Err(error) => Err(io::Error::from(error.kind())),
        };
        if let Err(error) = sent {
            self.lost += 1;
            self.why = error.to_string();
            if self.socket.is_err() {
                // The address may have come meanwhile.
                self.socket = socket(target);
            }
        }
    }
}
fn socket(target: &Target) -> io::Result<UdpSocket> {
    let any: IpAddr = match target.to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((target.from.unwrap_or(any), 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn message(target: &Target, line: &Line<'_>, prefix: &str) -> String {
    let own = match line.level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    };
    //= rfc5424#6.2.1: the facility times eight, plus the severity.
    let priority = u16::from(target.facility) * 8 + u16::from(target.severity.unwrap_or(own));
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}: ") };
    let said = crate::output::clean(&format!("{}: {prefix}{}", line.topics, line.said()));
    let host = name(&target.host);
    let mut text = if target.bsd {
        //= rfc3164#4.1.2: month, day in two places, time.
        format!("<{priority}>{} {host} espway: {said}", bsd_time(line.at))
    } else {
        //= rfc5424#6: version 1, no message id, no structured data, and the text as UTF-8.
        format!("<{priority}>1 {} {host} espway {} - - {said}", line.time(), process::id())
    };
    let end = text.floor_char_boundary(LONGEST);
    text.truncate(end);
    text
}
/// A word of printable ASCII, as both RFCs want it.
fn name(host: &str) -> String {
    let word: String = host.chars().filter(char::is_ascii_graphic).take(255).collect();
    if word.is_empty() { "-".into() } else { word }
}
fn bsd_time(at: Duration) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let shown = config::date::show(at.as_secs()); // 2000-02-28 23:59:59
    let number =
        |from, to| shown.get(from..to).and_then(|text: &str| text.parse::<usize>().ok()).unwrap_or(1);
    let month = MONTHS.get(number(5, 7).saturating_sub(1)).copied().unwrap_or("Jan");
    format!("{month} {:>2} {}", number(8, 10), shown.get(11..).unwrap_or("00:00:00"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(to: SocketAddr) -> Target {
        Target { to, from: None, bsd: false, facility: 3, severity: None, host: "gw 1".into() }
    }
    fn line(message: &str) -> Line<'_> {
        let at = Duration::from_micros(951_782_399_000_042);
        Line { at, level: Level::WARN, target: "ike", topics: "ipsec,warning", message, fields: &[] }
    }
    #[test]
    fn a_message_has_the_shape_of_its_rfc() {
        let to = SocketAddr::from(([192, 0, 2, 1], 514));
        let pid = process::id();
        assert_eq!(
            message(&target(to), &line("no answer"), "vpn"),
            format!("<28>1 2000-02-28T23:59:59.000042Z gw1 espway {pid} - - ipsec,warning: vpn: no answer")
        );
        let bsd = Target { bsd: true, facility: 16, severity: Some(2), ..target(to) };
        assert_eq!(
            message(&bsd, &line("no answer"), ""),
            "<130>Feb 28 23:59:59 gw1 espway: ipsec,warning: no answer"
        );
        assert_eq!(bsd_time(Duration::from_secs(951_782_399 + 2 * 86_400)), "Mar  1 23:59:59");
    }
    #[test]
    fn g11_who_collects_may_be_dead_or_slow_and_gets_one_line_each() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port");
        receiver.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        let there = Arc::new(target(receiver.local_addr().expect("bound")));
        let mut senders = Senders::default();
        let long = format!("b\r\n<0>1 forged\u{2028}{}", "ä".repeat(5000));
        senders.send(&there, &line(&long), "");
        let mut bytes = [0; 4096];
        let length = receiver.recv(&mut bytes).expect("a message");
        let text = std::str::from_utf8(&bytes[..length]).expect("text");
        assert!(length <= LONGEST && text.starts_with("<28>1 ") && text.ends_with('ä'));
        assert!(!text.contains(['\r', '\n', '\u{2028}']) && text.contains("forged"));
        // Nobody reads any more: the receiver's buffer fills up and nothing waits for it.
        (0..20_000).for_each(|_| senders.send(&there, &line("more"), ""));
        // Nobody is there, and nobody can be: counted, and said once in a while.
        drop(receiver);
        (0..10).for_each(|_| senders.send(&there, &line("more"), ""));
        let absent = Arc::new(Target { from: Some([192, 0, 2, 99].into()), ..target(there.to) });
        (0..10).for_each(|_| senders.send(&absent, &line("more"), ""));
        let now = Instant::now();
        let lost = senders.lost(now);
        assert!(
            lost.iter().any(|(count, to, why)| (*count, *to) == (10, absent.to) && !why.is_empty()),
            "{lost:?}"
        );
        senders.send(&absent, &line("more"), "");
        assert!(senders.lost(now).is_empty());
        assert_eq!(senders.lost(now + EVERY).len(), 1);
        for n in 0..1000u16 {
            senders.send(
                &Arc::new(Target { facility: 1, ..target(([127, 0, 0, 1], 1 + n).into()) }),
                &line("x"),
                "",
            );
        }
        assert!(senders.by_target.len() <= KEPT);
    }
}
