//! How long objects stay in a node's store, with hand-made processes.

mod loans;

use actinic_gcs::WorkerId;

use super::*;

const ME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);

fn process(worker: u32) -> ProcessId {
    ProcessId { node: ME, worker: WorkerId(worker) }
}

fn away(serial: u64) -> StoredId {
    StoredId { node: OTHER, serial }
}

struct Bench {
    core: TableCore,
    effects: Vec<TableEffect>,
}

impl Bench {
    fn new() -> Self {
        Self { core: TableCore::new(ME), effects: Vec::new() }
    }

    fn sealed_by(&mut self, by: ProcessId) -> StoredId {
        let stored = self.core.on_reserved(by, 100).unwrap();
        self.act(|core, effects| core.on_seal(stored, by, effects));
        assert_eq!(self.take(), [TableEffect::Seal(stored)]);
        stored
    }

    fn act(&mut self, act: impl FnOnce(&mut TableCore, &mut Vec<TableEffect>)) {
        act(&mut self.core, &mut self.effects);
        self.core.sanity_check();
    }

    fn take(&mut self) -> Vec<TableEffect> {
        std::mem::take(&mut self.effects)
    }
}

#[test]
fn an_object_goes_from_its_maker_to_its_owner_and_is_freed_by_it() {
    for claim_first in [false, true] {
        let mut bench = Bench::new();
        let (maker, owner) = (process(1), process(2));
        let stored = bench.sealed_by(maker);
        if claim_first {
            bench.act(|core, effects| core.on_claim(stored, owner, effects));
        }
        bench.act(|core, effects| core.on_pass(stored, maker, owner, effects));
        bench.act(|core, effects| core.on_release(stored, maker, effects));
        if !claim_first {
            assert_eq!(bench.core.len(), 1, "the pass keeps it");
            bench.act(|core, effects| core.on_claim(stored, owner, effects));
        }
        assert_eq!(bench.take(), []);
        bench.act(|core, effects| core.on_release(stored, owner, effects));
        assert_eq!(bench.take(), [TableEffect::Free(stored)]);
        assert!(bench.core.is_empty());
    }
}

#[test]
fn what_is_read_stays_until_its_reader_is_done_or_gone() {
    let mut bench = Bench::new();
    let (maker, reader) = (process(1), process(2));
    let stored = bench.sealed_by(maker);
    bench.act(|core, effects| core.on_pin(stored, reader, 7, (maker, 100), effects));
    bench.act(|core, effects| core.on_pin(stored, reader, 8, (maker, 100), effects));
    bench.act(|core, effects| core.on_release(stored, maker, effects));
    bench.take();
    bench.act(|core, effects| core.on_unpin(stored, reader, effects));
    assert_eq!(bench.take(), [TableEffect::Unpin(stored, Reader::Process(reader))]);
    bench.act(|core, effects| core.on_process_gone(Millis(0), reader, effects));
    assert_eq!(bench.take(), [TableEffect::Unpin(stored, Reader::Process(reader)), TableEffect::Free(stored)]);
    bench.act(|core, effects| core.on_pin(stored, maker, 9, (maker, 100), effects));
    assert!(matches!(bench.take()[..], [TableEffect::Refuse { request: 9, .. }]));
}

#[test]
fn a_writer_that_ends_before_it_seals_leaves_no_room_and_no_reader_waiting() {
    let mut bench = Bench::new();
    let (maker, reader) = (process(1), process(2));
    let stored = bench.core.on_reserved(maker, 100).unwrap();
    bench.act(|core, effects| core.on_pin(stored, reader, 7, (maker, 100), effects));
    bench.act(|core, effects| core.on_process_gone(Millis(0), maker, effects));
    let effects = bench.take();
    assert!(matches!(effects[0], TableEffect::Refuse { request: 7, .. }), "{effects:?}");
    assert_eq!(effects[1], TableEffect::DropRoom(stored));
    assert!(bench.core.is_empty());
    assert_eq!(bench.core.on_reserved(maker, 100), None, "its wish came late");
}

