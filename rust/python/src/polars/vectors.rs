//! From Polars' columns to checked vectors, without a copy.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BinaryViewArray, FixedSizeBinaryArray, UInt64Array, cast::AsArray};
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_data::ByteView;
use arrow_schema::{DataType, Field};
use ruvector_core::{Error, Vectors};

use super::{Column, Refusal, Result};

/// What a vector column may be, for messages.
const EXPECTED: &str = "Array(Float32, dim), Array(Float16, dim), List(Float32) or Binary";

/// Checks a column's type when the plan is made. `None`: only the values tell the dimension.
pub(super) fn dim_of(field: &Field) -> Result<Option<usize>> {
    match field.data_type() {
        DataType::FixedSizeList(item, width) if is_element(item) => Ok(usize::try_from(*width).ok()),
        DataType::List(item) | DataType::LargeList(item) if is_element(item) => Ok(None),
        DataType::BinaryView => Ok(None),
        other => Err(wrong_type(field.name(), other)),
    }
}

fn is_element(item: &Field) -> bool {
    matches!(item.data_type(), DataType::Float32 | DataType::Float16)
}

fn wrong_type(column: &str, actual: &DataType) -> Refusal {
    let cast = match actual {
        DataType::FixedSizeList(item, width) if item.data_type().is_numeric() => {
            format!("; convert it first: .cast(pl.Array(pl.Float32, {width}))")
        }
        DataType::List(item) | DataType::LargeList(item) if item.data_type().is_numeric() => {
            "; convert it first: .cast(pl.List(pl.Float32))".into()
        }
        _ => String::new(),
    };
    let actual = polars_name(actual) + &cast;
    Error::InvalidType { column: column.into(), expected: EXPECTED.into(), actual }.into()
}

/// The type as its user knows it.
fn polars_name(data_type: &DataType) -> String {
    match data_type {
        DataType::FixedSizeList(item, width) => format!("Array({}, {width})", polars_name(item.data_type())),
        DataType::List(item) | DataType::LargeList(item) => {
            format!("List({})", polars_name(item.data_type()))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "String".into(),
        DataType::Dictionary(..) => "Categorical".into(),
        DataType::Struct(_) => "Struct".into(),
        other => other.to_string(),
    }
}

/// The vectors of a column; `None` where no row tells the dimension and `dim` is not given.
pub(super) fn vectors(column: &Column, dim: Option<usize>) -> Result<Option<Vectors>> {
    let known = dim_of(&column.field())?.or(dim);
    let views: Vec<&BinaryViewArray> =
        column.chunks.iter().filter_map(|chunk| chunk.as_binary_view_opt()).collect();
    let vectors = if views.is_empty() {
        Vectors::from_arrays(&column.name, &column.chunks, known)
    } else {
        let Some(width) = binary_width(&views, known) else { return Ok(None) };
        let chunks: Result<Vec<ArrayRef>> =
            views.into_iter().map(|views| fixed_width(views, width)).collect();
        let chunks = chunks.map_err(|Refusal(reason)| Refusal(format!("{}: {reason}", column.name)))?;
        Vectors::from_arrays(&column.name, &chunks, known.or(Some(width / size_of::<f32>())))
    };
    match vectors {
        Ok(vectors) => Ok(Some(vectors)),
        Err(Error::EmptyIndex(_)) => Ok(None),
        Err(error) => Err(refusal(&error)),
    }
}

/// An error of the core as the user of an expression meets it. A row is counted from where this call's rows start,
/// which the engine decides: saying so is all that can be done.
pub(super) fn refusal(error: &Error) -> Refusal {
    match error {
        Error::InvalidVector { .. } => {
            Refusal(format!("{error} (rows are counted within the batch Polars was at)"))
        }
        other => Refusal(other.to_string()),
    }
}

/// Bytes per vector: what `dim` halves would take if the first vector is that short, what `dim` floats take otherwise.
fn binary_width(chunks: &[&BinaryViewArray], dim: Option<usize>) -> Option<usize> {
    let first = chunks.iter().find_map(|views| views.iter().flatten().next()).map(<[u8]>::len);
    match (dim, first) {
        (Some(dim), Some(len)) if len == dim * 2 => Some(len),
        (Some(dim), None) => Some(dim * size_of::<f32>()),
        (_, first) => first,
    }
}

/// Binary rows as rows of one width: lent if they lie one after the other, as a Parquet reader leaves them.
fn fixed_width(views: &BinaryViewArray, width: usize) -> Result<ArrayRef> {
    let valid = |row: usize| views.is_valid(row);
    for row in (0..views.len()).filter(|&row| valid(row)) {
        let actual = ByteView::from(views.views()[row]).length as usize;
        if actual != width {
            return Err(Refusal(format!("expected binary rows of {width} bytes, got one of {actual}")));
        }
    }
    let values = adjacent(views, width).unwrap_or_else(|| {
        let mut values = MutableBuffer::with_capacity(views.len() * width);
        for row in 0..views.len() {
            if valid(row) {
                values.extend_from_slice(views.value(row));
            } else {
                values.extend_zeros(width);
            }
        }
        values.into()
    });
    let width = i32::try_from(width)?;
    Ok(Arc::new(FixedSizeBinaryArray::try_new(width, values, views.nulls().cloned())?))
}

fn adjacent(views: &BinaryViewArray, width: usize) -> Option<Buffer> {
    // Up to 12 bytes a row lies in the view itself, not in a buffer.
    if width <= 12 || views.null_count() > 0 || views.is_empty() {
        return None;
    }
    let first = ByteView::from(*views.views().first()?);
    let follows = views.views().iter().enumerate().all(|(row, &view)| {
        let view = ByteView::from(view);
        view.buffer_index == first.buffer_index && view.offset as usize == first.offset as usize + row * width
    });
    let buffer = views.data_buffers().get(first.buffer_index as usize)?;
    follows.then(|| buffer.slice_with_length(first.offset as usize, views.len() * width))
}

/// The type of `ruvector_address`.
pub(super) fn address_field(fields: &[Field], _kwargs: &[u8]) -> Result<Field> {
    let field = fields.first().ok_or_else(|| Refusal("expected a vector column".into()))?;
    dim_of(field)?;
    Ok(Field::new(field.name(), DataType::UInt64, true))
}

/// For each row, the address of the first vector of its chunk, as the search sees it. This is how the tests prove
/// that nothing is copied on the way.
pub(super) fn address_call(inputs: &[Column], _kwargs: &[u8]) -> Result<Column> {
    let column = inputs.first().ok_or_else(|| Refusal("expected a vector column".into()))?;
    let addresses = vectors(column, None)?.map_or(Vec::new(), |vectors| vectors.addresses());
    let rows = column.chunks.iter().zip(addresses);
    let rows = rows.flat_map(|(chunk, address)| std::iter::repeat_n(address as u64, chunk.len()));
    let chunks: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from_iter_values(rows))];
    Ok(Column { name: column.name.clone(), data_type: DataType::UInt64, chunks })
}
