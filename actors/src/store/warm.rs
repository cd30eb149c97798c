//! Which bytes of the segment have been touched already.
//!
//! Owns: the record of warm memory, and how far ahead of demand it should reach. A first touch of shared memory costs
//! tens of times a warm write, so memory is touched in the background before it is asked for. Touches nothing itself.
//!
//! **Invariant:** what is recorded as warm has been touched; a byte never gets cold again.

use std::{collections::BTreeMap, ops::Range};

/// The warm ranges: one from the beginning, and some that were touched out of order by concurrent puts.
#[derive(Debug, Default)]
pub(super) struct Warm {
    end: usize,
    /// Beyond `end`, end by start, not touching one another.
    islands: BTreeMap<usize, usize>,
}

impl Warm {
    /// All below this offset is warm.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// The part of `range` that may be cold.
    pub(super) fn cold_part(&self, range: Range<usize>) -> Range<usize> {
        let start = range.start.max(self.end).min(range.end);
        match self.islands.range(..=start).next_back() {
            Some((_, island_end)) if *island_end > start => (*island_end).min(range.end)..range.end,
            _ => start..range.end,
        }
    }

    pub(super) fn add(&mut self, range: Range<usize>) {
        if range.is_empty() || range.end <= self.end {
            return;
        }
        let mut merged = range;
        while let Some((start, end)) = self.touching(&merged) {
            self.islands.remove(&start);
            merged = merged.start.min(start)..merged.end.max(end);
        }
        if merged.start <= self.end {
            self.end = merged.end;
        } else {
            self.islands.insert(merged.start, merged.end);
        }
    }

    /// The next range to touch so that everything below `target` becomes warm, at most `step` bytes.
    pub(super) fn next_step(&self, target: usize, step: usize) -> Option<Range<usize>> {
        let limit = target.min(self.end.saturating_add(step));
        // An island is reached at its start and joined by what fills the gap before it.
        let limit = self.islands.keys().next().map_or(limit, |start| limit.min(*start));
        (limit > self.end).then_some(self.end..limit)
    }

    fn touching(&self, range: &Range<usize>) -> Option<(usize, usize)> {
        let (start, end) = self.islands.range(..=range.end).next_back()?;
        (*end >= range.start).then_some((*start, *end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_touched_out_of_order_join_once_the_gap_is_filled() {
        let mut warm = Warm::default();
        warm.add(200..300);
        warm.add(400..500);
        assert_eq!((warm.end(), warm.cold_part(250..450)), (0, 300..450));
        warm.add(300..400);
        warm.add(0..100);
        assert_eq!((warm.end(), warm.cold_part(50..150)), (100, 100..150));
        warm.add(100..200);
        assert_eq!(warm.end(), 500);
        assert!(warm.cold_part(50..500).is_empty());
    }

    #[test]
    fn steps_stop_at_the_target_and_before_what_is_warm_already() {
        let mut warm = Warm::default();
        warm.add(100..200);
        assert_eq!(warm.next_step(1000, 64), Some(0..64));
        warm.add(0..64);
        assert_eq!(warm.next_step(1000, 64), Some(64..100));
        warm.add(64..100);
        assert_eq!(warm.next_step(220, 64), Some(200..220));
        warm.add(200..220);
        assert_eq!(warm.next_step(220, 64), None);
    }
}
