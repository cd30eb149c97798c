//! One line: a connection to another process that any thread may read and write.
//!
//! Owns: its channel, what has come in and is no whole frame yet, what waits to go out. Does not own who reads it when
//! ([`super::Lines`]), nor what frames mean ([`Listener`]). Invariants: frames are heard one after the other, in the order in
//! which they came; to send never waits, and what waits to be sent is bounded; the end is told once.

use std::{
    io::ErrorKind,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Weak,
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::Serialize;

use super::{
    channel::Channel,
    pulse::{Beat, Pulse},
    Lines,
};
use crate::{
    cluster::peer::{NotSent, OUTGOING_BYTES_MAX},
    gcs_net::{
        outbox::{seal_frame, Unsent},
        wire::{frame_bytes, FrameError, FRAME_BYTES_MAX, LENGTH_BYTES},
    },
};

/// Room for one read.
const READ_BYTES: usize = 64 << 10;
/// Room for one read while a long frame comes in.
const READ_BYTES_MAX: usize = 1 << 20;
/// What waits is written at the next opportunity, or as soon as it is so much.
const WRITE_BYTES: usize = 16 << 10;
/// A buffer that has grown beyond this is given back when it is empty.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// One who takes nothing for so long is cut off.
const STALL: Duration = Duration::from_secs(30);

/// Who is given what comes in, on whichever thread reads.
pub trait Listener: Send + 'static {
    /// A frame has come; it is not empty.
    ///
    /// # Errors
    /// That it makes no sense: the line ends.
    fn frame(&mut self, frame: &[u8]) -> Result<(), FrameError>;
    /// The line has ended.
    fn closed(&mut self, reason: &str);
}

struct Incoming {
    buffer: Buffer,
    /// What a look has read, or found, that is not heard yet.
    seen: Option<Result<Drained, String>>,
    listener: Box<dyn Listener>,
    told: bool,
}

/// Whether a read has left nothing behind.
type Drained = bool;

/// Of a line over a network.
#[derive(Default)]
struct Far {
    pulse: Mutex<Pulse>,
    heard: AtomicBool,
    said: AtomicBool,
}

#[derive(Default)]
struct Outgoing {
    /// What waits, behind what is written.
    bytes: Vec<u8>,
    written: usize,
    /// Since when the socket takes nothing.
    blocked_since: Option<Instant>,
    /// Whether it stands in the list of those to be written.
    listed: bool,
    closed: bool,
}

/// One line.
pub struct Line {
    channel: Channel,
    pub(super) token: usize,
    incoming: Mutex<Incoming>,
    /// Something may have come since the reader looked.
    readable: AtomicBool,
    outgoing: Mutex<Outgoing>,
    far: Option<Box<Far>>,
    lines: Weak<Lines>,
}

