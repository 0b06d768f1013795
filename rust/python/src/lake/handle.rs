//! The class `Lake`: everything that a lake does, for `ruvector.lake.RuLake` to give names and defaults to.

use std::{path::PathBuf, sync::Arc};

use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict},
};
use ruvector_core::{Error, Monitor};
use ruvector_lake::{
    BackendOptions, Limits, RefreshResult, RuLake, Settings, Witness,
    backend::Pull,
    bundle::Tags,
    sign::{PublicKey, Signer},
};

use super::{
    answer::PyAnswer,
    asking::{Asking, Meant, Question},
    backends, filter,
    policy::PyPolicy,
    runtime,
    scan::{PyLakeTable, PyRows},
    target::PyTarget,
    values::{self, Pair},
};
use crate::{
    args::{Seed, Whole},
    error::{Failure, Result},
    input::{Given, Role},
    interrupt,
    progress::Progress,
};

/// A lake, seen in one way.
#[pyclass(name = "Lake", module = "ruvector", frozen)]
pub(crate) struct PyLake {
    pub(crate) lake: RuLake,
}

/// How collections are indexed and kept: as a dict.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Kept<'py> {
    consistency: (u8, Option<f64>, Option<f64>),
    metric: String,
    bits: Whole,
    rotation_seed: Seed,
    rerank_factor: Whole,
    pinned: bool,
    rows: filter::Given<'py>,
    pii_policy: Option<String>,
    lineage_id: Option<String>,
    memory_class: Option<String>,
}

impl Kept<'_> {
    fn settings(self) -> Result<Settings> {
        let (mode, ttl, stale) = self.consistency;
        let tags = Tags {
            pii_policy: self.pii_policy,
            lineage_id: self.lineage_id,
            memory_class: self.memory_class,
        };
        let bits = self.bits.count("bits")?;
        if bits > 9 {
            return Err(Error::invalid_parameter("bits", "1 to 9", bits.to_string()).into());
        }
        Ok(Settings {
            consistency: values::consistency(mode, ttl, stale)?,
            metric: self.metric.parse().map_err(Failure::Core)?,
            bits: bits as u32,
            rotation_seed: self.rotation_seed.0,
            rerank_factor: self.rerank_factor.count("rerank_factor")? as u64,
            pinned: self.pinned,
            rows: filter::predicate(self.rows)?,
            tags,
        })
    }
}

/// How a lake is made: as a dict.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Made<'py> {
    max_cache_entries: Option<Whole>,
    max_cache_bytes: Option<Whole>,
    threads: Option<Whole>,
    spill_to: Option<PathBuf>,
    unknown_ttl: f64,
    max_rows: Option<Whole>,
    max_dim: Option<Whole>,
    max_bytes: Option<Whole>,
    sign_with: Option<Bound<'py, PyBytes>>,
    trust: Vec<Bound<'py, PyBytes>>,
    policy: Option<Py<PyAny>>,
    audit: usize,
}

pub(super) fn key_bytes(name: &str, bytes: &Bound<'_, PyBytes>) -> Result<[u8; 32]> {
    let found = bytes.as_bytes().len();
    let key = bytes.as_bytes().try_into();
    Ok(key.map_err(|_| Error::invalid_parameter(name, "32 bytes", format!("{found}")))?)
}

/// Makes a lake.
#[pyfunction]
pub(crate) fn lake_new(kept: Kept<'_>, made: Made<'_>) -> Result<PyLake> {
    let mut builder = RuLake::builder()
        .settings(kept.settings()?)
        .unknown_ttl(values::time("unknown_ttl", Some(made.unknown_ttl))?.unwrap_or_default());
    if let Some(entries) = made.max_cache_entries {
        builder = builder.max_cache_entries(entries.count("max_cache_entries")?);
    }
    if let Some(bytes) = made.max_cache_bytes {
        builder = builder.max_cache_bytes(bytes.count("max_cache_bytes")?);
    }
    if let Some(folder) = made.spill_to {
        builder = builder.spill_to(folder);
    }
    let mut limits = Limits::default();
    if let Some(rows) = made.max_rows {
        limits.rows = rows.count("max_rows")? as u64;
    }
    if let Some(dim) = made.max_dim {
        limits.dim = dim.count("max_dim")?;
    }
    if let Some(bytes) = made.max_bytes {
        limits.bytes = bytes.count("max_bytes")? as u64;
    }
    if let Some(secret) = &made.sign_with {
        builder = builder.signer(Signer::from_seed(key_bytes("sign_with", secret)?));
    }
    if let Some(policy) = made.policy {
        builder = builder.policy(Arc::new(PyPolicy(policy)));
    }
    let trusted: Result<Vec<PublicKey>> =
        made.trust.iter().map(|key| Ok(PublicKey(key_bytes("trust", key)?))).collect();
    let threads = made.threads.map(|threads| threads.count("threads")).transpose()?;
    Ok(PyLake { lake: builder.limits(limits).audit(made.audit).trusted(trusted?).threads(threads).build()? })
}

