//! Task specs: the nodes of the task graph, and the lineage from which lost objects are rebuilt.
//!
//! Owns: what one execution needs to run again anywhere. Invariants: a spec is immutable once submitted; its data edges
//! are its arguments by reference, its control edge is `parent`, its stateful edge is `previous` of an actor call.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::{
    de::{SeqAccess, Visitor},
    Deserialize, Deserializer, Serialize,
};
use smallvec::SmallVec;

use super::{LabelSelector, Limit};
use crate::{ActorId, FunctionId, JobId, NodeId, ObjectId, PlacementGroupId, ResourceSet, TaskId};

/// One execution of a remote function, an actor's constructor or an actor's method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The task's own id, derived from its parent's.
    pub id: TaskId,
    /// The task that submitted it (the control edge); for a driver's tasks, [`TaskId::driver`].
    pub parent: TaskId,
    /// The job that it belongs to.
    pub job: JobId,
    /// The function or method to run.
    pub function: FunctionId,
    /// The function's name, for people.
    pub name: Arc<str>,
    /// The arguments in order.
    #[serde(deserialize_with = "arguments")]
    pub args: SmallVec<[TaskArg; 2]>,
    /// How many objects it returns.
    pub num_returns: u32,
    /// What it holds while it runs.
    pub demand: Arc<ResourceSet>,
    /// How often it may run again after its worker or node was lost.
    pub max_retries: Limit,
    /// Whether an error or panic of the function counts as a reason to retry.
    pub retry_exceptions: bool,
    /// Where it may run.
    pub scheduling: SchedulingStrategy,
    /// Whether it is a plain task or belongs to an actor.
    pub kind: TaskKind,
}

/// Arguments as they come: left to itself, a `SmallVec` makes room at once for as many as a list claims to have.
fn arguments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SmallVec<[TaskArg; 2]>, D::Error> {
    struct AsTheyCome;

    impl<'de> Visitor<'de> for AsTheyCome {
        type Value = SmallVec<[TaskArg; 2]>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the arguments of a task")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut args = SmallVec::new();
            while let Some(arg) = list.next_element()? {
                args.push(arg);
            }
            Ok(args)
        }
    }

    deserializer.deserialize_seq(AsTheyCome)
}

/// What a task is to an actor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskKind {
    /// A stateless task.
    #[default]
    Plain,
    /// The constructor of `actor`.
    ActorCreation {
        /// The actor that it makes.
        actor: ActorId,
    },
    /// A method call.
    ActorCall {
        /// The actor called.
        actor: ActorId,
        /// The call's number among its caller's calls on this actor, from 0.
        sequence: u64,
        /// The same caller's call before it on this actor (the stateful edge).
        previous: Option<TaskId>,
    },
}

/// One argument of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskArg {
    /// A small value, encoded.
    Inline(Bytes),
    /// An object, by reference.
    Object(ObjectId),
    /// A list of objects, by reference.
    Objects(Vec<ObjectId>),
}

/// Where a task or actor may run; Ray's strategies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SchedulingStrategy {
    /// Wherever it is estimated to finish first.
    #[default]
    Default,
    /// As evenly over the nodes as can be.
    Spread,
    /// On one node.
    NodeAffinity {
        /// The node wanted.
        node: NodeId,
        /// Whether another node will do when that one is gone or full.
        soft: bool,
    },
    /// Out of what a placement group has reserved.
    PlacementGroup {
        /// The group.
        group: PlacementGroupId,
        /// The bundle wanted, or any.
        bundle: Option<u32>,
    },
    /// On nodes whose labels fit.
    NodeLabels {
        /// Labels that a node must fit.
        hard: LabelSelector,
        /// Labels that are preferred among nodes that fit the hard ones.
        soft: LabelSelector,
    },
}

impl TaskSpec {
    /// The objects that it returns, in order.
    pub fn returns(&self) -> impl Iterator<Item = ObjectId> {
        let id = self.id;
        (0..self.num_returns).map(move |index| ObjectId::of_return(id, index))
    }

    /// The objects that it needs (its data edges), in argument order, repeats included.
    pub fn dependencies(&self) -> impl Iterator<Item = ObjectId> + '_ {
        self.args.iter().flat_map(|arg| arg.objects().iter().copied())
    }

    /// The actor that it makes or calls.
    #[must_use]
    pub fn actor(&self) -> Option<ActorId> {
        match self.kind {
            TaskKind::Plain => None,
            TaskKind::ActorCreation { actor } | TaskKind::ActorCall { actor, .. } => Some(actor),
        }
    }
}

impl TaskArg {
    /// The objects that the argument refers to.
    #[must_use]
    pub fn objects(&self) -> &[ObjectId] {
        match self {
            Self::Inline(_) => &[],
            Self::Object(object) => std::slice::from_ref(object),
            Self::Objects(objects) => objects,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{record, testing::task};

    #[test]
    fn a_task_spec_survives_its_record() {
        let mut spec = task(7);
        spec.args.push(TaskArg::Inline(Bytes::from_static(b"\xffvalue")));
        spec.args.push(TaskArg::Objects(vec![ObjectId::of_put(spec.id, 3), ObjectId::of_return(spec.parent, 1)]));
        spec.kind = TaskKind::ActorCall { actor: ActorId(9), sequence: 4, previous: Some(TaskId(2)) };
        spec.scheduling = SchedulingStrategy::PlacementGroup { group: PlacementGroupId(5), bundle: Some(1) };
        let bytes = record::encode(&spec).unwrap();
        assert_eq!(record::decode::<TaskSpec>(&bytes).unwrap(), spec);
    }

    #[test]
    fn inline_bytes_are_encoded_as_bytes_and_not_one_by_one() {
        let mut spec = task(7);
        let before = record::encode(&spec).unwrap().len();
        spec.args.push(TaskArg::Inline(Bytes::from(vec![0xff; 1_000])));
        assert!(record::encode(&spec).unwrap().len() < before + 1_020);
    }

    #[test]
    fn data_edges_are_the_arguments_by_reference() {
        let mut spec = task(7);
        let objects: Vec<_> = (0..3).map(|index| ObjectId::of_return(spec.parent, index)).collect();
        spec.args.clear();
        spec.args.push(TaskArg::Object(objects[0]));
        spec.args.push(TaskArg::Inline(Bytes::new()));
        spec.args.push(TaskArg::Objects(objects[1..].to_vec()));
        assert_eq!(spec.dependencies().collect::<Vec<_>>(), objects);
        assert_eq!(spec.actor(), None);
    }

    #[test]
    fn returns_are_numbered_from_zero() {
        let mut spec = task(7);
        spec.num_returns = 2;
        let expected = [ObjectId::of_return(spec.id, 0), ObjectId::of_return(spec.id, 1)];
        assert_eq!(spec.returns().collect::<Vec<_>>(), expected);
    }
}
