//! Checked views of vector columns: the only door by which vectors enter.
//!
//! A [`Vectors`] borrows the buffers of the Arrow arrays it was made from and never copies them. Rows of `f32`
//! are lent as they lie; `f16` rows and rows at odd addresses are widened one at a time into the caller's scratch.

mod arrow;
mod edit;
#[cfg(test)]
mod tests;

use std::ops::Range;

use arrow_buffer::{Buffer, NullBuffer, ScalarBuffer};
use half::{f16, slice::HalfFloatSliceExt};

use crate::{
    error::{Error, Result},
    random::SplitMix64,
};

/// The largest number of dimensions a vector may have.
pub const MAX_DIM: usize = 65_535;

/// The largest squared length of a vector: (a + b)^2 <= 2 a^2 + 2 b^2, and the estimator adds up a few such terms.
const MAX_SQUARED_LENGTH: f32 = f32::MAX / 64.0;

/// How one element of a vector is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// 32-bit IEEE float.
    F32,
    /// 16-bit IEEE float.
    F16,
}

impl Element {
    /// Bytes per element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

/// A column of vectors, all of one dimension, in one or more chunks.
#[derive(Clone, Debug)]
pub struct Vectors {
    column: String,
    dim: usize,
    chunks: Vec<Chunk>,
    /// The first row of each chunk, and the number of rows at the end.
    starts: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Chunk {
    values: Values,
    /// Where each row starts, in elements. `None`: row `i` starts at `i * dim`.
    offsets: Option<Vec<usize>>,
    nulls: Option<NullBuffer>,
    rows: usize,
}

#[derive(Clone, Debug)]
enum Values {
    F32(ScalarBuffer<f32>),
    F16(ScalarBuffer<f16>),
    /// Little-endian elements at an address their type may not have, as binary columns allow.
    Unaligned(Buffer, Element),
}

impl Vectors {
    /// A column from `rows * dim` contiguous values, row after row; `values` may share memory with its owner.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when `dim` is 0 or above [`MAX_DIM`] or does not divide the number of values.
    pub fn from_f32(column: impl Into<String>, dim: usize, values: ScalarBuffer<f32>) -> Result<Self> {
        let len = values.len();
        Self::from_contiguous(column.into(), dim, len, Values::F32(values))
    }

    /// The same for half floats.
    ///
    /// # Errors
    /// As [`Vectors::from_f32`].
    pub fn from_f16(column: impl Into<String>, dim: usize, values: ScalarBuffer<f16>) -> Result<Self> {
        let len = values.len();
        Self::from_contiguous(column.into(), dim, len, Values::F16(values))
    }

    fn from_contiguous(column: String, dim: usize, len: usize, values: Values) -> Result<Self> {
        check_dim(&column, dim)?;
        if !len.is_multiple_of(dim) {
            let actual = format!("{len} values");
            return Err(Error::invalid_parameter(column, format!("a multiple of {dim} values"), actual));
        }
        let rows = len / dim;
        Ok(Self::from_chunks(column, dim, vec![Chunk { values, offsets: None, nulls: None, rows }]))
    }

    fn from_chunks(column: String, dim: usize, chunks: Vec<Chunk>) -> Self {
        let mut starts = vec![0];
        starts.extend(chunks.iter().scan(0, |end, chunk| {
            *end += chunk.rows;
            Some(*end)
        }));
        Self { column, dim, chunks, starts }
    }

    /// The column's name, for messages.
    pub fn column(&self) -> &str {
        &self.column
    }

    /// Elements per vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Rows, null ones included.
    pub fn len(&self) -> usize {
        self.starts[self.chunks.len()]
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows that hold no vector.
    pub fn null_count(&self) -> usize {
        self.chunks.iter().filter_map(|chunk| chunk.nulls.as_ref()).map(NullBuffer::null_count).sum()
    }

    /// The widest element type among the chunks: the one that keeps every value.
    pub fn element(&self) -> Element {
        let wide = self.chunks.iter().any(|chunk| chunk.element() == Element::F32);
        if wide { Element::F32 } else { Element::F16 }
    }

    /// Bytes that the vectors take where they lie.
    pub fn value_bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.rows * self.dim * chunk.element().bytes()).sum()
    }

