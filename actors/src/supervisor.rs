//! The `NodeSupervisor`: the Actix actor in which the [supervision core](crate::supervision) decides.
//!
//! Owns: carrying out the core's effects on the node's actors, timers for back-off, the dead letters, and those who watch
//! an actor's death. It decides nothing itself.

use std::{
    collections::BTreeMap,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc, Arc,
    },
    time::{Duration, Instant},
};

use actinic_gcs::ActorId;
use actix::prelude::*;
use parking_lot::Mutex;

use crate::{
    ingress::{Ingress, Ring},
    node::Node,
    options::{ActorOptions, RESTARTS_UNLIMITED},
    panics,
    supervision::{
        ActorSpec, DeadLetter, DeadLetterReason, DeadLetters, Effect, Exit, RestartLimit, SupervisionCore,
        SupervisionError, SupervisorId, SupervisorSpec,
    },
    task::TaskHead,
    user::{actor::Restart, AnyActor},
};

/// Dead letters kept to be seen.
const DEAD_LETTERS_MAX: usize = 1_024;

type OnDeath = Box<dyn FnOnce(Exit) + Send>;

enum Event {
    Added(ActorId, Option<SupervisorId>, Box<ActorSpec>),
    Exited(ActorId, Exit),
    Alive(ActorId),
    Kill(ActorId, String),
    End(ActorId, String),
    Watch(ActorId, OnDeath),
    Link(ActorId, ActorId, bool),
    AddSupervisor(SupervisorId, SupervisorSpec, mpsc::SyncSender<Result<SupervisorId, SupervisionError>>),
    StopSupervisor(SupervisorId),
}

/// The way to the node's supervisor.
#[derive(Default)]
pub struct SupervisorPort {
    ingress: Ingress<Event>,
    letters: Mutex<Option<DeadLetters>>,
    restarts: AtomicU64,
}

impl SupervisorPort {
    /// An actor exists.
    pub fn added(&self, actor: ActorId, options: &ActorOptions) {
        let limit = RestartLimit { max_restarts: options.max_restarts, window: options.restart_window };
        let policy = options.restart_policy;
        let spec = ActorSpec { policy, limit, backoff: options.backoff, trap_exits: false };
        self.ingress.push(Event::Added(actor, options.supervisor.map(SupervisorId), Box::new(spec)));
    }

    /// An actor's state is gone.
    pub fn exited(&self, actor: ActorId, exit: Exit) {
        self.ingress.push(Event::Exited(actor, exit));
    }

    /// An actor's state has been rebuilt.
    pub fn alive(&self, actor: ActorId) {
        self.ingress.push(Event::Alive(actor));
    }

    /// An actor has answered all its calls and nobody can call it any more.
    pub fn left(&self, actor: ActorId, reason: &str) {
        self.ingress.push(Event::End(actor, reason.to_owned()));
    }

    /// An actor is to be killed, for this reason.
    pub fn ended(&self, actor: ActorId, reason: &str) {
        self.ingress.push(Event::Kill(actor, reason.to_owned()));
    }

    /// Calls `on_death` once the actor is dead for good.
    pub fn watch(&self, actor: ActorId, on_death: OnDeath) {
        self.ingress.push(Event::Watch(actor, on_death));
    }

    /// Links two actors, or undoes that: if one fails, the other is taken down too.
    pub fn link(&self, one: ActorId, other: ActorId, linked: bool) {
        self.ingress.push(Event::Link(one, other, linked));
    }

