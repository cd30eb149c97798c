//! An argument of another type is refused.

use actinic::prelude::*;

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

fn main() {
    add.remote(1, "two");
}
