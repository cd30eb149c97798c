//! A process as a worker: it runs what it is sent, one task after the other.
//!
//! Owns: the lane of a worker, in virtual time, with tasks that submit tasks and wait for them. Such a task gives its place
//! up while it waits, and its process runs those of its children that nobody has begun yet.

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use actinic_actors::cluster::{
    objects::wire::{ObjectAsk, StoredId},
    wire::{LeaseId, ProcessId, ToNode},
};
use actinic_gcs::TaskId;

use super::{
    events::{Data, Event, Up},
    World,
};
use crate::{model::MS, plan::SimTask};

/// Results that come together travel together: what a thread does while another is woken for it.
const TOGETHER_NS: u64 = 40_000;
/// How long all must have waited before the node is told: two looks of the tick.
const REST_NS: u64 = 10 * MS;

/// The number of no lease: what a task has that its waiter has run.
const HELPED: u64 = 0;

/// A task that has come.
#[derive(Clone, Debug)]
struct Here {
    owner: ProcessId,
    lease: LeaseId,
    task: SimTask,
    came: u64,
}

/// A task that waits for its children.
struct Parent {
    here: Here,
    left: u32,
}

/// What a worker has to do.
#[derive(Default)]
pub(super) struct Lane {
    waiting: VecDeque<Here>,
    /// What has come and waits for its input, by the number of the wish for it.
    pending: BTreeMap<u64, Here>,
    /// Wishes of tasks that have gone meanwhile.
    unneeded: BTreeMap<u64, StoredId>,
    /// Inputs that were read and are not needed any more.
    read: Vec<StoredId>,
    wishes: u64,
    /// How often something has begun, and for which of those a look is due.
    begun: u64,
    look_due: Option<u64>,
    serving: Option<LeaseId>,
    /// Children that nobody has begun as far as is known, and whose they are.
    children: VecDeque<SimTask>,
    parents: BTreeMap<u64, Parent>,
    parent_of: BTreeMap<TaskId, u64>,
    next: u64,
    busy: bool,
    /// The lease of which the node was told that all waits.
    told: Option<LeaseId>,
    last_done: u64,
    /// Time in which it ran tasks.
    ran_ns: u64,
}

impl Lane {
    /// Whether all that is here waits for inputs.
    fn rests(&self) -> bool {
        !self.busy && self.waiting.is_empty() && self.parents.is_empty() && !self.pending.is_empty()
    }

    /// Time in which it ran tasks.
    pub(super) fn ran_ns(&self) -> u64 {
        self.ran_ns
    }
}

impl World {
    /// Tasks have come.
    pub(super) fn take_in(&mut self, process: u32, owner: ProcessId, tasks: Vec<(LeaseId, SimTask)>) {
        let came = self.now;
        self.procs[process as usize].parts = false;
        for (_, task) in &tasks {
            self.args_came(process, owner, task.id, &task.refs);
        }
        let lane = &mut self.procs[process as usize].lane;
        let mut asks = Vec::new();
        for (lease, task) in tasks {
            lane.serving = Some(lease);
            let here = Here { owner, lease, task, came };
            let Some(input) = here.task.input.as_deref() else {
                lane.waiting.push_back(here);
                continue;
            };
            lane.wishes += 1;
            let (request, stored, owner, bytes) = (lane.wishes, input.stored, input.owner, input.bytes);
            asks.push(ObjectAsk::Pin { request, stored, owner, bytes });
            lane.pending.insert(request, here);
        }
        asks.into_iter().for_each(|ask| self.ask_objects(process, ask));
        self.run_next(process);
    }

    /// A task's input is here.
    pub(super) fn pinned(&mut self, process: u32, request: u64, is_there: bool) {
        assert!(is_there, "no object is lost where none of its nodes is");
        let lane = &mut self.procs[process as usize].lane;
        match (lane.pending.remove(&request), lane.unneeded.remove(&request)) {
            (Some(here), _) => lane.waiting.push_back(here),
            (None, Some(stored)) => self.ask_objects(process, ObjectAsk::Unpin(stored)),
            (None, None) => {}
        }
        self.run_next(process);
    }

