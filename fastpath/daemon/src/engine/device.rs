//! ESP on DPDK crypto devices: keys become sessions, jobs become operations, packets come back later.
//!
//! Written against `rte_cryptodev` as such; here the devices are the software ones (`crypto_aesni_mb`,
//! `crypto_aesni_gcm`), a QAT function is opened in the same way.
use anyhow::{Context, Result};
use dpdk::Mbuf;
use dpdk::crypto::{self, CryptoConfig, CryptoDev, CryptoDevice, QueuePair, Session, SessionSpec};
use fastpath::crypto::{Job, Unsupported};
use sa::{Direction, SaSpec};
use std::collections::VecDeque;
use wire::{PacketBuf, esp};

/// Operations in flight per worker and device.
const DEPTH: u32 = 512;

pub struct DeviceKey {
    session: Session,
    /// Which queue pair of a worker the session's device has.
    device: usize,
    salt: [u8; 4],
    aead: bool,
    /// The IV counts: salt, IV and the number of the first block make the first counter block.
    counter: bool,
    iv_len: u8,
    icv_len: u8,
}

/// Control-time half: the opened devices, best first.
pub struct Devices(Vec<CryptoDev>);

impl Devices {
    /// One queue pair of each device for each worker.
    pub fn open(eal: &dpdk::Eal, workers: u16, sa_slots: u32) -> Result<(Self, Vec<Vec<QueuePair>>)> {
        let config = CryptoConfig { queue_pairs: workers, depth: DEPTH, sessions: sa_slots };
        let mut devices = Vec::new();
        let mut queues: Vec<Vec<QueuePair>> = (0..workers).map(|_| Vec::new()).collect();
        for what in [CryptoDevice::AesniGcm, CryptoDevice::AesniMb] {
            let (device, pairs) =
                CryptoDev::open(eal, &what, &config).with_context(|| format!("{what:?}"))?;
            devices.push(device);
            queues.iter_mut().zip(pairs).for_each(|(of_worker, pair)| of_worker.push(pair));
        }
        Ok((Self(devices), queues))
    }

    pub fn key(&self, spec: &SaSpec) -> Result<DeviceKey, Unsupported> {
        let no = |why| Unsupported { suite: spec.suite, why };
        let aead = spec.suite.encryption().is_aead();
        if spec.esn && !aead {
            // RFC 4303 2.2.1: the HMAC would cover 4 bytes that are not in the packet.
            return Err(no("the device cannot append the high sequence number to what an HMAC covers"));
        }
        let (device, dev) =
            self.0.iter().enumerate().find(|(_, d)| d.supports(spec.suite)).ok_or(no("no device has it"))?;
        let direction = match spec.direction {
            Direction::Outbound => crypto::Direction::Seal,
            Direction::Inbound => crypto::Direction::Open,
        };
        let session = dev
            .session(&SessionSpec {
                suite: spec.suite,
                direction,
                cipher_key: spec.encryption_key.expose(),
                auth_key: spec.integrity_key.expose(),
                esn: spec.esn,
            })
            .map_err(|_| no("the device made no session"))?;
        let counter = spec.suite.encryption().counts_iv();
        let mut salt = [0; 4];
        if counter {
            salt.copy_from_slice(spec.salt.expose().get(..4).ok_or(no("the salt is short"))?);
        }
        Ok(DeviceKey {
            session,
            device,
            salt,
            aead,
            counter,
            iv_len: spec.suite.iv_len() as u8,
            icv_len: spec.suite.icv_len() as u8,
        })
    }
}

/// Hot-path half: one worker's queue pairs, and what belongs to the packets inside of them.
pub struct DeviceLane {
    pairs: Vec<QueuePair>,
    /// By tag. A job without its packet, which the device has.
    waiting: Vec<Option<Job<()>>>,
    free: Vec<u64>,
    /// Jobs that never reached a device; they come back failed.
    failed: VecDeque<Job<Mbuf>>,
}

