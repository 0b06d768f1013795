//! An engine that knows a few statements by heart, over lists of numbers that live in memory.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, RecordBatchIterator, cast::AsArray, types::Int64Type};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use ruvector_flight::sql::engine::{
    Constraint, Described, Existing, Ingest, Namespace, Result, Rows, SqlConnection, SqlEngine, SqlError,
    Table, Tenant,
};

type Tables = BTreeMap<String, Vec<i64>>;

/// What all tenants have, each for itself.
#[derive(Default)]
pub(crate) struct Numbers {
    tenants: Mutex<BTreeMap<String, Arc<Mutex<Tables>>>>,
    /// How many statements were stopped.
    pub(crate) stopped: Arc<Mutex<usize>>,
}

impl SqlEngine for Numbers {
    fn version(&self) -> (String, String) {
        ("Numbers".into(), "7".into())
    }

    fn connect(&self, tenant: &Arc<Tenant>) -> Result<Arc<dyn SqlConnection>> {
        let mut tenants = self.tenants.lock().unwrap();
        let tables = Arc::clone(tenants.entry(tenant.key().into()).or_default());
        Ok(Arc::new(Connection {
            tenant: Arc::clone(tenant),
            tables,
            before: Mutex::default(),
            interrupted: Arc::default(),
            stopped: Arc::clone(&self.stopped),
        }))
    }
}

struct Connection {
    tenant: Arc<Tenant>,
    tables: Arc<Mutex<Tables>>,
    /// What there was when the transaction began.
    before: Mutex<Option<Tables>>,
    interrupted: Arc<AtomicBool>,
    stopped: Arc<Mutex<usize>>,
}

pub(crate) fn numbers(name: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(name, DataType::Int64, false)]))
}

pub(crate) fn batch(name: &str, values: Vec<i64>) -> RecordBatch {
    RecordBatch::try_new(numbers(name), vec![Arc::new(Int64Array::from(values)) as ArrayRef]).unwrap()
}

fn rows(values: Vec<i64>) -> Rows {
    Box::new(RecordBatchIterator::new([Ok(batch("x", values))], numbers("x")))
}

fn bound(row: Option<&RecordBatch>) -> Result<i64> {
    let row = row.ok_or_else(|| SqlError::Refused("expected a value, got none".into()))?;
    assert_eq!(row.num_rows(), 1, "values come row by row");
    let column = row.column(0).as_primitive_opt::<Int64Type>();
    Ok(column.ok_or_else(|| SqlError::Refused("expected a number".into()))?.value(0))
}

impl Connection {
    /// Numbers without end, until it is stopped.
    fn forever(&self) -> Rows {
        let (interrupted, stopped) = (Arc::clone(&self.interrupted), Arc::clone(&self.stopped));
        let next = move |at: i64| {
            if interrupted.load(Ordering::Relaxed) {
                *stopped.lock().unwrap() += 1;
                return Err(ArrowError::ExternalError(Box::new(SqlError::Interrupted)));
            }
            Ok(batch("x", vec![at]))
        };
        Box::new(RecordBatchIterator::new((0..).map(next), numbers("x")))
    }
}

impl SqlConnection for Connection {
    fn describe(&self, sql: &str) -> Result<Described> {
        let (answer, parameters) = match sql.split(' ').next() {
            Some("ECHO") => (numbers("x"), numbers("1")),
            Some("ADD") => (Arc::new(Schema::empty()), numbers("1")),
            Some("ALL" | "COUNT" | "WHO") => (numbers("x"), Arc::new(Schema::empty())),
            _ => return Err(SqlError::Refused(format!("expected a statement, got {sql:?}"))),
        };
        Ok(Described { answer, parameters })
    }

    fn run(&self, sql: &str, row: Option<&RecordBatch>) -> Result<Rows> {
        let (verb, rest) = sql.split_once(' ').unwrap_or((sql, ""));
        match verb {
            "ECHO" => Ok(rows(vec![bound(row)?])),
            "ALL" => {
                let tables = self.tables.lock().unwrap();
                let found = tables.get(rest).cloned();
                Ok(rows(found.ok_or_else(|| SqlError::Refused(format!("no table {rest}")))?))
            }
            "KNOWS" => {
                let found = self.tenant.find(rest).map(|_| vec![i64::from(self.tenant.knows(rest))]);
                found.map(rows)
            }
            "FOREVER" => Ok(self.forever()),
            "SLOWLY" => {
                while !self.interrupted.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(1));
                }
                *self.stopped.lock().unwrap() += 1;
                Err(SqlError::Interrupted)
            }
            "DENIED" => Err(SqlError::Denied("not here".into())),
            "MUCH" => Err(SqlError::Exhausted("too much".into())),
            "BROKEN" => Err(SqlError::Failed("it broke".into())),
            "PANIC" => panic!("a fault of the engine's"),
            _ => Err(SqlError::Refused(format!("expected a statement, got {sql:?}"))),
        }
    }

    fn update(&self, sql: &str, row: Option<&RecordBatch>) -> Result<i64> {
        let Some(("ADD", name)) = sql.split_once(' ') else {
            return Err(SqlError::Refused(format!("expected a statement, got {sql:?}")));
        };
        let value = bound(row)?;
        if value < 0 {
            return Err(SqlError::Refused("expected a number of 0 or more".into()));
        }
        self.tables.lock().unwrap().entry(name.into()).or_default().push(value);
        Ok(1)
    }

    fn ingest(&self, into: &Ingest, rows: Rows) -> Result<i64> {
        let mut values = Vec::new();
        for batch in rows {
            let batch = batch.map_err(|error| SqlError::Refused(error.to_string()))?;
            values.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
        }
        let mut tables = self.tables.lock().unwrap();
        let there = tables.contains_key(&into.table);
        if there && into.existing == Existing::Refuse || !there && !into.create {
            return Err(SqlError::Refused(format!("table {}: there is {}", into.table, i32::from(there))));
        }
        if into.existing == Existing::Replace {
            tables.remove(&into.table);
        }
        let written = values.len() as i64;
        tables.entry(into.table.clone()).or_default().extend(values);
        Ok(written)
    }

    fn begin(&self) -> Result<()> {
        *self.before.lock().unwrap() = Some(self.tables.lock().unwrap().clone());
        Ok(())
    }

    fn end(&self, commit: bool) -> Result<()> {
        let before = self.before.lock().unwrap().take();
        let before = before.ok_or_else(|| SqlError::Refused("no transaction".into()))?;
        if !commit {
            *self.tables.lock().unwrap() = before;
        }
        Ok(())
    }

    fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Relaxed);
    }

    fn tables(&self, with_columns: bool) -> Result<Vec<Namespace>> {
        let columns = if with_columns { (*numbers("x")).clone() } else { Schema::empty() };
        let table =
            |name: &String| Table { name: name.clone(), kind: "TABLE".into(), columns: columns.clone() };
        let tables = self.tables.lock().unwrap().keys().map(table).collect();
        Ok(vec![Namespace { catalog: "numbers".into(), name: "main".into(), tables }])
    }

    fn keys(&self) -> Result<Vec<Constraint>> {
        let of = |table: &str| ["numbers", "main", table].map(String::from);
        let columns = vec!["x".to_owned()];
        let own = Constraint { of: of("kept"), columns: columns.clone(), name: None, references: None };
        let references = Some(("kept".to_owned(), columns.clone()));
        let name = Some("points".to_owned());
        Ok(vec![own, Constraint { of: of("other"), columns, name, references }])
    }
}
