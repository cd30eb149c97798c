//! `Peer`: one connection between two processes of a cluster.
//!
//! Owns: framing, back-pressure and liveness of one TCP or Unix connection, as an Actix actor on the arbiter where it was
//! started. Does not own what frames mean: a [`Hears`] is given them, on that arbiter, a batch at a time. A [`Conduit`] is the
//! way out, for any thread.
//!
//! Invariants: to send never waits; what waits to be sent is bounded, and one who does not read is cut off; the end of a
//! connection is told once.

use std::{io, path::Path, sync::Arc, time::Duration};

use actix::prelude::*;
use bytes::Bytes;
use serde::Serialize;
use tokio::{io::AsyncRead, net::UnixStream, time::timeout};

use super::wire::Greeting;
use crate::gcs_net::{
    inbox::Inbox,
    outbox::{Outbox, Unsent},
    stream::Stream,
    wire::{decode, FrameError, FRAME_BYTES_MAX, PROTOCOL_VERSION},
};

/// Bytes that may wait for the other side to read them.
pub const OUTGOING_BYTES_MAX: usize = 256 << 20;
/// One who takes nothing for so long is cut off.
const STALL: Duration = Duration::from_secs(30);
/// Over TCP a sign of life goes out when nothing else has for so long.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// Over TCP one who says nothing for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long a caller may take to say who it is.
const GREETING_MAX: Duration = Duration::from_secs(5);

pub use crate::gcs_net::stream::{Reading, Writing};

/// The way out of a connection, for any thread.
#[derive(Clone)]
pub struct Conduit(Arc<Outbox>);

impl std::fmt::Debug for Conduit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conduit").field("waiting_bytes", &self.0.len()).finish()
    }
}

/// Why something was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The other side does not read.
    #[error("the other side reads nothing, and {} MiB wait for it", OUTGOING_BYTES_MAX >> 20)]
    Full,
    /// It is larger than a frame may be.
    #[error("{bytes} bytes are more than one message may have ({} MiB)", FRAME_BYTES_MAX >> 20)]
    TooLong {
        /// How large it is.
        bytes: usize,
    },
    /// It has no encoding.
    #[error("it cannot be encoded")]
    Unencodable,
}

impl Conduit {
    /// A way out, to which a connection is found later.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Outbox::new(OUTGOING_BYTES_MAX)))
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// [`NotSent`]; nothing of it was sent then.
    pub fn send(&self, frame: &impl Serialize) -> Result<(), NotSent> {
        Ok(self.0.push(frame)?)
    }

    /// Sends a frame, on this very thread if nothing waits before it.
    ///
    /// # Errors
    /// [`NotSent`]; nothing of it was sent then.
    pub fn send_now(&self, frame: &impl Serialize) -> Result<(), NotSent> {
        Ok(self.0.push_now(frame)?)
    }

    /// Lets [`Conduit::send_now`] write to this socket, the one of its connection.
    pub fn write_to(&self, stream: std::os::unix::net::UnixStream) {
        use std::io::Write;
        self.0.write_by(Box::new(move |bytes| (&stream).write(bytes)));
    }

    /// Whether both lead to the same connection.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl From<Unsent> for NotSent {
    fn from(unsent: Unsent) -> Self {
        match unsent {
            Unsent::Full => Self::Full,
            Unsent::TooLong { bytes } => Self::TooLong { bytes },
            Unsent::Unencodable => Self::Unencodable,
        }
    }
}

impl Default for Conduit {
    fn default() -> Self {
        Self::new()
    }
}

/// Who is given what comes in, on the connection's arbiter.
pub trait Hears: 'static {
    /// Frames have come, none of them empty.
    ///
    /// # Errors
    /// That they make no sense: the connection ends.
    fn frames(&mut self, frames: Vec<Bytes>) -> Result<(), FrameError>;
    /// The connection has ended.
    fn closed(&mut self, reason: &str);
}

/// How a connection's end is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// By the system, at once: both ends are on one machine.
    Local,
    /// By silence, too.
    Remote,
}

/// One connection's Actix actor.
pub struct Peer {
    halves: Option<(Reading, Writing)>,
    conduit: Conduit,
    liveness: Liveness,
    hears: Option<Box<dyn Hears>>,
}

impl Peer {
    /// Starts a connection on the arbiter at hand. What waits in `conduit` goes out at once.
    pub fn start_on(
        (reading, writing): (Reading, Writing),
        conduit: Conduit,
        liveness: Liveness,
        hears: impl Hears,
    ) -> Addr<Self> {
        let hears: Box<dyn Hears> = Box::new(hears);
        Self { halves: Some((reading, writing)), conduit, liveness, hears: Some(hears) }.start()
    }
}

