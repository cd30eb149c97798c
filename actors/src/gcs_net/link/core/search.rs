//! The search for whoever leads.
//!
//! ```text
//!            ┌── refused, reset, mute, not the leader: the next address at once ──┐
//!            ▼                                                                    │
//! Waiting ─► Connecting ─► Probing ───────────────────────────────────────────────┤
//!    ▲                        └─► the probe is answered: found                    │
//!    └────────── every address was tried: a pause, longer with every round ───────┘
//! ```
//!
//! Owns: the order of attempts and the pauses. Invariants: at most one connection is under way or open; rounds are as
//! many as pauses, and the pauses grow.

use std::collections::BTreeSet;

use actinic_gcs::{
    shard::{Request, RequestId},
    tables::{EventRead, PageRequest, Read},
    Millis,
};

use super::{places::Places, LinkEffect};
use crate::gcs_client::messages::Frame;

/// How long a connection may take, its handshake included.
pub(in super::super) const CONNECT_MS_MAX: u64 = 500;
/// How long a probe may take.
pub(super) const PROBE_MS_MAX: u64 = 1_000;
/// The first pauses, as long as an election may take whose reason is a process that has ended.
pub(super) const PAUSE_MS_MIN: u64 = 5;
/// So many of them.
const SHORT_PAUSES: u32 = 8;
/// The pauses of an election that waits for a timeout, and of a search beside a silent leader from the start.
pub(super) const PAUSE_MS_USUAL: u64 = 20;
/// So many of them, three times the usual election timeout; then pauses double.
const USUAL_PAUSES: u32 = 40;
/// The longest pause.
pub(super) const PAUSE_MS_MAX: u64 = 500;
/// The number of the probe, which no client comes to.
pub(super) const PROBE: RequestId = RequestId(u64::MAX);

/// What all searches of a link share.
pub(super) struct Book {
    pub(super) addresses: Places,
    attempts: u64,
    seed: u64,
}

impl Book {
    pub(super) fn new(addresses: Vec<String>, seed: u64) -> Self {
        Self { addresses: Places::new(addresses), attempts: 0, seed }
    }

    /// Between half and all of this round's pause, so that clients do not come all at once.
    fn pause(&mut self, rounds: u32) -> u64 {
        let doublings = rounds.saturating_sub(SHORT_PAUSES + USUAL_PAUSES).min(16);
        let usual = (PAUSE_MS_USUAL << doublings).min(PAUSE_MS_MAX);
        let full = if rounds < SHORT_PAUSES { PAUSE_MS_MIN } else { usual };
        // Knuth's multiplier and increment for 64 bits (TAOCP volume 2, section 3.3.4).
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        full - (self.seed >> 33) % (full / 2 + 1)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Waiting { until: Millis, then: usize },
    Connecting { until: Millis },
    Probing { until: Millis },
}

/// A search.
pub(super) struct Search {
    state: State,
    /// The address that is, or was last, tried.
    at: usize,
    attempt: u64,
    /// Addresses tried in this round, and tips followed.
    tried: BTreeSet<usize>,
    tips: usize,
    rounds: u32,
    /// A leader that is silent, but may lead: it is not asked, nor believed in because others still do.
    beside: Option<usize>,
}

impl Search {
    /// Begins with the first address, as soon as it is woken.
    pub(super) fn first() -> Self {
        Self::from(0)
    }

    /// Begins behind this address, by [`Search::go_on`].
    pub(super) fn from(at: usize) -> Self {
        let (state, tried) = (State::Waiting { until: Millis(0), then: at }, BTreeSet::new());
        Self { state, at, attempt: 0, tried, tips: 0, rounds: 0, beside: None }
    }

    /// Leaves a leader out that may still lead. It needs another address.
    pub(super) fn beside(leader: usize) -> Self {
        Self { beside: Some(leader), rounds: SHORT_PAUSES, ..Self::from(leader) }
    }

    /// When it must be woken.
    pub(super) fn deadline(&self) -> Millis {
        match self.state {
            State::Waiting { until, .. } | State::Connecting { until } | State::Probing { until } => until,
        }
    }

    /// The address that is, or was last, tried.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// Whether this attempt is under way.
    pub(super) fn tries(&self, attempt: u64) -> bool {
        attempt == self.attempt && !self.pauses()
    }

    pub(super) fn pauses(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// Another address has taken this place.
    pub(super) fn forget(&mut self, place: usize) {
        self.tried.remove(&place);
    }

    pub(super) fn on_time(&mut self, now: Millis, book: &mut Book, effects: &mut Vec<LinkEffect>) {
        if now < self.deadline() {
            return;
        }
        match self.state {
            State::Waiting { then, .. } => {
                self.tried.clear();
                self.tips = 0;
                self.connect(now, then, book, effects);
            }
            State::Connecting { .. } | State::Probing { .. } => self.go_on(now, None, book, effects),
        }
    }

    /// A connection is open; gives whether it is this search's.
    pub(super) fn on_connected(&mut self, now: Millis, attempt: u64, effects: &mut Vec<LinkEffect>) -> bool {
        if attempt != self.attempt || !matches!(self.state, State::Connecting { .. }) {
            return false;
        }
        self.state = State::Probing { until: Millis(now.0 + PROBE_MS_MAX) };
        let read: Read = EventRead::List(PageRequest { after: None, limit: 1 }).into();
        let frames = vec![Frame::Request { request: PROBE, what: Request::Read(read).into() }];
        effects.push(LinkEffect::Send { attempt, frames });
        true
    }

    /// Goes on to `tip`, else to the next that was not tried, else pauses.
    pub(super) fn go_on(&mut self, now: Millis, tip: Option<usize>, book: &mut Book, effects: &mut Vec<LinkEffect>) {
        self.hang_up(effects);
        let all = book.addresses.len();
        let tip = tip.filter(|tip| *tip != self.at && Some(*tip) != self.beside);
        if let Some(tip) = tip.filter(|_| self.tips < all) {
            self.tips += 1;
            return self.connect(now, tip, book, effects);
        }
        let (at, beside) = (self.at, self.beside);
        let mut others = (1..=all).map(|step| (at + step) % all).filter(|place| Some(*place) != beside);
        if let Some(next) = others.clone().find(|place| !self.tried.contains(place)) {
            return self.connect(now, next, book, effects);
        }
        let until = Millis(now.0 + book.pause(self.rounds));
        self.rounds += 1;
        self.state = State::Waiting { until, then: tip.or_else(|| others.next()).unwrap_or(at) };
        if beside.is_none() {
            effects.push(LinkEffect::NobodyLeads);
        }
    }

    fn connect(&mut self, now: Millis, place: usize, book: &mut Book, effects: &mut Vec<LinkEffect>) {
        self.at = place;
        self.tried.insert(place);
        book.attempts += 1;
        self.attempt = book.attempts;
        self.state = State::Connecting { until: Millis(now.0 + CONNECT_MS_MAX) };
        effects.push(LinkEffect::Connect { attempt: self.attempt, address: book.addresses.address(place) });
    }

    /// Ends the attempt that is under way, if there is one.
    pub(super) fn hang_up(&mut self, effects: &mut Vec<LinkEffect>) {
        if !self.pauses() {
            effects.push(LinkEffect::Close { attempt: self.attempt });
            self.state = State::Waiting { until: Millis(0), then: self.at };
        }
    }
}
