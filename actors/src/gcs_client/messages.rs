//! What a client and a shard say to each other.
//!
//! Owns: the messages. Invariants: all that a shard needs to know is in a frame, and all that it has to say in another;
//! frames of one message are taken in their order; a client numbers its requests, and a frame sent twice is done once.

use std::sync::Arc;

use actinic_gcs::{
    replica::{MembershipChange, MembershipError, PeerMessage, ReplicaId, ReplicaStatus},
    shard::{Change, ClientId, Filter, Request, RequestError, RequestId, SubscriptionId},
    tables::Reply,
    Millis, NodeId,
};
use actix::{Message, Recipient};
use serde::{Deserialize, Serialize};

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
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// A question that may be answered from any replica's rows as they are, however old; answered like a request.
    StaleRead {
        /// Its number.
        request: RequestId,
        /// The question.
        what: Arc<Request>,
    },
}

/// A client's connection is gone.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub struct ClientGone(pub ClientId);

/// Another replica of the group has said something.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct FromPeer {
    /// Which.
    pub from: ReplicaId,
    /// What.
    pub message: PeerMessage,
}

/// The connection to another replica was reset: its process has ended, as far as one can tell.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub struct PeerGone(pub ReplicaId);

/// Changes who belongs to the group; answered once that is agreed.
#[derive(Message, Clone, Debug)]
#[rtype(result = "Result<(), AdminError>")]
pub struct ChangeMembers(pub MembershipChange);

/// Hands the leadership over, to this replica or to the one that is closest.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub struct TransferLeadership(pub Option<ReplicaId>);

/// Asks what can be seen of a replica; none while it is not open.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Option<ReplicaStatus>")]
pub struct GetStatus;

/// Asks why a replica has stepped aside, in words; none once it has written again.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Option<String>")]
pub struct GetTrouble;

/// Why the group's members were not changed, as far as is known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// It cannot be done now.
    #[error(transparent)]
    Refused(#[from] MembershipError),
    /// The replica is not open.
    #[error("this replica is not open")]
    Closed,
    /// The leader changed before the group had agreed: look at the members, and ask the new leader again if need be.
    #[error("the leader changed before the change of members was agreed; it may come about or not")]
    Unknown,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// This replica does not lead: what has no reply, and every subscription, belongs to the one that does.
    NotLeader {
        /// Where the leader is reached, if that is known.
        leader: Option<String>,
    },
    /// The group's members are others now, reached here: whoever loses one of them asks these.
    Members(Vec<String>),
}
