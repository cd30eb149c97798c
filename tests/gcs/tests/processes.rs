//! The replicated control store with real processes, each with RocksDB and fsync on a disk of its own: what is promised holds
//! whatever is killed, and whoever does something wrong is told what to do.
//!
//! `ACTINIC_CHAOS_SECONDS=n` makes the tests of chaos go on for so long, `ACTINIC_CHAOS_SEED=x` repeats the choices of a run
//! (though not the machine's own timing).

#![allow(clippy::unwrap_used)]

mod processes {
    mod bank;
    mod full_disk;
    mod refusals;
    mod registers;
    mod shards;

    /// The program that a process of a cluster runs.
    pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_actinic-gcs-replica");
}
