//! What is remembered of one actor's or supervisor's restarts.
//!
//! Owns: counting against a [`RestartLimit`], and the streak that a [`Backoff`] grows with. Invariant: no more instants
//! are kept than the limit allows restarts, and none at all where no window is set.

use std::{collections::VecDeque, time::Duration};

use super::policy::{Backoff, RestartLimit};

/// The restarts so far, as far as limits and back-off need them.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// Restarts counted against the limit over the whole life.
    counted: u32,
    /// Restarts in a row, each before the one before it had run for long.
    streak: u32,
    /// When the last restart was due.
    since: Duration,
    /// When the restarts within the window were counted, oldest first.
    recent: VecDeque<Duration>,
}

impl Record {
    /// Whether `limit` allows one more restart at `now`.
    pub(super) fn has_room(&mut self, now: Duration, limit: &RestartLimit) -> bool {
        let Some(most) = limit.max_restarts else {
            return true;
        };
        let Some(window) = limit.window else {
            return self.counted < most;
        };
        while self.recent.front().is_some_and(|then| now.saturating_sub(*then) >= window) {
            self.recent.pop_front();
        }
        self.recent.len() < most as usize
    }

    /// Counts one restart at `now`, if `limit` allows it.
    pub(super) fn allow(&mut self, now: Duration, limit: &RestartLimit) -> bool {
        let allowed = self.has_room(now, limit);
        if allowed && limit.max_restarts.is_some() {
            match limit.window {
                Some(_) => self.recent.push_back(now),
                None => self.counted += 1,
            }
        }
        allowed
    }

    /// When a restart decided at `now` is due.
    pub(super) fn due(&mut self, now: Duration, backoff: &Backoff, seed: u64, salt: u128) -> Duration {
        if now.saturating_sub(self.since) >= backoff.max {
            self.streak = 0;
        }
        let due = now.saturating_add(backoff.delay(self.streak, seed, salt));
        self.streak = self.streak.saturating_add(1);
        due
    }

    /// Notes that it was started again at `at`.
    pub(super) fn started(&mut self, at: Duration) {
        self.since = at;
    }

    /// Forgets all that was counted, but not how long to wait: a restarted supervisor bears failures anew.
    pub(super) fn pardon(&mut self) {
        self.counted = 0;
        self.recent.clear();
    }

    /// Forgets what was counted within a window: so is an actor treated whose supervisor was restarted. What is counted
    /// over a whole life stays, as it was promised.
    pub(super) fn pardon_window(&mut self) {
        self.recent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_limit_without_a_window_counts_the_whole_life() {
        let mut record = Record::default();
        let limit = RestartLimit::in_all(2);
        assert!(record.allow(SECOND, &limit) && record.allow(SECOND * 1_000, &limit));
        assert!(!record.allow(SECOND * 1_000_000, &limit));
    }

    #[test]
    fn a_window_forgets_what_left_it() {
        let mut record = Record::default();
        let limit = RestartLimit::within(2, SECOND * 10);
        assert!(record.allow(SECOND, &limit) && record.allow(SECOND * 5, &limit));
        assert!(!record.allow(SECOND * 10, &limit));
        assert!(record.allow(SECOND * 11, &limit));
        assert!(!record.allow(SECOND * 12, &limit));
    }

    #[test]
    fn no_limit_keeps_nothing() {
        let mut record = Record::default();
        assert!((0..10_000).all(|n| record.allow(SECOND * n, &RestartLimit::UNLIMITED)));
        assert!(record.recent.is_empty());
    }

    #[test]
    fn an_actor_that_ran_for_long_starts_over_with_the_first_wait() {
        let backoff = Backoff { first: SECOND, factor: 2.0, max: SECOND * 8, jitter: 0.0 };
        let mut record = Record::default();
        assert_eq!(record.due(SECOND, &backoff, 0, 0), SECOND * 2);
        record.started(SECOND * 2);
        assert_eq!(record.due(SECOND * 3, &backoff, 0, 0), SECOND * 5);
        record.started(SECOND * 5);
        assert_eq!(record.due(SECOND * 13, &backoff, 0, 0), SECOND * 14);
    }
}
