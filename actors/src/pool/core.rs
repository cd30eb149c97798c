//! Decides when a worker is woken, added or let go.
//!
//! Owns: the judgement of progress. It is given a view of the lane at each look and answers with effects; it sees no
//! clock, thread or queue. Invariant: while a turn waits, or a task waits and a token is free, the looks go on, and
//! within two looks without progress a worker is woken or, if none sleeps, added, up to the bound; and so for one who polls
//! the lines to other processes.

use std::time::Duration;

use crate::cluster::lines::core::Looked;

/// What the pool looks like at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolView {
    /// A task waits where any worker would find it.
    pub tasks_waiting: bool,
    /// A turn waits.
    pub turns_waiting: bool,
    /// CPU tokens that nobody holds.
    pub tokens_free: i64,
    /// Grows as long as workers begin things.
    pub progress: u64,
    /// Worker threads, whatever they do.
    pub threads: usize,
    /// Of these, how many sleep.
    pub parked: usize,
    /// Of these, how many look for work right now.
    pub searching: usize,
    /// A task was found in an outbox since the last look.
    pub outbox_moved: bool,
    /// Whether somebody polls the lines to other processes.
    pub lead: Looked,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolEffect {
    /// Wake a sleeping worker.
    Wake,
    /// Start another worker thread.
    Spawn,
    /// Look again after this time.
    LookAgain(Duration),
    /// Sleep until work is announced.
    Sleep,
    /// The bound on threads is reached although work waits; said once each time it happens.
    AtLimit,
}

/// Bounds and intervals.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Worker threads at most.
    pub threads_max: usize,
    /// Between looks while something happens.
    pub look_every: Duration,
    /// Looks without any work or progress before the sentinel sleeps.
    pub idle_looks: u32,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { threads_max: 8_192, look_every: Duration::from_micros(100), idle_looks: 50 }
    }
}

/// The judgement.
#[derive(Debug)]
pub struct PoolCore {
    limits: PoolLimits,
    last_progress: u64,
    stalled_looks: u32,
    quiet_looks: u32,
    at_limit: bool,
}

impl PoolCore {
    /// A core with these bounds.
    #[must_use]
    pub fn new(limits: PoolLimits) -> Self {
        Self { limits, last_progress: 0, stalled_looks: 0, quiet_looks: 0, at_limit: false }
    }

    /// One look at the pool.
    pub fn on_look(&mut self, view: PoolView, effects: &mut Vec<PoolEffect>) {
        let progressed = view.progress != self.last_progress;
        self.last_progress = view.progress;
        let runnable = view.turns_waiting || (view.tasks_waiting && view.tokens_free > 0);
        let quiet = !runnable && !progressed && !view.outbox_moved && !view.tasks_waiting && view.lead == Looked::Well;
        self.quiet_looks = if quiet { self.quiet_looks + 1 } else { 0 };
        self.stalled_looks = if runnable && !progressed { self.stalled_looks + 1 } else { 0 };

        // What another process has sent is taken up by the thread that heard it, unless it runs something already.
        if runnable && view.searching == 0 && view.lead != Looked::Hearing {
            self.put_somebody_on_it(view, progressed, effects);
        } else if view.lead == Looked::Appoint {
            self.appoint(view, effects);
        }
        if self.quiet_looks > self.limits.idle_looks {
            self.quiet_looks = 0;
            effects.push(PoolEffect::Sleep);
        } else {
            effects.push(PoolEffect::LookAgain(self.interval()));
        }
    }

    /// A thread is about to block: the next look must not wait for a stall to show.
    pub fn on_blocked(&mut self) {
        self.stalled_looks = 2;
        self.quiet_looks = 0;
    }

    fn put_somebody_on_it(&mut self, view: PoolView, progressed: bool, effects: &mut Vec<PoolEffect>) {
        if view.parked > 0 {
            effects.push(PoolEffect::Wake);
        } else if view.threads == 0 || (!progressed && self.stalled_looks >= 2) {
            self.add(view, effects);
        }
    }

    /// Somebody is to poll the lines.
    fn appoint(&mut self, view: PoolView, effects: &mut Vec<PoolEffect>) {
        if view.parked > 0 {
            effects.push(PoolEffect::Wake);
        } else {
            self.add(view, effects);
        }
    }

