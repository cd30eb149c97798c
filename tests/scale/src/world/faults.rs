//! What breaks, and how the rest notices; and who is connected to whom.
//!
//! Owns: the ends of processes, connections and nodes, and the look of `node/members.rs` at who is there.

use super::{
    events::{Between, Channel, Event, Fault, Up},
    node::REPORT_NS,
    World,
};
use crate::model::MS;

/// Between looks at who is there, as in `node/members.rs`.
const LOOK_NS: u64 = 200 * MS;
/// One who says nothing for so long is given up, as in `peer.rs`.
const SILENCE_NS: u64 = 5_000 * MS;

impl World {
    /// All nodes know all others, and have begun.
    pub(super) fn connect_all(&mut self) {
        let count = self.settings.nodes;
        for one in 0..count {
            for other in one + 1..count {
                self.connect_quietly(one, other);
            }
        }
        for node in 0..count {
            let phase = self.rng.below(REPORT_NS);
            self.queue.at(phase, Event::Report(node));
            let phase = self.rng.below(1_000 * MS);
            self.queue.at(phase, Event::PoolLook(node));
            if self.nodes[node as usize].keeper.is_some() {
                self.queue.at(0, Event::KeeperLook(node));
            }
        }
    }

    /// As [`World::connect`] before the beginning, when no messages are counted or under way.
    fn connect_quietly(&mut self, one: u32, other: u32) {
        self.conns += 1;
        for (at, peer) in [(one, other), (other, one)] {
            let spec = self.nodes[peer as usize].spec.clone();
            let node = &mut self.nodes[at as usize];
            node.hub.insert(peer, self.conns);
            node.local.on_peer(spec.id, spec.resources.clone());
            if spec.shares_memory_with(&node.spec) {
                node.local.on_neighbour(spec.id);
                node.pulls.on_neighbour(spec.id);
            }
            node.pool.on_node(spec.id, &mut Vec::new());
            if let Some(keeper) = &mut node.keeper {
                keeper.on_node(spec.id);
            }
            if let Some(global) = &mut node.global {
                global.on_node(spec);
            }
        }
    }

    pub(super) fn on_fault(&mut self, fault: Fault) {
        match fault {
            Fault::Node(node) => self.lose_node(node),
            Fault::Process(node, which) => self.lose_process(node, which),
            Fault::Driver(driver) => self.end_process(driver),
            Fault::Cut(one, other) => self.cut(one, other),
            Fault::Line(which) => self.cut_line(which),
        }
    }

    /// A process ends of itself. What it has sent is still under way.
    pub(super) fn end_process(&mut self, process: u32) {
        let proc = &mut self.procs[process as usize];
        if std::mem::replace(&mut proc.alive, false) {
            self.refs_lost(process);
            self.send_up(process, Up::Closed);
            self.end_lines(process);
        }
    }

    /// A driver's program ends, and so does its process.
    pub(crate) fn end_driver(&mut self, driver: u32) {
        self.end_process(driver);
    }

    fn lose_process(&mut self, node: u32, which: u64) {
        let here = &mut self.nodes[node as usize];
        let workers: Vec<_> = here.running.iter().copied().collect();
        if !here.alive || workers.is_empty() {
            return;
        }
        let worker = workers[(which % workers.len() as u64) as usize];
        // Its node sees both that its connection has ended and that its process has.
        here.running.remove(&worker);
        if let Some(number) = here.procs.get(&worker).copied() {
            self.end_process(number);
        }
        let more = self.rng.below(self.model.exit_ns * self.model.jitter + 1);
        self.queue.at(self.now + self.model.exit_ns / 2 + more, Event::Exited(node, worker));
    }

    fn lose_node(&mut self, node: u32) {
        let here = &mut self.nodes[node as usize];
        if !std::mem::replace(&mut here.alive, false) {
            return;
        }
        let peers: Vec<u32> = here.hub.keys().copied().collect();
        for process in 0..self.procs.len() as u32 {
            let proc = &mut self.procs[process as usize];
            if proc.node == node && std::mem::replace(&mut proc.alive, false) {
                self.refs_lost(process);
            }
        }
        peers.into_iter().for_each(|peer| self.hang_up(node, peer));
        self.lose_lines_of_node(node);
    }

    fn cut(&mut self, one: u32, other: u32) {
        if self.nodes[one as usize].hub.contains_key(&other) {
            self.hang_up(one, other);
            self.hang_up(other, one);
        }
    }

    /// The connection from one node to another ends, and the other notices: soon, or by the silence.
    fn hang_up(&mut self, from: u32, to: u32) {
        let Some(conn) = self.nodes[to as usize].hub.get(&from).copied() else { return };
        let silent = self.model.jitter > 0 && self.rng.one_in(4);
        let takes = if silent { SILENCE_NS } else { self.model.tcp_ns };
        let event = Event::Between { to, from, conn, what: Between::Closed };
        // A lost connection loses what is on it; this one comes last of what arrives, and later connections do not wait.
        match silent {
            true => self.queue.at(self.now + takes, event),
            false => self.post(Channel::Between(from, to), self.now, takes, event),
        }
    }

    /// Nodes look who is there from now on, and call whom they miss.
    pub(crate) fn keep_connected(&mut self) {
        self.queue.at(self.now + LOOK_NS, Event::Look);
    }

    pub(super) fn look(&mut self) {
        self.queue.at(self.now + LOOK_NS, Event::Look);
        let alive: Vec<u32> = (0..self.settings.nodes).filter(|node| self.nodes[*node as usize].alive).collect();
        for (at, one) in alive.iter().enumerate() {
            for other in &alive[at + 1..] {
                let knows = |a: u32, b: u32| self.nodes[a as usize].hub.contains_key(&b);
                if !knows(*one, *other) && !knows(*other, *one) {
                    self.connect(*one, *other);
                }
            }
        }
    }
}
