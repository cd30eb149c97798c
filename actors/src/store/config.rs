//! The store's settings, and what they are on this machine unless one says otherwise.

use std::{path::PathBuf, time::Duration};

use super::{core::Limits, shm, StoreError};

/// Settings of an [`ObjectStore`](super::ObjectStore).
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// How much shared memory the store may take. By default 30 % of the machine's (or container's) memory, and at
    /// most 80 % of what is free in `/dev/shm`.
    pub capacity_bytes: usize,
    /// In which folder spilled objects get a folder of their own; `None` for the system's temporary folder.
    pub spill_dir: Option<PathBuf>,
    /// How much may be spilled; `None` for as much as the disk holds.
    pub spill_bytes_max: Option<u64>,
    /// How much memory above what is in use is kept warm. By default 1 GiB, and at most a quarter of the capacity.
    pub pretouch_bytes: usize,
    /// How long a put waits for room while all that could make way is being read.
    pub put_timeout: Duration,
    /// The share of the capacity, from 0 to 1, above which objects are spilled in the background.
    pub high_water: f64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        let capacity_bytes = default_capacity_bytes();
        Self {
            capacity_bytes,
            spill_dir: None,
            spill_bytes_max: None,
            pretouch_bytes: (capacity_bytes / 4).min(1 << 30),
            put_timeout: Duration::from_secs(10),
            high_water: 0.8,
        }
    }
}

impl StoreConfig {
    pub(super) fn limits(&self) -> Result<Limits, StoreError> {
        if self.capacity_bytes < CAPACITY_BYTES_MIN {
            return Err(StoreError::Config { what: "`capacity_bytes` is below 64 KiB" });
        }
        if isize::try_from(self.capacity_bytes).is_err() {
            return Err(StoreError::Config { what: "`capacity_bytes` is above the address space" });
        }
        if !(0.0..=1.0).contains(&self.high_water) {
            return Err(StoreError::Config { what: "`high_water` is not between 0 and 1" });
        }
        Ok(Limits {
            capacity_bytes: self.capacity_bytes,
            high_water_bytes: (self.capacity_bytes as f64 * self.high_water) as usize,
            spill_bytes_max: self.spill_bytes_max.unwrap_or(u64::MAX),
            pretouch_bytes: self.pretouch_bytes,
        })
    }
}

const CAPACITY_BYTES_MIN: usize = 64 << 10;
/// Where nothing is known of the machine.
const MEMORY_BYTES_ASSUMED: u64 = 2 << 30;

fn default_capacity_bytes() -> usize {
    let memory = shm::memory_bytes().unwrap_or(MEMORY_BYTES_ASSUMED).min(container_memory_bytes().unwrap_or(u64::MAX));
    let free = shm::free_bytes(&shm::folder()).unwrap_or(u64::MAX);
    let bytes = (memory / 10 * 3).min(free / 10 * 8);
    usize::try_from(bytes).unwrap_or(usize::MAX).max(CAPACITY_BYTES_MIN)
}

/// The limit of the control group, if there is one.
fn container_memory_bytes() -> Option<u64> {
    std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?.trim().parse().ok()
}
