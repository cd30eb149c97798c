//! Shards of the control plane: ordered requests, retries and subscriptions over the tables.
//!
//! Owns: which shard a key belongs to, and [`ShardCore`], which answers requests. Does not own replication, the store's
//! durability, timers or connections: a shell brings those, feeds the core and carries out its [`Effect`]s.
//!
//! One write is one atomic batch of rows: the tables' own, the change history and the remembered outcome. So a shard that
//! is opened again on its store, or another replica that applied the same writes, answers retries and resumes
//! subscriptions as if nothing had happened. Only the subscriptions themselves are not kept; clients renew them.

mod changes;
mod core;
mod effect;
mod requests;
mod subscriptions;

use serde::{Deserialize, Serialize};

pub use self::{
    changes::Change,
    core::{ShardCore, ShardFailed, ShardLimits},
    effect::{Effect, Order, RequestError},
    subscriptions::{Filter, Scope},
};
pub(crate) use self::{
    changes::ChangedRow,
    core::Counters,
    requests::{parse_key, row_key, RememberedRow},
};
use crate::tables::{Read, Write};

/// A process that sends requests, for one life of it. Whoever starts a process draws its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub u128);

/// The number of a client's request. A client numbers its requests upwards and gives a retry the number of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// The number of a client's subscription, chosen by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SubscriptionId(pub u64);

/// What a client asks of a shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// A change.
    Write(Write),
    /// A question.
    Read(Read),
}

impl<W: Into<Write>> From<W> for Request {
    fn from(write: W) -> Self {
        Self::Write(write.into())
    }
}

impl From<Read> for Request {
    fn from(read: Read) -> Self {
        Self::Read(read)
    }
}

crate::record::records! { Request = "request" }

/// The shard, of `shards`, that keys of this hash belong to: the jump consistent hash of Lamping and Veach (2014,
/// figure 1). It never changes, is even, and when shards are added moves only keys that go to the new ones.
///
/// # Panics
/// If `shards` is zero.
#[must_use]
pub fn shard_of(key_hash: u64, shards: usize) -> usize {
    assert!(shards > 0, "a cluster has at least one shard");
    let (mut state, mut shard, mut next) = (key_hash, 0_usize, 0_usize);
    while next < shards {
        shard = next;
        state = state.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let jump = (1_u64 << 31) as f64 / ((state >> 33) + 1) as f64;
        next = ((shard + 1) as f64 * jump) as usize;
    }
    shard
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_stays_or_goes_to_the_new_shard(hash in any::<u64>(), shards in 1..64_usize) {
            let (before, after) = (shard_of(hash, shards), shard_of(hash, shards + 1));
            prop_assert!(before < shards);
            prop_assert!(after == before || after == shards);
        }
    }

    #[test]
    fn shards_of_keys_never_change() {
        let shards: Vec<_> = (0..12_u64).map(|n| shard_of(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), 5)).collect();
        assert_eq!(shards, [0, 3, 0, 3, 2, 3, 2, 0, 2, 2, 3, 1]);
    }

    #[test]
    fn keys_are_spread_evenly() {
        let mut counts = [0; 8];
        (0..8_000).for_each(|n| counts[shard_of(crate::tables::keys::hash_wide(n), 8)] += 1);
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }
}
