//! Version 1 of upstream's `.rbpx` files, read and written: ids and vectors, from which codes are made anew.
//!
//! Little-endian, without alignment, checksum or compression:
//!
//! ```text
//! offset  bytes  field
//!      0      8  "rbpx0001"
//!      8      4  version: 1
//!     12      4  dim: 1 to 8192
//!     16      8  seed
//!     24      4  rerank factor: 1 to 1024
//!     28      4  n: at most 100,000,000
//!     32      n * (4 + 4 dim)  rows: id (u32), then dim f32
//! ```
//!
//! The metric is squared Euclidean, always. The rotation is not recorded and not needed: exact distances come from the
//! vectors, so whoever reads the file may code them by a rotation of its own.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufReader, Read, Write},
    path::Path,
};

use arrow_array::Int64Array;

use crate::{
    error::{Error, PersistError, Result},
    ids::{Id, Ids},
    replace::replace,
    vectors::Vectors,
};

/// The first bytes of a file.
pub const MAGIC: [u8; 8] = *b"rbpx0001";
/// The largest number of dimensions.
pub const MAX_DIM: usize = 8192;
/// The largest rerank factor.
pub const MAX_RERANK_FACTOR: u32 = 1024;
/// The largest number of rows.
pub const MAX_ROWS: usize = 100_000_000;

const VERSION: u32 = 1;
const HEADER: usize = 32;
/// Rows are reserved for as they come: a file that shrinks while it is read costs no more than what it held.
const ROWS_AT_ONCE: usize = 64 * 1024;

/// What a file holds.
#[derive(Clone, Debug)]
pub struct Table {
    /// The seed of the index that wrote it.
    pub seed: u64,
    /// How many candidates per neighbour that index compared exactly.
    pub rerank_factor: u32,
    /// One id per vector, no two alike.
    pub ids: Ids,
    /// The vectors, finite, in one piece.
    pub vectors: Vectors,
}

/// Whether a file begins as one of these does. One that cannot be read does not.
pub fn is_rbpx(path: &Path) -> bool {
    let mut magic = [0; MAGIC.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == MAGIC
}

/// Reads a file. Nothing in it is believed before it is checked, and nothing is allocated because its header says so.
///
/// # Errors
/// [`Error::Persist`] when the file cannot be read, is none of these, is of a later version, or contradicts itself.
pub fn read(path: &Path) -> Result<Table> {
    let failed = |error: PersistError| Error::persist(path, error);
    let file = File::open(path).map_err(|error| failed(error.into()))?;
    let bytes = file.metadata().map_err(|error| failed(error.into()))?.len();
    read_from(&mut BufReader::new(file), bytes).map_err(failed)
}

/// Reads a table of `bytes` bytes.
fn read_from(reader: &mut impl Read, bytes: u64) -> Result<Table, PersistError> {
    let Header { dim, seed, rerank_factor, rows } = Header::read(reader, bytes)?;
    let mut row = vec![0; row_bytes(dim)];
    let mut ids: Vec<i64> = Vec::with_capacity(rows.min(ROWS_AT_ONCE));
    let mut values: Vec<f32> = Vec::with_capacity(rows.min(ROWS_AT_ONCE) * dim);
    let mut seen = HashSet::with_capacity(rows.min(ROWS_AT_ONCE));
    for at in 0..rows {
        reader.read_exact(&mut row).map_err(|error| short(&error, &format!("row {at} of {rows}")))?;
        let (words, _) = row.as_chunks::<4>();
        let Some((&id, vector)) = words.split_first() else {
            return Err(corrupt("a row of no bytes"));
        };
        let id = u32::from_le_bytes(id);
        if !seen.insert(id) {
            return Err(corrupt(format!("row {at}: its id {id} is that of an earlier row")));
        }
        ids.push(id.into());
        values.extend(vector.iter().map(|&value| f32::from_le_bytes(value)));
    }
    let believed = |error: Error| corrupt(error.to_string());
    let vectors = Vectors::from_f32("vectors", dim, values.into()).map_err(believed)?;
    vectors.check_finite(0..rows).and_then(|()| vectors.check_lengths(0..rows)).map_err(believed)?;
    Ok(Table { seed, rerank_factor, ids: Ids::Int64(Int64Array::from(ids)), vectors })
}

/// Writes a file: under another name first, then in place of what was there.
///
/// # Errors
/// [`Error::InvalidParameter`] for ids that are no unsigned numbers of 32 bits, and for what is beyond the limits of
/// the format; [`Error::InvalidVector`] for NaN or infinity; [`Error::Persist`] when the file cannot be written.
pub fn write(path: &Path, table: &Table) -> Result<()> {
    let Table { rerank_factor, ids, vectors, .. } = table;
    let (dim, rows) = (vectors.dim(), vectors.len());
    within("dimensions", 1, MAX_DIM, dim)?;
    within("rerank_factor", 1, MAX_RERANK_FACTOR as usize, *rerank_factor as usize)?;
    within("rows", 0, MAX_ROWS, rows)?;
    if ids.len() != rows {
        let expected = format!("one id per vector ({rows})");
        return Err(Error::invalid_parameter("ids", expected, format!("{} ids", ids.len())));
    }
    ids.check_unique()?;
    vectors.check_finite(0..rows)?;
    let narrow: Vec<u32> = (0..rows).map(|at| narrow(ids.get(at))).collect::<Result<_>>()?;
    replace(path, |file| write_rows(file, table, &narrow).map_err(|error| Error::persist(path, error)))
}

fn write_rows(writer: &mut impl Write, table: &Table, ids: &[u32]) -> io::Result<()> {
    let vectors = &table.vectors;
    writer.write_all(&MAGIC)?;
    writer.write_all(&VERSION.to_le_bytes())?;
    writer.write_all(&(vectors.dim() as u32).to_le_bytes())?;
    writer.write_all(&table.seed.to_le_bytes())?;
    writer.write_all(&table.rerank_factor.to_le_bytes())?;
    writer.write_all(&(ids.len() as u32).to_le_bytes())?;
    let mut scratch = vec![0.0; vectors.dim()];
    for (row, id) in ids.iter().enumerate() {
        writer.write_all(&id.to_le_bytes())?;
        for value in vectors.row(row, &mut scratch) {
            writer.write_all(&value.to_le_bytes())?;
        }
    }
    Ok(())
}

fn narrow(id: Id<'_>) -> Result<u32> {
    let number = match id {
        Id::Int64(id) => u32::try_from(id).ok(),
        Id::UInt64(id) => u32::try_from(id).ok(),
        Id::Utf8(_) => None,
    };
    let expected = "integers of 0 to 4294967295, which is what the format holds";
    number.ok_or_else(|| Error::invalid_parameter("ids", expected, id.to_string()))
}

fn within(name: &str, low: usize, high: usize, value: usize) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid_parameter(name, format!("{low} to {high} in an rbpx file"), value.to_string()))
}

