//! Decides which task goes to which leased worker, and how many leases an owner asks for.
//!
//! Owns: the tasks of this process that are ready and not done, in classes of equal demand, and the leases it holds. A
//! core: what a task is (`T`) only the shell knows.
//!
//! Rules. A task goes to the lease of its class with the least under way, if that has room. There is room for as many as
//! take [`PIPELINE_US`] together, judged by how long tasks of their functions have taken so far ([`pace`]), so that short
//! tasks travel in crowds and a long one holds nobody up. As many leases are wanted as would end the queue within
//! [`SPREAD_US`], and never more than there are tasks. A lease without work is kept for [`LINGER_MS`], since the next task is
//! often near; one that is recalled gets no more tasks and goes back when it is empty. So does one without work where its node
//! is *short* for another class of this owner, which has tasks and no lease (`short`).
//!
//! A lease of which nothing has ended for [`STALLED_MS`] while tasks are under way has *stalled*: it gets no more until
//! something ends, and what waits behind its first task is **taken back** (`take_back`). The worker gives back what has not
//! begun there, which its claim decides, and that is queued again where it was. The first task is never asked for: so each
//! lease has one that stays, and tasks are not passed around without end where everything is slow.
//!
//! What is done for each task takes no longer for many leases, classes or functions, but for the logarithm of the leases: a
//! class has them in the order of their loads (`ready`) and its sums at hand ([`pace`]), and a lease is looked at when
//! something of it may be due (`alarms`).
//!
//! **Invariants:** each task is queued or under exactly one lease; a lease that was given back is never used again; the
//! demand that was told last is the one that holds; a queue is in the order of submission.

mod alarms;
mod class;
mod groups;
mod held;
mod look;
pub mod pace;
mod ready;
mod short;
mod take_back;
mod want;

use std::collections::{BTreeMap, VecDeque};

use actinic_gcs::{Millis, NodeId, TaskId};

