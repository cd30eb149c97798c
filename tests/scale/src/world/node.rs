//! A node's schedulers: what their shells do with what the cores decide.
//!
//! Owns: the mailboxes, timers and intervals of the local scheduler, the global scheduler and the worker pool, line by line
//! as in the shells.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use actinic_actors::{
    cluster::{
        actors::core::ActorCore,
        global::{
            core::{GlobalCore, GlobalEffect},
            GlobalEvent,
        },
        groups::core::GroupCore,
        local::{
            core::{LocalCore, LocalEffect},
            LocalEvent,
        },
        objects::{
            pull::{
                core::{PullCore, PullLimits},
                intake::Intake,
            },
            table::core::TableCore,
        },
        wire::{Doors, FromNode, JobCode, NodeFrame, NodeLoad, ProcessId, Spilled},
        workers::{core::PoolCore, PoolEvent},
    },
    placement::NodeResources,
};
use actinic_gcs::{resources::CPU, spec::NodeSpec, Millis, NodeId, ResourceSet, WorkerId};

use super::{
    actors::KeeperWord,
    events::{Channel, Event},
    Settings, World,
};
use crate::{meter::Core, model::MS, rng::Rng};

/// The arbiter of a node's connections.
pub(super) const MAIN: u8 = 0;
/// The arbiter of its schedulers.
pub(super) const SCHEDULING: u8 = 1;
/// The arbiter of its processes.
pub(super) const PROCESSES: u8 = 2;

/// Workers started ahead of need, as in `node/gate.rs`.
pub(super) const AHEAD_MAX: usize = 16;
/// Between two words on how the node is, as in `local.rs`.
pub(super) const REPORT_NS: u64 = 50 * MS;
/// Words that may be left out while nothing changes, as in `local.rs`.
const SAME_MAX: u32 = 20;
/// Between looks at workers that nobody needs, as in `workers.rs`.
pub(super) const LOOK_NS: u64 = 1_000 * MS;
/// Bytes of a part of an executable, as in `executable.rs`.
pub(super) const PART_BYTES: u64 = 4 << 20;

/// Bytes of a node's object store: enough for all that is simulated.
const STORE_BYTES: u64 = 256 << 30;
/// Chunks that a node fetches at a time, as in `objects/manager.rs`.
const CHUNKS_MAX: usize = 16;

/// Whom a node tells how it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoadTo {
    /// Every other node.
    All,
    /// The node whose global scheduler is asked.
    Scheduler,
}

/// One node.
pub(super) struct NodeSim {
    pub(super) id: NodeId,
    pub(super) spec: NodeSpec,
    pub(super) epoch_ms: u64,
    pub(super) alive: bool,
    pub(super) local: LocalCore,
    pub(super) global: Option<GlobalCore>,
    pub(super) pool: PoolCore,
    pub(super) hub: BTreeMap<u32, u32>,
    pub(super) procs: BTreeMap<WorkerId, u32>,
    pub(super) codes: BTreeMap<WorkerId, Arc<JobCode>>,
    pub(super) running: BTreeSet<WorkerId>,
    pub(super) drivers: u32,
    /// Whether the drivers' executable is here.
    pub(super) has_exe: bool,
    /// How much of it has come, while it does.
    pub(super) exe_arriving: Option<u64>,
    /// How fast objects come in.
    pub(super) intake: Intake,
    /// Until when its connections' arbiter and its network card are busy.
    pub(super) main_free: u64,
    pub(super) card_free: u64,
    /// Who keeps the actors of this node's drivers.
    pub(super) keeper: Option<ActorCore>,
    pub(super) keeper_pass: bool,
    pub(super) groups: GroupCore,
    pub(super) groups_look: bool,
    pub(super) table: TableCore,
    pub(super) pulls: PullCore,
    /// Until when its link is busy with chunks, out and in.
    pub(super) bulk_out_free: u64,
    pub(super) bulk_in_free: u64,
    local_pass: bool,
    global_pass: bool,
    timer: Option<(Millis, u64)>,
    timers: u64,
    told: NodeLoad,
    told_to: Option<u32>,
    turn: Option<u32>,
    same: u32,
    pub(super) workers: u32,
}

