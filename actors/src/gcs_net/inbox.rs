//! What comes in on one connection.
//!
//! Owns: reading, and cutting what was read into frames; all whole frames that have arrived are given at once. Does not
//! own what they mean. Invariants: memory grows with what has arrived, never with what a length claims; to stop waiting
//! loses nothing; where silence is bounded, so is the time that a frame takes.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::{timeout, Instant},
};

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

/// Bytes that a frame has to bring in a second, once it has taken as long as silence may: a slow network brings more, and
/// one who sends byte after byte to be kept does not.
const BYTES_PER_SECOND_MIN: usize = 64 << 10;

/// Why nothing more comes.
#[derive(Debug, Error)]
pub(crate) enum ReadError {
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Nothing came for so long.
    #[error("it said nothing for {0:?}")]
    Silent(Duration),
    /// A frame comes too slowly.
    #[error("{got} bytes of a frame came in {took:?}: too slow to be waited for")]
    Slow {
        /// What came of it.
        got: usize,
        /// In what time.
        took: Duration,
    },
}

impl ReadError {
    /// The same, said of this address.
    pub(crate) fn at(self, address: String) -> NetError {
        match self {
            Self::Io(source) => NetError::of(&address, source),
            Self::Frame(source) => NetError::Garbled { address, source },
            Self::Silent(waited) | Self::Slow { took: waited, .. } => NetError::Silent { address, waited },
        }
    }
}

/// The reading end of a connection.
pub(crate) struct Inbox<S> {
    socket: S,
    bytes: BytesMut,
    frame_bytes_max: usize,
    /// When the frame at the front began to come.
    began: Option<Instant>,
}

impl<S: AsyncRead + Unpin> Inbox<S> {
    /// Nothing has come yet; frames have at most so many bytes.
    pub(crate) fn new(socket: S, frame_bytes_max: usize) -> Self {
        Self { socket, bytes: BytesMut::new(), frame_bytes_max, began: None }
    }

    /// All frames that have arrived, at least one; none once the other side has closed.
    pub(crate) async fn frames(&mut self) -> Result<Option<Vec<Bytes>>, ReadError> {
        self.next(None).await
    }

    /// The same, of one who may say nothing for no longer than `silence`.
    pub(crate) async fn frames_within(&mut self, silence: Duration) -> Result<Option<Vec<Bytes>>, ReadError> {
        self.next(Some(silence)).await
    }

    async fn next(&mut self, silence: Option<Duration>) -> Result<Option<Vec<Bytes>>, ReadError> {
        loop {
            let mut frames = Vec::new();
            while frames.len() < FRAMES_MAX {
                match take_frame(&mut self.bytes, self.frame_bytes_max)? {
                    Some(frame) => frames.push(frame),
                    None => break,
                }
            }
            if !frames.is_empty() {
                self.began = None;
                return Ok(Some(frames));
            }
            if let Some(silence) = silence {
                self.keep_pace(silence)?;
            }
            let missing = frame_bytes(&self.bytes, self.frame_bytes_max)?.unwrap_or(0).saturating_sub(self.bytes.len());
            self.bytes.reserve(missing.clamp(READ_BYTES, READ_BYTES_MAX));
            let read = self.socket.read_buf(&mut self.bytes);
            let read = match silence {
                None => read.await?,
                Some(silence) => timeout(silence, read).await.map_err(|_| ReadError::Silent(silence))??,
            };
            if read == 0 {
                return Ok(None);
            }
        }
    }

    fn keep_pace(&mut self, silence: Duration) -> Result<(), ReadError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let (got, took) = (self.bytes.len(), self.began.get_or_insert_with(Instant::now).elapsed());
        if took > allowed(got, silence) {
            return Err(ReadError::Slow { got, took });
        }
        Ok(())
    }
}

/// How long a frame may take of which so many bytes came.
fn allowed(got: usize, silence: Duration) -> Duration {
    silence + Duration::from_secs_f64(got as f64 / BYTES_PER_SECOND_MIN as f64)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const SILENCE: Duration = Duration::from_millis(20);

    #[actix::test]
    async fn one_who_sends_byte_after_byte_is_not_waited_for() {
        let (mut near, far) = tokio::io::duplex(64);
        let mut inbox = Inbox::new(far, 1 << 20);
        let dribbling = async {
            near.write_all(&(1_u32 << 20).to_le_bytes()).await.unwrap();
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                near.write_all(&[0]).await.unwrap();
            }
        };
        tokio::select! {
            ended = inbox.frames_within(SILENCE) => {
                assert!(matches!(ended, Err(ReadError::Slow { .. } | ReadError::Silent(_))), "{ended:?}");
            }
            () = dribbling => {}
        }
    }

    #[test]
    fn a_slow_network_is_waited_for_longer_than_silence() {
        let silence = Duration::from_secs(5);
        assert_eq!(allowed(10, silence).as_secs(), 5);
        assert!(allowed(32 << 20, silence) > Duration::from_secs(500), "32 MiB over half a megabit a second");
    }

    #[actix::test]
    async fn silence_ends_it() {
        let (_near, far) = tokio::io::duplex(64);
        let ended = Inbox::new(far, 16).frames_within(SILENCE).await;
        assert!(matches!(ended, Err(ReadError::Silent(SILENCE))), "{ended:?}");
    }
}
