//! The sealed memfd both processes map.
use crate::layout::{Geometry, GeometryError, HEADER_WORDS, LAYOUT_VERSION, Layout, MAGIC};
use crate::memory::{Part, Words};
use crate::sync::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    #[error("cannot {doing}: {source}")]
    Os { doing: &'static str, source: rustix::io::Errno },
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    #[error(
        "the region has layout version {theirs}, this program speaks {ours}: install both processes from one build"
    )]
    Version { ours: u64, theirs: u64 },
    #[error("what was handed over is not an espway region (magic {0:#x})")]
    Magic(u64),
    #[error("the region is {got} bytes long, its geometry asks for {expected}")]
    Size { got: u64, expected: u64 },
    #[error("the region is not sealed against {0}: its maker could take memory away under us")]
    Unsealed(&'static str),
}
pub(crate) fn os(doing: &'static str) -> impl FnOnce(rustix::io::Errno) -> RegionError {
    move |source| RegionError::Os { doing, source }
}

/// Seals that must be there: the size is final, and so are the seals.
const SEALS: [(SealFlags, &str); 3] =
    [(SealFlags::SHRINK, "shrinking"), (SealFlags::GROW, "growing"), (SealFlags::SEAL, "other seals")];

struct Mapping {
    start: NonNull<AtomicU64>,
    words: usize,
}
// SAFETY: the mapping is plain shared memory that is only ever touched through atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, words: usize) -> Result<Self, RegionError> {
        // SAFETY: the kernel chooses a free address (null hint, no MAP_FIXED), so no memory of ours is replaced.
        let start = unsafe {
            let prot = ProtFlags::READ | ProtFlags::WRITE;
            rustix::mm::mmap(std::ptr::null_mut(), words * 8, prot, MapFlags::SHARED, fd, 0)
        }
        .map_err(os("map the region"))?;
        // SAFETY: `start` is the mapping just made, `words * 8` its length. Keys are in it: no core dump.
        // A kernel that does not know the advice loses that protection only.
        let _ = unsafe { rustix::mm::madvise(start, words * 8, Advice::LinuxDontDump) };
        let start = NonNull::new(start.cast()).ok_or(RegionError::Unsealed("address 0"))?;
        Ok(Self { start, words })
    }
}
impl Words for Mapping {
    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is `words * 8` bytes long, page-aligned, and lives until `drop`. Another process
        // may write to it at any time, which atomics allow. It cannot shrink: seals are checked before mapping.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}
impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: start and length are those of `mmap`; every `Part` holds the Arc of this owner, so no
        // reference into the mapping is left.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.words * 8) };
        debug_assert!(unmapped.is_ok());
    }
}

pub struct Region {
    fd: OwnedFd,
    whole: Part,
    pub(crate) layout: Layout,
    pub(crate) geometry: Geometry,
    epoch: u64,
}

// Header words.
const W_MAGIC: usize = 0;
const W_VERSION: usize = 1;
const W_BYTES: usize = 2;
const W_EPOCH: usize = 3;
const W_GEOMETRY: usize = 8;

impl Region {
    /// `epoch` names this life of the fast path: never the same twice.
    pub fn create(geometry: Geometry, epoch: u64) -> Result<Self, RegionError> {
        let layout = Layout::of(&geometry)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create("espway-ipc", flags).map_err(os("create the region"))?;
        rustix::fs::ftruncate(&fd, layout.bytes()).map_err(os("size the region"))?;
        let seals = SEALS.iter().fold(SealFlags::empty(), |all, (seal, _)| all | *seal);
        rustix::fs::fcntl_add_seals(&fd, seals).map_err(os("seal the region"))?;
        let whole = Part::whole(Arc::new(Mapping::new(fd.as_fd(), layout.words)?));
        let region = Self { fd, whole, layout, geometry, epoch };
        region.write_header();
        Ok(region)
    }
    /// For each new reader again: its predecessor could write here.
    pub(crate) fn write_header(&self) {
        let w = &self.whole;
        w[W_VERSION].store(LAYOUT_VERSION, Relaxed);
        w[W_BYTES].store(self.layout.bytes(), Relaxed);
        w[W_EPOCH].store(self.epoch, Relaxed);
        for (word, value) in w[W_GEOMETRY..].iter().zip(self.geometry.to_words()) {
            word.store(value, Relaxed);
        }
        w[W_MAGIC].store(MAGIC, Release);
    }

