//! An async task or method between its polls.
//!
//! Owns: the future and the frame that goes with it from poll to poll. It is woken into the queue it belongs to: a
//! method's into the turns, a task's into its lane (a CPU is held only while it is polled).

use std::{
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::{
    context::{self, Cpu, Frame},
    lane::Turn,
    node::Node,
    panics::{self, Panic},
    task::Task,
};

/// How an async call ended.
pub enum End {
    /// It filled its own result.
    Completed,
    /// It panicked.
    Panicked(Panic),
    /// It was cancelled at an `await`.
    Cancelled,
    /// Its actor went away; it may have run in part.
    Abandoned(String),
}

type OnEnd = Box<dyn FnOnce(End) + Send>;

/// A started future.
pub struct Inflight {
    node: Arc<Node>,
    task: Arc<dyn Task>,
    future: Mutex<Option<BoxFuture<'static, ()>>>,
    frame: Mutex<Option<Frame>>,
    on_end: Mutex<Option<OnEnd>>,
    abandoned: Mutex<Option<String>>,
    is_method: bool,
}

impl Inflight {
    /// Wraps `future`, whose task is in `frame` and has been claimed.
    ///
    /// # Panics
    /// If `frame` has no task.
    #[must_use]
    pub fn new(
        node: Arc<Node>,
        frame: Frame,
        future: BoxFuture<'static, ()>,
        on_end: OnEnd,
        is_method: bool,
    ) -> Arc<Self> {
        let task = frame.task.clone().expect("invariant: the frame of an async call names its task");
        task.head().mark_inflight();
        Arc::new(Self {
            node,
            task,
            future: Mutex::new(Some(future)),
            frame: Mutex::new(Some(frame)),
            on_end: Mutex::new(Some(on_end)),
            abandoned: Mutex::default(),
            is_method,
        })
    }

    /// Polls once. The caller has claimed the task.
    pub fn poll_claimed(self: &Arc<Self>) {
        let head = self.task.head();
        let mut slot = self.future.lock();
        let Some(mut future) = slot.take() else { return };
        if head.is_cancelled() {
            drop(slot);
            drop(future);
            return self.end(self.abandoned.lock().take().map_or(End::Cancelled, End::Abandoned));
        }
        let waker = Waker::from(self.clone());
        if let Some(frame) = self.frame.lock().take() {
            context::push_frame(frame);
        }
        let cpu = if self.is_method { Cpu::None } else { context::cpu() };
        // A caller that runs its own call is not one of the workers, which have entered it for good.
        let _io = self.node.io.enter();
        let polled =
            panics::catch(|| context::with_cpu(cpu, || future.as_mut().poll(&mut Context::from_waker(&waker))));
        *self.frame.lock() = context::pop_frame();
        match polled {
            Ok(Poll::Pending) => {
                *slot = Some(future);
                drop(slot);
                if !head.suspend() {
                    self.requeue();
                }
            }
            Ok(Poll::Ready(())) => {
                drop(slot);
                drop(future);
                self.end(End::Completed);
            }
            Err(panic) => {
                drop(slot);
                drop(future);
                self.end(End::Panicked(panic));
            }
        }
    }

    fn end(&self, end: End) {
        // The frame refers to the task, which may refer to this: the circle is cut here.
        self.frame.lock().take();
        if let Some(on_end) = self.on_end.lock().take() {
            on_end(end);
        }
    }

    fn requeue(self: &Arc<Self>) {
        if self.is_method {
            self.node.lane.push_turn(self.clone());
        } else {
            self.node.enqueue(self.task.clone(), None);
        }
    }

    /// Ends it at its next `await`, for this reason.
    pub fn abandon(self: &Arc<Self>, reason: &str) {
        *self.abandoned.lock() = Some(reason.to_owned());
        self.task.head().request_cancel();
        self.wake_by_ref();
    }
}

impl Wake for Inflight {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.task.head().wake() {
            self.requeue();
        }
    }
}

impl Turn for Inflight {
    fn run(self: Arc<Self>, _node: &Arc<Node>) {
        if self.task.head().claim() {
            self.poll_claimed();
        }
    }
}
