//! Decides which task goes to which leased worker, and how many leases an owner asks for.
//!
//! Owns: the tasks of this process that are ready and not done, in classes of equal demand, and the leases it holds. A
//! core: what a task is (`T`) only the shell knows.
//!
//! Rules. A task goes to the lease of its class with the fewest tasks under way, if that has room. There is room for as many
//! as take [`PIPELINE_US`] together, judged by how long tasks of the class have taken so far, so that short tasks travel in
//! crowds and a long one holds nobody up. As many leases are wanted as would end the queue within [`SPREAD_US`], and never
//! more than there are tasks. A lease without work is kept for [`LINGER_MS`], since the next task is often near; one that is
//! recalled gets no more tasks and goes back when it is empty.
//!
//! **Invariants:** each task is queued or under exactly one lease; a lease that was given back is never used again; the
//! demand that was told last is the one that holds.

use std::collections::{BTreeMap, VecDeque};

use actinic_gcs::{Millis, NodeId, TaskId};

use crate::cluster::wire::{ClassId, ClassSpec, Demand, LeaseId, ProcessId};

/// Tasks that take so long together, in microseconds, may be under way at a worker.
pub const PIPELINE_US: u64 = 2_000;
/// A queue is to end within so many microseconds.
pub const SPREAD_US: u64 = 5_000;
/// Tasks under way at a worker, however short they are.
pub const DEPTH_MAX: usize = 512;
/// How long a lease without work is kept.
pub const LINGER_MS: u64 = 200;
/// Leases wanted for one class.
pub const WANT_MAX: u32 = 65_536;

/// What is known of a task.
pub trait Queued {
    /// Its id.
    fn id(&self) -> TaskId;
    /// Takes the right to send it; false where it has been cancelled, or run by whoever waited for it.
    fn claim(&self) -> bool;
}

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum SubmitEffect<T> {
    /// Tell the node.
    Demand(Demand),
    /// Send a task to a worker.
    Send {
        /// Under this lease.
        lease: LeaseId,
        /// To whom.
        worker: ProcessId,
        /// The task; it is kept until it is done as well.
        task: T,
        /// Whether the worker had nothing to do.
        at_once: bool,
    },
    /// Tell the node that a lease has ended.
    Return(LeaseId),
    /// The task will never run.
    Infeasible(T, String),
    /// The task's worker is lost while it was there.
    Lost(T, ProcessId),
}

struct Held<T> {
    class: ClassId,
    worker: ProcessId,
    under_way: VecDeque<T>,
    recalled: bool,
    idle_since: Millis,
}

struct Class<T> {
    spec: ClassSpec,
    queue: VecDeque<T>,
    leases: Vec<LeaseId>,
    /// How long its tasks take, as a moving average; none before the first.
    took_us: Option<u64>,
    told: u32,
    revision: u64,
}

/// The state.
pub struct SubmitCore<T> {
    classes: BTreeMap<ClassId, Class<T>>,
    by_spec: BTreeMap<ClassSpec, ClassId>,
    held: BTreeMap<LeaseId, Held<T>>,
    revision: u64,
}

impl<T> Default for SubmitCore<T> {
    fn default() -> Self {
        Self { classes: BTreeMap::new(), by_spec: BTreeMap::new(), held: BTreeMap::new(), revision: 0 }
    }
}

impl<T: Queued + Clone> SubmitCore<T> {
    // --- events ----------------------------------------------------------------------------------------------------

    /// The number of a class; the same for equal demands.
    pub fn class(&mut self, spec: &ClassSpec) -> ClassId {
        if let Some(class) = self.by_spec.get(spec) {
            return *class;
        }
        let class = ClassId(self.classes.len() as u32);
        self.by_spec.insert(spec.clone(), class);
        let (queue, leases) = (VecDeque::new(), Vec::new());
        let spec = spec.clone();
        self.classes.insert(class, Class { spec, queue, leases, took_us: None, told: 0, revision: 0 });
        class
    }

    /// A task is ready. Call [`SubmitCore::settle`] after a batch.
    pub fn on_submit(&mut self, class: ClassId, task: T, effects: &mut Vec<SubmitEffect<T>>) {
        let Some(of) = self.classes.get_mut(&class) else { return };
        of.queue.push_back(task);
        self.pump(class, effects);
    }