    /// The address of each chunk's first vector: proof that nothing was copied.
    pub fn addresses(&self) -> Vec<usize> {
        self.chunks.iter().map(|chunk| chunk.address(self.dim)).collect()
    }

    /// Whether a row holds no vector.
    pub fn is_null(&self, row: usize) -> bool {
        let (chunk, row) = self.locate(row);
        chunk.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// The rows that hold a vector, in order.
    pub fn valid_rows(&self, rows: Range<usize>) -> impl Iterator<Item = usize> + '_ {
        rows.filter(|&row| !self.is_null(row))
    }

    /// At most `wanted` rows that hold a vector, ascending: one drawn from each of as many equal stretches.
    pub fn sample_rows(&self, wanted: usize, seed: u64) -> Vec<usize> {
        let valid: Vec<usize> = self.valid_rows(0..self.len()).collect();
        let wanted = wanted.min(valid.len());
        let mut random = SplitMix64::new(seed);
        (0..wanted)
            .map(|at| {
                let (start, end) = (at * valid.len() / wanted, (at + 1) * valid.len() / wanted);
                valid[start + random.below((end - start) as u64) as usize]
            })
            .collect()
    }

    /// One vector: lent as it lies if it is aligned `f32`, widened into `scratch` otherwise.
    /// `scratch` holds at least `dim` elements. What a null row holds is unspecified.
    pub fn row<'a>(&'a self, row: usize, scratch: &'a mut [f32]) -> &'a [f32] {
        let (chunk, row) = self.locate(row);
        let start = chunk.start(row, self.dim);
        let span = start..start + self.dim;
        match &chunk.values {
            Values::F32(values) => &values[span],
            Values::F16(values) => {
                values[span].convert_to_f32_slice(&mut scratch[..self.dim]);
                &scratch[..self.dim]
            }
            Values::Unaligned(buffer, element) => {
                widen(&buffer[span.start * element.bytes()..span.end * element.bytes()], *element, scratch);
                &scratch[..self.dim]
            }
        }
    }

    /// A row of half floats as it lies, where it lies so that it can be read as it is.
    pub fn half_row(&self, row: usize) -> Option<&[f16]> {
        let (chunk, row) = self.locate(row);
        let start = chunk.start(row, self.dim);
        match &chunk.values {
            Values::F16(values) => Some(&values[start..start + self.dim]),
            Values::F32(_) | Values::Unaligned(..) => None,
        }
    }

    /// The memory of a row, to be fetched before it is read.
    pub fn row_bytes(&self, row: usize) -> &[u8] {
        let (chunk, row) = self.locate(row);
        let start = chunk.start(row, self.dim);
        let (buffer, each) = match &chunk.values {
            Values::F32(values) => (values.inner(), Element::F32.bytes()),
            Values::F16(values) => (values.inner(), Element::F16.bytes()),
            Values::Unaligned(buffer, element) => (buffer, element.bytes()),
        };
        &buffer[start * each..(start + self.dim) * each]
    }

    /// Copies a run of rows into `out`, row after row. Null rows hold unspecified values.
    pub fn copy_rows(&self, rows: Range<usize>, out: &mut [f32]) {
        for (row, target) in rows.zip(out.chunks_exact_mut(self.dim)) {
            self.copy_row(row, target);
        }
    }

    /// Copies one row into `out`, which has `dim` elements.
    pub fn copy_row(&self, row: usize, out: &mut [f32]) {
        let (chunk, row) = self.locate(row);
        let start = chunk.start(row, self.dim);
        let span = start..start + self.dim;
        match &chunk.values {
            Values::F32(values) => out.copy_from_slice(&values[span]),
            Values::F16(values) => values[span].convert_to_f32_slice(out),
            Values::Unaligned(buffer, element) => {
                widen(&buffer[span.start * element.bytes()..span.end * element.bytes()], *element, out);
            }
        }
    }

