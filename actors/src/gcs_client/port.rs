//! The port: how every thread of the process reaches the control store.
//!
//! Owns: the queue to the [client](super::GcsClient), and waiting for its answers. Does not own what becomes of the
//! requests. Invariants: a record costs its caller one push, never a wait; once the port is closed nobody waits any more,
//! nor begins to.

use std::{
    fmt,
    sync::{
        atomic::{fence, AtomicBool, AtomicU64, Ordering},
        mpsc, Arc, OnceLock,
    },
    thread::{self, ThreadId},
};

use actinic_gcs::{
    shard::{Change, Filter, Request, SubscriptionId},
    spec::ActorSpec,
    tables::{EventRead, IfExists, PageRequest, Read, Reply, Write},
    ActorId, PlacementGroupId,
};
use actix::Recipient;

use super::{ledger::Happening, GcsError};
use crate::ingress::{Ingress, Ring};

/// Hears of changes, on the client's thread; it must not wait for anything.
pub type OnChange = Arc<dyn Fn(Change) + Send + Sync>;

/// To whom an answer goes.
pub(super) type Answer = mpsc::SyncSender<Result<Reply, GcsError>>;

/// What the client is given.
pub(super) enum Event {
    /// Nobody waits for the outcome.
    Record(Write),
    /// A thread waits.
    Ask(Request, Answer),
    /// An actor without a name exists.
    Actor(Box<ActorSpec>),
    /// An actor with a name would like to.
    NamedActor(Box<ActorSpec>, IfExists, Answer),
    /// Something happened to an actor.
    Happened(ActorId, Happening),
    /// A placement group is gone.
    GroupRemoved(PlacementGroupId),
    Subscribe(SubscriptionId, Filter, OnChange),
    Unsubscribe(SubscriptionId),
    /// Answered once all before it is written.
    Flush(Answer),
    /// The port is closed.
    Closed,
}

/// The way to the control store, for every thread of the node.
#[derive(Default)]
pub struct GcsPort {
    ingress: Ingress<Event>,
    closed: AtomicBool,
    client_thread: OnceLock<ThreadId>,
    next_subscription: AtomicU64,
}

impl GcsPort {
    /// Writes something for which nobody waits. A refusal is logged.
    pub fn record(&self, write: impl Into<Write>) {
        self.push(Event::Record(write.into()));
    }

    /// Writes something and waits for the outcome.
    ///
    /// # Errors
    /// [`GcsError`].
    pub fn write(&self, write: impl Into<Write>) -> Result<Reply, GcsError> {
        self.wait(|answer| Event::Ask(Request::Write(write.into()), answer))
    }

    /// Asks something and waits for the answer, which shows all that this thread wrote and recorded before.
    ///
    /// # Errors
    /// [`GcsError`].
    pub fn read(&self, read: impl Into<Read>) -> Result<Reply, GcsError> {
        self.wait(|answer| Event::Ask(Request::Read(read.into()), answer))
    }

    /// Calls `on_change` at every change of `filter` from now on, in order, on the client's thread: it must not wait for
    /// anything, and asking the control store there gives [`GcsError::Callback`].
    pub fn subscribe(&self, filter: Filter, on_change: impl Fn(Change) + Send + Sync + 'static) -> SubscriptionId {
        let subscription = SubscriptionId(self.next_subscription.fetch_add(1, Ordering::Relaxed) + 1);
        self.push(Event::Subscribe(subscription, filter, Arc::new(on_change)));
        subscription
    }

    /// Ends a subscription. A change that is on its way may still be told.
    pub fn unsubscribe(&self, subscription: SubscriptionId) {
        self.push(Event::Unsubscribe(subscription));
    }

    /// Waits until all that this thread recorded before is written, or refused.
    ///
    /// # Errors
    /// [`GcsError`], but for a refusal.
    pub fn flush(&self) -> Result<(), GcsError> {
        self.wait(Event::Flush).map(drop)
    }

    /// A question to every shard that costs little.
    pub(super) fn barrier() -> Read {
        EventRead::List(PageRequest { after: None, limit: 1 }).into()
    }

    pub(super) fn push(&self, event: Event) {
        self.ingress.push(event);
        // Pairs with the fence in `disconnect`: either the flag is seen here, or the event is seen there.
        fence(Ordering::SeqCst);
        if self.is_closed() {
            self.drop_all();
        }
    }

    pub(super) fn wait(&self, event: impl FnOnce(Answer) -> Event) -> Result<Reply, GcsError> {
        if self.client_thread.get() == Some(&thread::current().id()) {
            return Err(GcsError::Callback);
        }
        let (reply, answer) = mpsc::sync_channel(1);
        self.push(event(reply));
        // Whoever gives the request up drops the other end.
        answer.recv().unwrap_or(Err(GcsError::Closed))
    }

    pub(super) fn connect(&self, client: Recipient<Ring>) {
        let _ = self.client_thread.set(thread::current().id());
        self.ingress.connect(client);
    }

    /// Whether this is the client's thread.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn is_client_thread(&self) -> bool {
        self.client_thread.get() == Some(&thread::current().id())
    }

    pub(super) fn drain(&self, each: impl FnMut(Event)) {
        self.ingress.drain(each);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Closes the port: the client ends, and whoever waits gets [`GcsError::Closed`].
    pub(crate) fn disconnect(&self) {
        self.closed.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        // Rings for the client, which then sees the flag.
        self.ingress.push(Event::Closed);
        self.ingress.disconnect();
        self.drop_all();
    }

    fn drop_all(&self) {
        let mut dropped = true;
        while dropped {
            dropped = false;
            self.ingress.drain(|event| {
                dropped = true;
                drop(event);
            });
        }
    }
}

impl fmt::Debug for GcsPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcsPort").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}