    fn add(&mut self, view: PoolView, effects: &mut Vec<PoolEffect>) {
        if view.threads < self.limits.threads_max {
            self.at_limit = false;
            self.stalled_looks = 0;
            effects.push(PoolEffect::Spawn);
        } else if !self.at_limit {
            self.at_limit = true;
            effects.push(PoolEffect::AtLimit);
        }
    }

    /// Short while something happens, longer as it calms down.
    fn interval(&self) -> Duration {
        if self.quiet_looks > self.limits.idle_looks / 2 {
            self.limits.look_every * 4
        } else {
            self.limits.look_every
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(core: &mut PoolCore, view: PoolView) -> Vec<PoolEffect> {
        let mut effects = Vec::new();
        core.on_look(view, &mut effects);
        effects
    }

    fn busy() -> PoolView {
        PoolView { tasks_waiting: true, tokens_free: 1, threads: 2, ..PoolView::default() }
    }

    #[test]
    fn waiting_work_wakes_a_sleeper() {
        let mut core = PoolCore::new(PoolLimits::default());
        assert_eq!(look(&mut core, PoolView { parked: 1, ..busy() })[0], PoolEffect::Wake);
    }

    #[test]
    fn nobody_is_woken_while_somebody_searches() {
        let mut core = PoolCore::new(PoolLimits::default());
        let effects = look(&mut core, PoolView { parked: 1, searching: 1, ..busy() });
        assert!(matches!(effects[..], [PoolEffect::LookAgain(_)]));
    }

    #[test]
    fn a_task_without_a_free_token_starts_nobody() {
        let mut core = PoolCore::new(PoolLimits::default());
        for _ in 0..10 {
            let effects = look(&mut core, PoolView { tokens_free: 0, ..busy() });
            assert!(matches!(effects[..], [PoolEffect::LookAgain(_)]));
        }
    }

    #[test]
    fn work_that_makes_no_progress_adds_a_thread() {
        let mut core = PoolCore::new(PoolLimits::default());
        let spawned = (0..3).flat_map(|_| look(&mut core, busy())).filter(|e| *e == PoolEffect::Spawn).count();
        assert_eq!(spawned, 1);
    }

    #[test]
    fn while_nobody_polls_the_looks_go_on_until_somebody_does() {
        let mut core = PoolCore::new(PoolLimits::default());
        let vacant = PoolView { threads: 1, lead: Looked::Vacant, ..PoolView::default() };
        assert!((0..200).all(|_| matches!(look(&mut core, vacant)[..], [PoolEffect::LookAgain(_)])));
        let appoint = PoolView { lead: Looked::Appoint, ..vacant };
        assert_eq!(look(&mut core, appoint)[0], PoolEffect::Spawn);
        assert_eq!(look(&mut core, PoolView { parked: 1, ..appoint })[0], PoolEffect::Wake);
    }

    #[test]
    fn what_was_heard_a_moment_ago_is_left_to_whoever_heard_it() {
        let mut core = PoolCore::new(PoolLimits::default());
        let heard =
            PoolView { turns_waiting: true, parked: 1, threads: 2, lead: Looked::Hearing, ..PoolView::default() };
        assert!(!look(&mut core, heard).contains(&PoolEffect::Wake));
        assert_eq!(look(&mut core, PoolView { lead: Looked::Vacant, ..heard })[0], PoolEffect::Wake);
    }

    #[test]
    fn a_turn_needs_no_token() {
        let mut core = PoolCore::new(PoolLimits::default());
        let view = PoolView { turns_waiting: true, tokens_free: 0, parked: 1, threads: 2, ..PoolView::default() };
        assert_eq!(look(&mut core, view)[0], PoolEffect::Wake);
    }

    #[test]
    fn threads_are_bounded_and_the_bound_is_told_once() {
        let mut core = PoolCore::new(PoolLimits { threads_max: 2, ..PoolLimits::default() });
        let all: Vec<_> = (0..20).flat_map(|_| look(&mut core, busy())).collect();
        assert_eq!(all.iter().filter(|e| **e == PoolEffect::Spawn).count(), 0);
        assert_eq!(all.iter().filter(|e| **e == PoolEffect::AtLimit).count(), 1);
    }

    #[test]
    fn a_quiet_pool_lets_the_sentinel_sleep() {
        let mut core = PoolCore::new(PoolLimits::default());
        let view = PoolView { threads: 2, parked: 2, ..PoolView::default() };
        let slept = (0..60).flat_map(|_| look(&mut core, view)).any(|e| e == PoolEffect::Sleep);
        assert!(slept);
    }
}
