//! What is to go out on one connection.
//!
//! Owns: the bytes between whoever has something to say and the socket, and writing them: whatever has queued up while one
//! write was under way goes out in the next, as one. Does not own the connection's end. Invariants: putting something in
//! never waits; the queue is bounded by one frame beyond its bound; a reader that takes nothing for too long is an error.

use std::{io, sync::OnceLock, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::Notify,
    time::timeout,
};

use super::wire::{FRAME_BYTES_MAX, LENGTH_BYTES};

/// Bytes of one write.
const WRITE_BYTES_MAX: usize = 1 << 20;

/// Why something is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The queue is full: the other side does not read.
    Full,
    /// It is larger than a frame may be.
    TooLong { bytes: usize },
    /// It has no encoding.
    Unencodable,
}

#[derive(Default)]
struct Queue {
    waiting: BytesMut,
    /// Bytes that are being written.
    writing: usize,
}

/// Writes to a socket without waiting.
pub(crate) type WriteNow = Box<dyn Fn(&[u8]) -> io::Result<usize> + Send + Sync>;

/// The queue.
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    bytes_max: usize,
    filled: Notify,
    drained: Notify,
    now: OnceLock<WriteNow>,
}

impl Outbox {
    /// An empty one that is full beyond so many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { queue: Mutex::default(), bytes_max, filled: Notify::new(), drained: Notify::new(), now: OnceLock::new() }
    }

    /// Puts a frame in.
    pub(crate) fn push(&self, body: &impl Serialize) -> Result<(), Unsent> {
        self.push_with(|bytes| rmp_serde::encode::write(&mut bytes.writer(), body).map_err(|_| Unsent::Unencodable))
    }

    /// Puts a frame of these bytes in; without bytes it says only that one lives.
    pub(crate) fn push_bytes(&self, body: &[u8]) -> Result<(), Unsent> {
        self.push_with(|bytes| {
            bytes.put_slice(body);
            Ok(())
        })
    }

    /// From now on [`Outbox::push_now`] writes by itself what the socket takes at once.
    pub(crate) fn write_by(&self, now: WriteNow) {
        let _ = self.now.set(now);
    }

    /// Puts a frame in, and writes it on this very thread where nothing waits before it: whoever is waited for should not
    /// wait for another thread first.
    pub(crate) fn push_now(&self, body: &impl Serialize) -> Result<(), Unsent> {
        let mut queue = self.queue.lock();
        let idle = queue.waiting.is_empty() && queue.writing == 0;
        let Some(now) = self.now.get().filter(|_| idle) else {
            drop(queue);
            return self.push(body);
        };
        encode_frame(&mut queue.waiting, |bytes| {
            rmp_serde::encode::write(&mut bytes.writer(), body).map_err(|_| Unsent::Unencodable)
        })?;
        // Whatever goes wrong with the socket its reader and writer will notice.
        if let Ok(written) = now(&queue.waiting) {
            queue.waiting.advance(written);
        }
        if !queue.waiting.is_empty() {
            self.filled.notify_one();
        }
        Ok(())
    }

    fn push_with(&self, encode: impl FnOnce(&mut BytesMut) -> Result<(), Unsent>) -> Result<(), Unsent> {
        let mut queue = self.queue.lock();
        if queue.waiting.len() + queue.writing > self.bytes_max {
            return Err(Unsent::Full);
        }
        encode_frame(&mut queue.waiting, encode)?;
        self.filled.notify_one();
        Ok(())
    }

    /// Bytes that are not written yet.
    pub(crate) fn len(&self) -> usize {
        let queue = self.queue.lock();
        queue.waiting.len() + queue.writing
    }

    /// Forgets what is not written.
    pub(crate) fn clear(&self) {
        *self.queue.lock() = Queue::default();
        self.drained.notify_one();
    }

    /// Waits until at most `bytes` are not written yet. For one at a time.
    pub(crate) async fn at_most(&self, bytes: usize) {
        while self.len() > bytes {
            self.drained.notified().await;
        }
    }

    fn take(&self) -> Option<Bytes> {
        let mut queue = self.queue.lock();
        let bytes = queue.waiting.len().min(WRITE_BYTES_MAX);
        queue.writing = bytes;
        if bytes == 0 {
            if queue.waiting.capacity() > WRITE_BYTES_MAX {
                queue.waiting = BytesMut::new();
            }
            return None;
        }
        Some(queue.waiting.split_to(bytes).freeze())
    }

    fn written(&self, bytes: usize) {
        let mut queue = self.queue.lock();
        queue.writing = queue.writing.saturating_sub(bytes);
        drop(queue);
        self.drained.notify_one();
    }

    /// Writes what comes in, until the connection fails. Where nothing comes for `idle` an empty frame goes out; where
    /// nothing is taken for `stall` that is an error.
    pub(crate) async fn write_to(
        &self,
        socket: &mut (impl AsyncWrite + Unpin),
        idle: Option<Duration>,
        stall: Duration,
    ) -> io::Error {
        loop {
            let Some(mut bytes) = self.take() else {
                // Encryption may keep some of what it was given.
                match timeout(stall, socket.flush()).await {
                    Err(_) => return io::Error::new(io::ErrorKind::TimedOut, "the other side reads nothing"),
                    Ok(Err(error)) => return error,
                    Ok(Ok(())) => {}
                }
                let filled = self.filled.notified();
                match idle {
                    None => filled.await,
                    Some(idle) if timeout(idle, filled).await.is_err() => {
                        let _ = self.push_bytes(&[]);
                    }
                    Some(_) => {}
                }
                continue;
            };
            while !bytes.is_empty() {
                match timeout(stall, socket.write_buf(&mut bytes)).await {
                    Err(_) => return io::Error::new(io::ErrorKind::TimedOut, "the other side reads nothing"),
                    Ok(Err(error)) => return error,
                    Ok(Ok(0)) => return io::ErrorKind::WriteZero.into(),
                    Ok(Ok(written)) => self.written(written),
                }
            }
        }
    }
}

