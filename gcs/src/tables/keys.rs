//! Row keys and shard keys.
//!
//! Owns: how ids become the bytes of a row key and the hash that picks a shard. Invariants: numbers are big-endian, so
//! that keys sort as their ids do; a namespace is preceded by its length, so that no namespace and key read as others;
//! hashes are stable across builds and machines.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::{ActorId, JobId, ObjectId, TaskId};

/// The key hash of tables that must be consistent as a whole: nodes, jobs, the actor directory, placement groups.
pub const DIRECTORY: u64 = 0;

/// The row key of an id of 128 bits: a node, function, actor, task or placement group.
#[must_use]
pub fn wide(id: u128) -> Bytes {
    Bytes::copy_from_slice(&id.to_be_bytes())
}

/// The row key of a job.
#[must_use]
pub fn job(id: JobId) -> Bytes {
    Bytes::copy_from_slice(&id.0.to_be_bytes())
}

/// The row key of an object; all objects of a task share its id as prefix.
#[must_use]
pub fn object(id: ObjectId) -> Bytes {
    join(&id.task.0.to_be_bytes(), &id.index.to_be_bytes())
}

/// The row key of a call log entry.
#[must_use]
pub fn call(actor: ActorId, position: u64) -> Bytes {
    join(&actor.0.to_be_bytes(), &position.to_be_bytes())
}

/// The row key of a number: an event, a change.
#[must_use]
pub fn number(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// The row key of `key` in `namespace`: a user's value or an actor's name. With a key's beginning in place of the key it
/// is the prefix of all such rows. A namespace longer than [`super::limits::NAME_BYTES_MAX`] has no rows.
#[must_use]
pub fn scoped(namespace: &str, key: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(2 + namespace.len() + key.len());
    bytes.extend_from_slice(&u16::try_from(namespace.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend_from_slice(namespace.as_bytes());
    bytes.extend_from_slice(key);
    Bytes::from(bytes)
}

/// The number at the end of a row key made by [`number`] or [`call`].
pub(crate) fn trailing_number(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The key hash of an id of 128 bits.
#[must_use]
pub fn hash_wide(id: u128) -> u64 {
    xxh3_64(&id.to_be_bytes())
}

/// The key hash of a task and of every object that it makes.
#[must_use]
pub fn hash_task(id: TaskId) -> u64 {
    hash_wide(id.0)
}

/// The key hash of `key` in `namespace`.
#[must_use]
pub fn hash_scoped(namespace: &str, key: &[u8]) -> u64 {
    xxh3_64(&scoped(namespace, key))
}

fn join(first: &[u8], second: &[u8]) -> Bytes {
    Bytes::from([first, second].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn scoped_keys_are_equal_only_if_both_parts_are(
            a in ("[a-c]{0,3}", "[a-c]{0,3}"), b in ("[a-c]{0,3}", "[a-c]{0,3}"),
        ) {
            let key = |(namespace, key): &(String, String)| scoped(namespace, key.as_bytes());
            prop_assert_eq!(key(&a) == key(&b), a == b);
        }

        #[test]
        fn object_keys_sort_as_objects_do(a in any::<(u128, u32)>(), b in any::<(u128, u32)>()) {
            let id = |(task, index)| ObjectId { task: TaskId(task), index };
            prop_assert_eq!(object(id(a)).cmp(&object(id(b))), id(a).cmp(&id(b)));
        }
    }

    #[test]
    fn an_object_lives_with_its_task() {
        let task = TaskId(77);
        assert!(object(ObjectId::of_put(task, 3)).starts_with(&wide(task.0)));
    }

    #[test]
    fn key_hashes_never_change() {
        assert_eq!(hash_wide(1), 4_706_896_644_969_173_947);
        assert_eq!(hash_scoped("default", b"key"), xxh3_64(b"\x00\x07defaultkey"));
    }
}
