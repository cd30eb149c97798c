//! What a node hears, and whom it reaches.
//!
//! Owns: what `node/peers.rs`, `node.rs` and `hub.rs` do: handing each frame to the actor that it concerns, frames on their
//! way through a node, and telling of whoever is gone. Counts what is sent between processes.

#![allow(clippy::wrong_self_convention, reason = "what goes to somebody changes the world")]

use std::sync::Arc;

use actinic_actors::cluster::{
    global::GlobalEvent,
    local::LocalEvent,
    objects::manager::ObjectEvent,
    wire::{DataFrame, FromNode, LeaseId, NodeFrame, ProcessId, RunTask, ToNode, WireValue},
    workers::PoolEvent,
};
use actinic_gcs::{FunctionId, JobId, NodeId, TaskId};
use bytes::Bytes;
use serde::Serialize;

use super::{
    actors::KeeperWord,
    events::{Between, Channel, Data, Down, Event, Up},
    node::{MAIN, PART_BYTES},
    objects::ObjectWord,
    World,
};

/// What a frame takes on the wire: its length and its body.
pub(super) fn encoded(frame: &impl Serialize) -> u64 {
    rmp_serde::to_vec(frame).map_or(0, |body| body.len() as u64) + 4
}

/// What travels for a message of two processes: bytes of true frames about an empty task, encoded once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    run: u64,
    done: u64,
}

impl Sizes {
    /// Encodes the frames.
    pub(super) fn measured() -> Self {
        let lease = LeaseId { node: NodeId(u128::MAX), number: 1_000 };
        let task = TaskId::driver(JobId(1)).child(1);
        let run = RunTask {
            id: task,
            parent: TaskId::driver(JobId(1)),
            function: FunctionId(u128::MAX),
            num_returns: 1,
            args: Vec::new(),
            gpus: Vec::new(),
        };
        let outcomes = vec![Ok(WireValue::default())];
        let done = DataFrame::Done { lease, task, ran_us: 1_000, outcomes };
        Self { run: encoded(&DataFrame::Run(lease, Box::new(run))), done: encoded(&done) }
    }

    fn of(self, data: &Data) -> u64 {
        match data {
            Data::Run(_, task) => self.run + task.bytes + task.input.as_deref().map_or(0, World::locator_bytes),
            Data::Done { .. } => self.done,
            // Ids of tasks, and about as much as the rest of an end.
            Data::TakeBack(_, tasks) | Data::GivenBack(_, tasks) => self.done + 18 * tasks.len() as u64,
            Data::Release(..) | Data::Borrow(_) | Data::Fetch(_) | Data::Object(..) | Data::GivenUp(_) => self.done,
        }
    }
}

fn name_of_data(data: &Data, between: bool) -> &'static str {
    match (data, between) {
        (Data::Run(..), false) => "run",
        (Data::Run(..), true) => "run, between nodes",
        (Data::Done { .. }, false) => "done",
        (Data::Done { .. }, true) => "done, between nodes",
        (Data::TakeBack(..) | Data::GivenBack(..), _) => "back",
        (Data::Release(..) | Data::Borrow(_), _) => "reference",
        (Data::Fetch(_) | Data::Object(..), _) => "value",
        (Data::GivenUp(_), _) => "given up",
    }
}

fn name_of(frame: &NodeFrame) -> &'static str {
    match frame {
        NodeFrame::Load(_) => "load",
        NodeFrame::Spilled(_) => "spilled",
        NodeFrame::Place(_) => "place",
        NodeFrame::Object(_) => "object, to a node",
        NodeFrame::Actor { .. } => "actor, to a node",
        NodeFrame::Group(_) => "group, to a node",
        NodeFrame::ForProcess { .. } => "for a process",
        NodeFrame::Return(_) => "return, to a node",
        NodeFrame::Gone { .. } | NodeFrame::JobGone(_) => "gone",
        NodeFrame::FetchExe { .. } | NodeFrame::ExePart { .. } => "executable",
        _ => "other",
    }
}

impl World {
    // --- ways out --------------------------------------------------------------------------------------------------

