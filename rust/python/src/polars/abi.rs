//! The C structs of the plugin ABI, and who owns what.
//!
//! Inputs are given away by the host: every array is ours to release, then the `SeriesExport` that lists them. An
//! output is taken over array by array, bit for bit; the host then calls our release, which frees what is left. The
//! host reads a null `private_data` as failure.

use std::{
    any::Any,
    cell::RefCell,
    ffi::{CString, c_char, c_void},
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, RefUnwindSafe, catch_unwind},
    ptr::{self, NonNull},
    slice,
    sync::Arc,
};

use arrow_array::{Array, ffi};
use arrow_buffer::Buffer;
use arrow_data::ffi::FFI_ArrowArray;
use arrow_schema::{Field, ffi::FFI_ArrowSchema};

use super::{Column, Refusal, Result};
use crate::arrays;

/// A series on its way across the border.
#[repr(C)]
pub(super) struct SeriesExport {
    field: *mut FFI_ArrowSchema,
    arrays: *mut *mut FFI_ArrowArray,
    len: usize,
    release: Option<unsafe extern "C" fn(*mut SeriesExport)>,
    private_data: *mut c_void,
}

/// What the host says about a call: nothing yet, in every version tried.
#[repr(C)]
pub(super) struct CallerContext {
    _flags: u64,
}

/// An input that was given to us. Dropping it gives back whatever was not imported.
pub(super) struct Input(SeriesExport);

impl Input {
    /// Takes over `count` inputs.
    ///
    /// # Safety
    /// `inputs` points to `count` exports that the host made and will not touch again.
    pub(super) unsafe fn take(inputs: *const SeriesExport, count: usize) -> Vec<Self> {
        (0..count)
            .map(|at| {
                // SAFETY: the caller vouches for `count` exports.
                let input = unsafe { inputs.add(at) };
                // SAFETY: the host forgets its inputs, so this bitwise copy is their only owner.
                Self(unsafe { ptr::read(input) })
            })
            .collect()
    }

    /// The input as Arrow arrays that own the host's buffers: nothing is copied.
    pub(super) fn import(self) -> Result<Column> {
        // SAFETY: the host's export carries a schema until it is released, and `self` is released on drop.
        let schema =
            unsafe { self.0.field.as_ref() }.ok_or_else(|| Refusal("input without a type".into()))?;
        let field = Field::try_from(schema)?;
        let data_type = field.data_type();
        let chunks = self.arrays().iter().map(|&array| {
            // SAFETY: the pointer is valid until the release in `drop`; what stays behind is an empty array.
            let array = unsafe { FFI_ArrowArray::from_raw(array) };
            // SAFETY: the host exports arrays that agree with the schema it exports beside them.
            let data = unsafe { ffi::from_ffi_and_data_type(array, data_type.clone()) }?;
            Ok(arrays::from_data(data)?)
        });
        Ok(Column {
            name: field.name().clone(),
            data_type: data_type.clone(),
            chunks: chunks.collect::<Result<_>>()?,
        })
    }

    fn arrays(&self) -> &[*mut FFI_ArrowArray] {
        if self.0.len == 0 {
            return &[];
        }
        // SAFETY: the host exports `len` pointers.
        unsafe { slice::from_raw_parts(self.0.arrays, self.0.len) }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        for &array in self.arrays() {
            // SAFETY: still valid, and empty if it was imported; dropping it calls its release, once.
            drop(unsafe { FFI_ArrowArray::from_raw(array) });
        }
        if let Some(release) = self.0.release.take() {
            // SAFETY: the host's own callback on the host's own struct, after the arrays are gone, once.
            unsafe { release(&raw mut self.0) };
        }
    }
}

/// What an output keeps alive until the host releases it.
struct Output {
    field: FFI_ArrowSchema,
    /// The host owns these from the moment it has read them; they must not be released here, too.
    arrays: Vec<ManuallyDrop<FFI_ArrowArray>>,
    pointers: Vec<*mut FFI_ArrowArray>,
}

/// The output as the host wants it.
pub(super) fn export(column: &Column) -> Result<SeriesExport> {
    let field = FFI_ArrowSchema::try_from(&column.field())?;
    let arrays =
        column.chunks.iter().map(|chunk| ManuallyDrop::new(FFI_ArrowArray::new(&chunk.to_data()))).collect();
    let output = Box::into_raw(Box::new(Output { field, arrays, pointers: Vec::new() }));
    // SAFETY: just allocated; nobody else has the pointer.
    let whole = unsafe { &mut *output };
    whole.pointers = whole.arrays.iter_mut().map(|array| ptr::from_mut(&mut **array)).collect();
    Ok(SeriesExport {
        field: &raw mut whole.field,
        arrays: whole.pointers.as_mut_ptr(),
        len: whole.pointers.len(),
        release: Some(release_output),
        private_data: output.cast(),
    })
}

unsafe extern "C" fn release_output(export: *mut SeriesExport) {
    // SAFETY: the host passes the export it got from us.
    let Some(export) = (unsafe { export.as_mut() }) else { return };
    export.release = None;
    let output = std::mem::replace(&mut export.private_data, ptr::null_mut()).cast::<Output>();
    if !output.is_null() {
        // SAFETY: made by `Box::into_raw` in `export`, and nulled above, so freed once.
        drop(unsafe { Box::from_raw(output) });
    }
}

/// A buffer of these bytes that keeps `owner` alive, here and in whatever the host makes of it without a copy.
pub(super) fn owning_buffer<T: Send + Sync + RefUnwindSafe + 'static>(bytes: Box<[u8]>, owner: T) -> Buffer {
    let start = NonNull::from(&*bytes).cast();
    let length = bytes.len();
    // SAFETY: the box is moved into the allocation, which does not move its bytes and outlives the buffer.
    unsafe { Buffer::from_custom_allocation(start, length, Arc::new((bytes, owner))) }
}

/// The fields of the inputs, which stay the host's.
///
/// # Safety
/// `fields` points to `count` schemas that are valid during this call.
pub(super) unsafe fn read_fields(fields: *const FFI_ArrowSchema, count: usize) -> Result<Vec<Field>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the caller vouches for `count` schemas.
    let schemas = unsafe { slice::from_raw_parts(fields, count) };
    Ok(schemas.iter().map(Field::try_from).collect::<Result<_, _>>()?)
}

/// The pickled keyword arguments.
///
/// # Safety
/// `data` points to `len` bytes that outlive the result.
pub(super) unsafe fn read_bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller vouches for `len` bytes.
    unsafe { slice::from_raw_parts(data, len) }
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// The text of the last refusal on this thread, valid until the next one.
pub(super) fn last_error() -> *const c_char {
    LAST_ERROR.with_borrow(|text| text.as_ptr())
}

/// Runs the work of a call. A refusal or a panic ends here, as this thread's last error.
pub(super) fn guard<T>(work: impl FnOnce() -> Result<T>) -> Option<T> {
    let message = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => return Some(value),
        Ok(Err(Refusal(message))) => message,
        Err(payload) => format!("ruvector failed, please report it: {}", text_of(payload.as_ref())),
    };
    let text: Vec<u8> = message.into_bytes().into_iter().filter(|&byte| byte != 0).collect();
    LAST_ERROR.set(CString::new(text).unwrap_or_default());
    None
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
