//! Fetching objects from other nodes.
//!
//! Owns: nothing but [`core`], which decides.

pub mod core;
