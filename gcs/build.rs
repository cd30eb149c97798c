//! Nothing to build: it is here for its dependencies.
//!
//! Cargo compiles a crate once for each set of features that its own build needs, and that set depends on what else is
//! selected: RocksDB would be compiled anew, for twenty minutes, for `cargo test -p` of one crate after another. The
//! dependencies of this script ask for the features that the whole workspace asks for, so that all selections agree.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
