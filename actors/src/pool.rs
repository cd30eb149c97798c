//! The threads that execute: workers, and the sentinel that looks after them.
//!
//! Owns: starting, running and ending threads. The shell of [`core`], which decides when one is woken, added or let go.
//! A worker runs turns first, then tasks as long as it holds a CPU token (see [`crate::lane`]).

pub mod core;
pub mod worker;

pub use self::core::{PoolCore, PoolEffect, PoolLimits, PoolView};
