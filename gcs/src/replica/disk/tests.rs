//! What a replica's store survives, and what it refuses.

use raft::eraftpb::{Entry, HardState};

use super::*;
use crate::{
    replica::{
        entry::{self, Proposal},
        ReplicaId,
    },
    shard::{ClientId, RequestId},
    store::MemoryStore,
    tables::JobWrite,
    Millis,
};

fn found() -> Bootstrap {
    Bootstrap::Found([(ReplicaId(1), "here".to_owned())].into())
}

fn open(store: MemoryStore) -> Result<(DiskCore<MemoryStore>, Recovered), ReplicaFailed> {
    DiskCore::open(store, &found(), ShardLimits::default())
}

fn entry_at(index: u64, term: u64) -> Entry {
    let write = record::encode(&Write::from(JobWrite::NextId)).unwrap();
    let writes = vec![(ClientId(1), RequestId(index), write)];
    let data = Proposal { now: Millis(index), writes }.encode().unwrap();
    Entry { index, term, data: data.into(), ..Entry::default() }
}

fn append(ticket: u64, term: u64, indexes: std::ops::RangeInclusive<u64>) -> DiskJob {
    let hard_state = Some(HardState { term, commit: 1, ..HardState::default() });
    let entries = indexes.map(|index| entry_at(index, term)).collect();
    DiskJob::Append { ticket, hard_state, entries, must_sync: true }
}

fn apply(disk: &DiskCore<MemoryStore>, indexes: std::ops::RangeInclusive<u64>, term: u64) -> DiskJob {
    let position = Position { index: *indexes.end(), term, ..disk.position().clone() };
    DiskJob::Apply { entries: indexes.map(|index| entry_at(index, term)).collect(), position, answer: true }
}

fn run(disk: &mut DiskCore<MemoryStore>, jobs: Vec<DiskJob>) -> Vec<DiskDone> {
    let mut done = Vec::new();
    disk.run(jobs, &mut done).unwrap();
    disk.flush(&mut done).unwrap();
    disk.sanity_check().unwrap();
    done
}

#[test]
fn a_new_group_begins_after_entry_one() {
    let (disk, recovered) = open(MemoryStore::new()).unwrap();
    assert_eq!(recovered.truncated, (1, 1));
    assert_eq!(recovered.position.members.voters, [1]);
    let again = open(disk.into_store().unwrap()).unwrap().1;
    assert_eq!(again.position, recovered.position);
}

#[test]
fn jobs_of_one_round_are_acknowledged_by_one_flush() {
    let (mut disk, _) = open(MemoryStore::new()).unwrap();
    let mut done = Vec::new();
    disk.run([append(1, 2, 2..=3), append(2, 2, 4..=4)], &mut done).unwrap();
    assert!(done.is_empty(), "nothing is durable yet");
    disk.flush(&mut done).unwrap();
    assert!(matches!(done[..], [DiskDone::Synced, DiskDone::Persisted(1), DiskDone::Persisted(2)]));
}

#[test]
fn entries_of_a_newer_term_replace_those_behind_them() {
    let (mut disk, _) = open(MemoryStore::new()).unwrap();
    run(&mut disk, vec![append(1, 2, 2..=9)]);
    run(&mut disk, vec![append(2, 3, 4..=5)]);
    let (_, recovered) = open(disk.into_store().unwrap()).unwrap();
    let terms: Vec<u64> = recovered.entries.iter().map(|entry| entry.term).collect();
    assert_eq!(terms, [2, 2, 3, 3]);
}

#[test]
fn the_log_is_dropped_up_to_what_is_applied() {
    let (mut disk, _) = open(MemoryStore::new()).unwrap();
    run(&mut disk, vec![append(1, 2, 2..=3_000)]);
    let job = apply(&disk, 2..=2_900, 2);
    run(&mut disk, vec![job, DiskJob::Compact { index: 2_500, term: 2 }]);
    assert_eq!(disk.shard().store().rows(Column::Log), 2_999, "the tables are not persisted yet");
    run(&mut disk, vec![DiskJob::Compact { index: 2_600, term: 2 }]);
    assert_eq!(disk.shard().store().rows(Column::Log), 500);
    let (_, recovered) = open(disk.into_store().unwrap()).unwrap();
    assert_eq!((recovered.truncated, recovered.position.index, recovered.entries.len()), ((2_500, 2), 2_900, 500));
}

#[test]
fn tables_behind_the_log_are_applied_again_and_come_out_the_same() {
    let (mut disk, _) = open(MemoryStore::new()).unwrap();
    run(&mut disk, vec![append(1, 2, 2..=40)]);
    let job = apply(&disk, 2..=10, 2);
    run(&mut disk, vec![job]);
    // What a crash leaves that takes the tables' newest rows.
    let behind = disk.shard().store().clone();
    let job = apply(&disk, 11..=40, 2);
    run(&mut disk, vec![job]);
    let (mut again, recovered) = open(behind).unwrap();
    assert_eq!((recovered.position.index, recovered.hard_state.commit, recovered.entries.len()), (10, 10, 39));
    let job = apply(&again, 11..=25, 2);
    run(&mut again, vec![job]);
    let job = apply(&again, 26..=40, 2);
    run(&mut again, vec![job]);
    assert_eq!(again.shard().store(), disk.shard().store(), "but for how they are grouped, they are the same entries");
}

