//! Users' values, by namespace and key.
//!
//! Owns: their typed form. All of these wait, since each has an answer.

use std::sync::Arc;

use actinic_gcs::tables::{KeyValueRead, KeyValueWrite, Reply};
use bytes::Bytes;

use super::{directory::expect_reply, GcsError, GcsPort};

impl GcsPort {
    /// Puts a value; gives whether it was put, which it is not if there is one and `overwrite` is not asked.
    ///
    /// # Errors
    /// [`GcsError`]; a key has at most 1 KiB, a value 1 MiB.
    pub fn kv_put(
        &self,
        namespace: &str,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        overwrite: bool,
    ) -> Result<bool, GcsError> {
        let (namespace, key, value) = (Arc::from(namespace), key.into(), value.into());
        let reply = self.write(KeyValueWrite::Put { namespace, key, value, overwrite })?;
        expect_reply!(reply, "put a value", Reply::Stored(stored) => stored)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`GcsError`].
    pub fn kv_get(&self, namespace: &str, key: impl Into<Bytes>) -> Result<Option<Bytes>, GcsError> {
        let reply = self.read(KeyValueRead::Get { namespace: Arc::from(namespace), key: key.into() })?;
        expect_reply!(reply, "get a value", Reply::Value(value) => value)
    }

    /// Deletes a value; gives whether there was one.
    ///
    /// # Errors
    /// [`GcsError`].
    pub fn kv_delete(&self, namespace: &str, key: impl Into<Bytes>) -> Result<bool, GcsError> {
        let reply = self.write(KeyValueWrite::Delete { namespace: Arc::from(namespace), key: key.into() })?;
        expect_reply!(reply, "delete a value", Reply::Deleted(deleted) => deleted)
    }

    /// Changes a value to `new` if it is what is `expected`, none meaning absent; gives whether it was.
    ///
    /// # Errors
    /// [`GcsError`].
    pub fn kv_compare_and_swap(
        &self,
        namespace: &str,
        key: impl Into<Bytes>,
        expected: Option<Bytes>,
        new: Option<Bytes>,
    ) -> Result<bool, GcsError> {
        let (namespace, key) = (Arc::from(namespace), key.into());
        let reply = self.write(KeyValueWrite::CompareAndSwap { namespace, key, expected, new })?;
        expect_reply!(reply, "compare and swap a value", Reply::Stored(stored) => stored)
    }

    /// All keys that start with `prefix`, in order.
    ///
    /// # Errors
    /// [`GcsError`].
    pub fn kv_keys(&self, namespace: &str, prefix: impl Into<Bytes>) -> Result<Vec<Bytes>, GcsError> {
        let (namespace, prefix): (Arc<str>, Bytes) = (Arc::from(namespace), prefix.into());
        let read = |page| KeyValueRead::List { namespace: namespace.clone(), prefix: prefix.clone(), page };
        self.all_pages(read, |reply| expect_reply!(reply, "list keys", Reply::Keys(page) => page))
    }
}
