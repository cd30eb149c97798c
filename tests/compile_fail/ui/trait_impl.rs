//! A trait's impl block cannot be a class.

use actinic::prelude::*;

struct Counter;

#[remote]
impl Default for Counter {
    fn default() -> Self {
        Self
    }
}

fn main() {}
