//! Lines straight from process to process of different nodes.
//!
//! Owns: which lines there are and what is on them, and what `core_worker/far.rs` does with what `FarCore` decides: whoever is
//! granted a worker elsewhere calls it first, and what the worker cannot be reached by goes through the nodes. A line ends
//! with a process, or is cut while both live; the two ends notice each in its own time.

use std::collections::BTreeMap;

use actinic_actors::cluster::{
    core_worker::far::core::{Ended, FarCore, GONE_MS_MAX},
    submit::core::SubmitEffect,
    wire::{ClassId, LeaseId, LineName, ProcessId},
};
use actinic_gcs::NodeId;

use super::{
    events::{Channel, Data, Down, Event, Up},
    World,
};
use crate::{meter::Core, model::MS};

/// A line on which nothing is heard for so long is given up, as in `cluster/lines/pulse.rs`.
const SILENCE_NS: u64 = 7_000 * MS;

/// The number of a line.
pub(super) type LineId = u32;

/// What is heard of a process while it is called.
enum Later {
    Granted(ClassId, LeaseId),
    Recalled(LeaseId),
}

/// The ways of a process to those of other nodes.
#[derive(Default)]
pub(super) struct Far {
    core: FarCore<LineId>,
    /// By a line, or through the nodes.
    ways: BTreeMap<ProcessId, Option<LineId>>,
    coming: BTreeMap<ProcessId, Vec<Later>>,
}

impl Far {
    /// Those on a node to whom it has a way, or will have.
    pub(super) fn known_on(&self, node: NodeId) -> Vec<ProcessId> {
        self.ways.keys().chain(self.coming.keys()).copied().filter(|process| process.node == node).collect()
    }

    /// A lease is wanted back; whether it waits for its worker to be reached.
    pub(super) fn recalled_later(&mut self, lease: LeaseId) -> bool {
        let of_lease = |later: &Later| matches!(later, Later::Granted(_, granted) if *granted == lease);
        let waiting = self.coming.values_mut().find(|waiting| waiting.iter().any(of_lease));
        waiting.map(|waiting| waiting.push(Later::Recalled(lease))).is_some()
    }
}

impl World {
    // --- calling -----------------------------------------------------------------------------------------------------

    /// Whether there is a way to a worker that was granted; where not yet, it is called.
    pub(super) fn reaches(&mut self, process: u32, worker: ProcessId, class: ClassId, lease: LeaseId) -> bool {
        let here = &mut self.procs[process as usize];
        if !self.settings.lines || worker.node == here.id.node {
            return true;
        }
        if let Some(waiting) = here.far.coming.get_mut(&worker) {
            waiting.push(Later::Granted(class, lease));
            return false;
        }
        if here.far.ways.contains_key(&worker) {
            return true;
        }
        // A firewall lets only the nodes' own ports through, from the beginning or from now on.
        if self.rng.one_in(6) {
            here.far.ways.insert(worker, None);
            return true;
        }
        here.far.coming.insert(worker, vec![Later::Granted(class, lease)]);
        let takes = 4 * self.model.tcp_ns;
        let more = self.rng.below(takes * self.model.jitter + 1);
        self.queue.at(self.now + takes + more, Event::LineCalled(process, worker));
        false
    }

    /// A call was answered, or never will be.
    pub(super) fn line_called(&mut self, process: u32, worker: ProcessId) {
        let me = self.procs[process as usize].id;
        let alive = |world: &Self, number: u32| {
            let proc = &world.procs[number as usize];
            proc.alive && world.nodes[proc.node as usize].alive
        };
        if !alive(self, process) {
            return;
        }
        let Some(waiting) = self.procs[process as usize].far.coming.remove(&worker) else { return };
        let called = self.by_id.get(&worker).copied().filter(|number| alive(self, *number));
        let line = called.map(|number| {
            self.lines_made += 1;
            let line = self.lines_made;
            self.lines.insert(line, (process, number));
            let (call, given_up) = self.procs[process as usize].far.core.on_call(worker);
            let name = LineName { caller: me, number: call };
            self.line_made(process, worker, (line, name), &[]);
            self.line_made(number, me, (line, name), &given_up);
            line
        });
        self.procs[process as usize].far.ways.entry(worker).or_insert(line);
        for later in waiting {
            match later {
                Later::Granted(class, lease) => self.granted(process, class, lease, worker),
                Later::Recalled(lease) => self.recalled(process, lease),
            }
        }
    }

    fn line_made(&mut self, at: u32, other: ProcessId, (line, name): (LineId, LineName), given_up: &[LineName]) {
        let far = &mut self.procs[at as usize].far;
        let gone = far.core.on_given_up(other, given_up);
        let lost = far.core.on_line(other, name, line) || gone.is_some();
        far.ways.entry(other).or_insert(Some(line));
        if lost {
            far.ways.insert(other, Some(line));
            self.shut_lines(gone.unwrap_or_default());
            self.line_lost(at, other);
        }
    }

    /// Lines are shut here, which their other ends hear soon, if they can be heard.
    fn shut_lines(&mut self, lines: Vec<LineId>) {
        lines.into_iter().for_each(|line| self.lose_line(line, [self.model.tcp_ns, self.model.tcp_ns]));
    }

    // --- what goes over lines ----------------------------------------------------------------------------------------

