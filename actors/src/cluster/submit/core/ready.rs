//! The leases of a class that may be sent another task, the least loaded at hand.
//!
//! Owns: their order: a binary heap that knows where each lease is in it. Invariants: the first has no more under way than any
//! other, and of two alike the one that was granted first comes first; a change costs the logarithm of their number.

use super::held::Slot;

/// How loaded a lease is, and when it was granted; the least comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// How long what is under way takes, in microseconds.
    pub(super) load_us: u64,
    /// How many tasks that are.
    pub(super) count: usize,
    /// The number of its grant.
    pub(super) granted: u64,
}

/// The leases.
#[derive(Default)]
pub(super) struct Ready {
    heap: Vec<(Rank, Slot)>,
    /// Where each is in the heap, by its slot.
    places: Vec<Option<u32>>,
}

impl Ready {
    /// The least loaded.
    pub(super) fn first(&self) -> Option<Slot> {
        self.heap.first().map(|(_, slot)| *slot)
    }

    /// A lease may be sent tasks, and is so loaded now.
    pub(super) fn set(&mut self, slot: Slot, rank: Rank) {
        let index = slot.0 as usize;
        if index >= self.places.len() {
            self.places.resize(index + 1, None);
        }
        let at = match self.places[index] {
            Some(at) => at as usize,
            None => {
                self.heap.push((rank, slot));
                self.heap.len() - 1
            }
        };
        self.heap[at].0 = rank;
        self.settle(at);
    }

    /// A lease may be sent nothing.
    pub(super) fn remove(&mut self, slot: Slot) {
        let Some(at) = self.places.get_mut(slot.0 as usize).and_then(Option::take) else { return };
        self.heap.swap_remove(at as usize);
        if (at as usize) < self.heap.len() {
            self.settle(at as usize);
        }
    }

    /// Moves one to where it belongs.
    fn settle(&mut self, at: usize) {
        let at = self.rise(at);
        self.sink(at);
    }

    fn rise(&mut self, mut at: usize) -> usize {
        let moved = self.heap[at];
        while at > 0 {
            let above = (at - 1) / 2;
            if self.heap[above].0 <= moved.0 {
                break;
            }
            self.put(at, self.heap[above]);
            at = above;
        }
        self.put(at, moved);
        at
    }

    fn sink(&mut self, mut at: usize) {
        let moved = self.heap[at];
        loop {
            let left = 2 * at + 1;
            let Some(first) = self.heap.get(left) else { break };
            let second = self.heap.get(left + 1).filter(|second| second.0 < first.0);
            let (below, least) = second.map_or((left, *first), |second| (left + 1, *second));
            if moved.0 <= least.0 {
                break;
            }
            self.put(at, least);
            at = below;
        }
        self.put(at, moved);
    }

    fn put(&mut self, at: usize, entry: (Rank, Slot)) {
        self.heap[at] = entry;
        self.places[entry.1 .0 as usize] = Some(at as u32);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// What a lease is known to be loaded with.
    pub(super) fn rank(&self, slot: Slot) -> Option<Rank> {
        let at = (*self.places.get(slot.0 as usize)?)?;
        Some(self.heap[at as usize].0)
    }

    /// Asserts every invariant.
    pub(super) fn sanity_check(&self) {
        for (at, (rank, slot)) in self.heap.iter().enumerate() {
            assert_eq!(self.places[slot.0 as usize], Some(at as u32), "each is where it is looked for");
            assert!(at == 0 || self.heap[(at - 1) / 2].0 <= *rank, "the least loaded comes first");
        }
        assert_eq!(self.places.iter().flatten().count(), self.heap.len(), "nobody else is looked for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_loaded_is_first_whatever_is_changed() {
        let (mut ready, mut state) = (Ready::default(), 7_u64);
        let mut all = std::collections::BTreeMap::new();
        for step in 0..5_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let slot = Slot((state >> 33) as u32 % 40);
            let rank = Rank { load_us: (state >> 40) % 9, count: step % 3, granted: u64::from(slot.0) };
            if (state >> 60).is_multiple_of(4) {
                ready.remove(slot);
                all.remove(&slot);
            } else {
                ready.set(slot, rank);
                all.insert(slot, rank);
            }
            ready.sanity_check();
            assert_eq!(ready.first(), all.iter().min_by_key(|(_, rank)| **rank).map(|(slot, _)| *slot));
            assert_eq!(ready.rank(slot), all.get(&slot).copied());
        }
    }
}
