//! Tables on the terminal and plots in files.
//!
//! Owns: how figures look. Invariant: a plot has its axes, their units and what is compared on it.

use std::{error::Error, path::Path};

use comfy_table::{presets::UTF8_BORDERS_ONLY, CellAlignment, Table};
use plotters::prelude::*;

/// One line of a plot.
pub(crate) struct Line {
    /// What it is.
    pub(crate) name: String,
    /// Its points.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A plot.
pub(crate) struct Plot<'a> {
    /// What it shows.
    pub(crate) title: &'a str,
    /// What goes to the right.
    pub(crate) x: &'a str,
    /// What goes up.
    pub(crate) y: &'a str,
    /// The lines.
    pub(crate) lines: Vec<Line>,
    /// Whether both axes are logarithmic.
    pub(crate) log: bool,
}

/// Prints a table under its title.
pub(crate) fn table(title: &str, head: &[&str], rows: &[Vec<String>]) {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    println!("\n{title}\n{table}");
}

/// A number with three figures and its thousands.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1e9 => format!("{:.2} G", value / 1e9),
        v if v >= 1e6 => format!("{:.2} M", value / 1e6),
        v if v >= 1e4 => format!("{:.1} k", value / 1e3),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

const COLOURS: [RGBColor; 6] = [
    RGBColor(34, 68, 119),
    RGBColor(204, 51, 51),
    RGBColor(51, 136, 85),
    RGBColor(187, 136, 34),
    RGBColor(119, 68, 153),
    RGBColor(102, 102, 102),
];

/// Writes a plot as SVG.
///
/// # Errors
/// What the plotter or the system says.
pub(crate) fn write(file: &Path, plot: &Plot<'_>) -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (900, 420)).into_drawing_area();
        area.fill(&WHITE)?;
        let points = || plot.lines.iter().flat_map(|line| line.points.iter().copied());
        let most = |pick: fn((f64, f64)) -> f64| points().map(pick).fold(f64::MIN_POSITIVE, f64::max);
        let least = |pick: fn((f64, f64)) -> f64| points().map(pick).filter(|v| *v > 0.0).fold(f64::MAX, f64::min);
        let (right, top) = (most(|p| p.0), most(|p| p.1));
        let mut builder = ChartBuilder::on(&area);
        builder.caption(plot.title, ("sans-serif", 18)).margin(14).x_label_area_size(42).y_label_area_size(84);
        if plot.log {
            let (left, bottom) = (least(|p| p.0).min(right), least(|p| p.1).min(top));
            let x = (left / 1.2..right * 1.2).log_scale();
            let y = (bottom / 1.5..top * 1.5).log_scale();
            lines(builder.build_cartesian_2d(x, y)?, plot)?;
        } else {
            lines(builder.build_cartesian_2d(0.0..right * 1.05, 0.0..top * 1.1)?, plot)?;
        }
        area.present()?;
    }
    std::fs::write(file, text)?;
    eprintln!("written: {}", file.display());
    Ok(())
}

/// Draws the axes and the lines.
fn lines<'a, X, Y>(
    mut chart: ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
    plot: &Plot<'_>,
) -> Result<(), Box<dyn Error>>
where
    X: Ranged<ValueType = f64> + plotters::coord::ranged1d::ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + plotters::coord::ranged1d::ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .x_desc(plot.x)
        .y_desc(plot.y)
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .light_line_style(WHITE)
        .draw()?;
    for (at, line) in plot.lines.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let series = chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?;
        series.label(&line.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour));
        chart.draw_series(line.points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
    }
    chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).border_style(BLACK).draw()?;
    Ok(())
}
