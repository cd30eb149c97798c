//! What must not compile, and what the compiler says then. The texts in `ui/*.stderr` are those of the toolchain
//! that `Cargo.toml` names or a later one; `TRYBUILD=overwrite` writes them anew.

#[test]
fn mistakes_are_told_at_compile_time() {
    trybuild::TestCases::new().compile_fail("ui/*.rs");
}
