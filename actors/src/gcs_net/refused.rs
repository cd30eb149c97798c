//! Callers that were not let in.
//!
//! Owns: remembering the last of them, and telling the log. Invariant: however many there are, memory and log lines are
//! bounded: in a second [`LINES_MAX`] of them get a line of their own, and the others one together.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Refusals remembered.
const REFUSED_MAX: usize = 16;
/// Lines of the log in [`PERIOD`].
const LINES_MAX: u32 = 20;
const PERIOD: Duration = Duration::from_secs(1);

/// A caller that was not let in.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Who.
    pub caller: SocketAddr,
    /// Why.
    pub why: String,
}

/// The last of them.
#[derive(Default)]
pub(super) struct RefusedCallers(Mutex<Notes>);

#[derive(Default)]
struct Notes {
    last: VecDeque<Refused>,
    since: Option<Instant>,
    lines: u32,
    unsaid: u64,
}

impl RefusedCallers {
    /// One more.
    pub(super) fn note(&self, caller: SocketAddr, why: &str) {
        let mut notes = self.0.lock();
        if notes.last.len() == REFUSED_MAX {
            notes.last.pop_front();
        }
        notes.last.push_back(Refused { caller, why: why.to_owned() });
        if notes.since.is_none_or(|since| since.elapsed() >= PERIOD) {
            (notes.since, notes.lines) = (Some(Instant::now()), 0);
        }
        if notes.lines == LINES_MAX {
            notes.unsaid += 1;
            return;
        }
        notes.lines += 1;
        let others = std::mem::take(&mut notes.unsaid);
        drop(notes);
        tracing::warn!(%caller, why, others_before = others, "a caller is not let in");
    }

    /// The last ones, the newest at the end.
    pub(super) fn last(&self) -> Vec<Refused> {
        self.0.lock().last.iter().cloned().collect()
    }
}
