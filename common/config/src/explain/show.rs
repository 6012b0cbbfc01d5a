//! The explanation in words.
use super::view::around;
use super::{Arrival, Explanation, Judged, Packet, PolicyView, Told, What, Why, World};
use crate::value::{show_duration, show_protocol};
use sa::DropReason;
use std::fmt;
use std::time::Duration;

/// What becomes of the packet.
pub(super) fn sentence(world: &World<'_>, packet: &Packet, judged: &Judged<'_>) -> String {
    let out = judged.way.as_ref().and_then(super::view::interface).unwrap_or_default();
    let peer = judged.policy.and_then(|policy| policy.peer.as_deref());
    match (judged.what, judged.reason, judged.why) {
        (What::Drop, Some(DropReason::NoRoute), _) => match (&judged.way, judged.remote) {
            (Some(_), Some(remote)) => {
                format!("is dropped: the route to the peer's address {remote} is a blackhole")
            }
            (None, Some(remote)) => format!("is dropped: no route leads to the peer's address {remote}"),
            (Some(_), None) => format!("is dropped: the route to {} is a blackhole", packet.dst),
            (None, None) => format!("is dropped: no route leads to {}", packet.dst),
        },
        (What::Drop, Some(DropReason::NoSa), _) => match peer {
            Some(peer) => format!("is dropped while there is no SA; one is being asked for from `{peer}`"),
            None => "is dropped: its policy has no SA, and no peer that could be asked for one".into(),
        },
        (What::Drop, reason, _) => {
            format!("is dropped: {}", reason.map_or("", |reason| around(reason).meaning))
        }
        (What::Deliver, _, Why::Exempt) => {
            "is for the gateway itself: IKE and ESP are not held against policies".into()
        }
        (What::Deliver, _, Why::Link) => "is for the link, and goes to the host".into(),
        (What::Deliver, ..) => "is for the gateway itself, and goes to the host".into(),
        (What::Forward, _, Why::Exempt) => {
            format!("leaves through `{out}` in clear: IKE is not held against policies")
        }
        (What::Forward, ..) => format!("leaves through `{out}` in clear"),
        (What::Encrypt, ..) => {
            let to = match judged.remote {
                Some(remote) => format!(" to {remote}, through `{out}`"),
                None => " to where the peer called from".into(),
            };
            let by = peer.map_or(String::new(), |peer| format!(" for `{peer}`"));
            match (&judged.sa, world.live.is_some() || peer.is_none()) {
                (Some(sa), _) => format!("is encrypted{by} under SA {} and sent{to}", sa.view.spi),
                (None, true) => format!("is encrypted{by} and sent{to}"),
                (None, false) => format!(
                    "is encrypted{by} and sent{to}; without an SA one is asked for, and meanwhile it is dropped unless level=use"
                ),
            }
        }
    }
}

fn packet(p: &Packet) -> String {
    let end = |address: std::net::IpAddr, port: Option<u16>| match port {
        Some(port) => std::net::SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    };
    format!("{} {} → {}", show_protocol(Some(p.protocol)), end(p.src, p.src_port), end(p.dst, p.dst_port))
}
fn policy(p: &PolicyView) -> String {
    let ports = |port: &str| if port == "any" { String::new() } else { format!(" port {port}") };
    let level = p.level.map_or(String::new(), |level| format!(", level={level}"));
    let peer = p.peer.as_ref().map_or(String::new(), |peer| format!(", peer `{peer}`"));
    let dynamic = if p.dynamic { ", dynamic" } else { "" };
    let comment = if p.comment.is_empty() { String::new() } else { format!("   ;;; {}", p.comment) };
    format!(
        "{}: {}{} → {}{}, {}, {}{level}{peer}{dynamic}{comment}",
        p.number,
        p.src_address,
        ports(&p.src_port),
        p.dst_address,
        ports(&p.dst_port),
        p.protocol,
        p.action
    )
}

impl Told {
    /// What stands in front, and the line.
    fn lines(&self, live: bool) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        let through = self.in_interface.as_deref();
        lines.push((
            "arrives",
            match (self.arrives, through) {
                (Arrival::FromGateway, _) => "from the gateway itself".to_owned(),
                (Arrival::InClear, Some(interface)) => format!("in clear, on `{interface}`"),
                (Arrival::InClear, None) => "in clear; no route leads back to its source".into(),
                (Arrival::ThroughTunnel, _) => "through the tunnel of a policy".into(),
            },
        ));
        lines.extend(self.in_policy.iter().map(|p| ("tunnel of", policy(p))));
        match &self.policy {
            Some(p) => lines.push(("policy", policy(p))),
            None => lines.push(("policy", "none fits".into())),
        }
        lines.extend(self.shadowed.iter().map(|p| ("shadowed", policy(p))));
        if self.shadowed_count > self.shadowed.len() {
            lines.push(("shadowed", format!("and {} more", self.shadowed_count - self.shadowed.len())));
        }
        if let Some(route) = &self.route {
            let to = match (&route.gateway, &route.interface) {
                _ if route.blackhole => "blackhole".to_owned(),
                (Some(gateway), Some(interface)) => format!("via {gateway}, `{interface}`"),
                (_, interface) => format!("on `{}`", interface.as_deref().unwrap_or_default()),
            };
            lines.push(("route", format!("{} {to}", route.dst_address)));
        }
        for sa in &self.sas {
            let expires = show_duration(Duration::from_secs(sa.expires_in));
            lines.push((
                if sa.used { "SA" } else { "other SA" },
                format!(
                    "{} {} {}, {}, {} → {}, {} packets, expires in {expires}",
                    sa.direction,
                    sa.spi,
                    sa.state,
                    sa.algorithms,
                    sa.src_address,
                    sa.dst_address,
                    sa.current_packets
                ),
            ));
        }
        lines.push(("so", format!("it {}", self.said)));
        lines.extend(self.notes.iter().map(|note| ("note", note.clone())));
        for drop in &self.last_drops {
            let count = if drop.count > 1 { format!(", {} times", drop.count) } else { String::new() };
            let ago = show_duration(Duration::from_secs(drop.seconds_ago));
            let what = if drop.packet == self.packet {
                String::new()
            } else {
                format!(" ({})", packet(&drop.packet))
            };
            lines.push(("dropped", format!("{ago} ago{count}: `{}`, {}{what}", drop.reason, drop.meaning)));
        }
        if live && self.last_drops.is_empty() {
            lines.push(("dropped", "none of these lately".into()));
        }
        lines
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for told in &self.ways {
            writeln!(f, "{}", packet(&told.packet))?;
            for (what, line) in told.lines(self.live) {
                writeln!(f, "  {what:<10} {line}")?;
            }
        }
        if !self.live {
            writeln!(f, "No gateway was asked: SAs and drops are not known.")?;
        }
        Ok(())
    }
}
