//! Tests of the shard's core.

use std::collections::BTreeMap;

use proptest::prelude::*;

use bytes::Bytes;

use super::*;
use crate::tables::Table;
use crate::{
    shard::Scope,
    spec::NodeDeath,
    store::MemoryStore,
    tables::{keys, JobWrite, KeyValueRead, KeyValueWrite, NodeWrite, TableError, Update},
    testing::node,
    JobId,
};

const CLIENT: ClientId = ClientId(1);
const WATCHER: ClientId = ClientId(2);
const WATCH: SubscriptionId = SubscriptionId(1);

/// A core and its effects; every invariant is checked after each step.
struct Bench {
    core: ShardCore<MemoryStore>,
    limits: ShardLimits,
    number: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(ShardLimits::default())
    }

    fn with(limits: ShardLimits) -> Self {
        Self { core: ShardCore::open(MemoryStore::new(), limits).unwrap(), limits, number: 0 }
    }

    fn reopen(self) -> Self {
        let core = ShardCore::open(self.core.into_store(), self.limits).unwrap();
        core.sanity_check().unwrap();
        Self { core, ..self }
    }

    fn send(&mut self, client: ClientId, number: u64, what: impl Into<Request>) -> Vec<Effect> {
        self.send_at(Millis(0), client, number, what)
    }

    fn send_at(&mut self, now: Millis, client: ClientId, number: u64, what: impl Into<Request>) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.core.on_request(now, RequestId(number), client, &what.into(), &mut effects).unwrap();
        self.core.sanity_check().unwrap();
        effects
    }

    /// Sends a new write of [`CLIENT`] and gives the effects but for the reply, which must be a success.
    fn write(&mut self, write: impl Into<Write>) -> Vec<Effect> {
        self.number += 1;
        let mut effects = self.send(CLIENT, self.number, write);
        assert!(matches!(effects.remove(0), Effect::Reply { outcome: Ok(_), .. }));
        effects
    }

    fn subscribe(&mut self, filter: Filter, from: Option<u64>) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.core.on_subscribe(WATCHER, WATCH, filter, from, &mut effects).unwrap();
        self.core.sanity_check().unwrap();
        effects
    }

    fn tick(&mut self, now: Millis) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.core.on_tick(now, &mut effects).unwrap();
        effects
    }
}

fn outcome(effects: &[Effect]) -> Result<Reply, RequestError> {
    let [Effect::Reply { outcome, .. }, ..] = effects else { panic!("no reply in {effects:?}") };
    outcome.clone()
}

fn put(key: &'static str, value: &'static str) -> KeyValueWrite {
    let (key, value) = (Bytes::from_static(key.as_bytes()), Bytes::from_static(value.as_bytes()));
    KeyValueWrite::Put { namespace: "a".into(), key, value, overwrite: true }
}

fn delete(key: &'static str) -> KeyValueWrite {
    KeyValueWrite::Delete { namespace: "a".into(), key: Bytes::from_static(key.as_bytes()) }
}

fn changes(effects: &[Effect]) -> Vec<(u64, Bytes, Option<Bytes>)> {
    let change = |effect: &Effect| match effect {
        Effect::Notify { change, .. } => Some((change.sequence, change.key.slice(3..), change.value.clone())),
        _ => None,
    };
    effects.iter().filter_map(change).collect()
}

fn change(sequence: u64, key: &'static str, value: Option<&'static str>) -> (u64, Bytes, Option<Bytes>) {
    (sequence, Bytes::from_static(key.as_bytes()), value.map(|value| Bytes::from_static(value.as_bytes())))
}

#[test]
fn a_retried_write_is_answered_and_not_applied_again() {
    let mut bench = Bench::new();
    let first = bench.send(CLIENT, 1, JobWrite::NextId);
    let retry = bench.send(CLIENT, 1, JobWrite::NextId);
    assert_eq!(outcome(&first), Ok(Reply::JobId(JobId(1))));
    assert_eq!(first, retry);
    assert_eq!(outcome(&bench.send(CLIENT, 2, JobWrite::NextId)), Ok(Reply::JobId(JobId(2))));
    assert_eq!(outcome(&bench.send(WATCHER, 1, JobWrite::NextId)), Ok(Reply::JobId(JobId(3))));
}

