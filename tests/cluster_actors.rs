//! Actors across the processes of a cluster: placed at creation, called directly, in order, from anywhere.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "support/processes.rs"]
mod processes;

use std::{collections::BTreeSet, fs, time::Duration};

use actinic::{cluster::Cluster, options::Lifetime, prelude::*, PlacementGroup, TaskErrorKind};
use processes::{connect, has_ended, parent_of, wait_until};

#[remote]
#[derive(serde::Serialize, serde::Deserialize)]
struct Counter {
    value: i64,
    seen: Vec<i64>,
}

#[remote]
impl Counter {
    fn new(start: i64) -> Self {
        Self { value: start, seen: Vec::new() }
    }

    fn add(&mut self, by: i64) -> i64 {
        self.value += by;
        self.seen.push(by);
        self.value
    }

    fn value(&self) -> i64 {
        self.value
    }

    fn seen(&self) -> Vec<i64> {
        self.seen.clone()
    }

    fn pid(&self) -> u32 {
        std::process::id()
    }

    fn panic(&mut self) -> i64 {
        panic!("on purpose");
    }

    fn abort(&mut self) -> i64 {
        std::process::abort()
    }

    fn abort_once(&mut self, marker: String) -> i64 {
        if fs::OpenOptions::new().write(true).create_new(true).open(marker).is_ok() {
            std::process::abort();
        }
        self.value += 1;
        self.value
    }

    async fn later(&self, millis: u64) -> u64 {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        millis
    }
}

/// Holds a handle to another actor.
#[remote]
struct Relay {
    to: CounterHandle,
}

#[remote]
impl Relay {
    fn new(to: CounterHandle) -> Self {
        Self { to }
    }

    fn add(&mut self, by: i64) -> i64 {
        self.to.add(by).get().unwrap()
    }

    fn to(&self) -> CounterHandle {
        self.to.clone()
    }
}

#[remote]
fn add_through(counter: CounterHandle, by: i64) -> i64 {
    counter.add(by).get().unwrap()
}

#[remote]
fn make(start: i64) -> CounterHandle {
    Counter::remote(start)
}

#[remote]
fn twice(n: i64) -> i64 {
    2 * n
}

