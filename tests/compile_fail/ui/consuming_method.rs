//! A method that consumes the state cannot be remote.

use actinic::prelude::*;

#[remote]
struct Counter;

#[remote]
impl Counter {
    fn new() -> Self {
        Self
    }

    fn into_value(self) -> i64 {
        1
    }
}

fn main() {}
