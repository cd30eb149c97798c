//! The write-ahead log, read before RocksDB reads it.
//!
//! Owns: the detection of damage that RocksDB takes for the log's end. It checks each record's checksum, but a length
//! that points behind the end of the file, or zeros in place of a record, it takes for a write that was torn, and
//! forgets whatever follows. Torn writes have nothing behind them: so if anything does follow, the log is damaged.
//! Cannot own: damage that reaches to the end of the log, which looks as torn writes do. Invariant: reads only.
//!
//! The format is that of RocksDB's wiki, "Write Ahead Log File Format": blocks of 32 KiB, in them records of a masked
//! CRC-32C of what follows the length (4 bytes), a length (2), a type (1) and so many bytes; fewer than 7 bytes at a
//! block's end are filled up.

use std::{fs, path::Path};

use super::super::Unusable;

const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;

/// Records that hold a batch, or a part of one.
const DATA_TYPES: std::ops::RangeInclusive<u8> = 1..=4;

/// Whether a file of this name is a log.
pub(super) fn is_log(file: &Path) -> bool {
    let number = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number && file.extension().is_some_and(|extension| extension == "log")
}

/// Checks the logs of the store in `folder`.
pub(super) fn check(folder: &Path) -> Result<(), Unusable> {
    for entry in fs::read_dir(folder).map_err(Unusable::Folder)? {
        let file = entry.map_err(Unusable::Folder)?.path();
        if !is_log(&file) {
            continue;
        }
        let log = fs::read(&file).map_err(Unusable::Folder)?;
        if let Some(at) = damage(&log) {
            let name = file.file_name().unwrap_or_default();
            return Err(Unusable::Damaged(format!("{} has no record at byte {at}, but later ones", name.display())));
        }
    }
    Ok(())
}

/// Where a record is missing that others follow.
pub(crate) fn damage(log: &[u8]) -> Option<usize> {
    let end = readable_end(log);
    (end + 1..log.len()).any(|at| holds_record(log, at)).then_some(end)
}

/// Where RocksDB would see the log's end, if all checksums are right; if one is not, RocksDB says so.
fn readable_end(log: &[u8]) -> usize {
    let mut at = 0;
    while let Some(header) = header(log, at) {
        if header.is_filler() {
            at = block_end(log, at);
        } else if header.end > block_end(log, at) || (header.kind == 0 && header.end == at + HEADER) {
            return at;
        } else {
            at = header.end;
        }
    }
    at
}

/// Where the block of `at` ends, or the log.
fn block_end(log: &[u8], at: usize) -> usize {
    ((at / BLOCK + 1) * BLOCK).min(log.len())
}

/// What may be the header of a record.
struct Header {
    checksum: u32,
    kind: u8,
    /// Where the record ends.
    end: usize,
    room: usize,
}

impl Header {
    /// Whether the block has no room for a header there.
    fn is_filler(&self) -> bool {
        self.room < HEADER
    }
}

/// The header at `at`, or nothing at the log's end.
fn header(log: &[u8], at: usize) -> Option<Header> {
    let room = block_end(log, at) - at;
    if room < HEADER {
        // Filled up, unless it is the log's last block: then a header was torn, or nothing is there.
        return (at + room < log.len()).then_some(Header { checksum: 0, kind: 0, end: at + room, room });
    }
    let [c0, c1, c2, c3, l0, l1, kind] = *log[at..].first_chunk::<HEADER>()?;
    let length = usize::from(u16::from_le_bytes([l0, l1]));
    Some(Header { checksum: u32::from_le_bytes([c0, c1, c2, c3]), kind, end: at + HEADER + length, room })
}

/// Whether a record of a batch begins at `at`.
fn holds_record(log: &[u8], at: usize) -> bool {
    header(log, at).is_some_and(|header| {
        DATA_TYPES.contains(&header.kind)
            && header.end > at + HEADER
            && header.end <= block_end(log, at)
            && masked(crc32c(&log[at + HEADER - 1..header.end])) == header.checksum
    })
}

/// RocksDB's `crc32c::Mask`.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4), a byte at a time: it is only for logs that end oddly.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = crc32c_table();
    !bytes.iter().fold(!0, |crc: u32, byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

const fn crc32c_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = at as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of records with these lengths.
    fn log(lengths: &[usize]) -> Vec<u8> {
        let mut log = Vec::new();
        for length in lengths {
            let room = BLOCK - log.len() % BLOCK;
            if room < HEADER {
                log.resize(log.len() + room, 0);
            }
            let mut record = vec![1];
            record.resize(1 + length, b'x');
            log.extend(masked(crc32c(&record)).to_le_bytes());
            log.extend((*length as u16).to_le_bytes());
            log.extend(record);
        }
        log
    }

    #[test]
    fn the_checksum_is_the_one_of_the_rfc() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_log_cut_anywhere_is_not_damaged() {
        let log = log(&[100, 20, 1, 300]);
        assert!((0..=log.len()).all(|len| damage(&log[..len]).is_none()));
    }

    #[test]
    fn a_length_behind_the_end_is_damage_unless_it_is_the_last_record() {
        let mut log = log(&[100, 20, 300]);
        log[107 + 5] = 0xff;
        assert_eq!(damage(&log), Some(107));
        log.truncate(107 + 27);
        assert_eq!(damage(&log), None);
    }

    #[test]
    fn zeros_in_place_of_records_are_damage_unless_nothing_follows() {
        let mut log = log(&[BLOCK - HEADER - 3, 100, 20, 300]);
        log[BLOCK..BLOCK + 107].fill(0);
        assert_eq!(damage(&log), Some(BLOCK));
        log[BLOCK..].fill(0);
        assert_eq!(damage(&log), None);
    }

    #[test]
    fn only_numbered_logs_are_logs() {
        let is = |name| is_log(Path::new(name));
        assert_eq!(
            (is("000004.log"), is("LOG"), is("notes.log"), is(".log"), is("000004.sst")),
            (true, false, false, false, false)
        );
    }
}
