//! A process as the owner of tasks: the shell of the submit core.
//!
//! Owns: what `core_worker.rs` and `core_worker/ears.rs` do with tasks, leases and lost workers, and a driver's program.
//! Invariant: a process deals with one thing at a time, and what it deals with takes its time.

use std::{collections::BTreeMap, collections::VecDeque, sync::Arc};

use actinic_actors::cluster::{
    objects::{directory::core::DirectoryCore, wire::ObjectNews},
    submit::core::{SubmitCore, SubmitEffect},
    wire::{ClassId, ClassSpec, FromNode, JobCode, LeaseId, ProcessId},
    work::InputBytes,
};
use actinic_gcs::{ActorId, Millis, TaskId};

use super::{
    actors::Script,
    events::{Channel, Data, Down, Event, Up},
    lines::Far,
    refs::{References, SimRef},
    worker::Lane,
    World,
};
use crate::{
    meter::Core,
    model::MS,
    plan::{Plan, Progress, SimInput, SimTask},
};

/// Between looks while tasks wait, as in `core_worker.rs`.
const BUSY_TICK_NS: u64 = MS;
/// Between looks while tasks are under way, as in `core_worker.rs`.
const WORK_TICK_NS: u64 = 5 * MS;
/// Between looks while leases are held, as in `core_worker.rs`.
const IDLE_TICK_NS: u64 = 50 * MS;
/// How often a task whose worker was lost runs again, as in `core_worker.rs`.
const MAX_RETRIES: u32 = 3;
/// Tasks that a driver submits at a time: what the simulation looks at as one thing.
const CHUNK: usize = 32;
/// What a process needs for a frame that brings no task.
const HEAR_NS: u64 = 1_000;

/// A driver's program, and how far it is.
pub(super) struct Program {
    pub(super) id: TaskId,
    pub(super) plan: Plan,
    pub(super) progress: Progress,
    pub(super) ended_at: u64,
    /// The objects that its tasks read.
    inputs: Vec<SimInput>,
    /// When each task was submitted and when it ended; only of programs with objects.
    pub(super) times: Vec<(u64, u64)>,
    ready: VecDeque<u32>,
}

/// One process: a driver or a worker.
pub(super) struct Proc {
    pub(super) id: ProcessId,
    pub(super) node: u32,
    pub(super) is_driver: bool,
    pub(super) alive: bool,
    /// Whether it has said that it may end, and has had nothing to do since.
    pub(super) parts: bool,
    pub(super) code: Arc<JobCode>,
    pub(super) submit: SubmitCore<SimTask>,
    pub(super) lane: Lane,
    pub(super) directory: DirectoryCore,
    pub(super) refs: References,
    pub(super) far: Far,
    /// Actors that it hosts, and those that it makes.
    pub(super) hosted: BTreeMap<ActorId, LeaseId>,
    pub(super) script: Script,
    pub(super) groups_left: u32,
    pub(super) free_at: u64,
    classes: Vec<ClassId>,
    retries: BTreeMap<TaskId, u32>,
    program: Option<Program>,
    epoch_ms: u64,
    ticking: bool,
    notified: bool,
}

impl Proc {
    pub(super) fn new(id: ProcessId, node: u32, code: Arc<JobCode>, epoch_ms: u64) -> Self {
        let mut submit = SubmitCore::at(id.node);
        let classes = vec![submit.class(&crate::plan::plain())];
        Self {
            id,
            node,
            parts: false,
            is_driver: code.driver == id,
            alive: true,
            code,
            submit,
            lane: Lane::default(),
            directory: DirectoryCore::default(),
            refs: References::new(id),
            far: Far::default(),
            hosted: BTreeMap::new(),
            script: Script::default(),
            groups_left: 0,
            free_at: 0,
            classes,
            retries: BTreeMap::new(),
            program: None,
            epoch_ms,
            ticking: false,
            notified: false,
        }
    }

