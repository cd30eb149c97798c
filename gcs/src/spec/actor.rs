//! Actors: what is asked of one, where it stands, and the history from which its state is rebuilt.
//!
//! Owns: the actor state machine (Ray's) and the shapes of checkpoints and of the call log. Does not own: when to restart
//! an actor or where. Invariants: [`ActorState::Dead`] is final; an incarnation is the count of restarts, so it only
//! grows, and whoever acts for an older one is refused.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Limit;
use crate::{ActorId, FunctionId, JobId, Millis, NodeId, ObjectId, ResourceSet, TaskId, WorkerId};

/// What was asked for when an actor was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorSpec {
    /// The actor's id, derived from its creation task.
    pub id: ActorId,
    /// The class's constructor.
    pub class: FunctionId,
    /// The class's name, for people.
    pub class_name: Arc<str>,
    /// The task that runs the constructor; its arguments are in the lineage.
    pub creation_task: TaskId,
    /// The name by which others find it, unique among the living of its namespace.
    pub name: Option<Arc<str>>,
    /// The namespace of its name.
    pub namespace: Arc<str>,
    /// How long it lives if nobody kills it.
    pub lifetime: Lifetime,
    /// How often it may be restarted.
    pub max_restarts: Limit,
    /// How often a call may be retried after a restart.
    pub max_task_retries: Limit,
    /// How many calls may run at once.
    pub max_concurrency: u32,
    /// How many calls may wait.
    pub max_pending_calls: Limit,
    /// After how many calls its state is written, if it is checkpointed at all.
    pub checkpoint_every: Option<u32>,
    /// What it holds while it lives.
    pub resources: ResourceSet,
    /// The process that made it and keeps it; where there is but one process, none.
    #[serde(default)]
    pub owner: Option<ActorLocation>,
}

/// How long an actor or placement group lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Lifetime {
    /// Until its owner, this job, ends or no reference to it is left.
    Job(JobId),
    /// Until it is killed.
    Detached,
}

/// Where an actor stands.
///
/// | from | to |
/// |---|---|
/// | `DependenciesUnready` | `PendingCreation`, `Dead` |
/// | `PendingCreation` | `Alive`, `Restarting` (its node was lost before it was up), `Dead` |
/// | `Alive` | `Restarting`, `Dead` |
/// | `Restarting` | `Alive`, `Restarting` (lost again on the way up), `Dead` |
/// | `Dead` | nothing |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ActorState {
    /// Its constructor waits for arguments.
    DependenciesUnready,
    /// Its constructor waits for resources, or runs.
    PendingCreation,
    /// It takes calls.
    Alive,
    /// It was lost and is on its way up again.
    Restarting,
    /// It takes no calls and never will.
    Dead,
}

impl ActorState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::DependenciesUnready, Self::PendingCreation, Self::Alive, Self::Restarting, Self::Dead];

    /// The states that may follow this one.
    #[must_use]
    pub fn successors(self) -> &'static [Self] {
        match self {
            Self::DependenciesUnready => &[Self::PendingCreation, Self::Dead],
            Self::PendingCreation => &[Self::Alive, Self::Restarting, Self::Dead],
            Self::Alive => &[Self::Restarting, Self::Dead],
            Self::Restarting => &[Self::Alive, Self::Restarting, Self::Dead],
            Self::Dead => &[],
        }
    }

    /// Whether `next` may follow this state.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        self.successors().contains(&next)
    }
}

impl fmt::Display for ActorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DependenciesUnready => "DEPENDENCIES_UNREADY",
            Self::PendingCreation => "PENDING_CREATION",
            Self::Alive => "ALIVE",
            Self::Restarting => "RESTARTING",
            Self::Dead => "DEAD",
        })
    }
}

/// Why an actor is dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ActorDeath {
    /// Somebody killed it.
    Killed,
    /// It stopped by itself.
    Exited,
    /// No reference to it was left.
    OutOfScope,
    /// Its job ended.
    JobFinished,
    /// Whoever kept it was lost with its node.
    OwnerDied,
    /// Its constructor failed.
    CreationFailed {
        /// What the constructor said.
        message: String,
    },
    /// It failed and may not be restarted (again).
    RestartsSpent {
        /// How it failed last.
        message: String,
    },
}

/// Where an actor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ActorLocation {
    /// The node.
    pub node: NodeId,
    /// The worker on it.
    pub worker: WorkerId,
}

/// An actor as the control plane sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorInfo {
    /// What was asked for.
    pub spec: ActorSpec,
    /// Where it stands.
    pub state: ActorState,
    /// How often it was restarted; whoever acts for an earlier incarnation is refused.
    pub incarnation: u32,
    /// Where it runs, while it is alive.
    pub location: Option<ActorLocation>,
    /// Why it died, once it is dead.
    pub death: Option<ActorDeath>,
    /// Since when it is in this state.
    pub since: Millis,
}

/// One executed call in an actor's log, in the order in which the actor ran them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEntry {
    /// The call; its spec is in the lineage.
    pub task: TaskId,
    /// The task or driver that called.
    pub caller: TaskId,
    /// The call's number among its caller's calls on this actor.
    pub sequence: u64,
}

/// The bounds of an actor's call log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallLogHead {
    /// The position of the first entry kept.
    pub first: u64,
    /// The position that the next entry gets.
    pub next: u64,
    /// The newest incarnation that has opened the log.
    pub incarnation: u32,
}

/// An actor's state after the calls before position `through` of its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The log position of the first call that the state does not hold.
    pub through: u64,
    /// The state.
    pub state: CheckpointState,
    /// When it was recorded.
    pub at: Millis,
}

/// Where a checkpointed state is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckpointState {
    /// In the record itself.
    Inline(Bytes),
    /// In an object.
    Object(ObjectId),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_but_dead_can_die() {
        for state in ActorState::ALL {
            assert_eq!(state.may_become(ActorState::Dead), state != ActorState::Dead, "{state}");
        }
    }

    #[test]
    fn nothing_follows_death() {
        assert!(ActorState::ALL.into_iter().all(|next| !ActorState::Dead.may_become(next)));
    }

    #[test]
    fn an_actor_is_alive_only_after_it_was_pending_or_restarting() {
        let before: Vec<_> = ActorState::ALL.into_iter().filter(|s| s.may_become(ActorState::Alive)).collect();
        assert_eq!(before, [ActorState::PendingCreation, ActorState::Restarting]);
    }
}
