//! Arguments that have come from another process.
//!
//! Owns: that what they refer to is received, by whoever takes them or by nobody. Invariant: each reference that another
//! process has sent to this one is told to the [`super::RefCore`] once, and given back when nothing holds it: also where the
//! task cannot be run.

use std::sync::Arc;

use super::CoreWorker;
use crate::cluster::{
    objects::Portable,
    wire::{ProcessId, WireArg},
};

/// One argument, received.
pub enum ArrivedArg {
    /// A value.
    Value(Portable),
    /// Values that together make one argument, in order.
    Gather(Vec<Portable>),
}

/// The arguments of one task, in order; those that nobody takes are given back.
pub struct Arrived<'a> {
    core: &'a Arc<CoreWorker>,
    from: ProcessId,
    args: std::vec::IntoIter<WireArg>,
}

impl<'a> Arrived<'a> {
    /// What `from` has sent.
    #[must_use]
    pub fn new(core: &'a Arc<CoreWorker>, from: ProcessId, args: Vec<WireArg>) -> Self {
        Self { core, from, args: args.into_iter() }
    }
}

impl Iterator for Arrived<'_> {
    type Item = ArrivedArg;

    fn next(&mut self) -> Option<ArrivedArg> {
        let receive = |value| self.core.import(self.from, value);
        Some(match self.args.next()? {
            WireArg::Value(value) => ArrivedArg::Value(receive(value)),
            WireArg::Gather(values) => ArrivedArg::Gather(values.into_iter().map(receive).collect()),
        })
    }
}

impl Drop for Arrived<'_> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}
