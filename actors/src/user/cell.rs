//! One actor: its mailbox, its state, and the turns that bring them together.
//!
//! Owns: carrying out what the [mailbox](super::mailbox) allows. Does not own: whether a crashed actor is restarted (the
//! supervision core decides, [`super::actor::UserActor`] carries out).
//!
//! **Invariant:** the state's lock is never contended: the mailbox lets nobody start whom the lock would stop. The lock
//! is there to prove it to the compiler.

use std::{
    collections::VecDeque,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Arc, OnceLock,
    },
};

use actinic_gcs::{ActorId, TaskId};
use actix::Addr;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;

use super::{
    actor::{Crashed, UserActor},
    inflight::{End, Inflight},
    mailbox::{Access, MailboxCore, Offer, Phase, Start},
};
use crate::{
    context::{self, Cpu, Frame},
    error::{TaskError, TaskErrorKind},
    lane::{Turn, Work},
    node::Node,
    options::{ActorOptions, OverflowPolicy},
    panics::{self, Panic},
    supervision::{DeadLetterReason, OverflowPolicy as FullMailbox},
    task::{Object, Task, TaskHead, TaskState},
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
            exclusive_self: options.max_concurrency.is_none_or(|limit| limit <= 1) && options.concurrency_groups.is_empty(),
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

    /// Sends a call; `ready` if its data edges are.
    pub fn offer(self: &Arc<Self>, call: Arc<dyn Call<A>>, ready: bool, thread: Option<&context::ThreadState>) {
        if ready {
            call.head().mark_queued();
        }
        let method = call.method();
        let (id, caller) = (call.head().id, call.caller());
        let (group, access) = (self.group_of(method), self.access_of(method));
        let mut inner = self.inner.lock();
        let offer = inner.core.offer(call.clone(), id, caller, group, access, ready);
        match offer {
            Offer::Accepted { sequence, wake } => {
                call.head().sequence.store(sequence, Ordering::Relaxed);
                drop(inner);
                if wake {
                    self.queue_turn(thread);
                }
            }
            Offer::Displaced { sequence, oldest } => {
                call.head().sequence.store(sequence, Ordering::Relaxed);
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
        match thread {
            Some(thread) => self.node.lane.submit(Work::Turn(self.clone()), &thread.outbox),
            None => self.node.lane.push_turn(self.clone()),
        }
    }

    /// Runs this actor's turn on the calling thread until `call` has ended; false where that cannot be.
    pub fn help_call(self: &Arc<Self>, call: &TaskHead) -> bool {
        if context::depth() >= 64 || !self.inner.lock().core.begin_help() {
            return false;
        }
        let _ = context::with_thread(|thread| thread.outbox.take_back_turn(Arc::as_ptr(self).cast()));
        let mut inner = self.inner.lock();
        // Its entry may have been taken out of the outbox just now.
        inner.core.forget_queued_turn();
        drop(inner);
        self.drive(Some(call));
        call.state() == TaskState::Done
    }

    /// What runs now: a queued call waits for it.
    #[must_use]
    pub fn running_calls(&self) -> Vec<TaskId> {
        self.running.lock().to_vec()
    }

    fn drive(self: &Arc<Self>, until: Option<&TaskHead>) {
        let mut start = self.inner.lock().core.start_next();
        for handled in 0.. {
            start = match start {
                None => break,
                Some(Start::Create) => {
                    self.create();
                    self.inner.lock().core.start_next()
                }
                Some(Start::Call(call, access, group)) if call.method().is_async => {
                    self.start_async(call, access, group);
                    self.inner.lock().core.start_next()
                }
                Some(Start::Call(call, Access::Exclusive, group)) => self.run_exclusive(call, group, until),
                Some(Start::Call(call, Access::Shared, group)) => {
                    self.end_turn();
                    self.run_shared(&call, group);
                    let mut inner = self.inner.lock();
                    if !inner.core.begin_help() {
                        return;
                    }
                    inner.core.start_next()
                }
            };
            let enough = until.map_or(handled >= TURN_BUDGET, |call| call.state() == TaskState::Done);
            if enough {
                if let Some(start) = start {
                    self.give_back(start);
                }
                break;
            }
        }
        self.end_turn();
        self.end_if_drained();
    }

    fn give_back(&self, start: Start<Arc<dyn Call<A>>>) {
        let mut inner = self.inner.lock();
        match start {
            Start::Create => inner.core.undo_create(),
            Start::Call(call, access, group) => {
                inner.core.done(access, group);
                inner.core.put_back(call, group, access);
            }
        }
    }

    fn end_turn(self: &Arc<Self>) {
        if self.inner.lock().core.end_turn() {
            self.node.lane.push_turn(self.clone());
        }
    }

    /// Runs an exclusive call and those right behind it, without asking the mailbox for each.
    fn run_exclusive(
        self: &Arc<Self>,
        first: Arc<dyn Call<A>>,
        group: usize,
        until: Option<&TaskHead>,
    ) -> Option<Start<Arc<dyn Call<A>>>> {
        let mut calls = VecDeque::new();
        self.inner.lock().core.start_more(group, TURN_BATCH, &mut calls);
        let mut next = Some(first);
        let mut crash = None;
        while let Some(call) = next.take() {
            if let Ran::Crashed(panic) = self.run_one(&call) {
                crash = Some((call, panic));
                break;
            }
            if until.is_some_and(|call| call.state() == TaskState::Done) || self.taken_down.load(Ordering::Acquire) {
                break;
            }
            next = calls.pop_front();
        }
        self.running.lock().clear();
        let mut inner = self.inner.lock();
        inner.core.give_back(group, &mut calls);
        inner.core.done(Access::Exclusive, group);
        if let Some((call, panic)) = crash {
            drop(inner);
            self.on_crash(&call, &panic, Access::Exclusive, group);
            inner = self.inner.lock();
        }
        let reason = if calls.is_empty() { None } else { Some(inner.died_of.clone().unwrap_or_default()) };
        let start = inner.core.start_next();
        drop(inner);
        for call in calls {
            self.fail_dead(call.as_ref(), reason.as_deref().unwrap_or_default());
        }
        start
    }

    fn run_one(self: &Arc<Self>, call: &Arc<dyn Call<A>>) -> Ran {
        if !call.head().claim() {
            return Ran::Done;
        }
        {
            let mut running = self.running.lock();
            running.clear();
            running.push(call.head().id);
        }
        let mut state = self.state.write();
        let Some(state) = state.as_mut() else {
            self.fail_dead(call.as_ref(), "it ended as the call began");
            return Ran::Done;
        };
        let ran = self.framed(call.clone(), || call.clone().run(state));
        if matches!(ran, Ran::Done) && self.checkpoints.is_some() {
            self.count_and_checkpoint(state);
        }
        ran
    }

    fn run_shared(self: &Arc<Self>, call: &Arc<dyn Call<A>>, group: usize) {
        let mut ran = Ran::Done;
        if call.head().claim() {
            self.running.lock().push(call.head().id);
            let state = self.state.read();
            if let Some(state) = state.as_ref() {
                ran = self.framed(call.clone(), || call.clone().run_shared(state));
                if matches!(ran, Ran::Done) {
                    self.count_and_checkpoint(state);
                }
            } else {
                self.fail_dead(call.as_ref(), "it ended as the call began");
            }
        }
        {
            self.running.lock().retain(|id| *id != call.head().id);
            self.inner.lock().core.done(Access::Shared, group);
        }
        if let Ran::Crashed(panic) = ran {
            self.on_crash(call, &panic, Access::Shared, group);
        }
    }

    fn framed<R>(&self, task: Arc<dyn Task>, f: impl FnOnce() -> R) -> R {
        context::push_frame(Frame::of(task, self.gpus()));
        let result = context::with_cpu(Cpu::None, f);
        context::pop_frame();
        result
    }

    fn gpus(&self) -> Option<Arc<[u32]>> {
        self.head.grant().map(|grant| grant.gpus.clone())
    }

    fn start_async(self: &Arc<Self>, call: Arc<dyn Call<A>>, access: Access, group: usize) {
        if !call.head().claim() {
            let mut inner = self.inner.lock();
            inner.core.done(access, group);
            return;
        }
        self.running.lock().push(call.head().id);
        let future = call.clone().start(self.state.clone());
        let actor = self.clone();
        let ended = call.clone();
        let on_end = Box::new(move |end: End| actor.async_ended(&ended, end, access, group));
        let frame = Frame::of(call, self.gpus());
        let inflight = Inflight::new(self.node.clone(), frame, future, on_end, true);
        let mut all = self.inflight.lock();
        if all.len() >= 64 && all.len().is_power_of_two() {
            all.retain(|one| one.strong_count() > 0);
        }
        all.push(Arc::downgrade(&inflight));
        drop(all);
        inflight.poll_claimed();
    }

    fn async_ended(self: &Arc<Self>, call: &Arc<dyn Call<A>>, end: End, access: Access, group: usize) {
        let wake = {
            self.running.lock().retain(|id| *id != call.head().id);
            let mut inner = self.inner.lock();
            inner.core.done(access, group);
            inner.core.wants_turn()
        };
        match end {
            End::Completed => {
                if let Some(state) = self.state.try_read() {
                    if let Some(state) = state.as_ref() {
                        self.count_and_checkpoint(state);
                    }
                }
            }
            End::Panicked(panic) => self.on_crash(call, &panic, access, group),
            End::Cancelled => call.fail(call.head().cancelled_error()),
            End::Abandoned(reason) => call.fail(
                TaskErrorKind::ActorUnavailable {
                    actor: self.label.clone(),
                    method: call.method().name.to_owned(),
                    reason,
                }
                .into(),
            ),
        }
        if wake {
            self.queue_turn(None);
        }
        self.end_if_drained();
    }

    fn count_and_checkpoint(&self, state: &A) {
        let done = self.calls_done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(checkpoints) = &self.checkpoints {
            if checkpoints.every > 0 && done.is_multiple_of(checkpoints.every) {
                match (checkpoints.save)(state) {
                    Ok(bytes) => {
                        self.node.gcs.checkpoint(self.id, done, &bytes);
                        *self.checkpoint.lock() = Some(bytes);
                    }
                    Err(error) => tracing::error!(actor = %self.label, %error, "a checkpoint could not be saved"),
                }
            }
        }
    }

    fn create(self: &Arc<Self>) {
        self.head.mark_queued();
        let _ = self.head.claim();
        let saved = self.checkpoint.lock().clone();
        let task: Arc<dyn Task> = self.clone();
        let built = self.framed(task, || {
            panics::catch(|| match (&self.checkpoints, saved) {
                (Some(checkpoints), Some(bytes)) => (checkpoints.load)(&bytes).map_err(|message| {
                    TaskErrorKind::Codec { type_name: std::any::type_name::<A>().to_owned(), message }.into()
                }),
                _ => (self.factory)(),
            })
        });
        let reason = match built {
            Ok(Ok(state)) => {
                *self.state.write() = Some(state);
                None
            }
            Ok(Err(error)) => Some(format!("its constructor failed: {error}")),
            Err(panic) => Some(format!("its constructor panicked at {}: {}", panic.location, panic.message)),
        };
        self.head.finish();
        self.inner.lock().core.created(reason.is_none());
        match reason {
            None => {
                self.node.gcs.actor_alive(self.id);
                self.node.supervisor.alive(self.id);
            }
            Some(reason) => self.report_crash(reason),
        }
    }

    fn on_crash(self: &Arc<Self>, call: &Arc<dyn Call<A>>, panic: &Panic, access: Access, group: usize) {
        let method = call.method().name;
        let reason = format!("`{method}` panicked at {}: {}", panic.location, panic.message);
        let again = call.head().attempts() < self.options.max_task_retries && !call.head().is_cancelled();
        let alive = {
            let mut inner = self.inner.lock();
            let alive = inner.core.crashed();
            if alive && again {
                call.head().mark_requeued();
                inner.core.put_back(call.clone(), group, access);
            }
            alive
        };
        if !(alive && again) {
            call.fail(
                TaskErrorKind::Panicked {
                    task: method.to_owned(),
                    node: self.node.name.clone(),
                    message: panic.message.clone(),
                    location: panic.location.clone(),
                }
                .into(),
            );
        }
        if alive {
            self.report_crash(reason);
        }
    }

    fn report_crash(&self, reason: String) {
        if let Some(address) = self.address() {
            address.do_send(Crashed { reason });
        }
    }

    fn drop_state(&self) {
        // The state's own drop is user code as well.
        let taken = self.state.try_write().and_then(|mut state| state.take());
        if let Err(panic) = panics::catch(|| drop(taken)) {
            tracing::warn!(actor = %self.label, at = %panic.location, message = %panic.message, "the state's drop panicked");
        }
    }

    fn end_if_drained(self: &Arc<Self>) {
        if self.gone.load(Ordering::Relaxed) && self.inner.lock().core.is_drained() {
            self.node.supervisor.ended(self.id, "no handle to it was left");
        }
    }
}

impl<A: Send + Sync + 'static> Turn for ActorCell<A> {
    fn run(self: Arc<Self>, _node: &Arc<Node>) {
        if self.inner.lock().core.begin_turn() {
            self.drive(None);
        }
    }
}

impl<A: Send + Sync + 'static> Task for ActorCell<A> {
    fn head(&self) -> &TaskHead {
        &self.head
    }

    fn execute(self: Arc<Self>, _node: &Arc<Node>) {
        // Its arguments and resources are there. The constructor runs in a turn, since it may block.
        self.dependencies.lock().clear();
        if self.inner.lock().core.allow_creation() {
            self.queue_turn(None);
        }
    }

    fn fail(&self, error: TaskError) {
        if let Some(cell) = self.myself.get().and_then(std::sync::Weak::upgrade) {
            cell.die(&error.to_string());
        }
    }

    fn each_dependency(&self, visit: &mut dyn FnMut(Arc<dyn Object>)) {
        let all = self.dependencies.lock().clone();
        all.into_iter().for_each(visit);
    }

    fn help(self: Arc<Self>, _node: &Arc<Node>) -> bool {
        false
    }
}

