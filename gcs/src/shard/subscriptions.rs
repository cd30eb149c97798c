//! Subscriptions, and who is to hear of a change.
//!
//! Owns: the living subscriptions, indexed so that a change finds its subscribers without asking each. They are kept in
//! memory only. Invariants: each subscription is in exactly one index; a client has at most so many.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{ClientId, SubscriptionId};
use crate::{
    tables::{keys, Table},
    ActorId, NodeId, ObjectId, PlacementGroupId, TaskId,
};

/// Which changes a subscription is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// The table.
    pub table: Table,
    /// Which of its rows.
    pub scope: Scope,
}

/// Which rows of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// All.
    All,
    /// Those whose keys start with this.
    Prefix(Bytes),
    /// The one of this key.
    Key(Bytes),
}

impl Filter {
    /// All rows of `table`.
    #[must_use]
    pub fn table(table: Table) -> Self {
        Self { table, scope: Scope::All }
    }

    /// One row of `table`, by its key.
    #[must_use]
    pub fn key(table: Table, key: Bytes) -> Self {
        Self { table, scope: Scope::Key(key) }
    }

    /// One node.
    #[must_use]
    pub fn node(node: NodeId) -> Self {
        Self::key(Table::Nodes, keys::wide(node.0))
    }

    /// One actor.
    #[must_use]
    pub fn actor(actor: ActorId) -> Self {
        Self::key(Table::Actors, keys::wide(actor.0))
    }

    /// One placement group.
    #[must_use]
    pub fn placement_group(group: PlacementGroupId) -> Self {
        Self::key(Table::PlacementGroups, keys::wide(group.0))
    }

    /// One object.
    #[must_use]
    pub fn object(object: ObjectId) -> Self {
        Self::key(Table::Objects, keys::object(object))
    }

    /// All objects that `task` makes.
    #[must_use]
    pub fn objects_of(task: TaskId) -> Self {
        Self { table: Table::Objects, scope: Scope::Prefix(keys::wide(task.0)) }
    }

    /// A user's values whose keys start with `prefix`.
    #[must_use]
    pub fn values(namespace: &str, prefix: &[u8]) -> Self {
        Self { table: Table::KeyValue, scope: Scope::Prefix(keys::scoped(namespace, prefix)) }
    }

    /// Whether a row is among those watched.
    #[must_use]
    pub fn matches(&self, table: Table, key: &[u8]) -> bool {
        self.table == table
            && match &self.scope {
                Scope::All => true,
                Scope::Prefix(prefix) => key.starts_with(prefix),
                Scope::Key(wanted) => wanted == key,
            }
    }
}

pub(super) type Subscriber = (ClientId, SubscriptionId);
type Index = BTreeMap<(Table, Bytes), BTreeSet<Subscriber>>;

/// The living subscriptions.
#[derive(Default)]
pub(super) struct Subscriptions {
    all: BTreeMap<Subscriber, Filter>,
    by_key: Index,
    by_prefix: Index,
    /// How many distinct prefixes of each length there are.
    prefix_lens: BTreeMap<(Table, usize), usize>,
}

impl Subscriptions {
    /// How many subscriptions `client` has.
    pub(super) fn count(&self, client: ClientId) -> usize {
        self.of_client(client).count()
    }

