//! Arrow through its capsules: polars, pyarrow, arro3, DuckDB, DataFusion and everything else that speaks it.
//!
//! The stream is read here and not by arrow-rs's own reader for three reasons: columns that are not tables come this
//! way too, Ctrl-C has to work between chunks, and arrow-rs copies memory that is not aligned to its type without
//! saying so.

#![allow(unsafe_code, reason = "the border of the Arrow C data interface")]

use std::{ffi::CStr, sync::Arc};

use arrow_array::{
    Array, ArrayRef, RecordBatch, RecordBatchOptions, RecordBatchReader, StructArray,
    cast::AsArray,
    ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type},
    ffi_stream::FFI_ArrowArrayStream,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use pyo3::{
    ffi, intern,
    prelude::*,
    types::{PyCapsule, PyList, PyString},
};
use ruvector_core::Error;

use super::{Column, Given, Role, buffer};
use crate::{
    arrays,
    error::{Failure, Result},
};

/// Which capsules an object gives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capsules {
    Stream,
    Array,
}

impl Capsules {
    /// `None`: it is not Arrow.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let py = object.py();
        let lends_memory = buffer::lends_memory(object);
        let gives = |method: &Bound<'_, PyString>| {
            if lends_memory {
                // SAFETY: live objects. This drops the errors that the attribute raises, but makes none where it is missing:
                // a numpy query that is looked at for capsules would take a microsecond longer for each.
                return Ok(unsafe { ffi::PyObject_HasAttr(object.as_ptr(), method.as_ptr()) } == 1);
            }
            object.hasattr(method)
        };
        if object.is_exact_instance_of::<PyList>() {
            return Ok(None);
        }
        if gives(intern!(py, "__arrow_c_stream__"))? {
            return Ok(Some(Self::Stream));
        }
        Ok(gives(intern!(py, "__arrow_c_array__"))?.then_some(Self::Array))
    }
}

/// Reads `object.__arrow_c_stream__()` to its end.
pub(super) fn stream(object: &Bound<'_, PyAny>, role: Role) -> Result<Given> {
    let py = object.py();
    let capsule = object.call_method0("__arrow_c_stream__")?;
    let pointer = pointer::<FFI_ArrowArrayStream>(&capsule, c"arrow_array_stream")?;
    // SAFETY: the capsule's name vouches for the type; a released stream is left behind for its destructor.
    let mut stream = unsafe { FFI_ArrowArrayStream::from_raw(pointer) };
    let field = schema(&mut stream)?;
    let mut given = Given::empty(role, &field)?;
    // Producers may need the GIL on another thread to make the next chunk.
    while let Some(chunk) = py.detach(|| next(&mut stream))? {
        given.push(chunk)?;
        py.check_signals()?;
    }
    Ok(given)
}

/// Takes the one array of `object.__arrow_c_array__()`.
pub(super) fn array(object: &Bound<'_, PyAny>, role: Role) -> Result<Given> {
    let (schema, array): (Bound<'_, PyAny>, Bound<'_, PyAny>) =
        object.call_method0("__arrow_c_array__")?.extract()?;
    let schema = pointer::<FFI_ArrowSchema>(&schema, c"arrow_schema")?;
    // SAFETY: the capsule's name vouches for the type, and the capsule outlives this borrow.
    let field = Field::try_from(unsafe { &*schema }).map_err(Error::from)?;
    let pointer = pointer::<FFI_ArrowArray>(&array, c"arrow_array")?;
    let mut given = Given::empty(role, &field)?;
    // SAFETY: as above; a released array is left behind for the capsule's destructor.
    given.push(unsafe { FFI_ArrowArray::from_raw(pointer) })?;
    Ok(given)
}

/// Opens `object.__arrow_c_stream__()` as a table, to be read later and without the GIL.
pub(crate) fn reader(object: &Bound<'_, PyAny>) -> Result<Table> {
    let capsule = object.call_method0("__arrow_c_stream__")?;
    let pointer = pointer::<FFI_ArrowArrayStream>(&capsule, c"arrow_array_stream")?;
    // SAFETY: the capsule's name vouches for the type; a released stream is left behind for its destructor.
    let mut stream = unsafe { FFI_ArrowArrayStream::from_raw(pointer) };
    let field = schema(&mut stream)?;
    let DataType::Struct(fields) = field.data_type() else { return Err(no_batch(&field).into()) };
    let schema = Arc::new(Schema::new_with_metadata(fields.clone(), field.metadata().clone()));
    Ok(Table { stream, schema })
}

/// A stream of batches.
pub(crate) struct Table {
    stream: FFI_ArrowArrayStream,
    schema: SchemaRef,
}