#[test]
fn a_refusal_is_remembered_as_well() {
    let mut bench = Bench::new();
    let heartbeat = NodeWrite::Heartbeat { node: NodeId(1), lease_ms: 10 };
    let refused = Err(RequestError::Refused(TableError::NodeUnknown(NodeId(1))));
    assert_eq!(outcome(&bench.send(CLIENT, 1, heartbeat.clone())), refused);
    bench.send(CLIENT, 2, NodeWrite::Register { node: Box::new(node(1)), lease_ms: 10 });
    assert_eq!(outcome(&bench.send(CLIENT, 1, heartbeat.clone())), refused);
    assert_eq!(outcome(&bench.send(CLIENT, 3, heartbeat)), Ok(Reply::Done));
}

#[test]
fn a_retry_is_recognised_after_reopening() {
    let mut bench = Bench::new();
    bench.send(CLIENT, 1, JobWrite::NextId);
    let mut bench = bench.reopen();
    assert_eq!(outcome(&bench.send(CLIENT, 1, JobWrite::NextId)), Ok(Reply::JobId(JobId(1))));
    assert_eq!(bench.core.applied(), 1);
}

#[test]
fn a_request_older_than_the_window_is_not_guessed_at() {
    let mut bench = Bench::with(ShardLimits { requests_per_client_max: 3, ..ShardLimits::default() });
    for number in [1, 2, 5, 4] {
        bench.send(CLIENT, number, JobWrite::NextId);
    }
    assert_eq!(outcome(&bench.send(CLIENT, 1, JobWrite::NextId)), Err(RequestError::Forgotten));
    assert_eq!(outcome(&bench.send(CLIENT, 4, JobWrite::NextId)), Ok(Reply::JobId(JobId(4))));
    assert_eq!(outcome(&bench.send(CLIENT, 3, JobWrite::NextId)), Ok(Reply::JobId(JobId(5))));
}

#[test]
fn the_client_that_was_silent_longest_is_forgotten_first() {
    let mut bench = Bench::with(ShardLimits { clients_max: 2, ..ShardLimits::default() });
    for client in [1, 2, 1, 3] {
        let number = bench.core.applied() + 1;
        bench.send(ClientId(client), number, JobWrite::NextId);
    }
    assert_eq!(outcome(&bench.send(ClientId(1), 1, JobWrite::NextId)), Ok(Reply::JobId(JobId(1))));
    assert_eq!(outcome(&bench.send(ClientId(2), 2, JobWrite::NextId)), Ok(Reply::JobId(JobId(5))));
}

#[test]
fn a_reply_waits_until_what_it_shows_is_durable() {
    let mut bench = Bench::new();
    let order = |effects: Vec<Effect>| effects[0].order();
    assert_eq!(order(bench.send(CLIENT, 1, JobWrite::NextId)), Order::AfterDurable(1));
    assert_eq!(order(bench.send(CLIENT, 2, JobWrite::NextId)), Order::AfterDurable(2));
    assert_eq!(order(bench.send(CLIENT, 1, JobWrite::NextId)), Order::AfterDurable(1));
    let read = Read::from(KeyValueRead::Get { namespace: "a".into(), key: Bytes::from_static(b"k") });
    assert_eq!(order(bench.send(CLIENT, 3, read)), Order::AfterDurable(2));
    assert_eq!(order(bench.subscribe(Filter::table(Table::Jobs), None)), Order::AfterDurable(2));
}

