//! The columns of a store.
//!
//! Owns: which kinds of rows there are, and the stable name of each on disk. Invariant: a name is never reused for
//! another kind of row.

use std::fmt;

/// Declares the columns with their names, and the list of all of them.
macro_rules! columns {
    ($($(#[$doc:meta])* $column:ident = $name:literal),+ $(,)?) => {
        /// One kind of row; what RocksDB calls a column family.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Column {
            $($(#[$doc])* $column),+
        }

        impl Column {
            /// Every column, in order.
            pub const ALL: &'static [Self] = &[$(Self::$column),+];

            /// The column's stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$column => $name),+
                }
            }
        }
    };
}

columns! {
    /// Counters of the shard and of single tables.
    Meta = "meta",
    /// Nodes by id.
    Nodes = "nodes",
    /// Leases of living nodes by node id.
    Leases = "leases",
    /// Jobs by id.
    Jobs = "jobs",
    /// Functions by id.
    Functions = "functions",
    /// Actors by id.
    Actors = "actors",
    /// Ids of living named actors by namespace and name.
    ActorNames = "actor_names",
    /// Checkpoints by actor.
    Checkpoints = "checkpoints",
    /// Bounds of call logs by actor.
    CallLogHeads = "call_log_heads",
    /// Call log entries by actor and position.
    CallLog = "call_log",
    /// Task specs by id: the lineage.
    Tasks = "tasks",
    /// Objects by id.
    Objects = "objects",
    /// Placement groups by id.
    PlacementGroups = "placement_groups",
    /// User values by namespace and key.
    KeyValue = "key_value",
    /// Events by number.
    Events = "events",
    /// Outcomes of recent requests by client and number.
    Requests = "requests",
    /// Recent changes of watched tables by sequence number.
    Changes = "changes",
    /// The replica's own: entries of its log by index.
    Log = "log",
    /// The replica's own: its vote, its membership, where its log begins, who it is.
    Raft = "raft",
}

impl Column {
    /// Whether the column is part of the state that all replicas of a shard agree on; the others are a replica's own,
    /// are in no [`View`](super::View), and stay when a [staged](super::Store::stage) state is installed.
    #[must_use]
    pub fn is_shared(self) -> bool {
        !matches!(self, Self::Log | Self::Raft)
    }

    /// The column with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|column| column.name() == name)
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_place_and_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Column::ALL.iter().map(|column| column.name()).collect();
        assert_eq!(names.len(), Column::ALL.len());
        assert!(Column::ALL.iter().enumerate().all(|(at, column)| *column as usize == at));
    }
}
