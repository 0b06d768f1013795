//! The class `FlightServer` of the extension: a server on threads of its own, which never touch the interpreter.

use std::{
    mem,
    net::SocketAddr,
    path::PathBuf,
    process,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pyo3::prelude::*;
use ruvector_core::Error;
use ruvector_flight::{
    Catalog, Config, Server, Source,
    auth::{Token, Verb},
    config::{Limits, LogTo, Tls},
};

use super::sql::PyEngine;
use crate::{
    args::Whole,
    error::Result,
    index::PyIndex,
    lake::{PyLake, PyTarget},
};

/// What can be given a name.
#[derive(FromPyObject)]
pub(crate) enum Served<'py> {
    /// An index.
    Index(Bound<'py, PyIndex>),
    /// A collection of a lake.
    Lake(Bound<'py, PyTarget>),
}

impl Served<'_> {
    fn source(&self) -> PyResult<Source> {
        Ok(match self {
            Self::Index(index) => Source::Index(index.get().get()?),
            Self::Lake(target) => {
                let (lake, key, predicate) = target.get().parts();
                Source::Collection { lake, key, predicate }
            }
        })
    }
}

/// A bearer token, as a dict.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct TokenGiven {
    secret: String,
    principal: String,
    collections: Option<Vec<String>>,
    verbs: Vec<String>,
}

impl TokenGiven {
    fn token(self) -> Result<Token> {
        let verb = |name: String| {
            let known = Verb::ALL.into_iter().find(|verb| verb.name() == name);
            let expected = || format!("some of {:?}", Verb::ALL.map(Verb::name));
            known.ok_or_else(|| Error::invalid_parameter("verbs", expected(), format!("{name:?}")))
        };
        let verbs = self.verbs.into_iter().map(verb).collect::<Result<_, _>>()?;
        let Self { secret, principal, collections, .. } = self;
        Ok(Token { secret, principal, collections, verbs })
    }
}

/// How a server is run, as a dict.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Run {
    listen: String,
    tls: Option<(PathBuf, PathBuf)>,
    client_roots: Option<PathBuf>,
    tokens: Vec<TokenGiven>,
    message_bytes: Option<Whole>,
    client_bytes: Option<Whole>,
    upload_bytes: Option<Whole>,
    client_calls: Option<Whole>,
    connections: Option<Whole>,
    handshake: Option<f64>,
    deadline: Option<f64>,
    k: Option<Whole>,
    metrics: Option<String>,
    /// `None` is nowhere, and an empty path the standard error.
    log: Option<PathBuf>,
    threads: Option<Whole>,
    drain: f64,
    /// What runs SQL: an engine of `ruvector.flight._sql`.
    sql: Option<Py<PyAny>>,
}

impl Run {
    fn config(self) -> Result<Config> {
        let mut limits = Limits::default();
        let counts = [
            (&mut limits.message_bytes, self.message_bytes, "message_bytes"),
            (&mut limits.client_bytes, self.client_bytes, "client_bytes"),
            (&mut limits.upload_bytes, self.upload_bytes, "upload_bytes"),
            (&mut limits.connections, self.connections, "connections"),
            (&mut limits.client_calls, self.client_calls, "client_calls"),
            (&mut limits.k, self.k, "k"),
        ];
        for (limit, given, name) in counts {
            if let Some(given) = given {
                *limit = given.count(name)?;
            }
        }
        limits.deadline = self.deadline.map(|deadline| seconds("deadline", deadline)).transpose()?;
        if let Some(handshake) = self.handshake {
            limits.handshake = seconds("handshake", handshake)?;
        }
        let client_roots = self.client_roots;
        Ok(Config {
            listen: address("location", &self.listen)?,
            tls: self.tls.map(|(certificates, key)| Tls { certificates, key, client_roots }),
            tokens: self.tokens.into_iter().map(TokenGiven::token).collect::<Result<_>>()?,
            limits,
            metrics: self.metrics.map(|metrics| address("metrics", &metrics)).transpose()?,
            threads: self.threads.map(|threads| threads.count("threads")).transpose()?,
            log: match self.log {
                None => LogTo::Nowhere,
                Some(path) if path.as_os_str().is_empty() => LogTo::Stderr,
                Some(path) => LogTo::File(path),
            },
            drain: seconds("drain", self.drain)?,
            sql: self.sql.map(PyEngine::open).transpose()?,
        })
    }
}

