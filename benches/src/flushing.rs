//! Endless load on the control store: the paper's Figure 10b.
//!
//! No-op tasks in a chain, each of which takes what the one before it returned. In the paper the store keeps their lineage
//! in memory, and without flushing it grows until the machine is full. Here lineage is recorded in batches, and deleted
//! in batches once nothing can need it: once a task's result is out of scope and so is everything made from it, which for
//! a chain is a window. Two series, each in a process of its own, so that its memory is its own:
//!
//! - *flushed*: replicas over RocksDB with fsync, lineage outside of the window deleted, at the end all of it;
//! - *kept*: one replica in memory, nothing deleted, until it has grown to a bound.
//!
//! Owns: the processes, the bounds that must hold, what is printed, and `flushing.svg` ([`plot`]). One series is in
//! [`series`](mod@series). A series ends when its parent does, since its standard input is closed then.

mod plot;
mod series;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub(crate) use series::run as series;

use crate::row::Outcome;

/// Where the plot goes, in the current folder.
const PLOT: &str = "flushing.svg";
/// Memory that the process may need at most, client and all: so much and so much for each replica.
const MEMORY_BYTES_MAX: u64 = 128 << 20;
const MEMORY_BYTES_MAX_EACH: u64 = 160 << 20;
/// What each replica may have on the device at most, with the lineage of a window, and at most once all lineage is deleted:
/// RocksDB's own log (64 MiB, and what is written until it is cut).
const DISK_BYTES_MAX_EACH: u64 = 768 << 20;
const DISK_BYTES_LEFT_MAX_EACH: u64 = 128 << 20;
/// Where the series that keeps everything ends.
const KEPT_BYTES_MAX: u64 = 1 << 30;
const KEPT_BYTES_MAX_QUICK: u64 = 192 << 20;
/// Tasks of the short form.
const TASKS_QUICK: u64 = 300_000;

/// Which series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// On disk, with old lineage deleted.
    Flushed,
    /// In memory, with nothing deleted.
    Kept,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Flushed => "flushed",
            Self::Kept => "kept",
        }
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Flushed, Self::Kept].into_iter().find(|kind| kind.name() == name)
    }
}

/// What one series is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Series {
    pub(crate) kind: Kind,
    pub(crate) tasks: u64,
    pub(crate) replicas: usize,
    /// Memory at which it ends.
    pub(crate) memory_bytes_max: u64,
    pub(crate) folder: PathBuf,
}

/// One look at a series.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sample {
    seconds: f64,
    /// Tasks recorded so far.
    tasks: u64,
    /// Tasks whose lineage is still there.
    kept: u64,
    memory_bytes: u64,
    disk_bytes: u64,
}

impl Sample {
    fn to_line(self) -> String {
        let Self { seconds, tasks, kept, memory_bytes, disk_bytes } = self;
        format!("{seconds} {tasks} {kept} {memory_bytes} {disk_bytes}")
    }

    fn from_line(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let seconds = words.next()?.parse().ok()?;
        let mut number = || words.next()?.parse().ok();
        Some(Self { seconds, tasks: number()?, kept: number()?, memory_bytes: number()?, disk_bytes: number()? })
    }
}

/// Runs both series, prints them as they go, holds them to their bounds and writes the plot.
///
/// # Errors
/// A series that fails, a bound that does not hold.
pub(crate) fn run(quick: bool, tasks: u64, replicas: usize) -> Outcome<()> {
    let tasks = if quick { tasks.min(TASKS_QUICK) } else { tasks };
    let kept_max = if quick { KEPT_BYTES_MAX_QUICK } else { KEPT_BYTES_MAX };
    let kept = measure(Kind::Kept, tasks, 1, kept_max, quick)?;
    let flushed = measure(Kind::Flushed, tasks, replicas, u64::MAX, quick)?;
    fs::write(Path::new(PLOT), plot::svg(&flushed, &kept))?;
    eprintln!("written: {PLOT}");
    judge(&flushed, &kept, tasks, replicas as u64)
}

