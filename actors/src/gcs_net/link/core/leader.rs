//! The connection to whoever leads.
//!
//! Owns: how long it may be silent, and what it has not answered. Does not own what follows from silence. Invariant: as long
//! as something is unanswered, a ping is on its way or will be soon.

use std::collections::BTreeSet;

use actinic_gcs::{shard::RequestId, Millis};

use crate::gcs_client::messages::Frame;

/// After so much silence the other side is asked for a sign of life, while requests are unanswered: a fifth of the time in
/// which a group notices the loss of its leader at the earliest.
pub(super) const PING_WAITING_MS: u64 = 40;
/// The same while nothing is unanswered. Servers take a longer silence for the client's end.
pub(super) const PING_IDLE_MS: u64 = 2_000;
/// Without a sign of life for so long the others are asked who leads.
pub(super) const ASK_OTHERS_MS: u64 = 60;
/// Without a sign of life for so long the connection itself is not believed in any more: what a network has swallowed is
/// sent again so seldom in the end that a new one is quicker.
pub(in super::super) const SILENCE_MS_MAX: u64 = 2_000;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask for a sign of life.
    Ping,
    /// Ask the others who leads.
    AskOthers,
    /// Leave.
    Leave,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    No,
    /// Pinged then, and silent since.
    Pinged(Millis),
    /// The others are asked.
    Silent(Millis),
}

/// The leader.
pub(super) struct Leader {
    pub(super) attempt: u64,
    pub(super) place: usize,
    unanswered: BTreeSet<RequestId>,
    /// When it was last heard, or given something to answer after it had answered all.
    quiet_since: Millis,
    doubt: Doubt,
}

impl Leader {
    pub(super) fn new(attempt: u64, place: usize, now: Millis) -> Self {
        Self { attempt, place, unanswered: BTreeSet::new(), quiet_since: now, doubt: Doubt::No }
    }

    /// When it has been silent for too long.
    pub(super) fn deadline(&self) -> Millis {
        let after = |since: Millis, ms: u64| Millis(since.0.saturating_add(ms));
        match self.doubt {
            Doubt::No if self.unanswered.is_empty() => after(self.quiet_since, PING_IDLE_MS),
            Doubt::No => after(self.quiet_since, PING_WAITING_MS),
            Doubt::Pinged(at) => after(at, ASK_OTHERS_MS),
            Doubt::Silent(at) => after(at, SILENCE_MS_MAX),
        }
    }

    pub(super) fn on_time(&mut self, now: Millis) -> Option<Due> {
        if now < self.deadline() {
            return None;
        }
        match self.doubt {
            // From now on: whoever was late itself does not blame the other.
            Doubt::No => {
                self.doubt = Doubt::Pinged(now);
                Some(Due::Ping)
            }
            Doubt::Pinged(at) => {
                self.doubt = Doubt::Silent(at);
                Some(Due::AskOthers)
            }
            Doubt::Silent(_) => Some(Due::Leave),
        }
    }

    /// It was given these.
    pub(super) fn on_sent(&mut self, now: Millis, frames: &[Frame]) {
        let had_none = self.unanswered.is_empty();
        self.unanswered.extend(frames.iter().filter_map(|frame| match frame {
            Frame::Request { request, .. } | Frame::StaleRead { request, .. } => Some(*request),
            Frame::Subscribe { .. } | Frame::Unsubscribe(_) => None,
        }));
        if had_none && !self.unanswered.is_empty() {
            self.quiet_since = now;
        }
    }

    /// It has said something.
    pub(super) fn on_heard(&mut self, now: Millis) {
        (self.quiet_since, self.doubt) = (now, Doubt::No);
    }

    /// This has its answer, from whomever.
    pub(super) fn on_answered(&mut self, request: RequestId) {
        self.unanswered.remove(&request);
    }

    #[cfg(test)]
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.doubt, Doubt::Silent(_))
    }
}
