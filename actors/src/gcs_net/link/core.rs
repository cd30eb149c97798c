//! The deterministic core of a client's link to one shard: who is asked, and when that changes.
//!
//! ```text
//!            ┌── refused, reset, silent, not the leader: the next address at once ──┐
//!            ▼                                                                      │
//! Waiting ─► Connecting ─► Probing ── the probe is answered ─► Leading ─────────────┤
//!    ▲                                                                              │
//!    └────────── every address was tried: a pause, longer with every round ─────────┘
//! ```
//!
//! Owns: the addresses, the order of attempts, the pauses, and frames that came while nobody led. Does not own sockets, or
//! what frames mean. Who leads is found out by a read (the *probe*): only a leader that a majority confirms can answer it.
//! A client counts how often it has sent a request, so it is told to send again only once somebody leads.
//!
//! Invariants:
//! - At most one connection is under way or open; what an older one says is not heard.
//! - After a switch the client hears [`AnswerFrame::Reopened`] before anything of the new leader; what it had given before
//!   is not sent then, since it comes again.
//! - Frames held are bounded; beyond, all are dropped and asked for again.
//! - Something happens by [`LinkCore::deadline`] at the latest: no silence is waited out for ever.

mod places;

use std::collections::BTreeSet;

use actinic_gcs::{
    shard::{Request, RequestError, RequestId},
    tables::{EventRead, PageRequest, Read},
    Millis,
};

use self::places::Places;
use crate::gcs_client::messages::{AnswerFrame, Frame};

/// How long a connection may take, its handshake included.
pub(super) const CONNECT_MS_MAX: u64 = 500;
/// How long a probe may take.
pub(super) const PROBE_MS_MAX: u64 = 1_000;
/// After so much silence the other side is asked for a sign of life.
pub(super) const PING_AFTER_MS: u64 = 500;
/// After so much silence the other side is given up.
pub(super) const SILENCE_MS_MAX: u64 = 2_000;
/// The first pauses, as long as an election may take.
pub(super) const PAUSE_MS_MIN: u64 = 5;
/// The longest pause.
pub(super) const PAUSE_MS_MAX: u64 = 500;
/// Rounds before pauses grow.
const SHORT_PAUSES: u32 = 8;
/// Frames held while nobody leads.
pub(super) const HELD_MAX: usize = 4_096;
/// The number of the probe, which no client comes to.
pub(super) const PROBE: RequestId = RequestId(u64::MAX);

/// What the shell is to do, in this order.
#[derive(Debug)]
pub(super) enum LinkEffect {
    /// Open a connection; it replaces any other.
    Connect { attempt: u64, address: String },
    /// End the connection.
    Close,
    /// Send on the open connection.
    Send(Vec<Frame>),
    /// Ask for a sign of life.
    Ping,
    /// Give to the client.
    Deliver(Vec<AnswerFrame>),
    /// Say that this address leads.
    Found(String),
    /// Say that every address was tried in vain.
    NobodyLeads,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Waiting { until: Millis, then: usize },
    Connecting { until: Millis },
    Probing { until: Millis },
    Leading { heard_at: Millis, pinged: bool },
}

/// The link's state machine.
pub(super) struct LinkCore {
    addresses: Places,
    state: State,
    /// The address that is, or was last, tried.
    at: usize,
    attempt: u64,
    /// Addresses tried in this round, and tips followed.
    tried: BTreeSet<usize>,
    tips: usize,
    rounds: u32,
    held: Vec<Frame>,
    /// Whether the client must send again what has no answer.
    stale: bool,
    seed: u64,
}

impl LinkCore {
    /// A link to the shard whose replicas are at `addresses`; pauses are drawn from `seed`. It wants to begin at once.
    pub(super) fn new(addresses: Vec<String>, seed: u64) -> Self {
        Self {
            addresses: Places::new(addresses),
            state: State::Waiting { until: Millis(0), then: 0 },
            at: 0,
            attempt: 0,
            tried: BTreeSet::new(),
            tips: 0,
            rounds: 0,
            held: Vec::new(),
            stale: false,
            seed,
        }
    }

