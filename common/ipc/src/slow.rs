//! The slow path's end. The rings and tables of a fast path that is gone stay readable as long as this value lives,
//! so that the last sequence numbers of its SAs can still be learned.
use crate::contract::{Ack, Command, Event, FrameMeta};
use crate::fast::{FAST_ASLEEP, SESSION_SHIFT};
use crate::frame;
use crate::handover::{self, IpcError};
use crate::layout::{Geometry, MAX_FRAME};
use crate::memory::{Part, load_bytes, store_bytes};
use crate::record::{self, ACK_BYTES, EVENT_BYTES, SEEN_HEAD_BYTES, Unfit};
use crate::region::{Region, RegionError};
use crate::ring::{Consumer, Producer, PushError, RingFault};
use crate::stats::StatsReader;
use crate::vault::{Vault, VaultError, VaultKey};
use crate::wake::{Bell, announce_awake, announce_sleep, must_ring};
use crate::watch::Seen;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("the ring is full; try again when the fast path has caught up")]
    Full,
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error("the fast path is gone or broken; attach again")]
    Gone,
}

pub struct SlowSide {
    region: Region,
    socket: OwnedFd,
    session: u64,
    commands: Producer,
    acks: Consumer,
    events: Consumer,
    from_fast: Consumer,
    seen: Consumer,
    to_fast: Producer,
    statistics: StatsReader,
    bell_slow: Bell,
    bell_fast: Bell,
    slow_asleep: Part,
    fast_asleep: Part,
    sent: u64,
    unacknowledged: u64,
    fault: Option<RingFault>,
    malformed: u64,
    frame: Box<[u8; MAX_FRAME]>,
}

impl SlowSide {
    /// Goes to the fast path's socket and takes the region. Fails with [`IpcError::Socket`] while nobody listens.
    pub fn attach(path: &Path, allowed_uids: &[u32], timeout: Duration) -> Result<Self, IpcError> {
        Self::take_over(handover::connect(path, allowed_uids)?, timeout)
    }
    pub(crate) fn take_over(socket: OwnedFd, timeout: Duration) -> Result<Self, IpcError> {
        let (welcome, fds) = handover::receive_welcome(socket.as_fd(), timeout)?;
        let [memory, bell_slow, bell_fast]: [OwnedFd; 3] =
            fds.try_into().map_err(|_| IpcError::BadWelcome)?;
        let region = Region::open(memory)?;
        if region.layout.bytes() != welcome.bytes || region.epoch() != welcome.epoch {
            return Err(RegionError::Size { got: region.layout.bytes(), expected: welcome.bytes }.into());
        }
        let layout = &region.layout;
        let producer = |(range, shape): &(_, _)| Producer::new(region.part(range), *shape, 0);
        let consumer = |(range, shape): &(_, _)| Consumer::new(region.part(range), *shape, 0);
        let gauges = region.part(&layout.gauges);
        Ok(Self {
            commands: producer(&layout.commands).ok_or(IpcError::BadWelcome)?,
            acks: consumer(&layout.acks).ok_or(IpcError::BadWelcome)?,
            events: consumer(&layout.events).ok_or(IpcError::BadWelcome)?,
            from_fast: consumer(&layout.frames_to_slow).ok_or(IpcError::BadWelcome)?,
            to_fast: producer(&layout.frames_to_fast).ok_or(IpcError::BadWelcome)?,
            seen: consumer(&layout.seen).ok_or(IpcError::BadWelcome)?,
            statistics: StatsReader::new(&region),
            bell_slow: Bell::from_fd(bell_slow),
            bell_fast: Bell::from_fd(bell_fast),
            slow_asleep: region.part(&layout.slow_state),
            fast_asleep: gauges.slice(FAST_ASLEEP..FAST_ASLEEP + 1).ok_or(IpcError::BadWelcome)?,
            sent: 0,
            unacknowledged: 0,
            fault: None,
            malformed: 0,
            frame: Box::new([0; MAX_FRAME]),
            session: welcome.session,
            socket,
            region,
        })
    }
    pub fn epoch(&self) -> u64 {
        self.region.epoch()
    }
    /// How many slow paths have been attached to this fast path, us included.
    pub fn session(&self) -> u64 {
        self.session
    }
    pub fn region(&self) -> &Region {
        &self.region
    }
    pub fn geometry(&self) -> &Geometry {
        self.region.geometry()
    }
    pub fn statistics(&self) -> &StatsReader {
        &self.statistics
    }
    pub fn open_vault(&self, key: &VaultKey) -> Result<Vault, VaultError> {
        Vault::open(self.region.part(&self.region.layout.vault), key, self.epoch())
    }

