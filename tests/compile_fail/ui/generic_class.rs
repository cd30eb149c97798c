//! A class cannot be generic.

use actinic::prelude::*;

#[remote]
struct Cache<T> {
    values: Vec<T>,
}

fn main() {}
