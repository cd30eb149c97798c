//! A process's way to its node's shared memory, and to that of others which its node has borrowed from.
//!
//! Owns: asking for room and for pins, the mapping of the node's segment, and telling nodes what [`DirectoryCore`] decides
//! about this process's objects. Does not own objects ([`AwayObject`]). Invariants: every wish is answered once, at the latest
//! when the node is gone; no lock is held while a wish is answered; what was granted and not filled is given back.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actinic_gcs::{NodeId, ObjectId};
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::{
    directory::core::{DirectoryCore, DirectoryEffect},
    guests::Guest,
    wire::{GrantedRoom, Locator, ObjectAsk, ObjectFrame, ObjectNews, Place, StoredId},
    AwayObject,
};
use crate::{
    blocking,
    cluster::{
        core_worker::disconnected,
        peer::Conduit,
        wire::{ProcessId, ToNode},
    },
    data::codec::{AnyRef, Encoded},
    error::{TaskError, TaskErrorKind},
    node::Node,
    store::{Mapping, Placement},
};

/// How long a writer waits for room with its CPU; mostly the answer is there by then.
const ANSWER_SOON: Duration = Duration::from_millis(2);

/// After another node's memory could not be mapped, and how often that is tried: a connection that was cut is noticed by then.
const PIN_AGAIN: Duration = Duration::from_millis(100);
const PIN_AGAIN_MAX: u32 = 100;

/// Who is given an object's bytes.
pub type OnPinned = Box<dyn FnOnce(Result<Bytes, TaskError>) + Send>;

struct PinAsked {
    stored: StoredId,
    object: ObjectId,
    owner: ProcessId,
    bytes: u64,
    /// How often its place could not be mapped.
    failures: u32,
    then: OnPinned,
}

/// An answer that a thread waits for.
#[derive(Default)]
struct Reserving {
    room: Mutex<Option<Result<GrantedRoom, String>>>,
    answered: Condvar,
}

impl Reserving {
    fn answer(&self, room: Result<GrantedRoom, String>) {
        *self.room.lock() = Some(room);
        self.answered.notify_all();
    }

    fn wait(&self, longest: Option<Duration>) -> Option<Result<GrantedRoom, String>> {
        let mut room = self.room.lock();
        while room.is_none() {
            match longest {
                None => self.answered.wait(&mut room),
                Some(longest) => {
                    if self.answered.wait_for(&mut room, longest).timed_out() {
                        break;
                    }
                }
            }
        }
        room.take()
    }
}

#[derive(Default)]
struct State {
    next: u64,
    reserving: BTreeMap<u64, Arc<Reserving>>,
    pinning: BTreeMap<u64, PinAsked>,
    mapping: Option<Arc<Mapping>>,
    /// Other nodes' segments, by what is locked for them.
    as_guest: BTreeMap<String, Arc<Mapping>>,
    gone: bool,
}

/// This process's way to its node's objects.
pub struct ObjectClient {
    me: ProcessId,
    conduit: Conduit,
    state: Mutex<State>,
    directory: Mutex<DirectoryCore>,
}

impl ObjectClient {
    /// Of the process `me`, whose node is reached through `conduit`.
    #[must_use]
    pub fn new(me: ProcessId, conduit: Conduit) -> Arc<Self> {
        Arc::new(Self { me, conduit, state: Mutex::default(), directory: Mutex::default() })
    }

    // --- writing ---------------------------------------------------------------------------------------------------

    /// Lays a value out in the node's memory. Waits for room if there is none.
    ///
    /// # Errors
    /// `ObjectStore`: there is no room, and what to do about it.
    pub fn put(
        self: &Arc<Self>,
        node: &Arc<Node>,
        object: ObjectId,
        encoded: Encoded,
    ) -> Result<Arc<AwayObject>, TaskError> {
        let bytes = Placement::room_bytes(&encoded);
        let GrantedRoom { stored, place } = self.reserve(node, bytes as u64)?;
        let written = self.mapping(&place).and_then(|mapping| {
            let outside = || "the node has granted room outside of its segment".to_owned();
            mapping.write(place.offset as usize, bytes, &encoded).ok_or_else(outside)
        });
        let placement = match written {
            Ok(placement) => placement,
            Err(message) => {
                self.ask_soon(ObjectAsk::Abort(stored));
                return Err(TaskErrorKind::ObjectStore { message }.into());
            }
        };
        self.ask(ObjectAsk::Seal(stored));
        self.directory.lock().on_owned(stored);
        let bytes = bytes as u64;
        let locator = Locator { stored, object, owner: self.me, bytes, placement, given: false };
        Ok(AwayObject::new(self.clone(), locator, encoded.refs.into(), true))
    }

