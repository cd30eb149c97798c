//! Reads of several ids, taken apart by shard.
//!
//! Owns: which shard each id is asked of, and where its answer belongs in the whole. Does not own asking, or putting the
//! answers together (the client). Invariants: each id is in exactly one part; a read that would be refused as a whole is
//! not taken apart, so that what is refused does not depend on how many shards there are.

use std::collections::BTreeMap;

use super::{keys, limits, ObjectRead, Read, TaskRead};
use crate::{shard::shard_of, TaskId};

/// What one shard is asked of a read of several ids.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadPart {
    /// Which shard.
    pub shard: usize,
    /// What it is asked.
    pub read: Read,
    /// Where the answer to each of its ids belongs among the answers to all.
    pub places: Vec<usize>,
}

impl Read {
    /// The parts of a read of several ids by shard, in the order of the shards; nothing where one shard answers it whole.
    ///
    /// # Panics
    /// If `shards` is zero.
    #[must_use]
    pub fn split(&self, shards: usize) -> Vec<ReadPart> {
        match self {
            Self::Task(TaskRead::Get(ids)) => parts(ids, |id| *id, shards, |ids| TaskRead::Get(ids).into()),
            Self::Object(ObjectRead::Get(ids)) => parts(ids, |id| id.task, shards, |ids| ObjectRead::Get(ids).into()),
            _ => Vec::new(),
        }
    }
}

fn parts<T: Copy>(
    ids: &[T],
    task: impl Fn(&T) -> TaskId,
    shards: usize,
    read: impl Fn(Vec<T>) -> Read,
) -> Vec<ReadPart> {
    if ids.len() < 2 || ids.len() > limits::BATCH_LEN_MAX {
        return Vec::new();
    }
    let mut by_shard: BTreeMap<usize, (Vec<T>, Vec<usize>)> = BTreeMap::new();
    for (place, id) in ids.iter().enumerate() {
        let (ids, places) = by_shard.entry(shard_of(keys::hash_task(task(id)), shards)).or_default();
        ids.push(*id);
        places.push(place);
    }
    if by_shard.len() < 2 {
        return Vec::new();
    }
    by_shard.into_iter().map(|(shard, (ids, places))| ReadPart { shard, read: read(ids), places }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{tables::Route, JobId, ObjectId};

    fn tasks(count: u64) -> Vec<TaskId> {
        (0..count).map(|n| TaskId::driver(JobId(1)).child(n)).collect()
    }

    #[test]
    fn each_id_is_asked_of_its_own_shard_and_has_its_place() {
        let ids: Vec<ObjectId> = tasks(100).into_iter().map(|task| ObjectId { task, index: 0 }).collect();
        let parts = Read::from(ObjectRead::Get(ids.clone())).split(4);
        assert_eq!(parts.iter().map(|part| part.shard).collect::<Vec<_>>(), [0, 1, 2, 3]);
        let mut seen = vec![None; ids.len()];
        for ReadPart { shard, read, places } in parts {
            let Read::Object(ObjectRead::Get(part)) = &read else { panic!("{read:?}") };
            assert_eq!(part.len(), places.len());
            for (id, place) in part.iter().zip(places) {
                assert_eq!(Read::from(ObjectRead::Get(vec![*id])).route(), Route::Key(keys::hash_task(id.task)));
                assert_eq!(shard_of(keys::hash_task(id.task), 4), shard);
                assert_eq!(seen[place].replace(*id), None);
            }
        }
        assert_eq!(seen, ids.into_iter().map(Some).collect::<Vec<_>>());
    }

    #[test]
    fn what_one_shard_answers_and_what_is_refused_stays_whole() {
        assert!(Read::from(TaskRead::Get(tasks(50))).split(1).is_empty());
        assert!(Read::from(TaskRead::Get(tasks(1))).split(4).is_empty());
        assert!(Read::from(TaskRead::Get(Vec::new())).split(4).is_empty());
        assert!(Read::from(TaskRead::Get(tasks(limits::BATCH_LEN_MAX as u64 + 1))).split(4).is_empty());
    }
}
