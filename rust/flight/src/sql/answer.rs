//! Answers of an engine that are read batch by batch, off the threads that speak with clients, and stopped when nobody
//! waits for them any more.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use futures::Stream;
use tonic::{Code, Status};

use super::engine::{Result, Rows, SqlConnection, SqlError};
use crate::status::named;

/// How much of an answer is kept when the next statement of its transaction begins before it was read to its end.
const KEPT_BYTES: usize = 64 << 20;

/// Asks an engine on a thread that may wait. When whoever asked goes away, the engine is told to stop.
pub(super) async fn asked<T: Send + 'static>(
    connection: &Arc<dyn SqlConnection>,
    work: impl FnOnce(&Arc<dyn SqlConnection>) -> Result<T> + Send + 'static,
) -> std::result::Result<T, Status> {
    let mut guard = Interrupt(Some(Arc::clone(connection)));
    let theirs = Arc::clone(connection);
    let done = tokio::task::spawn_blocking(move || work(&theirs)).await;
    let connection = guard.0.take();
    match done {
        // It may have been the last one who holds the connection, and closing one takes a while.
        Ok(done) => {
            drop(connection);
            done.map_err(status)
        }
        Err(_) => {
            Err(named(Code::Internal, "RuVectorError", "internal: the engine panicked, please report it"))
        }
    }
}

/// Stops what a connection does unless it is taken out before.
struct Interrupt(Option<Arc<dyn SqlConnection>>);

impl Drop for Interrupt {
    fn drop(&mut self) {
        let Some(connection) = self.0.take() else { return };
        // A thread of its own: the runtime may be on its way out, which is when this matters most. It does not wait here,
        // because engines may have locks that others hold for long.
        let interrupt = move || connection.interrupt();
        let _spawned = thread::Builder::new().name("ruvector-flight-stop".into()).spawn(interrupt);
    }
}

/// Does what may take a while on a thread that may wait.
pub(super) fn elsewhere(work: impl FnOnce() + Send + 'static) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => {
            let _unawaited = runtime.spawn_blocking(work);
        }
        Err(_) => work(),
    }
}

/// What clients are told of an engine's refusal.
pub(super) fn status(error: SqlError) -> Status {
    match error {
        SqlError::Refused(message) => named(Code::InvalidArgument, "InvalidParameter", message),
        SqlError::Denied(message) => named(Code::PermissionDenied, "PolicyDenied", message),
        SqlError::Exhausted(message) => named(Code::ResourceExhausted, "TooLarge", message),
        SqlError::Failed(message) => named(Code::Internal, "RuVectorError", message),
        SqlError::Interrupted => named(Code::Cancelled, "RuVectorError", error.to_string()),
    }
}

/// The rows of one statement, for one reader.
pub(super) struct Answer {
    pub(super) schema: SchemaRef,
    pub(super) connection: Arc<dyn SqlConnection>,
    rows: Mutex<Left>,
}

/// What is left to be read.
enum Left {
    /// Rows that the engine still makes.
    Coming(Rows),
    /// Rows that were read ahead.
    Kept(VecDeque<Result<RecordBatch>>),
    /// Rows that nobody can read any more.
    Lost,
}

impl Answer {
    pub(super) fn new(connection: Arc<dyn SqlConnection>, rows: Rows) -> Self {
        Self { schema: rows.schema(), connection, rows: Mutex::new(Left::Coming(rows)) }
    }

    /// The next rows.
    fn next(&self) -> Result<Option<RecordBatch>> {
        let mut left = self.lock();
        match &mut *left {
            Left::Coming(rows) => match rows.next() {
                Some(batch) => batch.map(Some).map_err(broken),
                None => {
                    *left = Left::Kept(VecDeque::new());
                    Ok(None)
                }
            },
            Left::Kept(rows) => rows.pop_front().transpose(),
            Left::Lost => Err(SqlError::Refused(
                "the rows are gone: the next statement of the transaction began before they were read".into(),
            )),
        }
    }