impl DeviceLane {
    pub fn new(pairs: Vec<QueuePair>) -> Self {
        let room = pairs.len() * DEPTH as usize;
        Self {
            pairs,
            waiting: (0..room).map(|_| None).collect(),
            free: (0..room as u64).collect(),
            failed: VecDeque::new(),
        }
    }
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Stages a job, or gives it back when the device has no room.
    pub fn push(&mut self, job: Job<Mbuf>, key: &DeviceKey) -> Result<(), Job<Mbuf>> {
        let Some(&tag) = self.free.last() else { return Err(job) };
        let Some(layout) = layout(&job, key) else {
            self.failed.push_back(job);
            return Ok(());
        };
        let Some(mut run) = self.pairs.get_mut(key.device).and_then(|pair| pair.run(&key.session)) else {
            self.failed.push_back(job);
            return Ok(());
        };
        let (mbuf, rest) = part(job);
        let work = crypto::Job {
            mbuf,
            tag,
            iv: layout.iv,
            aad: layout.aad,
            cipher_offset: layout.cipher.0,
            cipher_len: layout.cipher.1,
            auth_offset: layout.auth.0,
            auth_len: layout.auth.1,
            icv_offset: layout.icv_offset,
        };
        match run.push(work) {
            Ok(()) => {
                self.free.pop();
                self.waiting[tag as usize] = Some(rest);
                Ok(())
            }
            Err((crypto::Refused::Full, back)) => Err(join(rest, back.mbuf, false)),
            Err((crypto::Refused::Range | crypto::Refused::Block, back)) => {
                self.failed.push_back(join(rest, back.mbuf, false));
                Ok(())
            }
        }
    }
    pub fn flush(&mut self) {
        self.pairs.iter_mut().for_each(|pair| {
            pair.flush();
        });
    }
    /// Jobs no engine can do.
    pub fn fail(&mut self, jobs: &mut Vec<Job<Mbuf>>) {
        self.failed.extend(jobs.drain(..));
    }
    pub fn collect(&mut self, done: &mut Vec<Job<Mbuf>>) {
        done.extend(self.failed.drain(..));
        let (waiting, free) = (&mut self.waiting, &mut self.free);
        for pair in &mut self.pairs {
            // What a full device did not take before has its chance now.
            pair.flush();
            while pair.collect(|back| {
                if let Some(rest) = waiting.get_mut(back.tag as usize).and_then(Option::take) {
                    free.push(back.tag);
                    done.push(join(rest, back.mbuf, back.result.is_ok()));
                }
            }) == QueuePair::BURST
            {}
        }
    }
    pub fn in_flight(&self) -> usize {
        self.waiting.len() - self.free.len() + self.failed.len()
    }
}

/// Where things are in the packet.
struct Layout {
    iv: [u8; 16],
    aad: [u8; 12],
    cipher: (u32, u32),
    auth: (u32, u32),
    icv_offset: u32,
}

/// `None` when the packet is too short to hold what its SA needs.
fn layout(job: &Job<Mbuf>, key: &DeviceKey) -> Option<Layout> {
    let (at, iv_len) = (usize::from(job.esp_at), usize::from(key.iv_len));
    let packet = job.packet.data().get(at..at + usize::from(job.esp_len))?;
    let body = packet.len().checked_sub(esp::HEADER + iv_len + usize::from(key.icv_len))?;
    let header = packet.get(..esp::HEADER)?;
    let wire_iv = packet.get(esp::HEADER..esp::HEADER + iv_len)?;
    let (mut iv, mut aad) = ([0; 16], [0; 12]);
    if key.counter {
        iv[..4].copy_from_slice(&key.salt);
        iv.get_mut(4..4 + iv_len)?.copy_from_slice(wire_iv);
        //= rfc3686#4/counter-block: the last word counts from one. GCM sets it by itself.
        iv[15] = 1;
    } else {
        iv.get_mut(..iv_len)?.copy_from_slice(wire_iv);
    }
    if key.aead {
        match job.seq_high {
            None => aad[..8].copy_from_slice(header),
            //= rfc4106#5/aad: SPI, then the 64-bit number.
            Some(high) => {
                aad[..4].copy_from_slice(&header[..4]);
                aad[4..8].copy_from_slice(&high.to_be_bytes());
                aad[8..].copy_from_slice(&header[4..]);
            }
        }
    }
    let cipher_at = at + esp::HEADER + iv_len;
    Some(Layout {
        iv,
        aad,
        cipher: (cipher_at as u32, body as u32),
        auth: (at as u32, (esp::HEADER + iv_len + body) as u32),
        icv_offset: (cipher_at + body) as u32,
    })
}

/// Takes the packet out of a job.
fn part(job: Job<Mbuf>) -> (Mbuf, Job<()>) {
    let Job { packet, sa, operation, esp_at, esp_len, seq_high, ok, context } = job;
    (packet, Job { packet: (), sa, operation, esp_at, esp_len, seq_high, ok, context })
}
fn join(rest: Job<()>, packet: Mbuf, ok: bool) -> Job<Mbuf> {
    let Job { packet: (), sa, operation, esp_at, esp_len, seq_high, ok: _, context } = rest;
    Job { packet, sa, operation, esp_at, esp_len, seq_high, ok, context }
}
