//! Values as the runtime moves them: bulk types that are never encoded element by element, and the codec.
//!
//! Owns: [`Bytes`], [`Tensor`], `RecordBatch` (feature `arrow`), the [`bulk`] attribute module, and [`codec`], which
//! turns a value into a small MessagePack part and a list of *out-of-band* buffers. Knows nothing of where an encoded
//! value is kept: that is [`crate::store`].
//!
//! **Invariant:** a bulk buffer is copied at most once on the way out (and not at all when it is shared, as a tensor's
//! is) and not at all on the way in: a decoded [`Tensor`] or [`Bytes`] is a view of the buffer that it came from.

mod buffer;
pub mod bulk;
pub mod codec;
mod element;
mod payload;
#[cfg(feature = "arrow")]
mod record_batch;
mod shape;
mod tensor;

pub use buffer::Bytes;
pub use element::{DType, Element};
#[cfg(feature = "arrow")]
pub use record_batch::RecordBatch;
pub use shape::{Shape, TensorError};
pub use tensor::Tensor;

/// Buffers and shapes are written as this machine lays them out, so machines of one cluster must agree on the layout.
const _: () = assert!(
    cfg!(target_endian = "little") && size_of::<usize>() == 8,
    "the data format is that of 64-bit little-endian machines"
);
