//! `bench-results.json`: one object a row, figures in base units (seconds, a second, bytes a second, bytes).

use serde::Serialize;

use crate::run::{Beside, Figures, Measured};

/// One row of the file.
#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    value: Option<f64>,
    unit: &'a str,
    reference: Option<&'a str>,
    reference_value: Option<f64>,
    /// Above 1 is better than the reference, also where the figure is a time or a size.
    ratio: Option<f64>,
    goal: &'a str,
    met: Option<bool>,
    spread: Option<Spread>,
    runs: usize,
    references: Vec<Other<'a>>,
    error: Option<String>,
}

/// How far the runs lie apart.
#[derive(Serialize)]
struct Spread {
    min: f64,
    max: f64,
    percent: f64,
}

/// Each of the references, the strongest first.
#[derive(Serialize)]
struct Other<'a> {
    name: &'a str,
    value: f64,
    spread_percent: f64,
}

/// The results as an indented list.
///
/// # Errors
/// None in practice: only finite numbers and text are written.
pub(crate) fn results(results: &[Measured<'_>]) -> serde_json::Result<String> {
    let entries: Vec<Entry<'_>> = results.iter().map(entry).collect();
    serde_json::to_string_pretty(&entries)
}

fn entry<'a>(result: &'a Measured<'_>) -> Entry<'a> {
    let figures = result.figures.as_ref().ok();
    let best = figures.and_then(|figures| figures.beside.first());
    Entry {
        name: result.row.name,
        value: figures.map(|figures| figures.summary.median),
        unit: result.row.unit.sign(),
        reference: best.map(|best| best.name),
        reference_value: best.map(|best| best.summary.median),
        ratio: figures.and_then(|figures| figures.ratio),
        goal: result.row.goal.text,
        met: figures.and_then(|figures| figures.met),
        spread: figures.map(spread),
        runs: figures.map_or(0, |figures| figures.summary.runs),
        references: figures.map(|figures| figures.beside.iter().map(other).collect()).unwrap_or_default(),
        error: result.figures.as_ref().err().map(ToString::to_string),
    }
}

fn spread(figures: &Figures) -> Spread {
    let summary = &figures.summary;
    Spread { min: summary.min, max: summary.max, percent: summary.spread_percent() }
}

fn other(beside: &Beside) -> Other<'_> {
    Other { name: beside.name, value: beside.summary.median, spread_percent: beside.summary.spread_percent() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Goal, Row, Unit};
    use crate::stats::Summary;

    #[test]
    fn every_row_has_all_its_fields() {
        let row =
            Row { name: "put", unit: Unit::PerSecond, goal: Goal::NONE, measure: |_| Ok(0.0), references: Vec::new() };
        let summary = Summary::of(&[1.0, 2.0, 3.0]).expect("three runs");
        let figures = Figures { summary, beside: Vec::new(), ratio: None, met: None };
        let rows = [Measured { row: &row, figures: Ok(figures) }, Measured { row: &row, figures: Err("why".into()) }];
        let text = results(&rows).expect("it can be written");
        let list: serde_json::Value = serde_json::from_str(&text).expect("it can be read");
        for name in "name value unit reference reference_value ratio goal met spread runs".split(' ') {
            assert!(list[0].get(name).is_some(), "`{name}` is missing");
        }
        assert_eq!(list[0]["value"], 2.0);
        assert_eq!(list[0]["spread"]["percent"], 100.0);
        assert_eq!(list[1]["error"], "why");
    }
}
