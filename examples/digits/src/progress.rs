//! What is shown while it learns: how far it is, and what each node has done since the beginning, all the time.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::report;

/// Where nobody looks at a terminal: a line as often.
const LINE_EVERY: Duration = Duration::from_millis(1_000);

/// Steps of one node.
struct OfNode {
    id: String,
    name: String,
    steps: usize,
    bar: ProgressBar,
}

/// The bars, on a terminal; else a line now and then.
pub(crate) struct Progress {
    bars: MultiProgress,
    all: ProgressBar,
    nodes: Vec<OfNode>,
    steps: usize,
    line_at: Instant,
    learned: String,
}

fn bar(template: &str, len: usize) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template is well-formed");
    ProgressBar::new(len as u64).with_style(style.progress_chars("━╸─"))
}

impl Progress {
    /// Of so many steps; a line for each of the nodes that are known.
    pub(crate) fn new(steps: usize, nodes: &[String]) -> Self {
        let bars = MultiProgress::new();
        let all = bars.add(bar("   {bar:36.cyan/blue} {pos}/{len} steps  {msg}  {elapsed}", steps));
        let mut progress =
            Self { bars, all, nodes: Vec::new(), steps, line_at: Instant::now() + LINE_EVERY, learned: String::new() };
        for node in nodes {
            progress.node(node);
        }
        progress
    }

    fn node(&mut self, node: &str) -> &mut OfNode {
        let at = self.nodes.iter().position(|of| of.id == node).unwrap_or(self.nodes.len());
        if at == self.nodes.len() {
            let name = format!("node {} ({node:.8})", at + 1);
            let bar = self.bars.add(bar("   {prefix} {bar:20.green/black} {pos:>5} steps  {msg}", self.steps));
            bar.set_prefix(name.clone());
            self.nodes.push(OfNode { id: node.to_owned(), name, steps: 0, bar });
        }
        &mut self.nodes[at]
    }

    /// What a node is called.
    pub(crate) fn name(&mut self, node: &str) -> String {
        self.node(node).name.clone()
    }

    /// Something is to be known of a node from now on.
    pub(crate) fn note(&mut self, node: &str, what: &str) {
        self.node(node).bar.set_message(what.to_owned());
    }

    /// A node has done a step.
    pub(crate) fn step(&mut self, node: &str) {
        let of_node = self.node(node);
        of_node.steps += 1;
        of_node.bar.inc(1);
        self.all.inc(1);
        if !report::on_terminal() && Instant::now() > self.line_at {
            self.line_at = Instant::now() + LINE_EVERY;
            self.line();
        }
    }

    fn line(&self) {
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("{}: {}", node.name, node.steps)).collect();
        println!("   {:>5} of {} steps   {}   {}", self.all.position(), self.steps, nodes.join(", "), self.learned);
    }

    /// How well it reads by now.
    pub(crate) fn learned(&mut self, loss: f32, accuracy: f64) {
        self.learned = format!("loss {loss:.3}, reads {:.1} %", accuracy * 100.0);
        self.all.set_message(self.learned.clone());
    }

    /// A line above the bars.
    pub(crate) fn say(&self, line: &str) {
        if report::on_terminal() {
            // Nothing depends on whether it can be shown.
            let _ = self.bars.println(line);
        } else {
            println!("{line}");
        }
    }

    /// Puts the bars away, and leaves what each node has done.
    pub(crate) fn finish(self) {
        let _ = self.bars.clear();
        self.line();
    }
}
