//! The fast lane: where ordinary tasks (one CPU, anywhere on this node) go from submission to a worker without a
//! message each.
//!
//! Owns: the queues, the CPU tokens that the [scheduler](crate::scheduler) has lent to the lane, and the sleeping
//! workers. Does not own: how many tokens the lane has (the scheduler core lends and reclaims them), nor when a thread
//! is added or woken for want of progress (the [pool core](crate::pool::core) decides that).
//!
//! How it works, and why it is fast:
//!
//! - A submitted task goes into its thread's [`Outbox`], a slot for one. The next submission pushes the former occupant
//!   into the shared queue. So a caller that submits and then waits takes its task back out of its own slot and runs it
//!   itself: no queue, no other thread, no wake-up.
//! - Nobody is woken at a submission. Waking another thread costs more than an empty task, so that is left to the
//!   *sentinel*, a thread that looks every 100 µs while there is activity and sleeps when there is none; to callers that
//!   block; and to workers that found more work than they can do.
//! - A worker needs a token to run a task, and keeps it from task to task. A blocked one gives it back.
//!
//! **Invariant:** tokens free + tokens held + tokens owed back to the scheduler = tokens lent. A token may be taken by
//! force by a worker that comes back from a blocking `get`, so the count of free tokens may be negative for a while.

