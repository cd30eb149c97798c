//! Every decoder under random changes of valid input, always the same ones: it never panics, what it understands reads back as
//! it is written, and it takes no more memory than a small multiple of the input.
//!
//! `fuzz/` runs the same targets under libFuzzer, for as long as one likes.
#![allow(clippy::unwrap_used)]

#[path = "decoders/corpus.rs"]
mod corpus;
#[path = "decoders/targets.rs"]
mod targets;

use std::alloc::System;

use actinic_actors::cluster::{executable::ExeStore, wire::ExeHash};
use stats_alloc::{Region, StatsAlloc, INSTRUMENTED_SYSTEM};
use targets::{Target, TARGETS};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Changed inputs for each target.
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

/// That the measure sees a decoder that believes a length: this one makes room at once for as many as a list claims to have.
fn the_measure_sees_who_believes() {
    let decode = |bytes: &[u8]| rmp_serde::from_slice::<smallvec::SmallVec<[u64; 4]>>(bytes).is_ok();
    let believes = Target { name: "believes", decode, round: |_| {} };
    assert!(allocated(&believes, &[0xdd, 0x00, 0x98, 0x96, 0x80]) > 2 * FLOOR_BYTES, "10,000,000 numbers were claimed");
}

/// One test, so that nothing else allocates meanwhile.
#[test]
fn no_input_makes_a_decoder_panic_or_take_much_memory() {
    the_measure_sees_who_believes();
    let corpus = corpus::corpus();
    for target in TARGETS {
        let samples = corpus.get(target.name).unwrap_or_else(|| panic!("{} has no sample", target.name));
        for sample in samples {
            assert!((target.decode)(sample), "{} does not understand a sample of its own: {sample:02x?}", target.name);
            holds(target, sample);
        }
        let mut random = Random(0x5eed ^ target.name.len() as u64);
        for _ in 0..ROUNDS {
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
    executables();
}

/// Parts of an executable in any order, cut and changed in any way: what is under a hash has that hash.
fn executables() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut random) = (ExeStore::open(&folder.path().join("exe")).unwrap(), Random(7));
    let whole: Vec<u8> = (0..1_000).map(|_| random.below(256) as u8).collect();
    let file = folder.path().join("whole");
    std::fs::write(&file, &whole).unwrap();
    let (hash, _) = ExeStore::open(&folder.path().join("origin")).unwrap().adopt(&file).unwrap();
    for _ in 0..500 {
        let wanted = if random.below(3) == 0 { ExeHash([random.below(256) as u8; 32]) } else { hash };
        let mut arriving = store.arriving(wanted).unwrap();
        for _ in 0..random.below(8) {
            let from = random.below(whole.len());
            let offset = if random.below(4) == 0 { random.0 } else { arriving.offset() };
            let part = &whole[from.min(arriving.offset() as usize)..][..random.below(2) * 100];
            if !matches!(store.on_part(&mut arriving, offset, part), Ok(false)) {
                break;
            }
        }
    }
    for entry in std::fs::read_dir(folder.path().join("exe")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.file_name().unwrap().to_str().unwrap(), hash.to_string());
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
}
