//! Arrow record batches as objects.
//!
//! Owns: [`RecordBatch`], which travels as one Arrow IPC stream in one buffer. Reading it back copies nothing: the
//! columns are views of that buffer, which the object store aligns to 64 bytes as Arrow asks.

use std::{fmt, ops::Deref, panic::catch_unwind};

use arrow::{
    buffer::Buffer,
    ipc::{
        reader::StreamDecoder,
        writer::{IpcWriteOptions, StreamWriter},
        MetadataVersion,
    },
};
use serde::{de, ser, Deserialize, Deserializer, Serialize, Serializer};

use super::Bytes;

/// An Arrow record batch: columns of equal length under one schema.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordBatch(arrow::array::RecordBatch);

impl RecordBatch {
    /// The batch as the `arrow` crate has it.
    #[must_use]
    pub fn into_inner(self) -> arrow::array::RecordBatch {
        self.0
    }
}

impl Deref for RecordBatch {
    type Target = arrow::array::RecordBatch;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl From<arrow::array::RecordBatch> for RecordBatch {
    fn from(batch: arrow::array::RecordBatch) -> Self {
        Self(batch)
    }
}

impl From<RecordBatch> for arrow::array::RecordBatch {
    fn from(batch: RecordBatch) -> Self {
        batch.0
    }
}

/// Arrow's own alignment for buffers, which is the object store's too.
const ALIGNMENT_BYTES: usize = 64;

impl Serialize for RecordBatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stream = write_stream(&self.0).map_err(ser::Error::custom)?;
        Bytes::from(stream).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RecordBatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stream = Bytes::deserialize(deserializer)?.into_inner();
        // Arrow checks what it reads, but panics at some damage rather than return an error.
        catch_unwind(|| read_stream(stream))
            .map_err(|_| de::Error::custom(Damaged))?
            .map_err(de::Error::custom)
            .map(Self)
    }
}

struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record batch is damaged")
    }
}

type ArrowResult<T> = Result<T, arrow::error::ArrowError>;

fn write_stream(batch: &arrow::array::RecordBatch) -> ArrowResult<Vec<u8>> {
    let options = IpcWriteOptions::try_new(ALIGNMENT_BYTES, false, MetadataVersion::V5)?;
    let stream = Vec::with_capacity(batch.get_array_memory_size() + (4 << 10));
    let mut writer = StreamWriter::try_new_with_options(stream, &batch.schema_ref().clone(), options)?;
    writer.write(batch)?;
    writer.into_inner()
}

/// Refuses a stream of which some message is not all there: Arrow makes room for up to 64 MiB where a length says so, to wait
/// for what never comes. (Arrow Columnar Format, "Encapsulated message format".)
fn check_lengths(mut stream: &[u8]) -> ArrowResult<()> {
    let cut_off = || arrow::error::ArrowError::IpcError("the stream is cut off".to_owned());
    while !stream.is_empty() {
        stream = stream.strip_prefix(&[0xff; 4]).unwrap_or(stream);
        let (length, rest) = stream.split_first_chunk().ok_or_else(cut_off)?;
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 {
            break;
        }
        let (message, rest) = rest.split_at_checked(length).ok_or_else(cut_off)?;
        let message = arrow::ipc::root_as_message(message)
            .map_err(|error| arrow::error::ArrowError::IpcError(error.to_string()))?;
        let body = usize::try_from(message.bodyLength()).map_err(|_| cut_off())?;
        stream = rest.get(body..).ok_or_else(cut_off)?;
    }
    Ok(())
}

fn read_stream(stream: bytes::Bytes) -> ArrowResult<arrow::array::RecordBatch> {
    check_lengths(&stream)?;
    let mut stream = Buffer::from(stream);
    let mut decoder = StreamDecoder::new();
    match decoder.decode(&mut stream)? {
        Some(batch) => Ok(batch),
        None => Err(arrow::error::ArrowError::IpcError("the stream holds no record batch".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, DictionaryArray, Float64Array, StringArray};
    use proptest::prelude::*;

    use super::*;
    use crate::data::codec::{decode, encode, Encoded, Parts};

    fn batch(rows: usize) -> RecordBatch {
        let columns: [(&str, ArrayRef); 3] = [
            ("x", Arc::new((0..rows).map(|i| (i % 5 != 0).then_some(i as f64)).collect::<Float64Array>())),
            ("name", Arc::new((0..rows).map(|i| Some(format!("row {i}"))).collect::<StringArray>())),
            (
                "kind",
                Arc::new((0..rows).map(|i| ["a", "b"][i % 2]).collect::<DictionaryArray<arrow::datatypes::Int8Type>>()),
            ),
        ];
        arrow::array::RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
            .unwrap()
            .into()
    }

    #[test]
    fn record_batches_round_trip_and_so_do_slices_of_them() {
        for rows in [0, 1, 1000] {
            let batch = batch(rows);
            assert_eq!(decode::<RecordBatch>(&encode(&batch).unwrap().into()).unwrap(), batch);
        }
        let slice = RecordBatch::from(batch(1000).slice(10, 20));
        let encoded = encode(&slice).unwrap();
        assert!(encoded.size_bytes() < 4000, "{encoded:?}");
        assert_eq!(decode::<RecordBatch>(&encoded.into()).unwrap(), slice);
    }

    #[test]
    fn the_columns_of_a_decoded_batch_are_views_of_its_buffer() {
        let encoded = encode(&batch(10_000)).unwrap();
        // As the object store lays it out.
        let aligned = bytes::Bytes::from_owner(Aligned::of(&encoded.buffers[0]));
        let range = aligned.as_ptr_range();
        let parts = Parts { meta: encoded.meta.into(), buffers: vec![aligned], refs: Arc::new([]) };
        let back: RecordBatch = decode(&parts).unwrap();
        let column = back.column(0).to_data();
        assert!(range.contains(&column.buffers()[0].as_ptr()));
    }

    struct Aligned(Vec<u128>, usize);

    impl Aligned {
        fn of(bytes: &[u8]) -> Self {
            let mut words = vec![0_u128; bytes.len().div_ceil(16)];
            bytemuck::cast_slice_mut::<u128, u8>(&mut words)[..bytes.len()].copy_from_slice(bytes);
            Self(words, bytes.len())
        }
    }

    impl AsRef<[u8]> for Aligned {
        fn as_ref(&self) -> &[u8] {
            &bytemuck::cast_slice(&self.0)[..self.1]
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_damaged_batch_is_a_batch_or_an_error(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let Encoded { meta, buffers, .. } = encode(&batch(20)).unwrap();
            let mut bytes = buffers[0].to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let parts = Parts { meta: meta.into(), buffers: vec![bytes.into()], refs: Arc::new([]) };
            let _ = decode::<RecordBatch>(&parts);
        }
    }
}
