//! Whom a node asks for an executable that it lacks, and who waits for it.
//!
//! Owns: that choice. The pieces are the shell's. Invariants: one node at a time is asked for an executable, one that is
//! connected and whose driver runs it; where there is none, nobody waits to be started, and what is wanted is started when such
//! a node is back or the executable here.

use actinic_gcs::{JobId, NodeId, WorkerId};

use super::{Phase, PoolCore, PoolEffect};
use crate::cluster::wire::{ExeHash, JobCode};

/// An executable on its way.
pub(super) struct Fetch {
    /// Who was asked last.
    from: NodeId,
    starts: Vec<(WorkerId, JobCode)>,
}

impl PoolCore {
    /// The executable of a worker that is to be started is not here.
    pub fn on_code_missing(&mut self, worker: WorkerId, code: JobCode, effects: &mut Vec<PoolEffect>) {
        match self.fetches.get_mut(&code.exe) {
            Some(fetch) => fetch.starts.push((worker, code)),
            None => self.ask(code.exe, vec![(worker, code)], effects),
        }
    }

    /// A piece of an executable has come, and more is missing.
    pub fn on_piece(&mut self, exe: ExeHash, effects: &mut Vec<PoolEffect>) {
        if let Some(fetch) = self.fetches.remove(&exe) {
            self.ask(exe, fetch.starts, effects);
        }
    }

    /// An executable is here.
    pub fn on_code(&mut self, exe: ExeHash, effects: &mut Vec<PoolEffect>) {
        let starts = self.fetches.remove(&exe).map(|fetch| fetch.starts).unwrap_or_default();
        effects.extend(starts.into_iter().map(|(worker, code)| PoolEffect::Start(worker, Box::new(code))));
        self.start_missing_of(|code| code.exe == exe, effects);
    }

    /// An executable cannot be had here: its jobs get no workers.
    pub fn on_no_code(&mut self, exe: ExeHash, reason: &str, effects: &mut Vec<PoolEffect>) {
        let starts = self.fetches.remove(&exe).map(|fetch| fetch.starts).unwrap_or_default();
        for (_, code) in starts {
            self.workers.retain(|_, worker| worker.job != code.job || worker.phase != Phase::Starting);
            if let Some(job) = self.jobs.get_mut(&code.job) {
                let waiting = std::mem::take(&mut job.waiting);
                effects.extend(waiting.into_iter().map(|(lease, _)| PoolEffect::NoWorker(lease, reason.to_owned())));
                job.hopeless = Some(reason.to_owned());
            }
        }
    }

    /// Another node is connected.
    pub fn on_node(&mut self, node: NodeId, effects: &mut Vec<PoolEffect>) {
        self.connected.insert(node);
        self.start_missing_of(|code| code.driver.node == node, effects);
    }

    /// Another node is not connected any more; it may come back.
    pub fn on_node_gone(&mut self, node: NodeId, effects: &mut Vec<PoolEffect>) {
        self.connected.remove(&node);
        let from_it = self.fetches.iter().filter(|(_, fetch)| fetch.from == node).map(|(exe, _)| *exe);
        for exe in from_it.collect::<Vec<_>>() {
            self.on_piece(exe, effects);
        }
    }

    /// Nobody waits for executables on behalf of this job any more.
    pub(super) fn forget_starts(&mut self, job: JobId, effects: &mut Vec<PoolEffect>) {
        self.fetches.values_mut().for_each(|fetch| fetch.starts.retain(|(_, code)| code.job != job));
        let empty = self.fetches.iter().filter(|(_, fetch)| fetch.starts.is_empty()).map(|(exe, _)| *exe);
        effects.extend(empty.map(PoolEffect::DropPieces));
        self.fetches.retain(|_, fetch| !fetch.starts.is_empty());
    }

    fn ask(&mut self, exe: ExeHash, starts: Vec<(WorkerId, JobCode)>, effects: &mut Vec<PoolEffect>) {
        let has_it = starts.iter().map(|(_, code)| code.driver.node).find(|node| self.connected.contains(node));
        match has_it {
            Some(from) => {
                self.fetches.insert(exe, Fetch { from, starts });
                effects.push(PoolEffect::Fetch(exe, from));
            }
            None => {
                starts.iter().for_each(|(worker, _)| drop(self.workers.remove(worker)));
                effects.push(PoolEffect::DropPieces(exe));
            }
        }
    }

    fn start_missing_of(&mut self, has: impl Fn(&JobCode) -> bool, effects: &mut Vec<PoolEffect>) {
        let of_code = self.jobs.iter().filter(|(_, job)| has(&job.code)).map(|(id, _)| *id);
        for job in of_code.collect::<Vec<_>>() {
            self.start_missing(job, effects);
        }
    }
}
