//! Decides how long a node keeps each large object, and who is told when it can be read.
//!
//! Owns: the objects that were sealed on this node (primaries), the copies of others', and room that is being filled. A core:
//! the memory itself is the shell's.
//!
//! A primary is kept as long as a process *holds* it: first the one that sealed it; then the owner, to which it is *passed*
//! and which *claims* it. In between the pass keeps it, since the two tell of it on different ways, in any order. A copy is
//! kept until its owner frees it, or room is short. What is *pinned* stays whatever else happens: somebody reads it.
//!
//! What a node of the same machine has is not copied but *borrowed*: it is pinned there, for this node, and read where it is.
//! The loan is returned once nobody has read it for a while ([`LOAN_IDLE_MS`]). When the lender is lost, whoever reads goes on
//! to read, since the memory lives as long as it is mapped; nobody else is let in.
//!
//! **Invariants:** an object is freed once, when nobody holds, is passed or pins it; what a process held, reserved, pinned
//! or waited for goes with it; a pass whose giver is gone ends after [`PASS_MS_MAX`] if nobody claims it; what is borrowed is
//! not lent on; each loan is returned once, unless the lender is lost.

mod loans;
mod look;

use std::collections::{BTreeMap, VecDeque};

use actinic_gcs::{Millis, NodeId};

use self::loans::Borrowed;
pub use self::loans::{Lender, LOAN_IDLE_MS};
use crate::cluster::{
    objects::wire::{Loan, StoredId},
    wire::ProcessId,
};

/// How long an object that was passed by a process that has ended waits to be claimed.
pub const PASS_MS_MAX: u64 = 10_000;
/// Processes that are remembered after their end, so that what comes late on their behalf is not kept.
const GONE_MAX: usize = 4_096;

