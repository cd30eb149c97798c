//! The core against a model of what its callers hold, in random order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn limits(capacity_bytes: usize, spill_bytes_max: u64) -> Limits {
    Limits { capacity_bytes, high_water_bytes: capacity_bytes / 2, spill_bytes_max, pretouch_bytes: 512 }
}

impl Core {
    /// Panics unless all invariants hold, given the room that was granted and not yet used.
    fn sanity_check(&self, granted: &[Extent], orders: &[SpillOrder]) {
        let placed = self.by_offset.iter().map(|(offset, key)| {
            let extent = self.entries[key.0].extent.as_ref().expect("what has an offset is in memory");
            assert_eq!(extent.offset(), *offset);
            (*offset, extent.len())
        });
        self.extents.sanity_check(placed.chain(granted.iter().map(|extent| (extent.offset(), extent.len()))));
        let in_memory = self.entries.iter().filter(|(_, e)| e.extent.is_some());
        assert_eq!(in_memory.count(), self.by_offset.len());
        for (_, entry) in &self.entries {
            assert!(entry.extent.is_some() || entry.file.is_some(), "an object is lost");
            assert!(entry.pins == 0 || entry.extent.is_some(), "a pinned object left memory");
            assert!(!entry.released || entry.pins > 0 || entry.phase == Phase::Spilling, "an object is leaked");
        }
        self.check_totals(orders);
    }

    fn check_totals(&self, orders: &[SpillOrder]) {
        let totals = self.totals;
        let sum = |keep: &dyn Fn(&Entry) -> bool| {
            let kept = self.entries.iter().filter(|(_, e)| keep(e)).map(|(_, e)| e.len as u64);
            kept.fold((0, 0), |(count, bytes), len| (count + 1, bytes + len))
        };
        let (files, file_bytes) = sum(&|e| e.file.is_some());
        let ordered: u64 = orders.iter().map(|order| order.len as u64).sum();
        assert_eq!((totals.files, totals.file_bytes), (files + orders.len(), file_bytes + ordered));
        assert!(totals.file_bytes <= self.limits.spill_bytes_max, "the bound on spilled bytes is exceeded");
        assert_eq!((totals.spilled_objects, totals.spilled_bytes), sum(&|e| e.extent.is_none()));
        assert_eq!(totals.objects, sum(&|e| !e.released).0);
        let pinned = self.entries.iter().filter(|(_, e)| e.pins > 0).filter_map(|(_, e)| e.extent.as_ref());
        assert_eq!(totals.pinned_bytes, pinned.map(|extent| extent.len()).sum::<usize>());
    }
}

/// What the shell and its callers hold.
#[derive(Default)]
struct Holders {
    granted: Vec<(Extent, usize)>,
    handles: Vec<Key>,
    views: Vec<(Key, Arc<Extent>)>,
    orders: Vec<SpillOrder>,
    restoring: Vec<(Key, usize)>,
    files: BTreeMap<FileId, usize>,
}

#[derive(Clone, Debug)]
enum Op {
    Reserve(usize),
    Insert(usize),
    GiveBack(usize),
    Pin(usize),
    Unpin(usize),
    Release(usize),
    FinishSpill(usize, bool),
    FinishRestore(usize, bool),
    HighWater,
    Touch,
}

fn op() -> impl Strategy<Value = Op> {
    let at = 0_usize..64;
    prop_oneof![
        4 => (0_usize..1500).prop_map(Op::Reserve),
        4 => at.clone().prop_map(Op::Insert),
        1 => at.clone().prop_map(Op::GiveBack),
        3 => at.clone().prop_map(Op::Pin),
        3 => at.clone().prop_map(Op::Unpin),
        2 => at.clone().prop_map(Op::Release),
        3 => (at.clone(), prop::bool::weighted(0.8)).prop_map(|(at, ok)| Op::FinishSpill(at, ok)),
        3 => (at, prop::bool::weighted(0.8)).prop_map(|(at, ok)| Op::FinishRestore(at, ok)),
        1 => Just(Op::HighWater),
        1 => Just(Op::Touch),
    ]
}

