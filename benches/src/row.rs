//! What a row is: a figure of Actinic, its unit, its goal, and the floors or peers that it stands beside.
//!
//! Owns the words; measuring is in `run`. One call of a [`Measure`] is one run and gives one figure in the unit's base
//! (seconds, a second, bytes a second, bytes, or a plain number), so that a run can be put in turns with those of its references.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::error::Error;
use std::future::Future;

use tokio::runtime::Runtime;

/// What a measurement gives; an error leaves its row empty and the others alone.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// One run: one figure.
pub(crate) type Measure = fn(&mut Ctx) -> Outcome<f64>;

/// Threads of every runtime in the table, Actinic's, tokio's and rayon's, so that they are compared like with like.
pub(crate) const WORKERS: usize = 2;

/// What is counted, and by that whether more of it is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Operations a second.
    PerSecond,
    /// Bytes a second.
    BytesPerSecond,
    /// Seconds an operation.
    Seconds,
    /// Bytes of memory a thing.
    Bytes,
    /// A plain number, the more the better.
    Count,
}

impl Unit {
    /// The sign of the base unit, as the JSON gives it.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::PerSecond => "1/s",
            Self::BytesPerSecond => "B/s",
            Self::Seconds => "s",
            Self::Bytes => "B",
            Self::Count => "",
        }
    }

    /// Rates are to be high, times and sizes low.
    pub(crate) fn higher_is_better(self) -> bool {
        matches!(self, Self::PerSecond | Self::BytesPerSecond | Self::Count)
    }

    /// How good `value` is beside `reference`: above 1 where it is the better of the two, whatever the direction.
    pub(crate) fn goodness(self, value: f64, reference: f64) -> f64 {
        if self.higher_is_better() {
            value / reference
        } else {
            reference / value
        }
    }
}

/// A floor (what the machine allows) or a peer (another library), measured in the unit of the rows that name it.
#[derive(Debug)]
pub(crate) struct Reference {
    /// The name in the table.
    pub(crate) name: &'static str,
    /// The unit of the figure.
    pub(crate) unit: Unit,
    /// One run.
    pub(crate) measure: Measure,
}

/// What a row has to reach; every part that is set must hold.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Goal {
    /// The goal in words.
    pub(crate) text: &'static str,
    /// A figure in the row's base unit.
    pub(crate) figure: Option<f64>,
    /// The least ratio to the strongest of the references, or to that which is named.
    pub(crate) ratio: Option<f64>,
    /// The name of the reference that the goal speaks of, where that is not the strongest.
    pub(crate) of: Option<&'static str>,
}

impl Goal {
    /// Nothing to reach: the row only shows a figure.
    pub(crate) const NONE: Self = Self { text: "", figure: None, ratio: None, of: None };

    /// Whether the goal is reached; `None` where there is nothing to judge, or no reference was measured.
    pub(crate) fn met(&self, unit: Unit, value: f64, ratio: Option<f64>) -> Option<bool> {
        let figure = self.figure.map(|figure| unit.goodness(value, figure) >= 1.0);
        let beside = match (self.ratio, ratio) {
            (Some(least), Some(ratio)) => Some(ratio >= least),
            (Some(_), None) => return None,
            (None, _) => None,
        };
        match (figure, beside) {
            (None, None) => None,
            (figure, beside) => Some(figure.unwrap_or(true) && beside.unwrap_or(true)),
        }
    }
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// The name, unique in its list.
    pub(crate) name: &'static str,
    /// The unit of the figure.
    pub(crate) unit: Unit,
    /// What to reach.
    pub(crate) goal: Goal,
    /// One run.
    pub(crate) measure: Measure,
    /// What the row is measured in turns with; the ratio is to the strongest of them.
    pub(crate) references: Vec<&'static Reference>,
}

/// What the runs of one row share: sizes, runtimes and whatever is costly to make. Dropped between rows.
pub(crate) struct Ctx {
    /// Whether every size is tiny.
    pub(crate) quick: bool,
    kept: HashMap<TypeId, Box<dyn Any>>,
}

impl Ctx {
    /// An empty context; `quick` makes every size tiny.
    pub(crate) fn new(quick: bool) -> Self {
        Self { quick, kept: HashMap::new() }
    }

    /// `full`, or in the short form a two-hundredth of it, ten at least.
    pub(crate) fn size(&self, full: usize) -> usize {
        if self.quick {
            (full / 200).max(10).min(full)
        } else {
            full
        }
    }

    /// The value of this type that an earlier run of the row made, or else a new one.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) fn kept<T: 'static>(&mut self, make: impl FnOnce(&Self) -> Outcome<T>) -> Outcome<&mut T> {
        if !self.kept.contains_key(&TypeId::of::<T>()) {
            let value = make(self)?;
            self.kept.insert(TypeId::of::<T>(), Box::new(value));
        }
        let value = self.kept.get_mut(&TypeId::of::<T>()).and_then(|value| value.downcast_mut());
        Ok(value.expect("invariant: a value is kept under its own type"))
    }

    /// The tokio runtime of the floors and peers, with [`WORKERS`] threads.
    ///
    /// # Errors
    /// Threads that cannot be started.
    pub(crate) fn tokio(&mut self) -> Outcome<&mut Runtime> {
        self.kept(|_| Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?))
    }

    /// Runs the future as a task of that runtime, so that a worker's thread and not this one works on it.
    ///
    /// # Errors
    /// Those of the future, and its panic.
    pub(crate) fn within_tokio<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = Outcome<T>> + Send + 'static,
    ) -> Outcome<T> {
        let runtime = self.tokio()?;
        let task = runtime.spawn(work);
        runtime.block_on(task)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_above_one_is_better_in_both_directions() {
        assert_eq!(Unit::PerSecond.goodness(4.0, 2.0), 2.0);
        assert_eq!(Unit::Seconds.goodness(2.0, 4.0), 2.0);
    }

    #[test]
    fn every_part_of_a_goal_must_hold() {
        let goal = Goal { text: "", figure: Some(10.0), ratio: Some(0.5), of: None };
        assert_eq!(goal.met(Unit::PerSecond, 11.0, Some(0.6)), Some(true));
        assert_eq!(goal.met(Unit::PerSecond, 9.0, Some(0.6)), Some(false));
        assert_eq!(goal.met(Unit::PerSecond, 11.0, Some(0.4)), Some(false));
        assert_eq!(goal.met(Unit::PerSecond, 11.0, None), None);
        assert_eq!(Goal::NONE.met(Unit::Seconds, 1.0, Some(9.0)), None);
    }

    #[test]
    fn what_one_run_made_the_next_one_finds() {
        let mut ctx = Ctx::new(false);
        *ctx.kept(|_| Ok(1_u32)).expect("made") += 1;
        assert_eq!(*ctx.kept(|_| Ok(7_u32)).expect("kept"), 2);
    }
}
