//! Actors below one supervisor.

use actinic::{
    prelude::*,
    supervision::{Backoff, RestartLimit, Strategy},
};

use super::{
    counts, died,
    kit::{test, Gate, PATIENCE},
    panicked, runtime, Worker, WorkerHandle,
};

/// Three actors below one supervisor, started one after the other.
fn three(
    rt: &Runtime,
    strategy: Strategy,
    limit: RestartLimit,
    gate: Gate,
) -> (Vec<WorkerHandle>, actinic::Supervisor) {
    let supervisor = rt.supervisor().strategy(strategy).limit(limit).backoff(Backoff::NONE).start().unwrap();
    let workers = ["a", "b", "c"].iter().map(|name| {
        let options = Worker::options().max_restarts(-1).backoff(Backoff::NONE).supervisor(&supervisor);
        let worker = options.remote(gate, *name);
        assert_eq!(rt.get_timeout(&worker.count(), PATIENCE).unwrap(), 1);
        worker
    });
    (workers.collect(), supervisor)
}

#[test]
fn one_for_one_restarts_the_failed_one_only() {
    test(|| {
        let rt = runtime();
        let gate = Gate::new();
        let (workers, _supervisor) = three(&rt, Strategy::OneForOne, RestartLimit::UNLIMITED, gate);
        panicked(rt.get(&workers[1].fall()));
        assert_eq!(counts(&rt, &workers), [2, 1, 2]);
        assert_eq!(gate.log(), ["a starts", "b starts", "c starts", "b starts"]);
    });
}

#[test]
fn one_for_all_restarts_all_of_them() {
    test(|| {
        let rt = runtime();
        let gate = Gate::new();
        let (workers, _supervisor) = three(&rt, Strategy::OneForAll, RestartLimit::UNLIMITED, gate);
        panicked(rt.get(&workers[1].fall()));
        gate.wait_for_log(6);
        assert_eq!(counts(&rt, &workers), [1, 1, 1]);
        assert_eq!(gate.log().len(), 6);
    });
}

#[test]
fn rest_for_one_restarts_those_started_after_it() {
    test(|| {
        let rt = runtime();
        let gate = Gate::new();
        let (workers, _supervisor) = three(&rt, Strategy::RestForOne, RestartLimit::UNLIMITED, gate);
        panicked(rt.get(&workers[1].fall()));
        gate.wait_for_log(5);
        assert_eq!(counts(&rt, &workers), [2, 1, 1]);
        assert_eq!(gate.log().len(), 5);
    });
}

#[test]
fn a_supervisor_over_its_limit_fails_its_parent() {
    test(|| {
        let rt = runtime();
        let gate = Gate::new();
        let parent = rt.supervisor().strategy(Strategy::OneForAll).backoff(Backoff::NONE).start().unwrap();
        let limit = RestartLimit::in_all(1);
        let child = parent.child().limit(limit).backoff(Backoff::NONE).start().unwrap();
        let make = |supervisor: &actinic::Supervisor, name: &str| {
            let options = Worker::options().max_restarts(-1).backoff(Backoff::NONE).supervisor(supervisor);
            let worker = options.remote(gate, name);
            assert_eq!(rt.get_timeout(&worker.count(), PATIENCE).unwrap(), 1);
            worker
        };
        let uncle = make(&parent, "uncle");
        let workers = [make(&child, "x"), make(&child, "y")];
        panicked(rt.get(&workers[0].fall()));
        assert_eq!(rt.get_timeout(&workers[0].count(), PATIENCE).unwrap(), 1);
        assert_eq!(gate.log().len(), 4, "the first failure is the child's own matter");
        panicked(rt.get(&workers[0].fall()));
        // The second is more than the child bears: its parent restarts all below it.
        gate.wait_for_log(7);
        assert_eq!(rt.get_timeout(&uncle.count(), PATIENCE).unwrap(), 1);
        assert_eq!(counts(&rt, &workers), [1, 1]);
    });
}

#[test]
fn a_stopped_supervisor_ends_its_actors() {
    test(|| {
        let rt = runtime();
        let (workers, supervisor) = three(&rt, Strategy::OneForOne, RestartLimit::UNLIMITED, Gate::new());
        supervisor.stop();
        for worker in &workers {
            died(rt.get_timeout(&worker.watch(), PATIENCE).map_or_else(Err, |_| rt.get(&worker.count())));
        }
        assert!(rt.supervisor().start().is_ok());
        assert!(supervisor.child().start().is_err(), "it is gone");
    });
}