    /// When [`LinkCore::on_time`] is to be called at the latest.
    pub(super) fn deadline(&self) -> Millis {
        match self.state {
            State::Waiting { until, .. } | State::Connecting { until } | State::Probing { until } => until,
            State::Leading { heard_at, pinged: false } => Millis(heard_at.0 + PING_AFTER_MS),
            State::Leading { heard_at, pinged: true } => Millis(heard_at.0 + SILENCE_MS_MAX),
        }
    }

    /// The client has something for the shard.
    pub(super) fn on_frames(&mut self, mut frames: Vec<Frame>, effects: &mut Vec<LinkEffect>) {
        if matches!(self.state, State::Leading { .. }) {
            return effects.push(LinkEffect::Send(frames));
        }
        if self.stale {
            // They come again.
            return;
        }
        if self.held.len() + frames.len() > HELD_MAX {
            self.held.clear();
            self.stale = true;
            return;
        }
        self.held.append(&mut frames);
    }

    /// A connection is open, to one who knows these addresses of the shard's replicas.
    pub(super) fn on_connected(
        &mut self,
        now: Millis,
        attempt: u64,
        addresses: Vec<String>,
        effects: &mut Vec<LinkEffect>,
    ) {
        if attempt != self.attempt || !matches!(self.state, State::Connecting { .. }) {
            return;
        }
        for address in addresses {
            self.place_of(address);
        }
        self.state = State::Probing { until: Millis(now.0 + PROBE_MS_MAX) };
        let read: Read = EventRead::List(PageRequest { after: None, limit: 1 }).into();
        effects.push(LinkEffect::Send(vec![Frame::Request { request: PROBE, what: Request::Read(read).into() }]));
    }

    /// A connection could not be opened, was refused, or has ended.
    pub(super) fn on_failed(&mut self, now: Millis, attempt: u64, effects: &mut Vec<LinkEffect>) {
        if attempt == self.attempt && !matches!(self.state, State::Waiting { .. }) {
            self.leave(now, None, effects);
        }
    }

    /// The other side has said something; without frames, that it lives.
    pub(super) fn on_answers(
        &mut self,
        now: Millis,
        attempt: u64,
        frames: Vec<AnswerFrame>,
        effects: &mut Vec<LinkEffect>,
    ) {
        if attempt != self.attempt {
            return;
        }
        if let State::Leading { heard_at, pinged } = &mut self.state {
            (*heard_at, *pinged) = (now, false);
        }
        let mut deliver = Vec::with_capacity(frames.len());
        // Where to go on, if that is to be.
        let mut elsewhere: Option<Option<String>> = None;
        for frame in frames {
            match frame {
                // A shard with too much to do leads, too.
                AnswerFrame::Reply { request: PROBE, outcome: Ok(_) | Err(RequestError::Busy) } => {
                    self.lead(now, effects);
                }
                AnswerFrame::Reply { request: PROBE, .. } => elsewhere = Some(elsewhere.flatten()),
                AnswerFrame::Reply { outcome: Err(RequestError::NotLeader { .. }), .. } => {
                    elsewhere = Some(elsewhere.flatten());
                }
                // The client sends it again after a while.
                AnswerFrame::Reply { outcome: Err(RequestError::Busy), .. } => {}
                AnswerFrame::NotLeader { leader } => elsewhere = Some(leader.or(elsewhere.flatten())),
                // Who does not lead is of no use, opened anew or not.
                AnswerFrame::Reopened if !matches!(self.state, State::Leading { .. }) => {}
                frame => deliver.push(frame),
            }
        }
        if !deliver.is_empty() {
            effects.push(LinkEffect::Deliver(deliver));
        }
        if let (Some(tip), true) = (elsewhere, matches!(self.state, State::Probing { .. } | State::Leading { .. })) {
            let tip = tip.and_then(|address| self.place_of(address));
            self.leave(now, tip, effects);
        }
    }

