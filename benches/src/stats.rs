//! The median of a few runs and how far they lie apart. Owns no measuring.

/// What a handful of runs amount to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Summary {
    /// The middle run, or the mean of the two middle ones.
    pub(crate) median: f64,
    /// The lowest run.
    pub(crate) min: f64,
    /// The highest run.
    pub(crate) max: f64,
    /// How many runs.
    pub(crate) runs: usize,
}

impl Summary {
    /// Sums up the runs; `None` if there were none, or one is no finite number.
    pub(crate) fn of(runs: &[f64]) -> Option<Self> {
        if runs.is_empty() || runs.iter().any(|run| !run.is_finite()) {
            return None;
        }
        let mut sorted = runs.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Self { median, min: sorted[0], max: sorted[sorted.len() - 1], runs: sorted.len() })
    }

    /// From the lowest to the highest run, in percent of the median.
    pub(crate) fn spread_percent(&self) -> f64 {
        if self.median == 0.0 {
            0.0
        } else {
            (self.max - self.min) / self.median * 100.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_run() {
        let odd = Summary::of(&[3.0, 1.0, 2.0]).expect("three runs");
        assert_eq!((odd.median, odd.min, odd.max, odd.runs), (2.0, 1.0, 3.0, 3));
        assert_eq!(Summary::of(&[4.0, 1.0, 2.0, 3.0]).expect("four runs").median, 2.5);
    }

    #[test]
    fn the_spread_is_a_share_of_the_median() {
        assert_eq!(Summary::of(&[9.0, 10.0, 12.0]).expect("three runs").spread_percent(), 30.0);
        assert_eq!(Summary::of(&[5.0]).expect("one run").spread_percent(), 0.0);
    }

    #[test]
    fn what_is_no_number_is_no_summary() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[1.0, f64::NAN]), None);
        assert_eq!(Summary::of(&[f64::INFINITY]), None);
    }
}
