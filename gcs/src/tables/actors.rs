//! The actor directory: specs, states, locations and names.
//!
//! Owns: registration with unique names, and the steps between states. Does not own checkpoints and call logs (the
//! history tables), nor when to take a step. Invariants: a name belongs to at most one living actor of its namespace, and
//! is free again once that actor is dead or its keeper's node is; no illegal step is taken; a step for an older incarnation is refused, so what
//! comes late from a node cut off changes nothing.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{keys, limits, Applied, ApplyError, Bound, Page, PageRequest, Reply, Table, TableError, Txn};
use crate::{
    record,
    spec::{ActorDeath, ActorInfo, ActorLocation, ActorSpec, ActorState, NodeInfo},
    store::Column,
    ActorId, Millis,
};

/// A change of the actor directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ActorWrite {
    /// Registers an actor, with its dependencies unready. The same spec again is nothing. Gives [`Reply::Registered`].
    Register {
        /// What is asked for.
        spec: Box<ActorSpec>,
        /// What to do if a living actor has its name.
        if_exists: IfExists,
    },
    /// Takes a step between states. Gives [`Reply::Incarnation`].
    Step {
        /// The actor.
        actor: ActorId,
        /// The incarnation that the sender acts for.
        incarnation: u32,
        /// The step.
        step: ActorStep,
    },
    /// Forgets a dead actor. Gives [`Reply::Deleted`].
    Delete(ActorId),
}

/// What to do if a living actor has the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IfExists {
    /// Refuse with [`TableError::NameTaken`].
    #[default]
    Fail,
    /// Give that actor in place of a new one (Ray's `get_if_exists`).
    Get,
}

/// A step between states, with what the new state brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActorStep {
    /// Its arguments are there.
    PendingCreation,
    /// It takes calls here.
    Alive(ActorLocation),
    /// It was lost; the incarnation grows by one.
    Restarting,
    /// It is dead; its name is free.
    Dead(ActorDeath),
}

/// A question about the actor directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ActorRead {
    /// One actor: [`Reply::Actor`].
    Get(ActorId),
    /// The living actor of a name: [`Reply::Actor`].
    ByName {
        /// The namespace.
        namespace: Arc<str>,
        /// The name.
        name: Arc<str>,
    },
    /// All actors, dead ones included: [`Reply::Actors`].
    List(PageRequest),
}

/// The row of a name: who has it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Holder(ActorId);

record::records! { Holder = "actor name" }

impl ActorStep {
    /// The state that the step leads to.
    #[must_use]
    pub fn state(&self) -> ActorState {
        match self {
            Self::PendingCreation => ActorState::PendingCreation,
            Self::Alive(_) => ActorState::Alive,
            Self::Restarting => ActorState::Restarting,
            Self::Dead(_) => ActorState::Dead,
        }
    }
}

impl ActorWrite {
    pub(super) fn apply(&self, now: Millis, txn: &mut Txn<'_>) -> Applied {
        match self {
            Self::Register { spec, if_exists } => register(now, spec, *if_exists, txn),
            Self::Step { actor, incarnation, step } => take_step(now, *actor, *incarnation, step, txn),
            Self::Delete(actor) => match find(*actor, txn)? {
                None => Ok(Reply::Deleted(false)),
                Some(info) if info.state != ActorState::Dead => Err(TableError::ActorNotDead(*actor).into()),
                Some(_) => {
                    txn.delete_row(Table::Actors, keys::wide(actor.0));
                    Ok(Reply::Deleted(true))
                }
            },
        }
    }
}

fn find(actor: ActorId, txn: &Txn<'_>) -> Result<Option<ActorInfo>, ApplyError> {
    txn.record(Column::Actors, &keys::wide(actor.0))
}

fn name_key(spec: &ActorSpec) -> Option<Bytes> {
    spec.name.as_ref().map(|name| keys::scoped(&spec.namespace, name.as_bytes()))
}

