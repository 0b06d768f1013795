//! What Python brings: vectors, queries and ids, in every form that dataframe users have them.
//!
//! Whatever it is, it becomes Arrow columns first ([`capsule`], [`buffer`], [`sequence`]), and the core takes it from
//! there. Nothing but lists is copied.

mod buffer;
mod capsule;
mod filter;
mod sequence;

use std::ffi::CString;

use arrow_array::{Array, ArrayRef, make_array, new_empty_array};
use arrow_data::{ArrayData, transform::MutableArrayData};
use arrow_schema::DataType;
use pyo3::{
    prelude::*,
    types::{PyFrozenSet, PyList, PyRange, PySet, PyString, PyTuple},
};
use ruvector_core::{Error, Vectors, ids::Ids};

pub(crate) use self::{
    buffer::bytes,
    capsule::{Capsules, Table, batch, reader, table_schema},
    filter::filter,
};
use crate::error::{Result, warn};

/// What an argument is for, and what it is called where it has no name of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Vectors,
    /// One vector or many, called so.
    Queries(&'static str),
    Ids,
    Filter,
}

impl Role {
    /// What a search is asked for.
    pub(crate) const QUERIES: Self = Self::Queries("queries");

    fn name(self) -> &'static str {
        match self {
            Self::Vectors => "vectors",
            Self::Queries(name) => name,
            Self::Ids => "ids",
            Self::Filter => "filter",
        }
    }
}

/// One column, chunk by chunk as it came.
pub(crate) struct Column {
    name: String,
    data_type: DataType,
    chunks: Vec<ArrayRef>,
    /// Its memory was not aligned to its type and had to be copied.
    copied: bool,
}

/// How many dimensions vectors must have, and who says so.
#[derive(Clone, Copy)]
pub(crate) struct Width<'a> {
    pub(crate) dim: usize,
    pub(crate) by: &'a str,
}

/// What one argument holds: a column, or a table of them.
pub(crate) struct Given {
    role: Role,
    columns: Vec<Column>,
    is_table: bool,
}

impl Given {
    /// Takes an argument in. Streams are read to their end.
    pub(crate) fn read(object: &Bound<'_, PyAny>, role: Role) -> Result<Self> {
        match Capsules::of(object)? {
            Some(Capsules::Stream) => return capsule::stream(object, role),
            Some(Capsules::Array) => return capsule::array(object, role),
            None => {}
        }
        let is_sequence = object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>();
        let array = match role {
            Role::Ids if is_sequence || object.is_instance_of::<PyRange>() => {
                sequence::ids(object, role.name())?
            }
            Role::Filter if is_sequence || object.is_instance_of::<PyRange>() => sequence::filter(object)?,
            Role::Filter if object.is_instance_of::<PySet>() || object.is_instance_of::<PyFrozenSet>() => {
                sequence::filter(object)?
            }
            Role::Vectors | Role::Queries(_) if is_sequence => sequence::vectors(object, role.name())?,
            _ => buffer::array(object, role)?,
        };
        Ok(Self::column(role, String::new(), array.data_type().clone(), vec![array], false))
    }

    fn column(role: Role, name: String, data_type: DataType, chunks: Vec<ArrayRef>, copied: bool) -> Self {
        Self { role, columns: vec![Column { name, data_type, chunks, copied }], is_table: false }
    }

    /// The vectors: the column that is asked for, or the only one there is.
    pub(crate) fn vectors(
        &self,
        py: Python<'_>,
        column: Option<&str>,
        width: Option<Width<'_>>,
    ) -> Result<Vectors> {
        let picked = match column {
            Some(name) => self.named("column", name)?,
            None if self.is_table => self.only_vectors()?,
            None => &self.columns[0],
        };
        let name = self.name_of(picked);
        if picked.copied {
            let message = format!("{name}: its memory is not aligned to its type and was copied");
            warn(py, "CopyWarning", &CString::new(message).unwrap_or_default())?;
        }
        let chunks = if matches!(self.role, Role::Queries(_)) && picked.is_numbers() {
            one_query(picked)?
        } else {
            picked.chunks()
        };
        let by = |error| match (error, width) {
            (Error::DimensionMismatch { expected, actual_by, actual, .. }, Some(width)) => {
                Error::DimensionMismatch { expected_by: width.by.into(), expected, actual_by, actual }
            }
            (error, _) => error,
        };
        Ok(Vectors::from_arrays(name, &chunks, width.map(|width| width.dim)).map_err(by)?)
    }

    /// Whether it is one vector, given as a column of numbers.
    pub(crate) fn is_numbers(&self) -> bool {
        !self.is_table && self.columns.iter().all(Column::is_numbers)
    }

