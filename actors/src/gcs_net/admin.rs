//! What an operator may ask of a process that serves shards.
//!
//! Owns: the questions, both ends of their connection. Does not own what becomes of them. Invariants: one question at a
//! time on a connection, each with one answer; a change of members is answered once the group has agreed, or why not.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use actinic_gcs::replica::{MembershipChange, ReplicaId, ReplicaStatus, ReplicaWork};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{
    handshake,
    inbox::{Inbox, ReadError},
    listener::Route,
    outbox::Outbox,
    roster::Roster,
    stream::Stream,
    wire::{decode, Membership, Purpose, FRAME_BYTES_MAX, HELLO_BYTES_MAX},
    NetError, NetLimits,
};
use crate::gcs_client::messages::{ChangeMembers, GetStatus, GetTrouble, TransferLeadership};

/// How long an answer may take: as long as a group may take to agree.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum AdminAsk {
    /// What is to be seen of the replicas here.
    Status,
    /// Hand the leadership of a shard over.
    Transfer {
        /// Of which shard.
        shard: usize,
        /// To whom; without it to whoever is closest.
        to: Option<ReplicaId>,
    },
    /// Change the members of a shard's group.
    Change {
        /// Of which shard.
        shard: usize,
        /// How.
        change: MembershipChange,
    },
    /// Where the replicas of each shard are reached, as far as is known here: for one who joins through any node.
    Contacts,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AdminAnswer {
    /// The replicas of the process.
    Status(Vec<ReplicaSummary>),
    /// It is done, or under way where that is all that can be said.
    Done,
    /// By shard, where its replicas are reached.
    Contacts(Vec<Vec<String>>),
    /// It is not done, and why.
    Refused(String),
}

/// What is to be seen of a replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaSummary {
    /// Of which shard.
    pub shard: usize,
    /// Which replica.
    pub id: ReplicaId,
    /// Who leads, as far as it knows; it is open only if it knows its term.
    pub leader: Option<ReplicaId>,
    /// The term; none while it is not open.
    pub term: Option<u64>,
    /// The last entry in its log, the last committed, the last applied.
    pub last: u64,
    /// See `last`.
    pub committed: u64,
    /// See `last`.
    pub applied: u64,
    /// Who votes, and who only follows.
    pub voters: Vec<ReplicaId>,
    /// See `voters`.
    pub learners: Vec<ReplicaId>,
    /// At the leader: how far each replica's log agrees.
    pub matched: Vec<(ReplicaId, u64)>,
    /// What it has done since it was opened.
    #[serde(default)]
    pub work: ReplicaWork,
    /// Why it has stepped aside, and what to do about it; none once it has written again.
    pub trouble: Option<String>,
}

impl ReplicaSummary {
    fn new(shard: usize, id: ReplicaId, status: Option<ReplicaStatus>, trouble: Option<String>) -> Self {
        let Some(status) = status else {
            let (voters, learners, matched) = Default::default();
            let (leader, term, last, committed, applied) = Default::default();
            let work = ReplicaWork::default();
            return Self {
                shard,
                id,
                leader,
                term,
                last,
                committed,
                applied,
                voters,
                learners,
                matched,
                work,
                trouble,
            };
        };
        let ReplicaStatus { leader, term, last, committed, applied, voters, learners, matched, work, .. } = status;
        let term = Some(term);
        Self { shard, id, leader, term, last, committed, applied, voters, learners, matched, work, trouble }
    }
}

/// Asks the process at `address`, and waits for the answer: for tools, which have no runtime.
///
/// # Errors
/// [`NetError`].
pub fn ask_admin(address: &str, membership: &Membership, ask: &AdminAsk) -> Result<AdminAnswer, NetError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| NetError::Thread(Some(error)))?.block_on(administer(address, membership, ask))
}

async fn administer(address: &str, membership: &Membership, ask: &AdminAsk) -> Result<AdminAnswer, NetError> {
    let within = NetLimits::default().handshake_max;
    let (stream, _) = handshake::call(address, membership, Purpose::Admin, within).await?;
    let (reader, mut writer) = stream.split();
    let mut inbox = Inbox::new(reader, FRAME_BYTES_MAX);
    let outbox = Outbox::new(FRAME_BYTES_MAX);
    let failed = |source| NetError::Io { address: address.to_owned(), source };
    outbox.push(ask).map_err(|_| failed(io::ErrorKind::InvalidInput.into()))?;
    let answered = async {
        tokio::select! {
            error = outbox.write_to(&mut writer, None, ANSWER_MAX) => Err(ReadError::Io(error)),
            frames = inbox.frames() => frames,
        }
    };
    let frames = match timeout(ANSWER_MAX, answered).await {
        Err(_) => return Err(NetError::Silent { address: address.to_owned(), waited: ANSWER_MAX }),
        Ok(frames) => frames.map_err(|error| error.at(address.to_owned()))?,
    };
    let closed = || failed(io::ErrorKind::ConnectionAborted.into());
    let body = frames.and_then(|frames| frames.into_iter().next()).ok_or_else(closed)?;
    decode(&body).map_err(|source| NetError::Garbled { address: address.to_owned(), source })
}

/// Answers one operator until it hangs up.
pub(super) async fn serve(stream: Stream, routes: BTreeMap<usize, Route>, roster: Arc<Roster>, limits: NetLimits) {
    let (reader, mut writer) = stream.split();
    let mut inbox = Inbox::new(reader, HELLO_BYTES_MAX);
    let outbox = Outbox::new(limits.outgoing_bytes_max);
    let answering = async {
        while let Ok(Some(asks)) = inbox.frames_within(limits.idle_max).await {
            for ask in asks {
                let Ok(ask) = decode::<AdminAsk>(&ask) else { return };
                if outbox.push(&answer(ask, &routes, &roster).await).is_err() {
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = answering => {}
        error = outbox.write_to(&mut writer, None, limits.stall_max) => {
            tracing::debug!(%error, "an operator's connection failed");
        }
    }
}

async fn answer(ask: AdminAsk, routes: &BTreeMap<usize, Route>, roster: &Roster) -> AdminAnswer {
    let absent = |shard| AdminAnswer::Refused(format!("there is no replica of shard {shard} here"));
    match ask {
        AdminAsk::Status => {
            let mut all = Vec::new();
            for (shard, route) in routes {
                let status = route.shard.send(GetStatus).await.ok().flatten();
                let trouble = route.shard.send(GetTrouble).await.ok().flatten();
                all.push(ReplicaSummary::new(*shard, route.replica, status, trouble));
            }
            AdminAnswer::Status(all)
        }
        AdminAsk::Contacts => AdminAnswer::Contacts(roster.contacts()),
        AdminAsk::Transfer { shard, to } => match routes.get(&shard) {
            None => absent(shard),
            Some(route) => {
                route.shard.do_send(TransferLeadership(to));
                AdminAnswer::Done
            }
        },
        AdminAsk::Change { shard, change } => {
            let Some(route) = routes.get(&shard) else { return absent(shard) };
            match timeout(ANSWER_MAX, route.shard.send(ChangeMembers(change))).await {
                Ok(Ok(Ok(()))) => AdminAnswer::Done,
                Ok(Ok(Err(error))) => AdminAnswer::Refused(error.to_string()),
                Ok(Err(_)) => AdminAnswer::Refused("the replica has ended".to_owned()),
                Err(_) => AdminAnswer::Refused("the group has not agreed yet; look at its members later".to_owned()),
            }
        }
    }
}
