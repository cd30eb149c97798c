//! A folder that is one process's own and goes with it.
//!
//! Owns: making it, removing it with all that is in it, and reclaiming those of processes that died. Does not own what is in
//! it. **Invariants:** it is there as long as this is; whatever way the process ends, the folder is gone at the latest when
//! the next one reclaims; nobody else's folder is touched.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use super::{
    lease::{self, Lease},
    shm,
};

/// A folder, removed when dropped.
#[derive(Debug)]
pub(crate) struct OwnFolder {
    path: PathBuf,
    // Dropped after the folder is gone.
    lease: Lease,
}

impl OwnFolder {
    /// A new folder in `base`, which is made if it is not there.
    pub(crate) fn create(base: &Path) -> io::Result<Self> {
        fs::create_dir_all(base)?;
        let lease = Lease::acquire(base)?;
        let path = base.join(lease.name());
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, lease })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folder and all in it; a second time there is nothing left to remove.
    pub(crate) fn remove(&self) {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "a folder could not be removed");
            }
            _ => self.lease.release(),
        }
    }
}

impl Drop for OwnFolder {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Removes the folders in `base` of dead owners. Says how many there were.
pub(crate) fn reclaim_folders(base: &Path) -> usize {
    lease::reclaim(base, |name| {
        let path = base.join(name);
        let metadata = fs::symlink_metadata(&path)?;
        if !metadata.is_dir() || metadata.uid() != shm::user_id() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is not a folder of this user"));
        }
        fs::remove_dir_all(path)
    })
}
