//! What can happen in the world, and in which order.
//!
//! Owns: the queue of events and the channels on which messages travel. Invariants: of two events of one time the one that
//! was told first happens first; what travels on one channel arrives in the order in which it left.

use std::{cmp::Reverse, collections::BinaryHeap};

use actinic_actors::cluster::{
    global::GlobalEvent,
    local::LocalEvent,
    wire::{FromNode, LeaseId, LineName, NodeFrame, ProcessId, ToNode},
    workers::PoolEvent,
};
use actinic_gcs::{ObjectId, TaskId, WorkerId};
use rustc_hash::FxHashMap;

use super::{actors::KeeperWord, lines::LineId, objects::ObjectWord, refs::SimRef};
use crate::{plan::SimTask, rng::Rng};

/// Of two processes, about a task.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// Run it.
    Run(LeaseId, SimTask),
    /// Give these back, unless they have begun.
    TakeBack(LeaseId, Vec<TaskId>),
    /// These have not begun, and will not.
    GivenBack(LeaseId, Vec<TaskId>),
    /// It has ended.
    Done {
        /// Under this lease.
        lease: LeaseId,
        /// Which.
        task: TaskId,
        /// How long it ran.
        ran_us: u64,
        /// What its result refers to.
        refs: Vec<SimRef>,
    },
    /// So many references to an object are not needed any more.
    Release(ObjectId, u32),
    /// Keep an object for the sender, whose parent is lost.
    Borrow(ObjectId),
    /// The sender has given up these lines.
    GivenUp(Vec<LineName>),
    /// The sender reads an object.
    Fetch(ObjectId),
    /// Here it is, with what it refers to.
    Object(ObjectId, Vec<SimRef>),
}

/// From a process to its node.
#[derive(Debug)]
pub(crate) enum Up {
    /// A frame for the node.
    Frame(ToNode),
    /// For another process, which is not on this machine.
    Relay(ProcessId, Vec<Data>),
    /// The process is gone.
    Closed,
}

/// From a node or a process beside it to a process.
#[derive(Debug)]
pub(crate) enum Down {
    /// A frame of the node's.
    Frame(FromNode),
    /// Of another process.
    Data(ProcessId, Vec<Data>),
    /// A line to another process has ended.
    LineEnded(ProcessId, LineId),
}

/// Between two nodes.
#[derive(Debug)]
pub(crate) enum Between {
    /// A frame for the node.
    Frame(Box<NodeFrame>),
    /// For a process of it.
    Relay {
        /// For whom.
        to: ProcessId,
        /// Whose.
        from: ProcessId,
        /// What.
        data: Vec<Data>,
    },
    /// The connection has ended.
    Closed,
}

/// What is done to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This node ends, with all its processes.
    Node(u32),
    /// A process of this node ends, whichever the number leads to.
    Process(u32, u64),
    /// This driver's process ends.
    Driver(u32),
    /// The connection of two nodes ends.
    Cut(u32, u32),
    /// One of the lines between processes is cut, whichever the number leads to.
    Line(u64),
}

