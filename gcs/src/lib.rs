//! The Global Control Store of Actinic: its schema, and the shards that hold it.
//!
//! ```text
//! shard   ShardCore: order, retries, subscriptions         (sans-IO; a shell feeds it and carries out its effects)
//! tables  Write, Read → Reply: what each operation does to rows
//! store   Store: ordered columns, atomic batches           (in memory here; on disk behind the same trait)
//! spec    the records themselves;  record  how they are encoded;  ids, resources, time
//! ```
//!
//! **Invariant:** nothing here knows of a runtime, a socket, a clock or a random generator.
//!
//! # Examples
//!
//! ```
//! use actinic_gcs::{
//!     shard::{ClientId, Effect, RequestId, ShardCore, ShardLimits},
//!     store::MemoryStore,
//!     tables::{JobWrite, Reply},
//!     JobId, Millis,
//! };
//!
//! let mut shard = ShardCore::open(MemoryStore::new(), ShardLimits::default())?;
//! let mut effects = Vec::new();
//! shard.on_request(Millis(0), RequestId(1), ClientId(7), &JobWrite::NextId.into(), &mut effects)?;
//! let Some(Effect::Reply { outcome, .. }) = effects.pop() else { panic!("no reply") };
//! assert_eq!(outcome, Ok(Reply::JobId(JobId(1))));
//! # Ok::<(), actinic_gcs::shard::ShardFailed>(())
//! ```

// In tests an unwrap is an assertion.
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[doc(hidden)]
pub mod fuzzing;
pub mod ids;
#[cfg(any(test, feature = "suite"))]
pub mod linear;
pub mod record;
pub mod replica;
pub mod resources;
pub mod shard;
pub mod spec;
pub mod store;
pub mod tables;
#[cfg(test)]
mod testing;
mod time;

pub use ids::{ActorId, FunctionId, JobId, NodeId, ObjectId, PlacementGroupId, TaskId, WorkerId};
pub use resources::{Quantity, ResourceSet};
pub use time::Millis;
