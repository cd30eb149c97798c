//! Actors' methods: how a call reaches its actor, in this process or in another.

use std::{
    marker::PhantomData,
    sync::{Arc, Weak},
};

use actinic_actors::{
    cell::{Dependent, Waiter},
    cluster::{
        calls::RemoteActor,
        core_worker::{Arrived, Imported},
        wire::RunTask,
    },
    context,
    counters::Count,
    error::{TaskError, TaskErrorKind},
    node::Node,
    options::TaskOptions,
    task::{Task, TaskKind},
    user::{inflight::Inflight, ActorCell, AnyActor, Call, MethodInfo, Ran, StateLock},
};
use actinic_gcs::{FunctionId, TaskId};
use futures::future::BoxFuture;

use crate::{
    actor::{ActorHandle, Place},
    arg::ArgSet,
    output::Output,
    task_cell::{Body, Given, Invoke, TaskCell},
};

/// A method of an actor. Implemented by `#[remote]`.
pub trait Method: Send + Sync + 'static {
    /// The actor.
    type Actor: Send + Sync + 'static;
    /// The arguments, each by value or by reference.
    type Args: ArgSet;
    /// The results.
    type Out: Output;
    /// What the actor must know of it.
    const INFO: &'static MethodInfo;
    /// Its id; the macro's is reckoned once.
    fn id() -> FunctionId
    where
        Self: Sized,
    {
        method_id::<Self>()
    }
    /// Runs it alone with the state.
    fn run(state: &mut Self::Actor, params: <Self::Args as ArgSet>::Params) -> Body<<Self::Out as Output>::Value>;
    /// Runs it beside others, if it takes `&self`.
    fn run_shared(state: &Self::Actor, params: <Self::Args as ArgSet>::Params) -> Body<<Self::Out as Output>::Value>;
    /// Starts it, if it is `async`.
    fn start(
        state: StateLock<Self::Actor>,
        params: <Self::Args as ArgSet>::Params,
    ) -> BoxFuture<'static, Given<<Self::Out as Output>::Value>>;
}

/// The [`Invoke`] of methods.
pub struct MethodCall<M: Method> {
    actor: Arc<ActorCell<M::Actor>>,
    caller: TaskId,
    method: PhantomData<fn() -> M>,
}

impl<M: Method> Invoke for MethodCall<M> {
    type Args = M::Args;
    type Out = M::Out;

    fn execute(_cell: Arc<TaskCell<Self>>, _node: &Arc<Node>) {
        // A method runs in its actor's turn; its cell is never in a queue of tasks.
    }

    fn help(cell: Arc<TaskCell<Self>>, _node: &Arc<Node>) -> bool {
        cell.kind.actor.help_call(&cell.head)
    }

    fn waits_for_calls(&self) -> Vec<TaskId> {
        self.actor.running_calls()
    }

    fn may_retry(cell: &TaskCell<Self>, error: Option<&TaskError>) -> bool {
        // A crash is the actor's business: it puts the call back itself. This only keeps the arguments for it.
        error.is_none() && cell.head.attempts() < cell.kind.actor.max_task_retries()
    }
}

impl<M: Method> TaskCell<MethodCall<M>> {
    fn run_with(
        self: &Arc<Self>,
        run: impl FnOnce(<M::Args as ArgSet>::Params) -> Body<<M::Out as Output>::Value>,
    ) -> Ran {
        let node = self.kind.actor.node();
        match self.params() {
            Some(Ok(params)) => match self.run_body(node, || run(params)) {
                Ok(_) => Ran::Done,
                Err(panic) => Ran::Crashed(panic),
            },
            Some(Err(error)) => {
                self.end(node, Err(error));
                Ran::Done
            }
            None => Ran::Done,
        }
    }
}

