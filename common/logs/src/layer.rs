//! Between `tracing` and the outputs.
use crate::filter::{Filter, Rule};
use crate::limit::Limits;
use crate::output::{Console, Line, LogFile};
use crate::ring::{Entry, Ring};
use crate::syslog::Senders;
use crate::{Options, topics};
use anyhow::Context as _;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

struct Shared {
    filter: RwLock<Filter>,
    outputs: Mutex<Outputs>,
}
struct Outputs {
    console: Option<Console>,
    file: Option<LogFile>,
    ring: Ring,
    on_entry: Option<Box<dyn Fn() + Send>>,
    remote: Senders,
    /// By place in the program, and by cause where one place tells many.
    limits: Limits<(tracing::callsite::Identifier, String)>,
}
fn lock(outputs: &Mutex<Outputs>) -> MutexGuard<'_, Outputs> {
    // Whoever panicked while it wrote a line left nothing half-done that matters.
    outputs.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Layer {
    shared: Arc<Shared>,
    journal: Option<tracing_journald::Layer>,
}
/// Changes what is logged, and reads what was.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Layer {
    pub fn new(options: &Options) -> anyhow::Result<(Self, Handle)> {
        let filter = Filter::new(&options.log_level).map_err(anyhow::Error::msg).context("--log-level")?;
        let file = options.log_file.as_deref().map(|path| {
            LogFile::open(path, options.log_json).with_context(|| format!("--log-file {}", path.display()))
        });
        let journal = match options.log_journald {
            true => Some(tracing_journald::Layer::new().context("--log-journald: no journal to write to")?),
            false => None,
        };
        let outputs = Outputs {
            console: journal.is_none().then(|| Console::new(options.log_json)),
            file: file.transpose()?,
            ring: Ring::default(),
            on_entry: None,
            remote: Senders::default(),
            limits: Limits::new(),
        };
        let shared = Arc::new(Shared { filter: RwLock::new(filter), outputs: Mutex::new(outputs) });
        let journal = journal.map(|journal| journal.with_field_prefix(Some("ESPWAY".into())));
        Ok((Self { shared: Arc::clone(&shared), journal }, Handle(shared)))
    }
}

/// Message and fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}
impl Fields {
    fn get(&self, name: &str) -> Option<&str> {
        self.others.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }
}
impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.others.push((field.name(), value.to_owned()));
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            _ = write!(self.message, "{value:?}");
        } else {
            self.others.push((field.name(), format!("{value:?}")));
        }
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> tracing_subscriber::Layer<S> for Layer {
    /// Levels change while we run, so no place is switched off for good.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let filter = self.shared.filter.read().unwrap_or_else(PoisonError::into_inner);
        filter.may_want(metadata.target(), *metadata.level())
    }
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let (metadata, mut fields) = (event.metadata(), Fields::default());
        event.record(&mut fields);
        let (target, level) = (metadata.target(), *metadata.level());
        let peer = fields.get("peer");
        let filter = self.shared.filter.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = filter.wanted(target, level, peer, &fields.message);
        drop(filter);
        if wanted.nowhere() {
            return;
        }
        let now = Instant::now();
        let kind = (metadata.callsite(), fields.get("cause").unwrap_or_default().to_owned());
        let mut outputs = lock(&self.shared.outputs);
        outputs.said_later(now);
        if !outputs.limits.take(kind, &fields.message, now) {
            return;
        }
        // Nothing is empty in a line: `peer=` of a stranger is left out.
        fields.others.retain(|(_, value)| !value.is_empty());
        let topics = topics(target, level);
        let line = Line {
            at: wall(),
            level,
            target,
            topics: &topics,
            message: &fields.message,
            fields: &fields.others,
        };
        outputs.write(&line, &wanted, now);
        drop(outputs);
        if let Some(journal) = &self.journal
            && wanted.echo.is_some()
        {
            journal.on_event(event, context);
        }
    }
}
fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

impl Outputs {
    fn write(&mut self, line: &Line<'_>, wanted: &crate::filter::Wanted, now: Instant) {
        if let (Some(console), Some(prefix)) = (&self.console, &wanted.echo) {
            console.write(line, prefix);
        }
        if let (Some(file), Some(prefix)) = (&mut self.file, &wanted.disk) {
            file.write(line, prefix, now);
        }
        if let Some(prefix) = &wanted.memory {
            let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}: ") };
            self.ring.push(line.at, line.topics.to_owned(), prefix + &line.said());
            if let Some(call) = &self.on_entry {
                call();
            }
        }
        for (target, prefix) in &wanted.remote {
            self.remote.send(target, line, prefix);
        }
    }
    fn said_later(&mut self, now: Instant) {
        let over = self.limits.over(now).into_iter();
        let mut later: Vec<String> = over
            .map(|(count, example)| format!("{count} more messages like this one were suppressed: {example}"))
            .collect();
        later.extend(self.remote.lost(now).into_iter().map(|(count, to, why)| {
            format!("{count} messages could not be sent to {to} at once and are not sent: {why}")
        }));
        for message in later {
            let (level, target) = (Level::WARN, "logs");
            let topics = topics(target, level);
            let line = Line { at: wall(), level, target, topics: &topics, message: &message, fields: &[] };
            let everywhere = Some(String::new());
            let wanted = crate::filter::Wanted {
                memory: everywhere.clone(),
                echo: everywhere.clone(),
                disk: everywhere,
                remote: Vec::new(),
            };
            self.write(&line, &wanted, now);
        }
    }
}