    /// The command's sequence number, which its acknowledgement repeats.
    pub fn send(&mut self, command: &Command) -> Result<u64, SendError> {
        // The acknowledgements have to fit into their ring as well.
        if self.unacknowledged >= u64::from(self.region.geometry.commands) {
            return Err(SendError::Full);
        }
        let seq = self.session << SESSION_SHIFT | self.sent;
        let bytes = record::encode_command(seq, command)?;
        let pushed = self.commands.push(|slot| store_bytes(slot, bytes.as_slice()));
        self.pushed(pushed)?;
        self.sent += 1;
        self.unacknowledged += 1;
        Ok(seq)
    }
    pub fn send_frame(&mut self, meta: &FrameMeta, payload: &[u8]) -> Result<(), SendError> {
        let head = record::encode_frame(meta, payload.len())?;
        let pushed = frame::push(&mut self.to_fast, &head, payload);
        self.pushed(pushed)
    }
    fn pushed(&mut self, pushed: Result<(), PushError>) -> Result<(), SendError> {
        match pushed {
            Ok(()) => {
                if must_ring(&self.fast_asleep[0]) {
                    self.bell_fast.ring();
                }
                Ok(())
            }
            Err(PushError::Full) => Err(SendError::Full),
            Err(PushError::Fault(fault)) => {
                self.fault = Some(fault);
                Err(SendError::Gone)
            }
        }
    }

    pub fn next_ack(&mut self) -> Option<Ack> {
        let ack = next(&mut self.acks, &mut self.fault, &mut self.malformed, |slot| {
            let mut bytes = [0; ACK_BYTES];
            load_bytes(slot, &mut bytes);
            record::decode_ack(&bytes)
        })?;
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        Some(ack)
    }
    pub fn next_event(&mut self) -> Option<Event> {
        next(&mut self.events, &mut self.fault, &mut self.malformed, |slot| {
            let mut bytes = [0; EVENT_BYTES];
            load_bytes(slot, &mut bytes);
            record::decode_event(&bytes)
        })
    }
    pub fn next_frame(&mut self) -> Option<(FrameMeta, &[u8])> {
        let (meta, len) = loop {
            match frame::pop(&mut self.from_fast, &mut self.frame) {
                Ok(Some(Ok(taken))) => break taken,
                Ok(Some(Err(_))) => self.malformed += 1,
                Ok(None) => return None,
                Err(wrong) => {
                    self.fault = Some(wrong);
                    return None;
                }
            }
        };
        Some((meta, &self.frame[..len]))
    }

    /// A watched packet.
    pub fn next_seen(&mut self) -> Option<(Seen, &[u8])> {
        let buffer = &mut self.frame;
        let (seen, len) = next(&mut self.seen, &mut self.fault, &mut self.malformed, |slot| {
            // The head is copied, and its copy judged, before as much is copied as it says.
            let (first, rest) = slot.split_at(SEEN_HEAD_BYTES / 8);
            let mut head = [0; SEEN_HEAD_BYTES];
            load_bytes(first, &mut head);
            let (seen, len) = record::decode_seen(&head)?;
            load_bytes(rest, &mut buffer[..len]);
            Ok((seen, len))
        })?;
        Some((seen, &self.frame[..len]))
    }

    /// Poll for reading while asleep.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.bell_slow.fd()
    }
    /// Readable when the fast path has gone.
    pub fn socket_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
    /// Asks to be rung. `false`: something waits already, do not sleep.
    pub fn before_sleep(&mut self) -> bool {
        announce_sleep(&self.slow_asleep[0]);
        let idle = [&self.acks, &self.events, &self.from_fast, &self.seen]
            .iter()
            .all(|ring| matches!(ring.waiting(), Ok(0)));
        if !idle {
            self.awake();
        }
        idle
    }
    pub fn awake(&mut self) {
        announce_awake(&self.slow_asleep[0]);
        self.bell_slow.silence();
    }
    /// The connection has ended, or the fast path's indices made no sense: attach again.
    pub fn fast_gone(&self) -> bool {
        self.fault.is_some() || handover::hung_up(self.socket.as_fd())
    }
    pub fn fault(&self) -> Option<RingFault> {
        self.fault
    }
    /// Records that did not decode, and pushes that found no room.
    pub fn counters(&self) -> [(&'static str, u64); 3] {
        [
            ("malformed-records", self.malformed),
            ("commands-ring-full", self.commands.full_count()),
            ("frames-ring-full", self.to_fast.full_count()),
        ]
    }
}

/// The next record that decodes.
fn next<T>(
    ring: &mut Consumer,
    fault: &mut Option<RingFault>,
    malformed: &mut u64,
    mut read: impl FnMut(&[crate::sync::AtomicU64]) -> Result<T, record::Malformed>,
) -> Option<T> {
    loop {
        match ring.pop(&mut read) {
            Ok(Some(Ok(value))) => return Some(value),
            Ok(Some(Err(_))) => *malformed += 1,
            Ok(None) => return None,
            Err(wrong) => {
                *fault = Some(wrong);
                return None;
            }
        }
    }
}
