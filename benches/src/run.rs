//! Runs the rows: a row and its references in turns (A B C A B C ..), so that a drift of the machine hits all alike.
//!
//! A run that fails ends its row with the error in place of a figure; the other rows go on.

use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use crate::args::Args;
use crate::machine;
use crate::row::{Ctx, Measure, Outcome, Reference, Row, Unit};
use crate::stats::Summary;

/// A reference, measured.
#[derive(Debug)]
pub(crate) struct Beside {
    /// The reference's name.
    pub(crate) name: &'static str,
    /// Its runs.
    pub(crate) summary: Summary,
}

/// A row's figures.
#[derive(Debug)]
pub(crate) struct Figures {
    /// The row's own runs.
    pub(crate) summary: Summary,
    /// Its references, the strongest first.
    pub(crate) beside: Vec<Beside>,
    /// How good the row is beside the strongest reference: above 1 is better than it.
    pub(crate) ratio: Option<f64>,
    /// Whether the goal is met, where it was judged.
    pub(crate) met: Option<bool>,
}

/// A row, and what came of it.
#[derive(Debug)]
pub(crate) struct Measured<'a> {
    /// The row.
    pub(crate) row: &'a Row,
    /// Its figures, or why there are none.
    pub(crate) figures: Outcome<Figures>,
}

/// Measures the rows one after another and tells of each on standard error.
pub(crate) fn measure_all<'a>(rows: &'a [Row], args: &Args) -> Vec<Measured<'a>> {
    let mut results = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let start = Instant::now();
        eprint!("[{}/{}] {} ", index + 1, rows.len(), row.name);
        let figures = measure(row, args);
        let seconds = start.elapsed().as_secs_f64();
        match &figures {
            Ok(_) => eprintln!("({seconds:.1} s, load {:.1})", machine::load().unwrap_or_default()),
            Err(error) => eprintln!("failed: {error}"),
        }
        results.push(Measured { row, figures });
    }
    results
}

/// Measures one row beside its references.
fn measure(row: &Row, args: &Args) -> Outcome<Figures> {
    let mut ctx = Ctx::new(args.quick);
    let mut own = Vec::with_capacity(args.runs);
    let mut others = vec![Vec::with_capacity(args.runs); row.references.len()];
    // A run in a process of its own finds nothing warm.
    if !args.quick && row.unit != Unit::Bytes {
        warm_up(row, &mut ctx)?;
    }
    for _ in 0..args.runs {
        own.push(one(row.name, row.unit, row.measure, &mut ctx)?);
        for (runs, reference) in others.iter_mut().zip(&row.references) {
            assert_eq!(reference.unit, row.unit, "invariant: `{}` has the unit of `{}`", reference.name, row.name);
            runs.push(one(reference.name, reference.unit, reference.measure, &mut ctx)?);
        }
    }
    let summary = Summary::of(&own).ok_or(NotANumber)?;
    let beside = ranked(row.unit, &row.references, &others)?;
    let ratio_to = |other: &Beside| row.unit.goodness(summary.median, other.summary.median);
    let ratio = beside.first().map(ratio_to);
    let judged = row.goal.of.map_or(ratio, |of| beside.iter().find(|other| other.name == of).map(ratio_to));
    let met = if args.quick { None } else { row.goal.met(row.unit, summary.median, judged) };
    Ok(Figures { summary, beside, ratio, met })
}

/// One run each that is not counted: threads start, memory is touched, caches fill.
fn warm_up(row: &Row, ctx: &mut Ctx) -> Outcome<()> {
    caught(row.measure, ctx)?;
    for reference in &row.references {
        caught(reference.measure, ctx)?;
    }
    Ok(())
}

/// One run. Memory is measured in a new process: here, what earlier runs freed would be used again and not counted.
fn one(name: &str, unit: Unit, measure: Measure, ctx: &mut Ctx) -> Outcome<f64> {
    if unit == Unit::Bytes && !cfg!(test) {
        in_new_process(name, ctx.quick)
    } else {
        caught(measure, ctx)
    }
}