fn pick<T>(list: &mut Vec<T>, at: usize) -> Option<T> {
    (!list.is_empty()).then(|| list.swap_remove(at % list.len()))
}

impl Holders {
    fn apply(&mut self, core: &mut Core, op: Op) {
        match op {
            Op::Reserve(len) => match core.reserve(len, true) {
                Room::Granted(extent) => self.granted.push((extent, len)),
                Room::Spill(orders) => self.orders.extend(orders),
                Room::Wait { .. } => {}
                Room::TooLarge => assert!(len > 4096),
            },
            Op::Insert(at) => {
                if let Some((extent, len)) = pick(&mut self.granted, at) {
                    self.handles.push(core.insert(extent, len));
                }
            }
            Op::GiveBack(at) => {
                if let Some((extent, _)) = pick(&mut self.granted, at) {
                    core.give_back(extent);
                }
            }
            Op::Pin(at) => self.pin(core, at),
            Op::Unpin(at) => {
                if let Some((key, extent)) = pick(&mut self.views, at) {
                    drop(extent);
                    core.unpin(key);
                }
            }
            Op::Release(at) => self.release(core, at),
            Op::FinishSpill(at, ok) => match pick(&mut self.orders, at) {
                Some(order) if ok => {
                    assert!(self.files.insert(order.file, order.len).is_none());
                    core.spilled(order);
                }
                Some(order) => core.spill_failed(order),
                None => {}
            },
            Op::FinishRestore(at, ok) => self.finish_restore(core, at, ok),
            Op::HighWater => self.orders.extend(core.over_high_water(1000)),
            Op::Touch => {
                if let Some(range) = core.next_pretouch(300) {
                    assert!(range.len() <= 300 && range.end <= core.extents().top() + 512);
                    core.touched(range);
                }
            }
        }
        for file in core.take_deletions() {
            assert!(self.files.remove(&file).is_some(), "a file is deleted that is not there");
        }
    }

    fn pin(&mut self, core: &mut Core, at: usize) {
        let Some(key) = self.handles.get(at % self.handles.len().max(1)).copied() else { return };
        match core.pin(key) {
            Pinned::InMemory(extent) => self.views.push((key, extent)),
            Pinned::Restore { file, len } => {
                assert_eq!(self.files.get(&file), Some(&len));
                self.restoring.push((key, len));
            }
            Pinned::Restoring => assert!(self.restoring.iter().any(|(restoring, _)| *restoring == key)),
        }
    }

    fn release(&mut self, core: &mut Core, at: usize) {
        // Whoever restores an object holds a handle to it.
        let is_restoring = |key: &Key| self.restoring.iter().any(|(restoring, _)| restoring == key);
        let Some(key) = self.handles.get(at % self.handles.len().max(1)).copied() else { return };
        if !is_restoring(&key) {
            self.handles.retain(|handle| *handle != key);
            core.release(key);
        }
    }

    fn finish_restore(&mut self, core: &mut Core, at: usize, ok: bool) {
        let Some((key, len)) = pick(&mut self.restoring, at) else { return };
        match core.reserve(len, true) {
            Room::Granted(extent) if ok => {
                let extent = core.restored(key, extent);
                self.views.push((key, extent));
                return;
            }
            Room::Granted(extent) => core.give_back(extent),
            Room::Spill(orders) => self.orders.extend(orders),
            Room::Wait { .. } | Room::TooLarge => {}
        }
        core.restore_failed(key);
    }

