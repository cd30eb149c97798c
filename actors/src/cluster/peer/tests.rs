//! What is heard of a caller first.

use super::*;

#[test]
fn a_caller_of_another_version_is_told_so_whatever_else_it_says() {
    let body = rmp_serde::to_vec(&(PROTOCOL_VERSION + 1, ("a word", [1, 2, 3]))).unwrap();
    let told = greeting_of(&body).unwrap_err();
    assert!(told.contains("use the same build"), "{told}");
    let greeting = Greeting { version: PROTOCOL_VERSION, caller: crate::cluster::wire::Caller::Status };
    assert_eq!(greeting_of(&rmp_serde::to_vec(&greeting).unwrap()), Ok(greeting));
}
