//! Arrow through its capsules: polars, pyarrow, arro3, DuckDB, DataFusion and everything else that speaks it.
//!
//! The stream is read here and not by arrow-rs's own reader for three reasons: columns that are not tables come this
//! way too, Ctrl-C has to work between chunks, and arrow-rs copies memory that is not aligned to its type without
//! saying so.

#![allow(unsafe_code, reason = "the border of the Arrow C data interface")]

use std::ffi::CStr;

use arrow_array::{
    Array, ArrayRef, RecordBatch, StructArray,
    cast::AsArray,
    ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type},
    ffi_stream::{ArrowArrayStreamReader, FFI_ArrowArrayStream},
};
use arrow_schema::{ArrowError, DataType, Field};
use pyo3::{prelude::*, types::PyCapsule};
use ruvector_core::Error;

use super::{Column, Given, Role};
use crate::{arrays, error::Result};

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
pub(crate) fn reader(object: &Bound<'_, PyAny>) -> Result<ArrowArrayStreamReader> {
    let capsule = object.call_method0("__arrow_c_stream__")?;
    let pointer = pointer::<FFI_ArrowArrayStream>(&capsule, c"arrow_array_stream")?;
    // SAFETY: the capsule's name vouches for the type; a released stream is left behind for its destructor.
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(pointer) };
    Ok(ArrowArrayStreamReader::try_new(stream).map_err(Error::from)?)
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
    let array = import(unsafe { FFI_ArrowArray::from_raw(pointer) }, field.data_type().clone())?;
    match array.as_struct_opt() {
        Some(table) if table.null_count() == 0 => Ok(RecordBatch::from(table)),
        _ => {
            let (column, actual) = ("rows".into(), field.data_type().to_string());
            let expected = "a record batch".into();
            Err(Error::InvalidType { column, expected, actual }.into())
        }
    }
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