    /// Takes a region from the other side and believes nothing of it that was not checked.
    pub fn open(fd: OwnedFd) -> Result<Self, RegionError> {
        let seals = rustix::fs::fcntl_get_seals(&fd).map_err(os("read the region's seals"))?;
        for (seal, what) in SEALS {
            if !seals.contains(seal) {
                return Err(RegionError::Unsealed(what));
            }
        }
        let size = rustix::fs::fstat(&fd).map_err(os("read the region's size"))?.st_size as u64;
        if size < HEADER_WORDS as u64 * 8 {
            return Err(RegionError::Size { got: size, expected: HEADER_WORDS as u64 * 8 });
        }
        let header: [u64; HEADER_WORDS] = {
            let mapping = Mapping::new(fd.as_fd(), HEADER_WORDS)?;
            let words = mapping.words();
            std::array::from_fn(|i| words[i].load(Acquire))
        };
        if header[W_MAGIC] != MAGIC {
            return Err(RegionError::Magic(header[W_MAGIC]));
        }
        if header[W_VERSION] != LAYOUT_VERSION {
            return Err(RegionError::Version { ours: LAYOUT_VERSION, theirs: header[W_VERSION] });
        }
        let numbers = std::array::from_fn(|i| header[W_GEOMETRY + i]);
        let wrong = |got| RegionError::Size { got, expected: size };
        let geometry = Geometry::from_words(numbers).ok_or_else(|| wrong(0))?;
        let layout = Layout::of(&geometry)?;
        if layout.bytes() != size || header[W_BYTES] != size {
            return Err(RegionError::Size { got: size, expected: layout.bytes() });
        }
        let whole = Part::whole(Arc::new(Mapping::new(fd.as_fd(), layout.words)?));
        Ok(Self { fd, whole, layout, geometry, epoch: header[W_EPOCH] })
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }
    /// Everything, for whoever wants to play the hostile side.
    pub fn words(&self) -> &Part {
        &self.whole
    }
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
    /// The layout's ranges lie inside by construction; an empty part would be a bug of `Layout`.
    pub(crate) fn part(&self, range: &std::ops::Range<usize>) -> Part {
        self.whole.slice(range.clone()).unwrap_or_else(|| Part::private(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{fcntl_add_seals, ftruncate, memfd_create};

    fn forge(words: &[(usize, u64)], bytes: u64, seals: SealFlags) -> OwnedFd {
        let fd = memfd_create("t", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        for (word, value) in words {
            rustix::io::pwrite(&fd, &value.to_ne_bytes(), *word as u64 * 8).unwrap();
        }
        ftruncate(&fd, bytes).unwrap();
        fcntl_add_seals(&fd, seals).unwrap();
        fd
    }
    fn said(fd: OwnedFd) -> String {
        Region::open(fd).err().map_or_else(|| "accepted".into(), |e| e.to_string())
    }
    const ALL: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

    /// H8: version mismatch, wrong size, unsealed or truncated memfd.
    #[test]
    fn h8_a_region_that_is_not_what_it_says_is_refused() {
        let geometry = Geometry { workers: 1, vault_records: 4, ..Geometry::default() };
        let bytes = Layout::of(&geometry).unwrap().bytes();
        let mut good: Vec<(usize, u64)> =
            vec![(W_MAGIC, MAGIC), (W_VERSION, LAYOUT_VERSION), (W_BYTES, bytes)];
        good.extend(geometry.to_words().into_iter().enumerate().map(|(i, w)| (W_GEOMETRY + i, w)));
        let with = |word: usize, value: u64| [good.clone(), vec![(word, value)]].concat();
        assert_eq!(said(forge(&good, bytes, ALL)), "accepted");

        let version = said(forge(&with(W_VERSION, 77), bytes, ALL));
        assert!(version.contains("77") && version.contains(&LAYOUT_VERSION.to_string()), "{version}");
        assert!(said(forge(&with(W_MAGIC, 1), bytes, ALL)).contains("not an espway region"));
        assert!(said(forge(&good, bytes - 4096, ALL)).contains(&bytes.to_string()));
        assert!(said(forge(&good, bytes + 4096, ALL)).contains(&bytes.to_string()));
        assert!(said(forge(&good, 100, ALL)).contains("100"));
        assert!(said(forge(&with(W_GEOMETRY, u64::MAX), bytes, ALL)).contains("geometry"));
        assert!(said(forge(&with(W_GEOMETRY + 1, 100_000), bytes, ALL)).contains("workers"));
        assert!(said(forge(&good, bytes, SealFlags::GROW | SealFlags::SEAL)).contains("shrinking"));
        assert!(said(forge(&good, bytes, SealFlags::SHRINK | SealFlags::SEAL)).contains("growing"));
        assert!(said(forge(&good, bytes, SealFlags::SHRINK | SealFlags::GROW)).contains("other seals"));
    }
    #[test]
    fn h8_a_region_cannot_be_shrunk() {
        let region = Region::create(Geometry { vault_records: 4, ..Geometry::default() }, 7).unwrap();
        assert_eq!(ftruncate(region.fd(), 4096), Err(rustix::io::Errno::PERM));
        let again = Region::open(region.fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!((again.epoch(), again.geometry()), (7, region.geometry()));
        region.whole[600].store(5, Relaxed);
        assert_eq!(again.whole[600].load(Relaxed), 5);
    }
}
