//! Floors of a large object: copying 800 MB, the array of Ray's microbenchmark, into shared memory.
//!
//! The one file of the benches with unsafe code: a segment's memory is reached through a raw slice.
#![allow(unsafe_code)]

use shared_memory::{Shmem, ShmemConf};

use super::rate;
use crate::row::{Ctx, Outcome, Reference, Unit, WORKERS};

/// The bytes of the large object: 100 MiB of 64-bit numbers, as in Ray's microbenchmark.
pub(crate) const LARGE_BYTES: usize = 8 * 100 * 1024 * 1024;

/// Into memory that was never touched: the system hands out each page.
pub(crate) static COPY_FIRST_TOUCH: Reference =
    Reference { name: "copy of 800 MB, first touch", unit: Unit::BytesPerSecond, measure: first_touch };

/// Into memory that was touched before.
pub(crate) static COPY_WARM: Reference =
    Reference { name: "copy of 800 MB, warm", unit: Unit::BytesPerSecond, measure: |ctx| warm(ctx, 1) };

/// Into memory that was touched before, each thread a part.
pub(crate) static COPY_WARM_TWO_THREADS: Reference = Reference {
    name: "copy of 800 MB, warm, 2 threads",
    unit: Unit::BytesPerSecond,
    measure: |ctx| warm(ctx, WORKERS),
};

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
