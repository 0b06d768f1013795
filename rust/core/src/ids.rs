//! The user's keys: signed or unsigned 64-bit numbers, or strings. Row numbers where none were given.

use std::{cmp::Ordering, collections::HashMap};

use arrow_array::{
    Array, ArrayRef, Int64Array, LargeStringArray, UInt64Array,
    cast::AsArray,
    types::{Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type},
};
use arrow_schema::DataType;

use crate::error::{Error, Result};

/// The type of an index's ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdType {
    /// Signed 64-bit; also the type of row numbers.
    Int64,
    /// Unsigned 64-bit.
    UInt64,
    /// Strings.
    Utf8,
}

impl IdType {
    /// The type's name, as users read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int64 => "int64",
            Self::UInt64 => "uint64",
            Self::Utf8 => "str",
        }
    }

    /// The type by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Int64, Self::UInt64, Self::Utf8].into_iter().find(|kind| kind.name() == name)
    }

    /// The Arrow type of the id column that hits carry.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Int64 => DataType::Int64,
            Self::UInt64 => DataType::UInt64,
            Self::Utf8 => DataType::LargeUtf8,
        }
    }
}

/// A column of ids, one per row or one per slot of a segment.
#[derive(Clone, Debug)]
pub enum Ids {
    /// Signed numbers.
    Int64(Int64Array),
    /// Unsigned numbers.
    UInt64(UInt64Array),
    /// Strings.
    Utf8(LargeStringArray),
}

/// An id that owns its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OwnedId {
    /// A signed number.
    Int64(i64),
    /// An unsigned number.
    UInt64(u64),
    /// A string.
    Utf8(Box<str>),
}

impl OwnedId {
    /// The id, borrowed.
    pub fn as_id(&self) -> Id<'_> {
        match self {
            Self::Int64(id) => Id::Int64(*id),
            Self::UInt64(id) => Id::UInt64(*id),
            Self::Utf8(id) => Id::Utf8(id),
        }
    }
}

impl From<Id<'_>> for OwnedId {
    fn from(id: Id<'_>) -> Self {
        match id {
            Id::Int64(id) => Self::Int64(id),
            Id::UInt64(id) => Self::UInt64(id),
            Id::Utf8(id) => Self::Utf8(id.into()),
        }
    }
}

/// One id, comparable with every other id of the same index. Ties between distances are broken by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Id<'a> {
    /// A signed number.
    Int64(i64),
    /// An unsigned number.
    UInt64(u64),
    /// A string, compared by its bytes.
    Utf8(&'a str),
}

impl std::fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int64(id) => write!(f, "{id}"),
            Self::UInt64(id) => write!(f, "{id}"),
            Self::Utf8(id) => write!(f, "{id:?}"),
        }
    }
}

impl Ids {
    /// A column from the chunks of an Arrow array. Narrow integers are widened (signed ones to `Int64`, unsigned ones
    /// to `UInt64`), strings of every layout become `LargeUtf8`.
    ///
    /// # Errors
    /// [`Error::InvalidType`] for any other type, [`Error::InvalidVector`] for a null id,
    /// [`Error::InvalidParameter`] when there is not one id per row, [`Error::DuplicateId`] when two rows share one.
    pub fn from_arrays(column: &str, arrays: &[ArrayRef], rows: usize) -> Result<Self> {
        check_shape(column, arrays, Some(rows))?;
        let ids = Self::convert(column, arrays)?;
        ids.check_unique()?;
        Ok(ids)
    }

    /// The same for ids that are looked up: any number of them, also twice the same.
    ///
    /// # Errors
    /// [`Error::InvalidType`] for any other type, [`Error::InvalidVector`] for a null id.
    pub fn from_list(column: &str, arrays: &[ArrayRef]) -> Result<Self> {
        check_shape(column, arrays, None)?;
        Self::convert(column, arrays)
    }

