//! Why the store could not do what was asked. Nothing that was stored is lost by any of these.

use std::{io, time::Duration};

use super::{core::Core, SpillError, StoreConfig};

/// An object store's error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A setting makes no sense.
    #[error("the object store cannot be opened: {what}")]
    Config {
        /// Which, and why.
        what: &'static str,
    },
    /// The store has been closed, with its runtime.
    #[error("the object store is closed: its runtime was shut down")]
    Closed,
    /// The shared-memory segment could not be created.
    #[error("the object store's shared-memory segment cannot be created")]
    Segment(#[source] io::Error),
    /// The machine has no memory for what the settings allow.
    #[error(
        "the machine has no {needed_bytes} bytes of shared memory left, though the object store is not at its capacity: \
         free memory or space in /dev/shm, or lower `capacity_bytes` so that objects are spilled in time"
    )]
    Memory {
        /// How much was missing at once.
        needed_bytes: usize,
        /// What the operating system said.
        source: io::Error,
    },
    /// The object is larger than the store.
    #[error(
        "an object of {needed_bytes} bytes never fits the object store of {capacity_bytes} bytes: raise \
         `capacity_bytes`, or split the object"
    )]
    TooLarge {
        /// The object's size.
        needed_bytes: usize,
        /// The store's capacity.
        capacity_bytes: usize,
    },
    /// There was no room, and none came free in time.
    #[error(
        "the object store has no room for {needed_bytes} bytes after {waited:?}: {used_bytes} of {capacity_bytes} bytes \
         are in use, {pinned_bytes} of them by readers, and {spilled_bytes} bytes are spilled. Drop values that view \
         large objects, or raise `capacity_bytes`{}", .spill.as_ref().map_or("", SpillError::advice)
    )]
    Full {
        /// The object's size.
        needed_bytes: usize,
        /// The store's capacity.
        capacity_bytes: usize,
        /// How much is in use.
        used_bytes: usize,
        /// How much of it is being read and must stay.
        pinned_bytes: usize,
        /// How much is on disk.
        spilled_bytes: u64,
        /// How long the put waited.
        waited: Duration,
        /// Why no more was spilled, if that is the cause.
        #[source]
        spill: Option<SpillError>,
    },
    /// An object could not be spilled or restored.
    #[error(transparent)]
    Spill(#[from] SpillError),
}

impl StoreError {
    pub(super) fn full(needed_bytes: usize, core: &Core, config: &StoreConfig, spill: Option<SpillError>) -> Self {
        let totals = core.totals();
        Self::Full {
            needed_bytes,
            capacity_bytes: core.extents().capacity(),
            used_bytes: core.extents().used(),
            pinned_bytes: totals.pinned_bytes,
            spilled_bytes: totals.file_bytes,
            waited: config.put_timeout,
            spill,
        }
    }
}

impl SpillError {
    /// What else helps a put that failed for this.
    fn advice(&self) -> &'static str {
        match self {
            Self::DiskFull { .. } => "; the spill folder's disk is full: free space there, or set `spill_dir`",
            Self::Limit { .. } => "; the bound on spilled bytes is reached: raise `spill_bytes_max`",
            Self::Corrupt { .. } | Self::Io { .. } => "; spilling failed: see the cause, or set `spill_dir`",
        }
    }
}
