//! From DuckDB's columns to checked vectors: floats that lie one after the other are lent, anything else is copied once.

use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field};
use ruvector_core::{Error, Vectors};

use crate::{
    capi::{Column, Kind},
    filter::entry,
    refusal::{Refusal, Result},
};

/// A column of vectors, and what messages call it.
#[derive(Clone, Copy)]
pub(crate) struct VectorColumn<'a> {
    column: Column<'a>,
    name: &'static str,
    items: Option<(Column<'a>, Option<usize>)>,
}

impl<'a> VectorColumn<'a> {
    /// Refuses a column that cannot hold vectors.
    pub(crate) fn new(column: Column<'a>, name: &'static str) -> Result<Self> {
        let items = column.items();
        if items.is_none() && column.kind() != Kind::Null {
            let actual = column.kind().name();
            return Err(Refusal(format!("{name}: expected a list or an array of numbers, got {actual}")));
        }
        Ok(Self { column, name, items })
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.column.is_null(row)
    }

    /// The elements of the first row that is not null.
    pub(crate) fn dim(&self) -> Option<usize> {
        let (_, width) = self.items?;
        width.or_else(|| {
            let first = (0..self.column.rows()).find(|&row| !self.is_null(row))?;
            Some(entry(&self.column, None, first).length as usize)
        })
    }

    /// Lends the vectors of some rows, as wide as `by` has them, to `work`. Rows are counted within `rows`.
    pub(crate) fn lend<R>(
        &self,
        rows: &[usize],
        (by, dim): (&str, usize),
        work: impl FnOnce(&Vectors) -> Result<R>,
    ) -> Result<R> {
        let nulls: NullBuffer = rows.iter().map(|&row| !self.is_null(row)).collect();
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        let Some((items, _)) =
            self.items.filter(|_| nulls.as_ref().is_none_or(|nulls| nulls.null_count() < rows.len()))
        else {
            let blank = ScalarBuffer::from(vec![0.0; rows.len() * dim]);
            return work(&self.vectors(blank, dim, nulls)?);
        };
        let starts = self.starts(rows, by, dim)?;
        self.check_elements(&items, &starts, dim)?;
        let first = starts.first().copied().flatten();
        let even = first
            .filter(|first| starts.iter().enumerate().all(|(at, start)| *start == Some(first + at * dim)));
        if let (Some(first), Kind::Float) = (even, items.kind()) {
            let answer = items.lend(first, rows.len() * dim, |values| {
                let vectors = self.vectors(values, dim, None)?;
                work(&vectors)
            });
            return answer.ok_or_else(|| self.cut())?;
        }
        let values = self.gather(&items, &starts, dim)?;
        work(&self.vectors(values.into(), dim, nulls)?)
    }

    /// Where each row's elements start; `None` for a null row.
    fn starts(&self, rows: &[usize], by: &str, dim: usize) -> Result<Vec<Option<usize>>> {
        let width = self.items.and_then(|items| items.1);
        let start = |&row: &usize| {
            if self.is_null(row) {
                return Ok(None);
            }
            let entry = entry(&self.column, width, row);
            if entry.length as usize != dim {
                return Err(Error::DimensionMismatch {
                    expected_by: by.into(),
                    expected: dim,
                    actual_by: self.name.into(),
                    actual: entry.length as usize,
                }
                .into());
            }
            Ok(Some(entry.offset as usize))
        };
        rows.iter().map(start).collect()
    }

    fn check_elements(&self, items: &Column<'a>, starts: &[Option<usize>], dim: usize) -> Result<()> {
        let Some(nulls) = items.nulls() else { return Ok(()) };
        for (row, start) in starts.iter().enumerate() {
            let Some(start) = *start else { continue };
            if start + dim > items.rows() {
                return Err(self.cut());
            }
            if let Some(at) = (0..dim).find(|at| nulls.is_null(start + at)) {
                let reason = format!("element {at} is null, expected a number");
                return Err(Error::InvalidVector { column: self.name.into(), row, reason }.into());
            }
        }
        Ok(())
    }

    /// The elements of the rows, back to back; zeros for null ones.
    fn gather(&self, items: &Column<'a>, starts: &[Option<usize>], dim: usize) -> Result<Vec<f32>> {
        fn copy<T: Copy>(from: &[T], to: &mut [f32], start: usize, round: impl Fn(T) -> f32) -> Option<()> {
            let from = from.get(start..start + to.len())?;
            to.iter_mut().zip(from).for_each(|(to, &from)| *to = round(from));
            Some(())
        }
        let mut values = vec![0.0; starts.len() * dim];
        let doubles = if items.kind() == Kind::Float { None } else { items.doubles() };
        for (to, start) in values.chunks_exact_mut(dim.max(1)).zip(starts) {
            let Some(start) = *start else { continue };
            let copied = match (items.values::<f32>(), &doubles) {
                (Some(floats), _) => copy(floats, to, start, |value| value),
                (None, Some(doubles)) => copy(doubles, to, start, |value| value as f32),
                (None, None) => {
                    let (name, actual) = (self.name, items.kind().name());
                    return Err(Refusal(format!(
                        "{name}: expected a list or an array of numbers, got one of {actual}"
                    )));
                }
            };
            copied.ok_or_else(|| self.cut())?;
        }
        Ok(values)
    }

    fn vectors(&self, values: ScalarBuffer<f32>, dim: usize, nulls: Option<NullBuffer>) -> Result<Vectors> {
        let Some(nulls) = nulls else { return Ok(Vectors::from_f32(self.name, dim, values)?) };
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let elements = Arc::new(Float32Array::new(values, None));
        let lists = FixedSizeListArray::try_new(item, i32::try_from(dim)?, elements, Some(nulls))?;
        Ok(Vectors::from_arrays(self.name, &[Arc::new(lists) as ArrayRef], Some(dim))?)
    }

    fn cut(&self) -> Refusal {
        Refusal(format!("{}: DuckDB lent fewer elements than its lists have", self.name))
    }
}
