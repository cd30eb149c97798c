//! A client's subscriptions, and the numbers that shards know them by.
//!
//! Owns: which subscriptions there are, how far each has heard each shard, and their numbers. Does not own the way to a
//! shard. Invariant: a number is used once: for one subscription, at one shard, until that shard is opened anew. So what
//! is still said under an older number, by a replica that led before or over a connection that was, is known for what it is
//! and not heard: taken for new, it would hide the changes that were lost before it.

use std::{collections::BTreeMap, ops::Range};

use actinic_gcs::{
    shard::{Filter, SubscriptionId},
    tables::Table,
};

use crate::gcs_client::messages::Frame;

/// One subscription.
struct Watch {
    filter: Filter,
    /// By shard.
    lines: BTreeMap<usize, Line>,
}

/// One subscription at one shard.
struct Line {
    number: SubscriptionId,
    /// The number of the last change seen.
    seen: Option<u64>,
}

/// The subscriptions.
#[derive(Default)]
pub(super) struct Watches {
    all: BTreeMap<SubscriptionId, Watch>,
    /// Whose each number is, and at which shard.
    numbers: BTreeMap<SubscriptionId, (SubscriptionId, usize)>,
    last_number: u64,
}

impl Watches {
    /// One more, at these shards; gives what each is to be sent.
    pub(super) fn begin(
        &mut self,
        subscription: SubscriptionId,
        filter: Filter,
        shards: Range<usize>,
    ) -> Vec<(usize, Frame)> {
        let mut lines = BTreeMap::new();
        let mut frames = Vec::new();
        for shard in shards {
            let number = self.number(subscription, shard);
            lines.insert(shard, Line { number, seen: None });
            frames.push((shard, Frame::Subscribe { subscription: number, filter: filter.clone(), from: None }));
        }
        self.all.insert(subscription, Watch { filter, lines });
        frames
    }

    /// One less; gives what each shard is to be sent.
    pub(super) fn end(&mut self, subscription: SubscriptionId) -> Vec<(usize, Frame)> {
        let Some(Watch { lines, .. }) = self.all.remove(&subscription) else { return Vec::new() };
        let end = |(shard, line): (usize, Line)| {
            self.numbers.remove(&line.number);
            (shard, Frame::Unsubscribe(line.number))
        };
        lines.into_iter().map(end).collect()
    }

    /// A shard was opened anew and knows of nothing: gives what it is to be sent.
    pub(super) fn renew(&mut self, shard: usize) -> Vec<Frame> {
        let at_shard = |(id, watch): (&SubscriptionId, &Watch)| watch.lines.contains_key(&shard).then_some(*id);
        let renewed: Vec<SubscriptionId> = self.all.iter().filter_map(at_shard).collect();
        let mut frames = Vec::with_capacity(renewed.len());
        for subscription in renewed {
            let fresh = self.number(subscription, shard);
            let Some(watch) = self.all.get_mut(&subscription) else { continue };
            let Some(line) = watch.lines.get_mut(&shard) else { continue };
            self.numbers.remove(&std::mem::replace(&mut line.number, fresh));
            frames.push(Frame::Subscribe { subscription: fresh, filter: watch.filter.clone(), from: line.seen });
        }
        frames
    }

    /// A shard has told all up to `sequence` under a number; gives whose that is, if it is anybody's still.
    pub(super) fn heard(&mut self, shard: usize, number: SubscriptionId, sequence: u64) -> Option<SubscriptionId> {
        let subscription = self.whose(shard, number)?;
        self.all.get_mut(&subscription)?.lines.get_mut(&shard)?.seen = Some(sequence);
        Some(subscription)
    }

    /// Whose a number at a shard is.
    pub(super) fn whose(&self, shard: usize, number: SubscriptionId) -> Option<SubscriptionId> {
        let (subscription, at) = *self.numbers.get(&number)?;
        (at == shard).then_some(subscription)
    }

    /// Whether anyone watches this table.
    pub(super) fn table(&self, table: Table) -> bool {
        self.all.values().any(|watch| watch.filter.table == table)
    }

    fn number(&mut self, subscription: SubscriptionId, shard: usize) -> SubscriptionId {
        self.last_number += 1;
        let number = SubscriptionId(self.last_number);
        self.numbers.insert(number, (subscription, shard));
        number
    }
}