impl Line {
    pub(super) fn new(
        channel: Channel,
        token: usize,
        listener: impl FnOnce(&Weak<Self>) -> Box<dyn Listener>,
        lines: &Arc<Lines>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            far: channel.is_far().then(Box::default),
            channel,
            token,
            incoming: Mutex::new(Incoming::new(listener(this))),
            readable: AtomicBool::new(false),
            outgoing: Mutex::default(),
            lines: Arc::downgrade(lines),
        })
    }

    /// Ends it; its reader tells of that.
    pub fn shut(&self) {
        drop_all(&mut self.outgoing.lock());
        self.channel.shut();
    }

    // --- out -------------------------------------------------------------------------------------------------------

    /// Sends a frame: on this very thread if it is to go `now`, else together with what follows in a moment.
    ///
    /// # Errors
    /// [`NotSent`]; nothing of it was sent then.
    pub fn send(self: &Arc<Self>, frame: &impl Serialize, now: bool) -> Result<(), NotSent> {
        let mut outgoing = self.outgoing.lock();
        if outgoing.closed {
            // Whoever hears of the end sees to what was lost with it.
            return Ok(());
        }
        if let Some(far) = &self.far {
            far.said.store(true, Ordering::Relaxed);
        }
        if outgoing.waiting() > OUTGOING_BYTES_MAX {
            return Err(NotSent::Full);
        }
        outgoing.encode(frame)?;
        if now || outgoing.waiting() >= WRITE_BYTES {
            self.write(&mut outgoing);
        } else if !outgoing.listed {
            outgoing.listed = true;
            drop(outgoing);
            if let Some(lines) = self.lines.upgrade() {
                lines.list(self);
            }
        }
        Ok(())
    }

    /// Bytes that are not written yet.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.outgoing.lock().waiting()
    }

    /// Writes what waits, if the socket takes it.
    pub(super) fn flush(&self, listed: bool) {
        let mut outgoing = self.outgoing.lock();
        if listed {
            outgoing.listed = false;
        }
        if outgoing.waiting() > 0 || outgoing.blocked_since.is_some() {
            self.write(&mut outgoing);
        }
    }

    fn write(&self, outgoing: &mut Outgoing) {
        loop {
            let written = match outgoing.waiting() {
                0 => self.channel.flush().map(|()| 0),
                _ => self.channel.write(&outgoing.bytes[outgoing.written..]),
            };
            match written {
                Ok(0) if outgoing.waiting() == 0 => break,
                Ok(written) => {
                    outgoing.written += written;
                    self.taken(outgoing);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if outgoing.blocked_since.is_none() {
                        outgoing.blocked_since = Some(Instant::now());
                        self.watch_room(outgoing, true);
                    }
                    return;
                }
                // Its reader will notice.
                Err(_) => return drop_all(outgoing),
            }
        }
        self.taken(outgoing);
        outgoing.written = 0;
        outgoing.bytes.clear();
        if outgoing.bytes.capacity() > KEPT_BYTES_MAX {
            outgoing.bytes = Vec::new();
        }
    }

    /// The socket takes something.
    fn taken(&self, outgoing: &mut Outgoing) {
        if outgoing.blocked_since.take().is_some() {
            self.watch_room(outgoing, false);
        }
    }

    fn watch_room(&self, outgoing: &mut Outgoing, watched: bool) {
        let Some(lines) = self.lines.upgrade() else { return };
        if let Err(error) = lines.watch_room(&self.channel, self.token, watched) {
            // Nobody would write what waits.
            tracing::error!(%error, "a connection cannot be polled");
            drop_all(outgoing);
            self.channel.shut();
        }
    }

    /// A look, about once a second: cuts off one who takes nothing, or over a network says nothing.
    pub(super) fn look(self: &Arc<Self>, now: Instant) {
        self.look_for_stall(now);
        let Some(far) = &self.far else { return };
        // Whoever is at hearing does not read meanwhile.
        let heard = far.heard.swap(false, Ordering::Relaxed) || self.incoming.is_locked();
        let said = far.said.swap(false, Ordering::Relaxed);
        let beat = far.pulse.lock().on_look(heard, said);
        match beat {
            Beat::Well => {}
            Beat::SayAlive => {
                let mut outgoing = self.outgoing.lock();
                // Where something waits to be written, the other end will hear of that.
                if outgoing.waiting() == 0 && !outgoing.closed {
                    outgoing.bytes.extend_from_slice(&[0; LENGTH_BYTES]);
                    self.write(&mut outgoing);
                }
            }
            Beat::GiveUp => self.shut(),
        }
    }

    fn look_for_stall(&self, now: Instant) {
        let outgoing = self.outgoing.lock();
        if outgoing.blocked_since.is_some_and(|since| now.duration_since(since) > STALL) {
            drop(outgoing);
            self.shut();
        }
    }

    // --- in --------------------------------------------------------------------------------------------------------

    /// Something may have come: reads and hears all of it, unless another thread does, which then goes on.
    pub fn serve(&self) {
        self.readable.store(true, Ordering::Release);
        loop {
            let Some(mut incoming) = self.incoming.try_lock() else { return };
            while self.readable.swap(false, Ordering::AcqRel) {
                if let Err(reason) = self.read_all(&mut incoming) {
                    self.close(&mut incoming, &reason);
                }
            }
            drop(incoming);
            if !self.readable.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// A look of whoever polls: whether something has come, of which nothing is heard before he has it served. Nothing where
    /// somebody else reads.
    pub(super) fn look_for_bytes(&self) -> bool {
        let Some(mut incoming) = self.incoming.try_lock() else { return false };
        if incoming.seen.is_none() && !incoming.told {
            incoming.seen = self.read(&mut incoming).transpose();
        }
        incoming.seen.is_some()
    }

    fn read_all(&self, incoming: &mut Incoming) -> Result<(), String> {
        while !incoming.told {
            let read = match incoming.seen.take() {
                Some(read) => Some(read?),
                None => self.read(incoming)?,
            };
            let Some(drained) = read else { break };
            incoming.hear().map_err(|error| error.to_string())?;
            if drained {
                break;
            }
        }
        Ok(())
    }

    /// Reads once; nothing where nothing has come.
    fn read(&self, incoming: &mut Incoming) -> Result<Option<Drained>, String> {
        let room = incoming.room().map_err(|error| error.to_string())?;
        loop {
            return match self.channel.read(room) {
                Ok(0) => Err("its connection was closed".to_owned()),
                Ok(read) => {
                    if let Some(far) = &self.far {
                        far.heard.store(true, Ordering::Relaxed);
                    }
                    let drained = read < room.len() && self.channel.is_drained_by_a_short_read();
                    incoming.buffer.end += read;
                    Ok(Some(drained))
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error.to_string()),
            };
        }
    }

    fn close(&self, incoming: &mut Incoming, reason: &str) {
        if std::mem::replace(&mut incoming.told, true) {
            return;
        }
        self.shut();
        if let Some(lines) = self.lines.upgrade() {
            lines.remove(self.token);
        }
        incoming.buffer = Buffer::default();
        incoming.listener.closed(reason);
    }
}

impl Incoming {
    fn new(listener: Box<dyn Listener>) -> Self {
        Self { buffer: Buffer::default(), seen: None, listener, told: false }
    }

    /// Room for the next read.
    fn room(&mut self) -> Result<&mut [u8], FrameError> {
        let filled = self.buffer.filled();
        let missing = frame_bytes(filled, FRAME_BYTES_MAX)?.unwrap_or(0).saturating_sub(filled.len());
        Ok(self.buffer.room(missing.clamp(READ_BYTES, READ_BYTES_MAX)))
    }

    /// Gives all whole frames to the listener.
    fn hear(&mut self) -> Result<(), FrameError> {
        loop {
            let filled = self.buffer.filled();
            let Some(total) = frame_bytes(filled, FRAME_BYTES_MAX)? else { break };
            let Some(frame) = filled.get(LENGTH_BYTES..total) else { break };
            if !frame.is_empty() {
                self.listener.frame(frame)?;
            }
            self.buffer.start += total;
        }
        self.buffer.tidy();
        Ok(())
    }
}

/// Hears what comes in these pieces, as a line does; for [`crate::fuzzing`].
pub(crate) fn hear_pieces<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    listener: Box<dyn Listener>,
) -> Result<(), FrameError> {
    let mut incoming = Incoming::new(listener);
    for mut piece in pieces {
        while !piece.is_empty() {
            let read = {
                let room = incoming.room()?;
                let read = room.len().min(piece.len());
                room[..read].copy_from_slice(&piece[..read]);
                read
            };
            incoming.buffer.end += read;
            piece = &piece[read..];
            incoming.hear()?;
        }
    }
    Ok(())
}

