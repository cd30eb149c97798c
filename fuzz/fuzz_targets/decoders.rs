//! Every decoder under libFuzzer: the first byte of an input chooses which, unless DECODER names one.
#![no_main]

#[path = "../../actors/tests/decoders/targets.rs"]
mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use targets::{Target, TARGETS};

fn named() -> Option<&'static Target> {
    static NAMED: OnceLock<Option<&'static Target>> = OnceLock::new();
    *NAMED.get_or_init(|| {
        let name = std::env::var("DECODER").ok()?;
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        Some(TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("DECODER is none of {names:?}")))
    })
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let target = named().unwrap_or(&TARGETS[usize::from(*first) % TARGETS.len()]);
    // libFuzzer itself bounds memory (-rss_limit_mb, -malloc_limit_mb).
    (target.decode)(rest);
    (target.round)(rest);
});