    /// Sends by a line; gives back what goes through the nodes.
    pub(super) fn send_by_line(&mut self, process: u32, to: ProcessId, data: Vec<Data>) -> Option<Vec<Data>> {
        if !self.settings.lines {
            return Some(data);
        }
        let far = &mut self.procs[process as usize].far;
        let Some(line) = *far.ways.entry(to).or_insert(None) else { return Some(data) };
        // Where it has ended, nothing is sent until it is known whether the other lives.
        let (caller, called) = *self.lines.get(&line)?;
        let (other, back) = if caller == process { (called, 0) } else { (caller, 1) };
        self.count_data(&data);
        let down = Down::Data(self.procs[process as usize].id, data);
        self.post(Channel::Line(line, back), self.now, self.model.tcp_ns, Event::Line(other, line, down));
        None
    }

    /// Something has come over a line, unless that was cut meanwhile.
    pub(super) fn on_line(&mut self, process: u32, line: LineId, down: Down) {
        if self.lines.contains_key(&line) {
            self.on_down(process, down);
        }
    }

    // --- ends of lines -----------------------------------------------------------------------------------------------

    /// One of the lines is cut; each end notices in its own time, at the latest by the silence.
    pub(super) fn cut_line(&mut self, which: u64) {
        let all: Vec<LineId> = self.lines.keys().copied().collect();
        let Some(line) = all.get((which % all.len().max(1) as u64) as usize) else { return };
        self.lose_line(*line, [SILENCE_NS, SILENCE_NS]);
    }

    /// A process has ended: what it has sent by its lines comes yet, and then their end.
    pub(super) fn end_lines(&mut self, process: u32) {
        let id = self.procs[process as usize].id;
        let of_process = self.lines.iter().filter(|(_, (a, b))| *a == process || *b == process);
        let all: Vec<(LineId, (u32, u32))> = of_process.map(|(line, ends)| (*line, *ends)).collect();
        for (line, (caller, called)) in all {
            let (other, back) = if caller == process { (called, 0) } else { (caller, 1) };
            let event = Event::Line(other, line, Down::LineEnded(id, line));
            self.post(Channel::Line(line, back), self.now, self.model.tcp_ns, event);
        }
    }

    /// A machine is lost, and says nothing more.
    pub(super) fn lose_lines_of_node(&mut self, node: u32) {
        let is_of = |process: &u32| self.procs[*process as usize].node == node;
        let of_node = self.lines.iter().filter(|(_, (a, b))| is_of(a) || is_of(b)).map(|(line, _)| *line);
        of_node.collect::<Vec<_>>().into_iter().for_each(|line| self.lose_line(line, [SILENCE_NS, SILENCE_NS]));
    }

    fn lose_line(&mut self, line: LineId, within: [u64; 2]) {
        let Some((caller, called)) = self.lines.remove(&line) else { return };
        for ((end, other), within) in [(caller, called), (called, caller)].into_iter().zip(within) {
            let takes = if self.rng.one_in(2) { self.model.tcp_ns } else { self.rng.below(within) };
            let other = self.procs[other as usize].id;
            self.queue.at(self.now + takes.min(within), Event::Down(end, Down::LineEnded(other, line)));
        }
    }

    /// The end of a line is noticed.
    pub(super) fn line_ended(&mut self, process: u32, other: ProcessId, line: LineId) {
        let now = self.process_millis(process);
        let far = &mut self.procs[process as usize].far;
        match far.core.on_ended(now, other, |ended| *ended == line) {
            Ended::Known => {}
            Ended::NotOurs => far.ways.retain(|to, way| *to != other || *way != Some(line)),
            Ended::First(lines) => {
                self.shut_lines(lines);
                self.queue.at(self.now + GONE_MS_MAX * MS, Event::LineDue(process));
            }
        }
    }

    /// Those that live, by now, though their lines have ended.
    pub(super) fn line_due(&mut self, process: u32) {
        if self.procs[process as usize].alive {
            let now = self.process_millis(process);
            let due = self.procs[process as usize].far.core.due(now);
            due.into_iter().for_each(|other| self.line_lost(process, other));
        }
    }

    /// As `CoreWorker::line_lost`.
    fn line_lost(&mut self, process: u32, other: ProcessId) {
        let far = &mut self.procs[process as usize].far;
        let names = far.core.given_up(other);
        match far.core.lines(other).find(|line| self.lines.contains_key(line)) {
            Some(line) => drop(far.ways.insert(other, Some(*line))),
            None => drop(far.ways.remove(&other)),
        }
        self.meter.lines_lost += 1;
        self.send_up(process, Up::Relay(other, vec![Data::GivenUp(names)]));
        let (core, mut effects) = (&mut self.procs[process as usize].submit, Vec::new());
        let leases = core.leases_on(other);
        self.meter.timed(Core::Submit, || {
            core.on_gone(other, &mut effects);
            core.settle(&mut effects);
        });
        self.carry_out(process, effects);
        self.carry_out(process, leases.into_iter().map(SubmitEffect::Return).collect());
        self.notify(process);
    }

    /// Another process has given up these lines to it.
    pub(super) fn hear_given_up(&mut self, process: u32, from: ProcessId, names: &[LineName]) {
        let gone = self.procs[process as usize].far.core.on_given_up(from, names);
        if let Some(gone) = gone {
            self.shut_lines(gone);
            self.line_lost(process, from);
        }
    }

    /// Another process is gone, or its node.
    pub(super) fn far_gone(&mut self, process: u32, gone: ProcessId) {
        let far = &mut self.procs[process as usize].far;
        far.coming.remove(&gone);
        far.core.on_gone(gone);
        if let Some(line) = far.ways.remove(&gone).flatten() {
            self.lose_line(line, [self.model.tcp_ns, self.model.tcp_ns]);
        }
    }
}
