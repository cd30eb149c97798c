//! Fetching, as the object manager carries it out.
//!
//! Owns: asking owners for sources, the streams to each, and putting what has come into the store. Decides nothing.

use std::time::Duration;

use actinic_gcs::NodeId;
use actix::prelude::*;

use super::{
    events::{ChunkDone, NoRoom},
    For, ObjectManager, PullEffect, ReservedRoom, Source, StoredId,
};
use crate::cluster::{
    objects::{pull::core::Chunk, streams::Job, wire::ObjectNews},
    wire::ProcessId,
};

/// Before room is asked for again where too many ask.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

impl ObjectManager {
    pub(super) fn carry_out_pulls(&mut self, effects: Vec<PullEffect>, ctx: &mut Context<Self>) {
        for effect in effects {
            match effect {
                PullEffect::Locate { stored, owner, failed, near } => self.locate(stored, owner, (failed, near), ctx),
                PullEffect::Borrow(stored, from) => self.borrow(stored, from),
                PullEffect::Borrowed(stored, from) => self.borrowed(stored, from, ctx),
                PullEffect::Return(stored, from) => self.give_back(stored, from),
                PullEffect::GiveBack(stored) => drop(self.fillings.remove(&stored)),
                PullEffect::Reserve { stored, pull, bytes } => self.reserve(For::Pull(stored, pull), bytes, ctx),
                PullEffect::Fetch(chunk, source) => self.fetch(chunk, source, ctx),
                PullEffect::Complete(stored, owner) => self.complete(stored, owner, ctx),
                PullEffect::Failed(stored, why) => {
                    self.fillings.remove(&stored);
                    let mut effects = Vec::new();
                    self.table.on_pull_failed(stored, &why, &mut effects);
                    self.carry_out(effects, ctx);
                }
                PullEffect::GaveUp(stored, owner) => {
                    self.tell(owner, ObjectNews::Dropped { stored, at: self.shared.spec.id });
                }
            }
        }
    }

    fn locate(
        &mut self,
        stored: StoredId,
        owner: ProcessId,
        (failed, near): (Option<NodeId>, Vec<NodeId>),
        ctx: &mut Context<Self>,
    ) {
        let me = self.shared.spec.id;
        if self.is_connected(owner.node) {
            return self.tell(owner, ObjectNews::Locate { stored, to: me, failed, near });
        }
        let mut pulling = Vec::new();
        let why = "the node of its owner, which knows where it is, is not connected".to_owned();
        self.pulls.on_source(stored, Err(why), &mut pulling);
        self.carry_out_pulls(pulling, ctx);
    }

    /// There is room for what is fetched, or not.
    pub(super) fn found_for_pull(
        &mut self,
        (stored, pull): (StoredId, u64),
        room: Result<ReservedRoom, NoRoom>,
        ctx: &mut Context<Self>,
    ) {
        let Some(bytes) = self.pulls.awaits_room(stored, pull) else { return };
        let pause = match &room {
            Err(NoRoom::Busy(_)) => Some(BUSY_PAUSE),
            Err(NoRoom::Full(_)) if self.pulls.waits_on(stored, pull) => Some(Duration::ZERO),
            _ => None,
        };
        if let Some(pause) = pause {
            ctx.run_later(pause, move |this, ctx| this.reserve(For::Pull(stored, pull), bytes, ctx));
            return;
        }
        let found = room.map_err(NoRoom::why).map(|room| drop(self.fillings.insert(stored, room.fill())));
        let mut pulling = Vec::new();
        self.pulls.on_room(stored, pull, found, &mut pulling);
        self.carry_out_pulls(pulling, ctx);
    }

    fn fetch(&mut self, chunk: Chunk, from: NodeId, ctx: &mut Context<Self>) {
        let me = ctx.address();
        self.intake.on_asked(self.now_us());
        let range = chunk.offset as usize..(chunk.offset + chunk.bytes) as usize;
        let part = self.fillings.get(&chunk.stored).and_then(|filling| filling.part(range));
        match (part, self.source(from)) {
            (Some(part), Some(source)) => {
                let then = Box::new(move |chunk, came| me.do_send(ChunkDone { chunk, from, came }));
                source.fetch(Job { chunk, part, then });
            }
            _ => me.do_send(ChunkDone { chunk, from, came: false }),
        }
    }

    fn source(&mut self, node: NodeId) -> Option<&Source> {
        if !self.sources.contains_key(&node) {
            let address = self.shared.address_of(node)?;
            let arbiters: Vec<ArbiterHandle> = self.arbiters.iter().map(Arbiter::handle).collect();
            let (me, membership) = (self.shared.spec.id, &self.shared.membership);
            self.sources.insert(node, Source::start(&arbiters, me, &address, membership, &self.served));
        }
        self.sources.get(&node)
    }

    fn complete(&mut self, stored: StoredId, owner: ProcessId, ctx: &mut Context<Self>) {
        let mut effects = Vec::new();
        match self.fillings.remove(&stored).and_then(|filling| filling.finish()) {
            Some(room) => {
                self.served.sealed.write().insert(stored, std::sync::Arc::new(room.seal()));
                self.tell(owner, ObjectNews::Copied { stored, at: self.shared.spec.id });
                self.table.on_pulled(stored, &mut effects);
            }
            None => {
                self.tell(owner, ObjectNews::Dropped { stored, at: self.shared.spec.id });
                self.table.on_pull_failed(stored, "its room was lost while it was fetched", &mut effects);
            }
        }
        self.carry_out(effects, ctx);
    }
}
