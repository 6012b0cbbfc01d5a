//! Every message of an exchange as a line of its own, for the peers that are looked at.
use super::ike_sa::IkeSa;
use super::{Cx, Engine};
use crate::api::ReportLevel;
use crate::message::{Message, Payload};
use std::collections::HashSet;

/// Whose messages are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Watched {
    #[default]
    Nobody,
    Peers(HashSet<String>),
    Everybody,
}

impl Engine {
    /// From now on the messages of these peers are reported, at the level `Debug`.
    pub fn watch(&mut self, whom: Watched) {
        self.watched = whom;
    }
    /// `way`: `received` or `sent`.
    pub(super) fn trace(&self, sa: &IkeSa, way: &str, message: &Message, cx: &mut Cx) {
        let told = match &self.watched {
            Watched::Nobody => false,
            Watched::Peers(names) => names.contains(&sa.peer.name),
            Watched::Everybody => true,
        };
        if told {
            let kind = if message.header.response { "response" } else { "request" };
            let names: Vec<String> = message.payloads.iter().map(name).collect();
            let (exchange, id) = (message.header.exchange, message.header.message_id);
            let text = format!("{way} {exchange} {kind} {id} [{}]", names.join(" "));
            self.say(sa, ReportLevel::Debug, cx, text);
        }
    }
}
/// What it is; of its content only what is no secret and short.
fn name(payload: &Payload) -> String {
    match payload {
        Payload::Sa(proposals) => format!("SA({} proposals)", proposals.len()),
        Payload::Ke(ke) => format!("KE({})", crate::message::group_name(ke.group)),
        Payload::IdI(id) => format!("IDi({id})"),
        Payload::IdR(id) => format!("IDr({id})"),
        Payload::Auth(auth) => format!("AUTH({})", auth.method),
        Payload::Nonce(_) => "Nonce".into(),
        Payload::Notify(notify) => format!("N({})", notify.kind),
        Payload::Delete(delete) => format!("D({} {})", delete.protocol, delete.spis.len()),
        Payload::TsI(list) => format!("TSi({})", list.len()),
        Payload::TsR(list) => format!("TSr({})", list.len()),
        other => format!("{:?}", other.kind()),
    }
}
