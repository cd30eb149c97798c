//! The deterministic core of a client's link to one shard: who is asked, and when that changes.
//!
//! ```text
//!              ┌───────────────── its process ended, or it leads no more ───────────────────┐
//!              ▼                                                                            │
//!           searching ── one answers the probe ─────────────────────────────────────────► leading
//!              ▲                                                                            │ silent
//!              │                                         one of the others does             ▼
//!              └─ much longer still silent ── leading, and the others are asked on the side who leads
//! ```
//!
//! Owns: the leader's connection ([`leader`]), the search for one ([`search`]), and frames that came while nobody led. Does
//! not own sockets, or what frames mean. Who leads is found out by a read (the *probe*): only a leader that a majority
//! confirms can answer it. A client counts how often it has sent a request, so it is told to send again only once somebody
//! leads.
//!
//! **When a leader is left.** A process that ends resets its connections, which is seen at once. One that is paused, or cut
//! off, only falls silent, and so does one that is slow; from here they look alike, and any bound on the silence would be
//! too long for the first or too short for the last. But the group knows: it elects another when, and only when, a majority
//! misses the leader. So after a short silence the others are asked on the side, every now and then, while the connection
//! is kept. The first who answers the probe takes over; if the silent one says anything before that, the search is called
//! off. A slow leader is thus never left while it leads, however slow it is; and a lost one is left as soon as it has a
//! successor, so that a client waits for the election timeout and not for a timeout of its own.
//!
//! Silence is the connection's and not the request's: while requests are unanswered the other side is pinged, and its
//! connection answers by itself, on its arbiter, which waits for no disk. So a long fsync is no silence. A machine that is
//! too busy to answer costs a few probes of others, and no switch.
//!
//! Invariants:
//! - Somebody leads, or is searched for; both only while the leader is silent. So at most two connections are open, each
//!   with an attempt's number; what an older one says is not heard.
//! - After a switch the client hears [`AnswerFrame::Reopened`] before anything of the new leader; what it had given before
//!   is not sent then, since it comes again.
//! - Frames held are bounded; beyond, all are dropped and asked for again.
//! - Something happens by [`LinkCore::deadline`] at the latest: no silence is waited out for ever.

mod leader;
mod places;
mod search;

use actinic_gcs::{
    shard::{RequestError, RequestId},
    Millis,
};

pub(super) use self::{leader::SILENCE_MS_MAX, search::CONNECT_MS_MAX};
use self::{
    leader::{Due, Leader},
    search::{Book, Search, PROBE},
};
use crate::gcs_client::messages::{AnswerFrame, Frame};

/// Frames held while nobody leads.
pub(super) const HELD_MAX: usize = 4_096;

/// What the shell is to do, in this order.
#[derive(Debug)]
pub(super) enum LinkEffect {
    /// Open a connection beside any other; this number names it.
    Connect { attempt: u64, address: String },
    /// End a connection, open or not yet.
    Close { attempt: u64 },
    /// Send on an open connection.
    Send { attempt: u64, frames: Vec<Frame> },
    /// Ask for a sign of life.
    Ping { attempt: u64 },
    /// Give to the client.
    Deliver(Vec<AnswerFrame>),
    /// Say that this address leads.
    Found(String),
    /// Say that every address was tried in vain.
    NobodyLeads,
}

/// The link's state machine.
pub(super) struct LinkCore {
    book: Book,
    leader: Option<Leader>,
    search: Option<Search>,
    held: Vec<Frame>,
    /// Whether the client must send again what has no answer.
    stale: bool,
}

impl LinkCore {
    /// A link to the shard whose replicas are at `addresses`; pauses are drawn from `seed`. It wants to begin at once.
    pub(super) fn new(addresses: Vec<String>, seed: u64) -> Self {
        let (book, search) = (Book::new(addresses, seed), Some(Search::first()));
        Self { book, leader: None, search, held: Vec::new(), stale: false }
    }

    /// When [`LinkCore::on_time`] is to be called at the latest.
    pub(super) fn deadline(&self) -> Millis {
        let leader = self.leader.as_ref().map(Leader::deadline);
        let both = leader.into_iter().chain(self.search.as_ref().map(Search::deadline));
        both.min().expect("invariant: somebody leads or is searched for")
    }