    /// As `CoreWorker::look_at_rest`: a worker all of whose tasks have waited for a while lends its CPU.
    pub(super) fn look_at_rest(&mut self, process: u32, begun: u64) {
        let proc = &mut self.procs[process as usize];
        let lane = &mut proc.lane;
        lane.look_due = None;
        let Some(lease) = lane.serving.filter(|_| proc.alive && lane.rests() && lane.told.is_none()) else { return };
        if lane.begun == begun {
            lane.told = Some(lease);
            return self.send_up(process, Up::Frame(ToNode::Blocked(lease)));
        }
        self.tell_whether_blocked(process);
    }

    /// Begins what is next, unless something runs.
    fn run_next(&mut self, process: u32) {
        self.begin_next(process);
        self.tell_whether_blocked(process);
    }

    fn begin_next(&mut self, process: u32) {
        let now = self.now;
        let lane = &mut self.procs[process as usize].lane;
        if lane.busy {
            return;
        }
        let (mut at, mut done, mut parents) = (now, Vec::new(), Vec::new());
        while at < now + TOGETHER_NS && parents.is_empty() {
            let Some(here) = lane.waiting.pop_front() else { break };
            at += self.model.run_ns + here.task.ran_ns;
            lane.begun += 1;
            lane.read.extend(here.task.input.as_deref().map(|input| input.stored));
            if here.task.children > 0 {
                parents.push(here);
                continue;
            }
            let ran_us = (at - here.came.max(lane.last_done)) / 1_000;
            lane.last_done = at;
            done.push((here.owner, Data::Done { lease: here.lease, task: here.task.id, ran_us, refs: Vec::new() }));
        }
        if done.is_empty() && parents.is_empty() {
            return self.help(process);
        }
        lane.busy = true;
        lane.ran_ns += at - now;
        for here in parents {
            lane.next += 1;
            let left = u32::from(here.task.children);
            lane.parents.insert(lane.next, Parent { here, left });
        }
        self.queue.at(at, Event::Ran(process, done));
    }

    /// An owner wants tasks back that have not begun.
    pub(super) fn give_back(&mut self, process: u32, to: ProcessId, lease: LeaseId, tasks: &[TaskId]) {
        let lane = &mut self.procs[process as usize].lane;
        let mut given = Vec::new();
        lane.waiting.retain(|here| {
            let goes = here.owner == to && here.lease == lease && tasks.contains(&here.task.id);
            if goes {
                given.push(here.task.id);
            }
            !goes
        });
        let Lane { pending, unneeded, .. } = lane;
        pending.retain(|request, here| {
            let goes = here.owner == to && here.lease == lease && tasks.contains(&here.task.id);
            if goes {
                given.push(here.task.id);
                unneeded.extend(here.task.input.as_deref().map(|input| (*request, input.stored)));
            }
            !goes
        });
        given.iter().for_each(|task| self.args_left(process, *task));
        if !given.is_empty() {
            self.send_data(process, to, vec![Data::GivenBack(lease, given)]);
        }
    }

    /// Tells the node whether all that runs here waits, when that changes.
    fn tell_whether_blocked(&mut self, process: u32) {
        let lane = &mut self.procs[process as usize].lane;
        let parent = lane.parents.values().next_back().map(|parent| parent.here.lease);
        let waits = if lane.rests() { lane.told } else { parent.filter(|_| !lane.busy) };
        if lane.rests() && lane.told.is_none() && lane.look_due.is_none() {
            lane.look_due = Some(lane.begun);
            let begun = lane.begun;
            self.queue.at(self.now + REST_NS, Event::Rest(process, begun));
        }
        let lane = &mut self.procs[process as usize].lane;
        let word = match (lane.told, waits) {
            (None, Some(lease)) => ToNode::Blocked(lease),
            (Some(lease), None) => ToNode::Unblocked(lease),
            _ => return,
        };
        lane.told = waits;
        self.send_up(process, Up::Frame(word));
    }

