//! The dynamic task graph (OSDI 2018, §3.2): tasks and objects, with data, control and stateful edges.
//!
//! Owns: the picture of it. What is alive is read from the [registry](crate::live) when asked, so keeping it costs nothing
//! more than the registry; the graph of a whole run is recorded only where asked, up to a bound.

use std::fmt::Write as _;

use actinic_gcs::{ActorId, ObjectId, TaskId};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{
    live,
    node::Node,
    task::{TaskHead, TaskKind, TaskState},
};

/// One task of the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskNode {
    /// Its id.
    pub id: String,
    /// Its function.
    pub name: String,
    /// The task that submitted it: the control edge.
    pub parent: String,
    /// The objects it takes: the data edges.
    pub takes: Vec<String>,
    /// Its actor, if it is a method or a constructor.
    pub actor: Option<String>,
    /// Its place among the actor's calls; the stateful edge comes from the place before. 0 is the constructor.
    pub sequence: Option<u64>,
    /// Where it is in its life; in the graph of a whole run, where it was when it was last seen.
    pub state: String,
}

/// A graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskGraph {
    /// The driver's id, the root of all control edges.
    pub driver: String,
    /// The tasks, by id.
    pub tasks: Vec<TaskNode>,
    /// Tasks that the bound on the record left out.
    pub left_out: u64,
}

#[derive(Clone)]
struct Recorded {
    id: TaskId,
    parent: TaskId,
    name: &'static str,
    kind: TaskKind,
    takes: Box<[ObjectId]>,
}

#[derive(Default)]
struct Record {
    tasks: Vec<Recorded>,
    left_out: u64,
}

/// The tasks of a whole run, up to a bound.
pub struct Recorder {
    record: Mutex<Record>,
    tasks_max: usize,
}

impl Recorder {
    /// A record of at most `tasks_max` tasks; those after are counted only.
    #[must_use]
    pub fn new(tasks_max: usize) -> Self {
        Self { record: Mutex::default(), tasks_max }
    }

    /// Adds a task that was just submitted.
    pub fn record(&self, head: &TaskHead) {
        let mut record = self.record.lock();
        if record.tasks.len() >= self.tasks_max {
            record.left_out += 1;
            return;
        }
        let takes = head.dependencies.clone().unwrap_or_default();
        record.tasks.push(Recorded { id: head.id, parent: head.parent, name: head.name, kind: head.kind, takes });
    }
}

/// The graph of all that is alive, and of the whole run where it was recorded.
#[must_use]
pub fn graph_of(node: &Node) -> TaskGraph {
    let mut graph = TaskGraph { driver: node.driver.to_string(), ..TaskGraph::default() };
    let mut alive: Vec<TaskNode> = live::snapshot(node.tag).iter().map(|task| describe(task.head())).collect();
    alive.sort_by(|a, b| a.id.cmp(&b.id));
    if let Some(recorder) = &node.recorder {
        let record = recorder.record.lock();
        graph.left_out = record.left_out;
        let mut calls = std::collections::BTreeMap::<ActorId, u64>::new();
        graph.tasks = record.tasks.iter().map(|task| of_record(task, &mut calls, &alive)).collect();
        let mut known: Vec<String> = graph.tasks.iter().map(|task| task.id.clone()).collect();
        known.sort_unstable();
        alive.retain(|task| known.binary_search(&task.id).is_err());
    }
    graph.tasks.extend(alive);
    graph
}

fn of_record(task: &Recorded, calls: &mut std::collections::BTreeMap<ActorId, u64>, alive: &[TaskNode]) -> TaskNode {
    let id = task.id.to_string();
    if let Ok(at) = alive.binary_search_by(|other| other.id.cmp(&id)) {
        if let TaskKind::Method(actor) = task.kind {
            *calls.entry(actor).or_default() += 1;
        }
        return alive[at].clone();
    }
    let (actor, sequence) = match task.kind {
        TaskKind::Function => (None, None),
        TaskKind::Creation(actor) => (Some(actor), Some(0)),
        TaskKind::Method(actor) => {
            let count = calls.entry(actor).or_default();
            *count += 1;
            (Some(actor), Some(*count))
        }
    };
    TaskNode {
        id,
        name: task.name.to_owned(),
        parent: task.parent.to_string(),
        takes: task.takes.iter().map(ToString::to_string).collect(),
        actor: actor.map(|actor| actor.to_string()),
        sequence,
        state: "Done".to_owned(),
    }
}

fn describe(head: &TaskHead) -> TaskNode {
    let (actor, sequence) = match head.kind {
        TaskKind::Function => (None, None),
        TaskKind::Creation(actor) => (Some(actor), Some(0)),
        TaskKind::Method(actor) => (Some(actor), Some(head.sequence.load(std::sync::atomic::Ordering::Relaxed))),
    };
    let state = match head.state() {
        TaskState::Notified => TaskState::Running,
        other => other,
    };
    TaskNode {
        id: head.id.to_string(),
        name: head.name.to_owned(),
        parent: head.parent.to_string(),
        takes: head.dependencies.iter().flat_map(|all| all.iter()).map(ToString::to_string).collect(),
        actor: actor.map(|actor| actor.to_string()),
        sequence,
        state: format!("{state:?}"),
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

impl TaskGraph {
    /// Data edges as pairs of task ids, producer first. A put object's producer is the task that put it.
    #[must_use]
    pub fn data_edges(&self) -> Vec<(String, String)> {
        let of = |object: &str| object.split(':').next().unwrap_or(object).to_owned();
        self.tasks.iter().flat_map(|task| task.takes.iter().map(move |object| (of(object), task.id.clone()))).collect()
    }

    /// Control edges as pairs of task ids, parent first.
    #[must_use]
    pub fn control_edges(&self) -> Vec<(String, String)> {
        self.tasks.iter().map(|task| (task.parent.clone(), task.id.clone())).collect()
    }

    /// Stateful edges as pairs of task ids: successive calls of the same actor.
    #[must_use]
    pub fn stateful_edges(&self) -> Vec<(String, String)> {
        let mut calls: Vec<(&str, u64, &str)> = self
            .tasks
            .iter()
            .filter_map(|task| Some((task.actor.as_deref()?, task.sequence?, task.id.as_str())))
            .collect();
        calls.sort_unstable();
        calls
            .windows(2)
            .filter(|pair| pair[0].0 == pair[1].0 && pair[0].1 + 1 == pair[1].1)
            .map(|pair| (pair[0].2.to_owned(), pair[1].2.to_owned()))
            .collect()
    }

    /// The graph in the DOT language: data edges solid, control edges dashed, stateful edges bold.
    #[must_use]
    pub fn to_dot(&self) -> String {
        let mut dot = String::from("digraph tasks {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n");
        let _ = writeln!(dot, "  \"{}\" [label=\"driver\", shape=house];", short(&self.driver));
        for task in &self.tasks {
            let shape = if task.actor.is_some() { ", style=rounded" } else { "" };
            let name = task.name.replace('\\', "\\\\").replace('"', "\\\"");
            let _ = writeln!(dot, "  \"{}\" [label=\"{}\\n{}\"{shape}];", short(&task.id), name, task.state);
        }
        for (edges, style) in [
            (self.data_edges(), "color=black"),
            (self.control_edges(), "style=dashed, color=gray"),
            (self.stateful_edges(), "style=bold, color=blue"),
        ] {
            for (from, to) in edges {
                let _ = writeln!(dot, "  \"{}\" -> \"{}\" [{style}];", short(&from), short(&to));
            }
        }
        dot.push_str("}\n");
        dot
    }

    /// The graph as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"))
    }
}
