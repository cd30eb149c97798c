//! A task of this process as the submit core holds it.
//!
//! Owns: nothing but the task. Invariant: what the core asks of it is what the task says.

use std::sync::Arc;

use actinic_gcs::TaskId;

use crate::{
    cluster::{objects::inputs::inputs_of, submit::core::Queued, work::InputBytes},
    task::Task,
};

/// A task as the submit core holds it.
#[derive(Clone)]
pub(super) struct Sent(pub(super) Arc<dyn Task>);

impl Queued for Sent {
    fn id(&self) -> TaskId {
        self.0.head().id
    }

    fn claim(&self) -> bool {
        self.0.head().claim()
    }

    fn function(&self) -> u64 {
        // The name stands for the function, and its address for the name: both last as long as the program.
        self.0.head().name.as_ptr() as u64
    }

    fn inputs(&self) -> InputBytes {
        inputs_of(&*self.0)
    }

    fn put_back(&self) -> bool {
        self.0.head().put_back()
    }
}
