//! Where vectors live: what the lake asks of it.

mod columns;
mod fs;
mod local;
#[cfg(feature = "parquet")]
pub mod parquet;
pub mod ruvec1;

pub use columns::{find_columns, project, project_schema};
pub use fs::FsBackend;
pub use local::LocalBackend;

use arrow_array::{RecordBatchIterator, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use ruvector_core::{Hits, Vectors};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    generation::Generation,
    predicate::Predicate,
};

/// Rows as they come.
pub type Batches = Box<dyn RecordBatchReader + Send>;

/// An adapter to where vectors live. It owns the rows; the lake keeps indexes of them and nothing else.
///
/// Calls come from several threads at once. What takes long is [`Backend::pull`]; [`Backend::state`] is asked before
/// every search of a collection that must be fresh, and should cost no more than reading a header.
pub trait Backend: Send + Sync {
    /// The name the lake knows it by.
    fn id(&self) -> &str;

    /// The collections it has.
    ///
    /// # Errors
    /// [`Error::Backend`] when it cannot tell.
    fn list_collections(&self) -> Result<Vec<String>>;

    /// What there is to know about a collection without reading its rows.
    ///
    /// # Errors
    /// [`Error::UnknownCollection`], [`Error::Backend`].
    fn state(&self, collection: &str) -> Result<State>;

    /// The token of a collection's present state.
    ///
    /// # Errors
    /// As [`Backend::state`].
    fn generation(&self, collection: &str) -> Result<Generation> {
        Ok(self.state(collection)?.generation)
    }

    /// Whether [`Backend::generation`] answers from memory: then nobody makes a thread for asking.
    fn is_immediate(&self) -> bool {
        false
    }

    /// The rows of a collection. They need not be of the state that was told last: the lake asks for the generation
    /// once more when it has them.
    ///
    /// # Errors
    /// As [`Backend::state`]; what fails later comes as an error of the stream.
    fn pull(&self, collection: &str, pull: &Pull) -> Result<Batches>;

    /// The nearest rows of each query as the backend itself finds them; `None` if it does not search.
    ///
    /// # Errors
    /// As [`Backend::state`].
    fn push_down_topk(&self, collection: &str, queries: &Vectors, k: usize) -> Result<Option<Hits>> {
        let _ = (collection, queries, k);
        Ok(None)
    }
}

/// What a backend tells about a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Where the rows lie, the same for everybody who reads them: equal places of one generation share an index.
    pub data_ref: String,
    /// Elements per vector.
    pub dim: usize,
    /// The token of this state.
    pub generation: Generation,
    /// The column of vectors.
    pub vector: String,
    /// The column of ids; without one rows are known by their numbers.
    pub id: Option<String>,
    /// What the rows are made of, in their order; empty where nothing is known. It lets the lake read only what is new.
    pub pieces: Vec<Piece>,
}

/// Consecutive rows that stay as they are as long as their name does. More may come at the end of the last piece.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// What they are known by.
    pub name: String,
    /// How many there are.
    pub rows: u64,
}

impl State {
    /// How many rows of this state were there before, if all of them were, and nothing but rows at the end is new.
    pub fn rows_since(&self, before: &Self) -> Option<u64> {
        let alike = (&self.data_ref, self.dim, &self.vector, &self.id)
            == (&before.data_ref, before.dim, &before.vector, &before.id);
        let (last, sealed) = before.pieces.split_last()?;
        let same = self.pieces.starts_with(sealed);
        let grown = self.pieces.get(sealed.len())?;
        let only_last = self.pieces.len() == before.pieces.len() || grown.rows == last.rows;
        let kept = alike && same && grown.name == last.name && grown.rows >= last.rows && only_last;
        kept.then(|| before.pieces.iter().map(|piece| piece.rows).sum())
    }
}

/// Which rows and columns are wanted.
#[derive(Clone, Debug, Default)]
pub struct Pull {
    /// The columns, in this order; `None` is all of them.
    pub projection: Option<Vec<String>>,
    /// What rows must fulfil. A backend may leave out what it knows not to fulfil it; the lake looks at the rest.
    pub predicate: Predicate,
    /// Rows to leave out at the beginning.
    pub skip_rows: u64,
}

/// Batches from an iterator.
pub fn batches<I>(schema: SchemaRef, rows: I) -> Batches
where
    I: Iterator<Item = Result<arrow_array::RecordBatch>> + Send + 'static,
{
    let rows = rows.map(|batch| batch.map_err(|error| ArrowError::ExternalError(Box::new(error))));
    Box::new(RecordBatchIterator::new(rows, schema))
}

/// The error a stream brought, as the lake's own.
pub fn stream_error(backend: &str, error: ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(other) => Error::backend(backend, other),
        },
        other => Error::backend(backend, other),
    }
}

pub(crate) fn unknown(backend: &str, collection: &str) -> Error {
    Error::UnknownCollection { backend: backend.into(), collection: collection.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(pieces: &[(&str, u64)]) -> State {
        let pieces = pieces.iter().map(|&(name, rows)| Piece { name: name.into(), rows }).collect();
        State {
            data_ref: "x".into(),
            dim: 2,
            generation: Generation::Number(0),
            vector: "v".into(),
            id: None,
            pieces,
        }
    }

    #[test]
    fn only_what_has_grown_at_its_end_counts_as_grown() {
        let before = state(&[("a", 3), ("b", 2)]);
        for (now, expected) in [
            (state(&[("a", 3), ("b", 2)]), Some(5)),
            (state(&[("a", 3), ("b", 4)]), Some(5)),
            (state(&[("a", 3), ("b", 2), ("c", 9)]), Some(5)),
            (state(&[("a", 3), ("b", 4), ("c", 9)]), None),
            (state(&[("a", 3), ("b", 1)]), None),
            (state(&[("a", 3)]), None),
            (state(&[("b", 2), ("a", 3)]), None),
            (state(&[("a", 4), ("b", 2)]), None),
            (state(&[]), None),
        ] {
            assert_eq!(now.rows_since(&before), expected, "{:?}", now.pieces);
        }
        assert_eq!(state(&[("a", 1)]).rows_since(&state(&[])), None);
        let other = State { data_ref: "y".into(), ..before.clone() };
        assert_eq!(other.rows_since(&before), None);
    }
}
