//! The stream of what happens: changes of the configuration, negotiations that fail, peers that come and go. Looked for once a second while
//! somebody listens, at nobody else's cost.
use super::handle::App;
use super::live;
use super::stream::{STILL_HERE, event};
use hyper::body::Bytes;
use ipc::status::{Request, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Sender;

const EVERY: Duration = Duration::from_secs(1);
/// A silent stream says that it lives so often.
const SIGN_OF_LIFE: u32 = 15;

pub async fn run(app: Arc<App>, to: Sender<Bytes>) {
    let mut seen = Seen::default();
    // What is there already is no event.
    if seen.look(&app).await.is_none() || to.send(event("ready", &json!({}))).await.is_err() {
        return;
    }
    let mut quiet = 0;
    while !to.is_closed() {
        tokio::time::sleep(EVERY).await;
        let Some(events) = seen.look(&app).await else { return };
        quiet = if events.is_empty() { quiet + 1 } else { 0 };
        for (name, data) in events {
            if to.send(event(name, &data)).await.is_err() {
                return;
            }
        }
        if quiet == SIGN_OF_LIFE {
            quiet = 0;
            if to.send(STILL_HERE).await.is_err() {
                return;
            }
        }
    }
}

/// As it was at the last look.
#[derive(Default)]
struct Seen {
    entry: Option<u64>,
    /// How often each record of a failure has been counted.
    failures: Option<BTreeMap<u64, u64>>,
    /// By SPI: name and address.
    peers: BTreeMap<String, (String, String)>,
}
impl Seen {
    /// `None`: the gateway does not answer any more.
    async fn look(&mut self, app: &App) -> Option<Vec<(&'static str, Value)>> {
        let mut events = Vec::new();
        if let Response::History(entries) = app.asker.request(Request::History).await.ok()? {
            let last = entries.last().map_or(0, |entry| entry.number);
            let before = self.entry.replace(last).unwrap_or(last);
            let fresh = entries.iter().filter(|entry| entry.number > before);
            events.extend(fresh.map(|entry| ("configuration", live::entry(entry).into())));
        }
        if let Response::Diagnosis(rows) =
            app.asker.request(Request::Diagnosis { peer: None, clear: false }).await.ok()?
        {
            let counts = rows.iter().map(|row| (row.id, row.count)).collect();
            // What was there at the first look is no event.
            let before = self.failures.replace(counts);
            let fresh =
                rows.iter().filter(|row| before.as_ref().is_some_and(|b| b.get(&row.id) != Some(&row.count)));
            events.extend(fresh.filter_map(|row| Some(("diagnosis", live::plain(row, row.id)?.into()))));
        }
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
        let said = |(peer, remote): &(String, String)| json!({"peer": peer, "remote-address": remote});
        let up = peers.iter().filter(|(spi, _)| !self.peers.contains_key(*spi));
        events.extend(up.map(|(_, peer)| ("peer-up", said(peer))));
        let down = self.peers.iter().filter(|(spi, _)| !peers.contains_key(*spi));
        events.extend(down.map(|(_, peer)| ("peer-down", said(peer))));
        self.peers = peers;
        Some(events)
    }
}
