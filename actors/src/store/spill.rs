//! Objects on disk.
//!
//! Owns: the spill folder, the files' form (a header with length and checksum, then the bytes), and what
//! can go wrong with them. When to spill is the core's matter.
//!
//! **Invariants:** a file appears under its name only when it is complete; what is read back is what was written, or an
//! error; nothing is left of a write that failed. A crash loses the files' meaning, so nothing is synced.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{core::FileId, own_folder::OwnFolder};
use crate::checksum::{Checksum, STEP_BYTES};

const MAGIC: [u8; 8] = *b"actspil2";
pub(crate) const HEADER_BYTES: usize = 24;

/// Why an object could not be spilled or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpillError {
    /// The disk is full. The object stays in memory.
    #[error("the disk of the spill folder {} is full", folder.display())]
    DiskFull {
        /// The spill folder.
        folder: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The bound on spilled bytes is reached. The object stays in memory.
    #[error("spilling more would exceed the bound of {max_bytes} bytes (`spill_bytes_max`)")]
    Limit {
        /// The bound.
        max_bytes: u64,
    },
    /// The file is not what was written: damaged, cut off or of another object.
    #[error("the spilled object in {} is damaged: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Any other failure of the file system.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A folder of spilled objects, removed when dropped.
#[derive(Debug)]
pub(super) struct SpillFolder {
    folder: OwnFolder,
}

impl SpillFolder {
    /// A new folder in `base`.
    pub(super) fn create(base: &Path) -> Result<Self, SpillError> {
        let failed = |source| SpillError::Io { path: base.to_owned(), source };
        Ok(Self { folder: OwnFolder::create(base).map_err(failed)? })
    }

    fn path_of(&self, file: FileId) -> PathBuf {
        self.folder.path().join(format!("{:016x}.object", file.0))
    }

    /// Writes an object's bytes.
    pub(super) fn write(&self, file: FileId, bytes: &[u8]) -> Result<(), SpillError> {
        let path = self.path_of(file);
        let unfinished = path.with_extension("unfinished");
        let result = write_file(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, &path));
        result.map_err(|source| {
            // What was written of it so far would only keep the disk full.
            let _ = fs::remove_file(&unfinished);
            self.classify(path, source)
        })
    }

    /// Reads an object's bytes back into memory of just its length.
    pub(super) fn read(&self, file: FileId, into: &mut [u8]) -> Result<(), SpillError> {
        let path = self.path_of(file);
        match read_file(&path, into) {
            Ok(None) => Ok(()),
            Ok(Some(what)) => Err(SpillError::Corrupt { path, what }),
            Err(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
                Err(SpillError::Corrupt { path, what: "it is cut off" })
            }
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                Err(SpillError::Corrupt { path, what: "it is gone" })
            }
            Err(source) => Err(SpillError::Io { path, source }),
        }
    }

    /// Deletes an object's file.
    pub(super) fn delete(&self, file: FileId) {
        let path = self.path_of(file);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "a spilled object could not be deleted");
        }
    }

    fn classify(&self, path: PathBuf, source: io::Error) -> SpillError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                SpillError::DiskFull { folder: self.folder.path().to_owned(), source }
            }
            _ => SpillError::Io { path, source },
        }
    }
}

impl SpillFolder {
    /// Removes the folder and all in it; a second time there is nothing left to remove.
    pub(super) fn remove(&self) {
        self.folder.remove();
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    // The header comes last, when the checksum is known: bytes are hashed as they are written.
    file.write_all(&[0; HEADER_BYTES])?;
    let mut checksum = Checksum::new();
    for step in bytes.chunks(STEP_BYTES) {
        checksum.add(step);
        file.write_all(step)?;
    }
    let header = header(bytes.len(), &checksum);
    std::os::unix::fs::FileExt::write_all_at(&file, &header, 0)
}

/// Reads the file, and says what is wrong with its contents.
fn read_file(path: &Path, into: &mut [u8]) -> io::Result<Option<&'static str>> {
    let file = File::open(path)?;
    let file_bytes = file.metadata()?.len();
    read_from(file, file_bytes, into)
}

/// The same of anything that can be read and has so many bytes.
pub(crate) fn read_from(mut file: impl Read, file_bytes: u64, into: &mut [u8]) -> io::Result<Option<&'static str>> {
    if file_bytes != (HEADER_BYTES + into.len()) as u64 {
        return Ok(Some("its length is wrong"));
    }
    let mut found = [0; HEADER_BYTES];
    file.read_exact(&mut found)?;
    let len = into.len();
    let mut checksum = Checksum::new();
    for step in into.chunks_mut(STEP_BYTES) {
        file.read_exact(step)?;
        checksum.add(step);
    }
    Ok((found != header(len, &checksum)).then_some("its checksum is wrong"))
}

pub(crate) fn header(len: usize, checksum: &Checksum) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..16].copy_from_slice(&(len as u64).to_le_bytes());
    header[16..].copy_from_slice(&checksum.sum());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_changed_anywhere_or_cut_anywhere_is_never_taken_for_whole() {
        let base = tempfile::tempdir().unwrap();
        let folder = SpillFolder::create(base.path()).unwrap();
        let bytes: Vec<u8> = (0..300_u32).map(|n| (n * 7) as u8).collect();
        folder.write(FileId(1), &bytes).unwrap();
        let path = folder.path_of(FileId(1));
        let whole = fs::read(&path).unwrap();
        let mut into = vec![0; bytes.len()];
        folder.read(FileId(1), &mut into).unwrap();
        assert_eq!(into, bytes);
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&path, &changed).unwrap();
            assert!(matches!(folder.read(FileId(1), &mut into), Err(SpillError::Corrupt { .. })), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(matches!(folder.read(FileId(1), &mut into), Err(SpillError::Corrupt { .. })), "cut at {at}");
        }
        folder.remove();
    }
}
