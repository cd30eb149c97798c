//! What is asked of a runtime that has ended. One test in a process of its own: threads without a runtime join the one
//! that was started last, whosever it is.
#![allow(clippy::unwrap_used)]

use actinic::{prelude::*, TaskErrorKind};

#[path = "support/kit.rs"]
mod kit;
use kit::{failure, test, Gate, PATIENCE};

#[remote]
fn pass(gate: Gate) -> i64 {
    gate.pass();
    1
}

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote]
struct Counter {
    value: i64,
}

#[remote]
impl Counter {
    fn new() -> Self {
        Self { value: 0 }
    }

    fn increment(&mut self) -> i64 {
        self.value += 1;
        self.value
    }
}

fn is_no_runtime<T>(result: Result<T, TaskError>) {
    let error = failure(result);
    assert!(matches!(error.kind(), TaskErrorKind::NoRuntime { .. }), "{error}");
}

#[test]
fn after_a_shutdown_every_get_ends_with_no_runtime() {
    test(|| {
        is_no_runtime(add.remote(1, 1).get());
        is_no_runtime(Runtime::current().map(|_| ()));

        let rt = Runtime::builder().num_cpus(1).init().unwrap();
        let gate = Gate::new();
        let running = pass.remote(gate);
        assert!(failure(rt.get_timeout(&running, Duration::ZERO)).is_timeout());
        gate.wait_for(1);
        let waiting = add.remote(&running, 1);
        let queued = add.remote(1, 1);
        let counter = Counter::remote();
        assert_eq!(rt.get_timeout(&counter.increment(), PATIENCE).unwrap(), 1);
        let clone = rt.clone();
        rt.shutdown();

        is_no_runtime(waiting.get_timeout(PATIENCE));
        is_no_runtime(queued.get());
        is_no_runtime(running.get());
        is_no_runtime(add.remote(1, 1).get());
        is_no_runtime(clone.put(1));
        is_no_runtime(actinic::put(1));
        is_no_runtime(clone.get(&waiting));
        assert!(counter.increment().get().is_err());
        assert!(Counter::options().try_remote().is_err());
        is_no_runtime(futures::executor::block_on(async { add.remote(1, 1).await }));
        assert!(clone.graph().tasks.iter().all(|task| task.state == "Done"));
        gate.open();

        let again = Runtime::init().unwrap();
        assert_eq!(again.get(&add.remote(1, 1)).unwrap(), 2);
    });
}
