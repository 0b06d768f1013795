//! DuckDB's C API, version 1.2.0: the functions used here, and safe handles over them.
//!
//! The binding is written by hand. DuckDB hands over a table of function pointers whose order is fixed for all time;
//! [`slots`] names the places used and a test compares them with the list of the header, `v1.2.0.txt`. Nothing is
//! linked, so the same bytes load into every DuckDB that has that table.
//!
//! This folder is the only one of the crate that may be unsafe. What it hands out cannot be misused: a handle lives no
//! longer than what DuckDB lends it from, slices are as long as DuckDB says, types are compared before memory is read.
//! Each call from DuckDB runs behind [`guard`], which makes an error of a panic.

mod column;
mod entry;
mod guard;
mod output;
mod scalar;
mod slots;
mod table;
mod types;
mod value;

pub(crate) use column::{Column, Entry};
pub(crate) use output::Output;
pub(crate) use scalar::Scalar;
pub(crate) use slots::Connection;
pub(crate) use table::{Arguments, Columns, Named, Rows, TableFunction, register as register_table};
pub(crate) use types::{Kind, Type};
pub(crate) use value::Value;
