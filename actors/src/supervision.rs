//! Supervision: who restarts a failed actor, when, and who is told.
//!
//! Owns: the supervision tree, restart policies, intensity limits, back-off, links, death watch and dead letters, all as
//! a plain state machine ([`SupervisionCore`]). Does not own: actors themselves, their mailboxes or their state. The
//! shell reports what happened (`on_exit`, `on_restarted`, `on_timer`) and carries out the [`Effect`]s it is given.
//!
//! The model is Erlang/OTP's supervisor (strategies, intensity, escalation, links and monitors), with the policy names of
//! kameo and one difference that comes from Ray: an actor keeps its id through its restarts, so links and watches
//! outlive a restart, and a watcher hears of the *final* death only.
//!
//! ```text
//!              on_exit                     all stopped, back-off over        on_restarted
//!   Running ───────────► Waiting/Stopped ───────────────────────────► Starting ─────────► Running
//!      │  Stop                ▲                                          │ on_exit: counts as a failure again
//!      └──────► Stopping ─────┤
//!                             └──► Dead (never leaves; the core gives no effect for it again)
//! ```
//!
//! **Invariant:** nothing here names a clock, a thread, a socket or a random generator. Time is an argument, counted from
//! an arbitrary start; jitter is a pure function of the seed, the actor and the attempt.

pub mod core;
pub mod dead_letters;
pub mod effect;
mod links;
pub mod policy;
mod record;
mod restart;
mod stop;
mod tree;

#[cfg(test)]
mod tests;

pub use self::{
    core::SupervisionCore,
    dead_letters::{DeadLetter, DeadLetterReason, DeadLetters, OverflowPolicy},
    effect::{Cause, Effect, SupervisionError, SupervisorId},
    policy::{ActorSpec, Backoff, Exit, RestartLimit, RestartPolicy, Strategy, SupervisorSpec},
};
