//! Large objects: a node's object manager, and a process's way to it.
//!
//! Owns: what `objects/manager.rs`, `manager/pulls.rs`, `objects/client.rs` and `objects/streams.rs` do with what `TableCore`,
//! `PullCore` and `DirectoryCore` decide, and the links over which chunks travel. Objects are there when a driver begins, sealed
//! on their nodes and held by their owner; how they came is not simulated, nor is a full store.
//!
//! Invariant: a link carries one chunk at a time at its bandwidth, out of one node and into another.

use actinic_actors::cluster::{
    local::LocalEvent,
    objects::{
        directory::core::DirectoryEffect,
        manager::ObjectEvent,
        pull::{
            core::{Chunk, PullEffect},
            intake::Came,
        },
        table::core::{Lender, Reader, TableEffect},
        wire::{Loan, Locator, ObjectAsk, ObjectFrame, ObjectNews, Place, StoredId},
    },
    wire::{FromNode, NodeFrame, ProcessId, ToNode},
};
use actinic_gcs::{NodeId, ObjectId, TaskId};

use super::{
    ears::encoded,
    events::{Channel, Event, Up},
    node::MAIN,
    World,
};
use crate::{meter::Core, plan::SimInput};

/// The arbiter of a node's object manager.
const OBJECTS: u8 = 3;

/// What an object manager is told.
#[derive(Debug)]
pub(crate) enum ObjectWord {
    /// What the shell's is told as well.
    Event(ObjectEvent),
    /// Room was found for what is fetched, by the number of the pull.
    Room(StoredId, u64),
    /// A chunk has come.
    Chunk(Chunk, NodeId),
}

impl World {
    // --- the beginning -----------------------------------------------------------------------------------------------

    /// An object of a driver's is on a node.
    pub(super) fn place_object(&mut self, driver: u32, node: u32, bytes: u64) -> SimInput {
        let owner = self.procs[driver as usize].id;
        let (table, mut effects) = (&mut self.nodes[node as usize].table, Vec::new());
        let stored = table.on_reserved(owner, bytes);
        let stored = stored.unwrap_or(StoredId { node: owner.node, serial: 0 });
        table.on_seal(stored, owner, &mut effects);
        self.procs[driver as usize].directory.on_owned(stored);
        SimInput { stored, owner, bytes, known: Default::default() }
    }

    /// Bytes of a locator, as a task carries it.
    pub(super) fn locator_bytes(input: &SimInput) -> u64 {
        let object = ObjectId::of_return(TaskId::driver(actinic_gcs::JobId(1)), 0);
        let SimInput { stored, owner, bytes, .. } = *input;
        let placement = actinic_actors::store::Placement { meta_bytes: 64, buffers: vec![(64, bytes)] };
        encoded(&Locator { stored, object, owner, bytes, placement, given: false })
    }

    // --- a process ---------------------------------------------------------------------------------------------------

    pub(super) fn ask_objects(&mut self, process: u32, ask: ObjectAsk) {
        self.send_up(process, Up::Frame(ToNode::Object(ask)));
    }

    /// As `ObjectClient::hear`.
    pub(super) fn hear_news(&mut self, process: u32, news: ObjectNews) {
        let (directory, mut effects) = (&mut self.procs[process as usize].directory, Vec::new());
        self.meter.timed(Core::Objects, || match news {
            ObjectNews::Locate { stored, to, failed, near } => {
                directory.on_locate(stored, to, failed, near, &mut effects);
            }
            ObjectNews::Copied { stored, at } => directory.on_copied(stored, at, &mut effects),
            ObjectNews::Dropped { stored, at } => directory.on_dropped(stored, at, &mut effects),
            ObjectNews::Pinned { .. } | ObjectNews::Reserved { .. } | ObjectNews::Unmap => {}
        });
        if self.settings.check {
            directory.sanity_check();
        }
        for effect in effects {
            let (node, frame) = match effect {
                DirectoryEffect::Source { stored, to, from } => (to, ObjectFrame::Source { stored, from }),
                DirectoryEffect::Free { stored, at } => (at, ObjectFrame::Free(stored)),
            };
            self.ask_objects(process, ObjectAsk::ForNode { node, frame });
        }
    }

    // --- an object manager -------------------------------------------------------------------------------------------

