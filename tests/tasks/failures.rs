//! Errors, panics and retries.

use std::fmt;

use actinic::{prelude::*, TaskErrorKind};

use super::{
    add, fall,
    kit::{eventually, failure, test, Gate, PATIENCE},
    runtime, sum,
};

#[derive(Debug)]
struct Outer(Inner);
#[derive(Debug)]
struct Inner;

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the outer error")
    }
}
impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the inner error")
    }
}
impl std::error::Error for Inner {}
impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[remote]
fn fail_with_cause() -> Result<i64, Outer> {
    Err(Outer(Inner))
}

#[remote]
fn halve(a: i64) -> Result<i64, String> {
    if a % 2 == 0 {
        Ok(a / 2)
    } else {
        Err(format!("{a} is odd"))
    }
}

#[test]
fn an_err_reaches_every_get_with_task_message_and_causes() {
    test(|| {
        let rt = runtime(2);
        assert_eq!(rt.get(&halve.remote(8)).unwrap(), 4);
        let error = failure(rt.get(&halve.remote(7)));
        assert!(error.to_string().contains("halve") && error.to_string().contains("7 is odd"), "{error}");
        let object = fail_with_cause.remote();
        for _ in 0..2 {
            let error = failure(rt.get(&object));
            let TaskErrorKind::Failed { task, node, message, causes } = error.kind() else { panic!("{error}") };
            assert!(task.ends_with("fail_with_cause") && !node.is_empty());
            assert_eq!((message.as_str(), causes.as_slice()), ("the outer error", &["the inner error".to_owned()][..]));
        }
    });
}

#[test]
fn a_panic_reaches_every_get_and_all_dependents_with_message_and_location() {
    test(|| {
        let rt = runtime(2);
        let fallen = fall.remote(3);
        let dependent = add.remote(1, &fallen);
        let gathered = sum.remote(vec![rt.put(1).unwrap(), dependent.clone()]);
        for object in [&fallen, &fallen, &dependent, &gathered] {
            let error = failure(rt.get(object));
            let TaskErrorKind::Panicked { task, message, location, .. } = error.kind() else { panic!("{error}") };
            assert!(task.ends_with("fall"), "{task}");
            assert_eq!(message, "fell with 3");
            assert!(location.contains("tests/tasks.rs:"), "{location}");
        }
        assert_eq!(rt.get(&add.remote(1, 1)).unwrap(), 2, "the worker lives on");
    });
}

#[remote]
async fn fall_later() -> i64 {
    tokio::task::yield_now().await;
    panic!("fell late")
}

#[test]
fn a_panic_of_an_async_task_is_told_too() {
    test(|| {
        let rt = runtime(1);
        let error = failure(rt.get(&fall_later.remote()));
        assert!(matches!(error.kind(), TaskErrorKind::Panicked { message, .. } if message == "fell late"), "{error}");
    });
}

#[remote]
fn flaky(tries: Gate, good_at: usize, message: String) -> Result<usize, String> {
    tries.arrive();
    if tries.arrived() >= good_at {
        Ok(tries.arrived())
    } else {
        Err(message)
    }
}

#[remote]
fn flaky_panic(tries: Gate, good_at: usize) -> usize {
    tries.arrive();
    assert!(tries.arrived() >= good_at, "not yet");
    tries.arrived()
}

#[test]
fn a_failure_of_its_own_is_retried_only_if_asked() {
    test(|| {
        let rt = runtime(2);
        let once = Gate::new();
        assert!(rt.get(&flaky.remote(once, 2, "busy")).is_err());
        assert_eq!(once.arrived(), 1);
        let unasked = Gate::new();
        assert!(rt.get(&flaky.options().max_retries(5).remote(unasked, 2, "busy")).is_err());
        assert_eq!(unasked.arrived(), 1, "max_retries alone is about lost workers");
        let asked = flaky.options().max_retries(5).retry_exceptions(|_| true);
        assert_eq!(rt.get(&asked.remote(Gate::new(), 3, "busy")).unwrap(), 3);
        let panicking = flaky_panic.options().retry_exceptions(|_| true);
        assert_eq!(rt.get(&panicking.remote(Gate::new(), 4)).unwrap(), 4);
    });
}

#[test]
fn the_predicate_and_the_bound_decide_about_retries() {
    test(|| {
        let rt = runtime(2);
        let if_busy = |error: &TaskError| error.to_string().contains("busy");
        let tries = Gate::new();
        let error = failure(rt.get(&flaky.options().retry_exceptions(if_busy).remote(tries, 9, "broken")));
        assert!(error.to_string().contains("broken"));
        assert_eq!(tries.arrived(), 1, "not one of those to retry");
        let tries = Gate::new();
        let options = flaky.options().max_retries(2).retry_exceptions(if_busy);
        assert!(rt.get(&options.remote(tries, 9, "busy")).is_err());
        assert_eq!(tries.arrived(), 3, "the first attempt and two more");
    });
}

#[test]
fn a_wide_task_is_retried_with_its_resources() {
    test(|| {
        let rt = runtime(2);
        let options = flaky.options().num_cpus(2).retry_exceptions(|_| true);
        assert_eq!(rt.get(&options.remote(Gate::new(), 3, "busy")).unwrap(), 3);
        eventually("its CPUs are free again", || rt.available_resources().of("CPU").units() == 2.0);
    });
}

#[remote]
async fn flaky_async(tries: Gate, good_at: usize) -> Result<usize, String> {
    tries.arrive();
    tokio::task::yield_now().await;
    (tries.arrived() >= good_at).then_some(good_at).ok_or_else(|| "not yet".to_owned())
}

#[test]
fn an_async_task_is_retried_too() {
    test(|| {
        let rt = runtime(1);
        let options = flaky_async.options().retry_exceptions(|_| true);
        assert_eq!(rt.get_timeout(&options.remote(Gate::new(), 3), PATIENCE).unwrap(), 3);
    });
}
