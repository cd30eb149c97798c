//! The `ObjectManager` of a node: its shared memory, for all its processes, and its objects' way to other nodes.
//!
//! Owns: the segment with what is reserved, sealed and pinned in it, and the connections by which objects are fetched; carries
//! out what [`TableCore`] and [`PullCore`] decide. What may take long (spilling, reading back, touching cold memory) runs on
//! other threads. Invariants: this actor never waits; what a process asks for is answered once, unless it has ended; nothing is
//! left in shared memory when the node ends.

mod events;
mod loans;
mod pulls;

use std::{
    collections::BTreeMap,
    sync::{atomic::Ordering, Arc},
    time::{Duration, Instant},
};

use actinic_gcs::{Millis, NodeId};
use actix::prelude::*;

pub use self::events::{BulkCaller, Figures, ObjectEvent};
use self::{
    events::{For, NoRoom, RoomFound, StepDone, ViewFound},
    loans::Loans,
};
use super::{
    pull::{
        core::{PullCore, PullEffect, PullLimits},
        intake::Intake,
    },
    streams::{Served, Source},
    table::core::{Lender, Reader, TableCore, TableEffect},
    wire::{GrantedRoom, ObjectAsk, ObjectFigures, ObjectFrame, ObjectNews, Place, StoredId},
};
use crate::{
    cluster::{
        node::NodeShared,
        wire::{FromNode, NodeFrame, ProcessId},
    },
    store::{Filling, ObjectStore, ReservedRoom, SharedView, StoreConfig, StoreError},
};

/// The resource that says how large a node's object store is, in bytes.
pub const OBJECT_STORE_MEMORY: &str = "object_store_memory";
/// Between looks at the store.
const LOOK: Duration = Duration::from_millis(50);
/// Chunks that a node fetches at a time.
const CHUNKS_MAX: usize = 16;
/// Memory above what is in use that a node keeps warm.
const PRETOUCH_BYTES_MAX: usize = 256 << 20;
/// Wishes for room that wait, of all processes.
const RESERVING_MAX: usize = 4_096;
/// Threads on which objects are sent and fetched.
const STREAM_THREADS: usize = 2;

/// The settings of a node's store: as large as its resources say, else as large as an embedded one.
#[must_use]
pub fn store_config(object_store_memory: Option<f64>) -> StoreConfig {
    let default = StoreConfig::default();
    let capacity_bytes = object_store_memory.map_or(default.capacity_bytes, |bytes| bytes.max(0.0) as usize);
    let pretouch_bytes = (capacity_bytes / 4).min(PRETOUCH_BYTES_MAX);
    StoreConfig { capacity_bytes, pretouch_bytes, ..default }
}

/// The actor.
pub struct ObjectManager {
    shared: Arc<NodeShared>,
    store: Arc<ObjectStore>,
    table: TableCore,
    pulls: PullCore,
    intake: Intake,
    began: Instant,
    /// Room that processes fill.
    rooms: BTreeMap<StoredId, ReservedRoom>,
    views: BTreeMap<(StoredId, Reader), Vec<SharedView>>,
    loans: Loans,
    /// Room that this node fills.
    fillings: BTreeMap<StoredId, Arc<Filling>>,
    sources: BTreeMap<NodeId, Source>,
    served: Arc<Served>,
    arbiters: Vec<Arbiter>,
    reserving: usize,
    stepping: bool,
    used: bool,
}

impl ObjectManager {
    /// The manager of a node's store.
    ///
    /// # Errors
    /// [`StoreError::Config`].
    pub fn new(shared: Arc<NodeShared>, config: StoreConfig) -> Result<Self, StoreError> {
        let limits = PullLimits { admitted_bytes_max: config.capacity_bytes as u64 / 2, chunks_max: CHUNKS_MAX };
        let table = TableCore::new(shared.spec.id);
        Ok(Self {
            shared,
            store: ObjectStore::open(config)?,
            table,
            pulls: PullCore::new(limits),
            intake: Intake::default(),
            began: Instant::now(),
            rooms: BTreeMap::new(),
            views: BTreeMap::new(),
            loans: Loans::default(),
            fillings: BTreeMap::new(),
            sources: BTreeMap::new(),
            served: Arc::default(),
            arbiters: Vec::new(),
            reserving: 0,
            stepping: false,
            used: false,
        })
    }

