//! The part of a file that was fetched, as the Parquet reader wants it.

use std::sync::Arc;

use bytes::{Buf, Bytes, buf::Reader};
use parquet::{
    errors::{ParquetError, Result},
    file::reader::{ChunkReader, Length},
};

/// Stretches of a file of a known length. What was not fetched cannot be read.
#[derive(Clone, Debug)]
pub(super) struct Chunks {
    pub(super) bytes: u64,
    pub(super) parts: Arc<[(u64, Bytes)]>,
}

impl Chunks {
    fn rest(&self, start: u64) -> Result<Bytes> {
        let part = self.parts.iter().find(|(at, bytes)| (*at..at + bytes.len() as u64).contains(&start));
        let (at, bytes) =
            part.ok_or_else(|| ParquetError::EOF(format!("byte {start} lies outside of its column")))?;
        Ok(bytes.slice((start - at) as usize..))
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Chunks {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(self.rest(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let rest = self.rest(start)?;
        if rest.len() < length {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} lie outside of their column")));
        }
        Ok(rest.slice(..length))
    }
}
