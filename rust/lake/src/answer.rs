//! What a search of the lake answers: the nearest rows of all shards, and how each shard fared.

use std::{sync::Arc, time::Duration};

use arrow_array::{ArrayRef, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray, make_array};
use ruvector_core::{
    Hits,
    ids::{IdType, Ids, OwnedId},
};

use crate::{
    error::{Error, Result},
    generation::Generation,
    key::Key,
    witness::Witness,
};

/// A row that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Where it lies.
    pub key: Arc<Key>,
    /// Its id.
    pub id: OwnedId,
    /// Its distance.
    pub distance: f32,
}

/// How a shard fared.
#[derive(Clone, Debug)]
pub enum Status {
    /// It answered.
    Answered,
    /// It has no rows.
    Empty,
    /// It did not answer in time. What it is doing goes on, and fills the cache.
    Late(Error),
    /// It failed.
    Failed(Error),
}

/// One collection's part in an answer.
#[derive(Clone, Debug)]
pub struct Shard {
    /// The collection.
    pub key: Arc<Key>,
    /// How it fared.
    pub status: Status,
    /// The state its rows are of.
    pub generation: Option<Generation>,
    /// The witness, of version 1, of that state.
    pub witness: Option<Witness>,
    /// The number of its rows.
    pub rows: usize,
    /// How long it took.
    pub elapsed: Duration,
}

/// The nearest rows of each query over all shards.
#[derive(Clone, Debug)]
pub struct Answer {
    /// For each query its hits, best first; a null query has none.
    pub hits: Vec<Vec<Hit>>,
    /// How each shard fared, in the order of the targets.
    pub shards: Vec<Shard>,
}

impl Shard {
    /// Why it has no part in the answer, if it has none.
    pub fn error(&self) -> Option<&Error> {
        match &self.status {
            Status::Answered | Status::Empty => None,
            Status::Late(error) | Status::Failed(error) => Some(error),
        }
    }
}

impl Answer {
    /// Whether shards are missing.
    pub fn is_partial(&self) -> bool {
        self.shards.iter().any(|shard| shard.error().is_some())
    }

    /// The long table: `query_row`, `rank` (0 is the nearest), `id`, `distance`, `backend`, `collection`. Ids of
    /// different types become text.
    ///
    /// # Errors
    /// None in practice; Arrow's own check of the columns is passed on.
    pub fn to_batch(&self) -> Result<RecordBatch> {
        let rows = || {
            let each = self.hits.iter().enumerate();
            each.flat_map(|(query, hits)| hits.iter().enumerate().map(move |(rank, hit)| (query, rank, hit)))
        };
        let kinds = |kind: IdType| rows().all(|(_, _, hit)| kind_of(&hit.id) == kind);
        let kind = [IdType::Int64, IdType::UInt64].into_iter().find(|&kind| kinds(kind));
        let ids: Vec<OwnedId> = rows()
            .map(
                |(_, _, hit)| {
                    if kind.is_some() { hit.id.clone() } else { OwnedId::Utf8(text(&hit.id).into()) }
                },
            )
            .collect();
        let ids = Ids::collect(kind.unwrap_or(IdType::Utf8), ids.iter().map(OwnedId::as_id));
        let columns: [(&str, ArrayRef); 6] = [
            ("query_row", Arc::new(rows().map(|(query, ..)| query as i64).collect::<Int64Array>())),
            ("rank", Arc::new(rows().map(|(_, rank, _)| rank as i32).collect::<Int32Array>())),
            ("id", make_array(ids.as_array().to_data())),
            ("distance", Arc::new(rows().map(|(.., hit)| hit.distance).collect::<Float32Array>())),
            (
                "backend",
                Arc::new(rows().map(|(.., hit)| Some(hit.key.backend.as_str())).collect::<StringArray>()),
            ),
            (
                "collection",
                Arc::new(rows().map(|(.., hit)| Some(hit.key.collection.as_str())).collect::<StringArray>()),
            ),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, false)))
            .map_err(|error| ruvector_core::Error::from(error).into())
    }
}

fn kind_of(id: &OwnedId) -> IdType {
    match id {
        OwnedId::Int64(_) => IdType::Int64,
        OwnedId::UInt64(_) => IdType::UInt64,
        OwnedId::Utf8(_) => IdType::Utf8,
    }
}

fn text(id: &OwnedId) -> String {
    if let OwnedId::Utf8(text) = id { text.to_string() } else { id.as_id().to_string() }
}

/// Makes one answer of the shards': the `k` best of each query by distance, then id, then place of the target. With
/// `dedupe`, of rows with one id the nearest counts.
///
/// `k` of each shard are enough: a row among the `k` best of all is among the `k` best of its shard, and so it is when
/// ids count once, since no shard has an id twice.
pub(crate) fn merge(queries: usize, k: usize, dedupe: bool, parts: &[(Arc<Key>, Hits)]) -> Vec<Vec<Hit>> {
    let one = |query: usize| {
        let mut all: Vec<Hit> = Vec::new();
        for (key, hits) in parts {
            all.extend(hits.of_query(query).map(|at| Hit {
                key: Arc::clone(key),
                id: hits.ids().get(at).into(),
                distance: hits.distances()[at],
            }));
        }
        all.sort_by(|a, b| a.distance.total_cmp(&b.distance).then_with(|| a.id.as_id().cmp(&b.id.as_id())));
        if dedupe {
            let mut seen = std::collections::HashSet::new();
            all.retain(|hit| seen.insert(hit.id.clone()));
        }
        all.truncate(k);
        all
    };
    (0..queries).map(one).collect()
}
