//! The key under which the slow path seals what it must not lose when it dies.
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use zeroize::Zeroizing;

pub const KEY_BYTES: usize = 32;

/// A file in memory with fresh random bytes. Only who is handed the descriptor can read it; it never has a name,
/// and is neither in arguments nor in the environment.
pub fn key() -> std::io::Result<OwnedFd> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    File::open("/dev/urandom")?.read_exact(&mut *bytes)?;
    let fd = memfd_create("espway-vault-key", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(fd);
    file.write_all(&*bytes)?;
    file.seek(SeekFrom::Start(0))?;
    let fd = OwnedFd::from(file);
    fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_cannot_be_changed() {
        let read = |fd: OwnedFd| {
            let (mut file, mut bytes) = (File::from(fd), Vec::new());
            file.read_to_end(&mut bytes).expect("readable");
            assert!(file.write_all(b"x").is_err(), "sealed");
            bytes
        };
        let (one, two) = (read(key().expect("memfd")), read(key().expect("memfd")));
        assert_eq!((one.len(), two.len()), (KEY_BYTES, KEY_BYTES));
        assert_ne!(one, two);
    }
}
