//! `RemoteGcs`: the control store for programs that have no node, as tests, benches and tools.
//!
//! Owns: a thread with the links to all shards, and whoever waits for answers. Numbers, windows and retries are those of
//! every client ([`ClientCore`]). Invariants: each request is answered once, or its waiter hears that the client is closed;
//! no more than [`UNANSWERED_MAX`] requests a shard are unanswered; a panic of a callback ends that subscription and nothing
//! else.

mod client;

use std::{
    fmt,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc, Arc, OnceLock,
    },
    thread::{self, JoinHandle, ThreadId},
    time::{Duration, Instant},
};

use actinic_gcs::{
    shard::{Change, ClientId, Filter, Request, SubscriptionId},
    tables::{Read, Reply, Write},
};
use actix::System;
use parking_lot::{Condvar, Mutex};

use self::client::RemoteClient;
use super::{
    link::{Found, LinkNews},
    wire::Membership,
    NetError,
};
use crate::{
    gcs_client::{GcsError, OnChange},
    ingress::Ingress,
};

/// Requests of one shard that may be unanswered; one more waits until another is answered.
pub const UNANSWERED_MAX: usize = 4_096;
/// How long the leaders are looked for at first.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Whoever waits for an answer, and the room that it takes.
struct Waiter {
    answer: mpsc::SyncSender<Result<Reply, GcsError>>,
    shared: Arc<Shared>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        *self.shared.unanswered.lock() -= 1;
        self.shared.room.notify_one();
    }
}

/// What the client is given.
enum Event {
    Ask(Request, Waiter),
    Subscribe(SubscriptionId, Filter, OnChange),
    Unsubscribe(SubscriptionId),
}

#[derive(Default)]
struct Shared {
    ingress: Ingress<Event>,
    client_thread: OnceLock<ThreadId>,
    next_subscription: AtomicU64,
    /// How often changes were lost to a subscription.
    missed: AtomicU64,
    unanswered: Mutex<usize>,
    room: Condvar,
}

/// A client of a cluster's control store, for any number of threads.
pub struct RemoteGcs {
    shared: Arc<Shared>,
    shards: usize,
    system: System,
    thread: Option<JoinHandle<()>>,
}

/// An answer that is on its way.
#[derive(Debug)]
#[must_use = "an answer that is not waited for tells nobody of a refusal"]
pub struct Pending(Result<mpsc::Receiver<Result<Reply, GcsError>>, GcsError>);

impl Pending {
    /// Waits for the answer.
    ///
    /// # Errors
    /// [`GcsError`].
    pub fn wait(self) -> Result<Reply, GcsError> {
        self.0?.recv().unwrap_or(Err(GcsError::Closed))
    }
}

impl RemoteGcs {
    /// Connects to a cluster: for each shard in its order, where its replicas are reached. Returns once each shard's leader
    /// is found.
    ///
    /// # Errors
    /// [`NetError`]: of a shard that refuses, or of which no leader was found for ten seconds.
    pub fn connect(membership: &Membership, shards: Vec<Vec<String>>) -> Result<Self, NetError> {
        Self::connect_within(membership, shards, CONNECT_MAX)
    }

    /// As [`RemoteGcs::connect`], within another time.
    ///
    /// # Errors
    /// As [`RemoteGcs::connect`].
    pub fn connect_within(
        membership: &Membership,
        shards: Vec<Vec<String>>,
        within: Duration,
    ) -> Result<Self, NetError> {
        let empty = shards.iter().position(Vec::is_empty);
        if let Some(shard) = empty.or(shards.is_empty().then_some(0)) {
            return Err(NetError::NoAddress { shard });
        }
        let (count, client) = (shards.len(), fresh_client_id());
        let (shared, membership) = (Arc::new(Shared::default()), membership.clone());
        let (news, heard) = mpsc::channel();
        let (started, starting) = mpsc::sync_channel(1);
        let of_client = shared.clone();
        let thread = thread::Builder::new().name("actinic-gcs-remote".to_owned());
        let thread = thread.spawn(move || {
            let runner = System::new();
            let _ = of_client.client_thread.set(thread::current().id());
            runner.block_on(async { RemoteClient::begin(of_client, client, &membership, shards, news) });
            let _ = started.send(System::current());
            if let Err(error) = runner.run() {
                tracing::error!(%error, "a client of the control store ended badly");
            }
        });
        let thread = thread.map_err(|error| NetError::Thread(Some(error)))?;
        let system = starting.recv().map_err(|_| NetError::Thread(None))?;
        let remote = Self { shared, shards: count, system, thread: Some(thread) };
        all_found(count, &heard, within).map(|()| remote)
    }

