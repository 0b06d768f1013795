//! Columns of ids, as Arrow has them.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, LargeStringArray, UInt64Array};

use crate::capi::{Column, Kind};

/// The ids at some places; `None` for a column that holds none. A bare NULL is a null number.
pub(crate) fn array(column: &Column<'_>, places: impl Iterator<Item = usize>) -> Option<ArrayRef> {
    let valid = |at: usize| (!column.is_null(at)).then_some(at);
    match column.kind() {
        Kind::Varchar => Some(Arc::new(places.map(|at| column.text(at)).collect::<LargeStringArray>())),
        Kind::UBigInt => {
            let values = column.values::<u64>()?;
            Some(Arc::new(places.map(|at| valid(at).map(|at| values[at])).collect::<UInt64Array>()))
        }
        Kind::UTinyInt | Kind::USmallInt | Kind::UInteger => {
            let values = column.wholes()?;
            Some(Arc::new(places.map(|at| valid(at).map(|at| values[at] as u64)).collect::<UInt64Array>()))
        }
        Kind::TinyInt | Kind::SmallInt | Kind::Integer | Kind::BigInt | Kind::Null => {
            let values = column.wholes()?;
            Some(Arc::new(places.map(|at| valid(at).map(|at| values[at])).collect::<Int64Array>()))
        }
        _ => None,
    }
}
