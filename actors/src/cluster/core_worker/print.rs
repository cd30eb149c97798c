//! What the workers of a driver write, on the driver's own outputs.
//!
//! Owns: nothing. Invariant: a driver whose outputs are closed goes on.

use std::io::Write as _;

use crate::cluster::wire::WorkerOutput;

/// Prints lines, each with who wrote it.
pub(super) fn print(output: &WorkerOutput) {
    let all = output.printed();
    let all = all.as_bytes();
    let _ = if output.stderr { std::io::stderr().write_all(all) } else { std::io::stdout().write_all(all) };
}
