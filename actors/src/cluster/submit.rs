//! The owner's side of scheduling: which of its tasks goes to which leased worker.
//!
//! Owns: nothing but [`core`]; [`super::core_worker`] is its shell.

pub mod core;
