//! Floors of a small object: encoding it, keeping it in a map behind a lock, and sharing it.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::{each, rate, repeat};
use crate::row::{Ctx, Outcome, Reference, Unit};

const OBJECTS: usize = 500_000;
const CLONES: usize = 5_000_000;

/// Encoding and decoding a struct of four fields with rmp-serde.
pub(crate) static CODEC: Reference =
    Reference { name: "rmp-serde encode + decode, small struct", unit: Unit::Seconds, measure: codec };

/// Putting a small value into a map behind a mutex and reading it again.
pub(crate) static MAP: Reference =
    Reference { name: "Mutex<HashMap> insert + get", unit: Unit::PerSecond, measure: map };

/// Cloning an `Arc` and dropping the clone.
pub(crate) static ARC_CLONE: Reference =
    Reference { name: "Arc clone + drop", unit: Unit::Seconds, measure: arc_clone };

/// A value as small tasks pass it.
#[derive(Clone, Serialize, Deserialize)]
struct Small {
    id: u64,
    name: String,
    position: [f32; 3],
    done: bool,
}

impl Small {
    fn new(id: u64) -> Self {
        Self { id, name: "observation".to_owned(), position: [0.5, 1.5, 2.5], done: false }
    }
}

fn codec(ctx: &mut Ctx) -> Outcome<f64> {
    let objects = ctx.size(OBJECTS);
    let small = Small::new(1);
    each(objects, || {
        repeat(objects, || -> Outcome<_> {
            let bytes = rmp_serde::to_vec(black_box(&small))?;
            let back: Small = rmp_serde::from_slice(&bytes)?;
            Ok((back.id, back.name, back.position, back.done))
        })
    })
}

fn map(ctx: &mut Ctx) -> Outcome<f64> {
    let objects = ctx.size(OBJECTS);
    let map: Mutex<HashMap<u64, Arc<u64>>> = Mutex::default();
    rate(objects, || {
        for id in 0..objects as u64 {
            map.lock().map_err(|_| "poisoned")?.insert(id, Arc::new(id));
            black_box(map.lock().map_err(|_| "poisoned")?.get(&id).cloned());
        }
        Ok(())
    })
}

fn arc_clone(ctx: &mut Ctx) -> Outcome<f64> {
    let clones = ctx.size(CLONES);
    let shared = Arc::new(1_u64);
    each(clones, || {
        for _ in 0..clones {
            drop(black_box(Arc::clone(black_box(&shared))));
        }
        Ok(())
    })
}
