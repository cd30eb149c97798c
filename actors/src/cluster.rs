//! Many nodes as one: node processes, the workers they start, and the drivers that connect to them.
//!
//! ```text
//!  driver process            node process (one a machine, or several)            worker process
//! ┌───────────────┐  demand ┌────────────────────────────────────────┐  starts  ┌───────────────┐
//! │ CoreWorker    │────────►│ LocalScheduler ──► WorkerPool          │─────────►│ CoreWorker    │
//! │  SubmitCore   │◄────────│    │ what it cannot or should not run  │          │  runs tasks   │
//! │               │  leases │    ▼                                   │          │  in its own   │
//! │               │         │ GlobalScheduler      Peers ═══ TCP ═══ other nodes │  engine       │
//! └──────┬────────┘         └────────────────────────────────────────┘          └──────▲────────┘
//!        └──────────────── tasks and results, straight to the leased worker ───────────┘
//! ```
//!
//! Owns: what happens between processes. Within a process the engine is the embedded one: lane, workers, actors. A process
//! that submits a task *owns* its results; it asks its node for **leases** of workers, one demand a class of equal tasks,
//! and sends tasks straight to the workers that it was leased. So a scheduling decision is made once for many tasks, and no
//! node is on the way of a task or its result.
//!
//! Invariants:
//! - A process speaks to its own node over a Unix socket that only its user can open; nodes speak over TCP, with the
//!   cluster's handshake and, beyond loopback, its token.
//! - What a demand says is absolute (so many leases in all), so that a message told twice or late does no harm.
//! - Whoever ends takes its leases, demands and workers with it.

pub mod actors;
pub mod before_main;
pub mod calls;
mod class_spec;
pub mod core_worker;
pub mod executable;
pub mod folder;
pub mod global;
pub mod groups;
pub mod hub;
pub mod lines;
pub mod local;
pub mod node;
pub mod objects;
pub mod peer;
pub mod refs;
pub mod submit;
pub mod wire;
pub mod work;
pub mod workers;