    /// Time has passed.
    pub(super) fn on_time(&mut self, now: Millis, effects: &mut Vec<LinkEffect>) {
        if now < self.deadline() {
            return;
        }
        match self.state {
            State::Waiting { then, .. } => {
                self.tried.clear();
                self.tips = 0;
                self.connect(now, then, effects);
            }
            State::Connecting { .. } | State::Probing { .. } | State::Leading { pinged: true, .. } => {
                self.leave(now, None, effects);
            }
            State::Leading { heard_at, .. } => {
                self.state = State::Leading { heard_at, pinged: true };
                effects.push(LinkEffect::Ping);
            }
        }
    }

    fn lead(&mut self, now: Millis, effects: &mut Vec<LinkEffect>) {
        if !matches!(self.state, State::Probing { .. }) {
            return;
        }
        self.state = State::Leading { heard_at: now, pinged: false };
        self.tried.clear();
        (self.tips, self.rounds) = (0, 0);
        effects.push(LinkEffect::Found(self.addresses.address(self.at)));
        let held = std::mem::take(&mut self.held);
        if std::mem::take(&mut self.stale) {
            effects.push(LinkEffect::Deliver(vec![AnswerFrame::Reopened]));
        } else if !held.is_empty() {
            effects.push(LinkEffect::Send(held));
        }
    }

    /// Goes on to `tip`, else to the next that was not tried, else pauses.
    fn leave(&mut self, now: Millis, tip: Option<usize>, effects: &mut Vec<LinkEffect>) {
        if matches!(self.state, State::Leading { .. }) {
            self.stale = true;
            self.held.clear();
        }
        effects.push(LinkEffect::Close);
        let all = self.addresses.len();
        let tip = tip.filter(|tip| *tip != self.at);
        if let Some(tip) = tip.filter(|_| self.tips < all) {
            self.tips += 1;
            return self.connect(now, tip, effects);
        }
        let next = (1..=all).map(|step| (self.at + step) % all).find(|place| !self.tried.contains(place));
        if let Some(next) = next {
            return self.connect(now, next, effects);
        }
        let until = Millis(now.0 + self.pause());
        self.rounds += 1;
        // No attempt is under way that could still be heard.
        self.attempt += 1;
        self.state = State::Waiting { until, then: tip.unwrap_or((self.at + 1) % all) };
        effects.push(LinkEffect::NobodyLeads);
    }

    fn connect(&mut self, now: Millis, place: usize, effects: &mut Vec<LinkEffect>) {
        self.at = place;
        self.tried.insert(place);
        self.attempt += 1;
        self.state = State::Connecting { until: Millis(now.0 + CONNECT_MS_MAX) };
        effects.push(LinkEffect::Connect { attempt: self.attempt, address: self.addresses.address(place) });
    }

    fn place_of(&mut self, address: String) -> Option<usize> {
        let (place, replaced) = self.addresses.place_of(address, self.at)?;
        if replaced {
            self.tried.remove(&place);
        }
        Some(place)
    }

    /// Between half and all of this round's pause, so that clients do not come all at once.
    fn pause(&mut self) -> u64 {
        let doublings = self.rounds.saturating_sub(SHORT_PAUSES).min(16);
        let full = (PAUSE_MS_MIN << doublings).min(PAUSE_MS_MAX);
        // Knuth's multiplier and increment for 64 bits (TAOCP volume 2, section 3.3.4).
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        full - (self.seed >> 33) % (full / 2 + 1)
    }

    /// Asserts every invariant.
    #[cfg(test)]
    pub(super) fn sanity_check(&self) {
        assert!(self.held.len() <= HELD_MAX, "what is held is bounded");
        assert!(self.held.is_empty() || !self.stale, "what comes again is not held");
        assert!(self.at < self.addresses.len(), "one of them is tried");
        self.addresses.sanity_check();
        let leading = matches!(self.state, State::Leading { .. });
        assert!(!leading || (self.held.is_empty() && !self.stale), "a leader has been told everything");
    }
}

#[cfg(test)]
mod tests;
