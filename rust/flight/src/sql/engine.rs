//! What the service asks of an SQL engine. No engine is linked here: whoever starts a server brings one.

use std::{fmt, sync::Arc};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{Schema, SchemaRef};

use crate::{
    auth::{Caller, Verb},
    catalog::{Catalog, Source},
};

/// Rows that an engine gives one batch after the other.
pub type Rows = Box<dyn RecordBatchReader + Send>;

/// The result of what an engine is asked for.
pub type Result<T> = std::result::Result<T, SqlError>;

/// Why an engine does not do something.
#[derive(Debug)]
pub enum SqlError {
    /// The statement cannot be meant.
    Refused(String),
    /// It may not be run here.
    Denied(String),
    /// It needs more than there is.
    Exhausted(String),
    /// It was stopped.
    Interrupted,
    /// The engine is broken.
    Failed(String),
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(message)
            | Self::Denied(message)
            | Self::Exhausted(message)
            | Self::Failed(message) => f.write_str(message),
            Self::Interrupted => f.write_str("the statement was stopped"),
        }
    }
}

impl std::error::Error for SqlError {}

/// An engine that runs SQL for many tenants.
pub trait SqlEngine: Send + Sync {
    /// Its name and its version, for clients to see.
    fn version(&self) -> (String, String);

    /// Opens a connection for a tenant, who sees what the tenant's other connections made and nothing of others'.
    ///
    /// # Errors
    /// When there can be no more connections.
    fn connect(&self, tenant: &Arc<Tenant>) -> Result<Arc<dyn SqlConnection>>;
}

/// A connection of one tenant's. One statement runs at a time; only [`SqlConnection::interrupt`] may be called meanwhile.
pub trait SqlConnection: Send + Sync {
    /// Tells of a statement without running it.
    ///
    /// # Errors
    /// When it is no statement, or not one that may be run.
    fn describe(&self, sql: &str) -> Result<Described>;

    /// Runs a statement. `row` is one row of values for its parameters. No other statement may begin before the rows are
    /// read or dropped.
    ///
    /// # Errors
    /// When the statement fails.
    fn run(&self, sql: &str, row: Option<&RecordBatch>) -> Result<Rows>;

    /// Runs a statement for what it changes, and tells how many rows that were.
    ///
    /// # Errors
    /// When the statement fails.
    fn update(&self, sql: &str, row: Option<&RecordBatch>) -> Result<i64>;

    /// Writes rows into a table, and tells how many.
    ///
    /// # Errors
    /// When there must be such a table and is none, or must be none and is one, or rows do not fit.
    fn ingest(&self, into: &Ingest, rows: Rows) -> Result<i64>;

    /// Begins a transaction, which goes on until [`SqlConnection::end`].
    ///
    /// # Errors
    /// When there is one already.
    fn begin(&self) -> Result<()>;

    /// Ends a transaction.
    ///
    /// # Errors
    /// When it cannot be committed.
    fn end(&self, commit: bool) -> Result<()>;

    /// Stops the statement that runs, from another thread. Without one, nothing happens.
    fn interrupt(&self);

    /// The schemas there are, and the tables and views in them. Types of columns are found out on demand only.
    ///
    /// # Errors
    /// When the engine fails.
    fn tables(&self, with_columns: bool) -> Result<Vec<Namespace>>;

    /// Primary and foreign keys.
    ///
    /// # Errors
    /// When the engine fails.
    fn keys(&self) -> Result<Vec<Constraint>>;
}

/// What a statement is.
#[derive(Clone, Debug)]
pub struct Described {
    /// The columns of its answer; empty if it has none or they depend on parameters.
    pub answer: SchemaRef,
    /// Its parameters, in their order.
    pub parameters: SchemaRef,
}

/// Where rows are written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingest {
    /// The table's catalog; `None` is the one there is.
    pub catalog: Option<String>,
    /// The table's schema; `None` is the default.
    pub schema: Option<String>,
    /// The table.
    pub table: String,
    /// Whether a table that is missing is made.
    pub create: bool,
    /// What becomes of a table that is there.
    pub existing: Existing,
}

/// What becomes of a table that rows are written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It must not be there.
    Refuse,
    /// Rows are added.
    Append,
    /// It is dropped.
    Replace,
}

/// A schema of a catalog, with what lies in it.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// The catalog.
    pub catalog: String,
    /// The schema.
    pub name: String,
    /// Its tables and views.
    pub tables: Vec<Table>,
}

/// A table or a view.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// `TABLE` or `VIEW`.
    pub kind: String,
    /// Its columns, where they were asked for.
    pub columns: Schema,
}

/// A key.
#[derive(Clone, Debug)]
pub struct Constraint {
    /// The catalog, the schema and the table that has it.
    pub of: [String; 3],
    /// Its columns.
    pub columns: Vec<String>,
    /// Its name.
    pub name: Option<String>,
    /// The table that a foreign key points into, and the columns there; `None` for a primary key.
    pub references: Option<(String, Vec<String>)>,
}

/// Who runs SQL, and what they may search.
pub struct Tenant {
    caller: Caller,
    key: String,
    catalog: Arc<Catalog>,
}

impl Tenant {
    pub(crate) fn new(caller: &Caller, catalog: &Arc<Catalog>) -> Self {
        Self { caller: caller.clone(), key: caller.rights(), catalog: Arc::clone(catalog) }
    }

    /// Tells tenants apart: callers with one key are the same one, and may do the same.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Who it is for the policies of a lake.
    pub fn principal(&self) -> Option<&str> {
        self.caller.principal()
    }

    /// Whether the tenant may know of what has this name.
    pub fn knows(&self, name: &str) -> bool {
        self.caller.knows(name)
    }

    /// What a name stands for.
    ///
    /// # Errors
    /// [`SqlError::Refused`] if there is no such thing, or none that the tenant may know of; [`SqlError::Denied`] if the
    /// tenant may not search.
    pub fn find(&self, name: &str) -> Result<Source> {
        let found = if self.caller.knows(name) { self.catalog.find(name) } else { None };
        let Some(served) = found else {
            return Err(SqlError::Refused(format!(
                "index: expected the name of one that is served, got {name:?}"
            )));
        };
        let denied = |status: tonic::Status| SqlError::Denied(status.message().to_owned());
        self.caller.may(Verb::Search).map_err(denied)?;
        Ok(served.source.clone())
    }
}
