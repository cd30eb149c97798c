//! Floor of an actor that has a process of its own: starting this very program, and hearing from it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::rate;
use crate::row::{Ctx, Outcome, Reference, Unit};

/// As many as the row of actors starts.
pub(crate) const PROCESSES: usize = 40;

/// Processes of this program, all started and then all heard, which are alive until the last has spoken: fork, exec, the
/// loader, and a line through a pipe.
pub(crate) static STARTED: Reference =
    Reference { name: "processes of this program, until they speak", unit: Unit::PerSecond, measure: started };

fn started(ctx: &mut Ctx) -> Outcome<f64> {
    let processes = ctx.size(PROCESSES);
    let mut alive: Vec<Child> = Vec::with_capacity(processes);
    let rate = rate(processes, || {
        for _ in 0..processes {
            let mut command = Command::new(std::env::current_exe()?);
            alive.push(command.arg("--alive").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        }
        for child in &mut alive {
            let mut line = String::new();
            BufReader::new(child.stdout.take().ok_or("a process without output")?).read_line(&mut line)?;
            if line.is_empty() {
                return Err("a process has ended without a word".into());
            }
        }
        Ok(())
    });
    for mut child in alive {
        drop(child.stdin.take());
        child.wait()?;
    }
    rate
}

/// What such a process does: a line, and then nothing until its input is closed.
pub(crate) fn alive() -> Outcome<()> {
    println!("alive");
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())?;
    Ok(())
}