    /// [`Vectors::row`], refused if it holds NaN or infinity.
    ///
    /// # Errors
    /// [`Error::InvalidVector`] naming the row and the element.
    pub fn finite_row<'a>(&'a self, row: usize, scratch: &'a mut [f32]) -> Result<&'a [f32]> {
        let vector = self.row(row, scratch);
        match vector.iter().position(|value| !value.is_finite()) {
            None => Ok(vector),
            Some(at) => {
                let reason = format!("element {at} is {}, expected a finite number", vector[at]);
                Err(Error::InvalidVector { column: self.column.clone(), row, reason })
            }
        }
    }

    /// Refuses the first vector in `rows` that holds NaN or infinity.
    ///
    /// # Errors
    /// [`Error::InvalidVector`] naming the row and the element.
    pub fn check_finite(&self, rows: Range<usize>) -> Result<()> {
        let mut scratch = vec![0.0; self.dim];
        for row in self.valid_rows(rows) {
            self.finite_row(row, &mut scratch)?;
        }
        Ok(())
    }

    /// Refuses the first vector in `rows` that is so long that squared distances to it leave the range of `f32`.
    ///
    /// # Errors
    /// [`Error::InvalidVector`] naming the row.
    pub fn check_lengths(&self, rows: Range<usize>) -> Result<()> {
        let mut scratch = vec![0.0; self.dim];
        for row in self.valid_rows(rows) {
            let squared: f32 = self.row(row, &mut scratch).iter().map(|value| value * value).sum();
            if squared > MAX_SQUARED_LENGTH {
                let reason = format!(
                    "has a length above {:.1e}, whose square is too large",
                    MAX_SQUARED_LENGTH.sqrt()
                );
                return Err(Error::InvalidVector { column: self.column.clone(), row, reason });
            }
        }
        Ok(())
    }

    /// Refuses a column whose vectors have another number of dimensions.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`] naming both sides.
    pub fn expect_dim(&self, expected_by: &str, expected: usize) -> Result<()> {
        if self.dim == expected {
            return Ok(());
        }
        Err(Error::DimensionMismatch {
            expected_by: expected_by.into(),
            expected,
            actual_by: self.column.clone(),
            actual: self.dim,
        })
    }

    fn locate(&self, row: usize) -> (&Chunk, usize) {
        let at =
            if self.chunks.len() == 1 { 0 } else { self.starts.partition_point(|&start| start <= row) - 1 };
        (&self.chunks[at], row - self.starts[at])
    }
}

impl Chunk {
    fn element(&self) -> Element {
        match &self.values {
            Values::F32(_) => Element::F32,
            Values::F16(_) => Element::F16,
            Values::Unaligned(_, element) => *element,
        }
    }

    fn start(&self, row: usize, dim: usize) -> usize {
        self.offsets.as_ref().map_or(row * dim, |offsets| offsets[row])
    }

    fn address(&self, dim: usize) -> usize {
        let base = match &self.values {
            Values::F32(values) => values.as_ptr().addr(),
            Values::F16(values) => values.as_ptr().addr(),
            Values::Unaligned(buffer, _) => buffer.as_ptr().addr(),
        };
        let first = if self.rows == 0 { 0 } else { self.start(0, dim) };
        base + first * self.element().bytes()
    }
}

fn widen(bytes: &[u8], element: Element, out: &mut [f32]) {
    match element {
        Element::F32 => {
            for (value, raw) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*raw);
            }
        }
        Element::F16 => {
            for (value, raw) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = f16::from_le_bytes(*raw).to_f32();
            }
        }
    }
}

fn check_dim(column: &str, dim: usize) -> Result<()> {
    if (1..=MAX_DIM).contains(&dim) {
        return Ok(());
    }
    Err(Error::invalid_parameter(format!("{column}: dimensions"), format!("1 to {MAX_DIM}"), dim.to_string()))
}
