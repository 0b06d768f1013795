//! The table of functions that DuckDB hands over, by slot.

use std::{
    ffi::{c_char, c_void},
    marker::PhantomData,
    sync::OnceLock,
};

/// Anything of DuckDB's that only its own functions look into.
pub(super) type Handle = *mut c_void;

/// Frees what was handed over with it.
pub(super) type Delete = unsafe extern "C" fn(Handle);

/// What a function that may fail returns.
pub(super) type State = u32;

/// The [`State`] of a success.
pub(super) const SUCCESS: State = 0;

/// A function of any type. Null where a DuckDB lacks it.
type Slot = Option<unsafe extern "C" fn()>;

/// Names the slots, and reads them from the table.
macro_rules! slots {
    ($($slot:literal $name:ident($($type:ty),*) $(-> $returned:ty)?;)*) => {
        /// The functions used here, `duckdb_` left out of their names.
        #[derive(Clone, Copy)]
        pub(super) struct Api {
            $(pub(super) $name: unsafe extern "C" fn($($type),*) $(-> $returned)?,)*
        }

        impl Api {
            /// Reads the table; the name of a function that is not there otherwise.
            ///
            /// # Safety
            /// `table` is a table of version 1.2.0 or newer.
            unsafe fn read(table: *const Slot) -> Result<Self, &'static str> {
                Ok(Self {
                    $($name: {
                        // SAFETY: the table has 404 slots, and the test below keeps the numbers under that.
                        let slot = unsafe { table.add($slot) };
                        // SAFETY: within the table, which is initialised.
                        let function = unsafe { slot.read() }.ok_or(stringify!($name))?;
                        // SAFETY: the signature is that of the header for this slot, which never changes.
                        unsafe {
                            std::mem::transmute::<unsafe extern "C" fn(), unsafe extern "C" fn($($type),*) $(-> $returned)?>(function)
                        }
                    },)*
                })
            }
        }

        #[cfg(test)]
        const SLOTS: &[(&str, usize)] = &[$((stringify!($name), $slot)),*];
    };
}

slots! {
    3 connect(Handle, *mut Handle) -> State;
    6 disconnect(*mut Handle);
    25 free(Handle);
    26 vector_size() -> u64;
    92 destroy_value(*mut Handle);
    118 get_bool(Handle) -> bool;
    125 get_int64(Handle) -> i64;
    126 get_uint64(Handle) -> u64;
    130 get_double(Handle) -> f64;
    136 get_value_type(Handle) -> Handle;
    142 get_varchar(Handle) -> *mut c_char;
    149 is_null_value(Handle) -> bool;
    151 get_list_size(Handle) -> u64;
    152 get_list_child(Handle, u64) -> Handle;
    156 create_logical_type(u32) -> Handle;
    159 create_list_type(Handle) -> Handle;
    163 create_struct_type(*mut Handle, *mut *const c_char, u64) -> Handle;
    166 get_type_id(Handle) -> u32;
    168 decimal_scale(Handle) -> u8;
    169 decimal_internal_type(Handle) -> u32;
    173 list_type_child_type(Handle) -> Handle;
    175 array_type_array_size(Handle) -> u64;
    178 struct_type_child_count(Handle) -> u64;
    179 struct_type_child_name(Handle, u64) -> *mut c_char;
    184 destroy_logical_type(*mut Handle);
    189 data_chunk_get_column_count(Handle) -> u64;
    190 data_chunk_get_vector(Handle, u64) -> Handle;
    191 data_chunk_get_size(Handle) -> u64;
    192 data_chunk_set_size(Handle, u64);
    193 vector_get_column_type(Handle) -> Handle;
    194 vector_get_data(Handle) -> Handle;
    195 vector_get_validity(Handle) -> *mut u64;
    196 vector_ensure_validity_writable(Handle);
    198 vector_assign_string_element_len(Handle, u64, *const c_char, u64);
    199 list_vector_get_child(Handle) -> Handle;
    200 list_vector_get_size(Handle) -> u64;
    201 list_vector_set_size(Handle, u64) -> State;
    202 list_vector_reserve(Handle, u64) -> State;
    203 struct_vector_get_child(Handle, u64) -> Handle;
    204 array_vector_get_child(Handle) -> Handle;
    209 create_scalar_function() -> Handle;
    210 destroy_scalar_function(*mut Handle);
    211 scalar_function_set_name(Handle, *const c_char);
    213 scalar_function_set_special_handling(Handle);
    214 scalar_function_set_volatile(Handle);
    215 scalar_function_add_parameter(Handle, Handle);
    216 scalar_function_set_return_type(Handle, Handle);
    217 scalar_function_set_extra_info(Handle, Handle, Delete);
    218 scalar_function_set_function(Handle, unsafe extern "C" fn(Handle, Handle, Handle));
    220 scalar_function_get_extra_info(Handle) -> Handle;
    221 scalar_function_set_error(Handle, *const c_char);
    222 create_scalar_function_set(*const c_char) -> Handle;
    223 destroy_scalar_function_set(*mut Handle);
    224 add_scalar_function_to_set(Handle, Handle) -> State;
    225 register_scalar_function_set(Handle, Handle) -> State;
    242 create_table_function() -> Handle;
    243 destroy_table_function(*mut Handle);
    244 table_function_set_name(Handle, *const c_char);
    245 table_function_add_parameter(Handle, Handle);
    246 table_function_add_named_parameter(Handle, *const c_char, Handle);
    247 table_function_set_extra_info(Handle, Handle, Delete);
    248 table_function_set_bind(Handle, unsafe extern "C" fn(Handle));
    249 table_function_set_init(Handle, unsafe extern "C" fn(Handle));
    251 table_function_set_function(Handle, unsafe extern "C" fn(Handle, Handle));
    252 table_function_supports_projection_pushdown(Handle, bool);
    253 register_table_function(Handle, Handle) -> State;
    254 bind_get_extra_info(Handle) -> Handle;
    255 bind_add_result_column(Handle, *const c_char, Handle);
    257 bind_get_parameter(Handle, u64) -> Handle;
    258 bind_get_named_parameter(Handle, *const c_char) -> Handle;
    259 bind_set_bind_data(Handle, Handle, Delete);
    260 bind_set_cardinality(Handle, u64, bool);
    261 bind_set_error(Handle, *const c_char);
    262 init_get_extra_info(Handle) -> Handle;
    263 init_get_bind_data(Handle) -> Handle;
    264 init_set_init_data(Handle, Handle, Delete);
    265 init_get_column_count(Handle) -> u64;
    266 init_get_column_index(Handle, u64) -> u64;
    268 init_set_error(Handle, *const c_char);
    269 function_get_extra_info(Handle) -> Handle;
    270 function_get_bind_data(Handle) -> Handle;
    271 function_get_init_data(Handle) -> Handle;
    273 function_set_error(Handle, *const c_char);
}

