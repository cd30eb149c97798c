//! Objects that nodes of one machine read in each other's memory, as the object manager carries it out.
//!
//! Owns: where what was borrowed lies, whom this node lets in to its own memory, and what it still keeps for those whose node
//! is lost. Decides nothing.
//!
//! **Invariant:** what was lent to a node that is lost stays where it is until nobody maps it any more: a process may outlive
//! its node, and what it reads is not written to.

use std::collections::{BTreeMap, BTreeSet};

use actinic_gcs::NodeId;
use actix::prelude::*;

use super::{NodeFrame, ObjectFrame, ObjectManager, PullEffect, Reader, SharedView, StoredId};
use crate::{
    cluster::{
        local::LocalEvent,
        objects::{
            guests::{Guest, Guests},
            table::core::Lender,
            wire::{Loan, Place},
        },
    },
    store::Mapping,
};

/// Looks at a neighbour's memory that fail before it is none.
const FAILURES_MAX: u32 = 3;

/// What is lent and borrowed.
#[derive(Default)]
pub(super) struct Loans {
    /// Where that lies which this node has borrowed.
    pub(super) places: BTreeMap<StoredId, Place>,
    /// What this node was found to be able to map: segments, with what is locked for them.
    proven: BTreeSet<(String, Option<String>)>,
    /// Who may map this node's memory.
    guests: BTreeMap<NodeId, Guests>,
    invited: u64,
    /// Looks in a row at a neighbour's memory that have failed.
    failures: BTreeMap<NodeId, u32>,
    /// Those whose node is lost, and what was lent to them.
    leaving: Vec<(Guests, Vec<SharedView>)>,
}

impl Loans {
    /// Lets go of what nobody reads any more whose node is lost.
    pub(super) fn let_go(&mut self) {
        self.leaving.retain(|(guests, _)| !guests.are_gone());
    }
}

impl ObjectManager {
    // --- lending ---------------------------------------------------------------------------------------------------

    /// A place as a reader is told of it: one of another node must be let in.
    pub(super) fn for_reader(&mut self, place: Place, reader: Reader) -> Result<Place, String> {
        let Reader::Loan(Loan { to, .. }) = reader else { return Ok(place) };
        if !self.loans.guests.contains_key(&to) {
            self.loans.invited += 1;
            let (folder, name) = (self.shared.folder.path(), format!("guests-{}", self.loans.invited));
            let guests = Guests::invite(folder, &name).map_err(|error| format!("nobody can be let in: {error}"))?;
            self.loans.guests.insert(to, guests);
        }
        let guests = self.loans.guests.get(&to).map(Guests::path);
        Ok(Place { guests, ..place })
    }

    /// A node is lost to which something may be lent.
    pub(super) fn borrower_gone(&mut self, node: NodeId) {
        self.loans.proven.clear();
        self.loans.failures.remove(&node);
        let Some(guests) = self.loans.guests.remove(&node) else { return };
        let is_its = |reader: &Reader| matches!(reader, Reader::Loan(loan) if loan.to == node);
        let lent: Vec<_> = self.views.keys().filter(|(_, reader)| is_its(reader)).copied().collect();
        let views = lent.into_iter().filter_map(|key| self.views.remove(&key)).flatten().collect();
        self.loans.leaving.push((guests, views));
        self.loans.let_go();
    }

    // --- borrowing -------------------------------------------------------------------------------------------------

    pub(super) fn borrow(&self, stored: StoredId, from: Lender) {
        let loan = Loan { to: self.shared.spec.id, number: from.number };
        self.shared.hub.to_node(from.node, &NodeFrame::Object(ObjectFrame::Borrow { stored, loan }));
    }

    /// A neighbour lends something, or does not.
    pub(super) fn lent(
        &mut self,
        stored: StoredId,
        from: Lender,
        place: Result<Place, String>,
        ctx: &mut Context<Self>,
    ) {
        if !self.pulls.awaits_loan(stored, from) {
            return if place.is_ok() {
                self.give_back(stored, from)
            };
        }
        let proven = place.as_ref().map_or(Ok(()), |place| self.prove(place));
        match (&place, &proven) {
            (_, Err(why)) => {
                tracing::warn!(node = %from.node, why, "what a node of this machine lends cannot be mapped, and is fetched");
                self.give_back(stored, from);
                self.doubt(from.node);
            }
            (Err(why), _) => tracing::debug!(node = %from.node, serial = stored.serial, why, "an object is not lent"),
            _ => drop(self.loans.failures.remove(&from.node)),
        }
        let place = place.ok().filter(|_| proven.is_ok());
        let mut pulling = Vec::new();
        self.pulls.on_lent(stored, from, place.is_some(), &mut pulling);
        if pulling.contains(&PullEffect::Borrowed(stored, from)) {
            self.loans.places.extend(place.map(|place| (stored, place)));
        }
        self.carry_out_pulls(pulling, ctx);
    }

    /// A node that says that it shares memory seems not to: after a few times what it has is far.
    fn doubt(&mut self, node: NodeId) {
        let failures = self.loans.failures.entry(node).or_insert(0);
        *failures += 1;
        if *failures == FAILURES_MAX {
            self.pulls.on_stranger(node);
            self.shared.local(LocalEvent::Stranger(node));
        }
    }

    /// Whether the processes of this node can map what is lent.
    fn prove(&mut self, place: &Place) -> Result<(), String> {
        let key = (place.segment.clone(), place.guests.clone());
        if self.loans.proven.contains(&key) {
            return Ok(());
        }
        let guests = place.guests.as_deref().ok_or("it does not say what is to be locked")?;
        let guest = Guest::enter(guests).map_err(|error| format!("{guests}: {error}"))?;
        Mapping::open_as_guest(&place.segment, guest).map_err(|error| super::said(&error))?;
        self.loans.proven.insert(key);
        Ok(())
    }

    pub(super) fn borrowed(&mut self, stored: StoredId, from: Lender, ctx: &mut Context<Self>) {
        let mut effects = Vec::new();
        self.table.on_lent(stored, from, &mut effects);
        self.carry_out(effects, ctx);
    }

    pub(super) fn give_back(&mut self, stored: StoredId, from: Lender) {
        let loan = Loan { to: self.shared.spec.id, number: from.number };
        self.shared.hub.to_node(from.node, &NodeFrame::Object(ObjectFrame::Return { stored, loan }));
    }
}
