//! The options of the command. Owns their names and the matching of `ONLY`; decides nothing about measuring.

use std::str::FromStr;

use crate::flushing::{Kind, Series};

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
actinic-bench: each row beside its floor or peer, measured in turns in the same run

  --only PATTERN   rows whose name contains PATTERN, or matches it where it has a * (also: ONLY=PATTERN)
  --runs N         runs of each row and of each of its references (default 5)
  --quick          each row once with tiny sizes, no goals judged
  --floors         the floors and peers alone
  --micro          the rows that bear the names of Ray's microbenchmark
  --cluster        the rows of clusters of real processes alone
  --json           the results as JSON on standard output, instead of the table and the file
  --list           the names, goals and references, nothing measured
  --failover       what a client waits while a replica of the control store is killed, paused or cut off; writes failover.svg
  --flushing       memory and disk under endless load on the control store; writes flushing.svg
    --tasks N      so many tasks (default 50000000)
    --replicas N   so many replicas (default 1)
  --help           this text";

/// Tasks of the endless load where nothing else is asked for: as many as in the paper.
const TASKS: u64 = 50_000_000;

/// Runs of a row where nothing else is asked for.
const RUNS: usize = 5;

/// What the command is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Print the usage.
    Help,
    /// Print the rows without measuring them.
    List,
    /// Measure.
    Run,
    /// Run the row or reference of this very name once and print its bare figure: a process measures its memory.
    One(String),
    /// Measure what a client of the control store waits while a leader fails.
    Failover,
    /// Measure memory and disk under endless load.
    Flushing {
        /// How many tasks are recorded.
        tasks: u64,
        /// By how many replicas.
        replicas: usize,
    },
    /// Be one series of that.
    Series(Series),
    /// Be a replica for that: its number, everybody's addresses, the folder.
    Replica(u64, String, std::path::PathBuf),
    /// Undo in the end what that does to the machine; with a network of this name.
    Keeper(Option<String>),
    /// Say a line and wait for the end of the input: the floor of whatever starts processes.
    Alive,
    /// Be a driver of the cluster at this address that submits so many tasks when it is told to.
    Driver(String, usize),
    /// Measure the cut from inside the network of this name, with the replicas' rows in this folder.
    Cut(String, std::path::PathBuf),
}

/// The options, read.
#[derive(Debug)]
pub(crate) struct Args {
    /// What to do.
    pub(crate) mode: Mode,
    /// Tiny sizes, one run, no goals judged.
    pub(crate) quick: bool,
    /// The rows of Ray's microbenchmark instead of the goals.
    pub(crate) micro: bool,
    /// The rows of clusters alone.
    pub(crate) cluster: bool,
    /// The floors and peers instead of the goals.
    pub(crate) floors: bool,
    /// JSON on standard output.
    pub(crate) json: bool,
    /// Runs of each row.
    pub(crate) runs: usize,
    only: Option<String>,
}

/// An option that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArgsError {
    /// No option has this name.
    #[error("unknown option `{0}`")]
    Unknown(String),
    /// The option stands alone but needs a value.
    #[error("`{0}` needs a value")]
    NoValue(&'static str),
    /// A replica's number is a number.
    #[error("`{0}` is no replica's number")]
    Replica(String),
    /// `--runs`, `--tasks` and `--replicas` take a positive number.
    #[error("`{1}` is no number of {0}")]
    Number(&'static str, String),
    /// A series is one of those that are there.
    #[error("`{0}` is no series")]
    Series(String),
}

impl Args {
    /// Reads the arguments (without the program's name); `only` is the environment's choice of rows, which `--only`
    /// overrides.
    ///
    /// # Errors
    /// An unknown option, or one without its value.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>, only: Option<String>) -> Result<Self, ArgsError> {
        let mut args = Self {
            mode: Mode::Run,
            quick: false,
            micro: false,
            cluster: false,
            floors: false,
            json: false,
            runs: RUNS,
            only: only.filter(|only| !only.is_empty()),
        };
        let (mut runs, mut tasks, mut replicas) = (None, None, None);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => args.quick = true,
                "--micro" => args.micro = true,
                "--cluster" => args.cluster = true,
                "--floors" => args.floors = true,
                "--json" => args.json = true,
                "--list" => args.mode = Mode::List,
                "--help" | "-h" => args.mode = Mode::Help,
                "--flushing" => args.mode = Mode::Flushing { tasks: TASKS, replicas: 1 },
                "--tasks" => tasks = Some(number("tasks", words.next().ok_or(ArgsError::NoValue("--tasks"))?)?),
                "--replicas" => {
                    replicas = Some(number("replicas", words.next().ok_or(ArgsError::NoValue("--replicas"))?)?);
                }
                "--flushing-series" => args.mode = Mode::Series(series(&mut words)?),
                "--failover" => args.mode = Mode::Failover,
                "--gcs-replica" => {
                    let mut next = || words.next().ok_or(ArgsError::NoValue("--gcs-replica"));
                    let id = next()?;
                    let id = id.parse().map_err(|_| ArgsError::Replica(id))?;
                    args.mode = Mode::Replica(id, next()?, next()?.into());
                }
                "--driver" => {
                    let mut next = || words.next().ok_or(ArgsError::NoValue("--driver"));
                    args.mode = Mode::Driver(next()?, number("tasks", next()?)?);
                }
                "--alive" => args.mode = Mode::Alive,
                "--failover-keeper" => args.mode = Mode::Keeper(words.next()),
                "--failover-cut" => {
                    let mut next = || words.next().ok_or(ArgsError::NoValue("--failover-cut"));
                    args.mode = Mode::Cut(next()?, next()?.into());
                }
                "--only" => args.only = Some(words.next().ok_or(ArgsError::NoValue("--only"))?),
                "--one" => args.mode = Mode::One(words.next().ok_or(ArgsError::NoValue("--one"))?),
                "--runs" => runs = Some(number("runs", words.next().ok_or(ArgsError::NoValue("--runs"))?)?),
                // What `cargo bench` and `cargo test` pass to every binary.
                "--bench" | "--test" => {}
                _ => return Err(ArgsError::Unknown(word)),
            }
        }
        args.runs = runs.unwrap_or(if args.quick { 1 } else { RUNS });
        if let Mode::Flushing { tasks: of_tasks, replicas: of_replicas } = &mut args.mode {
            *of_tasks = tasks.unwrap_or(*of_tasks);
            *of_replicas = replicas.unwrap_or(*of_replicas);
        }
        Ok(args)
    }

    /// Whether the row of this name is wanted.
    pub(crate) fn selects(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|pattern| matches(pattern, name))
    }
}

