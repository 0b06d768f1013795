//! From Arrow arrays to [`Vectors`]: which types are vectors, and what may be null.
//!
//! Types are matched by width and element type alone: producers disagree about the name and the nullability of a
//! list's child field, so two equal columns rarely have equal `DataType`s.

use arrow_array::{
    Array, ArrayRef, FixedSizeBinaryArray, FixedSizeListArray, GenericListArray, OffsetSizeTrait,
    cast::AsArray,
    types::{Float16Type, Float32Type},
};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::DataType;
use half::f16;

use super::{Chunk, Element, Values, Vectors, check_dim};
use crate::error::{Error, Result};

/// What a vector column may be, for messages.
const EXPECTED: &str =
    "fixed_size_list<float | halffloat>, list<float> of equal lengths or fixed_size_binary";

impl Vectors {
    /// A column from the chunks of an Arrow array, borrowed.
    ///
    /// Accepted are `FixedSizeList` of `Float32` or `Float16`, `List` and `LargeList` of `Float32` or `Float16` whose
    /// rows all have one length, and `FixedSizeBinary` of 4 or 2 bytes per dimension, little-endian. Only the last
    /// does not tell its own dimension: there `dim` decides between the two, and without it the width counts as `f32`.
    ///
    /// A null row holds no vector. A null element in a row that is not null is refused.
    ///
    /// # Errors
    /// [`Error::InvalidType`] for any other type, [`Error::InvalidVector`] for null elements and unequal lengths,
    /// [`Error::DimensionMismatch`] when the column's dimension is not `dim`, [`Error::EmptyIndex`] when there is no
    /// row to learn a list's dimension from and `dim` is not given.
    pub fn from_arrays(column: &str, arrays: &[ArrayRef], dim: Option<usize>) -> Result<Self> {
        let Some(first) = arrays.first() else {
            return empty(column, dim);
        };
        let own_dim = dim_of(column, first.data_type(), arrays, dim)?;
        let Some(width) = own_dim.or(dim) else {
            return empty(column, dim);
        };
        check_dim(column, width)?;
        let mut row = 0;
        let mut chunks = Vec::with_capacity(arrays.len());
        for array in arrays {
            chunks.push(chunk(column, array, width, row)?);
            row += array.len();
        }
        let vectors = Self::from_chunks(column.to_owned(), width, chunks);
        dim.map_or(Ok(()), |expected| vectors.expect_dim("the index", expected))?;
        Ok(vectors)
    }
}

fn empty(column: &str, dim: Option<usize>) -> Result<Vectors> {
    match dim {
        Some(dim) => {
            check_dim(column, dim)?;
            Ok(Vectors::from_chunks(column.to_owned(), dim, Vec::new()))
        }
        None => Err(Error::EmptyIndex(format!("{column} has no row that tells its dimension"))),
    }
}

/// The dimension that the column itself tells; `None` for lists without a single row that is not null.
fn dim_of(
    column: &str,
    data_type: &DataType,
    arrays: &[ArrayRef],
    dim: Option<usize>,
) -> Result<Option<usize>> {
    match data_type {
        DataType::FixedSizeList(_, width) => Ok(Some(usize::try_from(*width).unwrap_or(0))),
        DataType::List(_) => Ok(arrays.iter().find_map(|array| first_length(array.as_list::<i32>()))),
        DataType::LargeList(_) => Ok(arrays.iter().find_map(|array| first_length(array.as_list::<i64>()))),
        DataType::FixedSizeBinary(width) => {
            let width = usize::try_from(*width).unwrap_or(0);
            let element = binary_element(width, dim);
            if width % element.bytes() != 0 {
                let actual = data_type.to_string();
                let expected = "a width of 4 or 2 bytes per dimension".into();
                return Err(Error::InvalidType { column: column.into(), expected, actual });
            }
            Ok(Some(width / element.bytes()))
        }
        other => Err(wrong_type(column, other)),
    }
}

fn wrong_type(column: &str, actual: &DataType) -> Error {
    Error::InvalidType { column: column.into(), expected: EXPECTED.into(), actual: actual.to_string() }
}

fn first_length<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> Option<usize> {
    (0..list.len()).find(|&row| list.is_valid(row)).map(|row| list.value_length(row).as_usize())
}

fn binary_element(width: usize, dim: Option<usize>) -> Element {
    if dim.is_some_and(|dim| dim * 2 == width) { Element::F16 } else { Element::F32 }
}

fn chunk(column: &str, array: &ArrayRef, dim: usize, first_row: usize) -> Result<Chunk> {
    match array.data_type() {
        DataType::FixedSizeList(..) => fixed_size_list(column, array.as_fixed_size_list(), dim, first_row),
        DataType::List(_) => list::<i32>(column, array.as_list(), dim, first_row),
        DataType::LargeList(_) => list::<i64>(column, array.as_list(), dim, first_row),
        DataType::FixedSizeBinary(_) => fixed_size_binary(column, array.as_fixed_size_binary(), dim),
        other => Err(wrong_type(column, other)),
    }
}

