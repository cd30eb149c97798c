//! Two runtimes on one thread. One test in a process of its own: a thread whose runtime has ended joins the one that was
//! started last of those that run, whosever it is.
#![allow(clippy::unwrap_used)]

use actinic::prelude::*;

#[path = "support/kit.rs"]
mod kit;
use kit::{test, PATIENCE};

fn runtime() -> Runtime {
    Runtime::builder().num_cpus(1).init().unwrap()
}

#[remote]
fn same(value: i64) -> i64 {
    value
}

#[remote]
struct Log {
    entries: Vec<i64>,
}

#[remote]
impl Log {
    fn new() -> Self {
        Self { entries: Vec::new() }
    }

    fn push(&mut self, entry: i64) -> usize {
        self.entries.push(entry);
        self.entries.len()
    }

    fn entries(&self) -> Vec<i64> {
        self.entries.clone()
    }
}

#[test]
fn an_actor_answers_a_thread_that_has_joined_another_runtime() {
    test(|| {
        let rt = runtime();
        let log = Log::remote();
        for n in 0..20 {
            let task = same.remote(n);
            let other = runtime();
            let pushed = log.push(n);
            drop(other);
            assert_eq!(rt.get_timeout(&pushed, PATIENCE).unwrap(), n as usize + 1);
            assert_eq!(rt.get_timeout(&task, PATIENCE).unwrap(), n, "what waited in the thread's outbox is not lost");
            let again = runtime();
            let (first, second) = (log.entries(), again.get_timeout(&same.remote(n), PATIENCE).unwrap());
            assert_eq!((again.get(&first).unwrap().len(), second), (n as usize + 1, n));
        }
        assert!(rt.get(&same.remote(1)).is_ok(), "the first is this thread's again");
    });
}
