//! A worker's thread, and the sentinel's.
//!
//! Owns: the loops. Decides nothing about how many threads there are: see [`super::core`].

use std::{
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc,
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam::deque::Worker as Deque;

use super::core::{PoolCore, PoolEffect, PoolLimits, PoolView};
use crate::{
    context,
    lane::{Turn, Work},
    node::Node,
    task::Task,
};

/// A worker that has slept this long beyond the first few ends.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// Virtual size of a worker's stack; deeper nesting continues on segments of its own.
const STACK_BYTES: usize = 2 << 20;

/// Counts of worker threads.
#[derive(Default)]
pub struct Threads {
    next: AtomicUsize,
    alive: AtomicUsize,
}

impl Threads {
    /// Worker threads alive.
    #[must_use]
    pub fn alive(&self) -> usize {
        self.alive.load(Ordering::Acquire)
    }
}

/// Starts one worker.
///
/// # Errors
/// The operating system's refusal to start a thread.
pub fn spawn_worker(node: &Arc<Node>) -> std::io::Result<()> {
    let worker = node.threads.next.fetch_add(1, Ordering::Relaxed);
    node.threads.alive.fetch_add(1, Ordering::AcqRel);
    let ours = node.clone();
    let started =
        thread::Builder::new().name(format!("actinic-worker-{worker}")).stack_size(STACK_BYTES).spawn(move || {
            let _left = Left(&ours);
            run_worker(&ours, worker);
        });
    if let Err(error) = started {
        node.threads.alive.fetch_sub(1, Ordering::AcqRel);
        return Err(error);
    }
    Ok(())
}

struct Left<'a>(&'a Arc<Node>);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.threads.alive.fetch_sub(1, Ordering::AcqRel);
    }
}

fn run_worker(node: &Arc<Node>, worker: usize) {
    let _io = node.io.enter();
    context::attach(node);
    let own = Deque::new_fifo();
    node.lane.add_worker(worker, &own);
    let mut looking = Looking { node, worker, own: &own, token: false };
    while !node.is_down() {
        if !looking.work_once() && !looking.sleep() {
            break;
        }
    }
    looking.leave_token();
    while let Some(task) = own.pop() {
        node.lane.push(task);
    }
    node.lane.remove_worker(worker);
    context::detach();
}

struct Looking<'a> {
    node: &'a Arc<Node>,
    worker: usize,
    own: &'a Deque<Arc<dyn Task>>,
    token: bool,
}

