//! What the object manager is told.
//!
//! Owns: its messages, and handing each to what handles it. Decides nothing.

use std::sync::Arc;

use actinic_gcs::NodeId;
use actix::prelude::*;

use super::{said, ObjectManager, ReservedRoom, SharedView, StoreError};
use crate::{
    cluster::{
        local::LocalEvent,
        objects::{
            pull::{core::Chunk, intake::Came},
            streams,
            table::core::Reader,
            wire::{ObjectAsk, ObjectFigures, ObjectFrame, ObjectNews, StoredId},
        },
        wire::{FromNode, ProcessId},
    },
    gcs_net::stream::Stream,
};

/// What happens outside.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub enum ObjectEvent {
    /// A process of this node asks something.
    Ask(ProcessId, ObjectAsk),
    /// Another node says something.
    Frame(NodeId, ObjectFrame),
    /// A process, of this node or another, has ended, and all that it said has been heard.
    ProcessGone(ProcessId),
    /// A node of the same machine is connected.
    Neighbour(NodeId),
    /// A node has ended.
    NodeGone(NodeId),
}

/// Another node has connected to fetch objects.
#[derive(Message)]
#[rtype(result = "()")]
pub struct BulkCaller(pub Stream);

/// Asks what the store holds.
#[derive(Message)]
#[rtype(result = "ObjectFigures")]
pub struct Figures;

/// For whom there is room.
#[derive(Clone, Copy, Debug)]
pub(super) enum For {
    /// A process, under its number for it.
    Process(ProcessId, u64),
    /// What is fetched, by the number of the pull.
    Pull(StoredId, u64),
}

/// There is room, or not.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct RoomFound {
    pub(super) whom: For,
    pub(super) room: Result<ReservedRoom, NoRoom>,
}

/// Why there is no room.
pub(super) enum NoRoom {
    /// Too many wait for some; asked for again a moment later.
    Busy(String),
    /// All that is in the store is in use, and has been for long.
    Full(String),
    /// It will not be otherwise.
    Never(String),
}

impl NoRoom {
    pub(super) fn of(error: &StoreError) -> Self {
        match error {
            StoreError::Full { spill: None, .. } => Self::Full(said(error)),
            error => Self::Never(said(error)),
        }
    }

    pub(super) fn why(self) -> String {
        match self {
            Self::Busy(why) | Self::Full(why) | Self::Never(why) => why,
        }
    }
}

/// What was asked for is in memory, or cannot be.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct ViewFound {
    pub(super) stored: StoredId,
    pub(super) reader: Reader,
    pub(super) request: u64,
    pub(super) view: Result<SharedView, String>,
}

/// A chunk has come, or not.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct ChunkDone {
    pub(super) chunk: Chunk,
    pub(super) from: NodeId,
    pub(super) came: bool,
}

/// Work ahead of need has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StepDone {
    pub(super) more: bool,
}

impl Handler<ObjectEvent> for ObjectManager {
    type Result = ();

    fn handle(&mut self, event: ObjectEvent, ctx: &mut Context<Self>) {
        let (now, mut effects) = (self.now(), Vec::new());
        match event {
            ObjectEvent::Ask(process, ask) => return self.asked(process, ask, ctx),
            ObjectEvent::Frame(from, frame) => return self.told(Some(from), frame, ctx),
            ObjectEvent::ProcessGone(process) => self.table.on_process_gone(now, process, &mut effects),
            ObjectEvent::Neighbour(node) => self.pulls.on_neighbour(node),
            ObjectEvent::NodeGone(node) => {
                self.sources.remove(&node);
                self.borrower_gone(node);
                self.table.on_node_gone(now, node, &mut effects);
                let mut pulling = Vec::new();
                self.pulls.on_node_gone(node, &mut pulling);
                self.carry_out_pulls(pulling, ctx);
                // After all that they were told of its memory.
                self.shared.hub.to_all_processes(&FromNode::Object(ObjectNews::Unmap));
            }
        }
        self.carry_out(effects, ctx);
    }
}

impl Handler<BulkCaller> for ObjectManager {
    type Result = ();

    fn handle(&mut self, BulkCaller(stream): BulkCaller, _: &mut Context<Self>) {
        let served = self.served.clone();
        let turn = Arc::strong_count(&served) % self.arbiters.len().max(1);
        let Some(arbiter) = self.arbiters.get(turn) else { return };
        arbiter.spawn_fn(move || match stream.arrive() {
            Ok(stream) => drop(actix_rt::spawn(streams::serve(stream, served))),
            Err(error) => tracing::error!(%error, "a connection cannot be used"),
        });
    }
}

impl Handler<Figures> for ObjectManager {
    type Result = MessageResult<Figures>;

    fn handle(&mut self, _: Figures, _: &mut Context<Self>) -> MessageResult<Figures> {
        MessageResult(self.figures())
    }
}

impl Handler<RoomFound> for ObjectManager {
    type Result = ();

    fn handle(&mut self, found: RoomFound, ctx: &mut Context<Self>) {
        self.reserving = self.reserving.saturating_sub(1);
        self.found(found, ctx);
    }
}

impl Handler<ViewFound> for ObjectManager {
    type Result = ();

    fn handle(&mut self, found: ViewFound, ctx: &mut Context<Self>) {
        self.viewed(found, ctx);
    }
}

impl Handler<ChunkDone> for ObjectManager {
    type Result = ();

    fn handle(&mut self, ChunkDone { chunk, from, came }: ChunkDone, ctx: &mut Context<Self>) {
        let bytes = if came { chunk.bytes } else { 0 };
        if let Some(Came { bytes, took_us }) = self.intake.on_answered(self.now_us(), bytes) {
            self.shared.local(LocalEvent::Transfer(bytes, took_us));
        }
        let mut pulling = Vec::new();
        self.pulls.on_chunk(chunk, from, came, &mut pulling);
        self.carry_out_pulls(pulling, ctx);
    }
}

impl Handler<StepDone> for ObjectManager {
    type Result = ();

    fn handle(&mut self, StepDone { more }: StepDone, ctx: &mut Context<Self>) {
        self.stepping = false;
        if more {
            self.step(ctx);
        }
    }
}
