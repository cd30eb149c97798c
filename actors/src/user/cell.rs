//! One actor: its mailbox, its state, and the turns that bring them together.
//!
//! Owns: carrying out what the [mailbox](super::mailbox) allows. Does not own: whether a crashed actor is restarted (the
//! supervision core decides, [`super::actor::UserActor`] carries out).
//!
//! **Invariant:** the state's lock is never contended: the mailbox lets nobody start whom the lock would stop. The lock
//! is there to prove it to the compiler.

mod life;
mod turn;

use std::sync::{
    atomic::{AtomicBool, AtomicU64, Ordering},
    Arc, OnceLock,
};

use actinic_gcs::{ActorId, TaskId};
use actix::Addr;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;

use super::{
    actor::UserActor,
    inflight::Inflight,
    mailbox::{Access, MailboxCore, Offer, Phase},
};
use crate::{
    context,
    error::{TaskError, TaskErrorKind},
    lane::Work,
    node::Node,
    options::{ActorOptions, OverflowPolicy},
    panics::Panic,
    supervision::{DeadLetterReason, OverflowPolicy as FullMailbox},
    task::{Object, Task, TaskHead},
};

/// Messages that a turn handles before it lets others run.
const TURN_BUDGET: usize = 256;

/// Exclusive calls that a turn takes out of the mailbox at once.
const TURN_BATCH: usize = 64;

/// Concurrent calls of an actor with async methods that was given no limit (as in Ray).
const ASYNC_CONCURRENCY_DEFAULT: usize = 1_000;

/// What the macro knows of a method.
#[derive(Debug)]
pub struct MethodInfo {
    /// `Class.method`.
    pub name: &'static str,
    /// Its concurrency group.
    pub group: Option<&'static str>,
    /// Whether it takes `&mut self`.
    pub exclusive: bool,
    /// Whether it is `async`.
    pub is_async: bool,
}

/// How a call ended.
pub enum Ran {
    /// It gave its result, or an error of its own.
    Done,
    /// It panicked; its result is still open.
    Crashed(Panic),
}

/// The state of an actor.
pub type StateLock<A> = Arc<RwLock<Option<A>>>;

/// One call of an actor of class `A`.
pub trait Call<A>: Task {
    /// The method.
    fn method(&self) -> &'static MethodInfo;
    /// The task that made the call.
    fn caller(&self) -> TaskId;
    /// Runs a synchronous method alone with the state.
    fn run(self: Arc<Self>, state: &mut A) -> Ran;
    /// Runs a synchronous method beside others.
    fn run_shared(self: Arc<Self>, state: &A) -> Ran;
    /// Starts an `async` method, which holds the state's lock as long as it runs, and fills its own result.
    fn start(self: Arc<Self>, state: StateLock<A>) -> BoxFuture<'static, ()>;
    /// Keeps the started method until the call has ended, whether or not anybody can wake it.
    fn keep(&self, future: Arc<Inflight>);
}

/// Builds the state.
pub type Factory<A> = Box<dyn Fn() -> Result<A, TaskError> + Send + Sync>;

/// Saves and loads the state.
pub struct CheckpointFns<A> {
    /// After how many calls.
    pub every: u64,
    /// Encodes the state.
    pub save: fn(&A) -> Result<Vec<u8>, String>,
    /// Decodes it.
    pub load: fn(&[u8]) -> Result<A, String>,
}

/// An actor of any class.
pub trait AnyActor: Send + Sync {
    /// Its id.
    fn id(&self) -> ActorId;
    /// Its class, with its name if it has one.
    fn label(&self) -> &str;
    /// Its options.
    fn options(&self) -> &ActorOptions;
    /// Where it is in its life.
    fn phase(&self) -> Phase;
    /// Itself, of its class.
    fn into_any(self: Arc<Self>) -> Arc<dyn std::any::Any + Send + Sync>;
    /// Calls that wait and calls that run.
    fn load(&self) -> (usize, usize);
    /// The constructor, as a task.
    fn creation(self: Arc<Self>) -> Arc<dyn Task>;
    /// Names its Actix actor.
    fn set_address(&self, address: Addr<UserActor>);
    /// Its Actix actor, while it lives.
    fn address(&self) -> Option<Addr<UserActor>>;
    /// Drops the state and builds it anew: what `restarting()` does.
    fn rebuild(self: Arc<Self>);
    /// Takes the state down as a crash would, without a call that is to blame.
    fn take_down(self: Arc<Self>);
    /// Ends it: every call that waits is answered with `reason`.
    fn die(self: Arc<Self>, reason: &str);
    /// No handle is left.
    fn handles_gone(self: Arc<Self>);
}

