//! What others may know of the table.
//!
//! Owns: nothing. Changes nothing.

use super::{Phase, Reader, StoredId, TableCore};

impl TableCore {
    /// Whether a reader pins it.
    #[must_use]
    pub fn is_pinned_by(&self, stored: StoredId, reader: Reader) -> bool {
        self.entries.get(&stored).is_some_and(|entry| entry.pins.contains_key(&reader))
    }

    /// Objects and reserved room.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Asserts every invariant.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn sanity_check(&self) {
        for (stored, entry) in &self.entries {
            let primary = stored.node == self.me;
            assert!(entry.pins.values().chain(entry.holds.values()).all(|count| *count > 0), "no count is zero");
            assert!(entry.waiting.is_empty() || entry.phase != Phase::Sealed, "what can be read keeps nobody waiting");
            assert!(entry.pins.is_empty() || entry.phase == Phase::Sealed, "only what is complete is read");
            match entry.phase {
                Phase::Reserved => assert!(primary, "room is reserved for objects of this node"),
                Phase::Pulling => assert!(!primary && !entry.waiting.is_empty(), "somebody waits for what is fetched"),
                Phase::Sealed if primary => {
                    let kept = !entry.holds.is_empty() || !entry.passed.is_empty() || !entry.pins.is_empty();
                    assert!(kept, "what nobody needs is freed");
                }
                Phase::Sealed => assert!(!entry.unneeded || !entry.pins.is_empty(), "what nobody needs is freed"),
            }
            let readers = entry.pins.keys().filter_map(|reader| match reader {
                Reader::Process(process) => Some(process),
                Reader::Loan(_) => None,
            });
            let mut keepers = readers.chain(entry.holds.keys());
            assert!(!keepers.any(|process| self.gone.contains(process)), "the gone keep nothing");
            entry.check_loans(primary);
        }
    }
}
