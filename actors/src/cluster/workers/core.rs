//! Decides which worker process serves which lease, and when one is started or ended.
//!
//! Owns: the workers of this node and the leases that wait for one. A core: processes are numbers to it.
//!
//! Rules. A worker serves one lease at a time and only leases of its own job, unless the leases are those of actors that ask
//! for nothing: so many of a job's workers as the node has CPUs host them all, the emptiest the next. One that is free is taken
//! before another is started; as many are started as leases wait. A worker that hosted an actor of its own ends with it. When a
//! job comes, workers are started ahead of need. One that is free for [`IDLE_MS_MAX`] is asked whether it may end, but for as
//! many as were started ahead; it may where nobody needs its objects, its actors or what it has submitted. A job whose workers end [`FAILURES_MAX`] times in a row
//! before they are ready gets none for [`UNFIT_LOOKS`]: the node is unfit for it meanwhile, and says why. While the node of a job's driver is away, who has the job's
//! executable, the job needs no workers ahead; what waits for one is served when that node is back, or when the code is here. A
//! job whose driver's node is dead, and not only cut off, has ended.
//!
//! **Invariants:** a worker that is not a host of light actors serves at most one lease, and a lease has at most one worker; no worker outlives its job by
//! more than its end takes.

mod fetch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use actinic_gcs::{JobId, Millis, NodeId, WorkerId};

use self::fetch::Fetch;
use crate::cluster::wire::{ExeHash, JobCode, LeaseFor, LeaseId};

/// How long a worker without a lease is kept.
pub const IDLE_MS_MAX: u64 = 10_000;
/// Starts that may fail in a row.
pub const FAILURES_MAX: u32 = 3;
/// Looks for which a job gets no workers once that many have failed: what was wrong may be over then, as a full disk is.
pub const UNFIT_LOOKS: u32 = 30;
/// How often that time is doubled, where they fail again.
const ROUNDS_MAX: u32 = 5;
/// Workers that start at once.
pub const STARTING_MAX: usize = 64;

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum PoolEffect {
    /// Start a worker process; [`PoolCore::on_code_missing`] where its executable is not here.
    Start(WorkerId, Box<JobCode>),
    /// The worker serves this lease from now on.
    Assign(LeaseId, WorkerId),
    /// End the process.
    Stop(WorkerId),
    /// Ask the worker whether it may end, by a question of this number; [`PoolCore::on_may_end`] is its answer.
    AskToEnd(WorkerId, u64),
    /// Ask a node for what is missing of an executable.
    Fetch(ExeHash, NodeId),
    /// What has come of an executable is not wanted any more.
    DropPieces(ExeHash),
    /// The job gets no workers here for a while, and why; what waits for one is told after it.
    Unfit(JobId, String),
    /// It may get some again.
    Fit(JobId),
    /// No worker can be had.
    NoWorker(LeaseId, String),
    /// No job needs this executable any more.
    Unused(ExeHash),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Idle(Millis),
    Serving(LeaseId),
    /// It hosts one actor, and ends with it.
    Hosting(LeaseId),
    /// It hosts actors that ask for nothing.
    Sharing(BTreeSet<LeaseId>, Millis),
}

struct Worker {
    job: JobId,
    phase: Phase,
    /// Whether it has served anybody: others may need what it owns.
    used: bool,
    /// The question whether it may end that it has not answered.
    asked: Option<u64>,
}

struct Job {
    code: JobCode,
    waiting: VecDeque<(LeaseId, LeaseFor)>,
    failures: u32,
    /// How often in a row so many have failed.
    rounds: u32,
    ahead: usize,
    /// Why it gets no workers, and for how many more looks.
    hopeless: Option<(String, u32)>,
    /// Looks in a row at which the driver's node was neither connected nor alive.
    dead_looks: u32,
}

impl Job {
    /// It gets no workers for a while.
    fn give_up(&mut self, id: JobId, why: &str, effects: &mut Vec<PoolEffect>) {
        effects.push(PoolEffect::Unfit(id, why.to_owned()));
        let waiting = std::mem::take(&mut self.waiting);
        effects.extend(waiting.into_iter().map(|(lease, _)| PoolEffect::NoWorker(lease, why.to_owned())));
        // Twice as long each time, lest of many nodes one is always about to try again.
        self.hopeless = Some((why.to_owned(), UNFIT_LOOKS << self.rounds.min(ROUNDS_MAX)));
        self.rounds += 1;
    }
}

