//! What is wanted: the level that was asked for, levels of peers, rows of `system logging`.
use crate::syslog::Target;
use crate::topics;
use regex::Regex;
use std::collections::HashMap;
use std::sync::Arc;
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};

/// Where a row sends what fits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// What `/log print` shows.
    Memory,
    /// Standard error, or the journal.
    Echo,
    /// The log file.
    Disk,
    /// Another machine.
    Remote(Arc<Target>),
}
/// A row of `system logging`.
#[derive(Clone, Debug)]
pub struct Rule {
    pub topics: Vec<String>,
    pub not_topics: Vec<String>,
    pub action: Action,
    pub prefix: String,
    pub regex: Option<Regex>,
}
impl Rule {
    /// `topics` as written: `!topic` excludes.
    pub fn new<'t>(
        topics: impl IntoIterator<Item = &'t str>,
        action: Action,
        prefix: &str,
        regex: &str,
    ) -> Result<Self, regex::Error> {
        let (not, yes): (Vec<_>, Vec<_>) = topics.into_iter().partition(|topic| topic.starts_with('!'));
        let regex = match regex {
            "" => None,
            text => Some(regex::RegexBuilder::new(text).size_limit(1 << 20).build()?),
        };
        let not_topics = not.iter().map(|topic| topic[1..].to_owned()).collect();
        Ok(Self {
            topics: yes.into_iter().map(str::to_owned).collect(),
            not_topics,
            action,
            prefix: prefix.to_owned(),
            regex,
        })
    }
    /// RouterOS: all of its topics, and none of those it excludes.
    fn fits(&self, target: &str, level: Level) -> bool {
        self.fits_topics(|wanted| topics::each(target, level).any(|topic| topic == wanted))
    }
    fn fits_topics(&self, has: impl Fn(&str) -> bool) -> bool {
        self.topics.iter().all(|topic| has(topic)) && !self.not_topics.iter().any(|topic| has(topic))
    }
}

/// Which outputs an event goes to, and under which prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub memory: Option<String>,
    pub echo: Option<String>,
    pub disk: Option<String>,
    /// Each once, by the first row that says so.
    pub remote: Vec<(Arc<Target>, String)>,
}
impl Wanted {
    pub fn nowhere(&self) -> bool {
        self.memory.is_none() && self.echo.is_none() && self.disk.is_none() && self.remote.is_empty()
    }
}

pub(crate) struct Filter {
    base: Targets,
    rules: Vec<Rule>,
    peers: HashMap<String, Level>,
}
/// What peers' messages are logged as.
pub(crate) const OF_PEERS: &str = "ike";

