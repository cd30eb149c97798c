//! Results of remote calls: one object, one for each element of a tuple, `n` for a vector, or a stream of them.
//!
//! Owns: where results are put and what references the caller gets for them.

use std::sync::Arc;

use actinic_actors::{
    cell::{Slot, Stored},
    cluster::objects::Portable,
    context,
    error::{TaskError, TaskErrorKind},
    node::Node,
    options::TaskOptions,
    task::Object,
};
use actinic_gcs::{ObjectId, TaskId};
use futures::future::{self, BoxFuture, FutureExt};

use crate::{
    data::Data,
    foreign::came,
    object_ref::{seal, ObjectCell, ObjectRef},
    task_cell::{Invoke, TaskCell},
};

/// Where a task's results go.
pub trait Output: Send + Sync + Sized + 'static {
    /// What the function returns, without its `Result`.
    type Value: Send;
    /// What the caller gets.
    type Refs;
    /// Places for the results of `task`.
    fn new(task: TaskId, options: Option<&TaskOptions>) -> Self;
    /// Puts the results in place.
    ///
    /// # Errors
    /// Why they cannot be objects; the places are still empty then.
    fn fill(&self, node: &Arc<Node>, task: TaskId, value: Self::Value) -> Result<(), TaskError>;
    /// As [`Output::fill`], for an async task.
    fn fill_async<'a>(
        &'a self,
        node: &'a Arc<Node>,
        task: TaskId,
        value: Self::Value,
    ) -> BoxFuture<'a, Result<(), TaskError>> {
        future::ready(self.fill(node, task, value)).boxed()
    }
    /// Whether a task with such results can run in another process.
    const CAN_LEAVE: bool = true;
    /// Puts results in place that another process has made.
    ///
    /// # Errors
    /// That their number is not what it should be.
    fn fill_encoded(&self, parts: Vec<Portable>) -> Result<(), TaskError>;
    /// The places, as objects.
    fn objects<K: Invoke<Out = Self>>(cell: &Arc<TaskCell<K>>) -> Vec<Arc<dyn Object>>;
    /// Puts an error in each place that is empty.
    fn fail(&self, error: TaskError);
    /// Wakes a task that waits to put a result in place: it was cancelled.
    fn nudge(&self) {}
    /// The caller's references.
    fn refs<K: Invoke<Out = Self>>(cell: &Arc<TaskCell<K>>) -> Self::Refs;
    /// References that give `error`.
    fn failed(error: TaskError) -> Self::Refs;
}

fn seal_here<T: Data>(node: &Arc<Node>, id: ObjectId, value: T) -> Result<Stored<T>, TaskError> {
    context::with_thread(|thread| seal(node, &thread.counters, id, value))?
}

/// Exactly as many as there are places.
fn exactly<const N: usize>(parts: Vec<Portable>) -> Result<[Portable; N], TaskError> {
    let found = parts.len();
    parts.try_into().map_err(|_| wrong_number(N, found))
}

fn wrong_number(expected: usize, found: usize) -> TaskError {
    let message = format!("{expected} results were expected of another process, and {found} came");
    TaskErrorKind::Codec { type_name: "the results of a task".to_owned(), message }.into()
}

/// One object.
pub struct Single<T>(pub(crate) Slot<T>);

impl<T: Data> Output for Single<T> {
    type Value = T;
    type Refs = ObjectRef<T>;

    fn new(_task: TaskId, _options: Option<&TaskOptions>) -> Self {
        Self(Slot::default())
    }

    fn fill(&self, node: &Arc<Node>, task: TaskId, value: T) -> Result<(), TaskError> {
        let stored = seal_here(node, ObjectId::of_return(task, 0), value)?;
        self.0.fill(Ok(stored));
        Ok(())
    }

    fn fill_encoded(&self, parts: Vec<Portable>) -> Result<(), TaskError> {
        let [parts] = exactly(parts)?;
        self.0.fill(Ok(came(parts)));
        Ok(())
    }

    fn objects<K: Invoke<Out = Self>>(cell: &Arc<TaskCell<K>>) -> Vec<Arc<dyn Object>> {
        vec![cell.clone()]
    }

    fn fail(&self, error: TaskError) {
        self.0.fill(Err(error));
    }

    fn refs<K: Invoke<Out = Self>>(cell: &Arc<TaskCell<K>>) -> ObjectRef<T> {
        ObjectRef::of(cell.clone())
    }

    fn failed(error: TaskError) -> ObjectRef<T> {
        ObjectRef::failed(error)
    }
}

