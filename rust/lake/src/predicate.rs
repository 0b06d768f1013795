//! Conditions on columns, simple enough for every backend to leave out what cannot fulfil them.

use std::cmp::Ordering;

use arrow_array::{
    Array, ArrayRef, BooleanArray, RecordBatch,
    cast::AsArray,
    types::{
        Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
        UInt32Type, UInt64Type,
    },
};
use arrow_schema::DataType;
use arrow_select::filter::filter_record_batch;

use crate::error::{Error, Result};

/// How a column compares with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// Less.
    Less,
    /// Less or equal.
    LessOrEqual,
    /// Greater.
    Greater,
    /// Greater or equal.
    GreaterOrEqual,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number: every integer of 64 bits fits.
    Integer(i128),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// A truth.
    Boolean(bool),
}

/// A condition on one column. Nulls do not fulfil any.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The column.
    pub column: String,
    /// How it compares.
    pub comparison: Comparison,
    /// With what.
    pub value: Value,
}

/// Conditions that all must hold; none allows every row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predicate {
    /// The conditions.
    pub conditions: Vec<Condition>,
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }

    /// Whether some value from `min` to `max` may hold, given how these two compare with the condition's value.
    pub(crate) fn may_hold(self, min: Ordering, max: Ordering) -> bool {
        match self {
            Self::Equal => min.is_le() && max.is_ge(),
            Self::NotEqual => min.is_ne() || max.is_ne(),
            Self::Less => min.is_lt(),
            Self::LessOrEqual => min.is_le(),
            Self::Greater => max.is_gt(),
            Self::GreaterOrEqual => max.is_ge(),
        }
    }
}

impl Value {
    /// How a whole number compares with this value; `None` for what is no number.
    pub(crate) fn order_of_integer(&self, found: i128) -> Option<Ordering> {
        match self {
            Self::Integer(value) => Some(found.cmp(value)),
            Self::Float(value) => (found as f64).partial_cmp(value),
            Self::Text(_) | Self::Boolean(_) => None,
        }
    }

    pub(crate) fn order_of_float(&self, found: f64) -> Option<Ordering> {
        match self {
            Self::Integer(value) => found.partial_cmp(&(*value as f64)),
            Self::Float(value) => found.partial_cmp(value),
            Self::Text(_) | Self::Boolean(_) => None,
        }
    }

    pub(crate) fn order_of_text(&self, found: &str) -> Option<Ordering> {
        if let Self::Text(value) = self { Some(found.cmp(value)) } else { None }
    }
}

impl Predicate {
    /// Whether every row is allowed.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// The columns that are asked about.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.conditions.iter().map(|condition| condition.column.as_str())
    }

    /// The rows of a batch that fulfil all conditions.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a column that is not there or cannot be compared with the value.
    pub fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut kept = vec![true; batch.num_rows()];
        for condition in &self.conditions {
            let Some(column) = batch.column_by_name(&condition.column) else {
                let names: Vec<&str> =
                    batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
                return Err(Error::invalid_parameter(
                    "predicate",
                    format!("a column of {names:?}"),
                    format!("{:?}", condition.column),
                ));
            };
            condition.narrow(column, &mut kept)?;
        }
        filter_record_batch(batch, &BooleanArray::from(kept)).map_err(|error| {
            Error::invalid_parameter("predicate", "columns that arrow can filter", error.to_string())
        })
    }
}

impl Condition {
    fn narrow(&self, column: &ArrayRef, kept: &mut [bool]) -> Result<()> {
        macro_rules! numbers {
            ($kind:ty, $compare:ident, $as:ty) => {{
                let values = column.as_primitive::<$kind>();
                self.each(column, kept, |row| self.value.$compare(<$as>::from(values.value(row))))
            }};
        }
        match column.data_type() {
            DataType::Int8 => numbers!(Int8Type, order_of_integer, i128),
            DataType::Int16 => numbers!(Int16Type, order_of_integer, i128),
            DataType::Int32 => numbers!(Int32Type, order_of_integer, i128),
            DataType::Int64 => numbers!(Int64Type, order_of_integer, i128),
            DataType::UInt8 => numbers!(UInt8Type, order_of_integer, i128),
            DataType::UInt16 => numbers!(UInt16Type, order_of_integer, i128),
            DataType::UInt32 => numbers!(UInt32Type, order_of_integer, i128),
            DataType::UInt64 => numbers!(UInt64Type, order_of_integer, i128),
            DataType::Float32 => numbers!(Float32Type, order_of_float, f64),
            DataType::Float64 => numbers!(Float64Type, order_of_float, f64),
            DataType::Utf8 => {
                let values = column.as_string::<i32>();
                self.each(column, kept, |row| self.value.order_of_text(values.value(row)))
            }
            DataType::LargeUtf8 => {
                let values = column.as_string::<i64>();
                self.each(column, kept, |row| self.value.order_of_text(values.value(row)))
            }
            DataType::Utf8View => {
                let values = column.as_string_view();
                self.each(column, kept, |row| self.value.order_of_text(values.value(row)))
            }
            DataType::Boolean => {
                let values = column.as_boolean();
                self.each(column, kept, |row| match &self.value {
                    Value::Boolean(value) => Some(values.value(row).cmp(value)),
                    _ => None,
                })
            }
            other => Err(self.refused(other)),
        }
    }

