//! A class needs a constructor.

use actinic::prelude::*;

#[remote]
struct Counter {
    value: i64,
}

#[remote]
impl Counter {
    fn increment(&mut self) -> i64 {
        self.value += 1;
        self.value
    }
}

fn main() {}