    fn convert(column: &str, arrays: &[ArrayRef]) -> Result<Self> {
        let ids = match arrays.first().map_or(&DataType::Int64, |array| array.data_type()) {
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                Self::Int64(Int64Array::from(collect(arrays, signed)))
            }
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
                Self::UInt64(UInt64Array::from(collect(arrays, unsigned)))
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Utf8(strings(arrays)),
            other => {
                return Err(Error::InvalidType {
                    column: column.into(),
                    expected: "integers or strings".into(),
                    actual: other.to_string(),
                });
            }
        };
        Ok(ids)
    }

    /// The ids as those of another type: the one of an index that they are meant for. Integers of either sign fit the
    /// other kind if their values do.
    ///
    /// # Errors
    /// [`Error::InvalidType`] for strings in place of integers and the other way round, [`Error::InvalidParameter`] for
    /// an integer that does not fit.
    pub fn cast(self, column: &str, kind: IdType) -> Result<Self> {
        let refuse = |id: &dyn std::fmt::Display| {
            Error::invalid_parameter(column, format!("{} ids, as in the index", kind.name()), id.to_string())
        };
        match (self, kind) {
            (Self::Int64(ids), IdType::UInt64) => {
                let cast = |&id: &i64| u64::try_from(id).map_err(|_| refuse(&id));
                Ok(Self::UInt64(ids.values().iter().map(cast).collect::<Result<Vec<_>>>()?.into()))
            }
            (Self::UInt64(ids), IdType::Int64) => {
                let cast = |&id: &u64| i64::try_from(id).map_err(|_| refuse(&id));
                Ok(Self::Int64(ids.values().iter().map(cast).collect::<Result<Vec<_>>>()?.into()))
            }
            (ids, kind) if ids.id_type() == kind => Ok(ids),
            // An empty list of Python's tells no type.
            (ids, kind) if ids.is_empty() => Ok(Self::collect(kind, std::iter::empty())),
            (ids, kind) => {
                let expected = format!("{} ids, as in the index", kind.name());
                Err(Error::InvalidType {
                    column: column.into(),
                    expected,
                    actual: ids.id_type().name().into(),
                })
            }
        }
    }

    /// The type of these ids.
    pub fn id_type(&self) -> IdType {
        match self {
            Self::Int64(_) => IdType::Int64,
            Self::UInt64(_) => IdType::UInt64,
            Self::Utf8(_) => IdType::Utf8,
        }
    }

    /// The number of ids.
    pub fn len(&self) -> usize {
        self.as_array().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id at a place.
    pub fn get(&self, at: usize) -> Id<'_> {
        match self {
            Self::Int64(ids) => Id::Int64(ids.value(at)),
            Self::UInt64(ids) => Id::UInt64(ids.value(at)),
            Self::Utf8(ids) => Id::Utf8(ids.value(at)),
        }
    }

    /// The ids at `places`, in that order; 0 or an empty string where there is no place.
    #[must_use]
    pub fn take_or_blank(&self, places: impl Iterator<Item = Option<usize>>) -> Self {
        match self {
            Self::Int64(ids) => {
                Self::Int64(places.map(|at| at.map_or(0, |at| ids.value(at))).collect::<Vec<_>>().into())
            }
            Self::UInt64(ids) => {
                Self::UInt64(places.map(|at| at.map_or(0, |at| ids.value(at))).collect::<Vec<_>>().into())
            }
            Self::Utf8(ids) => {
                let texts = places.map(|at| at.map_or("", |at| ids.value(at)));
                Self::Utf8(text_column(texts))
            }
        }
    }

    /// The column as an Arrow array.
    pub fn as_array(&self) -> &dyn Array {
        match self {
            Self::Int64(ids) => ids,
            Self::UInt64(ids) => ids,
            Self::Utf8(ids) => ids,
        }
    }

    /// A column of `kind` from single ids; ids of another kind do not occur.
    pub fn collect<'a>(kind: IdType, ids: impl Iterator<Item = Id<'a>>) -> Self {
        match kind {
            IdType::Int64 => {
                let values = ids.map(|id| if let Id::Int64(id) = id { id } else { 0 });
                Self::Int64(values.collect::<Vec<_>>().into())
            }
            IdType::UInt64 => {
                let values = ids.map(|id| if let Id::UInt64(id) = id { id } else { 0 });
                Self::UInt64(values.collect::<Vec<_>>().into())
            }
            IdType::Utf8 => {
                Self::Utf8(text_column(ids.map(|id| if let Id::Utf8(id) = id { id } else { "" })))
            }
        }
    }

    /// Refuses an id that two rows share.
    ///
    /// # Errors
    /// [`Error::DuplicateId`] naming the two rows.
    pub fn check_unique(&self) -> Result<()> {
        let ascending = (1..self.len()).all(|at| self.get(at - 1).cmp(&self.get(at)) == Ordering::Less);
        if ascending {
            return Ok(());
        }
        match self {
            Self::Int64(ids) => first_duplicate(ids.values().iter()),
            Self::UInt64(ids) => first_duplicate(ids.values().iter()),
            Self::Utf8(ids) => first_duplicate((0..ids.len()).map(|at| ids.value(at))),
        }
        .map_or(Ok(()), |(first, second)| {
            Err(Error::DuplicateId { id: self.get(first).to_string(), first, second })
        })
    }
}

