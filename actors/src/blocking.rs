//! How a thread waits for an object: it runs what it waits for, if it may, else it gives its CPU back and sleeps.
//!
//! Owns: helping, blocking, and the error for a cycle of blocking gets. Source of the idea of helping: the work-first
//! principle of Cilk-5 (Frigo et al., PLDI 1998); here it also spares the wake-up of another thread.

use std::{sync::Arc, time::Instant};

use crate::{
    cell::{Signal, Waiter},
    context::{self, Cpu},
    counters::Count,
    error::{TaskError, TaskErrorKind},
    node::Node,
    task::{Object, Task, TaskState},
};

/// Tasks that a thread runs one within the other before it blocks in earnest and leaves the next to another thread.
const HELP_DEPTH_MAX: usize = 1_000;

/// Stack that a task run by its waiting caller finds at the least.
const STACK_LEFT_MIN: usize = 256 << 10;

/// A new segment where there is less.
const STACK_SEGMENT: usize = 4 << 20;

/// Tasks that a caller looks through for one that it can run.
const HELP_CHAIN_MAX: usize = 1 << 20;

/// Runs an ordinary task on this thread if it has not started and a CPU is to be had; for [`Task::help`].
pub fn help_here(node: &Arc<Node>, task: Arc<dyn Task>) -> bool {
    if context::depth() >= HELP_DEPTH_MAX || task.head().state() != TaskState::Queued {
        return false;
    }
    let borrowed = context::cpu() == Cpu::None;
    if borrowed && !node.lane.take_token() {
        return false;
    }
    let claimed = task.head().claim();
    if claimed {
        let _ = context::with_thread(|thread| {
            thread.outbox.take_back_task(Arc::as_ptr(&task).cast());
            thread.counters.add(Count::TasksHelped, 1);
        });
        let cpu = if borrowed { Cpu::Token } else { context::cpu() };
        stacker::maybe_grow(STACK_LEFT_MIN, STACK_SEGMENT, || context::with_cpu(cpu, || task.execute(node)));
    }
    if borrowed {
        node.put_token();
    }
    claimed
}

/// Runs what `object` needs on this thread as far as it may.
fn help_toward(node: &Arc<Node>, object: &Arc<dyn Object>) {
    let Some(producer) = object.clone().producer() else { return };
    let mut chain = vec![producer];
    while let Some(top) = chain.last().cloned() {
        match top.head().state() {
            TaskState::Done => {
                chain.pop();
            }
            TaskState::Queued => {
                if !top.help(node) {
                    return;
                }
                chain.pop();
            }
            TaskState::Waiting => {
                let mut missing = None;
                top.each_dependency(&mut |object| {
                    if missing.is_none() && !object.is_ready() {
                        missing = Some(object);
                    }
                });
                match missing.and_then(|object| object.producer()) {
                    Some(next) if chain.len() < HELP_CHAIN_MAX => chain.push(next),
                    _ => return,
                }
            }
            _ => return,
        }
    }
}

/// Waits until `object` is ready. With a deadline the caller never runs the task itself, since that could take longer.
///
/// # Errors
/// `Deadlock` where the wait would close a cycle, `TimedOut` after the deadline.
pub fn wait_ready(node: &Arc<Node>, object: &Arc<dyn Object>, deadline: Option<Instant>) -> Result<(), TaskError> {
    if object.is_ready() {
        return Ok(());
    }
    if deadline.is_none() {
        help_toward(node, object);
        if object.is_ready() {
            return Ok(());
        }
    }
    let began = Instant::now();
    let signal = Signal::after(1);
    if !object.register(Waiter::Signal(signal.clone())) {
        return Ok(());
    }
    if node.is_down() {
        // Submitted while the runtime was being shut down: nobody will run it, and nobody else would tell.
        object.unregister(&signal);
        let hint = "it was shut down while the task was being submitted".to_owned();
        return Err(TaskErrorKind::NoRuntime { hint }.into());
    }
    let frames = context::frames();
    if let Err(cycle) = node.waits.lock().enter(&frames, object) {
        object.unregister(&signal);
        return Err(TaskErrorKind::Deadlock { cycle }.into());
    }
    let reached = sleep_on(node, &signal, deadline);
    node.waits.lock().leave(&frames);
    if !reached && !object.is_ready() {
        object.unregister(&signal);
        return Err(TaskErrorKind::TimedOut { waited: began.elapsed() }.into());
    }
    Ok(())
}

/// Waits until at least `count` of `objects` are ready or the deadline passes; gives which are.
pub fn wait_some(node: &Arc<Node>, objects: &[Arc<dyn Object>], count: usize, deadline: Option<Instant>) {
    let signal = Signal::after(count);
    let mut registered = 0;
    let mut ready = 0;
    for object in objects {
        if ready >= count {
            break;
        }
        if object.register(Waiter::Signal(signal.clone())) {
            registered += 1;
        } else {
            signal.notify();
            ready += 1;
        }
    }
    if ready < count {
        sleep_on(node, &signal, deadline);
    }
    if registered > 0 {
        for object in objects {
            object.unregister(&signal);
        }
    }
}

/// Sleeps until the signal is reached or the deadline passes, and hears of other processes meanwhile; whether it was reached.
/// This thread's CPU is free for others.
pub fn sleep_on(node: &Arc<Node>, signal: &Arc<Signal>, deadline: Option<Instant>) -> bool {
    blocked(node, || match &node.cluster {
        // What has come may be something to run, and this thread is busy with waiting.
        Some(cluster) => cluster.lines.wait(signal, deadline, || {
            let _ = context::with_thread(|thread| node.lane.flush(&thread.outbox));
            node.note_blocked();
        }),
        None => signal.wait_until(deadline),
    })
}

/// Runs `sleep`, during which this thread's CPU is free for others.
pub fn blocked<R>(node: &Arc<Node>, sleep: impl FnOnce() -> R) -> R {
    without_cpu(node, || {
        let _ = context::with_thread(|thread| node.lane.flush(&thread.outbox));
        if let Some(cluster) = &node.cluster {
            cluster.lines.flush();
        }
        node.note_blocked();
        sleep()
    })
}

/// Runs `f`, which waits or does what needs no CPU of the node's, while this thread's CPU is free for others.
pub fn without_cpu<R>(node: &Arc<Node>, f: impl FnOnce() -> R) -> R {
    let cpu = context::cpu();
    match cpu {
        Cpu::None => {}
        Cpu::Token => node.put_token(),
        Cpu::Granted(grant) => node.scheduler.blocked(grant),
    }
    let result = context::with_cpu(Cpu::None, f);
    match cpu {
        Cpu::None => {}
        Cpu::Token => node.lane.force_token(),
        Cpu::Granted(grant) => node.scheduler.unblocked(grant),
    }
    result
}
