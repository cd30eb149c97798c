//! Actors: the node that keeps them, and workers as their hosts.
//!
//! Owns: what `cluster/actors.rs` does with what `ActorCore` decides, what `core_worker/actors.rs` says as a host, and a driver's
//! script: it makes actors, and ends each once it is up. Not simulated: calls, and what an actor does.

use std::sync::Arc;

use actinic_actors::{
    cluster::{
        actors::core::ActorEffect,
        local::LocalEvent,
        wire::{ActorWhere, ActorWord, FromNode, JobCode, NewActor, NodeFrame, ProcessId, ToNode},
    },
    options::ActorOptions,
    supervision::{Backoff, Exit, RestartPolicy},
};
use actinic_gcs::{
    spec::{ActorSpec, CheckpointState, Lifetime, Limit},
    tables::{ActorWrite, HistoryWrite, IfExists},
    ActorId, FunctionId, JobId, ResourceSet, TaskId,
};

use super::{
    events::{Event, Up},
    node::{MAIN, SCHEDULING},
    World,
};
use crate::{meter::Core, model::MS};

/// Between looks at what waits for time, as in `cluster/actors.rs`.
const LOOK_NS: u64 = 20 * MS;
/// A mailbox of its own on the schedulers' arbiter.
const KEEPER: u8 = SCHEDULING + 16;
/// Actors that a script makes at a time.
const CHUNK: u32 = 32;

/// What the keeper of actors is told.
#[derive(Debug)]
pub(crate) enum KeeperWord {
    /// A process says something of an actor.
    Word(ProcessId, Option<Arc<JobCode>>, ActorWord),
    /// Its node's or another node's scheduler says something.
    Heard(FromNode),
    /// A process has ended.
    Gone(ProcessId, String),
}

/// How far a driver's script has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Script {
    /// Actors that are to be made yet.
    pub(crate) to_make: u32,
    /// Actors that have been up.
    pub(crate) up: u32,
    /// Actors that have ended.
    pub(crate) ended: u32,
}

fn actor_of(job: JobId, number: u32, owner: ProcessId) -> NewActor {
    let task = TaskId::driver(job).child(u64::from(number));
    let spec = ActorSpec {
        id: ActorId(u128::from(job.0) << 32 | u128::from(number)),
        class: FunctionId(1),
        class_name: "simulated::Counter".into(),
        creation_task: task,
        name: None,
        namespace: "default".into(),
        lifetime: Lifetime::Job(job),
        max_restarts: Limit::AtMost(0),
        max_task_retries: Limit::AtMost(0),
        max_concurrency: 1,
        max_pending_calls: Limit::Unlimited,
        checkpoint_every: None,
        resources: ResourceSet::new(),
        owner: None,
    };
    let options = ActorOptions {
        max_restarts: Some(0),
        restart_policy: RestartPolicy::OnFailure,
        backoff: Backoff::NONE,
        max_pending_calls: 10,
        ..ActorOptions::default()
    };
    NewActor { spec, owner, parent: TaskId::driver(job), options }
}

impl World {
    // --- a driver ----------------------------------------------------------------------------------------------------

    /// A driver makes so many actors from a time on, and ends each once it is up.
    pub(crate) fn script_actors(&mut self, driver: u32, count: u32, at: u64) {
        self.procs[driver as usize].script.to_make = count;
        self.queue.at(at, Event::Script(driver));
    }

    /// How far that is.
    pub(crate) fn script(&self, driver: u32) -> Script {
        self.procs[driver as usize].script
    }

    pub(super) fn run_script(&mut self, process: u32) {
        let proc = &mut self.procs[process as usize];
        let (me, job, left) = (proc.id, proc.code.job, proc.script.to_make);
        let count = left.min(CHUNK);
        proc.script.to_make -= count;
        for number in left - count..left {
            let new = Box::new(actor_of(job, number, me));
            let actor = new.spec.id;
            self.tell_keeper(process, ActorWord::Declare(new));
            self.tell_keeper(process, ActorWord::Construct { actor, args: Vec::new() });
        }
        if left > count {
            self.queue.at(self.now + u64::from(count) * self.model.submit_ns, Event::Script(process));
        }
    }

    /// The keeper is the node of the actors' owner.
    fn tell_keeper(&mut self, process: u32, word: ActorWord) {
        let keeper = self.procs[process as usize].code.driver.node;
        self.send_up(process, Up::Frame(ToNode::Actor { keeper, word }));
    }

    /// What a driver or a host hears.
    pub(super) fn hear_of_actor(&mut self, process: u32, frame: FromNode) {
        match frame {
            FromNode::Host(hosted) => {
                self.tell_keeper(process, ActorWord::Up(hosted.new.spec.id, hosted.lease));
                self.procs[process as usize].hosted.insert(hosted.new.spec.id, hosted.lease);
            }
            FromNode::EndActor { actor, reason, .. } => {
                let Some(lease) = self.procs[process as usize].hosted.remove(&actor) else { return };
                self.tell_keeper(process, ActorWord::Down { actor, lease, reason, exit: Exit::Normal });
            }
            FromNode::Actor { actor, place: ActorWhere::Alive { .. } } => {
                self.procs[process as usize].script.up += 1;
                let reason = "no handle to it was left".to_owned();
                self.tell_keeper(process, ActorWord::End { actor, reason, drain: true });
            }
            FromNode::Actor { place: ActorWhere::Dead { .. }, .. } => self.procs[process as usize].script.ended += 1,
            _ => {}
        }
    }

