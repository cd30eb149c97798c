//! What opens every connection of the control store, and how its bytes are cut into frames.
//!
//! ```text
//! preamble   8 bytes of magic, then the protocol version (u16, little-endian): the same in every version
//! frame      length (u32, little-endian), then so many bytes; an empty frame only says that its sender lives
//!
//! caller ── preamble, frame of Hello ──►            one of each, at most HELLO_BYTES_MAX
//!        ◄── preamble, frame of Verdict ── listener
//!        ◄═════════ frames ══════════►             at most FRAME_BYTES_MAX each
//! ```
//!
//! Owns: the handshake's records, their checks, the bounds. Does not own sockets or time. Invariants: no length is believed
//! beyond its bound, nothing that comes in makes this panic, a refusal says what is wrong, and who has no token learns
//! nothing but that.

use std::fmt;

use actinic_gcs::{replica::ReplicaId, shard::ClientId};
use bytes::{Buf, Bytes, BytesMut};
use serde::{de::DeserializeOwned, Deserialize, Serialize};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::tls::{JoinToken, Tls, TokenError};

/// What every connection begins with.
pub const MAGIC: [u8; 8] = *b"ACTGCS\r\n";
/// The version of the protocol; both sides must speak the same.
pub const PROTOCOL_VERSION: u16 = 5;
/// Bytes of the preamble.
pub const PREAMBLE_BYTES: usize = MAGIC.len() + 2;
/// Bytes of a frame during the handshake.
pub const HELLO_BYTES_MAX: usize = 64 << 10;
/// Bytes of any other frame.
pub const FRAME_BYTES_MAX: usize = 32 << 20;
/// Bytes of a frame's length.
pub(crate) const LENGTH_BYTES: usize = 4;

/// A secret that all of a cluster share. It is never shown.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// A token.
    ///
    /// # Errors
    /// [`EmptyToken`] if it is empty: that would guard nothing.
    pub fn new(secret: impl Into<String>) -> Result<Self, EmptyToken> {
        let secret = secret.into();
        if secret.is_empty() {
            return Err(EmptyToken);
        }
        Ok(Self(secret))
    }

    /// Whether both are the same, in a time that tells no more than how long they are.
    fn is(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// A token with nothing in it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the cluster's token is empty; give one of some length, the same everywhere")]
pub struct EmptyToken;

/// Which cluster, and the proof that one belongs to it.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The cluster's id.
    pub cluster: u128,
    /// The cluster's token, if it has one.
    pub token: Option<Token>,
    /// How connections of the cluster are encrypted.
    pub tls: Tls,
}

/// What a connection is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// A replica speaks to another of its group, one way.
    Peer {
        /// The shard.
        shard: usize,
        /// Who calls.
        from: ReplicaId,
        /// Who is meant.
        to: ReplicaId,
        /// Where the caller is reached: one who has just joined knows nobody, and could not answer.
        address: Option<String>,
    },
    /// A client asks one shard.
    Client {
        /// The shard.
        shard: usize,
        /// Who calls.
        client: ClientId,
    },
    /// An operator.
    Admin,
    /// Another node of the cluster, for what nodes say to each other.
    Node(Box<actinic_gcs::spec::NodeSpec>),
    /// Another node of the cluster, which fetches objects.
    Objects(actinic_gcs::NodeId),
    /// One who joins, and wants to present the cluster's certificate itself from now on.
    Identity,
    /// A process of another node calls on one of this node's, at that one's own door.
    Process {
        /// Who calls: its node, and its number there.
        from: (actinic_gcs::NodeId, actinic_gcs::WorkerId),
        /// Who is meant.
        to: (actinic_gcs::NodeId, actinic_gcs::WorkerId),
        /// Which of the caller's calls this is.
        call: u32,
        /// Lines between the two that the caller has given up: the node and the number of who called, and of the call.
        given_up: Vec<(actinic_gcs::NodeId, actinic_gcs::WorkerId, u32)>,
    },
}

/// What a caller says first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The cluster that it looks for.
    pub cluster: u128,
    /// Its token.
    pub token: Option<Token>,
    /// What it wants.
    pub purpose: Purpose,
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Frames may follow.
    Accepted {
        /// Where the replicas of the shard are reached, as far as this one knows: the caller's list may be old.
        addresses: Vec<String>,
    },
    /// The connection ends.
    Refused(Refusal),
}

