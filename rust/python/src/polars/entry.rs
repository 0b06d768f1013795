//! The functions that Polars looks up by name.
//!
//! For each plugin function there are two: `_polars_plugin_field_<name>` tells the type of the answer when a plan is
//! made, `_polars_plugin_<name>` answers when it runs. Both leave `result` untouched when they refuse.

use std::ffi::c_char;

use arrow_schema::{Field, ffi::FFI_ArrowSchema};

use super::{
    Column, Result,
    abi::{self, CallerContext, Input, SeriesExport},
    build, distance, knn, vectors,
};

type FieldFn = fn(&[Field], &[u8]) -> Result<Field>;
type CallFn = fn(&[Column], &[u8]) -> Result<Column>;

/// Plugin ABI 0.1, as `(major << 16) | minor`.
#[unsafe(no_mangle)]
extern "C" fn _polars_plugin_get_version() -> u32 {
    1
}

#[unsafe(no_mangle)]
extern "C" fn _polars_plugin_get_last_error_message() -> *const c_char {
    abi::last_error()
}

/// Defines the two C functions of one plugin function.
macro_rules! plugin_function {
    ($field_symbol:ident = $field:path, $call_symbol:ident = $call:path) => {
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $field_symbol(
            fields: *const FFI_ArrowSchema,
            count: usize,
            result: *mut FFI_ArrowSchema,
            kwargs: *const u8,
            kwargs_len: usize,
        ) {
            // SAFETY: called by Polars, with the arguments of ABI 0.1.
            unsafe { answer_field($field, (fields, count), (kwargs, kwargs_len), result) }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $call_symbol(
            inputs: *const SeriesExport,
            count: usize,
            kwargs: *const u8,
            kwargs_len: usize,
            result: *mut SeriesExport,
            _context: *const CallerContext,
        ) {
            // SAFETY: called by Polars, with the arguments of ABI 0.1.
            unsafe { answer_call($call, (inputs, count), (kwargs, kwargs_len), result) }
        }
    };
}

plugin_function!(_polars_plugin_field_ruvector_knn = knn::field, _polars_plugin_ruvector_knn = knn::call);
plugin_function!(
    _polars_plugin_field_ruvector_distance = distance::field,
    _polars_plugin_ruvector_distance = distance::call
);
plugin_function!(
    _polars_plugin_field_ruvector_build = build::field,
    _polars_plugin_ruvector_build = build::call
);
plugin_function!(
    _polars_plugin_field_ruvector_address = vectors::address_field,
    _polars_plugin_ruvector_address = vectors::address_call
);

/// # Safety
/// The arguments are those Polars gave: `count` schemas, `kwargs.1` bytes, room for one schema.
unsafe fn answer_field(
    field: FieldFn,
    (fields, count): (*const FFI_ArrowSchema, usize),
    kwargs: (*const u8, usize),
    result: *mut FFI_ArrowSchema,
) {
    let answer = abi::guard(|| {
        // SAFETY: Polars keeps the bytes alive during the call.
        let kwargs = unsafe { abi::read_bytes(kwargs.0, kwargs.1) };
        // SAFETY: Polars lends `count` schemas during the call.
        let fields = unsafe { abi::read_fields(fields, count) }?;
        Ok(FFI_ArrowSchema::try_from(&field(&fields, kwargs)?)?)
    });
    if let Some(answer) = answer {
        // SAFETY: Polars passes room for one schema, which holds nothing that would have to be dropped.
        unsafe { result.write(answer) };
    }
}

/// # Safety
/// The arguments are those Polars gave: `count` inputs given away, `kwargs.1` bytes, room for one export.
unsafe fn answer_call(
    call: CallFn,
    (inputs, count): (*const SeriesExport, usize),
    kwargs: (*const u8, usize),
    result: *mut SeriesExport,
) {
    let answer = abi::guard(|| {
        // SAFETY: Polars gives its inputs away. Taken over first, so that they are released whatever comes.
        let inputs = unsafe { Input::take(inputs, count) };
        // SAFETY: Polars keeps the bytes alive during the call.
        let kwargs = unsafe { abi::read_bytes(kwargs.0, kwargs.1) };
        let columns = inputs.into_iter().map(Input::import).collect::<Result<Vec<_>>>()?;
        abi::export(&call(&columns, kwargs)?)
    });
    if let Some(answer) = answer {
        // SAFETY: Polars passes room for one export, which holds nothing that would have to be dropped.
        unsafe { result.write(answer) };
    }
}
