//! The fast path's end: makes the region, lets one slow path in at a time, and never waits for it.
//!
//! For the main lcore alone; workers get a [`WorkerStats`] each. A slow path whose indices make no sense is hung
//! up on: it sees the end of its connection and may come again to fresh rings.
use crate::contract::{Ack, Command, Event, FrameMeta, PortCounters, Refusal};
use crate::frame;
use crate::handover::{self, BUSY, COME_IN, Credentials, IpcError, Listener, STRANGER, Welcome};
use crate::layout::{Geometry, MAX_FRAME};
use crate::memory::{add, store_bytes, wipe};
use crate::recent::LostPacket;
use crate::record::{self, COMMAND_BYTES, SEEN_HEAD_BYTES};
use crate::region::{Region, os};
use crate::ring::{self, Consumer, Producer, PushError, RingFault};
use crate::slow::SlowSide;
use crate::stats::{self, ControlStats, SaIdentity, SaState, StatsReader, WorkerCounters, WorkerStats};
use crate::sync::Ordering::Relaxed;
use crate::wake::{Bell, announce_awake, announce_sleep, must_ring};
use crate::watch::Seen;
use sa::SaSlot;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use zeroize::Zeroizing;

#[derive(Clone, Debug, Default)]
pub struct RegionOptions {
    /// `ports` is set from `port_names`.
    pub geometry: Geometry,
    pub port_names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// Rings are empty and fresh. Say again what still holds: acquires of policies without an SA.
    Attached(Credentials),
    /// The slow path is gone. Forwarding goes on.
    Detached,
    /// Somebody came who may not come in.
    Refused(Credentials),
    /// The slow path's index made no sense; we hung up.
    Faulted(RingFault),
}

struct Attachment {
    socket: OwnedFd,
    commands: Consumer,
    acks: Producer,
    events: Producer,
    to_slow: Producer,
    from_slow: Consumer,
    seen: Producer,
    /// Commands taken and not yet acknowledged: each has room in the ring of acknowledgements kept.
    outstanding: u64,
}

pub struct FastSide {
    region: Region,
    stats: ControlStats,
    given: Vec<bool>,
    listener: Option<Listener>,
    attachment: Option<Attachment>,
    fault: Option<RingFault>,
    session: u64,
    bell_slow: Bell,
    bell_fast: Bell,
    slow_asleep: crate::memory::Part,
    fast_asleep: crate::memory::Part,
    frame: Box<[u8; MAX_FRAME]>,
}

/// Sequence numbers of one attachment share these high bits, so that a late acknowledgement to a
/// predecessor is not taken for ours.
pub(crate) const SESSION_SHIFT: u32 = 40;

pub(crate) const FAST_ASLEEP: usize = 32;

impl FastSide {
    pub fn create(options: &RegionOptions) -> Result<Self, IpcError> {
        let mut epoch = [0; 8];
        let rng = ::ring::rand::SystemRandom::new();
        ::ring::rand::SecureRandom::fill(&rng, &mut epoch)
            .map_err(|_| os("draw an epoch")(rustix::io::Errno::IO))?;
        let geometry = Geometry { ports: options.port_names.len() as u32, ..options.geometry };
        let region = Region::create(geometry, u64::from_ne_bytes(epoch) | 1)?;
        let gauges = region.part(&region.layout.gauges);
        Ok(Self {
            stats: ControlStats::new(&region, &options.port_names),
            given: vec![false; geometry.workers as usize],
            listener: None,
            attachment: None,
            fault: None,
            session: 0,
            bell_slow: Bell::new().map_err(os("make an eventfd"))?,
            bell_fast: Bell::new().map_err(os("make an eventfd"))?,
            slow_asleep: region.part(&region.layout.slow_state),
            fast_asleep: gauges.slice(FAST_ASLEEP..FAST_ASLEEP + 1).unwrap_or(gauges),
            frame: Box::new([0; MAX_FRAME]),
            region,
        })
    }
    pub fn epoch(&self) -> u64 {
        self.region.epoch()
    }
    pub fn region(&self) -> &Region {
        &self.region
    }
    pub fn geometry(&self) -> &Geometry {
        self.region.geometry()
    }
    pub fn statistics(&self) -> StatsReader {
        StatsReader::new(&self.region)
    }

