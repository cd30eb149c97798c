//! Fetching objects from other nodes.
//!
//! Owns: nothing but [`core`], which decides, and [`intake`], which measures.

pub mod core;
pub mod intake;
