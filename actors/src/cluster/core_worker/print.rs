//! What the workers of a driver write, on the driver's own outputs.
//!
//! Owns: printing it ([`Printer`]), and waiting for the rest of it at the driver's end ([`Partings`]). Invariants: a driver whose outputs are
//! closed, or not read, goes on; one whose nodes do not answer ends all the same.

use std::{
    collections::{BTreeSet, VecDeque},
    io::Write as _,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    time::{Duration, Instant},
};

use actinic_gcs::NodeId;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::cluster::wire::WorkerOutput;

/// Bytes that may wait to be printed; what comes then is counted and left out.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Prints on a thread of its own: whoever reads this process's outputs may take his time, or hold them while he waits for a
/// task, and the node is heard all the same.
pub(super) struct Printer {
    muted: AtomicBool,
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    texts: VecDeque<(bool, String)>,
    bytes: usize,
    /// Lines that were left out since something was printed last.
    left_out: usize,
    /// Texts that have been printed.
    printed: u64,
    /// Whether one is being printed.
    busy: bool,
    runs: bool,
}

impl Default for Printer {
    fn default() -> Self {
        Self { muted: AtomicBool::new(false), queue: Arc::default() }
    }
}

impl Printer {
    /// Whether lines of workers are printed.
    pub(super) fn turn(&self, prints: bool) {
        self.muted.store(!prints, Ordering::Relaxed);
    }

    /// Prints lines, each with who wrote it.
    pub(super) fn print(&self, output: &WorkerOutput) {
        if !self.muted.load(Ordering::Relaxed) {
            self.add(output.stderr, output.printed());
        }
    }

    /// Says something to whoever runs the program.
    pub(super) fn say(&self, text: String) {
        self.add(true, text);
    }

    fn add(&self, stderr: bool, text: String) {
        let mut state = self.queue.state.lock();
        if state.bytes + text.len() > WAITING_BYTES_MAX {
            state.left_out += text.lines().count();
            return;
        }
        state.bytes += text.len();
        state.texts.push_back((stderr, text));
        if !std::mem::replace(&mut state.runs, true) {
            let queue = self.queue.clone();
            let started = std::thread::Builder::new().name("actinic-print".to_owned()).spawn(move || queue.print_all());
            if let Err(error) = started {
                tracing::error!(%error, "what workers write cannot be printed");
                state.runs = false;
            }
        }
        self.queue.changed.notify_all();
    }

    /// Waits until all is printed, as long as something is.
    pub(super) fn wait(&self) {
        let mut state = self.queue.state.lock();
        let mut printed = state.printed;
        while state.runs && (state.busy || !state.texts.is_empty()) {
            let late = self.queue.changed.wait_for(&mut state, PARTING_MAX).timed_out();
            if late && state.printed == printed {
                return;
            }
            printed = state.printed;
        }
    }
}

impl Queue {
    /// Prints as long as there is something, and ends once there was nothing for a while.
    fn print_all(&self) {
        let mut state = self.state.lock();
        loop {
            let Some((stderr, text)) = state.texts.pop_front() else {
                if self.changed.wait_for(&mut state, PARTING_MAX).timed_out() && state.texts.is_empty() {
                    state.runs = false;
                    return;
                }
                continue;
            };
            let left_out = std::mem::take(&mut state.left_out);
            state.busy = true;
            MutexGuard::unlocked(&mut state, || {
                let _ = if stderr {
                    std::io::stderr().write_all(text.as_bytes())
                } else {
                    std::io::stdout().write_all(text.as_bytes())
                };
                if left_out > 0 {
                    let text = "lines of workers are left out: what came before was not read in time";
                    let _ = writeln!(std::io::stderr(), "(actinic) {left_out} {text}");
                }
            });
            (state.busy, state.bytes, state.printed) = (false, state.bytes - text.len(), state.printed + 1);
            self.changed.notify_all();
        }
    }
}

/// How long a driver that leaves waits for its nodes' answers.
const PARTING_MAX: Duration = Duration::from_secs(1);

/// The answers of nodes to a driver that leaves.
#[derive(Default)]
pub(super) struct Partings {
    answers: Mutex<Answers>,
    changed: Condvar,
}

#[derive(Default)]
struct Answers {
    asked: bool,
    came: BTreeSet<NodeId>,
    /// Who will answer; nothing before the own node has said so.
    expected: Option<Vec<NodeId>>,
    gone: bool,
}

impl Answers {
    fn are_there(&self) -> bool {
        self.gone || self.expected.as_ref().is_some_and(|all| all.iter().all(|node| self.came.contains(node)))
    }
}

impl Partings {
    /// The driver leaves; whether it has not asked yet.
    pub(super) fn begin(&self) -> bool {
        !std::mem::replace(&mut self.answers.lock().asked, true)
    }

    /// A node has told all, or never will; the own one says which `others` were asked.
    pub(super) fn on_flushed(&self, by: NodeId, others: Option<Vec<NodeId>>) {
        let mut answers = self.answers.lock();
        if !answers.asked {
            return;
        }
        answers.came.insert(by);
        if others.is_some() {
            answers.expected = others;
        }
        self.changed.notify_all();
    }

    /// Nobody will answer.
    pub(super) fn on_gone(&self) {
        self.answers.lock().gone = true;
        self.changed.notify_all();
    }

    /// Waits for all answers, for a while.
    pub(super) fn wait(&self) {
        let until = Instant::now() + PARTING_MAX;
        let mut answers = self.answers.lock();
        while !answers.are_there() {
            if self.changed.wait_until(&mut answers, until).timed_out() {
                return;
            }
        }
    }
}
