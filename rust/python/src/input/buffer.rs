//! numpy arrays, and everything else with the buffer protocol, lent as they lie.

#![allow(
    unsafe_code,
    reason = "an Arrow buffer over memory that a Python object owns, and the question whether it lends it"
)]

use std::{ptr::NonNull, sync::Arc};

use arrow_array::{ArrayRef, ArrowPrimitiveType, BooleanArray, FixedSizeListArray, PrimitiveArray, types};
use arrow_buffer::{BooleanBuffer, Buffer, ScalarBuffer};
use arrow_schema::Field;
use pyo3::{
    buffer::{ElementType, PyUntypedBuffer},
    ffi,
    prelude::*,
    types::PyBytes,
};
use ruvector_core::{Error, kernel::Kernels, vectors::MAX_DIM};

use super::{Role, refuse};
use crate::error::Result;

/// A one-dimensional array as a column of numbers, a two-dimensional one as a column of vectors.
pub(super) fn array(object: &Bound<'_, PyAny>, role: Role) -> Result<ArrayRef> {
    let Ok(view) = PyUntypedBuffer::get(object) else {
        return Err(no_buffer(object, role)?.into());
    };
    let shape = view.shape().to_vec();
    let number = Number::of(&view).filter(|number| number.suits(role));
    let Some(number) = number else {
        return Err(invalid(role, role.numbers(), dtype(object)?).into());
    };
    match (role, &shape[..]) {
        (Role::Ids | Role::Queries(_) | Role::Filter, [_]) => number.column(borrow(view, role)?),
        (Role::Vectors | Role::Queries(_), &[rows, dim]) => {
            vectors(number.column(borrow(view, role)?)?, rows, dim, role)
        }
        _ => {
            let expected = match role {
                Role::Ids | Role::Filter => "one dimension",
                Role::Queries(_) => "one dimension (a query) or two (query, dim)",
                Role::Vectors => "two dimensions (row, dim)",
            };
            Err(invalid(role, expected, format!("shape {}", tuple(&shape))).into())
        }
    }
}

/// Whether an object has the buffer protocol.
pub(super) fn lends_memory(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PyObject_CheckBuffer(object.as_ptr()) == 1 }
}

/// The bytes of a `bytes` object.
pub(crate) fn bytes(bytes: &Bound<'_, PyBytes>) -> Result<Buffer> {
    borrow(PyUntypedBuffer::get(bytes)?, Role::Vectors)
}

impl Role {
    fn numbers(self) -> &'static str {
        match self {
            Self::Ids => "integers (or strings: call .tolist())",
            Self::Filter => "booleans or integers (or strings: call .tolist())",
            Self::Vectors | Self::Queries(_) => "float32 or float16 (call .astype(numpy.float32))",
        }
    }
}

fn invalid(role: Role, expected: &str, actual: String) -> Error {
    Error::InvalidType { column: role.name().into(), expected: expected.into(), actual }
}

/// The kind of the numbers in a buffer, of this machine's byte order.
#[derive(Clone, Copy)]
enum Number {
    Signed(usize),
    Unsigned(usize),
    Float(usize),
    Bool,
}

impl Number {
    fn of(view: &PyUntypedBuffer) -> Option<Self> {
        if let [b'>' | b'!', ..] = view.format().to_bytes() {
            return None;
        }
        match ElementType::from_format(view.format()) {
            ElementType::SignedInteger { bytes } => Some(Self::Signed(bytes)),
            ElementType::UnsignedInteger { bytes } => Some(Self::Unsigned(bytes)),
            ElementType::Float { bytes } => Some(Self::Float(bytes)),
            ElementType::Bool => Some(Self::Bool),
            ElementType::Unknown => None,
        }
    }

    fn suits(self, role: Role) -> bool {
        match self {
            Self::Float(bytes) => matches!(role, Role::Vectors | Role::Queries(_)) && bytes <= 4,
            Self::Signed(_) | Self::Unsigned(_) => matches!(role, Role::Ids | Role::Filter),
            Self::Bool => role == Role::Filter,
        }
    }

