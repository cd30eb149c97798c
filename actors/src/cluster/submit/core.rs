//! Decides which task goes to which leased worker, and how many leases an owner asks for.
//!
//! Owns: the tasks of this process that are ready and not done, in classes of equal demand, and the leases it holds. A
//! core: what a task is (`T`) only the shell knows.
//!
//! Rules. A task goes to the lease of its class with the least under way, if that has room. There is room for as many as
//! take [`PIPELINE_US`] together, judged by how long tasks of their functions have taken so far ([`pace`]), so that short
//! tasks travel in crowds and a long one holds nobody up. As many leases are wanted as would end the queue within
//! [`SPREAD_US`], and never more than there are tasks. A lease without work is kept for [`LINGER_MS`], since the next task is
//! often near; one that is recalled gets no more tasks and goes back when it is empty.
//!
//! A lease of which nothing has ended for [`STALLED_MS`] while tasks are under way has *stalled*: it gets no more until
//! something ends, and what waits behind its first task is **taken back** ([`take_back`]). The worker gives back what has not
//! begun there, which its claim decides, and that is queued again where it was. The first task is never asked for: so each
//! lease has one that stays, and tasks are not passed around without end where everything is slow.
//!
//! **Invariants:** each task is queued or under exactly one lease; a lease that was given back is never used again; the
//! demand that was told last is the one that holds; a queue is in the order of submission.

pub mod pace;
mod take_back;

use std::collections::{BTreeMap, VecDeque};

use actinic_gcs::{Millis, NodeId, TaskId};

use self::pace::{Measure, Pace};
use crate::cluster::wire::{ClassId, ClassSpec, Demand, LeaseId, ProcessId};

/// Tasks that take so long together, in microseconds, may be under way at a worker.
pub const PIPELINE_US: u64 = 2_000;
/// A queue is to end within so many microseconds.
pub const SPREAD_US: u64 = 5_000;
/// Tasks under way at a worker, however short they are.
pub const DEPTH_MAX: usize = 512;
/// A lease of which nothing has ended for so long while tasks are under way has stalled.
pub const STALLED_MS: u64 = 5;
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
    /// What it runs, for how long that takes: the same number for the same function.
    fn function(&self) -> u64 {
        0
    }
    /// Gives the right to send it back, since its worker has not begun it; false where it was cancelled meanwhile, and will
    /// never run.
    fn put_back(&self) -> bool {
        true
    }
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
    /// Ask a worker to give back those of these tasks that have not begun.
    TakeBack {
        /// Under which lease they are.
        lease: LeaseId,
        /// Whom.
        worker: ProcessId,
        /// Which tasks.
        tasks: Vec<TaskId>,
    },
    /// A task that was given back had been cancelled: it will never run.
    Cancelled(T),
    /// Tell the node that a lease has ended.
    Return(LeaseId),
    /// The task will never run.
    Infeasible(T, String),
    /// The task's worker is lost while it was there.
    Lost(T, ProcessId),
}

/// A task with its place in the order of submission.
struct Entry<T> {
    number: u64,
    measure: Measure,
    task: T,
}

/// A task that was sent.
struct Sent<T> {
    entry: Entry<T>,
    /// What it was counted as when it was sent.
    share_us: u64,
}

struct Held<T> {
    class: ClassId,
    worker: ProcessId,
    under_way: VecDeque<Sent<T>>,
    /// The sum of their shares.
    load_us: u64,
    recalled: bool,
    idle_since: Millis,
    /// When something ended last, or the first look since something is under way.
    moved_at: Option<Millis>,
    stalled: bool,
    /// Whether tasks were asked back since something ended.
    asked: bool,
}

impl<T> Held<T> {
    fn remove(&mut self, at: usize) -> Option<Sent<T>> {
        let sent = self.under_way.remove(at)?;
        self.load_us = self.load_us.saturating_sub(sent.share_us);
        Some(sent)
    }

    fn has_room(&self, share_us: u64) -> bool {
        let fits = self.load_us + share_us <= PIPELINE_US && self.under_way.len() < DEPTH_MAX;
        !self.recalled && !self.stalled && (self.under_way.is_empty() || fits)
    }
}

struct Class<T> {
    spec: ClassSpec,
    queue: VecDeque<Entry<T>>,
    leases: Vec<LeaseId>,
    pace: Pace,
    told: u32,
    revision: u64,
}

/// The state.
pub struct SubmitCore<T> {
    classes: BTreeMap<ClassId, Class<T>>,
    by_spec: BTreeMap<ClassSpec, ClassId>,
    held: BTreeMap<LeaseId, Held<T>>,
    revision: u64,
    submitted: u64,
}

impl<T> Default for SubmitCore<T> {
    fn default() -> Self {
        Self { classes: BTreeMap::new(), by_spec: BTreeMap::new(), held: BTreeMap::new(), revision: 0, submitted: 0 }
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
        self.classes.insert(class, Class { spec, queue, leases, pace: Pace::default(), told: 0, revision: 0 });
        class
    }

    /// A task is ready. Call [`SubmitCore::settle`] after a batch.
    pub fn on_submit(&mut self, class: ClassId, task: T, effects: &mut Vec<SubmitEffect<T>>) {
        let Some(of) = self.classes.get_mut(&class) else { return };
        self.submitted += 1;
        let measure = of.pace.enter(task.function());
        of.queue.push_back(Entry { number: self.submitted, measure, task });
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
        let held = Held {
            class,
            worker,
            under_way: VecDeque::new(),
            load_us: 0,
            recalled: false,
            idle_since: now,
            moved_at: None,
            stalled: false,
            asked: false,
        };
        self.held.insert(lease, held);
        self.pump(class, effects);
    }

