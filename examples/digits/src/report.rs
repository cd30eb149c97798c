//! What is shown at the end: the loss as it fell, the confusion matrix, the digits that were read wrong, and what was lost.

use std::io::IsTerminal;

use owo_colors::{OwoColorize, Style};

use crate::{
    data::{Digits, CLASSES, SIDE},
    Again, Loss, Place,
};

/// Whether somebody looks at a terminal.
pub(crate) fn on_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// `text` in `style`, where it can be seen and is wanted (<https://no-color.org>).
pub(crate) fn paint(text: impl std::fmt::Display, style: Style) -> String {
    if on_terminal() && std::env::var_os("NO_COLOR").is_none() {
        text.style(style).to_string()
    } else {
        text.to_string()
    }
}

/// A heading.
pub(crate) fn heading(text: &str) {
    println!("\n{}", paint(text, Style::new().bold()));
}

/// Values as small bars, the largest as high as a line, by the logarithm.
pub(crate) fn bars(values: &[f32]) -> String {
    let logs = values.iter().map(|value| value.max(1e-6).ln());
    let (low, high) = logs.clone().fold((f32::MAX, f32::MIN), |(low, high), log| (low.min(log), high.max(log)));
    let height = |log: f32| ((log - low) / (high - low).max(f32::EPSILON) * 7.0).round() as usize;
    logs.map(|log| ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'][height(log).min(7)]).collect()
}

/// What each digit was read as.
pub(crate) fn confusion(truth: &[u8], read: &[u8]) {
    let mut counts = [[0; CLASSES]; CLASSES];
    for (&is, &as_) in truth.iter().zip(read) {
        counts[usize::from(is)][usize::from(as_)] += 1;
    }
    heading("What each digit (rows) was read as (columns)");
    println!("      {}", (0..CLASSES).map(|digit| format!("{digit:>4}")).collect::<String>());
    for (digit, row) in counts.iter().enumerate() {
        let cells = row.iter().enumerate().map(|(read, &count)| match count {
            0 => paint(format!("{:>4}", "·"), Style::new().dimmed()),
            _ if read == digit => paint(format!("{count:>4}"), Style::new().green().bold()),
            _ => paint(format!("{count:>4}"), Style::new().red().bold()),
        });
        let cells: String = cells.collect();
        let share = 100.0 * f64::from(row[digit]) / f64::from(row.iter().sum::<i32>().max(1));
        println!("   {digit}  {cells}   {share:5.1} %");
    }
}

/// Up to five images that were read wrong, side by side. How many there are.
pub(crate) fn mistakes(test: &Digits, read: &[u8]) -> usize {
    let truth = test.labels.as_slice();
    let wrong: Vec<usize> = (0..test.len()).filter(|&at| truth[at] != read[at]).collect();
    if wrong.is_empty() {
        heading("Not one was read wrong.");
        return 0;
    }
    heading(&format!("{} of {} were read wrong", wrong.len(), test.len()));
    let shown = &wrong[..wrong.len().min(5)];
    let titles = shown
        .iter()
        .map(|&at| format!("{:<width$}", format!("{} read as {}", truth[at], read[at]), width = SIDE * 2 + 4));
    println!("   {}", titles.collect::<String>().trim_end());
    for y in 0..SIDE {
        let lines = shown.iter().map(|&at| {
            let row = &test.images.row(at)[y * SIDE..][..SIDE];
            let pixels: String = row.iter().flat_map(|&ink| [shade(ink); 2]).collect();
            format!("{pixels}    ")
        });
        println!("   {}", lines.collect::<String>().trim_end());
    }
    wrong.len()
}

/// What was lost with a node, and what was done about it.
pub(crate) fn recovery(loss: &Loss, again: &[Again], shown: usize) {
    let Loss { node, pid, server_before, server_after, server_back, under_way } = loss;
    heading("The node that was killed");
    println!("   lost       node {node:.8}, process {pid}, its workers, and the parameter server");
    println!("   under way  {under_way} steps on all nodes");
    let of = again.iter().map(|(step, from, to)| format!("step {step} ({from:.8} → {to:.8})"));
    let first = of.take(shown).collect::<Vec<_>>().join(", ");
    let more = if again.len() > shown { ", .." } else { "" };
    match again.len() {
        0 => println!("   ran again  no step that had begun; what was sent there and had not begun ran elsewhere"),
        steps => println!("   ran again  {steps} steps that had begun: {first}{more}"),
    }
    if let Some(Place { node: place, pushes }) = server_after {
        println!(
            "   server     made again on node {place:.8} after {} ms; it had {} pushes, and {pushes} when it was first asked",
            server_back.as_millis(),
            server_before.pushes
        );
    }
}

fn shade(ink: f32) -> char {
    const SHADES: &[u8] = b" .:-=+*#%@";
    char::from(SHADES[((ink * 9.0).round() as usize).min(9)])
}
