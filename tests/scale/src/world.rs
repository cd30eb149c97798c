//! The simulated cluster: the cores that ship, the messages between them, and virtual time.
//!
//! Owns: the nodes, the processes, and the loop that hands each event to whom it concerns. What a shell does with an effect
//! is done here as the shell does it: [`node`] stands for `cluster/local.rs` and `global.rs`, [`pool`] for `workers.rs`,
//! [`actors`] and [`groups`] for whoever keeps those, [`objects`] for `cluster/objects/`, [`ears`] for `node/peers.rs` and
//! `hub.rs`, [`owner`], [`worker`], [`refs`] and [`lines`] for `core_worker.rs`, [`control`] for whoever asks the control store, [`signs`] for `peer.rs`, [`faults`]
//! for `node/members.rs` and whatever breaks. Does not own a single decision of scheduling.
//!
//! Invariants: all happens in the order of virtual time; the same settings give the same events, to the last one.

mod actors;
mod checks;
mod control;
mod ears;
mod ends;
mod events;
mod faults;
mod groups;
mod lines;
mod node;
mod objects;
mod owner;
mod pool;
mod refs;
mod signs;
mod worker;

use std::{collections::BTreeMap, sync::Arc};

use actinic_actors::cluster::wire::{ExeHash, JobCode, ProcessId};
use actinic_gcs::{JobId, Millis, NodeId, ResourceSet, TaskId, WorkerId};
use rustc_hash::FxHashMap;

pub(crate) use self::{
    control::Asked,
    events::{Event, Fault},
    node::LoadTo,
    refs::SimRef,
};
use self::{
    events::{Channel, Queue},
    node::NodeSim,
    owner::Proc,
};
use crate::{meter::Meter, model::Model, plan::Plan, rng::Rng};

/// Numbers of drivers begin here, as in the shell.
const FIRST_DRIVER: u32 = 1 << 31;

/// How the world is made.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How many nodes; the first is the head.
    pub(crate) nodes: u32,
    /// CPUs of each.
    pub(crate) cpus: f64,
    /// Everything that is random comes of it.
    pub(crate) seed: u64,
    /// The costs.
    pub(crate) model: Model,
    /// Whether the cores that an event has touched are asked for their invariants after it.
    pub(crate) check: bool,
    /// Nodes that keep a global scheduler ready; the others' would know the same.
    pub(crate) globals: u32,
    /// Nodes that keep actors.
    pub(crate) keepers: u32,
    /// Whether all nodes are processes of one machine.
    pub(crate) one_machine: bool,
    /// Whether programs pass references around.
    pub(crate) refs: bool,
    /// Whether processes of different nodes speak directly.
    pub(crate) lines: bool,
    /// Whom a node tells how it is.
    pub(crate) load_to: LoadTo,
}

impl Settings {
    /// So many nodes of four CPUs.
    pub(crate) fn nodes(nodes: u32, seed: u64) -> Self {
        let (model, load_to) = (Model::default(), LoadTo::Scheduler);
        Self {
            nodes,
            cpus: 4.0,
            seed,
            model,
            check: false,
            globals: 1,
            keepers: 0,
            one_machine: false,
            refs: false,
            lines: false,
            load_to,
        }
    }
}

/// The cluster.
pub(crate) struct World {
    /// Virtual time, in nanoseconds.
    pub(crate) now: u64,
    /// What is counted.
    pub(crate) meter: Meter,
    settings: Settings,
    model: Model,
    rng: Rng,
    queue: Queue,
    nodes: Vec<NodeSim>,
    procs: Vec<Proc>,
    by_id: FxHashMap<ProcessId, u32>,
    jobs: u32,
    conns: u32,
    digest: u64,
    happened: u64,
    open: u32,
    sizes: ears::Sizes,
    /// What was asked of the control store.
    pub(crate) asked: Asked,
    /// Bytes of a node's row there.
    row_bytes: u64,
    truth: refs::Truth,
    /// The lines that are not cut: who called, and who was called.
    lines: BTreeMap<lines::LineId, (u32, u32)>,
    lines_made: lines::LineId,
    signs: signs::Signs,
}

