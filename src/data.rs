//! What can be a task's argument or result.

use serde::{de::DeserializeOwned, Serialize};

#[cfg(feature = "arrow")]
pub use actinic_actors::data::RecordBatch;
pub use actinic_actors::data::{bulk, Bytes, Element, Tensor};

/// A value that can be an object: it can be encoded, sent, and cloned for each reader. Bulk types ([`Bytes`],
/// [`Tensor`]) clone in constant time and are read in place; everything else should be small, or bulk inside.
///
/// Implemented for every type that fits.
pub trait Data: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> Data for T {}
