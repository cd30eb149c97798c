//! Stores with any rows, opened: what a shard and a replica make of what is on their disks.
//!
//! Owns: how rows are written as one input, and samples that a shard and a replica have written themselves.

use actinic_gcs::{
    record,
    replica::{Addresses, Bootstrap, DiskCore, DiskJob, ReplicaConfig, ReplicaCore, ReplicaEffect, ReplicaId},
    shard::{ClientId, Filter, RequestId, ShardCore, ShardLimits, SubscriptionId},
    spec::{CallEntry, CallLogHead, Event, Severity, Subject},
    store::{Batch, Column, MemoryStore, Store},
    tables::{keys, EventWrite, HistoryWrite, JobWrite, KeyValueWrite, NodeWrite, Table, Write},
    ActorId, Millis, NodeId, TaskId,
};
use bytes::Bytes;

const ME: ReplicaId = ReplicaId(1);

/// Rows, each as its column, the length of its key, that of its value (2 bytes), and both.
fn store_of(mut bytes: &[u8]) -> MemoryStore {
    let (mut store, mut batch) = (MemoryStore::new(), Batch::new());
    while let [column, key, low, high, rest @ ..] = bytes {
        let column = Column::ALL[usize::from(*column) % Column::ALL.len()];
        let (key, rest) = rest.split_at(usize::from(*key).min(rest.len()));
        let (value, rest) = rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()));
        batch.put(column, Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        bytes = rest;
    }
    store.apply(batch).expect("memory takes all");
    store
}

fn rows_of(store: &MemoryStore) -> Vec<u8> {
    let mut all = Vec::new();
    for (number, column) in Column::ALL.iter().enumerate() {
        for (key, value) in store.scan(*column, b"", b"", usize::MAX).expect("memory gives all") {
            let length = u16::try_from(value.len()).expect("samples are short").to_le_bytes();
            all.extend([number as u8, key.len() as u8, length[0], length[1]]);
            all.extend_from_slice(&key);
            all.extend_from_slice(&value);
        }
    }
    all
}

/// A shard opens, and takes a write and a subscriber.
pub(crate) fn shard(bytes: &[u8]) -> bool {
    let Ok(mut shard) = ShardCore::open(store_of(bytes), ShardLimits::default()) else { return false };
    let (client, mut effects) = (ClientId(7), Vec::new());
    let written = write().into_iter().zip(1..).all(|(write, number)| {
        shard.on_request(Millis(9), RequestId(number), client, &write.into(), &mut effects).is_ok()
    });
    let filter = Filter::table(Table::KeyValue);
    let written = written && shard.on_tick(Millis(10), &mut effects).is_ok();
    written && shard.on_subscribe(client, SubscriptionId(1), filter, Some(0), &mut effects).is_ok()
}

/// A replica opens.
pub(crate) fn replica(bytes: &[u8]) -> bool {
    let Ok((_, recovered)) = DiskCore::open(store_of(bytes), &bootstrap(), ShardLimits::default()) else {
        return false;
    };
    ReplicaCore::open(ReplicaConfig::new(ME, 7), recovered).is_ok()
}

fn bootstrap() -> Bootstrap {
    Bootstrap::Found(Addresses::from([(ME, "a:1".to_owned())]))
}

fn write() -> Vec<Write> {
    let (namespace, key) = ("default".into(), Bytes::from_static(b"key"));
    let put = KeyValueWrite::Put { namespace, key, value: Bytes::from_static(b"value"), overwrite: true };
    let (actor, incarnation) = (ActorId(5), 3);
    let call = CallEntry { task: TaskId(1), caller: TaskId(2), sequence: 3 };
    let (at, node, subject) = (Millis(9), NodeId(7), Subject::Cluster);
    let (label, message) = ("label".to_owned(), "message".to_owned());
    let event = Event { at, node, severity: Severity::Info, subject, label, message };
    vec![
        put.into(),
        JobWrite::NextId.into(),
        EventWrite::Push(vec![event]).into(),
        HistoryWrite::Append { actor, incarnation, at: 0, calls: vec![call] }.into(),
        HistoryWrite::Trim { actor, incarnation, below: 0 }.into(),
        NodeWrite::Heartbeat { node, lease_ms: 5 }.into(),
        HistoryWrite::Drop(actor).into(),
    ]
}

