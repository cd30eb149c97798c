//! Writes and reads of all tables, and the shard that each belongs to.
//!
//! Owns: the sums of what the tables offer, and routing. Does not own how each is applied (the file of its table).

use serde::{Deserialize, Serialize};

use super::{
    ActorRead, ActorWrite, EventRead, EventWrite, FunctionRead, FunctionWrite, GroupRead, GroupWrite, HistoryRead,
    HistoryWrite, JobRead, JobWrite, KeyValueRead, KeyValueWrite, NodeRead, NodeWrite, ObjectRead, ObjectWrite,
    TaskRead, TaskWrite, DIRECTORY,
};
use crate::shard::shard_of;

/// A change of one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Write {
    /// Of nodes and their leases.
    Node(NodeWrite),
    /// Of jobs.
    Job(JobWrite),
    /// Of functions.
    Function(FunctionWrite),
    /// Of the actor directory.
    Actor(ActorWrite),
    /// Of an actor's checkpoint and call log.
    History(HistoryWrite),
    /// Of the lineage.
    Task(TaskWrite),
    /// Of objects.
    Object(ObjectWrite),
    /// Of placement groups.
    Group(GroupWrite),
    /// Of user values.
    KeyValue(KeyValueWrite),
    /// Of events.
    Event(EventWrite),
}

/// A question to one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Read {
    /// About nodes.
    Node(NodeRead),
    /// About jobs.
    Job(JobRead),
    /// About functions.
    Function(FunctionRead),
    /// About the actor directory.
    Actor(ActorRead),
    /// About an actor's checkpoint and call log.
    History(HistoryRead),
    /// About the lineage.
    Task(TaskRead),
    /// About objects.
    Object(ObjectRead),
    /// About placement groups.
    Group(GroupRead),
    /// About user values.
    KeyValue(KeyValueRead),
    /// About events.
    Event(EventRead),
}

/// Which shards a read asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The one of this key hash.
    Key(u64),
    /// Every one; the client puts the answers together.
    Every,
}

/// Lets a table's own operation stand for the sum.
macro_rules! from_operations {
    ($($sum:ident :: $variant:ident ( $operation:ty )),+ $(,)?) => {
        $(impl From<$operation> for $sum {
            fn from(operation: $operation) -> Self {
                Self::$variant(operation)
            }
        })+
    };
}

from_operations! {
    Write::Node(NodeWrite), Write::Job(JobWrite), Write::Function(FunctionWrite), Write::Actor(ActorWrite),
    Write::History(HistoryWrite), Write::Task(TaskWrite), Write::Object(ObjectWrite), Write::Group(GroupWrite),
    Write::KeyValue(KeyValueWrite), Write::Event(EventWrite),
    Read::Node(NodeRead), Read::Job(JobRead), Read::Function(FunctionRead), Read::Actor(ActorRead),
    Read::History(HistoryRead), Read::Task(TaskRead), Read::Object(ObjectRead), Read::Group(GroupRead),
    Read::KeyValue(KeyValueRead), Read::Event(EventRead),
}

crate::record::records! { Write = "write", Read = "read" }

impl Write {
    /// The hash that picks the write's shard. A batch that may span shards ([`TaskWrite`]) gives that of its first item;
    /// [`Write::split`] it before.
    #[must_use]
    pub fn key_hash(&self) -> u64 {
        match self {
            Self::Node(_) | Self::Job(_) | Self::Actor(_) | Self::Group(_) => DIRECTORY,
            Self::Function(write) => write.key_hash(),
            Self::History(write) => write.key_hash(),
            Self::Task(write) => write.key_hash(),
            Self::Object(write) => write.key_hash(),
            Self::KeyValue(write) => write.key_hash(),
            Self::Event(write) => write.key_hash(),
        }
    }

    /// The parts of the write by shard, in the order of the shards, each within one shard.
    ///
    /// # Panics
    /// If `shards` is zero.
    #[must_use]
    pub fn split(self, shards: usize) -> Vec<(usize, Self)> {
        match self {
            Self::Task(write) => {
                write.split(shards).into_iter().map(|(shard, part)| (shard, Self::Task(part))).collect()
            }
            write => vec![(shard_of(write.key_hash(), shards), write)],
        }
    }
}

impl Read {
    /// Which shards the read asks. A read of several ids gives the shard of the first; [`Read::split`] it before.
    #[must_use]
    pub fn route(&self) -> Route {
        match self {
            Self::Node(_) | Self::Job(_) | Self::Actor(_) | Self::Group(_) => Route::Key(DIRECTORY),
            Self::Function(read) => read.route(),
            Self::History(read) => read.route(),
            Self::Task(read) => read.route(),
            Self::Object(read) => read.route(),
            Self::KeyValue(read) => read.route(),
            Self::Event(EventRead::List(_)) => Route::Every,
        }
    }
}