/// Runs this program for the one figure of this name.
fn in_new_process(name: &str, quick: bool) -> Outcome<f64> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--one", name]).args(quick.then_some("--quick")).stderr(Stdio::inherit());
    let output = command.output()?;
    if !output.status.success() {
        return Err(Box::new(ProcessFailed(output.status)));
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// One run in this process, its panic taken for an error so that the other rows go on.
pub(crate) fn caught(measure: Measure, ctx: &mut Ctx) -> Outcome<f64> {
    let run = std::panic::AssertUnwindSafe(|| measure(ctx));
    std::panic::catch_unwind(run).unwrap_or_else(|_| Err(Box::new(Panicked)))
}

/// The references with their figures, the strongest first.
fn ranked(unit: Unit, references: &[&Reference], runs: &[Vec<f64>]) -> Outcome<Vec<Beside>> {
    let mut beside = Vec::with_capacity(references.len());
    for (reference, runs) in references.iter().zip(runs) {
        beside.push(Beside { name: reference.name, summary: Summary::of(runs).ok_or(NotANumber)? });
    }
    beside.sort_by(|a, b| unit.goodness(a.summary.median, b.summary.median).total_cmp(&1.0).reverse());
    Ok(beside)
}

/// The run gave no finite number.
#[derive(Debug, thiserror::Error)]
#[error("a run gave no finite number")]
struct NotANumber;

/// The process of a run failed; its reason went to standard error.
#[derive(Debug, thiserror::Error)]
#[error("the process of a run failed: {0}")]
struct ProcessFailed(ExitStatus);

/// The run panicked; the message went to standard error.
#[derive(Debug, thiserror::Error)]
#[error("a run panicked")]
struct Panicked;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Goal;

    static SLOW: Reference = Reference { name: "slow", unit: Unit::PerSecond, measure: |_| Ok(10.0) };
    static FAST: Reference = Reference { name: "fast", unit: Unit::PerSecond, measure: |_| Ok(40.0) };

    fn row(measure: Measure) -> Row {
        let goal = Goal { text: "half of the fastest", ratio: Some(0.5), ..Goal::NONE };
        Row { name: "row", unit: Unit::PerSecond, goal, measure, references: vec![&SLOW, &FAST] }
    }

    fn args(words: &[&str]) -> Args {
        Args::parse(words.iter().map(ToString::to_string), None).expect("the options are right")
    }

    #[test]
    fn the_ratio_is_to_the_strongest_reference() {
        let figures = measure(&row(|_| Ok(20.0)), &args(&[])).expect("nothing fails");
        assert_eq!(figures.beside[0].name, "fast");
        assert_eq!(figures.beside[1].name, "slow");
        assert_eq!(figures.ratio, Some(0.5));
        assert_eq!(figures.met, Some(true));
        assert_eq!(figures.summary.runs, 5);
    }

    #[test]
    fn a_goal_that_names_a_reference_is_judged_by_that() {
        let row = |of| Row { goal: Goal { of: Some(of), ..row(|_| Ok(5.0)).goal }, ..row(|_| Ok(5.0)) };
        let met = |of| measure(&row(of), &args(&[])).expect("nothing fails").met;
        assert_eq!((met("slow"), met("fast"), met("nobody")), (Some(true), Some(false), None));
    }

    #[test]
    fn the_short_form_judges_nothing() {
        let figures = measure(&row(|_| Ok(1.0)), &args(&["--quick"])).expect("nothing fails");
        assert_eq!((figures.met, figures.summary.runs), (None, 1));
    }

    #[test]
    fn a_run_that_fails_or_panics_leaves_the_others() {
        let rows = [row(|_| Err("no".into())), row(|_| panic!("on purpose")), row(|_| Ok(1.0))];
        let results = measure_all(&rows, &args(&["--quick"]));
        let failed: Vec<bool> = results.iter().map(|result| result.figures.is_err()).collect();
        assert_eq!(failed, [true, true, false]);
    }
}
