//! A method cannot stream.

use actinic::prelude::*;

#[remote]
struct Counter;

#[remote]
impl Counter {
    fn new() -> Self {
        Self
    }

    fn values(&self) -> impl Iterator<Item = i64> {
        0..3
    }
}

fn main() {}
