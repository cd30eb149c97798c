//! Clients: what they ask, whom, and how often.
//!
//! Owns: the requests under way, following the leader, and retries under the same number. Invariants: a client's numbers
//! under way lie within its window; a retry is the same operation of the history.

use std::collections::BTreeMap;

use actinic_gcs::{
    linear::{Action, Operation, Outcome, Value},
    replica::ReplicaId,
    shard::{ClientId, Request, RequestError, RequestId},
    tables::{KeyValueRead, KeyValueWrite, Read, Reply, Write},
};
use bytes::Bytes;

use super::{
    event::{Event, ToClient, ToHost, ToWatcher},
    plan::MILLISECOND,
    watch::Watch,
    world::World,
};

pub(crate) const NAMESPACE: &str = "sim";

/// A request under way.
pub(crate) struct Asked {
    pub(crate) key: u8,
    pub(crate) what: Request,
    /// Its place in the history of its client; a watcher's reads have none.
    operation: Option<usize>,
    sent_at: u64,
    again_at: Option<u64>,
}

/// A client.
pub(crate) struct Client {
    pub(crate) id: ClientId,
    number: u64,
    pub(crate) asked: BTreeMap<RequestId, Asked>,
    pub(crate) connection: Option<usize>,
    hint: Option<ReplicaId>,
    connect_at: u64,
    next_at: u64,
    /// What it last knew of each key.
    known: BTreeMap<u8, Option<Value>>,
    pub(crate) history: Vec<(u8, Operation)>,
    stale: BTreeMap<RequestId, u8>,
    /// Whether it makes up requests by itself.
    pub(crate) busy: bool,
    pub(crate) watch: Option<Watch>,
}

pub(crate) fn key_name(key: u8) -> Bytes {
    Bytes::from(vec![b'k', b'0' + key % 2, b'0' + key])
}

/// A value's bytes; some are longer than others.
fn value_bytes(value: Value) -> Bytes {
    let mut bytes = value.to_be_bytes().to_vec();
    bytes.resize(4 + (value as usize * 7) % 90, b'.');
    Bytes::from(bytes)
}

pub(crate) fn value_of(bytes: Option<&Bytes>) -> Option<Value> {
    bytes.map(|bytes| u32::from_be_bytes(*bytes.first_chunk().expect("values have four bytes at least")))
}

pub(crate) fn read_of(key: u8) -> Read {
    KeyValueRead::Get { namespace: NAMESPACE.into(), key: key_name(key) }.into()
}

fn request_of(key: u8, action: Action) -> Request {
    let (namespace, key_bytes) = (NAMESPACE.into(), key_name(key));
    let write = match action {
        Action::Get => return Request::Read(read_of(key)),
        Action::Put { value, overwrite } => {
            KeyValueWrite::Put { namespace, key: key_bytes, value: value_bytes(value), overwrite }
        }
        Action::Delete => KeyValueWrite::Delete { namespace, key: key_bytes },
        Action::Swap { expected, new } => KeyValueWrite::CompareAndSwap {
            namespace,
            key: key_bytes,
            expected: expected.map(value_bytes),
            new: new.map(value_bytes),
        },
    };
    Request::Write(Write::from(write))
}

impl World {
    pub(crate) fn add_client(&mut self, watches: bool) {
        let id = ClientId(u128::from(self.rng.next()) << 64 | self.clients.len() as u128);
        let watch = watches.then(|| Watch::draw(&mut self.rng, self.plan.keys));
        let busy = !watches;
        let client = Client {
            id,
            number: 0,
            asked: BTreeMap::new(),
            connection: None,
            hint: None,
            connect_at: 0,
            next_at: 0,
            known: BTreeMap::new(),
            history: Vec::new(),
            stale: BTreeMap::new(),
            busy,
            watch,
        };
        self.clients.push(client);
        let (at, client) = (self.now + self.rng.below(20 * MILLISECOND), self.clients.len() - 1);
        self.queue.push(at, Event::ClientWakes { client });
    }

    /// A client's process ends; another one comes in its place.
    pub(crate) fn crash_client(&mut self, client: usize) {
        let state = &mut self.clients[client];
        state.busy = false;
        state.asked.clear();
        let (watched, connection) = (state.watch.take().is_some(), state.connection.take());
        if let Some(connection) = connection {
            self.break_connection(connection);
        }
        self.add_client(watched);
    }

