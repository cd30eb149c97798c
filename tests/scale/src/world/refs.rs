//! References between processes: in arguments, in results, inside of objects, and kept by programs.
//!
//! Owns: what `core_worker/export.rs`, `ears.rs` and `core_worker.rs` do with what `RefCore` decides, programs that pass
//! references around at random, and the truth: who can reach which object. Objects of this module have no bytes; those with
//! bytes are in [`super::objects`].
//!
//! What must hold: an object is not freed while a process that lives can reach it, or a message to one can bring it there, unless
//! a process was lost through whose hands it went; in the end nothing is left, whoever was lost.

use std::collections::{BTreeMap, BTreeSet};

use actinic_actors::cluster::{
    refs::core::{RefCore, RefEffect},
    wire::ProcessId,
};
use actinic_gcs::{NodeId, ObjectId, TaskId};

use super::{events::Data, World};

/// What a driver's program keeps at a time, and what a worker's does.
const KEPT_MAX: [usize; 2] = [12, 6];

/// A reference that travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SimRef {
    object: ObjectId,
    owner: ProcessId,
}

/// A reference as a process has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handle {
    /// To an object of its own.
    Own(ObjectId),
    /// To another's: which arrival brought it.
    Foreign(u64, SimRef),
}

/// An object of a process.
#[derive(Debug, Default)]
struct Own {
    users: u32,
    pinned: bool,
    inside: Vec<Handle>,
}

/// All that a process has.
pub(super) struct References {
    core: RefCore,
    own: BTreeMap<ObjectId, Own>,
    foreign: BTreeMap<u64, u32>,
    arrivals: u64,
    puts: u32,
    /// What its program keeps as long as it pleases.
    kept: Vec<Handle>,
    /// What tasks of this process take that are not done.
    args: BTreeMap<TaskId, Vec<Handle>>,
    /// What tasks of others have brought here.
    here: BTreeMap<TaskId, Vec<Handle>>,
    /// What is asked for.
    fetching: Vec<(ObjectId, Handle)>,
    /// Every object that went through this process's hands.
    touched: BTreeSet<ObjectId>,
    /// Whom it has spoken to.
    ways: BTreeSet<ProcessId>,
}

impl References {
    pub(super) fn new(me: ProcessId) -> Self {
        Self {
            core: RefCore::new(me),
            own: BTreeMap::new(),
            foreign: BTreeMap::new(),
            arrivals: 0,
            puts: 0,
            kept: Vec::new(),
            args: BTreeMap::new(),
            here: BTreeMap::new(),
            fetching: Vec::new(),
            touched: BTreeSet::new(),
            ways: BTreeSet::new(),
        }
    }

    /// Those on a node to whom it has spoken, or who are counted.
    pub(super) fn known_on(&self, node: NodeId) -> Vec<ProcessId> {
        let spoken_to = self.ways.iter().copied().filter(|process| process.node == node);
        spoken_to.chain(self.core.processes_on(node)).collect()
    }

    pub(super) fn ended(&mut self, process: ProcessId) {
        self.core.on_ended(process);
    }

    pub(super) fn knows(&mut self, process: ProcessId) {
        self.ways.insert(process);
    }

    fn reaches(&self, object: ObjectId) -> bool {
        let holds = |handle: &Handle| matches!(handle, Handle::Foreign(_, there) if there.object == object);
        let all = self.kept.iter().chain(self.args.values().flatten()).chain(self.here.values().flatten());
        let inside = self.own.values().flat_map(|own| &own.inside);
        all.chain(inside).chain(self.fetching.iter().map(|(_, handle)| handle)).any(holds)
    }

    /// Whether others have references of this process's.
    pub(super) fn is_needed(&self) -> bool {
        self.core.is_needed()
    }

    fn is_empty(&self) -> bool {
        self.core.is_empty() && self.own.is_empty() && self.foreign.is_empty()
    }
}

