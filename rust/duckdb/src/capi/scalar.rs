//! Registering scalar functions.

use std::{
    ffi::{CStr, c_char},
    ptr,
    sync::Arc,
};

use super::{
    column::Column,
    guard::guard,
    output::Output,
    slots::{Connection, Handle, SUCCESS, call},
    types::Type,
};
use crate::refusal::{Refusal, Result};

/// What a scalar function does with a chunk: reads its columns and fills the answer, which has as many rows.
pub(crate) type Call = Arc<dyn Fn(&[Column<'_>], &mut Output<'_>) -> Result<()> + Send + Sync>;

/// A scalar function.
pub(crate) struct Scalar {
    pub(crate) name: &'static CStr,
    /// The parameters of each overload. [`super::Kind::Any`] takes what comes.
    pub(crate) overloads: Vec<Vec<Type>>,
    pub(crate) returns: Type,
    /// Whether equal calls may have unequal answers.
    pub(crate) volatile: bool,
    pub(crate) call: Call,
}

impl Scalar {
    /// Makes the function known to a database.
    pub(crate) fn register(&self, connection: &Connection<'_>) -> Result<()> {
        let mut set = call!(create_scalar_function_set(self.name.as_ptr()));
        let added = self.overloads.iter().all(|parameters| {
            let mut function = self.overload(parameters);
            let added = call!(add_scalar_function_to_set(set, function)) == SUCCESS;
            call!(destroy_scalar_function(&raw mut function));
            added
        });
        let registered = added && call!(register_scalar_function_set(connection.handle, set)) == SUCCESS;
        call!(destroy_scalar_function_set(&raw mut set));
        if registered { Ok(()) } else { Err(Refusal(format!("DuckDB refused the function {:?}", self.name))) }
    }

    fn overload(&self, parameters: &[Type]) -> Handle {
        let function = call!(create_scalar_function());
        call!(scalar_function_set_name(function, self.name.as_ptr()));
        for parameter in parameters {
            call!(scalar_function_add_parameter(function, parameter.handle));
        }
        call!(scalar_function_set_return_type(function, self.returns.handle));
        call!(scalar_function_set_special_handling(function));
        if self.volatile {
            call!(scalar_function_set_volatile(function));
        }
        let extra = Box::into_raw(Box::new(Arc::clone(&self.call)));
        call!(scalar_function_set_extra_info(function, extra.cast(), delete));
        call!(scalar_function_set_function(function, run));
        function
    }
}

/// Frees a function's own data.
unsafe extern "C" fn delete(extra: Handle) {
    // SAFETY: made by `Box::into_raw` in `overload`; DuckDB deletes it once.
    drop(unsafe { Box::from_raw(extra.cast::<Call>()) });
}

/// Answers a chunk.
unsafe extern "C" fn run(info: Handle, chunk: Handle, answer: Handle) {
    let extra = call!(scalar_function_get_extra_info(info)).cast::<Call>();
    let done = guard(|| {
        // SAFETY: what was set when the function was registered, alive as long as the function.
        let Some(work) = (unsafe { extra.as_ref() }) else {
            return Err(Refusal("called without its data".into()));
        };
        // SAFETY: DuckDB lends the chunk, flattened, for this call.
        let columns = unsafe { Column::of_chunk(chunk) };
        let rows = call!(data_chunk_get_size(chunk)) as usize;
        // SAFETY: DuckDB lends the answer for this call, with as many rows as the chunk has.
        let mut answer = unsafe { Output::new(answer, rows) };
        work(&columns, &mut answer)
    });
    let message = done.as_ref().map_or_else(|text| text.as_ptr(), |()| ptr::null::<c_char>());
    if !message.is_null() {
        call!(scalar_function_set_error(info, message));
    }
}