#[test]
fn who_asks_before_it_is_sealed_is_answered_then() {
    let mut bench = Bench::new();
    let (maker, reader) = (process(1), process(2));
    let stored = bench.core.on_reserved(maker, 100).unwrap();
    bench.act(|core, effects| core.on_pin(stored, reader, 7, (maker, 100), effects));
    bench.act(|core, effects| core.on_seal(stored, reader, effects));
    assert_eq!(bench.take(), [], "only who filled it can seal it");
    bench.act(|core, effects| core.on_seal(stored, maker, effects));
    let pin = TableEffect::Pin { stored, reader: Reader::Process(reader), request: 7 };
    assert_eq!(bench.take(), [TableEffect::Seal(stored), pin]);
}

#[test]
fn what_a_dead_process_passed_is_kept_for_a_time_and_not_for_ever() {
    let mut bench = Bench::new();
    let (maker, owner) = (process(1), process(2));
    let (claimed, lost) = (bench.sealed_by(maker), bench.sealed_by(maker));
    for stored in [claimed, lost] {
        bench.act(|core, effects| core.on_pass(stored, maker, owner, effects));
    }
    bench.act(|core, effects| core.on_process_gone(Millis(5), maker, effects));
    bench.act(|core, effects| core.on_claim(claimed, owner, effects));
    bench.act(|core, effects| core.on_time(Millis(4 + PASS_MS_MAX), effects));
    assert_eq!(bench.take(), []);
    bench.act(|core, effects| core.on_time(Millis(5 + PASS_MS_MAX), effects));
    assert_eq!(bench.take(), [TableEffect::Free(lost)]);
}

#[test]
fn one_pull_serves_all_who_want_it_and_a_copy_stays_until_it_is_freed() {
    let mut bench = Bench::new();
    let (first, second, owner) = (process(1), process(2), ProcessId { node: OTHER, worker: WorkerId(9) });
    let stored = away(1);
    bench.act(|core, effects| core.on_pin(stored, first, 1, (owner, 100), effects));
    bench.act(|core, effects| core.on_pin(stored, second, 2, (owner, 100), effects));
    assert_eq!(bench.take(), [TableEffect::Pull { stored, owner, bytes: 100 }]);
    bench.act(|core, effects| core.on_pulled(stored, effects));
    assert_eq!(bench.take().len(), 2);
    bench.act(|core, effects| core.on_unpin(stored, first, effects));
    bench.act(|core, effects| core.on_free(stored, effects));
    assert_eq!(bench.take(), [TableEffect::Unpin(stored, Reader::Process(first))]);
    bench.act(|core, effects| core.on_unpin(stored, second, effects));
    assert_eq!(bench.take(), [TableEffect::Unpin(stored, Reader::Process(second)), TableEffect::Free(stored)]);
}

#[test]
fn a_pull_ends_with_the_last_who_waits_and_with_the_owner() {
    let mut bench = Bench::new();
    let (reader, owner) = (process(1), ProcessId { node: OTHER, worker: WorkerId(9) });
    bench.act(|core, effects| core.on_pin(away(1), reader, 1, (owner, 100), effects));
    bench.act(|core, effects| core.on_pin(away(2), process(2), 2, (owner, 100), effects));
    bench.take();
    bench.act(|core, effects| core.on_process_gone(Millis(0), reader, effects));
    assert_eq!(bench.take(), [TableEffect::CancelPull(away(1))]);
    bench.act(|core, effects| core.on_node_gone(Millis(0), OTHER, effects));
    let effects = bench.take();
    assert!(matches!(effects[..], [TableEffect::Refuse { request: 2, .. }, TableEffect::CancelPull(_)]), "{effects:?}");
}

#[test]
fn copies_that_nobody_reads_make_way_oldest_first_and_their_owners_are_told() {
    let mut bench = Bench::new();
    let owner = ProcessId { node: OTHER, worker: WorkerId(9) };
    let reader = process(1);
    for serial in 1..=3 {
        bench.act(|core, effects| core.on_pin(away(serial), reader, serial, (owner, 100), effects));
        bench.act(|core, effects| core.on_pulled(away(serial), effects));
    }
    for serial in [2, 1] {
        bench.act(|core, effects| core.on_unpin(away(serial), reader, effects));
    }
    bench.take();
    bench.act(|core, effects| core.on_short(50, effects));
    let dropped = TableEffect::Dropped { stored: away(1), owner };
    assert_eq!(bench.take(), [TableEffect::Free(away(1)), dropped]);
    bench.act(|core, effects| core.on_short(1_000, effects));
    assert_eq!(bench.core.len(), 1, "what is read stays");
}
