//! Whose store it is.
//!
//! Owns: the identity and the format in the default family, and the check of both. Invariant: they are written once, in
//! one batch, before any row.

use std::fmt;

use super::super::Unusable;

/// The newest format that this build reads, and the one it writes.
const FORMAT: u32 = 1;

pub(super) const FORMAT_KEY: &[u8] = b"format";
pub(super) const IDENTITY_KEY: &[u8] = b"identity";

/// Which replica a store belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreIdentity {
    /// The cluster's id.
    pub cluster: u128,
    /// The shard within the cluster.
    pub shard: u32,
    /// The replica's id within the shard.
    pub replica: u64,
}

impl fmt::Display for StoreIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replica {} of shard {}", self.replica, self.shard)
    }
}

impl StoreIdentity {
    /// As the store keeps it: three numbers, big-endian.
    pub(crate) fn encoded(self) -> Vec<u8> {
        let numbers: [&[u8]; 3] = [&self.cluster.to_be_bytes(), &self.shard.to_be_bytes(), &self.replica.to_be_bytes()];
        numbers.concat()
    }

    pub(crate) fn decoded(bytes: &[u8]) -> Option<Self> {
        let (cluster, rest) = bytes.split_first_chunk()?;
        let (shard, rest) = rest.split_first_chunk()?;
        let replica = rest.try_into().ok()?;
        Some(Self {
            cluster: u128::from_be_bytes(*cluster),
            shard: u32::from_be_bytes(*shard),
            replica: u64::from_be_bytes(replica),
        })
    }

    /// Whether the store that holds these values may be opened by this replica and this build.
    pub(super) fn check(self, format: &[u8], identity: &[u8]) -> Result<(), Unusable> {
        let format = format.try_into().map(u32::from_be_bytes);
        let format = format.map_err(|_| Unusable::Damaged("its format is not a number".to_owned()))?;
        // First, since a newer format may write identities otherwise.
        if format > FORMAT {
            return Err(Unusable::Newer { found: format, supported: FORMAT });
        }
        let found =
            Self::decoded(identity).ok_or_else(|| Unusable::Damaged("its identity is not three numbers".to_owned()))?;
        if found.cluster != self.cluster {
            let id = |cluster: u128| format!("{cluster:032x}");
            return Err(Unusable::Foreign { found: id(found.cluster), expected: id(self.cluster) });
        }
        if found != self {
            return Err(Unusable::OtherReplica { found: found.to_string(), expected: self.to_string() });
        }
        Ok(())
    }
}

/// The format that new stores have, as they keep it.
pub(super) fn format_encoded() -> [u8; 4] {
    FORMAT.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_back_and_nothing_shorter_or_longer_is() {
        let identity = StoreIdentity { cluster: 1 << 100, shard: 2, replica: 3 };
        let encoded = identity.encoded();
        assert_eq!(StoreIdentity::decoded(&encoded), Some(identity));
        assert_eq!(StoreIdentity::decoded(&encoded[1..]), None);
        assert_eq!(StoreIdentity::decoded(&[&encoded[..], b"1"].concat()), None);
    }
}