impl<A: Send + Sync + 'static> AnyActor for ActorCell<A> {
    fn id(&self) -> ActorId {
        self.id
    }

    fn label(&self) -> &str {
        &self.label
    }

    fn options(&self) -> &ActorOptions {
        &self.options
    }

    fn phase(&self) -> Phase {
        self.inner.lock().core.phase()
    }

    fn load(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.core.pending(), inner.core.running())
    }

    fn creation(self: Arc<Self>) -> Arc<dyn Task> {
        self
    }

    fn set_address(&self, address: Addr<UserActor>) {
        *self.address.lock() = Some(address);
    }

    fn address(&self) -> Option<Addr<UserActor>> {
        self.address.lock().clone()
    }

    fn rebuild(self: Arc<Self>) {
        self.drop_state();
        self.taken_down.store(false, Ordering::Release);
        if self.inner.lock().core.allow_creation() {
            self.queue_turn(None);
        }
    }

    fn take_down(self: Arc<Self>) {
        self.taken_down.store(true, Ordering::Release);
        if self.inner.lock().core.crashed() {
            self.abandon("it is being restarted");
        }
    }

    fn die(self: Arc<Self>, reason: &str) {
        self.taken_down.store(true, Ordering::Release);
        let calls = {
            let mut inner = self.inner.lock();
            if inner.died_of.is_none() {
                inner.died_of = Some(reason.to_owned());
            }
            inner.core.die()
        };
        for call in calls {
            self.fail_dead(call.as_ref(), reason);
        }
        self.abandon(reason);
        self.drop_state();
        // Resources that are granted only now go back at once.
        self.head.request_cancel();
        self.head.finish();
        self.node.task_done(&self.head);
        *self.address.lock() = None;
    }

    fn handles_gone(self: Arc<Self>) {
        self.inner.lock().core.drain();
        self.gone.store(true, Ordering::Relaxed);
        self.end_if_drained();
    }
}

impl<A: Send + Sync + 'static> ActorCell<A> {
    /// Ends the async calls under way: their callers learn that they may have run in part.
    fn abandon(&self, reason: &str) {
        let all = std::mem::take(&mut *self.inflight.lock());
        for inflight in all.iter().filter_map(std::sync::Weak::upgrade) {
            inflight.abandon(reason);
        }
    }
}