fn first_duplicate<K: std::hash::Hash + Eq>(
    keys: impl ExactSizeIterator<Item = K>,
) -> Option<(usize, usize)> {
    let mut seen = HashMap::with_capacity(keys.len());
    for (row, key) in keys.enumerate() {
        if let Some(first) = seen.insert(key, row) {
            return Some((first, row));
        }
    }
    None
}

fn check_shape(column: &str, arrays: &[ArrayRef], rows: Option<usize>) -> Result<()> {
    let mut row = 0;
    for array in arrays {
        if let Some(at) =
            array.logical_nulls().and_then(|nulls| (0..nulls.len()).find(|&at| nulls.is_null(at)))
        {
            let reason = "is null, expected an id".into();
            return Err(Error::InvalidVector { column: column.into(), row: row + at, reason });
        }
        row += array.len();
    }
    let Some(rows) = rows.filter(|&rows| rows != row) else { return Ok(()) };
    Err(Error::invalid_parameter(column, format!("one id per vector ({rows})"), format!("{row} ids")))
}

fn collect<T>(arrays: &[ArrayRef], widen: fn(&ArrayRef) -> Vec<T>) -> Vec<T> {
    arrays.iter().flat_map(widen).collect()
}

fn signed(array: &ArrayRef) -> Vec<i64> {
    match array.data_type() {
        DataType::Int8 => array.as_primitive::<Int8Type>().values().iter().map(|&id| id.into()).collect(),
        DataType::Int16 => array.as_primitive::<Int16Type>().values().iter().map(|&id| id.into()).collect(),
        DataType::Int32 => array.as_primitive::<Int32Type>().values().iter().map(|&id| id.into()).collect(),
        _ => array.as_primitive::<Int64Type>().values().to_vec(),
    }
}

fn unsigned(array: &ArrayRef) -> Vec<u64> {
    match array.data_type() {
        DataType::UInt8 => array.as_primitive::<UInt8Type>().values().iter().map(|&id| id.into()).collect(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().values().iter().map(|&id| id.into()).collect(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().values().iter().map(|&id| id.into()).collect(),
        _ => array.as_primitive::<UInt64Type>().values().to_vec(),
    }
}

fn strings(arrays: &[ArrayRef]) -> LargeStringArray {
    let each = arrays.iter().flat_map(|array| {
        let text: Box<dyn Iterator<Item = &str>> = match array.data_type() {
            DataType::Utf8 => Box::new(array.as_string::<i32>().iter().flatten()),
            DataType::LargeUtf8 => Box::new(array.as_string::<i64>().iter().flatten()),
            _ => Box::new(array.as_string_view().iter().flatten()),
        };
        text
    });
    text_column(each)
}

/// The builder wants to know the number of strings, which a flattened iterator cannot tell.
fn text_column<'a>(texts: impl Iterator<Item = &'a str>) -> LargeStringArray {
    LargeStringArray::from(texts.collect::<Vec<_>>())
}
