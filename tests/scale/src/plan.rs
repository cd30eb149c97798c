//! What drivers want done: their tasks, and which of them waits for which.
//!
//! Owns: the description of a program, and how far it has come. Invariant: a task ends once.

use std::{cell::Cell, rc::Rc};

use actinic_actors::cluster::{
    objects::wire::StoredId,
    submit::core::Queued,
    wire::{ClassSpec, ProcessId},
    work::InputBytes,
};
use actinic_gcs::{ResourceSet, TaskId};

use crate::world::SimRef;

/// One task, as its owner's core holds it and as it travels.
#[derive(Clone, Debug)]
pub(crate) struct SimTask {
    /// Its id.
    pub(crate) id: TaskId,
    /// Its number in its owner's program.
    pub(crate) number: u32,
    /// How long it runs.
    pub(crate) ran_ns: u64,
    /// How many tasks it submits itself, and waits for.
    pub(crate) children: u8,
    /// Bytes of its inputs, which travel with it.
    pub(crate) bytes: u64,
    /// References among its arguments, once it was sent.
    pub(crate) refs: Vec<SimRef>,
    /// A large object that it reads.
    pub(crate) input: Option<Box<SimInput>>,
    /// Whether somebody has the right to run it already; none where nobody but a worker ever does.
    pub(crate) claimed: Option<Rc<Cell<bool>>>,
}

/// A large object, as a task carries it.
#[derive(Clone, Debug)]
pub(crate) struct SimInput {
    /// Which.
    pub(crate) stored: StoredId,
    /// Who knows where it is.
    pub(crate) owner: ProcessId,
    /// How large it is.
    pub(crate) bytes: u64,
    /// Where it is, as far as the schedulers are told.
    pub(crate) known: InputBytes,
}

impl Queued for SimTask {
    fn id(&self) -> TaskId {
        self.id
    }

    fn claim(&self) -> bool {
        self.claimed.as_ref().is_none_or(|claimed| !claimed.replace(true))
    }

    fn inputs(&self) -> InputBytes {
        self.input.as_ref().map(|input| input.known.clone()).unwrap_or_default()
    }

    fn put_back(&self) -> bool {
        self.claimed.iter().for_each(|claimed| claimed.set(false));
        true
    }
}

/// One task of a graph.
#[derive(Clone, Debug, Default)]
pub(crate) struct Step {
    /// How long it runs.
    pub(crate) ran_ns: u64,
    /// The tasks whose results it needs.
    pub(crate) after: Vec<u32>,
    /// How many tasks it submits itself.
    pub(crate) children: u8,
    /// Its class among the plan's.
    pub(crate) class: usize,
    /// Bytes of its inputs.
    pub(crate) bytes: u64,
    /// Which of the plan's objects it reads.
    pub(crate) input: Option<u32>,
}

/// The tasks.
#[derive(Clone, Debug)]
pub(crate) enum Tasks {
    /// So many that are alike and independent.
    Equal {
        /// How many.
        count: u32,
        /// How long each runs.
        ran_ns: u64,
    },
    /// Any graph.
    Graph(Vec<Step>),
}

/// A driver's program.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The classes of its tasks.
    pub(crate) classes: Vec<ClassSpec>,
    /// Its tasks.
    pub(crate) tasks: Tasks,
    /// Large objects that are there: the node of each, and its bytes.
    pub(crate) objects: Vec<(u32, u64)>,
    /// Whether schedulers are told where the objects are.
    pub(crate) locality: bool,
    /// Added before a ready task reaches its core: a slow scheduler on each task's way.
    pub(crate) each_task_waits_ns: u64,
}

/// One CPU, anywhere.
pub(crate) fn plain() -> ClassSpec {
    ClassSpec {
        demand: ResourceSet::new().with(actinic_gcs::resources::CPU, 1.0),
        retriable: true,
        ..ClassSpec::default()
    }
}

impl Plan {
    /// Tasks of these classes, with no large objects.
    pub(crate) fn of(classes: Vec<ClassSpec>, tasks: Tasks) -> Self {
        Self { classes, tasks, objects: Vec::new(), locality: true, each_task_waits_ns: 0 }
    }

    /// Tasks that are alike, of one plain CPU each.
    pub(crate) fn equal(count: u32, ran_ns: u64) -> Self {
        Self::of(vec![plain()], Tasks::Equal { count, ran_ns })
    }

    /// How many tasks there are.
    pub(crate) fn len(&self) -> u32 {
        match &self.tasks {
            Tasks::Equal { count, .. } => *count,
            Tasks::Graph(steps) => steps.len() as u32,
        }
    }

    /// One task, its class, and which of the objects it reads.
    pub(crate) fn task(&self, driver: TaskId, number: u32) -> (SimTask, usize, Option<u32>) {
        let id = driver.child(u64::from(number));
        let (ran_ns, children, class, bytes, object) = match &self.tasks {
            Tasks::Equal { ran_ns, .. } => (*ran_ns, 0, 0, 0, None),
            Tasks::Graph(steps) => {
                let Step { ran_ns, children, class, bytes, input, .. } = steps[number as usize];
                (ran_ns, children, class, bytes, input)
            }
        };
        (SimTask { id, number, ran_ns, children, bytes, refs: Vec::new(), input: None, claimed: None }, class, object)
    }
}

/// How far a program has come.
#[derive(Debug)]
pub(crate) struct Progress {
    ended: Vec<bool>,
    missing: Vec<u32>,
    dependents: Vec<Vec<u32>>,
    /// Tasks that have ended.
    pub(crate) done: u32,
    /// Those of them that failed for good.
    pub(crate) failed: u32,
}

impl Progress {
    /// Nothing has ended. Gives the tasks that may begin as well.
    pub(crate) fn new(plan: &Plan) -> (Self, Vec<u32>) {
        let count = plan.len() as usize;
        let (mut missing, mut dependents) = (Vec::new(), Vec::new());
        if let Tasks::Graph(steps) = &plan.tasks {
            missing = steps.iter().map(|step| step.after.len() as u32).collect();
            dependents = vec![Vec::new(); count];
            for (number, step) in steps.iter().enumerate() {
                step.after.iter().for_each(|before| dependents[*before as usize].push(number as u32));
            }
        }
        let first = (0..count as u32).filter(|number| missing.get(*number as usize).is_none_or(|left| *left == 0));
        let first = first.collect();
        (Self { ended: vec![false; count], missing, dependents, done: 0, failed: 0 }, first)
    }

    /// A task has ended: gives those that may begin now.
    ///
    /// # Panics
    /// If it has ended before.
    pub(crate) fn on_end(&mut self, number: u32, failed: bool) -> Vec<u32> {
        let before = std::mem::replace(&mut self.ended[number as usize], true);
        assert!(!before, "task {number} has ended twice");
        self.done += 1;
        self.failed += u32::from(failed);
        let mut ready = Vec::new();
        if let Some(dependents) = self.dependents.get(number as usize) {
            for next in dependents {
                let left = &mut self.missing[*next as usize];
                *left -= 1;
                if *left == 0 {
                    ready.push(*next);
                }
            }
        }
        ready
    }

    /// Whether all have ended.
    pub(crate) fn is_over(&self) -> bool {
        self.done as usize == self.ended.len()
    }

    /// Tasks that have not ended.
    pub(crate) fn left(&self) -> Vec<u32> {
        (0..self.ended.len() as u32).filter(|number| !self.ended[*number as usize]).collect()
    }
}
