//! How a worker process ends.
//!
//! Owns: its end and when its node notices it, a while later. Invariant: a process ends once.

use actinic_actors::cluster::wire::{ProcessId, ToNode};
use actinic_gcs::WorkerId;

use super::{
    events::{Event, Up},
    node::PROCESSES,
    World,
};
use crate::meter::Core;

impl World {
    /// As `CoreWorker::is_needed`: a worker is asked whether it may end.
    pub(super) fn may_end(&mut self, process: u32, question: u64) {
        let proc = &mut self.procs[process as usize];
        let waits = proc.submit.has_queued() || proc.submit.has_under_way();
        proc.parts = !waits && !proc.refs.is_needed();
        let may = proc.parts;
        self.send_up(process, Up::Frame(ToNode::MayEnd { question, may }));
    }

    /// A worker that is not wanted any more ends; where it was asked whether it may, nothing is lost with it.
    pub(super) fn stop(&mut self, at: u32, worker: WorkerId) {
        if let Some(process) = self.nodes[at as usize].procs.get(&worker).copied() {
            if self.procs[process as usize].alive && self.procs[process as usize].parts {
                self.refs_part(process);
            }
        }
        self.kill(at, worker);
    }

    /// Ends a worker process, which its node notices.
    pub(super) fn kill(&mut self, at: u32, worker: WorkerId) {
        let node = &mut self.nodes[at as usize];
        if !node.running.remove(&worker) {
            return;
        }
        if let Some(number) = node.procs.get(&worker).copied() {
            self.end_process(number);
        }
        let more = self.rng.below(self.model.exit_ns * self.model.jitter + 1);
        self.queue.at(self.now + self.model.exit_ns + more, Event::Exited(at, worker));
    }

    pub(super) fn on_exited(&mut self, at: u32, worker: WorkerId) {
        let node = &mut self.nodes[at as usize];
        if !node.alive {
            return;
        }
        node.running.remove(&worker);
        let (core, mut effects) = (&mut node.pool, Vec::new());
        self.meter.timed(Core::Pool, || core.on_exit(worker, "it was ended", &mut effects));
        let process = ProcessId { node: node.id, worker };
        self.process_gone(at, PROCESSES, process, "it was ended");
        self.pool_effects(at, effects);
    }
}
