//! The deterministic core of the client: numbers, routes, windows and retries.
//!
//! Owns: what was asked and is not answered. Does not own who waits for it (`W`, which it only gives back), nor the way to
//! a shard: it fills frames for each, and is fed what they answer.
//!
//! Invariants:
//! - A retry bears the number of the original.
//! - Of each shard at most [`WINDOW`] requests are under way, and at most [`SPAN_MAX`] from the oldest of them to the newest,
//!   however many of those between are answered: so none is older than those that the shard remembers. What is beyond
//!   waits in order.
//! - What a shard says of subscriptions that it had before it was opened anew is not heard ([`watches`]).
//! - Each `W` comes back exactly once, at the latest after [`ATTEMPTS_MAX`] × [`RETRY_AFTER_MS`].

mod watches;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use actinic_gcs::{
    shard::{shard_of, Change, Filter, Request, RequestError, RequestId, SubscriptionId},
    tables::{Read, ReadPart, Reply, Route, Table, TaskWrite, Write, DIRECTORY},
    Millis,
};
use rustc_hash::FxHashMap;

use self::watches::Watches;
use super::{
    merge::{merge, Whole},
    messages::{AnswerFrame, Frame},
    GcsError,
};

/// Requests of one shard under way; half of what a shard remembers of a client.
pub(crate) const WINDOW: usize = 512;
/// Requests of one shard from the oldest under way to the newest: as many as a shard remembers of a client.
pub(crate) const SPAN_MAX: u64 = 1_024;
/// How long an answer is waited for before the request is sent again.
pub(crate) const RETRY_AFTER_MS: u64 = 2_000;
/// How often a request is sent at most.
pub(crate) const ATTEMPTS_MAX: u32 = 5;

/// What the shell is to do.
#[derive(Debug, PartialEq)]
pub(crate) enum ClientEffect<W> {
    /// Give an outcome to who waits for it.
    Done { waiter: W, outcome: Result<Reply, GcsError> },
    /// Tell a subscriber of a change.
    Changed { subscription: SubscriptionId, change: Change },
    /// Say that changes were lost to a subscriber: those before it resumed are forgotten.
    Missed { subscription: SubscriptionId },
}

/// Whose request one is.
enum Origin<W> {
    Whole(W),
    Part { call: u64, part: usize },
}

struct InFlight<W> {
    what: Arc<Request>,
    origin: Origin<W>,
    /// How many were sent to the shard before it.
    place: u64,
    sent_at: Millis,
    attempts: u32,
}

/// A request that several shards answer.
struct Call<W> {
    waiter: W,
    whole: Whole,
    parts: Vec<Option<Result<Reply, GcsError>>>,
    missing: usize,
}

/// What waits for a shard's window, in order.
enum Queued<W> {
    Request { what: Arc<Request>, origin: Origin<W> },
    Frame(Frame),
}

struct Link<W> {
    queue: VecDeque<Queued<W>>,
    /// Frames to be sent again, before anything new.
    again: Vec<Frame>,
    in_flight: BTreeMap<RequestId, InFlight<W>>,
    /// Requests sent so far, each counted once.
    sent: u64,
}

impl<W> Link<W> {
    /// Whether one more request may be sent.
    fn has_room(&self) -> bool {
        let oldest = self.in_flight.first_key_value();
        self.in_flight.len() < WINDOW && oldest.is_none_or(|(_, oldest)| self.sent - oldest.place < SPAN_MAX)
    }
}

/// The client's state machine.
pub(crate) struct ClientCore<W> {
    links: Vec<Link<W>>,
    calls: FxHashMap<u64, Call<W>>,
    watches: Watches,
    next_request: u64,
    next_call: u64,
}

impl<W> ClientCore<W> {
    /// A client of so many shards.
    pub(crate) fn new(shards: usize) -> Self {
        assert!(shards > 0, "a cluster has at least one shard");
        let link = |_| Link { queue: VecDeque::new(), again: Vec::new(), in_flight: BTreeMap::new(), sent: 0 };
        let links = (0..shards).map(link).collect();
        Self { links, calls: FxHashMap::default(), watches: Watches::default(), next_request: 1, next_call: 1 }
    }

    /// Asks for a change.
    pub(crate) fn write(&mut self, write: Write, waiter: W) {
        let shards = self.links.len();
        let several = match &write {
            Write::Task(TaskWrite::Put(specs)) => specs.len() > 1,
            Write::Task(TaskWrite::Delete(ids)) => ids.len() > 1,
            _ => false,
        };
        if shards == 1 || !several {
            let shard = shard_of(write.key_hash(), shards);
            return self.enqueue(shard, Request::Write(write), Origin::Whole(waiter));
        }
        let parts = write.split(shards).into_iter().map(|(shard, part)| (shard, Request::Write(part))).collect();
        self.fan_out(Whole::Done, parts, waiter);
    }

