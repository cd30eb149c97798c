//! Whether a history of one key is linearizable.
//!
//! Owns: what a key's operations do to its value, and the search of Wing and Gong (1993, "Testing and verifying concurrent
//! objects") with the memory of Lowe (2017, "Testing for linearizability"): a set of operations already placed, with the
//! value after them, is looked at once. An operation without an answer may be placed anywhere after its call; placed last
//! it is as if it had not happened. Does not own histories: the clients keep them. For simulations and for tests of real
//! processes, so behind the feature `suite`.

use std::collections::HashSet;

/// A value that was written, by its number.
pub type Value = u32;

/// What a client asks of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Puts a value.
    Put {
        /// Which.
        value: Value,
        /// Whether in place of another.
        overwrite: bool,
    },
    /// Deletes the value.
    Delete,
    /// Compares and swaps; none means absent.
    Swap {
        /// What the value must be.
        expected: Option<Value>,
        /// What it becomes.
        new: Option<Value>,
    },
    /// Reads the value.
    Get,
}

/// What it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Whether the value was put.
    Stored(bool),
    /// Whether there was one to delete.
    Deleted(bool),
    /// The value that was read.
    Value(Option<Value>),
}

/// One operation: when it was called and when it was answered, as numbers that only grow.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// What was asked.
    pub action: Action,
    /// When.
    pub called: u64,
    /// When it was answered, and what; none where that is not known.
    pub answered: Option<(u64, Outcome)>,
}

/// The value after an operation on `value`; none if it cannot have had this outcome.
fn step(value: Option<Value>, operation: &Operation) -> Option<Option<Value>> {
    let (expected, after) = match operation.action {
        Action::Put { value: new, overwrite } => {
            let stored = overwrite || value.is_none();
            (Outcome::Stored(stored), if stored { Some(new) } else { value })
        }
        Action::Delete => (Outcome::Deleted(value.is_some()), None),
        Action::Swap { expected, new } => {
            let stored = value == expected;
            (Outcome::Stored(stored), if stored { new } else { value })
        }
        Action::Get => (Outcome::Value(value), value),
    };
    let told = operation.answered.map(|(_, outcome)| outcome);
    told.is_none_or(|told| told == expected).then_some(after)
}

/// A call or an answer, in a list from which operations are taken out and put back.
#[derive(Clone, Copy)]
struct Node {
    operation: usize,
    call: bool,
    before: usize,
    next: usize,
}

/// Calls and answers in order; node 0 is the head and the end.
struct Events {
    nodes: Vec<Node>,
    call: Vec<usize>,
    answer: Vec<usize>,
}

impl Events {
    fn of(operations: &[Operation]) -> Self {
        let mut order: Vec<(u64, bool, usize)> = Vec::with_capacity(operations.len() * 2);
        for (at, operation) in operations.iter().enumerate() {
            order.push((operation.called, true, at));
            order.push((operation.answered.map_or(u64::MAX, |(when, _)| when), false, at));
        }
        order.sort_unstable_by_key(|(when, call, at)| (*when, *call, *at));
        let len = order.len() + 1;
        let mut this = Self { nodes: vec![], call: vec![0; operations.len()], answer: vec![0; operations.len()] };
        this.nodes.push(Node { operation: usize::MAX, call: false, before: len - 1, next: 1 % len });
        for (at, (_, call, operation)) in order.into_iter().enumerate() {
            let here = at + 1;
            this.nodes.push(Node { operation, call, before: at, next: (here + 1) % len });
            let place = if call { &mut this.call } else { &mut this.answer };
            place[operation] = here;
        }
        this
    }

    fn take(&mut self, operation: usize) {
        for at in [self.call[operation], self.answer[operation]] {
            let Node { before, next, .. } = self.nodes[at];
            self.nodes[before].next = next;
            self.nodes[next].before = before;
        }
    }

    fn put_back(&mut self, operation: usize) {
        for at in [self.answer[operation], self.call[operation]] {
            let Node { before, next, .. } = self.nodes[at];
            self.nodes[before].next = at;
            self.nodes[next].before = at;
        }
    }
}

/// Sets of placed operations looked at before the search gives up.
const SEEN_MAX: usize = 2_000_000;

/// What a history is.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// There is an order that each outcome and all times allow.
    Linearizable,
    /// There is none; the longest beginning of one that was found.
    Not(Vec<Operation>),
    /// The search was too long.
    Undecided,
}