    pub(super) fn tell_objects(&mut self, at: u32, word: ObjectWord) {
        self.mail(at, MAIN, OBJECTS, self.now, Event::Objects(at, word));
    }

    pub(super) fn on_objects(&mut self, at: u32, word: ObjectWord) {
        let now = self.millis(at);
        let node = &mut self.nodes[at as usize];
        if !node.alive {
            return;
        }
        let (table, pulls, mut effects, mut pulling) = (&mut node.table, &mut node.pulls, Vec::new(), Vec::new());
        let mut for_node = None;
        let came = match &word {
            ObjectWord::Chunk(chunk, _) => node.intake.on_answered(self.now / 1_000, chunk.bytes),
            _ => None,
        };
        self.meter.timed(Core::Objects, || match word {
            ObjectWord::Room(stored, pull) => pulls.on_room(stored, pull, Ok(()), &mut pulling),
            ObjectWord::Chunk(chunk, from) => pulls.on_chunk(chunk, from, true, &mut pulling),
            ObjectWord::Event(ObjectEvent::Ask(process, ask)) => match ask {
                ObjectAsk::Pin { request, stored, owner, bytes } => {
                    table.on_pin(stored, process, request, (owner, bytes), &mut effects);
                }
                ObjectAsk::Unpin(stored) => table.on_unpin(stored, process, &mut effects),
                ObjectAsk::ForNode { node, frame } => for_node = Some((node, frame)),
                _ => {}
            },
            ObjectWord::Event(ObjectEvent::Frame(_, frame)) => match frame {
                ObjectFrame::Source { stored, from } => pulls.on_source(stored, from, &mut pulling),
                ObjectFrame::Free(stored) => table.on_free(stored, &mut effects),
                ObjectFrame::Release { stored, by } => table.on_release(stored, by, &mut effects),
                ObjectFrame::Claim { stored, by } => table.on_claim(stored, by, &mut effects),
                ObjectFrame::Borrow { stored, loan } => table.on_borrow(stored, loan, &mut effects),
                ObjectFrame::Return { stored, loan } => table.on_return(stored, loan, &mut effects),
                ObjectFrame::Lent { stored, from, number, place } => {
                    pulls.on_lent(stored, Lender { node: from, number }, place.is_ok(), &mut pulling);
                }
            },
            ObjectWord::Event(ObjectEvent::ProcessGone(process)) => table.on_process_gone(now, process, &mut effects),
            ObjectWord::Event(ObjectEvent::NodeGone(node)) => table.on_node_gone(now, node, &mut effects),
            ObjectWord::Event(ObjectEvent::Neighbour(node)) => pulls.on_neighbour(node),
        });
        if self.settings.check {
            self.nodes[at as usize].pulls.sanity_check();
        }
        match for_node {
            Some((node, frame)) if node == self.nodes[at as usize].id => {
                self.tell_objects(at, ObjectWord::Event(ObjectEvent::Frame(node, frame)));
            }
            Some((node, frame)) => self.to_node(at, node, NodeFrame::Object(frame)),
            None => {}
        }
        if let Some(Came { bytes, took_us }) = came {
            self.tell_local(at, OBJECTS, LocalEvent::Transfer(bytes, took_us));
        }
        self.table_effects(at, effects);
        self.pull_effects(at, pulling);
    }

    fn table_effects(&mut self, at: u32, effects: Vec<TableEffect>) {
        for effect in effects {
            match effect {
                TableEffect::Pin { stored, reader, request } => {
                    let place = Ok(Place { segment: String::new(), offset: 0, guests: None });
                    self.answer_reader(at, stored, reader, request, place);
                }
                TableEffect::Refuse { stored, reader, request, why } => {
                    self.answer_reader(at, stored, reader, request, Err(why));
                }
                TableEffect::Return(stored, from) => self.return_loan(at, stored, from),
                TableEffect::Pull { stored, owner, bytes } => {
                    let (pulls, mut pulling) = (&mut self.nodes[at as usize].pulls, Vec::new());
                    self.meter.timed(Core::Objects, || pulls.on_wanted(stored, owner, bytes, &mut pulling));
                    self.pull_effects(at, pulling);
                }
                TableEffect::CancelPull(stored) => {
                    let (pulls, mut pulling) = (&mut self.nodes[at as usize].pulls, Vec::new());
                    pulls.on_unwanted(stored, &mut pulling);
                    self.pull_effects(at, pulling);
                }
                TableEffect::Dropped { stored, owner } => self.dropped(at, stored, owner),
                // Memory itself is not simulated.
                TableEffect::Seal(_) | TableEffect::DropRoom(_) | TableEffect::Unpin(..) | TableEffect::Free(_) => {}
                TableEffect::Lost(_) => {}
            }
        }
    }

