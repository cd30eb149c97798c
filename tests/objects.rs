//! Objects: where they are kept, how they are read, when they are freed, and what happens when memory runs out.
#![allow(clippy::unwrap_used)]

use std::fs;

use actinic::{prelude::*, RuntimeBuilder, TaskErrorKind};
use serde::{Deserialize, Serialize};

#[path = "support/kit.rs"]
mod kit;
use kit::{eventually, failure, test, Gate, PATIENCE};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn builder() -> RuntimeBuilder {
    Runtime::builder().num_cpus(2).object_store_memory(64 * MIB)
}

/// Objects, and bytes in memory.
fn held(rt: &Runtime) -> (usize, usize) {
    rt.store_stats().map_or((0, 0), |stats| (stats.objects, stats.used_bytes))
}

fn empty(rt: &Runtime) {
    eventually("the store is empty", || held(rt) == (0, 0));
}

#[remote]
fn make(bytes: usize, with: u8) -> Bytes {
    Bytes::from(vec![with; bytes])
}

#[remote]
fn size(bytes: Bytes) -> usize {
    bytes.len()
}

#[remote]
fn ramp(n: usize) -> Tensor<f64> {
    Tensor::from_fn([n], |at| at[0] as f64)
}

#[remote]
fn total(all: Tensor<f64>) -> f64 {
    all.sum()
}

#[remote]
fn address_of(all: Tensor<f64>) -> usize {
    all.as_slice().as_ptr() as usize
}

#[remote]
fn doubled(all: Vec<f64>) -> Vec<f64> {
    all.iter().map(|value| value * 2.0).collect()
}

// --- inline and stored ---------------------------------------------------------------------------------------------

#[test]
fn small_objects_stay_inline_and_large_ones_go_to_shared_memory() {
    test(|| {
        let rt = builder().init().unwrap();
        let small = rt.put(vec![1_u8; 90 * KIB]).unwrap();
        let made = make.remote(50 * KIB, 1);
        assert_eq!(rt.get(&made).unwrap().len(), 50 * KIB);
        assert_eq!(held(&rt), (0, 0));
        let large = rt.put(Bytes::from(vec![2_u8; 110 * KIB])).unwrap();
        let made_large = make.remote(MIB, 3);
        assert_eq!(rt.get(&size.remote(&made_large)).unwrap(), MIB);
        let (objects, bytes) = held(&rt);
        assert_eq!(objects, 2);
        assert!((110 * KIB + MIB..120 * KIB + MIB).contains(&bytes), "{bytes}");
        assert_eq!(rt.get(&small).unwrap(), vec![1_u8; 90 * KIB]);
        assert_eq!(&rt.get(&large).unwrap()[..], &vec![2_u8; 110 * KIB][..]);
        drop((large, made_large));
        empty(&rt);
    });
}

#[test]
fn the_inline_limit_can_be_set() {
    test(|| {
        let rt = builder().inline_bytes_max(KIB).init().unwrap();
        let object = rt.put(Bytes::from(vec![1_u8; 2 * KIB])).unwrap();
        assert_eq!(held(&rt).0, 1);
        assert_eq!(rt.get(&object).unwrap().len(), 2 * KIB);
    });
}

#[test]
fn two_gets_of_a_tensor_see_the_same_memory() {
    test(|| {
        let rt = builder().init().unwrap();
        let object = ramp.remote(200_000);
        let (one, other) = (rt.get(&object).unwrap(), rt.get(&object).unwrap());
        assert_eq!(one.as_slice().as_ptr(), other.as_slice().as_ptr());
        assert_eq!(one.as_slice().as_ptr() as usize % 64, 0);
        assert_eq!(rt.get(&address_of.remote(&object)).unwrap(), one.as_slice().as_ptr() as usize, "in a task as well");
        assert_eq!(one.as_slice()[199_999], 199_999.0);
        assert_eq!(rt.get(&total.remote(&object)).unwrap(), 199_999.0 * 100_000.0);
        drop(object);
        assert_eq!(one.sum(), other.sum(), "a view outlives the last reference");
        assert_eq!(held(&rt).0, 0);
        drop((one, other));
        empty(&rt);
    });
}

