//! Batches: changes that are applied together.
//!
//! Owns: the list of changes. Invariant: order is kept, so the last change of a key wins.

use bytes::Bytes;

use super::Column;

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Puts a value in place of what was there.
    Put {
        /// The column.
        column: Column,
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Takes a key away if it is there.
    Delete {
        /// The column.
        column: Column,
        /// The key.
        key: Bytes,
    },
}

impl Op {
    /// The column that is changed.
    #[must_use]
    pub fn column(&self) -> Column {
        match self {
            Self::Put { column, .. } | Self::Delete { column, .. } => *column,
        }
    }
}

/// Changes that are applied together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    ops: Vec<Op>,
}

impl Batch {
    /// No changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a put.
    pub fn put(&mut self, column: Column, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.ops.push(Op::Put { column, key: key.into(), value: value.into() });
    }

    /// Adds a delete.
    pub fn delete(&mut self, column: Column, key: impl Into<Bytes>) {
        self.ops.push(Op::Delete { column, key: key.into() });
    }

    /// Adds all changes of another batch behind these.
    pub fn append(&mut self, other: Self) {
        self.ops.extend(other.ops);
    }

    /// How many changes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there are no changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The changes in order.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The changes in order, given away.
    #[must_use]
    pub fn into_ops(self) -> Vec<Op> {
        self.ops
    }
}