fn register(now: Millis, spec: &ActorSpec, if_exists: IfExists, txn: &mut Txn<'_>) -> Applied {
    Bound::NameBytes.check(spec.namespace.len(), limits::NAME_BYTES_MAX)?;
    if let Some(name) = &spec.name {
        Bound::NameBytes.check(name.len(), limits::NAME_BYTES_MAX)?;
        if name.is_empty() {
            return Err(TableError::EmptyName.into());
        }
    }
    if let Some(known) = find(spec.id, txn)? {
        if known.spec != *spec {
            return Err(TableError::ActorExists(spec.id).into());
        }
        return Ok(Reply::Registered { actor: spec.id, created: false });
    }
    if let Some((key, name)) = name_key(spec).zip(spec.name.as_ref()) {
        let holder = txn.record(Column::ActorNames, &key)?.map(|Holder(holder)| holder);
        let lost = holder.map(|holder| bury_if_lost(now, holder, txn)).transpose()?.unwrap_or(false);
        if let Some(holder) = holder.filter(|_| !lost) {
            return match if_exists {
                IfExists::Get => Ok(Reply::Registered { actor: holder, created: false }),
                IfExists::Fail => Err(ApplyError::Rejected(TableError::NameTaken {
                    namespace: spec.namespace.to_string(),
                    name: name.to_string(),
                    holder,
                })),
            };
        }
        txn.put_record(Column::ActorNames, key, &Holder(spec.id))?;
    }
    let info = ActorInfo {
        spec: spec.clone(),
        state: ActorState::DependenciesUnready,
        incarnation: 0,
        location: None,
        death: None,
        since: now,
    };
    txn.put_row(Table::Actors, keys::wide(spec.id.0), &info)?;
    Ok(Reply::Registered { actor: spec.id, created: true })
}

/// Whether whoever kept an actor is lost with its node, and so nobody will ever write that the actor is dead.
fn is_lost(info: &ActorInfo, txn: &Txn<'_>) -> Result<bool, ApplyError> {
    let Some(owner) = info.spec.owner else { return Ok(false) };
    let node = txn.record::<NodeInfo>(Column::Nodes, &keys::wide(owner.node.0))?;
    Ok(node.is_some_and(|node| !node.is_alive()))
}

/// Writes that an actor is dead whose keeper is lost; gives whether it is.
fn bury_if_lost(now: Millis, actor: ActorId, txn: &mut Txn<'_>) -> Result<bool, ApplyError> {
    let Some(mut info) = find(actor, txn)? else { return Ok(true) };
    if !is_lost(&info, txn)? {
        return Ok(false);
    }
    (info.state, info.since, info.location, info.death) = (ActorState::Dead, now, None, Some(ActorDeath::OwnerDied));
    txn.put_row(Table::Actors, keys::wide(actor.0), &info)?;
    Ok(true)
}

fn take_step(now: Millis, actor: ActorId, incarnation: u32, step: &ActorStep, txn: &mut Txn<'_>) -> Applied {
    let mut info = find(actor, txn)?.ok_or(TableError::ActorUnknown(actor))?;
    let (from, to) = (info.state, step.state());
    if incarnation != info.incarnation {
        let current = info.incarnation;
        return Err(TableError::StaleIncarnation { actor, given: incarnation, current }.into());
    }
    if !from.may_become(to) {
        return Err(TableError::IllegalTransition { actor, from, to }.into());
    }
    info.state = to;
    info.since = now;
    info.location = None;
    match step {
        ActorStep::PendingCreation => {}
        ActorStep::Alive(location) => info.location = Some(*location),
        ActorStep::Restarting => {
            if !info.spec.max_restarts.allows(info.incarnation) {
                return Err(TableError::RestartsSpent { actor, restarts: info.incarnation }.into());
            }
            info.incarnation += 1;
        }
        ActorStep::Dead(cause) => {
            info.death = Some(cause.clone());
            if let Some(key) = name_key(&info.spec) {
                txn.delete(Column::ActorNames, key);
            }
        }
    }
    txn.put_row(Table::Actors, keys::wide(actor.0), &info)?;
    Ok(Reply::Incarnation(info.incarnation))
}

impl ActorRead {
    pub(super) fn answer(&self, txn: &Txn<'_>) -> Applied {
        match self {
            Self::Get(actor) => Ok(Reply::Actor(find(*actor, txn)?.map(Box::new))),
            Self::ByName { namespace, name } => {
                let key = keys::scoped(namespace, name.as_bytes());
                let info = match txn.record(Column::ActorNames, &key)? {
                    Some(Holder(holder)) => find(holder, txn)?,
                    None => None,
                };
                let lost = info.as_ref().map(|info| is_lost(info, txn)).transpose()?.unwrap_or(false);
                let info = info.filter(|_| !lost);
                Ok(Reply::Actor(info.map(Box::new)))
            }
            Self::List(page) => {
                let (rows, next) = txn.page(Column::Actors, b"", page)?;
                let items = rows.iter().map(|(_, value)| record::decode(value)).collect::<Result<_, _>>()?;
                Ok(Reply::Actors(Page { items, next }))
            }
        }
    }
}

#[cfg(test)]
mod tests;
