//! The dynamic task graph, and what explain says.

use actinic::prelude::*;

use super::{
    add, count_to, divide, double, fall, get_gate,
    kit::{eventually, failure, test, Gate},
    numbers, pass, runtime, sum, Knot,
};

#[remote]
fn parent(n: i64) -> i64 {
    let child = add.remote(n, 1);
    actinic::get(&double.remote(&child)).unwrap()
}

/// Names, control and data edges of a recorded run, as one text.
fn recorded_run() -> (String, actinic::TaskGraph) {
    let rt = Runtime::builder().num_cpus(2).record_graph(1_000).init().unwrap();
    let parents: Vec<_> = (0..10).map(|n| parent.remote(n)).collect();
    assert_eq!(rt.get(&sum.remote(&parents)).unwrap(), 110);
    let knot = Knot::remote();
    for _ in 0..3 {
        rt.get(&knot.value()).unwrap();
    }
    let graph = rt.graph();
    let mut lines: Vec<String> =
        graph.tasks.iter().map(|task| format!("{} {} {} {:?}", task.id, task.name, task.parent, task.takes)).collect();
    lines.sort();
    (lines.join("\n"), graph)
}

#[test]
fn the_same_program_makes_the_same_ids() {
    test(|| {
        let (first, _) = recorded_run();
        let (second, _) = recorded_run();
        assert_eq!(first, second);
    });
}

#[test]
fn the_recorded_graph_has_data_control_and_stateful_edges() {
    test(|| {
        let (_, graph) = recorded_run();
        let named = |name: &str| graph.tasks.iter().filter(|task| task.name.ends_with(name)).collect::<Vec<_>>();
        let (sums, parents, adds, doubles) = (named("::sum"), named("::parent"), named("::add"), named("::double"));
        assert_eq!((sums.len(), parents.len(), adds.len(), doubles.len()), (1, 10, 10, 10));
        let (data, control, stateful) = (graph.data_edges(), graph.control_edges(), graph.stateful_edges());
        for each in &parents {
            assert!(control.contains(&(graph.driver.clone(), each.id.clone())));
            assert!(data.contains(&(each.id.clone(), sums[0].id.clone())));
        }
        for each in &doubles {
            let from = data.iter().find(|(_, to)| *to == each.id).unwrap();
            let added = adds.iter().find(|task| task.id == from.0).unwrap();
            assert_eq!(added.parent, each.parent);
            assert!(parents.iter().any(|task| task.id == added.parent));
        }
        let creation = graph.tasks.iter().find(|task| task.sequence == Some(0)).unwrap();
        let mut calls = named("Knot.value");
        calls.sort_by_key(|call| call.sequence);
        let chain: Vec<_> = std::iter::once(creation).chain(calls).map(|task| task.id.clone()).collect();
        let expected: Vec<_> = chain.windows(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        assert_eq!(stateful, expected);
    });
}

#[test]
fn the_graph_is_written_as_dot_and_as_json() {
    test(|| {
        let (_, graph) = recorded_run();
        let read: actinic::TaskGraph = serde_json::from_str(&graph.to_json()).unwrap();
        assert_eq!(read, graph);
        let dot = graph.to_dot();
        assert!(dot.starts_with("digraph tasks {") && dot.ends_with("}\n"));
        let (nodes, edges): (Vec<&str>, Vec<&str>) =
            dot.lines().filter(|line| line.starts_with("  \"")).partition(|line| !line.contains(" -> "));
        assert_eq!(nodes.len(), graph.tasks.len() + 1);
        let expected = graph.data_edges().len() + graph.control_edges().len() + graph.stateful_edges().len();
        assert_eq!(edges.len(), expected);
        let ids: Vec<&str> = nodes.iter().map(|node| node.split('"').nth(1).unwrap()).collect();
        for edge in edges {
            let mut quoted = edge.split('"');
            let (from, to) = (quoted.nth(1).unwrap(), quoted.nth(1).unwrap());
            assert!(ids.contains(&from) && ids.contains(&to), "{edge}");
        }
    });
}

#[test]
fn the_record_of_a_run_is_bounded() {
    test(|| {
        let rt = Runtime::builder().num_cpus(1).record_graph(10).init().unwrap();
        let all: Vec<_> = (0..25).map(|n| double.remote(n)).collect();
        rt.get(&all).unwrap();
        drop(all);
        eventually("what is alive is forgotten", || rt.graph().tasks.len() == 10);
        assert_eq!(rt.graph().left_out, 15);
    });
}

#[test]
fn nothing_stays_alive_when_all_references_are_dropped() {
    test(|| {
        let rt = runtime(2);
        let gate = Gate::new();
        let held = pass.remote(gate);
        let dependent = add.remote(&held, 1);
        let (one, other) = divide.remote(7, 2);
        let parts = count_to.options().num_returns(3).remote(3);
        let fallen = fall.remote(1);
        let knot = Knot::remote();
        let value = knot.value();
        let stream = numbers.remote(10, Gate::new());
        assert!(rt.graph().tasks.len() >= 6);
        drop((held, dependent));
        gate.open();
        rt.get((&one, &other)).unwrap();
        rt.get(&parts).unwrap();
        rt.get(&value).unwrap();
        assert!(rt.get(&fallen).is_err());
        drop((one, other, parts, fallen, value, stream, knot));
        eventually("the graph is empty", || rt.graph().tasks.is_empty());
    });
}

#[test]
fn options_give_a_task_its_name() {
    test(|| {
        let rt = Runtime::builder().num_cpus(1).record_graph(10).init().unwrap();
        let error = failure(rt.get(&fall.options().name("the faller").remote(1)));
        assert!(error.to_string().contains("the faller"), "{error}");
        assert_eq!(rt.graph().tasks[0].name, "the faller");
    });
}

#[test]
fn explain_says_why_there_is_no_result_yet() {
    test(|| {
        let rt = runtime(1);
        let gate = Gate::new();
        let running = pass.remote(gate);
        assert!(failure(rt.get_timeout(&running, Duration::ZERO)).is_timeout());
        gate.wait_for(1);
        let dependent = add.remote(&running, 1);
        let queued = double.remote(4);
        let says = |object: &ObjectRef<i64>, parts: &[&str]| {
            let text = rt.explain(object);
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        };
        says(&running, &["pass` runs"]);
        says(&dependent, &["add` waits for its argument", "pass` runs"]);
        says(&queued, &["double` has its arguments", "waits for a CPU", "0 of 1 are free"]);
        gate.open();
        rt.get(&dependent).unwrap();
        says(&dependent, &["it is ready"]);
        let fallen = fall.remote(1);
        assert!(rt.get(&fallen).is_err());
        says(&fallen, &["with an error", "fell with 1"]);
        says(&rt.put(1).unwrap(), &["it is ready"]);
    });
}

#[test]
fn explain_names_what_a_blocked_task_waits_for() {
    test(|| {
        let rt = runtime(1);
        let gate = Gate::new();
        let blocked = get_gate.remote(gate);
        assert!(failure(rt.get_timeout(&blocked, Duration::ZERO)).is_timeout());
        gate.wait_for(1);
        eventually("it is blocked", || rt.explain(&blocked).contains("waits in a get for"));
        assert!(rt.explain(&blocked).contains("wait_for_gate"), "{}", rt.explain(&blocked));
        gate.note("now");
        assert_eq!(rt.get(&blocked).unwrap(), 3);
    });
}