/// What is known of all references.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// References that are on their way to a process.
    flying: BTreeMap<(ObjectId, ProcessId), u32>,
    /// Objects that went through the hands of a process that was lost.
    tainted: BTreeSet<ObjectId>,
    /// What did not hold.
    pub(super) wrong: Vec<String>,
    /// References that were sent.
    pub(super) sent: u64,
    /// In which order tasks were submitted.
    born: BTreeMap<TaskId, u64>,
}

impl Truth {
    /// What an object may be inside of: one of a higher rank. Circles of references never end, here as in Ray, and are not made.
    fn rank(&self, object: ObjectId) -> (u64, bool) {
        (self.born.get(&object.task).copied().unwrap_or(u64::MAX), !object.is_put())
    }
}

impl World {
    fn refs(&mut self, process: u32) -> &mut References {
        &mut self.procs[process as usize].refs
    }

    fn ref_one_in(&mut self, times: u64) -> bool {
        self.settings.refs && self.rng.one_in(times)
    }

    // --- handles -----------------------------------------------------------------------------------------------------

    fn ref_use(&mut self, process: u32, handle: Handle) {
        let refs = self.refs(process);
        match handle {
            Handle::Own(object) => refs.own.entry(object).or_default().users += 1,
            Handle::Foreign(arrival, _) => *refs.foreign.entry(arrival).or_insert(0) += 1,
        }
    }

    fn ref_drop(&mut self, process: u32, handle: Handle) {
        let refs = self.refs(process);
        match handle {
            Handle::Own(object) => {
                if let Some(own) = refs.own.get_mut(&object) {
                    own.users = own.users.saturating_sub(1);
                }
                self.free_if_unused(process, object);
            }
            Handle::Foreign(arrival, there) => {
                let Some(users) = refs.foreign.get_mut(&arrival) else { return };
                *users -= 1;
                if *users == 0 {
                    refs.foreign.remove(&arrival);
                    let mut effects = Vec::new();
                    refs.core.on_dropped(there.object, &mut effects);
                    self.ref_effects(process, effects);
                }
            }
        }
    }

    fn free_if_unused(&mut self, process: u32, object: ObjectId) {
        let unused = |own: &&mut Own| own.users == 0 && !own.pinned;
        let refs = self.refs(process);
        if refs.own.get_mut(&object).filter(unused).is_none() {
            return;
        }
        let inside = refs.own.remove(&object).map(|own| own.inside).unwrap_or_default();
        self.look_whether_early(object);
        inside.into_iter().for_each(|handle| self.ref_drop(process, handle));
    }

    fn look_whether_early(&mut self, object: ObjectId) {
        if self.truth.tainted.contains(&object) {
            return;
        }
        let reach = self.procs.iter().find(|proc| proc.alive && proc.refs.reaches(object)).map(|proc| proc.id);
        let to = self.truth.flying.keys().find(|(flying, _)| *flying == object).map(|(_, to)| *to);
        if let Some(who) = reach.or(to) {
            self.truth.wrong.push(format!("object {object} was freed while {who} can reach it"));
        }
    }

    // --- sending and receiving ---------------------------------------------------------------------------------------

    fn ref_send(&mut self, process: u32, handle: Handle, to: ProcessId) -> SimRef {
        let me = self.procs[process as usize].id;
        let refs = &mut self.procs[process as usize].refs;
        let there = match handle {
            Handle::Own(object) => SimRef { object, owner: me },
            Handle::Foreign(_, there) => there,
        };
        refs.touched.insert(there.object);
        if refs.core.on_send(there.object, there.owner, to) {
            refs.own.entry(there.object).or_default().pinned = true;
        }
        if self.by_id.get(&to).is_some_and(|number| self.procs[*number as usize].alive) {
            *self.truth.flying.entry((there.object, to)).or_insert(0) += 1;
        }
        self.truth.sent += 1;
        there
    }