fn values(column: &str, whole: &DataType, child: &ArrayRef) -> Result<Values> {
    match child.data_type() {
        DataType::Float32 => Ok(Values::F32(child.as_primitive::<Float32Type>().values().clone())),
        DataType::Float16 => Ok(Values::F16(child.as_primitive::<Float16Type>().values().clone())),
        _ => Err(wrong_type(column, whole)),
    }
}

fn fixed_size_list(column: &str, array: &FixedSizeListArray, dim: usize, first_row: usize) -> Result<Chunk> {
    let width = usize::try_from(array.value_length()).unwrap_or(0);
    if width != dim {
        return Err(unequal(column, first_row, dim, width));
    }
    let child = array.values();
    let nulls = array.nulls().cloned();
    check_elements(column, child.nulls(), nulls.as_ref(), first_row, array.len(), |row| {
        row * dim..(row + 1) * dim
    })?;
    Ok(Chunk { values: values(column, array.data_type(), child)?, offsets: None, nulls, rows: array.len() })
}

fn list<O: OffsetSizeTrait>(
    column: &str,
    array: &GenericListArray<O>,
    dim: usize,
    first_row: usize,
) -> Result<Chunk> {
    let nulls = array.nulls().cloned();
    let is_valid = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    let starts: Vec<usize> = array.value_offsets().iter().map(|offset| offset.as_usize()).collect();
    for row in (0..array.len()).filter(|&row| is_valid(row)) {
        let length = starts[row + 1] - starts[row];
        if length != dim {
            return Err(unequal(column, first_row + row, dim, length));
        }
    }
    let child = array.values();
    check_elements(column, child.nulls(), nulls.as_ref(), first_row, array.len(), |row| {
        starts[row]..starts[row + 1]
    })?;
    // A null row may be shorter than the others, even empty: only then do the starts have to be kept.
    let even = starts.iter().enumerate().all(|(row, &start)| start == row * dim);
    let mut offsets = starts;
    offsets.pop();
    let offsets = (!even).then(|| clamp_null_rows(offsets, nulls.as_ref()));
    Ok(Chunk { values: values(column, array.data_type(), child)?, offsets, nulls, rows: array.len() })
}

/// Null rows at the very end may start where no whole vector is left; reading one must still stay inside the buffer.
fn clamp_null_rows(mut starts: Vec<usize>, nulls: Option<&NullBuffer>) -> Vec<usize> {
    let Some(nulls) = nulls else { return starts };
    for (row, start) in starts.iter_mut().enumerate() {
        if nulls.is_null(row) {
            *start = 0;
        }
    }
    starts
}

fn fixed_size_binary(column: &str, array: &FixedSizeBinaryArray, dim: usize) -> Result<Chunk> {
    let width = usize::try_from(array.value_length()).unwrap_or(0);
    let element = binary_element(width, Some(dim));
    if width != dim * element.bytes() {
        return Err(unequal(column, 0, dim, width / element.bytes()));
    }
    let buffer = array.to_data().buffers()[0].slice_with_length(array.offset() * width, array.len() * width);
    let aligned = buffer.as_ptr().addr().is_multiple_of(element.bytes());
    let values = match element {
        _ if !aligned => Values::Unaligned(buffer, element),
        Element::F32 => Values::F32(ScalarBuffer::<f32>::from(buffer)),
        Element::F16 => Values::F16(ScalarBuffer::<f16>::from(buffer)),
    };
    Ok(Chunk { values, offsets: None, nulls: array.nulls().cloned(), rows: array.len() })
}

/// Producers leave nulls in the child under null rows; only those in rows that count are an error.
fn check_elements(
    column: &str,
    child: Option<&NullBuffer>,
    parent: Option<&NullBuffer>,
    first_row: usize,
    rows: usize,
    span: impl Fn(usize) -> std::ops::Range<usize>,
) -> Result<()> {
    let Some(child) = child.filter(|child| child.null_count() > 0) else {
        return Ok(());
    };
    for row in (0..rows).filter(|&row| parent.is_none_or(|parent| parent.is_valid(row))) {
        let elements = span(row);
        if let Some(at) = elements.clone().position(|element| child.is_null(element)) {
            let reason = format!("element {at} is null, expected a number");
            return Err(Error::InvalidVector { column: column.into(), row: first_row + row, reason });
        }
    }
    Ok(())
}

fn unequal(column: &str, row: usize, expected: usize, actual: usize) -> Error {
    let reason = format!("has {actual} elements, expected {expected} as in the rows before");
    Error::InvalidVector { column: column.into(), row, reason }
}
