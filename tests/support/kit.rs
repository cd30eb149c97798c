//! What the tests of the public API share: bounded runs, gates between tasks and tests, and logs.
//!
//! Arguments of remote calls are values, so what a test shares with its tasks is named by a number and found in a table
//! of the process. Every wait here has a deadline, and no test waits for a time to pass.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    collections::BTreeMap,
    panic,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc, Arc,
    },
    thread,
    time::{Duration, Instant},
};

use actinic::TaskError;
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};

/// How long a test waits for anything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test on a thread of its own and fails it if it takes longer than this.
pub(crate) fn bounded<R: Send + 'static>(limit: Duration, body: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, ended) = mpsc::channel::<()>();
    let thread = thread::Builder::new().name(thread::current().name().unwrap_or("test").to_owned()).spawn(move || {
        let _done = done;
        body()
    });
    let thread = thread.expect("a thread for the test");
    match ended.recv_timeout(limit) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the test has not ended after {limit:?}"),
        _ => thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)),
    }
}

/// A test of ordinary length.
pub(crate) fn test<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    bounded(Duration::from_secs(60), body)
}

/// Waits until `holds`, looking again and again.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "after {PATIENCE:?} still not: {what}");
        thread::park_timeout(Duration::from_micros(500));
    }
}

/// The error of a result that must be one.
pub(crate) fn failure<T>(result: Result<T, TaskError>) -> TaskError {
    match result {
        Ok(_) => panic!("there is a value where an error was expected"),
        Err(error) => error,
    }
}

#[derive(Default)]
struct Shared {
    open: bool,
    arrived: usize,
    inside: usize,
    inside_most: usize,
    log: Vec<String>,
}

#[derive(Default)]
struct Meeting {
    shared: Mutex<Shared>,
    changed: Condvar,
}

static NEXT: AtomicU64 = AtomicU64::new(1);
static MEETINGS: Mutex<BTreeMap<u64, Arc<Meeting>>> = Mutex::new(BTreeMap::new());

/// A place where tasks and their test meet: a gate to wait at, a count of who is inside, a log. Travels as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gate(u64);

impl Gate {
    pub(crate) fn new() -> Self {
        let gate = Self(NEXT.fetch_add(1, Ordering::Relaxed));
        MEETINGS.lock().insert(gate.0, Arc::default());
        gate
    }

    fn meeting(self) -> Arc<Meeting> {
        MEETINGS.lock().get(&self.0).expect("the gate exists").clone()
    }

    fn until<R>(self, what: &str, mut ready: impl FnMut(&mut Shared) -> Option<R>) -> R {
        let meeting = self.meeting();
        let until = Instant::now() + PATIENCE;
        let mut shared = meeting.shared.lock();
        loop {
            if let Some(result) = ready(&mut shared) {
                return result;
            }
            let late = meeting.changed.wait_until(&mut shared, until).timed_out();
            assert!(!late, "after {PATIENCE:?} still not: {what}");
        }
    }

    fn change<R>(self, change: impl FnOnce(&mut Shared) -> R) -> R {
        let meeting = self.meeting();
        let result = change(&mut meeting.shared.lock());
        meeting.changed.notify_all();
        result
    }

    /// Lets all pass, now and later.
    pub(crate) fn open(self) {
        self.change(|shared| shared.open = true);
    }

    /// Arrives, and blocks this thread until the gate is open.
    pub(crate) fn pass(self) {
        self.arrive();
        self.hold();
    }

    /// Blocks this thread until the gate is open.
    pub(crate) fn hold(self) {
        self.until("the gate is open", |shared| shared.open.then_some(()));
    }

    /// Arrives without waiting.
    pub(crate) fn arrive(self) {
        self.change(|shared| shared.arrived += 1);
    }

    /// Waits until so many have arrived.
    pub(crate) fn wait_for(self, count: usize) {
        self.until(&format!("{count} have arrived"), |shared| (shared.arrived >= count).then_some(()));
    }

    /// Arrives, and waits for the others.
    pub(crate) fn meet(self, count: usize) {
        self.arrive();
        self.wait_for(count);
    }

    /// How many have arrived.
    pub(crate) fn arrived(self) -> usize {
        self.change(|shared| shared.arrived)
    }

    /// Counts one inside as long as the result lives.
    pub(crate) fn enter(self) -> Inside {
        self.change(|shared| {
            shared.arrived += 1;
            shared.inside += 1;
            shared.inside_most = shared.inside_most.max(shared.inside);
        });
        Inside(self)
    }

    /// The most that were ever inside at once.
    pub(crate) fn inside_most(self) -> usize {
        self.change(|shared| shared.inside_most)
    }

    /// Adds a line to the log.
    pub(crate) fn note(self, line: impl Into<String>) {
        self.change(|shared| shared.log.push(line.into()));
    }

    /// The log so far.
    pub(crate) fn log(self) -> Vec<String> {
        self.change(|shared| shared.log.clone())
    }

    /// Waits until the log has so many lines, and gives it.
    pub(crate) fn wait_for_log(self, lines: usize) -> Vec<String> {
        self.until(&format!("{lines} lines in the log"), |shared| {
            (shared.log.len() >= lines).then(|| shared.log.clone())
        })
    }
}

/// One inside a [`Gate`].
pub(crate) struct Inside(Gate);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.change(|shared| shared.inside -= 1);
    }
}
