//! How long the tasks of a class take, function by function.
//!
//! Owns: a moving average for each function, how many of its tasks are not done, and the sums over all functions that are asked
//! for at each task. Invariants: there are no more than [`FUNCTIONS_MAX`] averages, whatever is called; a task leaves under the
//! number under which it entered; the sums are what adding up would give, and nothing that is done for a task adds up.

use std::collections::{BTreeMap, VecDeque};

use super::{PIPELINE_US, SPREAD_US};

/// Functions of one class that are measured apart; those beyond share one average.
pub const FUNCTIONS_MAX: usize = 256;

/// Under which number a function is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Measure(u16);

/// What those beyond the bound share.
const OTHERS: Measure = Measure(0);

#[derive(Default)]
struct Function {
    /// What it is called by; none for those that share.
    name: Option<u64>,
    /// None before the first has ended.
    took_us: Option<u64>,
    open: u64,
    /// Leases that have stalled with one of its tasks.
    stalled: u64,
    /// Whether it is among those that were idle.
    was_idle: bool,
}

/// What all functions add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    open: u64,
    /// Tasks that should have a worker each.
    long: u64,
    /// How long all others take together.
    short_us: u64,
    /// Tasks of functions of which it is known how long they take.
    known: u64,
    known_us: u128,
    /// Leases that have stalled with a task that was expected to be short.
    stalled_short: u64,
}

impl Sums {
    fn add(&mut self, function: &Function) {
        self.open += function.open;
        match function.took_us {
            Some(took_us) if took_us < SPREAD_US => {
                self.short_us += function.open * took_us.max(1);
                self.stalled_short += function.stalled;
            }
            _ => self.long += function.open,
        }
        if let Some(took_us) = function.took_us {
            self.known += function.open;
            self.known_us += u128::from(function.open) * u128::from(took_us);
        }
    }

    fn subtract(&mut self, function: &Function) {
        self.open -= function.open;
        match function.took_us {
            Some(took_us) if took_us < SPREAD_US => {
                self.short_us -= function.open * took_us.max(1);
                self.stalled_short -= function.stalled;
            }
            _ => self.long -= function.open,
        }
        if let Some(took_us) = function.took_us {
            self.known -= function.open;
            self.known_us -= u128::from(function.open) * u128::from(took_us);
        }
    }
}

/// The averages of one class.
pub struct Pace {
    /// The first is what those beyond the bound share.
    functions: Vec<Function>,
    by_name: BTreeMap<u64, Measure>,
    /// Functions that had nothing open at some time, the longest ago first: each at most once.
    idle: VecDeque<Measure>,
    /// The function that entered last: mostly the next one's as well.
    last: Option<(u64, Measure)>,
    sums: Sums,
}

impl Default for Pace {
    fn default() -> Self {
        let functions = vec![Function::default()];
        Self { functions, by_name: BTreeMap::new(), idle: VecDeque::new(), last: None, sums: Sums::default() }
    }
}

impl Pace {
    /// A task of `function` is there.
    pub fn enter(&mut self, function: u64) -> Measure {
        let measure = match self.last {
            Some((name, measure)) if name == function => measure,
            _ => self.measure_of(function),
        };
        self.last = (measure != OTHERS).then_some((function, measure));
        self.change(measure, |function| function.open += 1);
        measure
    }

    /// The number of a function: its own, that of one which has nothing open, or what those beyond the bound share.
    fn measure_of(&mut self, name: u64) -> Measure {
        if let Some(measure) = self.by_name.get(&name) {
            return *measure;
        }
        let new = Function { name: Some(name), ..Function::default() };
        let measure = if self.functions.len() <= FUNCTIONS_MAX {
            self.functions.push(new);
            Measure((self.functions.len() - 1) as u16)
        } else {
            let Some(idle) = self.take_idle() else { return OTHERS };
            let before = std::mem::replace(&mut self.functions[usize::from(idle.0)], new);
            if let Some(name) = before.name {
                self.by_name.remove(&name);
            }
            idle
        };
        self.by_name.insert(name, measure);
        measure
    }

    fn take_idle(&mut self) -> Option<Measure> {
        while let Some(measure) = self.idle.pop_front() {
            let function = &mut self.functions[usize::from(measure.0)];
            function.was_idle = false;
            if function.open == 0 {
                return Some(measure);
            }
        }
        None
    }