impl<M: Method> Call<M::Actor> for TaskCell<MethodCall<M>> {
    fn method(&self) -> &'static MethodInfo {
        M::INFO
    }

    fn caller(&self) -> TaskId {
        self.kind.caller
    }

    fn run(self: Arc<Self>, state: &mut M::Actor) -> Ran {
        self.run_with(|params| M::run(state, params))
    }

    fn run_shared(self: Arc<Self>, state: &M::Actor) -> Ran {
        self.run_with(|params| M::run_shared(state, params))
    }

    fn keep(&self, future: Arc<Inflight>) {
        self.keep_future(future);
    }

    fn start(self: Arc<Self>, state: StateLock<M::Actor>) -> BoxFuture<'static, ()> {
        let node = self.kind.actor.node().clone();
        match self.params() {
            Some(Ok(params)) => Box::pin(self.settle_later(node, M::start(state, params))),
            Some(Err(error)) => {
                self.end(&node, Err(error));
                Box::pin(std::future::ready(()))
            }
            None => Box::pin(std::future::ready(())),
        }
    }
}

struct CallEdge<M: Method> {
    cell: Arc<TaskCell<MethodCall<M>>>,
}

impl<M: Method> Dependent for CallEdge<M> {
    fn dependency_ready(self: Arc<Self>) {
        if self.cell.head.one_ready() {
            self.cell.kind.actor.call_ready(self.cell.as_ref());
        }
    }
}

/// Calls `M` of the actor behind `handle`.
pub fn call<M: Method>(handle: &ActorHandle<M::Actor>, args: M::Args) -> <M::Out as Output>::Refs {
    match handle.place() {
        Ok(Place::Here(actor)) => call_here::<M>(actor, args),
        Ok(Place::There(actor)) => call_there::<M>(actor, args),
        Err(error) => M::Out::failed(error),
    }
}

fn call_here<M: Method>(actor: &Arc<ActorCell<M::Actor>>, args: M::Args) -> <M::Out as Output>::Refs {
    let called = context::with_thread(|thread| {
        let kind = TaskKind::Method(actor.id());
        let cell = TaskCell::<MethodCall<M>>::new(thread, M::INFO.name, kind, args, None, |caller| MethodCall {
            actor: actor.clone(),
            caller,
            method: PhantomData,
        });
        let refs = M::Out::refs(&cell);
        let task: Arc<dyn Task> = cell.clone();
        actor.node().register(&task, thread);
        thread.counters.add(Count::ActorCalls, 1);
        // The place in the mailbox is taken before the edges are armed: a late edge finds the call there.
        let plain = cell.head.dependencies.is_none();
        if plain {
            let _ = cell.head.one_ready();
        }
        actor.offer(cell.clone(), plain, Some(thread));
        if !plain {
            arm(&cell);
        }
        refs
    });
    called.unwrap_or_else(M::Out::failed)
}

fn arm<M: Method>(cell: &Arc<TaskCell<MethodCall<M>>>) {
    let edge: Arc<dyn Dependent> = Arc::new(CallEdge { cell: cell.clone() });
    cell.each_dependency(&mut |object| {
        cell.head.add_missing();
        if !object.register(Waiter::Dependent(edge.clone())) {
            let _ = cell.head.one_ready();
        }
    });
    if cell.head.one_ready() {
        cell.kind.actor.call_ready(cell.as_ref());
    }
}

// --- in other processes ----------------------------------------------------------------------------------------------

/// The [`Invoke`] of methods of actors in other processes.
pub struct RemoteCall<M: Method> {
    /// What a call has given needs its actor no more; a call that has not ended is kept with its actor.
    actor: Weak<RemoteActor>,
    max_retries: u32,
    method: PhantomData<fn() -> M>,
}

/// The id of `M`: what its host finds it by.
#[must_use]
pub fn method_id<M: Method>() -> FunctionId {
    FunctionId::of(std::any::type_name::<M>(), "")
}

impl<M: Method> Invoke for RemoteCall<M> {
    type Args = M::Args;
    type Out = M::Out;
    const CAN_LEAVE: bool = true;

    fn execute(_cell: Arc<TaskCell<Self>>, _node: &Arc<Node>) {
        // It runs where its actor is; its cell is never in a queue of tasks.
    }

