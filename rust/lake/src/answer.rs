//! What a search of the lake answers: the nearest rows of all shards, and how each shard fared.

use std::{sync::Arc, time::Duration};

use arrow_array::{ArrayRef, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray, make_array};
use ruvector_core::{
    Hits, Vectors,
    ids::{IdType, Ids, OwnedId},
};

use crate::{
    error::{Error, Result},
    generation::Generation,
    join,
    key::Key,
    search::{OnError, SearchOptions, Searched},
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
    /// The columns that were asked for: a row for each hit, query after query, best first.
    pub payload: Option<RecordBatch>,
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
    /// different types become text. Columns that were asked for come behind these; one of the same name as another is
    /// called `_2`.
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
        let mut table: Vec<(String, ArrayRef, bool)> =
            columns.into_iter().map(|(name, column)| (name.to_owned(), column, false)).collect();
        if let Some(payload) = &self.payload {
            for (field, column) in payload.schema_ref().fields().iter().zip(payload.columns()) {
                let mut name = field.name().clone();
                while table.iter().any(|(taken, ..)| *taken == name) {
                    name.push_str("_2");
                }
                table.push((name, Arc::clone(column), true));
            }
        }
        RecordBatch::try_from_iter_with_nullable(table)
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
        if parts.len() == 1 && !dedupe {
            return all;
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

/// Makes one answer of what the shards found.
pub(crate) fn assemble(
    searched: Vec<Searched>,
    queries: &Vectors,
    options: &SearchOptions,
) -> Result<Answer> {
    let first = searched.iter().find_map(|shard| shard.found.as_ref().ok()).map(|found| found.metric);
    let (mut parts, mut payloads) = (Vec::new(), Vec::new());
    let (mut shards, mut failed) = (Vec::with_capacity(searched.len()), None);
    for Searched { key, found, elapsed } in searched {
        let mut shard = Shard {
            key: Arc::clone(&key),
            status: Status::Answered,
            generation: None,
            witness: None,
            rows: 0,
            elapsed,
        };
        match found {
            Ok(found) => {
                if let Some(metric) = first.filter(|&metric| metric != found.metric) {
                    let expected = format!("collections searched by one metric ({metric})");
                    let actual = format!("{key}: {}", found.metric);
                    return Err(Error::invalid_parameter("targets", expected, actual));
                }
                shard.generation = found.generation;
                if let Some(held) = &found.held {
                    shard.witness = Some(held.entry.witness);
                    shard.rows = held.len();
                }
                payloads.extend(found.payload.map(|payload| (Arc::clone(&key), payload)));
                match found.hits {
                    Some(hits) => parts.push((key, hits)),
                    None => shard.status = Status::Empty,
                }
            }
            Err(error) => {
                failed.get_or_insert_with(|| error.clone());
                let late = matches!(error, Error::Deadline { .. });
                shard.status = if late { Status::Late(error) } else { Status::Failed(error) };
            }
        }
        shards.push(shard);
    }
    let none = shards.iter().all(|shard| shard.error().is_some());
    match (failed, options.on_error) {
        (Some(error), OnError::Raise) => return Err(error),
        (Some(error), OnError::Skip) if none => return Err(error),
        _ => {}
    }
    let hits = merge(queries.len(), options.k, options.dedupe, &parts);
    let wanted = options.columns.as_deref();
    let payload = wanted.map(|wanted| join::assemble(wanted, &hits, &payloads)).transpose()?;
    Ok(Answer { hits, shards, payload })
}