/// A positive number of something.
fn number<N: FromStr + Default + PartialOrd>(of: &'static str, word: String) -> Result<N, ArgsError> {
    word.parse().ok().filter(|number| *number > N::default()).ok_or(ArgsError::Number(of, word))
}

/// What a series is told by the process that started it.
fn series(words: &mut impl Iterator<Item = String>) -> Result<Series, ArgsError> {
    let mut next = || words.next().ok_or(ArgsError::NoValue("--flushing-series"));
    let kind = next()?;
    Ok(Series {
        kind: Kind::named(&kind).ok_or(ArgsError::Series(kind))?,
        tasks: number("tasks", next()?)?,
        replicas: number("replicas", next()?)?,
        memory_bytes_max: number("bytes", next()?)?,
        folder: next()?.into(),
    })
}

/// A pattern without `*` matches a part of the name; with `*` it matches the whole name, case aside.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_lowercase(), name.to_lowercase());
    let Some((head, rest)) = pattern.split_once('*') else { return name.contains(&pattern) };
    let Some(mut left) = name.strip_prefix(head) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str], only: Option<&str>) -> Result<Args, ArgsError> {
        Args::parse(words.iter().map(ToString::to_string), only.map(String::from))
    }

    #[test]
    fn a_pattern_without_a_star_matches_a_part() {
        assert!(matches("spawn", "tokio::spawn + join"));
        assert!(matches("SPAWN", "tokio::spawn + join"));
        assert!(!matches("rayon", "tokio::spawn + join"));
    }

    #[test]
    fn a_pattern_with_stars_matches_the_whole() {
        assert!(matches("1:1*async", "1:1 actor calls async"));
        assert!(matches("*actor*async", "1:1 actor calls async"));
        assert!(!matches("actor*", "1:1 actor calls async"));
        assert!(!matches("1:1*sync*sync", "1:1 actor calls"));
    }

    #[test]
    fn the_option_overrides_the_environment() {
        let args = parse(&["--only", "put"], Some("get")).expect("the options are right");
        assert!(args.selects("put small") && !args.selects("get small"));
        assert!(parse(&[], Some("")).expect("no options").selects("anything"));
    }

    #[test]
    fn the_short_form_runs_once_unless_told_otherwise() {
        assert_eq!(parse(&["--quick"], None).expect("right").runs, 1);
        assert_eq!(parse(&["--runs", "3", "--quick"], None).expect("right").runs, 3);
        assert_eq!(parse(&[], None).expect("right").runs, RUNS);
    }

    #[test]
    fn the_endless_load_has_its_numbers_wherever_they_stand() {
        let mode = |words: &[&str]| parse(words, None).expect("the options are right").mode;
        assert_eq!(mode(&["--flushing"]), Mode::Flushing { tasks: TASKS, replicas: 1 });
        assert_eq!(mode(&["--tasks", "7", "--flushing", "--replicas", "3"]), Mode::Flushing { tasks: 7, replicas: 3 });
        assert!(matches!(parse(&["--tasks", "-1"], None), Err(ArgsError::Number("tasks", _))));
        assert!(matches!(parse(&["--flushing-series", "lost"], None), Err(ArgsError::Series(_))));
    }

    #[test]
    fn a_wrong_option_is_named() {
        assert!(matches!(parse(&["--fast"], None), Err(ArgsError::Unknown(word)) if word == "--fast"));
        assert!(matches!(parse(&["--runs", "0"], None), Err(ArgsError::Number("runs", _))));
        assert!(matches!(parse(&["--only"], None), Err(ArgsError::NoValue("--only"))));
    }
}