    /// Adds a supervisor.
    ///
    /// # Errors
    /// The core's, if the parent is unknown or closing, or the tree too deep.
    pub fn add_supervisor(&self, parent: SupervisorId, spec: SupervisorSpec) -> Result<SupervisorId, SupervisionError> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.ingress.push(Event::AddSupervisor(parent, spec, reply));
        answer.recv().unwrap_or(Err(SupervisionError::Closing(parent)))
    }

    /// Ends a supervisor and all below it.
    pub fn stop_supervisor(&self, supervisor: SupervisorId) {
        self.ingress.push(Event::StopSupervisor(supervisor));
    }

    /// A call could not be delivered.
    pub fn dead_letter(&self, actor: ActorId, call: &TaskHead, reason: DeadLetterReason) {
        let mut letters = self.letters.lock();
        let letters = letters.get_or_insert_with(|| DeadLetters::new(DEAD_LETTERS_MAX));
        letters.push(DeadLetter { actor, message: call.name.to_owned(), caller: call.parent.to_string(), reason });
    }

    /// The latest dead letters, and how many there were in all.
    #[must_use]
    pub fn dead_letters(&self) -> (Vec<DeadLetter>, u64) {
        let letters = self.letters.lock();
        letters.as_ref().map_or((Vec::new(), 0), |letters| (letters.iter().cloned().collect(), letters.total()))
    }

    /// Restarts of actors so far.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    pub(crate) fn disconnect(&self) {
        self.ingress.disconnect();
    }
}

/// The supervisor's Actix actor.
pub struct NodeSupervisor {
    node: Arc<Node>,
    core: SupervisionCore,
    began: Instant,
    watchers: BTreeMap<ActorId, OnDeath>,
    next_watcher: u128,
    kill_reasons: BTreeMap<ActorId, String>,
    effects: Vec<Effect>,
}

impl NodeSupervisor {
    /// A supervisor for the actors of `node`.
    #[must_use]
    pub fn new(node: Arc<Node>) -> Self {
        let root = SupervisorSpec { limit: RestartLimit::UNLIMITED, ..SupervisorSpec::default() };
        let core = SupervisionCore::new(root, node.config.seed);
        Self {
            node,
            core,
            began: Instant::now(),
            watchers: BTreeMap::new(),
            next_watcher: 0,
            kill_reasons: BTreeMap::new(),
            effects: Vec::new(),
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn on_event(&mut self, event: Event) {
        let now = self.now();
        let effects = &mut self.effects;
        match event {
            Event::Added(actor, supervisor, spec) => {
                if let Err(error) = self.core.add_child(actor, supervisor, Arc::from(spec)) {
                    tracing::error!(%error, "an actor cannot be supervised as asked, and ends");
                    if let Some(cell) = self.node.actors.get(actor) {
                        let exit = Exit::Failed(error.to_string());
                        bury(&self.node, &cell, &error.to_string(), exit);
                    }
                }
            }
            Event::Exited(actor, exit) => self.core.on_exit(now, actor, exit, effects),
            Event::Alive(actor) => self.core.on_restarted(actor),
            Event::Kill(actor, reason) => {
                self.kill_reasons.insert(actor, reason);
                if !self.core.kill(actor, effects) {
                    self.kill_reasons.remove(&actor);
                }
            }
            Event::End(actor, reason) => {
                self.kill_reasons.insert(actor, reason);
                if !self.core.end(actor, effects) {
                    self.kill_reasons.remove(&actor);
                }
            }
            Event::Watch(actor, on_death) => self.watch(actor, on_death),
            Event::Link(one, other, true) => {
                if let Err(error) = self.core.link(one, other) {
                    tracing::warn!(%error, "actors cannot be linked");
                }
            }
            Event::Link(one, other, false) => {
                self.core.unlink(one, other);
            }
            Event::AddSupervisor(parent, spec, reply) => {
                let _ = reply.send(self.core.add_supervisor(parent, spec));
            }
            Event::StopSupervisor(supervisor) => {
                if let Err(error) = self.core.stop_supervisor(supervisor, effects) {
                    tracing::warn!(%error, "a supervisor cannot be stopped");
                }
            }
        }
    }

    fn watch(&mut self, actor: ActorId, on_death: OnDeath) {
        self.next_watcher += 1;
        let watcher = ActorId(self.next_watcher);
        self.watchers.insert(watcher, on_death);
        if self.core.watch(watcher, actor, &mut self.effects).is_err() {
            // Its death was so long ago that the core has forgotten it.
            self.tell(watcher, Exit::Normal);
        }
    }

    fn tell(&mut self, watcher: ActorId, exit: Exit) {
        if let Some(on_death) = self.watchers.remove(&watcher) {
            // User code, on this actor's own thread.
            if let Err(panic) = panics::catch(|| on_death(exit)) {
                tracing::error!(at = %panic.location, message = %panic.message, "a callback on an actor's death panicked");
            }
        }
    }

    fn carry_out(&mut self, ctx: &mut Context<Self>) {
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                self.carry_out_one(effect, ctx);
            }
        }
    }

