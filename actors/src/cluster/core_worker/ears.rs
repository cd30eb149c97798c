//! What a process hears: from its node, and from other processes.
//!
//! Owns: handing each frame to whom it concerns. The node is heard on the engine's arbiter, another process on whichever
//! thread reads its line. Decides nothing.

use std::sync::{atomic::Ordering, Arc, Weak};

use actinic_gcs::{ActorId, NodeId, ObjectId, TaskId};
use bytes::Bytes;
use tokio::net::{UnixListener, UnixStream};

use super::{answers::AnswerTo, far::Later, Arrived, CoreWorker, Way, BUSY_TICK, IDLE_TICK, WORK_TICK};
use crate::{
    cluster::{
        lines::{
            channel::Channel,
            line::{Line, Listener},
        },
        peer::{greeted, unix_halves, Hears, Liveness, Peer},
        wire::{ActorWhere, Caller, ClassId, DataFrame, FromNode, LeaseId, ProcessId, RunTask, ToNode, WireOutcome},
    },
    context,
    error::{TaskError, TaskErrorKind},
    gcs_net::{
        porch::Porch,
        wire::{decode, FrameError},
    },
    node::Node,
    panics,
    task::Task,
};

impl CoreWorker {
    /// Joins the process to its engine: from now on it hears and is heard. Runs on the arbiter that hears its node.
    pub fn attach(self: &Arc<Self>, node: &Arc<Node>) {
        let _ = self.node.set(Arc::downgrade(node));
        let _ = self.arbiter.set(actix_rt::Arbiter::current());
        self.lines.serve(node);
        let Some(stream) = self.connection.lock().take() else { return };
        if let Ok(also) = stream.try_clone() {
            self.node_conduit.write_to(also);
        }
        match UnixStream::from_std(stream) {
            Ok(stream) => {
                let ears = NodeEars { core: self.clone() };
                Peer::start_on(unix_halves(stream), self.node_conduit.clone(), Liveness::Local, ears);
            }
            Err(error) => return self.node_gone(&error.to_string()),
        }
        let _ = std::fs::remove_file(&self.welcome.listen);
        match UnixListener::bind(&self.welcome.listen) {
            Ok(listener) => drop(actix_rt::spawn(listen(self.clone(), listener))),
            // Others reach it through the node then.
            Err(error) => tracing::warn!(%error, "no socket for other processes"),
        }
        self.open_door();
        actix_rt::spawn(tick(self.clone()));
    }

    /// A frame of another process, on any thread. The last reference to a value of the user's may go, and with it run what may
    /// panic.
    fn hear(self: &Arc<Self>, from: ProcessId, frame: DataFrame) {
        if let Err(panic) = panics::catch(|| self.hear_it(from, frame)) {
            let (at, message) = (panic.location, panic.message);
            tracing::error!(%at, message, "what came with a task or a result panicked when it was dropped");
        }
    }

    fn hear_it(self: &Arc<Self>, from: ProcessId, frame: DataFrame) {
        match frame {
            DataFrame::Run(lease, run) => self.run(from, lease, *run),
            DataFrame::Done { lease, task, ran_us, outcomes } => self.done(from, lease, task, ran_us, outcomes),
            DataFrame::Cancel(task) => self.cancel_here(task),
            DataFrame::Call(actor, run) => self.run_call(from, actor, *run),
            DataFrame::Answer { actor, task, outcomes } => self.answered(from, actor, task, outcomes),
            DataFrame::RestartActor(actor) => self.restart_hosted(actor),
            DataFrame::BorrowActor(actor) => self.borrowed(from, actor),
            DataFrame::TakeBack { lease, tasks } => self.give_back(from, lease, tasks),
            DataFrame::GivenBack { lease, tasks } => {
                let mut effects = Vec::new();
                let now = self.now();
                self.state.lock().submit.on_given_back(now, lease, &tasks, &mut effects);
                self.carry_out(effects);
                self.tick.notify_one();
            }
            DataFrame::GivenUp(names) => self.hear_given_up(from, &names),
            DataFrame::Fetch(object) => self.asked(from, object),
            DataFrame::Borrow(object) => {
                if !self.state.lock().refs.on_borrow(object, from) {
                    tracing::warn!(%object, %from, "a lost parent's child asks for an object that is gone");
                }
            }
            DataFrame::Release { object, count } => {
                let mut effects = Vec::new();
                self.state.lock().refs.on_release(object, from, count, &mut effects);
                self.carry_out_refs(effects);
            }
            DataFrame::Object { id, outcome } => {
                let outcome = outcome.map(|value| self.import(from, value));
                self.fetched(id, &outcome);
            }
        }
    }