    fn drop_everything(mut self, core: &mut Core) {
        while !self.orders.is_empty() {
            self.apply(core, Op::FinishSpill(0, true));
        }
        while !self.restoring.is_empty() {
            self.finish_restore(core, 0, false);
        }
        for op in [Op::GiveBack(0), Op::Release(0), Op::Unpin(0), Op::FinishSpill(0, true)] {
            for _ in 0..2000 {
                self.apply(core, op.clone());
            }
        }
        assert_eq!((core.extents().used(), core.extents().top()), (0, 0), "memory is leaked");
        assert!(self.files.is_empty(), "files are leaked");
        assert!(core.entries.is_empty());
    }
}

proptest! {
    #[test]
    fn whatever_its_callers_do_nothing_is_lost_leaked_or_overwritten(
        ops in prop::collection::vec(op(), 1..300),
        spill_bytes_max in prop_oneof![Just(u64::MAX), Just(2000), Just(0)],
    ) {
        let mut core = Core::new(limits(4096, spill_bytes_max));
        let mut holders = Holders::default();
        for op in ops {
            holders.apply(&mut core, op);
            let granted: Vec<_> = holders.granted.drain(..).collect();
            let (extents, lens): (Vec<_>, Vec<_>) = granted.into_iter().unzip();
            core.sanity_check(&extents, &holders.orders);
            holders.granted = extents.into_iter().zip(lens).collect();
        }
        holders.drop_everything(&mut core);
    }
}

fn insert(core: &mut Core, len: usize) -> Key {
    match core.reserve(len, true) {
        Room::Granted(extent) => core.insert(extent, len),
        other => panic!("{other:?}"),
    }
}

fn spill_orders(room: Room) -> Vec<SpillOrder> {
    match room {
        Room::Spill(orders) => orders,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_least_recently_used_object_makes_way() {
    let mut core = Core::new(limits(256, u64::MAX));
    let keys: Vec<_> = (0..4).map(|_| insert(&mut core, 64)).collect();
    let Pinned::InMemory(extent) = core.pin(keys[0]) else { panic!("it is in memory") };
    drop(extent);
    core.unpin(keys[0]);
    let orders = spill_orders(core.reserve(64, true));
    assert_eq!(orders.iter().map(|order| order.key).collect::<Vec<_>>(), [keys[1]]);
}

#[test]
fn an_object_that_was_restored_makes_way_again_without_being_written() {
    let mut core = Core::new(limits(128, u64::MAX));
    let key = insert(&mut core, 128);
    spill_orders(core.reserve(128, true)).into_iter().for_each(|order| core.spilled(order));
    assert!(matches!(core.pin(key), Pinned::Restore { .. }));
    let Room::Granted(extent) = core.reserve(128, true) else { panic!("there is room") };
    drop(core.restored(key, extent));
    assert!(matches!(core.reserve(128, true), Room::Wait { at_spill_limit: false }));
    core.unpin(key);
    assert!(matches!(core.reserve(128, false), Room::Granted(_)));
    assert_eq!((core.totals().spills, core.totals().spilled_objects), (1, 1));
}

#[test]
fn at_the_bound_spare_copies_on_disk_make_way_for_what_must_be_spilled() {
    let mut core = Core::new(limits(256, 128));
    let first = insert(&mut core, 128);
    let second = insert(&mut core, 128);
    spill_orders(core.reserve(128, true)).into_iter().for_each(|order| core.spilled(order));
    assert!(matches!(core.pin(first), Pinned::Restore { .. }));
    let Room::Granted(extent) = core.reserve(128, true) else { panic!("there is room") };
    drop(core.restored(first, extent));
    // The first is in memory, being read, with a copy on disk that takes up all of the bound.
    let orders = spill_orders(core.reserve(128, true));
    assert_eq!((orders[0].key, core.take_deletions().len()), (second, 1));
}

#[test]
fn what_exceeds_the_bound_on_spilled_bytes_waits() {
    let mut core = Core::new(limits(128, 127));
    insert(&mut core, 128);
    assert!(matches!(core.reserve(64, true), Room::Wait { at_spill_limit: true }));
}
