//! Get, wait, put and await.

use std::time::Instant;

use actinic::prelude::*;
use futures::executor::block_on;

use super::{
    add, double, fall,
    kit::{failure, test, Gate, PATIENCE},
    length, pass, runtime,
};

#[test]
fn get_takes_one_several_and_tuples() {
    test(|| {
        let rt = runtime(2);
        let (a, b) = (add.remote(1, 1), length.remote("abc"));
        assert_eq!(rt.get((&a, &b)).unwrap(), (2, 3));
        assert_eq!(rt.get(&[a.clone(), a.clone()]).unwrap(), [2, 2]);
        assert_eq!(rt.get(&vec![a.clone()]).unwrap(), [2]);
        assert_eq!(a.get().unwrap(), 2);
        assert_eq!(a.try_get().unwrap().unwrap(), 2);
    });
}

#[test]
fn a_get_that_times_out_leaves_the_task_running() {
    test(|| {
        let rt = runtime(1);
        let gate = Gate::new();
        let late = pass.remote(gate);
        assert!(late.try_get().is_none());
        let began = Instant::now();
        let error = failure(rt.get_timeout(&late, Duration::from_millis(20)));
        assert!(error.is_timeout() && began.elapsed() >= Duration::from_millis(20), "{error}");
        gate.open();
        assert_eq!(rt.get_timeout(&late, PATIENCE).unwrap(), 1);
    });
}

#[test]
fn wait_gives_at_most_so_many_ready_ones_and_keeps_the_order() {
    test(|| {
        let rt = runtime(2);
        let gate = Gate::new();
        let late = pass.remote(gate);
        let early: Vec<_> = (0..3).map(|n| rt.put(n).unwrap()).collect();
        let all = [early[0].clone(), late.clone(), early[1].clone(), early[2].clone()];
        let (ready, pending) = rt.wait(&all, 2, None).unwrap();
        assert_eq!(ready, [early[0].clone(), early[1].clone()]);
        assert_eq!(pending, [late.clone(), early[2].clone()]);
        let (ready, pending) = rt.wait(&all, 4, Duration::from_millis(10)).unwrap();
        assert_eq!((ready.len(), pending), (3, vec![late.clone()]));
        let (ready, pending) = rt.wait(&all, 0, None).unwrap();
        assert_eq!((ready.len(), pending.len()), (0, 4));
        gate.open();
        let (ready, pending) = rt.wait(&all, 99, None).unwrap();
        assert_eq!((ready, pending.len()), (all.to_vec(), 0));
    });
}

#[test]
fn wait_counts_failed_tasks_as_ready() {
    test(|| {
        let rt = runtime(1);
        let (ready, _) = rt.wait(&[fall.remote(1)], 1, PATIENCE).unwrap();
        assert!(rt.get(&ready[0]).is_err());
    });
}

#[test]
fn wait_sees_tasks_end_one_by_one() {
    test(|| {
        let rt = runtime(2);
        let gates: Vec<Gate> = (0..20).map(|_| Gate::new()).collect();
        let options = pass.options().num_cpus(0);
        let mut pending: Vec<_> = gates.iter().map(|gate| options.clone().remote(*gate)).collect();
        for (done, gate) in gates.iter().enumerate() {
            gate.open();
            let (ready, rest) = rt.wait(&pending, 1, PATIENCE).unwrap();
            assert_eq!((ready.len(), rest.len()), (1, 19 - done));
            pending = rest;
        }
    });
}

#[remote]
fn put_inside(value: i64) -> ObjectRef<i64> {
    actinic::put(value).unwrap()
}

#[test]
fn an_object_that_a_task_put_outlives_the_task() {
    test(|| {
        let rt = runtime(1);
        let inner = rt.get(&put_inside.remote(5)).unwrap();
        assert_eq!(rt.get(&add.remote(&inner, 1)).unwrap(), 6);
    });
}

#[remote]
async fn add_awaiting(a: i64, b: i64) -> i64 {
    let doubled = double.remote(a);
    doubled.await.unwrap() + b
}

#[test]
fn references_are_awaited_in_tasks_and_outside_of_the_runtime() {
    test(|| {
        let rt = runtime(1);
        assert_eq!(block_on(async { add_awaiting.remote(1, 2).await }).unwrap(), 4);
        let many: Vec<_> = (0..200).map(|n| add_awaiting.remote(n, 0)).collect();
        let all = block_on(futures::future::join_all(many.iter().map(|object| async move { object.await.unwrap() })));
        assert_eq!(all.iter().sum::<i64>(), 2 * 19_900);
        drop(rt);
    });
}

#[remote]
async fn meet_async(gate: Gate, count: usize) -> usize {
    gate.arrive();
    while gate.arrived() < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    count
}

#[test]
fn async_tasks_that_wait_hold_no_cpu() {
    test(|| {
        let rt = runtime(1);
        let gate = Gate::new();
        let all: Vec<_> = (0..100).map(|_| meet_async.remote(gate, 100)).collect();
        assert_eq!(rt.get_timeout(&all, PATIENCE).unwrap(), vec![100; 100]);
    });
}
