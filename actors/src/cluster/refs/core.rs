//! Decides how long an object lives that several processes can reach.
//!
//! Owns: for each object that has crossed a process's border, who was given a reference by this process, and by whom this
//! process was given its own. A core, one a process.
//!
//! The protocol is indirect reference counting (Piquer, PARLE 1991): a reference that is sent makes the receiver a *child*
//! of the sender, and a process keeps what it has as long as itself or any child of its needs it; then it releases it to its
//! own parent. So no count is ever told by two at once, and no message can overtake another that matters: each release goes
//! back the way the reference came. Where a parent is lost, its children turn to the owner instead, and where that is lost as
//! well they have no parent: there is nothing left to keep.
//!
//! **Invariants:** an object is freed at its owner only when no process has a reference, on its way or arrived, unless that
//! process is lost; a process that needs nothing any more has told so.

use std::collections::BTreeMap;

use actinic_gcs::{NodeId, ObjectId};

use crate::cluster::{gone::Gone, wire::ProcessId};

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum RefEffect {
    /// Tell a process that so many of the references it gave are not needed any more.
    Release {
        /// Whom.
        to: ProcessId,
        /// Of which object.
        object: ObjectId,
        /// How many.
        count: u32,
    },
    /// Ask the owner to keep the object for this process: whoever gave the reference is lost.
    Borrow {
        /// The owner.
        owner: ProcessId,
        /// The object.
        object: ObjectId,
    },
    /// This process owns the object, and no other needs it.
    Unpin(ObjectId),
    /// This process has nothing to do with the object any more.
    Forget(ObjectId),
}

struct Entry {
    owner: ProcessId,
    /// References in this process; an owner's own are not counted.
    local: u32,
    /// References sent and not released, by process.
    children: BTreeMap<ProcessId, u32>,
    /// Who gave the reference, and how many of them.
    parent: Option<(ProcessId, u32)>,
}

/// The state.
pub struct RefCore {
    me: ProcessId,
    entries: BTreeMap<ObjectId, Entry>,
    /// Who is lost: what is said to them or comes of them late changes nothing that nobody would mend.
    gone: Gone,
}

impl RefCore {
    /// Of the process `me`.
    #[must_use]
    pub fn new(me: ProcessId) -> Self {
        Self { me, entries: BTreeMap::new(), gone: Gone::default() }
    }

    // --- events ----------------------------------------------------------------------------------------------------

    /// A reference is about to be sent. True where this process owns the object and must keep it from now on.
    #[must_use]
    pub fn on_send(&mut self, object: ObjectId, owner: ProcessId, to: ProcessId) -> bool {
        if self.gone.contains(to) {
            // Nobody would ever give it back.
            return false;
        }
        let new = !self.entries.contains_key(&object);
        let entry = self.entries.entry(object).or_insert_with(|| Entry::of(owner));
        *entry.children.entry(to).or_insert(0) += 1;
        new && owner == self.me
    }

    /// A reference has come.
    pub fn on_receive(&mut self, object: ObjectId, owner: ProcessId, from: ProcessId, effects: &mut Vec<RefEffect>) {
        if owner == self.me {
            // It has come home: the owner's own references keep the object.
            return effects.push(RefEffect::Release { to: from, object, count: 1 });
        }
        let is_new = !self.entries.contains_key(&object);
        let entry = self.entries.entry(object).or_insert_with(|| Entry::of(owner));
        entry.local += 1;
        let lost = self.gone.contains(from);
        match &mut entry.parent {
            Some((parent, count)) if *parent == from => *count += 1,
            Some(_) => effects.push(RefEffect::Release { to: from, object, count: 1 }),
            None if !lost && (is_new || from == owner) => entry.parent = Some((from, 1)),
            None => {
                // An orphan's children, and theirs, must not become its parent: nobody in such a circle would ever be done.
                turn_to_owner(object, entry, &self.gone, effects);
                if !lost {
                    effects.push(RefEffect::Release { to: from, object, count: 1 });
                }
            }
        }
    }

    /// A reference in this process is gone.
    pub fn on_dropped(&mut self, object: ObjectId, effects: &mut Vec<RefEffect>) {
        if let Some(entry) = self.entries.get_mut(&object) {
            entry.local = entry.local.saturating_sub(1);
        }
        self.free_if_done(object, effects);
    }

