//! The `WorkerPool`: the worker processes of a node.
//!
//! Owns: starting and ending processes, fetching the executables they are started from, and passing on what they write.
//! [`core`] decides which worker serves whom. Invariants: a worker ends with its node, however that ends, since its standard
//! input is closed then; a process that has ended is told of once, with how it ended.

pub mod byline;
pub mod core;
mod output;
mod start;

use std::{
    collections::{btree_map::Entry, BTreeMap, BTreeSet},
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use actinic_gcs::{JobId, NodeId, WorkerId};
use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::oneshot;

use self::core::{PoolCore, PoolEffect};
pub use self::start::{own_input, Role, ROLE};
use super::{
    executable::Arriving,
    local::LocalEvent,
    node::NodeShared,
    wire::{ExeHash, FromNode, JobCode, LeaseFor, LeaseId, NodeFrame, ProcessId},
};

/// Between looks at workers that nobody needs.
const LOOK: Duration = Duration::from_secs(1);

/// What the pool is told.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub enum PoolEvent {
    /// A job is there: start workers ahead of need.
    Job(Box<JobCode>, usize),
    /// A lease needs a worker.
    Need(LeaseId, LeaseFor, Box<JobCode>),
    /// A lease has ended.
    Ended(LeaseId),
    /// A worker can serve.
    Ready(WorkerId),
    /// A worker says whether it may end, in answer to a question.
    MayEnd(WorkerId, u64, bool),
    /// A worker's connection has ended: so must the process.
    Lost(WorkerId),
    /// A job has ended.
    JobGone(JobId),
    /// Another node is connected.
    Node(NodeId),
    /// Another node is not connected any more.
    NodeGone(NodeId),
    /// These nodes are alive, this one among them.
    Alive(BTreeSet<NodeId>),
    /// The executable of a detached actor that this node keeps.
    Keep(Box<JobCode>),
    /// A piece of an executable has come.
    Part(ExeHash, u64, Result<Bytes, String>),
    /// A worker is to be killed at once, for this reason.
    Kill(WorkerId, String),
    /// A driver is to be told what its workers here have written by now, and then that this is so.
    Flush {
        /// Whom.
        driver: ProcessId,
        /// Which other nodes were asked the same, where this one asked them.
        others: Option<Vec<NodeId>>,
    },
}

/// The worker processes that run, by their numbers.
#[derive(Message, Debug)]
#[rtype(result = "Vec<(WorkerId, u32)>")]
pub struct Processes;

/// A worker process that runs.
struct Running {
    /// Ends it when it is dropped, at once if something is sent.
    stop: oneshot::Sender<()>,
    pid: u32,
}

/// What a worker may have written that is not read yet; until its end has been seen.
struct Pipes {
    driver: ProcessId,
    pipes: Vec<OwnedFd>,
}

/// A worker process has ended.
#[derive(Message)]
#[rtype(result = "()")]
struct Exited {
    worker: WorkerId,
    how: Result<ExitStatus, String>,
}

/// The actor.
pub struct WorkerPool {
    shared: Arc<NodeShared>,
    core: PoolCore,
    effects: Vec<PoolEffect>,
    running: BTreeMap<WorkerId, Running>,
    pipes: BTreeMap<WorkerId, Pipes>,
    /// Why workers were killed whose end has not been seen yet.
    killed: BTreeMap<WorkerId, String>,
    /// Executables on their way.
    arriving: BTreeMap<ExeHash, Arriving>,
}

impl WorkerPool {
    /// A pool without workers.
    #[must_use]
    pub fn new(shared: Arc<NodeShared>) -> Self {
        let (running, pipes, killed, arriving) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let cpus = shared.spec.resources.of(actinic_gcs::resources::CPU).units() as usize;
        let core = PoolCore::new(shared.spec.id).with_hosts_max(cpus);
        Self { shared, core, effects: Vec::new(), running, pipes, killed, arriving }
    }

