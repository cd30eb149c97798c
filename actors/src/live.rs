//! The registry of what is alive: every task and every put object that somebody can still reach.
//!
//! Owns: weak links from which the task graph, `explain` and recursive `cancel` are answered. An entry is made when a
//! task is submitted and taken out when its last reference goes, so the registry is as large as what is alive and
//! never larger. It is sharded by submitting thread, and each thread goes round a few shards of its own, so that it and
//! the worker that drops what it submitted a moment ago seldom meet at the same lock.
//!
//! **Invariant:** an entry is removed by the drop of the very task that it names.

use std::{
    cell::Cell,
    sync::{
        atomic::{AtomicU64, AtomicUsize, Ordering},
        Arc, LazyLock, Weak,
    },
};

use parking_lot::Mutex;
use slab::Slab;

use crate::task::Task;

const SHARDS: usize = 128;
/// Shards that one thread goes round.
const ROUND: usize = 8;
/// Entries it makes in one before it goes to the next.
const STAY: usize = 64;
const NONE: u64 = u64::MAX;

struct Entry {
    node: u32,
    task: Weak<dyn Task>,
}

static LIVE: LazyLock<Vec<Mutex<Slab<Entry>>>> = LazyLock::new(|| (0..SHARDS).map(|_| Mutex::default()).collect());
static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static FIRST: usize = (NEXT_SHARD.fetch_add(1, Ordering::Relaxed) * ROUND) % SHARDS;
    static MADE: Cell<usize> = const { Cell::new(0) };
}

/// Where a task stands in the registry. Taken out when dropped.
pub struct LiveKey(AtomicU64);

impl Default for LiveKey {
    fn default() -> Self {
        Self(AtomicU64::new(NONE))
    }
}

impl Drop for LiveKey {
    fn drop(&mut self) {
        let packed = *self.0.get_mut();
        if packed != NONE {
            let (shard, key) = ((packed >> 48) as usize, (packed & ((1 << 48) - 1)) as usize);
            // The entry's weak link must go outside of the lock only if it could run code; it cannot.
            LIVE[shard].lock().remove(key);
        }
    }
}

/// Enters `task`, which belongs to the node numbered `node`.
pub fn enter(node: u32, task: &Arc<dyn Task>) {
    let made = MADE.get();
    MADE.set(made.wrapping_add(1));
    let shard = FIRST.with(|first| (first + made / STAY % ROUND) % SHARDS);
    let key = LIVE[shard].lock().insert(Entry { node, task: Arc::downgrade(task) });
    task.head().live().0.store(((shard as u64) << 48) | key as u64, Ordering::Relaxed);
}

/// All that is alive on the node numbered `node`.
#[must_use]
pub fn snapshot(node: u32) -> Vec<Arc<dyn Task>> {
    let mut all = Vec::new();
    for shard in LIVE.iter() {
        // Upgraded links are kept until the lock is free: dropping the last one would enter this shard again.
        let shard = shard.lock();
        all.extend(shard.iter().filter(|(_, entry)| entry.node == node).filter_map(|(_, entry)| entry.task.upgrade()));
    }
    all
}

/// How many entries there are, on all nodes of the process.
#[must_use]
pub fn count() -> usize {
    LIVE.iter().map(|shard| shard.lock().len()).sum()
}