    /// A child needs so many of its references no more.
    pub fn on_release(&mut self, object: ObjectId, from: ProcessId, count: u32, effects: &mut Vec<RefEffect>) {
        let Some(entry) = self.entries.get_mut(&object) else { return };
        if let Some(left) = entry.children.get_mut(&from) {
            *left = left.saturating_sub(count);
            if *left == 0 {
                entry.children.remove(&from);
            }
        }
        self.free_if_done(object, effects);
    }

    /// A process whose parent is lost turns to this one, the owner. False where the object is gone.
    pub fn on_borrow(&mut self, object: ObjectId, from: ProcessId) -> bool {
        if self.gone.contains(from) {
            return true;
        }
        let Some(entry) = self.entries.get_mut(&object) else { return false };
        *entry.children.entry(from).or_insert(0) += 1;
        true
    }

    /// A process has ended, and will never be heard of again but by what is under way. [`RefCore::on_gone`] comes after it; one
    /// that is only cut off may come back, and is not told of here.
    pub fn on_ended(&mut self, process: ProcessId) {
        self.gone.insert(process);
    }

    /// A process is lost: what it needed is needed no more, and what it gave must be kept by the owner.
    pub fn on_gone(&mut self, process: ProcessId, effects: &mut Vec<RefEffect>) {
        let touched: Vec<ObjectId> = self
            .entries
            .iter()
            .filter(|(_, entry)| {
                entry.children.contains_key(&process) || entry.parent.is_some_and(|(parent, _)| parent == process)
            })
            .map(|(object, _)| *object)
            .collect();
        for object in touched {
            let Some(entry) = self.entries.get_mut(&object) else { continue };
            entry.children.remove(&process);
            if entry.parent.is_some_and(|(parent, _)| parent == process) {
                turn_to_owner(object, entry, &self.gone, effects);
            }
            self.free_if_done(object, effects);
        }
    }

    /// Processes of a node that need an object of here, or gave this process what it needs.
    #[must_use]
    pub fn processes_on(&self, node: NodeId) -> Vec<ProcessId> {
        let all = self
            .entries
            .values()
            .flat_map(|entry| entry.children.keys().copied().chain(entry.parent.map(|(parent, _)| parent)));
        all.filter(|process| process.node == node).collect()
    }

    fn free_if_done(&mut self, object: ObjectId, effects: &mut Vec<RefEffect>) {
        let done = self.entries.get(&object).is_some_and(|entry| entry.local == 0 && entry.children.is_empty());
        if !done {
            return;
        }
        let Some(entry) = self.entries.remove(&object) else { return };
        if let Some((to, count)) = entry.parent {
            effects.push(RefEffect::Release { to, object, count });
        }
        effects.push(if entry.owner == self.me { RefEffect::Unpin(object) } else { RefEffect::Forget(object) });
    }

    /// Whether other processes have, of this one, references to what it owns or passes on.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        self.entries.values().any(|entry| !entry.children.is_empty())
    }

    // --- getters ---------------------------------------------------------------------------------------------------

    /// Objects that other processes need, or that this one needs of others.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Asserts every invariant that one process can see.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn sanity_check(&self) {
        for entry in self.entries.values() {
            assert!(entry.local > 0 || !entry.children.is_empty(), "what nobody needs is forgotten");
            assert!(entry.children.values().all(|count| *count > 0), "a child needs something");
            assert!(entry.owner != self.me || entry.parent.is_none(), "an owner has no parent");
        }
    }
}

/// Whoever gave the reference is lost: the owner is asked to keep the object, unless that is lost as well.
fn turn_to_owner(object: ObjectId, entry: &mut Entry, gone: &Gone, effects: &mut Vec<RefEffect>) {
    let lost = entry.parent.map(|(parent, _)| parent);
    entry.parent = (lost != Some(entry.owner) && !gone.contains(entry.owner)).then_some((entry.owner, 1));
    if entry.parent.is_some() {
        effects.push(RefEffect::Borrow { owner: entry.owner, object });
    }
}

impl Entry {
    fn of(owner: ProcessId) -> Self {
        Self { owner, local: 0, children: BTreeMap::new(), parent: None }
    }
}

#[cfg(test)]
mod tests;
