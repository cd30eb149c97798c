//! One process of a cluster, for tests: its only argument says what it serves. Says what is wrong, with all causes, where it
//! cannot.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(spec) = std::env::args().nth(1) else {
        eprintln!("usage: actinic-gcs-replica SPEC, as the tests beside it make it");
        return ExitCode::from(2);
    };
    let Err(error) = actinic_gcs_tests::replica::run(&spec) else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}
