//! Where DuckDB enters.

use std::{
    ffi::{c_char, c_void},
    marker::PhantomData,
    ptr,
};

use super::{
    guard::guard,
    slots::{self, Connection, Handle, SUCCESS, call},
};
use crate::refusal::Refusal;

/// What DuckDB offers to an extension that it loads.
#[repr(C)]
struct Access {
    set_error: unsafe extern "C" fn(Handle, *const c_char),
    get_database: unsafe extern "C" fn(Handle) -> *mut Handle,
    get_api: unsafe extern "C" fn(Handle, *const c_char) -> *const c_void,
}

/// Loads the extension into a database.
///
/// # Safety
/// Called by DuckDB, for a file whose footer says `C_STRUCT` and `v1.2.0`.
#[unsafe(no_mangle)]
unsafe extern "C" fn ruvector_init_c_api(info: Handle, access: *const Access) -> bool {
    // SAFETY: DuckDB passes its table for the time of the call.
    let Some(access) = (unsafe { access.as_ref() }) else { return false };
    // SAFETY: DuckDB's own function, with the handle it passed.
    let table = unsafe { (access.get_api)(info, c"v1.2.0".as_ptr()) };
    if table.is_null() {
        return false; // DuckDB has said why
    }
    let loaded = guard(|| {
        // SAFETY: what DuckDB returned for this version.
        unsafe { slots::take(table) }.map_err(Refusal)?;
        // SAFETY: DuckDB's own function, with the handle it passed.
        let database = unsafe { (access.get_database)(info) };
        // SAFETY: null, or a database that is there for the time of the call.
        let Some(&database) = (unsafe { database.as_ref() }) else {
            return Err(Refusal("DuckDB passed no database".into()));
        };
        let mut handle = ptr::null_mut();
        if call!(connect(database, &raw mut handle)) != SUCCESS {
            return Err(Refusal("no connection to the database".into()));
        }
        crate::functions::register(&Connection { handle, load: PhantomData })
    });
    if let Err(message) = &loaded {
        // SAFETY: DuckDB's own function, with the handle it passed.
        unsafe { (access.set_error)(info, message.as_ptr()) };
    }
    loaded.is_ok()
}