    fn carry_out(&mut self, ctx: &mut Context<Self>) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                PoolEffect::Start(worker, code) => self.start(worker, *code, ctx),
                PoolEffect::Assign(lease, worker) => {
                    let worker = ProcessId { node: self.shared.spec.id, worker };
                    self.shared.local(LocalEvent::Worker(lease, worker));
                }
                PoolEffect::Stop(worker) => drop(self.running.remove(&worker)),
                PoolEffect::AskToEnd(worker, question) => {
                    let worker = ProcessId { node: self.shared.spec.id, worker };
                    self.shared.hub.to_process(worker, FromNode::MayEnd(question));
                }
                PoolEffect::Fetch(exe, from) => self.fetch(exe, from),
                PoolEffect::DropPieces(exe) => drop(self.arriving.remove(&exe)),
                PoolEffect::Unfit(job, why) => {
                    tracing::warn!(%job, why, "this node starts no workers for a job for a while");
                    self.shared.local(LocalEvent::Unfit(job, Some(why)));
                }
                PoolEffect::Fit(job) => self.shared.local(LocalEvent::Unfit(job, None)),
                PoolEffect::NoWorker(lease, why) => self.shared.local(LocalEvent::NoWorker(lease, why)),
                PoolEffect::Unused(exe) => self.shared.exes.unused(exe),
            }
        }
        self.shared.set_workers(self.core.len() as u32);
        if !self.effects.is_empty() {
            self.carry_out(ctx);
        }
    }

    fn start(&mut self, worker: WorkerId, code: JobCode, ctx: &mut Context<Self>) {
        match self.shared.exes.take_up(code.exe) {
            true => self.spawn(worker, &code, ctx),
            false => self.core.on_code_missing(worker, code, &mut self.effects),
        }
    }

    fn fetch(&mut self, exe: ExeHash, from: NodeId) {
        let arriving = match self.arriving.entry(exe) {
            Entry::Occupied(there) => Ok(there.into_mut()),
            Entry::Vacant(place) => self.shared.exes.arriving(exe).map(|arriving| place.insert(arriving)),
        };
        match arriving.map(|arriving| arriving.offset()) {
            Ok(offset) => self.shared.hub.to_node(from, &NodeFrame::FetchExe { exe, offset }),
            Err(error) => self.core.on_no_code(exe, &no_exe(&error.to_string()), &mut self.effects),
        }
    }

    fn spawn(&mut self, worker: WorkerId, code: &JobCode, ctx: &mut Context<Self>) {
        self.shared.set_code(worker, code);
        let me = ctx.address();
        match start::start(&self.shared, worker, code) {
            Ok((child, byline)) => {
                let (stop, stopped) = oneshot::channel();
                let (pid, pipes, driver) = (child.id().unwrap_or(0), output::pipes_of(&child), code.driver);
                self.running.insert(worker, Running { stop, pid });
                self.pipes.insert(worker, Pipes { driver, pipes });
                let node = self.shared.clone();
                actix_rt::spawn(async move {
                    let how = start::attend(child, byline, stopped, &node, worker, driver).await;
                    me.do_send(Exited { worker, how });
                });
            }
            Err(error) => {
                let why = format!("a worker could not be started: {error}");
                self.core.on_exit(worker, &why, &mut self.effects);
            }
        }
    }

    /// On the thread that reads what workers write: where nothing is left in a pipe, all of it was told.
    fn flush(&self, driver: ProcessId, others: Option<Vec<NodeId>>) {
        let of_driver = self.pipes.values().filter(|of| of.driver == driver);
        let pipes = of_driver.flat_map(|of| &of.pipes).filter_map(|pipe| pipe.try_clone().ok()).collect();
        let shared = self.shared.clone();
        actix_rt::spawn(async move {
            output::until_empty(pipes).await;
            shared.hub.to_process(driver, FromNode::Flushed { by: shared.spec.id, others });
        });
    }

    fn on_part(&mut self, exe: ExeHash, offset: u64, bytes: Result<Bytes, String>) {
        // Of one who was asked before another was, it may come twice.
        let Some(arriving) = self.arriving.get_mut(&exe).filter(|arriving| arriving.offset() == offset) else { return };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(why) => return self.core.on_refused(exe, no_exe(&why), &mut self.effects),
        };
        match self.shared.exes.on_part(arriving, offset, &bytes) {
            Ok(false) => self.core.on_piece(exe, &mut self.effects),
            Ok(true) => {
                // What is open for writing cannot be run.
                self.arriving.remove(&exe);
                self.core.on_code(exe, &mut self.effects);
            }
            Err(error) => {
                self.arriving.remove(&exe);
                self.core.on_no_code(exe, &no_exe(&error.to_string()), &mut self.effects);
            }
        }
    }
}

