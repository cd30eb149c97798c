//! The figures: what is simulated, what is read off, and how it is shown.
//!
//! Owns: the list of figures; each is a module of its own.

pub(crate) mod allreduce;
pub(crate) mod control;
pub(crate) mod empty_tasks;
pub(crate) mod locality;
pub(crate) mod spread;
pub(crate) mod trouble;

use std::{error::Error, path::PathBuf};

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Figure {
    /// Empty tasks a second, drivers on every node: the paper's Figure 8b.
    EmptyTasks,
    /// Tasks with large inputs, with and without locality: the paper's Figure 8a.
    Locality,
    /// One driver against many nodes.
    Spread,
    /// A slow scheduler against an allreduce: the paper's Figure 12b.
    Allreduce,
    /// What is asked of the control store, and words on load.
    Control,
    /// Nodes, processes and connections that are lost.
    Trouble,
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
    if wanted(Figure::Locality) {
        locality::figure(options)?;
    }
    if wanted(Figure::Spread) {
        spread::figure(options)?;
    }
    if wanted(Figure::Allreduce) {
        allreduce::figure(options)?;
    }
    if wanted(Figure::Control) {
        control::figure(options)?;
    }
    if wanted(Figure::Trouble) {
        trouble::figure(options)?;
    }
    Ok(())
}