    pub(super) fn begin(&mut self, id: TaskId, plan: Plan) {
        self.classes = plan.classes.iter().map(|spec| self.submit.class(spec)).collect();
        let (progress, first) = Progress::new(&plan);
        let ready = first.into();
        let times = if plan.objects.is_empty() { Vec::new() } else { vec![(0, 0); plan.len() as usize] };
        self.program = Some(Program { id, plan, progress, ended_at: 0, inputs: Vec::new(), times, ready });
    }

    pub(super) fn has_objects(&mut self, inputs: Vec<SimInput>) {
        self.program.iter_mut().for_each(|program| program.inputs.clone_from(&inputs));
    }

    /// One of the plan's classes.
    pub(super) fn class(&self, number: usize) -> ClassId {
        self.classes[number]
    }

    pub(super) fn program(&self) -> Option<&Program> {
        self.program.as_ref()
    }
}

impl World {
    pub(super) fn process_millis(&self, process: u32) -> Millis {
        Millis(self.procs[process as usize].epoch_ms + self.now / MS)
    }

    /// A driver submits what is ready, a few tasks at a time.
    pub(super) fn drive(&mut self, process: u32) {
        let proc = &mut self.procs[process as usize];
        if !proc.alive {
            return;
        }
        // One processor for submissions and results, as the measured rate has it.
        if proc.free_at > self.now {
            return self.queue.at(proc.free_at, Event::Drive(process));
        }
        let Some(program) = &mut proc.program else { return };
        let count = program.ready.len().min(CHUNK);
        let chunk: Vec<u32> = program.ready.drain(..count).collect();
        proc.free_at = self.now + count as u64 * self.model.submit_ns;
        let (at, more, wait) = (proc.free_at, !program.ready.is_empty(), program.plan.each_task_waits_ns);
        self.make_ready(process, chunk, wait);
        if more {
            self.queue.at(at, Event::Drive(process));
        }
    }

    fn make_ready(&mut self, process: u32, tasks: Vec<u32>, wait_ns: u64) {
        if tasks.is_empty() {
            return;
        }
        if wait_ns == 0 {
            return self.submit(process, &tasks);
        }
        self.queue.at(self.now + wait_ns, Event::Ready(process, tasks));
    }

    /// As `CoreWorker::submit`, for each task.
    pub(super) fn submit(&mut self, process: u32, tasks: &[u32]) {
        if !self.procs[process as usize].alive {
            return;
        }
        let made: Vec<(SimTask, ClassId)> = tasks.iter().filter_map(|task| self.made(process, *task)).collect();
        made.iter().for_each(|(task, _)| self.task_takes(process, task.id));
        self.submit_made(process, made);
    }

    /// A task of a driver's, and its class: with inputs, that of their node.
    fn made(&mut self, process: u32, number: u32) -> Option<(SimTask, ClassId)> {
        let now = self.now;
        let Proc { program, classes, submit, directory, .. } = &mut self.procs[process as usize];
        let program = program.as_mut()?;
        let (mut task, class, object) = program.plan.task(program.id, number);
        let Some(object) = object else { return Some((task, classes[class])) };
        if program.times[number as usize].0 == 0 {
            program.times[number as usize].0 = now;
        }
        let mut input = program.inputs[object as usize].clone();
        if program.plan.locality {
            let places = directory.places(input.stored).into_iter().map(|node| (node, input.bytes));
            input.known = InputBytes::new(input.bytes, places);
        }
        let near = input.known.home();
        task.input = Some(Box::new(input));
        if near.is_none() {
            return Some((task, classes[class]));
        }
        let spec = ClassSpec { near, ..program.plan.classes[class].clone() };
        let class = self.meter.timed(Core::Submit, || submit.class(&spec));
        Some((task, class))
    }

