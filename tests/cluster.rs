//! Clusters of real processes: this very executable, started again as nodes and workers.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use actinic::{
    cluster::{spawn_node, Cluster},
    prelude::*,
    TaskErrorKind,
};

#[path = "support/processes.rs"]
mod processes;
#[path = "cluster/scheduling.rs"]
mod scheduling;

use processes::{has_ended, here, holds, let_go, node_settings, parent_of, say_here, wait_until};

#[remote]
fn pid() -> u32 {
    std::process::id()
}

/// Says in `folder` that it runs, and ends once so many do: no fewer than so many workers must run them at once.
#[remote]
fn meets(folder: PathBuf, others: usize) -> u32 {
    let worker = say_here(&folder);
    wait_until("the others run as well", || here(&folder).len() >= others);
    worker
}

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote]
fn sum(numbers: Vec<i64>) -> i64 {
    numbers.iter().sum()
}

#[remote]
fn halves(n: i64) -> (i64, i64) {
    (n / 2, n - n / 2)
}

#[remote]
fn fib(n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    let (a, b) = (fib.remote(n - 1), fib.remote(n - 2));
    actinic::get(&a).unwrap() + actinic::get(&b).unwrap()
}

#[remote]
fn fails() -> Result<i64, std::num::ParseIntError> {
    "no number".parse()
}

#[remote]
fn panics() -> i64 {
    panic!("on purpose");
}

#[remote]
fn aborts() -> i64 {
    std::process::abort()
}

#[remote]
fn aborts_once(marker: String) -> u32 {
    if std::fs::OpenOptions::new().write(true).create_new(true).open(marker).is_ok() {
        std::process::abort();
    }
    std::process::id()
}

#[remote]
fn boxed(n: i64) -> Vec<ObjectRef<i64>> {
    vec![actinic::put(n).unwrap(), add.remote(n, 1)]
}

#[remote]
fn open(inner: Vec<ObjectRef<i64>>) -> i64 {
    inner.iter().map(|object| object.get().unwrap()).sum()
}

#[remote]
fn ones(n: usize) -> Tensor<f64> {
    Tensor::from_vec([n], vec![1.0; n]).unwrap()
}

#[remote]
fn total(x: Tensor<f64>) -> f64 {
    x.as_slice().iter().sum()
}

#[remote]
fn greeting() -> String {
    std::env::var("GREETING").unwrap_or_default()
}

fn connect(cluster: &Cluster) -> Runtime {
    Runtime::builder().address(cluster.address()).env_var("GREETING", "hello").init().unwrap()
}

#[test]
fn tasks_run_in_other_processes_and_their_values_come_back() {
    let cluster = Cluster::local(1).unwrap();
    let rt = connect(&cluster);
    let other = rt.get(&pid.remote()).unwrap();
    assert_ne!(other, std::process::id());
    let three = add.remote(1, 2);
    assert_eq!(rt.get(&add.remote(&three, 4)).unwrap(), 7);
    let put = rt.put(10).unwrap();
    assert_eq!(rt.get(&sum.remote(vec![three, put])).unwrap(), 13);
    let (a, b) = halves.remote(7);
    assert_eq!((rt.get(&a).unwrap(), rt.get(&b).unwrap()), (3, 4));
    assert_eq!(rt.get(&greeting.remote()).unwrap(), "hello");
}

#[test]
fn errors_and_panics_come_back_as_what_they_are() {
    let cluster = Cluster::local(1).unwrap();
    let rt = connect(&cluster);
    let failed = rt.get(&fails.remote()).unwrap_err();
    assert!(matches!(failed.kind(), TaskErrorKind::Failed { .. }), "{failed}");
    let panicked = rt.get(&panics.remote()).unwrap_err();
    assert!(panicked.to_string().contains("on purpose"), "{panicked}");
    // What depends on it fails alike.
    let dependent = rt.get(&add.remote(fails.remote(), 1)).unwrap_err();
    assert_eq!(dependent, failed);
}

#[test]
fn many_tasks_are_spread_over_the_workers_and_all_come_back() {
    let cluster = Cluster::local(1).unwrap();
    let rt = connect(&cluster);
    let sums: Vec<_> = (0..20_000).map(|n| add.remote(n, 1)).collect();
    let sums = rt.get(&sums).unwrap();
    assert!(sums.iter().zip(1..).all(|(found, expected)| *found == expected));
    // A result is there a moment before its task is counted.
    wait_until("all are counted", || rt.stats().tasks_finished == 20_000);
}

#[test]
fn nested_tasks_never_wait_for_a_worker_that_waits_for_them() {
    let cluster = Cluster::with_resources(&[&[("CPU", 1.0)]]).unwrap();
    let rt = connect(&cluster);
    assert_eq!(rt.get(&fib.remote(12)).unwrap(), 144);
}

#[test]
fn references_travel_inside_of_values() {
    let cluster = Cluster::local(2).unwrap();
    let rt = connect(&cluster);
    let inner = rt.get(&boxed.remote(20)).unwrap();
    assert_eq!(rt.get(&inner).unwrap(), [20, 21]);
    // They are another process's, and go on to a third.
    assert_eq!(rt.get(&open.remote(inner)).unwrap(), 41);
}

#[test]
fn a_large_value_crosses_processes() {
    let cluster = Cluster::local(1).unwrap();
    let rt = connect(&cluster);
    let many = ones.remote(1_000_000);
    assert_eq!(rt.get(&total.remote(&many)).unwrap(), 1e6);
    assert_eq!(rt.get(&many).unwrap().as_slice().len(), 1_000_000);
}

