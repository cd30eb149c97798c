//! What the tests of the replicated control store with real processes share.
//!
//! Owns: the processes of a cluster and what is done to them ([`cluster`], [`trouble`]), what one of them runs
//! ([`replica`]), and clients that know what they were told ([`client`]). Invariants: all that is random follows from a seed,
//! which is printed, though the machine's own timing does not; a process ends when its standard input is closed, so at the
//! latest with the test; nothing is left on disk.

// All of this is tests, where an unwrap is an assertion.
#![allow(clippy::unwrap_used)]

pub mod client;
pub mod cluster;
pub mod replica;
pub mod rng;
pub mod trouble;

use std::time::Duration;

/// Longer than anything takes that is not to be waited for in vain.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a test of chaos goes on: `ACTINIC_CHAOS_SECONDS`, else some seconds.
#[must_use]
pub fn duration() -> Duration {
    Duration::from_secs(setting("ACTINIC_CHAOS_SECONDS").unwrap_or(8))
}

/// What all is drawn from: `ACTINIC_CHAOS_SEED`, else another one each time. It is printed.
#[must_use]
pub fn seed(test: &str) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    let seed = setting("ACTINIC_CHAOS_SEED").unwrap_or_else(|| RandomState::new().hash_one(test) >> 32);
    println!("{test}: ACTINIC_CHAOS_SEED={seed}");
    seed
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}; give a whole number")))
}
