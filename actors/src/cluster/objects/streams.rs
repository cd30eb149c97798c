//! The bytes of objects between nodes: connections of their own, so that no word waits behind bulk.
//!
//! ```text
//! fetcher ── stored (node 16 bytes, serial 8), first byte 8, bytes 8 ──►      all little-endian
//!         ◄── 0, the bytes      or 1: not here, or 2: more than a chunk ── source
//! ```
//!
//! Owns: the connections, of which a node has [`STREAMS`] to each node that it fetches from, and carrying chunks. Decides
//! nothing. Invariants: bytes go from shared memory to the socket and from the socket to shared memory, without a copy between;
//! what has come is what was sent, which the encryption proves of each record where a machine is left; one who takes or gives nothing for [`STALL`] is hung up on; every chunk that was
//! asked for is answered once; nobody is given more than a chunk at once, however much he asks for.

use std::{
    io,
    ops::Range,
    sync::{
        atomic::{AtomicU64, Ordering},
        Arc,
    },
    time::Duration,
};

use actinic_gcs::NodeId;
use parking_lot::RwLock;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{mpsc, Mutex},
    time::timeout,
};

use super::{
    pull::core::{Chunk, CHUNK_BYTES},
    wire::StoredId,
};
use crate::{
    gcs_net::{
        handshake,
        wire::{Membership, Purpose},
    },
    store::{Part, SealedRoom, SharedView},
};

/// Connections to one source.
pub const STREAMS: usize = 4;
/// One who takes or gives nothing for so long is hung up on.
pub const STALL: Duration = Duration::from_secs(10);
/// A connection on which nothing is asked for so long ends.
const IDLE: Duration = Duration::from_secs(60);
/// How long a call may take.
const CALL_MAX: Duration = Duration::from_secs(3);
/// After a chunk that could not be fetched.
const PAUSE: Duration = Duration::from_millis(100);
pub(crate) const ASK_BYTES: usize = 40;
/// The bytes follow.
const HERE: u8 = 0;
/// The object, or what was asked for of it, is not here.
const NOT_HERE: u8 = 1;
/// More was asked for than is given at once.
const TOO_MUCH: u8 = 2;
/// Bytes in whose time one who stalls is noticed.
const STEP_BYTES: usize = 1 << 20;

/// What this node can serve, for all connections.
#[derive(Default)]
pub struct Served {
    /// The objects that are complete.
    pub sealed: RwLock<std::collections::BTreeMap<StoredId, Arc<SealedRoom>>>,
    /// Bytes sent.
    pub sent_bytes: AtomicU64,
    /// Bytes fetched.
    pub fetched_bytes: AtomicU64,
}

/// A chunk to be fetched.
pub struct Job {
    /// Which.
    pub chunk: Chunk,
    /// Where it goes.
    pub part: Part,
    /// Who hears whether it has come.
    pub then: Box<dyn FnOnce(Chunk, bool) + Send>,
}

/// The connections to one source. They end when this is dropped.
pub struct Source {
    jobs: mpsc::UnboundedSender<Job>,
}

impl Source {
    /// Starts the streams, on the arbiters at hand; each connects when it first has something to fetch.
    pub fn start(
        arbiters: &[actix::ArbiterHandle],
        me: NodeId,
        address: &str,
        membership: &Membership,
        served: &Arc<Served>,
    ) -> Self {
        // Bounded by the chunks that the pull core lets be under way.
        let (jobs, asked) = mpsc::unbounded_channel();
        let asked = Arc::new(Mutex::new(asked));
        for stream in 0..STREAMS {
            let Some(arbiter) = arbiters.get(stream % arbiters.len().max(1)) else { break };
            let stream = Stream { me, address: address.to_owned(), membership: membership.clone(), open: None };
            let (asked, served) = (asked.clone(), served.clone());
            arbiter.spawn_fn(move || drop(actix_rt::spawn(stream.run(asked, served))));
        }
        Self { jobs }
    }

    /// Fetches a chunk.
    pub fn fetch(&self, job: Job) {
        if let Err(mpsc::error::SendError(job)) = self.jobs.send(job) {
            finish(job, false);
        }
    }
}

fn finish(job: Job, came: bool) {
    let Job { chunk, part, then } = job;
    // The part first: whoever is told may put the object together at once.
    drop(part);
    then(chunk, came);
}

/// One connection to a source.
struct Stream {
    me: NodeId,
    address: String,
    membership: Membership,
    open: Option<crate::gcs_net::stream::Stream>,
}

impl Stream {
    async fn run(mut self, asked: Arc<Mutex<mpsc::UnboundedReceiver<Job>>>, served: Arc<Served>) {
        loop {
            let job = asked.lock().await.recv().await;
            let Some(mut job) = job else { return };
            let reused = self.open.is_some();
            let mut came = self.fetch(&mut job).await;
            if came.is_err() && reused {
                // The source may have hung up on an idle connection.
                came = self.fetch(&mut job).await;
            }
            match &came {
                Ok(()) => drop(served.fetched_bytes.fetch_add(job.chunk.bytes, Ordering::Relaxed)),
                Err(error) => {
                    tracing::info!(source = self.address, %error, "a part of an object was not fetched");
                    // The source may be busy, or its end not be known yet: attempts are few.
                    tokio::time::sleep(PAUSE).await;
                }
            }
            finish(job, came.is_ok());
        }
    }

