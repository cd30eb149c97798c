//! The rules of the house that a machine can check. Each message says where and why; nothing here is checked twice by
//! rustc or clippy.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Lines that a file should have at most, and those that it must not exceed.
const LINES_SOFT: usize = 400;
const LINES_MAX: usize = 500;

/// Where `unsafe` may stand, each block with its `// SAFETY:` line.
const UNSAFE_ALLOWED: [&str; 4] = [
    "actors/src/cluster/before_main.rs",
    "actors/src/store/page.rs",
    "actors/src/store/shm.rs",
    "benches/src/floors/memory.rs",
];

/// Words of shells, which no core says.
const SHELL_WORDS: [&str; 7] = ["actix", "tokio", "rocksdb", "rand", "SystemTime", "HashMap", "HashSet"];
const SHELL_PATHS: [&str; 3] = ["Instant::now", "thread::", "std::net"];

/// Folders of sources.
const SOURCES: [&str; 7] = ["src", "actors", "gcs", "macros", "examples", "tests", "benches"];

/// One file, by its path from the root of the repository.
struct File {
    path: String,
    text: String,
}

impl File {
    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap();
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || matches!(name, "tests.rs" | "testing.rs" | "suite.rs")
    }

    /// Whether it decides and must not act: `core.rs` and what is below it, and the modules that are cores as a whole.
    fn is_core(&self) -> bool {
        let path = &self.path;
        let whole =
            ["actors/src/placement", "actors/src/supervision", "gcs/src/shard", "gcs/src/tables", "gcs/src/spec"];
        let core = path.ends_with("/core.rs")
            || path.contains("/core/")
            || path.ends_with("/mailbox.rs")
            || whole.iter().any(|module| *path == format!("{module}.rs") || path.starts_with(&format!("{module}/")));
        core && !self.is_test()
    }

    /// Numbered lines of code: no comments, no texts, and nothing of a test module at the end of the file.
    fn code(&self) -> impl Iterator<Item = (usize, String)> + '_ {
        let lines: Vec<&str> = self.text.lines().collect();
        let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests {"));
        let end = tests.unwrap_or(lines.len());
        lines.into_iter().take(end).enumerate().map(|(at, line)| (at + 1, code_of(line)))
    }
}

/// The line without its texts and its comment. Good enough for lines as rustfmt leaves them.
fn code_of(line: &str) -> String {
    let line = line.replace("\\\"", "").replace("'\"'", "");
    let code: Vec<&str> = line.split('"').step_by(2).collect();
    let code = code.join("\"\"");
    code.split("//").next().unwrap().trim().to_owned()
}

/// Whether `word` stands in `line` by itself.
fn says(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

fn root() -> PathBuf {
    // As Cargo says it now: a target folder may hold what another checkout has compiled.
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

fn collect(folder: &Path, endings: &[&str], files: &mut Vec<File>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "target" | ".git" | "node_modules") {
                collect(&path, endings, files);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            // What cannot be read as text is not ours to judge.
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let path = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
            files.push(File { path, text });
        }
    }
}

fn rust_files() -> Vec<File> {
    let mut files = Vec::new();
    for folder in SOURCES {
        collect(&root().join(folder), &[".rs"], &mut files);
    }
    assert!(files.len() > 100, "only {} sources were found", files.len());
    files
}

fn document(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn report(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{rule}\n  {}\n", faults.join("\n  "));
}

/// Lines of code for which `is_fault` holds, among the files for which `concerns` does.
fn faults(concerns: impl Fn(&File) -> bool, is_fault: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in rust_files().iter().filter(|file| concerns(file)) {
        for (number, line) in file.code().filter(|(_, line)| is_fault(line)) {
            found.push(format!("{}:{number}: {line}", file.path));
        }
    }
    found
}

#[test]
fn every_file_says_what_it_owns() {
    let silent: Vec<String> = rust_files().into_iter().filter(|f| !f.text.starts_with("//!")).map(|f| f.path).collect();
    report("a file opens with `//!`: what it owns, what it does not, its invariants", &silent);
}

#[test]
fn no_file_is_too_long() {
    let mut too_long = Vec::new();
    for file in rust_files() {
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            too_long.push(format!("{}: {lines} lines", file.path));
        } else if lines > LINES_SOFT {
            println!("rather long: {}: {lines} lines", file.path);
        }
    }
    report(&format!("a file has at most {LINES_MAX} lines; split it by operation"), &too_long);
}

#[test]
fn cores_decide_and_do_not_act() {
    let files = rust_files();
    assert!(files.iter().filter(|file| file.is_core()).count() > 20, "the cores are not where they are looked for");
    let shells = faults(File::is_core, |line| {
        SHELL_WORDS.iter().any(|word| says(line, word)) || SHELL_PATHS.iter().any(|path| line.contains(path))
    });
    report("a core names no runtime, clock, thread, socket, random generator or randomly ordered map", &shells);
}

#[test]
fn unsafe_code_stays_where_it_is_argued_for() {
    let found = faults(|file| !UNSAFE_ALLOWED.contains(&file.path.as_str()), |line| says(line, concat!("uns", "afe")));
    report("unsafe code stands in the shared-memory modules only", &found);
}

