//! A client that knows what it was told, and what it cannot know.
//!
//! Owns: typed requests for user values, and when it is of use to ask again. Invariant: a write is sent once by this; what
//! came of it is [`Unknown`] where no answer says so, and only its reader can find out.

use actinic_actors::{gcs_client::GcsError, gcs_net::RemoteGcs};
use actinic_gcs::{
    shard::Request,
    tables::{KeyValueRead, KeyValueWrite, PageRequest, Read, Reply},
};
use bytes::Bytes;

use crate::cluster::Contacts;

/// Whether a write was carried out is not known: it may have been, or may be later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown;

/// A client of one namespace.
pub struct Client {
    gcs: RemoteGcs,
    namespace: &'static str,
}

impl Client {
    /// A new client, once every shard has a leader.
    #[must_use]
    pub fn connect(contacts: &Contacts, namespace: &'static str) -> Self {
        Self { gcs: contacts.client(), namespace }
    }

    /// The client beneath.
    #[must_use]
    pub fn gcs(&self) -> &RemoteGcs {
        &self.gcs
    }

    /// Sends a write once.
    ///
    /// # Errors
    /// [`Unknown`].
    ///
    /// # Panics
    /// If it is refused.
    pub fn write(&self, write: KeyValueWrite) -> Result<Reply, Unknown> {
        match self.gcs.write(write) {
            Ok(reply) => Ok(reply),
            Err(GcsError::Unavailable { .. } | GcsError::Forgotten) => Err(Unknown),
            Err(error) => panic!("a write is refused: {error}"),
        }
    }

    /// Puts a value where there is none.
    ///
    /// # Errors
    /// [`Unknown`].
    pub fn put_new(&self, key: &str, value: Bytes) -> Result<bool, Unknown> {
        let (namespace, key) = (self.namespace.into(), Bytes::copy_from_slice(key.as_bytes()));
        stored(self.write(KeyValueWrite::Put { namespace, key, value, overwrite: false })?)
    }

    /// Compares and swaps.
    ///
    /// # Errors
    /// [`Unknown`].
    pub fn swap(&self, key: &str, expected: Option<Bytes>, new: Option<Bytes>) -> Result<bool, Unknown> {
        let (namespace, key) = (self.namespace.into(), Bytes::copy_from_slice(key.as_bytes()));
        stored(self.write(KeyValueWrite::CompareAndSwap { namespace, key, expected, new })?)
    }

    /// Asks until it is answered.
    ///
    /// # Panics
    /// If it is refused.
    pub fn ask(&self, read: impl Into<Read>) -> Reply {
        let read = read.into();
        loop {
            match self.gcs.read(read.clone()) {
                Ok(reply) => return reply,
                Err(GcsError::Unavailable { .. }) => {}
                Err(error) => panic!("a read is refused: {error}"),
            }
        }
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Bytes> {
        value(self.ask(self.read_of(key)))
    }

    /// The values of some keys, asked for all at once; none if some are not answered.
    #[must_use]
    pub fn get_all(&self, keys: &[String]) -> Option<Vec<Option<Bytes>>> {
        let pending: Vec<_> = keys.iter().map(|key| self.gcs.submit(Request::Read(self.read_of(key)))).collect();
        // All are waited for, whatever comes of the first.
        let replies: Vec<_> = pending.into_iter().map(|pending| pending.wait()).collect();
        replies.into_iter().map(|reply| reply.ok().map(value)).collect()
    }

    /// All keys that begin with `prefix`, of all shards, in order.
    #[must_use]
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let page = PageRequest { after, limit: 100 };
            let prefix = Bytes::copy_from_slice(prefix.as_bytes());
            let reply = self.ask(KeyValueRead::List { namespace: self.namespace.into(), prefix, page });
            let Reply::Keys(page) = reply else { panic!("a list of keys is answered {reply:?}") };
            keys.extend(page.items.into_iter().map(|key| String::from_utf8(key.to_vec()).unwrap()));
            after = page.next;
            if after.is_none() {
                return keys;
            }
        }
    }

    fn read_of(&self, key: &str) -> Read {
        let key = Bytes::copy_from_slice(key.as_bytes());
        KeyValueRead::Get { namespace: self.namespace.into(), key }.into()
    }
}

fn stored(reply: Reply) -> Result<bool, Unknown> {
    match reply {
        Reply::Stored(stored) => Ok(stored),
        other => panic!("a put is answered {other:?}"),
    }
}

fn value(reply: Reply) -> Option<Bytes> {
    match reply {
        Reply::Value(value) => value,
        other => panic!("a get is answered {other:?}"),
    }
}