    /// Asks a question. One about several ids, or about all rows of a table that is spread, is asked of each shard that it
    /// concerns, and answered once all have answered.
    pub(crate) fn read(&mut self, read: Read, waiter: W) {
        let shards = self.links.len();
        let parts = if shards > 1 { read.split(shards) } else { Vec::new() };
        if !parts.is_empty() {
            let (asked, places) =
                parts.into_iter().map(|ReadPart { shard, read, places }| ((shard, read.into()), places)).unzip();
            return self.fan_out(Whole::Places(places), asked, waiter);
        }
        match read.route() {
            Route::Key(hash) => self.enqueue(shard_of(hash, shards), Request::Read(read), Origin::Whole(waiter)),
            Route::Every if shards == 1 => self.enqueue(0, Request::Read(read), Origin::Whole(waiter)),
            Route::Every => {
                let parts = (0..shards).map(|shard| (shard, Request::Read(read.clone()))).collect();
                self.fan_out(Whole::Pages(read), parts, waiter);
            }
        }
    }

    fn fan_out(&mut self, whole: Whole, parts: Vec<(usize, Request)>, waiter: W) {
        let call = self.next_call;
        self.next_call += 1;
        let missing = parts.len();
        self.calls.insert(call, Call { waiter, whole, parts: vec![None; missing], missing });
        for (part, (shard, request)) in parts.into_iter().enumerate() {
            self.enqueue(shard, request, Origin::Part { call, part });
        }
    }

    fn enqueue(&mut self, shard: usize, request: Request, origin: Origin<W>) {
        self.links[shard].queue.push_back(Queued::Request { what: Arc::new(request), origin });
    }

    /// Subscribes; changes by writes that come after this are told.
    pub(crate) fn subscribe(&mut self, subscription: SubscriptionId, filter: Filter) {
        let shards = self.shards_of(&filter);
        for (shard, frame) in self.watches.begin(subscription, filter, shards) {
            self.links[shard].queue.push_back(Queued::Frame(frame));
        }
    }

    /// Ends a subscription.
    pub(crate) fn unsubscribe(&mut self, subscription: SubscriptionId) {
        for (shard, frame) in self.watches.end(subscription) {
            self.links[shard].queue.push_back(Queued::Frame(frame));
        }
    }

    /// Whether anyone watches this table.
    pub(crate) fn watches(&self, table: Table) -> bool {
        self.watches.table(table)
    }

    /// The shards that may hold rows of a filter.
    fn shards_of(&self, filter: &Filter) -> std::ops::Range<usize> {
        let directory = matches!(filter.table, Table::Nodes | Table::Jobs | Table::Actors | Table::PlacementGroups);
        let all = self.links.len();
        if directory {
            let shard = shard_of(DIRECTORY, all);
            return shard..shard + 1;
        }
        0..all
    }

    /// What each shard is to be sent now.
    pub(crate) fn frames(&mut self, now: Millis) -> Vec<(usize, Vec<Frame>)> {
        let mut all = Vec::new();
        for (shard, link) in self.links.iter_mut().enumerate() {
            let mut frames = std::mem::take(&mut link.again);
            while link.has_room() {
                match link.queue.pop_front() {
                    None => break,
                    Some(Queued::Frame(frame)) => frames.push(frame),
                    Some(Queued::Request { what, origin }) => {
                        let request = RequestId(self.next_request);
                        self.next_request += 1;
                        frames.push(Frame::Request { request, what: what.clone() });
                        let place = link.sent;
                        link.sent += 1;
                        link.in_flight.insert(request, InFlight { what, origin, place, sent_at: now, attempts: 1 });
                    }
                }
            }
            if !frames.is_empty() {
                all.push((shard, frames));
            }
        }
        all
    }