    pub(super) fn submit_made(&mut self, process: u32, tasks: Vec<(SimTask, ClassId)>) {
        let (core, mut effects, mut notify) = (&mut self.procs[process as usize].submit, Vec::new(), false);
        self.meter.timed(Core::Submit, || {
            for (task, class) in tasks {
                let before = effects.len();
                core.on_submit(class, task, &mut effects);
                notify |= core.settle_new(class, &mut effects) || effects.len() == before;
            }
        });
        if notify {
            self.notify(process);
        }
        self.carry_out(process, effects);
    }

    /// As `CoreWorker::carry_out`; tasks for one worker travel together.
    pub(super) fn carry_out(&mut self, process: u32, effects: Vec<SubmitEffect<SimTask>>) {
        let mut runs: BTreeMap<ProcessId, Vec<Data>> = BTreeMap::new();
        for effect in effects {
            match effect {
                SubmitEffect::Demand(demand) => {
                    self.send_up(process, Up::Frame(actinic_actors::cluster::wire::ToNode::Demand(*demand)));
                }
                SubmitEffect::Return(lease) => {
                    self.send_up(process, Up::Frame(actinic_actors::cluster::wire::ToNode::Return(lease)));
                }
                SubmitEffect::Send { lease, worker, mut task, .. } => {
                    task.refs = self.send_args(process, task.id, worker);
                    runs.entry(worker).or_default().push(Data::Run(lease, task));
                }
                SubmitEffect::TakeBack { lease, worker, tasks } => {
                    self.send_data(process, worker, vec![Data::TakeBack(lease, tasks)]);
                }
                SubmitEffect::Cancelled(task) | SubmitEffect::Infeasible(task, _) => self.ended(process, &task, true),
                SubmitEffect::Lost(task, _) => self.lost(process, task),
            }
        }
        runs.into_iter().for_each(|(worker, data)| self.send_data(process, worker, data));
        self.check_process(process);
    }

    /// Straight to a process of this machine or by a line, else through the node.
    pub(super) fn send_data(&mut self, process: u32, to: ProcessId, data: Vec<Data>) {
        self.procs[process as usize].refs.knows(to);
        let here = &self.procs[process as usize];
        let from = here.id;
        match self.by_id.get(&to).copied() {
            Some(number) if self.procs[number as usize].node == here.node => {
                self.count_data(&data);
                let takes = self.model.unix_ns;
                let event = Event::Down(number, Down::Data(from, data));
                self.post(Channel::Beside(process, number), self.now, takes, event);
            }
            _ => {
                if let Some(data) = self.send_by_line(process, to, data) {
                    self.send_up(process, Up::Relay(to, data));
                }
            }
        }
    }

    // --- what is heard ---------------------------------------------------------------------------------------------

    /// A message has come; it is dealt with once the process has time for it.
    pub(super) fn on_down(&mut self, process: u32, down: Down) {
        let proc = &mut self.procs[process as usize];
        if !proc.alive {
            return;
        }
        let takes = match &down {
            Down::Data(_, data) => {
                let done = data.iter().filter(|one| matches!(one, Data::Done { .. })).count();
                done as u64 * self.model.done_ns
            }
            Down::Frame(_) | Down::LineEnded(..) => HEAR_NS,
        };
        proc.free_at = proc.free_at.max(self.now) + takes;
        let at = proc.free_at;
        self.queue.at(at, Event::Heard(process, down));
    }