    // --- the keeper --------------------------------------------------------------------------------------------------

    /// As `ProcessEars::to_keeper`.
    pub(super) fn word_for_keeper(&mut self, at: u32, process: u32, keeper: actinic_gcs::NodeId, word: ActorWord) {
        let here = &self.procs[process as usize];
        let (from, code) = (here.id, matches!(word, ActorWord::Declare(_)).then(|| here.code.clone()));
        if keeper == self.nodes[at as usize].id {
            return self.keep(at, KeeperWord::Word(from, code, word));
        }
        let code = code.map(|code| Box::new((*code).clone()));
        self.to_node(at, keeper, NodeFrame::Actor { from, code, word });
    }

    pub(super) fn keep(&mut self, at: u32, word: KeeperWord) {
        if self.nodes[at as usize].keeper.is_some() {
            self.mail(at, MAIN, KEEPER, self.now, Event::Keeper(at, word));
        }
    }

    pub(super) fn on_keeper(&mut self, at: u32, word: KeeperWord) {
        let now = self.millis(at);
        let node = &mut self.nodes[at as usize];
        let Some(core) = node.keeper.as_mut().filter(|_| node.alive) else { return };
        let mut effects = Vec::new();
        self.meter.timed(Core::Actors, || match word {
            KeeperWord::Gone(process, reason) => core.on_gone(now, process, &reason, &mut effects),
            KeeperWord::Heard(FromNode::Granted { class, lease, worker, doors, gpus }) => {
                core.on_granted(class, lease, worker, doors, gpus, &mut effects);
            }
            KeeperWord::Heard(FromNode::Infeasible { class, reason }) => {
                core.on_infeasible(class, &reason, &mut effects);
            }
            KeeperWord::Heard(_) => {}
            KeeperWord::Word(from, code, word) => match word {
                ActorWord::Declare(new) => {
                    code.iter().for_each(|code| {
                        core.on_declare(from, (*new).clone(), (**code).clone(), &mut effects);
                    });
                }
                ActorWord::Construct { actor, args } => core.on_construct(actor, args, &mut effects),
                ActorWord::Watch(actor) => core.on_watch(now, actor, from, &mut effects),
                ActorWord::End { actor, reason, drain } => core.on_end(actor, &reason, drain, &mut effects),
                ActorWord::Up(actor, lease) => core.on_up(actor, lease, &mut effects),
                ActorWord::Restarting(actor, lease) => core.on_restarting(now, actor, lease, &mut effects),
                ActorWord::Down { actor, lease, reason, exit } => {
                    core.on_down(actor, lease, &reason, exit, &mut effects);
                }
                ActorWord::Checkpoint { actor, lease, state, .. } => {
                    core.on_checkpoint(actor, lease, state, &mut effects);
                }
            },
        });
        self.keeper_effects(at, effects);
        if !std::mem::replace(&mut self.nodes[at as usize].keeper_pass, true) {
            self.mail(at, KEEPER, KEEPER, self.now, Event::KeeperPass(at));
        }
    }

    /// Places what waits; every while, what waits for time is looked at as well.
    pub(super) fn keeper_pass(&mut self, at: u32, is_look: bool) {
        let now = self.millis(at);
        let node = &mut self.nodes[at as usize];
        let Some(core) = node.keeper.as_mut().filter(|_| node.alive) else { return };
        let mut effects = Vec::new();
        if is_look {
            self.queue.at(self.now + LOOK_NS, Event::KeeperLook(at));
        } else {
            node.keeper_pass = false;
        }
        self.meter.timed(Core::Actors, || match is_look {
            true if core.waits_for_time() => core.on_time(now, &mut effects),
            true => {}
            false => core.place(now, &mut effects),
        });
        if self.settings.check {
            core.sanity_check();
        }
        self.keeper_effects(at, effects);
    }

    fn keeper_effects(&mut self, at: u32, effects: Vec<ActorEffect>) {
        let me = self.nodes[at as usize].id;
        for effect in effects {
            match effect {
                ActorEffect::Demand(code, demand) => {
                    let demand = LocalEvent::Demand(ProcessId::manager(me), Arc::from(code), Box::new(demand));
                    self.tell_local(at, SCHEDULING, demand);
                }
                ActorEffect::Return(lease) if lease.node == me => {
                    self.tell_local(at, SCHEDULING, LocalEvent::Return(lease));
                }
                ActorEffect::Return(lease) => self.to_node(at, lease.node, NodeFrame::Return(lease)),
                ActorEffect::Host(host, hosted) => self.to_process(at, host, FromNode::Host(hosted)),
                ActorEffect::End { host, actor, reason, drain } => {
                    self.to_process(at, host, FromNode::EndActor { actor, reason, drain });
                }
                ActorEffect::Tell(to, actor, place) => self.to_process(at, to, FromNode::Actor { actor, place }),
                ActorEffect::Register(new) => {
                    let spec = Box::new(new.spec.clone());
                    self.record(ActorWrite::Register { spec, if_exists: IfExists::Fail });
                }
                ActorEffect::Step(actor, incarnation, step) => {
                    self.record(ActorWrite::Step { actor, incarnation, step });
                }
                ActorEffect::Save(actor, incarnation, state) => {
                    let state = CheckpointState::Inline(state);
                    self.record(HistoryWrite::Checkpoint { actor, incarnation, through: 0, state });
                }
            }
        }
    }
}
