//! Python's door to the lake: handles, values and calls, for `ruvector.lake` to give names, defaults and documentation.

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
mod runtime;
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
