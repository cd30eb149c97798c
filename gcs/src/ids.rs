//! Ids of everything in the task graph.
//!
//! Owns: how an id is derived, printed and read back. Ids are deterministic: the same program makes the same ids,
//! because a task's id is a hash of its parent's id and of the parent's call counter (as in Ray), and an object's id is
//! its task's id and an index. Nothing here draws a random number; a [`JobId`] or [`NodeId`] that must be unique is
//! made by whoever starts a process.

use std::fmt;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128;

/// An id of 128 bits, printed as 32 hexadecimal digits.
macro_rules! wide_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:08x}…)"), self.0 >> 96)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                u128::from_str_radix(text, 16).map(Self)
            }
        }
    };
}

wide_id! {
    /// One execution of a remote function, of an actor's method, or of an actor's constructor.
    TaskId
}
wide_id! {
    /// One actor, through all its restarts. Derived from the task that creates it.
    ActorId
}
wide_id! {
    /// One node, for one life of its process.
    NodeId
}
wide_id! {
    /// One placement group.
    PlacementGroupId
}
wide_id! {
    /// A remote function or actor class: its stable name and signature, hashed.
    FunctionId
}

/// One driver's program run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u32);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// One worker (a thread of an embedded node, a process of a cluster's) on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(pub u32);

/// One immutable object: the `index`-th output of `task`, or its `index`-th `put`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId {
    /// The task that returned or put the object.
    pub task: TaskId,
    /// Its place among the task's returns; for a `put`, [`ObjectId::PUT`] plus the put's number.
    pub index: u32,
}

impl ObjectId {
    /// Set in the index of an object that was `put` rather than returned.
    pub const PUT: u32 = 1 << 31;

    /// The `index`-th return of `task`.
    #[must_use]
    pub fn of_return(task: TaskId, index: u32) -> Self {
        Self { task, index }
    }

    /// The `number`-th object that `task` put.
    #[must_use]
    pub fn of_put(task: TaskId, number: u32) -> Self {
        Self { task, index: Self::PUT | number }
    }

    /// Whether the object was `put` rather than returned.
    #[must_use]
    pub fn is_put(&self) -> bool {
        self.index & Self::PUT != 0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:08x}", self.task, self.index)
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({:08x}…:{:x})", self.task.0 >> 96, self.index)
    }
}

/// What a derived id is for, so that equal inputs of different kinds never collide.
const KIND_DRIVER: u8 = 0;
const KIND_TASK: u8 = 1;
const KIND_ACTOR: u8 = 2;
const KIND_GROUP: u8 = 3;

fn derive(kind: u8, parent: u128, number: u64) -> u128 {
    let mut bytes = [0_u8; 25];
    bytes[..16].copy_from_slice(&parent.to_le_bytes());
    bytes[16..24].copy_from_slice(&number.to_le_bytes());
    bytes[24] = kind;
    xxh3_128(&bytes)
}

impl TaskId {
    /// The task that stands for a job's driver: the root of its graph.
    #[must_use]
    pub fn driver(job: JobId) -> Self {
        Self(derive(KIND_DRIVER, 0, u64::from(job.0)))
    }

    /// The `number`-th task that `self` submits.
    #[must_use]
    pub fn child(self, number: u64) -> Self {
        Self(derive(KIND_TASK, self.0, number))
    }
}

impl ActorId {
    /// The actor whose constructor is `task`.
    #[must_use]
    pub fn of_creation(task: TaskId) -> Self {
        Self(derive(KIND_ACTOR, task.0, 0))
    }
}

impl PlacementGroupId {
    /// The `number`-th placement group that `task` makes.
    #[must_use]
    pub fn of_task(task: TaskId, number: u64) -> Self {
        Self(derive(KIND_GROUP, task.0, number))
    }
}

impl FunctionId {
    /// The id of a function or class of this stable `name` and `signature` (any text that changes when the arguments do).
    #[must_use]
    pub fn of(name: &str, signature: &str) -> Self {
        let mut bytes = SmallVec::<[u8; 256]>::new();
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(signature.as_bytes());
        Self(xxh3_128(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_program_makes_the_same_ids() {
        let run = || {
            let driver = TaskId::driver(JobId(1));
            (0..100).map(|n| driver.child(n).child(n + 1)).collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
    }

    #[test]
    fn ids_of_different_kinds_and_numbers_differ() {
        let driver = TaskId::driver(JobId(1));
        let mut all = vec![driver.0, ActorId::of_creation(driver).0, PlacementGroupId::of_task(driver, 0).0];
        all.extend((0..1_000).map(|n| driver.child(n).0));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 1_003);
    }

    #[test]
    fn an_id_reads_back_what_it_prints() {
        let id = TaskId::driver(JobId(7)).child(3);
        assert_eq!(id.to_string().parse::<TaskId>(), Ok(id));
        assert!("not hexadecimal".parse::<TaskId>().is_err());
    }
}
