//! The table that people read: figures with SI prefixes, ratios, goals. Owns no figure of its own.

use comfy_table::{presets, Cell, CellAlignment, Table, TableComponent};

use crate::row::{Row, Unit};
use crate::run::{Figures, Measured};

/// Columns that hold numbers, to be set flush right.
const NUMBERS: [usize; 4] = [1, 2, 4, 5];

/// The results as an aligned table, and below it what the ratio means.
pub(crate) fn results(results: &[Measured<'_>]) -> String {
    let mut table = empty(&["row", "median", "spread", "reference", "reference's", "ratio", "goal", "met"]);
    for result in results {
        match &result.figures {
            Ok(figures) => add(&mut table, result.row, figures),
            Err(error) => {
                table.add_row(vec![result.row.name.to_owned(), "failed".to_owned(), error.to_string()]);
            }
        }
    }
    for column in NUMBERS {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let met = results.iter().filter(|result| judged(result) == Some(true)).count();
    let judged = results.iter().filter(|result| judged(result).is_some()).count();
    let goals = if judged > 0 { format!(" {met} of {judged} goals met.") } else { String::new() };
    format!("{table}\nratio: above 1 is better than the reference, also where the figure is a time or a size.{goals}\nallocator of all: {ALLOCATOR}")
}

const ALLOCATOR: &str = if cfg!(feature = "mimalloc") { "mimalloc" } else { "the system's" };

/// The rows, their goals and references, without figures.
pub(crate) fn list(rows: &[Row]) -> String {
    let mut table = empty(&["row", "unit", "goal", "references"]);
    for row in rows {
        let references: Vec<&str> = row.references.iter().map(|reference| reference.name).collect();
        table.add_row(vec![row.name, row.unit.sign(), row.goal.text, &references.join("; ")]);
    }
    format!("{table}\n")
}

fn empty(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_style(TableComponent::HeaderLines, '─');
    table.set_header(header.iter().map(Cell::new));
    table
}

fn judged(result: &Measured<'_>) -> Option<bool> {
    result.figures.as_ref().ok().and_then(|figures| figures.met)
}

/// One line for the row, and one more for each weaker reference.
fn add(table: &mut Table, row: &Row, figures: &Figures) {
    let met = match figures.met {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "",
    };
    let best = figures.beside.first();
    table.add_row(vec![
        row.name.to_owned(),
        figure(figures.summary.median, row.unit),
        format!("{:.0} %", figures.summary.spread_percent()),
        best.map(|best| best.name.to_owned()).unwrap_or_default(),
        best.map(|best| figure(best.summary.median, row.unit)).unwrap_or_default(),
        figures.ratio.map(ratio).unwrap_or_default(),
        row.goal.text.to_owned(),
        met.to_owned(),
    ]);
    for other in figures.beside.iter().skip(1) {
        table.add_row(vec![
            String::new(),
            String::new(),
            String::new(),
            other.name.to_owned(),
            figure(other.summary.median, row.unit),
            ratio(row.unit.goodness(figures.summary.median, other.summary.median)),
        ]);
    }
}

/// A figure in three digits with its prefix and unit: `1.80 M/s`, `12.5 GB/s`, `940 ns`.
pub(crate) fn figure(value: f64, unit: Unit) -> String {
    let sign = match unit {
        Unit::PerSecond => "/s",
        Unit::BytesPerSecond => "B/s",
        Unit::Seconds => "s",
        Unit::Bytes => "B",
        Unit::Count => "",
    };
    let (scaled, prefix) = scaled(value);
    let digits = match scaled.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 2,
    };
    format!("{scaled:.digits$} {prefix}{sign}").trim_end().to_owned()
}

fn scaled(value: f64) -> (f64, &'static str) {
    const PREFIXES: [(f64, &str); 6] = [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ")];
    if value == 0.0 {
        return (0.0, "");
    }
    let fitting = PREFIXES.into_iter().find(|(factor, _)| value.abs() >= *factor);
    let (factor, prefix) = fitting.unwrap_or((1e-9, "n"));
    (value / factor, prefix)
}

fn ratio(ratio: f64) -> String {
    if ratio >= 100.0 {
        format!("{ratio:.0} ×")
    } else {
        format!("{ratio:.2} ×")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Goal;
    use crate::run::Beside;
    use crate::stats::Summary;

    #[test]
    fn figures_have_three_digits_and_a_prefix() {
        assert_eq!(figure(1_804_000.0, Unit::PerSecond), "1.80 M/s");
        assert_eq!(figure(12.54e9, Unit::BytesPerSecond), "12.5 GB/s");
        assert_eq!(figure(940e-9, Unit::Seconds), "940 ns");
        assert_eq!(figure(77.4e-6, Unit::Seconds), "77.4 µs");
        assert_eq!(figure(0.0, Unit::Bytes), "0.00 B");
        assert_eq!(figure(152.4, Unit::Count), "152");
    }

    #[test]
    fn a_missed_goal_stands_out_and_a_failed_row_says_why() {
        let goal = Goal { text: "under 2 µs", figure: Some(2e-6), ..Goal::NONE };
        let row = Row { name: "one task", unit: Unit::Seconds, goal, measure: |_| Ok(0.0), references: Vec::new() };
        let summary = Summary::of(&[4e-6]).expect("one run");
        let beside = vec![Beside { name: "tokio", summary: Summary::of(&[1e-6]).expect("one run") }];
        let figures = Figures { summary, beside, ratio: Some(0.25), met: Some(false) };
        let text = results(&[
            Measured { row: &row, figures: Ok(figures) },
            Measured { row: &row, figures: Err("the store is full".into()) },
        ]);
        for part in ["4.00 µs", "tokio", "0.25 ×", "under 2 µs", "NO", "the store is full", "0 of 1 goals met"] {
            assert!(text.contains(part), "`{part}` is missing in\n{text}");
        }
    }
}