macro_rules! tuple_output {
    ($name:ident, $count:literal: $($part:ident $at:tt),+) => {
        #[doc = concat!("An object for each of ", $count, " elements of a tuple.")]
        pub struct $name<$($part),+>($(Arc<ObjectCell<$part>>),+);

        impl<$($part: Data),+> Output for $name<$($part),+> {
            type Value = ($($part,)+);
            type Refs = ($(ObjectRef<$part>,)+);

            fn new(task: TaskId, _options: Option<&TaskOptions>) -> Self {
                Self($(ObjectCell::pending(ObjectId::of_return(task, $at))),+)
            }

            fn fill(&self, node: &Arc<Node>, _task: TaskId, value: Self::Value) -> Result<(), TaskError> {
                let sealed = ($(seal_here(node, self.$at.id(), value.$at)?,)+);
                $(self.$at.fill(Ok(sealed.$at));)+
                Ok(())
            }

            fn fill_encoded(&self, parts: Vec<Portable>) -> Result<(), TaskError> {
                let all: [Portable; [$($at),+].len()] = exactly(parts)?;
                let mut all = all.into_iter();
                $(if let Some(parts) = all.next() {
                    self.$at.fill(Ok(came(parts)));
                })+
                Ok(())
            }

            fn objects<K: Invoke<Out = Self>>(cell: &Arc<TaskCell<K>>) -> Vec<Arc<dyn Object>> {
                let all = cell.output();
                vec![$(all.$at.clone()),+]
            }

            fn fail(&self, error: TaskError) {
                $(self.$at.fill(Err(error.clone()));)+
            }

            fn refs<K: Invoke<Out = Self>>(cell: &Arc<TaskCell<K>>) -> Self::Refs {
                let all = cell.output();
                $(all.$at.set_producer(cell.clone());)+
                ($(ObjectRef::of(all.$at.clone()),)+)
            }

            fn failed(error: TaskError) -> Self::Refs {
                ($(ObjectRef::<$part>::failed(error.clone()),)+)
            }
        }
    };
}

tuple_output!(Pair, "two": A 0, B 1);
tuple_output!(Triple, "three": A 0, B 1, C 2);
tuple_output!(Quadruple, "four": A 0, B 1, C 2, D 3);
tuple_output!(Quintuple, "five": A 0, B 1, C 2, D 3, E 4);
tuple_output!(Sextuple, "six": A 0, B 1, C 2, D 3, E 4, F 5);

/// As many objects as `num_returns` says, one for each element of a vector.
pub struct Many<T>(Vec<Arc<ObjectCell<T>>>);

impl<T: Data> Output for Many<T> {
    type Value = Vec<T>;
    type Refs = Vec<ObjectRef<T>>;

    fn new(task: TaskId, options: Option<&TaskOptions>) -> Self {
        let count = options.and_then(|options| options.num_returns).unwrap_or(1);
        Self((0..count).map(|at| ObjectCell::pending(ObjectId::of_return(task, at as u32))).collect())
    }

    fn fill(&self, node: &Arc<Node>, task: TaskId, value: Vec<T>) -> Result<(), TaskError> {
        if value.len() != self.0.len() {
            let message = format!("num_returns is {} and the task gave {} values", self.0.len(), value.len());
            let (task, node) = (task.to_string(), node.name.clone());
            return Err(TaskErrorKind::Failed { task, node, message, causes: Vec::new() }.into());
        }
        let sealed: Result<Vec<_>, _> =
            self.0.iter().zip(value).map(|(cell, value)| seal_here(node, cell.id(), value)).collect();
        for (cell, stored) in self.0.iter().zip(sealed?) {
            cell.fill(Ok(stored));
        }
        Ok(())
    }

    fn fill_encoded(&self, parts: Vec<Portable>) -> Result<(), TaskError> {
        if parts.len() != self.0.len() {
            return Err(wrong_number(self.0.len(), parts.len()));
        }
        for (cell, parts) in self.0.iter().zip(parts) {
            cell.fill(Ok(came(parts)));
        }
        Ok(())
    }

    fn objects<K: Invoke<Out = Self>>(cell: &Arc<TaskCell<K>>) -> Vec<Arc<dyn Object>> {
        cell.output().0.iter().cloned().map(|object| object as Arc<dyn Object>).collect()
    }

    fn fail(&self, error: TaskError) {
        for cell in &self.0 {
            cell.fill(Err(error.clone()));
        }
    }

    fn refs<K: Invoke<Out = Self>>(cell: &Arc<TaskCell<K>>) -> Self::Refs {
        let all = &cell.output().0;
        all.iter().for_each(|object| object.set_producer(cell.clone()));
        all.iter().map(|object| ObjectRef::of(object.clone())).collect()
    }

    fn failed(error: TaskError) -> Self::Refs {
        vec![ObjectRef::failed(error)]
    }
}
