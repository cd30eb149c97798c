//! Nested tasks, helping, and cycles of blocking gets.

use std::sync::atomic::{AtomicU32, Ordering};

use actinic::prelude::*;

use super::{
    add, get_gate,
    kit::{eventually, failure, test, Gate, PATIENCE},
    pass, runtime, Knot, KnotHandle,
};

#[remote]
fn nest(depth: u32) -> u32 {
    match depth {
        0 => 0,
        _ => actinic::get(&nest.remote(depth - 1)).unwrap() + 1,
    }
}

#[test]
fn tasks_nest_ten_thousand_deep_on_one_cpu() {
    test(|| {
        let rt = runtime(1);
        assert_eq!(rt.get(&nest.remote(10_000)).unwrap(), 10_000);
    });
}

#[test]
fn a_chain_of_data_edges_may_be_a_hundred_thousand_long() {
    test(|| {
        let rt = runtime(1);
        let gate = Gate::new();
        let mut last = pass.remote(gate);
        for _ in 0..100_000 {
            last = add.remote(&last, 1);
        }
        gate.open();
        assert_eq!(rt.get(&last).unwrap(), 100_001);
    });
}

#[remote]
fn fib(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let (a, b) = (fib.remote(n - 1), fib.remote(n - 2));
    let (a, b) = actinic::get((&a, &b)).unwrap();
    a + b
}

#[test]
fn a_tree_of_nested_tasks_ends_on_any_number_of_cpus() {
    test(|| {
        for cpus in [1, 2, 4] {
            let rt = runtime(cpus);
            assert_eq!(rt.get_timeout(&fib.remote(17), PATIENCE).unwrap(), 1_597);
            assert_eq!(rt.get(&fib.remote(17)).unwrap(), 1_597);
        }
    });
}

#[test]
fn an_actor_that_gets_its_own_result_is_told_of_the_cycle() {
    test(|| {
        let rt = runtime(2);
        let knot = Knot::remote();
        let cycle = rt.get_timeout(&knot.ask_myself(rt.put(knot.clone()).unwrap()), PATIENCE).unwrap();
        assert!(cycle.len() >= 2, "{cycle:?}");
        assert_eq!(
            (cycle.first(), cycle.last()),
            (Some(&"Knot.ask_myself".to_owned()), Some(&"Knot.ask_myself".to_owned()))
        );
        assert!(cycle.contains(&"Knot.value".to_owned()), "{cycle:?}");
        assert_eq!(rt.get_timeout(&knot.value(), PATIENCE).unwrap(), 7, "it lives on");
        // The same with the caller's own thread on it.
        assert_eq!(rt.get(&knot.ask_myself(knot.clone())).unwrap(), cycle);
    });
}

#[test]
fn actors_that_wait_for_each_other_are_told_of_the_cycle() {
    test(|| {
        let rt = runtime(2);
        let (one, other) = (Knot::remote(), Knot::remote());
        let gate = Gate::new();
        let asked = [one.ask(other.clone(), gate), other.ask(one.clone(), gate)];
        let mut answers = rt.get_timeout(&asked, PATIENCE).unwrap();
        answers.sort_by_key(Vec::len);
        // One is told, and its end answers the other.
        assert_eq!(answers[0], ["7"]);
        assert!(answers[1].iter().filter(|name| *name == "Knot.ask").count() >= 2, "{answers:?}");
        for _ in 0..2 {
            let cycle = rt.get(&one.ask_through(other.clone(), one.clone())).unwrap();
            assert!(
                cycle.contains(&"Knot.value".to_owned()) && cycle.contains(&"Knot.ask_through".to_owned()),
                "{cycle:?}"
            );
        }
    });
}

#[remote]
fn leaf_of(knot: KnotHandle) -> i64 {
    actinic::get(&knot.leaf()).unwrap()
}

#[remote]
fn pass_by(knot: KnotHandle, gate: Gate) -> i64 {
    actinic::get(&knot.pass(gate)).unwrap()
}

#[remote]
fn open_gate(gate: Gate) {
    gate.open();
}

#[test]
fn a_method_run_by_a_waiting_task_may_wait_for_tasks_itself_on_one_cpu() {
    test(|| {
        let rt = runtime(1);
        let knot = Knot::remote();
        assert_eq!(rt.get_timeout(&leaf_of.remote(knot.clone()), PATIENCE).unwrap(), 8);
        assert_eq!(rt.get_timeout(&leaf_of.options().num_cpus(0.5).remote(knot.clone()), PATIENCE).unwrap(), 8);
        assert_eq!(rt.get_timeout(&leaf_of.options().memory(1).remote(knot), PATIENCE).unwrap(), 8);
    });
}

#[test]
fn a_task_that_waits_for_an_actor_gives_its_cpu_to_others() {
    test(|| {
        let rt = runtime(1);
        let knot = Knot::remote();
        for memory in [0, 1] {
            let gate = Gate::new();
            let waiting = match memory {
                0 => pass_by.remote(knot.clone(), gate),
                bytes => pass_by.options().memory(bytes).remote(knot.clone(), gate),
            };
            assert!(failure(rt.get_timeout(&waiting, Duration::ZERO)).is_timeout());
            gate.wait_for(1);
            // The method blocks a thread, and the only CPU is the waiting task's.
            rt.get_timeout(&open_gate.remote(gate), PATIENCE).unwrap();
            assert_eq!(rt.get_timeout(&waiting, PATIENCE).unwrap(), 7);
        }
    });
}

#[remote]
fn note(gate: Gate) {
    gate.note("now");
}

#[test]
fn a_blocked_worker_gives_its_cpu_back() {
    test(|| {
        let rt = runtime(1);
        let gate = Gate::new();
        let blocked: Vec<_> = (0..8).map(|_| get_gate.remote(gate)).collect();
        assert!(failure(rt.get_timeout(&blocked, Duration::ZERO)).is_timeout());
        gate.wait_for(8);
        rt.get_timeout(&note.remote(gate), PATIENCE).unwrap();
        assert_eq!(rt.get_timeout(&blocked, PATIENCE).unwrap(), [3; 8]);
    });
}

#[test]
fn a_hundred_thousand_tasks_all_run_once() {
    static RUNS: AtomicU32 = AtomicU32::new(0);

    #[remote]
    fn count(n: i64) -> i64 {
        RUNS.fetch_add(1, Ordering::Relaxed);
        n
    }

    test(|| {
        let rt = runtime(2);
        let all: Vec<_> = (0..100_000).map(|n| count.remote(n)).collect();
        assert_eq!(rt.get(&all).unwrap().iter().sum::<i64>(), 4_999_950_000);
        assert_eq!(RUNS.load(Ordering::Relaxed), 100_000);
        drop(all);
        eventually("all are forgotten", || rt.graph().tasks.is_empty());
    });
}
