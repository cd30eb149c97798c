//! How long the tasks of a class take, function by function.
//!
//! Owns: a moving average for each function, and how many of its tasks are not done. Invariants: there are no more than
//! [`FUNCTIONS_MAX`] averages, whatever is called; a task leaves under the number under which it entered.

use std::collections::BTreeMap;

use super::{PIPELINE_US, SPREAD_US};

/// Functions of one class that are measured apart; those beyond share one average.
pub const FUNCTIONS_MAX: usize = 256;

/// Under which number a function is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Measure(u64);

/// What those beyond the bound share.
const OTHERS: Measure = Measure(u64::MAX);

#[derive(Default)]
struct Function {
    /// None before the first has ended.
    took_us: Option<u64>,
    open: usize,
}

/// The averages of one class.
#[derive(Default)]
pub struct Pace {
    functions: BTreeMap<Measure, Function>,
    open: usize,
}

impl Pace {
    /// A task of `function` is there.
    pub fn enter(&mut self, function: u64) -> Measure {
        let mut measure = Measure(function);
        if !self.functions.contains_key(&measure) && self.functions.len() >= FUNCTIONS_MAX {
            let idle = self.functions.iter().find(|(key, function)| function.open == 0 && **key != OTHERS);
            match idle.map(|(key, _)| *key) {
                Some(idle) => drop(self.functions.remove(&idle)),
                None => measure = OTHERS,
            }
        }
        self.functions.entry(measure).or_default().open += 1;
        self.open += 1;
        measure
    }

    /// A task is done, or will never run.
    pub fn leave(&mut self, measure: Measure) {
        if let Some(function) = self.functions.get_mut(&measure) {
            function.open = function.open.saturating_sub(1);
            self.open = self.open.saturating_sub(1);
        }
    }

    /// A task took so long.
    pub fn learn(&mut self, measure: Measure, ran_us: u64) {
        if let Some(function) = self.functions.get_mut(&measure) {
            function.took_us = Some(function.took_us.map_or(ran_us, |before| (before * 7 + ran_us) / 8));
        }
    }

    /// What a task is counted as at a worker: how long it will take, or all the room there is where nobody knows.
    #[must_use]
    pub fn share_us(&self, measure: Measure) -> u64 {
        self.took_us(measure).map_or(PIPELINE_US, |took_us| took_us.clamp(1, PIPELINE_US))
    }

    /// Whether a task keeps a worker busy for so long, as far as is known, that it should have one to itself.
    #[must_use]
    pub fn is_long(&self, measure: Measure) -> bool {
        self.took_us(measure).is_none_or(|took_us| took_us >= SPREAD_US)
    }

    fn took_us(&self, measure: Measure) -> Option<u64> {
        self.functions.get(&measure)?.took_us
    }

    /// Tasks that are not done.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open
    }

    /// How many workers end all that is not done within [`SPREAD_US`], or in the time of one task where that is longer.
    #[must_use]
    pub fn workers(&self) -> u64 {
        let (mut workers, mut short_us) = (0_u64, 0_u64);
        for function in self.functions.values() {
            let open = function.open as u64;
            match function.took_us {
                Some(took_us) if took_us < SPREAD_US => short_us += open * took_us.max(1),
                _ => workers += open,
            }
        }
        workers + short_us.div_ceil(SPREAD_US)
    }

    /// How long a task takes that is not done, on the average over all of whose functions that is known.
    #[must_use]
    pub fn mean_us(&self) -> Option<u64> {
        let known = || self.functions.values().filter_map(|function| Some((function.open as u64, function.took_us?)));
        let tasks: u64 = known().map(|(open, _)| open).sum();
        (tasks > 0)
            .then(|| known().map(|(open, took_us)| open.saturating_mul(took_us)).fold(0, u64::saturating_add) / tasks)
    }

    /// Asserts that what is counted is what is there: `open` tasks.
    ///
    /// # Panics
    /// If not.
    pub fn sanity_check(&self, open: usize) {
        assert_eq!(self.open, open, "each task that is not done is counted once");
        assert_eq!(self.functions.values().map(|function| function.open).sum::<usize>(), open);
        assert!(self.functions.len() <= FUNCTIONS_MAX + 1, "the averages are bounded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_beyond_the_bound_share_an_average_and_leave_as_they_came() {
        let mut pace = Pace::default();
        let all: Vec<Measure> = (0..1_000).map(|function| pace.enter(function)).collect();
        assert_eq!(all.iter().filter(|measure| **measure == OTHERS).count(), 1_000 - FUNCTIONS_MAX);
        pace.sanity_check(1_000);
        all.into_iter().for_each(|measure| pace.leave(measure));
        pace.sanity_check(0);
        assert_ne!(pace.enter(5_000), OTHERS, "who has nothing open makes room");
    }

    #[test]
    fn a_long_function_among_short_ones_asks_for_its_own_workers_only() {
        let mut pace = Pace::default();
        let short = (0..1_000).fold(OTHERS, |_, _| pace.enter(1));
        pace.learn(short, 10);
        let long = (0..4).fold(OTHERS, |_, _| pace.enter(2));
        pace.learn(long, 10_000_000);
        assert_eq!(pace.workers(), 4 + 2);
    }
}
