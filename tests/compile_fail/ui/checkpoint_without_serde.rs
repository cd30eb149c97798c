//! A state that cannot be saved cannot be checkpointed.

use actinic::prelude::*;

#[remote]
struct Counter;

#[remote]
impl Counter {
    fn new() -> Self {
        Self
    }

    fn value(&self) -> i64 {
        1
    }
}

fn main() {
    let counter = Counter::options().checkpoint_every(1).remote();
    counter.value();
}