#[test]
fn subscribers_hear_of_the_rows_that_they_watch_and_no_others() {
    for (filter, heard) in [
        (Filter::table(Table::KeyValue), vec![1, 2, 3]),
        (Filter::values("a", b"x/"), vec![1, 2]),
        (Filter::key(Table::KeyValue, keys::scoped("a", b"x/2")), vec![2]),
        (Filter::table(Table::Nodes), vec![]),
    ] {
        let mut bench = Bench::new();
        assert!(matches!(bench.subscribe(filter, None)[..], [Effect::Subscribed { sequence: 0, .. }]));
        let writes = [put("x/1", "1"), put("x/2", "2"), put("y", "3")];
        let effects: Vec<_> = writes.into_iter().flat_map(|write| bench.write(write)).collect();
        assert_eq!(changes(&effects).into_iter().map(|(sequence, ..)| sequence).collect::<Vec<_>>(), heard);
    }
}

#[test]
fn a_change_says_what_the_row_has_become() {
    let mut bench = Bench::new();
    bench.subscribe(Filter::table(Table::Nodes), None);
    let effects = bench.write(NodeWrite::Register { node: Box::new(node(1)), lease_ms: 10 });
    let [Effect::Notify { client: WATCHER, subscription: WATCH, change, order: Order::AfterDurable(1) }] = &effects[..]
    else {
        panic!("{effects:?}")
    };
    let Some(Update::Node(info)) = change.update().unwrap() else { panic!("{change:?}") };
    assert_eq!(info.spec, node(1));
}

#[test]
fn a_subscriber_that_resumes_hears_the_last_of_each_row_that_changed() {
    let mut bench = Bench::new();
    bench.write(put("x", "seen"));
    bench.write(put("y", "1"));
    bench.write(put("x", "2"));
    bench.write(put("z", "3"));
    bench.write(put("y", "4"));
    bench.write(delete("z"));
    let mut bench = bench.reopen();
    let effects = bench.subscribe(Filter::table(Table::KeyValue), Some(1));
    assert!(matches!(effects[0], Effect::Subscribed { sequence: 1, .. }));
    assert_eq!(changes(&effects), [change(3, "x", Some("2")), change(5, "y", Some("4")), change(6, "z", None)]);
    assert_eq!(changes(&bench.write(put("x", "7"))), [change(7, "x", Some("7"))]);
}

#[test]
fn a_subscriber_that_was_away_too_long_must_resync() {
    let mut bench = Bench::with(ShardLimits { changes_max: 3, ..ShardLimits::default() });
    for _ in 0..5 {
        bench.write(put("x", "1"));
    }
    let resync = |effects: Vec<Effect>| matches!(effects[..], [Effect::ResyncNeeded { sequence: 5, .. }]);
    let all = || Filter::table(Table::KeyValue);
    assert!(resync(bench.subscribe(all(), Some(1))));
    assert!(!resync(bench.subscribe(all(), Some(2))));
    assert!(!resync(bench.subscribe(all(), Some(5))));
    assert!(resync(bench.subscribe(all(), Some(6))), "a number from the future is of another history");
    assert!(resync(bench.subscribe(all(), Some(u64::MAX))));
    assert_eq!(changes(&bench.write(put("x", "6"))).len(), 1);
}

#[test]
fn whoever_unsubscribes_or_is_gone_hears_no_more() {
    let mut bench = Bench::new();
    let all = || Filter { table: Table::KeyValue, scope: Scope::All };
    bench.subscribe(all(), None);
    bench.core.on_unsubscribe(WATCHER, WATCH);
    assert!(bench.write(put("x", "1")).is_empty());
    bench.subscribe(all(), None);
    bench.core.on_client_gone(WATCHER);
    assert!(bench.write(put("x", "2")).is_empty());
}

#[test]
fn a_client_has_only_so_many_subscriptions() {
    let mut bench = Bench::with(ShardLimits { subscriptions_per_client_max: 1, ..ShardLimits::default() });
    bench.subscribe(Filter::table(Table::Nodes), None);
    bench.subscribe(Filter::table(Table::Jobs), None);
    let mut effects = Vec::new();
    let filter = Filter::table(Table::Nodes);
    bench.core.on_subscribe(WATCHER, SubscriptionId(2), filter, None, &mut effects).unwrap();
    let refused = Effect::SubscriptionRefused { client: WATCHER, subscription: SubscriptionId(2), max: 1 };
    assert_eq!(effects, [refused]);
}

