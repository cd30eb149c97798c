//! Decides which worker process serves which lease, and when one is started or ended.
//!
//! Owns: the workers of this node and the leases that wait for one. A core: processes are numbers to it.
//!
//! Rules. A worker serves one lease at a time and only leases of its own job. One that is free is taken before another is
//! started; as many are started as leases wait. When a job comes, workers are started ahead of need. One that is free for
//! [`IDLE_MS_MAX`] ends, but for as many as were started ahead. A job whose workers end [`FAILURES_MAX`] times in a row
//! before they are ready gets none any more, and is told why.
//!
//! **Invariants:** a worker serves at most one lease, and a lease has at most one worker; no worker outlives its job by
//! more than its end takes.

use std::collections::{BTreeMap, VecDeque};

use actinic_gcs::{JobId, Millis, WorkerId};

use crate::cluster::wire::{JobCode, LeaseId};

/// How long a worker without a lease is kept.
pub const IDLE_MS_MAX: u64 = 10_000;
/// Starts that may fail in a row.
pub const FAILURES_MAX: u32 = 3;
/// Workers that start at once.
pub const STARTING_MAX: usize = 64;

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum PoolEffect {
    /// Start a worker process.
    Start(WorkerId, Box<JobCode>),
    /// The worker serves this lease from now on.
    Assign(LeaseId, WorkerId),
    /// End the process.
    Stop(WorkerId),
    /// No worker can be had.
    NoWorker(LeaseId, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Idle(Millis),
    Serving(LeaseId),
}

struct Worker {
    job: JobId,
    phase: Phase,
}

struct Job {
    code: JobCode,
    waiting: VecDeque<LeaseId>,
    failures: u32,
    ahead: usize,
    hopeless: Option<String>,
}

/// The state.
pub struct PoolCore {
    workers: BTreeMap<WorkerId, Worker>,
    jobs: BTreeMap<JobId, Job>,
    next: u32,
}

impl PoolCore {
    /// A pool whose workers are numbered from `first` on.
    #[must_use]
    pub fn new() -> Self {
        Self { workers: BTreeMap::new(), jobs: BTreeMap::new(), next: 0 }
    }

    /// A number for one more process of this node.
    pub fn number(&mut self) -> WorkerId {
        self.next += 1;
        WorkerId(self.next)
    }

    // --- events ----------------------------------------------------------------------------------------------------

    /// A job is there, or is about to be: this many workers are started ahead of need.
    pub fn on_job(&mut self, code: &JobCode, ahead: usize, effects: &mut Vec<PoolEffect>) {
        let job = code.job;
        self.jobs.entry(job).or_insert_with(|| Job {
            code: code.clone(),
            waiting: VecDeque::new(),
            failures: 0,
            ahead,
            hopeless: None,
        });
        self.start_missing(job, effects);
    }

    /// A lease wants a worker.
    pub fn on_need(&mut self, lease: LeaseId, code: &JobCode, effects: &mut Vec<PoolEffect>) {
        self.on_job(code, 0, effects);
        let Some(job) = self.jobs.get_mut(&code.job) else { return };
        if let Some(reason) = &job.hopeless {
            return effects.push(PoolEffect::NoWorker(lease, reason.clone()));
        }
        let idle = self
            .workers
            .iter_mut()
            .find(|(_, worker)| worker.job == code.job && matches!(worker.phase, Phase::Idle(_)));
        if let Some((id, worker)) = idle {
            worker.phase = Phase::Serving(lease);
            return effects.push(PoolEffect::Assign(lease, *id));
        }
        job.waiting.push_back(lease);
        self.start_missing(code.job, effects);
    }

    /// A worker can serve.
    pub fn on_ready(&mut self, now: Millis, worker: WorkerId, effects: &mut Vec<PoolEffect>) {
        let Some(found) = self.workers.get_mut(&worker) else { return effects.push(PoolEffect::Stop(worker)) };
        found.phase = Phase::Idle(now);
        if let Some(job) = self.jobs.get_mut(&found.job) {
            job.failures = 0;
        }
        let job = found.job;
        self.serve_next(worker, effects);
        // More may wait than could be started at once.
        self.start_missing(job, effects);
    }

    /// A lease has ended: its worker is free, or it needs none any more.
    pub fn on_ended(&mut self, now: Millis, lease: LeaseId, effects: &mut Vec<PoolEffect>) {
        self.jobs.values_mut().for_each(|job| job.waiting.retain(|waiting| *waiting != lease));
        let serving = self.workers.iter_mut().find(|(_, worker)| worker.phase == Phase::Serving(lease));
        if let Some((id, worker)) = serving {
            let id = *id;
            worker.phase = Phase::Idle(now);
            self.serve_next(id, effects);
        }
    }

    /// A worker process has ended.
    pub fn on_exit(&mut self, worker: WorkerId, reason: &str, effects: &mut Vec<PoolEffect>) {
        let Some(gone) = self.workers.remove(&worker) else { return };
        let Some(job) = self.jobs.get_mut(&gone.job) else { return };
        if gone.phase == Phase::Starting {
            job.failures += 1;
            if job.failures >= FAILURES_MAX {
                let why = format!("{FAILURES_MAX} workers in a row ended before they were ready; the last: {reason}");
                let waiting = std::mem::take(&mut job.waiting);
                effects.extend(waiting.into_iter().map(|lease| PoolEffect::NoWorker(lease, why.clone())));
                job.hopeless = Some(why);
                return;
            }
        }
        self.start_missing(gone.job, effects);
    }

    /// A job's code cannot be had here.
    pub fn on_no_code(&mut self, job: JobId, reason: &str, effects: &mut Vec<PoolEffect>) {
        self.workers.retain(|_, worker| worker.job != job || worker.phase != Phase::Starting);
        if let Some(job) = self.jobs.get_mut(&job) {
            let waiting = std::mem::take(&mut job.waiting);
            effects.extend(waiting.into_iter().map(|lease| PoolEffect::NoWorker(lease, reason.to_owned())));
            job.hopeless = Some(reason.to_owned());
        }
    }

    /// A job has ended: so do its workers.
    pub fn on_job_gone(&mut self, job: JobId, effects: &mut Vec<PoolEffect>) {
        self.jobs.remove(&job);
        let of_job = self.workers.iter().filter(|(_, worker)| worker.job == job);
        effects.extend(of_job.map(|(id, _)| PoolEffect::Stop(*id)));
    }

    /// Time has passed: workers that nobody needs end.
    pub fn on_time(&mut self, now: Millis, effects: &mut Vec<PoolEffect>) {
        let mut kept: BTreeMap<JobId, usize> = BTreeMap::new();
        let mut ended = Vec::new();
        for (id, worker) in &self.workers {
            let Phase::Idle(since) = worker.phase else { continue };
            let keep = self.jobs.get(&worker.job).map_or(0, |job| job.ahead);
            let kept = kept.entry(worker.job).or_insert(0);
            *kept += 1;
            if *kept > keep && now.0 >= since.0 + IDLE_MS_MAX {
                ended.push(*id);
            }
        }
        for id in ended {
            self.workers.remove(&id);
            effects.push(PoolEffect::Stop(id));
        }
    }

    // --- decisions -------------------------------------------------------------------------------------------------

    fn serve_next(&mut self, worker: WorkerId, effects: &mut Vec<PoolEffect>) {
        let Some(free) = self.workers.get_mut(&worker) else { return };
        let Some(job) = self.jobs.get_mut(&free.job) else { return effects.push(PoolEffect::Stop(worker)) };
        if let Some(lease) = job.waiting.pop_front() {
            free.phase = Phase::Serving(lease);
            effects.push(PoolEffect::Assign(lease, worker));
        }
    }

    fn start_missing(&mut self, job: JobId, effects: &mut Vec<PoolEffect>) {
        let Some(of) = self.jobs.get(&job) else { return };
        if of.hopeless.is_some() {
            return;
        }
        let all = self.workers.values().filter(|worker| worker.job == job).count();
        let starting = self.workers.values().filter(|w| w.job == job && w.phase == Phase::Starting).count();
        let missing = of.waiting.len().saturating_sub(starting).max(of.ahead.saturating_sub(all));
        let code = of.code.clone();
        for _ in 0..missing.min(STARTING_MAX.saturating_sub(starting)) {
            let worker = self.number();
            self.workers.insert(worker, Worker { job, phase: Phase::Starting });
            effects.push(PoolEffect::Start(worker, Box::new(code.clone())));
        }
    }

    // --- getters ---------------------------------------------------------------------------------------------------

    /// Whether this is a worker of the pool, and whose code it runs.
    #[must_use]
    pub fn code_of(&self, worker: WorkerId) -> Option<&JobCode> {
        self.workers.get(&worker).and_then(|worker| self.jobs.get(&worker.job)).map(|job| &job.code)
    }

    /// How many workers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Asserts every invariant.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn sanity_check(&self) {
        let mut serving: Vec<LeaseId> = self
            .workers
            .values()
            .filter_map(|worker| match worker.phase {
                Phase::Serving(lease) => Some(lease),
                _ => None,
            })
            .collect();
        serving.sort_unstable();
        let count = serving.len();
        serving.dedup();
        assert_eq!(serving.len(), count, "a lease has one worker");
        for job in self.jobs.values() {
            assert!(
                job.waiting.iter().all(|lease| serving.binary_search(lease).is_err()),
                "who is served waits no more"
            );
        }
    }
}

impl Default for PoolCore {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
