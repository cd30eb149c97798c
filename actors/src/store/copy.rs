//! Copying what is large into shared memory.
//!
//! Owns: the division of a copy among threads. One processor alone gets half of what memory gives, or less, and whoever puts
//! something waits for nothing else; so a long copy is shared with threads that end with it, as in Ray's plasma
//! (`memcopy_threads`). Invariant: every byte is copied once, also where the system gives no thread.

use std::{num::NonZeroUsize, sync::OnceLock, thread};

use parking_lot::Mutex;

/// A thread for each so many bytes, at most: to start one takes a twentieth of the time in which it copies these.
const THREAD_BYTES: usize = 8 << 20;
/// More get no more out of memory.
const THREADS_MAX: usize = 4;
/// What a thread takes at a time: one that has its processor to itself copies more of them than one that has not.
const PART_BYTES: usize = 1 << 20;

/// Copies `from`, which is as long as `into`.
pub(super) fn copy(from: &[u8], into: &mut [u8]) {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    let count = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
    match (from.len() / THREAD_BYTES).min(THREADS_MAX) {
        0 | 1 => into.copy_from_slice(from),
        threads => copy_by(threads.min(*PROCESSORS.get_or_init(count)), from, into),
    }
}

fn copy_by(threads: usize, from: &[u8], into: &mut [u8]) {
    let parts = Mutex::new(from.chunks(PART_BYTES).zip(into.chunks_mut(PART_BYTES)));
    let take = || parts.lock().next();
    let work = || {
        while let Some((from, into)) = take() {
            into.copy_from_slice(from);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // One that cannot be started leaves more to the others.
            let _ = thread::Builder::new().name("actinic-copy".to_owned()).spawn_scoped(scope, work);
        }
        work();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_threads_copies_every_byte() {
        for len in [0, 1, PART_BYTES - 1, PART_BYTES, 3 * PART_BYTES + 17] {
            let from: Vec<u8> = (0..len).map(|at| (at * 31 % 251) as u8).collect();
            for threads in 1..6 {
                let mut into = vec![0; len];
                copy_by(threads, &from, &mut into);
                assert!(into == from, "{len} bytes by {threads}");
            }
        }
    }

    #[test]
    fn what_is_large_is_copied_whole() {
        let from = vec![7; 2 * THREAD_BYTES + 5];
        let mut into = vec![0; from.len()];
        copy(&from, &mut into);
        assert!(into == from);
    }
}
