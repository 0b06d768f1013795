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
    #[cfg(feature = "parquet")]
    fn may_hold(self, min: Ordering, max: Ordering) -> bool {
        match self {
            Self::Equal => min.is_le() && max.is_ge(),
            Self::NotEqual => true,
            Self::Less => min.is_lt(),
            Self::LessOrEqual => min.is_le(),
            Self::Greater => max.is_gt(),
            Self::GreaterOrEqual => max.is_ge(),
        }
    }
}

impl Value {
    /// How a whole number compares with this value; `None` for what is no number.
    fn order_of_integer(&self, found: i128) -> Option<Ordering> {
        match self {
            Self::Integer(value) => Some(found.cmp(value)),
            Self::Float(value) => (found as f64).partial_cmp(value),
            Self::Text(_) | Self::Boolean(_) => None,
        }
    }

    fn order_of_float(&self, found: f64) -> Option<Ordering> {
        match self {
            Self::Integer(value) => found.partial_cmp(&(*value as f64)),
            Self::Float(value) => found.partial_cmp(value),
            Self::Text(_) | Self::Boolean(_) => None,
        }
    }

    fn order_of_text(&self, found: &str) -> Option<Ordering> {
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
        let orders = self.orders(column)?;
        for (row, (kept, order)) in kept.iter_mut().zip(orders).enumerate() {
            // A NaN fulfils nothing but not to be equal.
            let unordered = !column.is_null(row) && self.comparison == Comparison::NotEqual;
            *kept &= order.map_or(unordered, |order| self.comparison.holds(order));
        }
        Ok(())
    }

    /// Whether some row may fulfil the condition, by the smallest and the largest value of each stretch of rows. What is
    /// not known rules nothing out, and not to be equal is never ruled out: the ends may be rounded, and do not tell of NaN.
    #[cfg(feature = "parquet")]
    pub(crate) fn may_hold(&self, smallest: &ArrayRef, largest: &ArrayRef) -> Result<Vec<bool>> {
        let (smallest, largest) = (self.orders(smallest)?, self.orders(largest)?);
        let may = |(min, max): (Option<Ordering>, Option<Ordering>)| match (min, max) {
            (Some(min), Some(max)) => self.comparison.may_hold(min, max),
            _ => true,
        };
        Ok(smallest.into_iter().zip(largest).map(may).collect())
    }

    /// How each value compares with the condition's; `None` for nulls and for NaN.
    fn orders(&self, column: &ArrayRef) -> Result<Vec<Option<Ordering>>> {
        macro_rules! numbers {
            ($kind:ty, $compare:ident, $as:ty) => {{
                self.expect(column, matches!(self.value, Value::Integer(_) | Value::Float(_)))?;
                let values = column.as_primitive::<$kind>();
                each(column, |row| self.value.$compare(<$as>::from(values.value(row))))
            }};
        }
        macro_rules! texts {
            ($values:expr) => {{
                self.expect(column, matches!(self.value, Value::Text(_)))?;
                let values = $values;
                each(column, |row| self.value.order_of_text(values.value(row)))
            }};
        }
        Ok(match column.data_type() {
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
            DataType::Utf8 => texts!(column.as_string::<i32>()),
            DataType::LargeUtf8 => texts!(column.as_string::<i64>()),
            DataType::Utf8View => texts!(column.as_string_view()),
            DataType::Boolean => {
                let Value::Boolean(value) = &self.value else { return Err(self.refused(column.data_type())) };
                let values = column.as_boolean();
                each(column, |row| Some(values.value(row).cmp(value)))
            }
            other => return Err(self.refused(other)),
        })
    }

    fn expect(&self, column: &ArrayRef, fits: bool) -> Result<()> {
        if fits { Ok(()) } else { Err(self.refused(column.data_type())) }
    }

    fn refused(&self, kind: &DataType) -> Error {
        let expected = format!("a value that compares with column {:?} of {kind}", self.column);
        Error::invalid_parameter("predicate", expected, format!("{:?}", self.value))
    }
}

fn each(column: &ArrayRef, order: impl Fn(usize) -> Option<Ordering>) -> Vec<Option<Ordering>> {
    (0..column.len()).map(|row| if column.is_null(row) { None } else { order(row) }).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Float64Array, Int64Array, StringArray};
    #[cfg(feature = "parquet")]
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

    #[cfg(feature = "parquet")]
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
