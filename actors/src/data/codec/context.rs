//! What is out of band during the encode or decode that runs on this thread.
//!
//! Owns: the two thread-local contexts. Serde gives an impl no way to pass state along, so buffers and object refs are
//! collected (found) here. A nested encode or decode has a context of its own; the outer one is put back when the
//! inner one ends, also if it panics.

use std::{cell::RefCell, sync::Arc};

use bytes::Bytes;
use smallvec::SmallVec;

use super::{AnyRef, Parts};

/// What an encode has collected.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) buffers: Vec<Bytes>,
    pub(super) refs: Vec<AnyRef>,
}

/// What the encodes of this thread have collected so far, the outer ones' first: a nested encode begins at its bases.
struct Collecting {
    active: bool,
    buffers_base: usize,
    refs_base: usize,
    buffers: Vec<Bytes>,
    refs: Vec<AnyRef>,
}

/// What a decode can refer to.
struct Referable {
    buffers: SmallVec<[Bytes; 2]>,
    refs: Arc<[AnyRef]>,
}

thread_local! {
    static ENCODING: RefCell<Collecting> = const {
        RefCell::new(Collecting { active: false, buffers_base: 0, refs_base: 0, buffers: Vec::new(), refs: Vec::new() })
    };
    static DECODING: RefCell<Option<Referable>> = const { RefCell::new(None) };
}

/// An encode under way on this thread. Dropping it puts the outer encode's context back.
pub(super) struct Encoding {
    outer_active: bool,
    outer_buffers_base: usize,
    outer_refs_base: usize,
}

impl Encoding {
    pub(super) fn begin() -> Self {
        ENCODING.with_borrow_mut(|context| Self {
            outer_active: std::mem::replace(&mut context.active, true),
            outer_buffers_base: std::mem::replace(&mut context.buffers_base, context.buffers.len()),
            outer_refs_base: std::mem::replace(&mut context.refs_base, context.refs.len()),
        })
    }

    /// The size of the buffers collected since the encode began.
    pub(super) fn buffer_bytes(&self) -> usize {
        ENCODING.with_borrow(|context| context.buffers[context.buffers_base..].iter().map(Bytes::len).sum())
    }

    /// What was collected since the encode began.
    pub(super) fn finish(self) -> Collected {
        collected()
    }
}

impl Drop for Encoding {
    fn drop(&mut self) {
        // Dropped at the end, when nothing is borrowed: dropping a ref runs the caller's code.
        let _dropped_unless_finished = collected();
        ENCODING.with_borrow_mut(|context| {
            context.active = self.outer_active;
            context.buffers_base = self.outer_buffers_base;
            context.refs_base = self.outer_refs_base;
        });
    }
}

fn collected() -> Collected {
    ENCODING.with_borrow_mut(|context| Collected {
        buffers: split_off(&mut context.buffers, context.buffers_base),
        refs: split_off(&mut context.refs, context.refs_base),
    })
}

fn split_off<T>(list: &mut Vec<T>, base: usize) -> Vec<T> {
    match base {
        _ if list.len() == base => Vec::new(),
        0 => std::mem::take(list),
        _ => list.split_off(base),
    }
}

/// A decode under way on this thread. Dropping it puts the outer decode's context back.
pub(super) struct Decoding {
    outer: Option<Referable>,
}

impl Decoding {
    pub(super) fn begin(parts: &Parts) -> Self {
        let inner = Referable { buffers: parts.buffers.iter().cloned().collect(), refs: Arc::clone(&parts.refs) };
        Self { outer: DECODING.replace(Some(inner)) }
    }
}

impl Drop for Decoding {
    fn drop(&mut self) {
        let inner = DECODING.replace(self.outer.take());
        drop(inner);
    }
}

/// Whether an encode is under way on this thread.
pub(in crate::data) fn is_encoding() -> bool {
    ENCODING.with_borrow(|context| context.active)
}

/// Whether a decode is under way on this thread.
pub(in crate::data) fn is_decoding() -> bool {
    DECODING.with_borrow(Option::is_some)
}

/// Adds an out-of-band buffer, and says at which index; `None` outside of an encode.
pub(in crate::data) fn push_buffer(buffer: impl FnOnce() -> Bytes) -> Option<u32> {
    if !is_encoding() {
        return None;
    }
    // Made before the context is borrowed: it may be the caller's code.
    let buffer = buffer();
    ENCODING.with_borrow_mut(|context| push(&mut context.buffers, context.buffers_base, buffer))
}

/// The out-of-band buffer at `index`; `None` outside of a decode or if there is none.
pub(in crate::data) fn buffer(index: u32) -> Option<Bytes> {
    DECODING.with_borrow(|context| context.as_ref()?.buffers.get(index as usize).cloned())
}

pub(super) fn push_ref(object: AnyRef) -> Option<u32> {
    if !is_encoding() {
        return None;
    }
    ENCODING.with_borrow_mut(|context| push(&mut context.refs, context.refs_base, object))
}

pub(super) fn find_ref(index: u32) -> Option<AnyRef> {
    DECODING.with_borrow(|context| context.as_ref()?.refs.get(index as usize).cloned())
}

fn push<T>(list: &mut Vec<T>, base: usize, item: T) -> Option<u32> {
    let index = u32::try_from(list.len() - base).ok()?;
    list.push(item);
    Some(index)
}
