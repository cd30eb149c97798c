//! `Peer`: one accepted connection of a client or of another replica.
//!
//! Owns: framing, back-pressure and liveness of that connection, on the arbiter of the shard that it speaks to, so that
//! what comes in reaches the shard without a change of thread. Does not own the handshake, nor what frames mean.
//!
//! Invariants:
//! - No more is read while the shard has not taken what was read before, or while much waits to be written.
//! - One who does not read, says nothing for too long, or makes no sense is cut off.
//! - The shard hears of the end of a client or replica once, and not where a newer connection of the same has come; and
//!   nothing of what an older connection of a client still had to say: answers would go there.

use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::{
        atomic::{AtomicU64, Ordering},
        Arc,
    },
};

use actinic_gcs::{
    replica::{PeerMessage, ReplicaId},
    shard::{ClientId, RequestError},
};
use actix::{dev::ToEnvelope, prelude::*};
use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    inbox::{Inbox, ReadError},
    outbox::{Outbox, Unsent},
    stream::{Reading, Stream},
    wire::{decode, FrameError, FRAME_BYTES_MAX},
    NetLimits,
};
use crate::gcs_client::{
    messages::{AnswerFrame, Answers, Ask, ClientGone, Frame, FromPeer, PeerGone},
    GcsShard,
};

/// Bytes that wait to be written beyond which no more is read.
const PAUSE_BYTES: usize = 1 << 20;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    Client(ClientId),
    Replica(ReplicaId),
}

/// The newest connection of each client and replica, by shard.
#[derive(Default)]
pub(super) struct Newest {
    numbers: Mutex<BTreeMap<(usize, Who), u64>>,
    last: AtomicU64,
}

impl Newest {
    /// Enters a connection; gives its number, and whether it takes the place of another.
    fn enter(&self, key: (usize, Who)) -> (u64, bool) {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        (number, self.numbers.lock().insert(key, number).is_some())
    }

    /// Whether no newer one has come.
    fn is_newest(&self, key: (usize, Who), number: u64) -> bool {
        self.numbers.lock().get(&key) == Some(&number)
    }

    /// Takes a connection out; gives whether it was the newest.
    fn leave(&self, key: (usize, Who), number: u64) -> bool {
        let mut numbers = self.numbers.lock();
        let newest = numbers.get(&key) == Some(&number);
        if newest {
            numbers.remove(&key);
        }
        newest
    }
}

/// What a connection is made of.
pub(super) struct PeerSetup {
    pub(super) shard: usize,
    pub(super) who: Who,
    pub(super) to: Addr<GcsShard>,
    pub(super) limits: NetLimits,
    pub(super) newest: Arc<Newest>,
}

/// The connection's Actix actor.
pub(super) struct Peer {
    setup: PeerSetup,
    stream: Option<Stream>,
    outbox: Rc<Outbox>,
    number: u64,
}

impl Peer {
    pub(super) fn new(setup: PeerSetup, stream: Stream) -> Self {
        let outbox = Rc::new(Outbox::new(setup.limits.outgoing_bytes_max));
        Self { setup, stream: Some(stream), outbox, number: 0 }
    }

    fn cut_off(&self, why: &str, ctx: &mut Context<Self>) {
        tracing::warn!(who = ?self.setup.who, shard = self.setup.shard, why, "a connection is cut off");
        ctx.stop();
    }
}

/// How a connection ends of itself.
enum Ended {
    Closed,
    ShardGone,
    Failed(ReadError),
}

impl From<ReadError> for Ended {
    fn from(error: ReadError) -> Self {
        Self::Failed(error)
    }
}

impl From<FrameError> for Ended {
    fn from(error: FrameError) -> Self {
        Self::Failed(error.into())
    }
}

/// The reading half at work.
struct Reader {
    inbox: Inbox<Reading>,
    outbox: Rc<Outbox>,
    to: Addr<GcsShard>,
    limits: NetLimits,
    newest: Arc<Newest>,
    me: (usize, Who),
    number: u64,
}

impl Reader {
    async fn next(&mut self) -> Result<Vec<Bytes>, Ended> {
        self.outbox.at_most(PAUSE_BYTES).await;
        self.inbox.frames_within(self.limits.idle_max).await?.ok_or(Ended::Closed)
    }

