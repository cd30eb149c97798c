//! Who maps a node's memory besides its own processes.
//!
//! Owns: a file for each node that borrows objects here, which the borrower's processes lock as long as they map this node's
//! memory. A node that loses a borrower asks the lock, and not the borrower, whether anybody still reads: the system releases
//! it with its process, however that ends. Does not own the memory, nor what is lent ([`super::table`]).
//!
//! **Invariant:** once [`Guests::are_gone`] has said so, nobody comes in any more: the file is removed while it is locked
//! against all, and whoever opened it before finds out when he has his own lock.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The lender's side.
#[derive(Debug)]
pub struct Guests {
    path: PathBuf,
    file: File,
}

impl Guests {
    /// Lets somebody in by the name of a file in the node's folder, which nobody has used before.
    ///
    /// # Errors
    /// What the system says.
    pub fn invite(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        let file = OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).open(&path)?;
        Ok(Self { path, file })
    }

    /// What guests lock.
    #[must_use]
    pub fn path(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// Whether nobody is there; from then on nobody comes in.
    #[must_use]
    pub fn are_gone(&self) -> bool {
        if self.file.try_lock().is_err() {
            return false;
        }
        let _ = fs::remove_file(&self.path);
        true
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A guest's side, for as long as it maps the lender's memory.
#[derive(Debug)]
pub struct Guest {
    _lock: File,
}

impl Guest {
    /// Comes in.
    ///
    /// # Errors
    /// What the system says, or that the lender lets nobody in any more.
    pub fn enter(path: &str) -> io::Result<Self> {
        // What another node says is not believed: neither a link nor a pipe is waited for.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let shut =
            || io::Error::new(io::ErrorKind::NotFound, "the node that has it lends nothing to this one any more");
        file.try_lock_shared().map_err(|_| shut())?;
        let meta = file.metadata()?;
        if meta.nlink() == 0 || !meta.is_file() {
            return Err(shut());
        }
        Ok(Self { _lock: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_gone_once_the_last_has_left_and_nobody_comes_in_after_that() {
        let folder = tempfile::tempdir().unwrap();
        let guests = Guests::invite(folder.path(), "guests-1").unwrap();
        let (first, second) = (Guest::enter(&guests.path()).unwrap(), Guest::enter(&guests.path()).unwrap());
        assert!(!guests.are_gone());
        drop(first);
        assert!(!guests.are_gone());
        let late = File::open(guests.path()).unwrap();
        drop(second);
        assert!(guests.are_gone());
        assert!(Guest::enter(&guests.path()).is_err());
        assert_eq!(late.metadata().unwrap().nlink(), 0, "who had opened it finds out");
    }

    #[test]
    fn an_invitation_is_not_taken_for_another() {
        let folder = tempfile::tempdir().unwrap();
        let guests = Guests::invite(folder.path(), "guests-1").unwrap();
        assert!(Guests::invite(folder.path(), "guests-1").is_err());
        drop(guests);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
