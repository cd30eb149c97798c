//! The supervision core: events in, effects out.
//!
//! Owns: the order in which things happen. The shell calls one method for each event and carries out the effects in the
//! order given. Does not own: how an actor is stopped or started.
//!
//! Methods, in groups: *getters* (`restarts`, `is_alive`, `exit_of`, `next_timer`), *membership* (`add_supervisor`,
//! `add_child`, `remove`, `link`, `watch` and their opposites), *events* (`on_exit`, `on_restarted`, `on_timer`) and
//! *commands* (`kill`, `stop_supervisor`).
//!
//! Cost: each event is O(log n) in the number of actors, plus what it stops, restarts or tells. An idle actor costs one
//! table entry; it shares its spec with its class.
//!
//! **Links and watches.** A link fires each time its actor fails, and when it dies abnormally while down; the actor at
//! the other end goes down with it, counts as failed and is treated by its own policy, or, trapping exits, is told. A
//! stop that a supervisor ordered for a restart or in good order is no failure and fires nothing. A watch tells of death
//! for good, once. Both end with either actor.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use actinic_gcs::ActorId;

use super::{
    effect::{Cause, Effect, SupervisionError, SupervisorId},
    links::Pairs,
    policy::{ActorSpec, Exit, SupervisorSpec},
    stop::Graveyard,
    tree::{Fate, Life, Phase, Tree, DEPTH_MAX},
};

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// One actor's restart.
    Actor(ActorId),
    /// A group's restart.
    Round(SupervisorId),
}

/// A supervision tree, its links and its watches.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use actinic_gcs::ActorId;
/// # use actinic_actors::supervision::{ActorSpec, Effect, Exit, SupervisionCore, SupervisorSpec};
/// let (actor, mut effects) = (ActorId(1), Vec::new());
/// let mut core = SupervisionCore::new(SupervisorSpec::default(), 42);
/// core.add_child(actor, None, Arc::new(ActorSpec::default()))?;
/// core.on_exit(Duration::ZERO, actor, Exit::Failed("it panicked".to_owned()), &mut effects);
/// let Some(Effect::SetTimer { at }) = effects.pop() else { panic!("back-off needs a timer") };
/// core.on_timer(at, &mut effects);
/// assert_eq!(effects, [Effect::Restart { actor, at }]);
/// core.on_restarted(actor);
/// assert_eq!(core.restarts(actor), Some(1));
/// # Ok::<_, actinic_actors::supervision::SupervisionError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SupervisionCore {
    pub(super) seed: u64,
    pub(super) tree: Tree,
    pub(super) links: Pairs,
    /// Watched first, watcher second.
    pub(super) watches: Pairs,
    pub(super) graves: Graveyard,
    pub(super) timers: BTreeSet<(Duration, Timer)>,
    armed: Option<Duration>,
}

impl SupervisionCore {
    /// How many dead actors are remembered; older ones are unknown.
    pub const GRAVES_MAX: usize = 65_536;

    /// An empty tree. The root always restarts one for one, each actor within its own limit; `root.limit` is how many
    /// failures of *supervisors* directly below it the root bears. `seed` is where jitter comes from.
    #[must_use]
    pub fn new(root: SupervisorSpec, seed: u64) -> Self {
        Self {
            seed,
            tree: Tree::new(root),
            links: Pairs::default(),
            watches: Pairs::default(),
            graves: Graveyard::default(),
            timers: BTreeSet::new(),
            armed: None,
        }
    }

    /// How often `actor` was restarted, alone or with a group; `None` if it is unknown.
    #[must_use]
    pub fn restarts(&self, actor: ActorId) -> Option<u32> {
        let alive = self.tree.members.get(&actor).map(|member| member.restarts);
        alive.or_else(|| self.graves.find(actor).map(|grave| grave.restarts))
    }

    /// Whether `actor` is supervised and not dead. It may be down, to be restarted.
    #[must_use]
    pub fn is_alive(&self, actor: ActorId) -> bool {
        self.tree.members.contains_key(&actor)
    }

    /// How `actor` ended, if it is dead and remembered.
    #[must_use]
    pub fn exit_of(&self, actor: ActorId) -> Option<&Exit> {
        self.graves.find(actor).map(|grave| &grave.exit)
    }

