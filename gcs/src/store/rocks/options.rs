//! How a store on disk behaves.
//!
//! Owns: what users can choose, and how RocksDB is told. Invariant: every memory and every file that RocksDB keeps for
//! speed has a bound here.

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, LogLevel, Options};

use super::super::Durability;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// A file is rewritten when this many of as many rows in a row as the window has are deletions, or this part of all.
const DELETIONS_WINDOW: usize = 4_096;
const DELETIONS_MAX: usize = 2_048;
const DELETIONS_RATIO_MAX: f64 = 0.3;

/// How a [`RocksStore`](super::RocksStore) behaves. The default suits a shard of up to some tens of gigabytes in less
/// than 200 MB of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RocksOptions {
    /// What a sync waits for.
    pub durability: Durability,
    /// Bytes of memory for rows that are not in tables yet, over all columns.
    pub write_buffer_bytes_max: usize,
    /// Bytes of memory for blocks of tables, and for their indexes and filters.
    pub cache_bytes_max: usize,
    /// Bytes of the write-ahead log, above which rows go to tables so that it can be cut. It is read at opening, so it
    /// bounds how long opening takes.
    pub wal_bytes_max: u64,
    /// Files that are open at a time; at least 20 are needed besides.
    pub open_files_max: u16,
    /// Threads that write tables and merge them.
    pub background_jobs_max: u16,
    /// Seconds after which a table is rewritten whatever is in it, so that what was deleted leaves the disk.
    pub rewrite_after_s: u64,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            write_buffer_bytes_max: 64 * MIB,
            cache_bytes_max: 64 * MIB,
            wal_bytes_max: 64 * MIB as u64,
            open_files_max: 512,
            background_jobs_max: 2,
            rewrite_after_s: 24 * 60 * 60,
        }
    }
}

impl RocksOptions {
    /// What holds for the whole store.
    ///
    /// # Errors
    /// What RocksDB says about options that only have a name; it never does for those it was built with.
    pub(super) fn database(&self) -> Result<Options, rocksdb::Error> {
        // Each log says where the one before it ended, so that a missing one is noticed; closing writes no tables,
        // since all is in the log. There are no functions for these two.
        let named = "track_and_verify_wals=true;avoid_flush_during_shutdown=true";
        let mut options = Options::default().get_options_from_string(named)?;
        // A torn end is cut; whatever is wrong before it is an error. See also `wal`.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        // Rows that are in no log go to tables all at once: see `rocks`.
        options.set_atomic_flush(true);
        // One thread writes.
        options.set_allow_concurrent_memtable_write(false);
        options.set_enable_write_thread_adaptive_yield(false);
        // The log is buffered here until a sync, which then is one system call for all batches before it.
        options.set_manual_wal_flush(true);
        options.set_db_write_buffer_size(self.write_buffer_bytes_max);
        options.set_max_total_wal_size(self.wal_bytes_max);
        options.set_max_open_files(i32::from(self.open_files_max));
        options.set_max_background_jobs(i32::from(self.background_jobs_max));
        options.set_bytes_per_sync(MIB as u64);
        options.set_manifest_preallocation_size(64 * KIB);
        options.set_max_manifest_file_size(4 * MIB);
        // RocksDB's own notes, which are of use for a post-mortem only.
        options.set_log_level(LogLevel::Warn);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(MIB);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_skip_stats_update_on_db_open(true);
        Ok(options)
    }

    /// What holds for one family.
    pub(super) fn family(&self, cache: &Cache) -> Options {
        let mut tables = BlockBasedOptions::default();
        tables.set_block_cache(cache);
        tables.set_bloom_filter(10.0, false);
        // In the cache, so that they count.
        tables.set_cache_index_and_filter_blocks(true);
        tables.set_pin_l0_filter_and_index_blocks_in_cache(true);
        let mut options = Options::default();
        options.set_block_based_table_factory(&tables);
        options.set_compression_type(DBCompressionType::None);
        options.set_write_buffer_size((self.write_buffer_bytes_max / 4).max(64 * KIB));
        // There are many families, most of them small: a buffer grows by little.
        options.set_arena_block_size(32 * KIB);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.add_compact_on_deletion_collector_factory(DELETIONS_WINDOW, DELETIONS_MAX, DELETIONS_RATIO_MAX);
        options.set_periodic_compaction_seconds(self.rewrite_after_s);
        options
    }
}
