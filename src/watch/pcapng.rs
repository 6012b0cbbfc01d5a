//! Captures in the format pcapng, as the Internet-Draft draft-ietf-opsawg-pcapng describes it: written block by block,
//! each whole, so that what there is can be read whenever it ends.
use anyhow::{Context, ensure};
use ipc::status::WatchedPacket;
use std::io::Write;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;
/// LINKTYPE_ETHERNET, and LINKTYPE_RAW: an IPv4 or IPv6 packet.
const ETHERNET: u16 = 1;
const RAW: u16 = 101;

// Options: of everything, and those of each block.
const COMMENT: u16 = 1;
const USER_APPLICATION: u16 = 4;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_RESOLUTION: u16 = 9;
const EPB_FLAGS: u16 = 2;
const EPB_PACKET_ID: u16 = 5;
const ISB_DROPPED: u16 = 5;

pub struct Pcapng<W> {
    to: W,
    /// Port, whether frames, whether protected: as the file's interfaces are numbered.
    interfaces: Vec<(String, bool, bool)>,
    last: u64,
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out.resize(bytes.len().next_multiple_of(4), 0);
    out
}
fn option(code: u16, value: &[u8]) -> Vec<u8> {
    // No value of ours is longer.
    let value = value.get(..value.len().min(usize::from(u16::MAX) & !3)).unwrap_or_default();
    let mut out = code.to_le_bytes().to_vec();
    out.extend((value.len() as u16).to_le_bytes());
    out.extend(padded(value));
    out
}
fn halves(time: u64) -> [u8; 8] {
    let mut out = [0; 8];
    out[..4].copy_from_slice(&((time >> 32) as u32).to_le_bytes());
    out[4..].copy_from_slice(&(time as u32).to_le_bytes());
    out
}

