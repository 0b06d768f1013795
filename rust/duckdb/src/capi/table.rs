//! Registering table functions.

use std::{ffi::CStr, marker::PhantomData, ptr, sync::Mutex};

use super::{
    guard::guard,
    output::Output,
    slots::{Connection, Delete, Handle, SUCCESS, call},
    types::{Kind, Type},
    value::Value,
};
use crate::{
    lock::lock,
    refusal::{Refusal, Result},
};

/// A named parameter.
pub(crate) type Named = (&'static CStr, Kind);

/// The columns of an answer, and how many rows it will have, as far as that is known.
pub(crate) struct Columns {
    pub(crate) columns: Vec<(&'static CStr, Kind)>,
    pub(crate) rows: Option<usize>,
}

/// A table function.
pub(crate) trait TableFunction: Send + Sync + Sized + 'static {
    /// What is known when a statement has been planned. A prepared one is run several times with it.
    type Bound: Send + Sync + 'static;
    /// Where one run of the statement is. Dropped at its end, however it ends.
    type Run: Send + 'static;

    fn name(&self) -> &'static CStr;
    fn parameters(&self) -> Vec<Type>;
    fn named(&self) -> Vec<Named>;
    fn bind(&self, arguments: &Arguments<'_>) -> Result<(Self::Bound, Columns)>;
    fn start(&self, bound: &Self::Bound) -> Result<Self::Run>;
    /// Writes the next rows and returns how many; 0 is the end.
    fn next(&self, bound: &Self::Bound, run: &mut Self::Run, rows: &mut Rows<'_>) -> Result<usize>;
}

/// The arguments of a call, while it is planned.
pub(crate) struct Arguments<'a> {
    info: Handle,
    lent: PhantomData<&'a ()>,
}

impl Arguments<'_> {
    /// The argument at a place.
    pub(crate) fn at(&self, place: u64) -> Option<Value> {
        Value::take(call!(bind_get_parameter(self.info, place)))
    }

    /// The argument of a name; `None` if it is not given.
    pub(crate) fn named(&self, name: &CStr) -> Option<Value> {
        Value::take(call!(bind_get_named_parameter(self.info, name.as_ptr())))
    }
}

/// The chunk to write into. Columns that nobody reads are not there.
pub(crate) struct Rows<'a> {
    chunk: Handle,
    places: &'a [u64],
    capacity: usize,
}

impl Rows<'_> {
    /// How many rows fit.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Writes a column of `rows` rows, if anybody reads it.
    pub(crate) fn write(
        &mut self,
        column: u64,
        rows: usize,
        write: impl FnOnce(&mut Output<'_>) -> Result<()>,
    ) -> Result<()> {
        let rows = rows.min(self.capacity);
        let mut write = Some(write);
        for (at, _) in (0..).zip(self.places).filter(|(_, place)| **place == column) {
            let Some(write) = write.take() else { break };
            let vector = call!(data_chunk_get_vector(self.chunk, at));
            // SAFETY: DuckDB lends the chunk for this call, with room for as many rows as a vector has.
            let mut output = unsafe { Output::new(vector, rows) };
            write(&mut output)?;
        }
        Ok(())
    }
}

struct Run<F: TableFunction> {
    state: Mutex<F::Run>,
    places: Vec<u64>,
}

/// Makes the function known to a database.
pub(crate) fn register<F: TableFunction>(function: F, connection: &Connection<'_>) -> Result<()> {
    let name = function.name();
    let mut table = call!(create_table_function());
    call!(table_function_set_name(table, name.as_ptr()));
    for parameter in function.parameters() {
        call!(table_function_add_parameter(table, parameter.handle));
    }
    for (name, kind) in function.named() {
        let kind = Type::plain(kind);
        call!(table_function_add_named_parameter(table, name.as_ptr(), kind.handle));
    }
    let extra = Box::into_raw(Box::new(function));
    call!(table_function_set_extra_info(table, extra.cast(), delete::<F> as Delete));
    call!(table_function_supports_projection_pushdown(table, true));
    call!(table_function_set_bind(table, bind::<F>));
    call!(table_function_set_init(table, start::<F>));
    call!(table_function_set_function(table, next::<F>));
    let registered = call!(register_table_function(connection.handle, table)) == SUCCESS;
    call!(destroy_table_function(&raw mut table));
    if registered { Ok(()) } else { Err(Refusal(format!("DuckDB refused the function {name:?}"))) }
}