impl Handle {
    fn change<T>(&self, change: impl FnOnce(&mut Filter) -> T) -> T {
        change(&mut self.0.filter.write().unwrap_or_else(PoisonError::into_inner))
    }
    /// `info`, `ike=debug,info` …
    pub fn set_level(&self, text: &str) -> Result<(), String> {
        self.change(|filter| filter.set_base(text))
    }
    /// Of one peer's messages; `default` makes it as loud as the rest again.
    pub fn set_peer_level(&self, peer: &str, text: &str) -> Result<(), String> {
        let level = match text {
            "default" => None,
            text => Some(text.parse().map_err(|_| {
                format!(
                    "`{text}` is no log level of a peer; write error, warn, info, debug, trace or default"
                )
            })?),
        };
        self.change(|filter| filter.set_peer(peer, level));
        Ok(())
    }
    pub fn set_rules(&self, rules: Vec<Rule>) {
        self.change(|filter| filter.set_rules(rules));
    }
    /// Whose exchanges are to be told message by message: everybody's, or those of these peers.
    pub fn in_detail(&self) -> Result<(), Vec<String>> {
        self.0.filter.read().unwrap_or_else(PoisonError::into_inner).in_detail()
    }
    /// What `/log print` shows, behind this id.
    pub fn entries(&self, after: u64) -> Vec<Entry> {
        lock(&self.0.outputs).ring.after(after)
    }
    /// A line of another process of this gateway, with the time it was written.
    pub(crate) fn adopt(&self, Entry { at, topics, message, .. }: Entry) {
        let filter = self.0.filter.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = filter.wanted_here(&topics, &message);
        drop(filter);
        let level = topics::level(&topics);
        let line = Line { at, level, target: "", topics: &topics, message: &message, fields: &[] };
        lock(&self.0.outputs).write(&line, &wanted, Instant::now());
    }
    /// What is called after each line that `entries` gives, by whoever logged it: it must be quick and not log.
    pub fn on_entry(&self, call: impl Fn() + Send + 'static) {
        lock(&self.0.outputs).on_entry = Some(Box::new(call));
    }
    /// Says what was suppressed, if its time has come. To be called now and then.
    pub fn tick(&self) {
        lock(&self.0.outputs).said_later(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn events_arrive_with_topics_fields_and_levels_of_their_peer() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log");
        let options = Options {
            log_level: "info".into(),
            log_json: true,
            log_file: Some(path.clone()),
            log_journald: false,
        };
        let (layer, handle) = Layer::new(&options).expect("a layer");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let debug = |peer: &str| tracing::debug!(target: "ike", peer, "received IKE_AUTH");
            debug("b");
            handle.set_peer_level("b", "debug").expect("a level");
            debug("b");
            debug("c");
            handle.set_peer_level("b", "default").expect("a level");
            debug("b");
            for n in 0..1000 {
                tracing::warn!(target: "ike", peer = "", cause = "no-peer", "a call from {n}");
            }
            tracing::warn!(target: "ike", peer = "", cause = "malformed", "another kind");
        });
        let entries = handle.entries(0);
        assert_eq!(entries.len(), 1 + 100 + 1);
        assert_eq!(
            (entries[0].topics.as_str(), entries[0].message.as_str()),
            ("ipsec,debug", "peer=b received IKE_AUTH")
        );
        assert_eq!(entries[1].message, "a call from 0 cause=no-peer");
        lock(&handle.0.outputs).said_later(Instant::now() + Duration::from_secs(60));
        assert!(
            handle.entries(102)[0]
                .message
                .starts_with("900 more messages like this one were suppressed: a call from 100")
        );
        let text = std::fs::read_to_string(path).expect("the file");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        assert_eq!(lines.len(), 103);
        assert_eq!(
            (lines[0]["level"].as_str(), lines[0]["fields"]["peer"].as_str()),
            (Some("DEBUG"), Some("b"))
        );
        assert!(handle.set_peer_level("b", "loud").is_err() && handle.set_level("loud").is_err());
    }
}
