//! Polars' door: an expression plugin by Polars' plugin ABI 0.1, in the same library as the Python module.
//!
//! The ABI is plain C carrying Arrow structs, so no Polars crate is linked and one build serves every Polars that
//! speaks it (tried on 1.20, 1.41 and 2.1). A call enters by [`entry`]; [`abi`] makes Arrow arrays of its inputs, [`knn`],
//! [`distance`] or [`build`] answers, and [`abi`] hands the answer over. Only these two, where C structs are touched, may
//! be unsafe.
//!
//! Polars calls from its own threads, several at once, without the GIL and possibly in a process where Python has not
//! imported this module. Nothing here touches Python.

#[expect(unsafe_code, reason = "the structs of the plugin ABI are C: pointers, owners and release callbacks")]
mod abi;
mod build;
mod distance;
#[expect(unsafe_code, reason = "the functions that Polars looks up by name are C")]
mod entry;
mod filter;
mod knn;
mod kwargs;
mod vectors;

use std::error::Error;

use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field};
use ruvector_core::Pool;

/// Why a call was refused, in words for the user: Polars raises it as `ComputeError`.
#[derive(Debug)]
struct Refusal(String);

impl<E: Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

type Result<T, E = Refusal> = std::result::Result<T, E>;

/// One input, or the one output, of a call.
struct Column {
    name: String,
    data_type: DataType,
    chunks: Vec<ArrayRef>,
}

impl Column {
    fn len(&self) -> usize {
        self.chunks.iter().map(Array::len).sum()
    }

    fn field(&self) -> Field {
        Field::new(&self.name, self.data_type.clone(), true)
    }
}

/// From here on a call is worth more threads than the one it came on: about a millisecond of work.
const INLINE_WORK: usize = 1 << 20;

/// Where a call does its work, counted in multiplications.
///
/// Polars calls from several threads at once and does not say so (its `CallerContext` is always empty), so a pool per
/// call would multiply. Small batches stay on the caller's thread; large ones share one pool of the process, no larger
/// than Polars' own: however many of Polars' threads wait for it, no more threads than cores are busy.
fn pool_for(work: usize) -> Result<Pool> {
    if work < INLINE_WORK {
        return Ok(Pool::Inline);
    }
    let asked = std::env::var("POLARS_MAX_THREADS").ok().and_then(|text| text.parse().ok());
    let cores = Pool::cores();
    Ok(Pool::new(Some(asked.map_or(cores, |asked: usize| asked.clamp(1, cores))))?)
}