    fn ref_receive(&mut self, process: u32, from: ProcessId, there: SimRef) -> Handle {
        let me = self.procs[process as usize].id;
        if let Some(flying) = self.truth.flying.get_mut(&(there.object, me)) {
            *flying -= 1;
            if *flying == 0 {
                self.truth.flying.remove(&(there.object, me));
            }
        }
        let refs = &mut self.procs[process as usize].refs;
        refs.touched.insert(there.object);
        let mut effects = Vec::new();
        refs.core.on_receive(there.object, there.owner, from, &mut effects);
        let handle = if there.owner == me {
            if !refs.own.contains_key(&there.object) && !self.truth.tainted.contains(&there.object) {
                self.truth.wrong.push(format!("object {} came home, and is gone", there.object));
            }
            Handle::Own(there.object)
        } else {
            refs.arrivals += 1;
            Handle::Foreign(refs.arrivals, there)
        };
        // Before the effects are carried out, which may unpin it.
        self.ref_use(process, handle);
        self.ref_effects(process, effects);
        handle
    }

    fn ref_effects(&mut self, process: u32, effects: Vec<RefEffect>) {
        for effect in effects {
            match effect {
                RefEffect::Release { to, object, count } => {
                    self.send_data(process, to, vec![Data::Release(object, count)]);
                }
                RefEffect::Borrow { owner, object } => self.send_data(process, owner, vec![Data::Borrow(object)]),
                RefEffect::Unpin(object) => {
                    if let Some(own) = self.refs(process).own.get_mut(&object) {
                        own.pinned = false;
                    }
                    self.free_if_unused(process, object);
                }
                RefEffect::Forget(_) => {}
            }
        }
        if self.settings.check {
            self.refs(process).core.sanity_check();
        }
    }

    /// Another process says something of references.
    pub(super) fn hear_of_refs(&mut self, process: u32, from: ProcessId, data: Data) {
        let mut effects = Vec::new();
        match data {
            Data::Release(object, count) => self.refs(process).core.on_release(object, from, count, &mut effects),
            Data::Borrow(object) => {
                let kept = self.refs(process).core.on_borrow(object, from);
                if !kept && !self.truth.tainted.contains(&object) {
                    self.truth.wrong.push(format!("{from} asks for object {object}, which is gone"));
                }
            }
            Data::Fetch(object) => self.answer_fetch(process, from, object),
            Data::Object(object, inside) => {
                // What comes lives as long as its reader: here, as long as it is looked at.
                let inside: Vec<Handle> = inside.into_iter().map(|one| self.ref_receive(process, from, one)).collect();
                let fetching = &mut self.refs(process).fetching;
                let at = fetching.iter().position(|(wanted, _)| *wanted == object);
                let wanted = at.map(|at| fetching.swap_remove(at).1);
                inside.into_iter().for_each(|handle| self.keep_or_drop(process, handle));
                wanted.into_iter().for_each(|handle| self.ref_drop(process, handle));
            }
            _ => {}
        }
        self.ref_effects(process, effects);
    }

    fn answer_fetch(&mut self, process: u32, from: ProcessId, object: ObjectId) {
        let inside = self.refs(process).own.get(&object).map(|own| own.inside.clone());
        if inside.is_none() && !self.truth.tainted.contains(&object) {
            self.truth.wrong.push(format!("{from} reads object {object}, which is gone"));
        }
        let inside = inside.unwrap_or_default().into_iter().map(|handle| self.ref_send(process, handle, from));
        let inside = inside.collect();
        self.send_data(process, from, vec![Data::Object(object, inside)]);
    }

    fn keep_or_drop(&mut self, process: u32, handle: Handle) {
        let max = KEPT_MAX[usize::from(!self.procs[process as usize].is_driver)];
        if !self.ref_one_in(3) {
            return self.ref_drop(process, handle);
        }
        self.refs(process).kept.push(handle);
        if self.refs(process).kept.len() > max {
            let at = self.rng.below(max as u64) as usize;
            let dropped = self.refs(process).kept.swap_remove(at);
            self.ref_drop(process, dropped);
        }
    }

