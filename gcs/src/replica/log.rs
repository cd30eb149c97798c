//! The part of the log that is in memory, as Raft reads it.
//!
//! Owns: the entries since the last compaction, the vote, the membership, and what is known of the newest snapshot.
//! Does not own durability: what is put here is on its way to the disk, and Raft is told when it is there. Invariants: the
//! entries follow on each other and on the truncated one; their bytes are counted, so that the core can keep them bounded.

use std::{cell::Cell, collections::VecDeque};

use raft::{
    eraftpb::{ConfState, Entry, HardState, Snapshot},
    util::limit_size,
    Error, GetEntriesContext, RaftState, Result, Storage, StorageError,
};

/// The log in memory.
#[derive(Default)]
pub(super) struct LogCache {
    hard_state: HardState,
    members: ConfState,
    /// The last entry that is gone: its index and term.
    truncated: (u64, u64),
    entries: VecDeque<Entry>,
    bytes: usize,
    snapshot: Option<Snapshot>,
    snapshot_wanted: Cell<bool>,
}

fn bytes_of(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len() + 64
}

impl LogCache {
    pub(super) fn new(hard_state: HardState, members: ConfState, truncated: (u64, u64), entries: Vec<Entry>) -> Self {
        let bytes = entries.iter().map(bytes_of).sum();
        Self { hard_state, members, truncated, entries: entries.into(), bytes, ..Self::default() }
    }

    pub(super) fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    pub(super) fn set_members(&mut self, members: ConfState) {
        self.members = members;
    }

    pub(super) fn last(&self) -> u64 {
        self.truncated.0 + self.entries.len() as u64
    }

    pub(super) fn first(&self) -> u64 {
        self.truncated.0 + 1
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds entries in place of those of the same index and all after.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.truncated.0, "an applied entry is not written over");
        assert!(first.index <= self.last() + 1, "the log has no gap");
        while self.last() >= first.index {
            self.bytes -= self.entries.pop_back().map_or(0, |entry| bytes_of(&entry));
        }
        self.bytes += entries.iter().map(bytes_of).sum::<usize>();
        self.entries.extend(entries.iter().cloned());
    }

    /// Drops entries up to and including `index`; gives the term of the last one dropped.
    pub(super) fn compact(&mut self, index: u64) -> Option<u64> {
        let term = self.term_of(index)?;
        while self.truncated.0 < index {
            let entry = self.entries.pop_front()?;
            self.bytes -= bytes_of(&entry);
            self.truncated = (entry.index, entry.term);
        }
        Some(term)
    }

    /// The log begins anew after a snapshot of another replica.
    pub(super) fn restart(&mut self, index: u64, term: u64, members: ConfState) {
        self.entries.clear();
        self.bytes = 0;
        self.truncated = (index, term);
        self.hard_state.commit = self.hard_state.commit.max(index);
        self.members = members;
        self.snapshot = None;
    }

    /// A snapshot was asked for and is not there. Says so once.
    pub(super) fn take_snapshot_wanted(&self) -> bool {
        self.snapshot_wanted.take()
    }

    /// The newest snapshot; none when it was dropped.
    pub(super) fn set_snapshot(&mut self, snapshot: Option<Snapshot>) {
        self.snapshot = snapshot;
    }

    pub(super) fn term_of(&self, index: u64) -> Option<u64> {
        if index == self.truncated.0 {
            return Some(self.truncated.1);
        }
        let at = index.checked_sub(self.first())?;
        Some(self.entries.get(usize::try_from(at).ok()?)?.term)
    }

    pub(super) fn sanity_check(&self) {
        for (at, entry) in self.entries.iter().enumerate() {
            assert_eq!(entry.index, self.first() + at as u64, "entries follow on each other");
        }
        assert_eq!(self.bytes, self.entries.iter().map(bytes_of).sum::<usize>(), "bytes are counted");
    }
}

impl Storage for LogCache {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState { hard_state: self.hard_state.clone(), conf_state: self.members.clone() })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low < self.first() {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last() + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let (from, to) = ((low - self.first()) as usize, (high - self.first()) as usize);
        let mut entries: Vec<Entry> = self.entries.range(from..to).cloned().collect();
        limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index < self.truncated.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        self.term_of(index).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> Result<Snapshot> {
        let at_least = request_index.max(self.truncated.0);
        // Who is not yet a member in a snapshot refuses it.
        let knows = |members: &ConfState| members.voters.contains(&to) || members.learners.contains(&to);
        let fits = |snapshot: &Snapshot| {
            snapshot.get_metadata().index >= at_least && knows(snapshot.get_metadata().get_conf_state())
        };
        match &self.snapshot {
            Some(snapshot) if fits(snapshot) => Ok(snapshot.clone()),
            _ => {
                self.snapshot_wanted.set(true);
                Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}
