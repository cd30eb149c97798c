//! Replicas that come after the start, and what the server's owner knows of groups.
//!
//! Owns: opening a replica in a process that serves already, and asking and changing the groups of those that are here, for
//! a node that looks after them. Does not own which replica is to be where. Invariant: every wait is bounded.

use actinic_gcs::replica::{Addresses, MembershipChange, ReplicaId, ReplicaStatus};

use super::{
    start::{check_store, opened},
    GcsServer, ShardSpec,
};
use crate::{
    gcs_client::messages::{ChangeMembers, GetStatus},
    gcs_net::ServerError,
};

impl GcsServer {
    /// Opens a replica beside those that are here.
    ///
    /// # Errors
    /// [`ServerError`]: there is one of this shard, or its store cannot be opened.
    pub fn open(&self, spec: ShardSpec) -> Result<(), ServerError> {
        let index = spec.index;
        if spec.replica.id == ReplicaId(0) {
            return Err(ServerError::Nameless(index));
        }
        if self.common.shards().contains_key(&index) {
            return Err(ServerError::Twice(index));
        }
        check_store(&spec.store).map_err(|source| ServerError::Store { shard: index, source })?;
        let common = self.common.clone();
        let open = move || async move {
            let shard = common.start(spec)?;
            opened(index, &shard).await
        };
        self.run(open).unwrap_or(Err(ServerError::Thread(None)))
    }

    /// What is to be seen of the replica of a shard; none where it is not here or not open.
    #[must_use]
    pub fn replica(&self, index: usize) -> Option<ReplicaStatus> {
        let shard = self.shard(index)?;
        self.run(move || async move { shard.send(GetStatus).await.ok().flatten() }).flatten()
    }

    /// Changes the members of a group whose leader is here, and waits until that is agreed.
    ///
    /// # Errors
    /// Why it is not, or not yet.
    pub fn change_members(&self, index: usize, change: MembershipChange) -> Result<(), String> {
        let shard = self.shard(index).ok_or_else(|| format!("there is no replica of shard {index} here"))?;
        let changed = self.run(move || async move { shard.send(ChangeMembers(change)).await });
        match changed {
            Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(error.to_string()),
            Some(Err(_)) => Err("the replica has ended".to_owned()),
            None => Err("the group has not agreed yet".to_owned()),
        }
    }

    /// Tells callers, where no replica of the shard is here, where others say that they are.
    pub fn set_heard(&self, index: usize, addresses: Vec<String>) {
        self.common.roster.set_heard(index, addresses);
    }

    /// Where the members of a shard's group are reached, as its replica here has it.
    #[must_use]
    pub fn members(&self, index: usize) -> Addresses {
        self.common.roster.members(index)
    }
}