    pub(super) fn send_up(&mut self, process: u32, up: Up) {
        let node = self.procs[process as usize].node;
        match &up {
            Up::Frame(frame) => {
                let name = match frame {
                    ToNode::Demand(_) => "demand",
                    ToNode::Return(_) => "return",
                    ToNode::Blocked(_) | ToNode::Unblocked(_) => "blocked",
                    ToNode::Object(_) => "object",
                    ToNode::Actor { .. } => "actor",
                    ToNode::Group(_) => "group",
                    ToNode::Flush => "flush",
                    _ => "ready",
                };
                self.meter.sent(name, 1, encoded(frame));
            }
            Up::Relay(_, data) => self.count_data(data),
            Up::Closed => {}
        }
        self.post(Channel::Up(process), self.now, self.model.unix_ns, Event::Up(node, process, up));
    }

    pub(super) fn count_data(&mut self, data: &[Data]) {
        for one in data {
            self.meter.sent(name_of_data(one, false), 1, self.sizes.of(one));
        }
    }

    /// As `Hub::to_process`, at a time at which the node's arbiter gets to it.
    pub(super) fn to_process(&mut self, at: u32, to: ProcessId, frame: FromNode) {
        let node = &self.nodes[at as usize];
        if to.node != node.id {
            return self.to_node(at, to.node, NodeFrame::ForProcess { to, frame: Box::new(frame) });
        }
        if to.is_manager() {
            return self.keep(at, KeeperWord::Heard(frame));
        }
        // A frame for a process that is gone the shell drops.
        if let Some(process) = node.procs.get(&to.worker).copied() {
            self.down(process, self.now, Down::Frame(frame));
        }
    }

    pub(super) fn down(&mut self, process: u32, from: u64, down: Down) {
        if let Down::Frame(frame) = &down {
            let name = match frame {
                FromNode::Granted { .. } => "granted",
                FromNode::Recall(_) => "recall",
                FromNode::Short { .. } => "short",
                FromNode::Object(_) => "object, to a process",
                FromNode::Gone { .. } | FromNode::NodeGone { .. } => "gone, to a process",
                _ => "other, to a process",
            };
            self.meter.sent(name, 1, encoded(frame));
        }
        self.post(Channel::Down(process), from, self.model.unix_ns, Event::Down(process, down));
    }

    /// As `Hub::to_node`.
    pub(super) fn to_node(&mut self, at: u32, to: NodeId, frame: NodeFrame) {
        let bytes = match &frame {
            NodeFrame::ExePart { offset, .. } => PART_BYTES.min(self.model.exe_bytes.saturating_sub(*offset)),
            frame => encoded(frame),
        };
        self.between(at, self.index(to), self.now, bytes, name_of(&frame), Between::Frame(Box::new(frame)));
    }

    pub(super) fn to_all_nodes(&mut self, at: u32, frame: &NodeFrame) {
        let (bytes, name) = (encoded(frame), name_of(frame));
        let others: Vec<u32> = self.nodes[at as usize].hub.keys().copied().collect();
        for to in others {
            self.between(at, to, self.now, bytes, name, Between::Frame(Box::new(frame.clone())));
        }
    }

    pub(super) fn to_all_processes(&mut self, at: u32, frame: &FromNode) {
        let all: Vec<u32> = self.nodes[at as usize].procs.values().copied().collect();
        all.into_iter().for_each(|process| self.down(process, self.now, Down::Frame(frame.clone())));
    }

    fn between(&mut self, at: u32, to: u32, from: u64, bytes: u64, name: &'static str, what: Between) {
        let node = &mut self.nodes[at as usize];
        let Some(conn) = node.hub.get(&to).copied() else { return };
        node.card_free = node.card_free.max(from) + self.model.wire_ns(bytes);
        let leaves = node.card_free;
        self.signs.on_word(from, at, to);
        if let Between::Relay { data, .. } = &what {
            for one in data {
                self.meter.sent(name_of_data(one, true), 1, self.sizes.of(one));
            }
        } else {
            self.meter.sent(name, 1, bytes);
        }
        if to == 0 {
            self.meter.at_head.frames += 1;
            self.meter.at_head.bytes += bytes;
            if name == "load" {
                self.meter.load_at_head.frames += 1;
                self.meter.load_at_head.bytes += bytes;
            }
        }
        self.post(Channel::Between(at, to), leaves, self.model.tcp_ns, Event::Between { to, from: at, conn, what });
    }

    /// When the arbiter of a node's connections has dealt with so many more frames.
    fn arbiter(&mut self, at: u32, frames: u64) -> u64 {
        let node = &mut self.nodes[at as usize];
        node.main_free = node.main_free.max(self.now) + frames * self.model.frame_ns;
        node.main_free
    }

