//! Floors and peers: what the machine and other libraries allow, each a [`Reference`] that rows are measured beside.
//!
//! A *floor* is the bare mechanism that a feature cannot do without (a spawn, a copy, a round trip); a *peer* is another
//! library's way to do the same. They know nothing of Actinic, but for the options of the store that RocksDB
//! is opened with. `--floors` shows them alone.

pub(crate) mod actix;
pub(crate) mod kameo;
pub(crate) mod memory;
pub(crate) mod process;
pub(crate) mod ractor;
pub(crate) mod redis;
pub(crate) mod rocks;
pub(crate) mod small;
pub(crate) mod socket;
pub(crate) mod spawn;
pub(crate) mod tls;

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use crate::row::{Goal, Outcome, Reference, Row};

/// Every floor and peer, in the order of the table.
const ALL: [&Reference; 40] = [
    &spawn::TOKIO_BATCHES,
    &spawn::TOKIO_ONE,
    &spawn::TOKIO_FROM_OUTSIDE,
    &spawn::RAYON_SCOPE,
    &actix::TELL,
    &actix::ROUND_TRIP_OTHER,
    &actix::ROUND_TRIP_SAME,
    &actix::CREATE,
    &kameo::TELL,
    &kameo::ASK,
    &kameo::ASK_BATCHES,
    &kameo::CREATE,
    &ractor::CAST,
    &ractor::CALL,
    &ractor::CALL_BATCHES,
    &ractor::CREATE,
    &socket::UNIX,
    &socket::TCP,
    &socket::UNIX_CALLS,
    &socket::UNIX_CALLS_FOUR,
    &socket::TCP_CALLS,
    &socket::TCP_STREAM,
    &socket::TCP_THREE_STREAMS,
    &socket::TCP_STREAMS,
    &tls::ROUND_TRIP,
    &tls::STREAM,
    &memory::COPY_FIRST_TOUCH,
    &memory::COPY_WARM,
    &memory::COPY_WARM_THREADS,
    &memory::READ_100_MB,
    &process::STARTED,
    &small::CODEC,
    &small::MAP,
    &small::ARC_CLONE,
    &spawn::TOKIO_TASK_BYTES,
    &kameo::ACTOR_BYTES,
    &ractor::ACTOR_BYTES,
    &rocks::FSYNC,
    &rocks::BUFFERED,
    &rocks::ONE_AT_A_TIME,
];

/// Peers that are programs of their own, which this machine may lack.
const INSTALLED: [&Reference; 4] = [&redis::ALWAYS, &redis::EVERY_SECOND, &redis::ONE_AT_A_TIME, &redis::READ];

/// The floors and peers as rows of their own, without goals.
pub(crate) fn rows() -> Vec<Row> {
    ALL.into_iter().chain(redis::if_installed(&INSTALLED)).map(row).collect()
}

fn row(reference: &Reference) -> Row {
    let Reference { name, unit, measure } = *reference;
    Row { name, unit, goal: Goal::NONE, measure, references: Vec::new() }
}

/// How many of `count` operations `work` did a second.
pub(crate) fn rate(count: usize, work: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
    Ok(1.0 / each(count, work)?)
}

/// How many seconds each of `count` operations in `work` took.
pub(crate) fn each(count: usize, work: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() / count as f64)
}

/// Does the operation `count` times, and stops at the first that fails.
pub(crate) fn repeat<T, E>(count: usize, mut operation: impl FnMut() -> Result<T, E>) -> Outcome<()>
where
    Box<dyn Error + Send + Sync>: From<E>,
{
    for _ in 0..count {
        black_box(operation()?);
    }
    Ok(())
}

/// How much memory each of `count` things takes that `make` makes; they live until their memory is read.
pub(crate) fn resident_each<T>(count: usize, make: impl FnOnce() -> Outcome<T>) -> Outcome<f64> {
    let before = crate::machine::resident_bytes().ok_or(NoMemoryFigure)?;
    let alive = make()?;
    let after = crate::machine::resident_bytes().ok_or(NoMemoryFigure)?;
    drop(alive);
    Ok(after.saturating_sub(before) as f64 / count as f64)
}

/// The system does not say how much memory a process has.
#[derive(Debug, thiserror::Error)]
#[error("this system does not say how much memory a process has")]
struct NoMemoryFigure;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_rate_is_the_inverse_of_the_time_each() {
        let pause = || {
            std::thread::sleep(Duration::from_millis(1));
            Ok(())
        };
        let seconds = each(10, pause).expect("nothing fails");
        assert!((1e-4..1e-1).contains(&seconds));
        assert!(rate(10, pause).expect("nothing fails") < 1e4);
    }

    #[test]
    fn no_two_floors_share_a_name() {
        let mut names: Vec<&str> = ALL.iter().map(|reference| reference.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