    fn help(_cell: Arc<TaskCell<Self>>, _node: &Arc<Node>) -> bool {
        false
    }

    fn function() -> Option<FunctionId> {
        Some(M::id())
    }

    fn may_retry(cell: &TaskCell<Self>, error: Option<&TaskError>) -> bool {
        // A loss is decided upon by whoever sends the calls. This only keeps the arguments for it.
        error.is_none() && cell.head.attempts() < cell.kind.max_retries
    }
}

struct RemoteEdge<M: Method> {
    cell: Arc<TaskCell<RemoteCall<M>>>,
}

impl<M: Method> Dependent for RemoteEdge<M> {
    fn dependency_ready(self: Arc<Self>) {
        if self.cell.head.one_ready() {
            if let Some(actor) = self.cell.kind.actor.upgrade() {
                actor.call_ready(self.cell.head.id);
            }
        }
    }
}

fn call_there<M: Method>(actor: &Arc<RemoteActor>, args: M::Args) -> <M::Out as Output>::Refs {
    let called = context::with_thread(|thread| {
        let kind = TaskKind::Method(actor.id());
        let cell = TaskCell::<RemoteCall<M>>::new(thread, M::INFO.name, kind, args, None, |_| RemoteCall {
            actor: Arc::downgrade(actor),
            max_retries: actor.wire().max_task_retries,
            method: PhantomData,
        });
        let refs = M::Out::refs(&cell);
        let task: Arc<dyn Task> = cell.clone();
        thread.node.register(&task, thread);
        thread.counters.add(Count::ActorCalls, 1);
        // The place among the calls is taken before the edges are armed: a late edge finds the call there.
        let plain = cell.head.dependencies.is_none();
        if plain {
            let _ = cell.head.one_ready();
        }
        actor.call(task, plain);
        if !plain {
            let edge: Arc<dyn Dependent> = Arc::new(RemoteEdge { cell: cell.clone() });
            cell.each_dependency(&mut |object| {
                cell.head.add_missing();
                if !object.register(Waiter::Dependent(edge.clone())) {
                    let _ = cell.head.one_ready();
                }
            });
            if cell.head.one_ready() {
                actor.call_ready(cell.head.id);
            }
        }
        refs
    });
    called.unwrap_or_else(M::Out::failed)
}

/// Makes a call of an actor of this process out of one that came from another, and offers it to the actor.
///
/// # Errors
/// That an argument cannot be decoded, or that the actor is of another class.
pub fn import_call<M: Method>(
    args: Arrived<'_>,
    actor: Arc<dyn AnyActor>,
    run: RunTask,
) -> Result<Imported, TaskError> {
    let RunTask { id, parent, num_returns, .. } = run;
    let of_class = actor.into_any().downcast::<ActorCell<M::Actor>>();
    let actor = of_class.map_err(|_| {
        TaskErrorKind::codec(std::any::type_name::<M::Actor>(), "the actor is of another class".to_owned())
    })?;
    let args = M::Args::import(args)?;
    let several = || TaskOptions { num_returns: Some(num_returns as usize), ..TaskOptions::default() };
    let options = (num_returns != 1).then(|| Arc::new(several()));
    let name_and_kind = (M::INFO.name, TaskKind::Method(actor.id()));
    let cell = TaskCell::<MethodCall<M>>::imported((parent, id), name_and_kind, args, options, || MethodCall {
        actor: actor.clone(),
        caller: parent,
        method: PhantomData,
    });
    let objects = M::Out::objects(&cell);
    let task: Arc<dyn Task> = cell.clone();
    cell.head.keep_here();
    let _ = context::with_thread(|thread| thread.node.register(&task, thread));
    // Large arguments may still be on their way to this node.
    let plain = cell.head.dependencies.is_none();
    if plain {
        let _ = cell.head.one_ready();
    }
    actor.offer(cell.clone(), plain, None);
    if !plain {
        arm(&cell);
    }
    Ok(Imported { task, objects })
}