    /// A lease is wanted back.
    pub fn on_recalled(&mut self, lease: LeaseId, effects: &mut Vec<SubmitEffect<T>>) {
        let Some(held) = self.held.get_mut(&lease) else { return };
        held.recalled = true;
        if held.under_way.is_empty() {
            self.give_back(lease, effects);
        } else {
            take_back::ask(lease, held, effects);
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
        let at = held.under_way.iter().position(|under_way| under_way.entry.task.id() == task)?;
        let done = held.remove(at)?.entry;
        let (class, empty, recalled) = (held.class, held.under_way.is_empty(), held.recalled);
        (held.moved_at, held.stalled, held.asked) = ((!empty).then_some(now), false, false);
        if empty {
            held.idle_since = now;
        }
        if let Some(of) = self.classes.get_mut(&class) {
            of.pace.learn(done.measure, ran_us);
            of.pace.leave(done.measure);
        }
        if empty && recalled {
            self.give_back(lease, effects);
        } else {
            self.pump(class, effects);
        }
        Some(done.task)
    }

    /// A process is gone, with all leases on it.
    pub fn on_gone(&mut self, process: ProcessId, effects: &mut Vec<SubmitEffect<T>>) {
        let lost: Vec<LeaseId> =
            self.held.iter().filter(|(_, held)| held.worker == process).map(|(lease, _)| *lease).collect();
        for lease in lost {
            let Some(held) = self.held.remove(&lease) else { continue };
            if let Some(of) = self.classes.get_mut(&held.class) {
                of.leases.retain(|of_class| *of_class != lease);
                held.under_way.iter().for_each(|sent| of.pace.leave(sent.entry.measure));
            }
            effects.extend(held.under_way.into_iter().map(|sent| SubmitEffect::Lost(sent.entry.task, process)));
        }
    }

    /// The tasks of a class can never run.
    pub fn on_infeasible(&mut self, class: ClassId, reason: &str, effects: &mut Vec<SubmitEffect<T>>) {
        let Some(of) = self.classes.get_mut(&class) else { return };
        of.told = 0;
        let entries = std::mem::take(&mut of.queue);
        entries.iter().for_each(|entry| of.pace.leave(entry.measure));
        effects.extend(entries.into_iter().map(|entry| SubmitEffect::Infeasible(entry.task, reason.to_owned())));
    }

    /// Time has passed: leases without work go back, and what waits behind a long task is taken back.
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
        self.look_for_stalled(now, effects);
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
        while let Some(first) = of.queue.front() {
            let share_us = of.pace.share_us(first.measure);
            let room = |lease: &&LeaseId| self.held.get(lease).is_some_and(|held| held.has_room(share_us));
            let least = |lease: &&LeaseId| self.held.get(lease).map(|held| (held.load_us, held.under_way.len()));
            let Some(lease) = of.leases.iter().filter(room).min_by_key(least).copied() else { return };
            let Some(held) = self.held.get_mut(&lease) else { return };
            let Some(entry) = of.queue.pop_front() else { return };
            if !entry.task.claim() {
                of.pace.leave(entry.measure);
                continue;
            }
            let at_once = held.under_way.is_empty();
            if at_once {
                (held.moved_at, held.stalled, held.asked) = (None, false, false);
            }
            let task = entry.task.clone();
            held.load_us += share_us;
            held.under_way.push_back(Sent { entry, share_us });
            effects.push(SubmitEffect::Send { lease, worker: held.worker, task, at_once });
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
        self.held.values().find(|held| held.under_way.iter().any(|sent| sent.entry.task.id() == task)).map(|held| held.worker)
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

    /// Whether anything is under way.
    #[must_use]
    pub fn has_under_way(&self) -> bool {
        self.held.values().any(|held| !held.under_way.is_empty())
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
            assert_eq!(held.load_us, held.under_way.iter().map(|sent| sent.share_us).sum::<u64>());
        }
        for (id, class) in &self.classes {
            let of_class = self.held.values().filter(|held| held.class == *id);
            class.pace.sanity_check(class.queue.len() + of_class.map(|held| held.under_way.len()).sum::<usize>());
            let numbers = class.queue.iter().map(|entry| entry.number);
            assert!(numbers.is_sorted(), "a queue is in the order of submission");
        }
        let listed: usize = self.classes.values().map(|class| class.leases.len()).sum();
        assert_eq!(listed, self.held.len(), "no class has a lease that is not held");
    }
}

/// Leases wanted in all: enough to end what is queued and under way in time, and those that are held.
fn wanted<T>(class: &Class<T>, held: &BTreeMap<LeaseId, Held<T>>) -> u32 {
    let leases = class.leases.len() as u64;
    if class.queue.is_empty() {
        return leases.min(u64::from(WANT_MAX)) as u32;
    }
    // One that has stalled is of no use to others, whatever its task was expected to take.
    let lost_to_others = |held: &&Held<T>| {
        held.stalled && held.under_way.front().is_some_and(|first| !class.pace.is_long(first.entry.measure))
    };
    let stalled = class.leases.iter().filter_map(|lease| held.get(lease)).filter(lost_to_others).count() as u64;
    let needed = (class.pace.workers() + stalled).clamp(1, class.pace.open().max(1) as u64);
    leases.max(needed).min(u64::from(WANT_MAX)) as u32
}

#[cfg(test)]
mod tests;