/// The state.
pub struct PoolCore {
    workers: BTreeMap<WorkerId, Worker>,
    jobs: BTreeMap<JobId, Job>,
    next: u32,
    questions: u64,
    hosts_max: usize,
    fetches: BTreeMap<ExeHash, Fetch>,
    /// Executables of detached actors that this node keeps.
    keeps: BTreeSet<ExeHash>,
    node: NodeId,
    /// Other nodes that are connected.
    connected: BTreeSet<NodeId>,
}

impl PoolCore {
    /// The pool of a node.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        let (workers, jobs, fetches, keeps) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { workers, jobs, next: 0, questions: 0, hosts_max: 1, fetches, keeps, node, connected: BTreeSet::new() }
    }

    /// So many workers of a job, and one at the least, host its light actors.
    #[must_use]
    pub fn with_hosts_max(mut self, hosts: usize) -> Self {
        self.hosts_max = hosts.max(1);
        self
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
            rounds: 0,
            ahead,
            hopeless: None,
            dead_looks: 0,
        });
        self.start_missing(job, effects);
    }

    /// A lease wants a worker.
    pub fn on_need(&mut self, lease: LeaseId, purpose: LeaseFor, code: &JobCode, effects: &mut Vec<PoolEffect>) {
        self.on_job(code, 0, effects);
        let Some(job) = self.jobs.get(&code.job) else { return };
        if let Some((reason, _)) = &job.hopeless {
            return effects.push(PoolEffect::NoWorker(lease, reason.clone()));
        }
        if let Some(id) = self.find(code.job, purpose) {
            self.take(id, lease, purpose);
            return effects.push(PoolEffect::Assign(lease, id));
        }
        if let Some(job) = self.jobs.get_mut(&code.job) {
            job.waiting.push_back((lease, purpose));
        }
        self.start_missing(code.job, effects);
    }

    /// A worker can serve.
    pub fn on_ready(&mut self, now: Millis, worker: WorkerId, effects: &mut Vec<PoolEffect>) {
        let Some(found) = self.workers.get_mut(&worker) else { return effects.push(PoolEffect::Stop(worker)) };
        found.phase = Phase::Idle(now);
        let job = found.job;
        match self.jobs.get_mut(&job) {
            Some(job) => (job.failures, job.rounds) = (0, 0),
            None => return effects.push(PoolEffect::Stop(worker)),
        }
        self.serve(job, effects);
        // More may wait than could be started at once.
        self.start_missing(job, effects);
    }

    /// A lease has ended: its worker is free, or it needs none any more.
    pub fn on_ended(&mut self, now: Millis, lease: LeaseId, effects: &mut Vec<PoolEffect>) {
        self.jobs.values_mut().for_each(|job| job.waiting.retain(|(waiting, _)| *waiting != lease));
        let serves = |phase: &Phase| match phase {
            Phase::Serving(own) | Phase::Hosting(own) => *own == lease,
            Phase::Sharing(leases, _) => leases.contains(&lease),
            Phase::Starting | Phase::Idle(_) => false,
        };
        let Some((id, worker)) = self.workers.iter_mut().find(|(_, worker)| serves(&worker.phase)) else { return };
        let (id, job) = (*id, worker.job);
        match &mut worker.phase {
            // What an actor leaves behind in its process nobody else is to find.
            Phase::Hosting(_) => {
                self.workers.remove(&id);
                effects.push(PoolEffect::Stop(id));
            }
            Phase::Sharing(leases, since) => {
                leases.remove(&lease);
                *since = now;
            }
            phase => *phase = Phase::Idle(now),
        }
        if !self.jobs.contains_key(&job) {
            return effects.push(PoolEffect::Stop(id));
        }
        self.serve(job, effects);
        self.start_missing(job, effects);
    }

    /// A worker process has ended.
    pub fn on_exit(&mut self, worker: WorkerId, reason: &str, effects: &mut Vec<PoolEffect>) {
        let Some(gone) = self.workers.remove(&worker) else { return };
        let Some(job) = self.jobs.get_mut(&gone.job) else { return };
        if gone.phase == Phase::Starting {
            job.failures += 1;
            if job.failures >= FAILURES_MAX {
                let why = format!("{FAILURES_MAX} workers in a row ended before they were ready; the last: {reason}");
                return job.give_up(gone.job, &why, effects);
            }
        }
        self.start_missing(gone.job, effects);
    }

    /// A look at which nodes are alive, whether or not they are connected. What is neither at two looks, lest one was taken
    /// before the node came, is dead, and its drivers' jobs are over.
    pub fn on_alive(&mut self, alive: &BTreeSet<NodeId>, effects: &mut Vec<PoolEffect>) {
        let Self { jobs, connected, node, .. } = self;
        let is_there = |at: &NodeId| at == node || connected.contains(at) || alive.contains(at);
        // What a detached actor's job is called no driver ends.
        for job in jobs.values_mut().filter(|job| !job.code.driver.is_manager()) {
            job.dead_looks = if is_there(&job.code.driver.node) { 0 } else { job.dead_looks + 1 };
        }
        let over: Vec<JobId> = self.jobs.iter().filter(|(_, job)| job.dead_looks >= 2).map(|(id, _)| *id).collect();
        over.into_iter().for_each(|job| self.on_job_gone(job, effects));
    }

    /// A job has ended: so do its workers.
    pub fn on_job_gone(&mut self, job: JobId, effects: &mut Vec<PoolEffect>) {
        let over = self.jobs.remove(&job);
        let of_job = self.workers.iter().filter(|(_, worker)| worker.job == job);
        effects.extend(of_job.map(|(id, _)| PoolEffect::Stop(*id)));
        // Some of these may never have been started.
        self.forget_starts(job, effects);
        self.workers.retain(|_, worker| worker.job != job || worker.phase != Phase::Starting);
        let Some(over) = over else { return };
        effects.extend(over.hopeless.map(|_| PoolEffect::Fit(job)));
        let exe = over.code.exe;
        if !self.keeps.contains(&exe) && self.jobs.values().all(|other| other.code.exe != exe) {
            effects.push(PoolEffect::Unused(exe));
        }
    }

    /// Time has passed, a look: workers that nobody needs end, and jobs whose workers failed may try again.
    pub fn on_time(&mut self, now: Millis, effects: &mut Vec<PoolEffect>) {
        for (id, job) in &mut self.jobs {
            let Some((_, looks)) = &mut job.hopeless else { continue };
            *looks -= 1;
            if *looks == 0 {
                (job.hopeless, job.failures) = (None, 0);
                effects.push(PoolEffect::Fit(*id));
            }
        }
        let mut kept: BTreeMap<JobId, usize> = BTreeMap::new();
        let mut ended = Vec::new();
        for (id, worker) in &self.workers {
            let since = match &worker.phase {
                Phase::Idle(since) => *since,
                Phase::Sharing(leases, since) if leases.is_empty() => *since,
                _ => continue,
            };
            let keep = self.jobs.get(&worker.job).map_or(0, |job| self.kept(job));
            let kept = kept.entry(worker.job).or_insert(0);
            *kept += 1;
            if *kept > keep && now.0 >= since.0 + IDLE_MS_MAX {
                ended.push(*id);
            }
        }
        for id in ended {
            let Some(worker) = self.workers.get_mut(&id).filter(|worker| worker.asked.is_none()) else { continue };
            self.questions += 1;
            worker.asked = Some(self.questions);
            effects.push(PoolEffect::AskToEnd(id, self.questions));
        }
    }

    /// A worker says whether it may end. One that has been given something to do meanwhile stays, and so does one whose objects
    /// or actors others need: it is asked again after [`IDLE_MS_MAX`].
    pub fn on_may_end(&mut self, now: Millis, id: WorkerId, question: u64, may: bool, effects: &mut Vec<PoolEffect>) {
        let Some(worker) = self.workers.get_mut(&id).filter(|worker| worker.asked == Some(question)) else { return };
        worker.asked = None;
        match &mut worker.phase {
            Phase::Idle(since) => *since = now,
            Phase::Sharing(leases, since) if leases.is_empty() => *since = now,
            _ => return,
        }
        if may {
            self.workers.remove(&id);
            effects.push(PoolEffect::Stop(id));
        }
    }

    // --- decisions -------------------------------------------------------------------------------------------------

    /// Gives the leases of a job that wait to workers that can take them, the oldest first.
    fn serve(&mut self, job: JobId, effects: &mut Vec<PoolEffect>) {
        let Some(of) = self.jobs.get_mut(&job) else { return };
        let (mut waiting, mut left) = (std::mem::take(&mut of.waiting), VecDeque::new());
        let (mut no_idle, mut no_new, mut no_host) = (false, false, false);
        while let Some((lease, purpose)) = (!(no_idle && no_new && no_host)).then(|| waiting.pop_front()).flatten() {
            let none = match purpose {
                LeaseFor::Tasks => &mut no_idle,
                LeaseFor::Actor => &mut no_new,
                LeaseFor::LightActor => &mut no_host,
            };
            match (!*none).then(|| self.find(job, purpose)).flatten() {
                Some(id) => {
                    self.take(id, lease, purpose);
                    effects.push(PoolEffect::Assign(lease, id));
                }
                None => {
                    *none = true;
                    left.push_back((lease, purpose));
                }
            }
        }
        left.append(&mut waiting);
        if let Some(of) = self.jobs.get_mut(&job) {
            of.waiting = left;
        }
    }

    /// A worker that can take a lease now.
    fn find(&self, job: JobId, purpose: LeaseFor) -> Option<WorkerId> {
        let of_job = || self.workers.iter().filter(|(_, worker)| worker.job == job);
        let all_idle = || of_job().filter(|(_, worker)| matches!(worker.phase, Phase::Idle(_)));
        let idle_that_is = |used: bool| all_idle().find(|(_, worker)| worker.used == used).map(|(id, _)| *id);
        let idle = || idle_that_is(true).or_else(|| idle_that_is(false));
        match purpose {
            LeaseFor::Tasks => return idle(),
            // It ends with the actor, and what it owns ends with it: so it is one that owns nothing.
            LeaseFor::Actor => return idle_that_is(false),
            LeaseFor::LightActor => {}
        }
        let sharing = || {
            of_job().filter_map(|(id, worker)| match &worker.phase {
                Phase::Sharing(leases, _) => Some((leases.len(), *id)),
                _ => None,
            })
        };
        let emptiest = || sharing().min().map(|(_, id)| id);
        if sharing().count() < self.hosts_max {
            idle().or_else(emptiest)
        } else {
            emptiest()
        }
    }

    fn take(&mut self, id: WorkerId, lease: LeaseId, purpose: LeaseFor) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        (worker.asked, worker.used) = (None, true);
        match (purpose, &mut worker.phase) {
            (LeaseFor::Tasks, phase) => *phase = Phase::Serving(lease),
            (LeaseFor::Actor, phase) => *phase = Phase::Hosting(lease),
            (LeaseFor::LightActor, Phase::Sharing(leases, _)) => drop(leases.insert(lease)),
            (LeaseFor::LightActor, phase) => *phase = Phase::Sharing(BTreeSet::from([lease]), Millis(0)),
        }
    }

    fn start_missing(&mut self, job: JobId, effects: &mut Vec<PoolEffect>) {
        let Some(of) = self.jobs.get(&job) else { return };
        if of.hopeless.is_some() {
            return;
        }
        let of_job = || self.workers.values().filter(|worker| worker.job == job);
        let all = of_job().count();
        let starting = of_job().filter(|worker| worker.phase == Phase::Starting).count();
        let sharing = of_job().filter(|worker| matches!(worker.phase, Phase::Sharing(..))).count();
        // Light actors need no more hosts than there may be.
        let light = of.waiting.iter().filter(|(_, purpose)| *purpose == LeaseFor::LightActor).count();
        let needed = of.waiting.len() - light + light.min(self.hosts_max.saturating_sub(sharing));
        let missing = needed.saturating_sub(starting).max(self.kept(of).saturating_sub(all));
        let code = of.code.clone();
        for _ in 0..missing.min(STARTING_MAX.saturating_sub(starting)) {
            let worker = self.number();
            self.workers.insert(worker, Worker { job, phase: Phase::Starting, used: false, asked: None });
            effects.push(PoolEffect::Start(worker, Box::new(code.clone())));
        }
    }

    /// How many workers a job has though nothing waits for them.
    fn kept(&self, job: &Job) -> usize {
        let at = job.code.driver.node;
        if at == self.node || self.connected.contains(&at) {
            job.ahead
        } else {
            0
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
        let leases = |phase: &Phase| match phase {
            Phase::Serving(lease) | Phase::Hosting(lease) => vec![*lease],
            Phase::Sharing(leases, _) => leases.iter().copied().collect(),
            Phase::Starting | Phase::Idle(_) => Vec::new(),
        };
        let mut serving: Vec<LeaseId> = self.workers.values().flat_map(|worker| leases(&worker.phase)).collect();
        serving.sort_unstable();
        let count = serving.len();
        serving.dedup();
        assert_eq!(serving.len(), count, "a lease has one worker");
        for job in self.jobs.values() {
            assert!(
                job.waiting.iter().all(|(lease, _)| serving.binary_search(lease).is_err()),
                "who is served waits no more"
            );
        }
    }
}

#[cfg(test)]
mod tests;
