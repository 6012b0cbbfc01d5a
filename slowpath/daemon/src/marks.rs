//! How far the numbers of SAs with fixed keys may have gone, in a file, so that no restart uses one again.
//!
//! Numbers are given out in blocks. A block is written down as used before its first number is; whoever restarts goes on
//! behind it. A block is known by its key, not by the SA's place or SPI: it is the key that must not see a number twice.
use ring::digest::{Context, SHA256};
use sa::SaSpec;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Numbers of a block, without and with ESN: each start of the gateway costs one. A receiver follows either jump
/// (RFC 4303 A2.2: less than 2^32).
const BLOCK: u64 = 1 << 24;
const BLOCK_ESN: u64 = 1 << 30;
/// More than all workers can have taken for packets that are not counted yet.
const SLACK: u64 = 1 << 18;

/// Numbers that nobody has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The number before the first.
    pub after: u64,
    /// So many packets may pass, and after so many the next block is due.
    pub hard: u64,
    pub soft: u64,
}

#[derive(Debug)]
pub enum NoBlock {
    /// All numbers under this key are used.
    Used,
    NotWritten(io::Error),
}
impl std::fmt::Display for NoBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Used => {
                f.write_str("all sequence numbers under its key are used; write new keys on both sides")
            }
            Self::NotWritten(error) => write!(
                f,
                "its sequence numbers cannot be written down, so a restart would use them again: {error}"
            ),
        }
    }
}

#[derive(Debug)]
pub struct Marks {
    path: PathBuf,
    /// By key, the last number of its last block.
    marks: BTreeMap<String, u64>,
}

impl Marks {
    /// A file that is not there is that of a gateway that never ran. One that cannot be read is an error: nobody knows then
    /// what was used.
    pub fn open(path: &Path) -> io::Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let row = |line: &str| {
            let (key, mark) = line.split_once(' ')?;
            Some((key.to_owned(), mark.parse().ok()?))
        };
        let marks = text.lines().map(row).collect::<Option<_>>();
        let marks =
            marks.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a line makes no sense"))?;
        Ok(Self { path: path.into(), marks })
    }
    //= rfc4106#3.1/unique-iv: no (key, IV) pair may come twice, whatever was restarted.
    pub fn next(&mut self, spec: &SaSpec) -> Result<Block, NoBlock> {
        let (size, end) = if spec.esn { (BLOCK_ESN, u64::MAX) } else { (BLOCK, u64::from(u32::MAX)) };
        let key = name(spec);
        let before = self.marks.get(&key).copied();
        let after = before.unwrap_or(0).max(spec.last_seq);
        let to = after.saturating_add(size).min(end);
        let hard = (to - after.min(to)).saturating_sub(SLACK);
        if hard < SLACK {
            return Err(NoBlock::Used);
        }
        self.marks.insert(key.clone(), to);
        if let Err(error) = self.write() {
            match before {
                Some(before) => self.marks.insert(key, before),
                None => self.marks.remove(&key),
            };
            return Err(NoBlock::NotWritten(error));
        }
        Ok(Block { after, hard, soft: hard / 4 * 3 })
    }
    fn write(&self) -> io::Result<()> {
        let text: String = self.marks.iter().map(|(key, mark)| format!("{key} {mark}\n")).collect();
        let fresh = self.path.with_extension("new");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        self.path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    }
}

/// A name of the key that counts, from which nobody gets the key.
fn name(spec: &SaSpec) -> String {
    let key = match spec.encryption_key.is_empty() {
        true => &spec.integrity_key,
        false => &spec.encryption_key,
    };
    let mut digest = Context::new(&SHA256);
    for part in [&b"espway manual-sa"[..], &[key.len() as u8], key.expose(), spec.salt.expose()] {
        digest.update(part);
    }
    crate::keylog::hex(digest.finish().as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sa::*;

    fn spec(key: u8, esn: bool) -> SaSpec {
        let suite = Suite::new(Encryption::Aes128Gcm, Integrity::None).expect("a suite");
        let any: Prefix = "0.0.0.0/0".parse().expect("a prefix");
        let ports = PortRange::ANY;
        let selector = Selector { src: any, dst: any, protocol: None, src_port: ports, dst_port: ports };
        SaSpec {
            slot: SaSlot(0),
            spi: Spi::new(0x1000).expect("an SPI"),
            direction: Direction::Outbound,
            protocol: Protocol::Esp,
            mode: Mode::Tunnel,
            suite,
            encryption_key: Key::new(&[key; 16]).expect("a key"),
            salt: Key::new(&[7; 4]).expect("a salt"),
            integrity_key: Key::empty(),
            ends: TunnelEnds { local: [192, 0, 2, 1].into(), remote: [192, 0, 2, 2].into() },
            encap: None,
            original: None,
            esn,
            replay_window: 0,
            last_seq: 0,
            lifetime: Lifetime::default(),
            policy: PolicyId(1),
            also: Vec::new(),
            selectors: vec![selector.into()],
        }
    }

    /// Hundreds of lives, each of which sends as much as it may and more than it is counted for, then ends without a word.
    #[test]
    fn a9_no_restart_uses_a_number_of_a_key_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("marks");
        for (esn, lives) in [(false, 300u32), (true, 20)] {
            // Another SPI and another place are no other key.
            let (mut one, other) = (spec(1 + u8::from(esn), esn), spec(9, esn));
            let mut used = one.last_seq;
            for life in 0..lives {
                one.spi = Spi::new(0x1000 + life).expect("an SPI");
                one.slot = SaSlot(life);
                let mut marks = Marks::open(&path).expect("the file");
                let block = match marks.next(&one) {
                    Ok(block) => block,
                    Err(NoBlock::Used) => {
                        assert!(!esn && life > 250, "after {life} lives");
                        break;
                    }
                    Err(error) => panic!("{error}"),
                };
                assert!(block.after >= used, "{block:?} after {used}");
                assert!(block.soft < block.hard);
                used = block.after + block.hard + SLACK;
                assert!(esn || used <= u64::from(u32::MAX));
                if life % 100 == 0 {
                    assert!(marks.next(&other).is_ok());
                }
            }
        }
        let text = fs::read_to_string(&path).expect("the file");
        assert_eq!(text.lines().count(), 3);
        assert!(!text.contains(&"01".repeat(16)), "no key in it");
    }
    #[test]
    fn a9_without_a_file_that_can_be_trusted_no_number_is_given_out() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("marks");
        fs::write(&path, "abc 12\nabc").expect("written");
        assert!(Marks::open(&path).is_err());
        fs::remove_file(&path).expect("removed");
        let mut marks = Marks::open(&dir.path().join("nowhere/marks")).expect("no file is a fresh start");
        assert!(matches!(marks.next(&spec(1, true)), Err(NoBlock::NotWritten(_))));
        assert!(marks.marks.is_empty());
    }
    #[test]
    fn numbers_begin_where_the_configuration_says_if_that_is_further() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut marks = Marks::open(&dir.path().join("marks")).expect("a fresh start");
        let mut from = spec(1, true);
        from.last_seq = 1 << 40;
        assert_eq!(marks.next(&from).expect("a block").after, 1 << 40);
        from.last_seq = 5;
        assert_eq!(marks.next(&from).expect("a block").after, (1 << 40) + BLOCK_ESN);
    }
}
