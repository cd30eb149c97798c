//! What the workers of a driver write, on the driver's own outputs.
//!
//! Owns: printing it, and waiting for the rest of it at the driver's end ([`Partings`]). Invariants: a driver whose outputs are
//! closed goes on; one whose nodes do not answer ends all the same.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

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
    came: u32,
    /// How many there will be; nothing before the own node has said so.
    expected: Option<u32>,
    gone: bool,
}

impl Partings {
    /// A node has told all; the own one says how many `others` were asked.
    pub(super) fn on_flushed(&self, others: Option<u32>) {
        let mut answers = self.answers.lock();
        answers.came = answers.came.saturating_add(1);
        answers.expected = others.map(|others| others.saturating_add(1)).or(answers.expected);
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
        while !answers.gone && answers.expected.is_none_or(|expected| answers.came < expected) {
            if self.changed.wait_until(&mut answers, until).timed_out() {
                return;
            }
        }
    }
}