    /// A worker is leased, and there is a way to it.
    pub(super) fn granted(self: &Arc<Self>, class: ClassId, lease: LeaseId, worker: ProcessId, gpus: Vec<u32>) {
        let mut effects = Vec::new();
        {
            if !gpus.is_empty() {
                self.has_gpus.store(true, Ordering::Relaxed);
                self.gpus.lock().insert(lease, gpus);
            }
            let now = self.now();
            let mut state = self.state.lock();
            state.submit.on_granted(now, class, lease, worker, &mut effects);
        }
        self.carry_out(effects);
        self.tick.notify_one();
    }

    pub(super) fn recalled(self: &Arc<Self>, lease: LeaseId) {
        let mut effects = Vec::new();
        self.state.lock().submit.on_recalled(lease, &mut effects);
        self.carry_out(effects);
    }

    fn hear_of_actor(self: &Arc<Self>, actor: ActorId, place: ActorWhere) {
        self.forget_later(actor);
        let there = match &place {
            ActorWhere::Alive { process, doors } => self.reach(*process, doors, || Later::Actor(actor, place.clone())),
            _ => true,
        };
        if there {
            self.on_actor(actor, place);
        }
    }

    /// A task of another process is to run here.
    fn run(self: &Arc<Self>, from: ProcessId, lease: LeaseId, mut run: RunTask) {
        let args = Arrived::new(self, from, std::mem::take(&mut run.args));
        let Some(node) = self.engine() else { return };
        let (id, function, has_gpus) = (run.id, run.function, !run.gpus.is_empty());
        let imported = match self.functions.get(&function) {
            // Decoding runs code of the user's.
            Some(import) => panics::catch(|| import(args, run)).unwrap_or_else(|panic| {
                let (type_name, message) = ("an argument".to_owned(), panic.message);
                Err(TaskErrorKind::Codec { type_name, message }.into())
            }),
            None => Err(unknown_function(&node)),
        };
        match imported {
            Ok(imported) => {
                imported.task.head().keep_here();
                self.serve(lease, has_gpus);
                let _ = context::with_thread(|thread| node.submit_here(&imported.task, thread));
                self.answer_when_done(from, AnswerTo::Task(lease), imported);
            }
            Err(error) => {
                let _ =
                    self.to_process(from, &DataFrame::Done { lease, task: id, ran_us: 0, outcomes: vec![Err(error)] });
            }
        }
    }

    /// A task of this process has ended at a worker.
    fn done(self: &Arc<Self>, from: ProcessId, lease: LeaseId, task: TaskId, ran_us: u64, outcomes: Vec<WireOutcome>) {
        let mut effects = Vec::new();
        let now = self.now();
        let ended = self.state.lock().submit.on_done(now, lease, task, ran_us, &mut effects);
        self.carry_out(effects);
        // What a result refers to has come, whether or not anybody awaits the result, and is given back.
        let outcomes = outcomes.into_iter().map(|outcome| outcome.map(|value| self.import(from, value))).collect();
        if let (Some(ended), Some(node)) = (ended, self.engine()) {
            ended.0.settle(&node, outcomes);
        }
    }

    /// The owner wants tasks back that have not begun; whoever claims one decides whether it runs here or goes.
    fn give_back(self: &Arc<Self>, to: ProcessId, lease: LeaseId, mut tasks: Vec<TaskId>) {
        let Some(node) = self.engine() else { return };
        tasks.retain(|id| {
            let key = (*id, AnswerTo::Task(lease));
            let task = self.running.lock().tasks.get(&key).and_then(std::sync::Weak::upgrade);
            let Some(task) = task.filter(|task| !task.head().is_inflight() && task.head().claim()) else {
                return false;
            };
            if task.head().is_inflight() {
                // An async task that has begun, and was queued for its next poll.
                task.head().unclaim();
                node.enqueue(task, None);
                return false;
            }
            // Its completion, which does not find it there any more, says nothing.
            self.running.lock().tasks.remove(&key);
            task.fail(task.head().cancelled_error());
            true
        });
        if !tasks.is_empty() {
            let _ = self.to_process_soon(to, &DataFrame::GivenBack { lease, tasks }, true);
        }
    }