    async fn give<M>(&self, message: M) -> Result<(), Ended>
    where
        M: Message<Result = ()> + Send + 'static,
        GcsShard: Handler<M>,
        Context<GcsShard>: ToEnvelope<GcsShard, M>,
    {
        match self.to.try_send(message) {
            Ok(()) => Ok(()),
            Err(SendError::Full(message)) => self.to.send(message).await.map_err(|_| Ended::ShardGone),
            Err(SendError::Closed(_)) => Err(Ended::ShardGone),
        }
    }

    async fn read_client(mut self, client: ClientId, answers: Recipient<Answers>) -> Result<(), Ended> {
        loop {
            let mut frames = Vec::new();
            for body in self.next().await? {
                if body.is_empty() {
                    // Whoever asks for a sign of life gets one.
                    let _ = self.outbox.push_bytes(&[]);
                } else {
                    frames.push(decode::<Frame>(&body)?);
                }
            }
            if !self.newest.is_newest(self.me, self.number) {
                return Err(Ended::Closed);
            }
            if !frames.is_empty() {
                self.give(Ask { client, answers: answers.clone(), frames }).await?;
            }
        }
    }

    async fn read_replica(mut self, from: ReplicaId) -> Result<(), Ended> {
        loop {
            for body in self.next().await?.iter().filter(|body| !body.is_empty()) {
                let message = PeerMessage::decode(body).map_err(FrameError::from)?;
                self.give(FromPeer { from, message }).await?;
            }
        }
    }
}

impl Actor for Peer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let Some(stream) = self.stream.take() else { return ctx.stop() };
        let PeerSetup { shard, who, to, limits, newest, .. } = &self.setup;
        let (number, replaces) = newest.enter((*shard, *who));
        self.number = number;
        let (reader, mut writer) = stream.split();
        let inbox = Inbox::new(reader, FRAME_BYTES_MAX);
        let (outbox, to_shard, newest) = (self.outbox.clone(), to.clone(), newest.clone());
        let reader = Reader { inbox, outbox, to: to_shard, limits: *limits, newest, me: (*shard, *who), number };
        let answers = ctx.address().recipient();
        let who = *who;
        if let (Who::Client(client), true) = (who, replaces) {
            // Its subscriptions are of the connection before.
            to.do_send(ClientGone(client));
        }
        let reading = async move {
            match who {
                Who::Client(client) => reader.read_client(client, answers).await,
                Who::Replica(from) => reader.read_replica(from).await,
            }
        };
        ctx.spawn(reading.into_actor(self).map(|ended, this, ctx| match ended {
            Ok(()) | Err(Ended::Closed) => ctx.stop(),
            Err(Ended::ShardGone) => this.cut_off("its shard has ended", ctx),
            Err(Ended::Failed(ReadError::Io(error))) => {
                tracing::debug!(who = ?this.setup.who, %error, "a connection failed");
                ctx.stop();
            }
            Err(Ended::Failed(error)) => this.cut_off(&error.to_string(), ctx),
        }));
        let (outbox, stall) = (self.outbox.clone(), limits.stall_max);
        let writing = async move { outbox.write_to(&mut writer, None, stall).await };
        ctx.spawn(writing.into_actor(self).map(|error, this, ctx| match error.kind() {
            std::io::ErrorKind::TimedOut => this.cut_off("it does not read", ctx),
            _ => ctx.stop(),
        }));
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        let PeerSetup { shard, who, to, newest, .. } = &self.setup;
        if newest.leave((*shard, *who), self.number) {
            match who {
                Who::Client(client) => to.do_send(ClientGone(*client)),
                Who::Replica(replica) => to.do_send(PeerGone(*replica)),
            }
        }
    }
}

impl Handler<Answers> for Peer {
    type Result = ();

    fn handle(&mut self, answers: Answers, ctx: &mut Context<Self>) {
        for frame in answers.frames {
            let unsent = match self.outbox.push(&frame) {
                Ok(()) => continue,
                Err(unsent) => unsent,
            };
            let error = match unsent {
                Unsent::Full => return self.cut_off("it does not read", ctx),
                Unsent::TooLong { bytes } => RequestError::TooLarge { bytes, max: FRAME_BYTES_MAX },
                Unsent::Unencodable => RequestError::Unreadable,
            };
            let AnswerFrame::Reply { request, .. } = frame else {
                return self.cut_off("what it is to be told does not fit into a frame", ctx);
            };
            if self.outbox.push(&AnswerFrame::Reply { request, outcome: Err(error) }).is_err() {
                return self.cut_off("it does not read", ctx);
            }
        }
    }
}
