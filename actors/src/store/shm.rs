//! The shared-memory segment: bytes, and nothing else.
//!
//! Owns: the mapping, its name and its lock file; touching memory in advance; and the few questions to the operating
//! system that need `unsafe`. Which bytes are whose is decided in `extents`.
//!
//! **Safety of this module.** A segment hands out `&mut [u8]` for a `&mut Extent` and `&[u8]` for an `&Extent`. Extents
//! cannot be cloned, are made by the allocator alone, and never overlap; there is one allocator a segment. So Rust's own
//! borrow rules for extents are those of the bytes. The mapping outlives every slice because each borrows the segment.
//! Other processes of this user could write to the segment too; they are trusted not to.
//!
//! A process that maps a segment of its node ([`Mapped`]) has it twice: once read-only, for all that it views, so that a
//! stray write through a view ends the process that made it and corrupts nobody's object; and once writable, of which it
//! only ever writes to a [`Grant`], made of the node's answer to one request for room. The node's allocator keeps grants
//! from overlapping with each other and with what is sealed.
#![allow(unsafe_code)]

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs, io,
    ops::Range,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU8, Ordering},
};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use shared_memory::{Shmem, ShmemConf, ShmemError};

use super::{
    extents::Extent,
    lease::{self, Lease},
};

/// One segment of shared memory, created for its user only (mode 0600). Sparse: memory is taken up as it is touched.
pub(super) struct Segment {
    // Dropped, and with it unlinked, before the lease.
    memory: Shmem,
    lease: Lease,
}

// SAFETY: `Shmem` is not `Send` for its raw pointer alone; the mapping belongs to the process, not to a thread.
unsafe impl Send for Segment {}
// SAFETY: all access to the bytes goes through extents, see the module's documentation; the rest is read-only.
unsafe impl Sync for Segment {}

impl Segment {
    /// A segment under a name of its own.
    pub(super) fn create(len: usize) -> io::Result<Self> {
        let lease = Lease::acquire(&folder())?;
        let memory = ShmemConf::new().os_id(os_id(lease.name())).size(len).create().map_err(io_error)?;
        Ok(Self { memory, lease })
    }

    /// The segment's name, and that of its lock file without the suffix.
    pub(super) fn name(&self) -> &str {
        self.lease.name()
    }

    /// Takes the segment's name away; the mapping stays. Dropping it later finds nothing left to remove.
    pub(super) fn unlink(&self) {
        if cfg!(target_os = "linux") {
            let _ = fs::remove_file(folder().join(self.lease.name()));
            self.lease.release();
        }
    }

    /// The bytes of an extent of this segment.
    pub(super) fn bytes<'a>(&'a self, extent: &'a Extent) -> &'a [u8] {
        assert!(extent.end() <= self.memory.len(), "invariant: an extent lies within its segment");
        // SAFETY: in bounds of the mapping, which lives as long as `self`. Initialised: fresh pages are zero. Nobody
        // writes: that would take a `&mut Extent` for these bytes, but this one is borrowed and no other overlaps it.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(extent.offset()), extent.len()) }
    }

    /// The bytes of an extent of this segment, to be written.
    #[allow(clippy::mut_from_ref, reason = "exclusive by the extent, not by the segment")]
    pub(super) fn bytes_mut<'a>(&'a self, extent: &'a mut Extent) -> &'a mut [u8] {
        assert!(extent.end() <= self.memory.len(), "invariant: an extent lies within its segment");
        // SAFETY: as in `bytes`; and `extent` is borrowed mutably for as long as the result lives, so that nobody else
        // reads or writes these bytes.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr().add(extent.offset()), extent.len()) }
    }

    /// A part of an extent, to be written while other parts of it are written by others.
    ///
    /// # Safety
    ///
    /// No two parts that live at the same time may overlap, and nobody may read or write them by [`Segment::bytes`] or
    /// [`Segment::bytes_mut`] meanwhile.
    #[allow(clippy::mut_from_ref, reason = "exclusive by the caller's promise")]
    unsafe fn part_mut<'a>(&'a self, extent: &'a Extent, part: &Range<usize>) -> &'a mut [u8] {
        assert!(part.start <= part.end && part.end <= extent.len(), "invariant: a part lies within its extent");
        assert!(extent.end() <= self.memory.len(), "invariant: an extent lies within its segment");
        // SAFETY: in bounds of the mapping; exclusive as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr().add(extent.offset() + part.start), part.len()) }
    }