    fn carry_out_one(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::Stop { actor } => {
                if let Some(cell) = self.node.actors.get(actor) {
                    cell.take_down();
                }
                let now = self.now();
                self.core.on_exit(now, actor, Exit::Killed, &mut self.effects);
            }
            Effect::Restart { actor, .. } => {
                self.node.supervisor.restarts.fetch_add(1, Ordering::Relaxed);
                match self.node.keeper_of(actor) {
                    Some(cluster) => cluster.hosted_restarting(actor),
                    None => self.node.gcs.actor_restarting(actor),
                }
                match self.node.actors.get(actor).and_then(|cell| cell.address()) {
                    Some(address) => address.do_send(Restart),
                    None => {
                        let now = self.now();
                        let gone = Exit::Failed("it is gone".to_owned());
                        self.core.on_exit(now, actor, gone, &mut self.effects);
                    }
                }
            }
            Effect::Dead { actor, cause, exit } => {
                let reason = self.kill_reasons.remove(&actor).unwrap_or_else(|| match &exit {
                    Exit::Failed(why) => format!("{why}; {cause}"),
                    Exit::Normal | Exit::Killed => cause.to_string(),
                });
                if let Some(cell) = self.node.actors.get(actor) {
                    bury(&self.node, &cell, &reason, exit);
                }
            }
            Effect::Notify { watcher, exit, .. } => self.tell(watcher, exit),
            Effect::SetTimer { at } => {
                let wait = at.saturating_sub(self.now());
                ctx.run_later(wait, |this, ctx| {
                    let now = this.now();
                    this.core.on_timer(now, &mut this.effects);
                    this.carry_out(ctx);
                });
            }
            Effect::Escalated { supervisor, parent } => {
                tracing::warn!(%supervisor, %parent, "a supervisor is over its restart limit and fails its parent");
            }
            Effect::RootFailed => tracing::error!("the root supervisor is over its restart limit: all actors end"),
            Effect::LinkFailed { .. } | Effect::SupervisorGone { .. } => {}
        }
    }
}

fn bury(node: &Arc<Node>, cell: &Arc<dyn AnyActor>, reason: &str, exit: Exit) {
    let options = cell.options();
    let namespace = options.namespace.as_deref().unwrap_or(&node.config.namespace);
    let name = options.name.as_deref().map(|name| (namespace, name));
    // The record first: whoever finds the name free here finds it free there.
    let keeper = node.keeper_of(cell.id());
    if keeper.is_none() {
        node.gcs.actor_dead(cell.id(), reason);
    }
    node.actors.remove(cell.id(), name);
    cell.clone().die(reason);
    if let Some(cluster) = keeper {
        // Its calls have been answered: callers who hear of the end before would take them for lost.
        cluster.hosted_down(cell.id(), reason, exit);
    }
}

/// [`RESTARTS_UNLIMITED`] as Ray writes it.
#[must_use]
pub fn restart_limit(max_restarts: i64) -> Option<u32> {
    if max_restarts == RESTARTS_UNLIMITED {
        None
    } else {
        Some(u32::try_from(max_restarts.max(0)).unwrap_or(u32::MAX))
    }
}

impl Actor for NodeSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.node.supervisor.ingress.connect(ctx.address().recipient());
    }
}

impl Handler<Ring> for NodeSupervisor {
    type Result = ();

    fn handle(&mut self, _: Ring, ctx: &mut Context<Self>) {
        let node = self.node.clone();
        node.supervisor.ingress.drain(|event| {
            self.on_event(event);
            self.carry_out(ctx);
        });
    }
}