impl Table {
    /// The next batch.
    pub(crate) fn batch(&mut self) -> Result<Option<RecordBatch>> {
        let Some(array) = next(&mut self.stream)? else { return Ok(None) };
        let array = import_rows(array, DataType::Struct(self.schema.fields().clone()))?;
        let table = array.as_struct_opt().filter(|table| table.null_count() == 0);
        let columns = table.map(|table| table.columns().to_vec());
        let columns =
            columns.ok_or_else(|| no_batch(&Field::new("rows", array.data_type().clone(), true)))?;
        let options = RecordBatchOptions::new().with_row_count(Some(array.len()));
        let schema = SchemaRef::clone(&self.schema);
        Ok(Some(RecordBatch::try_new_with_options(schema, columns, &options).map_err(Error::from)?))
    }
}

impl Iterator for Table {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let external = |failure| match failure {
            Failure::Core(error) => ArrowError::ExternalError(Box::new(error)),
            Failure::Lake(error) => ArrowError::ExternalError(Box::new(error)),
            Failure::Remote(error) => ArrowError::ExternalError(Box::new(error)),
            Failure::Python(error) => ArrowError::ExternalError(Box::new(error)),
        };
        self.batch().map_err(external).transpose()
    }
}

impl RecordBatchReader for Table {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}

fn no_batch(field: &Field) -> Error {
    let (expected, actual) = ("a record batch".into(), field.data_type().to_string());
    Error::InvalidType { column: "rows".into(), expected, actual }
}

/// Takes the one batch of `object.__arrow_c_array__()`.
pub(crate) fn batch(object: &Bound<'_, PyAny>) -> Result<RecordBatch> {
    let (schema, array): (Bound<'_, PyAny>, Bound<'_, PyAny>) =
        object.call_method0("__arrow_c_array__")?.extract()?;
    let schema = pointer::<FFI_ArrowSchema>(&schema, c"arrow_schema")?;
    // SAFETY: the capsule's name vouches for the type, and the capsule outlives this borrow.
    let field = Field::try_from(unsafe { &*schema }).map_err(Error::from)?;
    let pointer = pointer::<FFI_ArrowArray>(&array, c"arrow_array")?;
    // SAFETY: as above; a released array is left behind for the capsule's destructor.
    let array = import_rows(unsafe { FFI_ArrowArray::from_raw(pointer) }, field.data_type().clone())?;
    match array.as_struct_opt() {
        Some(table) if table.null_count() == 0 => Ok(RecordBatch::from(table)),
        _ => Err(no_batch(&field).into()),
    }
}

/// Reads the schema of a table from its capsule.
pub(crate) fn table_schema(capsule: &Bound<'_, PyAny>) -> Result<Schema> {
    let schema = pointer::<FFI_ArrowSchema>(capsule, c"arrow_schema")?;
    // SAFETY: the capsule's name vouches for the type, and the capsule outlives this borrow.
    Ok(Schema::try_from(unsafe { &*schema }).map_err(Error::from)?)
}

fn pointer<T>(capsule: &Bound<'_, PyAny>, name: &CStr) -> Result<*mut T> {
    let capsule = capsule.cast::<PyCapsule>().map_err(PyErr::from)?;
    Ok(capsule.pointer_checked(Some(name))?.as_ptr().cast())
}

fn schema(stream: &mut FFI_ArrowArrayStream) -> Result<Field> {
    let Some(get_schema) = stream.get_schema else {
        return Err(failed("it was read before").into());
    };
    let mut schema = FFI_ArrowSchema::empty();
    // SAFETY: a stream that is not released has this callback and takes itself and a place to write to.
    let code = unsafe { get_schema(stream, &raw mut schema) };
    if code != 0 {
        return Err(last_error(stream).into());
    }
    Ok(Field::try_from(&schema).map_err(Error::from)?)
}

fn next(stream: &mut FFI_ArrowArrayStream) -> Result<Option<FFI_ArrowArray>> {
    let Some(get_next) = stream.get_next else { return Ok(None) };
    let mut array = FFI_ArrowArray::empty();
    // SAFETY: a stream that is not released has this callback and takes itself and a place to write to.
    let code = unsafe { get_next(stream, &raw mut array) };
    match code {
        0 => Ok((!array.is_released()).then_some(array)),
        _ => Err(last_error(stream).into()),
    }
}

fn last_error(stream: &mut FFI_ArrowArrayStream) -> Error {
    let Some(get_last_error) = stream.get_last_error else { return failed("it does not say why") };
    // SAFETY: a stream that is not released has this callback; the text, if any, lives until the next call.
    let text = unsafe { get_last_error(stream) };
    if text.is_null() {
        return failed("it does not say why");
    }
    // SAFETY: not null, so a C string.
    let text = unsafe { CStr::from_ptr(text) };
    failed(&text.to_string_lossy())
}

