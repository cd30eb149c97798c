//! What workers write.
//!
//! Owns: the record. Invariant: lines are whole, but for last words and for a line that is too long.

use serde::{Deserialize, Serialize};

use super::ProcessId;

/// Lines that a worker of a job has written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerOutput {
    /// Which worker.
    pub worker: ProcessId,
    /// The task or actor that has written them, as far as that is known.
    pub name: Option<String>,
    /// Whether to its standard error.
    pub stderr: bool,
    /// The lines, the last without its end.
    pub text: String,
}

impl WorkerOutput {
    /// The lines as a driver prints them, each with who wrote it.
    #[must_use]
    pub fn printed(&self) -> String {
        let name = self.name.as_deref().map_or_else(String::new, |name| format!("{name} "));
        let mut all = String::with_capacity(self.text.len() + 64);
        for line in self.text.lines() {
            all.push_str(&format!("({name}worker={}) {line}\n", self.worker));
        }
        all
    }
}
