//! Floors of a large object: copying 800 MB, the array of Ray's microbenchmark, into shared memory, and reading 100 MB there.
//!
//! The one file of the benches with unsafe code: a segment's memory is reached through a raw slice.
#![allow(unsafe_code)]

use std::hint::black_box;

use shared_memory::{Shmem, ShmemConf};

use super::{each, rate};
use crate::machine;
use crate::row::{Ctx, Outcome, Reference, Unit};

/// The bytes of the large object: 100 MiB of 64-bit numbers, as in Ray's microbenchmark.
pub(crate) const LARGE_BYTES: usize = 8 * 100 * 1024 * 1024;

/// Into memory that was never touched: the system hands out each page.
pub(crate) static COPY_FIRST_TOUCH: Reference =
    Reference { name: "copy of 800 MB, first touch", unit: Unit::BytesPerSecond, measure: first_touch };

/// Into memory that was touched before.
pub(crate) static COPY_WARM: Reference =
    Reference { name: "copy of 800 MB, warm", unit: Unit::BytesPerSecond, measure: |ctx| warm(ctx, 1) };

/// Into memory that was touched before, each thread a part; as many threads as a large `put` takes.
pub(crate) static COPY_WARM_THREADS: Reference = Reference {
    name: "copy of 800 MB, warm, by the threads of a put",
    unit: Unit::BytesPerSecond,
    measure: |ctx| warm(ctx, machine::cores().min(PUT_THREADS_MAX)),
};

/// Threads that copy one large object into the store, at most, where there are as many processors
/// (`actors/src/store/copy.rs`).
const PUT_THREADS_MAX: usize = 4;

/// One thread reads an object of 100 MB that lies in shared memory, every number of it.
pub(crate) static READ_100_MB: Reference =
    Reference { name: "read of 100 MB of shared memory", unit: Unit::Seconds, measure: read };

/// Bytes of the object that is read.
pub(crate) const READ_BYTES: usize = 100_000_000;

/// What is copied.
struct Source(Vec<u8>);

/// A segment, every page of it touched.
struct Segment(Shmem);

fn source(ctx: &Ctx) -> Vec<u8> {
    vec![7; ctx.size(LARGE_BYTES)]
}

fn segment(bytes: usize) -> Outcome<Shmem> {
    Ok(ShmemConf::new().size(bytes).create()?)
}

/// The segment's memory.
fn bytes_of(segment: &mut Shmem) -> &mut [u8] {
    // SAFETY: the segment was made by this process under a random name that nobody else is told, so nothing else maps
    // it; it stays mapped as long as it is borrowed; and any byte is a valid `u8`.
    unsafe { segment.as_slice_mut() }
}

fn first_touch(ctx: &mut Ctx) -> Outcome<f64> {
    let Source(source) = ctx.kept(|ctx| Ok(Source(source(ctx))))?;
    let mut segment = segment(source.len())?;
    rate(source.len(), || {
        bytes_of(&mut segment)[..source.len()].copy_from_slice(source);
        Ok(())
    })
}

fn warm(ctx: &mut Ctx, threads: usize) -> Outcome<f64> {
    let (Source(source), Segment(segment)) = ctx.kept(|ctx| {
        let source = source(ctx);
        let mut segment = segment(source.len())?;
        bytes_of(&mut segment).fill(1);
        Ok((Source(source), Segment(segment)))
    })?;
    let target = &mut bytes_of(segment)[..source.len()];
    rate(source.len(), || {
        copy(source, target, threads);
        Ok(())
    })
}

/// The segment that is read.
struct Shared(Shmem);

fn read(ctx: &mut Ctx) -> Outcome<f64> {
    let bytes = ctx.size(READ_BYTES / 8) * 8;
    let Shared(segment) = ctx.kept(|_| {
        let mut segment = segment(bytes)?;
        bytes_of(&mut segment).fill(7);
        Ok(Shared(segment))
    })?;
    let numbers: &[i64] = {
        let (_, numbers, _) = {
            // SAFETY: any eight bytes are a valid `i64`, and `align_to` gives those that are aligned.
            unsafe { bytes_of(segment).align_to() }
        };
        &numbers[..bytes / 8]
    };
    each(1, || {
        black_box(sum(black_box(numbers)));
        Ok(())
    })
}

/// What is done with an object of which every number is read.
pub(crate) fn sum(numbers: &[i64]) -> i64 {
    numbers.iter().fold(0, |sum, number| sum.wrapping_add(*number))
}

/// Copies with this many threads, the caller's among them.
fn copy(source: &[u8], target: &mut [u8], threads: usize) {
    let part = source.len().div_ceil(threads);
    let mut parts = source.chunks(part).zip(target.chunks_mut(part));
    std::thread::scope(|scope| {
        let own = parts.next();
        for (source, target) in parts {
            scope.spawn(|| target.copy_from_slice(source));
        }
        if let Some((source, target)) = own {
            target.copy_from_slice(source);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_threads_copies_every_byte() {
        let source: Vec<u8> = (0..=255).collect();
        for threads in 1..5 {
            let mut target = vec![0; source.len()];
            copy(&source, &mut target, threads);
            assert_eq!(target, source);
        }
    }
}