    pub(crate) fn client_wakes(&mut self, client: usize) {
        let again = self.now + self.rng.range(5, 15) * MILLISECOND;
        self.queue.push(again, Event::ClientWakes { client });
        let (state, patience) = (&mut self.clients[client], self.plan.patience_us);
        let waits = state.asked.values().any(|asked| asked.sent_at + patience < self.now);
        let watch_waits = state.watch.as_ref().is_some_and(|watch| watch.waits_since(self.now, patience));
        if state.connection.is_some() && (waits || watch_waits) {
            self.turn_away(client, None);
        }
        if self.clients[client].connection.is_none() && self.clients[client].connect_at <= self.now {
            self.turn_to(client);
        }
        self.ask_again(client);
        self.ask_more(client);
        if self.rng.chance(10) {
            self.subscribe_anew(client);
        }
    }

    /// Leaves a replica, for the one that `hint` names.
    fn turn_away(&mut self, client: usize, hint: Option<ReplicaId>) {
        let pause = self.rng.range(1, 60) * MILLISECOND;
        let state = &mut self.clients[client];
        state.hint = hint;
        state.connect_at = if hint.is_some() { self.now } else { self.now + pause };
        if let Some(connection) = state.connection.take() {
            self.break_connection(connection);
        }
    }

    fn turn_to(&mut self, client: usize) {
        let watches = self.clients[client].watch.is_some();
        if self.clients[client].asked.is_empty() && !self.clients[client].busy && !watches {
            return;
        }
        let hint = self.clients[client].hint.take();
        let host = self.whom_to_ask(hint);
        let connection = self.connect(client, host);
        let state = &mut self.clients[client];
        state.connection = Some(connection);
        let mut again = Vec::with_capacity(state.asked.len());
        for (request, asked) in &mut state.asked {
            (asked.sent_at, asked.again_at) = (self.now, None);
            again.push(ToHost::Ask(*request, asked.what.clone()));
        }
        again.extend(state.watch.as_mut().map(|watch| watch.subscribe(self.now)));
        for message in again {
            self.send_to_host(connection, message);
        }
        self.read_unread(client);
    }

    /// Sends again what was too much for the replica.
    fn ask_again(&mut self, client: usize) {
        let state = &mut self.clients[client];
        let Some(connection) = state.connection else { return };
        let mut again = Vec::new();
        for (request, asked) in &mut state.asked {
            if asked.again_at.is_some_and(|at| at <= self.now) {
                asked.again_at = None;
                again.push(ToHost::Ask(*request, asked.what.clone()));
            }
        }
        for message in again {
            self.send_to_host(connection, message);
        }
    }

    fn ask_more(&mut self, client: usize) {
        loop {
            let state = &self.clients[client];
            let oldest = state.asked.keys().next().map_or(state.number + 1, |request| request.0);
            let room = state.number + 1 - oldest < self.plan.window as u64;
            if !state.busy || !room || state.next_at > self.now {
                return;
            }
            let next_at = self.now + self.rng.below(self.plan.think_us);
            self.clients[client].next_at = next_at;
            let key = self.rng.below(u64::from(self.plan.keys)) as u8;
            if self.rng.chance(self.plan.stale_reads) {
                self.ask_anyone(client, key);
            } else {
                let action = self.draw_action(client, key);
                self.ask(client, key, action);
            }
        }
    }

    fn draw_action(&mut self, client: usize, key: u8) -> Action {
        if client < self.plan.readers || self.rng.chance(self.plan.reads) {
            return Action::Get;
        }
        self.values += 1;
        let value = self.values;
        let expected = self.clients[client].known.get(&key).copied().flatten();
        match self.rng.below(10) {
            0..=3 => Action::Put { value, overwrite: true },
            4 => Action::Put { value, overwrite: false },
            5 => Action::Delete,
            6 => Action::Swap { expected, new: None },
            _ => Action::Swap { expected, new: Some(value) },
        }
    }

    /// An operation of the history.
    pub(crate) fn ask(&mut self, client: usize, key: u8, action: Action) {
        self.moment += 1;
        self.checks.counts.operations += 1;
        let operation = Operation { action, called: self.moment, answered: None };
        let state = &mut self.clients[client];
        state.history.push((key, operation));
        let place = state.history.len() - 1;
        self.send_request(client, key, request_of(key, action), Some(place));
    }

