//! Random trees, random events: what must hold whatever happens.
//!
//! A model shell holds back what it was asked, so that stops, starts, failures, kills and timers meet in every order.
//! After each step the core's invariants are asserted; after the last one nothing new goes wrong, everything asked is
//! carried out, and every actor must be running or dead.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{
    prelude::{any, prop_assert_eq, prop_oneof, proptest, ProptestConfig},
    strategy::Strategy as Generator,
};

use super::*;
use crate::supervision::SupervisionError;

#[derive(Clone, Debug)]
enum Step {
    AddSupervisor { parent: usize, strategy: u8, failures: u32, backoff: bool },
    AddActor { parent: usize, policy: u8, limit: Option<u32>, windowed: bool, backoff: bool, traps: bool },
    Exit { actor: usize, kind: u8 },
    Carry { which: usize, fails: bool },
    Pass { ms: u32 },
    Kill { actor: usize },
    Link { one: usize, other: usize, on: bool },
    Watch { watcher: usize, watched: usize, on: bool },
    StopSupervisor { supervisor: usize },
    Remove { actor: usize },
}

fn step() -> impl Generator<Value = Step> {
    prop_oneof![
        2 => (any::<usize>(), 0..3_u8, 0..4_u32, any::<bool>())
            .prop_map(|(parent, strategy, failures, backoff)| Step::AddSupervisor { parent, strategy, failures, backoff }),
        5 => (any::<usize>(), 0..3_u8, proptest::option::of(0..4_u32), any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(parent, policy, limit, windowed, backoff, traps)| {
                Step::AddActor { parent, policy, limit, windowed, backoff, traps }
            }),
        10 => (any::<usize>(), 0..3_u8).prop_map(|(actor, kind)| Step::Exit { actor, kind }),
        20 => (any::<usize>(), proptest::bool::weighted(0.2)).prop_map(|(which, fails)| Step::Carry { which, fails }),
        6 => (0..20_u32).prop_map(|ms| Step::Pass { ms }),
        2 => any::<usize>().prop_map(|actor| Step::Kill { actor }),
        3 => (any::<usize>(), any::<usize>(), proptest::bool::weighted(0.8))
            .prop_map(|(one, other, on)| Step::Link { one, other, on }),
        4 => (any::<usize>(), any::<usize>(), proptest::bool::weighted(0.8))
            .prop_map(|(watcher, watched, on)| Step::Watch { watcher, watched, on }),
        1 => (0..12_usize).prop_map(|supervisor| Step::StopSupervisor { supervisor }),
        1 => any::<usize>().prop_map(|actor| Step::Remove { actor }),
    ]
}

/// What the model knows of one actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    /// Down, and the core was told; it owes a restart or a death.
    Owed,
    /// A restart was asked for and not carried out.
    ToStart,
    Dead,
}

