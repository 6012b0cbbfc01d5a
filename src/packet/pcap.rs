//! Captures in the classic pcap format: read whole, written whole.
//!
//! pcapng is recognised and refused with the command that converts it; the crates that read it lose time stamps.
use std::io::{self, Write};
use std::time::Duration;
use thiserror::Error;

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const PCAPNG: u32 = 0x0a0d_0d0a;
/// LINKTYPE_ETHERNET.
const ETHERNET: u32 = 1;
/// Largest record taken; libpcap's own bound.
const MAX_RECORD: u32 = 262_144;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub time: Duration,
    /// Less than what was on the wire when the capture was cut (`tcpdump -s`).
    pub frame: Vec<u8>,
    pub wire_len: u32,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum PcapError {
    #[error("this is not a pcap file")]
    NotPcap,
    #[error("this is pcapng; convert it with: editcap -F pcap IN OUT")]
    PcapNg,
    #[error("link type {0} instead of Ethernet (1); capture on an Ethernet interface")]
    LinkType(u32),
    #[error("record {0} is cut off")]
    CutOff(usize),
    #[error("record {number} claims {len} bytes; at most {MAX_RECORD} are read")]
    TooLong { number: usize, len: u32 },
}

pub fn read(file: &[u8]) -> Result<Vec<Record>, PcapError> {
    let (header, mut rest) = file.split_at_checked(24).ok_or(PcapError::NotPcap)?;
    let (little, big) = (number(header, 0, true), number(header, 0, false));
    let (little_endian, fraction) = match (little, big) {
        (Some(PCAPNG), _) => return Err(PcapError::PcapNg),
        (Some(MICROSECONDS), _) => (true, 1000),
        (Some(NANOSECONDS), _) => (true, 1),
        (_, Some(MICROSECONDS)) => (false, 1000),
        (_, Some(NANOSECONDS)) => (false, 1),
        _ => return Err(PcapError::NotPcap),
    };
    // The upper bits tell of a frame check sequence, which no capture of ours has.
    match number(header, 20, little_endian).unwrap_or(0) & 0x0fff_ffff {
        ETHERNET => {}
        other => return Err(PcapError::LinkType(other)),
    }
    let mut records = Vec::new();
    while !rest.is_empty() {
        let at = records.len() + 1;
        let (head, tail) = rest.split_at_checked(16).ok_or(PcapError::CutOff(at))?;
        let field = |offset| number(head, offset, little_endian).ok_or(PcapError::CutOff(at));
        let (seconds, parts, len, wire_len) = (field(0)?, field(4)?, field(8)?, field(12)?);
        if len > MAX_RECORD {
            return Err(PcapError::TooLong { number: at, len });
        }
        let (frame, tail) = tail.split_at_checked(len as usize).ok_or(PcapError::CutOff(at))?;
        let time = Duration::from_secs(seconds.into()) + Duration::from_nanos(u64::from(parts) * fraction);
        records.push(Record { time, frame: frame.to_vec(), wire_len });
        rest = tail;
    }
    Ok(records)
}

fn number(bytes: &[u8], at: usize, little_endian: bool) -> Option<u32> {
    let bytes = *bytes.get(at..)?.first_chunk()?;
    Some(if little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
}

/// With nanoseconds, so that nothing is rounded.
pub fn write(mut out: impl Write, records: &[Record]) -> io::Result<()> {
    for field in [NANOSECONDS, 0x0004_0002, 0, 0, MAX_RECORD, ETHERNET] {
        out.write_all(&field.to_le_bytes())?;
    }
    for record in records {
        let len = u32::try_from(record.frame.len()).map_err(io::Error::other)?;
        let seconds = u32::try_from(record.time.as_secs()).map_err(io::Error::other)?;
        for field in [seconds, record.time.subsec_nanos(), len, record.wire_len.max(len)] {
            out.write_all(&field.to_le_bytes())?;
        }
        out.write_all(&record.frame)?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Record> {
        let record = |n: u8| Record {
            time: Duration::new(1_700_000_000 + u64::from(n), 123_456_789),
            frame: vec![n; 60 + usize::from(n)],
            wire_len: 60 + u32::from(n),
        };
        (0..5).map(record).collect()
    }
    fn written() -> Vec<u8> {
        let mut file = Vec::new();
        write(&mut file, &sample()).unwrap();
        file
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(read(&written()), Ok(sample()));
    }
    #[test]
    fn microseconds_and_the_other_byte_order_are_read() {
        let mut file = Vec::new();
        for field in [MICROSECONDS, 0x0002_0004, 0, 0, 65535, ETHERNET, 7, 5, 3, 60] {
            file.extend(field.to_be_bytes());
        }
        file.extend([1, 2, 3]);
        let record = Record { time: Duration::new(7, 5000), frame: vec![1, 2, 3], wire_len: 60 };
        assert_eq!(read(&file), Ok(vec![record]));
    }
    #[test]
    fn whatever_is_cut_off_says_so() {
        let file = written();
        for len in 0..file.len() {
            match read(&file[..len]) {
                Ok(records) => assert!(sample().starts_with(&records), "{len}"),
                Err(PcapError::CutOff(n)) => assert!((1..=5).contains(&n)),
                Err(error) => assert_eq!((error, len < 24), (PcapError::NotPcap, true)),
            }
        }
    }
    #[test]
    fn foreign_files_are_named() {
        assert_eq!(read(&PCAPNG.to_le_bytes().repeat(10)), Err(PcapError::PcapNg));
        assert_eq!(read(b"#!/bin/sh\necho not a capture at all\n"), Err(PcapError::NotPcap));
        let mut file = written();
        file[20] = 101;
        assert_eq!(read(&file), Err(PcapError::LinkType(101)));
        let mut file = written();
        file[24 + 8..24 + 12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(read(&file), Err(PcapError::TooLong { number: 1, len: u32::MAX }));
    }
}
