//! Whom a node asks for an executable that it lacks, and who waits for it.
//!
//! Owns: that choice. The pieces are the shell's. The node of a driver has the driver's executable; where that is away, so may
//! any other that ran its tasks or actors. Invariants: one node at a time is asked for an executable, and each once that says
//! that it lacks it; where none is left, nobody waits to be started, and what is wanted is started when the driver's node is
//! back, another one comes, or the executable is here.

use std::collections::BTreeMap;

use actinic_gcs::{JobId, NodeId, WorkerId};

use super::{Phase, PoolCore, PoolEffect};
use crate::cluster::wire::{ExeHash, JobCode};

/// An executable on its way.
pub(super) struct Fetch {
    /// Who was asked last.
    from: NodeId,
    starts: Starts,
    /// Who lacks it, and what he said.
    without: BTreeMap<NodeId, String>,
}

/// What is wanted of an executable: that a worker is started, or only that it is here.
type Starts = Vec<(Option<WorkerId>, JobCode)>;

impl PoolCore {
    /// The executable of a worker that is to be started is not here.
    pub fn on_code_missing(&mut self, worker: WorkerId, code: JobCode, effects: &mut Vec<PoolEffect>) {
        self.want(Some(worker), code, effects);
    }

    /// The executable of a detached actor that this node keeps, and whether it is here: it will be wanted though its driver's
    /// node be gone.
    pub fn on_keep(&mut self, code: JobCode, is_here: bool, effects: &mut Vec<PoolEffect>) {
        self.keeps.insert(code.exe);
        if !is_here {
            self.want(None, code, effects);
        }
    }

    fn want(&mut self, worker: Option<WorkerId>, code: JobCode, effects: &mut Vec<PoolEffect>) {
        match self.fetches.get_mut(&code.exe) {
            Some(fetch) => fetch.starts.push((worker, code)),
            None => self.ask(code.exe, vec![(worker, code)], BTreeMap::new(), effects),
        }
    }

    /// A piece of an executable has come, and more is missing.
    pub fn on_piece(&mut self, exe: ExeHash, effects: &mut Vec<PoolEffect>) {
        if let Some(fetch) = self.fetches.remove(&exe) {
            self.ask(exe, fetch.starts, fetch.without, effects);
        }
    }

    /// Who was asked for an executable lacks it, or cannot read it.
    pub fn on_refused(&mut self, exe: ExeHash, why: String, effects: &mut Vec<PoolEffect>) {
        if let Some(mut fetch) = self.fetches.remove(&exe) {
            fetch.without.insert(fetch.from, why);
            self.ask(exe, fetch.starts, fetch.without, effects);
        }
    }

    /// An executable is here.
    pub fn on_code(&mut self, exe: ExeHash, effects: &mut Vec<PoolEffect>) {
        let starts = self.fetches.remove(&exe).map(|fetch| fetch.starts).unwrap_or_default();
        let starts = starts.into_iter().filter_map(|(worker, code)| Some((worker?, Box::new(code))));
        effects.extend(starts.map(|(worker, code)| PoolEffect::Start(worker, code)));
        self.start_missing_of(|code| code.exe == exe, effects);
    }

    /// An executable cannot be kept here: its jobs get no workers.
    pub fn on_no_code(&mut self, exe: ExeHash, reason: &str, effects: &mut Vec<PoolEffect>) {
        let starts = self.fetches.remove(&exe).map(|fetch| fetch.starts).unwrap_or_default();
        self.no_code(starts, reason, effects);
    }

    fn no_code(&mut self, starts: Starts, reason: &str, effects: &mut Vec<PoolEffect>) {
        for (_, code) in starts {
            self.workers.retain(|_, worker| worker.job != code.job || worker.phase != Phase::Starting);
            if let Some(job) = self.jobs.get_mut(&code.job) {
                if job.hopeless.is_none() {
                    job.give_up(code.job, reason, effects);
                }
            }
        }
    }

    /// Another node is connected.
    pub fn on_node(&mut self, node: NodeId, effects: &mut Vec<PoolEffect>) {
        self.connected.insert(node);
        let (me, connected) = (self.node, self.connected.clone());
        let is_away = |at: NodeId| at != me && !connected.contains(&at);
        self.start_missing_of(|code| code.driver.node == node || is_away(code.driver.node), effects);
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

    fn ask(&mut self, exe: ExeHash, starts: Starts, without: BTreeMap<NodeId, String>, effects: &mut Vec<PoolEffect>) {
        let of_drivers = || starts.iter().map(|(_, code)| code.driver.node);
        let may_have = |node: &NodeId| self.connected.contains(node) && !without.contains_key(node);
        if let Some(from) = of_drivers().chain(self.connected.iter().copied()).find(may_have) {
            self.fetches.insert(exe, Fetch { from, starts, without });
            return effects.push(PoolEffect::Fetch(exe, from));
        }
        effects.push(PoolEffect::DropPieces(exe));
        match of_drivers().find_map(|node| without.get(&node)) {
            // Who must have it does not.
            Some(why) => {
                let why = why.clone();
                self.no_code(starts, &why, effects);
            }
            None => {
                starts.iter().filter_map(|(worker, _)| *worker).for_each(|worker| drop(self.workers.remove(&worker)))
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
