//! Taking up a role before `main`.
//!
//! Owns: the one function of this workspace that runs before `main`. It does nothing but look whether the environment names
//! a role, which costs well under a microsecond.
//!
//! Why before `main`: a worker is the driver's own executable, and whatever its `main` does before it asks for a runtime (print,
//! open files, bind ports, run a test harness) must not happen in each worker again.
//!
//! Constructors run in the order in which the linker met them, and rustc links a crate before those it depends on. So this
//! one, in a crate on which everybody with remote functions depends, runs after all that register such functions. Should a
//! linker do otherwise, a worker finds that it knows fewer functions than its driver, and says so.
#![allow(unsafe_code)]

use super::workers::ROLE;

/// What is to be done; given by the public crate.
pub struct Start(pub fn());

inventory::collect!(Start);

extern "C" fn start() {
    if std::env::var_os(ROLE).is_some() {
        inventory::iter::<Start>.into_iter().for_each(|start| start.0());
    }
}

// SAFETY: the section holds pointers to functions of this very type, which the C runtime calls before `main`. The standard
// library may be used there on Linux: arguments and environment are set by then, and nothing unwinds out, since a panic
// that leaves a function of the C interface ends the process.
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
static START: extern "C" fn() = start;
