//! The schedulers in virtual time: the very cores that ship, as a cluster of 1 to 1,000 nodes in one thread.
//!
//! Owns: a discrete-event simulation (`world`) of nodes, links, drivers and workers around `SubmitCore`, `LocalCore`,
//! `GlobalCore`, `GroupCore`, `PoolCore`, `ActorCore`, `RefCore` and the cores of objects; the figures that it gives (`figures`); their tables and plots. Does not own a decision of
//! scheduling, nor any figure of a real machine: what is not a core is a constant in `model`, which says where it was
//! measured.
//!
//! Invariant: the same seed gives the same run, event by event; only the processor time of the cores is of this machine.

mod figures;
mod meter;
mod model;
mod plan;
mod rng;
mod show;
mod world;

#[cfg(test)]
mod tests;

pub use figures::{run, Figure, Options};
