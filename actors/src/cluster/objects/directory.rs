//! Where the copies of this process's objects are.
//!
//! Owns: nothing but [`core`], which decides.

pub mod core;