/// What a shard has written.
pub(crate) fn shard_samples() -> Vec<Vec<u8>> {
    let mut shard = ShardCore::open(MemoryStore::new(), ShardLimits::default()).expect("an empty one opens");
    let mut effects = Vec::new();
    for number in 1..6 {
        for (write, client) in write().into_iter().take(4).zip([7, 8].into_iter().cycle()) {
            let asked = shard.on_request(Millis(5), RequestId(number), ClientId(client), &write.into(), &mut effects);
            asked.expect("memory takes all");
        }
    }
    vec![Vec::new(), rows_of(shard.store())]
}

/// Rows that no shard writes: numbers at the end of what they can be, and others that do not fit each other.
pub(crate) fn extremes() -> Vec<Vec<u8>> {
    const NUMBERS: [u64; 4] = [0, 1, u64::MAX - 1, u64::MAX];
    let pair =
        |one: u64, other: u64| [&[1, 0x92, 0xcf][..], &one.to_be_bytes(), &[0xcf], &other.to_be_bytes()].concat();
    let mut all = Vec::new();
    for one in NUMBERS {
        for other in NUMBERS {
            let mut batch = Batch::new();
            batch.put(Column::Meta, Bytes::from_static(b"shard"), pair(one, other));
            batch.put(Column::Meta, Bytes::from_static(b"events"), pair(one, other));
            batch.put(Column::Meta, Bytes::from_static(b"last_job"), Bytes::from_static(b"\x01\xce\xff\xff\xff\xff"));
            let head = CallLogHead { first: one, next: other, incarnation: 3 };
            batch.put(Column::CallLogHeads, keys::wide(5), record::encode(&head).expect("samples can be written"));
            batch.put(Column::Leases, keys::wide(7), [&[1, 0x91, 0xcf][..], &one.to_be_bytes()].concat());
            all.push(batch.clone());
            for changes in [&[1, 0x90][..], b"\x01\x91\x92\xa5Nodes\xc4\x03key"] {
                let mut batch = batch.clone();
                batch.put(Column::Changes, keys::number(one), Bytes::copy_from_slice(changes));
                batch.put(Column::Changes, keys::number(other), Bytes::copy_from_slice(changes));
                all.push(batch);
            }
        }
    }
    let rows = |batch: Batch| {
        let mut store = MemoryStore::new();
        store.apply(batch).expect("memory takes all");
        rows_of(&store)
    };
    all.into_iter().map(rows).collect()
}

/// What a replica has written: when it began, and with entries in its log.
pub(crate) fn replica_samples() -> Vec<Vec<u8>> {
    let begun =
        || DiskCore::open(MemoryStore::new(), &bootstrap(), ShardLimits::default()).expect("an empty one opens");
    let (mut disk, recovered) = begun();
    let mut core = ReplicaCore::open(ReplicaConfig::new(ME, 7), recovered).expect("it is well");
    for (write, number) in write().into_iter().zip(1..) {
        carry_out(&mut core, &mut disk);
        core.on_request(Millis(5), ClientId(7), RequestId(number), write.into(), &mut Vec::new());
    }
    carry_out(&mut core, &mut disk);
    vec![Vec::new(), rows_of(begun().0.shard().store()), rows_of(disk.shard().store())]
}

fn carry_out(core: &mut ReplicaCore, disk: &mut DiskCore<MemoryStore>) {
    loop {
        let (mut effects, mut done) = (Vec::new(), Vec::new());
        core.poll(&mut effects).expect("it is well");
        let jobs: Vec<DiskJob> = effects
            .into_iter()
            .filter_map(|effect| match effect {
                ReplicaEffect::Disk(job) => Some(job),
                _ => None,
            })
            .collect();
        if jobs.is_empty() {
            return;
        }
        disk.run(jobs, &mut done).and_then(|()| disk.flush(&mut done)).expect("memory takes all");
        done.into_iter().for_each(|done| core.on_disk(done, &mut Vec::new()).expect("it is well"));
    }
}
