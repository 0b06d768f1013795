//! Small values, as Python has them.

use std::time::Duration;

use pyo3::{prelude::*, types::PyDict};
use ruvector_core::{Error, ids::OwnedId};
use ruvector_lake::{
    Consistency, Generation, Key, Published,
    bundle::Bundle,
    stats::{Counters, Histogram},
};

use crate::error::{Failure, Result};

/// A collection, as a pair of names.
pub(super) type Pair = (String, String);

pub(super) fn key((backend, collection): Pair) -> Key {
    Key { backend, collection }
}

pub(super) fn pair(key: &Key) -> (&str, &str) {
    (&key.backend, &key.collection)
}

/// Seconds as a time.
pub(super) fn time(name: &str, seconds: Option<f64>) -> Result<Option<Duration>> {
    let Some(seconds) = seconds else { return Ok(None) };
    let time = Duration::try_from_secs_f64(seconds);
    Ok(Some(time.map_err(|_| Error::invalid_parameter(name, "seconds, at least 0", seconds.to_string()))?))
}

/// A mode, as Python numbers them: 0 fresh, 1 eventual, 2 frozen.
pub(super) fn consistency(mode: u8, ttl: Option<f64>, stale: Option<f64>) -> Result<Consistency> {
    let (ttl, stale) = (time("ttl", ttl)?, time("stale", stale)?.unwrap_or_default());
    match (mode, ttl) {
        (0, None) => Ok(Consistency::Fresh),
        (1, Some(ttl)) => Ok(Consistency::Eventual { ttl, stale }),
        (2, None) => Ok(Consistency::Frozen),
        (1, None) => Err(Error::invalid_parameter("ttl", "seconds, with EVENTUAL", "None").into()),
        _ => Err(Error::invalid_parameter("ttl", "None but with EVENTUAL", "a number").into()),
    }
}

pub(super) fn generation<'py>(py: Python<'py>, generation: &Generation) -> PyResult<Bound<'py, PyAny>> {
    Ok(match generation {
        Generation::Number(number) => number.into_pyobject(py)?.into_any(),
        Generation::Text(text) => text.into_pyobject(py)?.into_any(),
    })
}

pub(super) fn id<'py>(py: Python<'py>, id: &OwnedId) -> PyResult<Bound<'py, PyAny>> {
    Ok(match id {
        OwnedId::Int64(id) => id.into_pyobject(py)?.into_any(),
        OwnedId::UInt64(id) => id.into_pyobject(py)?.into_any(),
        OwnedId::Utf8(id) => (**id).into_pyobject(py)?.into_any(),
    })
}

/// Path and witnesses.
pub(super) fn published(published: Published) -> (std::path::PathBuf, String, String) {
    (published.path, published.witness.to_hex(), published.content_witness.to_hex())
}

/// A bundle, field by field.
pub(super) fn bundle<'py>(py: Python<'py>, bundle: &Bundle) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("data_ref", &bundle.data_ref)?;
    fields.set_item("dim", bundle.dim)?;
    fields.set_item("rotation_seed", bundle.rotation_seed)?;
    fields.set_item("rerank_factor", bundle.rerank_factor)?;
    fields.set_item("generation", generation(py, &bundle.generation)?)?;
    fields.set_item("witness", bundle.witness().to_hex())?;
    fields.set_item("content_witness", bundle.content_witness().to_hex())?;
    fields.set_item("metric", bundle.coding.metric.name())?;
    fields.set_item("bits", bundle.coding.bits)?;
    fields.set_item("rows", bundle.content.as_ref().map(|content| content.rows))?;
    fields.set_item("pii_policy", &bundle.tags.pii_policy)?;
    fields.set_item("lineage_id", &bundle.tags.lineage_id)?;
    fields.set_item("memory_class", &bundle.tags.memory_class)?;
    let json = bundle.to_json(None).map_err(Failure::from)?;
    fields.set_item("json", json)?;
    Ok(fields)
}

/// Counters, by name; times as `(counts, total, last)` in seconds.
pub(super) fn counters<'py>(py: Python<'py>, counters: &Counters) -> PyResult<Bound<'py, PyDict>> {
    let found = PyDict::new(py);
    for (name, count) in [
        ("hits", counters.hits),
        ("stale_hits", counters.stale_hits),
        ("negative_hits", counters.negative_hits),
        ("misses", counters.misses),
        ("joined", counters.joined),
        ("shared_hits", counters.shared_hits),
        ("primes", counters.primes),
        ("extensions", counters.extensions),
        ("invalidations", counters.invalidations),
        ("warm_installs", counters.warm_installs),
        ("evictions", counters.evictions),
        ("spills", counters.spills),
        ("failures", counters.failures),
    ] {
        found.set_item(name, count)?;
    }
    for (name, times) in [
        ("prime_time", &counters.prime_time),
        ("pull_time", &counters.pull_time),
        ("check_time", &counters.check_time),
        ("search_time", &counters.search_time),
    ] {
        let Histogram { counts, total, last } = times;
        let counts = pyo3::types::PyTuple::new(py, counts)?;
        found.set_item(name, (counts, total.as_secs_f64(), last.as_secs_f64()))?;
    }
    Ok(found)
}

/// A mode as Python numbers them, with its times.
pub(super) fn mode(consistency: Consistency) -> (u8, Option<f64>, Option<f64>) {
    match consistency {
        Consistency::Fresh => (0, None, None),
        Consistency::Eventual { ttl, stale } => (1, Some(ttl.as_secs_f64()), Some(stale.as_secs_f64())),
        Consistency::Frozen => (2, None, None),
    }
}