#[test]
fn nothing_is_unwrapped_outside_of_tests() {
    let found = faults(|file| !file.is_test(), |line| line.contains(concat!(".unw", "rap()")));
    report("errors are values; what cannot fail says why in `expect(\"invariant: …\")`", &found);
}

#[test]
fn nothing_is_left_for_later_in_comments() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
    let mut found = Vec::new();
    for file in rust_files() {
        for (at, line) in file.text.lines().enumerate().filter(|(_, line)| marks.iter().any(|mark| says(line, mark))) {
            found.push(format!("{}:{}: {}", file.path, at + 1, line.trim()));
        }
    }
    report("what is missing is said in the README, not in a comment", &found);
}

#[test]
fn no_path_of_somebodys_machine_is_written_down() {
    let homes = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];
    let mut files = rust_files();
    let endings = [".md", ".toml", ".sh", ".py", ".yml", "Makefile", "run"];
    for folder in [".ci", "docs", "scripts", "actors", "gcs", "macros", "benches", "examples", "tests"] {
        collect(&root().join(folder), &endings, &mut files);
    }
    for name in ["README.md", "CHANGELOG.md", "Makefile", "Cargo.toml", "deny.toml"] {
        files.push(File { path: name.to_owned(), text: document(name) });
    }
    let mut found = Vec::new();
    for file in files {
        for (at, line) in file.text.lines().enumerate().filter(|(_, line)| homes.iter().any(|home| line.contains(home)))
        {
            found.push(format!("{}:{}: {}", file.path, at + 1, line.trim()));
        }
    }
    report("a path of one machine helps nobody on another", &found);
}

/// What stands in backquotes in `text`.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Names of all test functions.
fn test_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in rust_files() {
        let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let function = line.trim_start_matches("pub ").trim_start_matches("async ").strip_prefix("fn ");
            let attributes =
                lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
            if attributes.into_iter().any(|line| line.starts_with("#[") && says(line, "test")) {
                names.extend(function.and_then(|rest| rest.split(['(', '<']).next()).map(str::to_owned));
            }
        }
    }
    names
}

#[test]
fn every_test_that_the_semantics_name_exists() {
    let tests = test_names();
    let mut missing = Vec::new();
    let mut rows = 0;
    for line in document("docs/SEMANTICS.md").lines().filter(|line| line.starts_with("| ")) {
        let proof = line.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        if matches!(proof, "proved by") {
            continue;
        }
        rows += 1;
        if proof != "no test yet" && quoted(proof).next().is_none() {
            missing.push(format!("neither a test nor \"no test yet\": {line}"));
        }
        missing.extend(quoted(proof).filter(|name| !tests.contains(*name)).map(|name| format!("no test `{name}`")));
    }
    assert!(rows > 20, "the tables of promises were not found");
    report("a promise names the test that holds it", &missing);
}

#[test]
fn every_path_that_the_documents_name_exists() {
    let mut missing = Vec::new();
    for name in ["README.md", "docs/ARCHITECTURE.md", "docs/CLUSTER.md", "docs/SEMANTICS.md"] {
        let text = document(name);
        for path in quoted(&text).filter(|path| path.contains('/') && !path.contains([' ', '\n', '*', '<', '{', ':'])) {
            let ours =
                SOURCES.iter().chain(&["docs", "scripts", ".ci"]).any(|top| path.starts_with(&format!("{top}/")));
            if ours && !root().join(path).exists() {
                missing.push(format!("{name}: `{path}`"));
            }
        }
    }
    report("a document names no file that is not there", &missing);
}

#[test]
fn every_module_is_on_the_map() {
    let map = document("docs/ARCHITECTURE.md");
    let named: BTreeSet<&str> = quoted(&map).collect();
    let mut missing = Vec::new();
    for file in rust_files() {
        let Some((folder, name)) = file.path.rsplit_once('/') else { continue };
        let top = matches!(folder, "src" | "actors/src" | "gcs/src" | "macros/src" | "benches/src");
        if top && !matches!(name, "lib.rs" | "main.rs") && !named.contains(file.path.as_str()) {
            missing.push(file.path);
        }
    }
    report("the code map in docs/ARCHITECTURE.md has a line for each module", &missing);
}

#[test]
fn the_readme_shows_the_first_example_as_it_is() {
    let readme = document("README.md");
    let example = document("examples/quickstart.rs");
    let code: Vec<&str> = example.lines().skip_while(|line| line.is_empty() || line.starts_with("//!")).collect();
    let shown = readme.contains(&format!("```rust\n{}\n```", code.join("\n")));
    assert!(shown, "the README's first example differs from examples/quickstart.rs; copy it over, without its header");
}

#[test]
fn the_readme_lists_each_example() {
    let readme = document("README.md");
    let table = readme.split("\n## ").find(|part| part.starts_with("Examples")).expect("the section Examples");
    let listed: BTreeSet<&str> = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let mut files = Vec::new();
    collect(&root().join("examples"), &[".rs"], &mut files);
    let names = files.iter().filter_map(|file| file.path.strip_prefix("examples/")?.strip_suffix(".rs"));
    let names = names.map(|name| name.strip_suffix("/src/main").unwrap_or(name));
    let present: BTreeSet<&str> = names.filter(|name| !name.contains('/')).collect();
    let differ: Vec<String> = listed.symmetric_difference(&present).map(|name| (*name).to_owned()).collect();
    report("the README's table of examples and the folder differ in", &differ);
}