use self::{
    alarms::{Alarm, Alarms},
    class::Class,
    held::{Held, Leases, Slot},
    pace::Measure,
};
use crate::cluster::{
    wire::{ClassId, ClassSpec, Demand, LeaseId, ProcessId},
    work::InputBytes,
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
    Demand(Box<Demand>),
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

/// The state.
pub struct SubmitCore<T> {
    classes: BTreeMap<ClassId, Class<T>>,
    by_spec: BTreeMap<ClassSpec, ClassId>,
    held: Leases<T>,
    home: Option<NodeId>,
    next_class: u32,
    /// With so many classes, those of which nothing is left are forgotten.
    retire_at: usize,
    revision: u64,
    submitted: u64,
    /// Tasks that wait, and tasks that are under way.
    queued: usize,
    under_way: usize,
    /// Classes of which something has changed since what is wanted was looked at.
    touched: Vec<ClassId>,
    /// Leases that were empty, and have a task since the last look.
    fresh: Vec<(Slot, u64)>,
    /// Classes for which nodes were short, in the order in which they said so.
    short: BTreeMap<NodeId, VecDeque<ClassId>>,
    alarms: Alarms,
}

impl<T> Default for SubmitCore<T> {
    fn default() -> Self {
        Self {
            classes: BTreeMap::new(),
            by_spec: BTreeMap::new(),
            held: Leases::default(),
            home: None,
            next_class: 0,
            retire_at: CLASSES_MAX,
            revision: 0,
            submitted: 0,
            queued: 0,
            under_way: 0,
            touched: Vec::new(),
            fresh: Vec::new(),
            short: BTreeMap::new(),
            alarms: Alarms::default(),
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
        if self.classes.len() < self.retire_at {
            return;
        }
        let is_kept = |id: &ClassId, class: &Class<T>| {
            *id == ClassId(0) || !class.queue.is_empty() || class.leases > 0 || class.told > 0
        };
        self.classes.retain(|id, class| is_kept(id, class));
        let Self { classes, by_spec, .. } = self;
        by_spec.retain(|_, id| classes.contains_key(id));
        // Where all are needed, they are not looked through for each new one.
        self.retire_at = CLASSES_MAX.max(2 * self.classes.len());
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
        of.touch(class, &mut self.touched);
        self.queued += 1;
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
        // One that is told twice is held already.
        let Some(slot) = self.held.insert(now, class, lease, worker) else { return };
        of.leases += 1;
        of.hopeless = None;
        of.away += u32::from(self.home.is_some_and(|home| lease.node != home));
        of.touch(class, &mut self.touched);
        if let Some(held) = self.held.at(slot) {
            of.rank(slot, held);
        }
        self.linger(slot);
        self.fed(class);
        self.pump(class, effects);
        self.make_way_if_idle(slot, lease, effects);
    }

    /// A lease is wanted back.
    pub fn on_recalled(&mut self, lease: LeaseId, effects: &mut Vec<SubmitEffect<T>>) {
        let Some(slot) = self.held.slot_of(lease) else { return };
        let Some(held) = self.held.at(slot) else { return };
        held.recalled = true;
        if held.under_way.is_empty() {
            return self.give_up(slot, effects);
        }
        take_back::ask(held, effects);
        if let Some(of) = self.classes.get_mut(&held.class) {
            of.rank(slot, held);
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
        let slot = self.held.slot_of(lease)?;
        let held = self.held.at(slot)?;
        // Mostly the oldest.
        let at = held.under_way.iter().position(|under_way| under_way.entry.task.id() == task)?;
        let done = held.remove(at)?.entry;
        self.under_way -= 1;
        let (class, empty, recalled) = (held.class, held.under_way.is_empty(), held.recalled);
        (held.moved_at, held.stalled, held.asked) = ((!empty).then_some(now), false, false);
        if empty {
            held.idle_since = now;
        }
        if let Some(of) = self.classes.get_mut(&class) {
            of.rank(slot, held);
            of.end(&done, ran_us);
            of.touch(class, &mut self.touched);
        }
        if empty {
            self.on_empty(slot, recalled, effects);
        }
        self.pump(class, effects);
        self.make_way_if_idle(slot, lease, effects);
        Some(done.task)
    }

    /// A process is gone, with all leases on it.
    pub fn on_gone(&mut self, process: ProcessId, effects: &mut Vec<SubmitEffect<T>>) {
        let on_it = self.held.iter().filter(|(_, held)| held.worker == process);
        let mut lost: Vec<(LeaseId, Slot)> = on_it.map(|(slot, held)| (held.lease, slot)).collect();
        lost.sort_unstable();
        for (_, slot) in lost {
            let Some(held) = self.remove(slot) else { continue };
            self.under_way -= held.under_way.len();
            if let Some(of) = self.classes.get_mut(&held.class) {
                held.under_way.iter().for_each(|sent| of.leave(&sent.entry));
            }
            effects.extend(held.under_way.into_iter().map(|sent| SubmitEffect::Lost(sent.entry.task, process)));
        }
    }

    /// The tasks of a class wait for a node that there is not.
    pub fn on_hopeless(&mut self, class: ClassId, reason: String) {
        if let Some(of) = self.classes.get_mut(&class) {
            of.hopeless = Some(reason);
        }
    }

    /// The tasks of a class can never run.
    pub fn on_infeasible(&mut self, class: ClassId, reason: &str, effects: &mut Vec<SubmitEffect<T>>) {
        let Some(of) = self.classes.get_mut(&class) else { return };
        let entries = std::mem::take(&mut of.queue);
        self.queued -= entries.len();
        entries.iter().for_each(|entry| of.leave(entry));
        of.touch(class, &mut self.touched);
        // Whoever said so may be another than the node, which still wants it for this process.
        self.tell_now(class, effects);
        effects.extend(entries.into_iter().map(|entry| SubmitEffect::Infeasible(entry.task, reason.to_owned())));
    }

    /// Time has passed: leases without work go back, and what waits behind a long task is taken back.
    pub fn on_time(&mut self, now: Millis, effects: &mut Vec<SubmitEffect<T>>) {
        self.watch_fresh(now);
        let mut busy = Vec::new();
        for (alarm, slot, granted) in self.alarms.take(now) {
            match alarm {
                Alarm::Idle => self.look_whether_idle(now, slot, granted, effects),
                Alarm::Busy => busy.push((slot, granted)),
            }
        }
        busy.into_iter().for_each(|(slot, granted)| self.look_whether_stalled(now, slot, granted, effects));
        self.settle(effects);
    }

    // --- decisions -------------------------------------------------------------------------------------------------

    /// Sends what there is room for.
    fn pump(&mut self, class: ClassId, effects: &mut Vec<SubmitEffect<T>>) {
        let Some(of) = self.classes.get_mut(&class) else { return };
        while let Some(first) = of.queue.front() {
            let share_us = of.pace.share_us(first.measure);
            let Some(slot) = of.ready.first() else { return };
            let Some(held) = self.held.at(slot).filter(|held| held.has_room(share_us)) else { return };
            let Some(entry) = of.queue.pop_front() else { return };
            self.queued -= 1;
            if !entry.task.claim() {
                of.leave(&entry);
                continue;
            }
            let at_once = held.under_way.is_empty();
            if at_once {
                (held.moved_at, held.asked) = (None, false);
                if !std::mem::replace(&mut held.is_fresh, true) {
                    self.fresh.push((slot, held.granted));
                }
            }
            let (lease, worker, task) = (held.lease, held.worker, entry.task.clone());
            held.load_us += share_us;
            held.under_way.push_back(Sent { entry, share_us });
            self.under_way += 1;
            of.rank(slot, held);
            effects.push(SubmitEffect::Send { lease, worker, task, at_once });
        }
    }

    /// A lease is empty: it goes back, at once if it is wanted back.
    fn on_empty(&mut self, slot: Slot, recalled: bool, effects: &mut Vec<SubmitEffect<T>>) {
        match recalled {
            true => self.give_up(slot, effects),
            false => self.linger(slot),
        }
    }

    /// A lease is empty: it is looked at when it has been so for long.
    fn linger(&mut self, slot: Slot) {
        let Some(held) = self.held.at(slot) else { return };
        if !std::mem::replace(&mut held.is_lingering, true) {
            self.alarms.set(Millis(held.idle_since.0 + LINGER_MS), (Alarm::Idle, slot, held.granted));
        }
    }

    fn look_whether_idle(&mut self, now: Millis, slot: Slot, granted: u64, effects: &mut Vec<SubmitEffect<T>>) {
        let Some(held) = self.held.at(slot).filter(|held| held.granted == granted) else { return };
        held.is_lingering = false;
        match held.under_way.is_empty() {
            true if now.0 >= held.idle_since.0 + LINGER_MS => self.give_back(slot, effects),
            true => self.linger(slot),
            false => {}
        }
    }

    /// Takes a lease out.
    fn remove(&mut self, slot: Slot) -> Option<Held<T>> {
        let held = self.held.remove(slot)?;
        if let Some(of) = self.classes.get_mut(&held.class) {
            of.ready.remove(slot);
            of.leases -= 1;
            of.away -= u32::from(self.home.is_some_and(|home| held.lease.node != home));
            held.counted.iter().for_each(|measure| of.pace.unstall(*measure));
            of.touch(held.class, &mut self.touched);
        }
        Some(held)
    }

    /// A recalled lease goes back. First the node is told if fewer are wanted: else it would grant what it has just been given
    /// to the same owner again, which has no use for it, and never to the one for which it was recalled.
    fn give_up(&mut self, slot: Slot, effects: &mut Vec<SubmitEffect<T>>) {
        if let Some(held) = self.remove(slot) {
            self.tell_if_less(held.class, effects);
            effects.push(SubmitEffect::Return(held.lease));
        }
    }

    fn give_back(&mut self, slot: Slot, effects: &mut Vec<SubmitEffect<T>>) {
        if let Some(held) = self.remove(slot) {
            effects.push(SubmitEffect::Return(held.lease));
        }
    }
}

#[cfg(test)]
mod tests;
