//! What is counted while the simulation runs: messages, their bytes, and the processor time inside the cores.
//!
//! Owns: the counters. Invariant: processor time is measured and never fed back, so that it cannot change what happens.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Which core was at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Core {
    /// The owner's.
    Submit,
    /// The node's.
    Local,
    /// The cluster's.
    Global,
    /// The worker pool's.
    Pool,
    /// Those of objects: the node's two, and the owner's.
    Objects,
    /// The keeper's of actors.
    Actors,
}

/// Messages of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// How many.
    pub(crate) frames: u64,
    /// Their bytes, encoded.
    pub(crate) bytes: u64,
}

/// When something began.
#[derive(Debug)]
pub(crate) struct Began {
    at: Instant,
    on: Option<Duration>,
}

impl Began {
    /// Now.
    pub(crate) fn now() -> Self {
        Self { at: Instant::now(), on: on_processor() }
    }
}

/// How long this thread has had a processor, where the system says so.
fn on_processor() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    sent: BTreeMap<&'static str, Count>,
    spent: [Duration; 6],
    /// Messages and bytes that came to the first node, the head, from other nodes.
    pub(crate) at_head: Count,
    /// Of these, words on load.
    pub(crate) load_at_head: Count,
    /// Ends of lines to processes that live on, each counted at each end.
    pub(crate) lines_lost: u64,
}

impl Meter {
    /// A message was sent.
    pub(crate) fn sent(&mut self, kind: &'static str, frames: u64, bytes: u64) {
        let count = self.sent.entry(kind).or_default();
        count.frames += frames;
        count.bytes += bytes;
    }

    /// Runs what a core does, and counts its time.
    pub(crate) fn timed<T>(&mut self, core: Core, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        self.spent[core as usize] += began.elapsed();
        done
    }

    /// Processor time inside one kind of core.
    pub(crate) fn spent(&self, core: Core) -> Duration {
        self.spent[core as usize]
    }

    /// What was sent, by kind.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&'static str, Count)> + '_ {
        self.sent.iter().map(|(kind, count)| (*kind, *count))
    }

    /// What was sent of one kind.
    pub(crate) fn of(&self, kind: &str) -> Count {
        self.sent.get(kind).copied().unwrap_or_default()
    }

    /// Of the time that has passed since `began`, the part in which this thread had a processor; others may run beside it.
    pub(crate) fn share(began: &Began) -> f64 {
        let (wall, on) = (began.at.elapsed(), on_processor());
        match (began.on, on) {
            (Some(before), Some(now)) if wall > Duration::ZERO => {
                (now.saturating_sub(before).as_secs_f64() / wall.as_secs_f64()).clamp(0.01, 1.0)
            }
            _ => 1.0,
        }
    }

    /// Forgets everything: what comes now is what is to be measured.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}