    fn cancel_here(&self, task: TaskId) {
        let all: Vec<Arc<dyn Task>> = {
            let running = self.running.lock();
            let of_task = running.tasks.iter().filter(|((id, _), _)| *id == task);
            of_task.filter_map(|(_, task)| task.upgrade()).collect()
        };
        for task in all {
            let head = task.head();
            if head.cancel_before_start() {
                task.fail(head.cancelled_error());
            } else {
                task.nudge();
            }
        }
    }

    /// A process is gone.
    fn process_gone(self: &Arc<Self>, process: ProcessId, reason: &str) {
        self.coming.lock().remove(&process);
        self.far_lines.lock().on_gone(process);
        if let Some(Way::Direct(line)) = self.ways.lock().remove(&process) {
            line.shut();
        }
        let (mut effects, mut ref_effects) = (Vec::new(), Vec::new());
        {
            let mut state = self.state.lock();
            state.submit.on_gone(process, &mut effects);
            state.refs.on_gone(process, &mut ref_effects);
            state.submit.settle(&mut effects);
        }
        for effect in effects {
            match effect {
                super::SubmitEffect::Lost(task, worker) => self.lost(&task.0, worker, reason),
                other => self.carry_out(vec![other]),
            }
        }
        self.carry_out_refs(ref_effects);
        let lost: Vec<ObjectId> = {
            let fetching = self.fetching.lock();
            let of_process = |waiting: &Vec<std::sync::Weak<super::ForeignRef>>| {
                waiting.iter().filter_map(std::sync::Weak::upgrade).any(|wanted| wanted.wire().owner == process)
            };
            fetching.iter().filter(|(_, waiting)| of_process(waiting)).map(|(object, _)| *object).collect()
        };
        for object in lost {
            let error = TaskErrorKind::OwnerDied { object: object.to_string(), reason: reason.to_owned() };
            self.fetched(object, &Err(error.into()));
        }
        self.tick.notify_one();
    }

    fn all_of_node_gone(self: &Arc<Self>, node: NodeId, reason: &str) {
        let on_node: Vec<ProcessId> = {
            let ways = self.ways.lock();
            ways.keys().copied().filter(|process| process.node == node).collect()
        };
        self.objects.node_gone(node);
        let mut head = self.head.lock();
        if *head == node {
            *head = self.me().node;
        }
        drop(head);
        self.shut_off.lock().remove(&node);
        self.far_lines.lock().on_node_gone(node);
        let (leased, counted) = {
            let state = self.state.lock();
            (state.submit.workers_on(node), state.refs.processes_on(node))
        };
        let known = on_node.into_iter().chain(leased).chain(counted);
        let mut all: Vec<ProcessId> = known.chain(self.called_on(node)).collect();
        all.sort_unstable();
        all.dedup();
        for process in all {
            self.process_gone(process, &format!("its node was lost: {reason}"));
        }
        self.keeper_gone(node, reason);
    }
}

pub(super) fn unknown_function(node: &Node) -> TaskError {
    TaskErrorKind::Failed {
        task: "a task".to_owned(),
        node: node.name.clone(),
        message: "the worker's executable has no such remote function".to_owned(),
        causes: Vec::new(),
    }
    .into()
}

/// What is heard of the node.
struct NodeEars {
    core: Arc<CoreWorker>,
}

impl Hears for NodeEars {
    fn frames(&mut self, frames: Vec<Bytes>) -> Result<(), FrameError> {
        let core = &self.core;
        for frame in frames {
            match decode::<FromNode>(&frame)? {
                FromNode::Granted { class, lease, worker, doors, gpus } => {
                    let later = || Later::Granted { class, lease, gpus: gpus.clone() };
                    if core.reach(worker, &doors, later) {
                        core.granted(class, lease, worker, gpus);
                    }
                }
                FromNode::MayEnd(question) => {
                    let may = !core.is_needed();
                    core.to_node(&ToNode::MayEnd { question, may });
                }
                FromNode::Recall(lease) => {
                    if !core.recalled_later(lease) {
                        core.recalled(lease);
                    }
                }
                FromNode::Short { class, node, lacking } => {
                    let mut effects = Vec::new();
                    core.state.lock().submit.on_short(class, node, lacking, &mut effects);
                    core.carry_out(effects);
                }
                FromNode::Infeasible { class, reason } => {
                    let mut effects = Vec::new();
                    core.state.lock().submit.on_infeasible(class, &reason, &mut effects);
                    core.carry_out(effects);
                }
                FromNode::Group(group, news) => core.on_group(group, news),
                FromNode::Hopeless { class, reason } => {
                    tracing::warn!("{reason}");
                    core.printer.say(format!("(actinic) {reason}\n"));
                    core.state.lock().submit.on_hopeless(class, reason);
                }
                FromNode::Gone { process, reason } => core.process_gone(core.ended(process), &reason),
                FromNode::NodeGone { node, reason } => {
                    core.partings.on_flushed(node, None);
                    core.all_of_node_gone(node, &reason);
                }
                FromNode::Relay { from, body } => {
                    core.hear(from, decode(&body)?);
                    if let Some(node) = core.engine() {
                        node.note_blocked();
                    }
                }
                FromNode::Object(news) => core.objects.hear(news),
                FromNode::Output(output) => core.printer.print(&output),
                FromNode::Flushed { by, others } => core.partings.on_flushed(by, others),
                FromNode::Host(host) => core.host(*host),
                FromNode::EndActor { actor, reason, drain } => core.end_hosted(actor, &reason, drain),
                FromNode::Actor { actor, place } => core.hear_of_actor(actor, place),
                FromNode::Welcome(_) | FromNode::Refused(_) | FromNode::Status(_) => {}
            }
        }
        core.lines.flush();
        if let Some(node) = core.engine() {
            node.rouse();
        }
        Ok(())
    }