    /// Runs a child that nobody has begun, if there is one.
    fn help(&mut self, process: u32) {
        let now = self.now;
        let lane = &mut self.procs[process as usize].lane;
        while let Some(child) = lane.children.pop_front() {
            if actinic_actors::cluster::submit::core::Queued::claim(&child) {
                lane.busy = true;
                let takes = self.model.run_ns + child.ran_ns;
                lane.ran_ns += takes;
                let owner = self.procs[process as usize].id;
                let lease = LeaseId { node: owner.node, number: HELPED };
                let done = Data::Done { lease, task: child.id, ran_us: 0, refs: Vec::new() };
                return self.queue.at(now + takes, Event::Ran(process, vec![(owner, done)]));
            }
        }
    }

    /// Tasks have been run: their owners hear of it, and those that begin to wait have their children submitted.
    pub(super) fn on_ran(&mut self, process: u32, done: Vec<(ProcessId, Data)>) {
        if !self.procs[process as usize].alive {
            return;
        }
        let lane = &mut self.procs[process as usize].lane;
        lane.busy = false;
        let read = std::mem::take(&mut lane.read);
        read.into_iter().for_each(|stored| self.ask_objects(process, ObjectAsk::Unpin(stored)));
        let mut to: BTreeMap<ProcessId, Vec<Data>> = BTreeMap::new();
        for (owner, data) in done {
            match data {
                Data::Done { lease, task, .. } if lease.number == HELPED => self.child_is_done(process, task),
                Data::Done { lease, task, ran_us, .. } => {
                    let refs = self.send_result(process, task, owner);
                    to.entry(owner).or_default().push(Data::Done { lease, task, ran_us, refs });
                }
                data => to.entry(owner).or_default().push(data),
            }
        }
        to.into_iter().for_each(|(owner, data)| self.send_data(process, owner, data));
        self.begin_parents(process);
        self.run_next(process);
    }

    /// Submits the children of tasks that have just come to wait for them.
    fn begin_parents(&mut self, process: u32) {
        let class = self.plain_class(process);
        let lane = &mut self.procs[process as usize].lane;
        let mut made = Vec::new();
        let new: Vec<u64> = lane.parents.keys().copied().collect();
        for key in new {
            let Some(parent) = lane.parents.get_mut(&key).filter(|parent| parent.here.task.children > 0) else {
                continue;
            };
            let count = std::mem::take(&mut parent.here.task.children);
            for number in 0..u32::from(count) {
                // Of one run: a parent whose connection was cut may run here twice.
                let id = parent.here.task.id.child(key << 8 | u64::from(number));
                let (ran_ns, claimed) = (parent.here.task.ran_ns, Some(Rc::new(Cell::new(false))));
                let child =
                    SimTask { id, number, ran_ns, children: 0, bytes: 0, refs: Vec::new(), input: None, claimed };
                lane.parent_of.insert(id, key);
                lane.children.push_back(child.clone());
                made.push((child, class));
            }
        }
        if !made.is_empty() {
            self.submit_made(process, made);
        }
    }

    /// A child has its result, from a worker.
    pub(super) fn child_ended(&mut self, process: u32, task: &SimTask) {
        self.child_is_done(process, task.id);
    }

    fn child_is_done(&mut self, process: u32, child: TaskId) {
        let now = self.now;
        let lane = &mut self.procs[process as usize].lane;
        let Some(key) = lane.parent_of.remove(&child) else {
            assert!(!self.settings.check, "child {child} has ended twice");
            return;
        };
        let Some(parent) = lane.parents.get_mut(&key) else { return };
        parent.left -= 1;
        if parent.left > 0 {
            return;
        }
        let Some(Parent { here, .. }) = lane.parents.remove(&key) else { return };
        let ran_us = now.saturating_sub(here.came.max(lane.last_done)) / 1_000;
        lane.last_done = lane.last_done.max(now);
        let refs = self.send_result(process, here.task.id, here.owner);
        let done = Data::Done { lease: here.lease, task: here.task.id, ran_us, refs };
        self.send_data(process, here.owner, vec![done]);
    }
}
