//! A reference to an object of another type is refused.

use actinic::prelude::*;

#[remote]
fn name() -> String {
    "one".to_owned()
}

#[remote]
fn double(a: i64) -> i64 {
    a * 2
}

fn main() {
    double.remote(&name.remote());
}
