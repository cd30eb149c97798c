//! Objects: size, locations, owner.
//!
//! Owns: one row an object, made by whatever is learned of it first. Invariants: a size once known never changes; adding
//! or removing a location that is or is not there changes nothing and tells nobody. An object whose last location goes
//! keeps its row, so that those who wait for it hear that it must be rebuilt.

use serde::{Deserialize, Serialize};

use super::{
    keys, limits, Applied, ApplyError, Bound, Page, PageRequest, Reply, Route, Table, TableError, Txn, DIRECTORY,
};
use crate::{
    record,
    spec::{ObjectInfo, Owner},
    store::Column,
    NodeId, ObjectId,
};

/// A change of one object. All but [`ObjectWrite::Delete`] give [`Reply::Done`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ObjectWrite {
    /// A node holds a copy.
    AddLocation {
        /// The object.
        object: ObjectId,
        /// The node.
        node: NodeId,
        /// The object's size in bytes.
        size_bytes: u64,
    },
    /// A node holds no copy any more.
    RemoveLocation {
        /// The object.
        object: ObjectId,
        /// The node.
        node: NodeId,
    },
    /// Who counts its references.
    SetOwner {
        /// The object.
        object: ObjectId,
        /// The owner.
        owner: Owner,
    },
    /// How large it is.
    SetSize {
        /// The object.
        object: ObjectId,
        /// Its size in bytes.
        size_bytes: u64,
    },
    /// The last reference is gone. Gives [`Reply::Deleted`].
    Delete(ObjectId),
}

/// A question about objects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ObjectRead {
    /// Objects: [`Reply::Objects`]. To a shard, those that it holds; a client takes ids of several apart.
    Get(Vec<ObjectId>),
    /// This shard's objects: [`Reply::ObjectPage`].
    List(PageRequest),
}

impl ObjectWrite {
    fn object(&self) -> ObjectId {
        match self {
            Self::AddLocation { object, .. }
            | Self::RemoveLocation { object, .. }
            | Self::SetOwner { object, .. }
            | Self::SetSize { object, .. }
            | Self::Delete(object) => *object,
        }
    }

    pub(super) fn key_hash(&self) -> u64 {
        keys::hash_task(self.object().task)
    }

    pub(super) fn apply(&self, txn: &mut Txn<'_>) -> Applied {
        let id = self.object();
        let key = keys::object(id);
        let known: Option<ObjectInfo> = txn.record(Column::Objects, &key)?;
        if matches!(self, Self::Delete(_)) {
            if known.is_some() {
                txn.delete_row(Table::Objects, key);
            }
            return Ok(Reply::Deleted(known.is_some()));
        }
        if known.is_none() && matches!(self, Self::RemoveLocation { .. }) {
            return Ok(Reply::Done);
        }
        let mut info = known.clone().unwrap_or_else(|| ObjectInfo::new(id));
        self.change(&mut info)?;
        if known.as_ref() != Some(&info) {
            txn.put_row(Table::Objects, key, &info)?;
        }
        Ok(Reply::Done)
    }

    fn change(&self, info: &mut ObjectInfo) -> Result<(), ApplyError> {
        match self {
            Self::AddLocation { node, size_bytes, .. } => {
                set_size(info, *size_bytes)?;
                info.locations.insert(*node);
                Bound::Locations.check(info.locations.len(), limits::LOCATIONS_MAX)?;
            }
            Self::RemoveLocation { node, .. } => {
                info.locations.remove(node);
            }
            Self::SetOwner { owner, .. } => info.owner = Some(*owner),
            Self::SetSize { size_bytes, .. } => set_size(info, *size_bytes)?,
            Self::Delete(_) => {}
        }
        Ok(())
    }
}

fn set_size(info: &mut ObjectInfo, given: u64) -> Result<(), TableError> {
    match info.size_bytes {
        Some(known) if known != given => Err(TableError::SizeMismatch { object: info.id, known, given }),
        _ => {
            info.size_bytes = Some(given);
            Ok(())
        }
    }
}