impl NodeSim {
    pub(super) fn new(at: u32, settings: &Settings, rng: &mut Rng) -> Self {
        let id = NodeId(u128::from(at) + 1);
        let resources = ResourceSet::new().with(CPU, settings.cpus);
        let spec = NodeSpec {
            id,
            address: format!("10.0.{}.{}:6379", at / 250, at % 250),
            hostname: format!("node{at}"),
            head: at == 0,
            resources: resources.clone(),
            labels: BTreeMap::new(),
            object_store_bytes: 0,
            shared_memory: settings.one_machine.then_some(1),
        };
        let mut global = (at < settings.globals).then(GlobalCore::new);
        global.iter_mut().for_each(|global| global.on_node(spec.clone()));
        Self {
            id,
            spec,
            epoch_ms: 10_000 + rng.below(10_000),
            alive: true,
            local: LocalCore::new(id, NodeResources::new(resources)),
            global,
            pool: PoolCore::new(id).with_hosts_max(settings.cpus as usize),
            hub: BTreeMap::new(),
            procs: BTreeMap::new(),
            codes: BTreeMap::new(),
            running: BTreeSet::new(),
            drivers: 0,
            has_exe: false,
            exe_arriving: None,
            intake: Intake::default(),
            main_free: 0,
            card_free: 0,
            keeper: (at < settings.keepers).then(|| ActorCore::new(id)),
            keeper_pass: false,
            groups: GroupCore::new(id),
            groups_look: false,
            table: TableCore::new(id),
            pulls: PullCore::new(PullLimits { admitted_bytes_max: STORE_BYTES / 2, chunks_max: CHUNKS_MAX }),
            bulk_out_free: 0,
            bulk_in_free: 0,
            local_pass: false,
            global_pass: false,
            timer: None,
            timers: 0,
            told: NodeLoad::default(),
            told_to: None,
            turn: None,
            same: 0,
            workers: 0,
        }
    }
}

impl World {
    // --- mailboxes -------------------------------------------------------------------------------------------------

    pub(super) fn mail(&mut self, node: u32, from: u8, to: u8, at: u64, event: Event) {
        let same = from == SCHEDULING && to != PROCESSES || from == to;
        let takes = if same { self.model.same_arbiter_ns } else { self.model.mail_ns };
        self.post(Channel::Mail(node, from, to), at, takes, event);
    }

    pub(super) fn tell_local_at(&mut self, node: u32, from: u8, at: u64, event: LocalEvent) {
        self.mail(node, from, SCHEDULING, at, Event::Local(node, event));
    }

    pub(super) fn tell_local(&mut self, node: u32, from: u8, event: LocalEvent) {
        self.tell_local_at(node, from, self.now, event);
    }

    pub(super) fn tell_global_at(&mut self, node: u32, from: u8, at: u64, event: GlobalEvent) {
        // A mailbox of its own on the schedulers' arbiter.
        self.mail(node, from, SCHEDULING + 8, at, Event::Global(node, event));
    }

    pub(super) fn tell_pool(&mut self, node: u32, from: u8, event: PoolEvent) {
        self.mail(node, from, PROCESSES, self.now, Event::Pool(node, event));
    }

    // --- the local scheduler ---------------------------------------------------------------------------------------

    pub(super) fn on_local(&mut self, at: u32, event: LocalEvent) {
        let now = self.millis(at);
        let node = &mut self.nodes[at as usize];
        if !node.alive {
            return;
        }
        let (core, told_to, mut effects) = (&mut node.local, &mut node.told_to, Vec::new());
        let mut ended = None;
        self.meter.timed(Core::Local, || match event {
            LocalEvent::Demand(owner, code, demand) => core.on_demand(now, owner, &code, *demand, &mut effects),
            LocalEvent::Place(placed) => core.on_place(now, *placed),
            LocalEvent::Return(lease) => core.on_return(lease, &mut effects),
            LocalEvent::Blocked(lease) => core.on_blocked(lease),
            LocalEvent::Unblocked(lease) => core.on_unblocked(lease),
            LocalEvent::Transfer(bytes, took_us) => core.on_transfer(bytes, took_us),
            LocalEvent::Group(from, frame) => core.on_group(now, from, *frame, &mut effects),
            LocalEvent::Worker(lease, worker) => core.on_worker(lease, worker, &mut effects),
            LocalEvent::NoWorker(lease, reason) => core.on_no_worker(lease, &reason, &mut effects),
            LocalEvent::PeerUnfit(peer, job) => core.on_peer_unfit(now, peer, job),
            LocalEvent::Unfit(job, why) => core.on_unfit(job, why),
            LocalEvent::Gone(process) => core.on_gone(process, &mut effects),
            LocalEvent::Ended(process, reason) => {
                core.on_gone(process, &mut effects);
                ended = Some((process, reason));
            }
            LocalEvent::Neighbour(node) => core.on_neighbour(node),
            LocalEvent::Stranger(node) => core.on_stranger(node),
            LocalEvent::Peer(peer, has) => {
                core.on_peer(peer, has);
                *told_to = None;
            }
            LocalEvent::PeerGone(node) => core.on_peer_gone(now, node, &mut effects),
        });
        self.local_effects(at, effects);
        if let Some((process, reason)) = ended {
            self.tell_of_end(at, process, reason);
        }
        if !std::mem::replace(&mut self.nodes[at as usize].local_pass, true) {
            self.mail(at, SCHEDULING, SCHEDULING, self.now, Event::LocalPass(at));
        }
        self.check_node(at);
    }

