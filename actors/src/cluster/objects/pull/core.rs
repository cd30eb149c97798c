//! Decides what a node fetches from other nodes, in which pieces, and how much at a time.
//!
//! Owns: the objects that this node fetches. A core: sockets and memory are the shell's.
//!
//! A pull asks the owner for a source and, when its turn has come, the store for room; then it fetches chunk by chunk. The
//! chunks that have come stay when a source is lost: the next one goes on from there. What is admitted at a time is bounded
//! ([`PullLimits::admitted_bytes_max`], and one pull at the least), so that pulls never ask the store for more than it can
//! give; what is under way on sockets is bounded by [`PullLimits::chunks_max`] for the node, and shared by its pulls in turn.
//!
//! What a *neighbour* has, a node of the same machine, is borrowed instead: it takes no room and no chunk is sent. The node
//! where an object was sealed is asked at once, if it is a neighbour; others as the owner names them. Who does not lend is a
//! source like any other.
//!
//! **Invariants:** each chunk is fetched until it has come once, and never twice at a time; an object is complete when all
//! its chunks have come; a source that failed is told of before another is asked for; a loan that comes too late is returned.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use actinic_gcs::NodeId;

use super::super::table::core::Lender;
use crate::cluster::{objects::wire::StoredId, wire::ProcessId};

/// Bytes of a chunk, but for the last.
pub const CHUNK_BYTES: u64 = 4 << 20;
/// How often the chunks of one pull may fail before it is given up.
pub const FAILURES_MAX: u32 = 16;
/// Neighbours of which an owner is told.
pub const NEAR_MAX: usize = 16;

/// What a node allows itself.
#[derive(Clone, Copy, Debug)]
pub struct PullLimits {
    /// Bytes of the objects that are fetched at a time; the first is admitted whatever its size.
    pub admitted_bytes_max: u64,
    /// Chunks under way.
    pub chunks_max: usize,
}

/// One piece of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chunk {
    /// Of which.
    pub stored: StoredId,
    /// By which pull of this node: an object may be fetched again.
    pub pull: u64,
    /// Its first byte.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// How often a pull may find the store full, each time after it has waited for as long as a put does: five minutes by default.
