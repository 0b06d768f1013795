//! What a plan carries of a filter: ids, which mean the same in any process and at any time.

use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict},
};
use ruvector_core::ids::Ids;

use crate::{error::Result, index::PyIndex, input};

/// The ids that a filter allows, as a dict for the plugin's arguments: the type of the ids and what they are, numbers of
/// eight bytes or a list of strings.
#[pyfunction]
pub(crate) fn plan_filter<'py>(
    py: Python<'py>,
    index: &Bound<'py, PyIndex>,
    filter: &Bound<'py, PyAny>,
) -> Result<Bound<'py, PyDict>> {
    let allowed = input::filter(filter)?;
    let index = index.get().get()?;
    let ids = py.detach(|| -> Result<Ids> {
        let snapshot = index.snapshot();
        Ok(snapshot.ids_of_filter(&*allowed.of(&snapshot)?))
    })?;
    let planned = PyDict::new(py);
    match &ids {
        Ids::Int64(ids) => {
            planned.set_item("int64", PyBytes::new(py, &little_endian(ids.values(), i64::to_le_bytes)))?;
        }
        Ids::UInt64(ids) => {
            planned.set_item("uint64", PyBytes::new(py, &little_endian(ids.values(), u64::to_le_bytes)))?;
        }
        Ids::Utf8(ids) => planned.set_item("str", ids.iter().flatten().collect::<Vec<_>>())?,
    }
    Ok(planned)
}

fn little_endian<T: Copy>(numbers: &[T], bytes: impl Fn(T) -> [u8; 8]) -> Vec<u8> {
    numbers.iter().flat_map(|&number| bytes(number)).collect()
}