#[test]
fn a_lease_that_ran_out_is_reported_until_the_node_is_dead() {
    let mut bench = Bench::new();
    let register = NodeWrite::Register { node: Box::new(node(1)), lease_ms: 500 };
    bench.send_at(Millis(1_000), CLIENT, 1, register);
    assert_eq!(bench.tick(Millis(1_500)), []);
    let expired = Effect::LeaseExpired { node: NodeId(1), lease_until: Millis(1_500) };
    for now in [1_501, 1_600] {
        assert_eq!(bench.tick(Millis(now)), std::slice::from_ref(&expired));
    }
    let lease_until = Some(Millis(1_500));
    bench.send(CLIENT, 2, NodeWrite::MarkDead { node: NodeId(1), cause: NodeDeath::LeaseExpired, lease_until });
    assert_eq!(bench.tick(Millis(1_700)), []);
}

/// A store that fails from its `n`-th write on.
struct Failing(MemoryStore, u32);

impl Store for Failing {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.get(column, key)
    }

    fn scan(
        &self,
        column: Column,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<crate::store::Row>, StoreError> {
        self.0.scan(column, prefix, from, limit)
    }

    fn apply(&mut self, batch: Batch) -> Result<(), StoreError> {
        if self.1 == 0 {
            return Err(StoreError::Io { column: Column::Meta, source: std::io::ErrorKind::StorageFull.into() });
        }
        self.1 -= 1;
        self.0.apply(batch)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.0.sync()
    }

    fn apply_rebuildable(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.apply(batch)
    }

    fn begin_persist(&mut self) -> Result<(), StoreError> {
        self.0.begin_persist()
    }

    fn finish_persist(&mut self) -> Result<(), StoreError> {
        self.0.finish_persist()
    }

    fn view(&self) -> Result<Box<dyn crate::store::View>, StoreError> {
        self.0.view()
    }

    fn clear_stage(&mut self) -> Result<(), StoreError> {
        self.0.clear_stage()
    }

    fn stage(&mut self, rows: &[(Column, Bytes, Bytes)]) -> Result<(), StoreError> {
        self.0.stage(rows)
    }

    fn install(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.0.install(batch)
    }
}

#[test]
fn writes_that_come_together_come_out_as_if_one_by_one() {
    let put = |key: &'static str, value: &'static str, overwrite| KeyValueWrite::Put {
        namespace: "".into(),
        key: Bytes::from_static(key.as_bytes()),
        value: Bytes::from_static(value.as_bytes()),
        overwrite,
    };
    let writes = [put("a", "1", true), put("a", "2", false), put("b", "1", true), put("a", "3", true)];
    let mut one_by_one = ShardCore::open(MemoryStore::new(), ShardLimits::default()).unwrap();
    let mut effects = Vec::new();
    for (number, write) in writes.iter().enumerate() {
        one_by_one
            .on_request(Millis(5), RequestId(number as u64), CLIENT, &write.clone().into(), &mut effects)
            .unwrap();
    }
    let mut together = ShardCore::open(MemoryStore::new(), ShardLimits::default()).unwrap();
    let numbered = writes
        .iter()
        .enumerate()
        .map(|(number, write)| (CLIENT, RequestId(number as u64), crate::tables::Write::from(write.clone())));
    let mut numbered: Vec<_> = numbered.collect();
    numbered.push(numbered[3].clone());
    let mut batched = Vec::new();
    together.on_writes(vec![(Millis(5), numbered)], Batch::new(), &mut batched).unwrap();
    assert_eq!(batched.pop(), effects.last().cloned(), "a retry in the same batch is answered, not applied");
    assert_eq!(batched, effects);
    together.sanity_check().unwrap();
    for column in [Column::KeyValue, Column::Meta] {
        let rows = |core: &ShardCore<MemoryStore>| core.store().scan(column, b"", b"", 10).unwrap();
        assert_eq!(rows(&together), rows(&one_by_one), "{column}");
    }
    let (mut later, mut again) = (Vec::new(), Vec::new());
    together.on_request(Millis(6), RequestId(1), CLIENT, &writes[1].clone().into(), &mut later).unwrap();
    one_by_one.on_request(Millis(6), RequestId(1), CLIENT, &writes[1].clone().into(), &mut again).unwrap();
    assert_eq!(later, again, "a later retry is answered as well");
}

