//! RocksDB's words as errors.
//!
//! Owns: the reading of RocksDB's messages, which are all it gives. Invariant: what is not recognised is a failed
//! device, never nothing.

use std::io;

use rocksdb::ErrorKind;

use super::super::{Column, StoreError, Unusable};

/// What the system said, as far as it matters here.
fn system_error(message: String) -> io::Error {
    let kind = [
        ("No space left on device", io::ErrorKind::StorageFull),
        ("Disk quota exceeded", io::ErrorKind::QuotaExceeded),
        ("Permission denied", io::ErrorKind::PermissionDenied),
        ("Read-only file system", io::ErrorKind::ReadOnlyFilesystem),
    ]
    .into_iter()
    .find_map(|(words, kind)| message.contains(words).then_some(kind));
    io::Error::new(kind.unwrap_or(io::ErrorKind::Other), message)
}

/// Why `column` could not be read or written.
pub(super) fn failure(column: Column, error: rocksdb::Error) -> StoreError {
    match error.kind() {
        ErrorKind::Corruption => StoreError::Corrupt { column, detail: error.into_string() },
        _ => StoreError::Io { column, source: system_error(error.into_string()) },
    }
}

/// Whether RocksDB would have held a write back, and that is all.
pub(super) fn is_stall(error: &rocksdb::Error) -> bool {
    error.kind() == ErrorKind::Incomplete && error.as_ref().contains("Write stall")
}

/// Why nothing is written after a write that failed for `kind`.
pub(super) fn refusal(kind: io::ErrorKind) -> StoreError {
    let source = io::Error::new(kind, "an earlier write failed; open the store anew");
    StoreError::Io { column: Column::Meta, source }
}

/// Why the store could not be opened.
pub(super) fn unusable(error: rocksdb::Error) -> Unusable {
    let kind = error.kind();
    let message = error.into_string();
    // "While lock file: …/LOCK: Resource temporarily unavailable" from another process, the other from this one.
    if message.contains("While lock file") || message.contains("lock hold by current process") {
        return Unusable::InUse;
    }
    let lost = kind == ErrorKind::IOError && message.contains("No such file or directory");
    match kind {
        ErrorKind::IOError if !lost => Unusable::Folder(system_error(message)),
        ErrorKind::Unknown => Unusable::Folder(system_error(message)),
        _ => Unusable::Damaged(message),
    }
}