    pub(crate) fn send_request(&mut self, client: usize, key: u8, what: Request, operation: Option<usize>) {
        let state = &mut self.clients[client];
        state.number += 1;
        let request = RequestId(state.number);
        let asked = Asked { key, what: what.clone(), operation, sent_at: self.now, again_at: None };
        state.asked.insert(request, asked);
        if let Some(connection) = state.connection {
            self.send_to_host(connection, ToHost::Ask(request, what));
        }
    }

    fn ask_anyone(&mut self, client: usize, key: u8) {
        let host = self.whom_to_ask(None);
        let state = &mut self.clients[client];
        // Numbers of stale reads are apart: they are not among those that the window bounds.
        let request = RequestId((1 << 63) + state.stale.len() as u64);
        state.stale.insert(request, key);
        let at = self.now + self.network.delay(&mut self.rng);
        self.queue.push(at, Event::StaleRead { host, client, request, read: read_of(key) });
    }

    pub(crate) fn stale_answer(&mut self, client: usize, request: RequestId, answer: &Result<Reply, RequestError>) {
        let Some(key) = self.clients[client].stale.get(&request).copied() else { return };
        let Ok(Reply::Value(value)) = answer else {
            return self.checks.fail("a stale read is answered", format!("{answer:?}"));
        };
        let Some(value) = value_of(value.as_ref()) else { return };
        let writes = |(at, operation): &(u8, Operation)| {
            *at == key
                && match operation.action {
                    Action::Put { value: new, .. } => new == value,
                    Action::Swap { new, .. } => new == Some(value),
                    Action::Get | Action::Delete => false,
                }
        };
        if !self.clients.iter().flat_map(|client| &client.history).any(writes) {
            self.checks.fail("a stale read gives what was written", format!("{value} at key {key}"));
        }
    }

    // --- what replicas say -----------------------------------------------------------------------------------------

    pub(crate) fn at_client(&mut self, connection: usize, message: ToClient) {
        let client = self.network.connections[connection].client;
        if !self.network.connections[connection].open || self.clients[client].connection != Some(connection) {
            return;
        }
        match message {
            ToClient::Answer(request, answer) => self.answered(client, request, answer),
            ToClient::Leader { led: false, .. } => {}
            ToClient::Leader { leader, led: true } => self.turn_away(client, leader),
            ToClient::Watch(subscription, ToWatcher::Refused { leader }) => {
                if self.clients[client].watch.as_ref().is_some_and(|watch| watch.number == subscription.0) {
                    self.turn_away(client, leader);
                }
            }
            ToClient::Watch(subscription, what) => {
                if self.clients[client].watch.as_ref().is_some_and(|watch| watch.number == subscription.0) {
                    self.watched(client, what);
                }
            }
        }
    }

    pub(crate) fn client_lost(&mut self, connection: usize) {
        let client = self.network.connections[connection].client;
        if self.clients[client].connection == Some(connection) {
            self.turn_away(client, None);
        }
    }

    fn answered(&mut self, client: usize, request: RequestId, answer: Result<Reply, RequestError>) {
        let again = self.now + self.rng.range(2, 40) * MILLISECOND;
        let Some(asked) = self.clients[client].asked.get_mut(&request) else { return };
        let outcome = match answer {
            Ok(Reply::Stored(stored)) => Outcome::Stored(stored),
            Ok(Reply::Deleted(deleted)) => Outcome::Deleted(deleted),
            Ok(Reply::Value(value)) => Outcome::Value(value_of(value.as_ref())),
            Err(RequestError::NotLeader { leader }) => return self.turn_away(client, leader.map(ReplicaId)),
            Err(RequestError::Busy) => {
                asked.again_at = Some(again);
                return;
            }
            other => {
                let detail = format!("client {client}, {request:?}: {other:?}");
                return self.checks.fail("every request has an answer that fits", detail);
            }
        };
        let (key, operation) = (asked.key, asked.operation);
        self.clients[client].asked.remove(&request);
        let Some(operation) = operation else { return self.read_again(client, key, outcome) };
        self.moment += 1;
        self.checks.counts.answered += 1;
        let state = &mut self.clients[client];
        let (_, done) = &mut state.history[operation];
        done.answered = Some((self.moment, outcome));
        let now = match (done.action, outcome) {
            (Action::Get, Outcome::Value(value)) => value,
            (Action::Put { value, .. }, Outcome::Stored(true)) => Some(value),
            (Action::Swap { new, .. }, Outcome::Stored(true)) => new,
            _ => None,
        };
        state.known.insert(key, now);
        self.ask_more(client);
    }
}
