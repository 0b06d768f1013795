//! Python's door to the lake: handles, values and calls, for `ruvector.lake` to give names, defaults and documentation.

#![allow(
    clippy::needless_pass_by_value,
    clippy::struct_excessive_bools,
    clippy::struct_field_names,
    clippy::type_complexity,
    reason = "arguments and dicts as Python passes them"
)]

mod adapter;
mod answer;
mod asking;
mod backends;
mod bundles;
pub(crate) mod errors;
mod filter;
mod handle;
mod http;
mod policy;
pub(crate) mod runtime;
mod scan;
mod tables;
mod target;
mod values;

pub(crate) use self::{
    adapter::lake_layout,
    answer::PyAnswer,
    backends::{PyFs, PyLocal, PyParquet, lake_collections, lake_generation},
    bundles::{lake_read_bundle, lake_write_bundle},
    handle::{PyLake, lake_new, lake_public_key},
    runtime::{PyJob, lake_async_threads},
    scan::{PyLakeTable, PyRows},
    target::PyTarget,
};