    // --- tasks -------------------------------------------------------------------------------------------------------

    /// A driver submits a task: it takes some of what the program keeps, and its result is kept.
    pub(super) fn task_takes(&mut self, process: u32, task: TaskId) {
        if !self.settings.refs {
            return;
        }
        let born = self.truth.born.len() as u64;
        self.truth.born.entry(task).or_insert(born);
        let mut taken = Vec::new();
        for _ in 0..self.rng.below(3) {
            let count = self.refs(process).kept.len() as u64;
            let at = self.rng.below(count) as usize;
            taken.extend(self.refs(process).kept.get(at).copied());
        }
        taken.iter().for_each(|handle| self.ref_use(process, *handle));
        self.refs(process).args.insert(task, taken);
        let result = Handle::Own(ObjectId::of_return(task, 0));
        self.ref_use(process, result);
        self.refs(process).kept.push(result);
        if self.refs(process).kept.len() > KEPT_MAX[0] {
            let at = self.rng.below(KEPT_MAX[0] as u64) as usize;
            let dropped = self.refs(process).kept.swap_remove(at);
            self.ref_drop(process, dropped);
        }
    }

    /// A task is sent: so is what it takes.
    pub(super) fn send_args(&mut self, process: u32, task: TaskId, to: ProcessId) -> Vec<SimRef> {
        let args = self.refs(process).args.get(&task).cloned().unwrap_or_default();
        args.into_iter().map(|handle| self.ref_send(process, handle, to)).collect()
    }

    /// A task of this process is done, or never will be.
    pub(super) fn task_left(&mut self, process: u32, task: TaskId) {
        let args = self.refs(process).args.remove(&task).unwrap_or_default();
        args.into_iter().for_each(|handle| self.ref_drop(process, handle));
    }

    /// A task of another process has come; one of what it takes may be read.
    pub(super) fn args_came(&mut self, process: u32, from: ProcessId, task: TaskId, refs: &[SimRef]) {
        if refs.is_empty() {
            return;
        }
        let came: Vec<Handle> = refs.iter().map(|there| self.ref_receive(process, from, *there)).collect();
        for handle in &came {
            let Handle::Foreign(_, there) = *handle else { continue };
            if self.ref_one_in(3) {
                self.ref_use(process, *handle);
                self.refs(process).fetching.push((there.object, *handle));
                self.send_data(process, there.owner, vec![Data::Fetch(there.object)]);
            }
        }
        self.refs(process).here.entry(task).or_default().extend(came);
    }

    /// A task that has come goes back unbegun.
    pub(super) fn args_left(&mut self, process: u32, task: TaskId) {
        let here = self.refs(process).here.remove(&task).unwrap_or_default();
        here.into_iter().for_each(|handle| self.ref_drop(process, handle));
    }

    /// A task has been run: what its result refers to is sent, and the rest is kept or dropped.
    pub(super) fn send_result(&mut self, process: u32, task: TaskId, to: ProcessId) -> Vec<SimRef> {
        if !self.settings.refs {
            return Vec::new();
        }
        let mut here = self.refs(process).here.remove(&task).unwrap_or_default();
        let result = self.truth.rank(ObjectId::of_return(task, 0));
        let rank_of = |truth: &Truth, handle: &Handle| match handle {
            Handle::Own(object) | Handle::Foreign(_, SimRef { object, .. }) => truth.rank(*object),
        };
        if result.0 < u64::MAX && self.ref_one_in(3) {
            let number = self.refs(process).puts;
            self.refs(process).puts += 1;
            let put = ObjectId::of_put(task, number);
            self.ref_use(process, Handle::Own(put));
            let older = here.iter().find(|handle| rank_of(&self.truth, handle) < (result.0, false)).copied();
            if let Some(inside) = older {
                self.ref_use(process, inside);
                self.refs(process).own.entry(put).or_default().inside.push(inside);
            }
            here.push(Handle::Own(put));
        }
        let all = here.iter().chain(&self.procs[process as usize].refs.kept).copied();
        let known: Vec<Handle> = all.filter(|handle| rank_of(&self.truth, handle) < result).collect();
        let count = self.rng.below(3);
        let chosen: Vec<Handle> =
            (0..count).filter_map(|_| known.get(self.rng.below(known.len() as u64) as usize).copied()).collect();
        let sent = chosen.into_iter().map(|handle| self.ref_send(process, handle, to)).collect();
        here.into_iter().for_each(|handle| self.keep_or_drop(process, handle));
        sent
    }