    pub(super) fn local_pass(&mut self, at: u32) {
        let now = self.millis(at);
        let node = &mut self.nodes[at as usize];
        if !node.alive {
            return;
        }
        node.local_pass = false;
        let (core, mut effects) = (&mut node.local, Vec::new());
        self.meter.timed(Core::Local, || core.dispatch(now, &mut effects));
        self.local_effects(at, effects);
        self.check_node(at);
    }

    fn local_effects(&mut self, at: u32, effects: Vec<LocalEffect>) {
        for effect in effects {
            match effect {
                LocalEffect::NeedWorker { lease, purpose, code } => {
                    let when = self.now + self.model.each_lease_ns;
                    self.mail(at, SCHEDULING, PROCESSES, when, Event::Pool(at, PoolEvent::Need(lease, purpose, code)));
                }
                LocalEffect::Ended(lease) => self.tell_pool(at, SCHEDULING, PoolEvent::Ended(lease)),
                LocalEffect::Grant { owner, class, lease, worker, gpus } => {
                    self.to_process(
                        at,
                        owner,
                        FromNode::Granted { class, lease, worker, doors: Doors::default(), gpus },
                    );
                }
                LocalEffect::Recall(owner, lease) => self.to_process(at, owner, FromNode::Recall(lease)),
                LocalEffect::Short(owner, class, lacking) => {
                    let node = self.nodes[at as usize].id;
                    self.to_process(at, owner, FromNode::Short { class, node, lacking });
                }
                LocalEffect::Kill(worker, _) => self.kill(at, worker.worker),
                LocalEffect::Unfit(node, job) => self.to_node(at, node, NodeFrame::Unfit(job)),
                LocalEffect::Infeasible(owner, class, reason) => {
                    self.to_process(at, owner, FromNode::Infeasible { class, reason });
                }
                LocalEffect::Spill(spilled) => self.spill(at, spilled),
                LocalEffect::Group(node, frame) => self.send_group_frame(at, node, frame),
                LocalEffect::Place(node, placed) => self.to_node(at, node, NodeFrame::Place(placed)),
            }
        }
        self.arm(at);
    }

    /// The node whose global scheduler is asked: the head, as far as it is connected, else this one.
    fn scheduler_of(&self, at: u32) -> u32 {
        if at == 0 || self.nodes[at as usize].hub.contains_key(&0) {
            0
        } else {
            at
        }
    }

    fn spill(&mut self, at: u32, spilled: Box<Spilled>) {
        match self.scheduler_of(at) {
            scheduler if scheduler == at => {
                self.tell_global_at(at, SCHEDULING, self.now, GlobalEvent::Spilled(spilled));
            }
            scheduler => {
                let node = self.nodes[scheduler as usize].id;
                self.to_node(at, node, NodeFrame::Spilled(spilled));
            }
        }
    }

    fn arm(&mut self, at: u32) {
        let now = self.millis(at);
        let node = &mut self.nodes[at as usize];
        let core = &node.local;
        let Some(deadline) = self.meter.timed(Core::Local, || core.deadline()) else { return };
        if node.timer.is_some_and(|(due, _)| due <= deadline) {
            return;
        }
        node.timers += 1;
        node.timer = Some((deadline, node.timers));
        let wait = deadline.0.saturating_sub(now.0).max(5) * MS;
        self.queue.at(self.now + wait, Event::LocalTimer(at, node.timers));
    }

    pub(super) fn local_timer(&mut self, at: u32, number: u64) {
        let node = &mut self.nodes[at as usize];
        if node.timer.is_some_and(|(_, armed)| armed == number) {
            node.timer = None;
            self.local_pass(at);
        }
    }

