//! Snapshots on their way: a view's rows in chunks, one at a time to each receiver, each acknowledged once it is staged.
//!
//! Owns: which chunk is next, when one is sent again, and when a transfer is given up. Does not own the rows, nor when Raft
//! wants a snapshot sent. Invariants: of each transfer one chunk is under way, so memory is bounded by chunks, not by
//! states; a chunk is staged once, in order; transfers of an older term never replace those of a newer one.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft::eraftpb::Message;

use super::{DiskJob, PeerMessage, ReplicaEffect, ReplicaId};
use crate::store::{Column, Cursor};

/// Ticks after which a chunk without an answer is sent again.
const AGAIN_TICKS: usize = 10;
/// How often it is.
const TRIES_MAX: usize = 10;
/// Ticks that a view is kept for the next receiver.
const KEPT_TICKS: usize = 100;

/// One transfer, at its sender.
struct Outgoing {
    transfer: u64,
    snapshot: u64,
    /// Raft's message, sent with the last chunk.
    end: Message,
    number: u64,
    /// The chunk under way; none while the disk reads it.
    chunk: Option<PeerMessage>,
    after: Option<Cursor>,
    last: bool,
    ticks: usize,
    tries: usize,
}

/// One transfer, at its receiver.
struct Incoming {
    from: ReplicaId,
    transfer: u64,
    /// The next chunk to come, and the next to be staged.
    next: u64,
    staged: u64,
    end: Option<Message>,
}

/// A view that the disk holds.
struct Held {
    snapshot: u64,
    /// Where it stands.
    index: u64,
    /// Ticks for which nobody has used it.
    idle: usize,
}

/// How a transfer ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Arrived(ReplicaId),
    Failed(ReplicaId),
}

/// All transfers of a replica.
#[derive(Default)]
pub(super) struct Transfers {
    outgoing: BTreeMap<ReplicaId, Outgoing>,
    incoming: Option<Incoming>,
    /// The view that new transfers are of.
    view: Option<Held>,
    taking: bool,
    next_view: u64,
    made: u64,
    chunk_bytes_max: usize,
}

impl Transfers {
    pub(super) fn new(chunk_bytes_max: usize) -> Self {
        Self { chunk_bytes_max, ..Self::default() }
    }

    /// A view is wanted.
    pub(super) fn want(&mut self, effects: &mut Vec<ReplicaEffect>) {
        if self.taking {
            return;
        }
        self.taking = true;
        self.next_view += 1;
        effects.push(ReplicaEffect::Disk(DiskJob::TakeSnapshot(self.next_view)));
    }

    /// A view was taken; the one before goes, once nobody receives it.
    pub(super) fn taken(&mut self, snapshot: u64, index: u64, effects: &mut Vec<ReplicaEffect>) {
        self.taking = false;
        if let Some(before) = self.view.replace(Held { snapshot, index, idle: 0 }) {
            self.drop_unused(before.snapshot, effects);
        }
    }

    fn drop_unused(&self, snapshot: u64, effects: &mut Vec<ReplicaEffect>) {
        let used = self.outgoing.values().any(|transfer| transfer.snapshot == snapshot);
        if !used && self.view.as_ref().is_none_or(|view| view.snapshot != snapshot) {
            effects.push(ReplicaEffect::Disk(DiskJob::DropSnapshot(snapshot)));
        }
    }

    /// Raft sends a snapshot. If the view that it means is gone, or another one has taken its place since, it fails.
    pub(super) fn start(
        &mut self,
        to: ReplicaId,
        term: u64,
        end: Message,
        effects: &mut Vec<ReplicaEffect>,
    ) -> Option<Ended> {
        let index = end.get_snapshot().get_metadata().index;
        let Some(view) = self.view.as_mut().filter(|view| view.index == index) else {
            self.end(to, effects);
            return Some(Ended::Failed(to));
        };
        view.idle = 0;
        let snapshot = view.snapshot;
        self.made += 1;
        let transfer = (term << 24) | (self.made & 0xff_ffff);
        let before = self.outgoing.insert(
            to,
            Outgoing { transfer, snapshot, end, number: 0, chunk: None, after: None, last: false, ticks: 0, tries: 0 },
        );
        if let Some(before) = before.filter(|before| before.snapshot != snapshot) {
            self.drop_unused(before.snapshot, effects);
        }
        self.read(to, effects);
        None
    }

    fn read(&self, to: ReplicaId, effects: &mut Vec<ReplicaEffect>) {
        let Some(Outgoing { transfer, snapshot, after, .. }) = self.outgoing.get(&to) else { return };
        let (transfer, snapshot, after, bytes_max) = (*transfer, *snapshot, after.clone(), self.chunk_bytes_max);
        effects.push(ReplicaEffect::Disk(DiskJob::ReadChunk { snapshot, transfer, to, after, bytes_max }));
    }

