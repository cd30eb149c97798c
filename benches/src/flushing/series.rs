//! One series of the endless load, in a process of its own.
//!
//! Owns: the chain of tasks, the window of their lineage, and the looks at memory and disk, each a line of standard
//! output. Invariant: no more than a window and what is under way is ever in this side's memory.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actinic_actors::gcs_client::ShardStore;
use actinic_actors::gcs_net::Pending;
use actinic_gcs::shard::Request;
use actinic_gcs::spec::{Limit, SchedulingStrategy, TaskArg, TaskKind, TaskSpec};
use actinic_gcs::store::Durability;
use actinic_gcs::tables::{Reply, TaskRead, TaskWrite, Write};
use actinic_gcs::{FunctionId, JobId, ObjectId, ResourceSet, TaskId};

use super::{Kind, Sample, Series};
use crate::gcs_group::{on_disk, Group};
use crate::machine;
use crate::row::Outcome;

/// Tasks in one write.
const BATCH: u64 = 500;
/// Writes under way.
const IN_FLIGHT: usize = 16;
/// Tasks whose lineage is still needed: so many, or this part of all where there are few.
const WINDOW: u64 = 500_000;
const WINDOW_PART: u64 = 10;
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the store may take to give the disk back at the end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs one series, and prints a line for each look.
///
/// # Errors
/// A group that does not start, a write that is refused, lineage that is not what it should be.
pub(crate) fn run(series: &Series) -> Outcome<()> {
    end_with_parent(series.folder.clone());
    let store = |id| match series.kind {
        Kind::Flushed => on_disk(&series.folder, id, Durability::Fsync),
        Kind::Kept => ShardStore::Memory,
    };
    let group = Group::start(series.replicas, store)?;
    let mut load = Load::new(&group, series);
    load.look()?;
    let recorded = load.record()?;
    load.check_lineage()?;
    if series.kind == Kind::Flushed {
        load.delete_below(recorded)?;
        load.wait_for_all()?;
        load.wait_for_disk()?;
    }
    Ok(())
}

/// Ends the process when its parent has ended, and leaves no folder.
fn end_with_parent(folder: std::path::PathBuf) {
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = fs::remove_dir_all(folder);
        std::process::exit(1);
    });
}

/// The chain and what is known of it.
struct Load<'a> {
    group: &'a Group,
    series: &'a Series,
    began: Instant,
    looked: Instant,
    under_way: VecDeque<Pending>,
    chain: Chain,
    /// Ids of recorded tasks that are not deleted, the first of them task number `deleted`.
    lineage: VecDeque<TaskId>,
    deleted: u64,
}

impl<'a> Load<'a> {
    fn new(group: &'a Group, series: &'a Series) -> Self {
        let now = Instant::now();
        let (under_way, lineage) = (VecDeque::new(), VecDeque::new());
        Self { group, series, began: now, looked: now, under_way, chain: Chain::new(), lineage, deleted: 0 }
    }

    /// Records tasks until there are enough of them, or until memory is at its bound; gives how many.
    fn record(&mut self) -> Outcome<u64> {
        let window = WINDOW.min(self.series.tasks / WINDOW_PART);
        let mut recorded = 0;
        while recorded < self.series.tasks {
            let batch = BATCH.min(self.series.tasks - recorded);
            let specs: Vec<Arc<TaskSpec>> = (0..batch).map(|_| Arc::new(self.chain.next())).collect();
            self.lineage.extend(specs.iter().map(|spec| spec.id));
            self.submit(TaskWrite::Put(specs))?;
            recorded += batch;
            if self.series.kind == Kind::Flushed {
                self.delete_below(recorded.saturating_sub(window))?;
            }
            if self.looked.elapsed() >= LOOK_EVERY {
                self.look()?;
                if machine::resident_bytes().unwrap_or_default() >= self.series.memory_bytes_max {
                    break;
                }
            }
        }
        self.wait_for_all()?;
        self.look()?;
        Ok(recorded)
    }

    fn submit(&mut self, write: TaskWrite) -> Outcome<()> {
        if self.under_way.len() >= IN_FLIGHT {
            self.wait_for_oldest()?;
        }
        self.under_way.push_back(self.group.client.submit(Request::Write(Write::from(write))));
        Ok(())
    }