/// Why a connection is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// Another build.
    #[error("the caller speaks version {caller} of the protocol, the listener version {listener}; use the same build")]
    Version {
        /// The caller's.
        caller: u16,
        /// The listener's.
        listener: u16,
    },
    /// No token, or not the cluster's.
    #[error("the cluster's token is missing or wrong; give the one that the whole cluster was started with")]
    Token,
    /// Another cluster.
    #[error("the caller looks for cluster {asked:032x}, but this is cluster {here:032x}; check the address and the cluster's id")]
    Cluster {
        /// Which the caller looks for.
        asked: u128,
        /// Which this is.
        here: u128,
    },
    /// No such shard here.
    #[error("there is no replica of shard {0} here")]
    Shard(usize),
    /// No such replica here.
    #[error("{asked} of shard {shard} is not here: this is {here}")]
    Replica {
        /// The shard.
        shard: usize,
        /// Which was asked for.
        asked: ReplicaId,
        /// Which is here.
        here: ReplicaId,
    },
    /// A worker's door, and not the one that was meant.
    #[error("another process of the cluster is reached at this address by now")]
    OtherProcess,
    /// No node of a cluster.
    #[error("this process serves the control store only: it is no node")]
    NoNode,
    /// Unencrypted, where all is encrypted.
    #[error(
        "the listener speaks TLS and the caller does not; give the whole join token, as `actinic token` prints it on a node \
         of the cluster"
    )]
    Plaintext,
    /// It is asked for a certificate to present, and there is none to hand out.
    #[error(
        "this cluster has no certificate of its own to hand out; give this node one: --tls-ca, --tls-cert, --tls-key"
    )]
    NoIdentity,
    /// Too many.
    #[error("there are {max} connections already, as many as are allowed")]
    Full {
        /// The bound.
        max: usize,
    },
    /// What the caller says makes no sense.
    #[error("the caller's first words cannot be understood")]
    Garbled,
}

/// Why bytes are not what they should be.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Another protocol.
    #[error("the other side does not speak the control store's protocol")]
    Foreign,
    /// A length beyond its bound.
    #[error("a frame claims {bytes} bytes, and {max} are allowed")]
    TooLong {
        /// The length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// A body that is no such thing.
    #[error("a frame cannot be decoded")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// A replica's message that is none.
    #[error(transparent)]
    Peer(#[from] actinic_gcs::replica::WireError),
}

/// The first bytes of a connection, by one who speaks `version`.
#[must_use]
pub fn preamble(version: u16) -> [u8; PREAMBLE_BYTES] {
    let mut bytes = [0; PREAMBLE_BYTES];
    bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
    bytes[MAGIC.len()..].copy_from_slice(&version.to_le_bytes());
    bytes
}

/// The version that the other side speaks.
///
/// # Errors
/// [`FrameError::Foreign`] if this is no preamble.
pub fn version_of(preamble: [u8; PREAMBLE_BYTES]) -> Result<u16, FrameError> {
    match preamble {
        [magic @ .., low, high] if magic == MAGIC => Ok(u16::from_le_bytes([low, high])),
        _ => Err(FrameError::Foreign),
    }
}

/// Takes a whole frame from the front; none while there is none.
///
/// # Errors
/// [`FrameError::TooLong`].
pub fn take_frame(bytes: &mut BytesMut, max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(total) = frame_bytes(bytes, max)? else { return Ok(None) };
    if bytes.len() < total {
        return Ok(None);
    }
    let mut frame = bytes.split_to(total);
    frame.advance(LENGTH_BYTES);
    Ok(Some(frame.freeze()))
}

/// Bytes of the frame at the front with its length, once that is known.
///
/// # Errors
/// [`FrameError::TooLong`].
pub(crate) fn frame_bytes(bytes: &[u8], max: usize) -> Result<Option<usize>, FrameError> {
    let Some(length) = bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > max {
        return Err(FrameError::TooLong { bytes: length, max });
    }
    Ok(Some(length + LENGTH_BYTES))
}

/// Reads the body of a frame.
///
/// # Errors
/// [`FrameError::Malformed`].
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    Ok(rmp_serde::from_slice(body)?)
}

impl Membership {
    /// Of this cluster, with its join token if it has one: where that names a certificate, no other is taken.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn new(cluster: u128, token: Option<String>) -> Result<Self, TokenError> {
        let Some(token) = token else { return Ok(Self { cluster, token: None, tls: Tls::off() }) };
        let JoinToken { secret, fingerprint } = token.parse()?;
        let tls = fingerprint.map_or_else(|| Ok(Tls::off()), Tls::pinned)?;
        Ok(Self { cluster, token: Some(Token::new(secret).map_err(|_| TokenError::Empty)?), tls })
    }

    /// The same, encrypted in this way.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        Self { tls, ..self }
    }

    /// What a caller of this cluster says.
    #[must_use]
    pub fn hello(&self, purpose: Purpose) -> Hello {
        Hello { cluster: self.cluster, token: self.token.clone(), purpose }
    }

    /// Whether a caller belongs to the cluster.
    ///
    /// # Errors
    /// [`Refusal::Token`] before anything else, [`Refusal::Cluster`].
    pub fn admit(&self, hello: &Hello) -> Result<(), Refusal> {
        match (&self.token, &hello.token) {
            (Some(ours), Some(theirs)) if ours.is(theirs) => {}
            (None, _) => {}
            _ => return Err(Refusal::Token),
        }
        if hello.cluster != self.cluster {
            return Err(Refusal::Cluster { asked: hello.cluster, here: self.cluster });
        }
        Ok(())
    }
}
