//! SQL of a server's clients, run by an engine of `ruvector.flight._sql`. Statements are planned under the GIL, their rows
//! are pulled through the C stream without it.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchIterator, RecordBatchReader};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use pyo3::prelude::*;
use ruvector_core::{Error, Live, Unwatched};
use ruvector_flight::{
    Source,
    config::Engine,
    sql::engine::{
        Constraint, Described, Existing, Ingest, Namespace, Result as SqlResult, Rows, SqlConnection,
        SqlEngine, SqlError, Table, Tenant,
    },
};

use crate::{
    error::{Failure, Result},
    gate,
    index::PyIndex,
    input::{self, Table as Stream},
    lake::PyRows,
};

/// Who runs SQL, for the engine to ask.
#[pyclass(name = "FlightTenant", module = "ruvector", frozen)]
pub(crate) struct PyTenant(Arc<Tenant>);

#[pymethods]
impl PyTenant {
    /// Tells tenants apart.
    #[getter]
    fn key(&self) -> &str {
        self.0.key()
    }

    /// Whether the tenant may know of what has this name.
    fn knows(&self, name: &str) -> bool {
        self.0.knows(name)
    }

    /// The index that a name stands for; of a collection, that of the state that answers now.
    fn find(&self, py: Python<'_>, name: &str) -> Result<PyIndex> {
        let found = self.0.find(name).map_err(|error| {
            let expected = match error {
                SqlError::Denied(_) => "a caller who may search",
                _ => "the name of an index or a collection that is served",
            };
            Error::invalid_parameter("index", expected, format!("{name:?}"))
        })?;
        match found {
            Source::Index(live) => Ok(PyIndex::shared(live)),
            Source::Collection { lake, key, predicate } => {
                let principal = self.0.principal();
                let lake = principal.map_or_else(|| lake.clone(), |principal| lake.acting_as(principal));
                let visible = py.detach(|| lake.hold(&key, &predicate, &Unwatched)?.visible())?;
                let snapshot = visible.ok_or_else(|| Error::EmptyIndex(format!("{key} has no rows")))?;
                Ok(PyIndex::of(Live::at(snapshot).freeze()))
            }
        }
    }
}

/// An engine in Python.
pub(crate) struct PyEngine {
    engine: Py<PyAny>,
    version: (String, String),
}

impl PyEngine {
    pub(crate) fn open(engine: Py<PyAny>) -> Result<Engine> {
        let version = Python::attach(|py| engine.bind(py).call_method0("version")?.extract())?;
        Ok(Engine(Arc::new(Self { engine, version })))
    }
}

impl SqlEngine for PyEngine {
    fn version(&self) -> (String, String) {
        self.version.clone()
    }

    fn connect(&self, tenant: &Arc<Tenant>) -> SqlResult<Arc<dyn SqlConnection>> {
        asked(|py| {
            let tenant = PyTenant(Arc::clone(tenant)).into_pyobject(py)?;
            let connection = self.engine.bind(py).call_method1("connect", (tenant,))?.unbind();
            Ok(Arc::new(PyConnection(connection)) as Arc<dyn SqlConnection>)
        })
    }
}

/// A connection of an engine's.
struct PyConnection(Py<PyAny>);

impl SqlConnection for PyConnection {
    fn describe(&self, sql: &str) -> SqlResult<Described> {
        asked(|py| {
            let described = self.0.bind(py).call_method1("describe", (sql,))?;
            let (answer, parameters): (Bound<'_, PyAny>, Bound<'_, PyAny>) = described.extract()?;
            let (answer, parameters) = (schema(&answer)?, schema(&parameters)?);
            Ok(Described { answer: answer.into(), parameters: parameters.into() })
        })
    }

    fn run(&self, sql: &str, row: Option<&RecordBatch>) -> SqlResult<Rows> {
        asked(|py| {
            let rows = self.0.bind(py).call_method1("run", (sql, row.map(carried)))?;
            let stream = input::reader(&rows)?;
            let schema = RecordBatchReader::schema(&stream);
            let rows = Pulled { stream: Some(stream), schema, rows: rows.unbind(), sql: sql.to_owned() };
            Ok(Box::new(rows) as Rows)
        })
    }

    fn update(&self, sql: &str, row: Option<&RecordBatch>) -> SqlResult<i64> {
        asked(|py| Ok(self.0.bind(py).call_method1("update", (sql, row.map(carried)))?.extract()?))
    }

    fn ingest(&self, into: &Ingest, rows: Rows) -> SqlResult<i64> {
        let existing = match into.existing {
            Existing::Refuse => "refuse",
            Existing::Append => "append",
            Existing::Replace => "replace",
        };
        asked(|py| {
            let Ingest { catalog, schema, table, create, .. } = into;
            let arguments = (catalog, schema, table, create, existing, PyRows::new(rows));
            Ok(self.0.bind(py).call_method1("ingest", arguments)?.extract()?)
        })
    }

    fn begin(&self) -> SqlResult<()> {
        asked(|py| Ok(self.0.bind(py).call_method0("begin").map(drop)?))
    }

