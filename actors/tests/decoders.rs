//! Every decoder under random changes of valid input, always the same ones: it never panics, what it understands reads back as
//! it is written, and it takes no more memory than a small multiple of the input.
//!
//! `fuzz/` runs the same targets under libFuzzer, for as long as one likes.
#![allow(clippy::unwrap_used)]

#[path = "decoders/corpus.rs"]
mod corpus;
#[path = "decoders/targets.rs"]
mod targets;

use std::{
    alloc::System,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use stats_alloc::{Region, StatsAlloc, INSTRUMENTED_SYSTEM};
use targets::{targets, Target};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Changed inputs for each target; `ACTINIC_FUZZ_SECONDS` asks for as many as so many seconds allow for each.
const ROUNDS: usize = 5_000;
/// What a decoder may allocate for nothing: serde believes a length for at most 1 MiB in each list that lies in another.
const FLOOR_BYTES: usize = 8 << 20;
/// What it may allocate in all for each byte of its input, also for what it gives back while a list grows.
const TIMES: usize = 128;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound.max(1)
    }
}

/// Beginnings of long things in MessagePack, each with a length that is not there.
const LIES: [&[u8]; 8] = [
    &[0xdd, 0xff, 0xff, 0xff, 0xff],
    &[0xdd, 0x05, 0xf5, 0xe1, 0x00],
    &[0xdf, 0xff, 0xff, 0xff, 0xff],
    &[0xdb, 0xff, 0xff, 0xff, 0xff],
    &[0xc6, 0xff, 0xff, 0xff, 0xff],
    &[0xdc, 0xff, 0xff],
    &[0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
];

fn change(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(bytes.len() + 1);
    match random.below(8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xc0, 0xc1, 0xff][random.below(7)],
        2 => bytes.truncate(at),
        3 => bytes.extend((0..random.below(16)).map(|_| random.0 as u8)),
        4 => drop(bytes.splice(at..at, LIES[random.below(LIES.len())].iter().copied())),
        5 => {
            let (lie, end) = (LIES[random.below(LIES.len())], bytes.len());
            bytes.splice(at..(at + lie.len()).min(end), lie.iter().copied());
        }
        6 => bytes.extend_from_slice(&other[random.below(other.len() + 1)..]),
        _ => {
            let piece: Vec<u8> = bytes[at..(at + random.below(32)).min(bytes.len())].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}

/// Decodes, and gives what was allocated for that in all.
fn allocated(target: &Target, input: &[u8]) -> usize {
    let region = Region::new(MEMORY);
    (target.decode)(input);
    let change = region.change();
    change.bytes_allocated + usize::try_from(change.bytes_reallocated).unwrap_or(0)
}

fn holds(target: &Target, input: &[u8]) {
    let bytes = allocated(target, input);
    let allowed = FLOOR_BYTES + TIMES * input.len();
    let shown = &input[..input.len().min(200)];
    assert!(bytes <= allowed, "{}: {bytes} bytes were allocated for {} bytes: {shown:02x?}", target.name, input.len());
    (target.round)(input);
}

/// While this is held no other test allocates.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether another changed input is to be tried.
fn goes_on(round: usize, since: Instant) -> bool {
    let seconds = std::env::var("ACTINIC_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    seconds.map_or(round < ROUNDS, |seconds| since.elapsed() < Duration::from_secs(seconds))
}

/// This one makes room at once for as many as a list claims to have.
#[test]
fn the_measure_sees_a_decoder_that_believes_a_length() {
    let _alone = alone();
    let decode = |bytes: &[u8]| rmp_serde::from_slice::<smallvec::SmallVec<[u64; 4]>>(bytes).is_ok();
    let (round, samples) = (|_: &[u8]| {}, Vec::new);
    let believes = Target { name: "believes".to_owned(), decode, round, samples, made: None };
    assert!(allocated(&believes, &[0xdd, 0x00, 0x98, 0x96, 0x80]) > 2 * FLOOR_BYTES, "10,000,000 numbers were claimed");
}

/// The Arrow crate panics at some damage, which its caller catches. To tell of it, with a trace, would take more memory than any
/// decoder may.
fn be_silent_of_what_is_caught() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let file = panic.location().map_or("", |at| at.file());
        if !["/arrow-", "/flatbuffers-", "/rustc/"].iter().any(|of| file.contains(of)) {
            usual(panic);
        }
    }));
}

#[test]
fn no_input_makes_a_decoder_panic_or_take_much_memory() {
    let _alone = alone();
    if cfg!(feature = "arrow") {
        be_silent_of_what_is_caught();
    }
    let (corpus, only) = (corpus::corpus(), std::env::var("DECODER").ok());
    for target in targets().iter().filter(|target| only.as_ref().is_none_or(|only| *only == target.name)) {
        let samples = &corpus[&target.name];
        assert!(!samples.is_empty(), "{} has no sample", target.name);
        for sample in samples {
            assert!((target.decode)(sample), "{} does not understand a sample of its own: {sample:02x?}", target.name);
            holds(target, sample);
        }
        let mut random =
            Random(target.name.bytes().fold(0x5eed_u64, |seed, byte| seed.wrapping_mul(31) + u64::from(byte)));
        let (began, mut round) = (Instant::now(), 0);
        while goes_on(round, began) {
            round += 1;
            let mut input = samples[random.below(samples.len())].clone();
            // The long ones are there for their density.
            input.truncate(4_096);
            let other = &samples[random.below(samples.len())];
            for _ in 0..1 + random.below(4) {
                change(&mut random, &mut input, &other[..other.len().min(256)]);
            }
            holds(target, &input);
        }
        for lie in LIES {
            holds(target, lie);
        }
    }
}

#[test]
fn a_shard_whose_rows_do_not_fit_each_other_is_opened_or_refused() {
    let _alone = alone();
    for rows in targets::stores::extremes() {
        targets::stores::shard(&rows);
        targets::stores::replica(&rows);
    }
}

#[test]
fn every_variant_of_every_frame_and_record_has_a_sample() {
    let _alone = alone();
    let mut kinds = BTreeMap::new();
    for target in targets() {
        let Some(made) = target.made.map(|made| made()) else { continue };
        assert_eq!(made.missing(), [""; 0], "{}", target.name);
        kinds.extend(made.kinds().map(|(name, variants)| (name, variants.len())));
    }
    for name in ["NodeFrame", "DataFrame", "ToNode", "FromNode", "Purpose", "Write", "NodeWrite", "ActorWord", "Reply"]
    {
        assert!(kinds.contains_key(name), "{name} is not among {kinds:?}");
    }
    assert!(kinds.len() > 70, "{kinds:?}");
}

/// As the sources have them, also those that are no part of the API.
#[test]
fn every_kind_of_record_has_a_target() {
    let mut named = BTreeSet::new();
    names_of_records(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../gcs/src"), &mut named);
    assert!(named.len() > 20, "{named:?}");
    let known: BTreeSet<String> = targets().into_iter().map(|target| target.name).collect();
    let missing: Vec<&String> = named.iter().filter(|name| !known.contains(&targets::record_name(name))).collect();
    assert!(missing.is_empty(), "no target for the records {missing:?}: see gcs/src/fuzzing.rs");
}

fn names_of_records(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names_of_records(&path, names);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for list in text.split("records! {").skip(1) {
            let list = list.split('}').next().unwrap();
            names.extend(list.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
}
