//! Tests of checkpoints and call logs.

use super::*;
use crate::{testing::Bench, TaskId};

const ACTOR: ActorId = ActorId(1);

fn call(n: u64) -> CallEntry {
    CallEntry { task: TaskId(u128::from(n)), caller: TaskId(0), sequence: n }
}

fn append(bench: &mut Bench, incarnation: u32, at: u64, len: u64) -> Result<Reply, TableError> {
    let calls = (at..at + len).map(call).collect();
    bench.apply(HistoryWrite::Append { actor: ACTOR, incarnation, at, calls })
}

fn save(bench: &mut Bench, through: u64) -> Result<Reply, TableError> {
    let state = CheckpointState::Inline(Bytes::from_static(b"state"));
    bench.apply(HistoryWrite::Checkpoint { actor: ACTOR, incarnation: 0, through, state })
}

fn trim(bench: &mut Bench, below: u64) -> Result<Reply, TableError> {
    bench.apply(HistoryWrite::Trim { actor: ACTOR, incarnation: 0, below })
}

fn positions(bench: &Bench, from: u64) -> Vec<u64> {
    let Ok(Reply::CallLog(page)) = bench.read(HistoryRead::Calls { actor: ACTOR, from, limit: 100 }) else {
        panic!("no calls")
    };
    assert!(page.items.iter().all(|(at, entry)| *entry == call(*at)));
    page.items.into_iter().map(|(at, _)| at).collect()
}

fn head(first: u64, next: u64, incarnation: u32) -> Result<Reply, TableError> {
    Ok(Reply::CallLogHead(CallLogHead { first, next, incarnation }))
}

#[test]
fn calls_are_read_in_the_order_in_which_they_were_appended() {
    let mut bench = Bench::new();
    assert_eq!(append(&mut bench, 0, 0, 3), head(0, 3, 0));
    assert_eq!(append(&mut bench, 0, 3, 2), head(0, 5, 0));
    assert_eq!(positions(&bench, 0), [0, 1, 2, 3, 4]);
    assert_eq!(positions(&bench, 3), [3, 4]);
}

#[test]
fn the_log_has_no_gaps_and_no_overlaps() {
    let mut bench = Bench::new();
    append(&mut bench, 0, 0, 3).unwrap();
    for given in [2, 4] {
        assert_eq!(append(&mut bench, 0, given, 1), Err(TableError::CallLogGap { actor: ACTOR, expected: 3, given }));
    }
}

#[test]
fn an_incarnation_that_is_over_cannot_append() {
    let mut bench = Bench::new();
    append(&mut bench, 0, 0, 2).unwrap();
    assert_eq!(bench.apply(HistoryWrite::Open { actor: ACTOR, incarnation: 1 }), head(0, 2, 1));
    let refusal = TableError::StaleIncarnation { actor: ACTOR, given: 0, current: 1 };
    assert_eq!(append(&mut bench, 0, 2, 1), Err(refusal.clone()));
    assert_eq!(save(&mut bench, 1), Err(refusal));
    assert_eq!(append(&mut bench, 1, 2, 1), head(0, 3, 1));
}

#[test]
fn only_what_a_checkpoint_holds_is_trimmed() {
    let mut bench = Bench::new();
    append(&mut bench, 0, 0, 5).unwrap();
    let refusal = TableError::CallLogRange { actor: ACTOR, given: 3, first: 0, last: 0 };
    assert_eq!(trim(&mut bench, 3), Err(refusal));
    save(&mut bench, 3).unwrap();
    assert_eq!(trim(&mut bench, 3), head(3, 5, 0));
    assert_eq!(positions(&bench, 0), [3, 4]);
}

#[test]
fn a_checkpoint_neither_goes_back_nor_ahead_of_the_log() {
    let mut bench = Bench::at(Millis(4));
    append(&mut bench, 0, 0, 5).unwrap();
    save(&mut bench, 3).unwrap();
    for given in [2, 6] {
        let refusal = TableError::CallLogRange { actor: ACTOR, given, first: 3, last: 5 };
        assert_eq!(save(&mut bench, given), Err(refusal));
    }
    let state = CheckpointState::Inline(Bytes::from_static(b"state"));
    let expected = Checkpoint { through: 3, state, at: Millis(4) };
    assert_eq!(bench.read(HistoryRead::Checkpoint(ACTOR)), Ok(Reply::Checkpoint(Some(Box::new(expected)))));
}

#[test]
fn a_large_checkpoint_belongs_in_an_object() {
    let mut bench = Bench::new();
    let state = CheckpointState::Inline(Bytes::from(vec![0; limits::CHECKPOINT_BYTES_MAX + 1]));
    let write = HistoryWrite::Checkpoint { actor: ACTOR, incarnation: 0, through: 0, state };
    assert!(matches!(bench.apply(write), Err(TableError::TooLarge { what: Bound::CheckpointBytes, .. })));
}

#[test]
fn a_dropped_history_leaves_no_rows_and_takes_bounded_steps() {
    let mut bench = Bench::new();
    let len = limits::TRIM_LEN_MAX + 1;
    append(&mut bench, 0, 0, limits::TRIM_LEN_MAX).unwrap();
    append(&mut bench, 0, limits::TRIM_LEN_MAX, 1).unwrap();
    assert_eq!(bench.apply(HistoryWrite::Drop(ACTOR)), head(limits::TRIM_LEN_MAX, len, 0));
    assert_eq!(bench.apply(HistoryWrite::Drop(ACTOR)), head(len, len, 0));
    for column in [Column::CallLog, Column::CallLogHeads, Column::Checkpoints] {
        assert_eq!(bench.store.rows(column), 0);
    }
}
