//! Actors' methods: how a call reaches its actor.

use std::{marker::PhantomData, sync::Arc};

use actinic_actors::{
    cell::{Dependent, Waiter},
    context,
    counters::Count,
    error::TaskError,
    node::Node,
    task::{Task, TaskKind},
    user::{inflight::Inflight, ActorCell, Call, MethodInfo, Ran, StateLock},
};
use actinic_gcs::TaskId;
use futures::future::BoxFuture;

use crate::{
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

/// Calls `M` of `actor`.
pub fn call<M: Method>(actor: &Arc<ActorCell<M::Actor>>, args: M::Args) -> <M::Out as Output>::Refs {
    let called = context::with_thread(|thread| {
        let kind = TaskKind::Method(actinic_actors::user::AnyActor::id(actor.as_ref()));
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
