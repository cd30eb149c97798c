//! Cancelling, and the end of a runtime.

use std::time::Instant;

use actinic::{prelude::*, TaskErrorKind};

use super::{
    add, double,
    kit::{eventually, failure, test, Gate, PATIENCE},
    pass, runtime, Knot,
};

#[remote]
fn until_cancelled(gate: Gate) -> bool {
    gate.arrive();
    let until = Instant::now() + PATIENCE;
    while !actinic::is_cancelled() && Instant::now() < until {
        std::thread::yield_now();
    }
    gate.note("saw it");
    true
}

#[remote]
async fn wait_for_ever(gate: Gate) -> i64 {
    struct Dropped(Gate);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.note("dropped");
        }
    }
    let _dropped = Dropped(gate);
    gate.arrive();
    std::future::pending::<i64>().await
}

#[test]
fn a_queued_task_that_is_cancelled_never_runs() {
    test(|| {
        let rt = runtime(1);
        let (first, second) = (Gate::new(), Gate::new());
        let running = pass.remote(first);
        let holder = add.remote(&running, 0);
        first.wait_for(1);
        let queued = pass.remote(second);
        let waiting = add.remote(&holder, 1);
        assert!(rt.cancel(&queued) && rt.cancel(&waiting));
        for object in [&queued, &waiting] {
            assert!(failure(rt.get_timeout(object, PATIENCE)).is_cancelled());
        }
        first.open();
        assert_eq!(rt.get_timeout(&holder, PATIENCE).unwrap(), 1);
        assert_eq!(rt.get_timeout(&add.remote(1, 1), PATIENCE).unwrap(), 2);
        assert_eq!(second.arrived(), 0);
        assert!(!rt.cancel(&holder), "what is done cannot be cancelled");
    });
}

#[test]
fn a_running_task_is_asked_to_end() {
    test(|| {
        let rt = runtime(1);
        let gate = Gate::new();
        let task = until_cancelled.remote(gate);
        assert!(failure(rt.get_timeout(&task, Duration::ZERO)).is_timeout());
        gate.wait_for(1);
        assert!(rt.cancel(&task));
        assert_eq!(gate.wait_for_log(1), ["saw it"]);
        // It ended of its own accord, so its value counts.
        assert!(rt.get_timeout(&task, PATIENCE).unwrap());
    });
}

#[test]
fn an_async_task_ends_at_its_await() {
    test(|| {
        let rt = runtime(1);
        let gate = Gate::new();
        let task = wait_for_ever.remote(gate);
        assert!(failure(rt.get_timeout(&task, Duration::ZERO)).is_timeout());
        gate.wait_for(1);
        assert!(rt.cancel(&task));
        assert!(failure(rt.get_timeout(&task, PATIENCE)).is_cancelled());
        assert_eq!(gate.wait_for_log(1), ["dropped"]);
    });
}

#[remote]
fn with_children(gate: Gate) -> i64 {
    let children = [wait_for_ever.remote(gate), wait_for_ever.remote(gate)];
    gate.note("submitted");
    actinic::get(&children).map_or(-1, |all| all.iter().sum())
}

#[test]
fn cancelling_a_task_cancels_what_it_submitted() {
    test(|| {
        let rt = runtime(2);
        let gate = Gate::new();
        let parent = with_children.remote(gate);
        assert!(failure(rt.get_timeout(&parent, Duration::ZERO)).is_timeout());
        gate.wait_for(2);
        assert!(rt.cancel(&parent));
        assert_eq!(rt.get_timeout(&parent, PATIENCE).unwrap(), -1);
        eventually("nothing is left", || {
            gate.log().len() == 3 && rt.graph().tasks.iter().all(|task| task.state == "Done")
        });
    });
}

#[test]
fn what_has_not_run_at_shutdown_gives_an_error() {
    test(|| {
        let rt = runtime(1);
        let gate = Gate::new();
        let running = pass.remote(gate);
        assert!(failure(rt.get_timeout(&running, Duration::ZERO)).is_timeout());
        gate.wait_for(1);
        let (queued, dependent) = (double.remote(1), add.remote(&running, 1));
        let done = rt.put(5).unwrap();
        let knot = Knot::remote();
        let call = knot.value();
        gate.open();
        rt.shutdown();
        for object in [&queued, &dependent, &call] {
            // Either it made it, or it says why not; it never hangs.
            if let Err(error) = object.get_timeout(PATIENCE) {
                let kind = error.kind();
                assert!(matches!(kind, TaskErrorKind::NoRuntime { .. } | TaskErrorKind::ActorDied { .. }), "{error}");
            }
        }
        assert_eq!(done.get().unwrap(), 5);
    });
}
