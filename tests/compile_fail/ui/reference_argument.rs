//! A borrow cannot be an argument.

use actinic::prelude::*;

#[remote]
fn length(text: &str) -> usize {
    text.len()
}

fn main() {}
