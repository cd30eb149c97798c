//! A value in the form in which it leaves a process, or has come into one.
//!
//! Owns: [`Portable`]. Invariant: which of its two forms a value has depends on its size alone.

use std::sync::Arc;

use super::AwayObject;
use crate::data::codec::{Encoded, Parts};

/// A value that crosses processes.
#[derive(Clone, Debug)]
pub enum Portable {
    /// Its bytes.
    Here(Parts),
    /// Where its bytes are.
    Away(Arc<AwayObject>),
}

impl From<Parts> for Portable {
    fn from(parts: Parts) -> Self {
        Self::Here(parts)
    }
}

impl From<Encoded> for Portable {
    fn from(encoded: Encoded) -> Self {
        Self::Here(encoded.into())
    }
}

impl From<Arc<AwayObject>> for Portable {
    fn from(away: Arc<AwayObject>) -> Self {
        Self::Away(away)
    }
}
