//! A few words of memory that a process shares with another through a file.
//!
//! Owns: the mapping. What the words mean is their users' affair. Invariants: words are reached by atomic operations only, so
//! that two processes may write and read them at once; the file is as long as the mapping before it is mapped.
#![allow(unsafe_code)]

use std::{fs::File, io, os::fd::AsRawFd, ptr::NonNull, sync::atomic::AtomicU64};

/// How many words a page has.
pub(crate) const PAGE_WORDS: usize = 64;
/// Bytes of a page's file.
pub(crate) const PAGE_BYTES: usize = PAGE_WORDS * size_of::<AtomicU64>();

/// The mapping of a file of [`PAGE_BYTES`].
pub(crate) struct Page {
    words: NonNull<[AtomicU64; PAGE_WORDS]>,
}

// SAFETY: the words are atomics, and the mapping belongs to the process, not to a thread.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    /// Maps a file, which is made as long as it must be. Nobody may cut it shorter as long as it is mapped.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        if file.metadata()?.len() < PAGE_BYTES as u64 {
            file.set_len(PAGE_BYTES as u64)?;
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place of the system's choice, of a file that is as long; nothing else is touched.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), PAGE_BYTES, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(at.cast()).map(|words| Self { words }).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// The words.
    pub(crate) fn words(&self) -> &[AtomicU64; PAGE_WORDS] {
        // SAFETY: the mapping is as long, aligned to a page, initialised (files begin as zeros) and lives as long as `self`.
        // Every access to it, by any process, is atomic.
        unsafe { self.words.as_ref() }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nothing borrows it any more.
        unsafe { libc::munmap(self.words.as_ptr().cast(), PAGE_BYTES) };
    }
}