fn no_exe(why: &str) -> String {
    format!("the driver's executable could not be brought to the node: {why}")
}

impl Actor for WorkerPool {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(1_024);
        ctx.run_interval(LOOK, |this, ctx| {
            this.core.on_time(this.shared.now(), &mut this.effects);
            this.carry_out(ctx);
        });
    }
}

impl Handler<PoolEvent> for WorkerPool {
    type Result = ();

    fn handle(&mut self, event: PoolEvent, ctx: &mut Context<Self>) {
        let now = self.shared.now();
        match event {
            PoolEvent::Job(code, ahead) => {
                let _ = self.shared.exes.take_up(code.exe);
                self.core.on_job(&code, ahead, &mut self.effects);
            }
            PoolEvent::Need(lease, purpose, code) => self.core.on_need(lease, purpose, &code, &mut self.effects),
            PoolEvent::Ended(lease) => self.core.on_ended(now, lease, &mut self.effects),
            PoolEvent::Ready(worker) => self.core.on_ready(now, worker, &mut self.effects),
            PoolEvent::MayEnd(worker, question, may) => {
                self.core.on_may_end(now, worker, question, may, &mut self.effects);
            }
            PoolEvent::Lost(worker) => drop(self.running.remove(&worker)),
            PoolEvent::JobGone(job) => self.core.on_job_gone(job, &mut self.effects),
            PoolEvent::Node(node) => self.core.on_node(node, &mut self.effects),
            PoolEvent::NodeGone(node) => self.core.on_node_gone(node, &mut self.effects),
            PoolEvent::Keep(code) => {
                let is_here = self.shared.exes.take_up(code.exe);
                self.core.on_keep(*code, is_here, &mut self.effects);
            }
            PoolEvent::Alive(nodes) => self.core.on_alive(&nodes, &mut self.effects),
            PoolEvent::Part(exe, offset, bytes) => self.on_part(exe, offset, bytes),
            PoolEvent::Flush { driver, others } => self.flush(driver, others),
            PoolEvent::Kill(worker, why) => {
                if let Some(running) = self.running.remove(&worker) {
                    self.killed.insert(worker, why);
                    let _ = running.stop.send(());
                }
            }
        }
        self.carry_out(ctx);
    }
}

impl Handler<Processes> for WorkerPool {
    type Result = Vec<(WorkerId, u32)>;

    fn handle(&mut self, _: Processes, _: &mut Context<Self>) -> Self::Result {
        let killed = self.killed.keys().map(|worker| (*worker, 0));
        self.running.iter().map(|(worker, running)| (*worker, running.pid)).chain(killed).collect()
    }
}

impl Handler<Exited> for WorkerPool {
    type Result = ();

    fn handle(&mut self, Exited { worker, how }: Exited, ctx: &mut Context<Self>) {
        let reason = match how {
            Ok(status) => match status.signal() {
                Some(signal) => format!("its process was ended by signal {signal}{}", name_of_signal(signal)),
                None => format!("its process ended with {status}"),
            },
            Err(error) => error,
        };
        self.running.remove(&worker);
        self.pipes.remove(&worker);
        let reason = self.killed.remove(&worker).unwrap_or(reason);
        // One that was killed leaves its shared memory behind.
        actix_rt::task::spawn_blocking(crate::store::reclaim);
        self.core.on_exit(worker, &reason, &mut self.effects);
        self.shared.process_gone(ProcessId { node: self.shared.spec.id, worker }, &reason);
        self.carry_out(ctx);
    }
}

fn name_of_signal(signal: i32) -> &'static str {
    match signal {
        libc::SIGABRT => " (SIGABRT: it aborted)",
        libc::SIGSEGV => " (SIGSEGV: it broke memory safety, or overflowed its stack)",
        libc::SIGKILL => " (SIGKILL: it was killed, possibly for lack of memory)",
        libc::SIGBUS => " (SIGBUS)",
        libc::SIGILL => " (SIGILL)",
        libc::SIGTERM => " (SIGTERM)",
        _ => "",
    }
}