#[test]
fn two_gets_of_bytes_see_the_same_memory() {
    test(|| {
        let rt = builder().init().unwrap();
        let object = make.remote(MIB, 7);
        let (one, other) = (rt.get(&object).unwrap(), rt.get(&object).unwrap());
        assert_eq!(one.as_ptr(), other.as_ptr());
        assert!(one.iter().all(|byte| *byte == 7));
    });
}

#[test]
fn a_changed_tensor_leaves_the_object_as_it_is() {
    test(|| {
        let rt = builder().init().unwrap();
        let object = ramp.remote(100_000);
        let mut mine = rt.get(&object).unwrap();
        mine.make_mut()[0] = 5.0;
        assert_eq!((mine.as_slice()[0], rt.get(&object).unwrap().as_slice()[0]), (5.0, 0.0));
    });
}

#[test]
fn a_long_vector_of_numbers_makes_the_round_trip() {
    test(|| {
        let rt = builder().init().unwrap();
        let values: Vec<f64> = (0..500_000).map(f64::from).collect();
        let object = doubled.remote(rt.put(values.clone()).unwrap());
        let back = rt.get(&object).unwrap();
        assert!(back.iter().zip(&values).all(|(twice, once)| *twice == once * 2.0) && back.len() == values.len());
        assert_eq!(rt.get(&doubled.remote(vec![f64::NAN, f64::INFINITY])).unwrap()[1], f64::INFINITY);
        drop(object);
        empty(&rt);
    });
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Batch {
    name: String,
    inputs: Tensor<f32>,
    raw: Bytes,
    parts: Vec<Tensor<i64>>,
    nothing: Option<u8>,
}

#[test]
fn structures_of_bulk_and_small_parts_make_the_round_trip() {
    test(|| {
        let rt = builder().init().unwrap();
        let batch = Batch {
            name: "first".into(),
            inputs: Tensor::full([100, 300], 1.5),
            raw: Bytes::from(vec![9; 200 * KIB]),
            parts: vec![Tensor::zeros([0]), Tensor::from_vec([2, 2], vec![1, 2, 3, 4]).unwrap()],
            nothing: None,
        };
        let object = rt.put(batch.clone()).unwrap();
        assert_eq!(held(&rt).0, 1);
        assert_eq!(rt.get(&object).unwrap(), batch);
    });
}

// --- the end of an object ------------------------------------------------------------------------------------------

#[test]
fn references_dropped_in_any_order_free_the_memory() {
    test(|| {
        let rt = builder().init().unwrap();
        for order in 0..6_usize {
            let mut objects: Vec<Option<ObjectRef<Bytes>>> =
                (0..20).map(|n| Some(rt.put(Bytes::from(vec![n; 200 * KIB])).unwrap())).collect();
            let clone = objects[3].clone();
            let tasks: Vec<_> = objects.iter().flatten().map(|object| size.remote(object)).collect();
            for n in 0..20 {
                drop(objects[(n * (2 * order + 1) + order) % 20].take());
            }
            drop(objects);
            assert_eq!(rt.get(&tasks).unwrap(), [200 * KIB; 20]);
            eventually("one is left", || held(&rt).0 == 1);
            drop(clone);
            empty(&rt);
        }
    });
}

#[test]
fn results_that_nobody_wants_are_freed() {
    test(|| {
        let rt = builder().init().unwrap();
        for _ in 0..100 {
            drop(make.remote(MIB, 1));
        }
        eventually("all have run", || rt.stats().tasks_finished == 100);
        empty(&rt);
    });
}

#[remote]
fn inner_of(outer: Vec<ObjectRef<Bytes>>) -> usize {
    actinic::get(&outer).unwrap().iter().map(|bytes| bytes.len()).sum()
}

#[remote]
fn make_two() -> Vec<ObjectRef<Bytes>> {
    vec![make.remote(200 * KIB, 1), actinic::put(Bytes::from(vec![2; 200 * KIB])).unwrap()]
}

#[derive(Clone, Serialize, Deserialize)]
struct Outer {
    padding: Bytes,
    inner: Vec<ObjectRef<Bytes>>,
}

#[test]
fn references_inside_a_stored_object_keep_the_inner_objects_alive() {
    test(|| {
        let rt = builder().init().unwrap();
        let inner = rt.get(&make_two.remote()).unwrap();
        assert_eq!(rt.get(&inner_of.remote(inner.clone())).unwrap(), 400 * KIB);
        let outer = rt.put(Outer { padding: Bytes::from(vec![0; 200 * KIB]), inner }).unwrap();
        assert_eq!(held(&rt).0, 3);
        let nested = rt.put(Outer { padding: Bytes::from(vec![0; 200 * KIB]), inner: Vec::new() }).unwrap();
        drop(nested);
        eventually("the outer one and its two", || held(&rt).0 == 3);
        let read = rt.get(&outer).unwrap();
        drop(outer);
        eventually("the inner ones live on", || held(&rt).0 == 2);
        assert_eq!(rt.get(&read.inner[1]).unwrap()[0], 2);
        drop(read);
        empty(&rt);
    });
}

#[remote]
struct Keeper {
    kept: Vec<ObjectRef<Bytes>>,
}

#[remote]
impl Keeper {
    fn new() -> Self {
        Self { kept: Vec::new() }
    }

    fn keep(&mut self, object: ObjectRef<Bytes>) -> usize {
        self.kept.push(object);
        self.kept.len()
    }
}

#[test]
fn an_actors_state_keeps_objects_alive_until_it_ends() {
    test(|| {
        let rt = builder().init().unwrap();
        let keeper = Keeper::remote();
        for _ in 0..3 {
            rt.get(&keeper.keep(make.remote(200 * KIB, 1))).unwrap();
        }
        eventually("three are kept", || held(&rt).0 == 3);
        drop(keeper);
        empty(&rt);
    });
}

// --- a full store --------------------------------------------------------------------------------------------------

#[test]
fn a_full_store_spills_and_restores() {
    test(|| {
        let folder = tempfile::tempdir().unwrap();
        let rt = builder().object_store_memory(8 * MIB).spill_dir(folder.path()).init().unwrap();
        let objects: Vec<_> = (0..40).map(|n| rt.put(Bytes::from(vec![n; MIB])).unwrap()).collect();
        let stats = rt.store_stats().unwrap();
        assert!(stats.spills >= 32 && stats.used_bytes <= 8 * MIB && stats.objects == 40, "{stats:?}");
        for round in 0..2 {
            for (n, object) in objects.iter().enumerate() {
                let bytes = rt.get(object).unwrap();
                assert!(bytes.len() == MIB && bytes.iter().all(|byte| usize::from(*byte) == n), "round {round}");
            }
        }
        assert_eq!(rt.get(&objects.iter().map(|object| size.remote(object)).collect::<Vec<_>>()).unwrap(), [MIB; 40]);
        assert!(rt.store_stats().unwrap().restores >= 64);
        drop(objects);
        empty(&rt);
        eventually("the files are gone", || rt.store_stats().unwrap().spill_file_bytes == 0);
        drop(rt);
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    });
}

#[test]
fn results_of_tasks_spill_as_well() {
    test(|| {
        let rt = builder().object_store_memory(8 * MIB).init().unwrap();
        let objects: Vec<_> = (0..40).map(|n| make.remote(MIB, n)).collect();
        for (n, object) in objects.iter().enumerate() {
            assert_eq!(usize::from(rt.get(object).unwrap()[MIB - 1]), n);
        }
    });
}

#[test]
fn a_full_store_and_disk_give_an_error_and_lose_nothing() {
    test(|| {
        let builder = builder().object_store_memory(4 * MIB).spill_bytes_max(4 * MIB as u64);
        let rt = builder.put_timeout(Duration::from_millis(50)).init().unwrap();
        let mut objects = Vec::new();
        let error = loop {
            match rt.put(Bytes::from(vec![objects.len() as u8; MIB])) {
                Ok(object) => objects.push(object),
                Err(error) => break error,
            }
            assert!(objects.len() < 20, "the bounds are not kept");
        };
        assert!(matches!(error.kind(), TaskErrorKind::ObjectStore { .. }), "{error}");
        assert!(error.to_string().contains("spill"), "it must say what to do: {error}");
        let failed = failure(rt.get_timeout(&make.remote(MIB, 1), PATIENCE));
        assert!(matches!(failed.kind(), TaskErrorKind::ObjectStore { .. }), "{failed}");
        let too_large = failure(rt.put(Bytes::from(vec![0; 5 * MIB])));
        assert!(matches!(too_large.kind(), TaskErrorKind::ObjectStore { .. }), "{too_large}");
        assert!(objects.len() >= 6, "only {} fit", objects.len());
        // Room for one is enough to read all the others.
        objects.pop();
        for (n, object) in objects.iter().enumerate() {
            let bytes = rt.get_timeout(object, PATIENCE).unwrap();
            assert!(bytes.iter().all(|byte| usize::from(*byte) == n), "object {n} is damaged");
        }
        objects.truncate(3);
        assert_eq!(rt.get(&size.remote(rt.put(Bytes::from(vec![1; MIB])).unwrap())).unwrap(), MIB);
    });
}

#[test]
fn a_put_waits_for_room_that_readers_give_back() {
    test(|| {
        let rt = builder().object_store_memory(4 * MIB).put_timeout(PATIENCE).init().unwrap();
        let objects: Vec<_> = (0..4).map(|n| rt.put(Bytes::from(vec![n; MIB - 4 * KIB])).unwrap()).collect();
        // What is being read cannot make way.
        let views: Vec<Bytes> = objects.iter().map(|object| rt.get(object).unwrap()).collect();
        let made = make.remote(MIB, 9);
        assert!(failure(rt.get_timeout(&made, Duration::from_millis(50))).is_timeout());
        drop(views);
        assert_eq!(rt.get_timeout(&size.remote(&made), PATIENCE).unwrap(), MIB);
    });
}

// --- shared memory and the system ----------------------------------------------------------------------------------

/// Names in /dev/shm that bear this process's id.
fn segments() -> Vec<String> {
    let pid = format!("{:x}", std::process::id());
    let names = fs::read_dir("/dev/shm").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.contains("actinic") && name.split(['-', '.', '_']).any(|part| part == pid)).collect()
}