/// Adds a frame, or nothing.
fn encode_frame(
    waiting: &mut BytesMut,
    encode: impl FnOnce(&mut BytesMut) -> Result<(), Unsent>,
) -> Result<(), Unsent> {
    let start = waiting.len();
    waiting.put_u32_le(0);
    let sealed = encode(waiting).and_then(|()| seal_frame(&mut waiting[start..]));
    if sealed.is_err() {
        waiting.truncate(start);
    }
    sealed
}

/// Puts the length of a frame into the room that was left for it before its body.
pub(crate) fn seal_frame(frame: &mut [u8]) -> Result<(), Unsent> {
    let bytes = frame.len() - LENGTH_BYTES;
    if bytes > FRAME_BYTES_MAX {
        return Err(Unsent::TooLong { bytes });
    }
    let length = u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    frame[..LENGTH_BYTES].copy_from_slice(&length);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gcs_net::{
        inbox::Inbox,
        wire::{decode, FRAME_BYTES_MAX},
    };

    #[actix::test]
    async fn what_queued_up_comes_out_in_order() {
        let (mut near, far) = tokio::io::duplex(1 << 16);
        let outbox = Outbox::new(1 << 20);
        for n in 0..100_u32 {
            outbox.push(&n).unwrap();
        }
        let mut inbox = Inbox::new(far, FRAME_BYTES_MAX);
        let reading = async {
            let mut seen: Vec<u32> = Vec::new();
            while seen.len() < 100 {
                let frames = inbox.frames().await.unwrap().expect("the other side is open");
                seen.extend(frames.iter().map(|frame| decode::<u32>(frame).unwrap()));
            }
            seen
        };
        tokio::select! {
            seen = reading => assert_eq!(seen, (0..100).collect::<Vec<u32>>()),
            error = outbox.write_to(&mut near, None, Duration::from_secs(10)) => panic!("{error}"),
        }
    }

    #[actix::test]
    async fn one_who_reads_nothing_is_an_error() {
        let (mut near, _far) = tokio::io::duplex(16);
        let outbox = Outbox::new(1 << 20);
        outbox.push_bytes(&[7; 100]).unwrap();
        let error = outbox.write_to(&mut near, None, Duration::from_millis(1)).await;
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(outbox.len(), 88);
    }

    #[test]
    fn a_full_queue_takes_nothing_and_a_frame_too_long_leaves_no_trace() {
        let outbox = Outbox::new(10);
        assert_eq!(
            outbox.push_bytes(&vec![0; FRAME_BYTES_MAX + 1]),
            Err(Unsent::TooLong { bytes: FRAME_BYTES_MAX + 1 })
        );
        assert_eq!(outbox.len(), 0);
        outbox.push_bytes(&[0; 20]).unwrap();
        assert_eq!(outbox.push_bytes(&[0]), Err(Unsent::Full));
        outbox.clear();
        outbox.push_bytes(&[0]).unwrap();
    }
}
