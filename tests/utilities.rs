//! ActorPool, Queue, map, and the key-values of the control store.
#![allow(clippy::unwrap_used)]

use actinic::{
    prelude::*,
    util::{self, ActorPool, Progress, Queue, QueueError},
};

#[remote]
fn square(n: u64) -> u64 {
    n * n
}

#[remote]
fn fill(queue: Queue<u64>, count: u64) {
    for n in 0..count {
        queue.put(n).unwrap();
    }
}

#[remote]
struct Doubler;

#[remote]
impl Doubler {
    fn new() -> Self {
        Self
    }

    fn double(&self, n: u64) -> u64 {
        assert!(n != 13, "unlucky");
        2 * n
    }
}

fn runtime() -> Runtime {
    Runtime::builder().num_cpus(2).init().unwrap()
}

#[test]
fn an_actor_pool_maps_in_order_or_as_results_come() {
    let _rt = runtime();
    let mut pool = ActorPool::new((0..3).map(|_| Doubler::remote()).collect());
    let doubled: Vec<u64> = pool.map(0..10, |actor, n| actor.double(n)).map(Result::unwrap).collect();
    assert_eq!(doubled, (0..10).map(|n| 2 * n).collect::<Vec<_>>());
    let mut doubled: Vec<u64> = pool.map_unordered(0..10, |actor, n| actor.double(n)).map(Result::unwrap).collect();
    doubled.sort_unstable();
    assert_eq!(doubled, (0..10).map(|n| 2 * n).collect::<Vec<_>>());
    assert_eq!(pool.idle(), 3);
}

#[test]
fn an_actor_pool_passes_an_error_on() {
    let _rt = runtime();
    let mut pool = ActorPool::new(vec![Doubler::options().max_restarts(-1).remote()]);
    let results: Vec<_> = pool.map([1, 13, 2], |actor, n: u64| actor.double(n)).collect();
    assert_eq!(results[0], Ok(2));
    assert!(results[1].as_ref().unwrap_err().to_string().contains("unlucky"));
    assert_eq!(results[2], Ok(4));
}

#[test]
fn map_and_map_unordered_call_once_for_each_input() {
    let _rt = runtime();
    let squares: Vec<u64> = util::map(0..500_u64, |n| square.remote(n), Progress::Hidden).map(Result::unwrap).collect();
    assert_eq!(squares, (0..500).map(|n| n * n).collect::<Vec<_>>());
    let bar = Progress::Bar("squares".to_owned());
    let mut squares: Vec<u64> =
        util::map_unordered(0..500_u64, |n| square.remote(n), bar).map(Result::unwrap).collect();
    squares.sort_unstable();
    assert_eq!(squares, (0..500).map(|n| n * n).collect::<Vec<_>>());
}

#[test]
fn a_queue_passes_items_between_tasks_in_order_and_holds_its_bound() {
    let rt = runtime();
    let queue = Queue::<u64>::new(3);
    let filled = fill.remote(queue.clone(), 20);
    for n in 0..20 {
        assert_eq!(queue.get_timeout(Duration::from_secs(10)).unwrap(), n);
        assert!(queue.len().unwrap() <= 3);
    }
    rt.get(&filled).unwrap();
    assert!(queue.is_empty().unwrap());
}

#[test]
fn a_queue_says_that_it_is_full_or_empty() {
    let _rt = runtime();
    let queue = Queue::<String>::new(1);
    assert!(matches!(queue.get_timeout(Duration::from_millis(1)), Err(QueueError::Empty)));
    queue.put("one".to_owned()).unwrap();
    assert!(matches!(queue.put_timeout("two".to_owned(), Duration::from_millis(1)), Err(QueueError::Full)));
    assert_eq!(queue.get().unwrap(), "one");
}

#[test]
fn the_control_store_keeps_key_values_and_knows_the_node_and_its_actors() {
    let rt = runtime();
    assert!(rt.kv_put("a", "1", false).unwrap());
    assert!(!rt.kv_put("a", "2", false).unwrap());
    assert_eq!(rt.kv_get("a").unwrap().as_deref(), Some(b"1".as_slice()));
    assert!(rt.kv_compare_and_swap("a", Some(b"1".to_vec()), Some(b"3".to_vec())).unwrap());
    assert!(!rt.kv_compare_and_swap("a", Some(b"1".to_vec()), None).unwrap());
    assert_eq!(rt.kv_keys("").unwrap(), [b"a".to_vec()]);
    assert!(rt.kv_delete("a").unwrap());
    let actor = Doubler::options().name("twice").remote();
    rt.get(&actor.double(1)).unwrap();
    assert_eq!(rt.list_nodes().unwrap().len(), 1);
    assert_eq!(rt.list_jobs().unwrap().len(), 1);
    let named = rt.list_actors().unwrap();
    assert!(named.iter().any(|actor| actor.spec.name.as_deref() == Some("twice")));
}
