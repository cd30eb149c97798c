//! A replica's own rows: what they are, how a replica begins, and what is found when it is opened.
//!
//! Owns: the rows' keys and encodings, and the checks that they fit each other: a log that lost what was promised is an
//! error by name, tables that are merely behind it are not.

use std::collections::BTreeSet;

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, HardState};
use serde::{Deserialize, Serialize};

use super::Recovered;
use crate::{
    record,
    replica::{entry, message::parse, Addresses, Bootstrap, Position, ReplicaFailed},
    store::{Batch, Column, Store},
    tables::limits::COUNT_MAX,
};

pub(super) const HARD_STATE: &[u8] = b"hard_state";
pub(super) const POSITION: &[u8] = b"position";
pub(super) const TRUNCATED: &[u8] = b"truncated";
/// Rows of the log read at once when it is opened, and deleted at once.
pub(super) const PAGE: usize = 1_024;

/// A position's row.
#[derive(Serialize, Deserialize)]
pub(crate) struct PositionRow {
    index: u64,
    term: u64,
    members: Bytes,
    addresses: Addresses,
}

/// The last entry that is gone from the log.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Truncated {
    pub(super) index: u64,
    pub(super) term: u64,
}

record::records! { PositionRow = "replica position", Truncated = "log start" }

pub(super) fn damaged(what: impl Into<String>) -> ReplicaFailed {
    ReplicaFailed::Log(what.into())
}

pub(super) fn encode<R: record::Record>(row: &R) -> Result<Bytes, ReplicaFailed> {
    record::encode(row).map_err(|error| damaged(error.to_string()))
}

pub(super) fn hard_state_row(hard_state: &HardState) -> Result<Bytes, ReplicaFailed> {
    Ok(Bytes::from(hard_state.write_to_bytes().map_err(|error| damaged(error.to_string()))?))
}

pub(super) fn position_row(position: &Position) -> Result<Bytes, ReplicaFailed> {
    let members = position.members.write_to_bytes().map_err(|error| damaged(error.to_string()))?;
    let (index, term, addresses) = (position.index, position.term, position.addresses.clone());
    encode(&PositionRow { index, term, members: Bytes::from(members), addresses })
}

/// Begins a replica. The first voters agree on a log that begins after entry 1 of term 1, so that whoever joins later,
/// and begins at nothing, must be told the membership by a snapshot.
pub(super) fn begin<S: Store>(store: &mut S, bootstrap: &Bootstrap) -> Result<(), ReplicaFailed> {
    let mut hard_state = HardState::default();
    let mut members = ConfState::default();
    let (at, addresses) = match bootstrap {
        Bootstrap::Found(addresses) => {
            members.voters = addresses.keys().map(|id| id.0).collect();
            (1, addresses.clone())
        }
        Bootstrap::Join => (0, Addresses::new()),
    };
    (hard_state.term, hard_state.commit) = (at, at);
    let mut batch = Batch::new();
    batch.put(Column::Raft, HARD_STATE, hard_state_row(&hard_state)?);
    batch.put(Column::Raft, TRUNCATED, encode(&Truncated { index: at, term: at })?);
    batch.put(Column::Raft, POSITION, position_row(&Position { index: at, term: at, members, addresses })?);
    store.apply(batch)?;
    store.sync()?;
    Ok(())
}

fn own_row<S: Store>(store: &S, key: &[u8], name: &str) -> Result<Bytes, ReplicaFailed> {
    store.get(Column::Raft, key)?.ok_or_else(|| damaged(format!("the row '{name}' is gone")))
}

pub(super) fn recover<S: Store>(store: &S) -> Result<Recovered, ReplicaFailed> {
    let unreadable = |error: record::RecordError| damaged(error.to_string());
    let row: PositionRow = record::decode(&own_row(store, POSITION, "position")?).map_err(unreadable)?;
    let truncated: Truncated = record::decode(&own_row(store, TRUNCATED, "truncated")?).map_err(unreadable)?;
    let mut hard_state =
        parse::<HardState>(&own_row(store, HARD_STATE, "hard_state")?).map_err(|error| damaged(error.to_string()))?;
    let members = parse::<ConfState>(&row.members).map_err(|error| damaged(error.to_string()))?;
    if !may_be(&members) {
        return Err(damaged(format!("no group has these members: {members:?}")));
    }
    let position = Position { index: row.index, term: row.term, members, addresses: row.addresses };
    if truncated.index > COUNT_MAX {
        return Err(damaged(format!("no log begins after entry {}", truncated.index)));
    }
    let entries = log_after(store, truncated.index)?;
    let last = truncated.index + entries.len() as u64;
    if position.index > last || hard_state.commit > last {
        let needed = position.index.max(hard_state.commit);
        return Err(damaged(format!("it ends at entry {last}, and had agreed to entry {needed}")));
    }
    if position.index < truncated.index {
        let (at, gone) = (position.index, truncated.index);
        return Err(damaged(format!("it begins after entry {gone}, and the tables are at entry {at}")));
    }
    // The commit index is not always kept; what is applied was committed.
    hard_state.commit = hard_state.commit.max(position.index).max(truncated.index);
    let term_max = entries.last().map_or(truncated.term, |entry| entry.term);
    if hard_state.term < term_max {
        return Err(damaged(format!(
            "its vote is of term {}, and it has an entry of term {term_max}",
            hard_state.term
        )));
    }
    Ok(Recovered { hard_state, truncated: (truncated.index, truncated.term), entries, position })
}

/// Whether a group that changes by one replica at a time can have these members. Raft panics at others.
fn may_be(members: &ConfState) -> bool {
    let (voters, learners) = (&members.voters, &members.learners);
    let ids: BTreeSet<u64> = voters.iter().chain(learners).copied().collect();
    let in_between = members.auto_leave || !members.voters_outgoing.is_empty() || !members.learners_next.is_empty();
    !in_between && !ids.contains(&0) && ids.len() == voters.len() + learners.len()
}

/// All entries after `index`: each the next of the one before.
fn log_after<S: Store>(store: &S, index: u64) -> Result<Vec<Entry>, ReplicaFailed> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let next = index + 1 + entries.len() as u64;
        let rows = store.scan(Column::Log, b"", &entry::row_key(next), PAGE)?;
        let full = rows.len() == PAGE;
        for (key, row) in rows {
            let next = index + 1 + entries.len() as u64;
            if key != entry::row_key(next) {
                return Err(damaged(format!("entry {next} is gone")));
            }
            entries.push(entry::parse_row(next, &row)?);
        }
        if !full {
            return Ok(entries);
        }
    }
}
