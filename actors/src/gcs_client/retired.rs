//! The last of what is gone.
//!
//! Owns: in which order rows of the dead leave the tables. Invariant: at most so many are kept; the oldest goes first.

use std::collections::VecDeque;

/// Ids of the dead, the oldest first.
pub(super) struct Retired<K> {
    ids: VecDeque<K>,
    len_max: usize,
}

impl<K: Copy> Retired<K> {
    /// Keeps up to `len_max`.
    pub(super) fn new(len_max: usize) -> Self {
        Self { ids: VecDeque::new(), len_max }
    }

    /// One more is gone; gives the one that has no room any more.
    #[must_use]
    pub(super) fn push(&mut self, id: K) -> Option<K> {
        self.ids.push_back(id);
        if self.ids.len() > self.len_max {
            self.ids.pop_front()
        } else {
            None
        }
    }

    /// Those kept, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = K> + '_ {
        self.ids.iter().copied()
    }
}