fn failed(reason: &str) -> Error {
    ArrowError::CDataInterface(format!("the stream failed: {reason}")).into()
}

impl Given {
    fn empty(role: Role, field: &Field) -> Result<Self> {
        let DataType::Struct(fields) = field.data_type() else {
            return Ok(Self::column(
                role,
                field.name().clone(),
                field.data_type().clone(),
                Vec::new(),
                false,
            ));
        };
        if fields.is_empty() {
            let expected = "at least one column".into();
            return Err(
                Error::InvalidType { column: role.name().into(), expected, actual: "none".into() }.into()
            );
        }
        let column = |field: &arrow_schema::FieldRef| Column {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            chunks: Vec::new(),
            copied: false,
        };
        Ok(Self { role, columns: fields.iter().map(column).collect(), is_table: true })
    }

    fn push(&mut self, array: FFI_ArrowArray) -> Result<()> {
        if !self.is_table {
            let column = &mut self.columns[0];
            column.copied |= !is_aligned(&array, &column.data_type);
            column.chunks.push(import(array, column.data_type.clone())?);
            return Ok(());
        }
        for (at, column) in self.columns.iter_mut().enumerate().take(array.num_children()) {
            column.copied |= !is_aligned(array.child(at), &column.data_type);
        }
        let fields: Vec<Field> = self
            .columns
            .iter()
            .map(|column| Field::new(&column.name, column.data_type.clone(), true))
            .collect();
        let chunk = import(array, DataType::Struct(fields.into()))?;
        let chunk: &StructArray = chunk.as_struct();
        if chunk.null_count() > 0 {
            let column = self.role.name().into();
            let (expected, actual) =
                ("a table or a column of vectors".into(), "a struct column with nulls".into());
            return Err(Error::InvalidType { column, expected, actual }.into());
        }
        for (column, array) in self.columns.iter_mut().zip(chunk.columns()) {
            column.chunks.push(ArrayRef::clone(array));
        }
        Ok(())
    }
}

fn import(array: FFI_ArrowArray, data_type: DataType) -> Result<ArrayRef> {
    // SAFETY: the array and the type come from one producer, which vouches for them by the C data interface.
    let data = unsafe { from_ffi_and_data_type(array, data_type) }.map_err(Error::from)?;
    Ok(arrays::from_data(data).map_err(Error::from)?)
}

/// The same of arrays whose columns are not only vectors and ids.
fn import_rows(array: FFI_ArrowArray, data_type: DataType) -> Result<ArrayRef> {
    if let Some(misplaced) = misplaced_offsets(&array, &data_type) {
        let expected = format!("offsets of {misplaced} that lie where their type may lie");
        return Err(Error::invalid_parameter("rows", expected, "memory that is not aligned: copy it").into());
    }
    import(array, data_type)
}

/// The first type whose offsets do not lie where numbers of their width may. arrow-rs reads the last offset before it
/// could copy anything.
fn misplaced_offsets(array: &FFI_ArrowArray, data_type: &DataType) -> Option<String> {
    let width = match data_type {
        DataType::Utf8 | DataType::Binary | DataType::List(_) | DataType::Map(..) => 4,
        DataType::LargeUtf8 | DataType::LargeBinary | DataType::LargeList(_) => 8,
        _ => 1,
    };
    if array.num_buffers() > 1 && !array.buffer(1).addr().is_multiple_of(width) {
        return Some(data_type.to_string());
    }
    let child = |at: usize, field: &Field| {
        (at < array.num_children()).then(|| misplaced_offsets(array.child(at), field.data_type())).flatten()
    };
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => child(0, item),
        DataType::Struct(fields) => fields.iter().enumerate().find_map(|(at, field)| child(at, field)),
        DataType::Dictionary(_, values) => {
            array.dictionary().and_then(|dictionary| misplaced_offsets(dictionary, values))
        }
        _ => None,
    }
}

/// Whether arrow-rs can use the memory as it lies. Only what a vector column consists of is looked at.
fn is_aligned(array: &FFI_ArrowArray, data_type: &DataType) -> bool {
    let item = |item: &Field| array.num_children() == 0 || is_aligned(array.child(0), item.data_type());
    let buffer = |bytes| array.num_buffers() < 2 || array.buffer(1).addr().is_multiple_of(bytes);
    match data_type {
        DataType::FixedSizeList(field, _) => item(field),
        DataType::List(field) => buffer(4) && item(field),
        DataType::LargeList(field) => buffer(8) && item(field),
        DataType::Float32 => buffer(4),
        DataType::Float16 => buffer(2),
        _ => true,
    }
}
