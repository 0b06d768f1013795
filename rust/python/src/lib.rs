//! The extension module `ruvector._ruvector`: Python's door to the core and the lake.
//!
//! [`input`] takes in what Python brings, [`interrupt`] runs the work off the GIL, [`hits`] and [`export`] hand out the
//! answers, [`error`] the refusals.

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "nobody links to this crate: who reads it, reads all of it"
)]

mod alone;
mod args;
mod arrays;
mod ask;
mod build;
mod change;
mod column;
mod cpu;
mod describe;
mod error;
mod export;
mod flight;
mod gate;
mod hits;
mod index;
mod input;
mod interrupt;
mod lake;
mod multi;
mod pickle;
mod planned;
mod polars;
mod preset;
mod progress;
mod rbpx;
mod registry;
mod searchable;
mod stream;
mod table;

#[pyo3::pymodule]
mod _ruvector {
    #[pymodule_export]
    use super::{
        alone::{distance, quantize},
        ask::PyNearest,
        build::{buffer_addresses, build, exact_search, open, recall_at_k},
        column::PyArrowColumn,
        cpu::{cpu_features, simd_level},
        flight::{PyFlightClient, PyFlightServer, PyRemote, PyTenant, flight_connect, flight_serve},
        hits::{PyHits, PyNestedHits},
        index::PyIndex,
        lake::{
            PyAnswer, PyFs, PyJob, PyLake, PyLakeTable, PyLocal, PyParquet, PyRows, PyTarget,
            lake_async_threads, lake_collections, lake_generation, lake_layout, lake_new, lake_public_key,
            lake_read_bundle, lake_write_bundle,
        },
        multi::PyMultiVectorIndex,
        pickle::{from_bytes, from_path},
        planned::plan_filter,
        preset::{
            codes::{preset_ids, preset_norms, preset_packed},
            originals::preset_originals,
            preset_adopt, preset_build, preset_held_bytes, preset_put, preset_put_batch,
            rotation::{PyRotation, preset_rotation},
            scores::{PyScores, preset_pairs, preset_scores},
        },
        rbpx::{is_rbpx1, read_rbpx1, write_rbpx1},
        registry::{plan_reference, planned_indexes},
        stream::build_stream,
        table::PyTable,
    };

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::gate::close_at_exit(module)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