    /// How many actors are alive.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tree.members.len()
    }

    /// Whether no actor is alive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tree.members.is_empty()
    }

    /// When `on_timer` is wanted next.
    #[must_use]
    pub fn next_timer(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Adds a supervisor as the last child of `parent`.
    ///
    /// # Errors
    /// If there is no such parent, it is being stopped, or the tree would become too deep.
    pub fn add_supervisor(
        &mut self,
        parent: SupervisorId,
        spec: SupervisorSpec,
    ) -> Result<SupervisorId, SupervisionError> {
        self.open(parent)?;
        if self.tree.branches[&parent].depth >= DEPTH_MAX {
            return Err(SupervisionError::TooDeep { parent, max: DEPTH_MAX });
        }
        Ok(self.tree.add_branch(parent, spec))
    }

    /// Adds a running actor as the last child of `supervisor`, by default of the root.
    ///
    /// # Errors
    /// If the actor is known already, dead or alive, or there is no such supervisor, or it is being stopped.
    pub fn add_child(
        &mut self,
        actor: ActorId,
        supervisor: Option<SupervisorId>,
        spec: Arc<ActorSpec>,
    ) -> Result<(), SupervisionError> {
        let supervisor = supervisor.unwrap_or(SupervisorId::ROOT);
        if self.is_alive(actor) {
            return Err(SupervisionError::AlreadySupervised(actor));
        }
        if self.graves.find(actor).is_some() {
            return Err(SupervisionError::DeadActor(actor));
        }
        self.open(supervisor)?;
        self.tree.add_actor(actor, supervisor, spec);
        Ok(())
    }

    /// Forgets a dead actor, whose id may then be used again. The core forgets by itself all but the latest
    /// [`GRAVES_MAX`](Self::GRAVES_MAX).
    ///
    /// # Errors
    /// If the actor is alive or unknown.
    pub fn remove(&mut self, actor: ActorId) -> Result<(), SupervisionError> {
        if self.is_alive(actor) {
            return Err(SupervisionError::StillAlive(actor));
        }
        if self.graves.remove(actor) {
            Ok(())
        } else {
            Err(SupervisionError::UnknownActor(actor))
        }
    }

    /// Ties two actors together: if either fails, the other goes down too, or is told if it traps exits.
    ///
    /// # Errors
    /// If both are the same, or either is dead or unknown.
    pub fn link(&mut self, one: ActorId, other: ActorId) -> Result<(), SupervisionError> {
        if one == other {
            return Err(SupervisionError::SameActor(one));
        }
        self.alive(one)?;
        self.alive(other)?;
        self.links.insert(one.min(other), one.max(other));
        Ok(())
    }

    /// Unties two actors; says whether they were linked.
    pub fn unlink(&mut self, one: ActorId, other: ActorId) -> bool {
        self.links.remove(one.min(other), one.max(other))
    }

    /// Has `watcher` told, once, when `watched` is dead; at once if it is already. Watching twice is watching once. The
    /// watcher may be an actor of another node, which this core does not know.
    ///
    /// # Errors
    /// If both are the same, the watched is unknown, or the watcher is dead.
    pub fn watch(
        &mut self,
        watcher: ActorId,
        watched: ActorId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), SupervisionError> {
        if watcher == watched {
            return Err(SupervisionError::SameActor(watcher));
        }
        if self.graves.find(watcher).is_some() {
            return Err(SupervisionError::DeadActor(watcher));
        }
        match self.graves.find(watched) {
            Some(grave) => effects.push(Effect::Notify { watcher, watched, exit: grave.exit.clone() }),
            None => {
                self.alive(watched)?;
                self.watches.insert(watched, watcher);
            }
        }
        Ok(())
    }

    /// Ends a watch; says whether there was one.
    pub fn unwatch(&mut self, watcher: ActorId, watched: ActorId) -> bool {
        self.watches.remove(watched, watcher)
    }

    /// Ends every watch of a watcher, as when the node it lives on is gone.
    pub fn forget_watcher(&mut self, watcher: ActorId) {
        for watched in self.watches.firsts(watcher) {
            self.watches.remove(watched, watcher);
        }
    }

    /// `actor` ended: by itself, because it was told to stop, or because it could not start. A report about an actor that
    /// is known to be down, dead or unknown is late, and changes nothing.
    pub fn on_exit(&mut self, now: Duration, actor: ActorId, exit: Exit, effects: &mut Vec<Effect>) {
        match self.tree.members.get(&actor).map(|member| member.phase) {
            Some(Phase::Running | Phase::Starting) => self.fail(now, actor, exit, true, effects),
            Some(Phase::Stopping(fate)) => self.stopped(now, actor, fate, effects),
            Some(Phase::Waiting(_) | Phase::Stopped) | None => return,
        }
        self.arm(effects);
    }

    /// `actor` runs again.
    pub fn on_restarted(&mut self, actor: ActorId) {
        if let Some(member) = self.tree.members.get_mut(&actor).filter(|member| member.phase == Phase::Starting) {
            member.phase = Phase::Running;
        }
    }

    /// It is `now`: starts whatever is due.
    pub fn on_timer(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.armed = self.armed.filter(|at| *at > now);
        while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Actor(actor) => self.start(actor, at, effects),
                Timer::Round(of) => self.settle(now, of, effects),
            }
        }
        self.arm(effects);
    }

    /// Stops `actor` for good, whatever its policy. Says whether it was alive.
    pub fn kill(&mut self, actor: ActorId, effects: &mut Vec<Effect>) -> bool {
        match self.tree.members.get(&actor).map(|member| member.phase) {
            None => return false,
            Some(Phase::Waiting(_) | Phase::Stopped) => self.bury(actor, Cause::Killed, Exit::Killed, true, effects),
            Some(Phase::Stopping(Fate::Close(_))) => {}
            Some(_) => self.request_stop(actor, Fate::Kill, effects),
        }
        self.arm(effects);
        true
    }

    /// Stops `actor` for good and in good order, whatever its policy: nobody needs it any more. Its links hear nothing of
    /// it. Says whether it was alive.
    pub fn end(&mut self, actor: ActorId, effects: &mut Vec<Effect>) -> bool {
        match self.tree.members.get(&actor).map(|member| member.phase) {
            None => return false,
            Some(Phase::Waiting(_) | Phase::Stopped) => self.bury(actor, Cause::Ended, Exit::Normal, false, effects),
            Some(Phase::Stopping(Fate::Kill | Fate::Close(_))) => {}
            Some(_) => self.request_stop(actor, Fate::End, effects),
        }
        self.arm(effects);
        true
    }

    /// Stops a supervisor and all below it for good, last started first. With [`SupervisorId::ROOT`], everything.
    ///
    /// # Errors
    /// If there is no such supervisor.
    pub fn stop_supervisor(
        &mut self,
        supervisor: SupervisorId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), SupervisionError> {
        match self.open(supervisor) {
            Ok(()) => self.close(supervisor, Cause::SupervisorStopped, effects),
            Err(SupervisionError::Closing(_)) => {}
            Err(error) => return Err(error),
        }
        self.arm(effects);
        Ok(())
    }

    /// Asserts every invariant of the core.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn sanity_check(&self) {
        self.tree.sanity_check();
        self.graves.sanity_check();
        self.links.sanity_check(|one, other| one < other && self.is_alive(one) && self.is_alive(other));
        self.watches.sanity_check(|watched, watcher| self.is_alive(watched) && self.graves.find(watcher).is_none());
        for (at, timer) in &self.timers {
            match timer {
                Timer::Actor(actor) => assert_eq!(self.tree.members[actor].phase, Phase::Waiting(*at)),
                Timer::Round(of) => assert!(self.tree.branches[of].round.is_some_and(|round| round.at == *at)),
            }
        }
        let waiting = self.tree.members.values().filter(|member| matches!(member.phase, Phase::Waiting(_))).count();
        let timed = self.timers.iter().filter(|(_, timer)| matches!(timer, Timer::Actor(_))).count();
        assert_eq!(waiting, timed, "every actor that waits has its timer");
        assert!(self.tree.members.keys().all(|actor| self.graves.find(*actor).is_none()));
        assert!(self.next_timer().is_none_or(|next| self.armed.is_some_and(|armed| armed <= next)));
    }

    fn open(&self, supervisor: SupervisorId) -> Result<(), SupervisionError> {
        match self.tree.branches.get(&supervisor).map(|branch| branch.life) {
            None => Err(SupervisionError::UnknownSupervisor(supervisor)),
            Some(Life::Open) => Ok(()),
            Some(Life::Closing | Life::Closed) => Err(SupervisionError::Closing(supervisor)),
        }
    }

    fn alive(&self, actor: ActorId) -> Result<(), SupervisionError> {
        if self.is_alive(actor) {
            Ok(())
        } else if self.graves.find(actor).is_some() {
            Err(SupervisionError::DeadActor(actor))
        } else {
            Err(SupervisionError::UnknownActor(actor))
        }
    }

    /// Asks for a timer if the next instant is sooner than any asked for.
    fn arm(&mut self, effects: &mut Vec<Effect>) {
        if let Some(at) = self.next_timer().filter(|at| self.armed.is_none_or(|armed| *at < armed)) {
            self.armed = Some(at);
            effects.push(Effect::SetTimer { at });
        }
    }
}