use std::{
    sync::{
        atomic::{fence, AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
        Arc,
    },
    thread::Thread,
};

use crossbeam::deque::{Injector, Steal, Stealer, Worker as Deque};
use parking_lot::{Mutex, RwLock};

use crate::{cluster::lines::Lines, node::Node, task::Task};

/// Work that needs no CPU token: a turn of an actor, or a task that was granted resources of its own.
pub trait Turn: Send + Sync {
    /// Does a bounded amount of it.
    fn run(self: Arc<Self>, node: &Arc<Node>);
}

/// What a worker can be given.
pub enum Work {
    /// A task that needs a CPU token.
    Task(Arc<dyn Task>),
    /// A turn, which needs none.
    Turn(Arc<dyn Turn>),
}

/// A thread's slot for the work that it submitted last.
#[derive(Default)]
pub struct Outbox {
    slot: Mutex<Option<Work>>,
    submitted: AtomicU64,
    seen: AtomicU64,
}

impl Outbox {
    fn replace(&self, work: Work) -> Option<Work> {
        let number = self.submitted.load(Ordering::Relaxed);
        self.submitted.store(number.wrapping_add(1), Ordering::Relaxed);
        self.slot.lock().replace(work)
    }

    /// Takes out the last work, whatever it is.
    pub fn take(&self) -> Option<Work> {
        self.slot.lock().take()
    }

    /// Takes the task at `address` out if it is the last work.
    pub fn take_back_task(&self, address: *const ()) {
        let mut slot = self.slot.lock();
        if matches!(&*slot, Some(Work::Task(task)) if Arc::as_ptr(task).cast() == address) {
            *slot = None;
        }
    }

    /// Takes the turn at `address` out if it is the last work. (An actor is a task as well: its own creation.)
    pub fn take_back_turn(&self, address: *const ()) {
        let mut slot = self.slot.lock();
        if matches!(&*slot, Some(Work::Turn(turn)) if Arc::as_ptr(turn).cast() == address) {
            *slot = None;
        }
    }

    /// Takes out work that has been there since the sentinel's last look.
    fn take_stale(&self) -> Option<Work> {
        let now = self.submitted.load(Ordering::Relaxed);
        if self.seen.swap(now, Ordering::Relaxed) == now {
            self.take()
        } else {
            None
        }
    }
}

/// The queues, tokens and sleepers of the fast lane.
pub struct Lane {
    queue: Injector<Arc<dyn Task>>,
    turns: Injector<Arc<dyn Turn>>,
    tokens: AtomicI64,
    owed: AtomicI64,
    outboxes: RwLock<Vec<std::sync::Weak<Outbox>>>,
    stealers: RwLock<Vec<WorkerStealer>>,
    sleepers: Mutex<Vec<Sleeper>>,
    parked: AtomicUsize,
    searching: AtomicUsize,
    sentinel_asleep: AtomicBool,
    sentinel: Mutex<Option<Thread>>,
    progress: AtomicU64,
}

/// A worker's number, and access to its deque.
type WorkerStealer = (usize, Stealer<Arc<dyn Task>>);

struct Sleeper {
    worker: usize,
    place: Place,
}

/// Where a worker sleeps.
enum Place {
    Parked(Thread),
    Polling(Arc<Lines>),
}

impl Place {
    fn wake(&self) {
        match self {
            Self::Parked(thread) => thread.unpark(),
            Self::Polling(lines) => lines.wake(),
        }
    }
}

impl Lane {
    /// A lane with `tokens` CPUs.
    #[must_use]
    pub fn new(tokens: u32) -> Self {
        Self {
            queue: Injector::new(),
            turns: Injector::new(),
            tokens: AtomicI64::new(i64::from(tokens)),
            owed: AtomicI64::new(0),
            outboxes: RwLock::default(),
            stealers: RwLock::default(),
            sleepers: Mutex::default(),
            parked: AtomicUsize::new(0),
            searching: AtomicUsize::new(0),
            sentinel_asleep: AtomicBool::new(false),
            sentinel: Mutex::default(),
            progress: AtomicU64::new(0),
        }
    }

    // --- work in ---------------------------------------------------------------------------------------------------

    /// Makes an outbox for a thread that will submit.
    #[must_use]
    pub fn add_outbox(&self) -> Arc<Outbox> {
        let outbox = Arc::new(Outbox::default());
        let mut all = self.outboxes.write();
        all.retain(|outbox| outbox.strong_count() > 0);
        all.push(Arc::downgrade(&outbox));
        outbox
    }

    /// Submits work that may run.
    pub fn submit(&self, work: Work, outbox: &Outbox) {
        if let Some(former) = outbox.replace(work) {
            self.push_work(former);
        }
        self.announce();
    }

    fn push_work(&self, work: Work) {
        match work {
            Work::Task(task) => self.queue.push(task),
            Work::Turn(turn) => self.turns.push(turn),
        }
    }

    /// Puts a task straight into the shared queue.
    pub fn push(&self, task: Arc<dyn Task>) {
        self.queue.push(task);
        self.announce();
    }

    /// Queues a turn.
    pub fn push_turn(&self, turn: Arc<dyn Turn>) {
        self.turns.push(turn);
        self.announce();
    }

    /// Moves what waits in a thread's outbox to where others find it.
    pub fn flush(&self, outbox: &Outbox) {
        if let Some(work) = outbox.take() {
            self.push_work(work);
        }
    }

    /// Moves tasks that have waited in outboxes since the last look; whether any outbox has been in use since then.
    pub fn flush_stale(&self) -> bool {
        let mut moved = false;
        for outbox in self.outboxes.read().iter() {
            if let Some(outbox) = outbox.upgrade() {
                if let Some(work) = outbox.take_stale() {
                    self.push_work(work);
                    moved = true;
                }
            }
        }
        moved
    }

    /// Makes sure that somebody will look at the queues: the sentinel, if all sleep.
    pub(crate) fn announce(&self) {
        // Pairs with the fence in `sentinel_sleeps`: either the sentinel sees the work or this sees it asleep.
        fence(Ordering::SeqCst);
        if self.sentinel_asleep.load(Ordering::Relaxed) {
            self.wake_sentinel();
        }
    }

    // --- work out --------------------------------------------------------------------------------------------------

    /// Gives the other workers access to `deque`.
    pub fn add_worker(&self, worker: usize, deque: &Deque<Arc<dyn Task>>) {
        self.stealers.write().push((worker, deque.stealer()));
    }

    /// The worker has gone.
    pub fn remove_worker(&self, worker: usize) {
        self.stealers.write().retain(|(other, _)| *other != worker);
    }

    /// The next task for a worker: its own, else a batch of the shared queue, else some of another worker's.
    pub fn find_task(&self, worker: usize, own: &Deque<Arc<dyn Task>>) -> Option<Arc<dyn Task>> {
        own.pop().or_else(|| self.steal_task(worker, own))
    }

    fn steal_task(&self, worker: usize, own: &Deque<Arc<dyn Task>>) -> Option<Arc<dyn Task>> {
        loop {
            let mut retry = false;
            match self.queue.steal_batch_and_pop(own) {
                Steal::Success(task) => return Some(task),
                Steal::Retry => retry = true,
                Steal::Empty => {}
            }
            for (other, stealer) in self.stealers.read().iter() {
                if *other != worker {
                    match stealer.steal_batch_and_pop(own) {
                        Steal::Success(task) => return Some(task),
                        Steal::Retry => retry = true,
                        Steal::Empty => {}
                    }
                }
            }
            if !retry {
                return None;
            }
        }
    }

    /// The next turn.
    pub fn find_turn(&self) -> Option<Arc<dyn Turn>> {
        if self.turns.is_empty() {
            return None;
        }
        loop {
            match self.turns.steal() {
                Steal::Success(turn) => return Some(turn),
                Steal::Retry => {}
                Steal::Empty => return None,
            }
        }
    }

    /// Whether a task waits where another worker would find it.
    #[must_use]
    pub fn has_tasks(&self) -> bool {
        !self.queue.is_empty() || self.stealers.read().iter().any(|(_, stealer)| !stealer.is_empty())
    }

    /// Whether a turn waits.
    #[must_use]
    pub fn has_turns(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Tasks in the queues. A moment's figure.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len() + self.stealers.read().iter().map(|(_, stealer)| stealer.len()).sum::<usize>()
    }

    // --- tokens ----------------------------------------------------------------------------------------------------

    /// Takes a CPU token, if one is free and none is owed.
    pub fn take_token(&self) -> bool {
        if self.owed.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let mut free = self.tokens.load(Ordering::Relaxed);
        while free > 0 {
            match self.tokens.compare_exchange_weak(free, free - 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => free = now,
            }
        }
        false
    }

    /// Takes a token whether or not one is free: for a worker that comes back from a blocking `get` (as in Ray).
    pub fn force_token(&self) {
        self.tokens.fetch_sub(1, Ordering::AcqRel);
    }

    /// Gives a token back.
    pub fn put_token(&self) {
        self.tokens.fetch_add(1, Ordering::AcqRel);
    }

    /// Adds `count` tokens that the scheduler lends.
    pub fn lend(&self, count: u32) {
        self.tokens.fetch_add(i64::from(count), Ordering::AcqRel);
        self.announce();
    }

    /// The scheduler wants `count` tokens back; [`Lane::settle`] hands them over as they get free.
    pub fn reclaim(&self, count: u32) {
        self.owed.fetch_add(i64::from(count), Ordering::AcqRel);
    }

    /// The scheduler no longer wants `count` of the tokens that it reclaimed; gives how many it could still call off.
    pub fn call_off(&self, count: u32) -> u32 {
        let mut off = 0;
        while off < count && self.take_one(&self.owed) {
            off += 1;
        }
        off
    }

    fn take_one(&self, of: &AtomicI64) -> bool {
        of.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |left| (left > 0).then(|| left - 1)).is_ok()
    }

    /// Whether a worker should give its token back after the task at hand.
    #[must_use]
    pub fn owes(&self) -> bool {
        self.owed.load(Ordering::Relaxed) > 0
    }

    /// Pairs free tokens with owed ones; how many go back to the scheduler.
    pub fn settle(&self) -> u32 {
        let mut settled = 0;
        while self.owes() && self.take_one(&self.tokens) {
            if self.take_one(&self.owed) {
                settled += 1;
            } else {
                self.put_token();
                break;
            }
        }
        settled
    }

    /// Free tokens; negative while workers that came back from `get` hold more than there are.
    #[must_use]
    pub fn free_tokens(&self) -> i64 {
        self.tokens.load(Ordering::Relaxed)
    }

    // --- sleeping and waking ---------------------------------------------------------------------------------------

    /// A worker looks for work: others need not be woken for it.
    pub fn start_search(&self) {
        self.searching.fetch_add(1, Ordering::SeqCst);
    }

    /// The worker has found some, or goes to sleep.
    pub fn end_search(&self) {
        self.searching.fetch_sub(1, Ordering::SeqCst);
    }

    /// Workers that look for work at this moment.
    #[must_use]
    pub fn searching(&self) -> usize {
        self.searching.load(Ordering::Relaxed)
    }

    /// Workers asleep.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.parked.load(Ordering::Relaxed)
    }

    /// Announces that the calling worker is about to sleep. It must look for work once more, then park, or poll these lines.
    pub fn announce_sleep(&self, worker: usize, polling: Option<&Arc<Lines>>) {
        let place = match polling {
            Some(lines) => Place::Polling(lines.clone()),
            None => Place::Parked(std::thread::current()),
        };
        self.sleepers.lock().push(Sleeper { worker, place });
        self.parked.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The worker does not sleep after all, or has woken; false where a waker has taken it off already.
    pub fn retract_sleep(&self, worker: usize) -> bool {
        let mut sleepers = self.sleepers.lock();
        let Some(at) = sleepers.iter().position(|sleeper| sleeper.worker == worker) else { return false };
        sleepers.swap_remove(at);
        self.parked.fetch_sub(1, Ordering::SeqCst);
        true
    }

    /// Wakes one sleeping worker, if there is one.
    pub fn wake_one(&self) -> bool {
        if self.parked.load(Ordering::SeqCst) == 0 {
            return false;
        }
        let sleeper = {
            let mut sleepers = self.sleepers.lock();
            // Rather one whom nobody would have to stand in for.
            let parked = sleepers.iter().rposition(|sleeper| matches!(sleeper.place, Place::Parked(_)));
            let sleeper = parked.or(sleepers.len().checked_sub(1)).map(|at| sleepers.swap_remove(at));
            if sleeper.is_some() {
                self.parked.fetch_sub(1, Ordering::SeqCst);
            }
            sleeper
        };
        sleeper.inspect(|sleeper| sleeper.place.wake()).is_some()
    }

    /// Names the sentinel's thread.
    pub fn set_sentinel(&self, thread: Thread) {
        *self.sentinel.lock() = Some(thread);
    }

    /// Has the sentinel look now.
    pub fn wake_sentinel(&self) {
        self.sentinel_asleep.store(false, Ordering::SeqCst);
        if let Some(thread) = &*self.sentinel.lock() {
            thread.unpark();
        }
    }

    /// The sentinel is about to sleep until it is woken; false where there is work and it must not.
    pub fn sentinel_sleeps(&self) -> bool {
        self.sentinel_asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let outbox_used =
            self.outboxes.read().iter().filter_map(std::sync::Weak::upgrade).any(|o| o.slot.lock().is_some());
        if outbox_used || !self.queue.is_empty() || !self.turns.is_empty() {
            self.sentinel_asleep.store(false, Ordering::SeqCst);
            return false;
        }
        true
    }

    /// The sentinel is awake again, whoever or whatever woke it.
    pub fn sentinel_wakes(&self) {
        self.sentinel_asleep.store(false, Ordering::SeqCst);
    }

    /// A worker has begun something: there is progress.
    pub fn note_progress(&self) {
        let so_far = self.progress.load(Ordering::Relaxed);
        self.progress.store(so_far.wrapping_add(1), Ordering::Relaxed);
    }

    /// Grows as long as workers begin things.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }
}
