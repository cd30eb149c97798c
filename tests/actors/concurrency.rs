//! How many calls of an actor run at once.

use actinic::prelude::*;

use super::{
    id,
    kit::{eventually, failure, test, Gate, PATIENCE},
    runtime, Log, Room, Shelf,
};

#[test]
fn async_methods_interleave_at_await() {
    test(|| {
        let rt = runtime(1);
        let room = Room::remote();
        let gate = Gate::new();
        let all: Vec<_> = (0..200).map(|_| room.meet_async(gate, 200)).collect();
        assert_eq!(rt.get_timeout(&all, PATIENCE).unwrap(), [200; 200]);
        assert_eq!(gate.inside_most(), 200);
    });
}

#[test]
fn max_concurrency_bounds_async_methods() {
    test(|| {
        let rt = runtime(2);
        let room = Room::options().max_concurrency(3).remote();
        let gate = Gate::new();
        let all: Vec<_> = (0..50).map(|_| room.meet_async(gate, 3)).collect();
        rt.get_timeout(&all, PATIENCE).unwrap();
        assert_eq!(gate.inside_most(), 3);
    });
}

#[test]
fn async_methods_that_change_the_state_run_alone_and_in_order() {
    test(|| {
        let rt = runtime(2);
        let room = Room::remote();
        let gate = Gate::new();
        let all: Vec<_> = (0..100).map(|_| room.visit_async(gate)).collect();
        assert_eq!(rt.get_timeout(&all, PATIENCE).unwrap(), (1..=100).collect::<Vec<usize>>());
        assert_eq!(gate.inside_most(), 1);
    });
}

#[test]
fn synchronous_methods_run_one_at_a_time_unless_more_is_asked() {
    test(|| {
        let rt = runtime(4);
        let shelf = Shelf::remote();
        let gate = Gate::new();
        let all: Vec<_> = (0..500).map(|_| shelf.read(gate)).collect();
        rt.get_timeout(&all, PATIENCE).unwrap();
        assert_eq!(gate.inside_most(), 1);

        let room = Room::options().max_concurrency(4).remote();
        let gate = Gate::new();
        let all: Vec<_> = (0..4).map(|_| room.meet(gate, 4)).collect();
        assert_eq!(rt.get_timeout(&all, PATIENCE).unwrap(), [4; 4]);
        let gate = Gate::new();
        let waiting: Vec<_> = (0..9).map(|_| room.stay(gate)).collect();
        assert!(failure(rt.get_timeout(&waiting, Duration::ZERO)).is_timeout());
        gate.wait_for(4);
        assert_eq!(gate.arrived(), 4);
        gate.open();
        rt.get_timeout(&waiting, PATIENCE).unwrap();
        assert_eq!(gate.inside_most(), 4);
    });
}

#[test]
fn a_method_that_changes_the_state_runs_alone_whatever_the_concurrency() {
    test(|| {
        let rt = runtime(4);
        let room = Room::options().max_concurrency(8).remote();
        let gate = Gate::new();
        let all: Vec<_> = (0..500).map(|_| room.visit(gate)).collect();
        assert_eq!(rt.get_timeout(&all, PATIENCE).unwrap(), (1..=500).collect::<Vec<usize>>());
        assert_eq!(gate.inside_most(), 1);
    });
}

#[test]
fn concurrency_groups_have_limits_of_their_own() {
    test(|| {
        let rt = runtime(2);
        let room = Room::options().max_concurrency(1).concurrency_group("io", 2).remote();
        let (plain, io) = (Gate::new(), Gate::new());
        let plains: Vec<_> = (0..3).map(|_| room.stay(plain)).collect();
        let ios: Vec<_> = (0..5).map(|_| room.stay_io(io)).collect();
        assert!(failure(rt.get_timeout(&plains, Duration::ZERO)).is_timeout());
        plain.wait_for(1);
        io.wait_for(2);
        io.open();
        assert_eq!(rt.get_timeout(&ios, PATIENCE).unwrap(), [2; 5], "the full default group holds none of them up");
        assert_eq!((plain.arrived(), io.inside_most()), (1, 2));
        plain.open();
        rt.get_timeout(&plains, PATIENCE).unwrap();
        assert_eq!(plain.inside_most(), 1);
    });
}

#[test]
fn blocked_actors_hold_up_no_other() {
    test(|| {
        let rt = runtime(1);
        let gate = Gate::new();
        let blocked: Vec<_> = (0..8).map(|_| Log::remote()).collect();
        let waiting: Vec<_> = blocked.iter().map(|log| log.pass(gate)).collect();
        let free = Log::remote();
        for n in 1..=100 {
            assert_eq!(rt.get_timeout(&free.push(1), PATIENCE).unwrap(), n);
        }
        assert_eq!(rt.get_timeout(&id.remote(3), PATIENCE).unwrap(), 3);
        gate.wait_for(8);
        assert!(waiting.iter().all(|object| !object.is_ready()));
        gate.open();
        assert_eq!(rt.get_timeout(&waiting, PATIENCE).unwrap(), [0; 8]);
    });
}

#[test]
fn ten_thousand_idle_actors_fit_and_answer() {
    test(|| {
        let rt = runtime(2);
        let all: Vec<_> = (0..10_000).map(|_| Log::remote()).collect();
        let first: Vec<_> = all.iter().map(|log| log.push(1)).collect();
        assert_eq!(rt.get_timeout(&first, PATIENCE).unwrap(), [1; 10_000]);
        assert_eq!(rt.actor_count(), 10_000);
        let second: Vec<_> = all.iter().map(|log| log.push(1)).collect();
        assert_eq!(rt.get(&second).unwrap(), [2; 10_000]);
        drop(all);
        eventually("all have ended", || rt.actor_count() == 0);
    });
}