/// The public key of a secret.
#[pyfunction]
pub(crate) fn lake_public_key<'py>(
    py: Python<'py>,
    secret: &Bound<'py, PyBytes>,
) -> Result<Bound<'py, PyBytes>> {
    let signer = Signer::from_seed(key_bytes("secret", secret)?);
    Ok(PyBytes::new(py, &signer.public_key().0))
}

impl PyLake {
    /// Runs what may wait for a backend or a disk, where Ctrl-C reaches it.
    fn wait<T: Send>(
        &self,
        py: Python<'_>,
        job: impl FnOnce(&RuLake, &dyn Monitor) -> ruvector_lake::Result<T> + Send,
    ) -> Result<T> {
        interrupt::run(py, usize::MAX, &mut Progress::off(), |monitor| job(&self.lake, monitor))
    }
}

#[pymethods]
impl PyLake {
    fn register(&self, backend: &Bound<'_, PyAny>, deadline: Option<f64>, concurrency: Whole) -> Result<()> {
        let options = BackendOptions {
            deadline: values::time("deadline", deadline)?,
            concurrency: concurrency.count("concurrency")?,
        };
        Ok(self.lake.register_backend(backends::of(backend)?, options)?)
    }

    fn backend_ids(&self) -> Vec<String> {
        self.lake.backend_ids()
    }

    fn collections(&self, py: Python<'_>) -> Result<Vec<Pair>> {
        let keys = self.wait(py, RuLake::collections)?;
        Ok(keys.into_iter().map(|key| (key.backend, key.collection)).collect())
    }

    fn configure(&self, key: Pair, kept: Kept<'_>) -> Result<()> {
        self.lake.configure(&values::key(key), kept.settings()?);
        Ok(())
    }