    /// The ids for `rows` vectors: a column of its own, or the name of one in the table that the vectors came in.
    pub(crate) fn ids(&self, ids: Option<&Bound<'_, PyAny>>, rows: usize) -> Result<Option<Ids>> {
        let Some(ids) = ids else { return Ok(None) };
        if let Ok(name) = ids.cast::<PyString>() {
            let column = self.named("ids", &name.to_cow()?)?;
            return Ok(Some(Ids::from_arrays(&column.name, &column.chunks(), rows)?));
        }
        let given = Self::read(ids, Role::Ids)?;
        let column = given.only_column()?;
        Ok(Some(Ids::from_arrays(given.name_of(column), &column.chunks(), rows)?))
    }

    /// The ids for as many vectors, of which several may share one.
    pub(crate) fn repeated_ids(&self, ids: &Bound<'_, PyAny>) -> Result<Ids> {
        if let Ok(name) = ids.cast::<PyString>() {
            let column = self.named("ids", &name.to_cow()?)?;
            return Ok(Ids::from_list(&column.name, &column.chunks())?);
        }
        Self::read(ids, Role::Ids)?.list()
    }

    /// Ids to be looked up.
    pub(crate) fn list(&self) -> Result<Ids> {
        let column = self.only_column()?;
        Ok(Ids::from_list(self.name_of(column), &column.chunks())?)
    }

    /// The only column there is.
    pub(crate) fn only_column(&self) -> Result<&Column> {
        match &self.columns[..] {
            [column] => Ok(column),
            columns => {
                let actual = format!("a table of {} columns", columns.len());
                Err(Error::invalid_parameter(self.role.name(), "one column", actual).into())
            }
        }
    }

    /// What a column is called in messages.
    pub(crate) fn name_of<'a>(&self, column: &'a Column) -> &'a str {
        if column.name.is_empty() { self.role.name() } else { &column.name }
    }

    fn named(&self, parameter: &str, name: &str) -> Result<&Column> {
        if !self.is_table {
            let expected = "a table whose column it may name";
            return Err(Error::invalid_parameter(
                parameter,
                expected,
                format!("a single column and {name:?}"),
            )
            .into());
        }
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            Error::invalid_parameter(parameter, one_of(self.columns.iter()), format!("{name:?}")).into()
        })
    }

    fn only_vectors(&self) -> Result<&Column> {
        let mut found: Vec<&Column> = self.columns.iter().filter(|column| column.is_float_list()).collect();
        if found.is_empty() {
            let binary = |column: &&Column| matches!(column.data_type, DataType::FixedSizeBinary(_));
            found = self.columns.iter().filter(binary).collect();
        }
        match found[..] {
            [column] => Ok(column),
            [] => {
                let types: Vec<String> = self
                    .columns
                    .iter()
                    .map(|column| format!("{:?}: {}", column.name, column.data_type))
                    .collect();
                Err(Error::InvalidType {
                    column: self.role.name().into(),
                    expected: "a column of vectors (float or halffloat)".into(),
                    actual: format!("columns {}", types.join(", ")),
                }
                .into())
            }
            _ => Err(Error::invalid_parameter("column", one_of(found.into_iter()), "none").into()),
        }
    }
}

impl Column {
    /// The chunks; one without rows, so that its type is not lost, if there are none.
    pub(crate) fn chunks(&self) -> Vec<ArrayRef> {
        if self.chunks.is_empty() { vec![new_empty_array(&self.data_type)] } else { self.chunks.clone() }
    }

    pub(crate) fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn is_numbers(&self) -> bool {
        matches!(self.data_type, DataType::Float32 | DataType::Float16)
    }

    fn is_float_list(&self) -> bool {
        match &self.data_type {
            DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item) => {
                matches!(item.data_type(), DataType::Float32 | DataType::Float16)
            }
            _ => false,
        }
    }
}

fn one_of<'a>(columns: impl Iterator<Item = &'a Column>) -> String {
    let names: Vec<String> = columns.map(|column| format!("{:?}", column.name)).collect();
    format!("one of {}", names.join(", "))
}

/// A column of numbers is one query. It is small: chunks are joined.
fn one_query(column: &Column) -> Result<Vec<ArrayRef>> {
    let chunks: Vec<ArrayData> = column.chunks().iter().map(Array::to_data).collect();
    let rows = chunks.iter().map(ArrayData::len).sum();
    let mut joined = MutableArrayData::new(chunks.iter().collect(), false, rows);
    for (at, chunk) in chunks.iter().enumerate() {
        joined.try_extend(at, 0, chunk.len()).map_err(Error::from)?;
    }
    Ok(vec![sequence::one_row(make_array(joined.freeze()))?])
}

/// Refuses something that is no column at all.
fn refuse(object: &Bound<'_, PyAny>, role: Role) -> Result<Error> {
    let expected = match role {
        Role::Ids => "an arrow column, a numpy array or a list of integers or strings",
        Role::Filter => {
            "booleans or ids (an arrow column, a numpy array, a list, a set), or a roaring bitmap"
        }
        _ => "an arrow column or table, a numpy array or nested lists",
    };
    let actual = object.get_type().fully_qualified_name()?.to_string();
    Ok(Error::InvalidType { column: role.name().into(), expected: expected.into(), actual })
}
