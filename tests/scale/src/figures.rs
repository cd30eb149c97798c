//! The figures: what is simulated, what is read off, and how it is shown.
//!
//! Owns: the list of figures; each is a module of its own.

pub(crate) mod empty_tasks;

use std::{error::Error, path::PathBuf};

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Figure {
    /// Empty tasks a second, drivers on every node: the paper's Figure 8b.
    EmptyTasks,
}

/// How it is to be done.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything that is random comes of it.
    pub seed: u64,
    /// At most so many nodes.
    pub nodes: u32,
    /// How many seeds of random trouble.
    pub seeds: u64,
    /// The folder of the plots.
    pub plots: PathBuf,
}

/// Makes figures: those that are named, or all.
///
/// # Errors
/// A plot that cannot be written, or a bound that a figure breaks.
pub fn run(figures: &[Figure], options: &Options) -> Result<(), Box<dyn Error>> {
    let wanted = |figure| figures.is_empty() || figures.contains(&figure);
    if wanted(Figure::EmptyTasks) {
        empty_tasks::figure(options)?;
    }
    Ok(())
}