/// Bytes that have come: `start..end` of what is there.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Room for `least` more bytes, or more.
    fn room(&mut self, least: usize) -> &mut [u8] {
        if self.bytes.len() < self.end + least {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let len = self.bytes.len().max(self.end + least);
            self.bytes.resize(len, 0);
        }
        &mut self.bytes[self.end..]
    }

    fn tidy(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.bytes.len() > KEPT_BYTES_MAX {
                self.bytes = Vec::new();
            }
        }
    }
}

impl Outgoing {
    fn waiting(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Adds a frame, or nothing.
    fn encode(&mut self, frame: &impl Serialize) -> Result<(), NotSent> {
        if self.written > KEPT_BYTES_MAX {
            // One who is slow to read should not have all that it ever read kept for it.
            self.bytes.drain(..std::mem::take(&mut self.written));
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH_BYTES]);
        let encoded = rmp_serde::encode::write(&mut self.bytes, frame).map_err(|_| Unsent::Unencodable);
        let sealed = encoded.and_then(|()| seal_frame(&mut self.bytes[start..]));
        if sealed.is_err() {
            self.bytes.truncate(start);
        }
        Ok(sealed?)
    }
}

fn drop_all(outgoing: &mut Outgoing) {
    (outgoing.bytes, outgoing.written) = (Vec::new(), 0);
    outgoing.blocked_since = None;
    outgoing.closed = true;
}