impl World {
    /// Nodes that are connected, each to each, and have nothing to do.
    pub(crate) fn new(settings: Settings) -> Self {
        let mut rng = Rng::new(settings.seed);
        let nodes = (0..settings.nodes).map(|at| NodeSim::new(at, &settings, &mut rng)).collect();
        let model = settings.model.clone();
        let mut world = Self {
            now: 0,
            meter: Meter::default(),
            settings,
            model,
            rng,
            queue: Queue::default(),
            nodes,
            procs: Vec::new(),
            by_id: FxHashMap::default(),
            jobs: 0,
            conns: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            happened: 0,
            open: 0,
            sizes: ears::Sizes::measured(),
            asked: Asked::default(),
            row_bytes: 0,
            truth: refs::Truth::default(),
            lines: BTreeMap::new(),
            lines_made: 0,
            signs: signs::Signs::default(),
        };
        world.row_bytes = world.bytes_of_row();
        world.connect_all();
        world.meter.reset();
        world
    }

    /// A driver connects to a node; it submits its tasks from the time `at` on. Gives its number.
    pub(crate) fn driver(&mut self, node: u32, plan: Plan, at: u64) -> u32 {
        self.jobs += 1;
        let here = &mut self.nodes[node as usize];
        here.drivers += 1;
        let worker = WorkerId(FIRST_DRIVER + here.drivers);
        let process = ProcessId { node: here.id, worker };
        let code = Arc::new(JobCode {
            job: JobId(self.jobs),
            exe: ExeHash([7; 32]),
            exe_bytes: self.model.exe_bytes,
            namespace: "default".to_owned(),
            driver: process,
            cwd: "/tmp".to_owned(),
            env: Vec::new(),
            functions: 1,
        });
        here.has_exe = true;
        self.enter_job(self.jobs, node);
        let number = self.add_process(node, process, code.clone());
        self.open += 1;
        let objects: Vec<(u32, u64)> = plan.objects.clone();
        self.procs[number as usize].begin(TaskId::driver(JobId(self.jobs)), plan);
        let inputs = objects.into_iter().map(|(node, bytes)| self.place_object(number, node, bytes)).collect();
        self.procs[number as usize].has_objects(inputs);
        let ahead = (self.settings.cpus as usize).min(node::AHEAD_MAX);
        self.tell_pool(
            node,
            node::MAIN,
            actinic_actors::cluster::workers::PoolEvent::Job(Box::new((*code).clone()), ahead),
        );
        self.queue.at(at.max(self.now), Event::Drive(number));
        number
    }

    fn add_process(&mut self, node: u32, process: ProcessId, code: Arc<JobCode>) -> u32 {
        let number = self.procs.len() as u32;
        let here = &mut self.nodes[node as usize];
        here.procs.insert(process.worker, number);
        here.codes.insert(process.worker, code.clone());
        self.by_id.insert(process, number);
        let epoch_ms = self.rng.below(1_000);
        self.procs.push(Proc::new(process, node, code, epoch_ms));
        number
    }

    /// Whether a driver's tasks have all ended.
    pub(crate) fn is_over(&self, driver: u32) -> bool {
        self.procs[driver as usize].program().is_none_or(|program| program.progress.is_over())
    }

    /// Drivers whose tasks have not all ended.
    pub(crate) fn open(&self) -> u32 {
        self.open
    }

    /// When a driver's last task ended.
    pub(crate) fn ended_at(&self, driver: u32) -> u64 {
        self.procs[driver as usize].program().map_or(0, |program| program.ended_at)
    }

    /// Something breaks at a time.
    pub(crate) fn plan_fault(&mut self, at: u64, fault: Fault) {
        self.queue.at(at, Event::Fault(fault));
    }

    /// A digest of every event so far.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// How many events there were.
    pub(crate) fn happened(&self) -> u64 {
        self.happened
    }

    /// Runs until `over` says so, looked at after each event that concerns a process, or until the time `until`. Whether it
    /// was over.
    pub(crate) fn run(&mut self, until: u64, mut over: impl FnMut(&mut Self) -> bool) -> bool {
        while self.queue.next_at().is_some_and(|at| at <= until) {
            let Some((at, event)) = self.queue.next() else { break };
            self.now = at;
            let concerns = self.note(&event);
            self.happen(event);
            if concerns && over(self) {
                return true;
            }
        }
        self.now = self.now.max(until);
        over(self)
    }

