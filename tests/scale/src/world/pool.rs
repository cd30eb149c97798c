//! A node's worker pool: workers that are started, assigned and ended.
//!
//! Owns: what `cluster/workers.rs` does with what `PoolCore` decides, and the driver's executable on its way to the node.

use std::sync::Arc;

use actinic_actors::cluster::{
    local::LocalEvent,
    wire::{JobCode, NodeFrame, ProcessId, ToNode},
    workers::{core::PoolEffect, PoolEvent},
};
use actinic_gcs::{NodeId, WorkerId};

use super::{
    events::{Event, Up},
    node::{Exe, NodeSim, LOOK_NS, MAIN, PART_BYTES, PROCESSES},
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
        let (core, mut effects) = (&mut node.pool, Vec::new());
        match event {
            PoolEvent::Lost(worker) => self.kill(at, worker),
            PoolEvent::Part(_, offset, _) => self.on_part(at, offset),
            PoolEvent::NodeGone(gone) => {
                core.on_node_gone(gone);
                self.source_gone(at, gone);
            }
            event => self.meter.timed(Core::Pool, || match event {
                PoolEvent::Job(code, ahead) => core.on_job(&code, ahead, &mut effects),
                PoolEvent::Need(lease, purpose, code) => core.on_need(lease, purpose, &code, &mut effects),
                PoolEvent::Ended(lease) => core.on_ended(now, lease, &mut effects),
                PoolEvent::Ready(worker) => core.on_ready(now, worker, &mut effects),
                PoolEvent::JobGone(job) => core.on_job_gone(job, &mut effects),
                PoolEvent::Node(node) => core.on_node(node, &mut effects),
                PoolEvent::Alive(nodes) => core.on_alive(&nodes, &mut effects),
                PoolEvent::Lost(_) | PoolEvent::NodeGone(_) | PoolEvent::Part(..) | PoolEvent::Kill(..) => {}
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
                PoolEffect::Stop(worker) => self.kill(at, worker),
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
        match &mut self.nodes[at as usize].exe {
            Exe::Here => self.spawn(at, worker, &code),
            Exe::Arriving(starts) => starts.push((worker, code)),
            Exe::Missing => self.fetch(at, 0, vec![(worker, code)]),
        }
    }

    /// As in `cluster/workers.rs`: the first driver's node that is connected is asked for the rest.
    fn fetch(&mut self, at: u32, offset: u64, mut starts: Vec<(WorkerId, JobCode)>) {
        let is_connected = |code: &JobCode| self.nodes[at as usize].hub.contains_key(&self.index(code.driver.node));
        let Some(first) = starts.iter().position(|(_, code)| is_connected(code)) else {
            let node = &mut self.nodes[at as usize];
            node.exe = Exe::Missing;
            return starts.into_iter().for_each(|(worker, _)| node.pool.on_not_started(worker));
        };
        starts.rotate_left(first);
        let (exe, from) = (starts[0].1.exe, starts[0].1.driver.node);
        let node = &mut self.nodes[at as usize];
        (node.exe, node.exe_offset) = (Exe::Arriving(starts), offset);
        self.to_node(at, from, NodeFrame::FetchExe { exe, offset });
    }

    fn source_gone(&mut self, at: u32, gone: NodeId) {
        let node = &mut self.nodes[at as usize];
        let Exe::Arriving(starts) = &mut node.exe else { return };
        if starts.first().is_some_and(|(_, code)| code.driver.node == gone) {
            let (starts, offset) = (std::mem::take(starts), node.exe_offset);
            self.fetch(at, offset, starts);
        }
    }

    pub(super) fn spawn(&mut self, at: u32, worker: WorkerId, code: &JobCode) {
        let node = &mut self.nodes[at as usize];
        node.codes.insert(worker, Arc::new(code.clone()));
        node.running.insert(worker);
        let more = if self.model.jitter == 0 { 0 } else { self.rng.below(self.model.start_ns) };
        self.queue.at(self.now + self.model.start_ns + more, Event::Started(at, worker));
    }

    fn on_part(&mut self, at: u32, offset: u64) {
        let bytes = self.model.exe_bytes;
        let Exe::Arriving(starts) = &mut self.nodes[at as usize].exe else { return };
        let (starts, next) = (std::mem::take(starts), offset + PART_BYTES);
        if next < bytes {
            return self.fetch(at, next, starts);
        }
        self.nodes[at as usize].exe.adopt();
        let exe = starts.first().map(|(_, code)| code.exe);
        starts.into_iter().for_each(|(worker, code)| self.spawn(at, worker, &code));
        let mut effects = Vec::new();
        exe.into_iter().for_each(|exe| self.nodes[at as usize].pool.on_code(exe, &mut effects));
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