    /// The store, so that whoever ends the node can close it.
    #[must_use]
    pub fn store(&self) -> Arc<ObjectStore> {
        self.store.clone()
    }

    fn now(&self) -> Millis {
        self.shared.now()
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn tell(&self, process: ProcessId, news: ObjectNews) {
        self.shared.hub.to_process(process, FromNode::Object(news));
    }

    fn is_connected(&self, node: NodeId) -> bool {
        node == self.shared.spec.id || self.shared.hub.has_node(node)
    }

    // --- what is asked ---------------------------------------------------------------------------------------------

    fn asked(&mut self, process: ProcessId, ask: ObjectAsk, ctx: &mut Context<Self>) {
        let mut effects = Vec::new();
        match ask {
            ObjectAsk::Reserve { ticket, bytes } => return self.reserve(For::Process(process, ticket), bytes, ctx),
            ObjectAsk::Seal(stored) => self.table.on_seal(stored, process, &mut effects),
            ObjectAsk::Abort(stored) => self.table.on_abort(stored, process, &mut effects),
            ObjectAsk::Pin { request, stored, owner, bytes } => {
                self.table.on_pin(stored, process, request, (owner, bytes), &mut effects);
            }
            ObjectAsk::Unpin(stored) => self.table.on_unpin(stored, process, &mut effects),
            // Nobody there will claim it.
            ObjectAsk::Pass { to, .. } if !self.is_connected(to.node) => {}
            ObjectAsk::Pass { stored, to } => self.table.on_pass(stored, process, to, &mut effects),
            // Nodes lend each other, and no process speaks for them.
            ObjectAsk::ForNode { frame, .. } if frame.is_of_loans() => {}
            ObjectAsk::ForNode { node, frame } if node == self.shared.spec.id => return self.told(None, frame, ctx),
            ObjectAsk::ForNode { node, frame } => self.shared.hub.to_node(node, &NodeFrame::Object(frame)),
        }
        self.carry_out(effects, ctx);
    }

    fn told(&mut self, by: Option<NodeId>, frame: ObjectFrame, ctx: &mut Context<Self>) {
        let mut effects = Vec::new();
        match frame {
            // Each speaks for itself.
            ObjectFrame::Borrow { loan, .. } | ObjectFrame::Return { loan, .. } if by != Some(loan.to) => {}
            ObjectFrame::Lent { from, .. } if by != Some(from) => {}
            ObjectFrame::Claim { stored, by } => self.table.on_claim(stored, by, &mut effects),
            ObjectFrame::Release { stored, by } => self.table.on_release(stored, by, &mut effects),
            ObjectFrame::Free(stored) => self.table.on_free(stored, &mut effects),
            ObjectFrame::Borrow { stored, loan } => self.table.on_borrow(stored, loan, &mut effects),
            ObjectFrame::Return { stored, loan } => self.table.on_return(stored, loan, &mut effects),
            ObjectFrame::Lent { stored, from, number, place } => {
                return self.lent(stored, Lender { node: from, number }, place, ctx);
            }
            ObjectFrame::Source { stored, from } => {
                let mut pulling = Vec::new();
                self.pulls.on_source(stored, from, &mut pulling);
                return self.carry_out_pulls(pulling, ctx);
            }
        }
        self.carry_out(effects, ctx);
    }

    // --- room ------------------------------------------------------------------------------------------------------

    fn reserve(&mut self, whom: For, bytes: u64, ctx: &mut Context<Self>) {
        self.used = true;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if let Some(room) = self.store.room_now(bytes) {
            return self.found(RoomFound { whom, room: Ok(room) }, ctx);
        }
        if self.reserving >= RESERVING_MAX {
            let why =
                format!("{RESERVING_MAX} others wait for room in the object store already; submit less at a time");
            return self.found(RoomFound { whom, room: Err(NoRoom::Busy(why)) }, ctx);
        }
        let stats = self.store.stats();
        if stats.used_bytes.saturating_add(bytes) > stats.capacity_bytes {
            let mut effects = Vec::new();
            self.table.on_short(bytes as u64, &mut effects);
            self.carry_out(effects, ctx);
        }
        self.reserving += 1;
        let (store, me) = (self.store.clone(), ctx.address());
        actix_rt::task::spawn_blocking(move || {
            let room = store.room(bytes).map_err(|error| NoRoom::of(&error));
            me.do_send(RoomFound { whom, room });
        });
    }

    fn found(&mut self, RoomFound { whom, room }: RoomFound, ctx: &mut Context<Self>) {
        match whom {
            For::Process(process, ticket) => {
                let granted = room.map_err(NoRoom::why).and_then(|room| self.grant(process, room));
                if let Some(room) = granted.transpose() {
                    self.tell(process, ObjectNews::Reserved { ticket, room });
                }
            }
            For::Pull(stored, pull) => self.found_for_pull((stored, pull), room, ctx),
        }
    }

    /// Grants room to a process; none where it has ended.
    fn grant(&mut self, process: ProcessId, room: ReservedRoom) -> Result<Option<GrantedRoom>, String> {
        let place = self.place(room.offset())?;
        let granted = self.table.on_reserved(process, room.len() as u64).map(|stored| {
            self.rooms.insert(stored, room);
            GrantedRoom { stored, place }
        });
        Ok(granted)
    }

    fn place(&self, offset: usize) -> Result<Place, String> {
        let segment = self.store.segment_name().map_err(|error| said(&error))?.to_owned();
        Ok(Place { segment, offset: offset as u64, guests: None })
    }

    // --- effects ---------------------------------------------------------------------------------------------------

    fn carry_out(&mut self, effects: Vec<TableEffect>, ctx: &mut Context<Self>) {
        for effect in effects {
            match effect {
                TableEffect::Seal(stored) => {
                    if let Some(room) = self.rooms.remove(&stored) {
                        self.served.sealed.write().insert(stored, Arc::new(room.seal()));
                    }
                }
                TableEffect::DropRoom(stored) => drop(self.rooms.remove(&stored)),
                TableEffect::Pin { stored, reader, request } => self.pin(stored, reader, request, ctx),
                TableEffect::Unpin(stored, reader) => self.unpin(stored, reader),
                TableEffect::Refuse { stored, reader, request, why } => {
                    self.answer(stored, reader, request, Err(why));
                }
                TableEffect::Return(stored, from) => {
                    self.loans.places.remove(&stored);
                    self.give_back(stored, from);
                }
                TableEffect::Lost(stored) => drop(self.loans.places.remove(&stored)),
                TableEffect::Pull { stored, owner, bytes } => {
                    let mut pulling = Vec::new();
                    self.pulls.on_wanted(stored, owner, bytes, &mut pulling);
                    self.carry_out_pulls(pulling, ctx);
                }
                TableEffect::CancelPull(stored) => {
                    let mut pulling = Vec::new();
                    self.pulls.on_unwanted(stored, &mut pulling);
                    self.fillings.remove(&stored);
                    self.carry_out_pulls(pulling, ctx);
                }
                TableEffect::Free(stored) => drop(self.served.sealed.write().remove(&stored)),
                TableEffect::Dropped { stored, owner } => {
                    self.tell(owner, ObjectNews::Dropped { stored, at: self.shared.spec.id });
                }
            }
        }
    }

    fn pin(&mut self, stored: StoredId, reader: Reader, request: u64, ctx: &mut Context<Self>) {
        if let Some(place) = self.loans.places.get(&stored).cloned() {
            return self.answer(stored, reader, request, Ok(place));
        }
        let sealed = self.served.sealed.read().get(&stored).cloned();
        let Some(sealed) = sealed else {
            let view = Err("its room was lost before it was sealed".to_owned());
            return self.viewed(ViewFound { stored, reader, request, view }, ctx);
        };
        if let Some(view) = sealed.view_now() {
            return self.viewed(ViewFound { stored, reader, request, view: Ok(view) }, ctx);
        }
        let me = ctx.address();
        actix_rt::task::spawn_blocking(move || {
            let view = sealed.view().map_err(|error| said(&error));
            me.do_send(ViewFound { stored, reader, request, view });
        });
    }

    fn viewed(&mut self, found: ViewFound, ctx: &mut Context<Self>) {
        let ViewFound { stored, reader, request, view } = found;
        if !self.table.is_pinned_by(stored, reader) {
            // It has ended meanwhile.
            return;
        }
        let place = view.and_then(|view| {
            let place = self.place(view.offset())?;
            let place = self.for_reader(place, reader)?;
            self.views.entry((stored, reader)).or_default().push(view);
            Ok(place)
        });
        if place.is_err() {
            let mut effects = Vec::new();
            match reader {
                Reader::Process(process) => self.table.on_unpin(stored, process, &mut effects),
                Reader::Loan(loan) => self.table.on_return(stored, loan, &mut effects),
            }
            // There is no view to drop.
            effects.retain(|effect| !matches!(effect, TableEffect::Unpin(..)));
            self.carry_out(effects, ctx);
        }
        self.answer(stored, reader, request, place);
    }

    fn answer(&self, stored: StoredId, reader: Reader, request: u64, place: Result<Place, String>) {
        match reader {
            Reader::Process(process) => self.tell(process, ObjectNews::Pinned { request, place }),
            Reader::Loan(loan) => {
                let (from, number) = (self.shared.spec.id, loan.number);
                let frame = ObjectFrame::Lent { stored, from, number, place };
                self.shared.hub.to_node(loan.to, &NodeFrame::Object(frame));
            }
        }
    }

    fn unpin(&mut self, stored: StoredId, reader: Reader) {
        let Some(views) = self.views.get_mut(&(stored, reader)) else { return };
        drop(views.pop());
        if views.is_empty() {
            self.views.remove(&(stored, reader));
        }
    }

    // --- the store -------------------------------------------------------------------------------------------------

    /// One step of what is done ahead of need.
    fn step(&mut self, ctx: &mut Context<Self>) {
        if self.stepping || !self.used {
            return;
        }
        self.stepping = true;
        let (store, me) = (self.store.clone(), ctx.address());
        actix_rt::task::spawn_blocking(move || {
            let more = store.pretouch_step();
            if let Err(error) = store.spill_over_high_water() {
                tracing::warn!(%error, "objects over the high-water mark could not be spilled; they stay in memory");
            }
            me.do_send(StepDone { more });
        });
    }

    fn figures(&self) -> ObjectFigures {
        let stats = self.store.stats();
        ObjectFigures {
            capacity_bytes: stats.capacity_bytes as u64,
            used_bytes: stats.used_bytes as u64,
            pinned_bytes: stats.pinned_bytes as u64,
            spilled_bytes: stats.spilled_bytes,
            objects: self.table.len() as u64,
            sent_bytes: self.served.sent_bytes.load(Ordering::Relaxed),
            fetched_bytes: self.served.fetched_bytes.load(Ordering::Relaxed),
            pulls: self.pulls.len() as u64,
        }
    }
}

impl Actor for ObjectManager {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(1_024);
        self.arbiters = (0..STREAM_THREADS).map(|_| Arbiter::new()).collect();
        ctx.run_interval(LOOK, |this, ctx| {
            let mut effects = Vec::new();
            this.table.on_time(this.now(), &mut effects);
            this.carry_out(effects, ctx);
            this.loans.let_go();
            this.step(ctx);
        });
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
        self.store.close();
    }
}

/// An error with its causes.
fn said(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}