    /// Counts an event into the digest; whether it concerns a process.
    fn note(&mut self, event: &Event) -> bool {
        self.happened += 1;
        let (kind, who, also, concerns) = match event {
            Event::Local(node, _) => (1, *node, 0, false),
            Event::LocalPass(node) => (2, *node, 0, false),
            Event::LocalTimer(node, _) => (3, *node, 0, false),
            Event::Report(node) => (4, *node, 0, false),
            Event::Global(node, _) => (5, *node, 0, false),
            Event::GlobalPass(node) => (6, *node, 0, false),
            Event::Pool(node, _) => (7, *node, 0, false),
            Event::PoolLook(node) => (8, *node, 0, false),
            Event::Started(node, worker) | Event::Exited(node, worker) => (9, *node, worker.0, false),
            Event::Up(node, process, _) => (10, *node, *process, false),
            Event::Between { to, from, .. } => (11, *to, *from, false),
            Event::Down(process, _) => (12, *process, 0, false),
            Event::Heard(process, _) => (13, *process, 0, true),
            Event::Drive(process) => (14, *process, 0, true),
            Event::Ready(process, tasks) => (15, *process, tasks.len() as u32, true),
            Event::Tick(process) => (16, *process, 0, false),
            Event::Ran(process, done) => (17, *process, done.len() as u32, false),
            Event::Look => (18, 0, 0, false),
            Event::Fault(_) => (19, 0, 0, true),
            Event::Objects(node, _) => (20, *node, 0, false),
            Event::Rest(process, _) => (21, *process, 0, false),
            Event::Keeper(node, _) | Event::KeeperPass(node) | Event::KeeperLook(node) => (22, *node, 0, false),
            Event::GroupLook(node) => (23, *node, 0, false),
            Event::Script(process) | Event::NextGroup(process) => (24, *process, 0, true),
            Event::Renew(node) | Event::Members(node) => (25, *node, 0, false),
            Event::Line(process, line, _) => (26, *process, *line, false),
            Event::LineCalled(process, _) => (27, *process, 0, false),
            Event::LineDue(process) => (28, *process, 0, false),
        };
        for part in [self.now, kind, u64::from(who) << 32 | u64::from(also)] {
            self.digest = (self.digest ^ part).wrapping_mul(0x0100_0000_01b3);
        }
        concerns
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Local(node, event) => self.on_local(node, event),
            Event::LocalPass(node) => self.local_pass(node),
            Event::LocalTimer(node, number) => self.local_timer(node, number),
            Event::Report(node) => self.report(node),
            Event::Global(node, event) => self.on_global(node, event),
            Event::GlobalPass(node) => self.global_pass(node),
            Event::Pool(node, event) => self.on_pool(node, event),
            Event::PoolLook(node) => self.pool_look(node),
            Event::Started(node, worker) => self.on_started(node, worker),
            Event::Exited(node, worker) => self.on_exited(node, worker),
            Event::Up(node, process, up) => self.hear_process(node, process, up),
            Event::Between { to, from, conn, what } => self.hear_node(to, from, conn, what),
            Event::Down(process, down) => self.on_down(process, down),
            Event::Heard(process, down) => self.on_heard(process, down),
            Event::Drive(process) => self.drive(process),
            Event::Ready(process, tasks) => self.submit(process, &tasks),
            Event::Tick(process) => self.tick(process),
            Event::Ran(process, done) => self.on_ran(process, done),
            Event::Look => self.look(),
            Event::Objects(node, word) => self.on_objects(node, word),
            Event::Rest(process, begun) => self.look_at_rest(process, begun),
            Event::Keeper(node, word) => self.on_keeper(node, word),
            Event::KeeperPass(node) => self.keeper_pass(node, false),
            Event::KeeperLook(node) => self.keeper_pass(node, true),
            Event::GroupLook(node) => self.place_groups(node, true),
            Event::Script(process) => self.run_script(process),
            Event::NextGroup(process) => self.next_group(process),
            Event::Renew(node) => self.renew(node),
            Event::Members(node) => self.members(node),
            Event::Line(process, line, down) => self.on_line(process, line, down),
            Event::LineCalled(process, worker) => self.line_called(process, worker),
            Event::LineDue(process) => self.line_due(process),
            Event::Fault(fault) => self.on_fault(fault),
        }
    }

    /// What a node's clock shows.
    fn millis(&self, node: u32) -> Millis {
        Millis(self.nodes[node as usize].epoch_ms + self.now / crate::model::MS)
    }

    fn index(&self, node: NodeId) -> u32 {
        (node.0 - 1) as u32
    }

    fn post(&mut self, channel: Channel, from: u64, takes_ns: u64, event: Event) {
        self.queue.post(channel, from, takes_ns, (self.model.jitter, &mut self.rng), event);
    }

    /// All that a node has.
    fn resources(&self) -> ResourceSet {
        ResourceSet::new().with(actinic_gcs::resources::CPU, self.settings.cpus)
    }
}