    /// Keeps the rows at which `order` says so. A NaN fulfils nothing but [`Comparison::NotEqual`].
    fn each(
        &self,
        column: &ArrayRef,
        kept: &mut [bool],
        order: impl Fn(usize) -> Option<Ordering>,
    ) -> Result<()> {
        let floats = matches!(column.data_type(), DataType::Float32 | DataType::Float64);
        let numeric = matches!(self.value, Value::Integer(_) | Value::Float(_));
        for (row, kept) in kept.iter_mut().enumerate().filter(|(_, kept)| **kept) {
            *kept = !column.is_null(row)
                && match order(row) {
                    Some(order) => self.comparison.holds(order),
                    None if numeric && (floats || column.data_type().is_integer()) => {
                        self.comparison == Comparison::NotEqual
                    }
                    None => return Err(self.refused(column.data_type())),
                };
        }
        Ok(())
    }

    fn refused(&self, kind: &DataType) -> Error {
        let expected = format!("a value that compares with column {:?} of {kind}", self.column);
        Error::invalid_parameter("predicate", expected, format!("{:?}", self.value))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Float64Array, Int64Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    fn one(column: &str, comparison: Comparison, value: Value) -> Predicate {
        Predicate { conditions: vec![Condition { column: column.into(), comparison, value }] }
    }

    #[test]
    fn rows_are_kept_that_fulfil_all() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("n", Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4)]))),
            ("x", Arc::new(Float64Array::from(vec![f64::NAN, 1.0, 2.0, 0.5]))),
            ("s", Arc::new(StringArray::from(vec!["a", "b", "c", "d"]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let rows = |predicate: &Predicate| {
            let kept = predicate.apply(&batch).unwrap();
            kept.column_by_name("s").unwrap().as_string::<i32>().iter().flatten().collect::<String>()
        };
        assert_eq!(rows(&Predicate::default()), "abcd");
        assert_eq!(rows(&one("n", Comparison::GreaterOrEqual, Value::Float(2.5))), "cd");
        assert_eq!(rows(&one("n", Comparison::NotEqual, Value::Integer(3))), "ad");
        assert_eq!(rows(&one("x", Comparison::Less, Value::Integer(2))), "bd");
        assert_eq!(rows(&one("x", Comparison::NotEqual, Value::Float(2.0))), "abd");
        let mut both = one("s", Comparison::Greater, Value::Text("a".into()));
        both.conditions.extend(one("n", Comparison::LessOrEqual, Value::Integer(3)).conditions);
        assert_eq!(rows(&both), "c");
        for predicate in
            [one("y", Comparison::Equal, Value::Integer(1)), one("s", Comparison::Equal, Value::Integer(1))]
        {
            assert!(matches!(predicate.apply(&batch), Err(Error::InvalidParameter { .. })));
        }
    }

    proptest! {
        #[test]
        fn what_is_ruled_out_by_its_ends_holds_nothing(mut values in prop::collection::vec(-3_i128..4, 1..6), value in -3_i128..4) {
            values.sort_unstable();
            let against = Value::Integer(value);
            let order = |found| against.order_of_integer(found).unwrap();
            for comparison in [Comparison::Equal, Comparison::NotEqual, Comparison::Less, Comparison::LessOrEqual, Comparison::Greater, Comparison::GreaterOrEqual] {
                let may = comparison.may_hold(order(values[0]), order(values[values.len() - 1]));
                let does = values.iter().any(|&found| comparison.holds(order(found)));
                prop_assert!(may || !does);
            }
        }
    }
}
