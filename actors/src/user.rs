//! Users' actors: one state, one mailbox, one supervised Actix actor each.
//!
//! Owns: how a call gets from a handle to the state. A method may block its thread, so it runs on the worker pool, as a
//! *turn*; the Actix actor ([`actor::UserActor`], under an Actix `Supervisor`) owns the actor's life: it starts it, hears
//! of a crash, stops its context, rebuilds the state in `restarting()`, and ends it. Which call may start when is decided
//! in [`mailbox`], a core.

pub mod actor;
pub mod cell;
pub mod directory;
pub mod inflight;
pub mod mailbox;

pub use cell::{ActorCell, AnyActor, Call, CheckpointFns, Factory, MethodInfo, Ran, StateLock};
pub use directory::Directory;