    /// A worker was leased.
    pub fn on_granted(
        &mut self,
        now: Millis,
        class: ClassId,
        lease: LeaseId,
        worker: ProcessId,
        effects: &mut Vec<SubmitEffect<T>>,
    ) {
        let Some(of) = self.classes.get_mut(&class) else { return effects.push(SubmitEffect::Return(lease)) };
        of.leases.push(lease);
        let held = Held { class, worker, under_way: VecDeque::new(), recalled: false, idle_since: now };
        self.held.insert(lease, held);
        self.pump(class, effects);
    }

    /// A lease is wanted back.
    pub fn on_recalled(&mut self, lease: LeaseId, effects: &mut Vec<SubmitEffect<T>>) {
        let Some(held) = self.held.get_mut(&lease) else { return };
        held.recalled = true;
        if held.under_way.is_empty() {
            self.give_back(lease, effects);
        }
    }

    /// A task of a lease has ended after `ran_us` microseconds. Gives it, if it was under way there.
    pub fn on_done(
        &mut self,
        now: Millis,
        lease: LeaseId,
        task: TaskId,
        ran_us: u64,
        effects: &mut Vec<SubmitEffect<T>>,
    ) -> Option<T> {
        let held = self.held.get_mut(&lease)?;
        // Mostly the oldest.
        let at = held.under_way.iter().position(|under_way| under_way.id() == task)?;
        let done = held.under_way.remove(at);
        let (class, empty, recalled) = (held.class, held.under_way.is_empty(), held.recalled);
        if empty {
            held.idle_since = now;
        }
        if let Some(of) = self.classes.get_mut(&class) {
            of.took_us = Some(of.took_us.map_or(ran_us, |before| (before * 7 + ran_us) / 8));
        }
        if empty && recalled {
            self.give_back(lease, effects);
        } else {
            self.pump(class, effects);
        }
        done
    }

    /// A process is gone, with all leases on it.
    pub fn on_gone(&mut self, process: ProcessId, effects: &mut Vec<SubmitEffect<T>>) {
        let lost: Vec<LeaseId> =
            self.held.iter().filter(|(_, held)| held.worker == process).map(|(lease, _)| *lease).collect();
        for lease in lost {
            let Some(held) = self.held.remove(&lease) else { continue };
            if let Some(of) = self.classes.get_mut(&held.class) {
                of.leases.retain(|of_class| *of_class != lease);
            }
            effects.extend(held.under_way.into_iter().map(|task| SubmitEffect::Lost(task, process)));
        }
    }

    /// The tasks of a class can never run.
    pub fn on_infeasible(&mut self, class: ClassId, reason: &str, effects: &mut Vec<SubmitEffect<T>>) {
        let Some(of) = self.classes.get_mut(&class) else { return };
        of.told = 0;
        let tasks = std::mem::take(&mut of.queue);
        effects.extend(tasks.into_iter().map(|task| SubmitEffect::Infeasible(task, reason.to_owned())));
    }

    /// Time has passed: leases without work go back.
    pub fn on_time(&mut self, now: Millis, effects: &mut Vec<SubmitEffect<T>>) {
        let idle: Vec<LeaseId> = self
            .held
            .iter()
            .filter(|(_, held)| held.under_way.is_empty() && now.0 >= held.idle_since.0 + LINGER_MS)
            .map(|(lease, _)| *lease)
            .collect();
        for lease in idle {
            self.give_back(lease, effects);
        }
        self.settle(effects);
    }

    /// Tells the node what is wanted now. Call it once after a batch of events.
    pub fn settle(&mut self, effects: &mut Vec<SubmitEffect<T>>) {
        for (id, class) in &mut self.classes {
            let want = wanted(class, &self.held);
            if want != class.told {
                class.told = want;
                self.revision += 1;
                class.revision = self.revision;
                let (spec, revision) = (class.spec.clone(), class.revision);
                effects.push(SubmitEffect::Demand(Demand { class: *id, spec, want, revision }));
            }
        }
    }

    /// Tells the node of a class at once if it knows of none yet; whether there was something to tell.
    pub fn settle_new(&mut self, id: ClassId, effects: &mut Vec<SubmitEffect<T>>) -> bool {
        let Some(class) = self.classes.get_mut(&id).filter(|class| class.told == 0 && !class.queue.is_empty()) else {
            return false;
        };
        class.told = wanted(class, &self.held);
        self.revision += 1;
        class.revision = self.revision;
        let (spec, revision, want) = (class.spec.clone(), class.revision, class.told);
        effects.push(SubmitEffect::Demand(Demand { class: id, spec, want, revision }));
        true
    }

