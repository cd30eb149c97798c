//! One actor: crashes, restarts, limits, checkpoints.

use std::time::Instant;

use actinic::{
    prelude::*,
    supervision::{Backoff, RestartPolicy},
    TaskErrorKind,
};

use super::{
    died,
    kit::{eventually, failure, test, Gate, PATIENCE},
    panicked, runtime, slow, Worker, WorkerHandle,
};

#[test]
fn a_panic_answers_its_caller_and_the_state_is_rebuilt() {
    test(|| {
        let rt = runtime();
        let worker = Worker::options().max_restarts(3).remote(Gate::new(), "ann");
        assert_eq!(rt.get(&worker.count()).unwrap(), 1);
        assert_eq!(panicked(rt.get(&worker.fall())), "ann falls");
        assert_eq!(rt.get_timeout(&worker.count(), PATIENCE).unwrap(), 1, "from the factory, not the broken state");
        assert_eq!(rt.actor_restarts(), 1);
    });
}

#[test]
fn queued_calls_survive_a_restart_in_their_order() {
    test(|| {
        let rt = runtime();
        let worker = Worker::options().max_restarts(1).remote(Gate::new(), "bob");
        let gate = Gate::new();
        let falling = worker.pass_and_fall(gate);
        let calls: Vec<_> = (0..500).map(|_| worker.count()).collect();
        gate.open();
        assert_eq!(panicked(rt.get_timeout(&falling, PATIENCE)), "bob falls late");
        assert_eq!(rt.get_timeout(&calls, PATIENCE).unwrap(), (1..=500).collect::<Vec<i64>>());
    });
}

#[test]
fn over_max_restarts_it_is_dead_and_says_why() {
    test(|| {
        let rt = runtime();
        let gate = Gate::new();
        let worker = Worker::options().max_restarts(2).backoff(Backoff::NONE).remote(gate, "cid");
        for _ in 0..3 {
            assert_eq!(panicked(rt.get_timeout(&worker.fall(), PATIENCE)), "cid falls");
        }
        let reason = died(rt.get_timeout(&worker.count(), PATIENCE));
        assert!(reason.contains("Worker.fall") && reason.contains("cid falls"), "{reason}");
        assert_eq!((gate.arrived(), rt.actor_restarts()), (3, 2));
        eventually("it is gone", || rt.actor_count() == 0);
    });
}

#[test]
fn max_restarts_of_minus_one_is_without_end() {
    test(|| {
        let rt = runtime();
        let worker = Worker::options().max_restarts(-1).backoff(Backoff::NONE).remote(Gate::new(), "dot");
        for _ in 0..50 {
            assert_eq!(panicked(rt.get_timeout(&worker.fall(), PATIENCE)), "dot falls");
        }
        assert_eq!(rt.get_timeout(&worker.count(), PATIENCE).unwrap(), 1);
        assert_eq!(rt.actor_restarts(), 50);
    });
}

#[test]
fn a_constructor_that_fails_uses_up_the_restarts() {
    #[remote]
    struct Stillborn;

    #[remote]
    impl Stillborn {
        fn new(tries: Gate, good_at: usize) -> Result<Self, String> {
            tries.arrive();
            if tries.arrived() < good_at {
                return Err(format!("attempt {}", tries.arrived()));
            }
            Ok(Self)
        }

        fn answer(&self) -> i64 {
            42
        }
    }

    test(|| {
        let rt = runtime();
        let options = || Stillborn::options().max_restarts(2).backoff(Backoff::NONE);
        assert_eq!(rt.get_timeout(&options().remote(Gate::new(), 3).answer(), PATIENCE).unwrap(), 42);
        let reason = died(rt.get_timeout(&options().remote(Gate::new(), 4).answer(), PATIENCE));
        assert!(reason.contains("attempt 3"), "{reason}");
    });
}

#[test]
fn a_restart_goes_on_from_the_last_checkpoint() {
    test(|| {
        let rt = runtime();
        let worker = Worker::options().max_restarts(-1).checkpoint_every(10).remote(Gate::new(), "eve");
        for n in 1..=25 {
            assert_eq!(rt.get(&worker.count()).unwrap(), n);
        }
        panicked(rt.get(&worker.fall()));
        assert_eq!(rt.get_timeout(&worker.count(), PATIENCE).unwrap(), 21, "20 were saved");
        let every =
            Worker::options().max_restarts(-1).backoff(Backoff::NONE).checkpoint_every(1).remote(Gate::new(), "fay");
        for n in 1..=20 {
            let counts = [every.count_async(), every.count_async()];
            assert_eq!(rt.get_timeout(&counts, PATIENCE).unwrap(), [2 * n - 1, 2 * n]);
            panicked(rt.get_timeout(&every.fall(), PATIENCE));
        }
    });
}

#[test]
fn max_task_retries_runs_the_crashed_call_again() {
    test(|| {
        let rt = runtime();
        let options = || Worker::options().max_restarts(-1).backoff(Backoff::NONE).max_task_retries(2);
        let worker = options().remote(Gate::new(), "gus");
        let tries = Gate::new();
        assert_eq!(
            rt.get_timeout(&worker.flaky(tries, 3), PATIENCE).unwrap(),
            100,
            "on a state that is fresh each time"
        );
        assert_eq!(panicked(rt.get_timeout(&worker.flaky(Gate::new(), 4), PATIENCE)), "not yet");
        let after = [worker.flaky(Gate::new(), 2), worker.count()];
        assert_eq!(rt.get_timeout(&after, PATIENCE).unwrap(), [100, 101], "those behind it wait for it");
        let worker = options().remote(Gate::new(), "hal");
        assert_eq!(rt.get_timeout(&worker.flaky_async(Gate::new(), 3), PATIENCE).unwrap(), 100);
        assert_eq!(panicked(rt.get_timeout(&worker.flaky_async(Gate::new(), 4), PATIENCE)), "not yet");
        assert_eq!(rt.get_timeout(&worker.count(), PATIENCE).unwrap(), 1);
    });
}