#[test]
fn a_shard_whose_store_failed_says_nothing_more_until_it_is_opened_anew() {
    let limits = ShardLimits::default();
    let mut core = ShardCore::open(Failing(MemoryStore::new(), 1), limits).unwrap();
    let mut effects = Vec::new();
    let mut send = |core: &mut ShardCore<Failing>, number| {
        core.on_request(Millis(0), RequestId(number), CLIENT, &JobWrite::NextId.into(), &mut effects)
    };
    send(&mut core, 1).unwrap();
    assert!(matches!(send(&mut core, 2), Err(ShardFailed::Store(StoreError::Io { .. }))));
    assert!(matches!(send(&mut core, 2), Err(ShardFailed::Stopped)));
    assert_eq!(effects.len(), 1);
    let mut core = ShardCore::open(core.into_store().0, limits).unwrap();
    core.sanity_check().unwrap();
    let mut effects = Vec::new();
    core.on_request(Millis(0), RequestId(2), CLIENT, &JobWrite::NextId.into(), &mut effects).unwrap();
    assert_eq!(outcome(&effects), Ok(Reply::JobId(JobId(2))));
}

fn any_write() -> impl Strategy<Value = KeyValueWrite> {
    let key = prop::sample::select(vec!["x", "y", "z"]);
    let value = prop::sample::select(vec!["1", "2", "3"]);
    prop_oneof![(key.clone(), value).prop_map(|(k, v)| put(k, v)), key.prop_map(delete)]
}

/// Applies what a subscriber is told to what it believes.
fn believe(belief: &mut BTreeMap<Bytes, Bytes>, seen: &mut u64, effects: &[Effect]) {
    for (sequence, key, value) in changes(effects) {
        assert!(sequence > *seen, "changes come in order");
        *seen = sequence;
        match value {
            Some(value) => drop(belief.insert(key, value)),
            None => drop(belief.remove(&key)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn writes_delivered_more_than_once_come_out_as_if_delivered_once(
        writes in prop::collection::vec((any_write(), 1..4_usize), 0..30),
    ) {
        let (mut once, mut often) = (Bench::new(), Bench::new());
        for (number, (write, times)) in writes.into_iter().enumerate() {
            let expected = once.send(CLIENT, number as u64, write.clone());
            for _ in 0..times {
                prop_assert_eq!(&often.send(CLIENT, number as u64, write.clone()), &expected);
            }
        }
        prop_assert_eq!(once.core.store(), often.core.store());
    }

    #[test]
    fn a_subscriber_that_comes_and_goes_ends_up_knowing_every_row(
        steps in prop::collection::vec((any_write(), any::<bool>(), any::<bool>()), 0..40),
    ) {
        let mut bench = Bench::with(ShardLimits { changes_max: 64, ..ShardLimits::default() });
        let (mut belief, mut seen, mut connected) = (BTreeMap::new(), 0, false);
        let watch = || Filter::table(Table::KeyValue);
        for (write, toggle, reopen) in steps {
            if reopen {
                bench = bench.reopen();
                connected = false;
            }
            if toggle && connected {
                bench.core.on_client_gone(WATCHER);
                connected = false;
            } else if toggle {
                let effects = bench.subscribe(watch(), Some(seen));
believe(&mut belief, &mut seen, &effects);
                connected = true;
            }
            believe(&mut belief, &mut seen, &bench.write(write));
        }
        let effects = bench.subscribe(watch(), Some(seen));
believe(&mut belief, &mut seen, &effects);
        let rows = bench.core.store().scan(Column::KeyValue, b"", b"", usize::MAX).unwrap();
        let rows: BTreeMap<_, _> = rows.into_iter().map(|(key, value)| (key.slice(3..), value)).collect();
        prop_assert_eq!(belief, rows);
    }
}
