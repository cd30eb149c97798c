//! How much a store on disk promises.
//!
//! Owns: the choice. Does not own how a store keeps it. Invariant: whatever is chosen, what is lost is lost as whole
//! batches from the newest backwards; a choice changes how many, never which.

/// What [`Store::sync`](super::Store::sync) waits for, and so what can be lost.
///
/// | choice | the process dies | the machine dies | price of a sync |
/// |---|---|---|---|
/// | [`Fsync`](Self::Fsync) | nothing synced is lost | nothing synced is lost | a write to the device: 0.1 to 10 ms |
/// | [`Buffered`](Self::Buffered) | nothing synced is lost | some seconds may be lost | a system call: some µs |
/// | [`Memory`](Self::Memory) | the newest batches may be lost | some seconds may be lost | nothing |
///
/// A shard of one replica keeps what it acknowledged only with `Fsync`. A shard of several replicas needs it as well:
/// a replica that forgets its vote or its log breaks the promises of Raft, so `Buffered` and `Memory` are for clusters
/// that may be thrown away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// A sync returns when the device has the data.
    #[default]
    Fsync,
    /// A sync returns when the operating system has the data.
    Buffered,
    /// A sync does nothing; data goes to the operating system when a buffer is full and when the store is closed.
    Memory,
}
