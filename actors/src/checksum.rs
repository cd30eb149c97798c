//! What tells whether bulk on disk is what it was.
//!
//! CRC-64/NVME (NVM Express NVM Command Set Specification 1.0, section 5.2.1.3.4), by carry-less multiplication where the processor
//! has it: three times as fast as xxh3 compiled for any processor.

use crc_fast::{CrcAlgorithm, Digest};

/// Bytes are taken in steps of this that stay in the processor's cache between two uses.
pub(crate) const STEP_BYTES: usize = 256 << 10;
/// Bytes of a sum.
pub(crate) const SUM_BYTES: usize = 8;

/// The sum of what it has been shown.
pub(crate) struct Checksum(Digest);

impl Checksum {
    /// Of nothing.
    pub(crate) fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc64Nvme))
    }

    /// More bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum.
    pub(crate) fn sum(&self) -> [u8; SUM_BYTES] {
        self.0.finalize().to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of the catalogue of CRCs (reveng.sourceforge.io/crc-catalogue).
    #[test]
    fn it_is_the_one_of_the_specification_in_any_steps() {
        let check = 0xae8b_1486_0a79_9888_u64.to_le_bytes();
        let mut whole = Checksum::new();
        whole.add(b"123456789");
        assert_eq!(whole.sum(), check);
        let mut parts = Checksum::new();
        b"123456789".chunks(2).for_each(|part| parts.add(part));
        assert_eq!(parts.sum(), check);
    }
}
