//! The stream of what happens: changes of the configuration, negotiations that fail, peers that come and go, lines of the
//! log. The driver says that something has happened (`desk::Pulse`); what it was is looked for then, and only by those
//! who want to know.
use super::handle::App;
use super::live;
use super::stream::{STILL_HERE, event};
use crate::desk::Pulse;
use hyper::body::Bytes;
use ipc::status::{Request, Response};
use manage::api::Watched;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// What happens within it is told together.
const TOGETHER: Duration = Duration::from_millis(50);
/// All peers are looked through at most so often, however many come and go.
const PEERS: Duration = Duration::from_secs(1);
/// A silent stream says that it lives so often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

pub async fn run(app: Arc<App>, watched: Watched, to: Sender<Bytes>) {
    let mut pulse = app.asker.pulse();
    let mut seen = Seen::new(watched);
    let now = *pulse.borrow_and_update();
    // What is there already is no event.
    if seen.look(&app, now).await.is_none() || to.send(event("ready", &json!({}))).await.is_err() {
        return;
    }
    loop {
        let owed = async {
            match seen.peers_due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let woken = tokio::select! {
            () = to.closed() => return,
            changed = timeout(SIGN_OF_LIFE, pulse.changed()) => changed,
            () = owed => Ok(Ok(())),
        };
        match woken {
            Err(_) if to.send(STILL_HERE).await.is_ok() => continue,
            Ok(Ok(())) => {}
            // Nobody reads any more, or the process ends.
            _ => return,
        }
        sleep(TOGETHER).await;
        let now = *pulse.borrow_and_update();
        let Some(events) = seen.look(&app, now).await else { return };
        for (name, data) in events {
            if to.send(event(name, &data)).await.is_err() {
                return;
            }
        }
    }
}

type Events = Vec<(&'static str, Value)>;

/// As it was at the last look.
struct Seen {
    watched: Watched,
    pulse: Option<Pulse>,
    line: u64,
    entry: Option<u64>,
    /// How often each record of a failure has been counted.
    failures: Option<BTreeMap<u64, u64>>,
    /// By SPI: name and address.
    peers: BTreeMap<String, (String, String)>,
    /// They have changed, and were looked through a moment ago.
    peers_due: Option<Instant>,
    peers_looked: Option<Instant>,
}
impl Seen {
    fn new(watched: Watched) -> Self {
        Self {
            watched,
            pulse: None,
            line: 0,
            entry: None,
            failures: None,
            peers: BTreeMap::new(),
            peers_due: None,
            peers_looked: None,
        }
    }
    /// `None`: the gateway does not answer any more.
    async fn look(&mut self, app: &App, now: Pulse) -> Option<Events> {
        let mut events = Events::new();
        let before = self.pulse.replace(now);
        let differs = |of: fn(&Pulse) -> u64| before.as_ref().is_none_or(|before| of(before) != of(&now));
        if self.watched.configuration && differs(|pulse| pulse.configuration) {
            self.configuration(app, &mut events).await?;
        }
        if self.watched.diagnosis && differs(|pulse| pulse.diagnoses) {
            self.diagnoses(app, &mut events).await?;
        }
        if self.watched.log && differs(|pulse| pulse.log) {
            let fresh = live::entries(&app.logs, self.line);
            self.line = fresh.last().map_or(self.line, |entry| entry.id);
            // What is remembered already is no event.
            let fresh = fresh.iter().filter(|_| before.is_some());
            events.extend(fresh.filter_map(|entry| Some(("log", live::plain(entry, entry.id)?.into()))));
        }
        if self.watched.peers && (differs(|pulse| pulse.peers) || self.peers_due.is_some()) {
            match self.peers_looked.map(|looked| looked + PEERS).filter(|due| *due > Instant::now()) {
                Some(due) => self.peers_due = Some(due),
                None => self.peers(app, before.is_some(), &mut events).await?,
            }
        }
        Some(events)
    }
    async fn configuration(&mut self, app: &App, events: &mut Events) -> Option<()> {
        if let Response::History(entries) = app.asker.request(Request::History).await.ok()? {
            let last = entries.last().map_or(0, |entry| entry.number);
            let before = self.entry.replace(last).unwrap_or(last);
            let fresh = entries.iter().filter(|entry| entry.number > before);
            events.extend(fresh.map(|entry| ("configuration", live::entry(entry).into())));
        }
        Some(())
    }
    async fn diagnoses(&mut self, app: &App, events: &mut Events) -> Option<()> {
        let all = Request::Diagnosis { peer: None, clear: false };
        if let Response::Diagnosis(rows) = app.asker.request(all).await.ok()? {
            let counts = rows.iter().map(|row| (row.id, row.count)).collect();
            let before = self.failures.replace(counts);
            let fresh =
                rows.iter().filter(|row| before.as_ref().is_some_and(|b| b.get(&row.id) != Some(&row.count)));
            events.extend(fresh.filter_map(|row| Some(("diagnosis", live::plain(row, row.id)?.into()))));
        }
        Some(())
    }
    async fn peers(&mut self, app: &App, told: bool, events: &mut Events) -> Option<()> {
        (self.peers_due, self.peers_looked) = (None, Some(Instant::now()));
        let mut peers = BTreeMap::new();
        let mut after = None;
        loop {
            let page = app.asker.page(after).await.ok()?;
            let up = page.peers.iter().filter(|peer| peer.state == "established");
            peers.extend(up.map(|peer| {
                (
                    format!("{:016x}{:016x}", peer.spi_i, peer.spi_r),
                    (peer.peer.clone(), peer.remote.to_string()),
                )
            }));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let before = std::mem::replace(&mut self.peers, peers);
        if !told {
            return Some(());
        }
        let said = |(peer, remote): &(String, String)| json!({"peer": peer, "remote-address": remote});
        let up = self.peers.iter().filter(|(spi, _)| !before.contains_key(*spi));
        events.extend(up.map(|(_, peer)| ("peer-up", said(peer))));
        let down = before.iter().filter(|(spi, _)| !self.peers.contains_key(*spi));
        events.extend(down.map(|(_, peer)| ("peer-down", said(peer))));
        Some(())
    }
}
