//! What the workers of a driver write, on the driver's own outputs.
//!
//! Owns: printing it, and waiting for the rest of it at the driver's end ([`Partings`]). Invariants: a driver whose outputs are
//! closed goes on; one whose nodes do not answer ends all the same.

use std::{
    collections::BTreeSet,
    io::Write as _,
    time::{Duration, Instant},
};

use actinic_gcs::NodeId;
use parking_lot::{Condvar, Mutex};

use crate::cluster::wire::WorkerOutput;

/// Prints lines, each with who wrote it.
pub(super) fn print(output: &WorkerOutput) {
    let all = output.printed();
    let all = all.as_bytes();
    let _ = if output.stderr { std::io::stderr().write_all(all) } else { std::io::stdout().write_all(all) };
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
