//! Watched tables, and what a watcher is told.
//!
//! Owns: which tables can be subscribed to, and the typed form of a changed row. Lineage, call logs, checkpoints and
//! leases are not among them: they are written far more often than anyone could want to hear of.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    record::{self, RecordError},
    spec::{ActorInfo, Event, FunctionInfo, JobInfo, NodeInfo, ObjectInfo, PlacementGroupInfo},
    store::Column,
};

/// A table that can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Table {
    /// Nodes.
    Nodes,
    /// Jobs.
    Jobs,
    /// Functions.
    Functions,
    /// Actors.
    Actors,
    /// Objects.
    Objects,
    /// Placement groups.
    PlacementGroups,
    /// User values.
    KeyValue,
    /// Events.
    Events,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 8] = [
        Self::Nodes,
        Self::Jobs,
        Self::Functions,
        Self::Actors,
        Self::Objects,
        Self::PlacementGroups,
        Self::KeyValue,
        Self::Events,
    ];

    /// The column of the table's rows.
    #[must_use]
    pub fn column(self) -> Column {
        match self {
            Self::Nodes => Column::Nodes,
            Self::Jobs => Column::Jobs,
            Self::Functions => Column::Functions,
            Self::Actors => Column::Actors,
            Self::Objects => Column::Objects,
            Self::PlacementGroups => Column::PlacementGroups,
            Self::KeyValue => Column::KeyValue,
            Self::Events => Column::Events,
        }
    }
}

/// A row of a watched table, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Update {
    /// A node.
    Node(Box<NodeInfo>),
    /// A job.
    Job(Box<JobInfo>),
    /// A function.
    Function(Box<FunctionInfo>),
    /// An actor.
    Actor(Box<ActorInfo>),
    /// An object.
    Object(Box<ObjectInfo>),
    /// A placement group.
    PlacementGroup(Box<PlacementGroupInfo>),
    /// A user's value.
    Value(Bytes),
    /// An event.
    Event(Box<Event>),
}

impl Update {
    /// Decodes a row of `table`.
    ///
    /// # Errors
    /// [`RecordError`] if the bytes are not such a row.
    pub fn decode(table: Table, value: &Bytes) -> Result<Self, RecordError> {
        Ok(match table {
            Table::Nodes => Self::Node(record::decode(value)?),
            Table::Jobs => Self::Job(record::decode(value)?),
            Table::Functions => Self::Function(record::decode(value)?),
            Table::Actors => Self::Actor(record::decode(value)?),
            Table::Objects => Self::Object(record::decode(value)?),
            Table::PlacementGroups => Self::PlacementGroup(record::decode(value)?),
            Table::KeyValue => Self::Value(value.clone()),
            Table::Events => Self::Event(record::decode(value)?),
        })
    }
}

impl<R: record::Record> record::Record for Box<R> {
    const NAME: &'static str = R::NAME;
    const VERSION: u8 = R::VERSION;
}
