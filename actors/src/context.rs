//! What a thread knows of the runtime: its node, the tasks on its stack, the CPU it holds.
//!
//! Owns: thread-local state only. A thread of the program that never met a runtime, or whose own has ended, joins the
//! one that was started last of those that run.
//! The stack of [`Frame`]s has one frame for each task that runs on this thread: a caller that runs the task it waits
//! for is below it.
//!
//! **Invariant:** frames are pushed and popped in pairs, also when a task panics.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{Arc, Weak},
};

use actinic_gcs::{ObjectId, PlacementGroupId, TaskId};
use parking_lot::RwLock;

use crate::{
    cluster::workers::byline,
    counters::Counters,
    error::{TaskError, TaskErrorKind},
    lane::{Outbox, Work},
    node::Node,
    task::Task,
};

/// One task that runs on a thread, with what makes the ids of its children deterministic.
pub struct Frame {
    /// The task.
    pub id: TaskId,
    /// Its function's name.
    pub name: &'static str,
    /// The task itself.
    pub task: Option<Arc<dyn Task>>,
    /// Accelerators assigned to it.
    pub gpus: Option<Arc<[u32]>>,
    children: u64,
    puts: u32,
    groups: u64,
}

impl Frame {
    /// A frame for `task`, which has made nothing yet.
    #[must_use]
    pub fn of(task: Arc<dyn Task>, gpus: Option<Arc<[u32]>>) -> Self {
        Self { id: task.head().id, name: task.head().name, task: Some(task), gpus, children: 0, puts: 0, groups: 0 }
    }
}

/// The CPU that a thread holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpu {
    /// None: a driver's thread, or one that runs an actor.
    None,
    /// A token of the fast lane.
    Token,
    /// What the scheduler granted to the task at hand, under this number.
    Granted(u64),
}

/// What a thread has of a node.
pub struct ThreadState {
    /// The node.
    pub node: Arc<Node>,
    /// Its slot for the last task submitted.
    pub outbox: Arc<Outbox>,
    /// Its own counters.
    pub counters: Arc<Counters>,
}

thread_local! {
    static THREAD: RefCell<Option<Rc<ThreadState>>> = const { RefCell::new(None) };
    static STACK: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
    static CPU: Cell<Cpu> = const { Cell::new(Cpu::None) };
}

/// The nodes that were started in this process, the latest last.
static STARTED: RwLock<Vec<Weak<Node>>> = RwLock::new(Vec::new());

/// Makes `node` the one that threads without a node of their own join.
pub fn set_latest(node: &Arc<Node>) {
    let mut started = STARTED.write();
    started.retain(|node| node.strong_count() > 0);
    started.push(Arc::downgrade(node));
}

/// Joins this thread to `node`. What waits in its outbox of another node is handed over there.
pub fn attach(node: &Arc<Node>) {
    detach();
    let state = ThreadState { node: node.clone(), outbox: node.lane.add_outbox(), counters: node.add_counters() };
    THREAD.set(Some(Rc::new(state)));
}

/// Hands over what waits in this thread's outbox, if it has one.
pub fn hand_over() {
    THREAD.with_borrow(|state| {
        if let Some(state) = state {
            state.node.lane.flush(&state.outbox);
        }
    });
}

/// Leaves the node; what waits in the outbox is handed over.
pub fn detach() {
    if let Some(state) = THREAD.take() {
        state.node.lane.flush(&state.outbox);
    }
}

/// Runs `f` with this thread's node.
///
/// # Errors
/// `NoRuntime` where none runs.
pub fn with_thread<R>(f: impl FnOnce(&ThreadState) -> R) -> Result<R, TaskError> {
    let live = THREAD.with_borrow(|state| state.as_ref().filter(|state| !state.node.is_down()).cloned());
    let state = match live {
        Some(state) => state,
        None => join_latest()?,
    };
    Ok(f(&state))
}

