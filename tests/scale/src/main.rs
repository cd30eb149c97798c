//! The command: which figures, of how many nodes, from which seed.

use actinic_scale::{run, Figure, Options};
use clap::Parser;

/// The schedulers of Actinic in virtual time.
#[derive(Parser)]
struct Args {
    /// Figures to make; all where none is named.
    #[arg(value_enum)]
    figures: Vec<Figure>,
    /// Everything that is random comes of it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// At most so many nodes.
    #[arg(long, default_value_t = 1_000)]
    nodes: u32,
    /// How many seeds of random trouble.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// Where the plots go.
    #[arg(long, default_value = ".")]
    plots: std::path::PathBuf,
}

fn main() -> std::process::ExitCode {
    let Args { figures, seed, nodes, seeds, plots } = Args::parse();
    match run(&figures, &Options { seed, nodes, seeds, plots }) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}