#[test]
fn shared_memory_is_clean_after_the_end_and_two_runtimes_share_nothing() {
    test(|| {
        // Others of this process run beside it: only what is new counts.
        let (one, other) = (builder().init().unwrap(), builder().init().unwrap());
        let before = segments();
        let in_other = other.put(Bytes::from(vec![2; MIB])).unwrap();
        assert_eq!(held(&one).0 + held(&other).0, 1, "this thread's runtime is the one started last");
        let ours: Vec<String> = segments().into_iter().filter(|name| !before.contains(name)).collect();
        assert!(!ours.is_empty(), "no segment is named after this process");
        let view = other.get(&in_other).unwrap();
        drop(other);
        drop(one);
        let left: Vec<String> = segments().into_iter().filter(|name| ours.contains(name)).collect();
        // Another test may have made some of them meanwhile; those go with it.
        eventually("the segments are gone", || segments().iter().all(|name| !left.contains(name)));
        assert!(view.iter().all(|byte| *byte == 2), "what is in memory stays readable through its views");
    });
}

#[test]
fn a_runtime_that_is_left_frees_its_objects_whatever_still_refers_to_them() {
    test(|| {
        let rt = builder().init().unwrap();
        let gate = Gate::new();
        let object = rt.put(Bytes::from(vec![5; MIB])).unwrap();
        rt.shutdown();
        gate.open();
        assert!(object.get().unwrap().iter().all(|byte| *byte == 5));
        let again = builder().init().unwrap();
        assert_eq!(again.get(&make.remote(MIB, 6)).unwrap()[0], 6);
    });
}
