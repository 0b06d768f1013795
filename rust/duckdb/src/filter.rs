//! Which rows a search may return, from a list of ids or of booleans.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int64Array, LargeStringArray, UInt64Array};
use ruvector_core::{Error, Filter, ids::Ids, live::Snapshot};

use crate::{
    capi::{Column, Entry, Kind, Value},
    ids,
    refusal::{Refusal, Result},
};

/// A filter as it was given.
#[derive(Clone, Debug)]
pub(crate) struct Given(ArrayRef);

impl PartialEq for Given {
    fn eq(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }
}

impl Given {
    /// From the argument of a table function; `None` for NULL.
    pub(crate) fn of_value(value: &Value) -> Result<Option<Self>> {
        let item = match value.kinds() {
            // A NULL of the type of a list is one of no rows, as `list` gives it; its items are none.
            (kind, _) if kind != Kind::List && value.is_null() => return Ok(None),
            (Kind::List, Some(item)) => item,
            (kind, _) => return Err(unfit(&kind.name())),
        };
        let items = || value.items();
        let array: ArrayRef = match item {
            Kind::Boolean => Arc::new(items().map(|item| item.flag()).collect::<BooleanArray>()),
            Kind::Varchar => Arc::new(items().map(|item| item.text()).collect::<LargeStringArray>()),
            Kind::UBigInt => Arc::new(items().map(|item| item.natural()).collect::<UInt64Array>()),
            Kind::HugeInt => {
                let numbers: Vec<_> =
                    items().map(|item| item.text().and_then(|text| text.parse().ok())).collect();
                ids::of_huge(&numbers)
            }
            kind if is_whole(kind) => Arc::new(items().map(|item| item.whole()).collect::<Int64Array>()),
            kind => return Err(unfit(&format!("{}[]", kind.name()))),
        };
        Ok(Some(Self(array)))
    }

    /// From the list at a row of a column that is not null there.
    pub(crate) fn of_column(column: &Column<'_>, row: usize) -> Result<Self> {
        let Some((items, width)) = column.items() else {
            return Err(unfit(&column.kind().name()));
        };
        let Entry { offset, length } = entry(column, width, row);
        let span = offset as usize..(offset + length) as usize;
        if span.end > items.rows() {
            return Err(Refusal("filter: DuckDB lent fewer items than its list has".into()));
        }
        let array: ArrayRef = match items.kind() {
            Kind::Boolean => {
                let flags = items.flags().unwrap_or_default();
                Arc::new(span.map(|at| (!items.is_null(at)).then(|| flags[at])).collect::<BooleanArray>())
            }
            kind => ids::array(&items, span).ok_or_else(|| unfit(&format!("{}[]", kind.name())))?,
        };
        Ok(Self(array))
    }

    /// The rows of one state of an index that pass.
    pub(crate) fn of(&self, snapshot: &Snapshot) -> Result<Arc<Filter>, Error> {
        let arrays = std::slice::from_ref(&self.0);
        let is_mask = self.0.data_type() == &arrow_schema::DataType::Boolean;
        if is_mask && !self.0.is_empty() {
            return Ok(Arc::new(snapshot.filter_of_mask("filter", arrays)?));
        }
        if is_mask {
            return Ok(Arc::new(Filter::default()));
        }
        let ids = ids::without_nulls(&self.0);
        let ids = Ids::from_list("filter", &[ids])?.cast("filter", snapshot.id_type())?;
        Ok(Arc::new(snapshot.filter_of_ids(&ids)))
    }
}

/// Where the list of a row lies: equal entries are equal lists.
pub(crate) fn entry(column: &Column<'_>, width: Option<usize>, row: usize) -> Entry {
    if let Some(width) = width {
        return Entry { offset: (row * width) as u64, length: width as u64 };
    }
    column.entries().and_then(|entries| entries.get(row).copied()).unwrap_or(Entry { offset: 0, length: 0 })
}

fn is_whole(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::TinyInt
            | Kind::SmallInt
            | Kind::Integer
            | Kind::BigInt
            | Kind::UTinyInt
            | Kind::USmallInt
            | Kind::UInteger
            | Kind::Null
    )
}

fn unfit(actual: &str) -> Refusal {
    Refusal(format!("filter: expected a list of ids or of booleans, got {actual}"))
}
