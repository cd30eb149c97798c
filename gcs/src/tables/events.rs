//! Events, a bounded number of them.
//!
//! Owns: the numbering of a shard's events, and dropping the oldest. Invariant: at most [`limits::EVENTS_MAX`] rows, with
//! consecutive numbers. That an old event is dropped is no change that watchers hear of.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{keys, limits, Applied, Bound, Page, PageRequest, Reply, Table, Txn, DIRECTORY};
use crate::{
    record,
    spec::Event,
    store::{Column, StoreError},
};

/// A change of the events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EventWrite {
    /// Adds events of one node. Gives [`Reply::Done`].
    Push(Vec<Event>),
}

/// A question about events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EventRead {
    /// This shard's events, the oldest first: [`Reply::Events`].
    List(PageRequest),
}

/// The numbers of the events kept.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct EventBounds {
    first: u64,
    next: u64,
}

record::records! { EventBounds = "event bounds" }

const BOUNDS: &[u8] = b"events";

impl EventWrite {
    pub(super) fn key_hash(&self) -> u64 {
        let Self::Push(events) = self;
        events.first().map_or(DIRECTORY, |event| keys::hash_wide(event.node.0))
    }

    pub(super) fn apply(&self, txn: &mut Txn<'_>) -> Applied {
        let Self::Push(events) = self;
        Bound::BatchLen.check(events.len(), limits::BATCH_LEN_MAX)?;
        let key = Bytes::from_static(BOUNDS);
        let mut bounds: EventBounds = txn.record(Column::Meta, &key)?.unwrap_or_default();
        if bounds.first > bounds.next || bounds.next > limits::COUNT_MAX {
            return Err(StoreError::senseless(Column::Meta, &key).into());
        }
        for event in events {
            Bound::EventBytes.check(event.label.len() + event.message.len(), limits::EVENT_BYTES_MAX)?;
            txn.put_row(Table::Events, keys::number(bounds.next), event)?;
            bounds.next += 1;
        }
        // As many as came, unless there were too many before; then those go little by little.
        let gone = (bounds.next - bounds.first).saturating_sub(limits::EVENTS_MAX).min(limits::TRIM_LEN_MAX);
        for _ in 0..gone {
            txn.delete(Column::Events, keys::number(bounds.first));
            bounds.first += 1;
        }
        txn.put_record(Column::Meta, key, &bounds)?;
        Ok(Reply::Done)
    }
}

impl EventRead {
    pub(super) fn answer(&self, txn: &Txn<'_>) -> Applied {
        let Self::List(page) = self;
        let (rows, next) = txn.page(Column::Events, b"", page)?;
        let mut items = Vec::with_capacity(rows.len());
        for (key, value) in &rows {
            items.push((keys::trailing_number(key).unwrap_or_default(), record::decode(value)?));
        }
        Ok(Reply::Events(Page { items, next }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{event, Bench};

    #[test]
    fn events_are_numbered_in_order() {
        let mut bench = Bench::new();
        bench.apply(EventWrite::Push(vec![event("a"), event("b")])).unwrap();
        bench.apply(EventWrite::Push(vec![event("c")])).unwrap();
        let Ok(Reply::Events(page)) = bench.read(EventRead::List(PageRequest::default())) else { panic!("no events") };
        assert_eq!(page.items, [(0, event("a")), (1, event("b")), (2, event("c"))]);
    }

    #[test]
    fn the_oldest_events_go_first() {
        let mut bench = Bench::new();
        for _ in 0..5 {
            bench.apply(EventWrite::Push(vec![event("x"); limits::BATCH_LEN_MAX])).unwrap();
        }
        assert_eq!(bench.store.rows(Column::Events) as u64, limits::EVENTS_MAX);
        let page = PageRequest { after: None, limit: 1 };
        let Ok(Reply::Events(page)) = bench.read(EventRead::List(page)) else { panic!("no events") };
        assert_eq!(page.items[0].0, limits::BATCH_LEN_MAX as u64);
    }

    #[test]
    fn an_event_too_large_is_refused() {
        let large = event(&"x".repeat(limits::EVENT_BYTES_MAX));
        let refused = Bench::new().apply(EventWrite::Push(vec![large]));
        assert!(matches!(refused, Err(super::super::TableError::TooLarge { what: Bound::EventBytes, .. })));
    }
}