impl<W: Write> Pcapng<W> {
    pub fn begin(to: W) -> anyhow::Result<Self> {
        let mut this = Self { to, interfaces: Vec::new(), last: 0 };
        let mut body = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
        body.extend([1, 0, 0, 0]);
        // The length of the section is not known yet.
        body.extend(u64::MAX.to_le_bytes());
        let program = concat!("espway ", env!("CARGO_PKG_VERSION"));
        this.block(SECTION, body, &[option(USER_APPLICATION, program.as_bytes())])?;
        Ok(this)
    }
    fn block(&mut self, kind: u32, mut body: Vec<u8>, options: &[Vec<u8>]) -> anyhow::Result<()> {
        if !options.is_empty() {
            body.extend(options.concat());
            body.extend([0; 4]);
        }
        let len = (body.len() as u32 + 12).to_le_bytes();
        let block = [&kind.to_le_bytes()[..], &len, &body, &len].concat();
        self.to.write_all(&block).context("the capture cannot be written")
    }
    fn interface(&mut self, packet: &WatchedPacket) -> anyhow::Result<u32> {
        let named = (packet.port.clone(), packet.frame, packet.protected);
        if let Some(at) = self.interfaces.iter().position(|known| *known == named) {
            return Ok(at as u32);
        }
        let mut body = if packet.frame { ETHERNET } else { RAW }.to_le_bytes().to_vec();
        body.extend([0; 6]);
        let about = match packet.protected {
            true => "outside: packets under ESP or AH",
            false => "inside: packets before they are protected, or after",
        };
        let options = [
            option(IF_NAME, packet.port.as_bytes()),
            option(IF_DESCRIPTION, about.as_bytes()),
            // Nanoseconds.
            option(IF_RESOLUTION, &[9]),
        ];
        self.block(INTERFACE, body, &options)?;
        self.interfaces.push(named);
        Ok(self.interfaces.len() as u32 - 1)
    }
    pub fn packet(&mut self, packet: &WatchedPacket) -> anyhow::Result<()> {
        let at = self.interface(packet)?;
        let data = unhex(packet.data.as_deref().unwrap_or_default()).context("a packet is no hexadecimal")?;
        ensure!(data.len() <= packet.length as usize, "a packet is longer than it was");
        self.last = packet.time;
        let mut body = at.to_le_bytes().to_vec();
        body.extend(halves(packet.time));
        body.extend((data.len() as u32).to_le_bytes());
        body.extend(packet.length.to_le_bytes());
        body.extend(padded(&data));
        let flags: u32 = if packet.leaves { 0b10 } else { 0b01 };
        let mut options = vec![
            option(EPB_FLAGS, &flags.to_le_bytes()),
            option(EPB_PACKET_ID, &packet.number.to_le_bytes()),
        ];
        let said = packet.steps.iter().chain(&packet.fate).cloned().collect::<Vec<_>>().join("; ");
        if !said.is_empty() {
            options.push(option(COMMENT, said.as_bytes()));
        }
        self.block(PACKET, body, &options)
    }
    /// How many copies are missing.
    pub fn end(&mut self, lost: u64) -> anyhow::Result<()> {
        if !self.interfaces.is_empty() {
            let mut body = 0_u32.to_le_bytes().to_vec();
            body.extend(halves(self.last));
            self.block(STATISTICS, body, &[option(ISB_DROPPED, &lost.to_le_bytes())])?;
        }
        self.to.flush().context("the capture cannot be written")
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |c: u8| char::from(c).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? << 4 | digit(*low)?) as u8);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let mut file = Vec::new();
        let mut pcapng = Pcapng::begin(&mut file).unwrap();
        let packet = WatchedPacket {
            number: 1,
            time: 1_700_000_000_123_456_789,
            port: "wan".into(),
            frame: true,
            length: 99,
            fate: Some("sent on lan".into()),
            steps: vec!["open: the ICV is right".into()],
            data: Some("0102030405".into()),
            ..WatchedPacket::default()
        };
        pcapng.packet(&packet).unwrap();
        pcapng
            .packet(&WatchedPacket { leaves: true, fate: None, steps: Vec::new(), ..packet.clone() })
            .unwrap();
        pcapng.packet(&WatchedPacket { protected: true, ..packet }).unwrap();
        pcapng.end(4).unwrap();
        file
    }
    /// Kinds and bodies, by the lengths in front and behind.
    fn blocks(mut file: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let number = |bytes: &[u8]| u32::from_le_bytes(*bytes.first_chunk().unwrap());
        let mut out = Vec::new();
        while !file.is_empty() {
            let (kind, len) = (number(file), number(&file[4..]) as usize);
            assert_eq!((len % 4, number(&file[len - 4..]) as usize), (0, len));
            out.push((kind, file[8..len - 4].to_vec()));
            file = &file[len..];
        }
        out
    }
    #[test]
    fn blocks_are_those_of_the_draft() {
        let blocks = blocks(&written());
        let kinds: Vec<u32> = blocks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [SECTION, INTERFACE, PACKET, PACKET, INTERFACE, PACKET, STATISTICS]);
        let (_, packet) = &blocks[2];
        assert_eq!(packet[..4], [0; 4]);
        let time = 1_700_000_000_123_456_789_u64;
        assert_eq!(packet[4..8], ((time >> 32) as u32).to_le_bytes());
        assert_eq!(packet[8..12], (time as u32).to_le_bytes());
        assert_eq!(packet[12..28], [5, 0, 0, 0, 99, 0, 0, 0, 1, 2, 3, 4, 5, 0, 0, 0]);
        assert_eq!(packet[28..36], [2, 0, 4, 0, 1, 0, 0, 0], "it came in");
        let text = b"open: the ICV is right; sent on lan";
        assert!(packet.windows(text.len()).any(|window| window == text));
        assert_eq!(blocks[3].1[28..36], [2, 0, 4, 0, 2, 0, 0, 0], "it left");
        assert_eq!(blocks[5].1[..4], [1, 0, 0, 0]);
    }
    #[test]
    fn hexadecimal_is_read_and_nothing_else() {
        assert_eq!(unhex("00ff7A"), Some(vec![0, 255, 0x7a]));
        assert_eq!(unhex(""), Some(vec![]));
        assert!(["0", "0g", "0 ", "+f", "é"].iter().all(|text| unhex(text).is_none()));
    }
}