#[test]
fn a_task_that_aborts_takes_its_worker_only() {
    let cluster = Cluster::local(1).unwrap();
    let rt = connect(&cluster);
    let lost = rt.get(&aborts.options().max_retries(1).remote()).unwrap_err();
    assert!(matches!(lost.kind(), TaskErrorKind::WorkerLost { .. }), "{lost}");
    assert!(lost.to_string().contains("SIGABRT"), "{lost}");
    assert_eq!(rt.get(&add.remote(1, 1)).unwrap(), 2);
}

#[test]
fn a_task_whose_worker_is_lost_runs_again() {
    let cluster = Cluster::local(1).unwrap();
    let rt = connect(&cluster);
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("been here").to_string_lossy().into_owned();
    assert_ne!(rt.get(&aborts_once.remote(marker)).unwrap(), std::process::id());
}

#[test]
fn a_resource_that_only_another_node_has_is_found_there() {
    let cluster = Cluster::with_resources(&[&[("CPU", 1.0)], &[("CPU", 1.0), ("tpu", 1.0)]]).unwrap();
    let rt = connect(&cluster);
    let here = rt.get(&pid.remote()).unwrap();
    let there = rt.get(&pid.options().resource("tpu", 1.0).remote()).unwrap();
    assert_ne!(here, there);
}

#[test]
fn what_no_node_can_hold_starts_when_one_joins_that_can() {
    let mut cluster = Cluster::with_resources(&[&[("CPU", 1.0)]]).unwrap();
    let rt = connect(&cluster);
    let waits = pid.options().resource("tpu", 1.0).remote();
    assert!(rt.get_timeout(&waits, Duration::from_millis(300)).unwrap_err().is_timeout());
    let until = Instant::now() + Duration::from_secs(30);
    while !rt.explain(&waits).contains("which no node has") {
        assert!(Instant::now() < until, "{}", rt.explain(&waits));
        std::thread::sleep(Duration::from_millis(10));
    }
    cluster.add_node(&[("CPU", 1.0), ("tpu", 2.0)]).unwrap();
    rt.get_timeout(&waits, Duration::from_secs(20)).unwrap();
}

#[test]
fn more_than_a_node_can_do_spills_over() {
    let cluster = Cluster::with_resources(&[&[("CPU", 1.0)], &[("CPU", 1.0)], &[("CPU", 1.0)]]).unwrap();
    let rt = connect(&cluster);
    let folder = tempfile::tempdir().unwrap();
    let tasks: Vec<_> = (0..3).map(|_| meets.remote(folder.path().to_owned(), 3)).collect();
    let workers: BTreeSet<u32> = rt.get(&tasks).unwrap().into_iter().collect();
    assert_eq!(workers.len(), 3);
}

#[test]
fn spread_tasks_run_on_all_nodes() {
    let cluster = Cluster::with_resources(&[&[("CPU", 4.0)], &[("CPU", 4.0)]]).unwrap();
    let rt = connect(&cluster);
    let folder = tempfile::tempdir().unwrap();
    let spread = || meets.options().scheduling_strategy(SchedulingStrategy::Spread);
    let tasks: Vec<_> = (0..4).map(|_| spread().remote(folder.path().to_owned(), 4)).collect();
    let nodes: BTreeSet<u32> = rt.get(&tasks).unwrap().into_iter().map(parent_of).collect();
    assert_eq!(nodes, cluster.pids().into_iter().collect());
}

#[test]
fn a_killed_node_s_tasks_run_elsewhere() {
    let mut cluster = Cluster::with_resources(&[&[("CPU", 1.0)], &[("CPU", 2.0)]]).unwrap();
    let rt = connect(&cluster);
    let folder = tempfile::tempdir().unwrap();
    let tasks: Vec<_> = (0..8).map(|_| holds.remote(folder.path().to_owned())).collect();
    wait_until("both nodes work", || here(folder.path()).len() >= 3);
    let lost: BTreeSet<u32> =
        here(folder.path()).into_iter().filter(|worker| parent_of(*worker) == cluster.pids()[1]).collect();
    assert_eq!(lost.len(), 2);
    cluster.nodes()[1].kill().unwrap();
    wait_until("its workers end with it", || lost.iter().all(|worker| has_ended(*worker)));
    let_go(folder.path());
    let ran_at = rt.get(&tasks).unwrap();
    assert!(ran_at.iter().all(|worker| !lost.contains(worker)), "{ran_at:?} and {lost:?}");
}

#[test]
fn two_drivers_have_jobs_of_their_own() {
    let cluster = Cluster::local(1).unwrap();
    let (first, second) = (connect(&cluster), connect(&cluster));
    let other = first.clone();
    std::thread::spawn(move || other.get(&add.remote(1, 2)).unwrap()).join().unwrap();
    drop(second);
    assert_eq!(first.get(&first.put(5).unwrap()).unwrap(), 5);
}

#[test]
fn who_cannot_come_in_is_told_why() {
    let cluster = Cluster::local(1).unwrap();
    let nowhere = Runtime::builder().address("127.0.0.1:1").init().err().unwrap().to_string();
    assert!(nowhere.contains("actinic start --join 127.0.0.1:1"), "{nowhere}");
    let refused = spawn_node(node_settings(Some(cluster.address()), Some("wrong")), None).unwrap_err().to_string();
    assert!(refused.contains("token is missing or wrong"), "{refused}");
    let start = Instant::now();
    let nobody = spawn_node(node_settings(Some("127.0.0.1:1"), Some("any")), None).unwrap_err().to_string();
    assert!(nobody.contains("127.0.0.1:1") && start.elapsed() < Duration::from_secs(5), "{nobody}");
    let mut taken = node_settings(None, Some("any"));
    taken.listen = cluster.address().parse().unwrap();
    let taken = spawn_node(taken, None).unwrap_err().to_string();
    assert!(taken.contains("cannot listen on"), "{taken}");
}