struct Inner<A> {
    core: MailboxCore<Arc<dyn Call<A>>>,
    died_of: Option<String>,
}

/// One actor of class `A`.
pub struct ActorCell<A> {
    id: ActorId,
    label: String,
    head: TaskHead,
    options: ActorOptions,
    groups: Vec<String>,
    node: Arc<Node>,
    inner: Mutex<Inner<A>>,
    /// Apart from the mailbox, which its callers keep busy.
    running: Mutex<SmallVec<[TaskId; 1]>>,
    /// Whether a turn must stop after the call at hand.
    taken_down: AtomicBool,
    state: StateLock<A>,
    factory: Factory<A>,
    dependencies: Mutex<Vec<Arc<dyn Object>>>,
    checkpoints: Option<CheckpointFns<A>>,
    checkpoint: Mutex<Option<Vec<u8>>>,
    calls_done: AtomicU64,
    address: Mutex<Option<Addr<UserActor>>>,
    inflight: Mutex<Vec<std::sync::Weak<Inflight>>>,
    exclusive_self: bool,
    gone: AtomicBool,
    myself: OnceLock<std::sync::Weak<Self>>,
}

/// What an actor is made of.
pub struct ActorParts<A> {
    /// Its id.
    pub id: ActorId,
    /// Its class.
    pub class: &'static str,
    /// Its constructor, as a task.
    pub head: TaskHead,
    /// Its options.
    pub options: ActorOptions,
    /// Builds the state.
    pub factory: Factory<A>,
    /// The objects that the constructor takes.
    pub dependencies: Vec<Arc<dyn Object>>,
    /// Saves and loads the state, where asked.
    pub checkpoints: Option<CheckpointFns<A>>,
    /// Whether the class has `async` methods.
    pub has_async: bool,
}