    /// How a collection is indexed and kept.
    fn settings<'py>(&self, py: Python<'py>, key: Pair) -> PyResult<Bound<'py, PyDict>> {
        let settings = self.lake.settings(&values::key(key));
        let fields = PyDict::new(py);
        fields.set_item("consistency", values::mode(settings.consistency))?;
        fields.set_item("metric", settings.metric.name())?;
        fields.set_item("bits", settings.bits)?;
        fields.set_item("rotation_seed", settings.rotation_seed)?;
        fields.set_item("rerank_factor", settings.rerank_factor)?;
        fields.set_item("pinned", settings.pinned)?;
        fields.set_item("rows", filter::tuples(py, &settings.rows)?)?;
        fields.set_item("pii_policy", settings.tags.pii_policy)?;
        fields.set_item("lineage_id", settings.tags.lineage_id)?;
        fields.set_item("memory_class", settings.tags.memory_class)?;
        Ok(fields)
    }

    fn with_consistency(&self, mode: u8, ttl: Option<f64>, stale: Option<f64>) -> Result<Self> {
        Ok(Self { lake: self.lake.with_consistency(values::consistency(mode, ttl, stale)?) })
    }

    fn acting_as(&self, principal: &str) -> Self {
        Self { lake: self.lake.acting_as(principal) }
    }

    fn session(&self) -> Self {
        Self { lake: self.lake.session() }
    }

    fn target(&self, key: Pair) -> PyTarget {
        PyTarget::new(self.lake.clone(), values::key(key))
    }

    fn search(
        &self,
        py: Python<'_>,
        queries: &Bound<'_, PyAny>,
        name: &str,
        targets: Meant,
        asking: Asking<'_>,
    ) -> Result<PyAnswer> {
        let question = Question::read(py, queries, role(name), targets, asking)?;
        let size = question.size(&self.lake);
        let answer = interrupt::run(py, size, &mut Progress::off(), |monitor| {
            self.lake.search(&question.targets, &question.queries, &question.options, monitor)
        })?;
        Ok(PyAnswer { answer: Arc::new(answer), one: question.one })
    }

    /// As `search`, but returns at once; `settle` is called with the answer or an exception, on another thread.
    fn search_async(
        &self,
        py: Python<'_>,
        settle: Py<PyAny>,
        queries: &Bound<'_, PyAny>,
        name: &str,
        targets: Meant,
        asking: Asking<'_>,
    ) -> Result<runtime::PyJob> {
        let question = Question::read(py, queries, role(name), targets, asking)?;
        let (lake, waits) = (self.lake.clone(), !question.is_at_hand(&self.lake));
        runtime::spawn(settle, question.one, waits, move |monitor| {
            lake.search(&question.targets, &question.queries, &question.options, monitor)
        })
    }

    fn scan(
        &self,
        py: Python<'_>,
        key: Pair,
        columns: Option<Vec<String>>,
        filter: filter::Given<'_>,
    ) -> Result<PyRows> {
        let pull = Pull { projection: columns, predicate: filter::predicate(filter)?, skip_rows: 0 };
        let rows = self.wait(py, |lake, _| lake.scan(&values::key(key), &pull))?;
        Ok(PyRows::new(rows))
    }

    fn publish_bundle(
        &self,
        py: Python<'_>,
        key: Pair,
        folder: PathBuf,
    ) -> Result<(PathBuf, String, String)> {
        Ok(values::published(self.wait(py, |lake, _| lake.publish_bundle(&values::key(key), &folder))?))
    }

    fn refresh_from_bundle_dir(&self, py: Python<'_>, key: Pair, folder: PathBuf) -> Result<&'static str> {
        let found = py.detach(|| self.lake.refresh_from_bundle_dir(&values::key(key), &folder))?;
        Ok(match found {
            RefreshResult::UpToDate => "up_to_date",
            RefreshResult::Invalidated => "invalidated",
            RefreshResult::BundleMissing => "bundle_missing",
        })
    }

    fn save_cache_to_dir(
        &self,
        py: Python<'_>,
        key: Pair,
        folder: PathBuf,
    ) -> Result<(PathBuf, String, String)> {
        Ok(values::published(self.wait(py, |lake, _| lake.save_cache_to_dir(&values::key(key), &folder))?))
    }

    fn warm_from_dir(&self, py: Python<'_>, key: Pair, folder: PathBuf) -> Result<usize> {
        self.wait(py, |lake, _| lake.warm_from_dir(&values::key(key), &folder))
    }

    fn forget(
        &self,
        py: Python<'_>,
        key: Pair,
        ids: &Bound<'_, PyAny>,
        folder: Option<PathBuf>,
    ) -> Result<usize> {
        let ids = Given::read(ids, Role::Ids)?.list()?;
        self.wait(py, |lake, _| lake.forget(&values::key(key), &ids, folder.as_deref()))
    }

    fn invalidate_cache(&self, py: Python<'_>, key: Pair) {
        py.detach(|| self.lake.invalidate_cache(&values::key(key)));
    }

    fn bundle_of<'py>(&self, py: Python<'py>, key: Pair) -> PyResult<Option<Bound<'py, PyDict>>> {
        self.lake.bundle_of(&values::key(key)).map(|bundle| values::bundle(py, &bundle)).transpose()
    }

    fn cache_refcount_of(&self, witness: &str) -> Result<usize> {
        let parsed = Witness::from_hex(witness);
        let parsed = parsed.ok_or_else(|| {
            Error::invalid_parameter("witness", "64 lower-case hexadecimal digits", format!("{witness:?}"))
        })?;
        Ok(self.lake.cache_refcount_of(parsed))
    }

    /// Counters of all, entries, bytes.
    fn cache_stats<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyDict>, usize, usize)> {
        let stats = self.lake.cache_stats();
        Ok((values::counters(py, &stats.counters)?, stats.entries, stats.bytes))
    }

    fn cache_stats_by_backend<'py>(&self, py: Python<'py>) -> PyResult<Vec<(String, Bound<'py, PyDict>)>> {
        let found = self.lake.cache_stats_by_backend();
        found.into_iter().map(|(id, counters)| Ok((id, values::counters(py, &counters)?))).collect()
    }

    fn cache_stats_by_collection<'py>(&self, py: Python<'py>) -> PyResult<Vec<(Pair, Bound<'py, PyDict>)>> {
        let found = self.lake.cache_stats_by_collection();
        let each = found
            .into_iter()
            .map(|(key, counters)| Ok(((key.backend, key.collection), values::counters(py, &counters)?)));
        each.collect()
    }

    fn cache_entries(&self, py: Python<'_>) -> Result<PyLakeTable> {
        Ok(PyLakeTable(py.detach(|| self.lake.cache_entries())?))
    }

    /// The events since the last time, and how many older ones had to make room.
    fn audit_events(&self, py: Python<'_>) -> Result<(PyLakeTable, u64)> {
        let audit = py.detach(|| self.lake.audit_events())?;
        Ok((PyLakeTable(audit.events), audit.dropped))
    }

    fn holds_index(&self, py: Python<'_>, digest: &str) -> Result<bool> {
        Ok(py.detach(|| self.lake.holds_index(digest))?)
    }

    fn reset_stats(&self) {
        self.lake.reset_stats();
    }
}

/// What the argument of vectors is called in messages.
fn role(name: &str) -> &'static str {
    if name == "query" { "query" } else { "queries" }
}