/// One thing that happens. Nodes and processes go by their index.
#[derive(Debug)]
pub(crate) enum Event {
    /// To a local scheduler.
    Local(u32, LocalEvent),
    /// It sees to all that has come.
    LocalPass(u32),
    /// Its timer, by its number.
    LocalTimer(u32, u64),
    /// It says how its node is.
    Report(u32),
    /// To a global scheduler.
    Global(u32, GlobalEvent),
    /// It sees to all that has come.
    GlobalPass(u32),
    /// To a worker pool.
    Pool(u32, PoolEvent),
    /// It looks for workers that nobody needs.
    PoolLook(u32),
    /// A worker process is ready to call.
    Started(u32, WorkerId),
    /// A worker process has ended.
    Exited(u32, WorkerId),
    /// A node hears one of its processes.
    Up(u32, u32, Up),
    /// A node hears another, over a connection.
    Between {
        /// Who hears.
        to: u32,
        /// Whom.
        from: u32,
        /// Over which connection of the two.
        conn: u32,
        /// What.
        what: Between,
    },
    /// A process is reached by a message.
    Down(u32, Down),
    /// A process has understood it.
    Heard(u32, Down),
    /// A driver submits its next tasks.
    Drive(u32),
    /// Tasks are ready that a slow scheduler has held up.
    Ready(u32, Vec<u32>),
    /// An owner's tick.
    Tick(u32),
    /// A worker has run these for their owner.
    Ran(u32, Vec<(ProcessId, Data)>),
    /// The nodes look who is there, and call whom they miss.
    Look,
    /// To an object manager.
    Objects(u32, ObjectWord),
    /// To the keeper of actors.
    Keeper(u32, KeeperWord),
    /// It sees to all that has come.
    KeeperPass(u32),
    /// It looks at what waits for time.
    KeeperLook(u32),
    /// Groups that wait are tried again.
    GroupLook(u32),
    /// A driver makes its next actors.
    Script(u32),
    /// A driver makes its next group.
    NextGroup(u32),
    /// A node renews its lease.
    Renew(u32),
    /// A node asks who is there.
    Members(u32),
    /// A worker all of whose tasks wait for their inputs is looked at: whether nothing has begun since.
    Rest(u32, u64),
    /// A process is reached by what came over a line.
    Line(u32, LineId, Down),
    /// A process has been called by another.
    LineCalled(u32, ProcessId),
    /// A process looks which of those live whose lines have ended.
    LineDue(u32),
    /// Something breaks.
    Fault(Fault),
}

/// The events to come.
#[derive(Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    slots: Vec<Option<Event>>,
    free: Vec<u32>,
    told: u64,
    channels: FxHashMap<u64, u64>,
}

/// On which way a message travels: one that keeps their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// To an actor of a node, from one of its arbiters.
    Mail(u32, u8, u8),
    /// From a process to its node.
    Up(u32),
    /// From a node to its process.
    Down(u32),
    /// From one node to another.
    Between(u32, u32),
    /// From one process to another of its machine.
    Beside(u32, u32),
    /// Chunks of objects from one node to another.
    Bulk(u32, u32),
    /// By a line, there or back.
    Line(LineId, u32),
}

impl Channel {
    fn key(self) -> u64 {
        let (kind, a, b) = match self {
            Self::Mail(node, from, to) => (0, node, u32::from(from) << 8 | u32::from(to)),
            Self::Up(process) => (1, process, 0),
            Self::Down(process) => (2, process, 0),
            Self::Between(from, to) => (3, from, to),
            Self::Beside(from, to) => (4, from, to),
            Self::Bulk(from, to) => (5, from, to),
            Self::Line(line, back) => (6, line, back),
        };
        kind << 60 | u64::from(a) << 30 | u64::from(b)
    }
}

impl Queue {
    /// Something happens at a time.
    pub(crate) fn at(&mut self, at: u64, event: Event) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize] = Some(event);
        self.told += 1;
        self.heap.push(Reverse((at, self.told, slot)));
    }

    /// A message leaves at `from` and is under way for `takes_ns`, and up to `jitter` times as long again.
    pub(crate) fn post(
        &mut self,
        channel: Channel,
        from: u64,
        takes_ns: u64,
        (jitter, rng): (u64, &mut Rng),
        event: Event,
    ) {
        let more = if jitter == 0 { 0 } else { rng.below(takes_ns * jitter + 1) };
        let last = self.channels.entry(channel.key()).or_insert(0);
        *last = (from + takes_ns + more).max(*last + 1);
        let at = *last;
        self.at(at, event);
    }

    /// The next event, and when it happens.
    pub(crate) fn next(&mut self) -> Option<(u64, Event)> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        self.slots[slot as usize].take().map(|event| (at, event))
    }

    /// When the next event happens.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }
}
