//! Everything at once for a while: tasks that nest, fail, panic and are cancelled, actors that crash, large objects, streams.
//! Every call must be answered, and nothing must be left at the end.
//!
//! Three seconds unless `ACTINIC_SOAK_SECONDS` says more; `make soak` runs ten minutes.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use actinic::{prelude::*, supervision::Backoff, TaskErrorKind};

#[path = "support/kit.rs"]
mod kit;

#[remote]
fn mix(seed: u64, depth: u32) -> Result<u64, String> {
    match seed % 17 {
        3 => return Err(format!("seed {seed}")),
        5 => panic!("seed {seed}"),
        _ => {}
    }
    if depth == 0 {
        return Ok(seed);
    }
    let children: Vec<_> = (0..seed % 4).map(|n| mix.remote(next(seed + n), depth - 1)).collect();
    Ok(children.iter().filter_map(|child| actinic::get(child).ok()).fold(seed, u64::wrapping_add))
}

#[remote]
async fn later(seed: u64) -> u64 {
    tokio::time::sleep(Duration::from_micros(seed % 500)).await;
    seed
}

#[remote]
fn large(seed: u64) -> Tensor<u64> {
    Tensor::full([20_000 + (seed % 20_000) as usize], seed)
}

#[remote]
fn total(parts: Vec<Tensor<u64>>) -> u64 {
    parts.iter().map(|part| part.as_slice()[0]).fold(0, u64::wrapping_add)
}

#[remote]
fn count_up(to: u64) -> impl Iterator<Item = u64> {
    0..to
}

#[remote]
fn wide(seed: u64) -> u64 {
    seed
}

#[remote]
struct Fragile {
    calls: u64,
}

#[remote]
impl Fragile {
    fn new() -> Self {
        Self { calls: 0 }
    }

    fn call(&mut self, seed: u64) -> u64 {
        assert!(seed % 41 != 7, "fragile");
        self.calls += 1;
        self.calls
    }

    async fn wait(&self, seed: u64) -> u64 {
        tokio::time::sleep(Duration::from_micros(seed % 300)).await;
        seed
    }
}

const SHORT: Backoff =
    Backoff { first: Duration::from_micros(100), factor: 2.0, max: Duration::from_millis(5), jitter: 0.1 };

fn next(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

/// One round; how many calls were answered.
fn round(rt: &Runtime, actors: &[FragileHandle], mut seed: u64) -> usize {
    let mut answered = 0;
    let mut known = |result: Result<u64, actinic::TaskError>| {
        answered += 1;
        if let Err(error) = result {
            use TaskErrorKind as K;
            let expected = matches!(
                error.kind(),
                K::Failed { .. }
                    | K::Panicked { .. }
                    | K::Cancelled { .. }
                    | K::ActorDied { .. }
                    | K::ActorUnavailable { .. }
            );
            assert!(expected, "{error}");
        }
    };
    let mut refs = Vec::new();
    for _ in 0..40 {
        seed = next(seed);
        let actor = &actors[(seed % actors.len() as u64) as usize];
        match seed % 8 {
            0 | 1 => refs.push(mix.remote(seed, 4)),
            2 => refs.push(later.remote(seed)),
            3 => refs.push(actor.call(seed)),
            4 => refs.push(actor.wait(later.remote(seed))),
            5 => refs.push(wide.options().num_cpus(2).remote(actor.call(seed))),
            6 => refs.push(total.remote((0..3).map(|n| large.remote(seed + n)).collect::<Vec<_>>())),
            _ => {
                let object = mix.remote(seed, 5);
                rt.cancel(&object);
                refs.push(object);
            }
        }
    }
    let stream = count_up.options().backpressure(4).remote(seed % 30);
    assert_eq!(stream.map(|item| rt.get(&item).unwrap()).collect::<Vec<_>>(), (0..seed % 30).collect::<Vec<_>>());
    while !refs.is_empty() {
        let (ready, pending) = rt.wait(&refs, 5, Duration::from_secs(30)).unwrap();
        assert!(!ready.is_empty(), "nothing is answered: {}", rt.explain(&pending[0]));
        ready.iter().for_each(|object| known(object.try_get().unwrap()));
        refs = pending;
    }
    answered
}

#[test]
fn everything_at_once_is_answered_and_nothing_is_left() {
    let seconds = std::env::var("ACTINIC_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    kit::bounded(Duration::from_secs(seconds + 120), move || {
        let rt = Runtime::builder().num_cpus(2).object_store_memory(64 << 20).init().unwrap();
        let actors: Vec<_> = (0..8)
            .map(|n| match n % 2 {
                0 => Fragile::options().max_restarts(-1).backoff(SHORT).max_task_retries(n % 3).remote(),
                _ => Fragile::options().max_restarts(-1).backoff(SHORT).max_concurrency(4).remote(),
            })
            .collect();
        let until = Instant::now() + Duration::from_secs(seconds);
        let (mut answered, mut seed) = (0, 1);
        while Instant::now() < until {
            answered += round(&rt, &actors, seed);
            seed = next(seed);
        }
        let (stats, restarts) = (rt.stats(), rt.actor_restarts());
        println!("{answered} answered, {restarts} restarts, {stats:?}");
        assert!(answered > 40 && restarts > 0);
        drop(actors);
        kit::eventually("all actors have ended", || rt.actor_count() == 0);
        kit::eventually("no task is left", || rt.graph().tasks.is_empty());
        kit::eventually("the store is empty", || rt.store_stats().is_none_or(|stats| stats.objects == 0));
    });
}
