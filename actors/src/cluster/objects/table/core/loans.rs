//! What is lent to nodes of the same machine, and borrowed from them.
//!
//! Owns: nothing of its own. Invariants: what is borrowed is another's, and is not lent on; each loan is returned once, unless
//! the lender is lost; whose lender is lost is read on by those who read it, and by nobody else.

use actinic_gcs::{Millis, NodeId};

use super::{pinned, Entry, Phase, Reader, StoredId, TableCore, TableEffect, FREED};
use crate::cluster::objects::wire::Loan;

/// How long a loan is kept that nobody reads: tasks that read the same follow each other.
pub const LOAN_IDLE_MS: u64 = 100;

/// From whom something is borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lender {
    /// Which node.
    pub node: NodeId,
    /// This node's number for the loan.
    pub number: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Borrowed {
    pub(super) from: Lender,
    /// Since when nobody has been seen to read it.
    idle_since: Option<Millis>,
}

impl TableCore {
    /// A node of the same machine wants to read it here.
    pub fn on_borrow(&mut self, stored: StoredId, loan: Loan, effects: &mut Vec<TableEffect>) {
        self.uses += 1;
        let (reader, request) = (Reader::Loan(loan), loan.number);
        let why = match self.entries.get_mut(&stored) {
            None => FREED,
            Some(Entry { borrowed: Some(_), .. }) => "it is borrowed here as well",
            Some(Entry { phase: Phase::Pulling, .. }) => "it is not here yet",
            Some(entry) => {
                entry.last_used = self.uses;
                if entry.phase == Phase::Sealed {
                    return pinned(stored, entry, reader, request, effects);
                }
                return entry.waiting.push((reader, request));
            }
        };
        effects.push(TableEffect::Refuse { stored, reader, request, why: why.to_owned() });
    }

    /// A node needs a loan no more.
    pub fn on_return(&mut self, stored: StoredId, loan: Loan, effects: &mut Vec<TableEffect>) {
        let Some(entry) = self.entries.get_mut(&stored) else { return };
        let reader = Reader::Loan(loan);
        entry.waiting.retain(|(waiting, _)| *waiting != reader);
        self.unpin(stored, reader, effects);
    }

    /// A node of the same machine lends it.
    pub fn on_lent(&mut self, stored: StoredId, from: Lender, effects: &mut Vec<TableEffect>) {
        let Some(entry) = self.entries.get_mut(&stored).filter(|entry| entry.phase == Phase::Pulling) else { return };
        entry.phase = Phase::Sealed;
        entry.borrowed = Some(Borrowed { from, idle_since: None });
        self.answer_waiting(stored, effects);
    }

    /// A node is lost from which something may be borrowed.
    pub(super) fn lender_gone(&mut self, node: NodeId, effects: &mut Vec<TableEffect>) {
        let lent = |entry: &Entry| entry.borrowed.is_some_and(|borrowed| borrowed.from.node == node);
        let lost: Vec<StoredId> =
            self.entries.iter().filter(|(_, entry)| lent(entry)).map(|(stored, _)| *stored).collect();
        for stored in lost {
            let Some(entry) = self.entries.remove(&stored) else { continue };
            for (reader, pins) in entry.pins {
                if let Reader::Process(process) = reader {
                    *self.orphans.entry((stored, process)).or_insert(0) += pins;
                }
            }
            effects.push(TableEffect::Lost(stored));
        }
    }

    /// Returns what nobody has read for a while.
    pub(super) fn return_idle(&mut self, now: Millis, effects: &mut Vec<TableEffect>) {
        self.entries.retain(|stored, entry| {
            let Some(borrowed) = &mut entry.borrowed else { return true };
            if !entry.pins.is_empty() {
                borrowed.idle_since = None;
                return true;
            }
            let since = *borrowed.idle_since.get_or_insert(now);
            let over = now.0 >= since.0 + LOAN_IDLE_MS;
            if over {
                effects.push(TableEffect::Return(*stored, borrowed.from));
            }
            !over
        });
    }
}

impl Entry {
    /// Asserts the invariants.
    pub(super) fn check_loans(&self, primary: bool) {
        if self.borrowed.is_some() {
            assert!(!primary && self.phase == Phase::Sealed, "what is borrowed is another's, and there");
            let lent_on = self.pins.keys().any(|reader| matches!(reader, Reader::Loan(_)));
            assert!(!lent_on, "what is borrowed is not lent on");
        }
    }
}
