//! Nothing: the cases are in `ui/`, and `tests/compile_fail.rs` has them checked.
