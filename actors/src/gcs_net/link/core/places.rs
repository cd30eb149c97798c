//! The addresses of a shard's replicas, each in a place of its own.
//!
//! Owns: which are known. Invariants: those given at first stay; those learned since are bounded, and the oldest make room.

/// Addresses remembered, unless more were given.
pub(super) const ADDRESSES_MAX: usize = 32;

/// The addresses.
pub(super) struct Places {
    all: Vec<String>,
    given: usize,
    /// The place after the one replaced last.
    replaced: usize,
}

impl Places {
    /// Those given at first; at least one.
    pub(super) fn new(given: Vec<String>) -> Self {
        assert!(!given.is_empty(), "a shard has at least one address");
        Self { given: given.len(), all: given, replaced: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn address(&self, place: usize) -> String {
        self.all[place].clone()
    }

    /// The place of an address. A new one may take another's place, but no `used` one: then it says so.
    pub(super) fn place_of(&mut self, address: String, used: [Option<usize>; 2]) -> Option<(usize, bool)> {
        if let Some(known) = self.all.iter().position(|known| *known == address) {
            return Some((known, false));
        }
        if address.is_empty() {
            return None;
        }
        if self.all.len() < ADDRESSES_MAX {
            self.all.push(address);
            return Some((self.all.len() - 1, false));
        }
        let learned = (self.given..self.all.len()).filter(|place| !used.contains(&Some(*place)));
        let oldest = learned.min_by_key(|place| (*place < self.replaced, *place))?;
        self.replaced = oldest + 1;
        self.all[oldest] = address;
        Some((oldest, true))
    }

    /// Asserts every invariant.
    #[cfg(test)]
    pub(super) fn sanity_check(&self) {
        assert!(self.all.len() <= ADDRESSES_MAX.max(self.given), "addresses are bounded");
    }
}