impl Actor for Peer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let (Some((reading, mut writing)), Some(mut hears)) = (self.halves.take(), self.hears.take()) else {
            return ctx.stop();
        };
        let (outbox, liveness) = (self.conduit.0.clone(), self.liveness);
        let idle = (liveness == Liveness::Remote).then_some(SIGN_OF_LIFE);
        let conversation = async move {
            let mut inbox = Inbox::new(reading, FRAME_BYTES_MAX);
            let reading = async {
                loop {
                    if let Err(ended) = hear(&mut inbox, liveness, &mut *hears).await {
                        return ended;
                    }
                }
            };
            let reason = tokio::select! {
                ended = reading => ended,
                error = outbox.write_to(&mut writing, idle, STALL) => error.to_string(),
            };
            // Nothing that is put in from now on would be read.
            outbox.clear();
            hears.closed(&reason);
        };
        ctx.spawn(conversation.into_actor(self).map(|(), _, ctx| ctx.stop()));
    }
}

async fn hear(inbox: &mut Inbox<Reading>, liveness: Liveness, hears: &mut dyn Hears) -> Result<(), String> {
    let frames = match liveness {
        Liveness::Local => inbox.frames().await,
        Liveness::Remote => inbox.frames_within(SILENCE_MAX).await,
    };
    let mut frames = match frames {
        Ok(Some(frames)) => frames,
        Ok(None) => return Err("its connection was closed".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    frames.retain(|frame| !frame.is_empty());
    if frames.is_empty() {
        return Ok(());
    }
    hears.frames(frames).map_err(|error| error.to_string())
}

/// The halves of a Unix connection.
#[must_use]
pub fn unix_halves(stream: UnixStream) -> (Reading, Writing) {
    let (reading, writing) = stream.into_split();
    (Box::new(reading), Box::new(writing))
}

/// The halves of a TCP connection.
#[must_use]
pub fn tcp_halves(stream: Stream) -> (Reading, Writing) {
    stream.split()
}

/// Calls on a Unix socket and says who one is.
///
/// # Errors
/// What the system says.
pub fn call_unix(socket: &Path, greeting: &Greeting) -> io::Result<std::os::unix::net::UnixStream> {
    use io::Write;
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    let body = rmp_serde::to_vec(greeting).map_err(io::Error::other)?;
    let mut bytes = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    bytes.extend(body);
    stream.write_all(&bytes)?;
    Ok(stream)
}

/// Listens to a caller's greeting, and no further.
///
/// # Errors
/// That it said nothing in time, or what makes no sense.
pub async fn greeted(stream: &mut (impl AsyncRead + Unpin)) -> Result<Greeting, String> {
    use tokio::io::AsyncReadExt;
    let heard = async {
        let mut length = [0; 4];
        stream.read_exact(&mut length).await?;
        let bytes = u32::from_le_bytes(length) as usize;
        if bytes > GREETING_BYTES_MAX {
            return Err(io::Error::other(FrameError::TooLong { bytes, max: GREETING_BYTES_MAX }));
        }
        let mut body = vec![0; bytes];
        stream.read_exact(&mut body).await?;
        Ok(body)
    };
    match timeout(GREETING_MAX, heard).await {
        Err(_) => Err("it did not say in time who it is".to_owned()),
        Ok(body) => greeting_of(&body.map_err(|error| error.to_string())?),
    }
}

/// The version comes first: of another one, nothing else is understood.
fn greeting_of(body: &[u8]) -> Result<Greeting, String> {
    let (theirs, _) = decode::<(u16, serde::de::IgnoredAny)>(body).map_err(|error| error.to_string())?;
    if theirs != PROTOCOL_VERSION {
        return Err(format!(
            "it speaks version {theirs} of the protocol, this node version {PROTOCOL_VERSION}; use the same build"
        ));
    }
    decode(body).map_err(|error| error.to_string())
}

/// Bytes of a greeting: a driver says which environment its workers are to have.
const GREETING_BYTES_MAX: usize = 1 << 20;

/// Reads one frame of a blocking connection.
///
/// # Errors
/// What the system says, or that it is no such frame.
pub fn read_frame<T: serde::de::DeserializeOwned>(stream: &mut impl io::Read) -> io::Result<T> {
    use io::Read;
    let mut length = [0; 4];
    let mut body = Vec::new();
    while body.is_empty() {
        stream.read_exact(&mut length)?;
        let bytes = u32::from_le_bytes(length) as usize;
        if bytes > FRAME_BYTES_MAX {
            return Err(io::Error::other(FrameError::TooLong { bytes, max: FRAME_BYTES_MAX }));
        }
        // Room for what comes, not for what is claimed.
        let read = stream.by_ref().take(bytes as u64).read_to_end(&mut body)?;
        if read < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    decode(&body).map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