    /// The disk has read a chunk. One of a transfer that another has replaced begins at another row: it is dropped.
    pub(super) fn on_chunk(
        &mut self,
        transfer: u64,
        to: ReplicaId,
        rows: Vec<(Column, Bytes, Bytes)>,
        last: bool,
        effects: &mut Vec<ReplicaEffect>,
    ) {
        let Some(sending) = self.outgoing.get_mut(&to) else { return };
        if sending.transfer != transfer || sending.chunk.is_some() {
            return;
        }
        if let Some((column, key, _)) = rows.last() {
            sending.after = Some((*column, key.clone()));
        }
        sending.last = last;
        let end = last.then(|| Box::new(sending.end.clone()));
        let message = PeerMessage::Chunk { transfer, number: sending.number, rows, end };
        sending.chunk = Some(message.clone());
        (sending.ticks, sending.tries) = (0, 0);
        effects.push(ReplicaEffect::Send { to, message });
    }

    /// A receiver has staged a chunk.
    pub(super) fn on_staged(
        &mut self,
        from: ReplicaId,
        transfer: u64,
        number: u64,
        effects: &mut Vec<ReplicaEffect>,
    ) -> Option<Ended> {
        let sending = self.outgoing.get_mut(&from)?;
        if sending.transfer != transfer || sending.number != number || sending.chunk.is_none() {
            return None;
        }
        if sending.last {
            self.end(from, effects);
            return Some(Ended::Arrived(from));
        }
        sending.chunk = None;
        sending.number += 1;
        self.read(from, effects);
        None
    }

    fn end(&mut self, to: ReplicaId, effects: &mut Vec<ReplicaEffect>) {
        if let Some(ended) = self.outgoing.remove(&to) {
            self.drop_unused(ended.snapshot, effects);
        }
    }

    /// Time has passed: chunks are sent again or given up, and a view that nobody uses goes; true where it has.
    pub(super) fn on_tick(&mut self, ended: &mut Vec<Ended>, effects: &mut Vec<ReplicaEffect>) -> bool {
        let mut failed = Vec::new();
        for (to, transfer) in &mut self.outgoing {
            transfer.ticks += 1;
            if transfer.ticks < AGAIN_TICKS {
                continue;
            }
            (transfer.ticks, transfer.tries) = (0, transfer.tries + 1);
            match &transfer.chunk {
                _ if transfer.tries > TRIES_MAX => failed.push(*to),
                Some(chunk) => effects.push(ReplicaEffect::Send { to: *to, message: chunk.clone() }),
                None => {}
            }
        }
        for to in failed {
            self.end(to, effects);
            ended.push(Ended::Failed(to));
        }
        let idle = self.outgoing.is_empty();
        match &mut self.view {
            Some(view) if idle && view.idle < KEPT_TICKS => view.idle += 1,
            Some(view) if idle => {
                effects.push(ReplicaEffect::Disk(DiskJob::DropSnapshot(view.snapshot)));
                self.view = None;
                return true;
            }
            _ => {}
        }
        false
    }

    /// This replica sends no more: it leads no longer.
    pub(super) fn stop_sending(&mut self, effects: &mut Vec<ReplicaEffect>) {
        let receivers: Vec<ReplicaId> = self.outgoing.keys().copied().collect();
        for to in receivers {
            self.end(to, effects);
        }
    }

    /// A chunk comes in.
    pub(super) fn on_incoming(
        &mut self,
        from: ReplicaId,
        (transfer, number): (u64, u64),
        rows: Vec<(Column, Bytes, Bytes)>,
        end: Option<Message>,
        effects: &mut Vec<ReplicaEffect>,
    ) {
        let newer = self.incoming.as_ref().is_none_or(|incoming| transfer > incoming.transfer);
        if number == 0 && newer {
            self.incoming = Some(Incoming { from, transfer, next: 0, staged: 0, end: None });
        }
        let Some(incoming) = self.incoming.as_mut() else { return };
        if (incoming.from, incoming.transfer) != (from, transfer) {
            return;
        }
        if number == incoming.next {
            incoming.next += 1;
            incoming.end = end;
            effects.push(ReplicaEffect::Disk(DiskJob::Stage { transfer, number, rows }));
        } else if number < incoming.staged {
            // The answer was lost.
            effects.push(ReplicaEffect::Send { to: from, message: PeerMessage::ChunkStaged { transfer, number } });
        }
    }

    /// The disk has staged a chunk. Gives Raft's message with the last one.
    pub(super) fn staged(&mut self, transfer: u64, number: u64, effects: &mut Vec<ReplicaEffect>) -> Option<Message> {
        let incoming = self.incoming.as_mut().filter(|incoming| incoming.transfer == transfer)?;
        incoming.staged = number + 1;
        effects.push(ReplicaEffect::Send { to: incoming.from, message: PeerMessage::ChunkStaged { transfer, number } });
        // The rest is remembered, so that the last answer can be given again.
        incoming.end.take()
    }
}
