//! Who waits for what, to tell a cycle of blocking gets from a long wait.
//!
//! Owns: the tasks that are blocked right now, each with the object it waits for. A cycle closes with its last wait, so
//! it is searched for when a wait begins, and only then; all searches take one lock, so of two waits that close a cycle
//! at once one finds it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use actinic_gcs::TaskId;

use crate::task::{Object, Task, TaskState};

struct Wait {
    name: &'static str,
    object: Arc<dyn Object>,
}

/// The blocked tasks.
#[derive(Default)]
pub struct WaitGraph {
    waits: BTreeMap<TaskId, Wait>,
}

impl WaitGraph {
    /// The tasks of one thread, outermost first, begin to wait: each for the one that runs above it, and the innermost
    /// for `object`.
    ///
    /// # Errors
    /// The names of a cycle that this wait would close; nothing is entered then.
    pub fn enter(&mut self, frames: &[(TaskId, &'static str)], object: &Arc<dyn Object>) -> Result<(), Vec<String>> {
        let Some((innermost, name)) = frames.last() else { return Ok(()) };
        let ours: BTreeMap<TaskId, &'static str> = frames.iter().copied().collect();
        let mut path = vec![(*name).to_owned()];
        let mut seen = BTreeSet::new();
        if self.reaches(object, &ours, &mut path, &mut seen) {
            return Err(path);
        }
        self.waits.insert(*innermost, Wait { name, object: object.clone() });
        // Those below wait, in effect, for the same.
        for (id, name) in &frames[..frames.len() - 1] {
            self.waits.insert(*id, Wait { name, object: object.clone() });
        }
        Ok(())
    }

    /// The tasks of one thread wait no longer.
    pub fn leave(&mut self, frames: &[(TaskId, &'static str)]) {
        for (id, _) in frames {
            self.waits.remove(id);
        }
    }

    /// What the task waits for, if it is blocked.
    #[must_use]
    pub fn waits_for(&self, task: TaskId) -> Option<Arc<dyn Object>> {
        self.waits.get(&task).map(|wait| wait.object.clone())
    }

    fn reaches(
        &self,
        object: &Arc<dyn Object>,
        ours: &BTreeMap<TaskId, &'static str>,
        path: &mut Vec<String>,
        seen: &mut BTreeSet<TaskId>,
    ) -> bool {
        if object.is_ready() {
            return false;
        }
        let Some(producer) = object.clone().producer() else { return false };
        self.task_reaches(&producer, ours, path, seen)
    }

    fn task_reaches(
        &self,
        task: &Arc<dyn Task>,
        ours: &BTreeMap<TaskId, &'static str>,
        path: &mut Vec<String>,
        seen: &mut BTreeSet<TaskId>,
    ) -> bool {
        let head = task.head();
        // A chain of data edges can be as long as the program; a cycle needs a blocked task, which is soon met.
        if seen.len() > 10_000 || !seen.insert(head.id) {
            return false;
        }
        path.push(head.name.to_owned());
        if ours.contains_key(&head.id) {
            return true;
        }
        let found = match head.state() {
            TaskState::Done => false,
            TaskState::Waiting | TaskState::Queued => {
                let mut missing = Vec::new();
                task.each_dependency(&mut |object| missing.push(object));
                missing.iter().any(|object| self.reaches(object, ours, path, seen))
                    || task.waits_for_calls().iter().any(|call| self.call_reaches(*call, ours, path, seen))
            }
            TaskState::Running | TaskState::Notified | TaskState::Suspended => {
                self.call_reaches(head.id, ours, path, seen)
            }
        };
        if !found {
            path.pop();
        }
        found
    }

    fn call_reaches(
        &self,
        call: TaskId,
        ours: &BTreeMap<TaskId, &'static str>,
        path: &mut Vec<String>,
        seen: &mut BTreeSet<TaskId>,
    ) -> bool {
        if let Some(name) = ours.get(&call) {
            path.push((*name).to_owned());
            return true;
        }
        let Some(wait) = self.waits.get(&call) else { return false };
        path.push(wait.name.to_owned());
        if self.reaches(&wait.object, ours, path, seen) {
            return true;
        }
        path.pop();
        false
    }
}