    fn closed(&mut self, reason: &str) {
        self.core.node_gone(reason);
    }
}

/// What is heard of another process.
pub(super) struct ProcessEars {
    core: Weak<CoreWorker>,
    from: ProcessId,
    line: Weak<Line>,
}

impl ProcessEars {
    pub(super) fn listener(core: &Arc<CoreWorker>, from: ProcessId, line: &Weak<Line>) -> Box<dyn Listener> {
        Box::new(Self { core: Arc::downgrade(core), from, line: line.clone() })
    }
}

impl Listener for ProcessEars {
    fn frame(&mut self, frame: &[u8]) -> Result<(), FrameError> {
        let frame = decode(frame)?;
        if let Some(core) = self.core.upgrade() {
            core.hear(self.from, frame);
        }
        Ok(())
    }

    fn closed(&mut self, reason: &str) {
        tracing::debug!(process = %self.from, reason, "a process has hung up");
        // Whether it has ended the node will say.
        if let Some(core) = self.core.upgrade() {
            let hung_up = panics::catch(|| core.hung_up(self.from, &self.line, reason));
            if let Err(panic) = hung_up {
                tracing::error!(at = %panic.location, message = panic.message, "a process's end was not told to all");
            }
        }
    }
}

async fn listen(core: Arc<CoreWorker>, listener: UnixListener) {
    let mut porch = Porch::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(IDLE_TICK).await;
            continue;
        };
        if porch.welcome((), greet(core.clone(), stream)).is_some() {
            tracing::warn!("a caller that does not say who it is is given up: others wait");
        }
    }
}

async fn greet(core: Arc<CoreWorker>, mut stream: UnixStream) {
    let from = match greeted(&mut stream).await.map(|greeting| greeting.caller) {
        Ok(Caller::Process(from)) => from,
        Ok(_) => return tracing::warn!("a caller is no process of the node"),
        Err(why) => return tracing::warn!(why, "a caller is not let in"),
    };
    let line = stream
        .into_std()
        .and_then(Channel::unix)
        .and_then(|channel| core.lines.add(channel, |line| ProcessEars::listener(&core, from, line)));
    match line {
        Ok(line) => core.called(from, &line),
        Err(error) => tracing::error!(%error, "a connection cannot be used"),
    }
}

/// Tells the node what is wanted, at intervals while that changes, and gives idle leases back.
async fn tick(core: Arc<CoreWorker>) {
    loop {
        core.tick.notified().await;
        loop {
            let mut effects = Vec::new();
            let pause = {
                let now = core.now();
                let mut state = core.state.lock();
                let submit = &mut state.submit;
                submit.on_time(now, &mut effects);
                match (submit.has_queued(), submit.has_under_way(), submit.holds_any()) {
                    (true, ..) => Some(BUSY_TICK),
                    (_, true, _) => Some(WORK_TICK),
                    (.., true) => Some(IDLE_TICK),
                    _ => None,
                }
            };
            core.carry_out(effects);
            let serves = core.engine().is_some_and(|node| core.look_at_rest(&node));
            let pause = if serves { Some(pause.map_or(WORK_TICK, |pause| pause.min(WORK_TICK))) } else { pause };
            let Some(pause) = pause else { break };
            tokio::time::sleep(pause).await;
        }
    }
}