    // --- decisions -------------------------------------------------------------------------------------------------

    /// Sends what there is room for.
    fn pump(&mut self, class: ClassId, effects: &mut Vec<SubmitEffect<T>>) {
        let Some(of) = self.classes.get_mut(&class) else { return };
        let depth = depth(of.took_us);
        while !of.queue.is_empty() {
            let room = |lease: &&LeaseId| {
                self.held.get(lease).is_some_and(|held| !held.recalled && held.under_way.len() < depth)
            };
            let fewest = |lease: &&LeaseId| self.held.get(lease).map_or(usize::MAX, |held| held.under_way.len());
            let Some(lease) = of.leases.iter().filter(room).min_by_key(fewest).copied() else { return };
            let Some(held) = self.held.get_mut(&lease) else { return };
            let Some(task) = of.queue.pop_front() else { return };
            if task.claim() {
                let at_once = held.under_way.is_empty();
                held.under_way.push_back(task.clone());
                effects.push(SubmitEffect::Send { lease, worker: held.worker, task, at_once });
            }
        }
    }

    fn give_back(&mut self, lease: LeaseId, effects: &mut Vec<SubmitEffect<T>>) {
        if let Some(held) = self.held.remove(&lease) {
            if let Some(of) = self.classes.get_mut(&held.class) {
                of.leases.retain(|of_class| *of_class != lease);
            }
            effects.push(SubmitEffect::Return(lease));
        }
    }

    // --- getters ---------------------------------------------------------------------------------------------------

    /// The worker to which a task was sent.
    #[must_use]
    pub fn worker_of(&self, task: TaskId) -> Option<ProcessId> {
        self.held.values().find(|held| held.under_way.iter().any(|sent| sent.id() == task)).map(|held| held.worker)
    }

    /// Why a task of this class has not started.
    #[must_use]
    pub fn explain(&self, class: ClassId) -> Option<String> {
        let of = self.classes.get(&class)?;
        Some(format!(
            "it waits for {}: {} tasks of its kind are queued here, {} workers are leased for them, {} are wanted",
            of.spec.demand,
            of.queue.len(),
            of.leases.len(),
            of.told
        ))
    }

    /// When something is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        let idle = self.held.values().filter(|held| held.under_way.is_empty());
        idle.map(|held| Millis(held.idle_since.0 + LINGER_MS)).min()
    }

    /// The workers that a node lends to this process.
    #[must_use]
    pub fn workers_on(&self, node: NodeId) -> Vec<ProcessId> {
        self.held.values().map(|held| held.worker).filter(|worker| worker.node == node).collect()
    }

    /// Whether tasks wait.
    #[must_use]
    pub fn has_queued(&self) -> bool {
        self.classes.values().any(|class| !class.queue.is_empty())
    }

    /// Whether anything is leased.
    #[must_use]
    pub fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// Asserts every invariant.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn sanity_check(&self) {
        for (lease, held) in &self.held {
            let class = &self.classes[&held.class];
            assert_eq!(class.leases.iter().filter(|of| *of == lease).count(), 1, "a lease is in its class, once");
            assert!(held.under_way.len() <= DEPTH_MAX, "what is under way is bounded");
        }
        let listed: usize = self.classes.values().map(|class| class.leases.len()).sum();
        assert_eq!(listed, self.held.len(), "no class has a lease that is not held");
    }
}

/// Tasks that may be under way at one worker.
fn depth(took_us: Option<u64>) -> usize {
    match took_us {
        None => 1,
        Some(took_us) => ((PIPELINE_US / took_us.max(1)) as usize).clamp(1, DEPTH_MAX),
    }
}

/// Leases wanted in all: enough to end what is queued and under way in time, and those that are held.
fn wanted<T>(class: &Class<T>, held: &BTreeMap<LeaseId, Held<T>>) -> u32 {
    let leases = class.leases.len() as u64;
    if class.queue.is_empty() {
        return leases.min(u64::from(WANT_MAX)) as u32;
    }
    let under_way: usize =
        class.leases.iter().filter_map(|lease| held.get(lease)).map(|held| held.under_way.len()).sum();
    let tasks = (class.queue.len() + under_way) as u64;
    let needed = match class.took_us {
        None => tasks,
        Some(took_us) => (tasks * took_us.max(1)).div_ceil(SPREAD_US).clamp(1, tasks),
    };
    leases.max(needed).min(u64::from(WANT_MAX)) as u32
}

#[cfg(test)]
mod tests;
