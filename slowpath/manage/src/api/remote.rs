//! `print-remote`: the other side's configuration that fits ours. It reads the configuration and changes nothing.
use super::system::Members;
use super::{Answer, Problem, Request, View, change};
use config::Config;
use config::remote::{Kind, print};
use config::schema::Place;
use serde_json::{Map, Value, json};

pub const NAME: &str = "print-remote";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    pub peer: String,
    kind: Kind,
    sensitive: bool,
}
impl Remote {
    pub(super) fn understand(
        request: &Request,
        place: &'static Place,
        body: &Map<String, Value>,
        view: View,
    ) -> Result<Self, Problem> {
        let members = Members::of(body, &[".id", "numbers", "for", "show-sensitive"])?;
        let named = change::numbers(body)?.unwrap_or_default();
        let [named] = named.as_slice() else {
            return Err(Problem::malformed("`.id` says which peer; one is needed").at(place));
        };
        let id = change::row(place, named, view)?;
        let name = view.rows.row(place, id).and_then(|row| row.name()).unwrap_or(named);
        let kinds = || Kind::ALL.map(Kind::name).join(", ");
        let kind = members.text("for")?.and_then(Kind::from_name).ok_or_else(|| Problem {
            fix: format!("write for= and one of {}", kinds()),
            ..Problem::malformed("`for` says what the other side is").at(place)
        })?;
        let sensitive = match body.get("show-sensitive").and_then(Value::as_str) {
            Some(word) => word == "yes",
            None => members.yes("show-sensitive")?,
        };
        match sensitive && !request.roles.sensitive {
            true => Err(Problem::forbidden("sensitive")),
            false => Ok(Self { peer: name.to_owned(), kind, sensitive }),
        }
    }
    pub fn answer(&self, config: &Config) -> Result<Answer, Problem> {
        let printed = print(config, &self.peer, self.kind, self.sensitive).map_err(|said| Problem {
            path: format!("ip ipsec peer {}", self.peer),
            ..Problem::new(409, said)
        })?;
        Ok(Answer::ok(json!({"text": printed.text.as_str(), "problems": printed.problems})))
    }
}
