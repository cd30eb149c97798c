//! Remote functions: how a call becomes a task.

use std::{marker::PhantomData, sync::Arc};

use actinic_actors::{
    blocking,
    cluster::{
        core_worker::{Arrived, Imported, Importer, MAX_RETRIES_DEFAULT},
        wire::RunTask,
    },
    context::{self, Frame},
    error::TaskError,
    node::Node,
    options::TaskOptions,
    task::{Grant, Task, TaskKind},
};
use actinic_gcs::FunctionId;

use crate::{
    arg::ArgSet,
    output::Output,
    task_cell::{Body, Invoke, TaskCell},
};

/// A remote function. Implemented by `#[remote]`.
pub trait Function: Send + Sync + 'static {
    /// The arguments, each by value or by reference.
    type Args: ArgSet;
    /// The results.
    type Out: Output;
    /// Its name: the module's path and the function's.
    const NAME: &'static str;
    /// Its arguments' and result's types as text: what a worker's function must match.
    const SIGNATURE: &'static str;
    /// Whether this is the form of another function of the same name that splits its vector.
    const SPLITS: bool = false;
    /// Its id; the macro's is reckoned once.
    fn id() -> FunctionId
    where
        Self: Sized,
    {
        function_id::<Self>()
    }
    /// Runs it.
    fn run(params: <Self::Args as ArgSet>::Params) -> Body<<Self::Out as Output>::Value>;
}

/// A remote function of this program, found at link time.
pub struct RegisteredFunction {
    /// [`Function::NAME`].
    pub name: &'static str,
    /// [`Function::SIGNATURE`].
    pub signature: &'static str,
    /// Its id.
    pub id: fn() -> FunctionId,
    /// Makes a task of this process out of a call that came from another.
    pub import: Importer,
}

inventory::collect!(RegisteredFunction);

/// The [`Invoke`] of functions.
pub struct FunctionCall<F>(PhantomData<fn() -> F>);

impl<F: Function> Invoke for FunctionCall<F> {
    type Args = F::Args;
    type Out = F::Out;
    const CAN_LEAVE: bool = F::Out::CAN_LEAVE;

    fn execute(cell: Arc<TaskCell<Self>>, node: &Arc<Node>) {
        if let Some(inflight) = cell.future() {
            return inflight.poll_claimed();
        }
        let params = match cell.params() {
            Some(Ok(params)) => params,
            Some(Err(error)) => return cell.end(node, Err(error)),
            None => return,
        };
        let gpus = cell.head.grant().map(|grant| grant.gpus.clone());
        let task: Arc<dyn Task> = cell.clone();
        context::push_frame(Frame::of(task, gpus));
        let ran = cell.run_body(node, || F::run(params));
        let frame = context::pop_frame();
        match (ran, frame) {
            (Ok(Some(future)), Some(frame)) => {
                let future = cell.clone().settle_later(node.clone(), future);
                cell.fly(node, frame, Box::pin(future));
            }
            (Ok(_), _) => {}
            (Err(panic), _) => {
                let error = cell.panicked(node, panic);
                cell.end(node, Err(error));
            }
        }
    }

    fn function() -> Option<FunctionId> {
        F::Out::CAN_LEAVE.then(F::id)
    }

    fn help(cell: Arc<TaskCell<Self>>, node: &Arc<Node>) -> bool {
        // A driver of a cluster runs no tasks itself: what kills a worker would kill it.
        if node.cluster.as_ref().is_some_and(|cluster| cluster.is_driver()) && F::Out::CAN_LEAVE {
            return false;
        }
        let plain = cell.head.options.as_ref().is_none_or(|options| options.is_plain());
        plain && blocking::help_here(node, cell)
    }

    fn may_retry(cell: &TaskCell<Self>, error: Option<&TaskError>) -> bool {
        let Some(options) = &cell.head.options else { return false };
        let Some(predicate) = &options.retry_exceptions else { return false };
        cell.head.attempts() < options.max_retries.unwrap_or(MAX_RETRIES_DEFAULT)
            && !cell.head.is_cancelled()
            && error.is_none_or(|error| error.is_exception() && predicate(error))
    }
}

/// Submits a call of `F`.
pub fn submit<F: Function>(args: F::Args, options: Option<Arc<TaskOptions>>) -> <F::Out as Output>::Refs {
    let submitted = context::with_thread(|thread| {
        let refused = match &options {
            Some(options) if !options.is_plain() && thread.node.cluster.is_none() => {
                thread.node.scheduler.refusal(F::NAME, options)
            }
            _ => None,
        };
        let cell = TaskCell::<FunctionCall<F>>::new(thread, F::NAME, TaskKind::Function, args, options, |_| {
            FunctionCall(PhantomData)
        });
        let refs = F::Out::refs(&cell);
        let task: Arc<dyn Task> = cell;
        match refused {
            None => thread.node.submit(&task, thread),
            Some(error) => task.fail(error),
        }
        refs
    });
    submitted.unwrap_or_else(F::Out::failed)
}

/// The id of `F`: what a worker finds it by.
#[must_use]
pub fn function_id<F: Function>() -> FunctionId {
    FunctionId(FunctionId::of(F::NAME, F::SIGNATURE).0 ^ u128::from(F::SPLITS))
}

/// Makes a task of this process out of a call of `F` that came from another.
///
/// # Errors
/// That an argument cannot be decoded.
pub fn import<F: Function>(args: Arrived<'_>, run: RunTask) -> Result<Imported, TaskError> {
    let RunTask { id, parent, num_returns, gpus, .. } = run;
    let args = F::Args::import(args)?;
    let several = || TaskOptions { num_returns: Some(num_returns as usize), ..TaskOptions::default() };
    let options = (num_returns != 1).then(|| Arc::new(several()));
    let kind = TaskKind::Function;
    let cell = TaskCell::<FunctionCall<F>>::imported((parent, id), (F::NAME, kind), args, options, || {
        FunctionCall(PhantomData)
    });
    if !gpus.is_empty() {
        cell.head.set_grant(Arc::new(Grant { id: GRANTED_ELSEWHERE, gpus: gpus.into() }));
    }
    let objects = F::Out::objects(&cell);
    Ok(Imported { task: cell, objects })
}

/// The number of a grant that another node's scheduler has made; this one's knows none such.
pub(crate) const GRANTED_ELSEWHERE: u64 = u64::MAX;
