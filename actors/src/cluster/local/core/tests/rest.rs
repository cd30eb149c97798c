//! What a pass does not look at: demands that hold what they want, and what is overdue.

use super::*;

fn place(kit: &mut Kit, now: u64, class: u32, want: u32) {
    kit.revision += 1;
    let owner = ProcessId::manager(NodeId(2));
    let spec = ClassSpec { demand: ResourceSet::new(), ..spec(0.0, SchedulingStrategy::Default) };
    let (work, revision) = (Work::default(), kit.revision);
    let placed = Spilled { owner, code: code(owner), class: ClassId(class), spec, want, work, revision };
    kit.core.on_place(Millis(now), placed);
}

#[test]
fn ten_thousand_actors_at_rest_are_not_looked_at_and_wake_nobody() {
    let mut kit = kit(4.0);
    kit.peer(2);
    for class in 0..10_000 {
        place(&mut kit, 0, class, 1);
    }
    let mut effects = Vec::new();
    kit.core.dispatch(Millis(0), &mut effects);
    assert_eq!(needed(&effects).len(), 10_000, "each has its lease");
    assert_eq!(kit.core.wanted.active().count(), 0);
    assert_eq!(kit.core.deadline(), None, "they keep their leases however long nobody speaks of them");
    kit.core.dispatch(Millis(10 * PLACED_MS_MAX), &mut effects);
    assert_eq!(kit.core.leases.len(), 10_000);
    for number in needed(&effects) {
        kit.core.on_return(lease(number), &mut effects);
    }
    kit.core.dispatch(Millis(10 * PLACED_MS_MAX + 1), &mut effects);
    kit.core.sanity_check();
    assert_eq!(kit.core.wanted.iter().count(), 0, "what was placed long ago is forgotten once it holds nothing");
}

#[test]
fn what_is_overdue_waits_for_a_word_and_not_for_the_clock() {
    let mut kit = kit(1.0);
    kit.demand(0, 1, 1.0, 1);
    kit.demand(0, 2, 1.0, 1);
    assert_eq!(kit.core.deadline(), Some(Millis(RECALL_AFTER_MS)));
    kit.pass(RECALL_AFTER_MS);
    assert_eq!(kit.core.deadline(), None, "there is nothing that a later pass could do");
}

#[test]
fn a_recalled_lease_goes_to_the_one_for_whom_it_was_recalled() {
    let mut kit = kit(1.0);
    let first = needed(&kit.demand(0, 1, 1.0, 10))[0];
    kit.core.on_worker(lease(first), process(1, 50), &mut kit.effects);
    kit.demand(0, 2, 1.0, 10);
    let effects = kit.pass(RECALL_AFTER_MS);
    assert!(effects.contains(&LocalEffect::Recall(process(1, 1), lease(first))), "{effects:?}");
    kit.core.on_return(lease(first), &mut kit.effects);
    let second = needed(&kit.pass(RECALL_AFTER_MS + 1))[0];
    kit.core.on_worker(lease(second), process(1, 51), &mut kit.effects);
    let granted = kit.pass(RECALL_AFTER_MS + 1);
    assert!(matches!(&granted[..], [LocalEffect::Grant { owner, .. }] if *owner == process(1, 2)), "{granted:?}");
}