    fn end(&self, commit: bool) -> SqlResult<()> {
        asked(|py| Ok(self.0.bind(py).call_method1("end", (commit,)).map(drop)?))
    }

    fn interrupt(&self) {
        // Whoever is to be interrupted learns of what goes wrong here, too.
        let _told = asked(|py| Ok(self.0.bind(py).call_method0("interrupt").map(drop)?));
    }

    fn tables(&self, with_columns: bool) -> SqlResult<Vec<Namespace>> {
        type Listed<'py> = (String, String, Vec<(String, String, Bound<'py, PyAny>)>);
        asked(|py| {
            let listed = self.0.bind(py).call_method1("tables", (with_columns,))?;
            let listed: Vec<Listed<'_>> = listed.extract()?;
            let table = |(name, kind, columns): (String, String, Bound<'_, PyAny>)| {
                Ok(Table { name, kind, columns: schema(&columns)? })
            };
            let namespace = |(catalog, name, tables): Listed<'_>| {
                let tables = tables.into_iter().map(table).collect::<Result<_>>()?;
                Ok(Namespace { catalog, name, tables })
            };
            listed.into_iter().map(namespace).collect()
        })
    }

    fn keys(&self) -> SqlResult<Vec<Constraint>> {
        type Listed = (String, String, String, Vec<String>, Option<String>, Option<String>, Vec<String>);
        asked(|py| {
            let listed: Vec<Listed> = self.0.bind(py).call_method0("keys")?.extract()?;
            let key = |(catalog, schema, table, columns, name, target, there): Listed| Constraint {
                of: [catalog, schema, table],
                columns,
                name,
                references: target.map(|target| (target, there)),
            };
            Ok(listed.into_iter().map(key).collect())
        })
    }
}

impl Drop for PyConnection {
    fn drop(&mut self) {
        // A transaction that was not ended is rolled back by this.
        let _told = asked(|py| Ok(self.0.bind(py).call_method0("close").map(drop)?));
    }
}

/// One row of values, as Arrow.
fn carried(row: &RecordBatch) -> PyRows {
    PyRows::new(Box::new(RecordBatchIterator::new([Ok(row.clone())], row.schema())))
}

fn schema(object: &Bound<'_, PyAny>) -> Result<Schema> {
    input::table_schema(&object.call_method0("__arrow_c_schema__")?)
}

/// Rows that the engine makes as they are asked for.
struct Pulled {
    /// `None` once it is closed.
    stream: Option<Stream>,
    schema: SchemaRef,
    /// The reader that the rows come from, which is closed so that the connection is free.
    rows: Py<PyAny>,
    sql: String,
}

impl Iterator for Pulled {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.stream.as_mut()?.next() {
            Some(Ok(batch)) => Some(Ok(batch)),
            None => {
                self.close();
                None
            }
            Some(Err(error)) => {
                self.close();
                let text = match &error {
                    ArrowError::ExternalError(inner) => inner.to_string(),
                    other => other.to_string(),
                };
                Some(Err(ArrowError::ExternalError(Box::new(told(&text, &self.sql)))))
            }
        }
    }
}

impl RecordBatchReader for Pulled {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}

impl Pulled {
    fn close(&mut self) {
        if self.stream.take().is_some() {
            let _closed = asked(|py| Ok(self.rows.bind(py).call_method0("close").map(drop)?));
        }
    }
}

impl Drop for Pulled {
    fn drop(&mut self) {
        self.close();
    }
}

/// Asks Python for something, on a thread that may wait for the GIL.
fn asked<T>(work: impl FnOnce(Python<'_>) -> Result<T>) -> SqlResult<T> {
    let asked = gate::attach(|py| work(py).map_err(|failure| refusal(py, failure)));
    asked.unwrap_or_else(|| Err(SqlError::Failed("the interpreter is going away".into())))
}

/// What the engine refuses: `Refusal` of `ruvector.flight._sql`. Anything else is a fault of the server's.
fn refusal(py: Python<'_>, failure: Failure) -> SqlError {
    let raised = PyErr::from(failure);
    let value = raised.value(py);
    let said = |name: &str| value.getattr(name).and_then(|said| said.extract::<String>());
    match (said("kind"), said("message")) {
        (Ok(kind), Ok(message)) => of_kind(&kind, message),
        _ => SqlError::Failed(format!("the engine failed: {}", raised.value(py).get_type())),
    }
}

fn of_kind(kind: &str, message: String) -> SqlError {
    match kind {
        "refused" => SqlError::Refused(message),
        "denied" => SqlError::Denied(message),
        "exhausted" => SqlError::Exhausted(message),
        "interrupted" => SqlError::Interrupted,
        _ => SqlError::Failed(message),
    }
}

/// The refusal for what an engine says while rows are read.
fn told(text: &str, sql: &str) -> SqlError {
    let refused = asked(|py| {
        let refused = py.import("ruvector.flight._sql")?.call_method1("told", (text, sql))?;
        Ok((refused.getattr("kind")?.extract::<String>()?, refused.getattr("message")?.extract::<String>()?))
    });
    refused.map_or_else(|error| error, |(kind, message)| of_kind(&kind, message))
}