    /// Opens the socket the slow path comes to. The file is removed again with `self`.
    pub fn listen(&mut self, path: &Path, allowed_uids: &[u32]) -> Result<(), IpcError> {
        self.listener = Some(Listener::new(path, allowed_uids)?);
        Ok(())
    }
    /// Who came or went since the last call. Never blocks; call it a few times a second, or when
    /// one of [`Self::poll_fds`] is readable, until it answers `None`.
    pub fn poll_peer(&mut self) -> Option<PeerEvent> {
        if let Some(fault) = self.fault.take() {
            add(&self.stats.gauges[stats::FAULTS], 1);
            self.detach();
            return Some(PeerEvent::Faulted(fault));
        }
        if self.attachment.as_ref().is_some_and(|a| handover::hung_up(a.socket.as_fd())) {
            self.detach();
            return Some(PeerEvent::Detached);
        }
        let listener = self.listener.as_ref()?;
        let socket = listener.accept()?;
        let who = handover::credentials(socket.as_fd()).ok()?;
        let verdict = match () {
            () if !listener.allowed.contains(&who.uid) => STRANGER,
            () if self.attachment.is_some() => BUSY,
            () => COME_IN,
        };
        if verdict != COME_IN {
            // Whoever hangs up before hearing the answer does not need it.
            let _ = handover::send_welcome(socket.as_fd(), &self.welcome(verdict), &[]);
            return Some(PeerEvent::Refused(who));
        }
        Some(if self.attach(socket) { PeerEvent::Attached(who) } else { PeerEvent::Refused(who) })
    }
    /// What to watch for [`Self::poll_peer`], besides [`Self::wake_fd`].
    pub fn poll_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let listener = self.listener.as_ref().map(|l| l.fd.as_fd());
        listener.into_iter().chain(self.attachment.as_ref().map(|a| a.socket.as_fd()))
    }
    pub fn attached(&self) -> bool {
        self.attachment.is_some()
    }
    fn welcome(&self, verdict: u64) -> Welcome {
        let bytes = self.region.layout.bytes();
        Welcome { verdict, bytes, epoch: self.region.epoch(), session: self.session }
    }
    fn attach(&mut self, socket: OwnedFd) -> bool {
        self.session += 1;
        self.region.write_header();
        let layout = &self.region.layout;
        let rings = [
            &layout.commands,
            &layout.acks,
            &layout.events,
            &layout.frames_to_slow,
            &layout.frames_to_fast,
            &layout.seen,
        ];
        for (range, _) in rings {
            ring::reset(&self.region.part(range));
        }
        ring::wipe_slots(&self.region.part(&layout.commands.0));
        announce_awake(&self.slow_asleep[0]);
        self.stats.gauges[stats::SESSION].store(self.session, Relaxed);
        let producer = |(range, shape): &(_, _)| Producer::new(self.region.part(range), *shape, 0);
        let consumer = |(range, shape): &(_, _)| Consumer::new(self.region.part(range), *shape, 0);
        let fds = [self.region.fd(), self.bell_slow.fd(), self.bell_fast.fd()];
        if handover::send_welcome(socket.as_fd(), &self.welcome(COME_IN), &fds).is_err() {
            return false;
        }
        let ends = (
            consumer(&layout.commands),
            producer(&layout.acks),
            producer(&layout.events),
            producer(&layout.frames_to_slow),
            consumer(&layout.frames_to_fast),
            producer(&layout.seen),
        );
        let (Some(commands), Some(acks), Some(events), Some(to_slow), Some(from_slow), Some(seen)) = ends
        else {
            return false;
        };
        self.attachment =
            Some(Attachment { socket, commands, acks, events, to_slow, from_slow, seen, outstanding: 0 });
        true
    }
    fn detach(&mut self) {
        self.attachment = None;
        ring::wipe_slots(&self.region.part(&self.region.layout.commands.0));
    }

    /// The next command and its sequence number. Answer each with [`Self::acknowledge`], in any order.
    /// What does not decode is answered here.
    pub fn next_command(&mut self) -> Option<(u64, Command)> {
        loop {
            let a = self.attachment.as_mut()?;
            // In words: what wipes it at the end writes each element by itself.
            let mut words = Zeroizing::new([0u64; COMMAND_BYTES / 8]);
            let popped = match a.acks.free() {
                Ok(free) if free <= a.outstanding => return None,
                Ok(_) => a.commands.pop(|slot| {
                    for (word, shared) in words.iter_mut().zip(slot) {
                        *word = shared.load(Relaxed);
                    }
                    // Keys do not stay in shared memory.
                    wipe(slot);
                }),
                Err(fault) => Err(fault),
            };
            match popped {
                Ok(Some(())) => a.outstanding += 1,
                Ok(None) => return None,
                Err(fault) => {
                    self.fault = Some(fault);
                    return None;
                }
            }
            match record::decode_command(zerocopy::transmute_ref!(&*words)) {
                (seq, Ok(command)) if seq >> SESSION_SHIFT == self.session => return Some((seq, command)),
                (seq, _) => {
                    add(&self.stats.gauges[stats::MALFORMED], 1);
                    self.answer(seq, Err(Refusal::Malformed));
                }
            }
        }
    }
    /// Exactly once for each command that was taken. A dead predecessor's may come late; nobody hears that.
    pub fn acknowledge(&mut self, seq: u64, result: Result<(), Refusal>) {
        if seq >> SESSION_SHIFT == self.session {
            self.answer(seq, result);
        }
    }
    fn answer(&mut self, seq: u64, result: Result<(), Refusal>) {
        let Some(a) = self.attachment.as_mut() else { return };
        a.outstanding = a.outstanding.saturating_sub(1);
        let bytes = record::encode_ack(&Ack { seq, result });
        let pushed = a.acks.push(|slot| store_bytes(slot, &bytes));
        self.pushed(pushed, stats::ACKS_LOST);
    }
    fn pushed(&mut self, pushed: Result<(), PushError>, lost: usize) -> bool {
        match pushed {
            Ok(()) => {
                if must_ring(&self.slow_asleep[0]) {
                    self.bell_slow.ring();
                }
                return true;
            }
            Err(PushError::Full) => {}
            Err(PushError::Fault(fault)) => self.fault = Some(fault),
        }
        add(&self.stats.gauges[lost], 1);
        false
    }
    /// `false`: the ring is full or nobody is attached. Say it again later.
    pub fn raise(&mut self, event: &Event) -> bool {
        let Some(a) = self.attachment.as_mut() else { return false };
        let bytes = record::encode_event(event);
        let pushed = a.events.push(|slot| store_bytes(slot, &bytes));
        self.pushed(pushed, stats::EVENTS_LOST)
    }
    /// `false`: drop the frame as `FrameQueueFull`.
    pub fn frame_to_slow(&mut self, meta: &FrameMeta, payload: &[u8]) -> bool {
        let Ok(head) = record::encode_frame(meta, payload.len()) else {
            add(&self.stats.gauges[stats::FRAMES_LOST], 1);
            return false;
        };
        let Some(a) = self.attachment.as_mut() else { return false };
        let pushed = frame::push(&mut a.to_slow, &head, payload);
        self.pushed(pushed, stats::FRAMES_LOST)
    }
    /// `false`: the ring is full or nobody is attached. Keep it, or count it as lost.
    pub fn show(&mut self, seen: &Seen, bytes: &[u8]) -> bool {
        let Ok(head) = record::encode_seen(seen, bytes.len()) else { return false };
        let Some(a) = self.attachment.as_mut() else { return false };
        let pushed = a.seen.push(|slot| {
            let (first, rest) = slot.split_at(SEEN_HEAD_BYTES / 8);
            store_bytes(first, &head);
            store_bytes(rest, bytes);
        });
        match pushed {
            // Who waits for room tries again, which is no loss.
            Err(PushError::Full) => false,
            pushed => self.pushed(pushed, stats::EVENTS_LOST),
        }
    }
    /// An IKE frame to be sent on the wire. What does not decode is skipped and counted.
    pub fn next_frame(&mut self) -> Option<(FrameMeta, &[u8])> {
        loop {
            let a = self.attachment.as_mut()?;
            match frame::pop(&mut a.from_slow, &mut self.frame) {
                Ok(Some(Ok((meta, len)))) => return Some((meta, &self.frame[..len])),
                Ok(Some(Err(_))) => add(&self.stats.gauges[stats::MALFORMED], 1),
                Ok(None) => return None,
                Err(fault) => {
                    self.fault = Some(fault);
                    return None;
                }
            }
        }
    }

    /// Readable when the slow path has rung; only meaningful between [`Self::before_sleep`] and [`Self::awake`].
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.bell_fast.fd()
    }
    /// Asks to be rung. `false`: something waits already, do not sleep.
    pub fn before_sleep(&mut self) -> bool {
        announce_sleep(&self.fast_asleep[0]);
        let idle = self.fault.is_none()
            && self.attachment.as_ref().is_none_or(|a| {
                matches!(a.commands.waiting(), Ok(0)) && matches!(a.from_slow.waiting(), Ok(0))
            });
        if !idle {
            self.awake();
        }
        idle
    }
    pub fn awake(&mut self) {
        announce_awake(&self.fast_asleep[0]);
        self.bell_fast.silence();
    }

    /// A worker's pen, once for each worker.
    pub fn worker_stats(&mut self, worker: u32) -> Option<WorkerStats> {
        let given = self.given.get_mut(worker as usize).filter(|given| !**given)?;
        let stats = WorkerStats::new(&self.region, worker)?;
        *given = true;
        Some(stats)
    }
    /// Says what a slot holds and starts its counters at zero. Before any worker can see the SA.
    pub fn publish_sa(&mut self, slot: SaSlot, identity: &SaIdentity) {
        self.stats.publish(slot, identity);
    }
    pub fn set_sa_state(&mut self, slot: SaSlot, state: SaState) {
        self.stats.set_state(slot, state);
    }
    /// The slot is empty again. After the last worker has let go of it.
    pub fn clear_sa(&mut self, slot: SaSlot) {
        self.stats.clear(slot);
    }
    /// The name was given at creation; only the numbers are taken.
    pub fn set_port(&mut self, index: u32, counters: &PortCounters) {
        self.stats.set_port(index, counters);
    }
    pub fn set_worker(&mut self, worker: u32, counters: &WorkerCounters) {
        self.stats.set_worker(worker, counters);
    }
    /// Keeps what a dropped packet looked like. Drops are counted elsewhere.
    pub fn note_drop(&mut self, worker: u32, packet: LostPacket) {
        self.stats.note_drop(worker, packet);
    }
    /// Seconds since the fast path started, on its monotonic clock: the one of `WorkerStats::sa_passed`.
    pub fn set_clock(&mut self, seconds: u64) {
        self.stats.gauges[stats::CLOCK].store(seconds, Relaxed);
    }
    /// After a policy transaction was committed.
    pub fn set_policy_generation(&mut self, generation: u64) {
        self.stats.gauges[stats::GENERATION].store(generation, Relaxed);
    }

    /// Both ends in one process: the real region, the real hand-over, over a socket pair.
    pub fn attach_here(&mut self) -> Result<SlowSide, IpcError> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(os("make a socket pair"))?;
        if self.attachment.is_some() {
            let _ = handover::send_welcome(ours.as_fd(), &self.welcome(BUSY), &[]);
        } else {
            self.attach(ours);
        }
        SlowSide::take_over(theirs, std::time::Duration::from_secs(1))
    }
}
