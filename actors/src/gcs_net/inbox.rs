//! What comes in on one connection.
//!
//! Owns: reading, and cutting what was read into frames; all whole frames that have arrived are given at once. Does not
//! own what they mean. Invariants: memory grows with what has arrived, never with what a length claims; to stop waiting
//! loses nothing.

use std::io;

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{
    wire::{frame_bytes, take_frame, FrameError},
    NetError,
};

/// Room for one read.
const READ_BYTES: usize = 64 << 10;
/// Room for one read while a long frame comes in.
const READ_BYTES_MAX: usize = 1 << 20;
/// Frames given at once.
const FRAMES_MAX: usize = 512;

/// Why nothing more comes.
#[derive(Debug, Error)]
pub(crate) enum ReadError {
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl ReadError {
    /// The same, said of this address.
    pub(crate) fn at(self, address: String) -> NetError {
        match self {
            Self::Io(source) => NetError::Io { address, source },
            Self::Frame(source) => NetError::Garbled { address, source },
        }
    }
}

/// The reading end of a connection.
pub(crate) struct Inbox<S> {
    socket: S,
    bytes: BytesMut,
    frame_bytes_max: usize,
}

impl<S: AsyncRead + Unpin> Inbox<S> {
    /// Nothing has come yet; frames have at most so many bytes.
    pub(crate) fn new(socket: S, frame_bytes_max: usize) -> Self {
        Self { socket, bytes: BytesMut::new(), frame_bytes_max }
    }

    /// All frames that have arrived, at least one; none once the other side has closed.
    pub(crate) async fn frames(&mut self) -> Result<Option<Vec<Bytes>>, ReadError> {
        loop {
            let mut frames = Vec::new();
            while frames.len() < FRAMES_MAX {
                match take_frame(&mut self.bytes, self.frame_bytes_max)? {
                    Some(frame) => frames.push(frame),
                    None => break,
                }
            }
            if !frames.is_empty() {
                return Ok(Some(frames));
            }
            let missing = frame_bytes(&self.bytes, self.frame_bytes_max)?.unwrap_or(0).saturating_sub(self.bytes.len());
            self.bytes.reserve(missing.clamp(READ_BYTES, READ_BYTES_MAX));
            if self.socket.read_buf(&mut self.bytes).await? == 0 {
                return Ok(None);
            }
        }
    }
}
