//! The store with its memory and its files.

use std::{sync::Barrier, thread, time::Duration};

use actinic_gcs::TaskId;

use super::*;
use crate::data::{
    codec::{decode, encode, encode_owned},
    Bytes, Tensor,
};

mod faults;

const MIB: usize = 1 << 20;

/// A small store with its spill folder in a folder of the test's own.
struct Fixture {
    store: Arc<ObjectStore>,
    base: tempfile::TempDir,
}

impl Fixture {
    fn new(capacity_bytes: usize) -> Self {
        Self::with(capacity_bytes, |_| {})
    }

    fn with(capacity_bytes: usize, adjust: impl FnOnce(&mut StoreConfig)) -> Self {
        let base = tempfile::tempdir().unwrap();
        let mut config = StoreConfig {
            capacity_bytes,
            spill_dir: Some(base.path().to_owned()),
            put_timeout: Duration::from_secs(60),
            pretouch_bytes: 0,
            ..StoreConfig::default()
        };
        adjust(&mut config);
        Self { store: ObjectStore::open(config).unwrap(), base }
    }

    fn put(&self, n: u32, bytes: usize) -> Arc<StoredObject> {
        self.try_put(n, bytes).unwrap()
    }

    fn try_put(&self, n: u32, bytes: usize) -> Result<Arc<StoredObject>, StoreError> {
        self.store.put(id(n), encode_owned(vec![n as u8; bytes]).unwrap())
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for folder in std::fs::read_dir(self.base.path()).unwrap().map(|entry| entry.unwrap().path()) {
            if folder.is_dir() {
                found.extend(std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        found
    }
}

fn id(n: u32) -> ObjectId {
    ObjectId::of_put(TaskId(1), n)
}

#[track_caller]
fn assert_holds(object: &StoredObject, n: u32, bytes: usize) {
    assert_eq!(decode::<Vec<u8>>(&object.parts().unwrap()).unwrap(), vec![n as u8; bytes]);
}

#[test]
fn a_value_is_read_in_place_with_its_buffers_aligned() {
    let fixture = Fixture::new(8 * MIB);
    let value = (String::from("batch"), Tensor::<f64>::ones([1000, 7]), Bytes::from(vec![9; 1000]));
    let object = fixture.store.put(id(1), encode(&value).unwrap()).unwrap();
    let parts = object.parts().unwrap();
    assert_eq!((object.id(), object.size_bytes()), (id(1), encode(&value).unwrap().size_bytes()));
    for buffer in &parts.buffers {
        assert_eq!(buffer.as_ptr() as usize % extents::ALIGNMENT_BYTES, 0);
    }
    let back: (String, Tensor<f64>, Bytes) = decode(&parts).unwrap();
    assert_eq!(back.1.as_slice().as_ptr().cast(), parts.buffers[0].as_ptr());
    assert_eq!(back, value);
}

#[test]
fn large_buffers_stay_aligned_wherever_their_source_lies_in_its_page() {
    let fixture = Fixture::new(16 * MIB);
    let source: Vec<u8> = (0..2 * MIB).map(|i| (i % 251) as u8).collect();
    let source = bytes::Bytes::from(source);
    for skipped in [0, 1, 63, 64, 100, 4000, 4095, 4096] {
        let bytes = source.slice(skipped..);
        let object = fixture.store.put(id(1), encode(&(Bytes::from(bytes.clone()), 1_u8)).unwrap()).unwrap();
        let parts = object.parts().unwrap();
        assert_eq!((parts.buffers[0].as_ptr() as usize % 64, &parts.buffers[0]), (0, &bytes));
    }
}

#[test]
fn handles_and_views_may_be_dropped_in_any_order() {
    let fixture = Fixture::new(8 * MIB);
    let used = || fixture.store.stats().used_bytes;
    let object = fixture.put(1, MIB);
    let (first, second) = (object.parts().unwrap(), object.parts().unwrap());
    let buffer = first.buffers[0].slice(10..20);
    drop(object);
    drop(first);
    assert!(used() > MIB && fixture.store.stats().objects == 0);
    drop(second);
    assert_eq!(buffer, [1; 10][..]);
    assert!(used() > MIB);
    drop(buffer);
    assert_eq!((used(), fixture.store.stats().pinned_bytes), (0, 0));
}

#[test]
fn a_view_outlives_the_store_itself() {
    let fixture = Fixture::new(8 * MIB);
    let view = fixture.put(3, MIB).parts().unwrap().buffers[0].clone();
    drop(fixture);
    assert!(view.iter().all(|byte| *byte == 3));
}

#[test]
fn what_does_not_fit_is_spilled_and_comes_back_on_demand() {
    let fixture = Fixture::new(4 * MIB);
    let objects: Vec<_> = (0..20).map(|n| fixture.put(n, MIB - 4096)).collect();
    let stats = fixture.store.stats();
    assert_eq!((stats.objects, stats.spilled_objects, fixture.files().len()), (20, 16, 16));
    for (n, object) in objects.iter().enumerate() {
        assert_holds(object, n as u32, MIB - 4096);
    }
    assert_eq!(fixture.store.stats().restores, 20);
    drop(objects);
    let stats = fixture.store.stats();
    assert_eq!((stats.used_bytes, stats.spill_file_bytes, fixture.files().len()), (0, 0, 0));
}

#[test]
fn an_object_that_is_being_read_is_never_spilled() {
    let fixture = Fixture::new(4 * MIB);
    let object = fixture.put(1, MIB);
    let view = object.parts().unwrap();
    let others: Vec<_> = (2..12).map(|n| fixture.put(n, MIB)).collect();
    assert_eq!(view.buffers[0], vec![1; MIB]);
    assert_eq!(others.len(), 10);
}

#[test]
fn a_put_waits_until_a_view_is_dropped() {
    let fixture = Fixture::new(4 * MIB);
    let view = fixture.put(1, 3 * MIB).parts().unwrap();
    thread::scope(|scope| {
        let put = scope.spawn(|| fixture.put(2, 2 * MIB));
        drop(view);
        assert_holds(&put.join().unwrap(), 2, 2 * MIB);
    });
}

#[test]
fn a_put_that_finds_no_room_in_time_says_why_and_what_to_do() {
    let fixture = Fixture::with(4 * MIB, |config| config.put_timeout = Duration::from_millis(1));
    let view = fixture.put(1, 3 * MIB).parts().unwrap();
    let error = fixture.try_put(2, 2 * MIB).unwrap_err();
    assert!(matches!(error, StoreError::Full { spill: None, pinned_bytes, .. } if pinned_bytes > 3 * MIB));
    assert!(error.to_string().contains("Drop values that view large objects, or raise `capacity_bytes`"), "{error}");
    drop(view);
    assert_holds(&fixture.put(2, 2 * MIB), 2, 2 * MIB);
    assert!(matches!(fixture.try_put(3, 5 * MIB).unwrap_err(), StoreError::TooLarge { .. }));
}

#[test]
fn above_the_high_water_mark_objects_are_spilled_in_the_background() {
    let fixture = Fixture::with(8 * MIB, |config| config.high_water = 0.5);
    let objects: Vec<_> = (0..7).map(|n| fixture.put(n, MIB)).collect();
    let mut spilled = 0;
    while let Ok(step @ 1..) = fixture.store.spill_over_high_water() {
        spilled += step;
    }
    assert!(spilled >= 3 && fixture.store.stats().used_bytes <= 4 * MIB, "{spilled}");
    for (n, object) in objects.iter().enumerate() {
        assert_holds(object, n as u32, MIB);
    }
}

#[test]
fn memory_is_touched_ahead_of_demand_and_contents_stay() {
    let fixture = Fixture::with(64 * MIB, |config| config.pretouch_bytes = 8 * MIB);
    let object = fixture.put(5, MIB);
    while fixture.store.pretouch_step() {}
    let stats = fixture.store.stats();
    assert!((8 * MIB..10 * MIB).contains(&stats.warm_bytes), "{stats:?}");
    assert_holds(&object, 5, MIB);
    let more: Vec<_> = (0..4).map(|n| fixture.put(n, MIB)).collect();
    assert!(fixture.store.pretouch_step(), "the margin moves with what is in use");
    drop(more);
}

#[test]
fn a_store_without_objects_takes_up_nothing() {
    let fixture = Fixture::new(8 * MIB);
    assert!(fixture.store.segment.get().is_none() && fixture.files().is_empty());
    assert!(!fixture.store.pretouch_step());
    assert!(ObjectStore::open(StoreConfig { capacity_bytes: 0, ..StoreConfig::default() }).is_err());
}

#[test]
fn many_threads_put_read_and_drop_in_a_store_that_is_too_small() {
    let fixture = Fixture::new(4 * MIB);
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for thread in 0..4_u32 {
            let (fixture, start) = (&fixture, &start);
            scope.spawn(move || {
                start.wait();
                let mut kept = Vec::new();
                for round in 0..60_u32 {
                    let (n, bytes) = (thread * 60 + round, 1000 + (round as usize * 7919) % (MIB / 2));
                    kept.push((n, bytes, fixture.put(n, bytes)));
                    let (n, bytes, object) = &kept[(round as usize * 31) % kept.len()];
                    assert_holds(object, *n, *bytes);
                    if round % 3 == 0 {
                        kept.swap_remove((round as usize * 17) % kept.len());
                    }
                }
                kept.iter().for_each(|(n, bytes, object)| assert_holds(object, *n, *bytes));
            });
        }
    });
    let stats = fixture.store.stats();
    assert_eq!((stats.objects, stats.used_bytes, stats.spill_file_bytes), (0, 0, 0));
    assert!(stats.spills > 0 && stats.restores > 0 && fixture.files().is_empty());
}

#[test]
fn many_readers_of_one_spilled_object_restore_it_once() {
    let fixture = Fixture::new(4 * MIB);
    let object = fixture.put(1, 2 * MIB);
    drop(fixture.put(2, 3 * MIB));
    assert_eq!(fixture.store.stats().spilled_objects, 1);
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                assert_holds(&object, 1, 2 * MIB);
            });
        }
    });
    assert_eq!(fixture.store.stats().restores, 1);
}
