//! Memory and disk over tasks recorded, as SVG.
//!
//! Owns the drawing: one picture, three lines. Both axes are linear, and both begin at nothing.

use std::fmt::Write as _;

use super::Sample;

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 50.0;

/// The picture of both series.
pub(super) fn svg(flushed: &[Sample], kept: &[Sample]) -> String {
    let all = || flushed.iter().chain(kept);
    let tasks_max = all().map(|sample| sample.tasks).max().unwrap_or(1).max(1) as f64;
    let bytes_max = all().map(|sample| sample.memory_bytes.max(sample.disk_bytes)).max().unwrap_or(1).max(1) as f64;
    let x_of = |tasks: f64| LEFT + tasks / tasks_max * (WIDTH - LEFT - RIGHT);
    let y_of = |bytes: f64| HEIGHT - BOTTOM - bytes / bytes_max * (HEIGHT - TOP - BOTTOM);
    let mut text = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{HEIGHT}' font-family='sans-serif' \
         font-size='12'><rect width='100%' height='100%' fill='white'/>\
         <text x='{LEFT}' y='18' font-size='14'>A chain of no-op tasks recorded in the control store</text>"
    );
    for step in 0..=4 {
        let part = f64::from(step) / 4.0;
        let (x, y) = (x_of(tasks_max * part), y_of(bytes_max * part));
        let _ = write!(text, "<line x1='{LEFT}' x2='{}' y1='{y}' y2='{y}' stroke='#ddd'/>", WIDTH - RIGHT);
        let _ = write!(text, "<text x='8' y='{}'>{:.0} MiB</text>", y + 4.0, bytes_max * part / f64::from(1 << 20));
        let _ = write!(
            text,
            "<text x='{x}' y='{}' text-anchor='end'>{:.2} M</text>",
            HEIGHT - 28.0,
            tasks_max * part / 1e6
        );
    }
    let _ = write!(text, "<text x='{}' y='{}'>tasks recorded</text>", WIDTH / 2.0, HEIGHT - 8.0);
    let memory: fn(&Sample) -> u64 = |sample| sample.memory_bytes;
    let disk: fn(&Sample) -> u64 = |sample| sample.disk_bytes;
    let lines = [
        (kept, memory, "#c33", "memory, nothing deleted, in memory"),
        (flushed, memory, "#247", "memory, old lineage deleted, on disk"),
        (flushed, disk, "#7a4", "disk, old lineage deleted; at the end all of it"),
    ];
    for (at, (samples, of, colour, name)) in lines.into_iter().enumerate() {
        let points = samples.iter().map(|sample| (x_of(sample.tasks as f64), y_of(of(sample) as f64)));
        let points: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ =
            write!(text, "<polyline points='{}' fill='none' stroke='{colour}' stroke-width='1.5'/>", points.join(" "));
        let _ = write!(text, "<text x='{}' y='38' fill='{colour}'>{name}</text>", LEFT + at as f64 * 235.0);
    }
    text + "</svg>\n"
}