struct Model {
    shell: Shell,
    supervisors: Vec<SupervisorId>,
    actors: Vec<ActorId>,
    states: BTreeMap<ActorId, State>,
    to_stop: BTreeSet<ActorId>,
    watches: BTreeSet<(ActorId, ActorId)>,
    restarts: BTreeMap<ActorId, u32>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut shell = Shell::new(2);
        shell.core = SupervisionCore::new(bearing(Strategy::OneForOne, 2), seed);
        Self {
            shell,
            supervisors: vec![ROOT],
            actors: Vec::new(),
            states: BTreeMap::new(),
            to_stop: BTreeSet::new(),
            watches: BTreeSet::new(),
            restarts: BTreeMap::new(),
        }
    }

    fn actor(&self, index: usize) -> Option<ActorId> {
        (!self.actors.is_empty()).then(|| self.actors[index % self.actors.len()])
    }

    fn take(&mut self, step: &Step) {
        match step.clone() {
            Step::AddSupervisor { parent, strategy, failures, backoff } => {
                let parent = self.supervisors[parent % self.supervisors.len()];
                let strategy = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne][strategy as usize];
                let backoff = if backoff { Backoff::default() } else { Backoff::NONE };
                let spec = SupervisorSpec { backoff, ..bearing(strategy, failures) };
                self.supervisors.extend(self.shell.core.add_supervisor(parent, spec));
            }
            Step::AddActor { parent, policy, limit, windowed, backoff, traps } => {
                let policy = [RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always][policy as usize];
                let limit = RestartLimit { max_restarts: limit, window: windowed.then_some(MS * 20) };
                let backoff = if backoff { Backoff::default() } else { Backoff::NONE };
                let spec = ActorSpec { policy, limit, backoff, trap_exits: traps };
                let (actor, parent) = (ActorId(self.states.len() as u128), parent % self.supervisors.len());
                let parent = self.supervisors[parent];
                if self.shell.core.add_child(actor, Some(parent), Arc::new(spec)).is_ok() {
                    self.actors.push(actor);
                    self.states.insert(actor, State::Up);
                }
            }
            Step::Exit { actor, kind } => {
                if let Some(actor) = self.actor(actor).filter(|actor| self.states[actor] == State::Up) {
                    self.report(actor, [Exit::Normal, failed(), Exit::Killed][kind as usize].clone());
                }
            }
            Step::Carry { which, fails } => self.carry(which, fails),
            Step::Pass { ms } => {
                self.shell.now += MS * ms;
                self.shell.core.on_timer(self.shell.now, &mut self.shell.effects);
            }
            Step::Kill { actor } => {
                if let Some(actor) = self.actor(actor) {
                    let alive = self.shell.core.kill(actor, &mut self.shell.effects);
                    assert_eq!(alive, self.states[&actor] != State::Dead);
                }
            }
            Step::Link { one, other, on } => self.link(one, other, on),
            Step::Watch { watcher, watched, on } => self.watch(watcher, watched, on),
            Step::StopSupervisor { supervisor } => {
                if let Some(supervisor) = self.supervisors.get(supervisor).filter(|id| **id != ROOT) {
                    let _ = self.shell.core.stop_supervisor(*supervisor, &mut self.shell.effects);
                }
            }
            Step::Remove { actor } => {
                if let Some(actor) = self.actor(actor) {
                    assert_eq!(self.shell.core.remove(actor).is_ok(), self.forget(actor));
                }
            }
        }
        self.check();
    }

    fn forget(&mut self, actor: ActorId) -> bool {
        let dead = self.states[&actor] == State::Dead;
        self.actors.retain(|other| *other != actor || !dead);
        dead
    }

    fn link(&mut self, one: usize, other: usize, on: bool) {
        let (Some(one), Some(other)) = (self.actor(one), self.actor(other)) else {
            return;
        };
        if on {
            let dead = self.states[&one] == State::Dead || self.states[&other] == State::Dead;
            assert_eq!(self.shell.core.link(one, other).is_ok(), one != other && !dead);
        } else {
            self.shell.core.unlink(one, other);
        }
    }

    fn watch(&mut self, watcher: usize, watched: usize, on: bool) {
        let (Some(watcher), Some(watched)) = (self.actor(watcher), self.actor(watched)) else {
            return;
        };
        if !on {
            assert_eq!(self.shell.core.unwatch(watcher, watched), self.watches.remove(&(watched, watcher)));
            return;
        }
        match self.shell.core.watch(watcher, watched, &mut self.shell.effects) {
            Ok(()) => {
                self.watches.insert((watched, watcher));
            }
            Err(error) => assert!(matches!(error, SupervisionError::SameActor(_) | SupervisionError::DeadActor(_))),
        }
    }

    fn report(&mut self, actor: ActorId, exit: Exit) {
        self.to_stop.remove(&actor);
        self.states.insert(actor, State::Owed);
        self.shell.core.on_exit(self.shell.now, actor, exit, &mut self.shell.effects);
    }

    /// Carries out one thing asked: a stop, or a start, which may fail.
    fn carry(&mut self, which: usize, fails: bool) {
        let starts = self.states.iter().filter(|(_, state)| **state == State::ToStart).map(|(actor, _)| *actor);
        let asked: Vec<_> = self.to_stop.iter().copied().chain(starts).collect();
        if asked.is_empty() {
            return;
        }
        let actor = asked[which % asked.len()];
        match self.states[&actor] {
            State::ToStart if !fails => {
                self.states.insert(actor, State::Up);
                self.shell.core.on_restarted(actor);
            }
            _ => self.report(actor, if fails { failed() } else { Exit::Normal }),
        }
    }

    /// Every effect names whom it may, and the model follows.
    fn check(&mut self) {
        for effect in std::mem::take(&mut self.shell.effects) {
            match effect {
                Effect::Stop { actor } => {
                    assert!(matches!(self.states[&actor], State::Up | State::ToStart), "{actor} was not up");
                    assert!(self.to_stop.insert(actor), "{actor} was told to stop twice");
                }
                Effect::Restart { actor, at } => {
                    assert!(at <= self.shell.now);
                    assert_eq!(self.states.insert(actor, State::ToStart), Some(State::Owed));
                    *self.restarts.entry(actor).or_default() += 1;
                }
                Effect::Dead { actor, .. } => {
                    assert_eq!(self.states.insert(actor, State::Dead), Some(State::Owed));
                    self.watches.retain(|(_, watcher)| *watcher != actor);
                }
                Effect::Notify { watcher, watched, .. } => {
                    assert!(self.watches.remove(&(watched, watcher)), "told without a watch, or twice");
                    assert_eq!(self.states[&watched], State::Dead);
                    assert_ne!(self.states[&watcher], State::Dead);
                }
                Effect::LinkFailed { actor, .. } => assert_ne!(self.states[&actor], State::Dead),
                _ => {}
            }
        }
        let untold = self.watches.iter().find(|(watched, _)| self.states[watched] == State::Dead);
        assert_eq!(untold, None, "a watcher was not told");
        self.shell.core.sanity_check();
    }

    /// Nothing new goes wrong; what was asked is carried out; time passes.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "the tree never comes to rest");
            let busy = !self.to_stop.is_empty() || self.states.values().any(|state| *state == State::ToStart);
            if busy {
                self.carry(round, false);
            } else if let Some(at) = self.shell.core.next_timer() {
                self.shell.now = self.shell.now.max(at);
                self.shell.core.on_timer(self.shell.now, &mut self.shell.effects);
            } else {
                break;
            }
            self.check();
        }
        for actor in &self.actors {
            let state = self.states[actor];
            assert!(matches!(state, State::Up | State::Dead), "{actor} ended and was neither restarted nor buried");
            assert_eq!(self.shell.core.is_alive(*actor), state == State::Up);
            assert_eq!(self.shell.core.restarts(*actor), Some(self.restarts.get(actor).copied().unwrap_or(0)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_end_is_followed_by_a_restart_or_a_death(
        seed in any::<u64>(),
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let mut model = Model::new(seed);
        steps.iter().for_each(|step| model.take(step));
        model.settle();
    }

    #[test]
    fn the_same_events_give_the_same_effects(seed in any::<u64>(), exits in proptest::collection::vec(0..8_u128, 1..60)) {
        let run = || {
            let mut core = SupervisionCore::new(SupervisorSpec::default(), seed);
            let all = SupervisorSpec { strategy: Strategy::OneForAll, ..SupervisorSpec::default() };
            let supervisor = core.add_supervisor(ROOT, all).expect("the root is open");
            for actor in 0..8 {
                let under = (actor % 2 == 0).then_some(supervisor);
                core.add_child(ActorId(actor), under, Arc::default()).expect("the root is open");
            }
            let mut effects = Vec::new();
            for (at, actor) in exits.iter().enumerate() {
                core.on_exit(MS * at as u32, ActorId(*actor), failed(), &mut effects);
                core.on_timer(MS * at as u32, &mut effects);
            }
            effects
        };
        prop_assert_eq!(run(), run());
    }
}