    /// A shard has said something. [`AnswerFrame::LeaseExpired`] is not for here.
    pub(crate) fn on_answer(
        &mut self,
        now: Millis,
        shard: usize,
        answer: AnswerFrame,
        effects: &mut Vec<ClientEffect<W>>,
    ) {
        match answer {
            AnswerFrame::Reply { request, outcome } => {
                // Not applied, and welcome again: it stays under way until the next tick sends it once more.
                if matches!(outcome, Err(RequestError::Busy | RequestError::NotLeader { .. })) {
                    return;
                }
                let Some(InFlight { origin, .. }) = self.links[shard].in_flight.remove(&request) else { return };
                let outcome = outcome.map_err(|error| match error {
                    RequestError::Refused(refusal) => GcsError::Refused(refusal),
                    RequestError::TooLarge { bytes, max } => GcsError::TooLarge { bytes, max },
                    _ => GcsError::Forgotten,
                });
                self.settle(origin, outcome, effects);
            }
            AnswerFrame::Subscribed { subscription: number, sequence, missed } => {
                let Some(subscription) = self.watches.heard(shard, number, sequence) else { return };
                if missed {
                    effects.push(ClientEffect::Missed { subscription });
                }
            }
            AnswerFrame::SubscriptionRefused { subscription: number, max } => {
                let Some(subscription) = self.watches.whose(shard, number) else { return };
                tracing::warn!(?subscription, max, "a shard of the control store takes no more subscriptions");
                self.unsubscribe(subscription);
            }
            AnswerFrame::Change { subscription: number, change } => {
                let Some(subscription) = self.watches.heard(shard, number, change.sequence) else { return };
                effects.push(ClientEffect::Changed { subscription, change });
            }
            AnswerFrame::Reopened => self.on_reopened(now, shard, effects),
            // Finding the leader is for the link to a shard; it says `Reopened` once it has.
            AnswerFrame::LeaseExpired { .. } | AnswerFrame::NotLeader { .. } | AnswerFrame::Members(_) => {}
        }
    }

    fn on_reopened(&mut self, now: Millis, shard: usize, effects: &mut Vec<ClientEffect<W>>) {
        let link = &mut self.links[shard];
        // What was to be sent, or sent again, is of numbers that are over, or comes again now.
        link.queue.retain(|queued| matches!(queued, Queued::Request { .. }));
        link.again = self.watches.renew(shard);
        self.send_again(now, shard, Millis(u64::MAX), effects);
    }

    /// Time has passed: what has no answer for too long is sent again, or given up.
    pub(crate) fn on_tick(&mut self, now: Millis, effects: &mut Vec<ClientEffect<W>>) {
        let Some(before) = now.0.checked_sub(RETRY_AFTER_MS) else { return };
        for shard in 0..self.links.len() {
            self.send_again(now, shard, Millis(before), effects);
        }
    }

    /// Sends what was sent up to `before` again, in the order of its numbers.
    fn send_again(&mut self, now: Millis, shard: usize, before: Millis, effects: &mut Vec<ClientEffect<W>>) {
        let link = &mut self.links[shard];
        let mut given_up = Vec::new();
        for (request, waiting) in link.in_flight.iter_mut().filter(|(_, waiting)| waiting.sent_at <= before) {
            if before < Millis(u64::MAX) && waiting.attempts >= ATTEMPTS_MAX {
                given_up.push(*request);
                continue;
            }
            // That a shard was opened anew, however often, says nothing about whether it answers.
            if before < Millis(u64::MAX) {
                waiting.attempts += 1;
                waiting.sent_at = now;
            }
            link.again.push(Frame::Request { request: *request, what: waiting.what.clone() });
        }
        for request in given_up {
            let Some(InFlight { origin, attempts, .. }) = self.links[shard].in_flight.remove(&request) else {
                continue;
            };
            self.settle(origin, Err(GcsError::Unavailable { attempts }), effects);
        }
    }

    fn settle(&mut self, origin: Origin<W>, outcome: Result<Reply, GcsError>, effects: &mut Vec<ClientEffect<W>>) {
        let (call, part) = match origin {
            Origin::Whole(waiter) => return effects.push(ClientEffect::Done { waiter, outcome }),
            Origin::Part { call, part } => (call, part),
        };
        let Some(waiting) = self.calls.get_mut(&call) else { return };
        waiting.parts[part] = Some(outcome);
        waiting.missing -= 1;
        if waiting.missing > 0 {
            return;
        }
        let Some(Call { waiter, whole, parts, .. }) = self.calls.remove(&call) else { return };
        let parts: Result<Vec<Reply>, GcsError> = parts.into_iter().flatten().collect();
        let outcome = parts.and_then(|replies| merge(&whole, replies));
        effects.push(ClientEffect::Done { waiter, outcome });
    }

    /// Requests that are not answered yet.
    #[cfg(test)]
    pub(crate) fn unanswered(&self) -> usize {
        self.links.iter().map(|link| link.queue.len() + link.in_flight.len()).sum()
    }
}
