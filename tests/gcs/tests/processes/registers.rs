//! Registers: clients read, write, swap and delete a few keys while replicas are killed, and what they were told, with what
//! they were never told, is checked for linearizability.
//!
//! A key is left after a while, and another one taken in its place, so that no history is too long to be judged.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use actinic_gcs::{
    linear::{check, Action, Operation, Outcome, Value, Verdict},
    tables::{KeyValueRead, KeyValueWrite, Reply},
};
use actinic_gcs_tests::{
    client::Client,
    cluster::{Cluster, Contacts},
    duration,
    rng::Rng,
    seed, trouble,
};
use bytes::Bytes;

use super::PROGRAM;

const KEYS: u64 = 3;
const CLIENTS: u64 = 5;
/// Operations on a key after which it is left.
const HISTORY_MAX: u64 = 1_500;
const NAMESPACE: &str = "registers";

/// What all clients share.
#[derive(Default)]
struct Shared {
    /// Orders calls and answers.
    clock: AtomicU64,
    /// How many operations each key had, the keys before it included.
    counts: [AtomicU64; KEYS as usize],
    next_value: AtomicU64,
    stop: AtomicBool,
}

/// Which key: its place, and how many were left in that place before.
type Key = (u64, u64);

fn value_of(bytes: Option<&Bytes>) -> Option<Value> {
    bytes.map(|bytes| Value::from_be_bytes(bytes[..].try_into().unwrap()))
}

fn bytes_of(value: Value) -> Bytes {
    Bytes::copy_from_slice(&value.to_be_bytes())
}

/// Asks once; gives nothing where the outcome is not known.
fn ask(client: &Client, key: Key, action: Action) -> Option<Outcome> {
    let (namespace, key) = (NAMESPACE.into(), Bytes::from(format!("{}/{}", key.0, key.1)));
    let write = match action {
        Action::Get => match client.gcs().read(KeyValueRead::Get { namespace, key }) {
            Ok(Reply::Value(value)) => return Some(Outcome::Value(value_of(value.as_ref()))),
            Ok(other) => panic!("a get is answered {other:?}"),
            Err(_) => return None,
        },
        Action::Put { value, overwrite } => KeyValueWrite::Put { namespace, key, value: bytes_of(value), overwrite },
        Action::Delete => KeyValueWrite::Delete { namespace, key },
        Action::Swap { expected, new } => {
            KeyValueWrite::CompareAndSwap { namespace, key, expected: expected.map(bytes_of), new: new.map(bytes_of) }
        }
    };
    match client.write(write).ok()? {
        Reply::Stored(stored) => Some(Outcome::Stored(stored)),
        Reply::Deleted(deleted) => Some(Outcome::Deleted(deleted)),
        other => panic!("a write is answered {other:?}"),
    }
}

/// What to do to a key of which this was last known.
fn draw(rng: &mut Rng, known: Option<Value>, new: Value) -> Action {
    match rng.below(10) {
        0..=3 => Action::Get,
        4..=5 => Action::Put { value: new, overwrite: true },
        6 => Action::Put { value: new, overwrite: false },
        7 => Action::Delete,
        _ => Action::Swap { expected: known, new: Some(new) },
    }
}

/// What one client asked and was told.
fn work(contacts: &Contacts, mut rng: Rng, shared: &Shared) -> Vec<(Key, Operation)> {
    let client = Client::connect(contacts, NAMESPACE);
    let mut known: BTreeMap<Key, Option<Value>> = BTreeMap::new();
    let mut history = Vec::new();
    let tick = || shared.clock.fetch_add(1, Ordering::SeqCst);
    while !shared.stop.load(Ordering::Relaxed) {
        let place = rng.below(KEYS);
        let count = shared.counts[place as usize].fetch_add(1, Ordering::Relaxed);
        let key = (place, count / HISTORY_MAX);
        let new = Value::try_from(shared.next_value.fetch_add(1, Ordering::Relaxed)).unwrap();
        let action = draw(&mut rng, known.get(&key).copied().flatten(), new);
        let called = tick();
        let outcome = ask(&client, key, action);
        let answered = outcome.map(|outcome| (tick(), outcome));
        let now = match (action, outcome) {
            (_, Some(Outcome::Value(value))) => Some(value),
            (Action::Put { value, .. }, Some(Outcome::Stored(true))) => Some(Some(value)),
            (Action::Swap { new, .. }, Some(Outcome::Stored(true))) => Some(new),
            (Action::Delete, Some(_)) => Some(None),
            _ => None,
        };
        known.extend(now.map(|value| (key, value)));
        history.push((key, Operation { action, called, answered }));
    }
    history
}

#[test]
fn what_clients_are_told_is_linearizable_whoever_is_killed() {
    let mut rng = Rng::new(seed("registers"));
    let mut cluster = Cluster::start(PROGRAM, 1);
    let (contacts, shared) = (cluster.contacts().clone(), Shared::default());
    let (troubles, histories) = thread::scope(|scope| {
        let (contacts, shared) = (&contacts, &shared);
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| rng.fork()).map(|rng| scope.spawn(move || work(contacts, rng, shared))).collect();
        let troubles = trouble::make(&mut cluster, &mut rng, duration());
        shared.stop.store(true, Ordering::Relaxed);
        (troubles, clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>())
    });
    let unknown = histories.iter().filter(|(_, operation)| operation.answered.is_none()).count();
    let count = histories.len();
    let mut keys: BTreeMap<Key, Vec<Operation>> = BTreeMap::new();
    for (key, operation) in histories {
        keys.entry(key).or_default().push(operation);
    }
    for (key, history) in &keys {
        match check(history) {
            Verdict::Linearizable => {}
            Verdict::Not(longest) => {
                panic!("key {key:?}: no order of its {} operations beyond {longest:#?}", history.len());
            }
            other => panic!("key {key:?}: {other:?}; make histories shorter"),
        }
    }
    println!("registers: {count} operations on {} keys, {unknown} without an answer; {troubles}", keys.len());
    assert!(count > 200, "hardly anything happened");
}