    fn change(&mut self, measure: Measure, change: impl FnOnce(&mut Function)) {
        let function = &mut self.functions[usize::from(measure.0)];
        self.sums.subtract(function);
        change(function);
        self.sums.add(function);
    }

    /// A task is done, or will never run.
    pub fn leave(&mut self, measure: Measure) {
        self.change(measure, |function| function.open = function.open.saturating_sub(1));
        self.note_idle(measure);
    }

    /// A task took so long, and is done.
    pub fn end(&mut self, measure: Measure, ran_us: u64) {
        self.change(measure, |function| {
            function.took_us = Some(function.took_us.map_or(ran_us, |before| (before * 7 + ran_us) / 8));
            function.open = function.open.saturating_sub(1);
        });
        self.note_idle(measure);
    }

    fn note_idle(&mut self, measure: Measure) {
        let function = &mut self.functions[usize::from(measure.0)];
        if function.open == 0 && measure != OTHERS && !std::mem::replace(&mut function.was_idle, true) {
            self.idle.push_back(measure);
        }
    }

    /// A lease has stalled with such a task first.
    pub fn stall(&mut self, measure: Measure) {
        self.change(measure, |function| function.stalled += 1);
    }

    /// It has not any more.
    pub fn unstall(&mut self, measure: Measure) {
        self.change(measure, |function| function.stalled = function.stalled.saturating_sub(1));
    }

    /// What a task is counted as at a worker: how long it will take, or all the room there is where nobody knows.
    #[must_use]
    pub fn share_us(&self, measure: Measure) -> u64 {
        let took_us = self.functions[usize::from(measure.0)].took_us;
        took_us.map_or(PIPELINE_US, |took_us| took_us.clamp(1, PIPELINE_US))
    }

    /// Tasks that are not done.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.sums.open
    }

    /// Leases that have stalled though their first tasks were expected to be short: they are of no use to others.
    #[must_use]
    pub fn stalled_short(&self) -> u64 {
        self.sums.stalled_short
    }

    /// How many workers end all that is not done within [`SPREAD_US`], or in the time of one task where that is longer.
    #[must_use]
    pub fn workers(&self) -> u64 {
        self.sums.long + self.sums.short_us.div_ceil(SPREAD_US)
    }

    /// How long a task takes that is not done, on the average over all of whose functions that is known.
    #[must_use]
    pub fn mean_us(&self) -> Option<u64> {
        let Sums { known, known_us, .. } = self.sums;
        (known > 0).then(|| u64::try_from(known_us / u128::from(known)).unwrap_or(u64::MAX))
    }

    /// Asserts that what is counted is what is there: `open` tasks, and `stalled` leases with short ones.
    ///
    /// # Panics
    /// If not.
    pub fn sanity_check(&self, open: usize, stalled: usize) {
        assert_eq!(self.sums.open, open as u64, "each task that is not done is counted once");
        let mut sums = Sums::default();
        self.functions.iter().for_each(|function| sums.add(function));
        assert_eq!(self.sums, sums, "the sums are what adding up gives");
        assert_eq!(self.functions.iter().map(|function| function.stalled).sum::<u64>(), stalled as u64);
        assert!(self.functions.len() <= FUNCTIONS_MAX + 1, "the averages are bounded");
        assert!(self.idle.len() <= self.functions.len(), "one is idle once");
        for (name, measure) in &self.by_name {
            assert_eq!(self.functions[usize::from(measure.0)].name, Some(*name), "a function has its own average");
        }
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
        pace.sanity_check(1_000, 0);
        all.into_iter().for_each(|measure| pace.leave(measure));
        pace.sanity_check(0, 0);
        assert_ne!(pace.enter(5_000), OTHERS, "who has nothing open makes room");
    }

    #[test]
    fn a_long_function_among_short_ones_asks_for_its_own_workers_only() {
        let mut pace = Pace::default();
        let short = (0..1_000).fold(OTHERS, |_, _| pace.enter(1));
        pace.enter(1);
        pace.end(short, 10);
        let long = (0..4).fold(OTHERS, |_, _| pace.enter(2));
        pace.enter(2);
        pace.end(long, 10_000_000);
        assert_eq!(pace.workers(), 4 + 2);
    }
}