/// Whether the operations of one key, which has no value at first, are linearizable.
#[must_use]
pub fn check(operations: &[Operation]) -> Verdict {
    let mut events = Events::of(operations);
    let answered = operations.iter().filter(|operation| operation.answered.is_some()).count();
    let mut placed = vec![0_u64; operations.len().div_ceil(64)];
    let mut seen: HashSet<(Vec<u64>, Option<Value>)> = HashSet::new();
    let mut stack: Vec<(usize, Option<Value>)> = Vec::new();
    let mut longest: Vec<usize> = Vec::new();
    let (mut value, mut done, mut at) = (None, 0, events.nodes[0].next);
    while done < answered {
        let Node { operation, call, next, .. } = events.nodes[at];
        if at != 0 && call {
            if let Some(after) = step(value, &operations[operation]) {
                placed[operation / 64] |= 1 << (operation % 64);
                if seen.insert((placed.clone(), after)) {
                    stack.push((operation, value));
                    done += usize::from(operations[operation].answered.is_some());
                    value = after;
                    events.take(operation);
                    at = events.nodes[0].next;
                    continue;
                }
                placed[operation / 64] &= !(1 << (operation % 64));
            }
            at = next;
            continue;
        }
        // Somebody was answered before anything else could be placed: the last one placed was placed wrongly.
        if seen.len() > SEEN_MAX {
            return Verdict::Undecided;
        }
        if stack.len() > longest.len() {
            longest = stack.iter().map(|(operation, _)| *operation).collect();
        }
        let Some((last, before)) = stack.pop() else {
            return Verdict::Not(longest.into_iter().map(|operation| operations[operation]).collect());
        };
        placed[last / 64] &= !(1 << (last % 64));
        done -= usize::from(operations[last].answered.is_some());
        value = before;
        events.put_back(last);
        at = events.nodes[events.call[last]].next;
    }
    Verdict::Linearizable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(history: &[Operation]) -> bool {
        matches!(check(history), Verdict::Linearizable)
    }

    fn bad(history: &[Operation]) -> bool {
        matches!(check(history), Verdict::Not(_))
    }

    fn op(action: Action, called: u64, answered: u64, outcome: Outcome) -> Operation {
        Operation { action, called, answered: Some((answered, outcome)) }
    }

    fn put(value: Value, called: u64, answered: u64) -> Operation {
        op(Action::Put { value, overwrite: true }, called, answered, Outcome::Stored(true))
    }

    fn get(value: Option<Value>, called: u64, answered: u64) -> Operation {
        op(Action::Get, called, answered, Outcome::Value(value))
    }

    fn swap(expected: Value, new: Value, called: u64, answered: u64, stored: bool) -> Operation {
        let action = Action::Swap { expected: Some(expected), new: Some(new) };
        op(action, called, answered, Outcome::Stored(stored))
    }

    fn unanswered(action: Action, called: u64) -> Operation {
        Operation { action, called, answered: None }
    }

    #[test]
    fn one_after_the_other_is_accepted() {
        let delete = op(Action::Delete, 7, 8, Outcome::Deleted(true));
        let history = [put(1, 1, 2), get(Some(1), 3, 4), swap(1, 2, 5, 6, true), delete, get(None, 9, 10)];
        assert!(good(&history));
        assert!(good(&[]));
    }

    #[test]
    fn concurrent_writes_may_take_effect_in_either_order() {
        assert!(good(&[put(1, 1, 10), put(2, 2, 9), get(Some(1), 11, 12)]));
        assert!(good(&[put(1, 1, 10), put(2, 2, 9), get(Some(2), 11, 12)]));
        assert!(good(&[put(1, 1, 10), get(None, 2, 3), get(Some(1), 4, 5)]));
    }

    #[test]
    fn a_write_without_an_answer_may_have_happened_or_not() {
        let lost = unanswered(Action::Put { value: 2, overwrite: true }, 3);
        assert!(good(&[put(1, 1, 2), lost, get(Some(1), 4, 5)]));
        assert!(good(&[put(1, 1, 2), lost, get(Some(2), 4, 5)]));
        assert!(good(&[put(1, 1, 2), lost, get(Some(1), 4, 5), get(Some(2), 6, 7)]));
        assert!(bad(&[put(1, 1, 2), lost, get(Some(2), 4, 5), get(Some(1), 6, 7)]));
    }

    #[test]
    fn a_write_without_an_answer_does_not_happen_before_its_call() {
        let lost = unanswered(Action::Put { value: 2, overwrite: true }, 6);
        assert!(bad(&[put(1, 1, 2), get(Some(2), 3, 4), lost]));
    }

    #[test]
    fn a_stale_read_is_rejected() {
        assert!(bad(&[put(1, 1, 2), put(2, 3, 4), get(Some(1), 5, 6)]));
        assert!(bad(&[put(1, 1, 2), get(None, 3, 4)]));
    }

    #[test]
    fn a_lost_update_is_rejected() {
        let history = [put(1, 1, 2), swap(1, 2, 3, 10, true), swap(1, 3, 4, 9, true)];
        assert!(bad(&history));
        let history = [put(1, 1, 2), swap(1, 2, 3, 10, true), swap(1, 3, 4, 9, false), get(Some(2), 11, 12)];
        assert!(good(&history));
    }

    #[test]
    fn a_read_that_goes_back_is_rejected() {
        assert!(bad(&[put(1, 1, 2), put(2, 3, 20), get(Some(2), 4, 5), get(Some(1), 6, 7)]));
        assert!(good(&[put(1, 1, 2), put(2, 3, 20), get(Some(1), 4, 5), get(Some(2), 6, 7)]));
    }

    #[test]
    fn a_retry_applied_twice_is_rejected() {
        let history = [put(1, 1, 2), put(2, 3, 4), get(Some(2), 5, 6), get(Some(1), 7, 8)];
        assert!(bad(&history));
    }

    #[test]
    fn wide_concurrency_is_searched_in_little_time() {
        let mut history: Vec<Operation> =
            (0..200).map(|n| put(n, u64::from(n) * 2 + 1, u64::from(n) * 2 + 12)).collect();
        history.push(get(Some(500), 1_000, 1_001));
        let writers = history.len() - 1;
        assert!(bad(&history));
        history.truncate(writers);
        history.push(get(Some(199), 1_000, 1_001));
        assert!(good(&history));
    }
}
