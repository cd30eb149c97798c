//! Whether a worker needs its CPU: one that runs tasks which all wait for others does not. And whether others need the worker.
//!
//! Owns: telling the node. How it is known: a task that blocks has given its CPU token back to the lane, and so has an async
//! one between polls; so if all tokens are free, nothing is queued and no task has begun between two looks, all that is here
//! waits. A look costs a few loads, and is taken while tasks are here only. Invariant: the node is told of a change once; a
//! lease that it was told of is this worker's last.

use super::{CoreWorker, LeaseId, ToNode};
use crate::{node::Node, task::TaskState};

/// Looks in a row that find all waiting before the node is told.
const LOOKS: u32 = 2;

/// What was seen at the last look.
#[derive(Default)]
pub(super) struct Rest {
    serving: Option<LeaseId>,
    /// Of a grant with accelerators: its tasks need no token, so nothing can be told from those.
    unknown: bool,
    progress: u64,
    looks: u32,
    told: Option<LeaseId>,
}

impl CoreWorker {
    /// Whether others would miss this process though it has nothing to do: it owns or passes on what they can reach, has made a
    /// placement group that is still there, or waits for something that it has submitted.
    pub(super) fn is_needed(&self) -> bool {
        if self.state.lock().refs.is_needed() || !self.groups.lock().is_empty() {
            return true;
        }
        let Some(node) = self.engine() else { return false };
        crate::live::snapshot(node.tag).iter().any(|task| task.head().state() != TaskState::Done)
    }

    /// A task has come under this lease.
    pub(super) fn serve(&self, lease: LeaseId, has_gpus: bool) {
        let mut rest = self.rest.lock();
        (rest.serving, rest.unknown) = (Some(lease), has_gpus);
    }

    /// Looks whether all that runs here waits; gives whether anything has run here since the last look.
    pub(super) fn look_at_rest(&self, node: &Node) -> bool {
        let busy = !self.running.lock().tasks.is_empty();
        let mut rest = self.rest.lock();
        let (lane, progress) = (&node.lane, node.lane.progress());
        let progressed = std::mem::replace(&mut rest.progress, progress) != progress;
        // Looks go on between tasks that follow one another: to begin them for each would wake a thread each time.
        let runs = busy || progressed;
        let Some(serving) = rest.serving else { return runs };
        let free = lane.free_tokens() >= i64::try_from(node.cpus_whole()).unwrap_or(i64::MAX);
        let waits = busy && free && !rest.unknown && !lane.has_tasks();
        rest.looks = if waits && !progressed { rest.looks.saturating_add(1) } else { 0 };
        if rest.told.is_some_and(|told| told != serving) {
            // That lease has ended, and what was lent with it.
            rest.told = None;
        }
        let word = match rest.told {
            None if rest.looks >= LOOKS => Some(ToNode::Blocked(serving)),
            Some(_) if rest.looks == 0 => Some(ToNode::Unblocked(serving)),
            _ => None,
        };
        if let Some(word) = word {
            rest.told = matches!(word, ToNode::Blocked(_)).then_some(serving);
            drop(rest);
            self.to_node(&word);
        }
        runs
    }
}
