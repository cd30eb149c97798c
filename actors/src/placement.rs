//! Placement: what runs where, down to the device.
//!
//! Owns: each node's resources, the devices of GPU-like resources, and placement groups, as a plain state machine
//! ([`PlacementCore`]). Does not own: which node a plain task should go to (the schedulers'), or starting anything.
//!
//! Three layers: a [`NodeResources`] is one pool with numbered devices, a node's or a bundle's; a *plan* reserves the
//! bundles of a group on nodes, all or none; the [`PlacementCore`] keeps pools, groups and who waits.
//!
//! Words and rules are Ray's: a fraction of a GPU lies on one device, more than one GPU is a whole number of whole
//! devices, and a bundle lies on one node.

pub mod core;
pub mod explain;
pub mod groups;
pub mod node;
mod plan;
mod queue;

#[cfg(test)]
mod tests;

pub use self::{
    core::{Lease, PlacementCore},
    explain::{GroupError, GroupInfeasible, GroupStatus, Infeasible, Refusal},
    groups::{GroupRequest, PlacementEffect, PlacementStrategy},
    node::{Allocation, Device, DeviceShare, NodeResources},
    plan::plan_bundles,
};
