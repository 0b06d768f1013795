//! The file format `ruvec1` of upstream's file backend, read and written.
//!
//! Little-endian: the magic `ruvec1\0\0`, the number of rows (u64), the number of dimensions (u32), four bytes that are
//! written as 0 and ignored, then rows of an id (u64) and `dim` f32.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, UInt64Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

/// The first bytes of a file.
pub const MAGIC: [u8; 8] = *b"ruvec1\0\0";
/// Bytes before the first row.
pub const HEADER: u64 = 24;
/// The largest number of rows.
pub const MAX_ROWS: u64 = 100_000_000;
/// The largest number of dimensions.
pub const MAX_DIM: u32 = 8192;

/// The column of ids.
pub(super) const ID: &str = "id";
/// The column of vectors.
pub(super) const VECTOR: &str = "vector";

/// What a file says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The number of rows.
    pub rows: u64,
    /// Elements per vector.
    pub dim: u32,
}

impl Header {
    /// Reads the header of a file of `bytes` bytes.
    ///
    /// # Errors
    /// What is wrong with it, as text, for whoever knows the file's name.
    pub fn read(reader: &mut impl Read, bytes: u64) -> Result<Self, String> {
        let mut raw = [0; HEADER as usize];
        reader.read_exact(&mut raw).map_err(|_| format!("{bytes} bytes are too few for a ruvec1 file"))?;
        if raw[..8] != MAGIC {
            return Err("does not begin as a ruvec1 file".into());
        }
        let (words, _) = raw[8..].as_chunks::<4>();
        let rows = u64::from(u32::from_le_bytes(words[0])) | u64::from(u32::from_le_bytes(words[1])) << 32;
        let header = Self { rows, dim: u32::from_le_bytes(words[2]) };
        if header.rows > MAX_ROWS {
            return Err(format!("rows: expected at most {MAX_ROWS}, got {rows}"));
        }
        if !(1..=MAX_DIM).contains(&header.dim) {
            return Err(format!("dimensions: expected 1 to {MAX_DIM}, got {}", header.dim));
        }
        if header.bytes() != bytes {
            return Err(format!("expected {} bytes for {rows} rows, got {bytes}", header.bytes()));
        }
        Ok(header)
    }

    /// The length of the file.
    pub fn bytes(self) -> u64 {
        HEADER + self.rows * self.row_bytes()
    }

    pub(super) fn row_bytes(self) -> u64 {
        8 + 4 * u64::from(self.dim)
    }

    /// Writes the header.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(self, writer: &mut impl Write) -> io::Result<()> {
        writer.write_all(&MAGIC)?;
        writer.write_all(&self.rows.to_le_bytes())?;
        writer.write_all(&self.dim.to_le_bytes())?;
        writer.write_all(&[0; 4])
    }
}

/// The columns of a table of ids and vectors.
pub(super) fn schema(id: DataType, dim: usize) -> SchemaRef {
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    Arc::new(Schema::new(vec![
        Field::new(ID, id, false),
        Field::new(VECTOR, DataType::FixedSizeList(item, dim as i32), false),
    ]))
}

/// Reads the next rows.
pub(super) fn read_rows(
    reader: &mut impl Read,
    header: Header,
    rows: usize,
    schema: &SchemaRef,
) -> io::Result<RecordBatch> {
    let dim = header.dim as usize;
    let mut row = vec![0; header.row_bytes() as usize];
    let (mut ids, mut values) = (Vec::with_capacity(rows), Vec::with_capacity(rows * dim));
    for _ in 0..rows {
        reader.read_exact(&mut row)?;
        let (id, vector) = row.split_at(8);
        let mut raw = [0; 8];
        raw.copy_from_slice(id);
        ids.push(u64::from_le_bytes(raw));
        values.extend(vector.as_chunks::<4>().0.iter().map(|&value| f32::from_le_bytes(value)));
    }
    let ids: ArrayRef = Arc::new(UInt64Array::from(ids));
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let vectors = FixedSizeListArray::try_new(item, dim as i32, Arc::new(Float32Array::from(values)), None);
    let batch =
        vectors.and_then(|vectors| RecordBatch::try_new(Arc::clone(schema), vec![ids, Arc::new(vectors)]));
    batch.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}