/// Whether memory and disk stayed within their bounds.
fn judge(flushed: &[Sample], kept: &[Sample], tasks: u64, replicas: u64) -> Outcome<()> {
    let (Some(last), Some(empty), Some(grown)) = (flushed.last(), kept.first(), kept.last()) else {
        return Err("a series is empty".into());
    };
    let most = |of: fn(&Sample) -> u64| flushed.iter().map(of).max().unwrap_or_default();
    let recorded = flushed.iter().find(|sample| sample.tasks >= tasks).ok_or("not all tasks were recorded")?;
    println!("{tasks} tasks, {:.0} k/s over all", tasks as f64 / recorded.seconds / 1e3);
    let bounds = [
        ("memory at most", most(|sample| sample.memory_bytes), MEMORY_BYTES_MAX + MEMORY_BYTES_MAX_EACH * replicas),
        ("disk at most", most(|sample| sample.disk_bytes), DISK_BYTES_MAX_EACH * replicas),
        ("disk at the end, all lineage deleted", last.disk_bytes, DISK_BYTES_LEFT_MAX_EACH * replicas),
    ];
    let mut broken = Vec::new();
    for (what, bytes, max) in bounds {
        println!("{what}: {} MiB (bound: {} MiB)", bytes >> 20, max >> 20);
        if bytes > max {
            broken.push(what);
        }
    }
    let each = grown.memory_bytes.saturating_sub(empty.memory_bytes) as f64 / (grown.kept - empty.kept).max(1) as f64;
    println!(
        "nothing deleted, in memory: {} MiB after {} tasks, {each:.0} bytes a task; {tasks} tasks would take {:.1} GiB",
        grown.memory_bytes >> 20,
        grown.tasks,
        each * tasks as f64 / f64::from(1 << 30)
    );
    if broken.is_empty() {
        Ok(())
    } else {
        Err(format!("out of bounds: {}", broken.join(", ")).into())
    }
}

/// A child that does not outlive this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(kind: Kind, tasks: u64, replicas: usize, memory_max: u64, quick: bool) -> Outcome<Vec<Sample>> {
    let folder = tempfile::tempdir()?;
    let command = Command::new(std::env::current_exe()?)
        .args(["--flushing-series", kind.name(), &tasks.to_string(), &replicas.to_string(), &memory_max.to_string()])
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut running = Running(command);
    let lines = running.0.stdout.take().ok_or("a series has no output")?;
    println!("== {}: {replicas} replica(s)", kind.name());
    println!("   seconds       tasks   tasks/s    lineage   memory MiB   disk MiB");
    let mut samples: Vec<Sample> = Vec::new();
    let mut printed = Sample::default();
    for line in BufReader::new(lines).lines() {
        let Some(sample) = Sample::from_line(&line?) else { return Err("a series makes no sense".into()) };
        if quick || sample.seconds - printed.seconds >= 5.0 {
            print_row(sample, printed);
            printed = sample;
        }
        samples.push(sample);
    }
    if let Some(last) = samples.last().filter(|last| **last != printed) {
        print_row(*last, printed);
    }
    match running.0.wait()? {
        status if status.success() => Ok(samples),
        status => Err(format!("the series '{}' failed: {status}", kind.name()).into()),
    }
}

fn print_row(now: Sample, before: Sample) {
    let rate = (now.tasks - before.tasks) as f64 / (now.seconds - before.seconds).max(1e-9);
    println!(
        "{:10.1} {:11} {rate:9.0} {:10} {:12} {:10}",
        now.seconds,
        now.tasks,
        now.kept,
        now.memory_bytes >> 20,
        now.disk_bytes >> 20
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_read_back_from_its_line() {
        let sample = Sample { seconds: 1.25, tasks: 7, kept: 6, memory_bytes: 5, disk_bytes: 4 };
        assert_eq!(Sample::from_line(&sample.to_line()), Some(sample));
        assert_eq!(Sample::from_line("1.25 7 6"), None);
    }

    #[test]
    fn a_bound_that_does_not_hold_is_named() {
        let sample = |memory_bytes, disk_bytes| Sample { seconds: 1.0, tasks: 10, kept: 10, memory_bytes, disk_bytes };
        let kept = [sample(1_000, 0)];
        assert!(judge(&[sample(1 << 20, 1 << 20)], &kept, 10, 1).is_ok());
        let broken = judge(&[sample(1 << 40, 1 << 20)], &kept, 10, 1).expect_err("too much memory").to_string();
        assert_eq!(broken, "out of bounds: memory at most");
        assert!(judge(&[sample(1 << 20, 1 << 20)], &kept, 11, 1).is_err(), "not all were recorded");
    }
}
