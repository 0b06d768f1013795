//! The class `FlightRemote`: what a server has under a name, for doors to search as they search an index.

use std::sync::{Arc, OnceLock};

use pyo3::prelude::*;
use ruvector_core::{
    Error, Hits, Monitor, Vectors,
    index::{Effort, SearchParams},
};
use ruvector_flight::{
    Client,
    ask::SearchAsk,
    client::{Description, Refused},
};
use ruvector_lake::Result as LakeResult;

use super::connection::Connection;
use crate::{
    args::Whole,
    ask::Asked,
    error::{Failure, Result},
    hits::PyHits,
    input::{Given, Role},
    searchable::{Pinned, Searchable},
};

/// What a server has under a name.
pub(crate) struct Remote {
    connection: Arc<Connection>,
    collection: String,
    /// What was told of it first: nothing of it but the number of rows changes while a name stays what it is.
    known: OnceLock<Description>,
}

/// A handle on it, which plans share.
#[pyclass(name = "FlightRemote", module = "ruvector", frozen)]
pub(crate) struct PyRemote(Arc<Remote>);

impl Remote {
    pub(super) fn new(connection: Arc<Connection>, collection: String) -> Self {
        Self { connection, collection, known: OnceLock::new() }
    }

    /// What was told of it first.
    pub(crate) fn known(&self) -> Option<&Description> {
        self.known.get()
    }

    /// What is asked of the server, for the parameters of a search.
    fn ask(&self, params: &SearchParams) -> SearchAsk {
        let mut ask = SearchAsk {
            collection: self.collection.clone(),
            k: params.k,
            epsilon: params.epsilon,
            rerank: params.rerank,
            ..SearchAsk::default()
        };
        match params.effort {
            Effort::Recall(recall) => ask.recall = Some(recall),
            Effort::Nprobe(nprobe) => ask.nprobe = Some(nprobe),
            Effort::Exact => ask.exact = true,
        }
        ask
    }

    /// The nearest rows of each query. For threads that hold no GIL.
    pub(crate) fn search(
        &self,
        queries: &Vectors,
        params: &SearchParams,
        monitor: &dyn Monitor,
    ) -> LakeResult<Hits> {
        let ask = self.ask(params);
        self.watched(monitor, |client| async move { client.search(&ask, queries).await })
    }

    fn watched<T, F: Future<Output = Result<T, Refused>>>(
        &self,
        monitor: &dyn Monitor,
        work: impl FnOnce(Client) -> F,
    ) -> LakeResult<T> {
        match self.connection.watched(monitor, work) {
            Ok(Some(done)) => Ok(done),
            Ok(None) => Err(Error::Interrupted.into()),
            Err(Failure::Remote(refused)) => Err(ruvector_lake::Error::Backend {
                backend: self.connection.location().to_owned(),
                detail: refused.message.clone(),
                retryable: refused.retryable,
                source: Some(Arc::new(refused)),
            }),
            Err(Failure::Lake(error)) => Err(error),
            Err(Failure::Core(error)) => Err(error.into()),
            Err(Failure::Python(error)) => Err(ruvector_lake::Error::Backend {
                backend: self.connection.location().to_owned(),
                detail: error.to_string(),
                retryable: false,
                source: Some(Arc::new(error)),
            }),
        }
    }
}

impl Searchable for Remote {
    fn pin(&self, monitor: &dyn Monitor) -> LakeResult<Pinned> {
        if self.known.get().is_none() {
            let name = self.collection.clone();
            let told = self.watched(monitor, |client| async move { client.describe(&name).await })?;
            self.known.get_or_init(|| told);
        }
        let Self { connection, collection, known } = self;
        let (connection, collection) = (Arc::clone(connection), collection.clone());
        Ok(Pinned::Remote(Self { connection, collection, known: known.clone() }))
    }
}

impl PyRemote {
    pub(super) fn new(remote: Remote) -> Self {
        Self(Arc::new(remote))
    }

    /// What a plan holds.
    pub(crate) fn searched(&self) -> Arc<dyn Searchable> {
        Arc::clone(&self.0) as Arc<dyn Searchable>
    }
}

#[pymethods]
impl PyRemote {
    /// Elements per vector, the type of ids, the number of rows and the metric of the state that answers now.
    fn describe(&self, py: Python<'_>) -> Result<(usize, String, usize, String)> {
        let name = &self.0.collection;
        let told = self.0.connection.wait(py, |client| async move { client.describe(name).await })?;
        self.0.known.get_or_init(|| told.clone());
        Ok((told.dim, told.id_type, told.rows, told.metric))
    }

    /// The nearest rows of one query or of many; `ids`, as JSON, are the rows that may be found.
    #[pyo3(signature = (queries, k, ids, *, recall, nprobe, epsilon, exact, rerank))]
    #[allow(clippy::too_many_arguments, reason = "keywords in Python")]
    fn search(
        &self,
        py: Python<'_>,
        queries: &Bound<'_, PyAny>,
        k: Whole,
        ids: Option<&str>,
        recall: f64,
        nprobe: Option<Whole>,
        epsilon: Option<f64>,
        exact: bool,
        rerank: bool,
    ) -> Result<PyHits> {
        let how = Asked { recall, nprobe, epsilon, exact, rerank, threads: None };
        let mut ask = self.0.ask(&how.params(k.count("k")?)?);
        if let Some(ids) = ids {
            let wrong =
                |error: serde_json::Error| Error::invalid_parameter("filter", "ids", error.to_string());
            ask.ids = Some(serde_json::from_str(ids).map_err(wrong)?);
        }
        let queries = Given::read(queries, Role::QUERIES)?.vectors(py, None, None)?;
        py.detach(|| {
            queries.check_lengths(0..queries.len())?;
            queries.check_finite(0..queries.len())
        })?;
        let hits = self.0.connection.wait(py, |client| async move { client.search(&ask, &queries).await })?;
        Ok(PyHits::ragged(hits))
    }
}
