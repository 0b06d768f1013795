//! The class `FlightClient` of the extension: what `ruvector.flight` gives names and defaults to.

use std::{path::PathBuf, sync::Arc, time::Duration};

use pyo3::prelude::*;
use ruvector_core::Error;
use ruvector_flight::{
    ask::{GetAsk, PutAsk, parse},
    client::Options,
};
use serde::de::DeserializeOwned;

use super::{
    connection::Connection,
    remote::{PyRemote, Remote},
};
use crate::{
    args::Whole,
    error::Result,
    index::PyIndex,
    input::{Given, Role},
    lake::PyRows,
};

/// A client of a server.
#[pyclass(name = "FlightClient", module = "ruvector", frozen)]
pub(crate) struct PyFlightClient(Arc<Connection>);

/// Makes a client. Nothing is sent before something is asked.
#[pyfunction]
pub(crate) fn flight_connect(
    location: String,
    token: Option<String>,
    roots: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    timeout: Option<f64>,
    retries: Whole,
) -> Result<PyFlightClient> {
    let timeout = timeout.map(|timeout| {
        let time = Duration::try_from_secs_f64(timeout).ok().filter(|time| !time.is_zero());
        time.ok_or_else(|| Error::invalid_parameter("timeout", "seconds, above 0", timeout.to_string()))
    });
    let many = u32::try_from(retries.0)
        .map_err(|_| Error::invalid_parameter("retries", "at least 0", retries.0.to_string()))?;
    let options = Options { token, roots, certificate, timeout: timeout.transpose()?, retries: many };
    Ok(PyFlightClient(Arc::new(Connection::new(location, options)?)))
}

#[pymethods]
impl PyFlightClient {
    /// The server.
    fn location(&self) -> &str {
        self.0.location()
    }

    /// What it has under a name. It is not asked whether it has.
    fn remote(&self, collection: String) -> PyRemote {
        PyRemote::new(Remote::new(Arc::clone(&self.0), collection))
    }

    /// Asks for an action and returns its answers, which are JSON. One that changes nothing may be asked for `again`.
    fn action(&self, py: Python<'_>, kind: &str, body: &str, again: bool) -> Result<Vec<String>> {
        self.0.wait(py, |client| async move { client.action(kind, body, again).await })
    }

    /// Sends rows: `ask` says, as JSON, what becomes of them. Returns what the server says to each batch.
    #[pyo3(signature = (ask, data, ids, column))]
    fn put(
        &self,
        py: Python<'_>,
        ask: &str,
        data: &Bound<'_, PyAny>,
        ids: Option<&Bound<'_, PyAny>>,
        column: Option<&str>,
    ) -> Result<Vec<String>> {
        let ask: PutAsk = read(ask)?;
        let given = Given::read(data, Role::Vectors)?;
        let vectors = given.vectors(py, column, None)?;
        let ids = match (&ask, ids) {
            (PutAsk::Upsert(_), Some(ids)) => Some(given.repeated_ids(ids)?),
            (_, ids) => given.ids(ids, vectors.len())?,
        };
        self.0.wait(py, |client| async move { client.put(&ask, Some(vectors), ids).await })
    }

    /// Sends ids of rows that go.
    fn delete(&self, py: Python<'_>, ask: &str, ids: &Bound<'_, PyAny>) -> Result<Vec<String>> {
        let ask: PutAsk = read(ask)?;
        let ids = Given::read(ids, Role::Ids)?.list()?;
        self.0.wait(py, |client| async move { client.put(&ask, None, Some(ids)).await })
    }

    /// A stream of what a ticket stands for.
    fn rows(&self, py: Python<'_>, ask: &str) -> Result<PyRows> {
        let ask: GetAsk = read(ask)?;
        let rows = self.0.wait(py, |client| async move { client.get(&ask).await })?;
        Ok(PyRows::new(Box::new(rows)))
    }

    /// An index, in memory here.
    fn index(&self, py: Python<'_>, ask: &str) -> Result<PyIndex> {
        let ask: GetAsk = read(ask)?;
        Ok(PyIndex::new(self.0.wait(py, |client| async move { client.index(&ask).await })?, None))
    }
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T> {
    Ok(parse("ask", json.as_bytes())?)
}
