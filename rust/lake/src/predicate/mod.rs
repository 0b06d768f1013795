//! Conditions on columns, simple enough for every backend to leave out what cannot fulfil them.

mod compare;

#[cfg(feature = "parquet")]
use std::cmp::Ordering;
use std::fmt;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;

use crate::error::{Error, Result};

/// From so many values on, only the smallest and the largest of them rule out stretches of rows.
#[cfg(feature = "parquet")]
const MANY: usize = 1000;

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

/// What a value must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// It compares so with this value.
    Compare(Comparison, Value),
    /// It equals one of these.
    In(Vec<Value>),
    /// It equals none of these.
    NotIn(Vec<Value>),
}

/// A condition on one column. Nulls do not fulfil any.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The column.
    pub column: String,
    /// What its value must be.
    pub test: Test,
}

/// Groups of conditions: all of one of the groups must hold. Without groups every row is allowed, and so it is with a
/// group of no conditions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predicate {
    /// The groups.
    pub any: Vec<Vec<Condition>>,
}

impl Comparison {
    fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }

    fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
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

impl Predicate {
    /// All of these conditions must hold.
    pub fn all(conditions: impl IntoIterator<Item = Condition>) -> Self {
        Self { any: vec![conditions.into_iter().collect()] }
    }

    /// Whether every row is allowed.
    pub fn is_empty(&self) -> bool {
        self.any.is_empty() || self.any.iter().any(Vec::is_empty)
    }

    /// What both allow.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        if self.is_empty() || other.is_empty() {
            return if self.is_empty() { other.clone() } else { self.clone() };
        }
        let pairs = self.any.iter().flat_map(|one| other.any.iter().map(move |two| [one.as_slice(), two]));
        Self { any: pairs.map(|pair| pair.concat()).collect() }
    }

    /// The columns that are asked about; one may come several times.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.any.iter().flatten().map(|condition| condition.column.as_str())
    }

    /// The rows of a batch that are allowed.
    ///
    /// # Errors
    /// As [`Predicate::mask`].
    pub fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        if self.is_empty() {
            return Ok(batch.clone());
        }
        filter_record_batch(batch, &BooleanArray::from(self.mask(batch)?)).map_err(|error| {
            Error::invalid_parameter("predicate", "columns that arrow can filter", error.to_string())
        })
    }

    /// For each row of a batch whether it is allowed.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a column that is not there or cannot be compared with the value.
    pub fn mask(&self, batch: &RecordBatch) -> Result<Vec<bool>> {
        if self.is_empty() {
            return Ok(vec![true; batch.num_rows()]);
        }
        let mut kept = vec![false; batch.num_rows()];
        for group in &self.any {
            let mut here = vec![true; batch.num_rows()];
            for condition in group {
                condition.narrow(condition.column_of(batch)?, &mut here)?;
            }
            kept.iter_mut().zip(here).for_each(|(kept, here)| *kept |= here);
        }
        Ok(kept)
    }
}

/// The same text for the same predicate, and no other: names and texts are quoted.
impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, group) in self.any.iter().enumerate() {
            f.write_str(if at == 0 { "(" } else { " or (" })?;
            for (at, condition) in group.iter().enumerate() {
                write!(f, "{}{condition}", if at == 0 { "" } else { " and " })?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, values) = match &self.test {
            Test::Compare(comparison, value) => {
                return write!(f, "{:?} {} {value}", self.column, comparison.symbol());
            }
            Test::In(values) => ("in", values),
            Test::NotIn(values) => ("not in", values),
        };
        write!(f, "{:?} {word} (", self.column)?;
        for (at, value) in values.iter().enumerate() {
            write!(f, "{}{value}", if at == 0 { "" } else { ", " })?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::Boolean(value) => write!(f, "{value}"),
        }
    }
}

impl Condition {
    /// A column that compares so with a value.
    pub fn compare(column: impl Into<String>, comparison: Comparison, value: Value) -> Self {
        Self { column: column.into(), test: Test::Compare(comparison, value) }
    }

    fn column_of<'a>(&self, batch: &'a RecordBatch) -> Result<&'a ArrayRef> {
        batch.column_by_name(&self.column).ok_or_else(|| {
            let names: Vec<&str> =
                batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
            Error::invalid_parameter(
                "predicate",
                format!("a column of {names:?}"),
                format!("{:?}", self.column),
            )
        })
    }

    fn narrow(&self, column: &ArrayRef, kept: &mut [bool]) -> Result<()> {
        let (values, wanted) = match &self.test {
            Test::Compare(comparison, value) => {
                let orders = compare::orders(&self.column, column, value)?;
                for (row, (kept, order)) in kept.iter_mut().zip(orders).enumerate() {
                    // A NaN fulfils nothing but not to be equal.
                    let unordered = !column.is_null(row) && *comparison == Comparison::NotEqual;
                    *kept &= order.map_or(unordered, |order| comparison.holds(order));
                }
                return Ok(());
            }
            Test::In(values) => (values, true),
            Test::NotIn(values) => (values, false),
        };
        let found = compare::is_among(&self.column, column, values)?;
        for (row, (kept, found)) in kept.iter_mut().zip(found).enumerate() {
            *kept &= !column.is_null(row) && found == wanted;
        }
        Ok(())
    }

    /// Whether some row may fulfil the condition, by the smallest and the largest value of each stretch of rows. What is
    /// not known rules nothing out, and not to be equal is never ruled out: the ends may be rounded, and do not tell of NaN.
    #[cfg(feature = "parquet")]
    pub(crate) fn may_hold(&self, smallest: &ArrayRef, largest: &ArrayRef) -> Result<Vec<bool>> {
        let stretches = smallest.len();
        match &self.test {
            Test::Compare(comparison, value) => self.may_compare(*comparison, value, smallest, largest),
            Test::NotIn(_) => Ok(vec![true; stretches]),
            // Many values cost more to look for than they save.
            Test::In(values) if values.len() > MANY => {
                let Some((low, high)) = compare::ends(values) else { return Ok(vec![true; stretches]) };
                let above = self.may_compare(Comparison::GreaterOrEqual, low, smallest, largest)?;
                let below = self.may_compare(Comparison::LessOrEqual, high, smallest, largest)?;
                Ok(above.into_iter().zip(below).map(|(above, below)| above && below).collect())
            }
            Test::In(values) => {
                let mut may = vec![false; stretches];
                for value in values {
                    let one = self.may_compare(Comparison::Equal, value, smallest, largest)?;
                    may.iter_mut().zip(one).for_each(|(may, one)| *may |= one);
                }
                Ok(may)
            }
        }
    }

    #[cfg(feature = "parquet")]
    fn may_compare(
        &self,
        comparison: Comparison,
        value: &Value,
        smallest: &ArrayRef,
        largest: &ArrayRef,
    ) -> Result<Vec<bool>> {
        let smallest = compare::orders(&self.column, smallest, value)?;
        let largest = compare::orders(&self.column, largest, value)?;
        let may = |(min, max): (Option<Ordering>, Option<Ordering>)| match (min, max) {
            (Some(min), Some(max)) => comparison.may_hold(min, max),
            _ => true,
        };
        Ok(smallest.into_iter().zip(largest).map(may).collect())
    }
}

#[cfg(test)]
mod tests;