    fn of_client(&self, client: ClientId) -> impl Iterator<Item = Subscriber> + '_ {
        let range = (client, SubscriptionId(0))..=(client, SubscriptionId(u64::MAX));
        self.all.range(range).map(|(who, _)| *who)
    }

    /// Adds a subscription, in place of one of the same number.
    pub(super) fn insert(&mut self, who: Subscriber, filter: Filter) {
        self.remove(who);
        let prefix = match &filter.scope {
            Scope::Key(key) => {
                self.by_key.entry((filter.table, key.clone())).or_default().insert(who);
                None
            }
            Scope::All => Some(Bytes::new()),
            Scope::Prefix(prefix) => Some(prefix.clone()),
        };
        if let Some(prefix) = prefix {
            let len = prefix.len();
            let subscribers = self.by_prefix.entry((filter.table, prefix)).or_default();
            if subscribers.is_empty() {
                *self.prefix_lens.entry((filter.table, len)).or_default() += 1;
            }
            subscribers.insert(who);
        }
        self.all.insert(who, filter);
    }

    /// Takes a subscription away if it is there.
    pub(super) fn remove(&mut self, who: Subscriber) {
        let Some(Filter { table, scope }) = self.all.remove(&who) else { return };
        match scope {
            Scope::Key(key) => {
                remove_from(&mut self.by_key, &(table, key), who);
            }
            Scope::All => self.remove_prefix(table, Bytes::new(), who),
            Scope::Prefix(prefix) => self.remove_prefix(table, prefix, who),
        }
    }

    fn remove_prefix(&mut self, table: Table, prefix: Bytes, who: Subscriber) {
        let len = prefix.len();
        if remove_from(&mut self.by_prefix, &(table, prefix), who) {
            let count = self.prefix_lens.entry((table, len)).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.prefix_lens.remove(&(table, len));
            }
        }
    }

    /// Takes all subscriptions of a client away.
    pub(super) fn remove_client(&mut self, client: ClientId) {
        let gone: Vec<_> = self.of_client(client).collect();
        gone.into_iter().for_each(|who| self.remove(who));
    }

    /// Who is to hear of a change, each subscription once, in order.
    pub(super) fn of(&self, table: Table, key: &Bytes) -> BTreeSet<Subscriber> {
        let mut found = self.by_key.get(&(table, key.clone())).cloned().unwrap_or_default();
        for (_, len) in self.prefix_lens.range((table, 0)..=(table, key.len())).map(|(at, _)| *at) {
            if let Some(subscribers) = self.by_prefix.get(&(table, key.slice(..len))) {
                found.extend(subscribers);
            }
        }
        found
    }

    /// Asserts that the indexes hold each subscription once.
    pub(super) fn sanity_check(&self) {
        let indexed = self.by_key.values().chain(self.by_prefix.values()).map(BTreeSet::len).sum::<usize>();
        assert_eq!(indexed, self.all.len(), "each subscription is in one index");
        let prefixes = self.prefix_lens.values().sum::<usize>();
        assert_eq!(prefixes, self.by_prefix.len(), "each prefix is counted once");
    }
}

/// Takes `who` away; whether nobody is left under `key`.
fn remove_from(index: &mut Index, key: &(Table, Bytes), who: Subscriber) -> bool {
    let Some(subscribers) = index.get_mut(key) else { return false };
    subscribers.remove(&who);
    let empty = subscribers.is_empty();
    if empty {
        index.remove(key);
    }
    empty
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_scope() -> impl Strategy<Value = Scope> {
        let key = prop::collection::vec(0..2_u8, 0..4).prop_map(Bytes::from);
        prop_oneof![Just(Scope::All), key.clone().prop_map(Scope::Prefix), key.prop_map(Scope::Key)]
    }

    proptest! {
        #[test]
        fn the_index_finds_whom_asking_each_would_find(
            scopes in prop::collection::vec((any_scope(), any::<bool>()), 0..20),
            key in prop::collection::vec(0..2_u8, 0..4),
        ) {
            let (mut subscriptions, key) = (Subscriptions::default(), Bytes::from(key));
            let mut expected = BTreeSet::new();
            for (at, (scope, stays)) in scopes.into_iter().enumerate() {
                let filter = Filter { table: Table::KeyValue, scope };
                let who = (ClientId((at % 3) as u128), SubscriptionId(at as u64));
                subscriptions.insert(who, filter.clone());
                if !stays {
                    subscriptions.remove(who);
                } else if filter.matches(Table::KeyValue, &key) {
                    expected.insert(who);
                }
                subscriptions.sanity_check();
            }
            prop_assert_eq!(subscriptions.of(Table::KeyValue, &key), expected.clone());
            prop_assert!(subscriptions.of(Table::Nodes, &key).is_empty());
            subscriptions.remove_client(ClientId(0));
            subscriptions.sanity_check();
            expected.retain(|(client, _)| *client != ClientId(0));
            prop_assert_eq!(subscriptions.of(Table::KeyValue, &key), expected);
        }
    }
}