    pub(super) fn on_heard(&mut self, process: u32, down: Down) {
        if !self.procs[process as usize].alive {
            return;
        }
        let mut effects = Vec::new();
        match down {
            Down::Data(from, data) => return self.on_data(process, from, data),
            Down::LineEnded(other, line) => return self.line_ended(process, other, line),
            Down::Frame(FromNode::Object(ObjectNews::Pinned { request, place })) => {
                return self.pinned(process, request, place.is_ok());
            }
            Down::Frame(FromNode::Object(news)) => return self.hear_news(process, news),
            Down::Frame(FromNode::Group(group, news)) => return self.hear_of_group(process, group, news),
            Down::Frame(frame @ (FromNode::Host(_) | FromNode::EndActor { .. } | FromNode::Actor { .. })) => {
                return self.hear_of_actor(process, frame);
            }
            Down::Frame(FromNode::Granted { class, lease, worker, .. }) => {
                if self.reaches(process, worker, class, lease) {
                    self.granted(process, class, lease, worker);
                }
                return;
            }
            Down::Frame(FromNode::Recall(lease)) => {
                if !self.procs[process as usize].far.recalled_later(lease) {
                    self.recalled(process, lease);
                }
                return;
            }
            Down::Frame(FromNode::MayEnd(question)) => return self.may_end(process, question),
            Down::Frame(FromNode::Short { class, node, lacking }) => {
                self.procs[process as usize].submit.on_short(class, node, lacking, &mut effects);
            }
            Down::Frame(FromNode::Infeasible { class, reason }) => {
                self.procs[process as usize].submit.on_infeasible(class, &reason, &mut effects);
            }
            Down::Frame(FromNode::Gone { process: gone, .. }) => {
                self.procs[process as usize].refs.ended(gone);
                return self.on_process_gone(process, gone);
            }
            Down::Frame(FromNode::NodeGone { node, .. }) => {
                let mut gone = self.procs[process as usize].submit.workers_on(node);
                gone.extend(self.procs[process as usize].refs.known_on(node));
                gone.extend(self.procs[process as usize].far.known_on(node));
                gone.sort_unstable();
                gone.dedup();
                gone.into_iter().for_each(|gone| self.on_process_gone(process, gone));
                return;
            }
            Down::Frame(_) => {}
        }
        self.carry_out(process, effects);
    }

    /// A worker is leased, and there is a way to it.
    pub(super) fn granted(&mut self, process: u32, class: ClassId, lease: LeaseId, worker: ProcessId) {
        let (now, mut effects) = (self.process_millis(process), Vec::new());
        let core = &mut self.procs[process as usize].submit;
        self.meter.timed(Core::Submit, || core.on_granted(now, class, lease, worker, &mut effects));
        self.notify(process);
        self.carry_out(process, effects);
    }

    pub(super) fn recalled(&mut self, process: u32, lease: LeaseId) {
        let (core, mut effects) = (&mut self.procs[process as usize].submit, Vec::new());
        self.meter.timed(Core::Submit, || core.on_recalled(lease, &mut effects));
        self.carry_out(process, effects);
    }

    fn on_process_gone(&mut self, process: u32, gone: ProcessId) {
        self.far_gone(process, gone);
        let (core, mut effects) = (&mut self.procs[process as usize].submit, Vec::new());
        self.meter.timed(Core::Submit, || {
            core.on_gone(gone, &mut effects);
            core.settle(&mut effects);
        });
        self.carry_out(process, effects);
        self.refs_gone(process, gone);
        self.notify(process);
    }

    fn on_data(&mut self, process: u32, from: ProcessId, data: Vec<Data>) {
        self.procs[process as usize].refs.knows(from);
        let (mut runs, mut dones) = (Vec::new(), Vec::new());
        for one in data {
            match one {
                Data::Run(lease, task) => runs.push((lease, task)),
                Data::Done { lease, task, ran_us, refs } => dones.push((lease, task, ran_us, refs)),
                one @ (Data::Release(..) | Data::Borrow(_) | Data::Fetch(_) | Data::Object(..)) => {
                    self.hear_of_refs(process, from, one);
                }
                Data::GivenUp(names) => self.hear_given_up(process, from, &names),
                Data::TakeBack(lease, tasks) => self.give_back(process, from, lease, &tasks),
                Data::GivenBack(lease, tasks) => {
                    let now = self.process_millis(process);
                    let (core, mut effects) = (&mut self.procs[process as usize].submit, Vec::new());
                    self.meter.timed(Core::Submit, || core.on_given_back(now, lease, &tasks, &mut effects));
                    self.carry_out(process, effects);
                    self.notify(process);
                }
            }
        }
        if !runs.is_empty() {
            self.take_in(process, from, runs);
        }
        if !dones.is_empty() {
            self.on_done(process, from, &dones);
        }
    }