    /// Has the operating system back `range` with memory, so that no later write to it is slow or fails. Contents are
    /// left as they are.
    ///
    /// # Errors
    ///
    /// If there is no memory left. Writing to a shared page without memory behind it would kill the process.
    pub(super) fn touch(&self, range: Range<usize>) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        assert!(range.end <= self.memory.len(), "invariant: what is touched lies within the segment");
        let page = page_bytes();
        let start = range.start / page * page;
        let end = range.end.next_multiple_of(page);
        // SAFETY: the range is within the mapping, but for the end of its last page, which is mapped as well. The
        // advice changes no contents.
        let result = unsafe {
            let address = self.memory.as_ptr().add(start);
            libc::madvise(address.cast(), end - start, POPULATE_WRITE)
        };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINVAL | libc::ENOSYS) => self.touch_by_writing(range, page),
            // The kernel's words for a shared page that cannot be had: the memory or the file system is full.
            Some(libc::EFAULT | libc::ENOMEM) => Err(io::ErrorKind::OutOfMemory.into()),
            _ => Err(error),
        }
    }

    /// For kernels before 5.14 and other systems: one write a page that leaves its byte as it is.
    fn touch_by_writing(&self, range: Range<usize>, page: usize) -> io::Result<()> {
        if free_bytes(&folder()).is_some_and(|free| free < range.len() as u64) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let first = range.start;
        let others = (first.next_multiple_of(page)..range.end).step_by(page);
        for offset in std::iter::once(first).chain(others) {
            // SAFETY: in bounds, and valid for as long as `self`. The byte may be in use by somebody else meanwhile;
            // or-ing it with zero in one atomic step loses no write of theirs.
            unsafe { AtomicU8::from_ptr(self.memory.as_ptr().add(offset)) }.fetch_or(0, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// An extent that several writers fill, each a part of its own.
#[derive(Debug)]
pub(super) struct Shares {
    extent: Extent,
    /// Beginning and end of the parts that are being written.
    lent: Mutex<BTreeMap<usize, usize>>,
}

impl Shares {
    pub(super) fn new(extent: Extent) -> Self {
        Self { extent, lent: Mutex::default() }
    }

    /// The extent again; nobody fills it any more.
    pub(super) fn into_extent(self) -> Extent {
        self.extent
    }

    /// Lends a part out; none while any of it is lent to another, or where it is not within the extent.
    pub(super) fn lend(&self, part: Range<usize>) -> Option<Range<usize>> {
        let mut lent = self.lent.lock();
        let within = part.start < part.end && part.end <= self.extent.len();
        let before = lent.range(..part.end).next_back().is_none_or(|(_, end)| *end <= part.start);
        (within && before).then(|| {
            lent.insert(part.start, part.end);
            part
        })
    }

    /// The bytes of a part that was lent to the caller, who gives it back and does not lend it on.
    #[allow(clippy::mut_from_ref, reason = "exclusive by the loan")]
    pub(super) fn bytes_mut<'a>(&'a self, segment: &'a Segment, lent: &'a mut Range<usize>) -> &'a mut [u8] {
        let is_lent = self.lent.lock().get(&lent.start) == Some(&lent.end);
        assert!(is_lent, "invariant: what is written was lent");
        // SAFETY: parts that are lent do not overlap, each has one borrower, whose loan is borrowed mutably here; and the
        // extent itself is behind `self`, which gives it out only by value.
        unsafe { segment.part_mut(&self.extent, lent) }
    }

    /// A part is not written any more.
    pub(super) fn give_back(&self, part: &Range<usize>) {
        self.lent.lock().remove(&part.start);
    }
}

/// Room in a node's segment that the node has granted to this process, and to nobody else, until it is sealed.
#[derive(Debug)]
pub(super) struct Grant {
    offset: usize,
    len: usize,
}

impl Grant {
    /// What the node has answered to one request. To be called once an answer.
    pub(super) fn new(offset: usize, len: usize) -> Self {
        Self { offset, len }
    }
}

/// The segment of this process's node, or of another node of the machine, which is only read.
pub(super) struct Mapped {
    read: Shmem,
    write: Option<Shmem>,
    /// Dropped after the mapping: what tells the lender that it is mapped.
    _guest: Option<Box<dyn Send + Sync>>,
}

// SAFETY: as for `Segment`.
unsafe impl Send for Mapped {}
// SAFETY: as for `Segment`; what is written belongs to a grant, what is read is sealed and pinned.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps the segment of this name.
    pub(super) fn open(name: &str) -> io::Result<Self> {
        let write = ShmemConf::new().os_id(os_id(name)).open().map_err(io_error)?;
        Ok(Self { write: Some(write), ..Self::open_to_read(name, None)? })
    }

    /// Maps the segment of this name, to be read only. `guest` is dropped when it is mapped no more.
    pub(super) fn open_to_read(name: &str, guest: Option<Box<dyn Send + Sync>>) -> io::Result<Self> {
        let read = ShmemConf::new().os_id(os_id(name)).open().map_err(io_error)?;
        // SAFETY: the range is that of a mapping of our own, to which nothing refers yet.
        let result = unsafe { libc::mprotect(read.as_ptr().cast(), read.len(), libc::PROT_READ) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { read, write: None, _guest: guest })
    }

    /// How long it is.
    pub(super) fn len(&self) -> usize {
        self.write.as_ref().map_or(self.read.len(), |write| write.len().min(self.read.len()))
    }

    /// Whether it is this process's own node's.
    pub(super) fn is_own(&self) -> bool {
        self.write.is_some()
    }

    /// Bytes that the node has pinned for this process, as long as they are pinned.
    pub(super) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        assert!(range.start <= range.end && range.end <= self.len(), "invariant: a view lies within its segment");
        // SAFETY: in bounds of the mapping, which lives as long as `self`. Sealed bytes are written by nobody, and pinned
        // ones stay where they are; the caller keeps the pin.
        unsafe { std::slice::from_raw_parts(self.read.as_ptr().add(range.start), range.len()) }
    }

    /// Bytes that were granted to this process.
    #[allow(clippy::mut_from_ref, reason = "exclusive by the grant, not by the mapping")]
    pub(super) fn bytes_mut<'a>(&'a self, grant: &'a mut Grant) -> &'a mut [u8] {
        let end = grant.offset.checked_add(grant.len);
        assert!(end.is_some_and(|end| end <= self.len()), "invariant: a grant lies within its segment");
        let write = self.write.as_ref().expect("invariant: room is granted by the own node only");
        // SAFETY: in bounds of the mapping. The grant is this process's alone, is borrowed mutably, and cannot be cloned.
        unsafe { std::slice::from_raw_parts_mut(write.as_ptr().add(grant.offset), grant.len) }
    }
}

