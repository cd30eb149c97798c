//! A remote function cannot be generic.

use actinic::prelude::*;

#[remote]
fn same<T: Data>(value: T) -> T {
    value
}

fn main() {}