    fn reserve(&self, node: &Arc<Node>, bytes: u64) -> Result<GrantedRoom, TaskError> {
        let reserving = Arc::new(Reserving::default());
        let ticket = {
            let mut state = self.state.lock();
            if state.gone {
                return Err(disconnected());
            }
            state.next += 1;
            let ticket = state.next;
            state.reserving.insert(ticket, reserving.clone());
            ticket
        };
        self.ask(ObjectAsk::Reserve { ticket, bytes });
        let room = reserving.wait(Some(ANSWER_SOON));
        let room = room.or_else(|| blocking::blocked(node, || reserving.wait(None)));
        match room {
            Some(Ok(room)) => Ok(room),
            Some(Err(message)) => Err(TaskErrorKind::ObjectStore { message }.into()),
            None => Err(disconnected()),
        }
    }

    fn mapping(&self, Place { segment, guests, .. }: &Place) -> Result<Arc<Mapping>, String> {
        let mut state = self.state.lock();
        let known = match guests {
            Some(guests) => state.as_guest.get(guests),
            None => state.mapping.as_ref(),
        };
        if let Some(mapping) = known.filter(|mapping| mapping.name() == segment) {
            return Ok(mapping.clone());
        }
        let opened = match guests {
            Some(guests) => {
                let guest = Guest::enter(guests).map_err(|error| format!("its node's memory is shut ({error})"))?;
                Mapping::open_as_guest(segment, guest)
            }
            None => Mapping::open(segment),
        };
        let mapping = opened.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(" ({cause})")).unwrap_or_default();
            format!("the node's shared memory {segment} cannot be mapped by this process: {error}{cause}")
        })?;
        let mapping = Arc::new(mapping);
        match guests {
            Some(guests) => drop(state.as_guest.insert(guests.clone(), mapping.clone())),
            None => state.mapping = Some(mapping.clone()),
        }
        Ok(mapping)
    }

    // --- holding ---------------------------------------------------------------------------------------------------

    /// An object that has come: held by this process from now on if it was given to it.
    #[must_use]
    pub fn arrived(self: &Arc<Self>, mut locator: Locator, refs: Arc<[AnyRef]>) -> Arc<AwayObject> {
        let held = std::mem::replace(&mut locator.given, false) && locator.owner == self.me;
        if held {
            let (node, stored) = (locator.stored.node, locator.stored);
            self.directory.lock().on_owned(stored);
            self.ask(ObjectAsk::ForNode { node, frame: ObjectFrame::Claim { stored, by: self.me } });
        }
        AwayObject::new(self.clone(), locator, refs, held)
    }

    pub(super) fn has_sealed(&self, locator: &Locator) -> bool {
        locator.stored.node == self.me.node && locator.owner == self.me
    }

    pub(super) fn pass(&self, stored: StoredId, to: ProcessId) {
        // At once: whoever is told of the object next must find it, even if this process ends now.
        self.ask(ObjectAsk::Pass { stored, to });
    }

    pub(super) fn release(&self, locator: &Locator) {
        let (node, stored) = (locator.stored.node, locator.stored);
        let mut effects = Vec::new();
        self.directory.lock().on_released(stored, &mut effects);
        self.ask_soon(ObjectAsk::ForNode { node, frame: ObjectFrame::Release { stored, by: self.me } });
        self.carry_out(effects);
    }

    // --- reading ---------------------------------------------------------------------------------------------------

    /// Pins an object in the node's memory, wherever it is now. The pin ends with the last view of the bytes.
    pub(super) fn pin(self: &Arc<Self>, locator: &Locator, then: OnPinned) {
        let Locator { stored, object, owner, bytes, .. } = *locator;
        self.ask_to_pin(PinAsked { stored, object, owner, bytes, failures: 0, then });
    }

    fn ask_to_pin(&self, asked: PinAsked) {
        let (stored, owner, bytes) = (asked.stored, asked.owner, asked.bytes);
        let request = {
            let mut state = self.state.lock();
            if state.gone {
                drop(state);
                return (asked.then)(Err(disconnected()));
            }
            state.next += 1;
            let request = state.next;
            state.pinning.insert(request, asked);
            request
        };
        self.ask(ObjectAsk::Pin { request, stored, owner, bytes });
    }

    /// The lender of what was pinned has lost this process's node, which will know soon, and pin it elsewhere.
    fn pin_again(self: &Arc<Self>, asked: PinAsked) {
        let client = self.clone();
        actix_rt::spawn(async move {
            tokio::time::sleep(PIN_AGAIN).await;
            client.ask_to_pin(PinAsked { failures: asked.failures + 1, ..asked });
        });
    }

    // --- what is heard ---------------------------------------------------------------------------------------------

    /// The node says something.
    pub fn hear(self: &Arc<Self>, news: ObjectNews) {
        let mut effects = Vec::new();
        match news {
            ObjectNews::Reserved { ticket, room } => {
                let reserving = self.state.lock().reserving.remove(&ticket);
                if let Some(reserving) = reserving {
                    reserving.answer(room);
                }
            }
            ObjectNews::Pinned { request, place } => {
                let Some(asked) = self.state.lock().pinning.remove(&request) else { return };
                let pinned = place.map(|place| (Pin { client: self.clone(), stored: asked.stored }, place));
                let mapped = pinned.map(|(pin, place)| {
                    let borrowed = place.guests.is_some();
                    (pin, self.mapping(&place).map_err(|why| (why, borrowed)), place)
                });
                let again = matches!(&mapped, Ok((_, Err((_, true)), _)) if asked.failures < PIN_AGAIN_MAX);
                if again {
                    return self.pin_again(asked);
                }
                let PinAsked { object, bytes, then, .. } = asked;
                let view = mapped.and_then(|(pin, mapping, place)| {
                    let mapping = mapping.map_err(|(why, _)| why)?;
                    let outside = || "the node has pinned it outside of its segment".to_owned();
                    mapping.view(place.offset as usize, bytes as usize, pin).ok_or_else(outside)
                });
                then(view.map_err(|why| {
                    let message = format!("object {object} cannot be had: {why}");
                    TaskErrorKind::ObjectStore { message }.into()
                }));
            }
            ObjectNews::Locate { stored, to, failed, near } => {
                self.directory.lock().on_locate(stored, to, failed, near, &mut effects);
            }
            ObjectNews::Unmap => self.unmap(),
            ObjectNews::Copied { stored, at } => self.directory.lock().on_copied(stored, at, &mut effects),
            ObjectNews::Dropped { stored, at } => self.directory.lock().on_dropped(stored, at, &mut effects),
        }
        self.carry_out(effects);
    }

    /// What is read stays mapped until it is not read any more, and the rest is mapped again when it is needed: a lender that has
    /// lost this process's node waits for that.
    fn unmap(&self) {
        let guests = std::mem::take(&mut self.state.lock().as_guest);
        drop(guests);
    }

    /// A node is lost.
    pub fn node_gone(&self, node: NodeId) {
        let mut effects = Vec::new();
        self.directory.lock().on_node_gone(node, &mut effects);
        self.carry_out(effects);
    }

    /// The own node is gone: whoever waits hears of it.
    pub fn disconnected(&self) {
        let (reserving, pinning) = {
            let mut state = self.state.lock();
            state.gone = true;
            (std::mem::take(&mut state.reserving), std::mem::take(&mut state.pinning))
        };
        self.unmap();
        reserving.into_values().for_each(|reserving| reserving.answer(Err(disconnected().to_string())));
        pinning.into_values().for_each(|asked| (asked.then)(Err(disconnected())));
    }

    /// Where copies of an object of this process are, as far as is known.
    #[must_use]
    pub fn places(&self, stored: StoredId) -> Vec<NodeId> {
        self.directory.lock().places(stored)
    }

    fn carry_out(&self, effects: Vec<DirectoryEffect>) {
        for effect in effects {
            let (node, frame) = match effect {
                DirectoryEffect::Source { stored, to, from } => (to, ObjectFrame::Source { stored, from }),
                DirectoryEffect::Free { stored, at } => (at, ObjectFrame::Free(stored)),
            };
            self.ask(ObjectAsk::ForNode { node, frame });
        }
    }

    fn ask(&self, ask: ObjectAsk) {
        if let Err(error) = self.conduit.send_now(&ToNode::Object(ask)) {
            tracing::warn!(%error, "the node does not hear");
        }
    }

    fn ask_soon(&self, ask: ObjectAsk) {
        if let Err(error) = self.conduit.send(&ToNode::Object(ask)) {
            tracing::warn!(%error, "the node does not hear");
        }
    }
}

impl std::fmt::Debug for ObjectClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectClient").field("me", &self.me).finish_non_exhaustive()
    }
}

/// A pin of this process at its node.
struct Pin {
    client: Arc<ObjectClient>,
    stored: StoredId,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.client.ask_soon(ObjectAsk::Unpin(self.stored));
    }
}