    pub(super) fn report(&mut self, at: u32) {
        let to = self.scheduler_of(at);
        let all = self.settings.load_to == LoadTo::All;
        let node = &mut self.nodes[at as usize];
        if !node.alive {
            return;
        }
        self.queue.at(self.now + REPORT_NS, Event::Report(at));
        let core = &node.local;
        let load = self.meter.timed(Core::Local, || core.load(node.workers, node.told.revision));
        let known = load == node.told && (all || node.told_to == Some(to));
        if known && node.same < SAME_MAX {
            node.same += 1;
        } else {
            (node.same, node.told_to) = (0, Some(to));
            node.told = NodeLoad { revision: load.revision + 1, ..load };
            let (told, id) = (node.told.clone(), node.id);
            self.tell_global_at(at, SCHEDULING, self.now, GlobalEvent::Load(id, told.clone()));
            match all {
                true => return self.to_all_nodes(at, &NodeFrame::Load(told)),
                false => self.to_node(at, self.nodes[to as usize].id, NodeFrame::Load(told)),
            }
        }
        let node = &mut self.nodes[at as usize];
        let after = node.turn.and_then(|turn| node.hub.range(turn + 1..).next());
        node.turn = after.or_else(|| node.hub.iter().next()).map(|(other, _)| *other);
        if let Some(other) = node.turn.filter(|other| *other != to && !all) {
            let told = node.told.clone();
            self.to_node(at, self.nodes[other as usize].id, NodeFrame::Load(told));
        }
    }

    /// As `LocalScheduler::tell_of_end`.
    fn tell_of_end(&mut self, at: u32, process: ProcessId, reason: String) {
        self.keep(at, KeeperWord::Gone(process, reason.clone()));
        self.tell_global_at(at, SCHEDULING, self.now, GlobalEvent::Gone(process));
        self.to_all_processes(at, &FromNode::Gone { process, reason: reason.clone() });
        self.to_all_nodes(at, &NodeFrame::Gone { process, reason });
    }

    // --- the global scheduler --------------------------------------------------------------------------------------

    pub(super) fn on_global(&mut self, at: u32, event: GlobalEvent) {
        let now = self.millis(at);
        let node = &mut self.nodes[at as usize];
        let Some(core) = node.global.as_mut().filter(|_| node.alive) else { return };
        if matches!(event, GlobalEvent::GroupAsk(..) | GlobalEvent::GroupPrepared { .. } | GlobalEvent::JobGone(_)) {
            self.on_group(at, event);
            return self.global_pass_soon(at);
        }
        self.meter.timed(Core::Global, || match event {
            GlobalEvent::Spilled(spilled) => core.on_spilled(now, *spilled),
            GlobalEvent::Load(node, load) => core.on_load(node, load),
            GlobalEvent::Node(spec) => core.on_node(*spec),
            GlobalEvent::NodeGone(node) => core.on_node_gone(node),
            GlobalEvent::Gone(process) => core.on_gone(process),
            _ => {}
        });
        self.global_pass_soon(at);
    }

    fn global_pass_soon(&mut self, at: u32) {
        if !std::mem::replace(&mut self.nodes[at as usize].global_pass, true) {
            self.mail(at, SCHEDULING, SCHEDULING + 8, self.now, Event::GlobalPass(at));
        }
    }

    pub(super) fn global_pass(&mut self, at: u32) {
        let now = self.millis(at);
        let node = &mut self.nodes[at as usize];
        node.global_pass = false;
        let Some(core) = node.global.as_mut().filter(|_| node.alive) else { return };
        let (me, mut effects) = (node.id, Vec::new());
        self.meter.timed(Core::Global, || core.place(now, &mut effects));
        for effect in effects {
            match effect {
                GlobalEffect::Place(node, placed) if node == me => {
                    self.tell_local(at, SCHEDULING, LocalEvent::Place(placed));
                }
                GlobalEffect::Place(node, placed) => self.to_node(at, node, NodeFrame::Place(placed)),
                GlobalEffect::Infeasible(owner, class, reason) => {
                    self.to_process(at, owner, FromNode::Infeasible { class, reason });
                }
                GlobalEffect::Hopeless(owner, class, reason) => {
                    self.to_process(at, owner, FromNode::Hopeless { class, reason });
                }
            }
        }
        self.place_groups(at, false);
    }
}