    fn column(self, buffer: Buffer) -> Result<ArrayRef> {
        Ok(match self {
            Self::Signed(1) => numbers::<types::Int8Type>(buffer),
            Self::Signed(2) => numbers::<types::Int16Type>(buffer),
            Self::Signed(4) => numbers::<types::Int32Type>(buffer),
            Self::Signed(_) => numbers::<types::Int64Type>(buffer),
            Self::Unsigned(1) => numbers::<types::UInt8Type>(buffer),
            Self::Unsigned(2) => numbers::<types::UInt16Type>(buffer),
            Self::Unsigned(4) => numbers::<types::UInt32Type>(buffer),
            Self::Unsigned(_) => numbers::<types::UInt64Type>(buffer),
            Self::Float(2) => numbers::<types::Float16Type>(buffer),
            Self::Float(_) => numbers::<types::Float32Type>(buffer),
            Self::Bool => Arc::new(flags(&buffer)?),
        })
    }
}

/// A bit for each byte that is not 0.
///
/// # Errors
/// As [`Kernels::detect`].
fn flags(bytes: &[u8]) -> Result<BooleanArray> {
    let mut bits = vec![0; bytes.len().div_ceil(64)];
    Kernels::detect()?.not_zero(bytes, &mut bits);
    Ok(BooleanArray::new(BooleanBuffer::new(bits.into(), 0, bytes.len()), None))
}

fn numbers<T: ArrowPrimitiveType>(buffer: Buffer) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(buffer), None))
}

/// An Arrow buffer over the same memory. It holds the view, and the view holds the object.
fn borrow(view: PyUntypedBuffer, role: Role) -> Result<Buffer> {
    if !view.is_c_contiguous() {
        let actual = format!("shape {} with strides {}", tuple(view.shape()), tuple(view.strides()));
        return Err(invalid(role, "a C-contiguous array (call numpy.ascontiguousarray)", actual).into());
    }
    if !view.buf_ptr().addr().is_multiple_of(view.item_size()) {
        return Err(invalid(role, "aligned memory (call .copy())", "an odd address".into()).into());
    }
    let bytes = view.len_bytes();
    let Some(start) = NonNull::new(view.buf_ptr().cast::<u8>()).filter(|_| bytes > 0) else {
        return Ok(Buffer::default());
    };
    // SAFETY: contiguous, so `bytes` bytes are there, and they stay there until the view is dropped. What a user writes
    // into them meanwhile changes numbers, never lengths.
    Ok(unsafe { Buffer::from_custom_allocation(start, bytes, Arc::new(view)) })
}

/// As Python writes a tuple.
fn tuple<T: ToString>(numbers: &[T]) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    let comma = if numbers.len() == 1 { "," } else { "" };
    format!("({}{comma})", numbers.join(", "))
}

fn vectors(values: ArrayRef, rows: usize, dim: usize, role: Role) -> Result<ArrayRef> {
    let width = i32::try_from(dim).ok().filter(|_| (1..=MAX_DIM).contains(&dim));
    let Some(width) = width else {
        let name = format!("{}: dimensions", role.name());
        return Err(Error::invalid_parameter(name, format!("1 to {MAX_DIM}"), dim.to_string()).into());
    };
    let item = Arc::new(Field::new("item", values.data_type().clone(), false));
    let list =
        FixedSizeListArray::try_new_with_length(item, width, values, None, rows).map_err(Error::from)?;
    Ok(Arc::new(list))
}

/// Objects without a buffer, and arrays of types that have none (dates, for one).
fn no_buffer(object: &Bound<'_, PyAny>, role: Role) -> Result<Error> {
    if !object.hasattr("dtype")? {
        return refuse(object, role);
    }
    let actual = format!("{} of {}", object.get_type().fully_qualified_name()?, dtype(object)?);
    Ok(invalid(role, role.numbers(), actual))
}

fn dtype(object: &Bound<'_, PyAny>) -> Result<String> {
    let named = object.getattr("dtype").and_then(|dtype| Ok(dtype.str()?.to_string()));
    named.or_else(|_| Ok(object.get_type().fully_qualified_name()?.to_string()))
}
