//! Tests of the supervision core, in virtual time.
//!
//! Owns: [`Shell`], a test double that carries effects out at once and writes down what it was asked, a word an effect.

mod groups;
mod properties;
mod single;
mod ties;

use std::{sync::Arc, time::Duration};

use actinic_gcs::ActorId;

use super::{ActorSpec, Backoff, Effect, Exit, RestartLimit, RestartPolicy, Strategy, SupervisionCore};
use super::{SupervisorId, SupervisorSpec};

const MS: Duration = Duration::from_millis(1);
const ROOT: SupervisorId = SupervisorId::ROOT;

fn failed() -> Exit {
    Exit::Failed("test".to_owned())
}

/// An actor that restarts at once, without limit.
fn eager() -> ActorSpec {
    ActorSpec { limit: RestartLimit::UNLIMITED, backoff: Backoff::NONE, ..ActorSpec::default() }
}

fn of_policy(policy: RestartPolicy) -> ActorSpec {
    ActorSpec { policy, ..eager() }
}

/// A supervisor that bears `failures` over its whole life and is restarted at once.
fn bearing(strategy: Strategy, failures: u32) -> SupervisorSpec {
    SupervisorSpec { strategy, limit: RestartLimit::in_all(failures), backoff: Backoff::NONE }
}

struct Shell {
    core: SupervisionCore,
    now: Duration,
    effects: Vec<Effect>,
    log: Vec<String>,
}

impl Shell {
    fn new(root_failures: u32) -> Self {
        let core = SupervisionCore::new(bearing(Strategy::OneForOne, root_failures), 7);
        Self { core, now: Duration::ZERO, effects: Vec::new(), log: Vec::new() }
    }

    fn add(&mut self, actor: u128, supervisor: SupervisorId, spec: ActorSpec) {
        self.core.add_child(ActorId(actor), Some(supervisor), Arc::new(spec)).expect("the actor can be added");
    }

    fn supervisor(&mut self, parent: SupervisorId, strategy: Strategy, failures: u32) -> SupervisorId {
        self.core.add_supervisor(parent, bearing(strategy, failures)).expect("the parent is open")
    }

    /// Reports an end and carries out nothing yet.
    fn exit(&mut self, actor: u128, exit: Exit) {
        self.core.on_exit(self.now, ActorId(actor), exit, &mut self.effects);
        self.core.sanity_check();
    }

    fn kill(&mut self, actor: u128) {
        assert!(self.core.kill(ActorId(actor), &mut self.effects));
        self.core.sanity_check();
    }

    fn watch(&mut self, watcher: u128, watched: u128) {
        self.core.watch(ActorId(watcher), ActorId(watched), &mut self.effects).expect("the watch can be set");
    }

    fn link(&mut self, one: u128, other: u128) {
        self.core.link(ActorId(one), ActorId(other)).expect("both can be linked");
    }

    /// Lets time pass and carries out what is due.
    fn pass(&mut self, time: Duration) -> String {
        self.now += time;
        self.core.on_timer(self.now, &mut self.effects);
        self.core.sanity_check();
        self.obey()
    }

    /// The effects asked for and not carried out, written down.
    fn asked(&mut self) -> String {
        let effects = std::mem::take(&mut self.effects);
        effects.iter().filter_map(written).collect::<Vec<_>>().join(", ")
    }

    /// Carries out all effects, those that follow from them included, and gives the log since the last time.
    fn obey(&mut self) -> String {
        while !self.effects.is_empty() {
            let batch = std::mem::take(&mut self.effects);
            self.log.extend(batch.iter().filter_map(written));
            for effect in batch {
                match effect {
                    Effect::Stop { actor } => self.exit(actor.0, Exit::Normal),
                    Effect::Restart { actor, .. } => self.core.on_restarted(actor),
                    _ => {}
                }
            }
        }
        std::mem::take(&mut self.log).join(", ")
    }

    fn fails(&mut self, actor: u128) -> String {
        self.exit(actor, failed());
        self.obey()
    }
}

fn written(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Stop { actor } => format!("stop {}", actor.0),
        Effect::Restart { actor, .. } => format!("restart {}", actor.0),
        Effect::Dead { actor, cause, .. } => format!("dead {} {cause:?}", actor.0),
        Effect::Notify { watcher, watched, .. } => format!("tell {} of {}", watcher.0, watched.0),
        Effect::LinkFailed { actor, failed, .. } => format!("warn {} of {}", actor.0, failed.0),
        Effect::Escalated { supervisor, parent } => format!("escalate {} to {}", supervisor.0, parent.0),
        Effect::RootFailed => "root failed".to_owned(),
        Effect::SupervisorGone { supervisor } => format!("gone {}", supervisor.0),
        Effect::SetTimer { .. } => return None,
    })
}