/// Frees what was handed over.
unsafe extern "C" fn delete<T>(data: Handle) {
    // SAFETY: made by `Box::into_raw` from a box of this type; DuckDB deletes it once.
    drop(unsafe { Box::from_raw(data.cast::<T>()) });
}

/// What was handed over.
///
/// # Safety
/// `data` is null or what was handed over as a box of `T`, and lives as long as the borrow.
unsafe fn get<'a, T>(data: Handle) -> Result<&'a T> {
    // SAFETY: passed on.
    unsafe { data.cast::<T>().as_ref() }.ok_or_else(|| Refusal("called without its data".into()))
}

unsafe extern "C" fn bind<F: TableFunction>(info: Handle) {
    let bound = guard(|| {
        let data = call!(bind_get_extra_info(info));
        // SAFETY: handed over by `register`, alive as long as the function.
        let function: &F = unsafe { get(data) }?;
        function.bind(&Arguments { info, lent: PhantomData })
    });
    match bound {
        Ok((bound, columns)) => {
            for (name, kind) in columns.columns {
                let kind = Type::plain(kind);
                call!(bind_add_result_column(info, name.as_ptr(), kind.handle));
            }
            if let Some(rows) = columns.rows {
                call!(bind_set_cardinality(info, rows as u64, false));
            }
            let data = Box::into_raw(Box::new(bound));
            call!(bind_set_bind_data(info, data.cast(), delete::<F::Bound> as Delete));
        }
        Err(message) => call!(bind_set_error(info, message.as_ptr())),
    }
}

unsafe extern "C" fn start<F: TableFunction>(info: Handle) {
    let run = guard(|| {
        let data = call!(init_get_extra_info(info));
        // SAFETY: handed over by `register`, alive as long as the function.
        let function: &F = unsafe { get(data) }?;
        let data = call!(init_get_bind_data(info));
        // SAFETY: handed over by `bind`, alive as long as the plan.
        let bound: &F::Bound = unsafe { get(data) }?;
        let places = (0..call!(init_get_column_count(info))).map(|at| call!(init_get_column_index(info, at)));
        Ok(Run::<F> { places: places.collect(), state: Mutex::new(function.start(bound)?) })
    });
    match run {
        Ok(run) => {
            let data = Box::into_raw(Box::new(run));
            call!(init_set_init_data(info, data.cast(), delete::<Run<F>> as Delete));
        }
        Err(message) => call!(init_set_error(info, message.as_ptr())),
    }
}

unsafe extern "C" fn next<F: TableFunction>(info: Handle, chunk: Handle) {
    let done = guard(|| {
        let data = call!(function_get_extra_info(info));
        // SAFETY: handed over by `register`, alive as long as the function.
        let function: &F = unsafe { get(data) }?;
        let data = call!(function_get_bind_data(info));
        // SAFETY: handed over by `bind`, alive as long as the plan.
        let bound: &F::Bound = unsafe { get(data) }?;
        let data = call!(function_get_init_data(info));
        // SAFETY: handed over by `start`, alive as long as the run.
        let run: &Run<F> = unsafe { get(data) }?;
        let mut state = lock(&run.state);
        let capacity = call!(vector_size()) as usize;
        let mut rows = Rows { chunk, places: &run.places, capacity };
        function.next(bound, &mut state, &mut rows).map(|count| count.min(capacity))
    });
    let message = match done {
        Ok(rows) => {
            call!(data_chunk_set_size(chunk, rows as u64));
            ptr::null()
        }
        Err(ref message) => message.as_ptr(),
    };
    if !message.is_null() {
        call!(function_set_error(info, message));
    }
}
