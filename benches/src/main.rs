//! The bench table of Actinic: each row beside its floor or peer, measured in turns in the same run.
//!
//! This file owns the order of things: read the options, pick the rows, warn about a busy machine, measure, print the
//! table and write `bench-results.json`. A missed goal is a row that says so, never a failing exit code.

mod args;
mod failover;
mod floors;
mod flushing;
mod gcs_group;
mod json;
mod machine;
mod row;
mod rows;
mod run;
mod stats;
mod table;
mod throttle;

use std::path::Path;
use std::process::ExitCode;

use args::{Args, Mode};
use row::{Ctx, Outcome, Row};
use run::Measured;

/// For every row and every peer alike. A result is mostly freed on another thread than made it, which glibc's malloc
/// makes both threads wait for; the figures with it are told by `make bench ALLOCATOR=system`.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where the results go, in the current folder.
const RESULTS: &str = "bench-results.json";

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1), std::env::var("ONLY").ok()) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("actinic-bench: {error}\n\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    match start(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("actinic-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Carries out what the options ask for.
fn start(args: &Args) -> Outcome<()> {
    let rows = selected(args);
    match &args.mode {
        Mode::Help => println!("{}", args::USAGE),
        Mode::List => print!("{}", table::list(&rows)),
        Mode::Run => {
            for warning in machine::warnings() {
                eprintln!("warning: {warning}");
            }
            let results = run::measure_all(&rows, args);
            report(&results, args)?;
        }
        Mode::Failover => failover::run(args.quick)?,
        Mode::Flushing { tasks, replicas } => flushing::run(args.quick, *tasks, *replicas)?,
        Mode::Series(series) => flushing::series(series)?,
        Mode::Alive => floors::process::alive()?,
        Mode::Driver(address, tasks) => rows::drive(address, *tasks)?,
        Mode::Keeper(network) => failover::keep(network.as_deref())?,
        Mode::Cut(network, folder) => failover::cut(network, folder, args.quick)?,
        Mode::Replica(id, addresses, folder) => failover::replica(*id, addresses, folder)?,
        Mode::One(name) => {
            let row = every_row().find(|row| row.name == name).ok_or_else(|| NoRow(name.clone()))?;
            println!("{}", run::caught(row.measure, &mut Ctx::new(args.quick))?);
        }
    }
    Ok(())
}

/// The rows that the options name, in the order of the list.
fn selected(args: &Args) -> Vec<Row> {
    let all = if args.micro {
        rows::micro()
    } else if args.cluster {
        rows::cluster()
    } else if args.floors {
        floors::rows()
    } else if args.quick {
        // Nothing that can be measured may rot, so the short form runs every row there is.
        every_row().collect()
    } else {
        rows::goals()
    };
    all.into_iter().filter(|row| args.selects(row.name)).collect()
}

/// Every row there is, floors and peers last.
fn every_row() -> impl Iterator<Item = Row> {
    rows::goals().into_iter().chain(rows::micro()).chain(floors::rows())
}

/// Prints the results, and writes them to the folder the command was called in.
fn report(results: &[Measured<'_>], args: &Args) -> Outcome<()> {
    let text = json::results(results)?;
    if args.json {
        println!("{text}");
    } else {
        println!("{}", table::results(results));
        std::fs::write(Path::new(RESULTS), text + "\n")?;
        eprintln!("written: {RESULTS}");
    }
    Ok(())
}

/// Nothing that can be measured has this name.
#[derive(Debug, thiserror::Error)]
#[error("there is no row `{0}`")]
struct NoRow(String);
