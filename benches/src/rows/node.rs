//! The embedded node that the rows run on, and the few calls of the library that they share.

use std::time::Duration;

use actinic::prelude::*;

use crate::row::{Ctx, Outcome, WORKERS};

/// The bytes of the store: two large objects and room to spare.
const STORE_BYTES: usize = 4 << 30;

/// Long enough for anything here; a wait that takes longer is a fault of the library, and fails its row.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The node of this row: started by its first run, shut down after its last.
pub(crate) fn runtime(ctx: &mut Ctx) -> Outcome<&Runtime> {
    let start = |_: &Ctx| Ok(Runtime::builder().num_cpus(WORKERS as f64).object_store_memory(STORE_BYTES).init()?);
    Ok(ctx.kept::<Runtime>(start)?)
}

/// The values of all of these, in order.
pub(crate) fn get_all<T: Data>(runtime: &Runtime, refs: &[ObjectRef<T>]) -> Outcome<Vec<T>> {
    Ok(runtime.get(refs)?)
}

/// Waits for one reference after another until all were ready, as Ray's benchmark does.
pub(crate) fn wait_one_by_one<T: Data>(runtime: &Runtime, mut pending: Vec<ObjectRef<T>>) -> Outcome<()> {
    while !pending.is_empty() {
        let before = pending.len();
        let (ready, rest) = runtime.wait(&pending, 1, PATIENCE)?;
        if ready.is_empty() || rest.len() >= before {
            return Err("a wait ended without a ready reference".into());
        }
        pending = rest;
    }
    Ok(())
}