/// Who reads an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reader {
    /// A process of this node.
    Process(ProcessId),
    /// Processes of another node, which has borrowed it.
    Loan(Loan),
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableEffect {
    /// Filled room becomes an object.
    Seal(StoredId),
    /// Room is not needed.
    DropRoom(StoredId),
    /// Pin it for a reader and tell it where it is.
    Pin {
        /// Which.
        stored: StoredId,
        /// For whom.
        reader: Reader,
        /// The reader's number for it.
        request: u64,
    },
    /// Drop one pin of a reader.
    Unpin(StoredId, Reader),
    /// Tell a reader that there is nothing to read.
    Refuse {
        /// Of what.
        stored: StoredId,
        /// Whom.
        reader: Reader,
        /// Its number.
        request: u64,
        /// Why.
        why: String,
    },
    /// Fetch it from another node.
    Pull {
        /// Which.
        stored: StoredId,
        /// Who knows where it is.
        owner: ProcessId,
        /// How large it is.
        bytes: u64,
    },
    /// Nobody wants it any more.
    CancelPull(StoredId),
    /// Free its memory.
    Free(StoredId),
    /// Tell the owner that this node has no copy any more.
    Dropped {
        /// Which.
        stored: StoredId,
        /// Whom.
        owner: ProcessId,
    },
    /// Forget where it was that was borrowed, and tell the lender.
    Return(StoredId, Lender),
    /// Forget where it was: the lender is lost.
    Lost(StoredId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A process fills it.
    Reserved,
    /// It is being fetched.
    Pulling,
    /// It can be read.
    Sealed,
}

#[derive(Debug)]
struct Passed {
    to: ProcessId,
    by: ProcessId,
    /// Set when the giver has ended.
    ends: Option<Millis>,
}

#[derive(Debug)]
struct Entry {
    phase: Phase,
    /// Who fills it; for a copy, who knows where others are.
    owner: ProcessId,
    bytes: u64,
    holds: BTreeMap<ProcessId, u32>,
    passed: Vec<Passed>,
    /// Claims that came before their passes.
    early: BTreeMap<ProcessId, u32>,
    pins: BTreeMap<Reader, u32>,
    waiting: Vec<(Reader, u64)>,
    /// A copy that its owner needs no more.
    unneeded: bool,
    /// It lies in another node's memory.
    borrowed: Option<Borrowed>,
    last_used: u64,
}

impl Entry {
    fn new(phase: Phase, owner: ProcessId, bytes: u64) -> Self {
        Self {
            phase,
            owner,
            bytes,
            holds: BTreeMap::new(),
            passed: Vec::new(),
            early: BTreeMap::new(),
            pins: BTreeMap::new(),
            waiting: Vec::new(),
            unneeded: false,
            borrowed: None,
            last_used: 0,
        }
    }
}

/// The state.
#[derive(Debug)]
pub struct TableCore {
    me: NodeId,
    next: u64,
    uses: u64,
    entries: BTreeMap<StoredId, Entry>,
    /// Pins of what was borrowed from a node that is lost.
    orphans: BTreeMap<(StoredId, ProcessId), u32>,
    gone: VecDeque<ProcessId>,
}

impl TableCore {
    /// Of the node `me`.
    #[must_use]
    pub fn new(me: NodeId) -> Self {
        Self { me, next: 1, uses: 0, entries: BTreeMap::new(), orphans: BTreeMap::new(), gone: VecDeque::new() }
    }

    // --- writers ---------------------------------------------------------------------------------------------------

    /// Room was found for a process, which fills it under this id. None where the process has ended meanwhile.
    pub fn on_reserved(&mut self, by: ProcessId, bytes: u64) -> Option<StoredId> {
        if self.gone.contains(&by) {
            return None;
        }
        let stored = StoredId { node: self.me, serial: self.next };
        self.next += 1;
        self.entries.insert(stored, Entry::new(Phase::Reserved, by, bytes));
        Some(stored)
    }

    /// A process has filled its room.
    pub fn on_seal(&mut self, stored: StoredId, by: ProcessId, effects: &mut Vec<TableEffect>) {
        let Some(entry) = self.reserved_by(stored, by) else { return };
        entry.phase = Phase::Sealed;
        entry.holds.insert(by, 1);
        effects.push(TableEffect::Seal(stored));
        self.answer_waiting(stored, effects);
    }

    /// A process does not fill its room.
    pub fn on_abort(&mut self, stored: StoredId, by: ProcessId, effects: &mut Vec<TableEffect>) {
        if self.reserved_by(stored, by).is_some() {
            self.drop_unsealed(stored, "it was not completed", effects);
            effects.push(TableEffect::DropRoom(stored));
        }
    }

    fn reserved_by(&mut self, stored: StoredId, by: ProcessId) -> Option<&mut Entry> {
        self.entries.get_mut(&stored).filter(|entry| entry.phase == Phase::Reserved && entry.owner == by)
    }

    // --- holders ---------------------------------------------------------------------------------------------------

    /// A holder is about to give it to another process.
    pub fn on_pass(&mut self, stored: StoredId, by: ProcessId, to: ProcessId, effects: &mut Vec<TableEffect>) {
        let gone = self.gone.contains(&to);
        let Some(entry) = self.entries.get_mut(&stored).filter(|_| !gone) else { return };
        match entry.early.get_mut(&to) {
            Some(1) => drop(entry.early.remove(&to)),
            Some(more) => *more -= 1,
            None => entry.passed.push(Passed { to, by, ends: None }),
        }
        self.free_if_done(stored, effects);
    }

    /// A process holds what it was passed.
    pub fn on_claim(&mut self, stored: StoredId, by: ProcessId, effects: &mut Vec<TableEffect>) {
        let gone = self.gone.contains(&by);
        let Some(entry) = self.entries.get_mut(&stored).filter(|_| !gone) else { return };
        *entry.holds.entry(by).or_insert(0) += 1;
        match entry.passed.iter().position(|passed| passed.to == by) {
            Some(at) => drop(entry.passed.remove(at)),
            None => *entry.early.entry(by).or_insert(0) += 1,
        }
        self.free_if_done(stored, effects);
    }

    /// A process holds it no more.
    pub fn on_release(&mut self, stored: StoredId, by: ProcessId, effects: &mut Vec<TableEffect>) {
        let Some(entry) = self.entries.get_mut(&stored) else { return };
        one_less(&mut entry.holds, by);
        self.free_if_done(stored, effects);
    }

    /// The owner needs a copy no more.
    pub fn on_free(&mut self, stored: StoredId, effects: &mut Vec<TableEffect>) {
        let Some(entry) = self.entries.get_mut(&stored).filter(|_| stored.node != self.me) else { return };
        if entry.phase == Phase::Pulling {
            return self.on_pull_failed(stored, "its owner has freed it", effects);
        }
        entry.unneeded = true;
        self.free_if_done(stored, effects);
    }

    // --- readers ---------------------------------------------------------------------------------------------------

    /// A process wants to read it.
    pub fn on_pin(
        &mut self,
        stored: StoredId,
        process: ProcessId,
        request: u64,
        (owner, bytes): (ProcessId, u64),
        effects: &mut Vec<TableEffect>,
    ) {
        if self.gone.contains(&process) {
            return;
        }
        self.uses += 1;
        let (here, reader) = (stored.node == self.me, Reader::Process(process));
        let Some(entry) = self.entries.get_mut(&stored) else {
            if here {
                let why = FREED.to_owned();
                return effects.push(TableEffect::Refuse { stored, reader, request, why });
            }
            if self.gone.contains(&owner) {
                let why = "its owner has ended, and nobody else knows where it is".to_owned();
                return effects.push(TableEffect::Refuse { stored, reader, request, why });
            }
            let mut entry = Entry::new(Phase::Pulling, owner, bytes);
            entry.waiting.push((reader, request));
            self.entries.insert(stored, entry);
            return effects.push(TableEffect::Pull { stored, owner, bytes });
        };
        entry.last_used = self.uses;
        if entry.phase == Phase::Sealed {
            return pinned(stored, entry, reader, request, effects);
        }
        entry.waiting.push((reader, request));
    }

    /// A process has dropped a view.
    pub fn on_unpin(&mut self, stored: StoredId, process: ProcessId, effects: &mut Vec<TableEffect>) {
        // Which of its views it was is not known: what is kept for too long does no harm.
        if !one_less(&mut self.orphans, (stored, process)) {
            self.unpin(stored, Reader::Process(process), effects);
        }
    }

    fn unpin(&mut self, stored: StoredId, reader: Reader, effects: &mut Vec<TableEffect>) {
        let Some(entry) = self.entries.get_mut(&stored) else { return };
        if one_less(&mut entry.pins, reader) {
            effects.push(TableEffect::Unpin(stored, reader));
        }
        self.free_if_done(stored, effects);
    }

    // --- pulls -----------------------------------------------------------------------------------------------------

    /// A copy has come.
    pub fn on_pulled(&mut self, stored: StoredId, effects: &mut Vec<TableEffect>) {
        let Some(entry) = self.entries.get_mut(&stored).filter(|entry| entry.phase == Phase::Pulling) else { return };
        entry.phase = Phase::Sealed;
        self.uses += 1;
        entry.last_used = self.uses;
        self.answer_waiting(stored, effects);
    }

    /// No copy can be had.
    pub fn on_pull_failed(&mut self, stored: StoredId, why: &str, effects: &mut Vec<TableEffect>) {
        if self.entries.get(&stored).is_some_and(|entry| entry.phase == Phase::Pulling) {
            self.drop_unsealed(stored, why, effects);
            effects.push(TableEffect::CancelPull(stored));
        }
    }

    /// Whether somebody waits for it to be fetched.
    #[must_use]
    pub fn is_pulling(&self, stored: StoredId) -> bool {
        self.entries.get(&stored).is_some_and(|entry| entry.phase == Phase::Pulling)
    }

    /// Room is short: copies that nobody reads make way, those that were used longest ago first.
    pub fn on_short(&mut self, bytes: u64, effects: &mut Vec<TableEffect>) {
        let me = self.me;
        let idle = |(stored, entry): (&StoredId, &Entry)| {
            let copy = stored.node != me && entry.phase == Phase::Sealed && entry.borrowed.is_none();
            (copy && entry.pins.is_empty()).then_some((entry.last_used, *stored, entry.bytes))
        };
        let mut idle: Vec<_> = self.entries.iter().filter_map(idle).collect();
        idle.sort_unstable();
        let mut freed = 0;
        for (_, stored, size) in idle {
            if freed >= bytes {
                return;
            }
            freed += size;
            let Some(entry) = self.entries.remove(&stored) else { continue };
            effects.push(TableEffect::Free(stored));
            effects.push(TableEffect::Dropped { stored, owner: entry.owner });
        }
    }

    // --- ends ------------------------------------------------------------------------------------------------------

    /// A process has ended, and all that it said has been heard.
    pub fn on_process_gone(&mut self, now: Millis, process: ProcessId, effects: &mut Vec<TableEffect>) {
        if self.gone.len() >= GONE_MAX {
            self.gone.pop_front();
        }
        self.gone.push_back(process);
        self.orphans.retain(|(_, other), _| *other != process);
        self.forget(|other| other == process, None, now, effects);
    }

    /// A node has ended, and all its processes with it.
    pub fn on_node_gone(&mut self, now: Millis, node: NodeId, effects: &mut Vec<TableEffect>) {
        self.lender_gone(node, effects);
        self.forget(|process| process.node == node, Some(node), now, effects);
    }

    fn forget(
        &mut self,
        gone: impl Fn(ProcessId) -> bool,
        node: Option<NodeId>,
        now: Millis,
        effects: &mut Vec<TableEffect>,
    ) {
        let reads_no_more = |reader: Reader| match reader {
            Reader::Process(process) => gone(process),
            Reader::Loan(loan) => Some(loan.to) == node,
        };
        let all: Vec<StoredId> = self.entries.keys().copied().collect();
        for stored in all {
            let Some(entry) = self.entries.get_mut(&stored) else { continue };
            entry.waiting.retain(|(reader, _)| !reads_no_more(*reader));
            entry.holds.retain(|process, _| !gone(*process));
            entry.passed.retain(|passed| !gone(passed.to));
            for passed in entry.passed.iter_mut().filter(|passed| gone(passed.by) && passed.ends.is_none()) {
                passed.ends = Some(Millis(now.0 + PASS_MS_MAX));
            }
            let pinning: Vec<Reader> = entry.pins.keys().copied().filter(|reader| reads_no_more(*reader)).collect();
            for reader in pinning {
                let pins = entry.pins.remove(&reader).unwrap_or(0);
                effects.extend((0..pins).map(|_| TableEffect::Unpin(stored, reader)));
            }
            let of_the_gone = gone(entry.owner);
            match entry.phase {
                Phase::Reserved if of_the_gone => {
                    self.drop_unsealed(stored, "the process that computed it has ended", effects);
                    effects.push(TableEffect::DropRoom(stored));
                }
                Phase::Pulling if of_the_gone => self.on_pull_failed(stored, "its owner has ended", effects),
                Phase::Pulling if entry.waiting.is_empty() => self.on_pull_failed(stored, "nobody waits", effects),
                Phase::Sealed => {
                    entry.unneeded |= of_the_gone;
                    self.free_if_done(stored, effects);
                }
                _ => {}
            }
        }
    }

    /// Time has passed: passes that nobody claims end, and loans that nobody reads.
    pub fn on_time(&mut self, now: Millis, effects: &mut Vec<TableEffect>) {
        self.return_idle(now, effects);
        let over = |passed: &Passed| passed.ends.is_some_and(|ends| now >= ends);
        let late: Vec<StoredId> =
            self.entries.iter().filter(|(_, entry)| entry.passed.iter().any(over)).map(|(stored, _)| *stored).collect();
        for stored in late {
            if let Some(entry) = self.entries.get_mut(&stored) {
                entry.passed.retain(|passed| !over(passed));
            }
            self.free_if_done(stored, effects);
        }
    }

    // --- decisions -------------------------------------------------------------------------------------------------

    fn answer_waiting(&mut self, stored: StoredId, effects: &mut Vec<TableEffect>) {
        let Some(entry) = self.entries.get_mut(&stored) else { return };
        for (reader, request) in std::mem::take(&mut entry.waiting) {
            pinned(stored, entry, reader, request, effects);
        }
    }

    fn drop_unsealed(&mut self, stored: StoredId, why: &str, effects: &mut Vec<TableEffect>) {
        let Some(entry) = self.entries.remove(&stored) else { return };
        for (reader, request) in entry.waiting {
            effects.push(TableEffect::Refuse { stored, reader, request, why: why.to_owned() });
        }
    }

    fn free_if_done(&mut self, stored: StoredId, effects: &mut Vec<TableEffect>) {
        let Some(entry) = self.entries.get(&stored).filter(|entry| entry.phase == Phase::Sealed) else { return };
        let needed = match stored.node == self.me {
            true => !entry.holds.is_empty() || !entry.passed.is_empty(),
            false => !entry.unneeded,
        };
        if !needed && entry.pins.is_empty() {
            let borrowed = self.entries.remove(&stored).and_then(|entry| entry.borrowed);
            effects.push(match borrowed {
                Some(borrowed) => TableEffect::Return(stored, borrowed.from),
                None => TableEffect::Free(stored),
            });
        }
    }
}

const FREED: &str = "it has been freed: nobody holds it any more";

fn pinned(stored: StoredId, entry: &mut Entry, reader: Reader, request: u64, effects: &mut Vec<TableEffect>) {
    *entry.pins.entry(reader).or_insert(0) += 1;
    effects.push(TableEffect::Pin { stored, reader, request });
}

/// One less of what `who` has; whether there was any.
fn one_less<K: Ord>(counts: &mut BTreeMap<K, u32>, who: K) -> bool {
    match counts.get_mut(&who) {
        None => return false,
        Some(1) => drop(counts.remove(&who)),
        Some(more) => *more -= 1,
    }
    true
}

#[cfg(test)]
mod tests;