#[test]
fn tables_behind_the_beginning_of_their_log_are_refused() {
    let (mut disk, _) = open(MemoryStore::new()).unwrap();
    run(&mut disk, vec![append(1, 2, 2..=9)]);
    let job = apply(&disk, 2..=8, 2);
    run(&mut disk, vec![job]);
    let behind = disk.shard().store().get(Column::Raft, POSITION).unwrap().unwrap();
    run(&mut disk, vec![append(2, 2, 10..=20)]);
    let job = apply(&disk, 9..=20, 2);
    run(&mut disk, vec![job, DiskJob::Compact { index: 15, term: 2 }, DiskJob::Compact { index: 15, term: 2 }]);
    let mut store = disk.into_store().unwrap();
    let mut batch = Batch::new();
    batch.put(Column::Raft, POSITION, behind);
    store.apply(batch).unwrap();
    let error = open(store).err().unwrap().to_string();
    assert!(error.contains("it begins after entry 15, and the tables are at entry 8"), "{error}");
}

#[test]
fn a_damaged_entry_is_refused_by_name() {
    let (mut disk, _) = open(MemoryStore::new()).unwrap();
    run(&mut disk, vec![append(1, 2, 2..=4)]);
    let mut store = disk.into_store().unwrap();
    let mut row = store.get(Column::Log, &entry::row_key(3)).unwrap().unwrap().to_vec();
    row[12] ^= 1;
    let mut batch = Batch::new();
    batch.put(Column::Log, entry::row_key(3), row);
    store.apply(batch).unwrap();
    let error = open(store).err().unwrap().to_string();
    assert!(error.contains("entry 3: its checksum does not fit") && error.contains("add it anew"), "{error}");
}

#[test]
fn a_log_that_lost_what_it_had_agreed_to_is_refused() {
    let (mut disk, _) = open(MemoryStore::new()).unwrap();
    run(&mut disk, vec![append(1, 2, 2..=9)]);
    let job = apply(&disk, 2..=8, 2);
    run(&mut disk, vec![job]);
    for gone in [9, 5] {
        let mut store = disk.shard().store().clone();
        let mut batch = Batch::new();
        (gone..=9).for_each(|index| batch.delete(Column::Log, entry::row_key(index)));
        store.apply(batch).unwrap();
        assert_eq!(open(store).is_err(), gone == 5, "an entry that was never agreed to may be missing, {gone}");
    }
    let mut store = disk.into_store().unwrap();
    let mut batch = Batch::new();
    batch.delete(Column::Log, entry::row_key(4));
    store.apply(batch).unwrap();
    assert!(open(store).err().unwrap().to_string().contains("entry 4 is gone"));
}

#[test]
fn an_installed_snapshot_replaces_tables_and_log() {
    let (mut from, _) = open(MemoryStore::new()).unwrap();
    run(&mut from, vec![append(1, 2, 2..=50)]);
    let jobs = vec![apply(&from, 2..=50, 2), DiskJob::TakeSnapshot(7)];
    let done = run(&mut from, jobs);
    let Some(DiskDone::Snapshot(7, position)) = done.into_iter().nth(2) else { panic!("no snapshot") };
    let (mut to, _) = DiskCore::open(MemoryStore::new(), &Bootstrap::Join, ShardLimits::default()).unwrap();
    run(&mut to, vec![append(1, 1, 1..=3)]);
    let (mut after, mut number) = (None, 0);
    loop {
        let job =
            DiskJob::ReadChunk { snapshot: 7, transfer: 1, to: ReplicaId(2), after: after.clone(), bytes_max: 40 };
        let Some(DiskDone::Chunk { rows, last, .. }) = run(&mut from, vec![job]).pop() else { panic!("no chunk") };
        after = rows.last().map(|(column, key, _)| (*column, key.clone()));
        run(&mut to, vec![DiskJob::Stage { transfer: 1, number, rows }]);
        number += 1;
        if last {
            break;
        }
    }
    assert!(number > 3, "it came in chunks");
    let hard_state = Some(HardState { term: 2, commit: 50, ..HardState::default() });
    run(&mut to, vec![DiskJob::Install { ticket: 2, hard_state, entries: vec![entry_at(51, 2)], position }]);
    assert_eq!(to.shard().applied(), from.shard().applied());
    let job = apply(&to, 51..=51, 2);
    let done = run(&mut to, vec![job]);
    assert!(done.iter().any(|done| matches!(done, DiskDone::Effects(effects) if effects.len() == 1)));
}