pub const FULL_MAX: u32 = 30;

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullEffect {
    /// Ask the owner for a source.
    Locate {
        /// Of what.
        stored: StoredId,
        /// Whom.
        owner: ProcessId,
        /// Where it could not be had.
        failed: Option<NodeId>,
        /// Whose copy would be read in place.
        near: Vec<NodeId>,
    },
    /// Ask a neighbour to lend it; answered by [`PullCore::on_lent`].
    Borrow(StoredId, Lender),
    /// It is lent.
    Borrowed(StoredId, Lender),
    /// It was lent too late.
    Return(StoredId, Lender),
    /// Its room is not needed.
    GiveBack(StoredId),
    /// Find room; answered by [`PullCore::on_room`].
    Reserve {
        /// For what.
        stored: StoredId,
        /// For which pull of it.
        pull: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// Fetch a chunk; answered by [`PullCore::on_chunk`].
    Fetch(Chunk, NodeId),
    /// All is there.
    Complete(StoredId, ProcessId),
    /// It cannot be had.
    Failed(StoredId, String),
    /// Tell the owner that this node fetches it no more, and has no copy.
    GaveUp(StoredId, ProcessId),
}

#[derive(Debug)]
struct Pull {
    number: u64,
    owner: ProcessId,
    bytes: u64,
    source: Option<NodeId>,
    admitted: bool,
    has_room: bool,
    /// How often it has found the store full.
    found_full: u32,
    /// Chunks that nobody fetches yet, by their beginning.
    missing: BTreeSet<u64>,
    under_way: BTreeMap<u64, NodeId>,
    failures: u32,
    /// Who was asked to lend it.
    borrowing: Option<NodeId>,
    /// It was not lent, so it is fetched.
    far: bool,
}

impl Pull {
    fn is_begun(&self) -> bool {
        !self.under_way.is_empty() || (self.missing.len() as u64) < self.bytes.max(1).div_ceil(CHUNK_BYTES)
    }
}

/// The state.
#[derive(Debug)]
pub struct PullCore {
    limits: PullLimits,
    pulls: BTreeMap<StoredId, Pull>,
    /// Nodes of the same machine.
    neighbours: BTreeSet<NodeId>,
    /// Pulls that wait to be admitted.
    queue: VecDeque<StoredId>,
    /// Pulls that have chunks to fetch, in turn.
    turns: VecDeque<StoredId>,
    admitted_bytes: u64,
    chunks: usize,
    next: u64,
}

impl PullCore {
    /// Of a node that fetches nothing.
    #[must_use]
    pub fn new(limits: PullLimits) -> Self {
        let (pulls, neighbours) = (BTreeMap::new(), BTreeSet::new());
        let (queue, turns) = (VecDeque::new(), VecDeque::new());
        Self { limits, pulls, neighbours, queue, turns, admitted_bytes: 0, chunks: 0, next: 1 }
    }

    // --- events ----------------------------------------------------------------------------------------------------

    /// A node of the same machine is connected.
    pub fn on_neighbour(&mut self, node: NodeId) {
        self.neighbours.insert(node);
    }

    /// A neighbour's memory cannot be mapped here.
    pub fn on_stranger(&mut self, node: NodeId) {
        self.neighbours.remove(&node);
    }

    /// An object is wanted here.
    pub fn on_wanted(&mut self, stored: StoredId, owner: ProcessId, bytes: u64, effects: &mut Vec<PullEffect>) {
        if self.pulls.contains_key(&stored) {
            return;
        }
        let missing = (0..bytes.max(1)).step_by(CHUNK_BYTES as usize).collect();
        let number = self.next;
        self.next += 1;
        let pull = Pull {
            number,
            owner,
            bytes,
            source: None,
            admitted: false,
            has_room: false,
            found_full: 0,
            missing,
            under_way: BTreeMap::new(),
            failures: 0,
            borrowing: None,
            far: false,
        };
        self.pulls.insert(stored, pull);
        if self.neighbours.contains(&stored.node) {
            return self.borrow(stored, stored.node, effects);
        }
        self.queue.push_back(stored);
        self.admit(effects);
    }

    /// Whether a pull waits for a neighbour's answer.
    #[must_use]
    pub fn awaits_loan(&self, stored: StoredId, from: Lender) -> bool {
        let of = self.pulls.get(&stored);
        of.is_some_and(|pull| pull.number == from.number && pull.borrowing == Some(from.node))
    }

    /// A neighbour's answer.
    pub fn on_lent(&mut self, stored: StoredId, from: Lender, lends: bool, effects: &mut Vec<PullEffect>) {
        if !self.awaits_loan(stored, from) {
            if lends {
                effects.push(PullEffect::Return(stored, from));
            }
            return;
        }
        if lends {
            self.pulls.remove(&stored);
            return effects.push(PullEffect::Borrowed(stored, from));
        }
        self.fetch_after_all(stored, effects);
    }

    /// Nobody wants it any more.
    pub fn on_unwanted(&mut self, stored: StoredId, effects: &mut Vec<PullEffect>) {
        let asked_owner = self.pulls.get(&stored).is_some_and(|pull| pull.borrowing.is_none());
        if let Some(owner) = self.remove(stored).filter(|_| asked_owner) {
            effects.push(PullEffect::GaveUp(stored, owner));
        }
        self.admit(effects);
        self.pump(effects);
    }

    /// The owner's answer.
    pub fn on_source(&mut self, stored: StoredId, from: Result<NodeId, String>, effects: &mut Vec<PullEffect>) {
        // One that comes late answers an earlier pull, or a question that was asked again.
        let waits = |pull: &&mut Pull| pull.has_room && pull.source.is_none();
        let Some(pull) = self.pulls.get_mut(&stored).filter(waits) else { return };
        match from {
            Ok(node) if self.neighbours.contains(&node) && !pull.far && !pull.is_begun() => {
                (pull.admitted, pull.has_room) = (false, false);
                self.admitted_bytes -= pull.bytes;
                self.turns.retain(|turn| *turn != stored);
                effects.push(PullEffect::GiveBack(stored));
                // The owner may have been told of fewer neighbours, and count this as a fetch.
                effects.push(PullEffect::GaveUp(stored, pull.owner));
                self.borrow(stored, node, effects);
                self.admit(effects);
            }
            Ok(node) => {
                pull.source = Some(node);
                self.pump(effects);
            }
            Err(why) => self.fail(stored, why, effects),
        }
    }

    /// For how many bytes a pull waits; none where it does not wait for the room that was found.
    #[must_use]
    pub fn awaits_room(&self, stored: StoredId, pull: u64) -> Option<u64> {
        let waits = |of: &&Pull| of.number == pull && of.admitted && !of.has_room;
        self.pulls.get(&stored).filter(waits).map(|of| of.bytes)
    }

    /// The store is full, and what is in it is in use: whether the pull waits on. It is held back until others are done, but not
    /// for ever, since those may wait for it in turn.
    #[must_use]
    pub fn waits_on(&mut self, stored: StoredId, pull: u64) -> bool {
        let waits = self.awaits_room(stored, pull).is_some();
        let Some(pull) = self.pulls.get_mut(&stored).filter(|_| waits) else { return false };
        pull.found_full += 1;
        pull.found_full < FULL_MAX
    }

    /// The store's answer.
    pub fn on_room(&mut self, stored: StoredId, pull: u64, found: Result<(), String>, effects: &mut Vec<PullEffect>) {
        if self.awaits_room(stored, pull).is_none() {
            return;
        }
        let Some(pull) = self.pulls.get_mut(&stored) else { return };
        match found {
            Ok(()) => {
                pull.has_room = true;
                let (owner, failed, near) = (pull.owner, None, near(&self.neighbours, pull));
                effects.push(PullEffect::Locate { stored, owner, failed, near });
                self.turns.push_back(stored);
                self.pump(effects);
            }
            Err(why) => self.fail(stored, why, effects),
        }
    }

    /// A chunk has come and is what was sent, or not.
    pub fn on_chunk(&mut self, chunk: Chunk, from: NodeId, came: bool, effects: &mut Vec<PullEffect>) {
        self.chunks = self.chunks.saturating_sub(1);
        let same = |pull: &&mut Pull| pull.number == chunk.pull;
        if let Some(pull) = self.pulls.get_mut(&chunk.stored).filter(same) {
            if pull.under_way.remove(&chunk.offset).is_some() && !came {
                pull.missing.insert(chunk.offset);
                self.lost(chunk.stored, from, effects);
            }
        }
        let complete = |pull: &&Pull| pull.missing.is_empty() && pull.under_way.is_empty();
        if self.pulls.get(&chunk.stored).filter(complete).is_some() {
            let Some(owner) = self.remove(chunk.stored) else { return };
            effects.push(PullEffect::Complete(chunk.stored, owner));
            self.admit(effects);
        }
        self.pump(effects);
    }

    /// A node is lost: what is fetched from it is fetched from another. Its chunks are answered as well.
    pub fn on_node_gone(&mut self, node: NodeId, effects: &mut Vec<PullEffect>) {
        let from_it: Vec<StoredId> =
            self.pulls.iter().filter(|(_, pull)| pull.source == Some(node)).map(|(stored, _)| *stored).collect();
        for stored in from_it {
            self.lost(stored, node, effects);
        }
        self.neighbours.remove(&node);
        let lends = |pull: &Pull| pull.borrowing == Some(node);
        let lent: Vec<StoredId> =
            self.pulls.iter().filter(|(_, pull)| lends(pull)).map(|(stored, _)| *stored).collect();
        for stored in lent {
            self.fetch_after_all(stored, effects);
        }
        self.pump(effects);
    }

    // --- decisions -------------------------------------------------------------------------------------------------

    fn borrow(&mut self, stored: StoredId, from: NodeId, effects: &mut Vec<PullEffect>) {
        let Some(pull) = self.pulls.get_mut(&stored) else { return };
        pull.borrowing = Some(from);
        effects.push(PullEffect::Borrow(stored, Lender { node: from, number: pull.number }));
    }

    /// Nobody lends it.
    fn fetch_after_all(&mut self, stored: StoredId, effects: &mut Vec<PullEffect>) {
        let Some(pull) = self.pulls.get_mut(&stored) else { return };
        (pull.borrowing, pull.far) = (None, true);
        self.queue.push_back(stored);
        self.admit(effects);
    }

    /// Another source is asked for, once a source.
    fn lost(&mut self, stored: StoredId, source: NodeId, effects: &mut Vec<PullEffect>) {
        let Some(pull) = self.pulls.get_mut(&stored) else { return };
        if pull.source != Some(source) {
            return;
        }
        pull.source = None;
        pull.failures += 1;
        if pull.failures > FAILURES_MAX {
            let why = format!("its bytes could not be fetched in {FAILURES_MAX} attempts; is the network sound?");
            return self.fail(stored, why, effects);
        }
        let (owner, failed, near) = (pull.owner, Some(source), near(&self.neighbours, pull));
        effects.push(PullEffect::Locate { stored, owner, failed, near });
    }

    fn fail(&mut self, stored: StoredId, why: String, effects: &mut Vec<PullEffect>) {
        if let Some(owner) = self.remove(stored) {
            effects.push(PullEffect::Failed(stored, why));
            effects.push(PullEffect::GaveUp(stored, owner));
        }
        self.admit(effects);
        self.pump(effects);
    }

    /// Gives its owner.
    fn remove(&mut self, stored: StoredId) -> Option<ProcessId> {
        let pull = self.pulls.remove(&stored)?;
        // Chunks under way are answered yet, and counted until then.
        if pull.admitted {
            self.admitted_bytes -= pull.bytes;
        }
        self.queue.retain(|queued| *queued != stored);
        self.turns.retain(|turn| *turn != stored);
        Some(pull.owner)
    }

    /// Lets in what there is room for, in the order in which it was wanted.
    fn admit(&mut self, effects: &mut Vec<PullEffect>) {
        while let Some(stored) = self.queue.front().copied() {
            let Some(pull) = self.pulls.get_mut(&stored) else {
                self.queue.pop_front();
                continue;
            };
            let all = self.admitted_bytes.saturating_add(pull.bytes);
            if self.admitted_bytes > 0 && all > self.limits.admitted_bytes_max {
                return;
            }
            pull.admitted = true;
            self.admitted_bytes = all;
            self.queue.pop_front();
            effects.push(PullEffect::Reserve { stored, pull: pull.number, bytes: pull.bytes });
        }
    }

    /// Fetches the next chunks, of each pull in turn.
    fn pump(&mut self, effects: &mut Vec<PullEffect>) {
        let mut idle = 0;
        while self.chunks < self.limits.chunks_max && idle < self.turns.len() {
            let Some(stored) = self.turns.pop_front() else { return };
            let Some(pull) = self.pulls.get_mut(&stored) else { continue };
            self.turns.push_back(stored);
            let next = pull.source.filter(|_| pull.has_room).zip(pull.missing.first().copied());
            let Some((source, offset)) = next else {
                idle += 1;
                continue;
            };
            idle = 0;
            pull.missing.remove(&offset);
            pull.under_way.insert(offset, source);
            self.chunks += 1;
            let bytes = CHUNK_BYTES.min(pull.bytes - offset);
            effects.push(PullEffect::Fetch(Chunk { stored, pull: pull.number, offset, bytes }, source));
        }
    }

    // --- getters ---------------------------------------------------------------------------------------------------

    /// Objects that are fetched or wait to be.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pulls.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pulls.is_empty()
    }

    /// Asserts every invariant.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn sanity_check(&self) {
        let admitted: Vec<u64> = self.pulls.values().filter(|pull| pull.admitted).map(|pull| pull.bytes).collect();
        assert_eq!(admitted.iter().sum::<u64>(), self.admitted_bytes, "what is admitted is counted");
        let bound = self.admitted_bytes <= self.limits.admitted_bytes_max || admitted.len() == 1;
        assert!(bound, "what is admitted is bounded");
        assert!(self.chunks <= self.limits.chunks_max, "what is under way is bounded");
        for pull in self.pulls.values() {
            assert!(pull.under_way.keys().all(|chunk| !pull.missing.contains(chunk)), "no chunk is fetched twice");
            assert!(pull.admitted || (!pull.has_room && pull.under_way.is_empty()), "what waits takes nothing");
            assert!(!pull.missing.is_empty() || !pull.under_way.is_empty(), "what is complete is no pull");
            assert!(pull.borrowing.is_none() || (!pull.admitted && !pull.is_begun()), "what is borrowed takes nothing");
        }
    }
}

/// Whose copy a pull would rather read in place.
fn near(neighbours: &BTreeSet<NodeId>, pull: &Pull) -> Vec<NodeId> {
    let wanted = !pull.far && !pull.is_begun();
    neighbours.iter().filter(|_| wanted).take(NEAR_MAX).copied().collect()
}

#[cfg(test)]
mod tests;
