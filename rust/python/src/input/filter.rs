//! Which rows a search may return, in every form that people have such a thing.

use std::sync::Arc;

use arrow_array::Array;
use arrow_schema::DataType;
use pyo3::{intern, prelude::*, types::PyBytes};
use ruvector_core::{Filter, live::Snapshot};

use super::{Capsules, Given, Role, buffer};
use crate::error::Result;

/// What the argument `filter` lets pass.
pub(crate) enum Allowed {
    /// Booleans or ids.
    Column(Given),
    /// A Roaring bitmap of ids.
    Roaring(Vec<u8>),
}

/// Takes the argument in.
pub(crate) fn filter(object: &Bound<'_, PyAny>) -> Result<Allowed> {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(Allowed::Roaring(bytes.as_bytes().to_vec()));
    }
    // What pyroaring's bitmaps have, and columns have not.
    let is_column = buffer::lends_memory(object) || Capsules::of(object)?.is_some();
    if !is_column && object.hasattr(intern!(object.py(), "serialize"))? {
        let bytes = object.call_method0("serialize")?;
        return Ok(Allowed::Roaring(bytes.cast::<PyBytes>().map_err(PyErr::from)?.as_bytes().to_vec()));
    }
    Ok(Allowed::Column(Given::read(object, Role::Filter)?))
}

impl Allowed {
    /// The rows of one state of an index that pass. To be called without the GIL.
    pub(crate) fn of(&self, snapshot: &Snapshot) -> Result<Arc<Filter>> {
        let given = match self {
            Self::Roaring(bytes) => return Ok(Arc::new(snapshot.filter_of_roaring(bytes)?)),
            Self::Column(given) => given,
        };
        let column = given.only_column()?;
        if column.data_type == DataType::Boolean {
            return Ok(Arc::new(snapshot.filter_of_mask(given.name_of(column), &column.chunks())?));
        }
        if column.chunks.iter().all(Array::is_empty) {
            return Ok(Arc::new(Filter::default()));
        }
        let ids = given.list()?.cast(given.name_of(column), snapshot.id_type())?;
        Ok(Arc::new(snapshot.filter_of_ids(&ids)))
    }
}
