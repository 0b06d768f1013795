//! Arrays as Polars exports them, which is not always as Arrow's C interface has it.

use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, StructArray, make_array};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType};

/// An imported array.
///
/// Before 2.0 (1.20 and 1.41 were tried), Polars exports a slice of a nullable `Array` column with the offset of its
/// validity bits as its own, while its child is cut to the slice already. By the standard the offset counts for the
/// child, too, which is then too short: that is how such an array is known, and its child is read from its start.
pub(crate) fn from_data(data: ArrayData) -> Result<ArrayRef, ArrowError> {
    if !is_short(&data) {
        return Ok(make_array(data));
    }
    let nulls = data.nulls().cloned();
    match (data.data_type(), data.child_data()) {
        (DataType::Struct(fields), children) => {
            let columns = children.iter().map(|child| from_data(child.slice(data.offset(), data.len())));
            Ok(Arc::new(StructArray::try_new(fields.clone(), columns.collect::<Result<_, _>>()?, nulls)?))
        }
        (DataType::FixedSizeList(item, width), [child]) if child.len() >= data.len() * per_row(*width) => {
            let values = make_array(child.slice(0, data.len() * per_row(*width)));
            Ok(Arc::new(FixedSizeListArray::try_new(Arc::clone(item), *width, values, nulls)?))
        }
        _ => {
            let (rows, values) = (data.len(), data.child_data().first().map_or(0, ArrayData::len));
            Err(ArrowError::CDataInterface(format!(
                "{rows} rows of {}, but {values} values",
                data.data_type()
            )))
        }
    }
}

/// Whether a list of fixed size, in a table or by itself, has fewer values than its rows reach for.
fn is_short(data: &ArrayData) -> bool {
    match (data.data_type(), data.child_data()) {
        (DataType::FixedSizeList(_, width), [child]) => {
            child.len() < (data.offset() + data.len()) * per_row(*width)
        }
        (DataType::Struct(_), children) => children.iter().any(is_short),
        _ => false,
    }
}

fn per_row(width: i32) -> usize {
    usize::try_from(width).unwrap_or(0)
}
