//! IKE fragmentation (RFC 7383): how long a datagram of ours may be, and fragments of the peer's until they are whole.
//!
//! Row B15: a fragment is kept once it has proven authentic and not before; what is kept is bounded in number, bytes
//! and time, for each SA and for all together; a wrong one uses nothing up.
use super::counters::Refused;
use super::ike_sa::IkeSa;
use super::{Cx, Engine};
use crate::api::{Datagram, Now};
use crate::message::{Fragment, Header, Inner, Message, OpenError, PayloadType, open_inner};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use zeroize::Zeroizing;

/// A message is put together within this time, or forgotten.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of one message.
const MAX_MESSAGE: usize = 64 * 1024;
/// Bytes of all messages that are not whole yet; peers who have yet to say who they are get half of it.
const MAX_HELD: usize = 16 << 20;
/// No setting makes datagrams shorter.
const SHORTEST: usize = 256;

/// Bytes that all IKE SAs hold together.
#[derive(Clone, Default)]
pub(super) struct Budget(Arc<AtomicUsize>);
impl Budget {
    pub fn take(&self, bytes: usize, most: usize) -> Option<Held> {
        let held = self.0.load(Relaxed);
        (held + bytes <= most).then(|| {
            self.0.store(held + bytes, Relaxed);
            Held { bytes, of: self.clone() }
        })
    }
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.0.load(Relaxed)
    }
}
/// Given back when dropped.
pub(super) struct Held {
    bytes: usize,
    of: Budget,
}
impl Drop for Held {
    fn drop(&mut self) {
        self.of.0.fetch_sub(self.bytes, Relaxed);
    }
}

/// A message that is not whole yet.
pub(super) struct Pieces {
    header: Header,
    total: u16,
    first: PayloadType,
    pieces: Vec<Option<(Zeroizing<Vec<u8>>, Held)>>,
    pub until: Now,
}
impl Pieces {
    fn new(fragment: &Fragment, now: Now) -> Self {
        let pieces = std::iter::repeat_with(|| None).take(fragment.total.into()).collect();
        let Fragment { header, total, .. } = *fragment;
        Self { header, total, first: PayloadType::NONE, pieces, until: now + PATIENCE }
    }
    fn is_of(&self, header: &Header) -> bool {
        (self.header.response, self.header.message_id) == (header.response, header.message_id)
    }
    fn bytes(&self) -> usize {
        self.pieces.iter().flatten().map(|(plain, _)| plain.len()).sum()
    }
    fn has(&self, number: u16) -> bool {
        self.pieces.get(usize::from(number) - 1).is_none_or(Option::is_some)
    }
    /// All of it, when nothing is missing.
    fn whole(&self) -> Option<Inner> {
        let mut plain = Zeroizing::new(Vec::with_capacity(self.bytes()));
        for piece in &self.pieces {
            plain.extend_from_slice(&piece.as_ref()?.0);
        }
        Some(Inner { header: self.header, first: self.first, plain })
    }
}

impl IkeSa {
    //= rfc7383#2.5.1/size: the longest datagram of ours to this peer, without IP's and UDP's headers.
    pub(super) fn bound(&self) -> Option<usize> {
        let size = usize::from(self.peer.profile.extensions.fragment_size);
        let headers = if self.remote.is_ipv4() { 20 + 8 } else { 40 + 8 };
        let marker = if self.local.port() == 4500 { 4 } else { 0 };
        (self.agreed.fragmentation && size > 0).then(|| size.max(SHORTEST) - headers - marker)
    }
}

impl Engine {
    /// The message that a datagram carries, or that it makes whole; `None`: fragments are still missing.
    pub(super) fn open(
        &mut self,
        sa: &mut IkeSa,
        d: &Datagram,
        cx: &Cx,
    ) -> Result<Option<Message>, OpenError> {
        let opened = self.opened(sa, d, cx);
        match &opened {
            Err(OpenError::Icv) => self.counters.refuse(Refused::NotAuthentic),
            Err(OpenError::Outside(_)) => self.counters.refuse(Refused::Malformed),
            _ => {}
        }
        opened
    }
    fn opened(&mut self, sa: &mut IkeSa, d: &Datagram, cx: &Cx) -> Result<Option<Message>, OpenError> {
        let keys = sa.keys.as_ref().ok_or(OpenError::Icv)?;
        if !is_fragment(d) {
            let inner = open_inner(&d.payload, keys.keys.receiving(sa.initiator))?;
            sa.heard(&inner);
            return inner.message().map(Some);
        }
        if !sa.agreed.fragmentation {
            self.counters.refuse(Refused::NotInThisState);
            return Ok(None);
        }
        match self.collect(sa, d, cx)? {
            Some(whole) => {
                sa.heard(&whole);
                whole.message().map(Some)
            }
            None => Ok(None),
        }
    }

    fn collect(&mut self, sa: &mut IkeSa, d: &Datagram, cx: &Cx) -> Result<Option<Inner>, OpenError> {
        let (number, total) = Fragment::place(&d.payload)?;
        let header = crate::message::parse_header(&d.payload).map_err(OpenError::Outside)?.header;
        sa.pieces.retain(|set| set.until > cx.now);
        if let Some(set) = sa.pieces.iter().find(|set| set.is_of(&header)) {
            //= rfc7383#2.6/known: one that is there already is dropped, and so is one of a coarser division.
            if total < set.total || (total == set.total && set.has(number)) {
                self.counters.refuse(Refused::Retransmit);
                return Ok(None);
            }
        }
        let Some(keys) = sa.keys.as_ref() else { return Ok(None) };
        //= rfc7383#2.6/authentic: its ICV is checked before it is kept.
        let fragment = Fragment::open(&d.payload, keys.keys.receiving(sa.initiator))?;
        let most = if sa.is_established() { MAX_HELD } else { MAX_HELD / 2 };
        let Some(held) = self.fragments.take(fragment.plain.len(), most) else {
            self.counters.refuse(Refused::NoResources);
            return Ok(None);
        };
        //= rfc7383#2.6/finer: the sender divides it anew, into more; what there was of it is forgotten.
        sa.pieces.retain(|set| !set.is_of(&header) || set.total == fragment.total);
        let at = sa.pieces.iter().position(|set| set.is_of(&header)).unwrap_or_else(|| {
            sa.pieces.push(Pieces::new(&fragment, cx.now));
            sa.pieces.len() - 1
        });
        let set = &mut sa.pieces[at];
        if set.header != fragment.header || set.bytes() + fragment.plain.len() > MAX_MESSAGE {
            self.counters.refuse(Refused::Malformed);
            return Ok(None);
        }
        if number == 1 {
            set.first = fragment.first;
        }
        if let Some(place) = set.pieces.get_mut(usize::from(number) - 1) {
            *place = Some((fragment.plain, held));
        }
        let whole = set.whole();
        if whole.is_some() {
            sa.pieces.remove(at);
        }
        Ok(whole)
    }

    //= rfc7383#2.6.1/replay: a fragmented request that was answered is answered again at its first fragment alone.
    pub(super) fn repeats(&self, sa: &IkeSa, d: &Datagram) -> bool {
        let now = sa.keys.as_ref().map(|keys| keys.keys.receiving(sa.initiator));
        matches!(Fragment::place(&d.payload), Ok((1, _)))
            && [now, sa.int_auth.before()]
                .into_iter()
                .flatten()
                .any(|k| Fragment::open(&d.payload, k).is_ok())
    }
}

pub(super) fn is_fragment(d: &Datagram) -> bool {
    crate::message::parse_header(&d.payload).is_ok_and(|parsed| parsed.first == PayloadType::SKF)
}