#[cfg(target_os = "linux")]
const POPULATE_WRITE: libc::c_int = libc::MADV_POPULATE_WRITE;
/// Advice that no system knows, so that the fallback is taken.
#[cfg(not(target_os = "linux"))]
const POPULATE_WRITE: libc::c_int = -1;

/// Removes the segments of dead owners. Says how many there were.
pub(super) fn reclaim_segments() -> usize {
    lease::reclaim(&folder(), |name| {
        if cfg!(target_os = "linux") {
            return fs::remove_file(folder().join(name));
        }
        match ShmemConf::new().os_id(os_id(name)).open() {
            // The owner's drop unlinks it.
            Ok(mut segment) => {
                segment.set_owner(true);
                Ok(())
            }
            Err(ShmemError::MapOpenFailed(_)) => Err(io::ErrorKind::NotFound.into()),
            Err(error) => Err(io_error(error)),
        }
    })
}

/// Where the lock files are; on Linux the segments themselves as well.
pub(super) fn folder() -> PathBuf {
    let linux = Path::new("/dev/shm");
    if cfg!(target_os = "linux") && linux.is_dir() {
        linux.to_owned()
    } else {
        std::env::temp_dir()
    }
}

fn os_id(name: &str) -> String {
    format!("/{name}")
}

fn io_error(error: ShmemError) -> io::Error {
    match error {
        ShmemError::MapCreateFailed(code) | ShmemError::MapOpenFailed(code) | ShmemError::UnknownOsError(code) => {
            io::Error::from_raw_os_error(code as i32)
        }
        other => io::Error::other(other),
    }
}

/// Which shared memory this process can map, as a hash that is equal for all who can map the same: processes of one user,
/// one boot of one machine, and one `/dev/shm`. `None` where that cannot be told.
pub(crate) fn shared_memory() -> Option<u64> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let device = fs::metadata(folder()).ok()?.dev();
    let said = format!("{} {device} {}", boot.trim(), user_id());
    let hash = Sha256::digest(said.as_bytes());
    hash.first_chunk().map(|first| u64::from_le_bytes(*first))
}

/// The user that this process runs as.
pub(crate) fn user_id() -> u32 {
    // SAFETY: takes nothing, touches nothing, cannot fail.
    unsafe { libc::geteuid() }
}

/// How much can still be written to the file system of `path`; `None` if it does not say.
pub(super) fn free_bytes(path: &Path) -> Option<u64> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: all zeros is a valid `statvfs`.
    let mut answer: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` ends with a zero byte, and `answer` is of the type that is written to.
    let result = unsafe { libc::statvfs(path.as_ptr(), &mut answer) };
    #[allow(clippy::unnecessary_cast, reason = "the fields' width differs between systems")]
    (result == 0).then(|| answer.f_bavail as u64 * answer.f_frsize as u64)
}

/// This machine's memory; `None` if it does not say.
pub(super) fn memory_bytes() -> Option<u64> {
    // SAFETY: takes a number, touches nothing.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    u64::try_from(pages).ok().map(|pages| pages * page_bytes() as u64)
}

fn page_bytes() -> usize {
    // SAFETY: takes a number, touches nothing.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}
