//! Columns of ids, as Arrow has them.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Int64Array, LargeStringArray, UInt64Array,
    cast::AsArray,
    types::{Int64Type, UInt64Type},
};
use arrow_schema::DataType;

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
        Kind::HugeInt => {
            let values = column.huge()?;
            Some(of_huge(&places.map(|at| valid(at).map(|at| values[at])).collect::<Vec<_>>()))
        }
        _ => None,
    }
}

/// The ids without those that are null.
pub(crate) fn without_nulls(ids: &ArrayRef) -> ArrayRef {
    match ids.data_type() {
        DataType::Int64 => {
            let ids = ids.as_primitive::<Int64Type>().iter().flatten();
            Arc::new(Int64Array::from_iter_values(ids))
        }
        DataType::UInt64 => {
            let ids = ids.as_primitive::<UInt64Type>().iter().flatten();
            Arc::new(UInt64Array::from_iter_values(ids))
        }
        DataType::LargeUtf8 => {
            let ids = ids.as_string::<i64>().iter().flatten();
            Arc::new(LargeStringArray::from_iter_values(ids))
        }
        _ => Arc::clone(ids),
    }
}

/// Ids among numbers of 128 bits, which is what DuckDB makes of a literal beyond 63. What is no id becomes a null.
pub(crate) fn of_huge(numbers: &[Option<i128>]) -> ArrayRef {
    if numbers.iter().flatten().any(|&number| number > i64::MAX.into()) {
        let ids = numbers.iter().map(|number| u64::try_from((*number)?).ok());
        return Arc::new(ids.collect::<UInt64Array>());
    }
    Arc::new(numbers.iter().map(|number| i64::try_from((*number)?).ok()).collect::<Int64Array>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_numbers_are_ids_where_64_bits_hold_them() {
        let large = of_huge(&[Some(u64::MAX.into()), Some(-1), None, Some(1 << 70)]);
        let large = large.as_primitive::<UInt64Type>();
        assert_eq!(large.iter().collect::<Vec<_>>(), [Some(u64::MAX), None, None, None]);
        let small = of_huge(&[Some(-5), None, Some(i128::MIN)]);
        assert_eq!(small.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(-5), None, None]);
        assert_eq!(of_huge(&[]).len(), 0);
        assert_eq!(without_nulls(&of_huge(&[Some(7), None])).as_ref(), &Int64Array::from(vec![7]));
    }
}
