//! What the supervision core asks of its shell, and why an actor died.
//!
//! Owns: the words between core and shell. Invariant: after [`Effect::Dead`] no effect ever names that actor as the one
//! to stop, restart or notify.

use std::{fmt, time::Duration};

use actinic_gcs::ActorId;
use serde::{Deserialize, Serialize};

use super::policy::Exit;

/// One supervisor of a supervision tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SupervisorId(pub u64);

impl SupervisorId {
    /// The root, which is always there and supervises, one for one, every actor that names no supervisor.
    pub const ROOT: Self = Self(0);
}

impl fmt::Display for SupervisorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ROOT {
            f.write_str("the root supervisor")
        } else {
            write!(f, "supervisor {}", self.0)
        }
    }
}

/// Why an actor is dead for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Cause {
    /// It ended, and its policy does not restart after such an end.
    Ended,
    /// It failed more often than its own limit allows.
    OverLimit,
    /// It was killed on purpose.
    Killed,
    /// It was stopped for the restart of its group, and its policy is to never restart.
    GroupRestart,
    /// Its supervisor, or one above it, was stopped.
    SupervisorStopped,
    /// The root supervisor failed.
    RootFailed,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "it ended and its policy does not restart it",
            Self::OverLimit => "it failed more often than its restart limit allows",
            Self::Killed => "it was killed",
            Self::GroupRestart => "its group was restarted and its policy is to never restart",
            Self::SupervisorStopped => "its supervisor was stopped",
            Self::RootFailed => "the root supervisor failed",
        })
    }
}

/// Something the shell is to do, in the order given. None waits for durability.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Stop the actor and report its end with `on_exit`, however it takes it.
    Stop {
        /// Whom.
        actor: ActorId,
    },
    /// Start the actor again now, and report `on_restarted`, or `on_exit` if that fails.
    Restart {
        /// Whom.
        actor: ActorId,
        /// When the restart was due: back-off is over, so this is not in the future.
        at: Duration,
    },
    /// The actor will not run again: answer its callers, forget its state.
    Dead {
        /// Who.
        actor: ActorId,
        /// Why it is not restarted.
        cause: Cause,
        /// How it ended.
        exit: Exit,
    },
    /// Tell `watcher` that `watched` is dead. Once for each watch.
    Notify {
        /// Whom to tell; it may live on another node.
        watcher: ActorId,
        /// Who is dead.
        watched: ActorId,
        /// How it ended.
        exit: Exit,
    },
    /// Tell `actor`, which traps exits, that an actor linked to it failed or was taken down.
    LinkFailed {
        /// Whom to tell.
        actor: ActorId,
        /// The linked actor.
        failed: ActorId,
        /// How the first actor in the chain of links ended.
        exit: Exit,
    },
    /// A supervisor bore more failures than its limit allows and failed its parent; for logs and events.
    Escalated {
        /// Which.
        supervisor: SupervisorId,
        /// Its parent, which now treats it as a failed child.
        parent: SupervisorId,
    },
    /// The root is over its limit: all actors are being stopped, and nothing can be added any more.
    RootFailed,
    /// A supervisor that was stopped has no children left and is forgotten (the root: is closed).
    SupervisorGone {
        /// Which.
        supervisor: SupervisorId,
    },
    /// Call `on_timer` at or soon after `at`. Only the latest request counts; a timer too many does no harm.
    SetTimer {
        /// When, on the clock that `now` is read from.
        at: Duration,
    },
}

/// Why a request was refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisionError {
    /// The core has never heard of the actor, or has forgotten its death.
    #[error("no actor {0} is supervised here")]
    UnknownActor(ActorId),
    /// The actor is dead.
    #[error("actor {0} is dead")]
    DeadActor(ActorId),
    /// An actor of this id is supervised already.
    #[error("actor {0} is supervised already")]
    AlreadySupervised(ActorId),
    /// The actor is not dead, so it cannot be forgotten.
    #[error("actor {0} is alive")]
    StillAlive(ActorId),
    /// An actor cannot be linked to itself or watch itself.
    #[error("actor {0} cannot be tied to itself")]
    SameActor(ActorId),
    /// No such supervisor.
    #[error("there is no {0}")]
    UnknownSupervisor(SupervisorId),
    /// The supervisor is being stopped and takes no children.
    #[error("{0} is being stopped")]
    Closing(SupervisorId),
    /// The tree may not grow deeper.
    #[error("a supervision tree may be {max} deep, and {parent} is the last level")]
    TooDeep {
        /// The supervisor that may not have supervisors below it.
        parent: SupervisorId,
        /// The most levels.
        max: usize,
    },
}
