//! Data edges: a task starts when the last object that it takes is there.
//!
//! Owns: arming a task with its missing objects. Each missing object holds one count of the task; the submission itself
//! holds one more, so that the task cannot start while it is still being armed.

use std::sync::Arc;

use crate::{
    cell::{Dependent, Waiter},
    node::Node,
    task::Task,
};

struct Edge {
    task: Arc<dyn Task>,
    node: Arc<Node>,
}

impl Dependent for Edge {
    fn dependency_ready(self: Arc<Self>) {
        if self.task.head().one_ready() {
            let task = self.task.clone();
            let node = self.node.clone();
            // Through this thread's outbox if it has one, so that a chain of tasks stays on one worker.
            let mut given = Some(task);
            let _ = crate::context::with_thread(|thread| {
                if Arc::ptr_eq(&thread.node, &node) {
                    if let Some(task) = given.take() {
                        node.ready(task, Some(thread));
                    }
                }
            });
            if let Some(task) = given {
                node.ready(task, None);
            }
        }
    }
}

/// Registers `task` with each object that it still misses; true where it misses none.
#[must_use]
pub fn arm(node: &Arc<Node>, task: &Arc<dyn Task>) -> bool {
    let head = task.head();
    if head.dependencies.is_some() {
        let edge: Arc<dyn Dependent> = Arc::new(Edge { task: task.clone(), node: node.clone() });
        task.each_dependency(&mut |object| {
            head.add_missing();
            if !object.register(Waiter::Dependent(edge.clone())) {
                let _ = head.one_ready();
            }
        });
    }
    head.one_ready()
}