    fn wait_for_oldest(&mut self) -> Outcome<()> {
        match self.under_way.pop_front().map(Pending::wait).transpose()? {
            None | Some(Reply::Done) => Ok(()),
            Some(other) => Err(format!("the control store answered {other:?}").into()),
        }
    }

    fn wait_for_all(&mut self) -> Outcome<()> {
        while !self.under_way.is_empty() {
            self.wait_for_oldest()?;
        }
        Ok(())
    }

    /// Deletes the lineage of all tasks before number `below`, batch by batch.
    fn delete_below(&mut self, below: u64) -> Outcome<()> {
        while self.deleted < below {
            let batch = BATCH.min(below - self.deleted);
            if batch < BATCH && below < self.series.tasks {
                return Ok(());
            }
            let ids = self.lineage.drain(..usize::try_from(batch)?).collect();
            self.submit(TaskWrite::Delete(ids))?;
            self.deleted += batch;
        }
        Ok(())
    }

    /// Whether what is needed is there, each task after the one that it depends on, and what was deleted is not.
    fn check_lineage(&self) -> Outcome<()> {
        let ids: Vec<TaskId> = self.lineage.iter().rev().take(1_000).rev().copied().collect();
        let Reply::Tasks(specs) = self.group.client.read(TaskRead::Get(ids.clone()))? else {
            return Err("the lineage cannot be read".into());
        };
        let needs = |spec: &TaskSpec, task| spec.dependencies().eq([ObjectId::of_return(task, 0)]);
        for (pair, spec) in ids.windows(2).zip(specs.iter().skip(1)) {
            let spec = spec.as_ref().ok_or("lineage that is needed is gone")?;
            if spec.id != pair[1] || !needs(spec, pair[0]) {
                return Err(format!("the lineage of {} is not what was recorded", pair[1]).into());
            }
        }
        let first = Chain::new().next().id;
        match self.group.client.read(TaskRead::Get(vec![first]))? {
            Reply::Tasks(specs) if specs[0].is_some() == (self.deleted == 0) => Ok(()),
            other => Err(format!("the first task was deleted or not, and its lineage is {other:?}").into()),
        }
    }

    /// Waits until the disk holds no more than what is left of the logs.
    fn wait_for_disk(&mut self) -> Outcome<()> {
        let enough = super::DISK_BYTES_LEFT_MAX_EACH * self.series.replicas as u64;
        let start = Instant::now();
        loop {
            self.look()?;
            if bytes_in(&self.series.folder) <= enough || start.elapsed() >= PATIENCE {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn look(&mut self) -> Outcome<()> {
        self.looked = Instant::now();
        let kept = self.lineage.len() as u64;
        let sample = Sample {
            seconds: self.began.elapsed().as_secs_f64(),
            tasks: self.deleted + kept,
            kept,
            memory_bytes: machine::resident_bytes().unwrap_or_default(),
            disk_bytes: bytes_in(&self.series.folder),
        };
        println!("{}", sample.to_line());
        Ok(std::io::stdout().flush()?)
    }
}

/// Bytes of all files in a folder. One that vanishes meanwhile counts for nothing.
fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(what) if what.is_dir() => bytes_in(&entry.path()),
        Ok(what) => what.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

/// No-op tasks, each of which takes what the one before it returned.
struct Chain {
    parent: TaskId,
    next: u64,
    before: Option<TaskId>,
    function: FunctionId,
    name: Arc<str>,
    demand: Arc<ResourceSet>,
}

impl Chain {
    fn new() -> Self {
        let demand = Arc::new(ResourceSet::new().with("CPU", 1.0));
        let (parent, function) = (TaskId::driver(JobId(1)), FunctionId::of("no_op", "()"));
        Self { parent, next: 0, before: None, function, name: "no_op".into(), demand }
    }

    fn next(&mut self) -> TaskSpec {
        let id = self.parent.child(self.next);
        self.next += 1;
        let before = self.before.replace(id);
        TaskSpec {
            id,
            parent: self.parent,
            job: JobId(1),
            function: self.function,
            name: self.name.clone(),
            args: before.into_iter().map(|before| TaskArg::Object(ObjectId::of_return(before, 0))).collect(),
            num_returns: 1,
            demand: self.demand.clone(),
            max_retries: Limit::AtMost(3),
            retry_exceptions: false,
            scheduling: SchedulingStrategy::Default,
            kind: TaskKind::Plain,
        }
    }
}
