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

mod groups;
mod look;
pub mod pace;
mod take_back;
mod want;

use std::collections::{BTreeMap, VecDeque};

use actinic_gcs::{Millis, NodeId, TaskId};

use self::pace::{Measure, Pace};
use crate::cluster::{
    wire::{ClassId, ClassSpec, Demand, LeaseId, ProcessId},
    work::{InputBytes, InputSum},
};

/// Tasks that take so long together, in microseconds, may be under way at a worker.
pub const PIPELINE_US: u64 = 2_000;
/// A queue is to end within so many microseconds.
pub const SPREAD_US: u64 = 5_000;
/// Tasks under way at a worker, however short they are.
pub const DEPTH_MAX: usize = 512;
/// A lease of which nothing has ended for so long while tasks are under way has stalled.
pub const STALLED_MS: u64 = 5;
/// Classes that are known, idle ones included; more are only kept if something is left of them.
pub const CLASSES_MAX: usize = 1_024;
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
    /// Where its large arguments are.
    fn inputs(&self) -> InputBytes {
        InputBytes::default()
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
    inputs: Option<Box<InputBytes>>,
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
    inputs: InputSum,
    told: u32,
    told_elsewhere: u32,
    /// Why none of it will ever run again.
    over: Option<&'static str>,
}

/// The state.
pub struct SubmitCore<T> {
    classes: BTreeMap<ClassId, Class<T>>,
    by_spec: BTreeMap<ClassSpec, ClassId>,
    held: BTreeMap<LeaseId, Held<T>>,
    home: Option<NodeId>,
    next_class: u32,
    revision: u64,
    submitted: u64,
}

impl<T> Default for SubmitCore<T> {
    fn default() -> Self {
        let (classes, by_spec, held) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { classes, by_spec, held, home: None, next_class: 0, revision: 0, submitted: 0 }
    }
}

impl<T> Class<T> {
    fn new(spec: ClassSpec) -> Self {
        let (queue, leases) = (VecDeque::new(), Vec::new());
        let (pace, inputs) = (Pace::default(), InputSum::default());
        Self { spec, queue, leases, pace, inputs, told: 0, told_elsewhere: 0, over: None }
    }

    /// A task of it is done, or will never run.
    fn leave(&mut self, entry: &Entry<T>) {
        self.pace.leave(entry.measure);
        if let Some(inputs) = &entry.inputs {
            self.inputs.remove(inputs);
        }
    }
}

impl<T: Queued + Clone> SubmitCore<T> {
    /// Of a process of this node, to which leases that others grant are *elsewhere*.
    #[must_use]
    pub fn at(home: NodeId) -> Self {
        Self { home: Some(home), ..Self::default() }
    }

    // --- events ----------------------------------------------------------------------------------------------------

    /// The number of a class; the same for equal demands.
    pub fn class(&mut self, spec: &ClassSpec) -> ClassId {
        if let Some(class) = self.by_spec.get(spec) {
            return *class;
        }
        self.retire();
        let class = ClassId(self.next_class);
        self.next_class += 1;
        self.by_spec.insert(spec.clone(), class);
        self.classes.insert(class, Class::new(spec.clone()));
        class
    }

    /// Forgets classes of which nothing is left, but the first, once there are many: each placement group makes some.
    fn retire(&mut self) {
        if self.classes.len() < CLASSES_MAX {
            return;
        }
        let is_kept = |id: &ClassId, class: &Class<T>| {
            *id == ClassId(0) || !class.queue.is_empty() || !class.leases.is_empty() || class.told > 0
        };
        self.classes.retain(|id, class| is_kept(id, class));
        let Self { classes, by_spec, .. } = self;
        by_spec.retain(|_, id| classes.contains_key(id));
    }

    /// A task is ready. Call [`SubmitCore::settle`] after a batch.
    pub fn on_submit(&mut self, class: ClassId, task: T, effects: &mut Vec<SubmitEffect<T>>) {
        let Some(of) = self.classes.get_mut(&class) else { return };
        if let Some(why) = of.over {
            return effects.push(SubmitEffect::Infeasible(task, why.to_owned()));
        }
        self.submitted += 1;
        let measure = of.pace.enter(task.function());
        let inputs = Some(task.inputs()).filter(|inputs| !inputs.is_empty()).map(Box::new);
        if let Some(inputs) = &inputs {
            of.inputs.add(inputs);
        }
        of.queue.push_back(Entry { number: self.submitted, measure, inputs, task });
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
            of.leave(&done);
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
                held.under_way.iter().for_each(|sent| of.leave(&sent.entry));
            }
            effects.extend(held.under_way.into_iter().map(|sent| SubmitEffect::Lost(sent.entry.task, process)));
        }
    }

    /// The tasks of a class can never run.
    pub fn on_infeasible(&mut self, class: ClassId, reason: &str, effects: &mut Vec<SubmitEffect<T>>) {
        let Some(of) = self.classes.get_mut(&class) else { return };
        of.told = 0;
        let entries = std::mem::take(&mut of.queue);
        entries.iter().for_each(|entry| of.leave(entry));
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
                of.leave(&entry);
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
}

#[cfg(test)]
mod tests;
