//! An actor's history: its checkpoint and the log of the calls after it.
//!
//! Owns: what is needed to rebuild an actor's state: the last checkpoint and, in order, the calls that it does not hold.
//! Does not own the calls' specs (the lineage) nor the actor's directory row, which may be on another shard. Invariants:
//! the log has no gaps; no entry past the checkpoint is trimmed; once an incarnation has opened the log, whatever an older
//! one sends is refused, so an actor that lives on behind a network cut cannot add to a history already being replayed.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{keys, limits, Applied, ApplyError, Bound, Page, Reply, Route, TableError, Txn};
use crate::{
    record,
    spec::{CallEntry, CallLogHead, Checkpoint, CheckpointState},
    store::{Column, StoreError},
    ActorId, Millis,
};

/// A change of an actor's history. All but [`HistoryWrite::Drop`] say which incarnation acts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HistoryWrite {
    /// An incarnation takes the history over, before it reads it. Gives [`Reply::CallLogHead`].
    Open {
        /// The actor.
        actor: ActorId,
        /// The incarnation that acts.
        incarnation: u32,
    },
    /// Calls have run. Gives [`Reply::CallLogHead`].
    Append {
        /// The actor.
        actor: ActorId,
        /// The incarnation that acts.
        incarnation: u32,
        /// The log position of the first of them.
        at: u64,
        /// The calls in the order in which they ran.
        calls: Vec<CallEntry>,
    },
    /// A state was written that holds all calls before position `through`. Gives [`Reply::CallLogHead`].
    Checkpoint {
        /// The actor.
        actor: ActorId,
        /// The incarnation that acts.
        incarnation: u32,
        /// The log position of the first call that the state does not hold.
        through: u64,
        /// The state.
        state: CheckpointState,
    },
    /// Takes entries before `below` away, a bounded number at a time. Gives [`Reply::CallLogHead`]; repeat until its
    /// `first` is `below`.
    Trim {
        /// The actor.
        actor: ActorId,
        /// The incarnation that acts.
        incarnation: u32,
        /// The first position to keep; not past the checkpoint.
        below: u64,
    },
    /// Forgets the history of a dead actor, a bounded number of entries at a time. Gives [`Reply::CallLogHead`]; repeat
    /// until its `first` is its `next`.
    Drop(ActorId),
}

/// A question about an actor's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HistoryRead {
    /// The bounds of the call log: [`Reply::CallLogHead`].
    Head(ActorId),
    /// The last checkpoint: [`Reply::Checkpoint`].
    Checkpoint(ActorId),
    /// Entries from a position on: [`Reply::CallLog`].
    Calls {
        /// The actor.
        actor: ActorId,
        /// The first position wanted.
        from: u64,
        /// How many at most, within the bounds of a page.
        limit: u32,
    },
}

impl HistoryWrite {
    fn actor(&self) -> ActorId {
        match self {
            Self::Open { actor, .. }
            | Self::Append { actor, .. }
            | Self::Checkpoint { actor, .. }
            | Self::Trim { actor, .. }
            | Self::Drop(actor) => *actor,
        }
    }

    pub(super) fn key_hash(&self) -> u64 {
        keys::hash_wide(self.actor().0)
    }

    pub(super) fn apply(&self, now: Millis, txn: &mut Txn<'_>) -> Applied {
        let actor = self.actor();
        let mut head = head(actor, txn)?;
        match self {
            Self::Open { incarnation, .. } => open(&mut head, actor, *incarnation)?,
            Self::Append { incarnation, at, calls, .. } => {
                open(&mut head, actor, *incarnation)?;
                append(&mut head, actor, *at, calls, txn)?;
            }
            Self::Checkpoint { incarnation, through, state, .. } => {
                open(&mut head, actor, *incarnation)?;
                checkpoint(&head, actor, Checkpoint { through: *through, state: state.clone(), at: now }, txn)?;
            }
            Self::Trim { incarnation, below, .. } => {
                open(&mut head, actor, *incarnation)?;
                let last = saved(actor, txn)?;
                in_range(actor, *below, 0, last)?;
                trim(&mut head, actor, *below, txn);
            }
            Self::Drop(_) => {
                let next = head.next;
                trim(&mut head, actor, next, txn);
                if head.first == head.next {
                    txn.delete(Column::Checkpoints, key(actor));
                    txn.delete(Column::CallLogHeads, key(actor));
                    return Ok(Reply::CallLogHead(head));
                }
            }
        }
        txn.put_record(Column::CallLogHeads, key(actor), &head)?;
        Ok(Reply::CallLogHead(head))
    }
}

