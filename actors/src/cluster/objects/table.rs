//! What a node holds in its shared memory, and for whom.
//!
//! Owns: nothing but [`core`], which decides.

pub mod core;