fn address(name: &str, given: &str) -> Result<SocketAddr> {
    Ok(given
        .parse()
        .map_err(|_| Error::invalid_parameter(name, "an ip address and a port", format!("{given:?}")))?)
}

fn seconds(name: &str, given: f64) -> Result<Duration> {
    let time = Duration::try_from_secs_f64(given);
    Ok(time.map_err(|_| Error::invalid_parameter(name, "seconds, at least 0", given.to_string()))?)
}

/// A server that is running, or was.
#[pyclass(name = "FlightServer", module = "ruvector", frozen)]
pub(crate) struct PyFlightServer {
    /// `None` once it is stopped.
    server: Mutex<Option<Server>>,
    catalog: Arc<Catalog>,
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    /// The process that it runs in: a forked child has none of its threads.
    process: u32,
}

/// Starts a server for things with names and files, and the collections of a lake.
#[pyfunction]
pub(crate) fn flight_serve(
    py: Python<'_>,
    served: Vec<(String, Served<'_>, Option<PathBuf>)>,
    lake: Option<PyRef<'_, PyLake>>,
    folder: Option<PathBuf>,
    run: Run,
) -> Result<PyFlightServer> {
    let catalog = Arc::new(Catalog::new(lake.map(|lake| lake.lake.clone()), folder));
    for (name, what, path) in served {
        catalog.put(&name, what.source()?, path)?;
    }
    let (config, given) = (run.config()?, Arc::clone(&catalog));
    let server = py.detach(|| Server::start(given, config)).map_err(|error| {
        let path = PathBuf::from(error.what);
        ruvector_lake::Error::Io { path, source: error.source.into() }
    })?;
    let (address, metrics) = (server.address(), server.metrics_address());
    Ok(PyFlightServer { server: Mutex::new(Some(server)), catalog, address, metrics, process: process::id() })
}

impl PyFlightServer {
    fn take(&self) -> Option<Server> {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if self.process == process::id() {
            return server;
        }
        // Threads and locks are the parent's: there is nothing here to stop.
        mem::forget(server);
        None
    }
}

#[pymethods]
impl PyFlightServer {
    /// Where it listens: address and port.
    fn address(&self) -> (String, u16) {
        (self.address.ip().to_string(), self.address.port())
    }

    /// Where its figures are read.
    fn metrics(&self) -> Option<String> {
        self.metrics.map(|metrics| metrics.to_string())
    }

    /// Gives something a name.
    fn put(&self, py: Python<'_>, name: &str, what: Served<'_>, path: Option<PathBuf>) -> Result<()> {
        let source = what.source()?;
        // What had the name may be dropped, which may take long.
        Ok(py.detach(|| self.catalog.put(name, source, path))?)
    }

    /// Takes a name out.
    fn remove(&self, py: Python<'_>, name: &str) -> bool {
        py.detach(|| self.catalog.remove(name))
    }

    /// The names of indexes and named collections.
    fn names(&self, py: Python<'_>) -> Vec<String> {
        py.detach(|| self.catalog.names())
    }

    /// Takes no more calls and waits for those under way. Whether all of them came to their end; `None` if it was
    /// stopped before, or is another process's.
    fn stop(&self, py: Python<'_>, drain: Option<f64>) -> Result<Option<bool>> {
        let drain = drain.map(|drain| seconds("drain", drain)).transpose()?;
        let server = self.take();
        Ok(py.detach(|| server.map(|server| server.stop_within(drain))))
    }

    /// Whether it runs, in this process.
    fn running(&self) -> bool {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.is_some() && self.process == process::id()
    }
}

impl Drop for PyFlightServer {
    fn drop(&mut self) {
        drop(self.take());
    }
}
