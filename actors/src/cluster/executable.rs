//! The drivers' executables, from which workers are started.
//!
//! Owns: a folder of executables under the hash of their content (SHA-256), their pieces on the way from node to node, and
//! the check that what has arrived is what was meant. Does not own who asks whom. Invariants: what is under a hash has that
//! hash; half an executable is never under its name; nobody but the user can write one.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::wire::ExeHash;

/// Bytes of one piece.
pub const PART_BYTES: usize = 4 << 20;
/// Bytes of an executable.
pub const EXE_BYTES_MAX: u64 = 8 << 30;

/// Executables that are kept though no job needs them.
pub const UNUSED_MAX: usize = 4;

/// Names a file as it is now: device, inode, size, and time of its last change.
type FileState = (u64, u64, u64, i64, i64);

/// The executables of one node.
pub struct ExeStore {
    folder: PathBuf,
    known: Mutex<BTreeMap<FileState, ExeHash>>,
    /// Held while one is taken in.
    adopting: Mutex<()>,
    /// Those that no job needs, the oldest first.
    unused: Mutex<VecDeque<ExeHash>>,
}

/// An executable that is arriving.
#[derive(Debug)]
pub struct Arriving {
    exe: ExeHash,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    offset: u64,
}

impl ExeStore {
    /// A store in `folder`, which is made.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            known: Mutex::default(),
            adopting: Mutex::default(),
            unused: Mutex::default(),
        })
    }

    /// Where an executable is, or would be.
    #[must_use]
    pub fn path(&self, exe: ExeHash) -> PathBuf {
        self.folder.join(exe.to_string())
    }

    /// Whether it is here.
    #[must_use]
    pub fn has(&self, exe: ExeHash) -> bool {
        self.path(exe).exists()
    }

    /// A job needs it: it is not among the unused. Gives whether it is here.
    #[must_use = "it may have to be fetched"]
    pub fn take_up(&self, exe: ExeHash) -> bool {
        let mut unused = self.unused.lock();
        unused.retain(|other| *other != exe);
        self.has(exe)
    }

    /// No job needs it any more. The last [`UNUSED_MAX`] of these stay, since a program is often run again, and older ones go.
    pub fn unused(&self, exe: ExeHash) {
        let mut unused = self.unused.lock();
        unused.retain(|other| *other != exe);
        unused.push_back(exe);
        while unused.len() > UNUSED_MAX {
            let Some(oldest) = unused.pop_front() else { return };
            if let Err(error) = fs::remove_file(self.path(oldest)) {
                tracing::debug!(%error, exe = %oldest, "an executable that nobody needs is not removed");
            }
        }
    }

    /// Takes a file of this machine in; gives its hash and size. A file that has not changed is not read again.
    ///
    /// # Errors
    /// What the system says.
    pub fn adopt(&self, path: &Path) -> io::Result<(ExeHash, u64)> {
        let mut file = File::open(path)?;
        let meta = file.metadata()?;
        let state = (meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec());
        // Drivers of one program may come together: the first's copy serves all of them.
        let _alone = self.adopting.lock();
        let known = self.known.lock().get(&state).copied();
        if let Some(exe) = known.filter(|exe| self.take_up(*exe)) {
            return Ok((exe, meta.size()));
        }
        if meta.size() > EXE_BYTES_MAX {
            return Err(io::Error::other(format!("{} is larger than an executable may be", path.display())));
        }
        let draft = self.folder.join(format!("draft-{}-{}", std::process::id(), meta.ino()));
        let mut copy = draft_file(&draft)?;
        let mut hasher = Sha256::new();
        let mut part = vec![0; 1 << 20];
        loop {
            let read = file.read(&mut part)?;
            if read == 0 {
                break;
            }
            hasher.update(&part[..read]);
            copy.write_all(&part[..read])?;
        }
        let exe = ExeHash(hasher.finalize().into());
        drop(copy);
        let _ = self.take_up(exe);
        fs::rename(&draft, self.path(exe))?;
        self.known.lock().insert(state, exe);
        Ok((exe, meta.size()))
    }

    /// A piece of an executable; empty at its end.
    ///
    /// # Errors
    /// What the system says.
    pub fn part(&self, exe: ExeHash, offset: u64) -> io::Result<Bytes> {
        let mut file = File::open(self.path(exe))?;
        file.seek(SeekFrom::Start(offset))?;
        let mut part = Vec::with_capacity(PART_BYTES);
        file.take(PART_BYTES as u64).read_to_end(&mut part)?;
        Ok(part.into())
    }

    /// An executable that is about to arrive, piece by piece.
    ///
    /// # Errors
    /// What the system says.
    pub fn arriving(&self, exe: ExeHash) -> io::Result<Arriving> {
        let path = self.folder.join(format!("part-{exe}"));
        let file = draft_file(&path)?;
        Ok(Arriving { exe, path, file, hasher: Sha256::new(), offset: 0 })
    }

    /// Takes a piece. True once the executable is whole and here.
    ///
    /// # Errors
    /// What the system says, or that the content is not what was meant.
    pub fn on_part(&self, arriving: &mut Arriving, offset: u64, bytes: &[u8]) -> io::Result<bool> {
        if offset != arriving.offset {
            return Ok(false);
        }
        if bytes.is_empty() {
            let found = ExeHash(arriving.hasher.clone().finalize().into());
            if found != arriving.exe {
                let (bytes, exe) = (arriving.offset, arriving.exe);
                return Err(io::Error::other(format!(
                    "the {bytes} bytes that came have the hash {found} and not {exe}: the executable was cut short or \
                     changed on its way; start the driver again"
                )));
            }
            arriving.file.flush()?;
            let _ = self.take_up(arriving.exe);
            fs::rename(&arriving.path, self.path(arriving.exe))?;
            return Ok(true);
        }
        arriving.file.write_all(bytes)?;
        arriving.hasher.update(bytes);
        arriving.offset += bytes.len() as u64;
        if arriving.offset > EXE_BYTES_MAX {
            return Err(io::Error::other("it is larger than an executable may be"));
        }
        Ok(false)
    }
}

impl Arriving {
    /// From which byte on the next piece is wanted.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        // Once it was renamed there is nothing left to remove.
        let _ = fs::remove_file(&self.path);
    }
}

fn draft_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o700).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o700))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_in_pieces_is_what_was_sent() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (here, there) = (ExeStore::open(here.path()).unwrap(), ExeStore::open(there.path()).unwrap());
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), vec![7; PART_BYTES + 10]).unwrap();
        let (exe, bytes) = here.adopt(file.path()).unwrap();
        assert_eq!(bytes, PART_BYTES as u64 + 10);
        let mut arriving = there.arriving(exe).unwrap();
        loop {
            let offset = arriving.offset();
            if there.on_part(&mut arriving, offset, &here.part(exe, offset).unwrap()).unwrap() {
                break;
            }
        }
        assert!(there.has(exe));
        assert_eq!(there.part(exe, PART_BYTES as u64).unwrap().len(), 10);
    }

    #[test]
    fn what_was_cut_short_is_refused_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = ExeStore::open(folder.path()).unwrap();
        let exe = ExeHash([1; 32]);
        let mut arriving = store.arriving(exe).unwrap();
        assert!(!store.on_part(&mut arriving, 0, b"half").unwrap());
        let error = store.on_part(&mut arriving, 4, b"").unwrap_err();
        assert!(error.to_string().contains("cut short"), "{error}");
        drop(arriving);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
