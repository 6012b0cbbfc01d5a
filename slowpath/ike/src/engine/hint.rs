//! What a stranger says of an SA is a hint: it sets off a question to the peer, and nothing else (RFC 7296 1.5, 2.4).
use super::ike_sa::Task;
use super::{Cx, Engine};
use crate::api::Datagram;
use crate::message::{ExchangeType, Header, NotifyType, parse_clear};
use std::time::Duration;

/// A peer that was heard of lately is not asked.
const LATELY: Duration = Duration::from_secs(10);

impl Engine {
    //= rfc7296#1.5/invalid-spi: unprotected, it names an SA of ours; whether the peer lives is asked inside the IKE SA.
    pub(super) fn on_hint_of_spi(&mut self, d: &Datagram, header: &Header, cx: &mut Cx) {
        if header.exchange != ExchangeType::INFORMATIONAL {
            return;
        }
        let Ok(message) = parse_clear(&d.payload) else { return };
        let named = message.notify(NotifyType::INVALID_SPI).and_then(|n| n.data.as_slice().try_into().ok());
        let Some(spi) = named.map(u32::from_be_bytes) else { return };
        let Some(peer) = self.by_address.find(d.remote.ip(), d.local.ip()) else { return };
        let is = |sa: &&super::ike_sa::IkeSa| {
            sa.is_established()
                && sa.remote.ip() == d.remote.ip()
                && sa.children.iter().any(|c| c.outbound.spi.get() == spi)
        };
        let Some(found) = self.sas_of(&peer.name).find(is).map(|sa| sa.local_spi) else { return };
        self.with_sa(found, cx, |_, sa, cx| {
            if cx.now.saturating_sub(sa.last_seen) >= LATELY && sa.window.in_flight.is_none() {
                sa.push_task(Task::Liveness);
            }
        });
    }
}
