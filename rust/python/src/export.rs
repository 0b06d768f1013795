//! Arrow out, through capsules: whatever reads Arrow takes our tables without a copy.
//!
//! A capsule owns what it names. A consumer moves the struct out and leaves a released one behind; if none comes, the
//! destructor releases it. The schema that a consumer may ask for is a wish by the protocol, and is not granted here:
//! casting between types is what the consumer's own library is for.

use arrow_array::{
    ArrayRef, RecordBatch, RecordBatchIterator, RecordBatchReader,
    ffi::{FFI_ArrowArray, FFI_ArrowSchema},
    ffi_stream::FFI_ArrowArrayStream,
};
use arrow_schema::{ArrowError, Field, SchemaRef};
use pyo3::{prelude::*, types::PyCapsule};
use ruvector_core::Error;

use crate::error::Result;

/// What `__arrow_c_schema__` returns: the type of a column, or of a table.
pub(crate) fn schema<'py, T>(py: Python<'py>, described: &T) -> Result<Bound<'py, PyCapsule>>
where
    for<'a> FFI_ArrowSchema: TryFrom<&'a T, Error = ArrowError>,
{
    let schema = FFI_ArrowSchema::try_from(described).map_err(Error::from)?;
    Ok(PyCapsule::new_with_value(py, schema, c"arrow_schema")?)
}

/// What `__arrow_c_array__` returns: the type of a column, and the column.
pub(crate) fn array<'py>(
    py: Python<'py>,
    field: &Field,
    array: &ArrayRef,
) -> Result<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
    let exported = FFI_ArrowArray::new(&array.to_data());
    Ok((schema(py, field)?, PyCapsule::new_with_value(py, exported, c"arrow_array")?))
}

/// What `__arrow_c_stream__` returns: a table, batch by batch.
pub(crate) fn stream(
    py: Python<'_>,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
) -> Result<Bound<'_, PyCapsule>> {
    reader(py, Box::new(RecordBatchIterator::new(batches.into_iter().map(Ok), schema)))
}

/// The same of batches that are made when they are asked for.
pub(crate) fn reader(
    py: Python<'_>,
    reader: Box<dyn RecordBatchReader + Send>,
) -> Result<Bound<'_, PyCapsule>> {
    let stream = FFI_ArrowArrayStream::new(reader);
    Ok(PyCapsule::new_with_value(py, stream, c"arrow_array_stream")?)
}