    /// The client has something for the shard.
    pub(super) fn on_frames(&mut self, now: Millis, mut frames: Vec<Frame>, effects: &mut Vec<LinkEffect>) {
        if let Some(leader) = &mut self.leader {
            leader.on_sent(now, &frames);
            return effects.push(LinkEffect::Send { attempt: leader.attempt, frames });
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

    /// A request could not be sent, and will never be: its client was told.
    pub(super) fn on_unsendable(&mut self, request: RequestId) {
        if let Some(leader) = &mut self.leader {
            leader.on_answered(request);
        }
    }

    /// A connection is open, to one who knows these addresses of the shard's replicas.
    pub(super) fn on_connected(
        &mut self,
        now: Millis,
        attempt: u64,
        addresses: Vec<String>,
        effects: &mut Vec<LinkEffect>,
    ) {
        if self.search.as_mut().is_some_and(|search| search.on_connected(now, attempt, effects)) {
            for address in addresses {
                self.place_of(address);
            }
        }
    }

    /// A connection could not be opened, was refused, or has ended.
    pub(super) fn on_failed(&mut self, now: Millis, attempt: u64, effects: &mut Vec<LinkEffect>) {
        if self.leads(attempt) {
            self.lose(now, None, effects);
        } else if let Some(search) = self.search.as_mut().filter(|search| search.tries(attempt)) {
            search.go_on(now, None, &mut self.book, effects);
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
        if let Some(leader) = self.leader.as_mut().filter(|leader| leader.attempt == attempt) {
            leader.on_heard(now);
            self.call_off(effects);
        } else if !self.search.as_ref().is_some_and(|search| search.tries(attempt)) {
            return;
        }
        let mut deliver = Vec::with_capacity(frames.len());
        // Where to go on, if that is to be.
        let mut elsewhere: Option<Option<String>> = None;
        for frame in frames {
            if let (AnswerFrame::Reply { request, .. }, Some(leader)) = (&frame, &mut self.leader) {
                leader.on_answered(*request);
            }
            match frame {
                // A shard with too much to do leads, too.
                AnswerFrame::Reply { request: PROBE, outcome: Ok(_) | Err(RequestError::Busy) } => {
                    self.lead(now, attempt, effects);
                }
                AnswerFrame::Reply { request: PROBE, .. } => elsewhere = Some(elsewhere.flatten()),
                AnswerFrame::Reply { outcome: Err(RequestError::NotLeader { .. }), .. } => {
                    elsewhere = Some(elsewhere.flatten());
                }
                // The client sends it again after a while.
                AnswerFrame::Reply { outcome: Err(RequestError::Busy), .. } => {}
                AnswerFrame::Members(addresses) => {
                    for address in addresses {
                        self.place_of(address);
                    }
                }
                AnswerFrame::NotLeader { leader } => elsewhere = Some(leader.or(elsewhere.flatten())),
                // Who does not lead is of no use, opened anew or not.
                AnswerFrame::Reopened if !self.leads(attempt) => {}
                frame => deliver.push(frame),
            }
        }
        if !deliver.is_empty() {
            effects.push(LinkEffect::Deliver(deliver));
        }
        if let Some(tip) = elsewhere {
            let tip = tip.and_then(|address| self.place_of(address));
            if self.leads(attempt) {
                self.lose(now, tip, effects);
            } else if let Some(search) = &mut self.search {
                search.go_on(now, tip, &mut self.book, effects);
            }
        }
    }

    /// Time has passed.
    pub(super) fn on_time(&mut self, now: Millis, effects: &mut Vec<LinkEffect>) {
        if let Some(search) = &mut self.search {
            search.on_time(now, &mut self.book, effects);
        }
        let Some(leader) = &mut self.leader else { return };
        let (attempt, place) = (leader.attempt, leader.place);
        match leader.on_time(now) {
            None => {}
            Some(Due::Ping) => effects.push(LinkEffect::Ping { attempt }),
            Some(Due::AskOthers) if self.book.addresses.len() > 1 => {
                let mut search = Search::beside(place);
                search.go_on(now, None, &mut self.book, effects);
                self.search = Some(search);
            }
            Some(Due::AskOthers) => {}
            Some(Due::Leave) => self.lose(now, None, effects),
        }
    }

    fn leads(&self, attempt: u64) -> bool {
        self.leader.as_ref().is_some_and(|leader| leader.attempt == attempt)
    }

    /// Whoever was searched for on this connection is found.
    fn lead(&mut self, now: Millis, attempt: u64, effects: &mut Vec<LinkEffect>) {
        let Some(search) = self.search.take_if(|search| search.tries(attempt)) else { return };
        if let Some(silent) = self.leader.take() {
            effects.push(LinkEffect::Close { attempt: silent.attempt });
            self.stale = true;
        }
        let place = search.place();
        effects.push(LinkEffect::Found(self.book.addresses.address(place)));
        let mut leader = Leader::new(attempt, place, now);
        let frames = std::mem::take(&mut self.held);
        if std::mem::take(&mut self.stale) {
            effects.push(LinkEffect::Deliver(vec![AnswerFrame::Reopened]));
        } else if !frames.is_empty() {
            leader.on_sent(now, &frames);
            effects.push(LinkEffect::Send { attempt, frames });
        }
        self.leader = Some(leader);
    }

    /// Leaves the leader for `tip`, else for the next.
    fn lose(&mut self, now: Millis, tip: Option<usize>, effects: &mut Vec<LinkEffect>) {
        let Some(leader) = self.leader.take() else { return };
        self.call_off(effects);
        effects.push(LinkEffect::Close { attempt: leader.attempt });
        self.stale = true;
        let mut search = Search::from(leader.place);
        search.go_on(now, tip, &mut self.book, effects);
        self.search = Some(search);
    }

    fn call_off(&mut self, effects: &mut Vec<LinkEffect>) {
        if let Some(mut search) = self.search.take() {
            search.hang_up(effects);
        }
    }

    fn place_of(&mut self, address: String) -> Option<usize> {
        let used = [self.leader.as_ref().map(|leader| leader.place), self.search.as_ref().map(Search::place)];
        let (place, replaced) = self.book.addresses.place_of(address, used)?;
        if let (true, Some(search)) = (replaced, &mut self.search) {
            search.forget(place);
        }
        Some(place)
    }

    /// Asserts every invariant.
    #[cfg(test)]
    pub(super) fn sanity_check(&self) {
        assert!(self.held.len() <= HELD_MAX, "what is held is bounded");
        assert!(self.held.is_empty() || !self.stale, "what comes again is not held");
        self.book.addresses.sanity_check();
        match (&self.leader, &self.search) {
            (None, None) => panic!("somebody leads or is searched for"),
            (Some(leader), search) => {
                assert!(self.held.is_empty() && !self.stale, "a leader has been told everything");
                assert!(search.is_none() || leader.is_silent(), "only a silent leader is replaced");
                assert!(search.as_ref().is_none_or(|search| search.place() != leader.place || search.pauses()));
            }
            (None, Some(search)) => assert!(search.place() < self.book.addresses.len(), "one of them is tried"),
        }
    }
}

#[cfg(test)]
mod tests;