    /// Reads ahead so that the connection is free for another statement.
    pub(super) fn settle(&self) {
        let mut left = self.lock();
        let Left::Coming(rows) = &mut *left else { return };
        let (mut kept, mut bytes) = (VecDeque::new(), 0);
        for batch in rows {
            bytes += batch.as_ref().map_or(0, RecordBatch::get_array_memory_size);
            kept.push_back(batch.map_err(broken));
            if bytes > KEPT_BYTES {
                *left = Left::Lost;
                return;
            }
        }
        *left = Left::Kept(kept);
    }

    fn lock(&self) -> MutexGuard<'_, Left> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows as a stream that asks for a batch when its reader takes one. Its end, whatever it is, is told.
    pub(super) fn stream(
        self: Arc<Self>,
        over: impl FnOnce() + Send + 'static,
    ) -> impl Stream<Item = std::result::Result<RecordBatch, Status>> + Send + 'static {
        let unread = Unread(Some(self), Some(Box::new(over)));
        futures::stream::try_unfold(unread, |unread| async move {
            let Some(answer) = &unread.0 else { return Ok(None) };
            let theirs = Arc::clone(answer);
            let Some(batch) = asked(&answer.connection, move |_| theirs.next()).await? else {
                return Ok(None);
            };
            Ok(Some((batch, unread)))
        })
    }
}

/// An answer that is let go of where that may take a while.
struct Unread(Option<Arc<Answer>>, Option<Box<dyn FnOnce() + Send>>);

impl Drop for Unread {
    fn drop(&mut self) {
        if let Some(over) = self.1.take() {
            over();
        }
        if let Some(answer) = self.0.take() {
            elsewhere(move || drop(answer));
        }
    }
}

/// What an engine says while rows are read comes through Arrow.
fn broken(error: ArrowError) -> SqlError {
    match error {
        ArrowError::ExternalError(inner) => match inner.downcast::<SqlError>() {
            Ok(error) => *error,
            Err(other) => SqlError::Refused(other.to_string()),
        },
        other => SqlError::Refused(other.to_string()),
    }
}

/// A statement that runs once for each row of its parameters, the answers behind each other.
pub(super) struct Repeated {
    pub(super) connection: Arc<dyn SqlConnection>,
    pub(super) sql: String,
    pub(super) left: VecDeque<RecordBatch>,
    pub(super) now: Rows,
    pub(super) schema: SchemaRef,
}

impl Repeated {
    /// Runs a statement. Without rows of parameters it runs once, as it is.
    pub(super) fn run(
        connection: &Arc<dyn SqlConnection>,
        sql: String,
        mut left: VecDeque<RecordBatch>,
    ) -> Result<Rows> {
        let first = left.pop_front();
        let now = connection.run(&sql, first.as_ref())?;
        if left.is_empty() {
            return Ok(now);
        }
        let schema = now.schema();
        Ok(Box::new(Self { connection: Arc::clone(connection), sql, left, now, schema }))
    }
}

impl Iterator for Repeated {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.now.next() {
                return Some(batch);
            }
            let row = self.left.pop_front()?;
            // The connection takes one statement at a time.
            self.now = Box::new(arrow_array::RecordBatchIterator::new(
                std::iter::empty(),
                SchemaRef::clone(&self.schema),
            ));
            match self.connection.run(&self.sql, Some(&row)) {
                Ok(rows) if rows.schema() == self.schema => self.now = rows,
                Ok(rows) => {
                    let message = format!(
                        "parameters: expected rows that all give {}, got one that gives {}",
                        self.schema,
                        rows.schema()
                    );
                    self.left.clear();
                    return Some(Err(ArrowError::ExternalError(Box::new(SqlError::Refused(message)))));
                }
                Err(error) => {
                    self.left.clear();
                    return Some(Err(ArrowError::ExternalError(Box::new(error))));
                }
            }
        }
    }
}

impl RecordBatchReader for Repeated {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}
