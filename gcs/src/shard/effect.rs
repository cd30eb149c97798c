//! What a shard asks its shell to do, and what each must wait for.
//!
//! Owns: the effects and their ordering class. Invariant: no reply, change or sequence number leaves before the writes that
//! it shows are durable, lest a client build upon what a crash takes back.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{changes::Change, ClientId, RequestId, SubscriptionId};
use crate::{
    tables::{Reply, TableError},
    Millis, NodeId,
};

/// What an effect must wait for. A shell whose store is durable once it is written (or that promised no durability) may
/// carry every effect out at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Nothing: nobody builds upon it.
    Now,
    /// Every write up to this number of [`super::ShardCore::applied`] must be durable.
    AfterDurable(u64),
}

/// What a shell is to do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// Answer a request.
    Reply {
        /// Who asked.
        client: ClientId,
        /// Which request.
        request: RequestId,
        /// The answer.
        outcome: Result<Reply, RequestError>,
        /// What it must wait for.
        order: Order,
    },
    /// Tell a client that it is subscribed: every later change follows, from `sequence` on.
    Subscribed {
        /// Whom to tell.
        client: ClientId,
        /// Which subscription.
        subscription: SubscriptionId,
        /// The sequence number after which changes are told.
        sequence: u64,
        /// What it must wait for.
        order: Order,
    },
    /// Tell a client that it is subscribed, but that changes it has not seen are forgotten: it must read what it watches
    /// again. Every change after `sequence` follows.
    ResyncNeeded {
        /// Whom to tell.
        client: ClientId,
        /// Which subscription.
        subscription: SubscriptionId,
        /// The sequence number after which changes are told.
        sequence: u64,
        /// What it must wait for.
        order: Order,
    },
    /// Tell a client that it has too many subscriptions for another one.
    SubscriptionRefused {
        /// Whom to tell.
        client: ClientId,
        /// Which subscription.
        subscription: SubscriptionId,
        /// How many a client may have.
        max: usize,
    },
    /// Tell a client of a change.
    Notify {
        /// Whom to tell.
        client: ClientId,
        /// Which subscription.
        subscription: SubscriptionId,
        /// The change.
        change: Change,
        /// What it must wait for.
        order: Order,
    },
    /// A node's lease ran out. Whoever judges this writes [`crate::tables::NodeWrite::MarkDead`] with `lease_until`, which
    /// is refused if the node renewed its lease in between. Repeated at each tick until then.
    LeaseExpired {
        /// The node.
        node: NodeId,
        /// When its lease ended.
        lease_until: Millis,
    },
}

impl Effect {
    /// What the effect must wait for.
    #[must_use]
    pub fn order(&self) -> Order {
        match self {
            Self::Reply { order, .. }
            | Self::Subscribed { order, .. }
            | Self::ResyncNeeded { order, .. }
            | Self::Notify { order, .. } => *order,
            Self::SubscriptionRefused { .. } | Self::LeaseExpired { .. } => Order::Now,
        }
    }
}

/// Why a request has no reply.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RequestError {
    /// It is refused; nothing has changed.
    #[error(transparent)]
    Refused(#[from] TableError),
    /// Its number is older than all that the shard remembers of its client, and it remembers as many as it may: the request
    /// may have been applied, or not. A client never sees this of a request after which it has sent fewer than
    /// [`super::ShardLimits::requests_per_client_max`] others; that few are under way is not enough. And it is no promise
    /// the other way round: of a client that was forgotten as a whole, because more than
    /// [`super::ShardLimits::clients_max`] others have written since, a retry is taken for a new request, and is applied
    /// again.
    #[error("the request is too old to tell whether it was applied")]
    Forgotten,
    /// This replica does not lead. The request has not been applied here; send it to the leader, under the same number.
    #[error("this replica does not lead its shard; the leader is {leader:?}")]
    NotLeader {
        /// Who leads, if that is known.
        leader: Option<u64>,
    },
    /// Too much waits already. The request has not been applied; send it again a little later, under the same number.
    #[error("the shard has too much to do; try again a little later")]
    Busy,
    /// The request is larger than the shard takes. It has not been applied.
    #[error("the request has {bytes} bytes, more than the {max} that a shard takes at once; send it in parts")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The request has no encoding.
    #[error("the request cannot be encoded")]
    Unreadable,
}
