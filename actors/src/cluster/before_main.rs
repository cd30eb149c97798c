//! Taking up a role before `main`.
//!
//! Owns: the one function of this workspace that runs before `main`. It does nothing but look whether the environment names
//! a role, which costs well under a microsecond.
//!
//! Why before `main`: a worker is the driver's own executable, and whatever its `main` does before it asks for a runtime (print,
//! open files, bind ports, run a test harness) must not happen in each worker again.
//!
//! Constructors run in the order in which the linker met them, and others may come after this one: those that register
//! remote functions, and those of libraries in C++. So it first runs all that are left, as the C runtime would have, and
//! takes up the role as the last of them. Should a linker lay them out in another way, a worker finds that it knows fewer
//! functions than its driver, and says so.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};

use super::workers::ROLE;

/// What is to be done; given by the public crate.
pub struct Start(pub fn());

inventory::collect!(Start);

/// What the C runtime calls before `main`: with the number of arguments, the arguments and the environment.
type Constructor = extern "C" fn(c_int, *const *const c_char, *const *const c_char);

#[cfg(target_os = "linux")]
extern "C" {
    // The linker's own symbols around the table of constructors.
    static __init_array_start: [usize; 0];
    static __init_array_end: [usize; 0];
}

extern "C" fn start(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    #[cfg(target_os = "linux")]
    run_what_is_left(argc, argv, envp);
    // As the standard library does before `main`: whoever reads no more is an error, not a signal.
    // SAFETY: an ordinary call, and no other thread runs yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    inventory::iter::<Start>.into_iter().for_each(|start| start.0());
}

/// Runs the constructors that come after this one in the executable's table.
#[cfg(target_os = "linux")]
fn run_what_is_left(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
    let first = std::ptr::addr_of!(__init_array_start) as usize;
    let end = std::ptr::addr_of!(__init_array_end) as usize;
    let mut passed = false;
    for at in (first..end).step_by(size_of::<usize>()) {
        // SAFETY: the linker puts both symbols around a table of pointers, aligned as such, that is never changed once the
        // program has been loaded.
        let entry = unsafe { *(at as *const usize) };
        if passed && entry != 0 && entry != usize::MAX {
            // SAFETY: each entry of the table is a function of this type, or one that takes less, which the calling
            // convention allows; each is called once, in order, as the C runtime does.
            let constructor = unsafe { std::mem::transmute::<usize, Constructor>(entry) };
            constructor(argc, argv, envp);
        }
        passed |= entry == start as Constructor as usize;
    }
}

// SAFETY: the section holds pointers to functions of this very type, which the C runtime calls before `main`. The standard
// library may be used there on Linux: arguments and environment are set by then, and nothing unwinds out, since a panic
// that leaves a function of the C interface ends the process.
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
static START: Constructor = start;
