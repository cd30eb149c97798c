//! What a client and a shard say to each other.
//!
//! Owns: the messages. Invariants: all that a shard needs to know is in a frame, and all that it has to say in another;
//! frames of one message are taken in their order; a client numbers its requests, and a frame sent twice is done once.

use std::sync::Arc;

use actinic_gcs::{
    shard::{Change, ClientId, Filter, Request, RequestError, RequestId, SubscriptionId},
    tables::Reply,
    Millis, NodeId,
};
use actix::{Message, Recipient};

/// A client has something for a shard.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Ask {
    /// Which client.
    pub client: ClientId,
    /// Where answers go.
    pub answers: Recipient<Answers>,
    /// What it has.
    pub frames: Vec<Frame>,
}

/// One thing that a client has for a shard.
#[derive(Clone, Debug)]
pub enum Frame {
    /// A request; it is answered by [`AnswerFrame::Reply`].
    Request {
        /// Its number.
        request: RequestId,
        /// The request.
        what: Arc<Request>,
    },
    /// A subscription, new or renewed.
    Subscribe {
        /// Its number.
        subscription: SubscriptionId,
        /// Of which changes.
        filter: Filter,
        /// The last change of this shard that was seen; none for changes from now on.
        from: Option<u64>,
    },
    /// The end of a subscription.
    Unsubscribe(SubscriptionId),
}

/// A shard has something for a client.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Answers {
    /// Which shard, by its place among all.
    pub shard: usize,
    /// What it has.
    pub frames: Vec<AnswerFrame>,
}

/// One thing that a shard has for a client.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerFrame {
    /// How a request came out.
    Reply {
        /// Its number.
        request: RequestId,
        /// The outcome.
        outcome: Result<Reply, RequestError>,
    },
    /// Every change after this one will be told.
    Subscribed {
        /// Which subscription.
        subscription: SubscriptionId,
        /// The number of the last change that is not told.
        sequence: u64,
        /// Whether changes since the last one seen were forgotten.
        missed: bool,
    },
    /// There are too many subscriptions.
    SubscriptionRefused {
        /// Which subscription.
        subscription: SubscriptionId,
        /// How many a client may have.
        max: usize,
    },
    /// A row has changed.
    Change {
        /// Which subscription tells it.
        subscription: SubscriptionId,
        /// The change.
        change: Change,
    },
    /// A node's lease has run out; whoever hears this judges whether the node is dead.
    LeaseExpired {
        /// The node.
        node: NodeId,
        /// When its lease ended.
        lease_until: Millis,
    },
    /// The shard was opened anew, here or elsewhere: subscriptions are to be renewed, and what has no reply sent again.
    Reopened,
}
