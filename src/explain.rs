//! Answers to "why is there no result yet?".

use std::sync::Arc;

use actinic_actors::{
    node::Node,
    task::{Object, Task, TaskKind, TaskState},
};

/// How far a chain of data edges is followed.
const CHAIN_MAX: usize = 64;

/// Why `object` has no value yet.
pub(crate) fn explain(node: &Arc<Node>, object: &Arc<dyn Object>) -> String {
    if let Some(error) = object.error() {
        return format!("it is ready, with an error: {error}");
    }
    if object.is_ready() {
        return "it is ready".to_owned();
    }
    let Some(task) = object.clone().producer() else { return "nothing makes it".to_owned() };
    explain_task(node, &task, 0)
}

fn explain_task(node: &Arc<Node>, task: &Arc<dyn Task>, depth: usize) -> String {
    let head = task.head();
    let name = head.name;
    match head.state() {
        TaskState::Done => format!("`{name}` has just ended"),
        TaskState::Running | TaskState::Notified => match node.waits.lock().waits_for(head.id) {
            Some(object) => format!("`{name}` runs, and waits in a get for {}", what(&object)),
            None => format!("`{name}` runs"),
        },
        TaskState::Suspended => format!("`{name}` has started and waits at an await"),
        TaskState::Waiting => {
            let mut missing = Vec::new();
            task.each_dependency(&mut |object| {
                if !object.is_ready() {
                    missing.push(object);
                }
            });
            let Some(first) = missing.first() else { return format!("`{name}` is about to be queued") };
            let why = match first.clone().producer().filter(|_| depth < CHAIN_MAX) {
                Some(producer) => explain_task(node, &producer, depth + 1),
                None => "nothing makes it".to_owned(),
            };
            let more = missing.len() - 1;
            let others = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("`{name}` waits for its argument {}{others}: {why}", what(first))
        }
        TaskState::Queued => queued(node, task),
    }
}

fn queued(node: &Arc<Node>, task: &Arc<dyn Task>) -> String {
    let head = task.head();
    let name = head.name;
    let here = match head.kind {
        TaskKind::Method(actor) => node.actors.get(actor).is_some(),
        _ => head.is_kept_here(),
    };
    // What goes to other processes waits at its owner, which knows for what.
    if let Some(why) = node.cluster.as_ref().filter(|_| !here).and_then(|core| core.explain(&**task)) {
        return format!("`{name}` has its arguments; {why}");
    }
    match head.kind {
        TaskKind::Method(actor) => match node.actors.get(actor) {
            Some(actor) => {
                let (waiting, running) = actor.load();
                format!(
                    "`{name}` waits in the mailbox of {} ({:?}; {running} calls run, {waiting} wait)",
                    actor.label(),
                    actor.phase()
                )
            }
            None => format!("`{name}` waits for an actor that has ended"),
        },
        _ => match node.scheduler.explain(head.id) {
            Some(why) => format!("`{name}` has its arguments; {why}"),
            None => format!(
                "`{name}` has its arguments and waits for a CPU: {} of {} are free, {} tasks are queued",
                node.lane.free_tokens().max(0),
                node.cpus_whole(),
                node.lane.queued()
            ),
        },
    }
}

fn what(object: &Arc<dyn Object>) -> String {
    match object.clone().producer() {
        Some(task) => format!("{} of `{}`", object.id(), task.head().name),
        None => object.id().to_string(),
    }
}