impl ObjectRead {
    pub(super) fn route(&self) -> Route {
        match self {
            Self::Get(ids) => Route::Key(ids.first().map_or(DIRECTORY, |id| keys::hash_task(id.task))),
            Self::List(_) => Route::Every,
        }
    }

    pub(super) fn answer(&self, txn: &Txn<'_>) -> Applied {
        match self {
            Self::Get(ids) => {
                Bound::BatchLen.check(ids.len(), limits::BATCH_LEN_MAX)?;
                let objects =
                    ids.iter().map(|id| txn.record(Column::Objects, &keys::object(*id))).collect::<Result<_, _>>()?;
                Ok(Reply::Objects(objects))
            }
            Self::List(page) => {
                let (rows, next) = txn.page(Column::Objects, b"", page)?;
                let items = rows.iter().map(|(_, value)| record::decode(value)).collect::<Result<_, _>>()?;
                Ok(Reply::ObjectPage(Page { items, next }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{testing::Bench, TaskId};

    const OBJECT: ObjectId = ObjectId { task: TaskId(5), index: 0 };

    fn add(node: u128, size_bytes: u64) -> ObjectWrite {
        ObjectWrite::AddLocation { object: OBJECT, node: NodeId(node), size_bytes }
    }

    fn remove(node: u128) -> ObjectWrite {
        ObjectWrite::RemoveLocation { object: OBJECT, node: NodeId(node) }
    }

    fn object(bench: &Bench) -> Option<ObjectInfo> {
        let Ok(Reply::Objects(mut objects)) = bench.read(ObjectRead::Get(vec![OBJECT])) else { panic!("no objects") };
        objects.remove(0).map(|info| *info)
    }

    #[test]
    fn locations_come_and_go_and_the_row_stays() {
        let mut bench = Bench::new();
        bench.apply(add(1, 10)).unwrap();
        bench.apply(add(2, 10)).unwrap();
        bench.apply(remove(1)).unwrap();
        assert_eq!(object(&bench).unwrap().locations, [NodeId(2)].into());
        bench.apply(remove(2)).unwrap();
        let info = object(&bench).unwrap();
        assert!(info.locations.is_empty());
        assert_eq!(info.size_bytes, Some(10));
    }

    #[test]
    fn what_changes_nothing_is_no_change() {
        let mut bench = Bench::new();
        bench.apply(remove(1)).unwrap();
        assert_eq!(object(&bench), None);
        bench.apply(add(1, 10)).unwrap();
        bench.apply(add(1, 10)).unwrap();
        bench.apply(remove(3)).unwrap();
        bench.apply(ObjectWrite::SetSize { object: OBJECT, size_bytes: 10 }).unwrap();
        assert_eq!(bench.changes.len(), 1);
    }

    #[test]
    fn a_size_once_known_never_changes() {
        let mut bench = Bench::new();
        bench.apply(ObjectWrite::SetSize { object: OBJECT, size_bytes: 10 }).unwrap();
        assert_eq!(bench.apply(add(1, 11)), Err(TableError::SizeMismatch { object: OBJECT, known: 10, given: 11 }));
        assert!(object(&bench).unwrap().locations.is_empty());
    }

    #[test]
    fn an_owner_can_be_replaced_and_an_object_deleted_once() {
        let mut bench = Bench::new();
        let process = Owner::Process { node: NodeId(1), worker: None };
        for owner in [process, Owner::Gcs] {
            bench.apply(ObjectWrite::SetOwner { object: OBJECT, owner }).unwrap();
            assert_eq!(object(&bench).unwrap().owner, Some(owner));
        }
        assert_eq!(bench.apply(ObjectWrite::Delete(OBJECT)), Ok(Reply::Deleted(true)));
        assert_eq!(bench.apply(ObjectWrite::Delete(OBJECT)), Ok(Reply::Deleted(false)));
        assert_eq!(object(&bench), None);
    }
}
