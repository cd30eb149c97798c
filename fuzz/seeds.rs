//! Writes valid samples of each kind to `fuzz/corpus/decoders`, from which the fuzzer begins.

// What holds of what is understood is the fuzzer's matter.
#![allow(dead_code)]

#[path = "../actors/tests/decoders/corpus.rs"]
mod corpus;
#[path = "../actors/tests/decoders/targets.rs"]
mod targets;

use std::{fs, io, path::Path};

/// What is longer keeps a fuzzer busy with its length.
const SAMPLE_BYTES_MAX: usize = 4 << 10;

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join("decoders");
    fs::create_dir_all(&folder)?;
    let corpus = corpus::corpus();
    let mut written = 0;
    for (number, target) in targets::targets().iter().enumerate() {
        let samples = corpus.get(&target.name).into_iter().flatten();
        for (sample, bytes) in samples.filter(|bytes| bytes.len() <= SAMPLE_BYTES_MAX).enumerate() {
            let first = u8::try_from(number).map_err(io::Error::other)?;
            fs::write(folder.join(format!("{}-{sample}", target.name)), [&[first][..], bytes].concat())?;
            written += 1;
        }
    }
    println!("{written} samples are in {}", folder.display());
    Ok(())
}