    async fn fetch(&mut self, job: &mut Job) -> io::Result<()> {
        let mut stream = match self.open.take() {
            Some(stream) => stream,
            None => {
                let purpose = Purpose::Objects(self.me);
                let called = handshake::call(&self.address, &self.membership, purpose, CALL_MAX).await;
                called.map_err(io::Error::other)?.0
            }
        };
        fetch_by(&mut stream, &job.chunk, job.part.bytes_mut()).await?;
        self.open = Some(stream);
        Ok(())
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    stored: StoredId,
    offset: u64,
    bytes: u64,
}

impl Ask {
    pub(crate) fn encoded(self) -> [u8; ASK_BYTES] {
        let mut ask = [0; ASK_BYTES];
        ask[..16].copy_from_slice(&self.stored.node.0.to_le_bytes());
        ask[16..24].copy_from_slice(&self.stored.serial.to_le_bytes());
        ask[24..32].copy_from_slice(&self.offset.to_le_bytes());
        ask[32..].copy_from_slice(&self.bytes.to_le_bytes());
        ask
    }

    pub(crate) fn decoded(ask: &[u8; ASK_BYTES]) -> Self {
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&ask[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let node = NodeId(u128::from(number(8)) << 64 | u128::from(number(0)));
        Self { stored: StoredId { node, serial: number(16) }, offset: number(24), bytes: number(32) }
    }

    /// Which bytes these are, if any object can have them.
    pub(crate) fn range(self) -> Option<Range<usize>> {
        let end = self.offset.checked_add(self.bytes)?;
        Some(usize::try_from(self.offset).ok()?..usize::try_from(end).ok()?)
    }
}

/// Fetches one chunk by a connection.
async fn fetch_by(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    chunk: &Chunk,
    into: &mut [u8],
) -> io::Result<()> {
    let ask = Ask { stored: chunk.stored, offset: chunk.offset, bytes: chunk.bytes };
    in_time(stream.write_all(&ask.encoded())).await?;
    in_time(stream.flush()).await?;
    let mut answer = [0];
    in_time(stream.read_exact(&mut answer)).await?;
    match answer[0] {
        HERE => {}
        TOO_MUCH => {
            let refused =
                format!("the source gives at most {CHUNK_BYTES} bytes at once, and {} were asked for", ask.bytes);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, refused));
        }
        _ => return Err(io::Error::new(io::ErrorKind::NotFound, "the source does not have the object any more")),
    }
    for step in into.chunks_mut(STEP_BYTES) {
        in_time(stream.read_exact(step)).await?;
    }
    Ok(())
}

/// Serves one connection until the other side hangs up or asks what makes no sense.
pub async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, served: Arc<Served>) {
    loop {
        let mut ask = [0; ASK_BYTES];
        match timeout(IDLE, stream.read_exact(&mut ask)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return,
        }
        if let Err(error) = answer(&mut stream, &ask, &served).await {
            tracing::debug!(%error, "a node that fetches an object has hung up");
            return;
        }
    }
}

async fn answer(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ask: &[u8; ASK_BYTES],
    served: &Served,
) -> io::Result<()> {
    let ask = Ask::decoded(ask);
    if ask.bytes > CHUNK_BYTES {
        // Before anything is pinned or read back for it.
        in_time(stream.write_all(&[TOO_MUCH])).await?;
        return in_time(stream.flush()).await;
    }
    let sealed = served.sealed.read().get(&ask.stored).cloned();
    let view = match sealed {
        Some(sealed) => view_of(sealed).await,
        None => None,
    };
    let part = view.as_ref().zip(ask.range()).and_then(|(view, range)| view.as_ref().get(range));
    let Some(part) = part else {
        in_time(stream.write_all(&[NOT_HERE])).await?;
        return in_time(stream.flush()).await;
    };
    in_time(stream.write_all(&[HERE])).await?;
    for step in part.chunks(STEP_BYTES) {
        in_time(stream.write_all(step)).await?;
        served.sent_bytes.fetch_add(step.len() as u64, Ordering::Relaxed);
    }
    in_time(stream.flush()).await
}

/// A view for as long as a chunk is sent; what was spilled is read back first.
async fn view_of(sealed: Arc<SealedRoom>) -> Option<SharedView> {
    if let Some(view) = sealed.view_now() {
        return Some(view);
    }
    let viewed = actix_rt::task::spawn_blocking(move || sealed.view()).await.ok()?;
    viewed.inspect_err(|error| tracing::warn!(%error, "an object that another node wants cannot be read")).ok()
}

async fn in_time<T>(what: impl std::future::Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(STALL, what).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests;
