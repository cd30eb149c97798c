//! What a node leaves to others, and what it lends: inputs, labels, and workers that wait.

use actinic_gcs::spec::LabelSelector;

use super::*;

#[test]
fn a_demand_whose_inputs_are_elsewhere_goes_there_at_once_and_is_served_here_if_that_takes_long() {
    let mut kit = kit(4.0);
    kit.peer(2);
    kit.work = Work { tasks: 1, task_us: 10, inputs: InputBytes::new(100 << 20, [(NodeId(2), 100 << 20)]) };
    let effects = kit.demand(0, 1, 1.0, 1);
    assert!(matches!(&effects[..], [LocalEffect::Spill(spilled)] if spilled.work.inputs.at(NodeId(2)) == 100 << 20));
    assert_eq!(needed(&kit.pass(LOCALITY_MS - 1)).len(), 0);
    assert_eq!(needed(&kit.pass(LOCALITY_MS)).len(), 1);
}

#[test]
fn what_inputs_weigh_is_how_long_they_would_be_on_their_way() {
    let mut kit = kit(4.0);
    kit.peer(2);
    kit.work = Work { tasks: 1, task_us: 10, inputs: InputBytes::new(600_000, [(NodeId(2), 600_000)]) };
    assert_eq!(
        needed(&kit.demand(0, 1, 1.0, 1)).len(),
        1,
        "little more than half a millisecond where nothing was measured"
    );
    kit.core.on_transfer(1_000_000, 10_000);
    let effects = kit.demand(0, 2, 1.0, 1);
    assert!(matches!(&effects[..], [LocalEffect::Spill(_)]), "six by a link that has shown to be slow");
}

#[test]
fn inputs_on_a_node_of_the_same_machine_are_as_good_as_here() {
    let mut kit = kit(4.0);
    kit.peer(2);
    kit.core.on_neighbour(NodeId(2));
    kit.work.inputs = InputBytes::new(100 << 20, [(NodeId(2), 100 << 20)]);
    assert_eq!(needed(&kit.demand(0, 1, 1.0, 1)).len(), 1);
}

#[test]
fn inputs_on_a_node_that_is_gone_hold_nobody_up() {
    let mut kit = kit(4.0);
    kit.peer(3);
    kit.work.inputs = InputBytes::new(100 << 20, [(NodeId(2), 100 << 20)]);
    assert_eq!(needed(&kit.demand(0, 1, 1.0, 1)).len(), 1);
}

#[test]
fn what_others_have_granted_is_not_granted_here_again() {
    let mut kit = kit(4.0);
    kit.peer(2);
    kit.elsewhere = 2;
    let effects = kit.demand(0, 1, 1.0, 3);
    assert_eq!(needed(&effects).len(), 1);
}

#[test]
fn labels_that_do_not_fit_send_a_demand_elsewhere() {
    let mut kit = kit(4.0);
    kit.core = LocalCore::new(NodeId(1), NodeResources::new(ResourceSet::new().with(CPU, 4.0)))
        .with_labels([("zone".to_owned(), "a".to_owned())].into());
    kit.peer(2);
    let labelled = |text: &str| ClassSpec {
        labels: LabelSelector::default().with("zone", text),
        ..spec(1.0, SchedulingStrategy::Default)
    };
    assert_eq!(needed(&kit.ask(0, 1, labelled("in(a,b)"), 1)).len(), 1);
    let effects = kit.ask(0, 2, labelled("!a"), 1);
    assert!(matches!(&effects[..], [LocalEffect::Spill(_)]));
    assert!(kit.core.waiting()[0].contains("labels do not fit"), "{:?}", kit.core.waiting());
    let soft = SchedulingStrategy::NodeLabel {
        hard: LabelSelector::default(),
        soft: LabelSelector::default().with("zone", "b"),
    };
    let effects = kit.ask(0, 3, spec(1.0, soft), 1);
    assert!(matches!(&effects[..], [LocalEffect::Spill(_)]), "others are preferred");
    assert_eq!(needed(&kit.pass(LOCALITY_MS)).len(), 1, "but this one will do");
}

#[test]
fn a_worker_that_waits_lends_its_cpu_and_gets_the_next_one_back() {
    let mut kit = kit(1.0);
    let first = needed(&kit.demand(0, 1, 1.0, 1))[0];
    assert!(needed(&kit.demand(0, 2, 1.0, 1)).is_empty());
    kit.core.on_blocked(lease(first));
    let second = needed(&kit.pass(1));
    assert_eq!(second.len(), 1);
    kit.core.on_unblocked(lease(first));
    assert!(needed(&kit.demand(2, 3, 1.0, 1)).is_empty());
    kit.core.on_return(lease(second[0]), &mut kit.effects);
    kit.demand(3, 2, 1.0, 0);
    let effects = kit.pass(3);
    assert!(needed(&effects).is_empty(), "the CPU is the first one's again");
    kit.core.on_return(lease(first), &mut kit.effects);
    kit.demand(4, 1, 1.0, 0);
    assert_eq!(kit.core.leases.len(), 1, "it is free for the third now");
}

#[test]
fn a_lease_that_ends_while_it_lends_gives_back_what_it_still_has() {
    let mut kit = kit(1.0);
    let first = needed(&kit.demand(0, 1, 1.0, 1))[0];
    kit.core.on_blocked(lease(first));
    kit.core.on_return(lease(first), &mut kit.effects);
    kit.demand(0, 1, 1.0, 0);
    assert_eq!(kit.core.load(0, 0).free.of(CPU).units(), 1.0);
}
