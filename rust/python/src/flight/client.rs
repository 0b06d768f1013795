//! The class `FlightClient` of the extension: what `ruvector.flight` gives names and defaults to.

use std::{path::PathBuf, sync::Arc, time::Duration};

use pyo3::prelude::*;
use ruvector_core::Error;
use ruvector_flight::client::Options;

use super::{
    connection::Connection,
    remote::{PyRemote, Remote},
};
use crate::{args::Whole, error::Result};

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
}