static API: OnceLock<Api> = OnceLock::new();

/// Takes the table over, once for the process.
///
/// # Safety
/// `table` is what DuckDB returned for version 1.2.0.
pub(super) unsafe fn take(table: *const c_void) -> Result<(), String> {
    // SAFETY: passed on.
    let api = unsafe { Api::read(table.cast()) }
        .map_err(|name| format!("ruvector: this DuckDB lacks duckdb_{name} in its C API 1.2.0"))?;
    // Two copies of DuckDB in one process share this library, and must not call into each other.
    let first = API.get_or_init(|| api);
    if first.connect as usize == api.connect as usize {
        return Ok(());
    }
    Err("ruvector: another copy of DuckDB in this process has loaded this file already".into())
}

/// The functions, which are there from the first load on.
#[allow(
    clippy::expect_used,
    reason = "no function of DuckDB's is called before it has handed its table over"
)]
pub(super) fn api() -> &'static Api {
    API.get().expect("DuckDB has handed its functions over")
}

/// Calls a function of the C API.
macro_rules! call {
    ($name:ident($($argument:expr),* $(,)?)) => {{
        let function = $crate::capi::slots::api().$name;
        // SAFETY: all the C API asks is that its handles are alive, and those of this folder are as long as they can be
        // borrowed. Pointers to text and to arrays outlive the call.
        #[allow(clippy::macro_metavars_in_unsafe, reason = "arguments are pointers and numbers")]
        unsafe { function($($argument),*) }
    }};
}
pub(super) use call;

/// A connection of our own, for as long as the extension is being loaded: one that stayed open would keep the database
/// open, too.
pub(crate) struct Connection<'a> {
    pub(super) handle: Handle,
    pub(super) load: PhantomData<&'a ()>,
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        call!(disconnect(&raw mut self.handle));
    }
}

#[cfg(test)]
mod tests {
    use super::SLOTS;

    /// The functions of the header's struct `duckdb_ext_api_v1` up to version 1.2.0, one per line, in its order.
    const HEADER: &str = include_str!("v1.2.0.txt");

    #[test]
    fn slots_are_those_of_the_header() {
        let header: Vec<&str> = HEADER.lines().collect();
        assert_eq!(header.len(), 404);
        for &(name, slot) in SLOTS {
            assert_eq!(header[slot].strip_prefix("duckdb_"), Some(name), "slot {slot}");
        }
        assert!(SLOTS.windows(2).all(|pair| pair[0].1 < pair[1].1), "in order, each once");
    }
}
