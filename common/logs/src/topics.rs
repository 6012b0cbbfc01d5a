//! RouterOS's topics, from where an event comes from and how grave it is.
use tracing::Level;

/// The beginning of an event's target, longest first where one begins another, and what it is about.
const ABOUT: &[(&str, &str)] = &[
    ("ike", "ipsec"),
    ("espway_slowpath::driver", "ipsec"),
    ("espway_slowpath::takeover", "ipsec"),
    ("espway_slowpath::api", "system,api"),
    ("espway_slowpath::rest", "system,api"),
    ("espway_fastpath::ports", "interface"),
    ("espway_fastpath::kernel", "interface"),
    ("espway_fastpath::host", "interface"),
    ("espway_fastpath::engine", "ipsec,crypto"),
];
/// Everything else: processes, configuration, management.
const OTHERS: &str = "system";

fn about(target: &str) -> &'static str {
    let fits =
        |name: &str| target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    ABOUT.iter().find(|(name, _)| fits(name)).map_or(OTHERS, |(_, topics)| topics)
}
fn gravity(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        _ => "debug,packet",
    }
}
/// How grave what has these topics is.
pub(crate) fn level(topics: &str) -> Level {
    let has = |wanted: &&Level| topics.split(',').any(|topic| topic == gravity(**wanted));
    [Level::ERROR, Level::WARN, Level::DEBUG].iter().find(has).copied().unwrap_or(Level::INFO)
}
/// `ipsec,error`.
pub fn topics(target: &str, level: Level) -> String {
    format!("{},{}", about(target), gravity(level))
}
/// Each of them.
pub(crate) fn each(target: &str, level: Level) -> impl Iterator<Item = &'static str> {
    about(target).split(',').chain(gravity(level).split(','))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_follow_the_target_and_the_level() {
        for (target, level, expected) in [
            ("ike", Level::ERROR, "ipsec,error"),
            ("ike", Level::TRACE, "ipsec,debug,packet"),
            ("espway_slowpath::driver", Level::WARN, "ipsec,warning"),
            ("espway_slowpath::run", Level::INFO, "system,info"),
            ("espway_fastpath::ports::open", Level::DEBUG, "interface,debug"),
            ("ikebana", Level::INFO, "system,info"),
        ] {
            assert_eq!(topics(target, level), expected, "{target}");
        }
    }
}