    /// Writes, and waits for the outcome.
    ///
    /// # Errors
    /// [`GcsError`].
    pub fn write(&self, write: impl Into<Write>) -> Result<Reply, GcsError> {
        self.submit(Request::Write(write.into())).wait()
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`GcsError`].
    pub fn read(&self, read: impl Into<Read>) -> Result<Reply, GcsError> {
        self.submit(Request::Read(read.into())).wait()
    }

    /// Sends a request and does not wait for its answer; only where [`UNANSWERED_MAX`] are unanswered it waits for one of
    /// them.
    pub fn submit(&self, request: Request) -> Pending {
        if self.shared.client_thread.get() == Some(&thread::current().id()) {
            return Pending(Err(GcsError::Callback));
        }
        let mut unanswered = self.shared.unanswered.lock();
        while *unanswered >= UNANSWERED_MAX * self.shards {
            self.shared.room.wait(&mut unanswered);
        }
        *unanswered += 1;
        drop(unanswered);
        let (answer, answered) = mpsc::sync_channel(1);
        let waiter = Waiter { answer, shared: self.shared.clone() };
        self.shared.ingress.push(Event::Ask(request, waiter));
        Pending(Ok(answered))
    }

    /// Calls `on_change` at every change of `filter` from now on, on the client's thread: it must not wait for anything, and
    /// asking there gives [`GcsError::Callback`].
    pub fn subscribe(&self, filter: Filter, on_change: impl Fn(Change) + Send + Sync + 'static) -> SubscriptionId {
        let subscription = SubscriptionId(self.shared.next_subscription.fetch_add(1, Ordering::Relaxed) + 1);
        self.shared.ingress.push(Event::Subscribe(subscription, filter, Arc::new(on_change)));
        subscription
    }

    /// How often, so far, changes were lost to a subscription of this client: whoever keeps what changes tell reads it anew then.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.shared.missed.load(Ordering::Acquire)
    }

    /// Ends a subscription. A change that is on its way may still be told.
    pub fn unsubscribe(&self, subscription: SubscriptionId) {
        self.shared.ingress.push(Event::Unsubscribe(subscription));
    }
}

impl Drop for RemoteGcs {
    fn drop(&mut self) {
        self.system.stop();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of a client of the control store panicked");
        }
        self.shared.ingress.disconnect();
        // Who waits for an answer hears of the end when the other end goes.
        let mut dropped = true;
        while std::mem::take(&mut dropped) {
            self.shared.ingress.drain(|_| dropped = true);
        }
    }
}

impl fmt::Debug for RemoteGcs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteGcs").field("shards", &self.shards).finish_non_exhaustive()
    }
}

/// Waits until a leader of each shard is found, or until it is clear that none will be.
fn all_found(shards: usize, heard: &mpsc::Receiver<LinkNews>, within: Duration) -> Result<(), NetError> {
    let since = Instant::now();
    let mut missing: Vec<usize> = (0..shards).collect();
    let mut last = "nothing was heard".to_owned();
    while let Some(shard) = missing.first().copied() {
        let waited = since.elapsed();
        let Ok(news) = heard.recv_timeout(within.saturating_sub(waited)) else {
            return Err(NetError::NoLeader { shard, waited, last });
        };
        match news.what {
            Found::Leader(_) => missing.retain(|missing| *missing != news.shard),
            Found::NoLeader(Some(error)) if error.is_final() => return Err(error),
            Found::NoLeader(Some(error)) => last = with_source(&error),
            Found::NoLeader(None) => {}
        }
    }
    Ok(())
}

fn with_source(error: &NetError) -> String {
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

/// An id for one life of a client: it need not be guessable, only different from any other.
fn fresh_client_id() -> ClientId {
    use std::hash::{BuildHasher, RandomState};
    let half = |salt: u64| u128::from(RandomState::new().hash_one((salt, std::process::id(), Instant::now())));
    ClientId(half(1) << 64 | half(2))
}