    fn on_done(&mut self, process: u32, from: ProcessId, dones: &[(LeaseId, TaskId, u64, Vec<SimRef>)]) {
        let now = self.process_millis(process);
        let (core, mut effects) = (&mut self.procs[process as usize].submit, Vec::new());
        let ended: Vec<SimTask> = self.meter.timed(Core::Submit, || {
            let done = dones.iter();
            done.filter_map(|(lease, task, ran_us, _)| core.on_done(now, *lease, *task, *ran_us, &mut effects))
                .collect()
        });
        self.carry_out(process, effects);
        for (_, task, _, refs) in dones.iter().filter(|(_, _, _, refs)| !refs.is_empty()) {
            let is_awaited = ended.iter().any(|ended| ended.id == *task);
            self.result_came(process, from, is_awaited.then_some(*task), refs);
        }
        ended.iter().for_each(|task| self.ended(process, task, false));
    }

    /// A task of this process has its result, or never will.
    fn ended(&mut self, process: u32, task: &SimTask, failed: bool) {
        let now = self.now;
        self.task_left(process, task.id);
        let proc = &mut self.procs[process as usize];
        proc.retries.remove(&task.id);
        let Some(program) = &mut proc.program else { return self.child_ended(process, task) };
        let ready = program.progress.on_end(task.number, failed);
        program.ended_at = now;
        program.times.get_mut(task.number as usize).into_iter().for_each(|times| times.1 = now);
        self.open -= u32::from(program.progress.is_over());
        let wait = program.plan.each_task_waits_ns;
        self.make_ready(process, ready, wait);
    }

    /// A task's worker is lost: it runs again, or fails.
    fn lost(&mut self, process: u32, task: SimTask) {
        let proc = &mut self.procs[process as usize];
        let tries = proc.retries.entry(task.id).or_insert(0);
        *tries += 1;
        if *tries > MAX_RETRIES {
            return self.ended(process, &task, true);
        }
        if let Some(claimed) = &task.claimed {
            claimed.set(false);
        }
        let plain = proc.classes[0];
        let made = self.made(process, task.number);
        let again = made.map_or((task.clone(), plain), |(made, class)| (SimTask { input: made.input, ..task }, class));
        self.submit_made(process, vec![again]);
    }

    /// The class of tasks that a worker submits.
    pub(super) fn plain_class(&self, process: u32) -> ClassId {
        self.procs[process as usize].classes[0]
    }

    // --- the tick --------------------------------------------------------------------------------------------------

    /// As `Notify::notify_one`: wakes the tick, or lets its next wait pass.
    pub(super) fn notify(&mut self, process: u32) {
        let proc = &mut self.procs[process as usize];
        if proc.ticking {
            proc.notified = true;
        } else {
            proc.ticking = true;
            self.queue.at(self.now + self.model.same_arbiter_ns, Event::Tick(process));
        }
    }

    pub(super) fn tick(&mut self, process: u32) {
        let now = self.process_millis(process);
        let proc = &mut self.procs[process as usize];
        if !proc.alive {
            return;
        }
        let (core, mut effects) = (&mut proc.submit, Vec::new());
        self.meter.timed(Core::Submit, || core.on_time(now, &mut effects));
        let submit = &proc.submit;
        let pause = match (submit.has_queued(), submit.has_under_way(), submit.holds_any()) {
            (true, ..) => Some(BUSY_TICK_NS),
            (_, true, _) => Some(WORK_TICK_NS),
            (.., true) => Some(IDLE_TICK_NS),
            _ => None,
        };
        if let Some(pause) = pause {
            self.queue.at(self.now + pause, Event::Tick(process));
        } else if std::mem::take(&mut proc.notified) {
            self.queue.at(self.now, Event::Tick(process));
        } else {
            proc.ticking = false;
        }
        self.carry_out(process, effects);
    }
}
