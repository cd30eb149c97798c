//! Task specs: the lineage.
//!
//! Owns: one row a task, written in batches. Does not own when lineage is written or forgotten. Invariant: a spec is never
//! changed; writing it again puts the same bytes.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{keys, limits, Applied, Bound, Reply, Route, Txn, DIRECTORY};
use crate::{shard::shard_of, spec::TaskSpec, store::Column, TaskId};

/// A change of the lineage. A batch applies whole or not at all within a shard; [`super::Write::split`] makes one batch
/// for each shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TaskWrite {
    /// Puts specs. Gives [`Reply::Done`].
    Put(Vec<Arc<TaskSpec>>),
    /// Forgets specs; one that is not there is nothing. Gives [`Reply::Done`].
    Delete(Vec<TaskId>),
}

/// A question about the lineage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TaskRead {
    /// The specs of tasks: [`Reply::Tasks`]. To a shard, those that it holds; a client takes ids of several apart.
    Get(Vec<TaskId>),
}

impl TaskWrite {
    pub(super) fn key_hash(&self) -> u64 {
        let first = match self {
            Self::Put(specs) => specs.first().map(|spec| spec.id),
            Self::Delete(ids) => ids.first().copied(),
        };
        first.map_or(DIRECTORY, keys::hash_task)
    }

    pub(super) fn split(self, shards: usize) -> Vec<(usize, Self)> {
        let shard = |id| shard_of(keys::hash_task(id), shards);
        match self {
            Self::Put(specs) => group(specs, |spec| shard(spec.id), Self::Put),
            Self::Delete(ids) => group(ids, |id| shard(*id), Self::Delete),
        }
    }

    pub(super) fn apply(&self, txn: &mut Txn<'_>) -> Applied {
        match self {
            Self::Put(specs) => {
                Bound::BatchLen.check(specs.len(), limits::BATCH_LEN_MAX)?;
                for spec in specs {
                    txn.put_record(Column::Tasks, keys::wide(spec.id.0), &**spec)?;
                }
            }
            Self::Delete(ids) => {
                Bound::BatchLen.check(ids.len(), limits::BATCH_LEN_MAX)?;
                ids.iter().for_each(|id| txn.delete(Column::Tasks, keys::wide(id.0)));
            }
        }
        Ok(Reply::Done)
    }
}

fn group<T>(
    items: Vec<T>,
    shard: impl Fn(&T) -> usize,
    batch: impl Fn(Vec<T>) -> TaskWrite,
) -> Vec<(usize, TaskWrite)> {
    let mut parts: BTreeMap<usize, Vec<T>> = BTreeMap::new();
    for item in items {
        parts.entry(shard(&item)).or_default().push(item);
    }
    parts.into_iter().map(|(shard, items)| (shard, batch(items))).collect()
}

impl TaskRead {
    pub(super) fn route(&self) -> Route {
        let Self::Get(ids) = self;
        Route::Key(ids.first().map_or(DIRECTORY, |id| keys::hash_task(*id)))
    }

    pub(super) fn answer(&self, txn: &Txn<'_>) -> Applied {
        let Self::Get(ids) = self;
        Bound::BatchLen.check(ids.len(), limits::BATCH_LEN_MAX)?;
        let specs = ids.iter().map(|id| txn.record(Column::Tasks, &keys::wide(id.0))).collect::<Result<_, _>>()?;
        Ok(Reply::Tasks(specs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        spec::TaskArg,
        tables::{TableError, Write},
        testing::{task, Bench},
    };

    #[test]
    fn specs_are_kept_until_they_are_forgotten() {
        let mut bench = Bench::new();
        let specs: Vec<_> = (0..3).map(|n| Arc::new(task(n))).collect();
        let ids: Vec<_> = specs.iter().map(|spec| spec.id).collect();
        bench.apply(TaskWrite::Put(specs.clone())).unwrap();
        bench.apply(TaskWrite::Delete(vec![ids[1], TaskId(0)])).unwrap();
        let expected = [Some(0), None, Some(2)].map(|n| n.map(|n: usize| Box::new((*specs[n]).clone())));
        assert_eq!(bench.read(TaskRead::Get(ids)), Ok(Reply::Tasks(expected.to_vec())));
        assert!(bench.changes.is_empty());
    }

    #[test]
    fn a_batch_with_one_spec_too_large_writes_none() {
        let mut bench = Bench::new();
        let mut large = task(2);
        large.args.push(TaskArg::Inline(vec![0; limits::RECORD_BYTES_MAX].into()));
        let refused = bench.apply(TaskWrite::Put(vec![Arc::new(task(1)), Arc::new(large)]));
        assert!(matches!(refused, Err(TableError::TooLarge { what: Bound::RecordBytes, .. })));
        assert_eq!(bench.store.rows(Column::Tasks), 0);
    }

    #[test]
    fn a_batch_too_long_is_refused() {
        let ids = (0..=limits::BATCH_LEN_MAX as u128).map(TaskId).collect();
        let refused = Bench::new().apply(TaskWrite::Delete(ids));
        assert!(matches!(refused, Err(TableError::TooLarge { what: Bound::BatchLen, .. })));
    }

    #[test]
    fn a_split_batch_keeps_every_spec_and_each_part_is_of_one_shard() {
        let specs: Vec<_> = (0..100).map(|n| Arc::new(task(n))).collect();
        let parts = Write::from(TaskWrite::Put(specs.clone())).split(4);
        assert_eq!(parts.len(), 4);
        let mut seen = 0;
        for (shard, part) in parts {
            let Write::Task(TaskWrite::Put(part)) = part else { panic!("not a put") };
            assert!(part.iter().all(|spec| shard_of(keys::hash_task(spec.id), 4) == shard));
            seen += part.len();
        }
        assert_eq!(seen, specs.len());
    }
}
