//! A node's worker pool: workers that are started, assigned and ended.
//!
//! Owns: what `cluster/workers.rs` does with what `PoolCore` decides, and the driver's executable on its way to the node.

use std::sync::Arc;

use actinic_actors::cluster::{
    local::LocalEvent,
    wire::{ExeHash, FromNode, JobCode, NodeFrame, ProcessId, ToNode},
    workers::{core::PoolEffect, PoolEvent},
};
use actinic_gcs::WorkerId;

use super::{
    events::{Event, Up},
    node::{NodeSim, LOOK_NS, MAIN, PART_BYTES, PROCESSES},
    World,
};
use crate::meter::Core;

impl World {
    pub(super) fn on_pool(&mut self, at: u32, event: PoolEvent) {
        let now = self.millis(at);
        let node = &mut self.nodes[at as usize];
        if !node.alive {
            return;
        }
        let (has_exe, core, mut effects) = (node.has_exe, &mut node.pool, Vec::new());
        match event {
            PoolEvent::Lost(worker) => self.kill(at, worker),
            // Nobody prints.
            PoolEvent::Flush { .. } => {}
            PoolEvent::Part(exe, offset, bytes) => self.on_part(at, exe, offset, bytes.err()),
            event => self.meter.timed(Core::Pool, || match event {
                PoolEvent::Job(code, ahead) => core.on_job(&code, ahead, &mut effects),
                PoolEvent::Need(lease, purpose, code) => core.on_need(lease, purpose, &code, &mut effects),
                PoolEvent::Ended(lease) => core.on_ended(now, lease, &mut effects),
                PoolEvent::Ready(worker) => core.on_ready(now, worker, &mut effects),
                PoolEvent::JobGone(job) => core.on_job_gone(job, &mut effects),
                PoolEvent::Node(node) => core.on_node(node, &mut effects),
                PoolEvent::Alive(nodes) => core.on_alive(&nodes, &mut effects),
                PoolEvent::NodeGone(node) => core.on_node_gone(node, &mut effects),
                PoolEvent::Keep(code) => core.on_keep(*code, has_exe, &mut effects),
                PoolEvent::MayEnd(worker, question, may) => {
                    core.on_may_end(now, worker, question, may, &mut effects);
                }
                PoolEvent::Lost(_) | PoolEvent::Part(..) | PoolEvent::Kill(..) | PoolEvent::Flush { .. } => {}
            }),
        }
        self.pool_effects(at, effects);
    }

    pub(super) fn pool_effects(&mut self, at: u32, effects: Vec<PoolEffect>) {
        for effect in effects {
            match effect {
                PoolEffect::Start(worker, code) => self.start_worker(at, worker, *code),
                PoolEffect::Assign(lease, worker) => {
                    let worker = ProcessId { node: self.nodes[at as usize].id, worker };
                    self.tell_local(at, PROCESSES, LocalEvent::Worker(lease, worker));
                }
                PoolEffect::Stop(worker) => self.stop(at, worker),
                PoolEffect::AskToEnd(worker, question) => {
                    let worker = ProcessId { node: self.nodes[at as usize].id, worker };
                    self.to_process(at, worker, FromNode::MayEnd(question));
                }
                PoolEffect::Unfit(job, why) => self.tell_local(at, PROCESSES, LocalEvent::Unfit(job, Some(why))),
                PoolEffect::Fit(job) => self.tell_local(at, PROCESSES, LocalEvent::Unfit(job, None)),
                PoolEffect::Unused(_) => {}
                PoolEffect::Fetch(exe, from) => {
                    let offset = *self.nodes[at as usize].exe_arriving.get_or_insert(0);
                    self.to_node(at, from, NodeFrame::FetchExe { exe, offset });
                }
                PoolEffect::DropPieces(_) => self.nodes[at as usize].exe_arriving = None,
                PoolEffect::NoWorker(lease, why) => self.tell_local(at, PROCESSES, LocalEvent::NoWorker(lease, why)),
            }
        }
        let node = &mut self.nodes[at as usize];
        node.workers = node.pool.len() as u32;
        self.check_node(at);
    }

    pub(super) fn pool_look(&mut self, at: u32) {
        let now = self.millis(at);
        let node = &mut self.nodes[at as usize];
        if !node.alive {
            return;
        }
        self.queue.at(self.now + LOOK_NS, Event::PoolLook(at));
        let (core, mut effects) = (&mut node.pool, Vec::new());
        self.meter.timed(Core::Pool, || core.on_time(now, &mut effects));
        self.pool_effects(at, effects);
        // Nodes look five times a second; nothing comes of it but where one has been lost.
        let is_alive = |node: &&NodeSim| node.alive;
        if self.nodes.iter().any(|node| !node.alive) {
            let alive = self.nodes.iter().filter(is_alive).map(|node| node.id).collect();
            self.tell_pool(at, MAIN, PoolEvent::Alive(alive));
        }
    }

    fn start_worker(&mut self, at: u32, worker: WorkerId, code: JobCode) {
        let node = &mut self.nodes[at as usize];
        if node.has_exe {
            return self.spawn(at, worker, &code);
        }
        let mut effects = Vec::new();
        node.pool.on_code_missing(worker, code, &mut effects);
        self.pool_effects(at, effects);
    }

    pub(super) fn spawn(&mut self, at: u32, worker: WorkerId, code: &JobCode) {
        let node = &mut self.nodes[at as usize];
        node.codes.insert(worker, Arc::new(code.clone()));
        node.running.insert(worker);
        let more = if self.model.jitter == 0 { 0 } else { self.rng.below(self.model.start_ns) };
        self.queue.at(self.now + self.model.start_ns + more, Event::Started(at, worker));
    }

    fn on_part(&mut self, at: u32, exe: ExeHash, offset: u64, refused: Option<String>) {
        let bytes = self.model.exe_bytes;
        let node = &mut self.nodes[at as usize];
        let Some(come) = node.exe_arriving.as_mut().filter(|come| **come == offset) else { return };
        let mut effects = Vec::new();
        if let Some(why) = refused {
            node.pool.on_refused(exe, why, &mut effects);
            return self.pool_effects(at, effects);
        }
        *come += PART_BYTES;
        if *come < bytes {
            node.pool.on_piece(exe, &mut effects);
        } else {
            (node.exe_arriving, node.has_exe) = (None, true);
            node.pool.on_code(exe, &mut effects);
        }
        self.pool_effects(at, effects);
    }

    /// A worker process has come up: it calls, is let in, and says that it is ready.
    pub(super) fn on_started(&mut self, at: u32, worker: WorkerId) {
        let node = &self.nodes[at as usize];
        let Some(code) = node.codes.get(&worker).filter(|_| node.alive && node.running.contains(&worker)).cloned()
        else {
            return;
        };
        let number = self.add_process(at, ProcessId { node: node.id, worker }, code);
        self.send_up(number, Up::Frame(ToNode::Ready { address: None }));
    }
}
