//! Objects: small and large, into the store and out of it.

use std::hint::black_box;

use actinic::prelude::*;

use super::node::runtime;
use crate::floors::memory::{self, LARGE_BYTES};
use crate::floors::{each, rate, repeat, small};
use crate::row::{Ctx, Goal, Outcome, Row, Unit};

const OBJECTS: usize = 500_000;
const GETS: usize = 500_000;
const GETS_LARGE: usize = 10_000;

/// The rows of this file.
pub(super) fn rows() -> Vec<Row> {
    let put_small = Goal { text: "1 M/s", figure: Some(1e6), ..Goal::NONE };
    let put_large = Goal {
        text: "80 % of a warm copy by as many threads",
        ratio: Some(0.8),
        of: Some(memory::COPY_WARM_THREADS.name),
        ..Goal::NONE
    };
    let get = Goal { text: "under 2 µs", figure: Some(2e-6), ..Goal::NONE };
    vec![
        Row {
            name: "put small",
            unit: Unit::PerSecond,
            goal: put_small,
            measure: put_small_rate,
            references: vec![&small::MAP],
        },
        Row {
            name: "get small",
            unit: Unit::Seconds,
            goal: get,
            measure: get_small,
            references: vec![&small::ARC_CLONE],
        },
        Row {
            name: "put large, 800 MB",
            unit: Unit::BytesPerSecond,
            goal: put_large,
            measure: put_large_rate,
            references: vec![&memory::COPY_WARM_THREADS, &memory::COPY_WARM],
        },
        Row { name: "get large, 800 MB", unit: Unit::Seconds, goal: get, measure: get_large, references: Vec::new() },
    ]
}

fn put_small_rate(ctx: &mut Ctx) -> Outcome<f64> {
    let objects = ctx.size(OBJECTS);
    let runtime = runtime(ctx)?;
    rate(objects, || repeat(objects, || runtime.put(0_u64)))
}

fn get_small(ctx: &mut Ctx) -> Outcome<f64> {
    let gets = ctx.size(GETS);
    let runtime = runtime(ctx)?;
    let object = runtime.put(7_u64)?;
    each(gets, || repeat(gets, || runtime.get(&object)))
}

/// The array that is put; kept, for making it costs more than putting it.
struct Array(Tensor<i64>);

/// Numbers that are not 0, so that every page is memory of its own, as the floor's is. One of zeros is never touched: it is
/// the system's single page of zeros over and over, which is read from the cache, and a put of it outruns the memory.
fn array(numbers: usize) -> Tensor<i64> {
    Tensor::full([numbers], 7)
}

fn put_large_rate(ctx: &mut Ctx) -> Outcome<f64> {
    let bytes = ctx.size(LARGE_BYTES / 8) * 8;
    let Array(kept) = ctx.kept(|_| Ok(Array(array(bytes / 8))))?;
    let array = kept.clone();
    let runtime = runtime(ctx)?;
    rate(bytes, || repeat(1, || runtime.put(array.clone())))
}

fn get_large(ctx: &mut Ctx) -> Outcome<f64> {
    let (gets, numbers) = (ctx.size(GETS_LARGE), ctx.size(LARGE_BYTES / 8));
    let runtime = runtime(ctx)?;
    let object = runtime.put(array(numbers))?;
    each(gets, || {
        for _ in 0..gets {
            let view = runtime.get(&object)?;
            black_box(view.as_slice()[numbers - 1]);
        }
        Ok(())
    })
}