fn join_latest() -> Result<Rc<ThreadState>, TaskError> {
    let latest = STARTED.read().iter().rev().filter_map(Weak::upgrade).find(|node| !node.is_down());
    let Some(node) = latest else {
        let hint = "call actinic::Runtime::init() first and keep its value alive".to_owned();
        return Err(TaskErrorKind::NoRuntime { hint }.into());
    };
    attach(&node);
    THREAD.with_borrow(|state| state.clone()).ok_or_else(|| TaskErrorKind::NoRuntime { hint: String::new() }.into())
}

/// Pushes a frame; it is popped by [`pop_frame`].
pub fn push_frame(frame: Frame) {
    byline::begins(&frame);
    STACK.with_borrow_mut(|stack| stack.push(frame));
}

/// Pops the frame of the task that has just ended or been suspended.
pub fn pop_frame() -> Option<Frame> {
    let frame = STACK.with_borrow_mut(Vec::pop);
    byline::ends();
    frame
}

/// The tasks on this thread, outermost first, with their names.
#[must_use]
pub fn frames() -> Vec<(TaskId, &'static str)> {
    STACK.with_borrow(|stack| stack.iter().map(|frame| (frame.id, frame.name)).collect())
}

/// How many tasks are on this thread.
#[must_use]
pub fn depth() -> usize {
    STACK.with_borrow(Vec::len)
}

/// The task that runs here, if any.
#[must_use]
pub fn current_task() -> Option<Arc<dyn Task>> {
    STACK.with_borrow(|stack| stack.last().and_then(|frame| frame.task.clone()))
}

/// The id of the task that runs here; the driver's outside of any.
#[must_use]
pub fn current_id(node: &Node) -> TaskId {
    STACK.with_borrow(|stack| stack.last().map_or(node.driver, |frame| frame.id))
}

/// Accelerators assigned to the task that runs here.
#[must_use]
pub fn current_gpus() -> Arc<[u32]> {
    STACK.with_borrow(|stack| stack.last().and_then(|frame| frame.gpus.clone()).unwrap_or_else(|| Arc::from([])))
}

/// The parent's id and the id of its next child.
#[must_use]
pub fn next_child(node: &Node) -> (TaskId, TaskId) {
    let of_task = STACK.with_borrow_mut(|stack| {
        stack.last_mut().map(|frame| {
            frame.children += 1;
            (frame.id, frame.children)
        })
    });
    let (parent, number) = of_task.unwrap_or_else(|| (node.driver, node.next_driver_child()));
    (parent, parent.child(number))
}

/// The parent's id and the id of its next put object.
#[must_use]
pub fn next_put(node: &Node) -> (TaskId, ObjectId) {
    let of_task = STACK.with_borrow_mut(|stack| {
        stack.last_mut().map(|frame| {
            frame.puts += 1;
            (frame.id, frame.puts)
        })
    });
    let (parent, number) = of_task.unwrap_or_else(|| (node.driver, node.next_driver_put()));
    (parent, ObjectId::of_put(parent, number))
}

/// The id of the next placement group of the task that runs here.
#[must_use]
pub fn next_group(node: &Node) -> PlacementGroupId {
    let of_task = STACK.with_borrow_mut(|stack| {
        stack.last_mut().map(|frame| {
            frame.groups += 1;
            (frame.id, frame.groups)
        })
    });
    let (parent, number) = of_task.unwrap_or_else(|| (node.driver, node.next_driver_group()));
    PlacementGroupId::of_task(parent, number)
}

/// The CPU that this thread holds.
#[must_use]
pub fn cpu() -> Cpu {
    CPU.get()
}

/// Runs `f` while this thread holds `cpu`.
pub fn with_cpu<R>(cpu: Cpu, f: impl FnOnce() -> R) -> R {
    struct Restore(Cpu);
    impl Drop for Restore {
        fn drop(&mut self) {
            CPU.set(self.0);
        }
    }
    let _restore = Restore(CPU.replace(cpu));
    f()
}

/// Runs `f` while this thread holds a token of the lane.
pub fn with_token<R>(f: impl FnOnce() -> R) -> R {
    with_cpu(Cpu::Token, f)
}

/// The work that this thread submitted last, if nobody has taken it.
#[must_use]
pub fn take_outbox() -> Option<Work> {
    THREAD.with_borrow(|state| state.as_ref().and_then(|state| state.outbox.take()))
}