impl Filter {
    pub fn new(base: &str) -> Result<Self, String> {
        Ok(Self { base: parse(base)?, rules: Vec::new(), peers: HashMap::new() })
    }
    pub fn set_base(&mut self, text: &str) -> Result<(), String> {
        self.base = parse(text)?;
        Ok(())
    }
    pub fn set_rules(&mut self, rules: Vec<Rule>) {
        self.rules = rules;
    }
    /// `None`: as everything else.
    pub fn set_peer(&mut self, peer: &str, level: Option<Level>) {
        match level {
            Some(level) => drop(self.peers.insert(peer.to_owned(), level)),
            None => drop(self.peers.remove(peer)),
        }
    }
    /// Peers whose exchanges are to be told in detail: all, or these.
    pub fn in_detail(&self) -> Result<(), Vec<String>> {
        let all = self.base.would_enable(OF_PEERS, &Level::DEBUG)
            || self.rules.iter().any(|rule| rule.fits(OF_PEERS, Level::DEBUG));
        let some =
            self.peers.iter().filter(|(_, level)| **level >= Level::DEBUG).map(|(peer, _)| peer.clone());
        if all { Ok(()) } else { Err(some.collect()) }
    }
    /// Before its fields are known.
    pub fn may_want(&self, target: &str, level: Level) -> bool {
        self.base.would_enable(target, &level)
            || (target == OF_PEERS && self.peers.values().any(|wanted| level <= *wanted))
            || self.rules.iter().any(|rule| rule.fits(target, level))
    }
    pub fn wanted(&self, target: &str, level: Level, peer: Option<&str>, message: &str) -> Wanted {
        let own = peer.and_then(|peer| self.peers.get(peer)).map(|wanted| level <= *wanted);
        // A peer with a level of its own is quieter or louder than the rest.
        let plain = own.unwrap_or_else(|| self.base.would_enable(target, &level));
        let (mut memory, mut disk) = (plain, plain);
        for (action, on) in [(Action::Memory, &mut memory), (Action::Disk, &mut disk)] {
            // Rows for it take the place of the rule that everything goes there.
            *on &= own.is_some() || !self.rules.iter().any(|rule| rule.action == action);
        }
        let some = |on: bool| on.then(String::new);
        let wanted = Wanted { memory: some(memory), echo: some(plain), disk: some(disk), remote: Vec::new() };
        self.by_rules(wanted, message, |rule| rule.fits(target, level))
    }
    /// For a line of another process, which has written it to its own outputs already.
    pub fn wanted_here(&self, topics: &str, message: &str) -> Wanted {
        let memory = !self.rules.iter().any(|rule| rule.action == Action::Memory);
        let wanted = Wanted { memory: memory.then(String::new), ..Wanted::default() };
        let has = |wanted: &str| topics.split(',').any(|topic| topic == wanted);
        let wanted = self.by_rules(wanted, message, |rule| rule.fits_topics(has));
        Wanted { echo: None, disk: None, ..wanted }
    }
    fn by_rules(&self, mut wanted: Wanted, message: &str, fits: impl Fn(&Rule) -> bool) -> Wanted {
        for rule in self.rules.iter().filter(|rule| fits(rule)) {
            if rule.regex.as_ref().is_some_and(|regex| !regex.is_match(message)) {
                continue;
            }
            let to = match &rule.action {
                Action::Memory => &mut wanted.memory,
                Action::Echo => &mut wanted.echo,
                Action::Disk => &mut wanted.disk,
                Action::Remote(target) => {
                    if !wanted.remote.iter().any(|(known, _)| known == target) {
                        wanted.remote.push((Arc::clone(target), rule.prefix.clone()));
                    }
                    continue;
                }
            };
            if to.as_ref().is_none_or(String::is_empty) {
                *to = Some(rule.prefix.clone());
            }
        }
        wanted
    }
}
fn parse(text: &str) -> Result<Targets, String> {
    let bad = |error: String| {
        format!(
            "`{text}` is no log level{error}; write error, warn, info, debug, trace, or parts like ike=debug,info"
        )
    };
    // A word alone would be a part of the program, all of which is wanted.
    let alone = |part: &&str| !part.contains('=') && part.parse::<LevelFilter>().is_err();
    if let Some(part) = text.split(',').find(alone) {
        return Err(bad(format!(" (`{part}`)")));
    }
    text.parse().map_err(|error| bad(format!(" ({error})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(topics: &str, action: Action, prefix: &str, regex: &str) -> Rule {
        Rule::new(topics.split(','), action, prefix, regex).expect("a rule")
    }
    #[test]
    fn rows_say_what_goes_where() {
        let mut filter = Filter::new("info").expect("a level");
        let at = |filter: &Filter, level, message| filter.wanted("ike", level, Some("b"), message);
        let all = |w: &Wanted| [&w.memory, &w.echo, &w.disk].map(Option::is_some);
        assert_eq!(all(&at(&filter, Level::INFO, "x")), [true; 3]);
        assert!(at(&filter, Level::DEBUG, "x").nowhere() && !filter.may_want("ike", Level::DEBUG));
        // RouterOS's usual row: everything about IPsec that is no debug, and nothing else, is kept.
        filter.set_rules(vec![rule("ipsec,!debug", Action::Memory, "vpn", "")]);
        assert_eq!(at(&filter, Level::INFO, "x").memory.as_deref(), Some("vpn"));
        assert_eq!(all(&filter.wanted("manage", Level::INFO, None, "x")), [false, true, true]);
        assert!(!filter.may_want("ike", Level::DEBUG));
        filter.set_rules(vec![rule("ipsec,debug", Action::Echo, "", "^received")]);
        assert!(filter.may_want("ike", Level::DEBUG) && filter.in_detail().is_ok());
        assert_eq!(all(&at(&filter, Level::DEBUG, "received")), [false, true, false]);
        assert!(at(&filter, Level::DEBUG, "sent").nowhere());
    }
    #[test]
    fn a_peer_is_louder_or_quieter_than_the_rest() {
        let mut filter = Filter::new("info").expect("a level");
        filter.set_peer("b", Some(Level::DEBUG));
        filter.set_peer("c", Some(Level::ERROR));
        assert!(filter.may_want("ike", Level::DEBUG) && !filter.may_want("manage", Level::DEBUG));
        assert_eq!(filter.in_detail(), Err(vec!["b".to_owned()]));
        let nowhere = |level, peer| filter.wanted("ike", level, Some(peer), "x").nowhere();
        assert!(!nowhere(Level::DEBUG, "b") && nowhere(Level::DEBUG, "a"));
        assert!(nowhere(Level::INFO, "c") && !nowhere(Level::ERROR, "c") && !nowhere(Level::INFO, "a"));
    }
    #[test]
    fn what_is_no_level_is_refused() {
        assert!(Filter::new("ike=debug,info").is_ok());
        for bad in ["ike=loud", "loud", "info,loud"] {
            assert!(Filter::new(bad).err().is_some_and(|e| e.contains(bad)), "{bad}");
        }
    }
}
