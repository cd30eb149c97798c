//! Running seeds: one or many, loudly or not.
//!
//! Owns: what a seed's outcome is when the code under test panics, and what is told of a failure. Invariant: a failing
//! seed says how it is seen again.

use std::{cell::RefCell, panic, sync::Once};

use super::{
    checks::{Counts, Failure},
    finish::{self, Outcome},
    plan::Plan,
};

thread_local! {
    /// What the last panic of this thread said; none unless panics are kept here.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

static KEEP_PANICS: Once = Once::new();

/// Panics of threads that run seeds are kept, those of others are told as usual.
fn keep_panics() {
    KEEP_PANICS.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let kept = PANIC.with_borrow_mut(|slot| slot.as_mut().map(|said| *said = info.to_string()).is_some());
            if !kept {
                usual(info);
            }
        }));
    });
}

/// Lets a plan happen; a panic is a failure like any other.
pub(crate) fn run(plan: Plan) -> Outcome {
    keep_panics();
    let hash = plan.seed;
    PANIC.set(Some(String::new()));
    let ran = panic::catch_unwind(move || finish::run(plan, false));
    let said = PANIC.take().unwrap_or_default();
    ran.unwrap_or_else(|_| {
        let failure = Some(Failure { check: "nothing panics", detail: said });
        Outcome { hash, counts: Counts::default(), failure }
    })
}

/// Failing seeds after which no more are run.
const FAILURES_MAX: usize = 5;

/// Runs seeds; gives what happened how often.
///
/// # Panics
/// If one fails.
pub(crate) fn run_all(seeds: impl IntoIterator<Item = u64>) -> Counts {
    let (mut counts, mut failed) = (Counts::default(), Vec::new());
    for seed in seeds {
        let outcome = run(Plan::draw(seed));
        counts.add(&outcome.counts);
        if let Some(Failure { check, detail }) = outcome.failure {
            println!("seed {seed} fails: {check}: {detail}\nsee it again with {}", again(seed));
            failed.push((seed, check));
        }
        if failed.len() >= FAILURES_MAX {
            break;
        }
    }
    assert!(failed.is_empty(), "seeds fail: {failed:?}");
    counts
}

fn again(seed: u64) -> String {
    let run = "cargo test --release -p actinic-gcs --no-default-features --features suite --test sim";
    format!("ACTINIC_SIM_SEED={seed} {run} seeds_of -- --nocapture")
}

/// A number that whoever runs the tests has set.
pub(crate) fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}