fn key(actor: ActorId) -> Bytes {
    keys::wide(actor.0)
}

fn head(actor: ActorId, txn: &Txn<'_>) -> Result<CallLogHead, ApplyError> {
    let head: CallLogHead = txn.record(Column::CallLogHeads, &key(actor))?.unwrap_or_default();
    if head.first > head.next || head.next > limits::COUNT_MAX {
        return Err(StoreError::senseless(Column::CallLogHeads, &key(actor)).into());
    }
    Ok(head)
}

/// The position through which the last checkpoint holds all calls.
fn saved(actor: ActorId, txn: &Txn<'_>) -> Result<u64, ApplyError> {
    let last = txn.record::<Checkpoint>(Column::Checkpoints, &key(actor))?;
    Ok(last.map_or(0, |checkpoint| checkpoint.through))
}

fn open(head: &mut CallLogHead, actor: ActorId, incarnation: u32) -> Result<(), TableError> {
    if incarnation < head.incarnation {
        return Err(TableError::StaleIncarnation { actor, given: incarnation, current: head.incarnation });
    }
    head.incarnation = incarnation;
    Ok(())
}

fn in_range(actor: ActorId, given: u64, first: u64, last: u64) -> Result<(), TableError> {
    if (first..=last).contains(&given) {
        return Ok(());
    }
    Err(TableError::CallLogRange { actor, given, first, last })
}

fn append(
    head: &mut CallLogHead,
    actor: ActorId,
    at: u64,
    calls: &[CallEntry],
    txn: &mut Txn<'_>,
) -> Result<(), ApplyError> {
    Bound::BatchLen.check(calls.len(), limits::BATCH_LEN_MAX)?;
    if at != head.next {
        return Err(TableError::CallLogGap { actor, expected: head.next, given: at }.into());
    }
    let len = head.next - head.first + calls.len() as u64;
    if len > limits::CALL_LOG_LEN_MAX {
        let refusal = TableError::TooLarge { what: Bound::CallLogLen, actual: len, max: limits::CALL_LOG_LEN_MAX };
        return Err(refusal.into());
    }
    for call in calls {
        txn.put_record(Column::CallLog, keys::call(actor, head.next), call)?;
        head.next += 1;
    }
    Ok(())
}

fn checkpoint(head: &CallLogHead, actor: ActorId, new: Checkpoint, txn: &mut Txn<'_>) -> Result<(), ApplyError> {
    if let CheckpointState::Inline(state) = &new.state {
        Bound::CheckpointBytes.check(state.len(), limits::CHECKPOINT_BYTES_MAX)?;
    }
    in_range(actor, new.through, saved(actor, txn)?, head.next)?;
    txn.put_record(Column::Checkpoints, key(actor), &new)
}

fn trim(head: &mut CallLogHead, actor: ActorId, below: u64, txn: &mut Txn<'_>) {
    let end = below.min(head.first + limits::TRIM_LEN_MAX);
    while head.first < end {
        txn.delete(Column::CallLog, keys::call(actor, head.first));
        head.first += 1;
    }
}

impl HistoryRead {
    pub(super) fn route(&self) -> Route {
        match self {
            Self::Head(actor) | Self::Checkpoint(actor) | Self::Calls { actor, .. } => {
                Route::Key(keys::hash_wide(actor.0))
            }
        }
    }

    pub(super) fn answer(&self, txn: &Txn<'_>) -> Applied {
        match self {
            Self::Head(actor) => Ok(Reply::CallLogHead(head(*actor, txn)?)),
            Self::Checkpoint(actor) => Ok(Reply::Checkpoint(txn.record(Column::Checkpoints, &key(*actor))?)),
            Self::Calls { actor, from, limit } => {
                let limit = (*limit as usize).clamp(1, limits::PAGE_LEN_MAX);
                let rows = txn.scan(Column::CallLog, &key(*actor), &keys::call(*actor, *from), limit)?;
                let next = (rows.len() == limit).then(|| rows.last().map(|(key, _)| key.clone())).flatten();
                let mut items = Vec::with_capacity(rows.len());
                for (key, value) in &rows {
                    items.push((keys::trailing_number(key).unwrap_or_default(), record::decode(value)?));
                }
                Ok(Reply::CallLog(Page { items, next }))
            }
        }
    }
}

#[cfg(test)]
mod tests;