#[test]
fn an_actor_lives_in_a_worker_and_its_calls_run_in_order() {
    let cluster = Cluster::local(1).unwrap();
    let rt = connect(cluster.address());
    let counter = Counter::remote(10);
    let calls: Vec<_> = (1..=100).map(|by| counter.add(by)).collect();
    let values = rt.get(&calls).unwrap();
    assert_eq!(values[99], 10 + 5050);
    assert!(values.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(rt.get(&counter.seen()).unwrap(), (1..=100).collect::<Vec<i64>>());
    assert_ne!(rt.get(&counter.pid()).unwrap(), std::process::id());
    assert_eq!(rt.get(&counter.later(3)).unwrap(), 3);
}

#[test]
fn references_are_arguments_of_constructors_and_calls() {
    let cluster = Cluster::local(1).unwrap();
    let rt = connect(cluster.address());
    let counter = Counter::remote(twice.remote(21));
    let first = counter.add(twice.remote(twice.remote(1)));
    let second = counter.add(1);
    assert_eq!(rt.get(&first).unwrap(), 46);
    assert_eq!(rt.get(&second).unwrap(), 47);
}

#[test]
fn actors_are_spread_over_the_nodes() {
    let cluster = Cluster::local(2).unwrap();
    let rt = connect(cluster.address());
    let counters: Vec<_> = (0..8).map(Counter::remote).collect();
    let pids: BTreeSet<u32> = counters.iter().map(|counter| rt.get(&counter.pid()).unwrap()).collect();
    let nodes: BTreeSet<u32> = pids.iter().map(|pid| parent_of(*pid)).collect();
    assert_eq!(nodes, cluster.pids().into_iter().collect());
    for (start, counter) in counters.iter().enumerate() {
        assert_eq!(rt.get(&counter.value()).unwrap(), start as i64);
    }
}

#[test]
fn handles_pass_through_tasks_actors_and_objects() {
    let cluster = Cluster::local(2).unwrap();
    let rt = connect(cluster.address());
    let counter = Counter::remote(0);
    assert_eq!(rt.get(&add_through.remote(counter.clone(), 1)).unwrap(), 1);
    let relay = Relay::remote(counter.clone());
    assert_eq!(rt.get(&relay.add(2)).unwrap(), 3);
    let back = rt.get(&relay.to()).unwrap();
    assert_eq!(rt.get(&back.add(3)).unwrap(), 6);
    assert_eq!(back.id().unwrap(), counter.id().unwrap());
    let object = rt.put(counter.clone()).unwrap();
    assert_eq!(rt.get(&add_through.remote(&object, 4)).unwrap(), 10);
}

#[test]
fn an_actor_made_by_a_task_lives_as_long_as_its_maker_s_process_and_a_handle() {
    let cluster = Cluster::local(1).unwrap();
    let rt = connect(cluster.address());
    let counter = rt.get(&make.remote(5)).unwrap();
    assert_eq!(rt.get(&counter.add(1)).unwrap(), 6);
    let died = counter.watch();
    let pid = rt.get(&counter.pid()).unwrap();
    assert!(pid > 0);
    drop(counter);
    assert_eq!(rt.get(&died).unwrap(), actinic::supervision::Exit::Normal);
}

#[test]
fn an_actor_without_handles_answers_its_calls_and_ends() {
    let cluster = Cluster::local(1).unwrap();
    let rt = connect(cluster.address());
    let counter = Counter::remote(0);
    let died = counter.watch();
    let last = counter.add(7);
    drop(counter);
    assert_eq!(rt.get(&last).unwrap(), 7);
    assert_eq!(rt.get(&died).unwrap(), actinic::supervision::Exit::Normal);
}

#[test]
fn a_panic_is_told_and_a_restarted_actor_goes_on() {
    let cluster = Cluster::local(1).unwrap();
    let rt = connect(cluster.address());
    let counter = Counter::options().max_restarts(1).remote(3);
    assert_eq!(rt.get(&counter.add(1)).unwrap(), 4);
    let error = rt.get(&counter.panic()).unwrap_err();
    assert!(matches!(error.kind(), TaskErrorKind::Panicked { .. }), "{error}");
    assert_eq!(rt.get(&counter.value()).unwrap(), 3);
}

#[test]
fn an_actor_whose_worker_aborts_is_made_again_elsewhere() {
    let cluster = Cluster::local(1).unwrap();
    let rt = connect(cluster.address());
    let counter = Counter::options().max_restarts(1).remote(3);
    let before = rt.get(&counter.pid()).unwrap();
    let error = rt.get(&counter.abort()).unwrap_err();
    assert!(matches!(error.kind(), TaskErrorKind::ActorUnavailable { .. }), "{error}");
    assert_eq!(rt.get(&counter.value()).unwrap(), 3);
    assert_ne!(rt.get(&counter.pid()).unwrap(), before);
    let error = rt.get(&counter.abort()).unwrap_err();
    assert!(matches!(error.kind(), TaskErrorKind::ActorUnavailable { .. }), "{error}");
    let error = rt.get(&counter.value()).unwrap_err();
    assert!(matches!(error.kind(), TaskErrorKind::ActorDied { .. }), "{error}");
    assert!(error.to_string().contains("SIGABRT"), "{error}");
}

#[test]
fn calls_that_may_be_tried_again_are() {
    let cluster = Cluster::local(1).unwrap();
    let rt = connect(cluster.address());
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("aborted").to_string_lossy().into_owned();
    let counter = Counter::options().max_restarts(1).max_task_retries(1).remote(0);
    let calls = (counter.abort_once(marker), counter.add(10));
    assert_eq!(rt.get(&calls.0).unwrap(), 1);
    assert_eq!(rt.get(&calls.1).unwrap(), 11);
}

#[test]
fn a_checkpointed_state_outlives_its_worker() {
    let cluster = Cluster::local(1).unwrap();
    let rt = connect(cluster.address());
    let counter = Counter::options().max_restarts(1).checkpoint_every(1).remote(0);
    for by in 1..=4 {
        rt.get(&counter.add(by)).unwrap();
    }
    rt.get(&counter.abort()).unwrap_err();
    assert_eq!(rt.get(&counter.value()).unwrap(), 10);
}

#[test]
fn a_named_actor_is_found_shared_and_freed() {
    let cluster = Cluster::local(2).unwrap();
    let rt = connect(cluster.address());
    let counter = Counter::options().name("hits").remote(1);
    let found: CounterHandle = rt.get_actor("hits").unwrap();
    assert_eq!(rt.get(&found.add(1)).unwrap(), 2);
    assert_eq!(rt.actor_names("tests"), ["hits"]);
    let taken = Counter::options().name("hits").try_remote(5).unwrap_err();
    assert!(taken.to_string().contains("already"), "{taken}");
    let shared = Counter::options().name("hits").get_if_exists(true).remote(5);
    assert_eq!(rt.get(&shared.add(1)).unwrap(), 3);
    let wrong = rt.get_actor::<RelayHandle>("hits").unwrap_err();
    assert!(wrong.to_string().contains("class"), "{wrong}");
    counter.kill();
    let gone = counter.watch();
    rt.get(&gone).unwrap();
    wait_until("the name is free", || rt.get_actor::<CounterHandle>("hits").is_err());
}

#[test]
fn a_detached_actor_outlives_its_driver() {
    let cluster = Cluster::local(2).unwrap();
    {
        let rt = connect(cluster.address());
        let counter = Counter::options().name("keeper").lifetime(Lifetime::Detached).max_restarts(1).remote(40);
        assert_eq!(rt.get(&counter.add(1)).unwrap(), 41);
        rt.shutdown();
    }
    let rt = connect(cluster.address());
    let counter: CounterHandle = rt.get_actor("keeper").unwrap();
    assert_eq!(rt.get(&counter.add(1)).unwrap(), 42);
    rt.get(&counter.abort()).unwrap_err();
    assert_eq!(rt.get(&counter.value()).unwrap(), 40);
    counter.kill();
    let error = rt.get(&counter.value()).unwrap_err();
    assert!(matches!(error.kind(), TaskErrorKind::ActorDied { .. }), "{error}");
}

/// The node of its creator and its own are gone, and the one where it is made again never ran anything of its program's.
#[test]
fn a_detached_actor_is_made_again_where_its_executable_must_come_from_a_third_node() {
    let mut cluster = Cluster::with_resources(&[&[("CPU", 1.0)]]).unwrap();
    let creators = cluster.add_node(&[("CPU", 0.0)]).unwrap().card.address.clone();
    cluster.add_node(&[("CPU", 0.0), ("place", 1.0)]).unwrap();
    {
        let rt = connect(&creators);
        let options = Counter::options().name("keeper").lifetime(Lifetime::Detached).max_restarts(1);
        let counter = options.resource("place", 1.0).remote(40);
        assert_eq!(rt.get(&counter.add(1)).unwrap(), 41);
        // The head has run something of this program's.
        let there = Counter::options().num_cpus(1).remote(1);
        rt.get(&there.value()).unwrap();
        rt.shutdown();
    }
    cluster.nodes()[1].kill().unwrap();
    cluster.nodes()[2].kill().unwrap();
    cluster.add_node(&[("CPU", 0.0), ("place", 1.0)]).unwrap();
    let rt = connect(cluster.address());
    let counter: CounterHandle = rt.get_actor("keeper").unwrap();
    wait_until("it is there again", || rt.get(&counter.value()).is_ok());
    assert_eq!(rt.get(&counter.value()).unwrap(), 40);
    counter.kill();
}

#[test]
fn an_actor_that_asks_for_a_cpu_has_a_worker_of_its_own() {
    let cluster = Cluster::with_resources(&[&[("CPU", 2.0)]]).unwrap();
    let rt = connect(cluster.address());
    let heavy: Vec<_> = (0..2).map(|start| Counter::options().num_cpus(1).remote(start)).collect();
    let light: Vec<_> = (0..4).map(Counter::remote).collect();
    let pid = |counter: &CounterHandle| rt.get(&counter.pid()).unwrap();
    let heavy_pids: BTreeSet<u32> = heavy.iter().map(pid).collect();
    let light_pids: BTreeSet<u32> = light.iter().map(pid).collect();
    assert_eq!(heavy_pids.len(), 2);
    assert!(light_pids.is_disjoint(&heavy_pids));
    assert!(light_pids.len() <= 2);
    // A third waits until one of the two is gone.
    let third = Counter::options().num_cpus(1).remote(2);
    heavy[0].kill();
    assert_eq!(rt.get(&third.value()).unwrap(), 2);
}

#[test]
fn a_constructor_that_fails_tells_its_callers_why() {
    let cluster = Cluster::local(1).unwrap();
    let rt = connect(cluster.address());
    let fails = Fails::remote();
    let error = rt.get(&fails.call()).unwrap_err();
    assert!(error.to_string().contains("no good"), "{error}");
}

#[remote]
struct Fails;

#[remote]
impl Fails {
    fn new() -> Result<Self, std::io::Error> {
        Err(std::io::Error::other("no good"))
    }

    fn call(&self) -> u32 {
        0
    }
}

#[test]
fn many_actors_answer_many_calls_at_once() {
    let cluster = Cluster::local(2).unwrap();
    let rt = connect(cluster.address());
    let counters: Vec<_> = (0..20).map(|_| Counter::remote(0)).collect();
    let all: Vec<_> = counters.iter().flat_map(|counter| (0..50).map(|by| counter.add(by))).collect();
    let sum: i64 = rt.get(&all).unwrap().into_iter().max().unwrap();
    assert_eq!(sum, 49 * 50 / 2);
}

/// One CPU on each of two nodes, in a bundle each.
fn two_bundles(rt: &Runtime) -> PlacementGroup {
    let cpu = || ResourceSet::new().with("CPU", 1.0);
    let group = rt.placement_group(vec![cpu(), cpu()], PlacementStrategy::StrictSpread).unwrap();
    assert!(group.wait(Duration::from_secs(30)).unwrap());
    group
}

#[test]
fn actors_live_in_their_bundles_across_nodes_and_end_with_their_group() {
    let cluster = Cluster::with_resources(&[&[("CPU", 1.0)], &[("CPU", 1.0)]]).unwrap();
    let rt = connect(cluster.address());
    let group = two_bundles(&rt);
    let inside = |bundle| Counter::options().num_cpus(1).max_restarts(3).placement_group(&group, bundle).remote(0);
    let (first, second) = (inside(0), inside(1));
    let nodes = [&first, &second].map(|counter| parent_of(rt.get(&counter.pid()).unwrap()));
    assert_eq!(BTreeSet::from(nodes), cluster.pids().into_iter().collect());
    // The bundle is full: a third waits for the first to end.
    let third = inside(0);
    let waits = third.pid();
    assert!(rt.get_timeout(&waits, Duration::from_millis(300)).unwrap_err().is_timeout());
    first.kill();
    assert_eq!(parent_of(rt.get(&waits).unwrap()), nodes[0]);
    let workers = [&second, &third].map(|counter| rt.get(&counter.pid()).unwrap());
    rt.remove_placement_group(&group);
    for counter in [&second, &third] {
        // A call may still have been answered before the word of the end was here.
        wait_until("it has ended", || rt.get(&counter.value()).is_err());
        let error = rt.get(&counter.value()).unwrap_err();
        assert!(matches!(error.kind(), TaskErrorKind::ActorDied { .. }), "{error}");
        assert!(error.to_string().contains("its placement group was removed"), "{error}");
    }
    wait_until("their workers have ended", || workers.iter().all(|worker| has_ended(*worker)));
    // What they held is free again.
    two_bundles(&rt);
    let late = inside(1);
    let error = rt.get(&late.value()).unwrap_err();
    assert!(error.to_string().contains("its placement group was removed"), "{error}");
}

#[test]
fn an_actor_whose_bundle_is_lost_with_its_node_lives_on_where_the_bundle_is_placed_again() {
    let mut cluster = Cluster::with_resources(&[&[("CPU", 1.0)], &[("CPU", 1.0)]]).unwrap();
    let rt = connect(cluster.address());
    let group = two_bundles(&rt);
    let inside = |bundle| Counter::options().num_cpus(1).max_restarts(3).placement_group(&group, bundle).remote(7);
    let counters = [inside(0), inside(1)];
    let node_of = |counter: &CounterHandle| parent_of(rt.get(&counter.pid()).unwrap());
    let lost = cluster.pids()[1];
    let (moves, stays) = if node_of(&counters[0]) == lost { (0, 1) } else { (1, 0) };
    assert_eq!(rt.get(&counters[stays].add(1)).unwrap(), 8);
    cluster.nodes()[1].kill().unwrap();
    let new = cluster.add_node(&[("CPU", 1.0)]).unwrap().pid();
    wait_until("it is back", || rt.get(&counters[moves].value()).is_ok());
    assert_eq!(node_of(&counters[moves]), new);
    assert_eq!(rt.get(&counters[stays].value()).unwrap(), 8, "the other was not touched");
}
