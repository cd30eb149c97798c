use actinic::prelude::*;

struct Counter;

#[remote]
impl Default for Counter {
    fn default() -> Self {
        Self
    }
}

fn main() {}