    /// A result has come, of a task if that was awaited: it holds what it refers to, if somebody holds it still.
    pub(super) fn result_came(&mut self, process: u32, from: ProcessId, task: Option<TaskId>, refs: &[SimRef]) {
        let came: Vec<Handle> = refs.iter().map(|there| self.ref_receive(process, from, *there)).collect();
        match task.and_then(|task| self.refs(process).own.get_mut(&ObjectId::of_return(task, 0))) {
            Some(own) => own.inside.extend(came),
            None => came.into_iter().for_each(|handle| self.ref_drop(process, handle)),
        }
    }

    // --- losses and the end ------------------------------------------------------------------------------------------

    /// A process ends that has said that nobody needs it: nobody can reach what it owns.
    pub(super) fn refs_part(&mut self, process: u32) {
        let refs = self.refs(process);
        refs.touched.clear();
        let own: Vec<ObjectId> = std::mem::take(&mut refs.own).into_keys().collect();
        refs.kept.clear();
        own.into_iter().for_each(|object| self.look_whether_early(object));
    }

    /// A process is lost, with all that it holds.
    pub(super) fn refs_lost(&mut self, process: u32) {
        let id = self.procs[process as usize].id;
        self.truth.flying.retain(|(_, to), _| *to != id);
        let touched = std::mem::take(&mut self.refs(process).touched);
        self.truth.tainted.extend(touched);
    }

    /// A process hears that another is gone.
    pub(super) fn refs_gone(&mut self, process: u32, gone: ProcessId) {
        let mut effects = Vec::new();
        self.refs(process).core.on_gone(gone, &mut effects);
        self.ref_effects(process, effects);
        let of_gone = |handle: &Handle| matches!(handle, Handle::Foreign(_, there) if there.owner == gone);
        let fetching = std::mem::take(&mut self.refs(process).fetching);
        let (lost, left): (Vec<_>, Vec<_>) = fetching.into_iter().partition(|(_, handle)| of_gone(handle));
        self.refs(process).fetching = left;
        lost.into_iter().for_each(|(_, handle)| self.ref_drop(process, handle));
    }

    /// All programs let go of what they keep.
    pub(crate) fn drop_all_refs(&mut self) {
        for process in 0..self.procs.len() as u32 {
            if self.procs[process as usize].alive {
                let kept = std::mem::take(&mut self.refs(process).kept);
                kept.into_iter().for_each(|handle| self.ref_drop(process, handle));
            }
        }
        self.settings.refs = false;
    }

    /// What is wrong once all programs have let go; and how many references were sent.
    pub(crate) fn refs_left(&self) -> (Vec<String>, u64) {
        let mut wrong = self.truth.wrong.clone();
        for proc in self.procs.iter().filter(|proc| proc.alive && !proc.refs.is_empty()) {
            let refs = &proc.refs;
            let (own, foreign) = (refs.own.len(), refs.foreign.len());
            wrong.push(format!(
                "{}: {own} objects, {foreign} references and {} entries are left",
                proc.id,
                refs.core.len()
            ));
        }
        (wrong, self.truth.sent)
    }
}