impl<A: Send + Sync + 'static> ActorCell<A> {
    /// A new actor, not started.
    #[must_use]
    pub fn new(node: &Arc<Node>, parts: ActorParts<A>) -> Arc<Self> {
        let ActorParts { id, class, head, options, factory, dependencies, checkpoints, has_async } = parts;
        let default_limit = options.max_concurrency.unwrap_or(if has_async { ASYNC_CONCURRENCY_DEFAULT } else { 1 });
        let limits: Vec<usize> =
            std::iter::once(default_limit).chain(options.concurrency_groups.iter().map(|(_, limit)| *limit)).collect();
        let cell = Arc::new(Self {
            id,
            label: options.name.as_ref().map_or_else(|| class.to_owned(), |name| format!("{class} '{name}'")),
            head,
            groups: options.concurrency_groups.iter().map(|(name, _)| name.clone()).collect(),
            node: node.clone(),
            inner: Mutex::new(Inner {
                core: MailboxCore::new(&limits, options.max_pending_calls, options.overflow),
                died_of: None,
            }),
            running: Mutex::default(),
            taken_down: AtomicBool::new(false),
            state: Arc::default(),
            factory,
            dependencies: Mutex::new(dependencies),
            checkpoints,
            checkpoint: Mutex::default(),
            calls_done: AtomicU64::new(0),
            address: Mutex::default(),
            inflight: Mutex::default(),
            // Synchronous `&self` methods run beside each other only where concurrency was asked for by name.
            exclusive_self: options.max_concurrency.is_none_or(|limit| limit <= 1)
                && options.concurrency_groups.is_empty(),
            gone: AtomicBool::new(false),
            myself: OnceLock::new(),
            options,
        });
        let _ = cell.myself.set(Arc::downgrade(&cell));
        cell
    }

    /// The node it lives on.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// How often a call that crashed it is tried again.
    #[must_use]
    pub fn max_task_retries(&self) -> u32 {
        self.options.max_task_retries
    }

    fn access_of(&self, method: &MethodInfo) -> Access {
        if method.exclusive || (!method.is_async && self.exclusive_self) {
            Access::Exclusive
        } else {
            Access::Shared
        }
    }

    fn group_of(&self, method: &MethodInfo) -> usize {
        method.group.and_then(|name| self.groups.iter().position(|group| group == name)).map_or(0, |at| at + 1)
    }

    /// The state that it begins with, in the constructor's place.
    pub fn begin_with(&self, saved: Vec<u8>) {
        *self.checkpoint.lock() = Some(saved);
    }

    /// Sends a call; `ready` if its data edges are.
    pub fn offer(self: &Arc<Self>, call: Arc<dyn Call<A>>, ready: bool, thread: Option<&context::ThreadState>) {
        if ready {
            call.head().mark_queued();
        }
        let method = call.method();
        let (id, caller) = (call.head().id, call.caller());
        let (group, access) = (self.group_of(method), self.access_of(method));
        let mut inner = self.inner.lock();
        // Before anybody can see it. A call that is not taken has none.
        call.head().sequence.store(inner.core.next_sequence(), Ordering::Relaxed);
        match inner.core.offer(call, id, caller, group, access, ready) {
            Offer::Accepted { wake, .. } => {
                drop(inner);
                if wake {
                    self.queue_turn(thread);
                }
            }
            Offer::Displaced { oldest, .. } => {
                drop(inner);
                self.refuse(oldest.as_ref());
            }
            Offer::Full(call) => {
                drop(inner);
                self.on_full(call, ready, thread);
            }
            Offer::Dead(call) => {
                let reason = inner.died_of.clone().unwrap_or_else(|| "it ended".to_owned());
                drop(inner);
                self.fail_dead(call.as_ref(), &reason);
            }
        }
    }

    fn on_full(self: &Arc<Self>, call: Arc<dyn Call<A>>, ready: bool, thread: Option<&context::ThreadState>) {
        if let OverflowPolicy::Block(longest) = self.options.overflow {
            let until = std::time::Instant::now() + longest;
            let node = self.node.clone();
            let room = crate::blocking::blocked(&node, || {
                while std::time::Instant::now() < until {
                    {
                        let inner = self.inner.lock();
                        if inner.core.phase() == Phase::Dead || inner.core.pending() < self.options.max_pending_calls {
                            return true;
                        }
                    }
                    std::thread::park_timeout(std::time::Duration::from_micros(200));
                }
                false
            });
            if room {
                return self.offer(call, ready, thread);
            }
        }
        self.refuse(call.as_ref());
    }

    fn refuse(&self, call: &dyn Call<A>) {
        let policy = match self.options.overflow {
            OverflowPolicy::Fail => FullMailbox::Reject,
            OverflowPolicy::DropOldest => FullMailbox::DropOldest,
            OverflowPolicy::Block(_) => FullMailbox::Wait,
        };
        self.node.supervisor.dead_letter(self.id, call.head(), DeadLetterReason::MailboxFull { policy });
        call.fail(
            TaskErrorKind::PendingCallsLimitExceeded {
                actor: self.label.clone(),
                method: call.method().name.to_owned(),
                limit: self.options.max_pending_calls,
            }
            .into(),
        );
    }

    fn fail_dead(&self, call: &dyn Call<A>, reason: &str) {
        self.node.supervisor.dead_letter(self.id, call.head(), DeadLetterReason::ActorDead);
        let (actor, method, reason) = (self.label.clone(), call.method().name.to_owned(), reason.to_owned());
        // One that was to be tried again has run in part already.
        let error = match call.head().attempts() {
            0 => TaskErrorKind::ActorDied { actor, method, reason },
            _ => TaskErrorKind::ActorUnavailable { actor, method, reason },
        };
        call.fail(error.into());
    }

    /// The data edges of a call are there.
    pub fn call_ready(self: &Arc<Self>, call: &dyn Call<A>) {
        call.head().mark_queued();
        let wake = self.inner.lock().core.on_ready(call.head().id, call.caller());
        if wake {
            self.queue_turn(None);
        }
    }

    fn queue_turn(self: &Arc<Self>, thread: Option<&context::ThreadState>) {
        // A thread of another node's, of which there may be several in a process, has its outbox there.
        match thread.filter(|thread| Arc::ptr_eq(&thread.node, &self.node)) {
            Some(thread) => self.node.lane.submit(Work::Turn(self.clone()), &thread.outbox),
            None => self.node.lane.push_turn(self.clone()),
        }
    }
}
