//! The system actors of Actinic: local scheduler, object manager, worker pool, supervisor, GCS client, and the users'
//! actors; with the deterministic cores that decide for them.
//!
//! This crate is the inside of the crate `actinic`; its API follows that crate's needs.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod blocking;
pub mod bootstrap;
pub mod cell;
mod checksum;
pub mod cluster;
pub mod context;
pub mod counters;
pub mod data;
pub mod edges;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod gcs_client;
pub mod gcs_net;
pub mod graph;
pub mod ingress;
pub mod lane;
pub mod live;
pub mod node;
pub mod object_manager;
pub mod options;
pub mod panics;
pub mod placement;
pub mod pool;
pub mod scheduler;
pub mod store;
pub mod supervision;
pub mod supervisor;
pub mod task;
pub mod user;
pub mod waits;
