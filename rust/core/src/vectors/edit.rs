//! Columns made of columns: put together, thinned out, copied.

use arrow_buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use half::{f16, slice::HalfFloatSliceExt};

use super::{Element, Values, Vectors};
use crate::{error::Result, filter::Filter};

impl Vectors {
    /// All values, row after row, where they lie so already: `f32` in one chunk, without nulls.
    pub fn contiguous(&self) -> Option<ScalarBuffer<f32>> {
        match &self.chunks[..] {
            [chunk] if chunk.offsets.is_none() && chunk.nulls.is_none() => match &chunk.values {
                Values::F32(values) => Some(values.slice(0, chunk.rows * self.dim)),
                Values::F16(_) | Values::Unaligned(..) => None,
            },
            _ => None,
        }
    }

    /// This column with the rows of another after its own. Nothing is copied.
    ///
    /// # Errors
    /// [`crate::Error::DimensionMismatch`] when the other is not as wide.
    pub fn append(&self, more: &Self) -> Result<Self> {
        more.expect_dim(&self.column, self.dim)?;
        let chunks = self.chunks.iter().chain(&more.chunks).cloned().collect();
        Ok(Self::from_chunks(self.column.clone(), self.dim, chunks))
    }

    /// This column with null in place of every row that is not in `kept`. Nothing is copied.
    #[must_use]
    pub fn only(&self, kept: &Filter) -> Self {
        let mut chunks = self.chunks.clone();
        for (chunk, &start) in chunks.iter_mut().zip(&self.starts) {
            let kept = BooleanBuffer::collect_bool(chunk.rows, |row| kept.contains((start + row) as u64));
            chunk.nulls = NullBuffer::union(chunk.nulls.as_ref(), Some(&NullBuffer::new(kept)));
        }
        Self::from_chunks(self.column.clone(), self.dim, chunks)
    }

    /// A copy of some rows, in one piece, of the same element type.
    ///
    /// # Errors
    /// None in practice; see [`Vectors::from_f32`].
    pub fn gather(&self, rows: &[usize]) -> Result<Self> {
        let mut values = vec![0.0; rows.len() * self.dim];
        for (&row, target) in rows.iter().zip(values.chunks_exact_mut(self.dim)) {
            self.copy_row(row, target);
        }
        match self.element() {
            Element::F32 => Self::from_f32(self.column.clone(), self.dim, values.into()),
            Element::F16 => {
                let mut halves = vec![f16::ZERO; values.len()];
                halves.convert_from_f32_slice(&values);
                Self::from_f16(self.column.clone(), self.dim, halves.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[f32]) -> Vectors {
        Vectors::from_f32("v", 2, values.to_vec().into()).unwrap()
    }

    #[test]
    fn appended_rows_follow_and_gathered_rows_are_copies() {
        let both = column(&[1.0, 2.0]).append(&column(&[3.0, 4.0, 5.0, 6.0])).unwrap();
        let mut scratch = [0.0; 2];
        assert_eq!((both.len(), both.row(2, &mut scratch)), (3, &[5.0, 6.0][..]));
        let picked = both.gather(&[2, 0]).unwrap();
        assert_eq!((picked.row(0, &mut scratch), picked.len()), (&[5.0, 6.0][..], 2));
        assert!(both.append(&Vectors::from_f32("w", 1, vec![0.0].into()).unwrap()).is_err());
    }

    #[test]
    fn rows_that_are_not_kept_are_null() {
        let both = column(&[1.0, 2.0]).append(&column(&[3.0, 4.0, 5.0, 6.0])).unwrap();
        let kept = both.only(&Filter::from_rows([0, 2], 3));
        assert_eq!(kept.valid_rows(0..3).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(kept.addresses(), both.addresses());
    }
}
