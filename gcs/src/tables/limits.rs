//! The bounds of everything that a client can send or ask for.
//!
//! Owns: the constants. All replicas of a shard must agree on them, because they decide which writes are refused.

/// Bytes of a name or namespace.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of a user's key.
pub const KEY_BYTES_MAX: usize = 1_024;
/// Bytes of a user's value.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Bytes of any encoded record but a user's value: a task spec with its inline arguments, an actor, a node.
pub const RECORD_BYTES_MAX: usize = 1 << 20;
/// Bytes of a checkpoint kept in its record; a larger one belongs in an object.
pub const CHECKPOINT_BYTES_MAX: usize = 100 << 10;
/// Task specs, ids, call log entries or events in one write, or ids in one read.
pub const BATCH_LEN_MAX: usize = 4_096;
/// Rows in one page of a listing; more are not given, whatever is asked for.
pub const PAGE_LEN_MAX: usize = 1_024;
/// Bytes after which a page of a listing ends.
pub const PAGE_BYTES_MAX: usize = 4 << 20;
/// Nodes that hold one object.
pub const LOCATIONS_MAX: usize = 4_096;
/// Bundles in one placement group.
pub const BUNDLES_MAX: usize = 1_024;
/// Call log entries kept for one actor between checkpoints.
pub const CALL_LOG_LEN_MAX: u64 = 1 << 20;
/// Call log entries taken away by one write.
pub const TRIM_LEN_MAX: u64 = 4_096;
/// Events kept by one shard; the oldest go first.
pub const EVENTS_MAX: u64 = 16_384;
/// Bytes of one encoded event.
pub const EVENT_BYTES_MAX: usize = 8 << 10;
/// What is counted one by one never comes so far: a row that says so is damaged.
pub const COUNT_MAX: u64 = u64::MAX >> 1;
/// Milliseconds of a node's lease.
pub const LEASE_MS_MAX: u64 = 3_600_000;