impl Looking<'_> {
    /// Does one thing; false where there is nothing to do.
    fn work_once(&mut self) -> bool {
        let lane = &self.node.lane;
        let mut own_task = None;
        match context::take_outbox() {
            Some(Work::Turn(turn)) => return self.run_turn(turn),
            Some(Work::Task(task)) => own_task = Some(task),
            None => {}
        }
        if let Some(turn) = lane.find_turn() {
            if let Some(task) = own_task {
                lane.push(task);
            }
            return self.run_turn(turn);
        }
        if !self.token {
            self.token = lane.take_token();
        }
        if self.token {
            if let Some(task) = own_task.take().or_else(|| self.next_task()) {
                lane.note_progress();
                if task.head().claim() {
                    context::with_token(|| task.execute(self.node));
                }
                if lane.owes() {
                    self.leave_token();
                }
                return true;
            }
            self.leave_token();
        }
        if let Some(task) = own_task {
            lane.push(task);
        }
        false
    }

    fn run_turn(&mut self, turn: Arc<dyn Turn>) -> bool {
        self.node.lane.note_progress();
        self.leave_token();
        turn.run(self.node);
        true
    }

    fn next_task(&mut self) -> Option<Arc<dyn Task>> {
        if let Some(task) = self.own.pop() {
            return Some(task);
        }
        let lane = &self.node.lane;
        lane.start_search();
        let task = lane.find_task(self.worker, self.own);
        lane.end_search();
        // One that found a batch calls another to its aid; that one does the same.
        if task.is_some() && lane.parked() > 0 && lane.free_tokens() > 0 && lane.searching() == 0 && lane.has_tasks() {
            lane.wake_one();
        }
        task
    }

    fn leave_token(&mut self) {
        if self.token {
            self.token = false;
            self.node.put_token();
        }
    }

    /// Sleeps until woken; false where this thread is not needed any more.
    fn sleep(&mut self) -> bool {
        let lane = &self.node.lane;
        // Work often comes in quick succession: a few empty looks cost less than one sleep. What comes from other processes
        // wakes whoever polls, and they need the CPU that looking would take.
        if self.node.cluster.is_none() {
            lane.start_search();
            let found = (0..32).any(|_| {
                thread::yield_now();
                lane.has_turns() || (lane.free_tokens() > 0 && lane.has_tasks())
            });
            lane.end_search();
            if found {
                return true;
            }
        }
        let since = Instant::now();
        let mut retracted = false;
        if !self.poll(&mut retracted) {
            // What was said goes out now, and not at the sentinel's next look.
            self.node.cluster.iter().for_each(|cluster| cluster.lines.flush());
            lane.announce_sleep(self.worker, None);
            if self.is_wanted() {
                lane.retract_sleep(self.worker);
                return true;
            }
            thread::park_timeout(IDLE_MAX);
            retracted = lane.retract_sleep(self.worker);
        }
        !(retracted && since.elapsed() >= IDLE_MAX && self.node.threads.alive() > self.node.cpus_whole())
    }

    /// Sleeps where it hears of other processes, if nobody else does.
    fn poll(&self, retracted: &mut bool) -> bool {
        let Some(cluster) = &self.node.cluster else { return false };
        let (lane, lines) = (&self.node.lane, &cluster.lines);
        let asleep = || {
            lane.announce_sleep(self.worker, Some(lines));
            !self.is_wanted()
        };
        lines.poll_idle(IDLE_MAX, asleep, || *retracted = lane.retract_sleep(self.worker))
    }

    fn is_wanted(&self) -> bool {
        let lane = &self.node.lane;
        lane.has_turns() || (lane.free_tokens() > 0 && lane.has_tasks()) || self.node.is_down()
    }
}

/// Runs the sentinel until the node is down.
///
/// # Errors
/// The operating system's refusal to start a thread.
pub fn spawn_sentinel(node: &Arc<Node>, limits: PoolLimits) -> std::io::Result<()> {
    let ours = node.clone();
    let handle = thread::Builder::new().name("actinic-sentinel".into()).spawn(move || {
        let mut core = PoolCore::new(limits);
        let mut effects = Vec::new();
        while !ours.is_down() {
            look(&ours, &mut core, &mut effects);
        }
    })?;
    node.lane.set_sentinel(handle.thread().clone());
    Ok(())
}

fn look(node: &Arc<Node>, core: &mut PoolCore, effects: &mut Vec<PoolEffect>) {
    let lane = &node.lane;
    node.settle_tokens();
    let outbox_moved = lane.flush_stale();
    if node.take_blocked_note() {
        core.on_blocked();
    }
    let view = PoolView {
        tasks_waiting: lane.has_tasks(),
        turns_waiting: lane.has_turns(),
        tokens_free: lane.free_tokens(),
        progress: lane.progress(),
        threads: node.threads.alive(),
        parked: lane.parked(),
        searching: lane.searching(),
        outbox_moved,
        lead: node.cluster.as_ref().map(|cluster| cluster.lines.look()).unwrap_or_default(),
    };
    core.on_look(view, effects);
    for effect in effects.drain(..) {
        match effect {
            PoolEffect::Wake => {
                lane.wake_one();
            }
            PoolEffect::Spawn => {
                if let Err(error) = spawn_worker(node) {
                    tracing::error!(%error, "cannot start a worker thread; queued work goes on with those there are");
                }
            }
            PoolEffect::AtLimit => {
                tracing::error!(threads = view.threads, "all worker threads are blocked and their bound is reached");
            }
            PoolEffect::LookAgain(after) => thread::park_timeout(after),
            PoolEffect::Sleep => {
                if lane.sentinel_sleeps() {
                    thread::park_timeout(Duration::from_secs(1));
                    lane.sentinel_wakes();
                }
            }
        }
    }
}
