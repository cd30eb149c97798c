//! Every decoder under libFuzzer: the first byte of an input chooses which, unless DECODER names one.
#![no_main]
// Samples are for the tests and for `seeds`.
#![allow(dead_code)]

#[path = "../../actors/tests/decoders/targets.rs"]
mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use targets::{targets, Target};

/// All of them, or the one that is named.
fn wanted() -> &'static [Target] {
    static WANTED: OnceLock<Vec<Target>> = OnceLock::new();
    WANTED.get_or_init(|| {
        let Ok(name) = std::env::var("DECODER") else { return targets() };
        let names: Vec<String> = targets().into_iter().map(|target| target.name).collect();
        let named: Vec<Target> = targets().into_iter().filter(|target| target.name == name).collect();
        assert!(!named.is_empty(), "DECODER is none of {names:?}");
        named
    })
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let target = &wanted()[usize::from(*first) % wanted().len()];
    // libFuzzer itself bounds memory (-rss_limit_mb, -malloc_limit_mb).
    (target.decode)(rest);
    (target.round)(rest);
});
