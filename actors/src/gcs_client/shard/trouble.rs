//! Why a replica has stepped aside, in words for its operator.
//!
//! Owns: the words. Invariant: all causes are named, down to what the system said, and what to do about it where that is
//! known.

use std::error::Error;

use actinic_gcs::{
    replica::ReplicaFailed,
    shard::ShardFailed,
    store::{StoreError, Unusable},
};

/// What to say of a failure.
pub(super) fn describe(failure: &ReplicaFailed) -> String {
    let mut words = failure.to_string();
    let mut cause = failure.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    if let Some(hint) = hint(failure) {
        words.push_str("; ");
        words.push_str(hint);
    }
    words
}

fn hint(failure: &ReplicaFailed) -> Option<&'static str> {
    match failure {
        ReplicaFailed::Store(error) | ReplicaFailed::Shard(ShardFailed::Store(error)) => match error {
            full if full.is_full() => Some(
                "make room on its device: the replica comes back by itself, and loses nothing that it had promised",
            ),
            // These say themselves what to do.
            StoreError::Unusable { reason, .. } if !matches!(reason, Unusable::Folder(_)) => None,
            StoreError::Corrupt { .. } => Some("remove the replica from its group, empty its folder, and add it anew"),
            _ => Some("look after its device: the replica is opened again until it works"),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use actinic_gcs::store::Column;

    use super::*;

    fn failed(kind: io::ErrorKind, words: &str) -> ReplicaFailed {
        StoreError::Io { column: Column::Raft, source: io::Error::new(kind, words) }.into()
    }

    #[test]
    fn a_full_device_is_named_with_what_to_do() {
        let words = describe(&failed(io::ErrorKind::StorageFull, "IO error: No space left on device"));
        assert!(words.contains("No space left on device; make room on its device"), "{words}");
    }

    #[test]
    fn every_cause_is_named_once() {
        let words = describe(&failed(io::ErrorKind::Other, "the cable is out"));
        assert_eq!(words.matches("the cable is out").count(), 1, "{words}");
        let corrupt = StoreError::Corrupt { column: Column::Jobs, detail: "a torn row".to_owned() };
        let words = describe(&ShardFailed::from(corrupt).into());
        assert_eq!(words.matches("a torn row").count(), 1, "{words}");
        assert!(words.ends_with("add it anew"), "{words}");
    }
}