#[test]
fn with_retries_and_checkpoints_each_call_counts_exactly_once() {
    test(|| {
        let rt = runtime();
        let options = Worker::options().max_restarts(-1).backoff(Backoff::NONE).max_task_retries(5);
        let worker = options.checkpoint_every(1).remote(Gate::new(), "ida");
        let calls: Vec<_> =
            (0..100).map(|n| if n % 10 == 5 { worker.flaky(Gate::new(), 3) } else { worker.count() }).collect();
        let counts = rt.get_timeout(&calls, PATIENCE).unwrap();
        assert_eq!(*counts.last().unwrap(), 90 + 10 * 100);
        assert!(counts.windows(2).all(|pair| pair[0] < pair[1]), "{counts:?}");
        assert_eq!(rt.actor_restarts(), 20);
    });
}

#[test]
fn restarts_are_counted_within_the_window_only() {
    test(|| {
        let rt = runtime();
        let window = Duration::from_millis(200);
        let options = || Worker::options().max_restarts(2).restart_window(window).backoff(Backoff::NONE);
        let patient = options().remote(Gate::new(), "jan");
        for _ in 0..2 {
            for _ in 0..2 {
                panicked(rt.get_timeout(&patient.fall(), PATIENCE));
                assert_eq!(rt.get_timeout(&patient.count(), PATIENCE).unwrap(), 1);
            }
            let until = Instant::now() + 2 * window;
            eventually("the window has passed", || Instant::now() > until);
        }
        assert_eq!(rt.get_timeout(&patient.count(), PATIENCE).unwrap(), 2);
        let hasty = options().remote(Gate::new(), "kim");
        let falls: Vec<_> = (0..3).map(|_| hasty.fall()).collect();
        rt.wait(&falls, 3, PATIENCE).unwrap();
        died(rt.get_timeout(&hasty.count(), PATIENCE));
    });
}

#[test]
fn a_restart_waits_for_its_back_off_which_grows() {
    test(|| {
        let rt = runtime();
        let worker =
            Worker::options().max_restarts(-1).backoff(slow(Duration::from_millis(30))).remote(Gate::new(), "lea");
        for wait in [30, 60, 120] {
            // From before it falls, since this thread may hear of it late.
            let stood = Instant::now();
            panicked(rt.get_timeout(&worker.fall(), PATIENCE));
            rt.get_timeout(&worker.count(), PATIENCE).unwrap();
            let waited = stood.elapsed();
            assert!(waited >= Duration::from_millis(wait), "{waited:?} is less than {wait} ms");
        }
    });
}

#[test]
fn a_restart_policy_of_never_outweighs_max_restarts() {
    test(|| {
        let rt = runtime();
        let worker = Worker::options().max_restarts(9).restart_policy(RestartPolicy::Never).remote(Gate::new(), "mia");
        panicked(rt.get(&worker.fall()));
        died(rt.get_timeout(&worker.count(), PATIENCE));
        assert_eq!(rt.actor_restarts(), 0);
    });
}

#[test]
fn a_restart_on_request_rebuilds_the_state_and_abandons_async_calls() {
    test(|| {
        let rt = runtime();
        let worker = Worker::options().max_restarts(-1).remote(Gate::new(), "ned");
        let gate = Gate::new();
        assert_eq!(rt.get(&worker.count()).unwrap(), 1);
        let waiting = worker.wait_for_ever(gate);
        assert!(failure(rt.get_timeout(&waiting, Duration::ZERO)).is_timeout());
        gate.wait_for(1);
        worker.restart();
        let error = failure(rt.get_timeout(&waiting, PATIENCE));
        assert!(matches!(error.kind(), TaskErrorKind::ActorUnavailable { .. }), "{error}");
        assert_eq!(rt.get_timeout(&worker.count(), PATIENCE).unwrap(), 1);
    });
}

#[test]
fn a_restart_waits_for_the_method_that_runs() {
    test(|| {
        let rt = runtime();
        let worker = Worker::options().max_restarts(-1).remote(Gate::new(), "ole");
        let gate = Gate::new();
        worker.count();
        let running = worker.pass(gate);
        let queued = worker.count();
        assert!(failure(rt.get_timeout(&running, Duration::ZERO)).is_timeout());
        gate.wait_for(1);
        worker.restart();
        eventually("the restart is under way", || rt.actor_restarts() == 1);
        assert!(!queued.is_ready());
        gate.open();
        assert_eq!(rt.get_timeout(&running, PATIENCE).unwrap(), 1, "what runs is not interrupted");
        assert_eq!(rt.get_timeout(&queued, PATIENCE).unwrap(), 1, "on the new state");
    });
}

#[test]
fn timers_and_names_outlive_a_restart() {
    test(|| {
        let rt = runtime();
        let worker = Worker::options().name("pia").max_restarts(-1).remote(Gate::new(), "pia");
        let ticks = Gate::new();
        worker.every(Duration::from_millis(1), move |worker| {
            ticks.arrive();
            drop(worker.count());
        });
        ticks.wait_for(3);
        panicked(rt.get_timeout(&worker.fall(), PATIENCE));
        let found: WorkerHandle = rt.get_actor("pia").unwrap();
        rt.get_timeout(&found.count(), PATIENCE).unwrap();
        let so_far = ticks.arrived();
        ticks.wait_for(so_far + 5);
    });
}