    fn answer_reader(&mut self, at: u32, stored: StoredId, reader: Reader, request: u64, place: Result<Place, String>) {
        match reader {
            Reader::Process(process) => {
                self.to_process(at, process, FromNode::Object(ObjectNews::Pinned { request, place }));
            }
            Reader::Loan(Loan { to, number }) => {
                let from = self.nodes[at as usize].id;
                self.to_node(at, to, NodeFrame::Object(ObjectFrame::Lent { stored, from, number, place }));
            }
        }
    }

    fn return_loan(&mut self, at: u32, stored: StoredId, from: Lender) {
        let loan = Loan { to: self.nodes[at as usize].id, number: from.number };
        self.to_node(at, from.node, NodeFrame::Object(ObjectFrame::Return { stored, loan }));
    }

    fn dropped(&mut self, at: u32, stored: StoredId, owner: ProcessId) {
        let me = self.nodes[at as usize].id;
        self.to_process(at, owner, FromNode::Object(ObjectNews::Dropped { stored, at: me }));
    }

    fn pull_effects(&mut self, at: u32, effects: Vec<PullEffect>) {
        let me = self.nodes[at as usize].id;
        for effect in effects {
            match effect {
                PullEffect::Locate { stored, owner, failed, near } => {
                    self.to_process(at, owner, FromNode::Object(ObjectNews::Locate { stored, to: me, failed, near }));
                }
                PullEffect::Borrow(stored, from) => {
                    let loan = Loan { to: me, number: from.number };
                    self.to_node(at, from.node, NodeFrame::Object(ObjectFrame::Borrow { stored, loan }));
                }
                PullEffect::Borrowed(stored, from) => {
                    let (table, mut effects) = (&mut self.nodes[at as usize].table, Vec::new());
                    table.on_lent(stored, from, &mut effects);
                    self.table_effects(at, effects);
                }
                PullEffect::Return(stored, from) => self.return_loan(at, stored, from),
                PullEffect::GiveBack(_) => {}
                PullEffect::Reserve { stored, pull, .. } => self.tell_objects(at, ObjectWord::Room(stored, pull)),
                PullEffect::Fetch(chunk, source) => self.fetch_chunk(at, chunk, source),
                PullEffect::Complete(stored, owner) => {
                    self.to_process(at, owner, FromNode::Object(ObjectNews::Copied { stored, at: me }));
                    let (table, mut effects) = (&mut self.nodes[at as usize].table, Vec::new());
                    table.on_pulled(stored, &mut effects);
                    self.table_effects(at, effects);
                }
                PullEffect::Failed(stored, why) => {
                    let (table, mut effects) = (&mut self.nodes[at as usize].table, Vec::new());
                    table.on_pull_failed(stored, &why, &mut effects);
                    self.table_effects(at, effects);
                }
                PullEffect::GaveUp(stored, owner) => self.dropped(at, stored, owner),
            }
        }
    }

    /// Asks a node for a chunk, which comes over its link and this node's once both have time for it.
    fn fetch_chunk(&mut self, at: u32, chunk: Chunk, source: NodeId) {
        let from = self.index(source);
        self.nodes[at as usize].intake.on_asked(self.now / 1_000);
        let (asked, takes) = (self.now + self.model.tcp_ns, self.model.wire_ns(chunk.bytes));
        let out = &mut self.nodes[from as usize].bulk_out_free;
        let begins = asked.max(*out);
        *out = begins + takes;
        let into = &mut self.nodes[at as usize].bulk_in_free;
        let comes = begins.max(*into) + takes;
        *into = comes;
        self.meter.sent("chunk", 1, chunk.bytes);
        let more = self.model.tcp_ns;
        self.post(Channel::Bulk(from, at), comes, more, Event::Objects(at, ObjectWord::Chunk(chunk, source)));
    }
}