    // --- what is heard ---------------------------------------------------------------------------------------------

    pub(super) fn hear_process(&mut self, at: u32, process: u32, up: Up) {
        if !self.nodes[at as usize].alive {
            return;
        }
        let id = self.procs[process as usize].id;
        match up {
            Up::Frame(ToNode::Demand(demand)) => {
                let ready = self.arbiter(at, 1);
                let code = self.procs[process as usize].code.clone();
                self.tell_local_at(at, MAIN, ready, LocalEvent::Demand(id, code, Box::new(demand)));
            }
            Up::Frame(ToNode::Return(lease)) if lease.node == id.node => {
                let ready = self.arbiter(at, 1);
                self.tell_local_at(at, MAIN, ready, LocalEvent::Return(lease));
            }
            Up::Frame(ToNode::Return(lease)) => self.to_node(at, lease.node, NodeFrame::Return(lease)),
            Up::Frame(ToNode::Ready { .. }) => self.tell_pool(at, MAIN, PoolEvent::Ready(id.worker)),
            Up::Frame(ToNode::MayEnd { question, may }) => {
                self.tell_pool(at, MAIN, PoolEvent::MayEnd(id.worker, question, may));
            }
            Up::Frame(ToNode::Blocked(lease)) => self.tell_local(at, MAIN, LocalEvent::Blocked(lease)),
            Up::Frame(ToNode::Unblocked(lease)) => self.tell_local(at, MAIN, LocalEvent::Unblocked(lease)),
            Up::Frame(ToNode::Object(ask)) => self.tell_objects(at, ObjectWord::Event(ObjectEvent::Ask(id, ask))),
            Up::Frame(ToNode::Actor { keeper, word }) => self.word_for_keeper(at, process, keeper, word),
            Up::Frame(ToNode::Group(ask)) => self.ask_for_group(at, process, ask),
            Up::Frame(_) => {}
            Up::Relay(to, data) => self.relay(at, id, to, data),
            Up::Closed if self.procs[process as usize].is_driver => self.process_gone(at, MAIN, id, "it hung up"),
            Up::Closed => {
                self.nodes[at as usize].procs.remove(&id.worker);
                self.tell_pool(at, MAIN, PoolEvent::Lost(id.worker));
            }
        }
    }

    fn relay(&mut self, at: u32, from: ProcessId, to: ProcessId, data: Vec<Data>) {
        let ready = self.arbiter(at, data.len() as u64);
        if to.node != self.nodes[at as usize].id {
            let bytes = data.iter().map(|one| self.sizes.of(one)).sum();
            let other = self.index(to.node);
            if !self.nodes[at as usize].hub.contains_key(&other) {
                let reason = "its node is not connected".to_owned();
                return self.to_process(at, from, FromNode::NodeGone { node: to.node, reason });
            }
            return self.between(at, other, ready, bytes, "", Between::Relay { to, from, data });
        }
        match self.nodes[at as usize].procs.get(&to.worker).copied() {
            Some(process) => self.down(process, ready, Down::Data(from, data)),
            None => {
                self.to_process(at, from, FromNode::Gone { process: to, reason: "it has ended".to_owned() });
            }
        }
    }

    pub(super) fn hear_node(&mut self, at: u32, from: u32, conn: u32, what: Between) {
        let node = &self.nodes[at as usize];
        if !node.alive || node.hub.get(&from) != Some(&conn) {
            return;
        }
        match what {
            Between::Closed => self.closed(at, from),
            Between::Relay { to, from, data } => self.relay(at, from, to, data),
            Between::Frame(frame) => self.hear_frame(at, from, *frame),
        }
    }