struct Header {
    dim: usize,
    seed: u64,
    rerank_factor: u32,
    rows: usize,
}

impl Header {
    /// Reads the header of a table of `bytes` bytes and checks it against that length.
    fn read(reader: &mut impl Read, bytes: u64) -> Result<Self, PersistError> {
        let mut header = [0; HEADER];
        let (magic, rest) = header.split_at_mut(MAGIC.len());
        reader.read_exact(magic).map_err(|error| short(&error, "the magic number"))?;
        if magic != MAGIC {
            return Err(PersistError::NotAnIndex("it does not begin with rbpx0001".into()));
        }
        reader.read_exact(rest).map_err(|error| short(&error, "the header"))?;
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        match word(8) {
            VERSION => {}
            0 => return Err(corrupt("version: expected 1, got 0")),
            found => return Err(PersistError::UnsupportedVersion { found, supported: VERSION }),
        }
        let dim = word(12) as usize;
        check("dim", 1, MAX_DIM as u64, dim as u64)?;
        let seed = u64::from(word(16)) | u64::from(word(20)) << 32;
        let rerank_factor = word(24);
        check("rerank factor", 1, MAX_RERANK_FACTOR.into(), rerank_factor.into())?;
        let rows = word(28) as usize;
        check("rows", 0, MAX_ROWS as u64, rows as u64)?;
        let expected = HEADER as u64 + rows as u64 * row_bytes(dim) as u64;
        if bytes != expected {
            let message =
                format!("{rows} rows of {dim} dimensions take {expected} bytes, the file has {bytes}");
            return Err(corrupt(message));
        }
        Ok(Self { dim, seed, rerank_factor, rows })
    }
}

fn row_bytes(dim: usize) -> usize {
    4 + 4 * dim
}

fn check(name: &str, low: u64, high: u64, value: u64) -> Result<(), PersistError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(corrupt(format!("{name}: expected {low} to {high}, got {value}")))
}

fn corrupt(message: impl Into<String>) -> PersistError {
    PersistError::Corrupt(message.into())
}

fn short(error: &io::Error, what: &str) -> PersistError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => corrupt(format!("it ends within {what}")),
        kind => PersistError::Io(io::Error::new(kind, format!("{what}: {error}"))),
    }
}

#[cfg(test)]
#[path = "rbpx_tests.rs"]
mod tests;
