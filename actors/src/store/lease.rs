//! Who of this machine's processes owns a segment or a spill folder, so that those of dead owners can be reclaimed.
//!
//! Owns: unique names, and the lock file beside each named thing. The lock goes with the process, however it dies; a
//! lock file that nobody holds belongs to something nobody will ever use again.
//!
//! **Invariants:** the lock is held from before the thing exists until after it is gone; only what is named for this
//! user, and owned by it, is ever removed; a lock that is held is never touched.

use std::{
    collections::hash_map::RandomState,
    fs::{self, File, OpenOptions, TryLockError},
    hash::{BuildHasher, Hasher},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
};

use super::shm;

const LOCK_SUFFIX: &str = ".lock";
/// With 32 random bits and the process id in a name, a second attempt is rare.
const ATTEMPTS_MAX: usize = 16;

/// The right to a name in a folder, until it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    name: String,
    lock_path: PathBuf,
    _lock: File,
}

impl Lease {
    /// A name in `folder` that nobody else has.
    pub(super) fn acquire(folder: &Path) -> io::Result<Self> {
        for _ in 0..ATTEMPTS_MAX {
            let name = format!("{}{:x}-{:08x}", prefix(), process::id(), random());
            let lock_path = folder.join(format!("{name}{LOCK_SUFFIX}"));
            let lock = match open_lock(OpenOptions::new().write(true).create_new(true), &lock_path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                lock => lock?,
            };
            // A reclaimer may have come between the file's creation and its lock: then it holds the lock, or has
            // removed the file, and this name is given up.
            if lock_now(&lock)? && is_same_file(&lock, &lock_path) {
                return Ok(Self { name, lock_path, _lock: lock });
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "no free name for a lock file"))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Lease {
    /// Removes the lock file: the named thing is gone. Dropping the lease later finds nothing left to remove.
    pub(super) fn release(&self) {
        let _ = fs::remove_file(&self.lock_path);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The lock itself goes when the file is closed, right after this.
        if let Err(error) = fs::remove_file(&self.lock_path) {
            tracing::debug!(path = %self.lock_path.display(), %error, "a lock file could not be removed");
        }
    }
}

/// Removes what dead owners left in `folder`, by `remove` given its name. Says how many things that were.
pub(super) fn reclaim(folder: &Path, remove: impl Fn(&str) -> io::Result<()>) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let prefix = prefix();
    let mut reclaimed = 0;
    for entry in entries.flatten() {
        let file_name = entry.file_name();
        let Some(name) = file_name.to_str().and_then(|name| name.strip_suffix(LOCK_SUFFIX)) else {
            continue;
        };
        if !name.starts_with(&prefix) {
            continue;
        }
        match reclaim_one(&entry.path(), || remove(name)) {
            Ok(true) => {
                tracing::info!(name, folder = %folder.display(), "reclaimed what a dead process left");
                reclaimed += 1;
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(name, %error, "what a dead process left cannot be reclaimed"),
        }
    }
    reclaimed
}

fn reclaim_one(lock_path: &Path, remove: impl FnOnce() -> io::Result<()>) -> io::Result<bool> {
    let lock = match open_lock(OpenOptions::new().write(true), lock_path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        lock => lock?,
    };
    if lock.metadata()?.uid() != shm::user_id() || !lock_now(&lock)? || !is_same_file(&lock, lock_path) {
        return Ok(false);
    }
    // The lock file goes last: should this process die in between, the next one tries again.
    match remove() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::remove_file(lock_path)?,
    }
    Ok(true)
}

fn open_lock(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // In a folder that all users share, a link planted under our name must not be followed.
    options.mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
}

fn lock_now(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn is_same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(opened), Ok(named)) => (opened.dev(), opened.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

fn prefix() -> String {
    format!("actinic-{}-", shm::user_id())
}

fn random() -> u32 {
    // The standard library's hash keys are the randomness at hand.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(process::id());
    hasher.finish() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_lease_that_is_held_is_not_reclaimed_and_leaves_nothing_when_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let lease = Lease::acquire(folder.path()).unwrap();
        assert_eq!(reclaim(folder.path(), |_| panic!("it is held")), 0);
        assert_eq!(names(folder.path()), [format!("{}.lock", lease.name())]);
        drop(lease);
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn a_lock_file_that_nobody_holds_is_reclaimed_with_its_thing() {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("{}dead", prefix());
        File::create(folder.path().join(format!("{name}.lock"))).unwrap();
        File::create(folder.path().join(&name)).unwrap();
        File::create(folder.path().join("actinic-other.lock")).unwrap();
        let removed = reclaim(folder.path(), |name| fs::remove_file(folder.path().join(name)));
        assert_eq!((removed, names(folder.path())), (1, vec!["actinic-other.lock".to_owned()]));
    }

    #[test]
    fn what_cannot_be_removed_keeps_its_lock_file_for_the_next_attempt() {
        let folder = tempfile::tempdir().unwrap();
        File::create(folder.path().join(format!("{}dead.lock", prefix()))).unwrap();
        assert_eq!(reclaim(folder.path(), |_| Err(io::ErrorKind::PermissionDenied.into())), 0);
        assert_eq!(names(folder.path()).len(), 1);
    }

    #[test]
    fn a_planted_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        File::create(&target).unwrap();
        std::os::unix::fs::symlink(&target, folder.path().join(format!("{}link.lock", prefix()))).unwrap();
        assert_eq!(reclaim(folder.path(), |_| panic!("it is a link")), 0);
        assert!(target.exists());
    }
}