    fn hear_frame(&mut self, at: u32, from: u32, frame: NodeFrame) {
        let (id, me) = (self.nodes[from as usize].id, self.nodes[at as usize].id);
        let ready = self.arbiter(at, 1);
        match frame {
            NodeFrame::Load(load) => self.tell_global_at(at, MAIN, ready, GlobalEvent::Load(id, load)),
            NodeFrame::Spilled(spilled) => self.tell_global_at(at, MAIN, ready, GlobalEvent::Spilled(spilled)),
            NodeFrame::Place(placed) => self.tell_local_at(at, MAIN, ready, LocalEvent::Place(placed)),
            NodeFrame::ForProcess { to, frame } if to.node == me => self.to_process(at, to, *frame),
            NodeFrame::ForProcess { .. } => {}
            NodeFrame::Unfit(job) => {
                let peer = self.nodes[from as usize].id;
                self.tell_local_at(at, MAIN, ready, LocalEvent::PeerUnfit(peer, job));
            }
            NodeFrame::Return(lease) => self.tell_local_at(at, MAIN, ready, LocalEvent::Return(lease)),
            NodeFrame::Gone { process, reason } => {
                self.tell_local(at, MAIN, LocalEvent::Gone(process));
                self.tell_global_at(at, MAIN, self.now, GlobalEvent::Gone(process));
                self.keep(at, KeeperWord::Gone(process, reason.clone()));
                self.to_all_processes(at, &FromNode::Gone { process, reason });
            }
            NodeFrame::JobGone(job) => {
                self.tell_pool(at, MAIN, PoolEvent::JobGone(job));
                self.tell_global_at(at, MAIN, self.now, GlobalEvent::JobGone(job));
            }
            NodeFrame::FetchExe { exe, offset } => {
                let bytes = if self.nodes[at as usize].has_exe { Ok(Bytes::new()) } else { Err("not here".to_owned()) };
                self.to_node(at, id, NodeFrame::ExePart { exe, offset, bytes });
            }
            NodeFrame::ExePart { exe, offset, bytes } => self.tell_pool(at, MAIN, PoolEvent::Part(exe, offset, bytes)),
            NodeFrame::Object(frame) => {
                self.tell_objects(at, ObjectWord::Event(ObjectEvent::Frame(id, frame)));
            }
            NodeFrame::Actor { from, code, word } => self.keep(at, KeeperWord::Word(from, code.map(Arc::from), word)),
            NodeFrame::Group(frame) => self.hear_group_frame(at, id, frame),
            // Replicas are not simulated.
            _ => {}
        }
    }

    // --- ends ------------------------------------------------------------------------------------------------------

    /// The connection to a node has ended.
    fn closed(&mut self, at: u32, other: u32) {
        self.nodes[at as usize].hub.remove(&other);
        let node = self.nodes[other as usize].id;
        self.tell_local(at, MAIN, LocalEvent::PeerGone(node));
        self.tell_global_at(at, MAIN, self.now, GlobalEvent::NodeGone(node));
        self.tell_pool(at, MAIN, PoolEvent::NodeGone(node));
        self.to_all_processes(at, &FromNode::NodeGone { node, reason: "its connection ended".to_owned() });
    }

    /// Two nodes are connected.
    pub(super) fn connect(&mut self, one: u32, other: u32) {
        self.conns += 1;
        for (at, peer) in [(one, other), (other, one)] {
            self.nodes[at as usize].hub.insert(peer, self.conns);
            let spec = self.nodes[peer as usize].spec.clone();
            self.tell_local(at, MAIN, LocalEvent::Peer(spec.id, spec.resources.clone()));
            if spec.shares_memory_with(&self.nodes[at as usize].spec) {
                self.tell_local(at, MAIN, LocalEvent::Neighbour(spec.id));
                self.tell_objects(at, ObjectWord::Event(ObjectEvent::Neighbour(spec.id)));
            }
            self.tell_pool(at, MAIN, PoolEvent::Node(spec.id));
            self.tell_global_at(at, MAIN, self.now, GlobalEvent::Node(Box::new(spec)));
        }
    }

    /// A process of a node is gone: all who may care are told, once.
    pub(super) fn process_gone(&mut self, at: u32, arbiter: u8, process: ProcessId, reason: &str) {
        let node = &mut self.nodes[at as usize];
        node.procs.remove(&process.worker);
        let Some(code) = node.codes.remove(&process.worker) else { return };
        self.tell_local(at, arbiter, LocalEvent::Ended(process, reason.to_owned()));
        if process == code.driver {
            self.leave_job(code.job);
            self.tell_pool(at, arbiter, PoolEvent::JobGone(code.job));
            self.tell_global_at(at, arbiter, self.now, GlobalEvent::JobGone(code.job));
            self.to_all_nodes(at, &NodeFrame::JobGone(code.job));
        } else {
            self.tell_pool(at, arbiter, PoolEvent::Lost(process.worker));
        }
    }
}
