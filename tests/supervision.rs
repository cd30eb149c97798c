//! Supervision: crashes, restarts and their limits, checkpoints, groups, links, and who is told of a death.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use actinic::{
    prelude::*,
    supervision::{Backoff, Exit, RestartLimit, RestartPolicy, Strategy},
    TaskErrorKind,
};
use serde::{Deserialize, Serialize};

#[path = "support/kit.rs"]
mod kit;
use kit::{eventually, failure, test, Gate, PATIENCE};

fn runtime() -> Runtime {
    Runtime::builder().num_cpus(2).seed(7).init().unwrap()
}

/// An actor that notes each of its lives, and counts.
#[remote]
#[derive(Serialize, Deserialize)]
struct Worker {
    gate: Gate,
    name: String,
    count: i64,
}

#[remote]
impl Worker {
    fn new(gate: Gate, name: String) -> Self {
        gate.note(format!("{name} starts"));
        gate.arrive();
        Self { gate, name, count: 0 }
    }

    fn count(&mut self) -> i64 {
        self.count += 1;
        self.count
    }

    async fn count_async(&mut self) -> i64 {
        tokio::task::yield_now().await;
        self.count += 1;
        self.count
    }

    fn fall(&mut self) -> i64 {
        self.count = 1_000;
        panic!("{} falls", self.name)
    }

    /// Panics until it has been called so often, in all lives.
    fn flaky(&mut self, tries: Gate, good_at: usize) -> i64 {
        tries.arrive();
        self.count += 100;
        assert!(tries.arrived() >= good_at, "not yet");
        self.count
    }

    async fn flaky_async(&mut self, tries: Gate, good_at: usize) -> i64 {
        tries.arrive();
        self.count += 100;
        tokio::task::yield_now().await;
        assert!(tries.arrived() >= good_at, "not yet");
        self.count
    }

    fn pass(&mut self, gate: Gate) -> i64 {
        gate.pass();
        self.count
    }

    fn pass_and_fall(&mut self, gate: Gate) -> i64 {
        gate.pass();
        panic!("{} falls late", self.name)
    }

    async fn wait_for_ever(&self, gate: Gate) -> i64 {
        gate.arrive();
        std::future::pending().await
    }
}

fn panicked<T>(result: Result<T, TaskError>) -> String {
    let error = failure(result);
    match error.kind() {
        TaskErrorKind::Panicked { message, .. } => message.clone(),
        _ => panic!("{error}"),
    }
}

fn died<T>(result: Result<T, TaskError>) -> String {
    let error = failure(result);
    match error.kind() {
        TaskErrorKind::ActorDied { reason, .. } => reason.clone(),
        _ => panic!("{error}"),
    }
}

fn slow(first: Duration) -> Backoff {
    Backoff { first, factor: 2.0, max: Duration::from_secs(5), jitter: 0.0 }
}

// --- one actor -----------------------------------------------------------------------------------------------------

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
            panicked(rt.get_timeout(&worker.fall(), PATIENCE));
            let fell = Instant::now();
            rt.get_timeout(&worker.count(), PATIENCE).unwrap();
            let waited = fell.elapsed();
            assert!(waited >= Duration::from_millis(wait - 2), "{waited:?} is less than {wait} ms");
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

// --- groups --------------------------------------------------------------------------------------------------------

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

fn counts(rt: &Runtime, workers: &[WorkerHandle]) -> Vec<i64> {
    workers.iter().map(|worker| rt.get_timeout(&worker.count(), PATIENCE).unwrap()).collect()
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

// --- links and watches ---------------------------------------------------------------------------------------------

#[test]
fn linked_actors_fall_together() {
    test(|| {
        let rt = runtime();
        let gate = Gate::new();
        let options = || Worker::options().max_restarts(-1).backoff(Backoff::NONE);
        let (one, other) = (options().remote(gate, "q"), options().remote(gate, "r"));
        assert_eq!(counts(&rt, &[one.clone(), other.clone()]), [1, 1]);
        one.link(&other).unwrap();
        panicked(rt.get(&one.fall()));
        gate.wait_for(4);
        assert_eq!(counts(&rt, &[one.clone(), other.clone()]), [1, 1]);
        one.unlink(&other).unwrap();
        panicked(rt.get(&one.fall()));
        gate.wait_for(5);
        assert_eq!(counts(&rt, &[one, other]), [1, 2]);
    });
}

#[test]
fn a_linked_actor_without_restarts_dies_with_the_other() {
    test(|| {
        let rt = runtime();
        let (one, other) = (Worker::remote(Gate::new(), "s"), Worker::remote(Gate::new(), "t"));
        one.link(&other).unwrap();
        let exit = other.watch();
        panicked(rt.get(&one.fall()));
        assert!(rt.get_timeout(&exit, PATIENCE).unwrap().is_abnormal());
        died(rt.get_timeout(&other.count(), PATIENCE));
    });
}

#[test]
fn a_watcher_is_told_of_the_final_death_once() {
    test(|| {
        let rt = runtime();
        let told = Gate::new();
        let worker = Worker::options().max_restarts(1).backoff(Backoff::NONE).remote(Gate::new(), "u");
        let exit = worker.watch();
        worker.on_death(move |exit| told.note(format!("{exit:?}")));
        panicked(rt.get(&worker.fall()));
        assert_eq!(rt.get_timeout(&worker.count(), PATIENCE).unwrap(), 1);
        assert!(!exit.is_ready() && told.log().is_empty(), "a restart is no death");
        panicked(rt.get(&worker.fall()));
        let Exit::Failed(reason) = rt.get_timeout(&exit, PATIENCE).unwrap() else { panic!("it failed") };
        assert!(reason.contains("u falls"), "{reason}");
        assert!(told.wait_for_log(1)[0].starts_with("Failed"));
        // Those who come later are told as well, and nobody twice.
        rt.get_timeout(&worker.watch(), PATIENCE).unwrap();
        assert_eq!(told.log().len(), 1);
    });
}

#[test]
fn a_watcher_learns_how_it_ended() {
    test(|| {
        let rt = runtime();
        let killed = Worker::options().max_restarts(5).remote(Gate::new(), "v");
        let exit = killed.watch();
        killed.kill();
        assert_eq!(rt.get_timeout(&exit, PATIENCE).unwrap(), Exit::Killed);
        let left = Worker::remote(Gate::new(), "w");
        let exit = left.watch();
        drop(left);
        assert_eq!(rt.get_timeout(&exit, PATIENCE).unwrap(), Exit::Normal, "nobody needed it any more");
    });
}

#[test]
fn an_actor_that_ends_for_want_of_handles_takes_no_linked_one_with_it() {
    test(|| {
        let rt = runtime();
        let (kept, left) = (Worker::remote(Gate::new(), "x"), Worker::remote(Gate::new(), "y"));
        kept.link(&left).unwrap();
        assert_eq!(rt.get(&kept.count()).unwrap(), 1);
        let exit = left.watch();
        drop(left);
        assert_eq!(rt.get_timeout(&exit, PATIENCE).unwrap(), Exit::Normal);
        assert_eq!(rt.get_timeout(&kept.count(), PATIENCE).unwrap(), 2);
    });
}
